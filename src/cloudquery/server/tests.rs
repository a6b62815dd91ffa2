//! Addresses: what is bound and what is refused.

use super::*;

fn refused(network: Network, address: &str) -> String {
    bind(network, address).unwrap_err().to_string()
}

#[test]
fn item_04_and_05_names_and_wildcards_are_bound() {
    for address in ["localhost:0", "127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0", ":0"] {
        let listener = bind(Network::Tcp, address).unwrap();
        assert!(!listener.address().ends_with(":0"), "{address}: {}", listener.address());
    }
    assert!(bind(Network::Tcp, "localhost:0").unwrap().address().starts_with("127.0.0.1:"));
    assert!(bind(Network::Tcp4, "localhost:0").unwrap().address().starts_with("127.0.0.1:"));
    assert!(bind(Network::Tcp6, "[::1]:0").unwrap().address().starts_with("[::1]:"));
}

#[test]
fn bad_addresses_are_named() {
    assert!(refused(Network::Tcp, "localhost").contains("`localhost`"));
    assert!(refused(Network::Tcp, "no.such.name.invalid:7777").contains("`no.such.name.invalid:7777`"));
    assert!(refused(Network::Tcp4, "[::1]:0").contains("Tcp4"));
    assert!(refused(Network::Unixpacket, "/tmp/x.sock").contains("unixpacket is not supported"));
    let taken = bind(Network::Tcp, "127.0.0.1:0").unwrap();
    assert!(refused(Network::Tcp, taken.address()).contains(taken.address()));
}

#[cfg(unix)]
#[test]
fn item_07_a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sock");
    let text = path.to_str().unwrap();
    let first = bind(Network::Unix, text).unwrap();
    assert!(refused(Network::Unix, text).contains("another process listens there"));
    assert!(path.exists());
    // A process that is killed removes nothing.
    std::mem::forget(first.socket_file());
    let Socket::Unix(socket, file) = first.socket else { panic!() };
    drop(socket);
    std::mem::forget(file);
    assert!(path.exists());
    let second = bind(Network::Unix, text).unwrap();
    drop(second);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(refused(Network::Unix, text).contains("not a socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert!(refused(Network::Unix, folder.path().join("none/p.sock").to_str().unwrap()).contains("none/p.sock"));
}

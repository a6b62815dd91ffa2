//! Items 1–11: sockets and HTTP/2. (Item 10 and 11 are tests of the service: they need a source of their own.)

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};
use testkit::process::{self, PATIENCE, Plugin};
use tonic::Code;

const GET_VERSIONS: &str = "/cloudquery.discovery.v1.Discovery/GetVersions";

#[cfg(unix)]
mod unix {
    use super::*;
    use crate::raw_http2::{Client, Coding};
    use std::os::unix::net::UnixStream;

    /// One uncompressed gRPC message: versions = [3].
    const VERSIONS_ANSWER: [u8; 8] = [0, 0, 0, 0, 3, 0x0a, 1, 3];

    fn connect(plugin: &Plugin, authority: &str, coding: Coding) -> Client<UnixStream> {
        let stream = UnixStream::connect(plugin.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client::new(stream, authority, coding)
    }

    fn start() -> (tempfile::TempDir, Plugin) {
        let folder = tempfile::tempdir().unwrap();
        let plugin = Plugin::start_unix(&folder.path().join("cq-abcdefghijklmnop.sock"));
        (folder, plugin)
    }

    #[test]
    fn item_01_percent_encoded_authority_over_unix() {
        let (_folder, plugin) = start();
        let authority = plugin.address().replace('/', "%2F");
        let mut client = connect(&plugin, &authority, Coding::Go);
        for _ in 0..2 {
            assert_eq!(client.call(GET_VERSIONS, &[]).unwrap(), VERSIONS_ANSWER);
        }
    }

    #[test]
    fn item_02_localhost_and_literal_names() {
        let (_folder, plugin) = start();
        let encoded = plugin.address()[1..].replace('/', "%2F");
        for (authority, coding) in [
            ("localhost", Coding::Go),
            ("localhost", Coding::Core),
            (encoded.as_str(), Coding::Core),
            ("/not/even/encoded.sock", Coding::Core),
        ] {
            let mut client = connect(&plugin, authority, coding);
            for _ in 0..2 {
                assert_eq!(client.call(GET_VERSIONS, &[]).unwrap(), VERSIONS_ANSWER, "{authority} {coding:?}");
            }
        }
    }

    #[test]
    fn item_03_a_thousand_calls_with_changing_headers_on_one_connection() {
        let (_folder, plugin) = start();
        let authority = plugin.address().replace('/', "%2F");
        for coding in [Coding::Go, Coding::Core] {
            let mut client = connect(&plugin, &authority, coding);
            for call in 0..1_000_usize {
                // Values of changing length push each other, and the authority, out of the dynamic table.
                let value = format!("{call}-{}", "v".repeat(call * 7 % 300));
                let name = format!("x-{}", call % 13);
                let answer = client.call(GET_VERSIONS, &[("x-trace", &value), (&name, "%2F")]);
                assert_eq!(answer.unwrap(), VERSIONS_ANSWER, "call {call} {coding:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_rust_client_works_over_unix_too() {
        let (_folder, plugin) = start();
        let request = cq_source_s3::cloudquery::proto::plugin_v3::get_name::Request {};
        let name = plugin.client().await.get_name(request).await.unwrap().into_inner().name;
        assert_eq!(name, "s3");
    }

    #[test]
    fn item_07_the_socket_file_goes_on_exit_and_a_stale_one_does_not_prevent_a_start() {
        for signal in ["INT", "TERM"] {
            let (_folder, mut plugin) = start();
            let path = std::path::PathBuf::from(plugin.address());
            assert!(path.exists());
            plugin.signal("KILL");
            plugin.wait();
            assert!(path.exists(), "nobody removes it after SIGKILL");
            let mut plugin = Plugin::start_unix(&path);
            connect(&plugin, "localhost", Coding::Go).call(GET_VERSIONS, &[]).unwrap();
            plugin.signal(signal);
            assert!(plugin.wait().0.success());
            assert!(!path.exists(), "{signal}");
        }
    }

    #[test]
    fn item_08_settings_come_without_a_request_on_a_unix_socket() {
        let (_folder, plugin) = start();
        let mut stream = UnixStream::connect(plugin.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(crate::raw_http2::read_frame(&mut stream).0, 4);
    }

    #[test]
    fn item_08_settings_come_without_a_request_over_tcp() {
        let plugin = Plugin::start();
        let mut stream = TcpStream::connect(plugin.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(crate::raw_http2::read_frame(&mut stream).0, 4);
    }
}

/// Starts `serve` on this address and gives the address that was bound.
fn bound(address: &str) -> String {
    let arguments = ["serve", "--log-format", "json", "--network", "tcp", "--address", address];
    let plugin = Plugin::spawn(&mut process::command(&arguments), false);
    plugin.address().to_owned()
}

#[test]
fn item_04_and_05_names_and_wildcards_are_bound() {
    assert!(bound("localhost:0").starts_with("127.0.0.1:"));
    assert!(bound("127.0.0.1:0").starts_with("127.0.0.1:"));
    assert!(bound("0.0.0.0:0").starts_with("0.0.0.0:"));
    assert!(bound("[::]:0").starts_with("[::]:"));
}

#[test]
fn item_06_the_listener_accepts_right_after_the_start() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let start = Instant::now();
    let mut child = process::command(&["serve", "--log-format", "json", "--address", &address])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(&address).is_err() {
        assert!(start.elapsed() < PATIENCE, "nobody listens");
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    println!("listening {took:?} after exec");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn item_09_unknown_services_and_methods_are_unimplemented() {
    let plugin = Plugin::start();
    let mut grpc = tonic::client::Grpc::new(plugin.channel().await);
    for path in ["/cloudquery.plugin.v3.Plugin/Nothing", "/proto.Source/GetProtocolVersion", "/x"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(tonic::Request::new(()), path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

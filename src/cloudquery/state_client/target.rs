//! gRPC target names, as the CLI puts them into `backend_options.connection`.

use tonic::transport::Endpoint;

/// A target that cannot be dialled. The texts name it and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No form of target that is known.
    #[error(
        "cannot read the connection {target:?} as a gRPC target: {reason}; expected host:port, dns:///host:port, \
         passthrough:///host:port, unix:///path or unix-abstract:name"
    )]
    Syntax {
        /// As given.
        target: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A socket that this system does not have.
    #[error("cannot dial {target:?}: {what} do not exist on this system; use host:port")]
    NoSuchSockets {
        /// As given.
        target: String,
        /// What it would need.
        what: &'static str,
    },
}

/// The endpoint that a gRPC target means. Nothing is dialled here.
pub(super) fn endpoint(target: &str) -> Result<Endpoint, TargetError> {
    let syntax = |reason| TargetError::Syntax { target: target.to_owned(), reason };
    let path = match dialled(target).map_err(syntax)? {
        Dialled::Address(authority) => {
            let endpoint = Endpoint::from_shared(format!("http://{authority}"));
            return endpoint.map_err(|_| syntax("it has characters that no address has"));
        }
        Dialled::Path(path) if cfg!(unix) => path.to_owned(),
        Dialled::Abstract(name) if cfg!(target_os = "linux") => format!("\0{name}"),
        Dialled::Path(_) => {
            return Err(TargetError::NoSuchSockets { target: target.to_owned(), what: "unix sockets" });
        }
        Dialled::Abstract(_) => {
            return Err(TargetError::NoSuchSockets { target: target.to_owned(), what: "abstract unix sockets" });
        }
    };
    Endpoint::from_shared(format!("unix:{path}")).map_err(|_| syntax("it has characters that no path has"))
}

#[derive(Debug, PartialEq, Eq)]
enum Dialled<'a> {
    /// `host:port`.
    Address(&'a str),
    /// The path of a unix socket.
    Path(&'a str),
    /// The name of an abstract unix socket.
    Abstract(&'a str),
}

fn dialled(target: &str) -> Result<Dialled<'_>, &'static str> {
    if let Some(name) = target.strip_prefix("unix-abstract:") {
        return if name.is_empty() { Err("the socket's name is missing") } else { Ok(Dialled::Abstract(name)) };
    }
    if let Some(path) = target.strip_prefix("unix:") {
        // `unix://` takes an absolute path only; between its slashes there is an empty authority.
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() { Err("the socket's path is missing") } else { Ok(Dialled::Path(path)) };
    }
    let address = ["dns:", "passthrough:", "ipv4:", "ipv6:"].iter().find_map(|scheme| target.strip_prefix(scheme));
    let address = match address {
        // `dns://resolver/host:port`: whose resolver is asked is not ours to choose.
        Some(rest) => match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').ok_or("there is no / behind the scheme's authority")?.1,
            None => rest,
        },
        None if target.contains("://") => return Err("the scheme is not known"),
        None => target,
    };
    let (host, port) = address.rsplit_once(':').ok_or("the port is missing")?;
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err("an IPv6 address goes into brackets, as in [::1]:7777");
    }
    if port.parse::<u16>().is_err() {
        return Err("the port is not a number from 0 to 65535");
    }
    Ok(Dialled::Address(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_every_syntax() {
        for (target, expected) in [
            ("localhost:7777", Dialled::Address("localhost:7777")),
            ("127.0.0.1:7777", Dialled::Address("127.0.0.1:7777")),
            ("[::1]:7777", Dialled::Address("[::1]:7777")),
            ("dns:///db.example.org:7777", Dialled::Address("db.example.org:7777")),
            ("dns:db:7777", Dialled::Address("db:7777")),
            ("dns://8.8.8.8/db:7777", Dialled::Address("db:7777")),
            ("passthrough:///10.0.0.1:7777", Dialled::Address("10.0.0.1:7777")),
            ("passthrough:10.0.0.1:7777", Dialled::Address("10.0.0.1:7777")),
            ("ipv6:[::1]:7777", Dialled::Address("[::1]:7777")),
            ("unix:///tmp/cq-1.sock", Dialled::Path("/tmp/cq-1.sock")),
            ("unix:/tmp/cq-1.sock", Dialled::Path("/tmp/cq-1.sock")),
            ("unix:cq-1.sock", Dialled::Path("cq-1.sock")),
            ("unix-abstract:cq-1", Dialled::Abstract("cq-1")),
        ] {
            assert_eq!(dialled(target), Ok(expected), "{target}");
            #[cfg(target_os = "linux")]
            assert!(endpoint(target).is_ok(), "{target}");
        }
    }

    #[test]
    fn what_is_no_target_is_named() {
        for (target, reason) in [
            ("", "port is missing"),
            ("localhost", "port is missing"),
            (":7777", "host is missing"),
            ("localhost:http", "not a number"),
            ("localhost:70000", "not a number"),
            ("::1:7777", "brackets"),
            ("http://localhost:7777", "scheme is not known"),
            ("dns://localhost:7777", "no / behind"),
            ("unix:", "path is missing"),
            ("unix-abstract:", "name is missing"),
            ("a b:1", "no address has"),
        ] {
            let error = endpoint(target).map(drop).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&format!("{target:?}")), "{error}");
        }
    }
}

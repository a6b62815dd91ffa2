//! Servers as processes of their own: started, waited for, their output kept in a file, ended with the value.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Python with pyarrow takes a while on a busy machine; the plugin takes milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Address {
    /// A TCP port of 127.0.0.1 that was free a moment ago.
    pub fn free_tcp() -> Self {
        Self::free_tcp_of(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// A TCP port of this machine's address that was free a moment ago.
    pub fn free_tcp_of(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        Self::Tcp(listener.local_addr().expect("a bound listener has an address"))
    }

    /// As the plugin's `--network` takes it.
    pub fn network(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
        }
    }

    /// As the plugin's `--address` takes it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => path.display().to_string(),
        }
    }

    /// As a gRPC target, which is what `path` is for `registry: grpc`.
    pub fn target(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix://{}", path.display()),
        }
    }

    fn answers(&self) -> bool {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

/// A running server; dropping it kills the process.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: Address,
}

impl Server {
    /// Starts `command`, which must listen on `address`; its output goes to `<dir>/<name>.log`.
    pub fn start(name: &'static str, mut command: Command, address: Address, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).expect("create a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("duplicate the log's handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({command:?}): {error}"));
        let mut server = Self { name, child, log, address };
        server.wait_until_it_answers();
        server
    }

    /// Starts the plugin as `registry: grpc` wants it: listening before the CLI comes.
    pub fn plugin(address: Address, dir: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(testkit::process::binary());
        command
            .args(["serve", "--network", address.network(), "--address", &address.address()])
            .args(["--log-level", "debug", "--log-format", "json"])
            .env_clear()
            .envs(env.iter().copied());
        Self::start("plugin", command, address, dir)
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).expect("read the server's log")
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.address.answers() {
            if let Some(status) = self.child.try_wait().expect("ask for the process's status") {
                panic!("{} ended with {status} instead of serving:\n{}", self.name, self.output());
            }
            assert!(
                Instant::now() < deadline,
                "{} does not answer on {} after {START_TIMEOUT:?}:\n{}",
                self.name,
                self.address.address(),
                self.output()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself: then there is nothing to end
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            eprintln!("the last lines of {}:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

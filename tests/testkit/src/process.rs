//! Starts the real binary with a clean environment, reads its log, talks to it and stops it.

use cq_source_s3::cloudquery::{
    proto::plugin_v3::{self as pb, plugin_client::PluginClient},
    server::MAX_MESSAGE_BYTES,
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};
use tonic::transport::{Channel, Endpoint};

/// Cargo sets this for the integration tests and benches of the plugin's own package. Other members name the binary they
/// test in [`PLUGIN_VARIABLE`].
const CARGO_VARIABLE: &str = "CARGO_BIN_EXE_cq-source-s3";

/// The path of the plugin to test, for members of the workspace that have no binary of their own.
const PLUGIN_VARIABLE: &str = "CQ_TEST_PLUGIN";

/// How long anything that should be quick may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The plugin's binary.
///
/// # Panics
/// If nobody says where it is. There is no search: a binary that lies about may be of another commit.
pub fn binary() -> PathBuf {
    let path = std::env::var_os(CARGO_VARIABLE).or_else(|| std::env::var_os(PLUGIN_VARIABLE));
    path.map(PathBuf::from).unwrap_or_else(|| {
        panic!(
            "which plugin is to be tested? Run the tests of containers by `just test-e2e` and its like, all others by \
             `cargo test`; or name a built plugin in {PLUGIN_VARIABLE}"
        )
    })
}

/// A command that runs the plugin's binary with these arguments, without the caller's environment and input.
pub fn command<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The plugin as a running process. Killed when dropped.
pub struct Plugin {
    child: Child,
    log: Arc<Log>,
    /// What the plugin says it listens on.
    address: String,
    unix: bool,
}

/// Lines of stdout, collected by a thread until the plugin closes it.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Plugin {
    /// Starts `serve --log-format json` on a free port of the loopback interface.
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// The same, with more arguments and environment variables.
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut all = vec!["serve", "--log-format", "json", "--network", "tcp", "--address", "127.0.0.1:0"];
        all.extend(arguments);
        Self::spawn(command(&all).envs(environment.iter().copied()), false)
    }

    /// Starts `serve` on a unix socket, with the arguments that the CloudQuery CLI passes.
    pub fn start_unix(path: &Path) -> Self {
        let path = path.to_str().expect("a path in UTF-8");
        let arguments =
            ["serve", "--log-level", "info", "--log-format", "json", "--network", "unix", "--address", path];
        Self::spawn(&mut command(&arguments), true)
    }

    /// Starts a command whose log is JSON on stdout, and waits until it says that it listens.
    pub fn spawn(command: &mut Command, unix: bool) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start the plugin");
        let log = Arc::<Log>::default();
        let (stdout, filled) = (child.stdout.take().expect("stdout is piped"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n') {
                let Ok(line) = line else { break };
                filled.lines.lock().unwrap().0.push(String::from_utf8_lossy(&line).into_owned());
                filled.changed.notify_all();
            }
            filled.lines.lock().unwrap().1 = true;
            filled.changed.notify_all();
        });
        let mut plugin = Self { child, log, address: String::new(), unix };
        let listening = plugin.wait_for_line("that it listens", |line| line["message"] == "Plugin server listening");
        plugin.address = listening["address"].as_str().expect("an address").to_owned();
        plugin
    }

    /// `host:port`, or the path of the unix socket.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A new connection. (Over a unix socket this client sends the authority that tonic chooses, not the CLI's.)
    pub async fn channel(&self) -> Channel {
        let target = if self.unix { format!("unix://{}", self.address) } else { format!("http://{}", self.address) };
        Endpoint::from_shared(target).expect("a target").connect().await.expect("connect to the plugin")
    }

    /// A client on a new connection, with the CLI's message size.
    pub async fn client(&self) -> PluginClient<Channel> {
        let client = PluginClient::new(self.channel().await);
        client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls Init with this spec and invocation id.
    ///
    /// # Errors
    /// The plugin's.
    pub async fn init(&self, spec: &str, invocation_id: &str) -> Result<(), tonic::Status> {
        let request = pb::init::Request {
            spec: spec.to_owned().into(),
            no_connection: false,
            invocation_id: invocation_id.to_owned(),
        };
        self.client().await.init(request).await.map(|_| ())
    }

    /// All lines of stdout so far, as they came.
    pub fn raw_lines(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// All lines of stdout so far; each must be a JSON object.
    pub fn lines(&self) -> Vec<Value> {
        self.raw_lines().iter().map(|line| parse(line)).collect()
    }

    /// Waits for a line for which this holds.
    pub fn wait_for_line(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().map(|line| parse(line)).find(|line| holds(line)) {
                return line;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!lines.1 && !left.is_zero(), "the plugin did not say {what}; its log: {:#?}", lines.0);
            lines = self.log.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Sends a signal by name (`INT`, `TERM`, `KILL`).
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(status.expect("run kill").success());
    }

    /// Waits for the end of the process: its status, and how long that took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        wait(&mut self.child)
    }

    /// Stops the plugin as the CLI does; it must end in time with status 0. Gives all lines of its log.
    pub fn stop(mut self) -> Vec<Value> {
        self.signal("INT");
        let (status, took) = self.wait();
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        self.all_lines()
    }

    /// Ends the plugin without a chance to say anything. Gives all lines of its log.
    pub fn kill(mut self) -> Vec<Value> {
        let _ = self.child.kill();
        self.wait();
        self.all_lines()
    }

    /// The lines of a log that is complete: the process has ended.
    fn all_lines(&self) -> Vec<Value> {
        let mut lines = self.log.lines.lock().unwrap();
        while !lines.1 {
            lines = self.log.changed.wait(lines).unwrap();
        }
        lines.0.iter().map(|line| parse(line)).collect()
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process: its status, and how long that took. Fails when it does not end.
pub fn wait(child: &mut Child) -> (ExitStatus, Duration) {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait for the plugin") {
            return (status, start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the plugin did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn parse(line: &str) -> Value {
    match serde_json::from_str(line) {
        Ok(object @ Value::Object(_)) => object,
        _ => panic!("a line of the log that is not a JSON object: {line:?}"),
    }
}

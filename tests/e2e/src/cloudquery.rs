//! The CloudQuery CLI: configuration, environment, and what came out of a run.

use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The variable by which `just test-cli` says which CLI to run.
const CLI_VARIABLE: &str = "CLOUDQUERY_CLI";
const CONFIG_FILE: &str = "config.yml";
/// Often enough to hit a moment of some milliseconds.
const LOG_POLL_INTERVAL: Duration = Duration::from_millis(3);
const PLUGINS_END_WITHIN: Duration = Duration::from_secs(1);
/// The last lines of a failed run's log that go into a test's failure.
const LOG_TAIL_LINES: usize = 40;

/// A CLI with a home and a working folder of its own.
pub struct Cli {
    binary: OsString,
    dir: PathBuf,
    env: Vec<(&'static str, String)>,
}

/// What one run of the CLI gave.
pub struct Run {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
    log: String,
}

impl Cli {
    /// A CLI that works in `dir`, whose path must be short: the plugins' sockets lie in it.
    pub fn new(dir: &Path) -> Self {
        let binary = std::env::var_os(CLI_VARIABLE)
            .unwrap_or_else(|| panic!("{CLI_VARIABLE} is not set: run these tests with `just test-cli`"));
        let dir = dir.join("cli");
        fs::create_dir(&dir).expect("make the CLI's folder");
        Self { binary, dir, env: Vec::new() }
    }

    /// Variables beyond those that every run has.
    pub fn with_env(mut self, env: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.env.extend(env);
        self
    }

    /// The working folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `cloudquery <arguments> <configuration>`.
    pub fn run(&self, arguments: &[&str], config: &[Value]) -> Run {
        // JSON is YAML, so nobody needs to quote anything by hand.
        let config: Vec<String> = config.iter().map(Value::to_string).collect();
        self.run_text(arguments, &config.join("\n---\n"))
    }

    /// As [`Self::run`], with the configuration as somebody wrote it.
    pub fn run_text(&self, arguments: &[&str], config: &str) -> Run {
        let output = self.command(arguments, config).output();
        let output =
            output.unwrap_or_else(|error| panic!("start the CloudQuery CLI {}: {error}", self.binary.display()));
        Run {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            log: fs::read_to_string(self.log()).unwrap_or_default(),
        }
    }

    /// Runs a sync and sends the CLI a signal (`TERM`, `KILL`) so long after a line with `text` is in its log.
    pub fn sync_until(&self, config: &[Value], text: &str, after: Duration, signal: &str) {
        let config: Vec<String> = config.iter().map(Value::to_string).collect();
        let mut command = self.command(&["sync", "--log-level", "debug"], &config.join("\n---\n"));
        let mut cli = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start the CloudQuery CLI");
        while !fs::read_to_string(self.log()).unwrap_or_default().contains(text) {
            let ended = cli.try_wait().expect("the CLI's state");
            assert!(ended.is_none(), "the CLI ended and {text:?} is not in its log");
            std::thread::sleep(LOG_POLL_INTERVAL);
        }
        std::thread::sleep(after);
        // It may have ended by itself.
        let _ = Command::new("kill").args([format!("-{signal}"), cli.id().to_string()]).stderr(Stdio::null()).status();
        cli.wait().expect("the CLI's end");
        // Its plugins end when they notice that it is gone.
        std::thread::sleep(PLUGINS_END_WITHIN);
    }

    fn log(&self) -> PathBuf {
        self.dir.join("cloudquery.log")
    }

    /// The CLI with these arguments and this configuration, which is written; the log of the last run goes.
    fn command(&self, arguments: &[&str], config: &str) -> Command {
        fs::write(self.dir.join(CONFIG_FILE), config).expect("write the configuration");
        let _ = fs::remove_file(self.log()); // each run's log by itself
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .arg(CONFIG_FILE)
            .current_dir(&self.dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.dir)
            .env("TMPDIR", &self.dir)
            .env("CQ_TELEMETRY_LEVEL", "none")
            .env("CQ_DISABLE_PLATFORM_DESTINATION", "1")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a sync that must complete, and gives the number of rows that the CLI counted.
    pub fn sync(&self, arguments: &[&str], config: &[Value]) -> usize {
        let mut all = vec!["sync"];
        all.extend(arguments);
        let run = self.run(&all, config);
        run.assert_success();
        let Some((_, summary)) = run.stdout.split_once("Sync completed successfully. Resources: ") else {
            panic!("the sync did not complete successfully:\n{run}");
        };
        assert!(summary.contains("Errors: 0, Warnings: 0"), "errors or warnings in a good sync:\n{run}");
        let digits: String = summary.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number of resources:\n{run}"))
    }
}

impl Run {
    /// Fails the test with all output unless the CLI ended well.
    pub fn assert_success(&self) {
        assert!(self.success, "the CLI failed:\n{self}");
    }

    /// Fails the test unless the CLI failed and said each of `texts`, on the console.
    pub fn assert_failure_with(&self, texts: &[&str]) {
        assert!(!self.success, "the CLI should have failed:\n{self}");
        for text in texts {
            let said = self.stdout.contains(text) || self.stderr.contains(text);
            assert!(said, "the CLI should have said {text:?}:\n{self}");
        }
    }

    /// The lines of the CLI's log that have `level`: what the plugin logged arrives there.
    pub fn log_lines(&self, level: &str) -> Vec<&str> {
        self.log.lines().filter(|line| line.split_whitespace().nth(1) == Some(level)).collect()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<&str> = self.log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        write!(f, "stdout:\n{}\nstderr:\n{}\nlog (end):\n{tail}", self.stdout.replace('\r', "\n"), self.stderr)
    }
}

/// A source's part of a configuration.
pub fn source(registry: &str, path: &str, destination: &str, spec: &Value) -> Value {
    json!({
        "kind": "source",
        "spec": {
            "name": "s3",
            "registry": registry,
            "path": path,
            "version": "v0.0.0",
            "tables": ["*"],
            "destinations": [destination],
            "spec": spec,
        },
    })
}

/// A destination's part of a configuration.
pub fn destination(name: &str, registry: &str, path: &str, write_mode: &str, spec: &Value) -> Value {
    json!({
        "kind": "destination",
        "spec": {
            "name": name,
            "registry": registry,
            "path": path,
            "version": "v0.0.0",
            "write_mode": write_mode,
            "spec": spec,
        },
    })
}

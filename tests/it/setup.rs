//! Where each test of a sync begins: an S3 server in memory, the plugin as a process, and a client.

use crate::support::client::{Client, Collected};
use crate::support::process::Plugin;
use crate::support::s3_server::{DEFAULT_BUCKET, S3Server};
use serde_json::{Value, json};
use std::time::Duration;

/// The three that a sync needs. The plugin is killed when this is dropped.
pub struct Setup {
    pub server: S3Server,
    pub plugin: Plugin,
    pub client: Client,
}

impl Setup {
    /// An empty bucket, a plugin that logs at info, and a client that has not called Init.
    pub async fn start() -> Self {
        Self::with_arguments(&[]).await
    }

    /// The same, with more arguments for `serve`.
    pub async fn with_arguments(arguments: &[&str]) -> Self {
        let server = S3Server::start().await;
        let plugin = Plugin::start_with(arguments, &[]);
        let client = Client::connect(&format!("http://{}", plugin.address())).await;
        Self { server, plugin, client }
    }

    /// The spec for the server's bucket, with these fields added or replaced.
    pub fn spec(&self, more: Value) -> Value {
        spec(&self.server, more)
    }

    /// Init with [`Self::spec`], then a sync of all tables.
    pub async fn sync(&mut self, more: Value) -> Collected {
        self.init(more).await;
        self.client.sync(&["*"], &[]).await
    }

    /// Init with [`Self::spec`].
    pub async fn init(&mut self, more: Value) {
        self.client.init(&self.spec(more)).await.unwrap();
    }

    /// The lines of the log that have this level, of everything that the plugin did until now. (It has written them,
    /// but who reads them is a thread of the harness: it may be behind.)
    pub fn lines(&self, level: &str) -> Vec<Value> {
        const QUIET: Duration = Duration::from_millis(250);
        let mut lines = self.plugin.lines();
        loop {
            std::thread::sleep(QUIET);
            let now = self.plugin.lines();
            if now.len() == lines.len() {
                break;
            }
            lines = now;
        }
        lines.retain(|line| line["level"] == level);
        lines
    }
}

/// The spec for `server`'s bucket, with these fields added or replaced.
pub fn spec(server: &S3Server, more: Value) -> Value {
    let mut spec = json!({
        "bucket": DEFAULT_BUCKET,
        "region": "us-east-1",
        "endpoint": server.endpoint(),
        "path_style": true,
        "credentials": {"anonymous": true},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

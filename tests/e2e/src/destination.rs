//! The destination that any package registry offers: `tests/cloudquery/mem_destination.py`, read back over gRPC.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3::plugin_client::PluginClient;
use cq_source_s3::cloudquery::proto::plugin_v3::read;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::server::{Address, Server};

/// The variable by which `just test-cli` says which Python has the destination's packages.
const PYTHON_VARIABLE: &str = "CQ_DESTINATION_PYTHON";

/// A running destination that keeps its tables until the value goes.
pub struct MemDestination {
    server: Server,
}

impl MemDestination {
    /// Starts one on a TCP port.
    pub fn start(dir: &Path) -> Self {
        Self::start_at(Address::free_tcp(), dir)
    }

    /// Starts one at a TCP address.
    pub fn start_at(address: Address, dir: &Path) -> Self {
        let python = std::env::var_os(PYTHON_VARIABLE)
            .unwrap_or_else(|| panic!("{PYTHON_VARIABLE} is not set: run these tests with `just test-cli`"));
        let mut command = Command::new(python);
        command
            .arg(testkit::repository().join("tests/cloudquery/mem_destination.py"))
            .args(["serve", "--address", &address.address()])
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self { server: Server::start("mem-destination", command, address, dir) }
    }

    /// For the CLI's `path`.
    pub fn target(&self) -> String {
        self.server.address.target()
    }

    /// All rows of a table, CloudQuery's own columns included; none if it doesn't exist.
    pub async fn read(&self, table: &str) -> Vec<RecordBatch> {
        let mut client = PluginClient::connect(format!("http://{}", self.target()))
            .await
            .expect("connect to the destination")
            .max_decoding_message_size(usize::MAX);
        let request = read::Request { table: table_request(table) };
        let mut stream = client.read(request).await.expect("read a table").into_inner();
        let mut batches = Vec::new();
        while let Some(response) = stream.message().await.expect("a row of the table") {
            let reader = StreamReader::try_new(response.record.as_ref(), None).expect("an IPC stream");
            batches.extend(reader.map(|batch| batch.expect("a record batch")));
        }
        batches
    }
}

/// A Read request names its table in the metadata of a schema; the columns don't matter to this destination.
fn table_request(table: &str) -> Bytes {
    let metadata = [("cq:table_name", table), ("cq:table_title", ""), ("cq:table_description", "")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let schema = Schema::empty().with_metadata(HashMap::from(metadata));
    let mut request = Vec::new();
    let mut writer = StreamWriter::try_new(&mut request, &schema).expect("an IPC writer");
    writer.finish().expect("finish the stream");
    drop(writer);
    Bytes::from(request)
}

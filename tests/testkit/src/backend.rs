//! A state backend in memory: a destination plugin of which only discovery, Write and Read work. It keeps rows by table,
//! notes every call in order, and fails when told to.
//!
//! ```ignore
//! let backend = Backend::start(Mode::Upsert).await;
//! sync.backend = Some(BackendOptions { table_name: "state".into(), connection: backend.connection() });
//! assert_eq!(backend.calls(), [Call::GetVersions, Call::Migrate("state".into()), Call::Read("state".into())]);
//! backend.fail_writes_after(0);
//! ```
//!
//! A failure that was asked for is for good (a status that no client tries again), unless it is asked for a number of times.

use crate::client::{Message, decode};
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use arrow::ipc::writer::StreamWriter;
use cq_source_s3::cloudquery::proto::discovery_v1;
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use discovery_v1::discovery_server::{Discovery, DiscoveryServer};
use futures::StreamExt as _;
use pb::plugin_server::{Plugin, PluginServer};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};

/// Largest message in either direction.
const MAX_MESSAGE_BYTES: usize = 100 << 20;
/// Rows in one record of the Read stream, unless told otherwise.
const ROWS_PER_RECORD: usize = 1 << 20;

/// What an insert does with a key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Replaces its row.
    Upsert,
    /// Adds a second row.
    Append,
}

/// One call that arrived, or a message of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Of discovery.
    GetVersions,
    /// A migrate in a Write stream: the table.
    Migrate(String),
    /// A Read: the table.
    Read(String),
    /// An insert in a Write stream: its keys and versions, in order.
    Insert(Vec<(String, u64)>),
    /// An insert that met [`Trouble::Swallowed`]: its keys and versions, in order.
    Swallowed(Vec<(String, u64)>),
    /// The end of a Write stream that held this many messages.
    WriteEnd(usize),
    /// Not a call: what a test noted with [`Backend::note`].
    Note(String),
}

/// A row of a state table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// `None`: null.
    pub version: Option<u64>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    versions: Vec<i32>,
    tables: BTreeMap<String, (SchemaRef, Vec<Row>)>,
    /// What it stores as a destination: batches by table.
    destination: BTreeMap<String, Vec<RecordBatch>>,
    calls: Vec<Call>,
    /// Rows that inserts still take before they fail; `None`: any number.
    rows_before_failure: Option<usize>,
    fail_reads: bool,
    /// What the next calls meet, before the backend works again.
    trouble: VecDeque<(Method, Trouble)>,
    rows_per_record: usize,
}

/// A call that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Read,
    /// Write with an insert.
    Insert,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused; another time it may work.
    Refused,
    /// It is refused in the words of a destination that cannot migrate a table.
    MigrationRefused,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is never answered.
    Silence,
    /// It is not done, and the answer is that it is: destinations that write in batches of their own log the failure.
    Swallowed,
    /// It is done and answered.
    Nothing,
}

/// A backend that is being served. Stops when it is dropped.
#[derive(Debug)]
pub struct Backend {
    state: Arc<Mutex<State>>,
    connection: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Backend {
    /// Serves on a free TCP port.
    pub async fn start(mode: Mode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let connection = listener.local_addr().expect("an address").to_string();
        // As Go's servers do: else the first answer on each connection waits for an acknowledgement that comes 40 ms late.
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener).inspect(|stream| {
            if let Ok(stream) = stream {
                stream.set_nodelay(true).expect("a TCP connection");
            }
        });
        Self::serve(mode, connection, |router| async move { router.serve_with_incoming(incoming).await })
    }

    /// Serves on a unix socket.
    #[cfg(unix)]
    pub fn start_unix(mode: Mode, path: &Path) -> Self {
        Self::start_unix_listener(mode, tokio::net::UnixListener::bind(path).expect("a path for a socket"))
    }

    /// Serves on a unix socket that is bound already, such as an abstract one.
    #[cfg(unix)]
    pub fn start_unix_listener(mode: Mode, listener: tokio::net::UnixListener) -> Self {
        let address = listener.local_addr().expect("an address");
        let connection = address.as_pathname().map(|path| format!("unix://{}", path.display())).unwrap_or_default();
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        Self::serve(mode, connection, |router| async move { router.serve_with_incoming(incoming).await })
    }

    fn serve<F>(mode: Mode, connection: String, run: impl FnOnce(Router) -> F) -> Self
    where
        F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
    {
        let state = Arc::new(Mutex::new(State {
            mode,
            versions: vec![3],
            tables: BTreeMap::new(),
            destination: BTreeMap::new(),
            calls: Vec::new(),
            rows_before_failure: None,
            fail_reads: false,
            trouble: VecDeque::new(),
            rows_per_record: ROWS_PER_RECORD,
        }));
        let plugin = PluginServer::new(Service(state.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let router = Server::builder().add_service(DiscoveryServer::new(Service(state.clone()))).add_service(plugin);
        let served = run(router);
        let server = tokio::spawn(async move { served.await.expect("the backend serves") });
        Self { state, connection, server }
    }

    /// What goes into `backend_options.connection`.
    pub fn connection(&self) -> String {
        self.connection.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    /// Puts something of the test's own between the calls.
    pub fn note(&self, text: &str) {
        self.state().calls.push(Call::Note(text.to_owned()));
    }

    /// The rows of a table, in the order of arrival.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        self.state().tables.get(table).map(|(_, rows)| rows.clone()).unwrap_or_default()
    }

    /// Stores a message of a sync's stream, as a destination does that is the backend, too.
    pub fn store(&self, message: &Message) {
        match message {
            Message::Migrate { table, .. } => self.store_in(table, vec![]),
            Message::Insert { table, batches, .. } => self.store_in(table, batches.clone()),
            Message::Error { .. } | Message::Other(_) => {}
        }
    }

    /// Stores rows of a table as a destination; makes the table.
    pub fn store_in(&self, table: &str, batches: Vec<RecordBatch>) {
        self.state().destination.entry(table.to_owned()).or_default().extend(batches);
    }

    /// Key and value as a client sees them: of several rows the one with the highest version.
    pub fn current(&self, table: &str) -> BTreeMap<String, String> {
        let mut current: HashMap<String, (u64, String)> = HashMap::new();
        for row in self.rows(table) {
            let version = row.version.unwrap_or(0);
            if current.get(&row.key).is_none_or(|(held, _)| *held <= version) {
                current.insert(row.key, (version, row.value));
            }
        }
        current.into_iter().map(|(key, (_, value))| (key, value)).collect()
    }

    /// Puts rows into a table as they are, whatever the mode; makes the table.
    pub fn put_rows(&self, table: &str, rows: impl IntoIterator<Item = Row>) {
        let mut state = self.state();
        let entry = state.tables.entry(table.to_owned()).or_insert_with(|| (schema(), Vec::new()));
        entry.1.extend(rows);
    }

    /// Removes the rows of a table whose key `gone` picks.
    pub fn remove_rows(&self, table: &str, gone: impl Fn(&str) -> bool) {
        if let Some((_, rows)) = self.state().tables.get_mut(table) {
            rows.retain(|row| !gone(&row.key));
        }
    }

    /// The schema of a table, as its last migrate had it.
    pub fn schema(&self, table: &str) -> Option<SchemaRef> {
        self.state().tables.get(table).map(|(schema, _)| schema.clone())
    }

    /// Inserts store so many more rows, then fail for good: with 0 nothing is stored, with more a flush is torn.
    pub fn fail_writes_after(&self, rows: usize) {
        self.state().rows_before_failure = Some(rows);
    }

    /// Reads fail for good.
    pub fn fail_reads(&self) {
        self.state().fail_reads = true;
    }

    /// The next `times` calls of `method` fail that way, then it works again.
    pub fn trouble(&self, method: Method, trouble: Trouble, times: usize) {
        self.state().trouble.extend(std::iter::repeat_n((method, trouble), times));
    }

    /// All works again.
    pub fn repair(&self) {
        let mut state = self.state();
        state.rows_before_failure = None;
        state.fail_reads = false;
        state.trouble.clear();
    }

    /// What discovery says.
    pub fn set_versions(&self, versions: &[i32]) {
        self.state().versions = versions.to_vec();
    }

    /// Most rows in one record of a Read stream.
    pub fn set_rows_per_record(&self, rows: usize) {
        self.state().rows_per_record = rows.max(1);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Utf8, true),
        Field::new("version", DataType::UInt64, true),
    ]))
}

impl State {
    /// What this call meets.
    fn meets(&mut self, method: Method) -> Option<Trouble> {
        let index = self.trouble.iter().position(|(of, _)| *of == method)?;
        self.trouble.remove(index).map(|(_, trouble)| trouble)
    }

    fn insert(&mut self, record: &[u8]) -> Result<(), Status> {
        let (table, rows) = table_and_rows(record)?;
        self.calls.push(Call::Insert(keys(&rows)));
        let (_, stored) = self
            .tables
            .get_mut(&table)
            .ok_or_else(|| Status::failed_precondition(format!("no table {table:?}: it was not migrated")))?;
        for row in rows {
            match &mut self.rows_before_failure {
                Some(0) => return Err(Status::permission_denied("the backend was told to fail")),
                Some(left) => *left -= 1,
                None => {}
            }
            let held = stored.iter_mut().find(|held| self.mode == Mode::Upsert && held.key == row.key);
            match held {
                Some(held) => *held = row,
                None => stored.push(row),
            }
        }
        Ok(())
    }
}

fn table_and_rows(record: &[u8]) -> Result<(String, Vec<Row>), Status> {
    let (schema, batches) = decode(record).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let table = schema.metadata().get("cq:table_name").cloned().unwrap_or_default();
    Ok((table, batches.iter().flat_map(rows).collect()))
}

fn keys(rows: &[Row]) -> Vec<(String, u64)> {
    rows.iter().map(|row| (row.key.clone(), row.version.unwrap_or(0))).collect()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let (keys, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let versions = batch.column(2).as_primitive::<UInt64Type>();
    let row = |index| Row {
        key: keys.value(index).to_owned(),
        value: values.value(index).to_owned(),
        version: versions.is_valid(index).then(|| versions.value(index)),
    };
    (0..batch.num_rows()).map(row).collect()
}

fn encode(schema: &SchemaRef, rows: &[Row]) -> Vec<u8> {
    let keys: StringArray = rows.iter().map(|row| Some(row.key.as_str())).collect();
    let values: StringArray = rows.iter().map(|row| Some(row.value.as_str())).collect();
    let versions: UInt64Array = rows.iter().map(|row| row.version).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(versions)];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("three columns");
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("plain types");
    writer.write(&batch).expect("into memory");
    writer.into_inner().expect("into memory")
}

/// The columns of a batch that `schema` names; the error of a database when one is missing.
fn project(batch: &RecordBatch, schema: &SchemaRef) -> Result<Vec<u8>, Status> {
    let column = |field: &Arc<Field>| {
        let missing = || Status::unknown(format!("column \"{}\" does not exist", field.name()));
        batch.column_by_name(field.name()).cloned().ok_or_else(missing)
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    let batch = RecordBatch::try_new(schema.clone(), columns);
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("plain types");
    writer.write(&batch.expect("the table's types")).expect("into memory");
    Ok(writer.into_inner().expect("into memory"))
}

struct Service(Arc<Mutex<State>>);

#[tonic::async_trait]
impl Discovery for Service {
    async fn get_versions(
        &self,
        _: Request<discovery_v1::get_versions::Request>,
    ) -> Result<Response<discovery_v1::get_versions::Response>, Status> {
        let mut state = lock(&self.0);
        state.calls.push(Call::GetVersions);
        Ok(Response::new(discovery_v1::get_versions::Response { versions: state.versions.clone() }))
    }
}

async fn suffer(met: Option<Trouble>) -> Result<(), Status> {
    match met {
        None | Some(Trouble::Nothing | Trouble::Swallowed) => Ok(()),
        Some(Trouble::MigrationRefused) => Err(Status::internal(
            "tables t with changes a: type changed from integer to text require migration. Migrate manually or consider \
             using 'migrate_mode: forced'",
        )),
        Some(Trouble::Silence) => std::future::pending().await,
        Some(Trouble::Refused | Trouble::AnswerLost) => Err(Status::internal("the backend is not ready")),
    }
}

fn no_state_call<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("a state client has no business here"))
}

#[tonic::async_trait]
impl Plugin for Service {
    type SyncStream = futures::stream::Empty<Result<pb::sync::Response, Status>>;
    type ReadStream = futures::stream::Iter<std::vec::IntoIter<Result<pb::read::Response, Status>>>;
    type TransformStream = futures::stream::Empty<Result<pb::transform::Response, Status>>;

    async fn read(&self, request: Request<pb::read::Request>) -> Result<Response<Self::ReadStream>, Status> {
        let (schema, _) =
            decode(&request.get_ref().table).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let table = schema.metadata().get("cq:table_name").cloned().unwrap_or_default();
        let met = lock(&self.0).meets(Method::Read);
        suffer(met).await?;
        let mut state = lock(&self.0);
        state.calls.push(Call::Read(table.clone()));
        if state.fail_reads {
            return Err(Status::permission_denied("the backend was told to fail"));
        }
        let Some((_, rows)) = state.tables.get(&table) else {
            let stored = state.destination.get(&table);
            let stored = stored.ok_or_else(|| Status::unknown(format!("relation \"{table}\" does not exist")))?;
            let record = |batch| project(batch, &schema).map(|record| pb::read::Response { record: record.into() });
            let records = stored.iter().map(record);
            return Ok(Response::new(futures::stream::iter(records.collect::<Vec<_>>())));
        };
        let records = rows.chunks(state.rows_per_record).map(|rows| encode(&schema, rows));
        let responses = records.map(|record| Ok(pb::read::Response { record: record.into() }));
        Ok(Response::new(futures::stream::iter(responses.collect::<Vec<_>>())))
    }

    async fn write(
        &self,
        request: Request<Streaming<pb::write::Request>>,
    ) -> Result<Response<pb::write::Response>, Status> {
        use pb::write::request::Message;
        let mut messages = request.into_inner();
        let (mut count, mut lost) = (0, false);
        while let Some(request) = messages.message().await? {
            count += 1;
            let insert = matches!(request.message, Some(Message::Insert(_)));
            let met = if insert { lock(&self.0).meets(Method::Insert) } else { None };
            if met == Some(Trouble::AnswerLost) {
                lost = true;
            } else {
                suffer(met).await?;
            }
            let mut state = lock(&self.0);
            match request.message {
                Some(Message::MigrateTable(migrate)) => {
                    let (schema, _) =
                        decode(&migrate.table).map_err(|error| Status::invalid_argument(error.to_string()))?;
                    let table = schema.metadata().get("cq:table_name").cloned().unwrap_or_default();
                    state.calls.push(Call::Migrate(table.clone()));
                    let entry = state.tables.entry(table).or_insert_with(|| (schema.clone(), Vec::new()));
                    entry.0 = schema;
                }
                Some(Message::Insert(insert)) if met == Some(Trouble::Swallowed) => {
                    let (_, rows) = table_and_rows(&insert.record)?;
                    state.calls.push(Call::Swallowed(keys(&rows)));
                }
                Some(Message::Insert(insert)) => state.insert(&insert.record)?,
                _ => return Err(Status::unimplemented("a state client deletes nothing")),
            }
        }
        lock(&self.0).calls.push(Call::WriteEnd(count));
        if lost {
            return Err(Status::unavailable("the answer was lost"));
        }
        Ok(Response::new(pb::write::Response {}))
    }

    async fn get_name(&self, _: Request<pb::get_name::Request>) -> Result<Response<pb::get_name::Response>, Status> {
        no_state_call()
    }

    async fn get_version(
        &self,
        _: Request<pb::get_version::Request>,
    ) -> Result<Response<pb::get_version::Response>, Status> {
        no_state_call()
    }

    async fn get_spec_schema(
        &self,
        _: Request<pb::get_spec_schema::Request>,
    ) -> Result<Response<pb::get_spec_schema::Response>, Status> {
        no_state_call()
    }

    async fn init(&self, _: Request<pb::init::Request>) -> Result<Response<pb::init::Response>, Status> {
        no_state_call()
    }

    async fn get_tables(
        &self,
        _: Request<pb::get_tables::Request>,
    ) -> Result<Response<pb::get_tables::Response>, Status> {
        no_state_call()
    }

    async fn sync(&self, _: Request<pb::sync::Request>) -> Result<Response<Self::SyncStream>, Status> {
        no_state_call()
    }

    async fn transform(
        &self,
        _: Request<Streaming<pb::transform::Request>>,
    ) -> Result<Response<Self::TransformStream>, Status> {
        no_state_call()
    }

    async fn transform_schema(
        &self,
        _: Request<pb::transform_schema::Request>,
    ) -> Result<Response<pb::transform_schema::Response>, Status> {
        no_state_call()
    }

    async fn close(&self, _: Request<pb::close::Request>) -> Result<Response<pb::close::Response>, Status> {
        no_state_call()
    }

    async fn test_connection(
        &self,
        _: Request<pb::test_connection::Request>,
    ) -> Result<Response<pb::test_connection::Response>, Status> {
        no_state_call()
    }
}

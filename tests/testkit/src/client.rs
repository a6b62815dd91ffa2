//! A gRPC client that does what the CloudQuery CLI does, collects a sync, and judges it by the protocol's rules.
//!
//! ```ignore
//! let mut client = Client::connect("http://127.0.0.1:7777").await;   // or "unix:///tmp/cq-x.sock"
//! client.init(&json!({"bucket": "b", "endpoint": server.endpoint()})).await?;
//! let sync = client.sync(&["*"], &[]).await;
//! assert_protocol(&sync);
//! assert_eq!(sync.rows("orders"), 100);
//! ```

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use pb::plugin_client::PluginClient;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// The CLI refuses larger messages.
const MAX_MESSAGE_BYTES: usize = 100 << 20;

/// How long [`Client::connect`] tries: a plugin that was just started takes a moment to listen.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A connection to a plugin.
#[derive(Clone)]
pub struct Client {
    /// The generated client, for calls that have no method here.
    pub grpc: PluginClient<Channel>,
}

impl Client {
    /// Connects to `http://host:port` or `unix:///path`, trying again while nothing listens.
    ///
    /// # Panics
    /// When nothing listens within ten seconds.
    pub async fn connect(target: &str) -> Self {
        let endpoint = Endpoint::from_shared(target.to_owned()).expect("a gRPC target");
        let started = Instant::now();
        loop {
            match endpoint.connect().await {
                Ok(channel) => {
                    let grpc = PluginClient::new(channel)
                        .max_decoding_message_size(MAX_MESSAGE_BYTES)
                        .max_encoding_message_size(MAX_MESSAGE_BYTES);
                    return Self { grpc };
                }
                Err(error) if started.elapsed() > CONNECT_WITHIN => panic!("nothing listens at {target}: {error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Init with this spec.
    ///
    /// # Errors
    /// What the plugin answered.
    pub async fn init(&mut self, spec: &serde_json::Value) -> Result<(), Status> {
        self.init_with(spec.to_string(), false).await
    }

    /// Init with any bytes as spec.
    ///
    /// # Errors
    /// What the plugin answered.
    pub async fn init_with(&mut self, spec: impl Into<Bytes>, no_connection: bool) -> Result<(), Status> {
        let invocation_id = "11111111-2222-4333-8444-555555555555".to_owned();
        let request = pb::init::Request { spec: spec.into(), no_connection, invocation_id };
        self.grpc.init(request).await.map(drop)
    }

    /// GetTables.
    ///
    /// # Errors
    /// What the plugin answered.
    pub async fn tables(&mut self, tables: &[&str], skip_tables: &[&str]) -> Result<Vec<SchemaRef>, Status> {
        let request = pb::get_tables::Request {
            tables: owned(tables),
            skip_tables: owned(skip_tables),
            skip_dependent_tables: false,
        };
        let response = self.grpc.get_tables(request).await?.into_inner();
        Ok(response.tables.iter().map(|table| decode(table).expect("an IPC stream").0).collect())
    }

    /// TestConnection.
    ///
    /// # Errors
    /// What the plugin answered with another gRPC status than OK.
    pub async fn test_connection(&mut self, spec: &serde_json::Value) -> Result<pb::test_connection::Response, Status> {
        let request = pb::test_connection::Request { spec: spec.to_string().into() };
        self.grpc.test_connection(request).await.map(tonic::Response::into_inner)
    }

    /// Close.
    ///
    /// # Errors
    /// What the plugin answered.
    pub async fn close(&mut self) -> Result<(), Status> {
        self.grpc.close(pb::close::Request {}).await.map(drop)
    }

    /// A sync as the CLI asks for it, error messages included; never fails: see [`Collected::status`].
    pub async fn sync(&mut self, tables: &[&str], skip_tables: &[&str]) -> Collected {
        self.sync_with(sync_request(tables, skip_tables), |_| {}).await
    }

    /// A sync with any request; `progress` sees each message when it arrives.
    pub async fn sync_with(
        &mut self,
        request: pb::sync::Request,
        mut progress: impl FnMut(&Message) + Send,
    ) -> Collected {
        let mut collected = Collected::default();
        let started = Instant::now();
        let result: Result<(), Status> = async {
            let mut stream = self.grpc.sync(request).await?.into_inner();
            while let Some(response) = stream.message().await? {
                let message = Message::decode(response);
                progress(&message);
                collected.messages.push(message);
            }
            Ok(())
        }
        .await;
        collected.status = result.err();
        collected.elapsed = started.elapsed();
        collected
    }
}

/// The request of [`Client::sync`], to change before [`Client::sync_with`].
pub fn sync_request(tables: &[&str], skip_tables: &[&str]) -> pb::sync::Request {
    pb::sync::Request {
        tables: owned(tables),
        skip_tables: owned(skip_tables),
        with_error_messages: true,
        ..Default::default()
    }
}

/// One message of a sync.
#[derive(Debug, Clone)]
pub enum Message {
    /// A table's schema.
    Migrate {
        /// The schema's `cq:table_name`.
        table: String,
        /// The schema.
        schema: SchemaRef,
        /// Batches in the IPC stream: none, if all is well.
        batches: usize,
    },
    /// Rows.
    Insert {
        /// The schema's `cq:table_name`.
        table: String,
        /// The schema of the IPC stream; the batches have it, too.
        schema: SchemaRef,
        /// One, if all is well.
        batches: Vec<RecordBatch>,
        /// The size of the IPC stream in bytes.
        encoded_bytes: usize,
    },
    /// A MessageError.
    Error {
        /// The table.
        table: String,
        /// The text.
        error: String,
    },
    /// What should not be there: a message without content, a DeleteRecord, bytes that are no IPC stream.
    Other(String),
}

impl Message {
    /// A message of the stream.
    pub fn decode(response: pb::sync::Response) -> Self {
        use pb::sync::response::Message as Wire;
        match response.message {
            Some(Wire::MigrateTable(migrate)) => match decode(&migrate.table) {
                Ok((schema, batches)) => Self::Migrate { table: table_name(&schema), schema, batches: batches.len() },
                Err(error) => Self::Other(format!("migrate: {error}")),
            },
            Some(Wire::Insert(insert)) => match decode(&insert.record) {
                Ok((schema, batches)) => {
                    Self::Insert { table: table_name(&schema), schema, batches, encoded_bytes: insert.record.len() }
                }
                Err(error) => Self::Other(format!("insert: {error}")),
            },
            Some(Wire::Error(error)) => Self::Error { table: error.table_name, error: error.error },
            Some(Wire::DeleteRecord(delete)) => Self::Other(format!("delete_record of {}", delete.table_name)),
            None => Self::Other("a message without content".to_owned()),
        }
    }
}

/// Everything that one sync sent.
#[derive(Debug, Default)]
pub struct Collected {
    /// In the order of arrival.
    pub messages: Vec<Message>,
    /// The error that ended the stream; `None`: it ended well.
    pub status: Option<Status>,
    /// From the request to the end of the stream.
    pub elapsed: Duration,
}

impl Collected {
    /// Table and schema of each migrate.
    pub fn migrates(&self) -> Vec<(&str, &SchemaRef)> {
        let migrates = self.messages.iter().filter_map(|message| match message {
            Message::Migrate { table, schema, .. } => Some((table.as_str(), schema)),
            _ => None,
        });
        migrates.collect()
    }

    /// The last schema announced for `table`.
    ///
    /// # Panics
    /// When none was.
    pub fn schema(&self, table: &str) -> &SchemaRef {
        let last = self.migrates().into_iter().filter(|(name, _)| *name == table).map(|(_, schema)| schema).next_back();
        last.unwrap_or_else(|| panic!("no migrate for {table}; there are {:?}", self.tables()))
    }

    /// The tables that were announced, sorted.
    pub fn tables(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.migrates().into_iter().map(|(name, _)| name.to_owned()).collect();
        names.into_iter().collect()
    }

    /// The batches of a table, in order of arrival.
    pub fn batches(&self, table: &str) -> Vec<&RecordBatch> {
        let of_table = self.messages.iter().filter_map(|message| match message {
            Message::Insert { table: name, batches, .. } if name == table => Some(batches),
            _ => None,
        });
        of_table.flatten().collect()
    }

    /// The rows of a table in one batch, in order of arrival.
    ///
    /// # Panics
    /// When the table was not announced, or its batches do not fit together.
    pub fn concatenated(&self, table: &str) -> RecordBatch {
        let schema = self.schema(table);
        arrow::compute::concat_batches(schema, self.batches(table)).expect("batches of the announced schema")
    }

    /// The number of rows of a table.
    pub fn rows(&self, table: &str) -> usize {
        self.batches(table).iter().map(|batch| batch.num_rows()).sum()
    }

    /// Rows, inserts and encoded bytes of each announced table.
    pub fn totals(&self) -> BTreeMap<String, Totals> {
        let mut totals: BTreeMap<String, Totals> =
            self.tables().into_iter().map(|table| (table, Totals::default())).collect();
        for message in &self.messages {
            if let Message::Insert { table, batches, encoded_bytes, .. } = message {
                let total = totals.entry(table.clone()).or_default();
                total.rows += batches.iter().map(RecordBatch::num_rows).sum::<usize>();
                total.inserts += 1;
                total.encoded_bytes += encoded_bytes;
            }
        }
        totals
    }

    /// Table and text of each MessageError.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.messages.iter().filter_map(|message| match message {
            Message::Error { table, error } => Some((table.as_str(), error.as_str())),
            _ => None,
        });
        errors.collect()
    }
}

/// What arrived for one table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Rows.
    pub rows: usize,
    /// Insert messages.
    pub inserts: usize,
    /// Bytes of their IPC streams.
    pub encoded_bytes: usize,
}

/// Fails the test when a sync breaks one of the rules 54–62 of the protocol, or ended with an error.
#[track_caller]
pub fn assert_protocol(collected: &Collected) {
    assert!(collected.status.is_none(), "the sync failed: {:?}", collected.status);
    let broken = protocol_violations(collected, Nested::AsJson);
    assert!(broken.is_empty(), "the sync breaks the protocol:\n{}", broken.join("\n"));
}

/// Whether struct and map columns may be on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nested {
    /// They must have become JSON.
    AsJson,
    /// They stay as they are.
    Native,
}

/// Which of the rules 54–62 a sync breaks, whatever its status; empty when none.
pub fn protocol_violations(collected: &Collected, nested: Nested) -> Vec<String> {
    let mut broken = Vec::new();
    let mut announced: HashMap<&str, &SchemaRef> = HashMap::new();
    let mut ids: HashMap<&str, HashSet<Vec<u8>>> = HashMap::new();
    let mut first_insert = None;
    for (index, message) in collected.messages.iter().enumerate() {
        match message {
            Message::Migrate { table, schema, batches } => {
                if let Some(first) = first_insert {
                    broken.push(format!("55: message {index} announces {table} after the first insert ({first})"));
                }
                if *batches > 0 {
                    broken.push(format!("50: the migrate of {table} has {batches} batches"));
                }
                check_schema(table, schema, nested, &mut broken);
                announced.insert(table, schema);
            }
            Message::Insert { table, schema, batches, encoded_bytes } => {
                first_insert.get_or_insert(index);
                match announced.get(table.as_str()) {
                    None => broken.push(format!("54: message {index} inserts into {table} before its migrate")),
                    Some(migrate) if *migrate != schema => {
                        broken.push(format!("57: message {index}: the insert's schema differs from {table}'s migrate"));
                    }
                    Some(_) => {}
                }
                if batches.len() != 1 || batches[0].num_rows() == 0 {
                    let rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
                    broken.push(format!("56: message {index} into {table} has batches of {rows:?} rows"));
                }
                if *encoded_bytes > MAX_MESSAGE_BYTES {
                    broken.push(format!("60: message {index} into {table} has {encoded_bytes} bytes"));
                }
                for batch in batches {
                    check_nulls(table, batch, &mut broken);
                    check_ids(table, batch, ids.entry(table).or_default(), &mut broken);
                }
            }
            Message::Error { .. } => {}
            Message::Other(what) => broken.push(format!("message {index}: {what}")),
        }
    }
    broken
}

/// The table's keys, columns and types.
fn check_schema(table: &str, schema: &Schema, nested: Nested, broken: &mut Vec<String>) {
    const TABLE_KEYS: [&str; 6] = [
        "cq:table_name",
        "cq:table_description",
        "cq:table_title",
        "cq:extension:constraint_name",
        "cq:table_permissions_needed",
        "cq:table_sensitive_columns",
    ];
    for key in TABLE_KEYS {
        if !schema.metadata().contains_key(key) {
            broken.push(format!("50: the schema of {table:?} lacks {key}"));
        }
    }
    for key in schema.metadata().keys() {
        let incremental = key == "cq:extension:incremental";
        if !TABLE_KEYS.contains(&key.as_str()) && !incremental {
            broken.push(format!("58: the schema of {table} has foreign metadata {key}"));
        }
    }
    let mut names = HashSet::new();
    for field in schema.fields() {
        if !names.insert(field.name().to_lowercase()) {
            broken.push(format!("76: {table} has two columns {}", field.name()));
        }
        // Every reader takes an absent key for its default, so one that says the default is only weight in each message.
        for key in FIELD_KEYS {
            if field.metadata().get(key).is_some_and(|value| value != "true") {
                broken.push(format!("50: column {table}.{} repeats the default of {key}", field.name()));
            }
        }
        if field.metadata().contains_key(UNIQUE) {
            broken.push(format!("62: column {table}.{} is announced as unique besides the primary key", field.name()));
        }
        check_field(&format!("{table}.{}", field.name()), field, nested, broken);
    }
    let key_columns: Vec<&str> =
        schema.fields().iter().filter(|field| is_primary_key(field)).map(|field| field.name().as_str()).collect();
    if key_columns != ["_cq_id"] {
        broken.push(format!("62: the primary key of {table} is {key_columns:?}, not _cq_id"));
    }
}

/// Announced for no column: a destination's `sync_group_id` makes a row of each group out of one `_cq_id`.
const UNIQUE: &str = "cq:extension:unique";

/// The keys that a column may have.
const FIELD_KEYS: [&str; 5] = [
    "cq:extension:primary_key",
    UNIQUE,
    "cq:extension:incremental",
    "cq:extension:primary_key_component",
    "cq:extension:type_schema",
];

/// Metadata and type of a field, and of the fields in it.
fn check_field(path: &str, field: &Field, nested: Nested, broken: &mut Vec<String>) {
    for key in field.metadata().keys() {
        let extension = key.starts_with("ARROW:extension:");
        if !extension && !FIELD_KEYS.contains(&key.as_str()) {
            broken.push(format!("58: {path} has foreign metadata {key}"));
        }
    }
    let extension = field.metadata().get("ARROW:extension:name").map(String::as_str);
    let serialized = field.metadata().get("ARROW:extension:metadata").map(String::as_str);
    match (extension, serialized, field.data_type()) {
        (None, None, _)
        | (Some("uuid"), Some("uuid-serialized"), DataType::FixedSizeBinary(16))
        | (Some("json"), Some("json-serialized"), DataType::Binary)
        | (Some("inet"), Some("inet-serialized"), DataType::Binary)
        | (Some("mac"), Some("mac-serialized"), DataType::Binary) => {}
        (name, metadata, storage) => {
            broken.push(format!("58: {path} has extension {name:?} ({metadata:?}) on {storage}"));
        }
    }
    match field.data_type() {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Time64(TimeUnit::Microsecond) => {}
        DataType::FixedSizeBinary(16) if extension == Some("uuid") => {}
        DataType::Decimal128(_, scale) if *scale >= 0 => {}
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {}
        DataType::List(element) => {
            let element_type = element.data_type();
            let scalar = !element_type.is_nested();
            if !scalar && (nested == Nested::AsJson || matches!(element_type, DataType::List(_))) {
                broken.push(format!("59: {path} is a list of {element_type}"));
            }
            check_field(&format!("{path}[]"), element, nested, broken);
        }
        DataType::Struct(fields) if nested == Nested::Native => {
            for field in fields {
                check_field(&format!("{path}.{}", field.name()), field, nested, broken);
            }
        }
        DataType::Map(entries, _) if nested == Nested::Native => {
            if let DataType::Struct(fields) = entries.data_type() {
                for field in fields {
                    check_field(&format!("{path}{{{}}}", field.name()), field, nested, broken);
                }
            }
        }
        other => broken.push(format!("59: {path} has the type {other}, which not every destination takes")),
    }
}

/// No nulls where there must be none.
fn check_nulls(table: &str, batch: &RecordBatch, broken: &mut Vec<String>) {
    for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
        if (!field.is_nullable() || is_primary_key(field)) && values.logical_null_count() > 0 {
            broken.push(format!("61: {table}.{} has nulls", field.name()));
        }
    }
}

/// `_cq_id` is there and never twice.
fn check_ids(table: &str, batch: &RecordBatch, seen: &mut HashSet<Vec<u8>>, broken: &mut Vec<String>) {
    let Some(ids) = batch.column_by_name("_cq_id") else {
        broken.push(format!("62: {table} has no _cq_id"));
        return;
    };
    let Some(ids) = ids.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>() else {
        broken.push(format!("62: {table}._cq_id is {}, not a UUID", ids.data_type()));
        return;
    };
    let repeated = ids.iter().flatten().filter(|id| !seen.insert(id.to_vec())).count();
    if repeated > 0 {
        broken.push(format!("62: {table}._cq_id repeats in {repeated} rows"));
    }
}

fn is_primary_key(field: &Field) -> bool {
    field.metadata().get("cq:extension:primary_key").is_some_and(|value| value == "true")
}

fn table_name(schema: &Schema) -> String {
    schema.metadata().get("cq:table_name").cloned().unwrap_or_default()
}

/// Schema and batches of an IPC stream.
///
/// # Errors
/// When the bytes are none.
pub fn decode(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), arrow::error::ArrowError> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

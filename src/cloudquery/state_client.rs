//! The client of a state backend: a destination plugin that keeps a small table of keys and values between syncs.
//!
//! [`StateClient::open`] loads the whole table, [`StateClient::get`] and [`StateClient::set`] work on memory, and
//! [`StateClient::flush`] writes what was changed, in one insert. Backends that only append are fine: each change of a
//! key has a higher *version*, and of several rows with one key the highest version counts.
//!
//! [`StateClient::refresh`] tells what other clients wrote meanwhile from what the backend lost.
//!
//! How a backend is called, and how long one is borne with that fails, is told in `calls`.

mod calls;
mod error;
mod own_values;
mod reread;
mod target;

pub use calls::Patience;
pub use error::{OpenError, StateError};
pub use target::TargetError;

use super::{
    ipc::{BatchEncoder, EncodeError, encode_schema},
    proto::{
        discovery_v1::{self, discovery_client::DiscoveryClient},
        plugin_v3::{self as pb, plugin_client::PluginClient},
    },
    schema::{PRIMARY_KEY, field, table_schema},
    source::Backend,
};
use crate::schema::types::ColumnType;
use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray, UInt64Array},
    compute::cast,
    datatypes::{DataType, SchemaRef, UInt64Type},
    error::ArrowError,
    ipc::reader::StreamReader,
};
use bytes::Bytes;
use calls::Caller;
use own_values::OwnValues;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use tonic::{Status, transport::Channel};

/// Largest message in either direction: what the state clients of CloudQuery's own SDK allow.
pub const MAX_STATE_MESSAGE_BYTES: usize = 100 << 20;
/// Keys and values in one insert, in bytes. Far more than a usual flush; only above it there are several inserts, so
/// that none comes near [`MAX_STATE_MESSAGE_BYTES`].
const MAX_INSERT_BYTES: usize = 64 << 20;
/// The version of the plugin protocol that a backend must speak.
const PROTOCOL_VERSION: i32 = 3;

/// One key's state.
#[derive(Debug, Default)]
struct Entry {
    value: String,
    version: u64,
    /// When the value was last set: changes are written in that order.
    set: u64,
    /// The value that the backend had before, if it was changed since; `None`: the backend has this one.
    before: Option<String>,
}

/// The state table, in memory.
#[derive(Debug)]
pub struct StateClient {
    table: String,
    schema: SchemaRef,
    caller: Caller,
    entries: BTreeMap<String, Entry>,
    /// What the backend had or was given of the keys that were flushed.
    own: OwnValues,
    /// Counts calls of [`StateClient::set`] that changed something.
    sets: u64,
}

impl StateClient {
    /// Connects, creates the table if need be, and loads it. `None` when no backend is configured (both strings
    /// empty). Bears with a backend that is busy or away as long as [`Patience::default`] says. Safe to cancel: at most the
    /// empty table was created.
    ///
    /// # Errors
    /// [`StateError::Options`] and [`StateError::Open`].
    pub async fn open(backend: &Backend) -> Result<Option<Self>, StateError> {
        Self::open_with(backend, Patience::default()).await
    }

    /// [`StateClient::open`], with another patience, for this and all further calls.
    ///
    /// # Errors
    /// The same.
    pub async fn open_with(backend: &Backend, patience: Patience) -> Result<Option<Self>, StateError> {
        let Some(mut client) = Self::unread(backend, patience)? else { return Ok(None) };
        let encoded = encode_schema(&client.schema).map_err(OpenError::from)?;
        let (calls, name) = (&client.caller, client.table.as_str());
        client.entries = calls.until_it_works(|channel| load(calls, name, channel, encoded.clone())).await?;
        Ok(Some(client))
    }

    /// A client that has not read the table yet. `None` when no backend is configured.
    fn unread(backend: &Backend, patience: Patience) -> Result<Option<Self>, StateError> {
        match (backend.connection.is_empty(), backend.table_name.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return Err(StateError::Options { missing: "connection" }),
            (false, true) => return Err(StateError::Options { missing: "table_name" }),
            (false, false) => {}
        }
        let endpoint = target::endpoint(&backend.connection).map_err(OpenError::from)?;
        let table = backend.table_name.clone();
        let caller = Caller::new(endpoint, &backend.connection, &table, patience);
        let schema = state_schema(&table);
        Ok(Some(Self { table, schema, caller, entries: BTreeMap::new(), own: OwnValues::default(), sets: 0 }))
    }

    /// The value of a key; `None` when the backend has no row with it. An empty value is `Some("")`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.value.as_str())
    }

    /// All keys that start with `prefix`, with their values, sorted by key.
    pub fn keys_with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (key.as_str(), entry.value.as_str()))
    }

    /// Sets a key in memory. The same value as before changes nothing; so does an empty one for a key that is not there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if self.get(key).unwrap_or_default() == value {
            return;
        }
        let entry = self.entries.entry(key.to_owned()).or_default();
        let before = std::mem::replace(&mut entry.value, value);
        entry.before.get_or_insert(before);
        entry.version = entry.version.saturating_add(1);
        self.sets += 1;
        entry.set = self.sets;
    }

    /// The size of all keys and values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|(key, entry)| key.len() + entry.value.len()).sum()
    }

    /// Whether keys were set that are not flushed.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.entries.values().any(|entry| entry.before.is_some())
    }

    /// Takes back what was set and not flushed of the keys that start with `prefix`.
    pub fn forget_changes(&mut self, prefix: &str) {
        let keys = self.entries.range_mut::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        for (_, entry) in keys.take_while(|(key, _)| key.starts_with(prefix)) {
            if let Some(before) = entry.before.take() {
                entry.value = before;
            }
        }
    }

    /// Writes the changed keys in the order in which they were last set, in one insert, and gives their number. Without
    /// a change the backend is not called. A backend that fails is tried again as patience allows. Call it when everything
    /// that the state speaks of was sent.
    ///
    /// Not safe to cancel: the backend may have written all, some or none of the keys. They stay marked as changed, so
    /// a second flush writes them again.
    ///
    /// # Errors
    /// [`StateError::Flush`]. Then, too, the keys stay marked.
    pub async fn flush(&mut self) -> Result<usize, StateError> {
        let mut changed: Vec<(&String, &Entry, &str)> =
            self.entries.iter().filter_map(|(key, entry)| Some((key, entry, entry.before.as_deref()?))).collect();
        changed.sort_unstable_by_key(|(_, entry, _)| entry.set);
        if changed.is_empty() {
            return Ok(0);
        }
        for (key, entry, before) in &changed {
            self.own.remember(key, before);
            self.own.remember(key, &entry.value);
        }
        let count = changed.len();
        let table = &self.table;
        let failed = |reason: String| StateError::Flush { table: table.clone(), reason };
        let inserts = inserts(&self.schema, changed.iter().map(|(key, entry, _)| (*key, *entry)).collect())
            .map_err(|error| failed(error.to_string()))?;
        let caller = &self.caller;
        let written = caller.until_it_works(|channel| write(caller, channel, inserts.clone())).await;
        written.map_err(|error| match error {
            OpenError::Call { reason, .. } => failed(reason),
            other => failed(other.to_string()),
        })?;
        self.entries.values_mut().for_each(|entry| entry.before = None);
        Ok(count)
    }
}

/// The whole state table, which is made if it is not there.
async fn load(
    caller: &Caller,
    table: &str,
    channel: Channel,
    schema: Bytes,
) -> Result<BTreeMap<String, Entry>, OpenError> {
    check_version(caller, channel.clone()).await?;
    let mut client = plugin(channel);
    let migrate = pb::write::MessageMigrateTable { table: schema.clone(), migrate_force: false };
    caller.answer("migrate", 0, client.write(one(pb::write::request::Message::MigrateTable(migrate)))).await?;
    let read = client.read(pb::read::Request { table: schema });
    let mut records = caller.answer("read", 0, read).await?.into_inner();
    let mut entries = BTreeMap::new();
    while let Some(response) = caller.answer("read", 0, records.message()).await? {
        add_record(&mut entries, &response.record)
            .map_err(|reason| OpenError::Table { table: table.to_owned(), reason })?;
    }
    Ok(entries)
}

/// Makes sure that the backend speaks the protocol.
async fn check_version(caller: &Caller, channel: Channel) -> Result<(), OpenError> {
    let mut discovery = DiscoveryClient::new(channel);
    let versions = discovery.get_versions(discovery_v1::get_versions::Request {});
    let versions = caller.answer("ask for the versions of the backend", 0, versions).await?.into_inner().versions;
    if versions.contains(&PROTOCOL_VERSION) { Ok(()) } else { Err(OpenError::Versions { versions }) }
}

/// What errors call [`write()`].
const WRITE: &str = "write";

/// One Write stream of `inserts`.
async fn write(caller: &Caller, channel: Channel, inserts: Vec<Bytes>) -> Result<(), OpenError> {
    let bytes = inserts.iter().map(|record| record.len() as u64).sum();
    let requests = inserts.into_iter().map(|record| pb::write::Request {
        message: Some(pb::write::request::Message::Insert(pb::write::MessageInsert { record })),
    });
    let mut client = plugin(channel);
    caller.answer(WRITE, bytes, client.write(tokio_stream::iter(requests.collect::<Vec<_>>()))).await?;
    Ok(())
}

fn plugin(channel: Channel) -> PluginClient<Channel> {
    PluginClient::new(channel)
        .max_decoding_message_size(MAX_STATE_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_STATE_MESSAGE_BYTES)
}

/// The schema of a state table: key (the primary key, though nullable), value, version.
fn state_schema(table_name: &str) -> SchemaRef {
    let mut key = field("key", &ColumnType::Utf8, true);
    let mut metadata = key.metadata().clone();
    metadata.insert(PRIMARY_KEY.to_owned(), "true".to_owned());
    key.set_metadata(metadata);
    let value = field("value", &ColumnType::Utf8, true);
    let version = field("version", &ColumnType::UInt64, true);
    table_schema(table_name, [key, value, version])
}

/// A stream of one message: the client half-closes behind it.
fn one(message: pb::write::request::Message) -> impl futures::Stream<Item = pb::write::Request> {
    tokio_stream::once(pb::write::Request { message: Some(message) })
}

/// Takes the rows of a record of the Read stream. Columns go by position, since backends rename them.
fn add_record(entries: &mut BTreeMap<String, Entry>, record: &Bytes) -> Result<(), String> {
    let unreadable = |error: ArrowError| format!("its answer is not an Arrow record: {error}");
    for batch in StreamReader::try_new(&record[..], None).map_err(unreadable)? {
        let batch = batch.map_err(unreadable)?;
        let column = |index: usize, name: &str, as_type: &DataType| -> Result<ArrayRef, String> {
            let column = batch.columns().get(index).ok_or_else(|| format!("it has no column {name}"))?;
            cast(column, as_type).map_err(|_| format!("its column {name} is {}, not {as_type}", column.data_type()))
        };
        let keys = column(0, "key", &DataType::Utf8)?;
        let values = column(1, "value", &DataType::Utf8)?;
        // State tables made by CloudQuery's SDK for Python have two columns.
        let versions = if batch.num_columns() > 2 { Some(column(2, "version", &DataType::UInt64)?) } else { None };
        let (keys, values) = (keys.as_string::<i32>(), values.as_string::<i32>());
        let versions = versions.as_ref().map(|versions| versions.as_primitive::<UInt64Type>());
        for row in (0..batch.num_rows()).filter(|&row| keys.is_valid(row)) {
            let version = versions.filter(|versions| versions.is_valid(row)).map_or(0, |versions| versions.value(row));
            let key = keys.value(row);
            if entries.get(key).is_some_and(|entry| entry.version > version) {
                continue;
            }
            let value = if values.is_valid(row) { values.value(row) } else { "" };
            entries.insert(key.to_owned(), Entry { value: value.to_owned(), version, ..Entry::default() });
        }
    }
    Ok(())
}

/// The records of a flush, nearly always one.
fn inserts(schema: &SchemaRef, changed: Vec<(&String, &Entry)>) -> Result<Vec<Bytes>, EncodeError> {
    let encoder = BatchEncoder::new(schema.clone())?;
    let mut records = Vec::new();
    let mut rest = &changed[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(key, entry)| {
            bytes += key.len() + entry.value.len();
            bytes <= MAX_INSERT_BYTES
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        let keys: StringArray = now.iter().map(|(key, _)| Some(key.as_str())).collect();
        let values: StringArray = now.iter().map(|(_, entry)| Some(entry.value.as_str())).collect();
        let versions: UInt64Array = now.iter().map(|(_, entry)| Some(entry.version)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(versions)];
        records.push(encoder.encode(&RecordBatch::try_new(schema.clone(), columns)?)?);
        rest = later;
    }
    Ok(records)
}

/// A status in words: its message, or what its code means when it has none.
fn describe(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(rows: &[(&str, &str, u64)]) -> BTreeMap<String, Entry> {
        let entry = |value: &str, version| Entry { value: value.to_owned(), version, ..Entry::default() };
        rows.iter().map(|(key, value, version)| ((*key).to_owned(), entry(value, *version))).collect()
    }

    #[test]
    fn the_schema_is_that_of_a_state_table() {
        let schema = state_schema("state");
        assert_eq!(schema.metadata()["cq:table_name"], "state");
        assert_eq!(schema.metadata().len(), 6);
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|f| {
                (f.name().as_str(), f.data_type().clone(), f.is_nullable(), f.metadata().contains_key(PRIMARY_KEY))
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("key", DataType::Utf8, true, true),
                ("value", DataType::Utf8, true, false),
                ("version", DataType::UInt64, true, false),
            ]
        );
    }

    #[test]
    fn a_flush_above_the_limit_has_several_inserts_in_order() {
        let large = "x".repeat(MAX_INSERT_BYTES / 2);
        let state = entries(&[("a", &large, 1), ("b", &large, 1), ("c", "small", 1), ("d", &large, 1)]);
        let records = inserts(&state_schema("state"), state.iter().collect()).unwrap();
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|record| record.len() < MAX_STATE_MESSAGE_BYTES));
        let mut read = BTreeMap::new();
        for record in &records {
            add_record(&mut read, record).unwrap();
        }
        assert_eq!(read.keys().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(read["c"].value, "small");
    }

    #[test]
    fn rows_that_are_no_state_are_an_error() {
        let schema = table_schema("state", [field("key", &ColumnType::Utf8, true)]);
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["k"]));
        let batch = RecordBatch::try_new(schema.clone(), vec![keys]).unwrap();
        let record = BatchEncoder::new(schema).unwrap().encode(&batch).unwrap();
        assert_eq!(add_record(&mut BTreeMap::new(), &record).unwrap_err(), "it has no column value");
        let error = add_record(&mut BTreeMap::new(), &Bytes::from_static(b"nonsense")).unwrap_err();
        assert!(error.contains("not an Arrow record"), "{error}");
    }
}

//! Reads besides the one that opens the state: a table of the destination's, and the state once more before it is written.

use super::{Entry, OpenError, StateClient, StateError, add_record, pb, plugin};
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::ipc::encode_schema;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tonic::transport::Channel;

impl StateClient {
    /// The highest generation of `source` that the backend has in its table of commits; `None`: there is no row. One try:
    /// that the table is not there is the usual failure.
    ///
    /// # Errors
    /// Why the table cannot be read: for a backend that is no destination of the sync there is no such table.
    pub async fn generation(&self, table: &CommitTable, source: &str) -> Result<Option<u64>, String> {
        let request = table.read_request().map_err(|error| error.to_string())?;
        let records = self.caller.once(|channel| self.read(channel, request.clone())).await;
        let records = records.map_err(|error| crate::cloudquery::state::chain(&error))?;
        let mut highest = None;
        for record in &records {
            highest = highest.max(CommitTable::generation(source, record)?);
        }
        Ok(highest)
    }

    /// Reads the state once more and gives the keys whose values are other ones than at the time of the last read or write:
    /// another sync wrote them meanwhile. Keys that were set and not flushed must not be there yet.
    ///
    /// # Errors
    /// [`StateError::Refresh`]. Then all is as it was.
    pub async fn refresh(&mut self) -> Result<BTreeSet<String>, StateError> {
        let table = self.table.clone();
        let failed = |reason: String| StateError::Refresh { table: table.clone(), reason };
        let encoded = encode_schema(&self.schema).map_err(|error| failed(error.to_string()))?;
        let records = self.caller.until_it_works(|channel| self.read(channel, encoded.clone())).await;
        let records = records.map_err(|error| match error {
            OpenError::Call { reason, .. } => failed(reason),
            other => failed(other.to_string()),
        })?;
        let mut fresh: BTreeMap<String, Entry> = BTreeMap::new();
        for record in &records {
            add_record(&mut fresh, record).map_err(&failed)?;
        }
        let old = std::mem::replace(&mut self.entries, fresh);
        let keys = old.keys().chain(self.entries.keys());
        Ok(keys.filter(|key| value(&old, key) != value(&self.entries, key)).cloned().collect())
    }

    /// All records of a table.
    async fn read(&self, channel: Channel, table: Bytes) -> Result<Vec<Bytes>, OpenError> {
        let mut client = plugin(channel);
        let read = client.read(pb::read::Request { table });
        let mut stream = self.caller.answer("read", 0, read).await?.into_inner();
        let mut records = Vec::new();
        while let Some(response) = self.caller.answer("read", 0, stream.message()).await? {
            records.push(response.record);
        }
        Ok(records)
    }
}

/// The value of a key: an empty one is as good as none.
fn value<'a>(entries: &'a BTreeMap<String, Entry>, key: &str) -> &'a str {
    entries.get(key).map_or("", |entry| entry.value.as_str())
}

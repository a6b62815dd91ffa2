//! Other reads than the one that opens the state for a sync: by who only looks, of a table of the destination's, and of the
//! state once more before it is written.

use super::{Entry, OpenError, Patience, StateClient, StateError, add_record, check_version, pb, plugin};
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::ipc::encode_schema;
use crate::cloudquery::source::Backend;
use crate::error_chain::error_chain;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, transport::Channel};

/// What a backend that is asked for a table says while another client reads from it: only the text tells, not the code.
const BUSY: &str = "already in use";

impl StateClient {
    /// The state for who only looks: nothing is made or changed in the backend. `Ok(Err(…))` says how a backend refuses to
    /// read the table, which is what backends do that have none. `None` when no backend is configured. Safe to cancel.
    ///
    /// # Errors
    /// [`StateError::Options`] and [`StateError::Open`].
    pub async fn look(backend: &Backend, patience: Patience) -> Result<Option<Result<Self, String>>, StateError> {
        let Some(mut client) = Self::unread(backend, patience)? else { return Ok(None) };
        let table = encode_schema(&client.schema).map_err(OpenError::from)?;
        let attempt = |channel: Channel| async {
            check_version(&client.caller, channel.clone()).await?;
            match client.read(channel, table.clone()).await {
                Err(error @ OpenError::Call { .. }) if is_refusal(&error) => Ok(Err(error_chain(&error))),
                other => other.map(Ok),
            }
        };
        let records = match client.caller.until_it_works(attempt).await? {
            Ok(records) => records,
            Err(refusal) => return Ok(Some(Err(refusal))),
        };
        for record in &records {
            let bad = |reason| OpenError::Table { table: client.table.clone(), reason };
            add_record(&mut client.entries, record).map_err(bad)?;
        }
        Ok(Some(Ok(client)))
    }

    /// The highest generation of `source` that the backend has in its table of commits; `None`: there is no row. A backend
    /// that refuses has no such table, which is usual where it is not a destination: `Ok(Err(…))` says how it did.
    /// One that does not answer, or is busy, is tried again: it may well have the row.
    ///
    /// # Errors
    /// [`StateError::Open`], when the backend does not answer for as long as it is tried.
    pub async fn generation(
        &self,
        table: &CommitTable,
        source: &str,
    ) -> Result<Result<Option<u64>, String>, StateError> {
        let request = match table.read_request() {
            Ok(request) => request,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let attempt = |channel| async {
            match self.read(channel, request.clone()).await {
                Err(error) if is_refusal(&error) => Ok(Err(error_chain(&error))),
                other => other.map(Ok),
            }
        };
        let records = match self.caller.until_it_works(attempt).await? {
            Ok(records) => records,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut highest = None;
        for record in &records {
            match CommitTable::generation(source, record) {
                Ok(generation) => highest = highest.max(generation),
                Err(unreadable) => return Ok(Err(unreadable)),
            }
        }
        Ok(Ok(highest))
    }

    /// Reads the state once more and gives the keys whose values another sync wrote since the last read or write: values
    /// that are not among those that this client found or wrote.
    ///
    /// A key that has an older one of these, or nothing where this client wrote the first value, was *lost*: some backends
    /// log that a write failed, and answer that it went well. Such keys are set again, as they were, in the order in which they
    /// were set. But where another sync wrote a key of the same folder (all up to the last `/`), it may also have put the
    /// older value back: then it counts as that one's, too.
    ///
    /// Keys that were set and not flushed, or whose flush failed, are there with either value; they stay set, unless another
    /// sync wrote them.
    ///
    /// # Errors
    /// [`StateError::Refresh`]. Then all is as it was.
    pub async fn refresh(&mut self) -> Result<BTreeSet<String>, StateError> {
        let fresh = self.read_again().await?;
        let old = std::mem::replace(&mut self.entries, fresh);
        let appeared =
            self.entries.keys().filter(|key| !old.contains_key(*key) && !value(&self.entries, key).is_empty());
        let mut foreign: BTreeSet<String> = appeared.cloned().collect();
        let mut lost = Vec::new();
        for (key, mine) in old {
            let now = value(&self.entries, &key);
            if now == mine.value {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.set = mine.set;
                }
            } else if mine.before.as_deref() == Some(now) {
                self.set_again(key, mine);
            } else if self.own.has(&key, now) {
                lost.push((key, mine));
            } else {
                foreign.insert(key);
            }
        }
        let folders: BTreeSet<String> = foreign.iter().map(|key| folder(key).to_owned()).collect();
        let (theirs, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|(key, _)| folders.contains(folder(key)));
        foreign.extend(theirs.into_iter().map(|(key, _)| key));
        // Of those whose write failed nothing was said.
        let keys = lost.iter().filter(|(_, mine)| mine.before.is_none()).count();
        if keys > 0 {
            tracing::warn!(
                state_table = self.table,
                keys,
                "the state backend did not keep what it was sent, though it did not say so: these keys are written once \
                 more; see its log"
            );
        }
        lost.into_iter().for_each(|(key, mine)| self.set_again(key, mine));
        Ok(foreign)
    }

    /// The backend's value becomes the one before.
    fn set_again(&mut self, key: String, mine: Entry) {
        let before = value(&self.entries, &key).to_owned();
        // Above what the backend has, so that it counts where rows are only appended.
        let version = self.entries.get(&key).map_or(0, |entry| entry.version).saturating_add(1);
        self.entries.insert(key, Entry { version: version.max(mine.version), before: Some(before), ..mine });
    }

    /// The whole state table.
    async fn read_again(&self) -> Result<BTreeMap<String, Entry>, StateError> {
        let failed = |reason: String| StateError::Refresh { table: self.table.clone(), reason };
        let encoded = encode_schema(&self.schema).map_err(|error| failed(error.to_string()))?;
        let records = self.caller.until_it_works(|channel| self.read(channel, encoded.clone())).await;
        let records = records.map_err(|error| match error {
            OpenError::Call { reason, .. } => failed(reason),
            other => failed(other.to_string()),
        })?;
        let mut fresh = BTreeMap::new();
        for record in &records {
            add_record(&mut fresh, record).map_err(failed)?;
        }
        Ok(fresh)
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

/// Whether the backend itself said no, and would say it again.
fn is_refusal(error: &OpenError) -> bool {
    match error {
        OpenError::Call { code: Code::Unavailable, .. } | OpenError::Call { answered: false, .. } => false,
        OpenError::Call { reason, .. } => !reason.contains(BUSY),
        OpenError::Connect { .. } => false,
        _ => true,
    }
}

/// The value of a key: an empty one is as good as none.
fn value<'a>(entries: &'a BTreeMap<String, Entry>, key: &str) -> &'a str {
    entries.get(key).map_or("", |entry| entry.value.as_str())
}

/// What belongs together: all keys that are alike up to the last `/`.
fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}

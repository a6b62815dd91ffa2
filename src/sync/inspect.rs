//! What an object's file says of itself: read from its head (the first or last bytes), or from the object if it is in memory.

use super::context::Context;
use super::cpu;
use super::error::Error;
use super::head_guess::HeadGuess;
use crate::config::TableOptions;
use crate::formats::error::{FIRST_BYTES, ReadError};
use crate::formats::format::Format;
use crate::formats::{File, HeadAt, Inspected};
use crate::memory::Seat;
use crate::memory::head_room::HeadRoom;
use crate::s3::coalesce::coalesce;
use crate::s3::{ByteRange, ETag, ErrorKind, Fetched, RetryBudget, Store};
use crate::schema::file::FileSchema;
use crate::schema::rules::ColumnRules;
use crate::tables::group::ListedObject;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// How often an object that is replaced while it is read is begun again.
pub const MAX_RESTARTS: u32 = 3;

/// How often a head may turn out longer than it was known to be: formats that only say so as they are read ask for several times
/// as much each time.
const MAX_HEAD_TRIES: u32 = 4;

/// A file, and which version of the object it is.
#[derive(Debug)]
pub struct Found {
    /// Its room, see [`Seat::head_room`]; `None` for an object that was admitted with it.
    _room: Option<HeadRoom>,
    /// The file.
    pub file: File,
    /// The version that was read.
    pub etag: Option<ETag>,
    /// The version's id, in a bucket that has versions.
    pub version: Option<String>,
    /// The object's size in bytes.
    pub object_bytes: u64,
}

/// Where the memory for a head comes from.
#[derive(Debug)]
pub enum Room<'a> {
    /// It is asked for. Who asks must hold no other head, and nothing that it was admitted with.
    Asked(&'a mut Seat),
    /// It is part of what the object was admitted with.
    Admitted,
}

impl Room<'_> {
    /// No more of `head_bytes` than there may ever be room for.
    fn cut(&self, format: Format, head_bytes: u64) -> u64 {
        match self {
            Self::Asked(seat) => head_bytes.min(seat.most_head_bytes() / format.parsed_head_factor()),
            Self::Admitted => head_bytes,
        }
    }

    async fn take(&mut self, format: Format, head_bytes: u64) -> Result<Option<HeadRoom>, Error> {
        match self {
            Self::Asked(seat) => Ok(Some(seat.head_room(head_bytes * format.parsed_head_factor()).await?)),
            Self::Admitted => Ok(None),
        }
    }
}

fn shrink(room: &mut Option<HeadRoom>, file: &File) {
    if let Some(room) = room {
        room.shrink_to(file.held_bytes());
    }
}

/// What an object is to be read as.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// Its format, by its name or what the spec says.
    pub format: Format,
    /// What the spec says about its table.
    pub options: &'a Arc<TableOptions>,
    /// Which of its columns are read.
    pub(crate) rules: &'a Arc<ColumnRules>,
}

/// Opens an object that is in memory for reading, and has `look` look at its file: as [`of_bytes`], but what need not be known
/// before it is read is not looked at.
///
/// # Errors
/// As [`of_bytes`].
pub(crate) async fn open_bytes<T: Send + 'static>(
    kind: Kind<'_>,
    bytes: &Bytes,
    look: impl FnOnce(&File) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if let Some(file) = kind.format.unread(kind.options, bytes.len() as u64) {
        return cpu::run(move || look(&file)).await?;
    }
    let (_, _, seen) = of_bytes(kind, bytes, Room::Admitted, look).await?;
    Ok(seen)
}

/// Inspects an object that is in memory and has `look` look at its file, on the same thread: for a small object, handing over
/// to another thread costs more than the work itself.
///
/// # Errors
/// When it is no sound file of the format, or its head is larger than memory; those of `look`.
pub(crate) async fn of_bytes<T: Send + 'static>(
    Kind { format, options, rules }: Kind<'_>,
    bytes: &Bytes,
    mut room: Room<'_>,
    look: impl FnOnce(&File) -> Result<T, Error> + Send + 'static,
) -> Result<(File, Option<HeadRoom>, T), Error> {
    let head_bytes = format.head_bytes(bytes).min(bytes.len() as u64);
    let mut room = room.take(format, head_bytes).await?;
    let (object, options, rules) = (bytes.clone(), Arc::clone(options), Arc::clone(rules));
    let inspected = cpu::run(move || match format.inspect(&options, &object, object.len() as u64)? {
        Inspected::File(file) => {
            let file = file.projected(&rules);
            let seen = look(&file)?;
            Ok((file, seen))
        }
        Inspected::Needs(_) => Err(Error::from(inconsistent(format))),
    });
    let (file, seen) = inspected.await??;
    shrink(&mut room, &file);
    Ok((file, room, seen))
}

/// Reads heads of objects. Made for one object, or a version of it.
#[derive(Debug, Clone, Copy)]
pub struct Inspector<'a> {
    /// The bucket.
    pub store: &'a Store,
    /// What other objects of the table taught.
    pub guess: &'a HeadGuess,
    /// How long S3 may fail.
    pub budget: &'a RetryBudget,
    /// What the object is read as.
    pub kind: Kind<'a>,
    /// The whole key.
    pub key: &'a str,
}

impl Inspector<'_> {
    /// As [`Self::fetch`], for the version that is there now, whatever it is: an object that is replaced meanwhile is begun
    /// again.
    ///
    /// # Errors
    /// As [`Self::fetch`]; [`Error::NeverRests`].
    pub async fn fetch_current(self, object_bytes: u64, seat: &mut Seat) -> Result<Found, Error> {
        for _ in 0..=MAX_RESTARTS {
            match self.fetch(object_bytes, None, Room::Asked(seat)).await {
                Err(Error::S3(error)) if error.kind == ErrorKind::Changed => {}
                other => return other,
            }
        }
        Err(Error::NeverRests { times: MAX_RESTARTS + 1 })
    }

    /// Fetches the head of an object of `object_bytes` (or `u64::MAX`: not known), once more if it is longer than guessed,
    /// and inspects it. What is found keeps its room as long as it lives.
    ///
    /// # Errors
    /// When S3 refuses, or it is no sound file of the format, or its head is larger than memory.
    pub async fn fetch(self, object_bytes: u64, etag: Option<&ETag>, mut from: Room<'_>) -> Result<Found, Error> {
        let Self { store, guess, budget, kind, key } = self;
        let format = kind.format;
        let head_bytes = match format.sample_bytes(kind.options) {
            // What is looked at tells the columns: it hangs on the spec, not on what was seen before.
            Some(sample_bytes) => sample_bytes.min(object_bytes).max(1),
            None => guess.head_bytes(format, object_bytes),
        };
        let head_bytes = from.cut(format, head_bytes);
        let mut room = from.take(format, head_bytes).await?;
        let range = match format.head_at() {
            HeadAt::Start => ByteRange::Prefix { len: head_bytes },
            HeadAt::End => ByteRange::Suffix { len: head_bytes },
        };
        let mut fetched = store.get(key, range, etag, budget).await?;
        let object_bytes = fetched.object_bytes;
        let inspected = match inspect(kind, fetched.bytes.clone(), object_bytes).await {
            Err(error) => return Err(self.with_first_bytes(error, &fetched).await),
            Ok(inspected) => inspected,
        };
        let mut inspected = inspected;
        let mut tries = 0;
        let file = loop {
            match inspected {
                Inspected::File(file) => break file,
                Inspected::Needs(needed) if tries < MAX_HEAD_TRIES && needed > fetched.bytes.len() as u64 => {
                    tries += 1;
                    // Given back before more is asked for: who holds room never waits for room.
                    drop(room);
                    room = from.take(format, needed).await?;
                    fetched.bytes = self.fetch_rest(needed.min(object_bytes), &fetched).await?;
                    inspected = inspect(kind, fetched.bytes.clone(), object_bytes).await?;
                }
                Inspected::Needs(_) => return Err(inconsistent(format).into()),
            }
        };
        // Only a head that was sound teaches something.
        guess.learn(format.head_bytes(&fetched.bytes));
        shrink(&mut room, &file);
        Ok(Found { _room: room, file, etag: fetched.etag, version: fetched.version, object_bytes })
    }

    /// What is said of an object of another format, with its first bytes. They are read for it if they are not there; if that
    /// fails, it is said without them.
    async fn with_first_bytes(self, error: Error, fetched: &Fetched) -> Error {
        let is_there =
            self.kind.format.head_at() == HeadAt::Start || fetched.bytes.len() as u64 == fetched.object_bytes;
        match error {
            Error::Decode(error @ ReadError::OtherFormat { .. }) if !is_there => {
                let range = ByteRange::Prefix { len: FIRST_BYTES as u64 };
                let first = self.store.get(self.key, range, fetched.etag.as_ref(), self.budget).await;
                Error::Decode(error.with_first_bytes(&first.map(|first| first.bytes).unwrap_or_default()))
            }
            error => error,
        }
    }

    /// All of a head of `needed` bytes, of which `fetched` has a part: only what is missing is read, of the same version.
    async fn fetch_rest(self, needed: u64, fetched: &Fetched) -> Result<Bytes, Error> {
        let held = fetched.bytes.len() as u64;
        let missing = match self.kind.format.head_at() {
            HeadAt::Start => held..needed,
            HeadAt::End => fetched.object_bytes.saturating_sub(needed)..fetched.object_bytes.saturating_sub(held),
        };
        let mut whole = BytesMut::with_capacity(usize::try_from(needed.max(held)).unwrap_or(0));
        if self.kind.format.head_at() == HeadAt::Start {
            whole.extend_from_slice(&fetched.bytes);
        }
        for part in coalesce(std::slice::from_ref(&missing)) {
            let range = ByteRange::Part { start: part.start, len: part.end - part.start };
            whole.extend_from_slice(&self.store.get(self.key, range, fetched.etag.as_ref(), self.budget).await?.bytes);
        }
        if self.kind.format.head_at() == HeadAt::End {
            whole.extend_from_slice(&fetched.bytes);
        }
        Ok(whole.freeze())
    }
}

/// What the listed object says of itself, or the one that has replaced it since: nothing was read of the old version yet.
///
/// # Errors
/// As [`Inspector::fetch`] and [`Inspector::fetch_current`].
pub(crate) async fn inspect_listed(
    cx: &Context,
    seat: &mut Seat,
    key: &str,
    object: &ListedObject,
    guess: &HeadGuess,
    (options, rules): (&Arc<TableOptions>, &Arc<ColumnRules>),
) -> Result<Found, Error> {
    let budget = RetryBudget::default();
    let kind = Kind { format: object.format, options, rules };
    let inspector = Inspector { store: &cx.store, guess, budget: &budget, kind, key };
    match inspector.fetch(object.size_bytes, object.etag.as_ref(), Room::Asked(seat)).await {
        Err(Error::S3(error)) if error.kind == ErrorKind::Changed => {
            inspector.fetch_current(object.size_bytes, seat).await
        }
        other => other,
    }
}

/// The columns of a file of a table with these options.
///
/// # Errors
/// When they can't be mapped to outgoing types.
pub async fn file_schema(options: &TableOptions, file: &File) -> Result<FileSchema, Error> {
    let (file, nested_as) = (file.clone(), options.nested_as);
    Ok(cpu::run(move || file.schema(nested_as)).await??)
}

/// A head that needs more bytes than it said: of a server without ETags, the object was replaced meanwhile.
fn inconsistent(format: Format) -> ReadError {
    let head = match format.head_at() {
        HeadAt::Start => "header",
        HeadAt::End => "footer",
    };
    ReadError::Damaged { format, what: format!("the {head}'s length changed while it was read") }
}

/// Away from the async threads: the head of a wide table takes milliseconds.
async fn inspect(kind: Kind<'_>, head: Bytes, object_bytes: u64) -> Result<Inspected, Error> {
    let Kind { format, options, rules } = kind;
    let (options, rules) = (Arc::clone(options), Arc::clone(rules));
    let inspected = cpu::run(move || {
        Ok(match format.inspect(&options, &head, object_bytes)? {
            Inspected::File(file) => Inspected::File(file.projected(&rules)),
            needs @ Inspected::Needs(_) => needs,
        })
    });
    inspected.await?.map_err(|error: ReadError| error.into())
}

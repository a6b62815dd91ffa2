//! The header: metadata, among it the schema and the codec, and the marker that ends each block.

use super::codec::Codec;
use super::{MAGIC, SYNC_BYTES, damaged, number};
use crate::formats::error::ReadError;
use crate::formats::format::Format;

/// The longest schema that is read, in bytes.
const MAX_SCHEMA_BYTES: usize = 8 << 20;
/// The longest header: a schema and what writers put beside it.
pub(super) const MAX_HEADER_BYTES: u64 = 16 << 20;
/// What is taken to follow a value that is not all there: other metadata and the marker. More of them would be read with one
/// more request.
const FURTHER_BYTES: u64 = 64 << 10;

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) schema: String,
    pub(super) codec: Codec,
    pub(super) sync: [u8; SYNC_BYTES],
    /// Where the first block begins.
    pub(super) bytes: u64,
}

/// A header as far as it is there.
#[derive(Debug)]
pub(super) enum Parsed {
    Whole(Header),
    /// It has at least so many bytes.
    AtLeast(u64),
}

/// Walks over the header's bytes.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Why a walk stops.
enum Stop {
    /// So many bytes are needed to go on.
    Needs(u64),
    Error(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

impl<'a> Walk<'a> {
    fn number(&mut self) -> Result<i64, Stop> {
        let (value, length) =
            number(self.bytes.get(self.at..).unwrap_or_default())?.ok_or(Stop::Needs(self.bytes.len() as u64 + 1))?;
        self.at += length;
        Ok(value)
    }

    fn bytes(&mut self, length: i64) -> Result<&'a [u8], Stop> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let Some(end) = end.filter(|end| *end as u64 <= MAX_HEADER_BYTES) else {
            return Err(damaged(format!(
                "a value of its header claims {length} bytes; the whole header may have {MAX_HEADER_BYTES}"
            ))
            .into());
        };
        let value = self.bytes.get(self.at..end).ok_or(Stop::Needs(end as u64))?;
        self.at = end;
        Ok(value)
    }

    fn value(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.number()?;
        self.bytes(length)
    }
}

/// The header at the beginning of an object.
///
/// # Errors
/// When it is of another format, or damaged.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ReadError> {
    if !bytes.starts_with(MAGIC) {
        let what = "it does not start with Obj and the byte 01".to_owned();
        return Err(ReadError::OtherFormat { format: Format::Avro, what, found: None }.with_first_bytes(bytes));
    }
    match walk(bytes) {
        Ok(header) => Ok(Parsed::Whole(header)),
        Err(Stop::Needs(needed)) if needed > MAX_HEADER_BYTES => {
            Err(damaged(format!("its header has more than {MAX_HEADER_BYTES} bytes")))
        }
        Err(Stop::Needs(needed)) => Ok(Parsed::AtLeast(needed + FURTHER_BYTES)),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn walk(bytes: &[u8]) -> Result<Header, Stop> {
    let mut walk = Walk { bytes, at: MAGIC.len() };
    let (mut schema, mut codec) = (None, Codec::Null);
    loop {
        let count = walk.number()?;
        if count == 0 {
            break;
        }
        if count < 0 {
            // The length of the entries in bytes, for who skips them.
            walk.number()?;
        }
        for _ in 0..count.unsigned_abs() {
            let (key, value) = (walk.value()?, walk.value()?);
            match key {
                b"avro.schema" if value.len() > MAX_SCHEMA_BYTES => {
                    let length = value.len();
                    let what = format!("its schema has {length} bytes; at most {MAX_SCHEMA_BYTES} are read");
                    return Err(damaged(what).into());
                }
                b"avro.schema" => schema = Some(std::str::from_utf8(value).map_err(|_| no_text())?.to_owned()),
                b"avro.codec" => codec = Codec::of_name(value)?,
                _ => {}
            }
        }
    }
    let sync = walk.bytes(SYNC_BYTES as i64)?;
    let sync = *sync.first_chunk::<SYNC_BYTES>().ok_or(Stop::Needs(bytes.len() as u64 + 1))?;
    let schema = schema.ok_or_else(|| damaged("its header has no schema"))?;
    Ok(Header { schema, codec, sync, bytes: walk.at as u64 })
}

fn no_text() -> ReadError {
    damaged("its schema is not valid UTF-8")
}

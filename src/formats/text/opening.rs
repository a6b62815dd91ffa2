//! From the bytes of an object to UTF-8: what they are packed with, they say themselves.

use super::encoding::Transcoder;
use super::unpack::{self, UnpackError, UnpackLimits, Unpacker};
use crate::config::Compression;
use crate::config::TableOptions;
use crate::config::csv::Encoding;
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use bytes::{Bytes, BytesMut};

/// The longest of the magics that are looked for.
const MAGIC_BYTES: usize = 8;

/// The text of an object, of which the bytes are pushed in their order.
#[derive(Debug)]
pub(super) struct Opening {
    format: Format,
    compression: Option<Compression>,
    limits: UnpackLimits,
    /// Begins with the first bytes.
    outer: Option<Unpacker>,
    /// Of what is packed twice.
    inner: Option<Unpacker>,
    /// The first unpacked bytes, as long as they are too few to tell what they are; `None`: it is known.
    first: Option<BytesMut>,
    transcoder: Transcoder,
    /// All bytes of the object were pushed.
    ended: bool,
    /// The end of the text was given.
    done: bool,
}

/// Whether it is known what came out of the outer layer.
enum Told {
    /// It is text.
    Text(Option<Bytes>),
    /// It is packed again, or too little of it is there.
    Open,
}

impl Opening {
    pub(super) fn new(format: Format, options: &TableOptions) -> Self {
        let encoding = match format {
            Format::Csv | Format::Tsv | Format::Text => options.dialect(format).encoding,
            _ => Encoding::default(),
        };
        Self {
            format,
            compression: options.compression,
            limits: UnpackLimits {
                max_expansion: options.limits.max_expansion,
                max_decompressed_bytes: options.limits.max_decompressed_bytes,
            },
            outer: None,
            inner: None,
            first: Some(BytesMut::new()),
            transcoder: Transcoder::new(encoding),
            ended: false,
            done: false,
        }
    }

    /// The next bytes of the object. The first ones are at least as many as a magic has, unless it has no more.
    pub(super) fn push(&mut self, bytes: Bytes) {
        let (compression, limits) = (self.compression, self.limits);
        let begin = || Unpacker::new(compression.unwrap_or_else(|| Compression::of_bytes(&bytes)), limits);
        self.outer.get_or_insert_with(begin).push(bytes);
    }

    /// There are no more.
    pub(super) fn finish(&mut self) {
        self.ended = true;
        if let Some(outer) = &mut self.outer {
            outer.finish();
        }
    }

    /// The end of the text was given.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The next text; `None`: more bytes are needed, or it is the end.
    ///
    /// # Errors
    /// What is damaged, too large, or no text; all text before it was given.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while !self.done {
            let Some(piece) = self.unpacked()? else {
                if !self.ended {
                    return Ok(None);
                }
                self.done = true;
                let rest = self.transcoder.finish();
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            };
            let text = self.transcoder.push(piece);
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// The next piece that came out of all layers.
    fn unpacked(&mut self) -> Result<Option<Bytes>, ReadError> {
        let format = self.format;
        let damaged = |error: UnpackError| ReadError::Damaged { format, what: error.to_string() };
        loop {
            if let Some(inner) = &mut self.inner
                && let Some(piece) = inner.next().map_err(damaged)?
            {
                return Ok(Some(piece));
            }
            let Some(outer) = &mut self.outer else { return Ok(None) };
            let piece = outer.next().map_err(damaged)?;
            let is_last = piece.is_none() && self.ended;
            match (&mut self.inner, piece) {
                (Some(inner), Some(piece)) => inner.push_inner(piece, outer.read_bytes()),
                (Some(inner), None) if is_last && !inner.is_finished() => inner.finish(),
                (Some(_), None) => return Ok(None),
                (None, piece) => match self.told(piece, is_last)? {
                    Told::Text(piece) => return Ok(piece),
                    Told::Open => {}
                },
            }
        }
    }

    /// What the first bytes are, as soon as there are enough of them.
    fn told(&mut self, piece: Option<Bytes>, is_last: bool) -> Result<Told, ReadError> {
        let Some(first) = &mut self.first else { return Ok(Told::Text(piece)) };
        let first = match piece {
            // Nearly always: nothing is copied.
            Some(piece) if first.is_empty() && piece.len() >= MAGIC_BYTES => piece,
            Some(piece) => {
                first.extend_from_slice(&piece);
                if first.len() < MAGIC_BYTES {
                    return Ok(Told::Open);
                }
                std::mem::take(first).freeze()
            }
            None if is_last && !first.is_empty() => std::mem::take(first).freeze(),
            None => return Ok(Told::Text(None)),
        };
        self.first = None;
        let is_packed = self.outer.as_ref().is_some_and(|outer| outer.compression() != Compression::None);
        let again =
            if is_packed && self.compression.is_none() { Compression::of_bytes(&first) } else { Compression::None };
        if again != Compression::None {
            let mut inner = Unpacker::new(again, self.limits);
            inner.push_inner(first, self.outer.as_ref().map_or(0, Unpacker::read_bytes));
            self.inner = Some(inner);
            return Ok(Told::Open);
        }
        if let Some((found, what)) = other(&first) {
            let what = if is_packed { format!("what is packed in it is {what}") } else { format!("it is {what}") };
            return Err(ReadError::OtherFormat { format: self.format, what, found: found.filter(|_| !is_packed) });
        }
        Ok(Told::Text(Some(first)))
    }

    /// Bytes that wait to be unpacked, and the state of codecs.
    pub(super) fn held_bytes(&self) -> u64 {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        let layers = self.outer.iter().chain(&self.inner).map(Unpacker::held_bytes).sum::<u64>();
        first + self.transcoder.held_bytes() + layers
    }

    /// Characters that were replaced, since their bytes mean nothing in the object's encoding.
    pub(super) fn replaced(&self) -> u64 {
        self.transcoder.replaced()
    }
}

/// The memory of the codec that unpacks an object with these first bytes.
pub(super) fn codec_bytes(options: &TableOptions, first: &[u8]) -> u64 {
    let compression = options.compression.unwrap_or_else(|| Compression::of_bytes(first));
    unpack::codec_bytes(compression, first)
}

/// What an object is that is no text, by its first bytes: the format, if it is one that is read, and what messages call it.
fn other(first: &[u8]) -> Option<(Option<Format>, &'static str)> {
    Some(match first {
        [b'P', b'A', b'R', b'1', ..] => (Some(Format::Parquet), "a Parquet file"),
        [b'O', b'b', b'j', 1, ..] => (Some(Format::Avro), "an Avro file"),
        [b'A', b'R', b'R', b'O', b'W', b'1', 0, 0, ..] => (Some(Format::Arrow), "an Arrow file"),
        [0xff, 0xff, 0xff, 0xff, ..] => (Some(Format::Arrow), "an Arrow stream"),
        // Text may begin with these three letters.
        [b'O', b'R', b'C', 0..0x20 | 0x80.., ..] => (None, "an ORC file, which is not supported"),
        [b'P', b'K', 3, 4, ..] => (None, "a zip archive, which is not supported: unpack it, or write gzip or zstd"),
        _ => return None,
    })
}

//! One compression around bytes: its members, the padding between them, and pieces of what they hold.

use super::codec::{self, Begins, Codec, MAGIC_BYTES, Step};
use super::input::Input;
use super::{Compression, PIECE_BYTES, UnpackError};
use bytes::Bytes;

/// The first piece is small, so that the first record is not late and a small object takes little; a block of Zstandard must
/// fit. Each that is filled makes the next one larger, up to [`PIECE_BYTES`].
const FIRST_PIECE_BYTES: usize = 128 << 10;

/// How much larger the next piece is.
const PIECE_GROWTH: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first member, or between two.
    Between,
    /// Inside a member.
    Inside,
    /// Nothing follows.
    End,
}

/// Unpacks all members of one compression.
#[derive(Debug)]
pub(super) struct Layer {
    compression: Compression,
    codec: Box<dyn Codec>,
    pub(super) input: Input,
    place: Place,
    members: u64,
    /// The codec stopped because its room was full.
    was_full: bool,
    /// Unpacked and not yet given.
    ready: Bytes,
    /// Room that the last step did not need.
    spare: Vec<u8>,
    piece_bytes: usize,
    failure: Option<UnpackError>,
}

impl Layer {
    /// None for [`Compression::None`].
    pub(super) fn new(compression: Compression) -> Option<Self> {
        Some(Self {
            compression,
            codec: codec::of(compression)?,
            input: Input::default(),
            place: Place::Between,
            members: 0,
            was_full: false,
            ready: Bytes::new(),
            spare: Vec::new(),
            piece_bytes: FIRST_PIECE_BYTES,
            failure: None,
        })
    }

    /// The compression.
    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Memory of the codec, of input that waits and of output that waits.
    pub(super) fn held_bytes(&self) -> u64 {
        self.codec.held_bytes() + (self.input.waiting_bytes() + self.ready.len() + self.spare.capacity()) as u64
    }

    /// The next unpacked bytes; None: more input is needed, or this was all.
    ///
    /// # Errors
    /// What ended it, again with each call, after all bytes that were unpacked before.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        loop {
            if !self.ready.is_empty() {
                let piece = self.ready.split_to(self.ready.len().min(PIECE_BYTES));
                return Ok(Some(piece));
            }
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            let idle = self.input.is_empty() && !self.was_full && !self.input.ended();
            if idle || self.place == Place::End {
                return Ok(None);
            }
            if !self.fill() {
                return Ok(None);
            }
        }
    }

    /// Unpacks the next piece; false if nothing came of it for want of input.
    fn fill(&mut self) -> bool {
        let mut out = std::mem::take(&mut self.spare);
        if out.capacity() < self.piece_bytes {
            out = Vec::with_capacity(self.piece_bytes);
        }
        let step = self.step(&mut out);
        self.was_full = matches!(step, Ok(Step::Full));
        match step {
            Ok(Step::More | Step::Full) => {}
            Ok(Step::End) => self.place = Place::End,
            Err(error) => self.failure = Some(error),
        }
        if self.was_full {
            self.piece_bytes = (self.piece_bytes * PIECE_GROWTH).min(PIECE_BYTES);
        }
        let empty = out.is_empty();
        if out.len() > out.capacity() / PIECE_GROWTH {
            self.ready = Bytes::from(out);
        } else {
            // A little of a large room: the room is for the next one.
            self.ready = Bytes::copy_from_slice(&out);
            out.clear();
            if self.place != Place::End {
                self.spare = out;
            }
        }
        !empty || self.was_full || self.failure.is_some()
    }

    /// Goes on until the room is full, the input is used up or all has ended.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        loop {
            match self.place {
                Place::End => return Ok(Step::End),
                Place::Between => match self.begin()? {
                    Some(step) => return Ok(step),
                    None => self.place = Place::Inside,
                },
                Place::Inside => match self.codec.step(&mut self.input, out)? {
                    Step::Full => return Ok(Step::Full),
                    Step::More if self.input.ended() => return Err(self.truncated()),
                    Step::More => return Ok(Step::More),
                    Step::End => {
                        self.members += 1;
                        self.place = Place::Between;
                    }
                },
            }
        }
    }

    /// Looks for the next member; None if one begins. Zeros between and behind members are padding, as tapes and `xz` leave
    /// it.
    fn begin(&mut self) -> Result<Option<Step>, UnpackError> {
        if self.members > 0 {
            self.input.skip_zeros();
            if self.input.is_empty() {
                return Ok(Some(if self.input.ended() { Step::End } else { Step::More }));
            }
        }
        let mut buffer = [0; MAGIC_BYTES];
        let first = self.input.peek(&mut buffer);
        match self.codec.begins(first) {
            Begins::Yes => Ok(None),
            Begins::Maybe if self.input.ended() => Err(self.truncated()),
            Begins::Maybe => Ok(Some(Step::More)),
            Begins::No if self.members == 0 => Err(UnpackError::other(self.compression, first)),
            Begins::No => Err(UnpackError::Trailing { compression: self.compression, at: self.input.taken_bytes() }),
        }
    }

    fn truncated(&self) -> UnpackError {
        UnpackError::Truncated { compression: self.compression }
    }
}

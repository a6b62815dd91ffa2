//! Thrift's compact protocol, as much of it as footers and page headers have: read without copying, and written.

/// Deepest nesting of unknown fields that are skipped: that of the `parquet` crate's reader.
const MAX_SKIP_DEPTH: u8 = 64;

/// Types of values.
pub(super) const BYTE: u8 = 3;
pub(in crate::formats::parquet) const I32: u8 = 5;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(in crate::formats::parquet) const STRUCT: u8 = 12;

/// Reads on from a place. All methods give `None` at the end, or where the bytes make no sense.
#[derive(Clone)]
pub(in crate::formats::parquet) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compact<'a> {
    pub(in crate::formats::parquet) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(in crate::formats::parquet) fn at(&self) -> usize {
        self.at
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Type and number of a struct's next field, given the number of the one before; `Some(None)` where the struct ends.
    pub(in crate::formats::parquet) fn next_field(&mut self, before: i64) -> Option<Option<(u8, i64)>> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        if kind == 0 {
            return Some(None);
        }
        let id = if header >> 4 == 0 { self.zigzag()? } else { before.checked_add(i64::from(header >> 4))? };
        Some(Some((kind, id)))
    }

    /// Type and number of a list's items. Each has a byte at least, so there are never more than bytes left: whoever
    /// walks over them comes to an end.
    pub(super) fn list(&mut self) -> Option<(u8, u64)> {
        let header = self.byte()?;
        let items = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        (items <= self.left_bytes()).then_some((header & 0x0f, items))
    }

    /// How many bytes are left.
    pub(super) fn left_bytes(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The integer of a field of the type `kind`.
    pub(in crate::formats::parquet) fn integer(&mut self, kind: u8) -> Option<i64> {
        match kind {
            BYTE => self.byte().map(|byte| byte.cast_signed().into()),
            4..=6 => self.zigzag(),
            _ => None,
        }
    }

    /// The bytes of a field of the type `kind`.
    pub(super) fn binary(&mut self, kind: u8) -> Option<&'a [u8]> {
        if kind != BINARY {
            return None;
        }
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    /// Passes over a value that is a struct's field.
    pub(in crate::formats::parquet) fn skip(&mut self, kind: u8) -> Option<()> {
        self.skip_to(kind, MAX_SKIP_DEPTH)
    }

    /// Passes over a value like [`Self::skip`], and gives its bytes.
    pub(super) fn skipped(&mut self, kind: u8) -> Option<&'a [u8]> {
        let start = self.at;
        self.skip(kind)?;
        self.bytes.get(start..self.at)
    }

    fn skip_to(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()), // true and false are types of their own
            BYTE => self.byte().map(|_| ()),
            4..=6 => self.varint().map(|_| ()),
            7 => self.take(8).map(|_| ()),
            BINARY => self.binary(kind).map(|_| ()),
            LIST | 10 => {
                let (kind, items) = self.list()?;
                (0..items).try_for_each(|_| if kind < 3 { self.byte().map(|_| ()) } else { self.skip_to(kind, depth) })
            }
            STRUCT => {
                let mut id = 0;
                while let Some((kind, next)) = self.next_field(id)? {
                    id = next;
                    self.skip_to(kind, depth)?;
                }
                Some(())
            }
            _ => None, // maps and UUIDs, which footers don't have
        }
    }
}

/// Writes one struct, field by field in the order of their numbers.
#[derive(Default)]
pub(super) struct Struct {
    bytes: Vec<u8>,
    before: u8,
}

impl Struct {
    /// A field with its encoded value.
    fn field(&mut self, id: u8, kind: u8, value: &[u8]) {
        // Footers' fields are few: the distance always fits the header.
        self.bytes.push((id - self.before) << 4 | kind);
        self.bytes.extend_from_slice(value);
        self.before = id;
    }

    /// A 32-bit integer, if there is one.
    pub(super) fn i32(&mut self, id: u8, value: Option<i64>) {
        if let Some(value) = value {
            let zigzag = (value << 1) ^ (value >> 63);
            self.field(id, I32, &varint(zigzag.cast_unsigned()));
        }
    }

    pub(super) fn binary(&mut self, id: u8, value: &[u8]) {
        self.field(id, BINARY, &varint(value.len() as u64));
        self.bytes.extend_from_slice(value);
    }

    /// An encoded struct, if there is one.
    pub(super) fn inner(&mut self, id: u8, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.field(id, STRUCT, value);
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// The header of a list of structs.
pub(super) fn list_of_structs(items: usize) -> Vec<u8> {
    match u8::try_from(items) {
        Ok(items @ 0..15) => vec![items << 4 | STRUCT],
        _ => [vec![0xf0 | STRUCT], varint(items as u64)].concat(),
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

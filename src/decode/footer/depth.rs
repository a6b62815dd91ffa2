//! How deeply a footer's schema is nested, found before anything reads it recursively: the stack of a thread is finite,
//! and running over its end would take the whole process down.
//!
//! A minimal reader of Thrift's compact protocol. What it can't read it leaves to the real reader, which stops there, too.

/// Deepest nesting of groups that is read. A list or map takes two or three levels; a hundred lists in one another is
/// beyond any table, and all recursion over so many levels fits a small stack.
pub(super) const MAX_SCHEMA_DEPTH: usize = 200;

/// Deepest nesting of unknown fields that are skipped: that of the real reader.
const MAX_SKIP_DEPTH: u8 = 64;

/// `FileMetaData.schema`, a list of `SchemaElement`.
const SCHEMA: i64 = 2;
/// `SchemaElement.num_children`.
const NUM_CHILDREN: i64 = 5;

/// Whether a schema in `footer` (without length and magic) is nested more than [`MAX_SCHEMA_DEPTH`] levels.
pub(super) fn too_deep(footer: &[u8]) -> bool {
    let mut reader = Compact(footer);
    let mut id = 0;
    // Each list of that number counts: which one a reader takes is its affair.
    while let Some((kind, next)) = reader.field(id) {
        id = next;
        if id == SCHEMA && kind == Compact::LIST {
            match reader.schema_too_deep() {
                Some(false) => {}
                Some(true) => return true,
                None => return false,
            }
        } else if reader.skip(kind, MAX_SKIP_DEPTH).is_none() {
            return false;
        }
    }
    false
}

/// What is left to read. All methods give `None` at the end, or where the bytes make no sense.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    const LIST: u8 = 9;
    const STRUCT: u8 = 12;

    fn schema_too_deep(&mut self) -> Option<bool> {
        let (kind, elements) = self.list()?;
        if kind != Self::STRUCT {
            return None;
        }
        // Children still to come of each group around the next element.
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..elements {
            let (mut id, mut children) = (0, 0);
            while let Some((kind, next)) = self.field(id) {
                id = next;
                if id == NUM_CHILDREN && (3..=6).contains(&kind) {
                    children = if kind == 3 { self.byte()?.cast_signed().into() } else { self.zigzag()? };
                } else {
                    self.skip(kind, MAX_SKIP_DEPTH)?;
                }
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            if open.len() > MAX_SCHEMA_DEPTH {
                return Some(true);
            }
        }
        Some(false)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
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

    /// Type and number of a struct's next field, given the number of the one before; `None` also at the struct's end.
    fn field(&mut self, before: i64) -> Option<(u8, i64)> {
        let header = self.byte()?;
        let kind = header & 0x0f;
        if kind == 0 {
            return None;
        }
        let id = if header >> 4 == 0 { self.zigzag()? } else { before.checked_add(i64::from(header >> 4))? };
        Some((kind, id))
    }

    /// Type and number of a list's items.
    fn list(&mut self) -> Option<(u8, u64)> {
        let header = self.byte()?;
        let items = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
        Some((header & 0x0f, items))
    }

    /// Passes over a value that is a struct's field.
    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        let bytes = match kind {
            1 | 2 => 0, // true and false are types of their own
            3 => 1,
            4..=6 => return self.varint().map(|_| ()),
            7 => 8,
            8 => usize::try_from(self.varint()?).ok()?,
            Self::LIST | 10 => {
                let (kind, items) = self.list()?;
                return (0..items)
                    .try_for_each(|_| if kind < 3 { self.byte().map(|_| ()) } else { self.skip(kind, depth) });
            }
            Self::STRUCT => {
                let mut id = 0;
                while let Some((kind, next)) = self.field(id) {
                    id = next;
                    self.skip(kind, depth)?;
                }
                0
            }
            _ => return None, // maps and UUIDs, which footers don't have
        };
        self.0 = self.0.get(bytes..)?;
        Some(())
    }
}

//! A footer's schema as it is written: a flat list of elements. It is read here before the `parquet` crate reads it, and
//! written again where that crate would refuse it, or read it as something else than the format says:
//!
//! - Converted types that the format never had, as interim releases of writers left them, say nothing. One of them (24)
//!   meant a column without values: it becomes today's annotation for that.
//! - A decimal without scale has the scale 0.
//! - Lists and maps in the forms from before the format settled on three levels. The format's rules say what the element
//!   of a list is; where the crate takes another one, or none, the missing level is put in as a required group. Such a
//!   group changes no definition or repetition level, so the pages stay as they are.

use super::compact::{self, Compact};
use std::collections::BTreeMap;

/// Deepest nesting of groups that is read: the stack of a thread is finite, and running over its end would take the whole
/// process down. A list or map takes two or three levels; a hundred lists in one another is beyond any table, and all
/// recursion over this many levels fits a small stack.
pub(super) const MAX_SCHEMA_DEPTH: usize = 200;

/// Most elements that are held to be mended: what is held takes some 200 bytes for each, and a footer could ask for
/// millions with a few bytes each. Of larger schemas only the depth is looked at.
const MAX_MENDED_ELEMENTS: u64 = 100_000;
/// Fewest bytes of an element: its name, one more field, the end.
const MIN_ELEMENT_BYTES: u64 = 5;

/// `FieldRepetitionType`.
const REQUIRED: i64 = 0;
const REPEATED: i64 = 2;

/// `ConvertedType`.
mod converted {
    pub(super) const MAP: i64 = 1;
    pub(super) const MAP_KEY_VALUE: i64 = 2;
    pub(super) const LIST: i64 = 3;
    pub(super) const DECIMAL: i64 = 5;
    /// The last one that the format has: INTERVAL.
    pub(super) const LAST: i64 = 21;
    /// Written by releases of parquet-cpp that were never meant to last: all values are null.
    pub(super) const NULL: i64 = 24;
}

/// `LogicalType`, by the number of the union's field.
mod logical {
    pub(super) const MAP: i64 = 2;
    pub(super) const LIST: i64 = 3;
    pub(super) const DECIMAL: i64 = 5;
    /// The union with its field 11, UNKNOWN (all values are null), which is an empty struct.
    pub(super) const UNKNOWN: &[u8] = &[0xbc, 0x00, 0x00];
}

/// One `SchemaElement`. Fields that are not named here are not of this format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Element<'a> {
    physical: Option<i64>,
    length: Option<i64>,
    repetition: Option<i64>,
    name: &'a [u8],
    children: Option<i64>,
    converted: Option<i64>,
    scale: Option<i64>,
    precision: Option<i64>,
    field_id: Option<i64>,
    /// The union as it is written.
    logical: Option<&'a [u8]>,
}

/// What a footer's schema needs.
pub(super) enum Schema {
    /// Nothing.
    Fine,
    /// It is nested more than [`MAX_SCHEMA_DEPTH`] levels.
    TooDeep,
    /// To be replaced by this list.
    Rewritten(Vec<u8>),
}

/// Reads the list of elements at `reader`, which is behind it afterwards. `None` when it is malformed.
pub(super) fn read(reader: &mut Compact<'_>) -> Option<Schema> {
    let (kind, count) = reader.list()?;
    if kind != compact::STRUCT || count > reader.left_bytes() / MIN_ELEMENT_BYTES {
        return None;
    }
    let mut elements = Vec::new();
    // Children still to come of each group around the next element.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..count {
        let element = Element::read(reader)?;
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let children = element.children.unwrap_or(0);
        if children > 0 {
            open.push(children);
        }
        if open.len() > MAX_SCHEMA_DEPTH {
            return Some(Schema::TooDeep);
        }
        if count <= MAX_MENDED_ELEMENTS {
            elements.push(element);
        }
    }
    if count > MAX_MENDED_ELEMENTS {
        return Some(Schema::Fine);
    }
    let mut changed = false;
    for element in &mut elements {
        changed |= element.mend();
    }
    let mut rest = elements.into_iter();
    let Some(mut root) = Node::read(&mut rest) else { return Some(Schema::Fine) };
    if rest.next().is_some() {
        return Some(Schema::Fine);
    }
    for field in &mut root.children {
        changed |= field.settle();
    }
    if !changed {
        return Some(Schema::Fine);
    }
    // The levels that were put in count.
    if root.depth() > MAX_SCHEMA_DEPTH {
        return Some(Schema::TooDeep);
    }
    let (mut count, mut bytes) = (0, Vec::new());
    root.write(&mut count, &mut bytes);
    Some(Schema::Rewritten([compact::list_of_structs(count), bytes].concat()))
}

/// The names of the leaves with the numbers `wanted`, with those of the groups around them, below the list of elements at
/// `reader`. `None` when it makes no sense or is too long.
pub(super) fn leaf_paths(reader: &mut Compact<'_>, wanted: &[usize]) -> Option<BTreeMap<usize, String>> {
    let (_, count) = reader.list()?;
    if count > MAX_MENDED_ELEMENTS {
        return None;
    }
    let elements = (0..count).map(|_| Element::read(reader)).collect::<Option<Vec<_>>>()?;
    let root = Node::read(&mut elements.into_iter())?;
    let (mut leaf, mut paths) = (0, BTreeMap::new());
    root.children.iter().for_each(|field| field.collect_paths(&mut Vec::new(), &mut leaf, wanted, &mut paths));
    Some(paths)
}

impl<'a> Element<'a> {
    fn read(reader: &mut Compact<'a>) -> Option<Self> {
        let (mut element, mut name) = (Self::default(), None);
        let mut id = 0;
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            let integer = match id {
                1 => &mut element.physical,
                2 => &mut element.length,
                3 => &mut element.repetition,
                5 => &mut element.children,
                6 => &mut element.converted,
                7 => &mut element.scale,
                8 => &mut element.precision,
                9 => &mut element.field_id,
                4 => {
                    name = Some(reader.binary(kind)?);
                    continue;
                }
                10 if kind == compact::STRUCT => {
                    element.logical = Some(reader.skipped(kind)?);
                    continue;
                }
                _ => {
                    reader.skip(kind)?;
                    continue;
                }
            };
            *integer = Some(reader.integer(kind)?);
        }
        // The one field that every element has.
        element.name = name?;
        Some(element)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut output = compact::Struct::default();
        output.i32(1, self.physical);
        output.i32(2, self.length);
        output.i32(3, self.repetition);
        output.binary(4, self.name);
        output.i32(5, self.children);
        output.i32(6, self.converted);
        output.i32(7, self.scale);
        output.i32(8, self.precision);
        output.i32(9, self.field_id);
        output.inner(10, self.logical);
        output.finish()
    }

    /// Repairs the element's own fields; whether it had to.
    fn mend(&mut self) -> bool {
        let Some(converted) = self.converted else { return false };
        if !(0..=converted::LAST).contains(&converted) {
            self.converted = None;
            if converted == converted::NULL && self.logical.is_none() && self.physical.is_some() {
                self.logical = Some(logical::UNKNOWN);
            }
            return true;
        }
        if converted == converted::DECIMAL && self.scale.is_none() && self.physical.is_some() {
            self.scale = Some(self.logical_scale().unwrap_or(0));
            return true;
        }
        false
    }

    /// The number of the logical type in its union.
    fn logical_id(&self) -> Option<i64> {
        Compact::new(self.logical?).next_field(0)?.map(|(_, id)| id)
    }

    /// The scale of a logical DECIMAL.
    fn logical_scale(&self) -> Option<i64> {
        let mut union = Compact::new(self.logical?);
        let (compact::STRUCT, logical::DECIMAL) = union.next_field(0)?? else { return None };
        let (kind, 1) = union.next_field(0)?? else { return None };
        union.integer(kind)
    }
}

/// An element with what is below it.
struct Node<'a> {
    element: Element<'a>,
    children: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    /// `None` when there are fewer elements than groups ask for. Recursion is bounded: see [`MAX_SCHEMA_DEPTH`].
    fn read(elements: &mut impl Iterator<Item = Element<'a>>) -> Option<Self> {
        let element = elements.next()?;
        let children = (0..element.children.unwrap_or(0)).map(|_| Self::read(elements)).collect::<Option<_>>()?;
        Some(Self { element, children })
    }

    /// Levels of groups, this one included.
    fn depth(&self) -> usize {
        if self.children.is_empty() { 0 } else { 1 + self.children.iter().map(Self::depth).max().unwrap_or(0) }
    }

    fn write(&self, count: &mut usize, bytes: &mut Vec<u8>) {
        *count += 1;
        bytes.extend(self.element.to_bytes());
        self.children.iter().for_each(|child| child.write(count, bytes));
    }

    /// `above`: the names of the groups around it; `leaf`: the number of the next leaf.
    fn collect_paths(
        &self,
        above: &mut Vec<&'a [u8]>,
        leaf: &mut usize,
        wanted: &[usize],
        paths: &mut BTreeMap<usize, String>,
    ) {
        above.push(self.element.name);
        if self.children.is_empty() {
            if wanted.contains(leaf) {
                paths.insert(*leaf, String::from_utf8_lossy(&above.join(&b'.')).into_owned());
            }
            *leaf += 1;
        }
        self.children.iter().for_each(|child| child.collect_paths(above, leaf, wanted, paths));
        above.pop();
    }

    fn is_repeated(&self) -> bool {
        self.element.repetition == Some(REPEATED)
    }

    fn is_list(&self) -> bool {
        !self.children.is_empty()
            && (self.element.logical_id() == Some(logical::LIST) || self.element.converted == Some(converted::LIST))
    }

    /// A map's entries may stand for the map, says the format.
    fn is_map(&self) -> bool {
        let converted = [converted::MAP, converted::MAP_KEY_VALUE].map(Some);
        !self.children.is_empty()
            && (self.element.logical_id() == Some(logical::MAP) || converted.contains(&self.element.converted))
    }

    /// Brings this field, and those below it, into a form that the `parquet` crate reads as the format says; whether
    /// anything had to change. A field is a member of the root or a group, a list's element, or a map's key or value.
    fn settle(&mut self) -> bool {
        let mut changed = false;
        if self.is_list() && self.repeats_its_element() {
            // The element is the repeated group itself, not what is in it.
            for repeated in self.children.split_off(0) {
                self.children.push(repeated.under(b"list"));
            }
            changed = true;
        }
        if self.is_map()
            && let [entries] = &mut self.children[..]
            && let [_, value] = &mut entries.children[..]
            && value.is_repeated()
        {
            value.become_a_list();
            changed = true;
        }
        if self.is_repeated() && (self.is_list() || self.is_map()) {
            self.become_a_list();
            changed = true;
        }
        // Below a list or map is its repeated group, which is not a field; its members are.
        let annotated = self.is_list() || self.is_map();
        for child in &mut self.children {
            if annotated && child.is_repeated() {
                for field in &mut child.children {
                    changed |= field.settle();
                }
            } else {
                changed |= child.settle();
            }
        }
        changed
    }

    /// Of a list: whether its repeated group is the element, although it has one field only and so looks like the middle
    /// one of three levels. It is when it is annotated itself, or when that field repeats. (The crate knows the other
    /// rules: several fields, and the names `array` and `…_tuple`.)
    fn repeats_its_element(&self) -> bool {
        let [repeated] = &self.children[..] else { return false };
        let [field] = &repeated.children[..] else { return false };
        repeated.is_repeated() && (repeated.is_list() || repeated.is_map() || field.is_repeated())
    }

    /// A repeated field outside of lists and maps is a required list of required elements.
    fn become_a_list(&mut self) {
        let name = self.element.name;
        let repetition = Some(REQUIRED);
        let element =
            Element { repetition, name, children: Some(1), converted: Some(converted::LIST), ..Element::default() };
        let field = std::mem::replace(self, Node { element, children: Vec::new() });
        self.children.push(field.under(b"list"));
    }

    /// A repeated group `name` with this field as its only one, which repeats no more.
    fn under(mut self, name: &'static [u8]) -> Self {
        self.element.repetition = Some(REQUIRED);
        let element = Element { repetition: Some(REPEATED), name, children: Some(1), ..Element::default() };
        Self { element, children: vec![self] }
    }
}

//! What of a schema can be read, checked before `arrow-avro` sees it: its types are made anew at each place that names them, so
//! that a small schema may stand for a large one, or for one without end.

use super::damaged;
use crate::formats::error::ReadError;
use crate::formats::limits::MAX_VALUE_BYTES;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Levels of types in one another.
const MAX_DEPTH: usize = 200;
/// Fields of all records together, those of a type that is named several times counted each time.
const MAX_FIELDS: u64 = 100_000;
/// Branches of a union: what Arrow can number.
const MAX_BRANCHES: usize = 127;
/// A `fixed` in an array or map: each null of it takes as much as a value, so that a few bytes of a file may become many.
const MAX_REPEATED_FIXED_BYTES: u64 = 64 << 10;

/// What a type takes.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    fields: u64,
    /// Bytes that a value takes in memory even when it is null, but for what is in arrays and maps.
    fixed_bytes: u64,
    largest_fixed_bytes: u64,
}

impl Weight {
    const LEAF: Self = Self { fields: 0, fixed_bytes: 8, largest_fixed_bytes: 0 };

    fn and(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            fixed_bytes: self.fixed_bytes.saturating_add(other.fixed_bytes),
            largest_fixed_bytes: self.largest_fixed_bytes.max(other.largest_fixed_bytes),
        }
    }
}

/// A schema that can be read.
#[derive(Debug)]
pub(super) struct Checked {
    /// The same without what reading does not need: named types have names of ours, since `arrow-avro` does not find all that
    /// writers refer to by their namespaces.
    pub(super) schema: String,
    /// The bytes that a row takes in memory at least.
    pub(super) row_bytes: u64,
}

/// Checks a schema.
///
/// # Errors
/// [`ReadError::Unsupported`] for what can't be read, by its column; [`ReadError::Damaged`] for what is no schema.
pub(super) fn check(schema: &str) -> Result<Checked, ReadError> {
    let value: Value =
        serde_json::from_str(schema).map_err(|error| damaged(format!("its schema is no JSON: {error}")))?;
    if value.get("type").and_then(Value::as_str) != Some("record") {
        return Err(ReadError::At {
            place: "read the schema".to_owned(),
            what: "its records are no Avro records: only those have columns".to_owned(),
        });
    }
    let mut walk = Walk { known: HashMap::new(), open: Vec::new(), path: Vec::new() };
    let (weight, value) = walk.of(&value, &Place { namespace: "", depth: 0, is_repeated: false })?;
    Ok(Checked { schema: value.to_string(), row_bytes: weight.fixed_bytes })
}

/// A type that has a name.
#[derive(Debug, Clone)]
struct Named {
    weight: Weight,
    /// The name that is ours.
    name: String,
}

/// Where in a schema the walk is.
#[derive(Debug, Clone, Copy)]
struct Place<'n> {
    /// That of the named type around it.
    namespace: &'n str,
    depth: usize,
    /// In an array or map.
    is_repeated: bool,
}

impl Place<'_> {
    fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn repeated(self) -> Self {
        Self { is_repeated: true, ..self.inside() }
    }
}

struct Walk<'a> {
    /// Named types by their full names.
    known: HashMap<String, Named>,
    /// The records that the walk is in.
    open: Vec<String>,
    /// The names of the fields that it is in.
    path: Vec<&'a str>,
}

/// A type that is an object.
type Type = serde_json::Map<String, Value>;

impl<'a> Walk<'a> {
    fn unsupported(&self, what: impl Into<String>) -> ReadError {
        ReadError::Unsupported { column: self.path.join("."), what: what.into() }
    }

    /// The weight of a type, and how it is read.
    fn of(&mut self, schema: &'a Value, place: &Place<'_>) -> Result<(Weight, Value), ReadError> {
        if place.depth > MAX_DEPTH {
            return Err(self.unsupported(format!("its type has more than {MAX_DEPTH} levels")));
        }
        let (weight, value) = match schema {
            Value::String(name) => self.named(name, place.namespace)?,
            Value::Array(branches) => self.union(branches, place)?,
            Value::Object(type_) => self.complex(type_, place)?,
            _ => return Err(self.unsupported("its type is neither a name nor an object nor a list")),
        };
        if weight.fields > MAX_FIELDS {
            return Err(self.unsupported(format!("its type has more than {MAX_FIELDS} fields")));
        }
        if place.is_repeated && weight.largest_fixed_bytes > MAX_REPEATED_FIXED_BYTES {
            let what = format!(
                "a fixed type of {} bytes is in an array or a map, where at most {MAX_REPEATED_FIXED_BYTES} can be read",
                weight.largest_fixed_bytes
            );
            return Err(self.unsupported(what));
        }
        Ok((weight, value))
    }

    fn union(&mut self, branches: &'a [Value], place: &Place<'_>) -> Result<(Weight, Value), ReadError> {
        if branches.len() > MAX_BRANCHES {
            let what = format!(
                "it is a union of {} types, and at most {MAX_BRANCHES} can be read: write it with fewer types, or exclude \
                 the object",
                branches.len()
            );
            return Err(self.unsupported(what));
        }
        let (mut weight, mut values) = (Weight::default(), Vec::with_capacity(branches.len()));
        for branch in branches {
            let (branch, value) = self.of(branch, &place.inside())?;
            weight = weight.and(branch);
            values.push(value);
        }
        Ok((weight, values.into()))
    }

    fn named(&self, name: &str, namespace: &str) -> Result<(Weight, Value), ReadError> {
        const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
        if PRIMITIVES.contains(&name) {
            return Ok((Weight::LEAF, name.into()));
        }
        let full = full_name(name, namespace);
        if let Some(open) = self.open.iter().find(|open| **open == full || *open == name) {
            return Err(self.unsupported(format!(
                "the schema is recursive: {open} contains itself, and columns have no type for values without an end"
            )));
        }
        let known = self.known.get(&full).or_else(|| self.known.get(name));
        let known = known.ok_or_else(|| self.unsupported(format!("its type {name:?} is nowhere in the schema")))?;
        Ok((known.weight, known.name.as_str().into()))
    }

    fn complex(&mut self, type_: &'a Type, place: &Place<'_>) -> Result<(Weight, Value), ReadError> {
        let inner = |key: &str| type_.get(key).ok_or_else(|| damaged(format!("its schema has a type without {key:?}")));
        let with = |key: &str, value: Value| {
            let mut read = serde_json::Map::new();
            for kept in ["type", "logicalType", "precision", "scale", "size", "symbols"] {
                read.extend(type_.get(kept).map(|value| (kept.to_owned(), value.clone())));
            }
            read.insert(key.to_owned(), value);
            Value::Object(read)
        };
        match type_.get("type").and_then(Value::as_str) {
            Some("record" | "error") => self.record(type_, place),
            Some("array") => {
                let (item, value) = self.of(inner("items")?, &place.repeated())?;
                Ok((in_lists(item), with("items", value)))
            }
            Some("map") => {
                let (item, value) = self.of(inner("values")?, &place.repeated())?;
                Ok((in_lists(item), with("values", value)))
            }
            Some("enum") => Ok((Weight::LEAF, with("name", self.name(type_, place, Weight::LEAF)?.into()))),
            Some("fixed") => {
                let size = inner("size")?.as_u64().unwrap_or(u64::MAX);
                if size > MAX_VALUE_BYTES {
                    return Err(self.unsupported(format!(
                        "its values have {size} bytes, more than the {MAX_VALUE_BYTES} that a value may have"
                    )));
                }
                let weight = Weight { fields: 0, fixed_bytes: size, largest_fixed_bytes: size };
                Ok((weight, with("name", self.name(type_, place, weight)?.into())))
            }
            Some(name) => {
                let (weight, value) = self.named(name, place.namespace)?;
                Ok((weight, with("type", value)))
            }
            None => self.of(inner("type")?, &place.inside()),
        }
    }

    fn record(&mut self, type_: &'a Type, place: &Place<'_>) -> Result<(Weight, Value), ReadError> {
        let full = self.full(type_, place)?;
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        self.open.push(full);
        let (mut weight, mut fields) = (Weight::default(), Vec::new());
        let listed = type_.get("fields").and_then(Value::as_array);
        for field in listed.ok_or_else(|| damaged("its schema has a record without fields"))? {
            let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let of = field.get("type").ok_or_else(|| damaged(format!("the field {name:?} has no type")))?;
            self.path.push(name);
            let (field, value) = self.of(of, &Place { namespace: &namespace, ..place.inside() })?;
            self.path.pop();
            weight = weight.and(field).and(Weight { fields: 1, ..Weight::default() });
            fields.push(json!({"name": name, "type": value}));
        }
        self.open.pop();
        let name = self.name(type_, place, weight)?;
        Ok((weight, json!({"type": "record", "name": name, "fields": fields})))
    }

    /// Remembers a named type. The name that is ours.
    fn name(&mut self, type_: &Type, place: &Place<'_>, weight: Weight) -> Result<String, ReadError> {
        let full = self.full(type_, place)?;
        let name = format!("T{}", self.known.len());
        if self.known.insert(full.clone(), Named { weight, name: name.clone() }).is_some() {
            return Err(damaged(format!("its schema has two types with the name {full:?}")));
        }
        Ok(name)
    }

    fn full(&self, type_: &Type, place: &Place<'_>) -> Result<String, ReadError> {
        let text = |key: &str| type_.get(key).and_then(Value::as_str);
        let name = text("name").ok_or_else(|| damaged("its schema has a type without a name"))?;
        Ok(full_name(name, text("namespace").unwrap_or(place.namespace)))
    }
}

/// An array or map of such items: without any it takes next to nothing.
fn in_lists(item: Weight) -> Weight {
    Weight { fixed_bytes: 8, ..item }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

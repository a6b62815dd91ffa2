//! A file's columns as they are read: the Arrow type of every leaf plus what Arrow can't say (that 16 bytes are a UUID,
//! that a text is JSON). Arrow's and Parquet's trees are walked together: both have the same leaves in the same order.

use super::DecodeError;
use super::types::{ColumnType, UUID_BYTES};
use crate::config::NestedAs;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, parquet_to_arrow_schema};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;
use std::ops::Range;
use std::sync::Arc;

/// The largest precision that PostgreSQL, Arrow's 128-bit decimals and most destinations share.
const MAX_DECIMAL128_PRECISION: u8 = 38;

/// How many levels of structs, maps and lists travel natively; what is deeper is JSON. Readers bound how deep a schema
/// goes: flatbuffers verifiers stop at 64 tables, and a level takes up to three.
pub(crate) const MAX_NATIVE_DEPTH: usize = 16;

/// What a leaf is beyond its Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The Arrow type says it all.
    Plain,
    /// Logical type UUID.
    Uuid,
    /// Logical type JSON: the reader does not check its UTF-8.
    Json,
    /// Logical type ENUM: text by the format, but the reader hands out unchecked bytes.
    Enum,
    /// Physical type INT96, read as microseconds (which wrap) and again as seconds (which don't).
    Int96,
    /// Logical type INTERVAL, read as days and milliseconds and again as months.
    Interval,
}

impl Role {
    /// Whether the leaf is read a second time with another hint, because no single Arrow type holds all of it.
    pub(crate) fn read_twice(self) -> bool {
        matches!(self, Self::Int96 | Self::Interval)
    }
}

/// One field of a file, on any level.
#[derive(Debug, Clone)]
pub(crate) struct SourceField {
    pub(crate) name: String,
    /// Whether the file allows nulls here: a map's key that may be null has no place in a native map.
    pub(crate) nullable: bool,
    pub(crate) node: Node,
    /// The Parquet leaves below it.
    pub(crate) leaves: Range<usize>,
}

/// What a field is made of.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Leaf { arrow: DataType, role: Role },
    List(Box<SourceField>),
    Struct(Vec<SourceField>),
    Map { key: Box<SourceField>, value: Box<SourceField> },
}

/// A file's columns and the two schemas to read it with.
#[derive(Debug)]
pub(crate) struct SourceSchema {
    pub(crate) fields: Vec<SourceField>,
    /// To be supplied to the reader, when it must read other types than it would by itself.
    pub(crate) supplied: Option<Arc<Schema>>,
    /// To be supplied to the second reader (see [`Role::read_twice`]); the leaves it reads.
    pub(crate) second: Option<(Arc<Schema>, Vec<usize>)>,
}

impl SourceSchema {
    pub(crate) fn from_metadata(metadata: &ParquetMetaData) -> Result<Self, DecodeError> {
        let file = metadata.file_metadata();
        let descriptor = file.schema_descr();
        // Without the embedded Arrow schema: large, view, dictionary and fixed-size types come back as plain ones.
        let base = parquet_to_arrow_schema(descriptor, None).map_err(DecodeError::Footer)?;
        let hints = embedded_leaf_types(metadata);

        let mut walk = Walk { descriptor: &|leaf| descriptor.column(leaf), hints: &hints, leaf: 0, retyped: false };
        let mut fields = Vec::with_capacity(base.fields().len());
        let mut main = Vec::with_capacity(base.fields().len());
        for field in base.fields() {
            let (source, read) = walk.field(field, Pass::Main)?;
            fields.push(source);
            main.push(read);
        }
        let supplied = walk.retyped.then(|| Arc::new(Schema::new(main)));

        let twice: Vec<&SourceField> = fields.iter().filter(|f| f.read_twice()).collect();
        let second = if twice.is_empty() {
            None
        } else {
            let leaves = twice.iter().flat_map(|f| f.leaves.clone()).collect();
            let mut walk = Walk { descriptor: &|leaf| descriptor.column(leaf), hints: &hints, leaf: 0, retyped: false };
            let read = base.fields().iter().map(|field| Ok(walk.field(field, Pass::Second)?.1));
            let read = read.collect::<Result<Vec<_>, DecodeError>>()?;
            Some((Arc::new(Schema::new(read)), leaves))
        };
        Ok(Self { fields, supplied, second })
    }
}

/// Which reader a schema is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Main,
    Second,
}

struct Walk<'a> {
    descriptor: &'a dyn Fn(usize) -> Arc<ColumnDescriptor>,
    hints: &'a [DataType],
    leaf: usize,
    /// Whether some leaf is to be read as another type than the reader's own choice.
    retyped: bool,
}

impl Walk<'_> {
    fn field(&mut self, field: &FieldRef, pass: Pass) -> Result<(SourceField, FieldRef), DecodeError> {
        let start = self.leaf;
        let (node, data_type) = match field.data_type() {
            DataType::List(item) => {
                let (source, item) = self.field(item, pass)?;
                (Node::List(Box::new(source)), DataType::List(item))
            }
            DataType::Struct(children) => {
                let mut sources = Vec::with_capacity(children.len());
                let mut read = Vec::with_capacity(children.len());
                for child in children {
                    let (source, child) = self.field(child, pass)?;
                    sources.push(source);
                    read.push(child);
                }
                (Node::Struct(sources), DataType::Struct(Fields::from(read)))
            }
            DataType::Map(entries, sorted) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(DecodeError::damaged(format!("column {:?}: a map without entries", field.name())));
                };
                let [key, value] = &pair[..] else {
                    return Err(DecodeError::damaged(format!(
                        "column {:?}: a map without key and value",
                        field.name()
                    )));
                };
                let (key_source, key) = self.field(key, pass)?;
                let (value_source, value) = self.field(value, pass)?;
                let entries = bare(entries, DataType::Struct(Fields::from(vec![key, value])));
                let node = Node::Map { key: Box::new(key_source), value: Box::new(value_source) };
                (node, DataType::Map(entries, *sorted))
            }
            leaf => self.leaf(leaf, pass),
        };
        let source =
            SourceField { name: field.name().clone(), nullable: field.is_nullable(), node, leaves: start..self.leaf };
        Ok((source, bare(field, data_type)))
    }

    /// The leaf's node (always as in the main pass) and the type that this pass reads it as.
    fn leaf(&mut self, arrow: &DataType, pass: Pass) -> (Node, DataType) {
        let column = (self.descriptor)(self.leaf);
        let hint = self.hints.get(self.leaf);
        self.leaf += 1;

        let role = role(&column);
        let main = match role {
            Role::Int96 => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => hint.filter(|hint| hint_applies(&column, hint)).cloned().unwrap_or_else(|| arrow.clone()),
        };
        self.retyped |= main != *arrow;
        let read = match (pass, role) {
            (Pass::Second, Role::Int96) => DataType::Timestamp(TimeUnit::Second, None),
            (Pass::Second, Role::Interval) => DataType::Interval(IntervalUnit::YearMonth),
            _ => main.clone(),
        };
        (Node::Leaf { arrow: main, role }, read)
    }
}

/// A field of the same name and nullability, without metadata.
fn bare(field: &Field, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn role(column: &ColumnDescriptor) -> Role {
    if column.physical_type() == PhysicalType::INT96 {
        return Role::Int96;
    }
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Uuid), _) => Role::Uuid,
        (Some(LogicalType::Json), _) | (None, ConvertedType::JSON) => Role::Json,
        (Some(LogicalType::Enum), _) | (None, ConvertedType::ENUM) => Role::Enum,
        (None, ConvertedType::INTERVAL) => Role::Interval,
        _ => Role::Plain,
    }
}

/// Parquet has no type for timestamps and times in seconds nor for 64-bit dates: writers store bare integers and leave
/// the type to the embedded Arrow schema. That is all it is believed in.
fn hint_applies(column: &ColumnDescriptor, hint: &DataType) -> bool {
    if column.logical_type_ref().is_some() || column.converted_type() != ConvertedType::NONE {
        return false;
    }
    match column.physical_type() {
        PhysicalType::INT64 => matches!(hint, DataType::Timestamp(..) | DataType::Date64 | DataType::Time64(_)),
        PhysicalType::INT32 => matches!(hint, DataType::Time32(_)),
        _ => false,
    }
}

/// The types of the leaves by the embedded Arrow schema, empty when there is none or it doesn't fit.
fn embedded_leaf_types(metadata: &ParquetMetaData) -> Vec<DataType> {
    let file = metadata.file_metadata();
    let key_values = file.key_value_metadata();
    if !key_values.is_some_and(|pairs| pairs.iter().any(|pair| pair.key == ARROW_SCHEMA_META_KEY)) {
        return Vec::new();
    }
    let Ok(schema) = parquet_to_arrow_schema(file.schema_descr(), key_values) else {
        return Vec::new();
    };
    let mut leaves = Vec::new();
    for field in schema.fields() {
        collect_leaves(field.data_type(), &mut leaves);
    }
    if leaves.len() == file.schema_descr().num_columns() { leaves } else { Vec::new() }
}

fn collect_leaves(data_type: &DataType, leaves: &mut Vec<DataType>) {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => collect_leaves(item.data_type(), leaves),
        DataType::Struct(fields) => fields.iter().for_each(|field| collect_leaves(field.data_type(), leaves)),
        DataType::Dictionary(_, value) => collect_leaves(value, leaves),
        leaf => leaves.push(leaf.clone()),
    }
}

impl SourceField {
    /// Whether a leaf below is read twice.
    pub(crate) fn read_twice(&self) -> bool {
        match &self.node {
            Node::Leaf { role, .. } => role.read_twice(),
            Node::List(item) => item.read_twice(),
            Node::Struct(fields) => fields.iter().any(Self::read_twice),
            Node::Map { key, value } => key.read_twice() || value.read_twice(),
        }
    }

    /// The outgoing type, by the spec's choice.
    pub(crate) fn target_as(&self, nested_as: NestedAs) -> ColumnType {
        match nested_as {
            NestedAs::Json => self.target(),
            NestedAs::Native => self.native_target(0),
        }
    }

    /// The outgoing type where nested values travel natively. What Arrow's types can't hold, or destinations can't take
    /// even so, is JSON: lists of lists (PostgreSQL refuses the whole sync), and maps whose keys may be null after a cast.
    fn native_target(&self, depth: usize) -> ColumnType {
        if depth == MAX_NATIVE_DEPTH && !matches!(self.node, Node::Leaf { .. }) {
            return ColumnType::Json;
        }
        match &self.node {
            Node::Leaf { arrow, role } => leaf_target(arrow, *role),
            Node::List(item) if matches!(item.node, Node::List(_)) => ColumnType::Json,
            Node::List(item) => ColumnType::List(Box::new(item.native_target(depth + 1))),
            Node::Struct(fields) if fields.is_empty() => ColumnType::Json,
            Node::Struct(fields) => {
                let field = |field: &Self| (field.name.clone(), field.native_target(depth + 1));
                ColumnType::Struct(fields.iter().map(field).collect())
            }
            Node::Map { key, value } => match key.native_key() {
                Some(key) => ColumnType::Map { key: Box::new(key), value: Box::new(value.native_target(depth + 1)) },
                None => ColumnType::Json,
            },
        }
    }

    /// The type of a map's keys, `None` when they are nested, or null in the file or after the cast.
    fn native_key(&self) -> Option<ColumnType> {
        let Node::Leaf { arrow, role } = &self.node else { return None };
        let target = leaf_target(arrow, *role);
        let plain = !matches!(
            target,
            ColumnType::Timestamp
                | ColumnType::Date32
                | ColumnType::Time64
                | ColumnType::Decimal128 { .. }
                | ColumnType::Json
        );
        (plain && !self.nullable && *arrow != DataType::Null).then_some(target)
    }

    /// The outgoing type where nested values travel as JSON.
    pub(crate) fn target(&self) -> ColumnType {
        match &self.node {
            Node::Leaf { arrow, role } => leaf_target(arrow, *role),
            Node::List(item) => match &item.node {
                Node::Leaf { arrow, role } => match leaf_target(arrow, *role) {
                    ColumnType::Json => ColumnType::Json,
                    target => ColumnType::List(Box::new(target)),
                },
                _ => ColumnType::Json,
            },
            Node::Struct(_) | Node::Map { .. } => ColumnType::Json,
        }
    }

    /// Bytes of JSON that a value takes besides its leaves: keys, quotes, commas, and `null` for each leaf. `times` says how
    /// often a leaf occurs in a row; the field itself occurs `occurrences` times.
    pub(crate) fn json_overhead_bytes(&self, occurrences: u64, times: &impl Fn(usize) -> u64) -> u64 {
        const BRACKETS: u64 = 2;
        /// `null` and a comma, or the quotes around a text.
        const LEAF: u64 = 5;
        /// The quotes of a key and its colon.
        const KEY: u64 = 3;
        let inside = || occurrences.max(times(self.leaves.start));
        let each = match &self.node {
            Node::Leaf { .. } => return occurrences.saturating_mul(LEAF),
            Node::Struct(fields) => {
                let keys: u64 = fields.iter().map(|field| field.name.len() as u64 + KEY).sum();
                let fields = fields.iter().map(|field| field.json_overhead_bytes(occurrences, times));
                return fields.fold(occurrences.saturating_mul(BRACKETS + keys), u64::saturating_add);
            }
            Node::List(item) => item.json_overhead_bytes(inside(), times),
            Node::Map { key, value } => {
                let (key, value) =
                    (key.json_overhead_bytes(inside(), times), value.json_overhead_bytes(inside(), times));
                key.saturating_add(value)
            }
        };
        each.saturating_add(occurrences.saturating_mul(BRACKETS))
    }

    /// The type as a person would say it.
    pub(crate) fn describe(&self) -> String {
        match &self.node {
            Node::Leaf { arrow, role } => describe_leaf(arrow, *role),
            Node::List(item) => format!("list<{}>", item.describe()),
            Node::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name, f.describe())).collect();
                format!("struct<{}>", fields.join(", "))
            }
            Node::Map { key, value } => format!("map<{}, {}>", key.describe(), value.describe()),
        }
    }
}

fn describe_leaf(arrow: &DataType, role: Role) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match (role, arrow) {
        (Role::Uuid, _) => "uuid".into(),
        (Role::Json, _) => "json".into(),
        (Role::Enum, _) => "enum".into(),
        (Role::Int96, _) => "int96 timestamp".into(),
        (Role::Interval, _) => "interval".into(),
        (_, DataType::Boolean) => "bool".into(),
        (_, DataType::Utf8) => "string".into(),
        (_, DataType::Date32 | DataType::Date64) => "date".into(),
        (_, DataType::Time32(u) | DataType::Time64(u)) => format!("time({})", unit(u)),
        (_, DataType::Timestamp(u, None)) => format!("timestamp({})", unit(u)),
        (_, DataType::Timestamp(u, Some(zone))) => format!("timestamp({}, {zone})", unit(u)),
        (_, DataType::Decimal128(p, s) | DataType::Decimal256(p, s)) => format!("decimal({p}, {s})"),
        (_, DataType::FixedSizeBinary(n)) => format!("fixed binary({n})"),
        (_, other) => other.to_string().to_lowercase(),
    }
}

fn leaf_target(arrow: &DataType, role: Role) -> ColumnType {
    match role {
        Role::Uuid => return ColumnType::Uuid,
        Role::Json => return ColumnType::Json,
        Role::Enum | Role::Interval => return ColumnType::Utf8,
        Role::Int96 => return ColumnType::Timestamp,
        Role::Plain => {}
    }
    match arrow {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 => ColumnType::Int8,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::UInt8 => ColumnType::UInt8,
        DataType::UInt16 => ColumnType::UInt16,
        DataType::UInt32 => ColumnType::UInt32,
        DataType::UInt64 => ColumnType::UInt64,
        DataType::Float16 | DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Date32 | DataType::Date64 => ColumnType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Time64,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            decimal_target(*precision, *scale)
        }
        DataType::Binary | DataType::FixedSizeBinary(_) => ColumnType::Binary,
        DataType::Null => ColumnType::Null,
        // Utf8, and what no reader makes of a Parquet leaf.
        _ => ColumnType::Utf8,
    }
}

/// More digits than 38, or a scale that SQL's `numeric(p, s)` doesn't take, travel as exact text.
fn decimal_target(precision: u8, scale: i8) -> ColumnType {
    let plain = (1..=MAX_DECIMAL128_PRECISION).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    if plain { ColumnType::Decimal128 { precision, scale } } else { ColumnType::Utf8 }
}

/// The bytes of one value of a fixed-size type, `None` for variable ones.
pub(crate) fn fixed_width_bytes(column: &ColumnDescriptor) -> Option<u64> {
    match column.physical_type() {
        PhysicalType::BOOLEAN => Some(1),
        PhysicalType::INT32 | PhysicalType::FLOAT => Some(4),
        PhysicalType::INT64 | PhysicalType::DOUBLE | PhysicalType::INT96 => Some(8),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            Some(u64::try_from(column.type_length()).unwrap_or(u64::from(UUID_BYTES.unsigned_abs())))
        }
        PhysicalType::BYTE_ARRAY => None,
    }
}

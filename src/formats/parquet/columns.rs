//! The columns of a Parquet file as its readers give them. Arrow's and Parquet's trees are walked together: both have the
//! same leaves in the same order.

use super::errors::{damaged, footer_error};
use crate::config::NestedAs;
use crate::formats::error::ReadError;
use crate::schema::field::{FieldKind, FileField, Reading};
use crate::schema::file::FileSchema;
use crate::schema::types::UUID_BYTES;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, parquet_to_arrow_schema};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;
use std::sync::Arc;

/// The columns of the file with this footer. Key/value metadata is not looked at, except that an embedded Arrow schema may
/// say that bare integers are timestamps or times in seconds, or 64-bit dates.
///
/// `nested_as` decides how structs, maps and lists of them travel.
///
/// # Errors
/// When the schema can't be mapped to Arrow (a list without items, a map without keys, …).
pub fn file_schema(metadata: &ParquetMetaData, nested_as: NestedAs) -> Result<FileSchema, ReadError> {
    Ok(FileSchema::of_fields(&ReadSchema::from_metadata(metadata)?.fields, nested_as))
}

/// A file's columns and the two schemas to read it with.
#[derive(Debug)]
pub(crate) struct ReadSchema {
    pub(crate) fields: Vec<FileField>,
    /// To be supplied to the reader, when it must read other types than it would by itself.
    pub(crate) supplied: Option<Arc<Schema>>,
    /// To be supplied to the second reader (see [`Reading::read_twice`]); the leaves it reads.
    pub(crate) second: Option<(Arc<Schema>, Vec<usize>)>,
}

impl ReadSchema {
    pub(crate) fn from_metadata(metadata: &ParquetMetaData) -> Result<Self, ReadError> {
        let file = metadata.file_metadata();
        let descriptor = file.schema_descr();
        // Without the embedded Arrow schema: large, view, dictionary and fixed-size types come back as plain ones.
        let base = parquet_to_arrow_schema(descriptor, None).map_err(footer_error)?;
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

        let twice: Vec<&FileField> = fields.iter().filter(|f| f.read_twice()).collect();
        let second = if twice.is_empty() {
            None
        } else {
            let leaves = twice.iter().flat_map(|f| f.leaves.clone()).collect();
            let mut walk = Walk { descriptor: &|leaf| descriptor.column(leaf), hints: &hints, leaf: 0, retyped: false };
            let read = base.fields().iter().map(|field| Ok(walk.field(field, Pass::Second)?.1));
            let read = read.collect::<Result<Vec<_>, ReadError>>()?;
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
    fn field(&mut self, field: &FieldRef, pass: Pass) -> Result<(FileField, FieldRef), ReadError> {
        let start = self.leaf;
        let (kind, data_type) = match field.data_type() {
            DataType::List(item) => {
                let (source, item) = self.field(item, pass)?;
                (FieldKind::List(Box::new(source)), DataType::List(item))
            }
            DataType::Struct(children) => {
                let mut sources = Vec::with_capacity(children.len());
                let mut read = Vec::with_capacity(children.len());
                for child in children {
                    let (source, child) = self.field(child, pass)?;
                    sources.push(source);
                    read.push(child);
                }
                (FieldKind::Struct(sources), DataType::Struct(Fields::from(read)))
            }
            DataType::Map(entries, sorted) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(damaged(format!("column {:?}: a map without entries", field.name())));
                };
                let [key, value] = &pair[..] else {
                    return Err(damaged(format!("column {:?}: a map without key and value", field.name())));
                };
                let (key_source, key) = self.field(key, pass)?;
                let (value_source, value) = self.field(value, pass)?;
                let entries = bare(entries, DataType::Struct(Fields::from(vec![key, value])));
                let kind = FieldKind::Map { key: Box::new(key_source), value: Box::new(value_source) };
                (kind, DataType::Map(entries, *sorted))
            }
            leaf => self.leaf(leaf, pass),
        };
        let source =
            FileField { name: field.name().clone(), nullable: field.is_nullable(), kind, leaves: start..self.leaf };
        Ok((source, bare(field, data_type)))
    }

    /// The leaf's kind (always as in the main pass) and the type that this pass reads it as.
    fn leaf(&mut self, arrow: &DataType, pass: Pass) -> (FieldKind, DataType) {
        let column = (self.descriptor)(self.leaf);
        let hint = self.hints.get(self.leaf);
        self.leaf += 1;

        let reading = reading(&column);
        let main = match reading {
            Reading::Int96 => DataType::Timestamp(TimeUnit::Microsecond, None),
            _ => hint.filter(|hint| hint_applies(&column, hint)).cloned().unwrap_or_else(|| arrow.clone()),
        };
        self.retyped |= main != *arrow;
        let read = match (pass, reading) {
            (Pass::Second, Reading::Int96) => DataType::Timestamp(TimeUnit::Second, None),
            (Pass::Second, Reading::Interval) => DataType::Interval(IntervalUnit::YearMonth),
            _ => main.clone(),
        };
        (FieldKind::Leaf { arrow: main, reading }, read)
    }
}

/// A field of the same name and nullability, without metadata.
fn bare(field: &Field, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

fn reading(column: &ColumnDescriptor) -> Reading {
    if column.physical_type() == PhysicalType::INT96 {
        return Reading::Int96;
    }
    match (column.logical_type_ref(), column.converted_type()) {
        (Some(LogicalType::Uuid), _) => Reading::Uuid,
        (Some(LogicalType::Json), _) | (None, ConvertedType::JSON) => Reading::Json,
        (Some(LogicalType::Enum), _) | (None, ConvertedType::ENUM) => Reading::Enum,
        (None, ConvertedType::INTERVAL) => Reading::Interval,
        _ => Reading::Plain,
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

/// The types of the leaves by the embedded Arrow schema, empty when it is missing or doesn't fit.
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

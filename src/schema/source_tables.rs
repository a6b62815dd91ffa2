//! The tables of a CloudQuery source, as `cloudquery tables --format json` writes them.

use super::types::ColumnType;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Tables by name, with their columns in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceTables(BTreeMap<String, Vec<SourceColumn>>);

/// A column of a source's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    pub(crate) name: String,
    /// The type that texts of the column are of, if it is known here.
    pub(crate) column_type: Option<ColumnType>,
}

/// A table in the file. There is more in it than is read.
#[derive(Deserialize)]
struct Table {
    name: String,
    #[serde(default)]
    columns: Option<Vec<Column>>,
    #[serde(default)]
    relations: Option<Vec<Table>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    column_type: String,
}

impl SourceTables {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let tables: Vec<Table> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let mut found = BTreeMap::new();
        let mut left = tables;
        while let Some(Table { name, columns, relations }) = left.pop() {
            left.extend(relations.into_iter().flatten());
            let column =
                |Column { name, column_type }| SourceColumn { name, column_type: lost_type(column_type.trim()) };
            found.insert(name, columns.into_iter().flatten().map(column).collect());
        }
        Ok(Self(found))
    }

    /// The columns of the table that ours is named after: of that name, or else of the longest name that stands behind a `_` at
    /// the end of ours.
    pub(crate) fn columns(&self, table: &str) -> Option<&[SourceColumn]> {
        let suffixes = std::iter::once(table).chain(table.match_indices('_').map(|(at, _)| &table[at + 1..]));
        suffixes.filter(|name| !name.is_empty()).find_map(|name| self.0.get(name)).map(Vec::as_slice)
    }
}

/// The type, which files of CloudQuery's destinations may have as text instead.
fn lost_type(text: &str) -> Option<ColumnType> {
    match text {
        "uuid" => Some(ColumnType::Uuid),
        "json" => Some(ColumnType::Json),
        "inet" => Some(ColumnType::Inet),
        "mac" => Some(ColumnType::Mac),
        // Files have base64 of the large ones, and of both where the format knows no bytes.
        "binary" | "large_binary" => Some(ColumnType::Binary),
        "bool" => Some(ColumnType::Boolean),
        "int8" => Some(ColumnType::Int8),
        "int16" => Some(ColumnType::Int16),
        "int32" => Some(ColumnType::Int32),
        "int64" => Some(ColumnType::Int64),
        "uint8" => Some(ColumnType::UInt8),
        "uint16" => Some(ColumnType::UInt16),
        "uint32" => Some(ColumnType::UInt32),
        "uint64" => Some(ColumnType::UInt64),
        "float32" => Some(ColumnType::Float32),
        "float64" => Some(ColumnType::Float64),
        "date32" | "date64" => Some(ColumnType::Date32),
        _ if text.starts_with("timestamp[") => Some(ColumnType::Timestamp),
        _ if text.starts_with("time32[") || text.starts_with("time64[") => Some(ColumnType::Time64),
        _ if text.starts_with("decimal") => decimal(text),
        "utf8" | "large_utf8" | "string" | "large_string" => Some(ColumnType::Utf8),
        // What no destination has a type for. Intervals are objects in some files.
        _ if text.starts_with("duration[") => Some(ColumnType::Utf8),
        // The texts have JSON inside.
        _ if text.starts_with("struct<") || text.starts_with("map<") => Some(ColumnType::Json),
        _ => list(text),
    }
}

/// `list<item: int64, nullable>`: of scalars, or else JSON.
fn list(text: &str) -> Option<ColumnType> {
    let inner = ["list<", "large_list<"].iter().find_map(|start| text.strip_prefix(start))?.strip_suffix('>')?;
    let inner = inner.split_once(": ").map_or(inner, |(_, item)| item);
    let item = lost_type(inner.strip_suffix(", nullable").unwrap_or(inner));
    // Items of other types, and base64, are read as they stand.
    let is_plain = |item: &ColumnType| item.item().is_none() && !matches!(item, ColumnType::Json | ColumnType::Binary);
    Some(item.filter(is_plain).map_or(ColumnType::Json, |item| ColumnType::List(Box::new(item))))
}

/// `decimal(20, 6)`, also with its width behind the word.
fn decimal(text: &str) -> Option<ColumnType> {
    const MAX_PRECISION: u8 = 38;
    let (_, digits) = text.split_once('(')?;
    let (precision, scale) = digits.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.trim().parse::<u8>().ok()?, scale.trim().parse::<i8>().ok()?);
    let plain = (1..=MAX_PRECISION).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    plain.then_some(ColumnType::Decimal128 { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_their_relations_by_name() {
        let json = r#"[
            {"name": "aws_a", "title": "A", "columns": [
                {"name": "id", "type": "uuid", "is_primary_key": true, "type_schema": ""},
                {"name": "n", "type": "decimal128(20, 6)"}, {"name": "wide", "type": "decimal256(76, 2)"},
                {"name": "t", "type": "timestamp[us, tz=UTC]"}, {"name": "l", "type": "list<item: utf8, nullable>"},
                {"name": "d", "type": "duration[us]"}, {"name": "x", "type": "utf8"}],
             "relations": [{"name": "aws_a_b", "columns": [{"name": "b", "type": "large_binary"}], "relations": null}]},
            {"name": "a", "columns": null}]"#;
        let tables = SourceTables::parse(json.as_bytes()).unwrap();
        let types = |table: &str| -> Vec<(&str, Option<String>)> {
            let columns = tables.columns(table).unwrap().iter();
            columns.map(|column| (column.name.as_str(), column.column_type.as_ref().map(ToString::to_string))).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            types("aws_a"),
            [
                ("id", some("uuid")),
                ("n", some("decimal(20, 6)")),
                ("wide", None),
                ("t", some("timestamp")),
                ("l", some("list<utf8>")),
                ("d", some("utf8")),
                ("x", some("utf8"))
            ]
        );
        assert_eq!(types("raw_aws_a_b"), [("b", some("binary"))]);
        assert_eq!(types("x_aws_a"), types("aws_a"), "the longest name");
        assert!(types("raw_a").is_empty());
        assert_eq!((tables.columns("aws_c"), tables.columns("raw")), (None, None));
    }

    #[test]
    fn what_is_no_such_file_says_why() {
        for json in ["", "{}", "[{}]", "[{\"name\": \"a\", \"columns\": [{\"name\": \"b\"}]}]", "PAR1"] {
            assert!(SourceTables::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}

//! Arrow schemas as CloudQuery wants them: the metadata keys of a table and of its columns.
//!
//! Outgoing schemas are built here from names and types alone, so nothing that a Parquet file carries (its own
//! `cq:table_name`, field ids, foreign extension types) can get through. All functions are pure.

use crate::schema::names::{CQ_ID, CQ_PARENT_ID};
use crate::schema::types::ColumnType;
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::{collections::HashMap, sync::Arc};

/// Schema metadata: the table's name. The only key that every reader insists on.
pub const TABLE_NAME: &str = "cq:table_name";
/// Schema metadata: `true` for a table that is read incrementally; then delete-stale leaves its rows alone.
pub const TABLE_INCREMENTAL: &str = "cq:extension:incremental";
/// Field metadata: `true` for a part of the primary key.
///
/// The protocol has four more keys for columns (`unique`, `incremental`, `primary_key_component`, `type_schema`, each
/// behind `cq:extension:`). Every reader takes an absent one for false or empty, and no column here says anything
/// else, so none is written: each message repeats the schema, and five keys a column were most of it.
pub const PRIMARY_KEY: &str = "cq:extension:primary_key";

/// Table keys that are always written, with the value of a table that has nothing to say there.
const OTHER_TABLE_KEYS: [(&str, &str); 5] = [
    ("cq:table_description", ""),
    ("cq:table_title", ""),
    ("cq:extension:constraint_name", ""),
    ("cq:table_permissions_needed", "[]"),
    ("cq:table_sensitive_columns", "[]"),
];

/// A column outside the primary key. Metadata that says the default is not written, see [`PRIMARY_KEY`].
pub fn field(name: impl Into<String>, column_type: &ColumnType, nullable: bool) -> Field {
    Field::new(name, column_type.arrow_type(), nullable).with_metadata(column_type.extension_metadata())
}

/// `_cq_id`: a `uuid`, never null, the primary key.
///
/// Not announced as unique, too: destinations would keep a second index that says the same, and where CloudQuery
/// makes a column of its own part of the primary key (`sync_group_id`), one id has a row in each group.
pub fn cq_id_field() -> Field {
    let mut id = field(CQ_ID, &ColumnType::Uuid, false);
    let mut metadata = id.metadata().clone();
    metadata.insert(PRIMARY_KEY.to_owned(), "true".to_owned());
    id.set_metadata(metadata);
    id
}

/// `_cq_parent_id`: a nullable `uuid`.
pub fn cq_parent_id_field() -> Field {
    field(CQ_PARENT_ID, &ColumnType::Uuid, true)
}

/// The schema of a table, with all table keys. The fields come as they are: make them with [`field`].
pub fn table_schema(table_name: &str, fields: impl IntoIterator<Item = Field>) -> SchemaRef {
    let mut metadata = owned(&OTHER_TABLE_KEYS);
    metadata.insert(TABLE_NAME.to_owned(), table_name.to_owned());
    Arc::new(Schema::new_with_metadata(fields.into_iter().collect::<Vec<_>>(), metadata))
}

/// The same schema for a table that is read incrementally.
pub fn incremental(schema: &Schema) -> SchemaRef {
    let mut metadata = schema.metadata().clone();
    metadata.insert(TABLE_INCREMENTAL.to_owned(), "true".to_owned());
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// The table's name that a schema made by [`table_schema`] carries.
pub fn table_name(schema: &Schema) -> Option<&str> {
    schema.metadata().get(TABLE_NAME).map(String::as_str)
}

fn owned(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::types::{EXTENSION_METADATA, EXTENSION_NAME};
    use arrow::datatypes::DataType;

    #[test]
    fn a_table_has_every_table_key_and_no_other() {
        let schema = table_schema("orders", [cq_id_field()]);
        let mut keys: Vec<_> = schema.metadata().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "cq:extension:constraint_name",
                "cq:table_description",
                "cq:table_name",
                "cq:table_permissions_needed",
                "cq:table_sensitive_columns",
                "cq:table_title",
            ]
        );
        assert_eq!(table_name(&schema), Some("orders"));
        assert_eq!(schema.metadata()["cq:table_permissions_needed"], "[]");
    }

    #[test]
    fn incremental_adds_one_key_and_keeps_the_rest() {
        let schema = table_schema("orders", [cq_id_field()]);
        let incremental = incremental(&schema);
        assert_eq!(incremental.metadata()[TABLE_INCREMENTAL], "true");
        assert_eq!(incremental.metadata().len(), schema.metadata().len() + 1);
        assert_eq!(incremental.fields(), schema.fields());
    }

    #[test]
    fn a_plain_column_has_no_metadata() {
        let plain = field("n", &ColumnType::Int64, true);
        assert_eq!(plain.metadata(), &HashMap::new());
    }

    #[test]
    fn extension_types_have_the_exact_names_parameters_and_storage() {
        let (uuid, json) = (field("u", &ColumnType::Uuid, true), field("j", &ColumnType::Json, true));
        assert_eq!(uuid.metadata()[EXTENSION_NAME], "uuid");
        assert_eq!(uuid.metadata()[EXTENSION_METADATA], "uuid-serialized");
        assert_eq!(uuid.data_type(), &DataType::FixedSizeBinary(16));
        assert_eq!(json.metadata()[EXTENSION_NAME], "json");
        assert_eq!(json.metadata()[EXTENSION_METADATA], "json-serialized");
        assert_eq!(json.data_type(), &DataType::Binary);
    }

    #[test]
    fn the_row_id_is_the_primary_key_and_neither_null_nor_unique() {
        let (id, parent) = (cq_id_field(), cq_parent_id_field());
        assert_eq!((id.name().as_str(), id.is_nullable()), ("_cq_id", false));
        assert_eq!((parent.name().as_str(), parent.is_nullable()), ("_cq_parent_id", true));
        let mut keys: Vec<_> = id.metadata().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, [EXTENSION_METADATA, EXTENSION_NAME, PRIMARY_KEY]);
        assert_eq!(id.metadata()[PRIMARY_KEY], "true");
        assert_eq!(parent.metadata().get(PRIMARY_KEY), None);
    }
}

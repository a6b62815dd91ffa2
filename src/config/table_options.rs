//! What the spec says about a table's files and columns: at the top level for all tables, in a mapping for those of that
//! mapping. What a mapping leaves out is as at the top level; of objects (`partitions`, …) each key by itself.

use super::NestedAs;
use super::columns::{ColumnChoice, CqColumns, RawColumns, RawRestoreTypes, RestoreTypes};
use super::file_columns::FileColumns;
use super::layout::{Conflict, FileType};
use super::object_reader::{Mistakes, ObjectReader};
use super::raw::partitions::RawPartitions;
use super::raw::schema_options::RawSchemaOptions;
use super::schema_options::SchemaOptions;
use schemars::JsonSchema;

/// The options of a table, validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// What happens if a file has a column with the name of a column of the key.
    pub conflict: Conflict,
    /// Add columns that say where a row is from.
    pub file_columns: FileColumns,
    /// How structs, maps and lists of structs travel.
    pub nested_as: NestedAs,
    /// How files become one table.
    pub schema: SchemaOptions,
    /// Columns set by hand.
    pub columns: Vec<ColumnChoice>,
    /// What becomes of columns that are called `_cq_…`.
    pub cq_columns: CqColumns,
    /// Where types come from that files do not say.
    pub restore_types: RestoreTypes,
}

/// The fields that stand at the top level and in a mapping.
#[derive(JsonSchema, Default, Clone)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawTableOptions {
    /// The files' format. At the top level, objects must be named as that format's are: `….parquet`. In a mapping, every
    /// object that matches is read, whatever its name.
    #[schemars(default, with = "FileType", extend("default" = "parquet"))]
    pub(super) filetype: Option<FileType>,

    /// Columns made of keys. `hive`: folders `name=value` become columns and are no longer part of the table's name. `off`:
    /// only what a mapping captures becomes columns. Or an object with `style` and more, see below.
    #[schemars(default, with = "RawPartitions", extend("default" = "off"))]
    pub(super) partitions: Option<RawPartitions>,

    /// Adds columns that say where a row is from, behind `_cq_parent_id`: `_s3_key`, `_s3_last_modified` and `_s3_row` (from
    /// 0) with `true`, or those of a list: `key`, `last_modified`, `row`, `size`, `etag`, `version`, `file`, `bucket`.
    #[schemars(default, with = "FileColumns", extend("default" = false))]
    pub(super) file_columns: Option<FileColumns>,

    /// How structs, maps and lists of structs travel. `json`: as JSON, which every destination takes. `native`: as they
    /// are, for destinations that know such types; lists of lists and a few more become JSON even so, see docs/types.md.
    #[schemars(default, with = "NestedAs", extend("default" = "json"))]
    pub(super) nested_as: Option<NestedAs>,

    /// How the files of a table become one schema, see below.
    #[schemars(default, with = "RawSchemaOptions")]
    pub(super) schema: Option<RawSchemaOptions>,

    /// Columns set by hand: name in the files → type, or an object, see below. The second column of the name `x` is `x#2`. Those
    /// that no file has are there and null.
    #[schemars(default, with = "RawColumns", extend("default" = {}))]
    pub(super) columns: Option<RawColumns>,

    /// What becomes of columns in files that are called `_cq_…`. `rename`: they become `src_cq_…`. `drop`: they are left out.
    /// `restore`: `_cq_id` and `_cq_parent_id` are the rows' own ids, others are renamed; see docs/schemas.md for when ids
    /// repeat.
    #[schemars(default, with = "CqColumns", extend("default" = "rename"))]
    pub(super) cq_columns: Option<CqColumns>,

    /// Gives columns the types back that CloudQuery's destinations write as text. `cloudquery`: `uuid`, `json`, `inet` and
    /// `mac` where all values that are looked at say so. `{tables_json: KEY}`: those of the source, from the object that has
    /// what `cloudquery tables --format json` wrote for it.
    #[schemars(default, with = "RawRestoreTypes", extend("default" = "off"))]
    pub(super) restore_types: Option<RawRestoreTypes>,
}

impl RawTableOptions {
    /// Reads the fields, in the order of the struct.
    pub(super) fn read(object: &mut ObjectReader<'_>, mistakes: &mut Mistakes) -> Self {
        Self {
            filetype: object.optional("filetype", mistakes),
            partitions: object.optional("partitions", mistakes),
            file_columns: object.optional("file_columns", mistakes),
            nested_as: object.optional("nested_as", mistakes),
            schema: object.optional("schema", mistakes),
            columns: object.optional("columns", mistakes),
            cq_columns: object.optional("cq_columns", mistakes),
            restore_types: object.optional("restore_types", mistakes),
        }
    }

    /// The options, with those of the top level where a mapping has none of its own.
    pub(super) fn over(&self, top: &Self) -> TableOptions {
        let conflict = |options: &Self| options.partitions.as_ref().and_then(RawPartitions::conflict);
        TableOptions {
            conflict: conflict(self).or(conflict(top)).unwrap_or_default(),
            file_columns: self.file_columns.or(top.file_columns).unwrap_or_default(),
            nested_as: self.nested_as.or(top.nested_as).unwrap_or_default(),
            schema: RawSchemaOptions::over(self.schema.as_ref(), top.schema.as_ref()),
            columns: RawColumns::over(self.columns.as_ref(), top.columns.as_ref()),
            cq_columns: self.cq_columns.or(top.cq_columns).unwrap_or_default(),
            restore_types: self
                .restore_types
                .as_ref()
                .or(top.restore_types.as_ref())
                .map(|raw| raw.0.clone())
                .unwrap_or_default(),
        }
    }
}

//! What the spec says about a table's files and columns: at the top level for all tables, in a mapping for those of that
//! mapping. What a mapping leaves out is as at the top level; of objects (`partitions`, …) each key by itself.

use super::bad_rows::BadRows;
use super::columns::{ColumnChoice, CqColumns, RawColumns, RawRestoreTypes, RestoreTypes};
use super::compression::Compression;
use super::csv::CsvOptions;
use super::field_types::RawCompression;
use super::file_columns::FileColumns;
use super::json::JsonOptions;
use super::layout::{Conflict, FileType};
use super::limits::Limits;
use super::object_reader::{Mistakes, ObjectReader};
use super::raw::bad_rows::RawBadRows;
use super::raw::csv::RawCsv;
use super::raw::json::RawJson;
use super::raw::partitions::RawPartitions;
use super::raw::schema_options::RawSchemaOptions;
use super::schema_options::SchemaOptions;
use super::{Format, NestedAs};
use schemars::JsonSchema;
use std::sync::Arc;

/// The options of a table, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// How objects of text are packed; `None`: as their first bytes say.
    pub compression: Option<Compression>,
    /// How CSV is read, and lines. See [`Self::dialect`].
    pub csv: Arc<CsvOptions>,
    /// How TSV is read: the same choices over other defaults.
    pub tsv: Arc<CsvOptions>,
    /// How JSON is read.
    pub json: Arc<JsonOptions>,
    /// What becomes of records of text that cannot be read.
    pub bad_rows: BadRows,
    /// Guards against objects that would take too much.
    pub limits: Limits,
}

impl Default for TableOptions {
    fn default() -> Self {
        RawTableOptions::default().over(&RawTableOptions::default(), Limits::default())
    }
}

impl TableOptions {
    /// How objects of `format` are read, if that is CSV, TSV or lines.
    #[must_use]
    pub fn dialect(&self, format: Format) -> &Arc<CsvOptions> {
        if format == Format::Tsv { &self.tsv } else { &self.csv }
    }

    /// What is other than by default about text formats and changes the columns of files or their values, each as text that is the
    /// same in all releases.
    #[must_use]
    pub fn text_choices(&self) -> Vec<String> {
        let mut chosen = self.csv.choices("csv", &CsvOptions::default());
        chosen.extend(self.tsv.choices("tsv", &CsvOptions::tsv()));
        chosen.extend(self.json.choices(self.nested_as));
        chosen.extend(self.schema.sample.choices());
        chosen
    }
}

/// The fields that stand at the top level and in a mapping.
#[derive(JsonSchema, Default, Clone)]
#[schemars(deny_unknown_fields)]
pub(super) struct RawTableOptions {
    /// The objects' format. At the top level, only objects are read that are named as those of the format: `….parquet`, or
    /// `….csv` with any compression behind, such as `….csv.gz`. In a mapping, every object that matches is read, whatever its name.
    /// `auto`: each as its name says, and as its first bytes say where they differ. `text`: one row a line, in the column `line`.
    #[schemars(default, with = "FileType", extend("default" = "parquet"))]
    pub(super) filetype: Option<FileType>,

    /// How objects of text formats are packed. `auto`: as their first bytes say, whatever they are called.
    #[schemars(default, with = "RawCompression", extend("default" = "auto"))]
    pub(super) compression: Option<RawCompression>,

    /// How CSV and TSV are read, see below.
    #[schemars(default, with = "RawCsv")]
    pub(super) csv: Option<RawCsv>,

    /// How JSON is read, see below.
    #[schemars(default, with = "RawJson")]
    pub(super) json: Option<RawJson>,

    /// What becomes of records of text formats that cannot be read, see below.
    #[schemars(default, with = "RawBadRows")]
    pub(super) bad_rows: Option<RawBadRows>,

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
            compression: object.optional("compression", mistakes),
            csv: object.optional("csv", mistakes),
            json: object.optional("json", mistakes),
            bad_rows: object.optional("bad_rows", mistakes),
            partitions: object.optional("partitions", mistakes),
            file_columns: object.optional("file_columns", mistakes),
            nested_as: object.optional("nested_as", mistakes),
            schema: object.optional("schema", mistakes),
            columns: object.optional("columns", mistakes),
            cq_columns: object.optional("cq_columns", mistakes),
            restore_types: object.optional("restore_types", mistakes),
        }
    }

    /// The options, with those of the top level where a mapping has none of its own; `limits` are those of all tables.
    pub(super) fn over(&self, top: &Self, limits: Limits) -> TableOptions {
        let conflict = |options: &Self| options.partitions.as_ref().and_then(RawPartitions::conflict);
        let nested_as = self.nested_as.or(top.nested_as).unwrap_or_default();
        let csv = |base| Arc::new(RawCsv::over(self.csv.as_ref(), top.csv.as_ref(), base));
        TableOptions {
            conflict: conflict(self).or(conflict(top)).unwrap_or_default(),
            file_columns: self.file_columns.or(top.file_columns).unwrap_or_default(),
            nested_as,
            schema: RawSchemaOptions::over(self.schema.as_ref(), top.schema.as_ref(), limits.max_columns),
            columns: RawColumns::over(self.columns.as_ref(), top.columns.as_ref()),
            cq_columns: self.cq_columns.or(top.cq_columns).unwrap_or_default(),
            restore_types: self
                .restore_types
                .as_ref()
                .or(top.restore_types.as_ref())
                .map(|raw| raw.0.clone())
                .unwrap_or_default(),
            compression: self.compression.or(top.compression).and_then(|compression| compression.0),
            csv: csv(CsvOptions::default()),
            tsv: csv(CsvOptions::tsv()),
            json: Arc::new(RawJson::over(self.json.as_ref(), top.json.as_ref())),
            bad_rows: RawBadRows::over(self.bad_rows.as_ref(), top.bad_rows.as_ref()),
            limits,
        }
    }
}

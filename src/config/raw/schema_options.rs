//! `schema`.

use crate::config::field_types::{ByteCount, NumberWithin, inline_schema, word, word_or_null};
use crate::config::limits::MaxColumns;
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name, wrong_type};
use crate::config::schema_options::{
    DEFAULT_RESCUE_COLUMN, DEFAULT_SAMPLE_BYTES, DEFAULT_SAMPLED_FILES, MissingColumns, NewColumns, OnMismatch,
    OnTypeChange, RescueColumn, Sample, SampledFiles, SchemaMode, SchemaOptions,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::num::NonZeroUsize;

/// How the files of a table become one schema.
#[derive(JsonSchema, Clone, Default)]
#[schemars(rename = "Schema", deny_unknown_fields, transform = schema_rules)]
pub(in crate::config) struct RawSchemaOptions {
    /// `strict`: all files of a table have the same columns with the same types, or the table is left out. `merge`: the
    /// union of all columns by name, with joined types; what fits nowhere goes into the rescue column. Left out it is `strict`
    /// for tables of Parquet files alone, and `merge` for all others.
    // No `default` in the schema: there are two.
    #[schemars(default, with = "SchemaMode")]
    mode: Option<SchemaMode>,

    /// Only for text formats: what is looked at for the names and types of columns before the first row is sent, see below.
    #[schemars(default, with = "RawSample")]
    sample: Option<RawSample>,

    /// What becomes of a value that its column cannot hold. `rescue`: null there, with the value in the rescue column.
    /// `null`: null, and counted. `bad`: its record is bad, see `bad_rows`; only for text formats, in files of others it is `fail`.
    /// `fail`: its object is in error.
    #[schemars(default, with = "OnMismatch", extend("default" = "rescue"))]
    on_mismatch: Option<OnMismatch>,

    /// Only with `backend_options`: columns that the table of earlier syncs lacks. `add`: they become columns at the end.
    /// `rescue`: their values go into the rescue column. `ignore`: they are left out. `fail`: the table is left out.
    #[schemars(default, with = "NewColumns", extend("default" = "add"))]
    new_columns: Option<NewColumns>,

    /// Columns that a file lacks. `null`: they are null in its rows. `fail`: the table is left out.
    #[schemars(default, with = "MissingColumns", extend("default" = "null"))]
    missing_columns: Option<MissingColumns>,

    /// Only with `backend_options`: columns that have another type in new files. `keep`: the type of earlier syncs stays, and
    /// `on_mismatch` says what becomes of values that do not fit. `widen`: the joined type is announced, for which the
    /// destination needs `migrate_mode: forced`, and all objects are read again. `fail`: the table is left out.
    #[schemars(default, with = "OnTypeChange", extend("default" = "keep"))]
    on_type_change: Option<OnTypeChange>,

    /// Name of the JSON column with the values that fit nowhere, by the columns of the file; null in most rows. `none`: there
    /// is no such column, which needs another `on_mismatch`.
    #[schemars(default, with = "RescueColumn", extend("default" = DEFAULT_RESCUE_COLUMN))]
    rescue_column: Option<RescueColumn>,
}

/// Adds to the schema what [`RawSchemaOptions::from_json`] checks between keys.
fn schema_rules(schema: &mut Schema) {
    schema.insert(
        "if".to_owned(),
        json!({"required": ["rescue_column"], "properties": {"rescue_column": {"const": NONE}}}),
    );
    let without = json!({
        "required": ["on_mismatch"],
        "properties": {"on_mismatch": {"enum": ["null", null, "bad", "fail"]}, "new_columns": {"not": {"const": "rescue"}}},
    });
    schema.insert("then".to_owned(), without);
}

impl FromJson for RawSchemaOptions {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            let hint = if value.is_string() { "; write {mode: merge}" } else { "" };
            mistakes.add(path, format!("expected an object with keys such as mode, found {}{hint}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let options = Self {
            mode: object.optional("mode", mistakes),
            sample: object.optional("sample", mistakes),
            on_mismatch: object.optional("on_mismatch", mistakes),
            new_columns: object.optional("new_columns", mistakes),
            missing_columns: object.optional("missing_columns", mistakes),
            on_type_change: object.optional("on_type_change", mistakes),
            rescue_column: object.optional("rescue_column", mistakes),
        };
        object.finish(&[], mistakes);
        check(&Self::over(Some(&options), None, MaxColumns::default()), path, mistakes);
        Some(options)
    }
}

/// The rule between keys: what is rescued needs a place.
fn check(options: &SchemaOptions, path: &str, mistakes: &mut Mistakes) {
    if options.rescue_column != RescueColumn::None {
        return;
    }
    if options.on_mismatch == OnMismatch::Rescue {
        let text =
            "needs a rescue column, and rescue_column is none: name one, or say `on_mismatch: null`, `bad` or `fail`";
        mistakes.add(format!("{path}.on_mismatch"), text);
    }
    if options.new_columns == NewColumns::Rescue {
        let text = "needs a rescue column, and rescue_column is none: name one, or say `new_columns: ignore`";
        mistakes.add(format!("{path}.new_columns"), text);
    }
}

impl RawSchemaOptions {
    /// The options, key by key those of `own`, or else those of `top`.
    pub(in crate::config) fn over(own: Option<&Self>, top: Option<&Self>, max_columns: MaxColumns) -> SchemaOptions {
        fn first<T: Clone + Default>(own: Option<&Option<T>>, top: Option<&Option<T>>) -> T {
            own.and_then(Option::as_ref).or(top.and_then(Option::as_ref)).cloned().unwrap_or_default()
        }
        SchemaOptions {
            mode: first(own.map(|o| &o.mode), top.map(|o| &o.mode)),
            on_mismatch: first(own.map(|o| &o.on_mismatch), top.map(|o| &o.on_mismatch)),
            new_columns: first(own.map(|o| &o.new_columns), top.map(|o| &o.new_columns)),
            missing_columns: first(own.map(|o| &o.missing_columns), top.map(|o| &o.missing_columns)),
            on_type_change: first(own.map(|o| &o.on_type_change), top.map(|o| &o.on_type_change)),
            rescue_column: first(own.map(|o| &o.rescue_column), top.map(|o| &o.rescue_column)),
            sample: RawSample::over(own.and_then(|o| o.sample.as_ref()), top.and_then(|o| o.sample.as_ref())),
            max_columns,
        }
    }

    /// The first of the keys that only text formats know, if one is given.
    pub(in crate::config) fn text_key(&self) -> Option<&'static str> {
        let given =
            [("sample", self.sample.is_some()), ("on_mismatch: bad", self.on_mismatch == Some(OnMismatch::Bad))];
        given.into_iter().find_map(|(key, given)| given.then_some(key))
    }

    /// The rule between keys, of which the top level has some and the mapping `field` the others.
    pub(in crate::config) fn check_in_mapping(&self, top: Option<&Self>, field: &str, mistakes: &mut Mistakes) {
        // What is wrong by itself was noted.
        let mut alone = Mistakes::default();
        check(&Self::over(Some(self), None, MaxColumns::default()), "", &mut alone);
        if alone.0.is_empty() {
            check(&Self::over(Some(self), top, MaxColumns::default()), &format!("{field}.schema"), mistakes);
        }
    }
}

inline_schema!(SchemaMode; json_schema!({"type": "string", "enum": ["strict", "merge"]}));

impl FromJson for SchemaMode {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("strict", Self::Strict), ("merge", Self::Merge)], path, mistakes)
    }
}

inline_schema!(OnMismatch; json_schema!({"enum": ["rescue", "null", null, "bad", "fail"]}));

impl FromJson for OnMismatch {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let words = [("rescue", Self::Rescue), ("null", Self::Null), ("bad", Self::Bad), ("fail", Self::Fail)];
        word_or_null(value, &words, path, mistakes)
    }
}

inline_schema!(NewColumns; json_schema!({"type": "string", "enum": ["add", "rescue", "ignore", "fail"]}));

impl FromJson for NewColumns {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let words = [("add", Self::Add), ("rescue", Self::Rescue), ("ignore", Self::Ignore), ("fail", Self::Fail)];
        word(value, &words, path, mistakes)
    }
}

inline_schema!(MissingColumns; json_schema!({"enum": ["null", null, "fail"]}));

impl FromJson for MissingColumns {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word_or_null(value, &[("null", Self::Null), ("fail", Self::Fail)], path, mistakes)
    }
}

inline_schema!(OnTypeChange; json_schema!({"type": "string", "enum": ["keep", "widen", "fail"]}));

impl FromJson for OnTypeChange {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("keep", Self::Keep), ("widen", Self::Widen), ("fail", Self::Fail)], path, mistakes)
    }
}

/// The word for no rescue column.
const NONE: &str = "none";

/// Names of a rescue column: such as every destination takes, and none that is CloudQuery's or ours.
const NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]{0,62}$";
/// CloudQuery's and ours, but for the default.
const TAKEN_PATTERN: &str = "^_([cC][qQ]|[sS]3)_";

inline_schema!(RescueColumn; json_schema!({
    "type": "string",
    "pattern": NAME_PATTERN,
    "not": {"pattern": "\\n"},
    "anyOf": [{"const": DEFAULT_RESCUE_COLUMN}, {"not": {"pattern": TAKEN_PATTERN}}],
}));

impl FromJson for RescueColumn {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text, the name of a column or `none`", value));
            return None;
        };
        if text == NONE {
            return Some(Self::None);
        }
        let is = |pattern: &str| regex_automata::meta::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
        if !is(NAME_PATTERN) || (text != DEFAULT_RESCUE_COLUMN && is(TAKEN_PATTERN)) {
            let expected = "must be letters, digits and _, at most 63, and no name of CloudQuery's or ours";
            mistakes
                .add(path, format!("{expected}, such as {DEFAULT_RESCUE_COLUMN}, or `none`, found {}", quote(text)));
            return None;
        }
        Some(Self::Named(text.to_owned()))
    }
}

/// Most objects of a sample that is not all: as many requests as a listing of as many objects takes, and more.
const MAX_SAMPLED_FILES: i64 = 100_000;
/// Least and most bytes of a sampled object: a few records, and what is held for several objects at a time.
const MIN_SAMPLE_BYTES: u64 = 4 << 10;
const MAX_SAMPLE_BYTES: u64 = 16 << 20;

/// What is looked at for names and types of columns.
#[derive(JsonSchema, Clone, Copy, Default)]
#[schemars(rename = "Sample", deny_unknown_fields)]
pub(in crate::config) struct RawSample {
    /// How many objects of a table are looked at: the first and the last by their keys, the newest, and others evenly between.
    /// `all`: every object, before the first row is sent.
    #[schemars(default, with = "RawSampledFiles", extend("default" = DEFAULT_SAMPLED_FILES))]
    files: Option<RawSampledFiles>,

    /// How much of each, unpacked, from its beginning: bytes as a number, or text such as `1 MiB`; at least 4 KiB, at most 16 MiB.
    #[schemars(default, with = "ByteCount<MIN_SAMPLE_BYTES, MAX_SAMPLE_BYTES>", extend("default" = DEFAULT_SAMPLE_BYTES))]
    bytes: Option<ByteCount<MIN_SAMPLE_BYTES, MAX_SAMPLE_BYTES>>,
}

impl FromJson for RawSample {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with files or bytes, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let sample = Self { files: object.optional("files", mistakes), bytes: object.optional("bytes", mistakes) };
        object.finish(&[], mistakes);
        Some(sample)
    }
}

impl RawSample {
    fn over(own: Option<&Self>, top: Option<&Self>) -> Sample {
        let default = Sample::default();
        let files = own.and_then(|own| own.files).or(top.and_then(|top| top.files)).map(|files| files.0);
        let bytes = own.and_then(|own| own.bytes).or(top.and_then(|top| top.bytes)).map(|bytes| bytes.0);
        Sample { files: files.unwrap_or(default.files), bytes: bytes.unwrap_or(default.bytes) }
    }
}

/// `files`.
#[derive(Clone, Copy)]
struct RawSampledFiles(SampledFiles);

/// The word for every object.
const ALL: &str = "all";

inline_schema!(RawSampledFiles; json_schema!({"anyOf": [
    {"type": "integer", "minimum": 1, "maximum": MAX_SAMPLED_FILES},
    {"enum": [ALL]},
]}));

impl FromJson for RawSampledFiles {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if let Some(text) = value.as_str() {
            if text != ALL {
                mistakes.add(path, format!("must be a number or `{ALL}`, found {}", quote(text)));
            }
            return (text == ALL).then_some(Self(SampledFiles::All));
        }
        let number = NumberWithin::<1, MAX_SAMPLED_FILES>::from_json(value, path, mistakes)?;
        usize::try_from(number.0).ok().and_then(NonZeroUsize::new).map(|files| Self(SampledFiles::Some(files)))
    }
}

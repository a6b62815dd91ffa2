//! `limits`.

use crate::config::field_types::{ByteCount, Count, MAX_MEMORY_BYTES, NumberWithin, in_units};
use crate::config::limits::{
    DEFAULT_MAX_COLUMNS, DEFAULT_MAX_DEPTH, DEFAULT_MAX_EXPANSION, DEFAULT_MAX_ROW_BYTES, Limits, MaxColumns,
    ROW_PART_OF_MEMORY,
};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, type_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::num::NonZeroUsize;

/// Least value of `max_row_bytes`: below it, rows of usual tables would be bad.
const MIN_ROW_BYTES: u64 = 64 << 10;
/// Least value of `max_decompressed`.
const MIN_DECOMPRESSED_BYTES: u64 = 1 << 20;
/// Least and most columns: what comes with each table besides its own, and what `columns` takes.
const MIN_COLUMNS: i64 = 20;
const MAX_COLUMNS: i64 = 10_000;
/// Most levels: what parsers of JSON take.
const MAX_DEPTH: i64 = 128;

type RowBytes = ByteCount<MIN_ROW_BYTES, MAX_MEMORY_BYTES>;
type Columns = NumberWithin<MIN_COLUMNS, MAX_COLUMNS>;
type Depth = NumberWithin<1, MAX_DEPTH>;

/// Guards against objects that would take more than a sync has.
#[derive(JsonSchema, Clone, Copy, Default)]
#[schemars(rename = "Limits", deny_unknown_fields)]
pub(in crate::config) struct RawLimits {
    /// Most bytes of a record of text: one row of CSV, one JSON value, one line. Larger ones are bad records if their end is found. At
    /// least 64 KiB, at most an eighth of `memory_limit`, which is also the default where that is less.
    #[schemars(default, with = "RowBytes", extend("default" = "16 MiB"))]
    max_row_bytes: Option<RowBytes>,

    /// Most columns of a table whose files are merged, with those that the plugin adds. What the others hold is rescued.
    #[schemars(default, with = "Columns", extend("default" = DEFAULT_MAX_COLUMNS))]
    max_columns: Option<Columns>,

    /// How many bytes may come out of each packed one. It counts from 64 MiB on.
    #[schemars(default, with = "Count", extend("default" = DEFAULT_MAX_EXPANSION))]
    max_expansion: Option<Count>,

    /// Most bytes that an object may unpack to, as a number or as text such as `10 GiB`; or `none`.
    #[schemars(default, with = "Decompressed", extend("default" = "none"))]
    max_decompressed: Option<Decompressed>,

    /// Most levels of objects and lists in a JSON record, of which the outermost counts as one. Deeper ones are bad records.
    #[schemars(default, with = "Depth", extend("default" = DEFAULT_MAX_DEPTH))]
    max_depth: Option<Depth>,
}

impl FromJson for RawLimits {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes
                .add(path, format!("expected an object with keys such as max_row_bytes, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let limits = Self {
            max_row_bytes: object.optional("max_row_bytes", mistakes),
            max_columns: object.optional("max_columns", mistakes),
            max_expansion: object.optional("max_expansion", mistakes),
            max_decompressed: object.optional("max_decompressed", mistakes),
            max_depth: object.optional("max_depth", mistakes),
        };
        object.finish(&[], mistakes);
        Some(limits)
    }
}

impl RawLimits {
    /// The limits of a sync with this memory.
    pub(in crate::config) fn limits(self, memory_limit_bytes: u64) -> Limits {
        let default = Limits::default();
        let most_row_bytes = memory_limit_bytes / ROW_PART_OF_MEMORY;
        let columns = self.max_columns.and_then(|columns| NonZeroUsize::new(usize::try_from(columns.0).ok()?));
        let expansion = self.max_expansion.and_then(|count| u64::try_from(count.0).ok());
        Limits {
            max_row_bytes: self.max_row_bytes.map_or(DEFAULT_MAX_ROW_BYTES, |bytes| bytes.0).min(most_row_bytes),
            max_columns: columns.map_or(default.max_columns, MaxColumns),
            max_expansion: expansion.unwrap_or(default.max_expansion),
            max_decompressed_bytes: self.max_decompressed.and_then(|bytes| bytes.0),
            max_depth: self.max_depth.and_then(|depth| usize::try_from(depth.0).ok()).unwrap_or(default.max_depth),
        }
    }

    /// The rule between the limits and the memory.
    pub(in crate::config) fn check(&self, memory_limit_bytes: u64, mistakes: &mut Mistakes) {
        let most = memory_limit_bytes / ROW_PART_OF_MEMORY;
        if let Some(ByteCount(bytes)) = self.max_row_bytes
            && bytes > most
        {
            let text = format!(
                "must be at most an eighth of memory_limit, {}, found {}; raise `memory_limit`, too",
                in_units(most),
                in_units(bytes)
            );
            mistakes.add("limits.max_row_bytes", text);
        }
    }
}

/// `max_decompressed`.
#[derive(Debug, Clone, Copy)]
struct Decompressed(Option<u64>);

/// The word for no limit.
const NONE: &str = "none";

impl JsonSchema for Decompressed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decompressed".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = ByteCount::<MIN_DECOMPRESSED_BYTES, MAX_MEMORY_BYTES>::json_schema(generator);
        json_schema!({"anyOf": [bytes, {"enum": [NONE]}]})
    }
}

impl FromJson for Decompressed {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value == NONE {
            return Some(Self(None));
        }
        let bytes = ByteCount::<MIN_DECOMPRESSED_BYTES, MAX_MEMORY_BYTES>::from_json(value, path, mistakes)?;
        Some(Self(Some(bytes.0)))
    }
}

//! What a spec says about text formats that is other than by default, as texts that stay the same from release to release: a
//! table's columns are kept in the state under them. What only decides whether an object is in error is none of it.

use super::NestedAs;
use super::csv::{CsvOptions, CsvTypes, Delimiter, Encoding, InvalidUtf8, LongRows, RepeatedHeader, ShortRows, Trim};
use super::json::{DuplicateKeys, JsonAs, JsonOptions, JsonRecords, JsonTypes};
use super::schema_options::{Sample, SampledFiles};

/// A choice as text.
trait Choice {
    fn text(&self) -> String;
}

/// Of a type with a word for each value. A new value needs a word; old words stay.
macro_rules! words {
    ($($type:ty { $($pattern:pat => $word:literal),+ $(,)? })+) => {
        $(impl Choice for $type {
            fn text(&self) -> String {
                match self {
                    $($pattern => $word.to_owned()),+
                }
            }
        })+
    };
}

words! {
    bool { true => "true", false => "false" }
    RepeatedHeader { Self::Row => "row", Self::Skip => "skip" }
    Trim { Self::None => "none", Self::Outer => "outer" }
    ShortRows { Self::Null => "null", Self::Bad => "bad" }
    LongRows { Self::Rescue => "rescue", Self::Bad => "bad", Self::Ignore => "ignore" }
    InvalidUtf8 { Self::Replace => "replace", Self::Bad => "bad" }
    CsvTypes { Self::Infer => "infer", Self::Text => "text" }
    Encoding {
        Self::Utf8 => "utf-8",
        Self::Utf16 => "utf-16",
        Self::Utf16Le => "utf-16le",
        Self::Utf16Be => "utf-16be",
        Self::Latin1 => "latin1",
        Self::Windows1252 => "windows-1252",
    }
    NestedAs { Self::Json => "json", Self::Native => "native" }
    JsonAs { Self::Columns => "columns", Self::Document => "document" }
    JsonTypes { Self::Infer => "infer", Self::Text => "text" }
    DuplicateKeys { Self::Last => "last", Self::Bad => "bad" }
}

impl Choice for u64 {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Choice for Vec<String> {
    fn text(&self) -> String {
        // As JSON: no two lists have one text.
        serde_json::Value::from(self.clone()).to_string()
    }
}

impl Choice for Option<Vec<String>> {
    fn text(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Choice::text)
    }
}

impl Choice for Option<u8> {
    fn text(&self) -> String {
        self.map_or_else(|| "none".to_owned(), |byte| byte.to_string())
    }
}

impl Choice for Delimiter {
    fn text(&self) -> String {
        match self {
            Self::Is(byte) => byte.to_string(),
            Self::Auto => "auto".to_owned(),
        }
    }
}

impl CsvOptions {
    /// What is other than in `base`, as `<format>.<key>=<text>`.
    pub(super) fn choices(&self, format: &str, base: &Self) -> Vec<String> {
        let Self {
            delimiter,
            quote,
            escape,
            // No choices of the spec's.
            backslash_escapes: _,
            described: _,
            header,
            names,
            skip_rows,
            comment,
            repeated_header,
            null_values,
            quoted_null,
            trim,
            short_rows,
            long_rows,
            encoding,
            invalid_utf8,
            types,
            true_values,
            false_values,
            decimal_comma,
        } = self;
        let pairs: [(&str, &dyn Choice, &dyn Choice); 19] = [
            ("delimiter", delimiter, &base.delimiter),
            ("quote", quote, &base.quote),
            ("escape", escape, &base.escape),
            ("header", header, &base.header),
            ("names", names, &base.names),
            ("skip_rows", skip_rows, &base.skip_rows),
            ("comment", comment, &base.comment),
            ("repeated_header", repeated_header, &base.repeated_header),
            ("null_values", null_values, &base.null_values),
            ("quoted_null", quoted_null, &base.quoted_null),
            ("trim", trim, &base.trim),
            ("short_rows", short_rows, &base.short_rows),
            ("long_rows", long_rows, &base.long_rows),
            ("encoding", encoding, &base.encoding),
            ("invalid_utf8", invalid_utf8, &base.invalid_utf8),
            ("types", types, &base.types),
            ("true_values", true_values, &base.true_values),
            ("false_values", false_values, &base.false_values),
            ("decimal_comma", decimal_comma, &base.decimal_comma),
        ];
        changed(format, &pairs)
    }
}

impl JsonOptions {
    /// What is other than by default, where `nested_as` is the default of `nested`.
    pub(super) fn choices(&self, nested_as: NestedAs) -> Vec<String> {
        let Self { records, read_as, keep, nested, types, duplicate_keys } = self;
        let base = Self::default();
        let mut chosen = match records {
            JsonRecords::Auto => Vec::new(),
            JsonRecords::At(pointer) => vec![format!("json.records={pointer}")],
        };
        let keep: Vec<String> = keep.iter().map(ToString::to_string).collect();
        let pairs: [(&str, &dyn Choice, &dyn Choice); 5] = [
            ("as", read_as, &base.read_as),
            ("keep", &keep, &Vec::new()),
            ("nested", &nested.unwrap_or(nested_as), &nested_as),
            ("types", types, &base.types),
            ("duplicate_keys", duplicate_keys, &base.duplicate_keys),
        ];
        chosen.extend(changed("json", &pairs));
        chosen
    }
}

impl Sample {
    /// What is other than by default.
    pub(super) fn choices(self) -> Vec<String> {
        let base = Self::default();
        let files = match self.files {
            SampledFiles::Some(files) => files.to_string(),
            SampledFiles::All => "all".to_owned(),
        };
        let files = (self.files != base.files).then(|| format!("schema.sample.files={files}"));
        let bytes = (self.bytes != base.bytes).then(|| format!("schema.sample.bytes={}", self.bytes));
        files.into_iter().chain(bytes).collect()
    }
}

fn changed(object: &str, pairs: &[(&str, &dyn Choice, &dyn Choice)]) -> Vec<String> {
    let texts = pairs.iter().map(|(key, own, base)| (key, own.text(), base.text()));
    texts.filter(|(_, own, base)| own != base).map(|(key, own, _)| format!("{object}.{key}={own}")).collect()
}

//! `csv`.

use crate::config::csv::{
    CsvOptions, CsvTypes, Delimiter, Encoding, InvalidUtf8, LongRows, RepeatedHeader, ShortRows, Trim,
};
use crate::config::field_types::{Flag, Number, Text, TextList, TextRule, inline_schema, word, word_or_null, words};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, type_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// The dialect of CSV and TSV.
#[derive(JsonSchema, Clone, Default)]
#[schemars(rename = "Csv", deny_unknown_fields)]
pub(in crate::config) struct RawCsv {
    /// What stands between two fields: one ASCII character, `\t` for a tab, or `auto`: of `,`, `;`, tab and `|` the one that most of
    /// the first 20 records have equally often. With `filetype: tsv` it is a tab.
    #[schemars(default, with = "Text<DelimiterRule>", extend("default" = ","))]
    delimiter: Option<RawDelimiter>,

    /// The ASCII character around fields that may hold delimiters and line ends, or `none`. With `filetype: tsv` it is `none`.
    #[schemars(default, with = "Text<MarkRule>", extend("default" = "\""))]
    quote: Option<RawMark>,

    /// Inside quotes, the ASCII character that makes the one behind it text, or `none`. A doubled quote is a quote in any case.
    #[schemars(default, with = "Text<MarkRule>", extend("default" = "none"))]
    escape: Option<RawMark>,

    /// Whether the first record has the names of the columns. `false`: they are `names`, or `column_1` and so on.
    #[schemars(default, with = "Flag", extend("default" = true))]
    header: Option<Flag>,

    /// The names of the columns, instead of those of the header. Columns behind the last are `column_n`.
    #[schemars(default, with = "Names")]
    names: Option<Names>,

    /// Lines that are passed over before the header, or before the first record.
    #[schemars(default, with = "Number", extend("default" = 0))]
    skip_rows: Option<Number>,

    /// Lines that start with this ASCII character are passed over; or `none`.
    #[schemars(default, with = "Text<MarkRule>", extend("default" = "none"))]
    comment: Option<RawMark>,

    /// What becomes of records equal to the header, as in files that were appended to each other: `row`, or `skip`.
    #[schemars(default, with = "RepeatedHeader", extend("default" = "row"))]
    repeated_header: Option<RepeatedHeader>,

    /// Texts that mean null. With `filetype: tsv` it is `\N` alone.
    #[schemars(default, with = "TextList", extend("default" = [""]))]
    null_values: Option<TextList>,

    /// Whether they mean null in quotes, too. `false`: `,"",` is the empty text, `,,` is null.
    #[schemars(default, with = "Flag", extend("default" = false))]
    quoted_null: Option<Flag>,

    /// Spaces around fields without quotes: `none` is taken away, or the `outer` ones.
    #[schemars(default, with = "Trim", extend("default" = "none"))]
    trim: Option<Trim>,

    /// Records with fewer fields than columns. `null`: the missing ones are null. `bad`: the record is bad, see `bad_rows`.
    #[schemars(default, with = "ShortRows", extend("default" = "null"))]
    short_rows: Option<ShortRows>,

    /// Records with more fields than columns, of which one is not empty. `rescue`: they go into the rescue column. `bad`: the
    /// record is bad. `ignore`: they are left out.
    #[schemars(default, with = "LongRows", extend("default" = "rescue"))]
    long_rows: Option<LongRows>,

    /// How characters are encoded where no byte order mark says so; for `filetype: text`, too.
    #[schemars(default, with = "Encoding", extend("default" = "utf-8"))]
    encoding: Option<Encoding>,

    /// Bytes that are no character. `replace`: U+FFFD stands for them, and they are counted. `bad`: the record is bad.
    #[schemars(default, with = "InvalidUtf8", extend("default" = "replace"))]
    invalid_utf8: Option<InvalidUtf8>,

    /// How columns get their types: `infer` from the values of a sample, or `text` for all.
    #[schemars(default, with = "CsvTypes", extend("default" = "infer"))]
    types: Option<CsvTypes>,

    /// Texts that are true.
    #[schemars(default, with = "TextList", extend("default" = ["true", "TRUE", "True"]))]
    true_values: Option<TextList>,

    /// Texts that are false.
    #[schemars(default, with = "TextList", extend("default" = ["false", "FALSE", "False"]))]
    false_values: Option<TextList>,

    /// Whether numbers have a comma before their decimals: `1,5`. Not with `delimiter: ","`.
    #[schemars(default, with = "Flag", extend("default" = false))]
    decimal_comma: Option<Flag>,
}

impl FromJson for RawCsv {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with keys such as delimiter, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let csv = Self {
            delimiter: object.optional("delimiter", mistakes),
            quote: object.optional("quote", mistakes),
            escape: object.optional("escape", mistakes),
            header: object.optional("header", mistakes),
            names: object.optional("names", mistakes),
            skip_rows: object.optional("skip_rows", mistakes),
            comment: object.optional("comment", mistakes),
            repeated_header: object.optional("repeated_header", mistakes),
            null_values: object.optional("null_values", mistakes),
            quoted_null: object.optional("quoted_null", mistakes),
            trim: object.optional("trim", mistakes),
            short_rows: object.optional("short_rows", mistakes),
            long_rows: object.optional("long_rows", mistakes),
            encoding: object.optional("encoding", mistakes),
            invalid_utf8: object.optional("invalid_utf8", mistakes),
            types: object.optional("types", mistakes),
            true_values: object.optional("true_values", mistakes),
            false_values: object.optional("false_values", mistakes),
            decimal_comma: object.optional("decimal_comma", mistakes),
        };
        object.finish(&[], mistakes);
        Some(csv)
    }
}

impl RawCsv {
    /// The options: `base`, and over it key by key those of the top level and of a mapping.
    pub(in crate::config) fn over(own: Option<&Self>, top: Option<&Self>, base: CsvOptions) -> CsvOptions {
        let base = top.map_or_else(|| base.clone(), |top| top.changed(base.clone()));
        own.map_or_else(|| base.clone(), |own| own.changed(base.clone()))
    }

    fn changed(&self, base: CsvOptions) -> CsvOptions {
        let texts = |given: &Option<TextList>, base| given.as_ref().map_or(base, |list| list.0.clone());
        let flag = |given: Option<Flag>, base| given.map_or(base, |flag| flag.0);
        CsvOptions {
            described: None,
            delimiter: self.delimiter.map_or(base.delimiter, |delimiter| delimiter.0),
            quote: self.quote.map_or(base.quote, |mark| mark.0),
            escape: self.escape.map_or(base.escape, |mark| mark.0),
            backslash_escapes: base.backslash_escapes,
            header: flag(self.header, base.header),
            names: self.names.as_ref().map(|names| names.0.clone()).or(base.names),
            skip_rows: self.skip_rows.map_or(base.skip_rows, |rows| rows.0),
            comment: self.comment.map_or(base.comment, |mark| mark.0),
            repeated_header: self.repeated_header.unwrap_or(base.repeated_header),
            null_values: texts(&self.null_values, base.null_values),
            quoted_null: flag(self.quoted_null, base.quoted_null),
            trim: self.trim.unwrap_or(base.trim),
            short_rows: self.short_rows.unwrap_or(base.short_rows),
            long_rows: self.long_rows.unwrap_or(base.long_rows),
            encoding: self.encoding.unwrap_or(base.encoding),
            invalid_utf8: self.invalid_utf8.unwrap_or(base.invalid_utf8),
            types: self.types.unwrap_or(base.types),
            true_values: texts(&self.true_values, base.true_values),
            false_values: texts(&self.false_values, base.false_values),
            decimal_comma: flag(self.decimal_comma, base.decimal_comma),
        }
    }
}

/// The rules between the keys of a dialect; `path` is that of `csv`.
pub(in crate::config) fn check(csv: &CsvOptions, path: &str, mistakes: &mut Mistakes) {
    let mut add = |key: &str, text: String| mistakes.add(format!("{path}.{key}"), text);
    let delimiter = match csv.delimiter {
        Delimiter::Is(delimiter) => Some(delimiter),
        Delimiter::Auto => None,
    };
    let marks = [("delimiter", delimiter), ("quote", csv.quote), ("comment", csv.comment)];
    for (index, (key, mark)) in marks.iter().enumerate() {
        if let Some((other, _)) = marks[..index].iter().find(|(_, other)| mark.is_some() && other == mark) {
            add(key, format!("must not be the same character as {other}"));
        }
    }
    if csv.escape.is_some() && csv.escape == delimiter {
        add("escape", "must not be the same character as delimiter".to_owned());
    }
    if csv.escape.is_some() && csv.quote.is_none() {
        add("escape", "is only for text in quotes, and quote is none; give `quote`, too".to_owned());
    }
    if csv.repeated_header == RepeatedHeader::Skip && !csv.header {
        add("repeated_header", "there is no header to repeat, header is false".to_owned());
    }
    if csv.decimal_comma && delimiter == Some(b',') {
        let text =
            "not with a comma as delimiter, which would cut numbers in two; give another `delimiter`, such as \";\"";
        add("decimal_comma", text.to_owned());
    }
    if let Some(both) = csv.true_values.iter().find(|text| csv.false_values.contains(text)) {
        let text = format!("must not have {}, which true_values has", crate::config::quote(both));
        add("false_values", text);
    }
}

/// `delimiter`.
#[derive(Debug, Clone, Copy)]
struct RawDelimiter(Delimiter);

/// The text for a tab that YAML leaves as it is.
const TAB: &str = "\\t";

struct DelimiterRule;

impl TextRule for DelimiterRule {
    const PATTERN: &'static str = "^(?:[\\x01-\\x09\\x0b\\x0c\\x0e-\\x7f]|\\\\t|auto)$";
    const EXPECTED: &'static str = "one ASCII character that ends no line, `\\t` for a tab, or `auto`";
}

impl FromJson for RawDelimiter {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let text = Text::<DelimiterRule>::from_json(value, path, mistakes)?.0;
        Some(Self(match text.as_str() {
            "auto" => Delimiter::Auto,
            TAB => Delimiter::Is(b'\t'),
            one => Delimiter::Is(*one.as_bytes().first()?),
        }))
    }
}

/// `quote`, `escape` and `comment`.
#[derive(Debug, Clone, Copy)]
struct RawMark(Option<u8>);

struct MarkRule;

impl TextRule for MarkRule {
    const PATTERN: &'static str = "^(?:[\\x01-\\x09\\x0b\\x0c\\x0e-\\x7f]|none)$";
    const EXPECTED: &'static str = "one ASCII character that ends no line, or `none`";
}

impl FromJson for RawMark {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let text = Text::<MarkRule>::from_json(value, path, mistakes)?.0;
        Some(Self((text != "none").then(|| text.as_bytes().first().copied()).flatten()))
    }
}

/// Names of columns, at least one.
#[derive(Debug, Clone)]
struct Names(Vec<String>);

inline_schema!(Names; json_schema!({"type": "array", "items": {"type": "string"}, "minItems": 1}));

impl FromJson for Names {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let TextList(names) = TextList::from_json(value, path, mistakes)?;
        if names.is_empty() && value.as_array().is_some_and(Vec::is_empty) {
            mistakes.add(path, "must have at least one name");
            return None;
        }
        Some(Self(names))
    }
}

words!(RepeatedHeader; "row" => Self::Row, "skip" => Self::Skip);
words!(Trim; "none" => Self::None, "outer" => Self::Outer);
words!(LongRows; "rescue" => Self::Rescue, "bad" => Self::Bad, "ignore" => Self::Ignore);
words!(InvalidUtf8; "replace" => Self::Replace, "bad" => Self::Bad);
words!(CsvTypes; "infer" => Self::Infer, "text" => Self::Text);
words!(Encoding;
    "utf-8" => Self::Utf8, "utf-16" => Self::Utf16, "utf-16le" => Self::Utf16Le, "utf-16be" => Self::Utf16Be,
    "latin1" => Self::Latin1, "windows-1252" => Self::Windows1252
);

inline_schema!(ShortRows; json_schema!({"enum": ["null", null, "bad"]}));

impl FromJson for ShortRows {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word_or_null(value, &[("null", Self::Null), ("bad", Self::Bad)], path, mistakes)
    }
}

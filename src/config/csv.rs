//! The dialect of CSV and TSV: `csv` in the spec, of which each key may stand at the top level or in a mapping.

use std::sync::Arc;

/// How CSV is read, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    /// What stands between two fields.
    pub delimiter: Delimiter,
    /// The ASCII character around a field that may hold delimiters and line ends; `None`: there is none.
    pub quote: Option<u8>,
    /// Inside quotes, the ASCII character that makes the one behind it text; `None`: there is none. A doubled quote is a quote
    /// whatever this says.
    pub escape: Option<u8>,
    /// Whether `\t`, `\n`, `\\` and the like stand for characters in fields without quotes, as PostgreSQL and Hive write them.
    /// What is null is told before.
    pub backslash_escapes: bool,
    /// Whether the first record has the names of the columns.
    pub header: bool,
    /// The names of the columns, instead of those in the header or of `column_1` and so on. There may be fewer than columns.
    pub names: Option<Vec<String>>,
    /// The columns that the source of a table is known to have, in order: they name those of objects without a header, if `names`
    /// does not. No choice of the spec's.
    pub described: Option<Arc<[String]>>,
    /// Lines before the header, or before the first record, that are passed over.
    pub skip_rows: u64,
    /// A line that starts with this ASCII character is passed over.
    pub comment: Option<u8>,
    /// What becomes of a record equal to the header.
    pub repeated_header: RepeatedHeader,
    /// The texts that mean null.
    pub null_values: Vec<String>,
    /// Whether they mean null in quotes, too.
    pub quoted_null: bool,
    /// What becomes of spaces around fields without quotes.
    pub trim: Trim,
    /// What becomes of records with fewer fields than the header.
    pub short_rows: ShortRows,
    /// What becomes of records with more fields than the header, of which one that is not empty is surplus.
    pub long_rows: LongRows,
    /// How the characters are encoded, if no byte order mark says so.
    pub encoding: Encoding,
    /// What becomes of bytes that are no character.
    pub invalid_utf8: InvalidUtf8,
    /// How columns get their types.
    pub types: CsvTypes,
    /// The texts that mean true.
    pub true_values: Vec<String>,
    /// The texts that mean false.
    pub false_values: Vec<String>,
    /// Whether a comma stands before the decimals of numbers.
    pub decimal_comma: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: Delimiter::default(),
            quote: Some(b'"'),
            escape: None,
            backslash_escapes: false,
            header: true,
            names: None,
            described: None,
            skip_rows: 0,
            comment: None,
            repeated_header: RepeatedHeader::default(),
            null_values: vec![String::new()],
            quoted_null: false,
            trim: Trim::default(),
            short_rows: ShortRows::default(),
            long_rows: LongRows::default(),
            encoding: Encoding::default(),
            invalid_utf8: InvalidUtf8::default(),
            types: CsvTypes::default(),
            true_values: ["true", "TRUE", "True"].map(String::from).to_vec(),
            false_values: ["false", "FALSE", "False"].map(String::from).to_vec(),
            decimal_comma: false,
        }
    }
}

impl CsvOptions {
    /// Whether the columns of objects have no names but those that a description of their source gives.
    #[must_use]
    pub fn lacks_names(&self) -> bool {
        !self.header && self.names.is_none()
    }

    /// What `filetype: tsv` starts from: the text format of PostgreSQL and Hive.
    #[must_use]
    pub fn tsv() -> Self {
        Self {
            delimiter: Delimiter::Is(b'\t'),
            quote: None,
            backslash_escapes: true,
            null_values: vec![String::from("\\N")],
            ..Self::default()
        }
    }
}

/// What stands between two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiter {
    /// This ASCII character.
    Is(u8),
    /// What the first records have most evenly.
    Auto,
}

impl Default for Delimiter {
    fn default() -> Self {
        Self::Is(b',')
    }
}

/// What becomes of a record equal to the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RepeatedHeader {
    /// It is a row as every other one.
    #[default]
    Row,
    /// It is passed over; it has a number all the same.
    Skip,
}

/// What becomes of spaces around fields without quotes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trim {
    /// They are part of the field.
    #[default]
    None,
    /// They are left out.
    Outer,
}

/// What becomes of records with fewer fields than the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShortRows {
    /// The missing fields are null.
    #[default]
    Null,
    /// The record is bad.
    Bad,
}

/// What becomes of records with more fields than the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LongRows {
    /// The surplus fields go into the rescue column.
    #[default]
    Rescue,
    /// The record is bad.
    Bad,
    /// The surplus fields are left out.
    Ignore,
}

/// How the characters of a text are encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// UTF-16; the byte order mark says which one, little-endian without.
    Utf16,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// ISO 8859-1.
    Latin1,
    /// Windows code page 1252.
    Windows1252,
}

/// What becomes of bytes that are no character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// They become U+FFFD and are counted.
    #[default]
    Replace,
    /// The record is bad.
    Bad,
}

/// How columns of CSV get their types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CsvTypes {
    /// From the values.
    #[default]
    Infer,
    /// All are text.
    Text,
}

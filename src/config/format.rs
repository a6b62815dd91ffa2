//! The formats of objects: the words of `filetype`.

use std::fmt;

/// A format of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// Tab-separated values, as PostgreSQL and Hive write them.
    Tsv,
    /// JSON values behind each other, mostly one a line.
    Jsonl,
    /// JSON: values behind each other, an array or a document, as its first bytes say.
    Json,
    /// Lines.
    Text,
    /// Apache Avro, as object container file.
    Avro,
    /// Apache Arrow, as file or stream.
    Arrow,
    /// Records behind their lengths: the format that tests prove the seam with.
    #[cfg(test)]
    Records,
}

impl Format {
    /// Those that the spec has words for, with the words.
    pub const WORDS: [(&'static str, Self); 8] = [
        ("parquet", Self::Parquet),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("jsonl", Self::Jsonl),
        ("json", Self::Json),
        ("avro", Self::Avro),
        ("arrow", Self::Arrow),
        ("text", Self::Text),
    ];

    /// Whether all files of a table have the same columns unless the spec says otherwise.
    #[must_use]
    pub fn is_strict(self) -> bool {
        match self {
            Self::Parquet => true,
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text | Self::Avro | Self::Arrow => false,
            #[cfg(test)]
            Self::Records => true,
        }
    }

    /// Formats that one folder may have side by side: what their records are does not differ.
    #[must_use]
    pub fn family(self) -> Self {
        if self == Self::Jsonl { Self::Json } else { self }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Jsonl => "JSON lines",
            Self::Json => "JSON",
            Self::Text => "text",
            Self::Avro => "Avro",
            Self::Arrow => "Arrow",
            #[cfg(test)]
            Self::Records => "records",
        })
    }
}

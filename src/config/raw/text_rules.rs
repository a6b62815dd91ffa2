//! What may be said about text formats, and where: a choice that nothing would read is a mistake.

use super::{bad_rows::RawBadRows, csv, json};
use crate::config::Format;
use crate::config::csv::CsvOptions;
use crate::config::layout::FileType;
use crate::config::object_reader::Mistakes;
use crate::config::raw::csv::RawCsv;
use crate::config::raw::json::RawJson;
use crate::config::raw::mapping::RawMapping;
use crate::config::table_options::RawTableOptions;

/// The formats that an option is for, in words.
#[derive(Clone, Copy)]
enum For {
    Text,
    Csv,
    Json,
}

impl For {
    /// Whether objects of this `filetype` may be of such a format.
    fn has(self, filetype: FileType) -> bool {
        match (self, filetype) {
            (_, FileType::Auto) => true,
            (_, FileType::Of(Format::Parquet | Format::Avro | Format::Arrow)) => false,
            (Self::Json, FileType::Of(format)) => matches!(format, Format::Json | Format::Jsonl),
            // Of CSV's options, the encoding is that of lines, too.
            (Self::Csv, FileType::Of(format)) => !matches!(format, Format::Json | Format::Jsonl),
            (Self::Text, FileType::Of(_)) => true,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Text => "text formats (csv, tsv, jsonl, json, text)",
            Self::Csv => "csv, tsv and text",
            Self::Json => "json and jsonl",
        }
    }
}

/// The options of `options` that only some formats know, with their fields.
fn of_some_formats(options: &RawTableOptions) -> impl Iterator<Item = (&'static str, For)> {
    let in_schema = options.schema.as_ref().and_then(|schema| schema.text_key());
    let field = in_schema.map(|key| if key == "sample" { "schema.sample" } else { "schema.on_mismatch" });
    let compression = options.compression.filter(|compression| compression.0.is_some());
    let given = [
        compression.map(|_| ("compression", For::Text)),
        options.csv.as_ref().map(|_| ("csv", For::Csv)),
        options.json.as_ref().map(|_| ("json", For::Json)),
        field.map(|field| (field, For::Text)),
        options.bad_rows.as_ref().map(|_| ("bad_rows", For::Text)),
    ];
    given.into_iter().flatten()
}

/// Notes what is said about text formats where none is read, and what does not go together.
pub(super) fn check(top: &RawTableOptions, mappings: &[Option<RawMapping>], mistakes: &mut Mistakes) {
    let top_type = top.filetype.unwrap_or_default();
    let of = |mapping: &RawMapping| mapping.options.filetype.unwrap_or(top_type);
    let read: Vec<FileType> = std::iter::once(top_type).chain(mappings.iter().flatten().map(of)).collect();
    for (field, formats) in of_some_formats(top) {
        if !read.iter().any(|filetype| formats.has(*filetype)) {
            mistakes.add(field, only_for(field, formats, top_type));
        }
    }
    let of_dialect = |formats: For| read.iter().copied().find(|filetype| formats.has(*filetype));
    check_csv(top, None, of_dialect(For::Csv), "", mistakes);
    check_json(top, None, of_dialect(For::Json), "", mistakes);
    let says_on = |mapping: &RawMapping| mapping.options.bad_rows.as_ref().is_some_and(RawBadRows::says_on);
    if let Some(bad_rows) = &top.bad_rows
        && !mappings.iter().flatten().any(says_on)
    {
        bad_rows.check(RawBadRows::over(Some(bad_rows), None).on, "bad_rows", mistakes);
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let Some(mapping) = mapping else { continue };
        let (path, filetype) = (format!("mappings[{index}]."), of(mapping));
        for (field, formats) in of_some_formats(&mapping.options).filter(|(_, formats)| !formats.has(filetype)) {
            mistakes.add(format!("{path}{field}"), only_for(field, formats, filetype));
        }
        check_csv(&mapping.options, Some(top), Some(filetype), &path, mistakes);
        check_json(&mapping.options, Some(top), Some(filetype), &path, mistakes);
        if let Some(bad_rows) = &mapping.options.bad_rows {
            let on = RawBadRows::over(Some(bad_rows), top.bad_rows.as_ref()).on;
            bad_rows.check(on, &format!("{path}bad_rows"), mistakes);
        }
    }
}

fn only_for(field: &str, formats: For, filetype: FileType) -> String {
    let name = if field == "schema.on_mismatch" { "`bad` is" } else { "is" };
    let found = match filetype {
        FileType::Auto => "auto",
        FileType::Of(of) => Format::WORDS.iter().find(|(_, format)| *format == of).map_or("", |(word, _)| word),
    };
    format!("{name} only for {}, filetype is {found}", formats.words())
}

/// The rules between the keys of `csv`, where objects of `filetype` are read with it; `path` is empty or ends with a dot. What is
/// inherited as it is was checked at the top level.
fn check_csv(
    own: &RawTableOptions,
    top: Option<&RawTableOptions>,
    filetype: Option<FileType>,
    path: &str,
    mistakes: &mut Mistakes,
) {
    let is_other = own.csv.is_some() || own.filetype.is_some();
    let Some(filetype) = filetype.filter(|filetype| is_other && For::Csv.has(*filetype)) else { return };
    let base = if filetype == FileType::Of(Format::Tsv) { CsvOptions::tsv() } else { CsvOptions::default() };
    let options = RawCsv::over(own.csv.as_ref(), top.and_then(|top| top.csv.as_ref()), base);
    csv::check(&options, &format!("{path}csv"), mistakes);
}

/// The same for `json`.
fn check_json(
    own: &RawTableOptions,
    top: Option<&RawTableOptions>,
    filetype: Option<FileType>,
    path: &str,
    mistakes: &mut Mistakes,
) {
    if own.json.is_some() && filetype.is_some_and(|filetype| For::Json.has(filetype)) {
        let options = RawJson::over(own.json.as_ref(), top.and_then(|top| top.json.as_ref()));
        json::check(&options, &format!("{path}json"), mistakes);
    }
}

//! What goes wrong with a Parquet file, in the words of [`ReadError`].

use crate::formats::assemble::PartName;
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use parquet::errors::ParquetError;

/// What an error of the crate says, without the names of the layers that it came through.
pub(super) fn cause(error: &ParquetError) -> String {
    const LAYERS: [&str; 5] =
        ["External: ", "Arrow: ", "Parquet argument error: ", "Parquet error: ", "Invalid argument error: "];
    let text = error.to_string();
    let mut rest = text.as_str();
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest.to_owned()
}

/// The footer can't be read.
pub(super) fn footer_error(error: ParquetError) -> ReadError {
    ReadError::At { place: "read the footer".to_owned(), what: cause(&error) }
}

/// What messages call a row group.
pub(super) fn part(row_group: usize) -> PartName {
    PartName { word: "row group", number: row_group as u64 }
}

/// A row group can't be read, at `place` inside of it.
pub(super) fn row_group_error(row_group: usize, place: &str, what: impl Into<String>) -> ReadError {
    part(row_group).error(place, what)
}

/// The file contradicts itself.
pub(super) fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { format: Format::Parquet, what: what.into() }
}

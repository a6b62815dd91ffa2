//! How the records of an object stand in its text, told by its first bytes.

use super::scanner::{Fault, Scanner};
use super::structure::spaces_end;
use crate::config::json::{JsonAs, JsonOptions, JsonRecords};
use crate::formats::text::chunk::SplitError;

/// How records stand in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One a line.
    Lines,
    /// One behind the other, with or without white space between them. One document is one of them.
    Values,
    /// As items of an array.
    Items,
}

/// Tells the shape by the first bytes. `None`: there are too few; with all bytes of the text (`is_all`), or with more than
/// `most_bytes`, there never are. What it tells doesn't depend on how many more there are.
pub(super) fn shape(
    options: &JsonOptions,
    is_lines: bool,
    head: &[u8],
    is_all: bool,
    most_bytes: usize,
) -> Result<Option<Shape>, SplitError> {
    let start = spaces_end(head, 0);
    let is_first = match head.get(start) {
        None => return Ok(is_all.then_some(Shape::Lines)),
        Some(byte) => byte,
    };
    match is_first {
        _ if matches!(options.records, JsonRecords::At(_)) => return Ok(Some(Shape::Items)),
        b'[' if !is_lines => return Ok(Some(Shape::Items)),
        b'{' | b'[' => {}
        _ if is_lines || options.read_as == JsonAs::Document => return Ok(Some(Shape::Lines)),
        _ => {
            return Err(SplitError::Other(String::from(
                "the JSON begins with neither an object nor an array: with json.as: document, values of every kind are rows",
            )));
        }
    }
    let seen = head.get(start..).unwrap_or_default();
    let (seen, is_cut) = match seen.get(..most_bytes) {
        Some(first) => (first, true),
        None => (seen, false),
    };
    Ok(of_first_value(seen, is_all && !is_cut, is_cut))
}

/// `is_all`: the text ends behind `seen`; `is_cut`: there may be more, but it is not looked at.
fn of_first_value(seen: &[u8], is_all: bool, is_cut: bool) -> Option<Shape> {
    // Depth is none of the splitter's business: only what can't be JSON ends the first value.
    match Scanner::new(usize::MAX).value(seen, 0, 0) {
        Ok(end) => {
            let (value, behind) = seen.split_at_checked(end)?;
            if value.contains(&b'\n') {
                return Some(Shape::Values);
            }
            match behind.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
                Some(b'{' | b'[') => Some(Shape::Values),
                Some(_) => Some(Shape::Lines),
                None => (is_all || is_cut).then_some(Shape::Lines),
            }
        }
        Err(Fault::At(at)) if at >= seen.len() && (is_all || is_cut) => {
            Some(if seen.contains(&b'\n') { Shape::Values } else { Shape::Lines })
        }
        Err(Fault::At(at)) if at >= seen.len() => None,
        Err(_) => Some(Shape::Lines),
    }
}

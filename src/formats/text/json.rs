//! JSON: lines, values behind each other, arrays, and documents that have the records in them.
//!
//! ```text
//! text ─▶ splitter: chunks of whole records, counted (serial) ─▶ parser: a column of raw JSON a key (parallel)
//! ```
//!
//! Values stay as they stand in the text, checked but not read, so that no number is ever rounded on its way to its column. A
//! record that is no JSON, or no object, is bad on its own: the records around it are not touched.

mod document;
mod gather;
mod parser;
mod row;
pub(super) mod sample;
mod scanner;
mod shape;
mod splitter;
mod structure;
mod unescape;

pub(crate) use parser::Parser;
pub(crate) use sample::sample;
pub(crate) use shape::Shape;
pub(crate) use splitter::Splitter;

use scanner::{Scanner, key};
use structure::spaces_end;
use unescape::unescape;

/// Calls `each` with the name and the value of every member of an object that [`Parser`] wrote.
pub(crate) fn each_member(object: &str, mut each: impl FnMut(&str, &str)) {
    let bytes = object.as_bytes();
    let mut scanner = Scanner::new(usize::MAX);
    let mut at = 1;
    while let Ok(found) = key(bytes, at) {
        let Ok(end) = scanner.value(bytes, found.value, 1) else { return };
        let name = unescape(object.get(at..found.end).unwrap_or_default(), &mut 0);
        each(&name, object.get(found.value..end).unwrap_or_default());
        at = spaces_end(bytes, end) + 1;
    }
}

#[cfg(test)]
mod tests;

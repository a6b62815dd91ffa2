//! CSV and TSV: from the text of an object to columns of texts.
//!
//! ```text
//! text ─ Splitter ─▶ chunks of whole records ─ Parser ─▶ columns
//!          boundaries: where records end            lexer: where fields are
//!                       └──────── scan: which bytes matter ────────┘
//! ```
//!
//! The splitter goes through the text once, in order, and says which numbers the records of a chunk have; the parser may then
//! have chunks in any order, on many cores. Both know the same rules of quotes, each as much of them as it needs; tests hold
//! them against each other and against a reader of single bytes.
//!
//! A field is null or text here. What a text means as a number or a date is told where its column's type is known.

mod backslash;
mod boundaries;
mod columns;
mod dialect;
mod header;
mod lexer;
mod parser;
mod sample;
mod scan;
mod splitter;
#[cfg(test)]
mod tests;

pub(crate) use header::Header;
pub(crate) use parser::Parser;
pub(crate) use sample::Sample;
pub(crate) use splitter::Splitter;

//! The types that fields of the spec have. Each says once what it accepts: the same constants make its JSON Schema and
//! decide in [`FromJson`](super::object_reader::FromJson).

mod lists;
mod numbers;
mod spans;
mod texts;
mod words;

pub(super) use lists::*;
pub(super) use numbers::*;
pub(super) use spans::RawDuration;
pub(super) use spans::RawMoment;
pub(crate) use spans::span;
pub(super) use texts::*;
pub(super) use words::*;

use regex_automata::meta::Regex;
use serde_json::{Value, json};

/// Implements `JsonSchema` for a type whose schema is written inside the field, not under `$defs`.
macro_rules! inline_schema {
    ($type:ty $(, $param:ident: $bound:ident)?; $schema:expr) => {
        impl$(<$param: $bound>)? JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

pub(super) use inline_schema;

/// What no text may have whose pattern ends in `$`: for some engines (Python's, Perl's) that is also where a line feed at
/// the very end begins, and no other spelling of "the end" is understood by all of them.
pub(super) fn line_feed() -> Value {
    json!({"pattern": "\\n"})
}

/// Whether `pattern`, one of our constants, accepts `text`. (A test compiles all of them.)
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::super::object_reader::{FromJson, Mistakes};
    use super::*;

    pub(super) fn read<T: FromJson>(value: Value) -> Result<T, String> {
        let mut mistakes = Mistakes::default();
        T::from_json(&value, "field", &mut mistakes).ok_or_else(|| mistakes.0[0].text.clone())
    }
}

//! Texts, and what they must look like.

use super::{inline_schema, line_feed, matches};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use crate::config::secret::Secret;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

/// Most characters of a text without a limit of its own: session tokens, the longest, have some 2,000.
const MAX_TEXT_CHARS: usize = 65_536;

/// Any text, also the empty one.
#[derive(Debug)]
pub(in crate::config) struct AnyText(pub(in crate::config) String);

inline_schema!(AnyText; json_schema!({"type": "string"}));

impl FromJson for AnyText {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if !value.is_string() {
            mistakes.add(path, wrong_type("text", value));
        }
        value.as_str().map(|text| Self(text.to_owned()))
    }
}

/// A text that is not empty. What else it must be is checked elsewhere.
#[derive(Debug, Clone)]
pub(in crate::config) struct FilledText(pub(in crate::config) String);

inline_schema!(FilledText; json_schema!({"type": "string", "minLength": 1}));

impl FromJson for FilledText {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let AnyText(text) = AnyText::from_json(value, path, mistakes)?;
        if text.is_empty() {
            mistakes.add(path, "must not be empty");
            return None;
        }
        Some(Self(text))
    }
}

/// What a text must look like.
pub(in crate::config) trait TextRule {
    /// A regular expression that ECMA 262, RE2 and Rust read alike, anchored at both ends. RE2 counts no repetition above
    /// 1,000: longer limits go into [`TextRule::LENGTH`].
    const PATTERN: &'static str;
    /// Least and most characters.
    const LENGTH: (usize, usize) = (1, MAX_TEXT_CHARS);
    /// The same in words, as in "must be …".
    const EXPECTED: &'static str;
    /// The text may hold a secret: mistakes must not quote it.
    const SECRET: bool = false;

    /// What to do about `text`, where it looks like a known misunderstanding. May quote it (see [`quote`]), but not
    /// what can be a password.
    fn hint(_text: &str) -> Option<String> {
        None
    }
}

/// A text that follows the rule `R`.
pub(in crate::config) struct Text<R>(pub(in crate::config) String, PhantomData<R>);

inline_schema!(Text<R>, R: TextRule; json_schema!({
    "type": "string",
    "minLength": R::LENGTH.0,
    "maxLength": R::LENGTH.1,
    "pattern": R::PATTERN,
    "not": line_feed()
}));

impl<R: TextRule> FromJson for Text<R> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text", value));
            return None;
        };
        let (min, max) = R::LENGTH;
        if (min..=max).contains(&text.chars().count()) && matches(R::PATTERN, text) {
            return Some(Self(text.to_owned(), PhantomData));
        }
        // What stands before an @ may be a password, wherever someone pasted it.
        let quotable = !R::SECRET && !text.contains('@');
        let mistake = match R::hint(text) {
            _ if text.is_empty() => format!("must not be empty; it must be {}", R::EXPECTED),
            Some(hint) => hint,
            None if quotable => format!("must be {}, found {}", R::EXPECTED, quote(text)),
            None => format!("must be {}", R::EXPECTED),
        };
        mistakes.add(path, mistake);
        None
    }
}

/// The same, or an empty text, which counts as left out: other S3 plugins write such defaults out.
pub(in crate::config) struct OptionalText<R>(pub(in crate::config) Option<String>, PhantomData<R>);

inline_schema!(OptionalText<R>, R: TextRule; json_schema!({
    "type": "string", "maxLength": R::LENGTH.1, "pattern": format!("^$|{}", R::PATTERN), "not": line_feed()
}));

impl<R: TextRule> FromJson for OptionalText<R> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        // An empty text would pass the schema whatever least length the rule has.
        const { assert!(R::LENGTH.0 == 1) };
        if value.as_str() == Some("") {
            return Some(Self(None, PhantomData));
        }
        Text::<R>::from_json(value, path, mistakes).map(|text| Self(Some(text.0), PhantomData))
    }
}

/// A secret that goes into request headers: no spaces, no line breaks.
pub(in crate::config) struct RawSecret(pub(in crate::config) Secret);

inline_schema!(RawSecret; Text::<SecretRule>::json_schema(&mut SchemaGenerator::default()));

impl FromJson for RawSecret {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        Text::<SecretRule>::from_json(value, path, mistakes).map(|text| Self(Secret::new(text.0)))
    }
}

struct SecretRule;

impl TextRule for SecretRule {
    const PATTERN: &'static str = "^[!-~]+$";
    const EXPECTED: &'static str = "one word of printable ASCII, without spaces and line breaks";
    const SECRET: bool = true;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::field_types::tests::read;
    use serde_json::json;

    #[test]
    fn a_secret_of_the_wrong_type_or_form_is_not_quoted() {
        for value in [json!(8_675_309), json!("86753 09"), json!(["8675309"]), json!({"8675309": 1})] {
            let mistake = read::<RawSecret>(value).map(|_| ()).unwrap_err();
            assert!(!mistake.contains("8675"), "{mistake}");
        }
    }
}

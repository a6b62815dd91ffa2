//! Strings of JSON as the texts that they are.

use crate::cast::convert::{Converted, some_set};
use crate::cast::error::CastError;
use arrow::array::{StringArrayType, StringBuilder};
use arrow::buffer::BooleanBuffer;
use std::borrow::Cow;
use std::sync::Arc;

/// Half of a pair of UTF-16 that is the first, or the second.
const FIRST_HALVES: std::ops::RangeInclusive<u16> = 0xd800..=0xdbff;
const SECOND_HALVES: std::ops::RangeInclusive<u16> = 0xdc00..=0xdfff;

/// The texts of all values: of strings, of scalars as they stand in the file, and so of nested values if they are kept, which are
/// lost else. With them the number of halves of surrogate pairs that became U+FFFD.
pub(super) fn plain<'a>(
    values: impl StringArrayType<'a> + Copy,
    nested_kept: bool,
) -> Result<(Converted, u64), CastError> {
    let bytes = (0..values.len()).filter(|row| values.is_valid(*row)).map(|row| values.value(row).len()).sum();
    // Texts are no longer than their JSON: an escape of two bytes is one byte, one of six is at most three.
    if i32::try_from(bytes).is_err() {
        return Err(CastError::TooLarge);
    }
    let mut builder = StringBuilder::with_capacity(values.len(), bytes);
    let mut replaced = 0;
    let lost = BooleanBuffer::collect_bool(values.len(), |row| {
        if values.is_null(row) {
            builder.append_null();
            return false;
        }
        let raw = values.value(row);
        match raw.as_bytes().first() {
            Some(b'"') => builder.append_value(unescape(inner(raw), &mut replaced)),
            Some(b'{' | b'[') if !nested_kept => {
                builder.append_null();
                return true;
            }
            _ => builder.append_value(raw),
        }
        false
    });
    Ok((Converted { array: Arc::new(builder.finish()), lost: some_set(lost) }, replaced))
}

/// The text of a string; `None` of any other value.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    raw.starts_with('"').then(|| unescape(inner(raw), &mut 0))
}

/// What is between the quotes.
fn inner(raw: &str) -> &str {
    let rest = raw.strip_prefix('"').unwrap_or(raw);
    rest.strip_suffix('"').unwrap_or(rest)
}

/// The text that the inside of a string stands for. U+0000 is left out, half a surrogate pair is U+FFFD and counted.
pub(super) fn unescape<'a>(inner: &'a str, replaced: &mut u64) -> Cow<'a, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = behind.chars();
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                rest = unicode(chars.as_str(), &mut out, replaced);
                continue;
            }
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Appends the character of the escape whose digits `text` begins with; gives what is behind it.
fn unicode<'a>(text: &'a str, out: &mut String, replaced: &mut u64) -> &'a str {
    let Some((unit, rest)) = unit(text) else { return text };
    if FIRST_HALVES.contains(&unit)
        && let Some((second, behind)) = rest.strip_prefix("\\u").and_then(self::unit)
        && SECOND_HALVES.contains(&second)
    {
        out.extend(char::decode_utf16([unit, second]).flatten());
        return behind;
    }
    match char::from_u32(unit.into()) {
        Some('\0') => {}
        Some(c) => out.push(c),
        None => {
            *replaced += 1;
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    rest
}

/// Four digits of base 16, and the rest.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { Some((u16::from_str_radix(digits, 16).ok()?, rest)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_the_characters_that_they_stand_for() {
        let mut replaced = 0;
        for (inner, expected) in [
            ("größe", "größe"),
            (r#"a\"b\\c\/d\n\r\t\b\f"#, "a\"b\\c/d\n\r\t\u{8}\u{c}"),
            (r"\u00e9\u20AC", "é€"),
            (r"\ud83d\ude00!", "😀!"),
            (r"a\u0000b", "ab"),
            (r"\ud800x", "\u{fffd}x"),
            (r"\udc00\ud800\ud800\udc00", "\u{fffd}\u{fffd}\u{10000}"),
            (r"\ud800\n", "\u{fffd}\n"),
        ] {
            assert_eq!(unescape(inner, &mut replaced), expected, "{inner}");
        }
        assert_eq!(replaced, 4);
    }

    proptest! {
        #[test]
        fn strings_come_back_from_json(text in "[^\\x00]{0,20}") {
            let raw = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(string(&raw).unwrap(), &*text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[\\\\u0-9a-f\"é]{0,20}") {
            let _ = (string(&text), unescape(&text, &mut 0));
        }
    }
}

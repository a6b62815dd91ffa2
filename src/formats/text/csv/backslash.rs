//! Escapes in fields without quotes, as PostgreSQL's `COPY` and Hive write them.

use std::borrow::Cow;

/// `text` with the characters that `\t`, `\n` and the like stand for. A backslash before any other character is itself.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', text.as_bytes()) else { return Cow::Borrowed(text) };
    let (plain, rest) = text.split_at(first);
    let mut unescaped = String::with_capacity(text.len());
    unescaped.push_str(plain);
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            unescaped.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => unescaped.push('\t'),
            Some('n') => unescaped.push('\n'),
            Some('r') => unescaped.push('\r'),
            Some('b') => unescaped.push('\u{8}'),
            Some('f') => unescaped.push('\u{c}'),
            Some('v') => unescaped.push('\u{b}'),
            Some('\\') => unescaped.push('\\'),
            Some(other) => unescaped.extend(['\\', other]),
            None => unescaped.push('\\'),
        }
    }
    Cow::Owned(unescaped)
}

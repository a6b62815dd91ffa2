//! The text that a JSON string stands for.

use std::borrow::Cow;

/// The text of the valid JSON string `raw`, with its quotes. U+0000 is left out, as in all text of ours; half a surrogate pair
/// becomes U+FFFD and is counted in `replaced`.
pub(crate) fn unescape<'a>(raw: &'a str, replaced: &mut u64) -> Cow<'a, str> {
    let inner = raw.strip_prefix('"').unwrap_or(raw);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let Some((plain, mut rest)) = inner.split_once('\\') else { return Cow::Borrowed(inner) };
    let mut text = String::with_capacity(inner.len());
    text.push_str(plain);
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (c, behind) = unicode(chars.as_str());
                *replaced += u64::from(c.is_none());
                let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
                if c != '\0' {
                    text.push(c);
                }
                chars = behind.chars();
            }
            Some(c) => text.push(c),
            None => {}
        }
        let Some((plain, behind)) = chars.as_str().split_once('\\') else {
            text.push_str(chars.as_str());
            return Cow::Owned(text);
        };
        text.push_str(plain);
        rest = behind;
    }
}

/// The character of the digits behind `\u`, and what is behind it; `None` for half a pair.
fn unicode(digits: &str) -> (Option<char>, &str) {
    let Some((first, behind)) = unit(digits) else { return (None, digits) };
    if !(0xd800..0xdc00).contains(&first) {
        return (char::from_u32(first), behind);
    }
    match behind.strip_prefix("\\u").and_then(unit) {
        Some((second @ 0xdc00..0xe000, behind)) => {
            (char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)), behind)
        }
        _ => (None, behind),
    }
}

fn unit(digits: &str) -> Option<(u32, &str)> {
    let (unit, behind) = digits.split_at_checked(4)?;
    Some((u32::from_str_radix(unit, 16).ok()?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_of_pairs_are_replaced_and_counted() {
        for (raw, text, halves) in [
            (r#""""#, "", 0),
            (r#""\ud83d\ude00 \u00e9\/""#, "😀 é/", 0),
            (r#""a\ud800""#, "a\u{fffd}", 1),
            (r#""\ud800\ud83d\ude00\udc00b""#, "\u{fffd}😀\u{fffd}b", 2),
            (r#""\ud800\n""#, "\u{fffd}\n", 1),
            (r#""a\u0000b""#, "ab", 0),
        ] {
            let mut replaced = 0;
            assert_eq!((unescape(raw, &mut replaced).as_ref(), replaced), (text, halves), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn strings_come_back(text in "([^\\x00]|[\"\\\\\n])*") {
            let raw = serde_json::to_string(&text).unwrap();
            let mut replaced = 0;
            let plain = unescape(&raw, &mut replaced).into_owned();
            prop_assert_eq!(plain.as_str(), text.as_str());
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let plain = unescape(&format!("\"{escaped}\""), &mut replaced).into_owned();
            prop_assert_eq!(plain.as_str(), text.as_str());
            prop_assert_eq!(replaced, 0);
        }

        #[test]
        fn no_text_panics(text in "\"?[\\\\ud8-fé\"]*") {
            unescape(&text, &mut 0);
        }
    }
}

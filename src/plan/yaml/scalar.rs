//! What scalars without quotes mean, by the rules of YAML 1.1 as the CLI's library has them.

use serde_json::{Number, Value};

/// What the text means: nothing, a boolean, a number, or itself.
pub(super) fn resolved(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return false.into(),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return text.into();
    }
    number(&text.replace('_', "")).map_or_else(|| text.into(), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let radixes = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0", 8), ("", 10)];
    let integer = radixes.iter().find_map(|(prefix, radix)| {
        let digits = digits.strip_prefix(prefix).filter(|rest| !rest.is_empty() && !rest.starts_with(['+', '-']))?;
        i128::from_str_radix(digits, *radix).ok()
    });
    let integer = if digits == "0" { Some(0) } else { integer };
    if let Some(integer) = integer.map(|integer| if negative { -integer } else { integer })
        && let Some(number) = Number::from_i128(integer)
    {
        return Some(number);
    }
    let is_float = digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let float: f64 = if is_float { text.parse().ok()? } else { return None };
    Number::from_f64(float)
}

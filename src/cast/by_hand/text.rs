//! Single values from text. `None`: the text is no such value, or the type does not hold it exactly.

use crate::cast::convert::numbers::{normal, power_of_ten, shortest};
use crate::cast::json;
use crate::config::TypeChoice;
use crate::schema::text_forms;
use crate::times::{iso_date, iso_timestamp_us};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::borrow::Cow;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// Digits of a fraction of a second.
const MICROS_DIGITS: usize = 6;
const NANOS_DIGITS: usize = 9;
/// Exponents of numbers in texts beyond this are of no number that any type holds.
const MAX_EXPONENT: i32 = 10_000;

pub(in crate::cast) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "TRUE" | "True" => Some(true),
        "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The number `value * 10^exponent` that is written as text, the value without a zero at its end: digits with or without a
/// point, maybe an exponent.
fn number(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.as_bytes().first()? {
        b'-' => (-1, &mantissa[1..]),
        b'+' => (1, &mantissa[1..]),
        _ => (1, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_plain(whole) || !is_plain(fraction) || exponent.abs() > MAX_EXPONENT {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    // Zeros at the ends must not make the number too long.
    let significant = digits.trim_end_matches('0');
    let zeros = i32::try_from(digits.len() - significant.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    let value: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    Some(normal(sign * value, exponent))
}

pub(in crate::cast) fn integer(text: &str) -> Option<i128> {
    let (value, exponent) = number(text)?;
    value.checked_mul(power_of_ten(u8::try_from(exponent).ok()?)?)
}

/// In units of `10^-scale`, of at most `precision` digits.
pub(in crate::cast) fn decimal(text: &str, precision: u8, scale: u8) -> Option<i128> {
    let (value, exponent) = number(text)?;
    if value == 0 {
        return Some(0);
    }
    let shift = u8::try_from(exponent.checked_add(scale.into())?).ok()?;
    let scaled = value.checked_mul(power_of_ten(shift)?)?;
    (scaled.unsigned_abs() < power_of_ten(precision)?.unsigned_abs()).then_some(scaled)
}

/// The float whose shortest digits these are.
pub(in crate::cast) fn float64(text: &str) -> Option<f64> {
    if let Some(float) = text_forms::float64(text, b'.') {
        return Some(float);
    }
    let number = number(text)?;
    let float: f64 = text.parse().ok()?;
    (shortest(float)? == number).then_some(float)
}

pub(in crate::cast) fn float32(text: &str) -> Option<f32> {
    if let Some(float) = text_forms::not_finite(text) {
        #[expect(clippy::cast_possible_truncation, reason = "it is not finite")]
        return Some(float as f32);
    }
    let exact = number(text)?;
    let float: f32 = text.parse().ok()?;
    // Its own shortest digits, not those of the wider float.
    (float.is_finite() && number(&serde_json::to_string(&float).ok()?)? == exact).then_some(float)
}

/// Days since 1970.
pub(in crate::cast) fn date(text: &str, choice: &TypeChoice) -> Option<i32> {
    match &choice.format {
        Some(format) => i32::try_from(format.read_us(text)?.div_euclid(super::MICROS_PER_DAY)).ok(),
        None => iso_date(text),
    }
}

/// A time without the digits that are finer than microseconds.
pub(in crate::cast) fn in_micros(text: &str) -> Cow<'_, str> {
    let Some((whole, behind)) = text.split_once('.') else { return text.into() };
    let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
    if !(MICROS_DIGITS + 1..=NANOS_DIGITS).contains(&digits) {
        return text.into();
    }
    format!("{whole}.{}{}", &behind[..MICROS_DIGITS], &behind[digits..]).into()
}

/// Microseconds since midnight.
pub(in crate::cast) fn time_us(text: &str) -> Option<i64> {
    let is_time = text.as_bytes().get(2) == Some(&b':') && !text.ends_with(['Z', 'z']);
    let micros = iso_timestamp_us(&format!("1970-01-01 {text}"))?;
    (is_time && !has_offset(text)).then_some(micros)
}

/// Microseconds since 1970 in UTC: in the given format, or as RFC 3339, also without an offset, or a date alone.
pub(in crate::cast) fn timestamp_us(text: &str, choice: &TypeChoice) -> Option<i64> {
    let offset_us = i64::from(choice.offset_s) * MICROS_PER_SECOND;
    if let Some(format) = &choice.format {
        let offset_us = if format.has_offset() { 0 } else { offset_us };
        return format.read_us(text)?.checked_sub(offset_us);
    }
    if let Some(days) = iso_date(text) {
        return (i64::from(days) * super::MICROS_PER_DAY).checked_sub(offset_us);
    }
    let (day, time) = text.split_at_checked(11)?;
    if has_offset(time) || time.ends_with(['Z', 'z']) {
        // A space instead of the `T` is in no standard and in many files.
        return iso_timestamp_us(text).or_else(|| iso_timestamp_us(&format!("{}T{time}", day.strip_suffix(' ')?)));
    }
    iso_timestamp_us(&format!("{}T{time}Z", day.strip_suffix(['T', 't', ' '])?))?.checked_sub(offset_us)
}

/// Whether a time of day is followed by an offset from UTC.
fn has_offset(time: &str) -> bool {
    time.contains(['+', '-'])
}

/// With dashes, or the 32 digits alone.
pub(in crate::cast) fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    let dashes = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !dashes || *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex(pair[0])? << 4 | hex(pair[1])?;
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// JSON that consumers take.
pub(in crate::cast) fn json(text: &str) -> Option<Vec<u8>> {
    json::clean(text.as_bytes())
}

/// An address with the length of its prefix; one alone gets all of it.
pub(in crate::cast) fn inet(text: &str) -> Option<String> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let bits: u8 = if address.parse::<Ipv4Addr>().is_ok() {
        32
    } else if address.parse::<Ipv6Addr>().is_ok() {
        128
    } else {
        return None;
    };
    match prefix {
        None => Some(format!("{address}/{bits}")),
        Some(prefix) => {
            let plain = prefix.len() <= 3
                && prefix.bytes().all(|byte| byte.is_ascii_digit())
                && (prefix == "0" || !prefix.starts_with('0'));
            (plain && prefix.parse::<u8>().ok()? <= bits).then(|| text.to_owned())
        }
    }
}

/// Six pairs of digits, with `:` or `-` between them.
pub(in crate::cast) fn mac(text: &str) -> Option<[u8; 6]> {
    let text = text.as_bytes();
    let separator = *text.get(2).filter(|byte| matches!(byte, b':' | b'-'))?;
    if text.len() != 17 {
        return None;
    }
    let mut bytes = [0; 6];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = &text[index * 3..];
        *byte = hex(pair[0])? << 4 | hex(pair[1])?;
        if index < 5 && pair[2] != separator {
            return None;
        }
    }
    Some(bytes)
}

pub(in crate::cast) fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

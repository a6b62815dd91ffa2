//! How single values look as JSON text.

use crate::cast::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// Appends a few bytes, as most values and keys are. Copies of a constant length are some moves, others a call of
/// memcpy, which has to look for the length first.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        0..4 => {
            for byte in bytes {
                out.push(*byte);
            }
        }
        4..8 => append_ends::<4>(bytes, out),
        8..16 => append_ends::<8>(bytes, out),
        16..=32 => append_ends::<16>(bytes, out),
        _ => out.extend_from_slice(bytes),
    }
}

/// Appends at most twice `N` bytes as the first and the last `N` of them, which may overlap.
fn append_ends<const N: usize>(bytes: &[u8], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return out.extend_from_slice(bytes);
    };
    let end = out.len() + bytes.len();
    out.extend_from_slice(first);
    out.truncate(end - N);
    out.extend_from_slice(last);
}

pub(super) fn write_number(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Finite numbers always serialize, and writing to a Vec can't fail.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.extend_from_slice(b"null");
    }
}

pub(super) fn write_signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(value.unsigned_abs(), out);
}

pub(super) fn write_unsigned(mut value: u64, out: &mut Vec<u8>) {
    // 20 digits: u64::MAX.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    append(&digits[start..], out);
}

#[expect(clippy::cast_possible_truncation, reason = "the value is a decimal digit")]
fn digit(value: u64) -> u8 {
    b'0' + value as u8
}

/// `value` with leading zeros.
fn write_padded(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = digit(value % 10);
        value /= 10;
    }
}

pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The room is exactly what the encoding takes.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

pub(super) fn write_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 0xf)]);
    }
    out.push(b'"');
}

/// A JSON string, without U+0000.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escape: Cow<'static, [u8]> = match byte {
            b'"' => b"\\\"".into(),
            b'\\' => b"\\\\".into(),
            b'\n' => b"\\n".into(),
            b'\r' => b"\\r".into(),
            b'\t' => b"\\t".into(),
            0 => b"".into(),
            1..0x20 => format!("\\u{byte:04x}").into_bytes().into(),
            _ => continue,
        };
        append(&bytes[start..index], out);
        append(&escape, out);
        start = index + 1;
    }
    append(&bytes[start..], out);
    out.push(b'"');
}

/// The calendar date of days since 1970, when its year has four digits.
pub(super) fn civil(days: i64) -> Option<(u64, u64, u64)> {
    // The years 0 to 9999, so the arithmetic below has only positive numbers of days since 0000-03-01.
    if !(-719_528..=2_932_896).contains(&days) {
        return None;
    }
    // Gregorian eras of 400 years from 0000-03-01 on, one era earlier to keep January and February of year 0 positive.
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = u64::try_from(days + 719_468 + DAYS_PER_ERA).ok()?;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2) - 400;
    Some((year, month, day))
}

fn write_civil((year, month, day): (u64, u64, u64), out: &mut Vec<u8>) {
    write_padded(year, 4, out);
    out.push(b'-');
    write_padded(month, 2, out);
    out.push(b'-');
    write_padded(day, 2, out);
}

fn write_clock(micros_of_day: i64, out: &mut Vec<u8>) {
    let micros = micros_of_day.unsigned_abs();
    let seconds = micros / 1_000_000;
    write_padded(seconds / 3_600, 2, out);
    out.push(b':');
    write_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    write_padded(seconds % 60, 2, out);
    if !micros.is_multiple_of(MICROS_PER_SECOND.unsigned_abs()) {
        out.push(b'.');
        write_padded(micros % 1_000_000, 6, out);
    }
}

pub(super) fn write_date(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let date = civil(days)?;
    out.push(b'"');
    write_civil(date, out);
    out.push(b'"');
    Some(())
}

pub(super) fn write_time(micros: i64, out: &mut Vec<u8>) {
    out.push(b'"');
    write_clock(micros, out);
    out.push(b'"');
}

pub(super) fn write_timestamp(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let date = civil(days)?;
    out.push(b'"');
    write_civil(date, out);
    out.push(b'T');
    write_clock(micros.rem_euclid(MICROS_PER_DAY), out);
    out.extend_from_slice(b"Z\"");
    Some(())
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn bytes_of_every_length_are_appended_whole() {
        let bytes: Vec<u8> = (1..=100).collect();
        for length in 0..=bytes.len() {
            for filled in [0, 1, 40] {
                let mut out = bytes[..filled].to_vec();
                append(&bytes[..length], &mut out);
                assert_eq!(out, [&bytes[..filled], &bytes[..length]].concat());
            }
        }
    }
}

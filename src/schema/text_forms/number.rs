//! Numbers in text: those that are written as JSON writes them. `007`, `+1`, `.5` and `1_000` are none, here: a text that is
//! taken for a number must be what writers of numbers write.

/// Most significant digits of a number that a type holds: those of decimals.
const MAX_DIGITS: usize = 38;
/// Digits that 64 bits hold, whichever they are.
const MAX_SHORT_DIGITS: usize = 19;
/// Digits of an exponent; what has more is beyond all types.
const MAX_EXPONENT_DIGITS: usize = 5;
/// Whole numbers below this are floats as they are.
const EXACT_END: u128 = 1 << SIGNIFICAND_BITS;
/// Of a float, with the one that is not written.
const SIGNIFICAND_BITS: u32 = 53;
/// The powers of ten that are floats as they are.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Room for any float in its shortest digits.
const FLOAT_BYTES: usize = 40;

/// The number `mantissa * 10^exponent`, or the opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) negative: bool,
    /// At most 38 digits.
    pub(crate) mantissa: u128,
    pub(crate) exponent: i32,
    /// It has neither a point nor an exponent.
    pub(crate) is_integer: bool,
}

impl Number {
    /// The number that `text` is; `None` also for what has more than 38 digits.
    #[inline]
    pub(crate) fn read(text: &[u8], point: u8) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let (whole, mut rest) = split_digits(text);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        let mut fraction: &[u8] = &[];
        if let [first, behind @ ..] = rest
            && *first == point
        {
            (fraction, rest) = split_digits(behind);
            if fraction.is_empty() {
                return None;
            }
        }
        let is_integer = fraction.is_empty() && rest.is_empty();
        let written = if rest.is_empty() { 0 } else { read_exponent(rest)? };
        let (mantissa, zeros) = digits(whole, fraction)?;
        if is_integer && zeros > 0 {
            return None;
        }
        let exponent = written.checked_sub(i32::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
        Some(Self { negative, mantissa, exponent, is_integer })
    }

    /// In units of `10^-scale`, of at most `precision` digits, if those hold it.
    pub(crate) fn decimal(&self, precision: u8, scale: u8) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_add(scale.into())?;
        let unit = 10_u128.checked_pow(shift.unsigned_abs());
        let scaled = if shift >= 0 {
            self.mantissa.checked_mul(unit?)?
        } else {
            let unit = unit?;
            self.mantissa.is_multiple_of(unit).then_some(self.mantissa / unit)?
        };
        if scaled >= 10_u128.checked_pow(precision.into())? {
            return None;
        }
        let value = i128::try_from(scaled).ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// The number, if it is whole.
    pub(crate) fn integer(&self) -> Option<i128> {
        self.decimal(38, 0)
    }

    /// The float that is this number, or whose shortest digits it has; `text` is what it was read from.
    #[inline]
    pub(crate) fn float64(&self, text: &str, point: u8) -> Option<f64> {
        let power = POWERS.get(self.exponent.unsigned_abs() as usize);
        let float = match power {
            Some(power) if self.mantissa < EXACT_END => {
                // Both are exact, so the one operation rounds as it must.
                #[expect(clippy::cast_precision_loss, reason = "53 bits at most")]
                let mantissa = self.mantissa as u64 as f64;
                let float = if self.exponent < 0 { mantissa / power } else { mantissa * power };
                if self.negative { -float } else { float }
            }
            _ if point == b'.' => text.parse().ok()?,
            _ => text.replace(char::from(point), ".").parse().ok()?,
        };
        (self.is_apart(float) || self.is_float(text, float)).then_some(float)
    }

    /// Whether a unit of the last digit is more than the space between floats: then no other number with as many digits, or with
    /// fewer, gives this float, and its shortest digits are these.
    #[inline]
    fn is_apart(&self, float: f64) -> bool {
        let written = (1 << (SIGNIFICAND_BITS - 1)) - 1;
        let significand = (float.to_bits() & written) + written + 1;
        // Two units of slack, as the float is not exactly the number.
        float.is_normal() && self.mantissa + 2 < significand.into()
    }

    fn is_float(&self, text: &str, float: f64) -> bool {
        float.is_finite() && (self.mantissa == 0 || self.is_shortest(text, float) || self.is_exactly(float))
    }

    fn is_shortest(&self, text: &str, float: f64) -> bool {
        let mut buffer = [0; FLOAT_BYTES];
        let mut room = &mut buffer[..];
        if serde_json::to_writer(&mut room, &float).is_err() {
            return false;
        }
        let length = FLOAT_BYTES - room.len();
        let shortest = &buffer[..length];
        let read = || Self::read(shortest, b'.').is_some_and(|shortest| shortest.normal() == self.normal());
        shortest == text.as_bytes() || read()
    }

    fn is_exactly(&self, float: f64) -> bool {
        #[expect(clippy::float_cmp, reason = "whole numbers equal themselves truncated")]
        let is_whole = float.trunc() == float;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, and what 128 bits do not hold is no number of 38 digits"
        )]
        let whole = float.abs() as u128;
        let value = u32::try_from(self.exponent).ok().and_then(|e| self.mantissa.checked_mul(10_u128.checked_pow(e)?));
        is_whole && value == Some(whole)
    }

    /// The same number without a zero at its end.
    fn normal(&self) -> (u128, i32) {
        let (mut mantissa, mut exponent) = (self.mantissa, self.exponent);
        if mantissa == 0 {
            return (0, 0);
        }
        while mantissa.is_multiple_of(10) {
            mantissa /= 10;
            exponent += 1;
        }
        (mantissa, exponent)
    }

    /// How many digits a decimal needs for it as it is written: before the point and behind it. `None`: more than 38.
    pub(crate) fn decimal_digits(&self) -> Option<(u8, u8)> {
        let digits = self.mantissa.checked_ilog10().map_or(0, |log| log + 1);
        let scale = if self.exponent < 0 { self.exponent.unsigned_abs() } else { 0 };
        let integer = match i32::try_from(digits).ok()?.saturating_add(self.exponent) {
            integer if self.mantissa != 0 && integer > 0 => integer.unsigned_abs(),
            _ => 0,
        };
        let fits = integer.saturating_add(scale) <= 38;
        if fits { Some((u8::try_from(integer).ok()?, u8::try_from(scale).ok()?)) } else { None }
    }
}

/// The 64-bit integer that `text` is: digits alone, without leading zeros, maybe behind a minus.
#[inline]
pub(crate) fn int64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > MAX_SHORT_DIGITS || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits fit into 64 bits without a sign.
        value = value * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

/// The digits that `text` begins with, and the rest.
#[inline]
fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

fn read_exponent(text: &[u8]) -> Option<i32> {
    let [b'e' | b'E', rest @ ..] = text else { return None };
    let (sign, digits) = match rest {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    if digits.is_empty() || digits.len() > MAX_EXPONENT_DIGITS {
        return None;
    }
    let mut value = 0_i32;
    for digit in digits {
        value = value * 10 + i32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    Some(sign * value)
}

/// The number that all digits make, and how many zeros at its end are left out; `None` of more than 38 significant digits.
#[inline]
fn digits(whole: &[u8], fraction: &[u8]) -> Option<(u128, i32)> {
    if whole.len() + fraction.len() <= MAX_SHORT_DIGITS {
        let add = |value: u64, digit: &u8| value * 10 + u64::from(*digit - b'0');
        let value = fraction.iter().fold(whole.iter().fold(0, add), add);
        return Some((value.into(), 0));
    }
    let (mut value, mut count, mut zeros) = (0_u128, 0, 0);
    for digit in whole.iter().chain(fraction).map(|digit| digit - b'0') {
        if value == 0 && digit == 0 {
            continue;
        }
        if count < MAX_DIGITS {
            value = value * 10 + u128::from(digit);
            count += 1;
        } else if digit == 0 {
            zeros += 1;
        } else {
            return None;
        }
    }
    Some((value, zeros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Number> {
        Number::read(text.as_bytes(), b'.')
    }

    fn float(text: &str) -> Option<f64> {
        read(text)?.float64(text, b'.')
    }

    #[test]
    fn numbers_are_what_json_writes() {
        for text in ["0", "-0", "5", "-5", "10.50", "1e5", "1E+06", "1e-06", "0.1", "-0.0e-0", "12345678901234567890"] {
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "", "-", "007", "-01", "+1", ".5", "5.", "1_000", "0x1f", " 5", "5 ", "1,5", "1e", "1e+", "e5", "1.e5",
            "NaN", "1e123456", "--1", "1-", "1.5.2", "１",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(Number::read(b"1,5", b',').and_then(|n| n.float64("1,5", b',')), Some(1.5));
        assert_eq!(Number::read(b"1.5", b','), None);
        let nines = "9".repeat(38);
        assert_eq!(read(&nines).and_then(|n| n.integer()), Some(10_i128.pow(38) - 1));
        assert_eq!(read(&format!("{nines}0")), None, "39 digits");
        assert_eq!(read(&format!("0.{}", "1".repeat(39))), None);
        assert_eq!(read(&format!("1.5{}", "0".repeat(60))).and_then(|n| n.float64("1.5", b'.')), Some(1.5));
    }

    #[test]
    fn floats_are_exact_or_shortest() {
        for (text, expected) in [
            ("1.50", Some(1.5)),
            ("1e5", Some(1e5)),
            ("0.1", Some(0.1)),
            ("0.8444218515250481", Some(0.844_421_851_525_048_1)),
            ("0.30000000000000004", Some(0.300_000_000_000_000_04)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("9007199254740993.0", None),
            ("1152921504606846976", Some(1_152_921_504_606_846_976.0)),
            ("1152921504606847000", Some(1_152_921_504_606_846_976.0)),
            ("1152921504606846977", None),
            ("0.1234567890123456789", None),
            ("1e23", Some(1e23)),
            ("1e400", None),
            // Halfway between two digits: as most writers have it, with the even one.
            ("1000000000000000.2", Some(1e15 + 0.25)),
            ("5e-324", Some(5e-324)),
            ("4e-324", None),
            ("1e-400", None),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("0e999", Some(0.0)),
        ] {
            assert_eq!(float(text), expected, "{text}");
        }
        assert!(float("-0").is_some_and(f64::is_sign_negative));
    }

    #[test]
    fn decimals_are_exact() {
        let decimal = |text: &str, precision, scale| read(text)?.decimal(precision, scale);
        assert_eq!(decimal("1e-06", 10, 6), Some(1));
        assert_eq!(decimal("1e-06", 10, 5), None);
        assert_eq!(decimal("-1.50", 10, 2), Some(-150));
        assert_eq!(decimal("1.50", 10, 1), Some(15));
        assert_eq!(decimal("1e3", 4, 0), Some(1000));
        assert_eq!(decimal("1e3", 3, 0), None);
        assert_eq!(decimal("1e300", 38, 0), None);
        assert_eq!(decimal("0e300", 38, 2), Some(0));
        let digits = |text: &str| read(text).unwrap().decimal_digits();
        assert_eq!(digits("12.50"), Some((2, 2)));
        assert_eq!(digits("0.001"), Some((0, 3)));
        assert_eq!(digits("1e3"), Some((4, 0)));
        assert_eq!(digits("0"), Some((0, 0)));
        assert_eq!(digits("1e300"), None);
    }

    #[test]
    fn integers_within_64_bits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("07", None),
            ("", None),
            ("-", None),
            ("1.0", None),
        ] {
            assert_eq!(int64(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        /// What floats print is those floats again.
        #[test]
        fn printed_floats_come_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            for text in [format!("{value:e}"), serde_json::to_string(&value).unwrap()] {
                prop_assert_eq!(float(&text).map(f64::to_bits), Some(value.to_bits()), "{}", text);
            }
        }

        /// What is taken for a float has its shortest digits, or is it exactly; nothing else is, and nothing of it is missed.
        #[test]
        fn long_numbers_are_floats_or_not(
            digits in prop_oneof!["[1-9][0-9]{14,17}", "[0-9]{1,3}[.][0-9]{13,16}"], exponent in -40..40_i32,
        ) {
            let text = format!("{}e{exponent}", digits.trim_start_matches('0').trim_start_matches('.'));
            prop_assume!(read(&text).is_some());
            let value: f64 = text.parse().unwrap();
            let same = |other: &str| read(other).map(|number| number.normal()) == read(&text).map(|number| number.normal());
            // All digits of a float as a decimal, of which there are few enough where it is whole.
            let is_exact = value.fract() == 0.0 && same(&format!("{value:.0}"));
            prop_assert_eq!(float(&text).is_some(), same(&serde_json::to_string(&value).unwrap()) || is_exact, "{}", text);
        }

        #[test]
        fn floats_are_rounded_as_by_the_standard_library(text in "-?(0|[1-9][0-9]{0,17})([.][0-9]{1,18})?(e-?[0-9]{1,3})?") {
            if let Some(value) = float(&text) {
                prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[-+0-9.eE]{0,50}") {
            if let Some(number) = read(&text) {
                let _ = (number.float64(&text, b'.'), number.decimal(38, 10), number.decimal_digits(), number.integer());
            }
            prop_assert_eq!(int64(text.as_bytes()).is_some(), text.parse::<i64>().is_ok() && is_canonical(&text));
        }

        #[test]
        fn all_integers_are_read(value in any::<i64>()) {
            prop_assert_eq!(int64(value.to_string().as_bytes()), Some(value));
        }
    }

    fn is_canonical(text: &str) -> bool {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.starts_with('+') && (digits == "0" || !digits.starts_with('0'))
    }
}

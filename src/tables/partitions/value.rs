//! Values of partition columns: their types, how a text is read as one, what two types have in common.
//!
//! A value that a type cannot hold exactly does not fit it: nothing is rounded or cut.

use crate::config::hint_of_type;
use crate::times::{self, TimeFormat};
use std::cmp::Ordering;
use std::fmt;

/// Most digits of a decimal, as Arrow's `decimal128` has them.
const MAX_PRECISION: u8 = 38;
/// The digits of any int64.
const INT64_DIGITS: u8 = 19;

/// The type of a partition column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Int64,
    /// A day.
    Date,
    /// A moment, in microseconds, UTC.
    Timestamp,
    /// True or false.
    Bool,
    /// A floating-point number.
    Float64,
    /// A decimal number.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Those behind the point, at most `precision`.
        scale: u8,
    },
}

/// Every word for a type but `decimal(p, s)`; the first of a type is what our messages print.
const WORDS: [(&str, KeyType); 13] = [
    ("utf8", KeyType::Text),
    ("text", KeyType::Text),
    ("string", KeyType::Text),
    ("int64", KeyType::Int64),
    ("int", KeyType::Int64),
    ("bigint", KeyType::Int64),
    ("date", KeyType::Date),
    ("timestamp", KeyType::Timestamp),
    ("bool", KeyType::Bool),
    ("boolean", KeyType::Bool),
    ("float64", KeyType::Float64),
    ("double", KeyType::Float64),
    ("float", KeyType::Float64),
];

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            other => f.write_str(WORDS.iter().find(|(_, ty)| ty == other).map_or("", |(word, _)| word)),
        }
    }
}

impl KeyType {
    /// The type that a user's word means.
    ///
    /// # Errors
    /// What is wrong with the word, in words that follow the name of the field.
    pub fn from_word(word: &str) -> Result<Self, String> {
        if let Some((_, ty)) = WORDS.iter().find(|(known, _)| *known == word) {
            return Ok(*ty);
        }
        if let Some(digits) = word.strip_prefix("decimal") {
            let is_cut = digits.starts_with('(') && !digits.ends_with(')');
            let hint = if is_cut { hint_of_type(word) } else { String::new() };
            return decimal_from(digits).ok_or_else(|| {
                format!(
                    "a decimal is written decimal(precision, scale) with a precision of 1 to 38 and a scale up to it, such \
                     as decimal(12, 2){hint}"
                )
            });
        }
        let words = WORDS.iter().map(|(known, _)| *known).chain(["decimal"]);
        let nearest =
            || super::nearest(word, words).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        let known = hint_of_type(word);
        // Only some of the types of columns are types of keys, too.
        let is_ours = known.split([' ', '?', '(']).any(|word| WORDS.iter().any(|(ours, _)| *ours == word));
        let meant = if is_ours || known.contains("decimal") { known } else { nearest() };
        let quoted = crate::config::quote(word);
        Err(format!(
            "{quoted} is not a type; there are utf8, int64, date, timestamp, bool, float64 and decimal(p, s){meant}"
        ))
    }

    /// The type that holds the values of all `types`; `None` if there are no types. Neither their order nor how often a
    /// type is there.
    pub fn join(types: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut types: Vec<Self> = types.into_iter().collect();
        types.sort_unstable();
        types.dedup();
        match types.as_slice() {
            [] => None,
            [only] => Some(*only),
            [Self::Date, Self::Timestamp] => Some(Self::Timestamp),
            types if types.iter().all(|ty| ty.digits().is_some() || *ty == Self::Float64) => Some(join_numbers(types)),
            _ => Some(Self::Text),
        }
    }

    /// The digits before and behind the point, if there are limits to them.
    fn digits(self) -> Option<(u8, u8)> {
        match self {
            Self::Int64 => Some((INT64_DIGITS, 0)),
            Self::Decimal { precision, scale } => Some((precision.saturating_sub(scale), scale)),
            _ => None,
        }
    }
}

fn join_numbers(types: &[KeyType]) -> KeyType {
    if types.contains(&KeyType::Float64) {
        return KeyType::Float64;
    }
    let digits = types.iter().filter_map(|ty| ty.digits());
    let (whole, scale) = digits.fold((0, 0), |(whole, scale), (w, s)| (whole.max(w), scale.max(s)));
    match whole + scale {
        precision if precision <= MAX_PRECISION => KeyType::Decimal { precision, scale },
        _ => KeyType::Text,
    }
}

/// Reads `(p, s)`.
fn decimal_from(text: &str) -> Option<KeyType> {
    let (precision, scale) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let number = |text: &str| text.trim().parse::<u8>().ok().filter(|_| !text.contains('+'));
    let (precision, scale) = (number(precision)?, number(scale)?);
    let is_legal = (1..=MAX_PRECISION).contains(&precision) && scale <= precision;
    is_legal.then_some(KeyType::Decimal { precision, scale })
}

/// A type that the spec gives a column, maybe with how its texts are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The type.
    pub ty: KeyType,
    /// How its texts are written; only with dates and timestamps.
    pub format: Option<TimeFormat>,
}

impl Typed {
    /// A type whose texts are written as usual.
    #[must_use]
    pub fn plain(ty: KeyType) -> Self {
        Self { ty, format: None }
    }

    /// The value that `text` is; `None` if it does not fit.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        match (&self.format, self.ty) {
            (Some(format), KeyType::Date) => {
                i32::try_from(format.read_us(text)?.div_euclid(times::DAY_US)).ok().map(Value::Date)
            }
            (Some(format), KeyType::Timestamp) => format.read_us(text).map(Value::Timestamp),
            (_, ty) => Value::read(text, ty),
        }
    }
}

/// A value that is not null.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Int64(i64),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, UTC.
    Timestamp(i64),
    /// True or false.
    Bool(bool),
    /// A floating-point number.
    Float64(f64),
    /// A decimal number.
    Decimal {
        /// The number without its point.
        unscaled: i128,
        /// Digits behind the point.
        scale: u8,
    },
}

impl Value {
    /// The value of type `ty` that `text` is; `None` if it does not fit. Whole numbers may have zeros in front, as
    /// months have.
    #[must_use]
    pub fn read(text: &str, ty: KeyType) -> Option<Self> {
        match ty {
            KeyType::Text => Some(Self::Text(text.to_owned())),
            KeyType::Int64 => text.parse().ok().map(Self::Int64),
            KeyType::Date => times::iso_date(text).map(Self::Date),
            KeyType::Timestamp => times::iso_timestamp_us(text)
                .or_else(|| Some(i64::from(times::iso_date(text)?) * times::DAY_US))
                .map(Self::Timestamp),
            KeyType::Bool if text.eq_ignore_ascii_case("true") => Some(Self::Bool(true)),
            KeyType::Bool if text.eq_ignore_ascii_case("false") => Some(Self::Bool(false)),
            KeyType::Bool => None,
            KeyType::Float64 => text.parse().ok().map(Self::Float64),
            KeyType::Decimal { precision, scale } => decimal(text, precision, scale),
        }
    }

    /// The same value in a column of type `ty`; `None` if that cannot hold it.
    #[must_use]
    pub fn cast(self, ty: KeyType) -> Option<Self> {
        match (self, ty) {
            (Self::Date(days), KeyType::Timestamp) => Some(Self::Timestamp(i64::from(days) * times::DAY_US)),
            (Self::Int64(number), KeyType::Float64) => {
                let float = number as f64;
                // As i128: the largest int64 is rounded up to a number beyond int64.
                (float as i128 == i128::from(number)).then_some(Self::Float64(float))
            }
            (Self::Decimal { unscaled, scale }, KeyType::Float64) => {
                Value::Decimal { unscaled, scale }.to_string().parse().ok().map(Self::Float64)
            }
            (value @ (Self::Int64(_) | Self::Decimal { .. }), ty @ KeyType::Decimal { .. }) => {
                Self::read(&value.to_string(), ty)
            }
            (value, ty) if value.ty_is(ty) => Some(value),
            (value, KeyType::Text) => Some(Self::Text(value.to_string())),
            _ => None,
        }
    }

    fn ty_is(&self, ty: KeyType) -> bool {
        matches!(
            (self, ty),
            (Self::Text(_), KeyType::Text)
                | (Self::Int64(_), KeyType::Int64)
                | (Self::Date(_), KeyType::Date)
                | (Self::Timestamp(_), KeyType::Timestamp)
                | (Self::Bool(_), KeyType::Bool)
                | (Self::Float64(_), KeyType::Float64)
        )
    }

    /// How two values of one column compare; `None` for NaN, and for values of two types.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Int64(a), Self::Int64(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Date(a), Self::Date(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Float64(a), Self::Float64(b)) => a.partial_cmp(b),
            (Self::Decimal { unscaled: a, scale: s }, Self::Decimal { unscaled: b, scale: t }) if s == t => {
                Some(a.cmp(b))
            }
            _ => None,
        }
    }
}

/// As text: ISO dates, RFC 3339 in UTC, numbers in full.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int64(number) => write!(f, "{number}"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Float64(number) => write!(f, "{number}"),
            Self::Date(days) => {
                let (year, month, day) = times::civil(*days);
                write!(f, "{year:04}-{month:02}-{day:02}")
            }
            Self::Timestamp(us) => {
                let days = i32::try_from(us.div_euclid(times::DAY_US)).unwrap_or_default();
                let of_day = us.rem_euclid(times::DAY_US);
                let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                write!(f, "{}T{hour:02}:{minute:02}:{second:02}", Self::Date(days))?;
                if micros > 0 {
                    write!(f, "{}", format!(".{micros:06}").trim_end_matches('0'))?;
                }
                f.write_str("Z")
            }
            Self::Decimal { unscaled, scale } => {
                let (sign, scale) = (if *unscaled < 0 { "-" } else { "" }, usize::from(*scale));
                let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(f, "{sign}{whole}{}{fraction}", if scale > 0 { "." } else { "" })
            }
        }
    }
}

/// The decimal that `text` is: digits, maybe with a sign and a point.
fn decimal(text: &str, precision: u8, scale: u8) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() > usize::from(precision - scale) || fraction.len() > usize::from(scale) {
        return None;
    }
    let all = format!("{whole}{fraction:0<width$}", width = usize::from(scale));
    let unscaled: i128 = if all.is_empty() { 0 } else { all.parse().ok()? };
    Some(Value::Decimal { unscaled: if negative { -unscaled } else { unscaled }, scale })
}

/// Whether `text` is a whole number as they are written usually, and fits: `0`, `-5`, `2024`; not `007`, `+5`, `-0`.
pub(super) fn is_canonical_int64(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let starts_well = match digits.as_bytes() {
        [b'0'] => text == "0",
        [first, ..] => first.is_ascii_digit() && *first != b'0',
        [] => false,
    };
    starts_well && text.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, ty: KeyType) -> Option<String> {
        Value::read(text, ty).map(|value| value.to_string())
    }

    fn any_type() -> impl Strategy<Value = KeyType> {
        use KeyType::*;
        prop_oneof![
            Just(Text),
            Just(Int64),
            Just(Date),
            Just(Timestamp),
            Just(Bool),
            Just(Float64),
            (1..=38_u8, 0..=38_u8).prop_map(|(precision, scale)| Decimal { precision, scale: scale.min(precision) }),
        ]
    }

    #[test]
    fn words() {
        for (word, ty) in WORDS {
            assert_eq!(KeyType::from_word(word), Ok(ty));
            assert_eq!(KeyType::from_word(&ty.to_string()), Ok(ty));
        }
        let decimal = KeyType::Decimal { precision: 12, scale: 2 };
        assert_eq!(KeyType::from_word("decimal(12,2)"), Ok(decimal));
        assert_eq!(KeyType::from_word("decimal(12, 2)"), Ok(decimal));
        assert_eq!(decimal.to_string(), "decimal(12, 2)");
        for word in ["decimal", "decimal(39, 2)", "decimal(2, 3)", "decimal(0, 0)", "decimal(+5, 1)", "decimal(5)"] {
            assert!(KeyType::from_word(word).unwrap_err().contains("decimal(12, 2)"), "{word}");
        }
        assert!(KeyType::from_word("datetime").unwrap_err().contains("\"datetime\" is not a type; there are utf8"));
        for (word, ours) in [
            ("integer", "int64"),
            ("varchar(20)", "utf8"),
            ("number", "decimal(12, 2)"),
            ("datetime", "timestamp"),
            ("Date", "date"),
        ] {
            let error = KeyType::from_word(word).unwrap_err();
            assert!(error.ends_with(&format!("; did you mean {ours}?")), "{error}");
        }
        assert!(KeyType::from_word("decimal(12").unwrap_err().ends_with("so quote it, as in \"decimal(12, 2)\""));
        assert!(!KeyType::from_word("jsonb").unwrap_err().contains("json?"), "keys have no JSON");
        assert!(KeyType::from_word("integr").is_err());
        assert!(KeyType::from_word("timestmp").unwrap_err().ends_with("; did you mean timestamp?"));
    }

    #[test]
    fn texts_as_values() {
        use KeyType::*;
        let money = Decimal { precision: 5, scale: 2 };
        for (text, ty, expected) in [
            ("01", Int64, Some("1")),
            ("-9223372036854775808", Int64, Some("-9223372036854775808")),
            ("9223372036854775808", Int64, None),
            ("x", Int64, None),
            ("", Int64, None),
            ("TRUE", Bool, Some("true")),
            ("1", Bool, None),
            ("1e3", Float64, Some("1000")),
            ("2026-01-31", Date, Some("2026-01-31")),
            ("2026-01-31", Timestamp, Some("2026-01-31T00:00:00Z")),
            ("1969-12-31 23:59:59.5", Timestamp, Some("1969-12-31T23:59:59.5Z")),
            ("1.5", money, Some("1.50")),
            ("-0.05", money, Some("-0.05")),
            (".5", money, Some("0.50")),
            ("007.100", money, Some("7.10")),
            ("0", money, Some("0.00")),
            ("1000", money, None),
            ("1.005", money, None),
            (".", money, None),
            ("1e2", money, None),
            ("é", money, None),
        ] {
            assert_eq!(shown(text, ty).as_deref(), expected, "{text} as {ty}");
        }
        assert_eq!(shown("12345", Decimal { precision: 38, scale: 0 }).as_deref(), Some("12345"));
    }

    #[test]
    fn a_value_that_a_type_cannot_hold_exactly_does_not_fit() {
        use KeyType::*;
        assert_eq!(Value::Int64(1 << 53).cast(Float64), Some(Value::Float64(9_007_199_254_740_992.0)));
        assert_eq!(Value::Int64((1 << 53) + 1).cast(Float64), None);
        assert_eq!(Value::Int64(i64::MAX).cast(Float64), None);
        assert_eq!(
            Value::Int64(7).cast(Decimal { precision: 3, scale: 1 }),
            Some(Value::Decimal { unscaled: 70, scale: 1 })
        );
        assert_eq!(Value::Date(1).cast(Timestamp), Some(Value::Timestamp(times::DAY_US)));
        assert_eq!(Value::Date(0).cast(Text), Some(Value::Text("1970-01-01".to_owned())));
        assert_eq!(Value::Bool(true).cast(Int64), None);
    }

    #[test]
    fn canonical_integers() {
        for text in ["0", "-5", "2024", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_canonical_int64(text), "{text}");
        }
        for text in ["", "-", "007", "-0", "+5", "1e3", " 5", "9223372036854775808", "1_000", "0x1f", "１"] {
            assert!(!is_canonical_int64(text), "{text}");
        }
    }

    #[test]
    fn joins() {
        use KeyType::*;
        let join = |types: &[KeyType]| KeyType::join(types.iter().copied());
        assert_eq!(join(&[]), None);
        assert_eq!(join(&[Timestamp, Date, Date]), Some(Timestamp));
        assert_eq!(join(&[Int64, Float64]), Some(Float64));
        assert_eq!(join(&[Int64, Decimal { precision: 5, scale: 2 }]), Some(Decimal { precision: 21, scale: 2 }));
        assert_eq!(join(&[Decimal { precision: 38, scale: 38 }, Int64]), Some(Text));
        assert_eq!(join(&[Decimal { precision: 38, scale: 38 }, Int64, Float64]), Some(Float64));
        assert_eq!(join(&[Bool, Int64]), Some(Text));
        assert_eq!(join(&[Date, Int64]), Some(Text));
        assert_eq!(join(&[Date, Timestamp, Text]), Some(Text));
    }

    proptest! {
        #[test]
        fn the_order_of_joined_types_is_nothing(types in prop::collection::vec(any_type(), 0..5), turn in 0..5_usize) {
            let mut turned = types.clone();
            turned.rotate_left(turn.min(types.len()));
            turned.extend(types.clone());
            prop_assert_eq!(KeyType::join(types), KeyType::join(turned));
        }

        /// As state and new keys are joined: one after the other. Only these can be there without being pinned.
        #[test]
        fn inferred_types_join_in_any_grouping(types in prop::collection::vec(
            prop::sample::select(vec![KeyType::Text, KeyType::Int64, KeyType::Date, KeyType::Timestamp]), 3)) {
            let pair = |a, b| KeyType::join([a, b]).unwrap();
            let (a, b, c) = (types[0], types[1], types[2]);
            prop_assert_eq!(pair(pair(a, b), c), pair(a, pair(b, c)));
            prop_assert_eq!(pair(pair(a, b), c), KeyType::join(types).unwrap());
        }

        #[test]
        fn a_value_survives_its_own_text(text in "[-+]?[0-9]{0,20}[.]?[0-9]{0,5}", ty in any_type()) {
            if let Some(value) = Value::read(&text, ty) {
                prop_assert_eq!(Value::read(&value.to_string(), ty), Some(value));
            }
        }
    }
}

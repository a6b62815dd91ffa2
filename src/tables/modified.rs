//! `modified`: which objects are read, by their last modification.

use super::partitions::moment_us;
use crate::config::Mistake;
use crate::config::layout::ModifiedSpec;

/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;

/// The spec's `modified`, checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modified {
    after: Option<Moment>,
    before: Option<Moment>,
}

/// A moment as the spec has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Microseconds since 1970.
    At(i64),
    /// Seconds before S3's clock.
    Ago(i64),
}

impl Moment {
    fn read(text: &str, field: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        if let Some(span) = crate::config::span(text) {
            return Some(Self::Ago(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)));
        }
        let us = moment_us(text);
        if us.is_none() {
            let text = format!("there is no such time: {text}");
            mistakes.push(Mistake { path: format!("modified.{field}"), text });
        }
        us.map(Self::At)
    }

    /// In microseconds since 1970.
    fn us(self, now_s: i64) -> i64 {
        match self {
            Self::At(us) => us,
            Self::Ago(seconds) => now_s.saturating_sub(seconds).saturating_mul(SECOND_US),
        }
    }
}

impl Modified {
    /// Checks what the spec says; what is wrong goes to `mistakes`.
    pub(super) fn new(spec: &ModifiedSpec, mistakes: &mut Vec<Mistake>) -> Self {
        let after = spec.after.as_ref().and_then(|text| Moment::read(text, "after", mistakes));
        let before = spec.before.as_ref().and_then(|text| Moment::read(text, "before", mistakes));
        let is_never = match (after, before) {
            (Some(Moment::At(after)), Some(Moment::At(before))) => after >= before,
            (Some(Moment::Ago(after)), Some(Moment::Ago(before))) => after <= before,
            _ => false,
        };
        if is_never {
            let text = "nothing is last modified both then or later and before that; after must be the earlier one";
            mistakes.push(Mistake { path: "modified".to_owned(), text: text.to_owned() });
        }
        Self { after, before }
    }

    /// The time that is meant when S3's clock shows `now_s`, in seconds since 1970.
    #[must_use]
    pub fn at(self, now_s: i64) -> ModifiedWithin {
        let us = |moment: Moment| moment.us(now_s);
        ModifiedWithin { from_us: self.after.map(us), to_us: self.before.map(us) }
    }
}

/// A time within which objects were last modified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModifiedWithin {
    /// Microseconds since 1970; `None`: it has no beginning.
    from_us: Option<i64>,
    /// The first moment behind it.
    to_us: Option<i64>,
}

impl ModifiedWithin {
    /// Whether an object that was last modified then, in seconds since 1970, is within.
    #[must_use]
    pub fn has(self, last_modified_s: i64) -> bool {
        let us = last_modified_s.saturating_mul(SECOND_US);
        self.from_us.is_none_or(|from| from <= us) && self.to_us.is_none_or(|to| us < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modified(after: Option<&str>, before: Option<&str>) -> Result<Modified, Vec<String>> {
        let mut mistakes = Vec::new();
        let spec = ModifiedSpec { after: after.map(str::to_owned), before: before.map(str::to_owned) };
        let modified = Modified::new(&spec, &mut mistakes);
        if mistakes.is_empty() { Ok(modified) } else { Err(mistakes.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn spans_count_back_from_the_given_clock_and_times_do_not() {
        let day = 86_400;
        for (after, before, has) in [
            (None, None, vec![i64::MIN, 0, i64::MAX]),
            (Some("1d"), None, vec![10 * day, 9 * day]),
            (Some("1d"), Some("0s"), vec![9 * day, 10 * day - 1]),
            (None, Some("1d"), vec![0, 9 * day - 1]),
            (Some("1970-01-02"), Some("1970-01-03T00:00:00.5+01:00"), vec![day, 2 * day - 3600]),
        ] {
            let within = modified(after, before).unwrap().at(10 * day);
            assert!(has.iter().all(|s| within.has(*s)), "{after:?} {before:?}");
        }
        for (after, before, has_not) in [
            (Some("1d"), None, vec![9 * day - 1]),
            (None, Some("1d"), vec![9 * day]),
            (Some("1970-01-02"), Some("1970-01-03T00:00:00+01:00"), vec![day - 1, 2 * day - 3600]),
        ] {
            let within = modified(after, before).unwrap().at(10 * day);
            assert!(!has_not.iter().any(|s| within.has(*s)), "{after:?} {before:?}");
        }
    }

    #[test]
    fn times_that_cannot_be_are_mistakes() {
        assert_eq!(
            modified(Some("2024-02-30"), Some("2024-01-01T24:00:00Z")).unwrap_err(),
            [
                "modified.after: there is no such time: 2024-02-30",
                "modified.before: there is no such time: 2024-01-01T24:00:00Z"
            ]
        );
        for (after, before) in [("2024-02-01", "2024-02-01T00:00:00Z"), ("1d", "24h"), ("1h", "2h")] {
            let mistakes = modified(Some(after), Some(before)).unwrap_err();
            assert!(mistakes[0].starts_with("modified: nothing is last modified both"), "{mistakes:?}");
        }
    }
}

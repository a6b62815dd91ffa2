//! Sets of keys as ranges of the order in which S3 lists them: that of their bytes, which is that of their characters.

use std::cmp::Ordering;

/// A range of keys to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key that may be in it.
    from: String,
    /// The first key behind it; `None`: it has no end.
    to: Option<String>,
}

impl KeyRange {
    /// The prefix of all its keys.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let ends = self.from.char_indices().map(|(at, c)| at + c.len_utf8());
        let has_all = |end: &usize| {
            let behind = behind_prefix(&self.from[..*end]);
            is_at_most(self.to.as_deref(), behind.as_deref())
        };
        &self.from[..ends.take_while(has_all).last().unwrap_or(0)]
    }

    /// A text just below the first key of the range: what a request's `start-after` is. `None`: there is nothing below.
    #[must_use]
    pub fn start(&self) -> Option<String> {
        let mut before = self.from.clone();
        let last = before.pop()?;
        if let Some(previous) = previous(last) {
            before.push(previous);
            // The last printable character of ASCII: few keys lie between.
            before.push('~');
        }
        Some(before)
    }

    /// The same where keys with the range's [prefix](Self::prefix) lie before it.
    #[must_use]
    pub fn start_after(&self) -> Option<String> {
        if self.prefix() == self.from { None } else { self.start() }
    }

    /// The first key with the range's [prefix](Self::prefix) that is behind it, if there may be one.
    #[must_use]
    pub fn stop_at(&self) -> Option<&str> {
        self.to.as_deref().filter(|to| Some(*to) != behind_prefix(self.prefix()).as_deref())
    }

    /// Whether all its keys come before this one.
    #[must_use]
    pub fn is_before(&self, key: &str) -> bool {
        self.to.as_deref().is_some_and(|to| to <= key)
    }

    /// Whether a key is in it.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.from.as_str() <= key && self.to.as_deref().is_none_or(|to| key < to)
    }
}

/// Disjoint ranges in order; no range is empty or touches the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ranges(Vec<KeyRange>);

impl Ranges {
    /// All keys.
    pub(super) fn all() -> Self {
        Self(vec![KeyRange { from: String::new(), to: None }])
    }

    /// The keys that begin with `prefix`.
    pub(super) fn prefix(prefix: &str) -> Self {
        Self(vec![KeyRange { from: prefix.to_owned(), to: behind_prefix(prefix) }])
    }

    /// The keys from one on, up to another.
    pub(super) fn between(from: String, to: Option<String>) -> Self {
        if to.as_ref().is_some_and(|to| *to <= from) { Self::default() } else { Self(vec![KeyRange { from, to }]) }
    }

    /// The keys that are not in it.
    pub(super) fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.0.len() + 1);
        let mut from = Some(String::new());
        for range in &self.0 {
            if let Some(from) = from.take().filter(|from| *from < range.from) {
                ranges.push(KeyRange { from, to: Some(range.from.clone()) });
            }
            from.clone_from(&range.to);
        }
        ranges.extend(from.map(|from| KeyRange { from, to: None }));
        Self(ranges)
    }

    /// The keys that are in one or the other.
    pub(super) fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self.0.sort_by(|a, b| a.from.cmp(&b.from));
        let mut joined: Vec<KeyRange> = Vec::with_capacity(self.0.len());
        for range in self.0 {
            match joined.last_mut() {
                Some(last) if last.to.as_ref().is_none_or(|to| range.from <= *to) => {
                    if !is_at_most(range.to.as_deref(), last.to.as_deref()) {
                        last.to = range.to;
                    }
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    /// The keys that are in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.complement().or(other.complement()).complement()
    }

    /// How many ranges they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no key.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<KeyRange> {
        self.0
    }
}

/// Whether an end is at or before another; `None` is behind all.
fn is_at_most(end: Option<&str>, other: Option<&str>) -> bool {
    match (end, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(end), Some(other)) => end.cmp(other) != Ordering::Greater,
    }
}

/// The first text behind all that begin with `prefix`; `None` if there is no such text.
pub(super) fn behind_prefix(prefix: &str) -> Option<String> {
    let mut behind = prefix.to_owned();
    while let Some(last) = behind.pop() {
        if let Some(next) = next(last) {
            behind.push(next);
            return Some(behind);
        }
    }
    None
}

fn next(c: char) -> Option<char> {
    match c {
        // The surrogates between them are not characters.
        '\u{D7FF}' => Some('\u{E000}'),
        c => char::from_u32(u32::from(c) + 1),
    }
}

fn previous(c: char) -> Option<char> {
    match c {
        '\u{E000}' => Some('\u{D7FF}'),
        c => char::from_u32(u32::from(c).checked_sub(1)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn between(from: &str, to: Option<&str>) -> KeyRange {
        KeyRange { from: from.to_owned(), to: to.map(str::to_owned) }
    }

    #[test]
    fn requests_of_ranges() {
        for (from, to, prefix, start_after, stop_at) in [
            ("", None, "", None, None),
            ("a/", Some("a0"), "a/", None, None),
            ("a/dt=2026-01-01", Some("a/dt>"), "a/dt=", Some("a/dt=2026-01-00~"), None),
            ("a/", Some("a/dt="), "a/", None, Some("a/dt=")),
            (
                "a/dt=2026-01-31",
                Some("a/dt=2026-02-02"),
                "a/dt=2026-0",
                Some("a/dt=2026-01-30~"),
                Some("a/dt=2026-02-02"),
            ),
            ("b", None, "", Some("a~"), None),
            ("a\0", Some("a\u{1}"), "a\0", None, None),
            ("a\0", Some("b"), "a", Some("a"), None),
        ] {
            let range = between(from, to);
            assert_eq!(range.prefix(), prefix, "{range:?}");
            assert_eq!(range.start_after().as_deref(), start_after, "{range:?}");
            assert_eq!(range.stop_at(), stop_at, "{range:?}");
        }
    }

    fn ranges() -> impl Strategy<Value = Ranges> {
        let text = "[ab\u{D7FF}\u{E000}\u{10FFFF}]{0,3}";
        prop::collection::vec((text, prop::option::of(text)), 0..4).prop_map(|list| {
            let ranges = list.into_iter().map(|(from, to)| Ranges::between(from, to));
            ranges.fold(Ranges::default(), Ranges::or)
        })
    }

    fn contains(ranges: &Ranges, key: &str) -> bool {
        ranges.0.iter().any(|range| range.contains(key))
    }

    proptest! {
        #[test]
        fn sets_of_keys(a in ranges(), b in ranges(), key in "[ab\u{D7FF}\u{E000}\u{10FFFF}]{0,4}") {
            let (in_a, in_b) = (contains(&a, &key), contains(&b, &key));
            prop_assert_eq!(contains(&a.complement(), &key), !in_a);
            prop_assert_eq!(contains(&a.clone().or(b.clone()), &key), in_a || in_b);
            prop_assert_eq!(contains(&a.and(&b), &key), in_a && in_b);
            prop_assert_eq!(contains(&Ranges::prefix("a"), &key), key.starts_with('a'));
        }

        #[test]
        fn a_request_gives_all_keys_of_its_range(a in ranges(), key in "[ab\u{D7FF}\u{E000}\u{10FFFF}]{0,4}") {
            for range in &a.0 {
                if range.contains(&key) {
                    prop_assert!(key.starts_with(range.prefix()));
                    prop_assert!(range.start_after().is_none_or(|after| after < key));
                    prop_assert!(range.stop_at().is_none_or(|stop| key.as_str() < stop));
                }
            }
        }
    }
}

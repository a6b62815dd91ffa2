//! Which of the syncs that wrote state also stored their rows.
//!
//! State goes to its backend on a channel of its own, and a destination holds back the last rows of a stream until a batch is
//! full. So a sync that is killed in its last second may leave state of rows that no destination has. Therefore each sync
//! that sends rows has a *generation*: the heads of the ledgers that it writes name it, and a row with it is the last insert
//! of its stream. A destination that has this *commit row* has all rows before it. The next sync reads it back, where the
//! destination is the backend, too, and [`Commits::counting`] says of each ledger how much of it counts:
//!
//! | generation of the ledger | |
//! | --- | --- |
//! | none (other rows were never at stake), or one that was found stored | all of it |
//! | the last one, with the commit row of an earlier one in the destination | what it was before |
//! | the last one, and no commit row can be had | all but the objects that were sent last: they are read once more |
//!
//! What was found out about a generation is kept in one value of the state, so that it holds for tables, too, that a later
//! sync does not look at:
//!
//! ```text
//! <key>   v1 written=<last generation> misses=<number> dead=<ranges> unproven=<ranges>
//! ```
//!
//! Everything here is pure. What an object that was *sent last* is, [`super::tail`] says.

use super::Identity;
use super::parts::VERSION;
use std::fmt::Write as _;

/// After this many syncs in a row whose commit row is missing where an earlier one is there, we assume that the backend
/// is not a destination any more. Until then what they sent is sent again in full: more than a few of such kills in a row are
/// rare, and a destination that was taken out of the configuration must not make each sync repeat the last ones for ever.
const MAX_MISSES: u32 = 3;
/// Most ranges of generations in a list: two such lists of the longest numbers fit into a value of 48 KiB.
const MAX_RANGES: usize = 500;

/// What is known of the commit rows in the backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Evidence {
    /// The highest generation that is stored for this source.
    Stored(u64),
    /// The table can be read, and has no row of this source.
    NoRow,
    /// The table cannot be read, or is not written: most likely the backend is not one of the destinations.
    #[default]
    None,
}

/// How much of a ledger counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// All of it.
    Whole,
    /// All but the objects that were sent last.
    WithoutLast {
        /// They count when they have been sent once more. Else they stay what they are, if they come last again.
        once: bool,
    },
    /// What it was before: the rows of its generation are not stored.
    Previous,
}

/// What is known of the generations of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits {
    key: String,
    /// The last generation of which state was written; 0: none.
    written: u64,
    /// How many generations up to the last but one were not found stored, in a row.
    misses: u32,
    /// Generations whose rows are not stored.
    dead: Ranges,
    /// Generations of which nothing can be known.
    unproven: Ranges,
    evidence: Evidence,
}

impl Commits {
    /// The state key that this is kept under. `source` is an identity without a table.
    #[must_use]
    pub fn key(source: &Identity<'_>) -> String {
        format!("{}commits", source.state_prefix())
    }

    /// Reads what earlier syncs found out: `value` is the state's value of [`Commits::key`].
    ///
    /// # Errors
    /// What is wrong with the value.
    pub fn load(key: String, value: Option<&str>, evidence: Evidence) -> Result<Self, String> {
        let nothing = Self { key, evidence, ..Self::default() };
        match value {
            None | Some("") => Ok(nothing),
            Some(value) => {
                let key = nothing.key.clone();
                nothing.parse(value).ok_or_else(|| {
                    format!("{key} says {value:?}, which is not known: it was damaged, or written by another release")
                })
            }
        }
    }

    fn parse(mut self, value: &str) -> Option<Self> {
        let mut words = value.strip_prefix(VERSION)?.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        self.written = word("written")?.parse().ok()?;
        self.misses = word("misses")?.parse().ok()?;
        self.dead = Ranges::parse(word("dead")?)?;
        self.unproven = Ranges::parse(word("unproven")?)?;
        words.next().is_none().then_some(self)
    }

    /// Whether a sync of this source ever wrote a generation: only then there can be a commit row.
    #[must_use]
    pub fn any(&self) -> bool {
        self.written > 0
    }

    /// The same with other evidence.
    #[must_use]
    pub fn with(self, evidence: Evidence) -> Self {
        Self { evidence, ..self }
    }

    /// How much of a ledger counts whose head names this generation.
    #[must_use]
    pub fn counting(&self, generation: Option<u64>) -> Counting {
        let Some(generation) = generation else { return Counting::Whole };
        if self.dead.has(generation) {
            Counting::Previous
        } else if self.unproven.has(generation) {
            self.without_last()
        } else if generation < self.written {
            Counting::Whole
        } else {
            self.judge(generation)
        }
    }

    fn judge(&self, generation: u64) -> Counting {
        match self.evidence {
            Evidence::Stored(stored) if stored >= generation => Counting::Whole,
            Evidence::Stored(_) if self.misses < MAX_MISSES => Counting::Previous,
            _ => self.without_last(),
        }
    }

    fn without_last(&self) -> Counting {
        let once = match self.evidence {
            Evidence::Stored(_) | Evidence::NoRow => self.misses >= MAX_MISSES,
            Evidence::None => true,
        };
        Counting::WithoutLast { once }
    }

    /// The generation of a sync that sends rows now. `now_s` (seconds since 1970) is where the first one starts: ahead of
    /// commit rows that are left of a state that was removed.
    #[must_use]
    pub fn next(&self, now_s: u64) -> u64 {
        let stored = if let Evidence::Stored(stored) = self.evidence { stored } else { 0 };
        let last = self.written.max(stored);
        if self.written == 0 { (last + 1).max(now_s) } else { last + 1 }
    }

    /// The state key to set, with its value, before the heads that name `generation`.
    #[must_use]
    pub fn update(&self, generation: u64) -> (String, String) {
        let Self { mut misses, mut dead, mut unproven, .. } = self.clone();
        if self.any() {
            let last = self.judge(self.written);
            match last {
                Counting::Whole => {}
                Counting::Previous => dead.add(self.written),
                Counting::WithoutLast { .. } => unproven.add(self.written),
            }
            misses = if last == Counting::Whole { 0 } else { misses.saturating_add(1) };
        }
        let value = format!(
            "{VERSION}written={generation} misses={misses} dead={} unproven={}",
            dead.to_text(),
            unproven.to_text()
        );
        (self.key.clone(), value)
    }
}

/// A set of numbers, as ascending ranges that do not touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    fn has(&self, number: u64) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&number))
    }

    /// Adds a number above all others. With too many ranges the two oldest become one: the numbers between them then count
    /// as members, which errs on the side of reading again.
    fn add(&mut self, number: u64) {
        match self.0.last_mut() {
            Some((_, last)) if *last + 1 >= number => *last = number.max(*last),
            _ => self.0.push((number, number)),
        }
        if self.0.len() > MAX_RANGES {
            let (first, _) = self.0.remove(0);
            self.0[0].0 = first;
        }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for &(first, last) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing into a String cannot fail.
            let _ = if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let ranges = text.split(',').filter(|text| !text.is_empty());
        ranges.map(range).collect::<Option<Vec<(u64, u64)>>>().map(Self)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Identity<'_> =
        Identity { endpoint: "", bucket: "b", prefix: "", table: "", shard: None, state_id: "" };

    fn commits(value: &str, evidence: Evidence) -> Commits {
        Commits::load(Commits::key(&SOURCE), Some(value), evidence).unwrap()
    }

    #[test]
    fn what_counts_by_what_the_destination_has() {
        let value = "v1 written=9 misses=0 dead=6 unproven=1-3,5";
        let last = [
            (Evidence::Stored(9), Counting::Whole),
            (Evidence::Stored(12), Counting::Whole),
            (Evidence::Stored(8), Counting::Previous),
            (Evidence::NoRow, Counting::WithoutLast { once: false }),
            (Evidence::None, Counting::WithoutLast { once: true }),
        ];
        for (evidence, expected) in last {
            let commits = commits(value, evidence);
            assert_eq!(commits.counting(Some(9)), expected, "{evidence:?}");
            assert_eq!(commits.counting(None), Counting::Whole);
            assert_eq!(commits.counting(Some(6)), Counting::Previous, "found dead by a sync before");
            assert!(matches!(commits.counting(Some(2)), Counting::WithoutLast { .. }));
            assert_eq!(commits.counting(Some(4)), Counting::Whole);
            assert_eq!(commits.counting(Some(8)), Counting::Whole);
        }
    }

    #[test]
    fn a_backend_that_is_no_destination_any_more_is_found_out() {
        let mut value = "v1 written=5 misses=0 dead= unproven=".to_owned();
        let mut seen = Vec::new();
        for generation in 6..12 {
            let commits = commits(&value, Evidence::Stored(5));
            seen.push(commits.counting(Some(generation - 1)));
            assert_eq!(commits.next(0), generation);
            (_, value) = commits.update(generation);
        }
        let once = Counting::WithoutLast { once: true };
        let previous = Counting::Previous;
        assert_eq!(seen, [Counting::Whole, previous, previous, previous, once, once]);
        assert_eq!(value, "v1 written=11 misses=5 dead=6-8 unproven=9-10");
        let (_, value) = commits(&value, Evidence::Stored(11)).update(12);
        assert_eq!(value, "v1 written=12 misses=0 dead=6-8 unproven=9-10");
    }

    #[test]
    fn generations_are_ahead_of_all_rows_that_may_be_there() {
        let nothing = |evidence| Commits::load("k".to_owned(), None, evidence).unwrap();
        assert_eq!(nothing(Evidence::None).next(1_700_000_000), 1_700_000_000);
        assert_eq!(nothing(Evidence::Stored(1_800_000_000)).next(1_700_000_000), 1_800_000_001);
        let restored = commits("v1 written=5 misses=0 dead= unproven=", Evidence::Stored(7));
        assert_eq!(restored.next(1_700_000_000), 8);
        assert!(!nothing(Evidence::NoRow).any() && restored.any());
    }

    #[test]
    fn a_value_that_is_none_is_an_error() {
        for value in ["v2 written=1 misses=0 dead= unproven=", "v1 written=1 misses=0 dead=x unproven=", "v1 written=1"]
        {
            let error = Commits::load("k".to_owned(), Some(value), Evidence::None).unwrap_err();
            assert!(error.starts_with("k says"), "{error}");
        }
    }

    #[test]
    fn lists_stay_short_and_never_lose_a_number() {
        let mut ranges = Ranges::default();
        (0..3 * MAX_RANGES as u64).for_each(|number| ranges.add(2 * number));
        assert_eq!(ranges.0.len(), MAX_RANGES);
        assert!((0..3 * MAX_RANGES as u64).all(|number| ranges.has(2 * number)));
        assert_eq!(Ranges::parse(&ranges.to_text()), Some(ranges.clone()));
        let mut longest = Ranges::default();
        (0..MAX_RANGES as u64).for_each(|number| longest.add(u64::MAX - 3 * (MAX_RANGES as u64 - number)));
        assert!(2 * longest.to_text().len() + 200 < super::super::MAX_VALUE_CHARS);
    }

    /// Frozen: the next release reads it.
    #[test]
    fn golden_key_and_value() {
        assert_eq!(Commits::key(&SOURCE), "cq-source-s3/b//95bc42e349b20dab62798320ba172c13/commits");
        let value = "v1 written=9 misses=2 dead=6,8 unproven=1-3,5";
        let (key, next) = commits(value, Evidence::None).update(10);
        assert_eq!(key, Commits::key(&SOURCE));
        assert_eq!(next, "v1 written=10 misses=3 dead=6,8 unproven=1-3,5,9");
    }
}

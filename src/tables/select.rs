//! Which tables the user wants: `tables` and `skip_tables`, with the Go SDK's patterns and error texts, which users
//! search for. Two things that are errors there are warnings here, since tables come and go with the bucket's content:
//! `*` when there is no table at all, and a skip pattern without a match.

/// Why nothing can be selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A pattern of `tables` matches nothing.
    #[error("tables include a pattern {0} with no matches")]
    NoMatch(String),
    /// Everything is skipped, or `tables` is empty.
    #[error(
        "no tables specified for syncing, review `tables` and `skip_tables` in your config and specify at least one \
         table to sync"
    )]
    Nothing,
}

/// Takes the tables' names one by one, as they are found, and remembers of them only what the errors need: a name that
/// is not selected costs nothing.
#[derive(Debug)]
pub struct Selector {
    tables: Patterns,
    skip: Patterns,
    any_name: bool,
    any_selected: bool,
}

/// Patterns, and which of them have matched a name.
#[derive(Debug)]
struct Patterns(Vec<(String, bool)>);

impl Patterns {
    fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| (pattern.clone(), false)).collect())
    }

    fn any(&self, name: &str) -> bool {
        self.0.iter().any(|(pattern, _)| matches(pattern, name))
    }

    /// The same, and remembers which.
    fn see(&mut self, name: &str) -> bool {
        let mut any = false;
        for (pattern, matched) in &mut self.0 {
            let matches = matches(pattern, name);
            *matched |= matches;
            any |= matches;
        }
        any
    }

    fn unmatched(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, matched)| !matched).map(|(pattern, _)| pattern.as_str())
    }
}

impl Selector {
    /// Selects what a pattern of `tables` matches and none of `skip`.
    #[must_use]
    pub fn new(tables: &[String], skip: &[String]) -> Self {
        Self { tables: Patterns::new(tables), skip: Patterns::new(skip), any_name: false, any_selected: false }
    }

    /// Selects every table.
    #[must_use]
    pub fn all() -> Self {
        Self::new(&["*".to_owned()], &[])
    }

    /// There is a table of this name: whether it is selected.
    pub fn takes(&mut self, name: &str) -> bool {
        self.any_name = true;
        let (wanted, skipped) = (self.tables.see(name), self.skip.see(name));
        self.any_selected |= wanted && !skipped;
        wanted && !skipped
    }

    /// Whether a table of this name would be selected, if there were one.
    #[must_use]
    pub fn would_take(&self, name: &str) -> bool {
        self.tables.any(name) && !self.skip.any(name)
    }

    /// Whether no table was there at all.
    #[must_use]
    pub fn saw_none(&self) -> bool {
        !self.any_name
    }

    /// All tables were there: what the user should know, one text each. `no_table`: why there is none, if there is none.
    ///
    /// # Errors
    /// [`SelectError`], in the Go SDK's words.
    pub fn finish(&self, no_table: &str) -> Result<Vec<String>, SelectError> {
        let mut warnings = Vec::new();
        for pattern in self.tables.unmatched() {
            if self.any_name || !matches_all(pattern) {
                return Err(SelectError::NoMatch(pattern.to_owned()));
            }
            let text = format!("tables include the pattern {pattern}, but there is no table: {no_table}");
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
        let skip = self.skip.unmatched();
        warnings.extend(skip.map(|pattern| format!("skip_tables include a pattern {pattern} with no matches")));
        if !self.any_selected && (self.tables.0.is_empty() || self.any_name) {
            return Err(SelectError::Nothing);
        }
        Ok(warnings)
    }
}

/// Whether `pattern` matches any name.
fn matches_all(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

/// The Go SDK's glob: `*` is any run of characters, everything else stands for itself; the whole name must match.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = name.strip_prefix(head) else { return false };
    // Taking the leftmost place for each part leaves most for the ones behind it.
    for part in middle.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    /// The positions of the selected names, and the warnings.
    fn select(names: &[&str], tables: &[&str], skip: &[&str]) -> Result<(Vec<usize>, Vec<String>), SelectError> {
        let mut selector = Selector::new(&patterns(tables), &patterns(skip));
        let indexes = (0..names.len()).filter(|&index| {
            let would = selector.would_take(names[index]);
            let takes = selector.takes(names[index]);
            assert_eq!(would, takes);
            takes
        });
        let indexes = indexes.collect();
        Ok((indexes, selector.finish("nothing there")?))
    }

    fn selected(names: &[&str], tables: &[&str], skip: &[&str]) -> Result<Vec<usize>, String> {
        select(names, tables, skip).map(|(indexes, _)| indexes).map_err(|error| error.to_string())
    }

    const NAMES: [&str; 4] = ["raw_orders", "raw_users", "users", "_2024"];

    #[test]
    fn globs() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "x", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            ("abc", "abc", true),
            ("abc", "ABC", false),
            ("abc", "abcd", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("*ab*", "xabx", true),
            ("?", "x", false),
            ("[ab]", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn skip_wins() {
        assert_eq!(selected(&NAMES, &["*"], &[]).unwrap(), [0, 1, 2, 3]);
        assert_eq!(selected(&NAMES, &["raw_*", "users"], &["*users"]).unwrap(), [0]);
        assert_eq!(selected(&NAMES, &["_2024"], &[]).unwrap(), [3]);
    }

    #[test]
    fn errors_in_the_sdk_s_words() {
        assert_eq!(
            selected(&NAMES, &["users", "foo"], &[]).unwrap_err(),
            "tables include a pattern foo with no matches"
        );
        let nothing = "no tables specified for syncing, review `tables` and `skip_tables` in your config and specify \
                       at least one table to sync";
        assert_eq!(selected(&NAMES, &["*"], &["*"]).unwrap_err(), nothing);
        assert_eq!(selected(&NAMES, &[], &[]).unwrap_err(), nothing);
        assert_eq!(selected(&[], &[], &[]).unwrap_err(), nothing);
        assert_eq!(selected(&[], &["foo"], &[]).unwrap_err(), "tables include a pattern foo with no matches");
        assert_eq!(selected(&[], &["*", "f*"], &[]).unwrap_err(), "tables include a pattern f* with no matches");
        assert_eq!(selected(&NAMES, &[""], &[]).unwrap_err(), "tables include a pattern  with no matches");
    }

    #[test]
    fn what_may_change_with_the_bucket_is_a_warning() {
        let (indexes, warnings) = select(&[], &["*", "*"], &["old"]).unwrap();
        assert_eq!(indexes, [0; 0]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("no table"));
        let (indexes, warnings) = select(&NAMES, &["*"], &["users", "old_*"]).unwrap();
        assert_eq!(indexes, [0, 1, 3]);
        assert_eq!(warnings, ["skip_tables include a pattern old_* with no matches"]);
    }

    /// The definition, without any cleverness.
    fn matches_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| matches_by_definition(rest, &name[at..])),
            Some((byte, rest)) => name.first() == Some(byte) && matches_by_definition(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            let expected = matches_by_definition(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(&pattern, &name), expected, "{} on {}", pattern, name);
        }
    }
}

//! Which tables the user wants: `tables` and `skip_tables`, with the Go SDK's patterns and error texts, which users
//! search for. Two things that are errors there are warnings here, since tables come and go with the bucket's content:
//! `*` when there is no table at all, and a skip pattern without a match.

/// The selected tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Positions in the list of names, ascending. Empty only if there are no names at all and the user asked for `*`.
    pub indexes: Vec<usize>,
    /// What the user should know, one text each.
    pub warnings: Vec<String>,
}

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

/// Picks from `names` what a pattern of `tables` matches and none of `skip`.
///
/// # Errors
/// [`SelectError`], in the Go SDK's words.
pub fn select(names: &[&str], tables: &[String], skip: &[String]) -> Result<Selected, SelectError> {
    let mut warnings = Vec::new();
    for pattern in tables {
        if names.iter().any(|name| matches(pattern, name)) {
            continue;
        }
        if !(names.is_empty() && matches_all(pattern)) {
            return Err(SelectError::NoMatch(pattern.clone()));
        }
        let text = format!(
            "tables include the pattern {pattern}, but there is no table: no Parquet object passes path_prefix, \
             include and exclude"
        );
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
    for pattern in skip.iter().filter(|pattern| !names.iter().any(|name| matches(pattern, name))) {
        warnings.push(format!("skip_tables include a pattern {pattern} with no matches"));
    }
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
    let indexes: Vec<usize> =
        (0..names.len()).filter(|&index| any(tables, names[index]) && !any(skip, names[index])).collect();
    if indexes.is_empty() && (tables.is_empty() || !names.is_empty()) {
        return Err(SelectError::Nothing);
    }
    Ok(Selected { indexes, warnings })
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

    fn selected(names: &[&str], tables: &[&str], skip: &[&str]) -> Result<Vec<usize>, String> {
        select(names, &patterns(tables), &patterns(skip)).map(|found| found.indexes).map_err(|error| error.to_string())
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
        let found = select(&[], &patterns(&["*", "*"]), &patterns(&["old"])).unwrap();
        assert_eq!(found.indexes, [0; 0]);
        assert_eq!(found.warnings.len(), 2);
        assert!(found.warnings[0].contains("no table"));
        let found = select(&NAMES, &patterns(&["*"]), &patterns(&["users", "old_*"])).unwrap();
        assert_eq!(found.indexes, [0, 1, 3]);
        assert_eq!(found.warnings, ["skip_tables include a pattern old_* with no matches"]);
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

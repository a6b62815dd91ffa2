//! Which keys a spec admits: `include` and `exclude`, globs over the whole key.
//!
//! The language is small, so that the JSON Schema can say exactly what is a glob:
//!
//! | write | matches |
//! |---|---|
//! | `*` | any run of characters without `/` |
//! | `**` | any run of characters |
//! | `**/` at the start or after `/` | any folders, also none |
//! | `?` | one character, not `/` |
//! | `{a,b}` | `a` or `b`; no braces inside |
//! | `\` before one of `*?[]{}\,` | that character itself |
//!
//! Square brackets are refused unless escaped: they would mean something else in most other glob languages. The usual
//! crates stop `**` at `/` unless it is alone between slashes, which is not what users expect of `raw/2024**`.

use regex_automata::meta::{BuildError, Regex};
use std::fmt;

/// A regular expression (ECMA 262 and RE2 alike) that accepts exactly the legal globs.
pub(super) const GLOB_PATTERN: &str = r"^(?:[^\[\]{}\\]|\\[*?\[\]{}\\,]|\{(?:[^\[\]{}\\]|\\[*?\[\]{}\\,])*\})+$";

/// Decides which keys are looked at. An empty `include` admits all; `exclude` wins.
#[derive(Clone, Default)]
pub struct KeyFilter {
    include: Globs,
    exclude: Globs,
}

impl KeyFilter {
    /// Builds a filter.
    ///
    /// # Errors
    /// [`BadGlob`], the first invalid pattern.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, BadGlob> {
        Ok(Self { include: Globs::new(include)?, exclude: Globs::new(exclude)? })
    }

    /// Whether `key` (the whole key, not the part behind `path_prefix`) is to be read.
    pub fn admits(&self, key: &str) -> bool {
        (self.include.patterns.is_empty() || self.include.any_matches(key)) && !self.exclude.any_matches(key)
    }

    /// The patterns of `include`; none of them admits all keys.
    pub fn include(&self) -> &[String] {
        &self.include.patterns
    }

    /// The patterns of `exclude`.
    pub fn exclude(&self) -> &[String] {
        &self.exclude.patterns
    }

    /// A pattern of `include` that matches `key`.
    pub fn included_by(&self, key: &str) -> Option<&str> {
        self.include.first_match(key)
    }

    /// A pattern of `exclude` that matches `key`.
    pub fn excluded_by(&self, key: &str) -> Option<&str> {
        self.exclude.first_match(key)
    }
}

impl fmt::Debug for KeyFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFilter")
            .field("include", &self.include.patterns)
            .field("exclude", &self.exclude.patterns)
            .finish()
    }
}

/// A list of globs, compiled into one automaton: a key is read once whatever their number, in linear time.
#[derive(Clone, Default)]
struct Globs {
    patterns: Vec<String>,
    regex: Option<Regex>,
}

impl Globs {
    fn new(patterns: &[String]) -> Result<Self, BadGlob> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let regexes = patterns.iter().map(|pattern| to_regex(pattern)).collect::<Result<Vec<_>, _>>()?;
        let config = Regex::config().nfa_size_limit(None);
        let regex = Regex::builder().configure(config).build_many(&regexes).map_err(Box::new)?;
        Ok(Self { patterns: patterns.to_vec(), regex: Some(regex) })
    }

    fn any_matches(&self, key: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(key))
    }

    fn first_match(&self, key: &str) -> Option<&str> {
        let pattern = self.regex.as_ref()?.find(key)?.pattern();
        self.patterns.get(pattern.as_usize()).map(String::as_str)
    }
}

/// Why a text is not a glob.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadGlob {
    /// Nothing can match it.
    #[error("must not be empty")]
    Empty,
    /// Would be a character class elsewhere.
    #[error(r"square brackets are not supported; write `\[` or `\]` for the character, or `?` for any one character")]
    Bracket,
    /// A brace that opens or closes nothing, or braces inside braces.
    #[error(r"braces must come in pairs, as in `{{a,b}}`, and not inside each other; write `\{{` for the character")]
    Brace,
    /// A backslash before something that needs none.
    #[error(r"a backslash must stand before one of `* ? [ ] {{ }} , \`; write `\\` for the character itself")]
    Backslash,
    /// The automaton could not be built.
    #[error("cannot be compiled: {0}")]
    Compile(#[from] Box<BuildError>),
}

/// Translates one glob into a regular expression over the whole key.
pub(crate) fn to_regex(glob: &str) -> Result<String, BadGlob> {
    if glob.is_empty() {
        return Err(BadGlob::Empty);
    }
    let mut regex = String::from(r"\A(?s:");
    let mut in_braces = false;
    let mut at_segment_start = true;
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        let segment_starts_here = std::mem::replace(&mut at_segment_start, c == '/');
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // More stars change nothing.
                while chars.next_if_eq(&'*').is_some() {}
                if segment_starts_here && chars.next_if_eq(&'/').is_some() {
                    regex.push_str("(?:.*/)?");
                    at_segment_start = true;
                } else {
                    regex.push_str(".*");
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '{' if !in_braces => {
                in_braces = true;
                regex.push_str("(?:");
            }
            '}' if in_braces => {
                in_braces = false;
                regex.push(')');
            }
            ',' if in_braces => regex.push('|'),
            '{' | '}' => return Err(BadGlob::Brace),
            '[' | ']' => return Err(BadGlob::Bracket),
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\')) => push_literal(&mut regex, escaped),
                _ => return Err(BadGlob::Backslash),
            },
            c => push_literal(&mut regex, c),
        }
    }
    if in_braces {
        return Err(BadGlob::Brace);
    }
    regex.push_str(r")\z");
    Ok(regex)
}

/// Appends `c` as itself. Only these may be escaped: `\<`, for one, means something else.
pub(crate) fn push_literal(regex: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        regex.push('\\');
    }
    regex.push(c);
}

/// Writes `text` so that a glob matches exactly it: for hints such as "add `exclude: [\"…\"]`".
pub fn escape(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(include: &[&str], exclude: &[&str], key: &str) -> bool {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        KeyFilter::new(&owned(include), &owned(exclude)).unwrap().admits(key)
    }

    #[test]
    fn stars_and_slashes() {
        for (glob, key, expected) in [
            ("*", "a.parquet", true),
            ("*", "a/b.parquet", false),
            ("**", "a/b/c.parquet", true),
            ("raw/*", "raw/x.parquet", true),
            ("raw/*", "raw/2024/x.parquet", false),
            ("raw/**", "raw/2024/x.parquet", true),
            ("raw/2024**", "raw/2024-01/x.parquet", true),
            ("**/x.parquet", "x.parquet", true),
            ("**/x.parquet", "a/b/x.parquet", true),
            ("**/x.parquet", "a/bx.parquet", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "az", false),
            ("a**/z", "a/b/z", true),
            ("***", "a/b", true),
            ("?.parquet", "ä.parquet", true),
            ("?.parquet", "/.parquet", false),
            ("??", "ä", false),
            ("{raw,cooked}/*.parquet", "cooked/x.parquet", true),
            ("{raw,cooked}/*.parquet", "burnt/x.parquet", false),
            ("x{,-old}", "x", true),
            ("a,b", "a,b", true),
            (r"\{a\}\*", "{a}*", true),
            (r"\[x\]", "[x]", true),
            ("a.b", "axb", false),
            ("a+(b)|^$", "a+(b)|^$", true),
            ("ab", "abc", false),
            ("ab", "xab", false),
            ("a*", "a\nb", true),
            ("dt=2024-??-*/x", "dt=2024-01-31/x", true),
            ("Ä/#&~-<>", "Ä/#&~-<>", true),
        ] {
            assert_eq!(admits(&[glob], &[], key), expected, "{glob} on {key}");
        }
    }

    #[test]
    fn exclude_wins_and_no_include_admits_all() {
        assert!(admits(&[], &[], "x"));
        assert!(!admits(&[], &["x"], "x"));
        assert!(!admits(&["**"], &["tmp/**"], "tmp/x"));
        assert!(admits(&["a/*", "b/*"], &["tmp/**"], "b/x"));
        assert!(!admits(&["a/*", "b/*"], &[], "c/x"));
    }

    #[test]
    fn what_is_no_glob_says_why() {
        for (glob, expected) in [
            ("", "must not be empty"),
            ("[a-z]", "square brackets"),
            ("a]", "square brackets"),
            ("{a", "braces"),
            ("a}", "braces"),
            ("{a,{b,c}}", "braces"),
            (r"a\b", "backslash"),
            ("a\\", "backslash"),
        ] {
            assert!(to_regex(glob).unwrap_err().to_string().contains(expected), "{glob}");
        }
    }

    proptest! {
        #[test]
        fn schema_pattern_and_compiler_agree(glob in r"[a*?/{},\\\[\]é]{0,12}") {
            let pattern = Regex::new(GLOB_PATTERN).unwrap();
            let compiled = Globs::new(std::slice::from_ref(&glob));
            prop_assert_eq!(pattern.is_match(glob.as_str()), compiled.is_ok(), "{}", glob);
        }

        #[test]
        fn an_escaped_text_matches_itself_alone(key in r"[a*?/{},\\\[\]é.\n]{1,12}", other in ".{0,12}") {
            let glob = escape(&key);
            prop_assert!(admits(&[&glob], &[], &key));
            prop_assert_eq!(admits(&[&glob], &[], &other), key == other);
        }
    }
}

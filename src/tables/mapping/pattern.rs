//! Which keys a mapping takes: a template, globs or a regular expression, compiled.

use super::template::{TEST_UUID, Template, Variable};
use crate::config::glob;
use crate::config::quote;
use regex_automata::meta::{BuildError, Regex};
use regex_automata::util::primitives::{NonMaxUsize, PatternID};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// Longest pattern: more than a key can be (1 KiB) four times over.
const MAX_PATTERN_BYTES: usize = 4 << 10;
/// Memory of one compiled pattern: a hundred times what templates take, and 500 of them are still no danger.
const MAX_AUTOMATON_BYTES: usize = 1 << 20;
/// Memory of all of them as one automaton.
const MAX_ALL_AUTOMATA_BYTES: usize = 64 << 20;

/// Where the groups of nearly every pattern begin and end, without an allocation for each key: 15 groups and the whole.
const USUAL_SLOTS: usize = 32;

/// What a pattern is made of.
#[derive(Debug)]
pub(in crate::tables) enum Source {
    /// A template.
    Path(Template),
    /// Globs, one of which must match.
    Glob(Vec<String>),
    /// A regular expression.
    Regex(String),
}

/// A compiled pattern.
#[derive(Debug)]
pub(in crate::tables) struct Pattern {
    pub(in crate::tables) source: Source,
    /// The regular expression that was compiled.
    text: String,
    regex: Regex,
    /// The groups that mean something: number, meaning.
    groups: Vec<(usize, Variable)>,
    /// Two groups must have equal texts.
    has_twins: bool,
}

/// What is wrong with a pattern, in words that follow the name of its field.
type Mistakes = Vec<String>;

impl Pattern {
    /// Compiles a template; `names_table`: the mapping has a `table` of its own.
    pub(super) fn path(text: &str, names_table: bool) -> Result<Self, Mistakes> {
        check_length(text)?;
        let template = Template::read(text, names_table)?;
        let (text, variables) = template.regex();
        let has_twins =
            (1..variables.len()).any(|n| variables[..n].iter().any(|before| are_twins(before, &variables[n])));
        let groups = variables.into_iter().enumerate().map(|(index, variable)| (index + 1, variable)).collect();
        Ok(Self { source: Source::Path(template), regex: compile(&text)?, text, groups, has_twins })
    }

    /// Compiles globs.
    pub(super) fn glob(globs: &[String]) -> Result<Self, Mistakes> {
        if globs.is_empty() {
            return Err(vec!["must have at least one pattern".to_owned()]);
        }
        let (mut mistakes, mut alternatives) = (Vec::new(), Vec::new());
        for text in globs {
            match check_length(text).and_then(|()| {
                glob::to_regex(text).map_err(|error| vec![format!("{} is not a pattern: {error}", quote(text))])
            }) {
                Ok(regex) => alternatives.push(regex),
                Err(mistake) => mistakes.extend(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let text = alternatives.join("|");
        Ok(Self {
            source: Source::Glob(globs.to_vec()),
            regex: compile(&text)?,
            text,
            groups: Vec::new(),
            has_twins: false,
        })
    }

    /// Compiles a regular expression, which stands for the whole key.
    pub(super) fn regex(user: &str) -> Result<Self, Mistakes> {
        if user.is_empty() {
            return Err(vec!["must not be empty".to_owned()]);
        }
        check_length(user)?;
        // By itself first: `a)|(b` must not close our group.
        Regex::builder().configure(config(MAX_AUTOMATON_BYTES)).build(user).map_err(|error| vec![in_words(&error)])?;
        let text = format!(r"\A(?:{user})\z");
        let regex = compile(&text).map_err(|_| vec!["must not end in a comment".to_owned()])?;
        let names = regex.group_info().pattern_names(PatternID::ZERO).enumerate();
        let groups =
            names.filter_map(|(index, name)| Some((index, Variable::Column(name?.to_owned(), None)))).collect();
        Ok(Self { source: Source::Regex(user.to_owned()), regex, text, groups, has_twins: false })
    }

    /// The number and meaning of each group that means something.
    pub(in crate::tables) fn variables(&self) -> impl Iterator<Item = (usize, &Variable)> {
        self.groups.iter().enumerate().map(|(index, (_, variable))| (index, variable))
    }

    /// The name of the field that it comes from.
    pub(super) fn field(&self) -> &'static str {
        match self.source {
            Source::Path(_) => "path",
            Source::Glob(_) => "glob",
            Source::Regex(_) => "regex",
        }
    }

    /// Whether each key that `other` takes is surely taken by this one; told by equal text alone.
    pub(super) fn takes_all_of(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Path(ours), Source::Path(others)) => ours == others,
            (Source::Glob(ours), Source::Glob(others)) => others.iter().all(|glob| ours.contains(glob)),
            (Source::Regex(ours), Source::Regex(others)) => ours == others,
            _ => false,
        }
    }

    /// What every key that it takes begins with; may be less than there is.
    pub(in crate::tables) fn literal_start(&self) -> String {
        match &self.source {
            Source::Path(template) => template.literal_start().to_owned(),
            Source::Glob(globs) => common_start(globs.iter().map(|glob| literal_start_of_glob(glob))),
            Source::Regex(regex) => literal_start_of_regex(regex),
        }
    }

    /// The groups' texts, if it takes the key.
    pub(super) fn captures(&self, key: &str) -> Option<Captures> {
        let mut captures = Captures::default();
        if self.groups.is_empty() {
            return self.regex.is_match(key).then_some(captures);
        }
        let (mut few, mut many) = ([None; USUAL_SLOTS], Vec::new());
        let slots: &mut [Option<NonMaxUsize>] = match self.regex.group_info().slot_len() {
            len if len <= USUAL_SLOTS => &mut few[..len],
            len => {
                many.resize(len, None);
                &mut many
            }
        };
        self.regex.search_slots(&Input::new(key).anchored(Anchored::Yes), slots)?;
        let at = |slot: usize| slots.get(slot).copied().flatten().map(NonMaxUsize::get);
        // A regular expression of bytes could cut a character.
        let span =
            |group: usize| Some(at(group * 2)?..at(group * 2 + 1)?).filter(|span| key.get(span.clone()).is_some());
        captures.0 = self.groups.iter().map(|(group, _)| span(*group)).collect();
        (!self.has_twins || self.are_equal_where_they_must(key, &captures)).then_some(captures)
    }

    /// Whether variables that the destination replaced everywhere by one text are that text everywhere.
    fn are_equal_where_they_must(&self, key: &str, captures: &Captures) -> bool {
        let mut seen: Vec<(&Variable, &str)> = Vec::new();
        for ((_, variable), span) in self.groups.iter().zip(&captures.0) {
            let Some(text) = span.clone().and_then(|span| key.get(span)) else { continue };
            let text = match variable {
                Variable::Column(..) => continue,
                // The compression that follows is written in some places and not in others.
                Variable::Format => text.split('.').next().unwrap_or_default(),
                _ => text,
            };
            let is_equal = seen.iter().all(|(before, known)| match (before, variable) {
                (Variable::Table, Variable::TableHyphen) => is_hyphenated(known, text),
                (Variable::TableHyphen, Variable::Table) => is_hyphenated(text, known),
                (before, variable) => *before != variable || *known == text,
            });
            if !is_equal {
                return false;
            }
            seen.push((variable, text));
        }
        true
    }

    /// Whether an object of this key was written by CloudQuery's S3 destination to test its access.
    pub(super) fn is_test_object(&self, key: &str, captures: &Captures, size_bytes: u64) -> bool {
        let is_of_destination = matches!(&self.source, Source::Path(template) if template.is_of_destination());
        self.groups.iter().zip(&captures.0).any(|((_, variable), span)| {
            let text = span.clone().and_then(|span| key.get(span));
            match variable {
                Variable::Uuid | Variable::SyncId => text == Some(TEST_UUID),
                // Without a UUID in the name, it is told by having nothing in it.
                Variable::Table => is_of_destination && size_bytes == 0 && text == Some("TEST_TABLE"),
                Variable::TableHyphen => is_of_destination && size_bytes == 0 && text == Some("TEST-TABLE"),
                _ => false,
            }
        })
    }
}

/// Where in a key the groups of a pattern are, in their order; `None`: nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::tables) struct Captures(pub(in crate::tables) Vec<Option<Range<usize>>>);

impl Captures {
    /// Where a group is.
    pub(in crate::tables) fn span(&self, group: usize) -> Option<Range<usize>> {
        self.0.get(group).cloned().flatten()
    }

    /// The text of a group.
    pub(in crate::tables) fn text<'k>(&self, group: usize, key: &'k str) -> Option<&'k str> {
        key.get(self.span(group)?)
    }
}

/// All patterns as one automaton: a key is read once, whatever their number.
#[derive(Debug)]
pub(super) struct PatternSet(Option<Regex>);

impl PatternSet {
    /// Compiles them together.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Result<Self, String> {
        let texts: Vec<&str> = patterns.map(|pattern| pattern.text.as_str()).collect();
        if texts.is_empty() {
            return Ok(Self(None));
        }
        let regex = Regex::builder()
            .configure(
                config(MAX_ALL_AUTOMATA_BYTES).which_captures(regex_automata::nfa::thompson::WhichCaptures::Implicit),
            )
            .syntax(of_bytes())
            .build_many(&texts)
            .map_err(|error| in_words(&error))?;
        Ok(Self(Some(regex)))
    }

    /// No pattern.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The number of the first pattern that takes the key.
    pub(super) fn first(&self, key: &str) -> Option<usize> {
        let found = self.0.as_ref()?.search_half(&Input::new(key).anchored(Anchored::Yes))?;
        Some(found.pattern().as_usize())
    }
}

/// Whether two variables of a template stand for one text, be it with other hyphens.
fn are_twins(a: &Variable, b: &Variable) -> bool {
    a == b || matches!((a, b), (Variable::Table, Variable::TableHyphen) | (Variable::TableHyphen, Variable::Table))
}

fn is_hyphenated(table: &str, hyphenated: &str) -> bool {
    table.len() == hyphenated.len()
        && table.bytes().zip(hyphenated.bytes()).all(|(a, b)| if a == b'_' { b == b'-' } else { a == b })
}

fn check_length(text: &str) -> Result<(), Mistakes> {
    if text.len() <= MAX_PATTERN_BYTES {
        return Ok(());
    }
    Err(vec![format!("must have at most {MAX_PATTERN_BYTES} bytes, found {}", text.len())])
}

fn config(max_bytes: usize) -> regex_automata::meta::Config {
    Regex::config().nfa_size_limit(Some(max_bytes)).utf8_empty(false)
}

/// Our own templates match bytes.
fn of_bytes() -> syntax::Config {
    syntax::Config::new().utf8(false)
}

pub(super) fn compile(text: &str) -> Result<Regex, Mistakes> {
    let builder = Regex::builder().configure(config(MAX_AUTOMATON_BYTES)).syntax(of_bytes()).build(text);
    builder.map_err(|error| vec![in_words(&error)])
}

/// What the compiler says, in one line.
fn in_words(error: &BuildError) -> String {
    if error.size_limit().is_some() {
        return "is too large when it is compiled; make repetitions shorter".to_owned();
    }
    let Some(error) = error.syntax_error() else { return format!("cannot be compiled: {error}") };
    let text = error.to_string();
    // It shows the pattern first, over several lines.
    let last = text.lines().last().unwrap_or_default();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    match reason {
        reason if reason.contains("look-around") => "look-around is not supported".to_owned(),
        reason => reason.to_owned(),
    }
}

/// What a glob begins with before anything in it has a meaning.
fn literal_start_of_glob(glob: &str) -> String {
    let mut start = String::new();
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '{' => break,
            '\\' => start.extend(chars.next()),
            c => start.push(c),
        }
    }
    start
}

/// The same of a regular expression; only characters that can mean nothing else count.
fn literal_start_of_regex(regex: &str) -> String {
    // An alternative could begin with something else. One inside a group does no harm, but where groups end is not known
    // without reading classes and escapes.
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    if regex.contains('|') {
        return String::new();
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_-=".contains(c);
    let end = regex.find(|c| !is_plain(c)).unwrap_or(regex.len());
    let (start, rest) = regex.split_at(end);
    // The last one may be repeated, also zero times.
    let cut = usize::from(rest.starts_with(['*', '?', '{', '+']));
    start[..start.len().saturating_sub(cut)].to_owned()
}

/// What all of them begin with.
pub(super) fn common_start(texts: impl Iterator<Item = String>) -> String {
    let common = |a: String, b: String| -> String {
        a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c).collect()
    };
    texts.reduce(common).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c";

    fn texts(path: &str, key: &str) -> Option<Vec<String>> {
        let pattern = Pattern::path(path, false).unwrap();
        let captures = pattern.captures(key)?;
        Some((0..captures.0.len()).filter_map(|group| captures.text(group, key)).map(str::to_owned).collect())
    }

    #[test]
    fn templates_match_whole_keys() {
        let documented = "p/{{TABLE}}/{{UUID}}.{{FORMAT}}";
        for (path, key, expected) in [
            (documented, format!("p/aws_x/{UUID}.csv.gz"), Some(vec!["aws_x", UUID, "csv.gz"])),
            (documented, format!("p/aws_x/{UUID}.orc"), None),
            (documented, format!("p/aws_x/{UUID}.csv.gz2"), None),
            (documented, format!("xp/aws_x/{UUID}.csv"), None),
            (documented, format!("p/a/b/{UUID}.csv"), None),
            (documented, "p/aws_x/TEST_UUID.json".to_owned(), Some(vec!["aws_x", "TEST_UUID", "json"])),
            ("p", "p/a.b.parquet".to_owned(), Some(vec!["a.b", "parquet"])),
            ("p", format!("p/a.json.gz.{UUID}"), Some(vec!["a", "json.gz", UUID])),
            ("p/{{a}}-{{b}}", "p/x-y-z".to_owned(), Some(vec!["x", "y-z"])),
            ("p/{{a}}é{{b}}.x", "p/öéüé.x".to_owned(), Some(vec!["ö", "üé"])),
            ("p/{{**}}/{{a}}", "p/x/y/z".to_owned(), Some(vec!["z"])),
            ("p/{{*}}.x", "p/.x".to_owned(), Some(vec![])),
            ("p/{{*}}.x", "p/y/.x".to_owned(), None),
            ("{{YEAR}}{{MONTH}}/{{*}}", "202613/x".to_owned(), Some(vec!["2026", "13"])),
        ] {
            let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
            assert_eq!(texts(path, &key), expected, "{path} on {key}");
        }
    }

    #[test]
    fn what_the_destination_replaced_must_be_equal() {
        assert!(texts("{{TABLE}}/{{TABLE}}.csv", "a/a.csv").is_some());
        assert_eq!(texts("{{TABLE}}/{{TABLE}}.csv", "a/b.csv"), None);
        assert!(texts("{{TABLE_HYPHEN}}/{{TABLE}}.csv", "a-b/a_b.csv").is_some());
        assert_eq!(texts("{{TABLE_HYPHEN}}/{{TABLE}}.csv", "a_b/a_b.csv"), None);
        assert_eq!(texts("{{TABLE}}/{{TABLE_HYPHEN}}.csv", "a_b/a-c.csv"), None);
        assert_eq!(texts("{{YEAR}}/{{YEAR}}-{{MONTH}}", "2025/2026-01"), None);
        assert!(texts("{{TABLE}}.{{FORMAT}}/x.{{FORMAT}}", "a.csv.gz/x.csv").is_some());
        assert_eq!(texts("{{TABLE}}.{{FORMAT}}/x.{{FORMAT}}", "a.csv/x.json"), None);
    }

    #[test]
    fn regexes_stand_for_the_whole_key() {
        let pattern = Pattern::regex("a/(?<x>b|bc)(d)?").unwrap();
        let captures = pattern.captures("a/bcd").unwrap();
        assert_eq!(captures.text(0, "a/bcd"), Some("bc"));
        assert_eq!(pattern.captures("xa/bcd"), None);
        assert_eq!(pattern.captures("a/bcdx"), None);
        let optional = Pattern::regex("a(?<x>b)?").unwrap();
        assert_eq!(optional.captures("a").unwrap().text(0, "a"), None);
        for (regex, expected) in [
            ("", "must not be empty"),
            ("a(?=b)", "look-around is not supported"),
            ("a(?<!b)", "look-around is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("a)|(b", "unopened group"),
            ("(?x)a # c", "must not end in a comment"),
            (r"\p{L}{900}{900}", "is too large when it is compiled"),
            ("(?<x>a)(?<x>b)", "duplicate capture group name"),
            (&"a".repeat(5000), "must have at most 4096 bytes, found 5000"),
        ] {
            let mistakes = Pattern::regex(regex).map(|_| ()).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].starts_with(expected), "{mistakes:?}");
        }
    }

    #[test]
    fn the_first_pattern_counts() {
        let patterns = [
            Pattern::regex("raw/.*").unwrap(),
            Pattern::glob(&["**/x".to_owned(), "y".to_owned()]).unwrap(),
            Pattern::path("{{a}}", true).unwrap(),
        ];
        let set = PatternSet::new(patterns.iter()).unwrap();
        let first = ["raw/x", "b/x", "y", "z", "z/z"].map(|key| set.first(key));
        assert_eq!(first, [Some(0), Some(1), Some(1), Some(2), None]);
        assert_eq!(PatternSet::new([].into_iter()).unwrap().first("x"), None);
    }

    #[test]
    fn literal_starts() {
        for (regex, expected) in [
            ("^landing/(?<a>x)/.*", "landing/"),
            ("landing/?", "landing"),
            ("ab+", "a"),
            ("a|b", ""),
            ("a.b", "a"),
            (r"a\.b", "a"),
            ("(?i)ab", ""),
            ("abc", "abc"),
        ] {
            assert_eq!(Pattern::regex(regex).unwrap().literal_start(), expected, "{regex}");
        }
        let glob = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
            Pattern::glob(&globs).unwrap().literal_start()
        };
        assert_eq!(glob(&["a/b/**", "a/c/x"]), "a/");
        assert_eq!(glob(&[r"a\*b/?"]), "a*b/");
    }

    proptest! {
        /// One automaton of many patterns gives what asking them in turn gives.
        #[test]
        fn the_set_and_its_patterns_agree(
            paths in prop::collection::vec("[ab]{0,1}[{]{2}([*]|[*][*]|x|TABLE)[}]{2}(/[ab]|[ab])?", 1..6),
            regexes in prop::collection::vec("[ab]?([ab/.]|[ab][*]|[(]a[|]b/[)]){1,4}", 0..4),
            keys in prop::collection::vec("[ab/]{0,6}", 8),
        ) {
            let patterns: Vec<Pattern> = paths.iter().filter_map(|path| Pattern::path(path, true).ok())
                .chain(regexes.iter().filter_map(|regex| Pattern::regex(regex).ok())).collect();
            let set = PatternSet::new(patterns.iter()).unwrap();
            for key in &keys {
                let expected = patterns.iter().position(|pattern| pattern.captures(key).is_some());
                prop_assert_eq!(set.first(key), expected, "{:?} {:?} {}", paths, regexes, key);
            }
        }

        #[test]
        fn keys_begin_with_the_literal_start(
            regex in "\\^?[ab/]{0,3}([ab.]|[ab][*+?]|[ab]\\{0,1\\}|[(]a[|]b[)]|[ab][|]|\\\\.|[(]\\?i[)]){0,4}",
            globs in prop::collection::vec("[ab/]{0,3}([ab*?]|[{]a,b[}]|\\\\[*]){1,3}", 1..3),
            key in "[abAB/.*]{0,6}",
        ) {
            for pattern in [Pattern::regex(&regex), Pattern::glob(&globs)].into_iter().flatten() {
                if pattern.captures(&key).is_some() {
                    prop_assert!(key.starts_with(&pattern.literal_start()), "{} {:?} {}", regex, globs, key);
                }
            }
        }
    }
}

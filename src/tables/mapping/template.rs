//! Templates of keys: literal text and `{{…}}`, as CloudQuery's destinations have them in `path`, with more variables.
//!
//! A template stands for a whole key. It becomes one regular expression, so matching takes linear time; the engine has
//! no back references, so what must be equal in two places is compared afterwards, by whoever asks for the captures.

use super::format::{COMPRESSIONS, TEMPLATE_FORMATS};
use super::pattern::compile;
use crate::config::glob::push_literal;
use crate::tables::partitions::{KeyType, nearest};
use std::fmt::{self, Write as _};

/// A part of a date that a template can have, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::tables) enum DatePart {
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

impl DatePart {
    pub(in crate::tables) const ALL: [Self; 5] = [Self::Year, Self::Month, Self::Day, Self::Hour, Self::Minute];

    /// How many digits it has.
    pub(in crate::tables) fn digits(self) -> usize {
        if self == Self::Year { 4 } else { 2 }
    }
}

/// What can stand between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tables) enum Variable {
    /// The table's name.
    Table,
    /// The same with hyphens for underscores.
    TableHyphen,
    /// The format, maybe with its compression.
    Format,
    /// A UUID.
    Uuid,
    /// The UUID of a sync.
    SyncId,
    /// A part of a date, in digits.
    Date(DatePart),
    /// A column, maybe of a given type.
    Column(String, Option<KeyType>),
    /// Any text in a segment.
    Any,
    /// Any text.
    AnyDeep,
}

/// The variables of CloudQuery's destinations.
const DESTINATION_VARIABLES: [(&str, Variable); 10] = [
    ("TABLE", Variable::Table),
    ("TABLE_HYPHEN", Variable::TableHyphen),
    ("FORMAT", Variable::Format),
    ("UUID", Variable::Uuid),
    ("SYNC_ID", Variable::SyncId),
    ("YEAR", Variable::Date(DatePart::Year)),
    ("MONTH", Variable::Date(DatePart::Month)),
    ("DAY", Variable::Date(DatePart::Day)),
    ("HOUR", Variable::Date(DatePart::Hour)),
    ("MINUTE", Variable::Date(DatePart::Minute)),
];

impl Variable {
    /// The destinations' variable of this name.
    pub(super) fn of_destination(name: &str) -> Option<Self> {
        DESTINATION_VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| variable.clone())
    }

    /// The name as it is written.
    pub(in crate::tables) fn name(&self) -> &str {
        match self {
            Self::Column(name, _) => name,
            Self::Any => "*",
            Self::AnyDeep => "**",
            other => DESTINATION_VARIABLES.iter().find(|(_, known)| known == other).map_or("", |(name, _)| name),
        }
    }

    fn is_of_destination(&self) -> bool {
        !matches!(self, Self::Column(..) | Self::Any | Self::AnyDeep)
    }

    /// Reads what stands between the braces.
    fn read(text: &str) -> Result<Self, String> {
        if let Some(variable) = Self::of_destination(text) {
            return Ok(variable);
        }
        match text {
            "*" => return Ok(Self::Any),
            "**" => return Ok(Self::AnyDeep),
            _ => {}
        }
        let (name, ty) = match text.split_once(':') {
            Some((name, ty)) => (name, Some(ty)),
            None => (text, None),
        };
        if !is_column_name(name) {
            return Err(no_variable(text));
        }
        match ty.map(KeyType::from_word).transpose() {
            Ok(ty) => Ok(Self::Column(name.to_owned(), ty)),
            Err(mistake) => Err(format!("{{{{{text}}}}}: {mistake}")),
        }
    }

    /// The regular expression of its text.
    fn push_regex(&self, regex: &mut String) {
        // Bytes, not characters: smaller automata. What follows is literal, digits or the end, so that a match is never
        // cut within a character.
        const SEGMENT: &str = "(?-u:[^/])";
        let _ = match self {
            Self::Table | Self::TableHyphen | Self::Column(..) => write!(regex, "({SEGMENT}+?)"),
            Self::Any => write!(regex, "{SEGMENT}*?"),
            Self::AnyDeep => write!(regex, "(?s-u:.)*?"),
            Self::Format => {
                write!(regex, "((?:{})(?:[.](?:{}))?)", TEMPLATE_FORMATS.join("|"), COMPRESSIONS.join("|"))
            }
            Self::Uuid | Self::SyncId => {
                const HEX: &str = "[0-9A-Fa-f]";
                write!(regex, "({HEX}{{8}}-{HEX}{{4}}-{HEX}{{4}}-{HEX}{{4}}-{HEX}{{12}}|{TEST_UUID})")
            }
            Self::Date(part) => write!(regex, "([0-9]{{{}}})", part.digits()),
        };
    }

    /// Whether the regular expression has a group for it.
    fn is_captured(&self) -> bool {
        !matches!(self, Self::Any | Self::AnyDeep)
    }
}

/// What the destination writes for `{{UUID}}` in the object that tests its access.
pub(super) const TEST_UUID: &str = "TEST_UUID";

fn is_column_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn no_variable(text: &str) -> String {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    let name = text.trim().to_ascii_uppercase();
    let meant = nearest(&name, DESTINATION_VARIABLES.iter().map(|(known, _)| *known));
    let hint = match meant {
        Some(meant) => format!("did you mean {{{{{meant}}}}}?"),
        None => {
            "a column is written {{name}} or {{name:type}}, its name beginning with a lower-case letter, with letters, \
                 digits and _"
                .to_owned()
        }
    };
    format!("{{{{{shown}}}}} is no variable; {hint}")
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tables) enum Part {
    /// Literal text.
    Text(String),
    /// A variable.
    Variable(Variable),
}

/// Cuts a text into literal pieces and what stands between `{{` and `}}`.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((inside, behind)) = behind.split_once("}}") else {
            return Err("a {{ is not closed; write }} behind the variable".to_owned());
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Inside(inside));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// A piece of a text with `{{…}}`.
pub(super) enum Piece<'a> {
    Text(&'a str),
    Inside(&'a str),
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tables) struct Template {
    /// Text and variables in turn; variables touch only where both are parts of a date.
    pub(in crate::tables) parts: Vec<Part>,
    /// `.{{UUID}}` may follow: the name was made up by the destination, and it is not known whether it rotates.
    may_end_in_uuid: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// If only the destination's variables are in it, `{{TABLE}}` is not, and `names_table` is false, the destination
    /// writes below it: `/{{TABLE}}.{{FORMAT}}` follows, maybe with `.{{UUID}}`.
    ///
    /// # Errors
    /// Everything that is wrong with it, in words that follow the name of the field.
    pub(super) fn read(text: &str, names_table: bool) -> Result<Self, Vec<String>> {
        if text.is_empty() {
            return Err(vec![
                "must not be empty; at the bucket's root, {{TABLE}}.{{FORMAT}}.{{UUID}} is what the \
                             destinations write"
                    .to_owned(),
            ]);
        }
        let mut mistakes = Vec::new();
        if text.starts_with('/') {
            mistakes.push("must not start with /".to_owned());
        }
        let mut parts = parts(text, &mut mistakes);
        let is_folder = !names_table && is_folder_of_destination(&parts);
        let text = clean(&if is_folder { format!("{text}/{{{{TABLE}}}}.{{{{FORMAT}}}}") } else { text.to_owned() });
        // Cleaning moves only `/` and `.`, so it makes no new mistakes.
        if mistakes.is_empty() {
            parts = self::parts(&text, &mut mistakes);
        }
        check(&parts, &mut mistakes);
        if mistakes.is_empty() { Ok(Self { parts, may_end_in_uuid: is_folder }) } else { Err(mistakes) }
    }

    /// The regular expression for a whole key, and the variable of each of its groups.
    pub(super) fn regex(&self) -> (String, Vec<Variable>) {
        let (mut regex, mut groups) = regex_of(&self.parts);
        if self.may_end_in_uuid {
            regex.push_str("(?:[.]");
            Variable::Uuid.push_regex(&mut regex);
            regex.push_str(")?");
            groups.push(Variable::Uuid);
        }
        regex.push_str(r"\z");
        (regex, groups)
    }

    /// Where a key that does not match stops fitting, in words.
    pub(super) fn why_not(&self, key: &str) -> String {
        let fits = |parts: &[Part]| compile(&regex_of(parts).0).is_ok_and(|regex| regex.is_match(key));
        // The longest beginning of the template that the key begins with.
        let fitting = (0..=self.parts.len()).rev().find(|&count| fits(&self.parts[..count])).unwrap_or(0);
        let (fitting, rest) = self.parts.split_at(fitting);
        let written = |parts: &[Part]| parts.iter().map(ToString::to_string).collect::<String>();
        match (fitting, rest.first()) {
            ([], Some(first)) => format!("the key does not begin with {first}"),
            (_, Some(next)) => format!("the key fits up to {}, then {next} must follow", written(fitting)),
            (_, None) => "the key goes on behind the end, or a variable that is there twice has two texts".to_owned(),
        }
    }

    /// Whether every key that matches was written by a destination, if its template was.
    pub(super) fn is_of_destination(&self) -> bool {
        self.variables().all(Variable::is_of_destination)
    }

    /// All variables, in their order.
    pub(in crate::tables) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(variable) => Some(variable),
        })
    }

    /// What every key begins with.
    pub(in crate::tables) fn literal_start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }
}

/// The regular expression for what a key begins with, and the variable of each of its groups.
fn regex_of(parts: &[Part]) -> (String, Vec<Variable>) {
    let mut regex = String::from(r"\A");
    let mut groups = Vec::new();
    for part in parts {
        match part {
            Part::Text(text) => text.chars().for_each(|c| push_literal(&mut regex, c)),
            Part::Variable(variable) => {
                variable.push_regex(&mut regex);
                groups.extend(variable.is_captured().then(|| variable.clone()));
            }
        }
    }
    (regex, groups)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Variable(Variable::Column(name, Some(ty))) => write!(f, "{{{{{name}:{ty}}}}}"),
            Self::Variable(variable) => write!(f, "{{{{{}}}}}", variable.name()),
        }
    }
}

impl fmt::Display for Template {
    /// As it was written, cleaned and completed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| part.fmt(f))?;
        f.write_str(if self.may_end_in_uuid { "[.{{UUID}}]" } else { "" })
    }
}

/// Reads the pieces; a piece that cannot be read is noted.
fn parts(text: &str, mistakes: &mut Vec<String>) -> Vec<Part> {
    let pieces = pieces(text).unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        Vec::new()
    });
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Text(text) => parts.push(Part::Text(text.to_owned())),
            Piece::Inside(inside) => match Variable::read(inside) {
                Ok(variable) => parts.push(Part::Variable(variable)),
                Err(mistake) => {
                    mistakes.push(mistake);
                    // Something, so that its neighbours don't seem to touch.
                    parts.push(Part::Text(inside.to_owned()));
                }
            },
        }
    }
    parts
}

/// Whether the destination would put a file for each table below this path.
fn is_folder_of_destination(parts: &[Part]) -> bool {
    parts.iter().all(|part| match part {
        Part::Text(_) => true,
        Part::Variable(variable) => variable.is_of_destination() && *variable != Variable::Table,
    })
}

/// What each variable may be is fine; whether they can stand together.
fn check(parts: &[Part], mistakes: &mut Vec<String>) {
    for pair in parts.windows(2) {
        if let [Part::Variable(first), Part::Variable(second)] = pair
            && !matches!((first, second), (Variable::Date(_), Variable::Date(_)))
        {
            let (first, second) = (first.name(), second.name());
            mistakes.push(format!("{{{{{first}}}}} and {{{{{second}}}}} touch; put some text between them"));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for part in parts {
        if let Part::Variable(Variable::Column(name, _)) = part {
            // Once is enough, however often it is there.
            if seen.iter().filter(|before| **before == name).count() == 1 {
                mistakes.push(format!("{{{{{name}}}}} is there twice; give each column a name of its own"));
            }
            seen.push(name);
        }
    }
}

/// Go's `path.Clean`, which the destinations apply to their keys: no empty segments, no `.`, and `..` takes the segment
/// before it away. `text` does not start with `/`.
fn clean(text: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." if segments.last().is_some_and(|last| *last != "..") => _ = segments.pop(),
            other => segments.push(other),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mistakes(text: &str) -> Vec<String> {
        Template::read(text, false).map(|_| ()).unwrap_err()
    }

    fn shown(text: &str) -> String {
        let template = Template::read(text, false).unwrap();
        let mut shown: String = template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable(variable) => format!("{{{{{}}}}}", variable.name()),
            })
            .collect();
        if template.may_end_in_uuid {
            shown.push_str("[.{{UUID}}]");
        }
        shown
    }

    #[test]
    fn cleaned_as_go_does() {
        for (text, expected) in [
            ("a//b/./c/../{{*}}/", "a/b/{{*}}"),
            ("./{{TABLE}}.csv", "{{TABLE}}.csv"),
            ("a/../../{{TABLE}}", "../{{TABLE}}"),
            (".", "{{TABLE}}.{{FORMAT}}[.{{UUID}}]"),
            ("raw", "raw/{{TABLE}}.{{FORMAT}}[.{{UUID}}]"),
            ("raw/", "raw/{{TABLE}}.{{FORMAT}}[.{{UUID}}]"),
            ("p/{{UUID}}", "p/{{UUID}}/{{TABLE}}.{{FORMAT}}[.{{UUID}}]"),
            ("p/{{TABLE_HYPHEN}}.csv", "p/{{TABLE_HYPHEN}}.csv/{{TABLE}}.{{FORMAT}}[.{{UUID}}]"),
            ("p/{{name}}.csv", "p/{{name}}.csv"),
            ("p/{{*}}", "p/{{*}}"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let named = Template::read("raw/{{UUID}}.csv", true).unwrap();
        assert!(!named.may_end_in_uuid && named.parts.len() == 3);
    }

    #[test]
    fn all_mistakes_are_named() {
        let found = mistakes("/x/{{TABEL}}");
        assert!(found.len() == 2 && found[0].contains("start with /") && found[1].contains("{{TABEL}}"), "{found:?}");
    }

    #[test]
    fn mistakes_name_the_cure() {
        for (text, expected) in [
            ("", "must not be empty"),
            ("/raw", "must not start with /"),
            ("raw/{{TABEL}}", "{{TABEL}} is no variable; did you mean {{TABLE}}?"),
            ("raw/{{ TABLE }}", "{{ TABLE }} is no variable; did you mean {{TABLE}}?"),
            ("raw/{{Table}}", "{{Table}} is no variable; did you mean {{TABLE}}?"),
            ("raw/{{Account}}", "{{Account}} is no variable; a column is written {{name}}"),
            ("raw/{{}}", "{{}} is no variable; a column"),
            ("raw/{{TABLE}}{{UUID}}", "{{TABLE}} and {{UUID}} touch; put some text between them"),
            ("raw/{{a}}{{*}}", "{{a}} and {{*}} touch; put some text between them"),
            ("raw/{{a}}/{{a}}", "{{a}} is there twice; give each column a name of its own"),
            ("raw/{{TABLE", "a {{ is not closed; write }} behind the variable"),
            ("raw/{{year:itn64}}", "{{year:itn64}}: \"itn64\" is not a type; there are"),
        ] {
            let mistakes = mistakes(text);
            assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
            assert!(mistakes[0].starts_with(expected), "{text}: {mistakes:?}");
        }
        assert_eq!(mistakes("{{A}}/{{B}}/{{a}}/{{a}}/{{a}}").len(), 3);
    }

    #[test]
    fn parts_of_a_date_may_touch() {
        assert_eq!(shown("raw/{{YEAR}}{{MONTH}}{{DAY}}/{{*}}"), "raw/{{YEAR}}{{MONTH}}{{DAY}}/{{*}}");
    }

    proptest! {
        #[test]
        fn clean_is_idempotent_and_leaves_a_relative_path(text in "[a./]{0,12}") {
            let cleaned = clean(&text);
            prop_assert_eq!(clean(&cleaned), cleaned.clone());
            prop_assert!(!cleaned.starts_with('/') && !cleaned.ends_with('/') && !cleaned.contains("//"));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "[a-cA/.{}:* TBLE]{0,24}", names_table in any::<bool>()) {
            if let Ok(template) = Template::read(&text, names_table) {
                template.regex();
            }
        }
    }
}

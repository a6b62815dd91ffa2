//! What a mapping calls its tables: literal text, and texts of the key.

use super::format::FileName;
use super::pattern::{Captures, Pattern};
use super::template::{Piece, Variable, pieces};
use crate::tables::classify::split;
use crate::tables::partitions::nearest;

/// A piece of a table's text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A group of the pattern, as it is.
    Group(usize),
    /// A group with `_` for `-`.
    Hyphenated(usize),
    /// Today's rule: the folder, or folder and name where a file name tells the table.
    Folder,
    /// The file's name without suffixes.
    File,
}

/// The text of a mapping's `table`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableText(Vec<Part>);

impl TableText {
    /// The default: what `{{TABLE}}` matched if it is there, else the folder.
    pub(super) fn default_of(pattern: Option<&Pattern>) -> Self {
        Self(vec![pattern.and_then(table_of).unwrap_or(Part::Folder)])
    }

    /// Reads a text.
    pub(super) fn read(text: &str, pattern: &Pattern) -> Result<Self, Vec<String>> {
        if text.trim().is_empty() {
            return Err(vec!["must not be empty".to_owned()]);
        }
        let (mut parts, mut mistakes) = (Vec::new(), Vec::new());
        for piece in pieces(text).map_err(|mistake| vec![mistake])? {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text.to_owned())),
                Piece::Inside(inside) => match part(inside, pattern) {
                    Ok(part) => parts.push(part),
                    Err(mistake) => mistakes.push(mistake),
                },
            }
        }
        if mistakes.is_empty() { Ok(Self(parts)) } else { Err(mistakes) }
    }

    /// The text, if it is the same for all keys.
    pub(super) fn literal(&self) -> Option<String> {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The groups that it uses: no columns.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|part| match part {
            Part::Group(group) | Part::Hyphenated(group) => Some(*group),
            _ => None,
        })
    }

    /// Whether the folder is in it.
    pub(super) fn has_folder(&self) -> bool {
        self.0.contains(&Part::Folder)
    }

    /// The text for a key, whose folders but those that became columns are `folder`. Empty if nothing is left of it.
    pub(super) fn of(&self, key: &str, captures: &Captures, folder: &str) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Group(group) => text.push_str(captures.text(*group, key).unwrap_or_default()),
                Part::Hyphenated(group) => {
                    text.extend(captures.text(*group, key).unwrap_or_default().chars().map(with_underscore));
                }
                Part::Folder => {
                    text.push_str(folder);
                    text.push_str(name_in_folder(key));
                }
                Part::File => text.push_str(FileName::of(split(key).1).stem),
            }
        }
        text
    }
}

fn with_underscore(c: char) -> char {
    if c == '-' { '_' } else { c }
}

/// The part that `{{TABLE}}` stands for.
fn table_of(pattern: &Pattern) -> Option<Part> {
    let group = |wanted: &Variable| pattern.variables().find(|(_, variable)| *variable == wanted).map(|(at, _)| at);
    group(&Variable::Table).map(Part::Group).or_else(|| group(&Variable::TableHyphen).map(Part::Hyphenated))
}

/// What stands between the braces.
fn part(inside: &str, pattern: &Pattern) -> Result<Part, String> {
    let missing = || format!("{{{{{inside}}}}} is not in {}", pattern.field());
    match (inside, Variable::of_destination(inside)) {
        ("FOLDER", _) => return Ok(Part::Folder),
        ("FILE", _) => return Ok(Part::File),
        (_, Some(Variable::Table | Variable::TableHyphen)) => return table_of(pattern).ok_or_else(missing),
        (_, Some(Variable::Uuid | Variable::SyncId | Variable::Format)) => {
            return Err(format!("{{{{{inside}}}}} cannot name a table"));
        }
        _ => {}
    }
    if let Some((group, _)) = pattern.variables().find(|(_, variable)| variable.name() == inside) {
        return Ok(Part::Group(group));
    }
    let own = ["FOLDER", "FILE", "TABLE"];
    let names = pattern.variables().map(|(_, variable)| variable.name());
    let meant = nearest(inside, names.chain(own).filter(|name| *name != "TABLE" || table_of(pattern).is_some()));
    Err(match meant {
        Some(meant) => format!("{}; did you mean {{{{{meant}}}}}?", missing()),
        None => missing(),
    })
}

/// Today's rule: what a file name adds to its folder, where files of several tables may lie in one.
fn name_in_folder(key: &str) -> &str {
    let (directory, file) = split(key);
    let name = FileName::of(file);
    if directory.is_empty() || name.has_uuid { name.stem } else { "" }
}

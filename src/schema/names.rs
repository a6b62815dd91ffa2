//! Names of outgoing columns: those that are ours, and those of files. Most of the latter pass unchanged; the rules here are
//! for those that destinations can't take.

use super::types::ColumnType;
use crate::config::{FileColumn, FileColumns};
use crate::hash::hex;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

/// The longest name that PostgreSQL keeps, in bytes; others are cut there, and two could become one.
pub const MAX_COLUMN_NAME_BYTES: usize = 63;

/// Name of the id column: the primary key, never null.
pub const CQ_ID: &str = "_cq_id";

/// Name of the column with the parent row's id: null, since no table here has a parent.
pub const CQ_PARENT_ID: &str = "_cq_parent_id";

/// The columns that `file_columns` adds behind the ids, all nullable: a table that exists already can be given them.
static FILE_COLUMNS: [(FileColumn, &str, ColumnType); 8] = [
    (FileColumn::Key, "_s3_key", ColumnType::Utf8),
    (FileColumn::LastModified, "_s3_last_modified", ColumnType::Timestamp),
    (FileColumn::Row, "_s3_row", ColumnType::Int64),
    (FileColumn::Size, "_s3_size", ColumnType::Int64),
    (FileColumn::Etag, "_s3_etag", ColumnType::Utf8),
    (FileColumn::Version, "_s3_version", ColumnType::Utf8),
    (FileColumn::File, "_s3_file", ColumnType::Utf8),
    (FileColumn::Bucket, "_s3_bucket", ColumnType::Utf8),
];

/// Names and types of the columns that say where a row is from, in their order in a table.
pub fn file_columns(columns: FileColumns) -> impl Iterator<Item = (FileColumn, &'static str, &'static ColumnType)> {
    let asked_for = FILE_COLUMNS.iter().filter(move |(column, ..)| columns.has(*column));
    asked_for.map(|(column, name, column_type)| (*column, *name, column_type))
}

/// Names with this prefix belong to CloudQuery.
const RESERVED_PREFIX: &str = "_cq_";

/// Names with this prefix are those of the columns that we add.
const OUR_PREFIX: &str = "_s3_";

/// What incoming columns of such a name get in front: lineage survives, nothing collides.
const RENAMED_PREFIX: &str = "src";

/// Hexadecimal digits of the hash at the end of a name that was cut.
const HASH_DIGITS: usize = 8;

/// The outgoing names of a file's columns, in the same order.
///
/// A name passes unchanged except: `_cq_…` (in any case) becomes `src_cq_…`; `_s3_key`,
/// `_s3_last_modified` and `_s3_row` become `src_s3_…`; empty becomes `_`; `"` and control characters
/// become `_`; more than [`MAX_COLUMN_NAME_BYTES`] are cut and end in `_` and a hash of the whole name. Of several
/// names that are equal ignoring case, one that needs no change comes first, then the order of the file's columns
/// decides: the n-th gets `_n`, counting on where that name is taken. (A table's names come from the file with the
/// smallest key; an incremental sync keeps them.) The result is unique ignoring case (see `fold`) and the same in all
/// releases.
pub fn output_names(names: &[&str]) -> Vec<String> {
    output_names_beside(&[], names)
}

/// As [`output_names`], of columns that come beside others: what is `taken` is given to none of them, ignoring case.
pub(super) fn output_names_beside(taken: &[&str], names: &[&str]) -> Vec<String> {
    let others: HashSet<String> = taken.iter().map(|name| fold(name)).collect();
    let cleaned: Vec<String> = names.iter().map(|name| beside(&others, clean(name))).collect();

    // Who keeps a name: of each group the first that is unchanged, else the first.
    let mut keepers: HashMap<String, usize> = HashMap::new();
    for index in 0..names.len() {
        let name = &cleaned[index];
        keepers
            .entry(fold(name))
            .and_modify(|keeper| {
                if cleaned[*keeper] != names[*keeper] && name == names[index] {
                    *keeper = index;
                }
            })
            .or_insert(index);
    }
    // A name that is taken has no keeper: all that would have it get a number.
    keepers.retain(|folded, _| !others.contains(folded));
    let mut taken: HashSet<String> = keepers.keys().cloned().chain(others).collect();
    let mut ordinals: HashMap<String, usize> = HashMap::new();
    let mut output = cleaned.clone();
    for index in 0..names.len() {
        let name = &cleaned[index];
        let folded = fold(name);
        if keepers.get(&folded) == Some(&index) {
            continue;
        }
        let ordinal = ordinals.entry(folded).or_insert(1);
        loop {
            *ordinal += 1;
            let candidate = with_suffix(name, &format!("_{ordinal}"));
            if taken.insert(fold(&candidate)) {
                output[index] = candidate;
                break;
            }
        }
    }
    output
}

/// A name of ours that is taken is renamed as those that are always ours.
fn beside(taken: &HashSet<String>, mut name: String) -> String {
    let is_ours = name.get(..OUR_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(OUR_PREFIX));
    if is_ours && taken.contains(&fold(&name)) {
        name.insert_str(0, RENAMED_PREFIX);
    }
    name
}

/// The first character that [`fold`] leaves alone: what follows the Armenian letters.
const END_OF_FOLDED: char = '\u{590}';

/// `name` in lower case, letter by letter, for comparison only. Latin, Greek, Cyrillic and Armenian letters up to
/// [`END_OF_FOLDED`] are folded and no others: Unicode still adds pairs elsewhere, and a name must not change when the
/// compiler brings a newer table.
pub(crate) fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        if c < END_OF_FOLDED { folded.extend(c.to_lowercase()) } else { folded.push(c) }
    }
    folded
}

/// Whether a column of this name would be one of CloudQuery's.
pub(super) fn is_reserved(name: &str) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX))
}

fn clean(name: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c == '"' || c.is_control() { '_' } else { c }).collect();
    if clean.is_empty() {
        clean.push('_');
    }
    // Whether or not this sync adds those columns: the option must not rename others.
    let always_ours = FILE_COLUMNS.iter().filter(|(column, ..)| FileColumns::USUAL.contains(column));
    let added = always_ours.into_iter().any(|(_, added, _)| clean.eq_ignore_ascii_case(added));
    if added || is_reserved(&clean) {
        clean.insert_str(0, RENAMED_PREFIX);
    }
    if clean.len() > MAX_COLUMN_NAME_BYTES {
        let digest = Sha256::digest(name.as_bytes());
        clean = with_suffix(&clean, &format!("_{}", hex(&digest[..HASH_DIGITS / 2])));
    }
    clean
}

/// A name that belongs to us, as columns of files have it.
pub(super) fn renamed(name: &str) -> String {
    with_suffix(&format!("{RENAMED_PREFIX}{name}"), "")
}

/// `name`, or with the first number behind it that makes it none of `taken` (folded), which has it then.
pub(super) fn free_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut free = name.to_owned();
    let mut ordinal = 1;
    while !taken.insert(fold(&free)) {
        ordinal += 1;
        free = with_suffix(name, &format!("_{ordinal}"));
    }
    free
}

/// `name` and `suffix`, with as much of `name` cut (between characters) as is needed to keep to the limit.
fn with_suffix(name: &str, suffix: &str) -> String {
    let room = MAX_COLUMN_NAME_BYTES.saturating_sub(suffix.len()).min(name.len());
    format!("{}{suffix}", &name[..name.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The README's rules, one by one; frozen for all releases.
    #[test]
    fn golden_names() {
        let long = "a".repeat(64);
        let cases: &[(&[&str], &[&str])] = &[
            (&["id", "Name", "größe", "a b", "日本"], &["id", "Name", "größe", "a b", "日本"]),
            (&["", "a\"b", "c\nd\u{7f}"], &["_", "a_b", "c_d_"]),
            (&["_cq_id", "_CQ_Sync_Time", "_cq_"], &["src_cq_id", "src_CQ_Sync_Time", "src_cq_"]),
            (&["_cq_id", "src_cq_id"], &["src_cq_id_2", "src_cq_id"]),
            (&["a", "A", "a"], &["a", "A_2", "a_3"]),
            (&["A", "a", "a"], &["A", "a_2", "a_3"]),
            (&["id", "ID", "Id"], &["id", "ID_2", "Id_3"]),
            (&["a", "A", "a_2", "A_2"], &["a", "A_3", "a_2", "A_2_2"]),
            (&["a\"", "a_"], &["a__2", "a_"]),
            (&["ä", "Ä"], &["ä", "Ä_2"]),
            (&["Σ", "σ", "ς"], &["Σ", "σ_2", "ς"]),
            (&["Ა", "ა"], &["Ა", "ა"]),
            (&[&long], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_ffe054fe"]),
            (&["_cq", "cq_id"], &["_cq", "cq_id"]),
            (&["_s3_key", "_S3_Row", "_s3_last_modified"], &["src_s3_key", "src_S3_Row", "src_s3_last_modified"]),
            (&["_s3_keys", "_s3_", "s3_key"], &["_s3_keys", "_s3_", "s3_key"]),
        ];
        for (names, expected) in cases {
            assert_eq!(output_names(names), *expected, "{names:?}");
        }
    }

    /// The table in `docs/naming.md`: names of one file, and what becomes of them.
    #[test]
    fn the_documentation_is_right() {
        let text = include_str!("../../docs/naming.md");
        let section = text.split("## Column names").nth(1).expect("a section about columns");
        let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let mut rows = 0;
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').collect();
            let (given, expected) = (names(cells[1]), names(cells[2]));
            let given: Vec<&str> = given.iter().map(String::as_str).collect();
            assert_eq!(output_names(&given), expected, "{line}");
            rows += 1;
        }
        assert!(rows >= 4, "{rows} rows of the table were found");
    }

    /// Frozen: which letters are one ignoring case. If this fails, the compiler's Unicode tables changed below
    /// [`END_OF_FOLDED`]: keep the old mapping.
    #[test]
    fn golden_fold() {
        let all: String = ('\0'..END_OF_FOLDED).collect();
        let digest = Sha256::digest(fold(&all).as_bytes());
        assert_eq!(hex(&digest[..8]), "08b9170cf47c1402");
    }

    #[test]
    fn cut_names_stay_valid_and_apart() {
        let one = "é".repeat(40);
        let two = format!("{one}x");
        let names = output_names(&[&one, &two]);
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= MAX_COLUMN_NAME_BYTES && name.starts_with("éé")), "{names:?}");
    }

    proptest! {
        #[test]
        fn unique_short_and_never_reserved(names in prop::collection::vec("(?s)[aA_2\"é\n]{0,4}|_cq_[ab]?|src_cq_a|.{60,70}", 0..12)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let output = output_names(&names);
            prop_assert_eq!(output.len(), names.len());
            let folded: HashSet<String> = output.iter().map(|name| fold(name)).collect();
            prop_assert_eq!(folded.len(), output.len(), "{:?} -> {:?}", names, output);
            for name in &output {
                prop_assert!(!name.is_empty() && name.len() <= MAX_COLUMN_NAME_BYTES);
                prop_assert!(!fold(name).starts_with(RESERVED_PREFIX));
                prop_assert!(!name.chars().any(|c| c == '"' || c.is_control()));
            }
        }
    }
}

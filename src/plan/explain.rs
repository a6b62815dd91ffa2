//! Why an object is in its table, or is skipped: the rules in the order in which a sync tries them. Pure.

use crate::config::Spec;
use crate::s3::ObjectMeta;
use crate::tables::classify::{Classified, Placed, SkipReason, classify, hidden_part};
use crate::tables::group::Grouper;
use crate::tables::mapping::{Mappings, Tried};
use crate::tables::modified::Modified;
use crate::tables::name::TableKey;
use crate::tables::partitions::{Column, FoundValue, Today};
use crate::tables::prune::{Announced, Pruning, columns_of};
use crate::tables::select::Selector;
use crate::words::count;
use arrow::temporal_conversions::timestamp_us_to_datetime;

/// What is known of the object.
#[derive(Debug, Clone)]
pub(crate) enum Seen {
    /// It is in the bucket.
    Listed(ObjectMeta),
    /// The user said how large it is, and nothing was asked of S3.
    Assumed {
        /// In bytes.
        size_bytes: u64,
    },
    /// It is not in the bucket; what would be if it were, is told all the same.
    Missing,
}

impl Seen {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Listed(object) => object.size_bytes,
            Self::Assumed { size_bytes } => *size_bytes,
            Self::Missing => 1,
        }
    }

    fn is_archived(&self) -> bool {
        matches!(self, Self::Listed(object) if object.archived)
    }
}

/// A rule, and what it says of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The rule's name: a field of the spec, or a reason of skipping.
    pub(crate) rule: &'static str,
    /// It lets the key pass.
    pub(crate) passes: bool,
    /// Why.
    pub(crate) text: String,
}

impl Step {
    /// What the rule is about, for people: a reason of skipping would read like its contrary where the key passes.
    pub(crate) fn label(&self) -> &'static str {
        match self.rule {
            "directory_marker" => "folder marker",
            "hidden" => "hidden names",
            "test_object" => "test object",
            "skip" | "unmapped" => "mappings",
            "not_parquet" | "other_format" => "format",
            "zero_bytes" => "size",
            rule => rule,
        }
    }
}

/// Where the rules lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is read.
    Read,
    /// It is in a table, and not read since it is archived.
    Archived,
    /// It is in a table that is not selected.
    NotSelected,
    /// It is not below `path_prefix`.
    NotListed,
    /// It is in no table.
    Skipped(SkipReason),
    /// Nothing names its table: a sync would end with an error.
    Nameless,
    /// Conditions do not fit what its keys say: a sync would leave its table out, or end with an error.
    Refused,
}

/// What there is to say about a key.
#[derive(Debug, Clone)]
pub(crate) struct Explanation {
    /// The bucket.
    pub(crate) bucket: String,
    /// The key.
    pub(crate) key: String,
    /// The object.
    pub(crate) seen: Seen,
    /// The rules, up to the first that stops the key.
    pub(crate) steps: Vec<Step>,
    /// The end.
    pub(crate) outcome: Outcome,
    /// The name of its table, if it has one.
    pub(crate) table: Option<String>,
    /// Whether an earlier sync sent it; `None`: there is no state, or nothing to ask it for.
    pub(crate) is_done: Option<bool>,
}

/// What is asked, and all that decides.
pub(crate) struct Asked<'a> {
    /// The key.
    pub(crate) key: &'a str,
    /// The object.
    pub(crate) seen: Seen,
    /// The spec.
    pub(crate) spec: &'a Spec,
    /// The spec's mappings.
    pub(crate) mappings: &'a Mappings,
    /// `tables` and `skip_tables` of the source.
    pub(crate) selector: &'a Selector,
    /// What time it is, in seconds since 1970.
    pub(crate) now_s: i64,
    /// Other keys, of which the types of its columns are made.
    pub(crate) others: Others,
    /// The columns of keys that earlier syncs left.
    pub(crate) announced: Announced<'a>,
}

/// Other keys than the one that is asked about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    /// Objects that were listed.
    pub(crate) objects: Vec<ObjectMeta>,
    /// These are all that a sync may list.
    pub(crate) are_all: bool,
}

/// Explains a key.
pub(crate) fn explain(asked: Asked<'_>) -> Explanation {
    let mut explaining = Explaining { asked: &asked, steps: Vec::new() };
    let (outcome, table) = explaining.outcome();
    let steps = explaining.steps;
    let (bucket, key) = (asked.spec.bucket.clone(), asked.key.to_owned());
    Explanation { bucket, key, seen: asked.seen, steps, outcome, table, is_done: None }
}

/// The steps so far.
struct Explaining<'a> {
    asked: &'a Asked<'a>,
    steps: Vec<Step>,
}

impl Explaining<'_> {
    fn step(&mut self, rule: &'static str, passes: bool, text: impl Into<String>) {
        self.steps.push(Step { rule, passes, text: text.into() });
    }

    fn outcome(&mut self) -> (Outcome, Option<String>) {
        let Asked { key, seen, spec, mappings, .. } = self.asked;
        let prefix = &spec.path_prefix;
        if !key.starts_with(prefix.as_str()) {
            self.step("path_prefix", false, format!("the key does not begin with {prefix:?}"));
            return (Outcome::NotListed, None);
        }
        let text = match prefix.as_str() {
            "" => "none: the whole bucket is listed".to_owned(),
            prefix => format!("the key begins with {prefix:?}"),
        };
        self.step("path_prefix", true, text);
        let is_mapped = !mappings.is_plain();
        let classified = classify(key, seen.size_bytes(), &spec.keys, is_mapped.then_some(*mappings));
        let stopped_by = match &classified {
            Classified::Skipped(reason) => Some(*reason),
            Classified::File(_) | Classified::Nameless(_) => None,
        };
        for reason in SkipReason::ALL {
            let stops = stopped_by == Some(reason);
            self.rule(reason, stops);
            if stops {
                return (Outcome::Skipped(reason), None);
            }
        }
        match classified {
            Classified::File(placed) => self.placed(&placed),
            Classified::Nameless(text) => {
                self.step("table", false, text);
                (Outcome::Nameless, None)
            }
            // It was stopped above.
            Classified::Skipped(reason) => (Outcome::Skipped(reason), None),
        }
    }

    /// The rest of the way of an object that belongs to a table.
    fn placed(&mut self, placed: &Placed) -> (Outcome, Option<String>) {
        let Asked { key, seen, selector, mappings, now_s, .. } = self.asked;
        let name = placed.table.table_name();
        let text = match &placed.mapped {
            Some(_) => format!("{:?} makes it part of {name}", placed.table.prefix()),
            None if placed.table.to_string().ends_with('/') => {
                format!("its folder, {:?}, makes it part of {name}", placed.table.prefix())
            }
            None => format!("its name, {:?}, makes it part of {name}", placed.table.to_string()),
        };
        self.step("table", true, text);
        if !selector.would_take(&name) {
            self.step("tables", false, format!("`tables` and `skip_tables` of the source leave {name} out"));
            return (Outcome::NotSelected, Some(name));
        }
        self.step("tables", true, format!("`tables` and `skip_tables` of the source select {name}"));
        if let Some(mapped) = &placed.mapped {
            let values = mappings.values_of(mapped, key);
            let values: Vec<String> =
                values.iter().map(|found| format!("{} = {}", found.name, value_text(&found.value))).collect();
            if !values.is_empty() {
                self.step("partitions", true, values.join(", "));
            }
        }
        if let Seen::Listed(object) = seen
            && !self.modified(object, *now_s)
        {
            return (Outcome::Skipped(SkipReason::Modified), Some(name));
        }
        if mappings.has_conditions(&placed.table)
            && let Some(outcome) = self.conditions(&placed.table)
        {
            return (outcome, Some(name));
        }
        if seen.is_archived() {
            self.step("archived", false, "it is in an archive class and not restored, so S3 does not hand it out");
            return (Outcome::Archived, Some(name));
        }
        if matches!(seen, Seen::Listed(_)) {
            self.step("archived", true, "S3 hands it out");
        }
        (Outcome::Read, Some(name))
    }

    /// What the rule says that skips for this reason.
    fn rule(&mut self, reason: SkipReason, stops: bool) {
        let Asked { key, seen, mappings, .. } = self.asked;
        let is_mapped = !mappings.is_plain();
        let (rule, stopped, passed) = match reason {
            SkipReason::DirectoryMarker => (
                "directory_marker",
                "the key ends in /: it only makes a folder show up".to_owned(),
                "the key does not end in /".to_owned(),
            ),
            SkipReason::Excluded => return self.filters(),
            SkipReason::Hidden => {
                let text = match hidden_part(key) {
                    Some(part) if key.ends_with(part) => format!("the name {part:?} begins with _ or ."),
                    Some(part) => format!("engines keep in {part:?} what are not rows of a table"),
                    None => String::new(),
                };
                ("hidden", text, "neither its name nor a folder is hidden".to_owned())
            }
            SkipReason::TestObject => (
                "test_object",
                "CloudQuery's S3 destination wrote it to test its access".to_owned(),
                "it is not what CloudQuery's S3 destination writes to test its access".to_owned(),
            ),
            SkipReason::Skip => {
                self.mappings();
                if !stops {
                    return;
                }
                ("skip", "the mapping says so".to_owned(), String::new())
            }
            SkipReason::Unmapped if is_mapped && stops => {
                ("unmapped", "no mapping takes it, and `unmapped` is skip".to_owned(), String::new())
            }
            SkipReason::NotParquet => (
                "not_parquet",
                "its name ends neither in .parquet nor in .parquet.<uuid>".to_owned(),
                if is_mapped { "it is read as Parquet" } else { "its name is that of a Parquet file" }.to_owned(),
            ),
            SkipReason::OtherFormat if stops => {
                ("other_format", "its name is that of another format than `filetype`".to_owned(), String::new())
            }
            SkipReason::UnknownFormat if stops => {
                ("unknown_format", "its name tells no format that is read".to_owned(), String::new())
            }
            SkipReason::UnsupportedFormat if stops => {
                ("unsupported_format", "its name is that of a format that is not read".to_owned(), String::new())
            }
            SkipReason::ZeroBytes => {
                let text = match seen {
                    Seen::Missing => "not known; an empty object would be skipped".to_owned(),
                    _ => format!("it has {}", count(seen.size_bytes(), "byte")),
                };
                ("zero_bytes", "it is empty".to_owned(), text)
            }
            // Asked when the table is known.
            SkipReason::Modified | SkipReason::Pruned => return,
            SkipReason::Unmapped
            | SkipReason::OtherFormat
            | SkipReason::UnknownFormat
            | SkipReason::UnsupportedFormat => return,
        };
        self.step(rule, !stops, if stops { stopped } else { passed });
    }

    /// The mappings that are tried, each with why it does not take the key.
    fn mappings(&mut self) {
        for Tried { field, pattern, why_not } in self.asked.mappings.tried(self.asked.key) {
            let is_taken = why_not.is_none();
            // `path` at the top level is its own field.
            let which = if field == "path" { pattern } else { format!("{field}, {pattern}") };
            let text = format!("{which}: {}", why_not.as_deref().unwrap_or("takes it"));
            self.step("mappings", is_taken, text);
        }
    }

    /// `include`, then `exclude`.
    fn filters(&mut self) {
        let (key, keys) = (self.asked.key, &self.asked.spec.keys);
        match keys.included_by(key) {
            Some(pattern) => self.step("include", true, format!("{pattern:?} matches")),
            None if keys.include().is_empty() => self.step("include", true, "none: every key is admitted"),
            None => return self.step("include", false, "no pattern matches"),
        }
        match keys.excluded_by(key) {
            Some(pattern) => self.step("exclude", false, format!("{pattern:?} matches")),
            None if keys.exclude().is_empty() => self.step("exclude", true, "none"),
            None => self.step("exclude", true, "no pattern matches"),
        }
    }

    /// `modified`: whether it lets the object pass.
    fn modified(&mut self, object: &ObjectMeta, now_s: i64) -> bool {
        let modified = self.asked.mappings.modified();
        if modified == Modified::default() {
            return true;
        }
        let passes = modified.at(now_s).has(object.last_modified_s);
        let text =
            if passes { "it was last modified within that time" } else { "it was not last modified within that time" };
        self.step("modified", passes, text);
        passes
    }

    /// `partitions.where`: `None` if it lets the key pass. Columns have the types that all keys give them, as far as they are
    /// known.
    fn conditions(&mut self, table: &TableKey) -> Option<Outcome> {
        let Asked { key, seen, spec, mappings, now_s, others, announced, .. } = self.asked;
        let mut grouper = Grouper::new(&spec.keys).mapped_by(mappings);
        others.objects.iter().for_each(|object| _ = grouper.add(object.clone()));
        if !others.objects.iter().any(|object| object.key == *key) {
            let (key, size_bytes) = ((*key).to_owned(), seen.size_bytes());
            grouper.add(ObjectMeta { key, size_bytes, etag: None, last_modified_s: *now_s, archived: false });
        }
        let mut listing = grouper.finish();
        let own = listing.tables.iter().find(|own| own.key == *table);
        let types = own.map(|own| self.types(&columns_of(own, *announced))).unwrap_or_default();
        let (mut pruned, name) = (false, table.table_name());
        let pruning = Pruning { mappings, narrowing: None, today: Today::from_unix_s(*now_s), announced: *announced };
        let bound = listing
            .prune(pruning, |left_out| pruned |= left_out == *key)
            .map(|refused| refused.into_iter().find(|refused| refused.name == name).map(|refused| refused.text));
        let mistake = bound
            .unwrap_or_else(|mistakes| Some(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")));
        let (passes, text) = match &mistake {
            Some(mistake) if others.objects.is_empty() => (true, format!("not known by this key alone: {mistake}")),
            Some(mistake) => (false, format!("a sync would report an error: {mistake}")),
            None if pruned => (false, format!("a condition does not hold for these values{types}")),
            None => (true, format!("the conditions hold{types}")),
        };
        self.step("where", passes, text);
        match mistake {
            Some(_) => (!passes).then_some(Outcome::Refused),
            None => pruned.then_some(Outcome::Skipped(SkipReason::Pruned)),
        }
    }

    /// The types of the columns with which conditions compare, and how they are known.
    fn types(&self, columns: &[Column]) -> String {
        let Others { objects, are_all } = &self.asked.others;
        let list = |is_in: &dyn Fn(&Column) -> bool, known: &str| {
            let columns = columns.iter().filter(|column| is_in(column));
            let columns: Vec<String> = columns.map(|column| format!("{} is {}", column.name, column.ty)).collect();
            (!columns.is_empty()).then(|| format!("{}{known}", columns.join(", ")))
        };
        let guessed = match (objects.len(), are_all) {
            (0, _) => " by this key alone; a sync looks at all keys, and may find other types".to_owned(),
            (number, true) => format!(" by all {} that are listed", count(number as u64, "key")),
            (number, false) => format!(
                " by {} of those that are listed; a sync looks at all keys, and may find other types",
                count(number as u64, "key")
            ),
        };
        let types = [
            list(&|column| column.stored.is_some(), " as an earlier sync announced"),
            list(&|column| column.stored.is_none() && column.given, " by the spec"),
            list(&|column| column.stored.is_none() && !column.given, &guessed),
        ];
        let types: Vec<String> = types.into_iter().flatten().collect();
        if types.is_empty() { String::new() } else { format!(": {}", types.join("; ")) }
    }
}

/// What a key says, in words.
fn value_text(value: &FoundValue<'_>) -> String {
    match value {
        FoundValue::Null => "null".to_owned(),
        FoundValue::Text(text) => text.to_string(),
        FoundValue::Moment(us) => timestamp_us_to_datetime(*us).map_or_else(String::new, |time| format!("{time} UTC")),
        FoundValue::NoMoment(text) => format!("null, since there is no {text}"),
    }
}

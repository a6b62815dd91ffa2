//! From conditions to the listing: ranges of keys that need not be listed, since all of them are pruned.
//!
//! A range is left out only where the order of keys is surely the order of values: a column's value must begin at a
//! place that is the same in all keys of the range, and its texts must sort as its values do. That is so for text, for
//! dates as `YYYY-MM-DD` and for date variables from the year down; it is not for numbers, for formats of users and for
//! whatever a `%XX` may stand for. Where a value may be of another type than its condition looks like, there is a margin;
//! where a key may spell it otherwise, those keys are listed as well. In doubt a range is listed.

use super::condition::{Condition, Literal, Operator, Test, Today};
use super::ranges::{KeyRange, Ranges, behind_prefix};
use super::value::is_canonical_int64;
use super::{Columns, KeyType, Typed, Value, percent_decoded};
use crate::schema::names::fold;
use crate::tables::mapping::{DatePart, Mapping, Mappings, Part, Source, Variable};
use crate::times;

/// Most ranges of a listing: every key is looked for among them.
const MAX_RANGES: usize = 100;
/// Most places in the tree of keys at which conditions are looked at.
const MAX_PLACES: usize = 100;

/// A listing that leaves something out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing {
    /// What is listed, in the order of the keys.
    pub ranges: Vec<KeyRange>,
    /// The conditions that were used: perhaps no listed key has their columns.
    pub assumed: Vec<Assumed>,
}

impl Narrowing {
    /// Whether a key is listed. What the state knows of others stays as it is.
    #[must_use]
    pub fn lists(&self, key: &str) -> bool {
        let at = self.ranges.partition_point(|range| range.is_before(key));
        self.ranges.get(at).is_some_and(|range| range.contains(key))
    }
}

/// What to list of the keys that begin with `path_prefix`; `None`: all of them. Every key that the conditions admit is
/// in it, and so is every key that belongs to no mapping with conditions.
#[must_use]
pub fn narrow(mappings: &Mappings, path_prefix: &str, today: Today) -> Option<Narrowing> {
    let mut assumed = Vec::new();
    // What no mapping needs; and where that may be left out, since a mapping with conditions is meant.
    let (mut needless, mut scope) = (Ranges::all(), Ranges::default());
    for (index, mapping) in mappings.all().iter().enumerate() {
        if mapping.skips() {
            continue;
        }
        let start = mapping.pattern.as_ref().map(|pattern| pattern.literal_start()).unwrap_or_default();
        // Another mapping's values may be of other types, and then so is the column.
        let pruned = if mappings.shares_table(index) {
            Ranges::default()
        } else {
            Pruning { columns: &mapping.columns, today, pruned: Ranges::default(), assumed: &mut assumed, places: 0 }
                .of(mapping, &start, path_prefix)
        };
        let own = Ranges::prefix(&start);
        needless = needless.and(&own.complement().or(pruned.clone()));
        if !pruned.is_empty() {
            scope = scope.or(own);
        }
    }
    let base = Ranges::prefix(path_prefix);
    let needless = needless.and(&scope).and(&base);
    let listed = base.and(&needless.complement());
    if needless.is_empty() || listed.len() > MAX_RANGES {
        return None;
    }
    assumed.sort_unstable();
    assumed.dedup();
    Some(Narrowing { ranges: listed.into_vec(), assumed })
}

/// A condition that was used to narrow the listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assumed {
    /// Its column, by folded name.
    pub ident: String,
    /// What keys begin with in which it is the next thing.
    pub head: String,
}

/// Looks for the keys of a mapping that its conditions prune.
struct Pruning<'a> {
    columns: &'a Columns,
    today: Today,
    pruned: Ranges,
    assumed: &'a mut Vec<Assumed>,
    places: usize,
}

/// A place in the tree of keys where a column's value begins.
struct Place<'a> {
    /// The key up to it.
    head: String,
    /// What follows the value; empty if the key ends there.
    behind: &'a str,
    /// The value may have `%XX` that stand for something else.
    escapes: bool,
    /// The type that the spec gives the column.
    typed: Option<&'a Typed>,
    /// The value cannot be a time of day.
    is_no_time: bool,
}

impl<'a> Pruning<'a> {
    fn of(mut self, mapping: &Mapping, start: &str, path_prefix: &str) -> Ranges {
        let template = mapping.pattern.as_ref().and_then(|pattern| match &pattern.source {
            Source::Path(template) => Some(template.parts.as_slice()),
            _ => None,
        });
        let parts = template.unwrap_or_default();
        if self.columns.partitions.hive {
            // If neither begins with the other, no key has both.
            let longer = if start.len() > path_prefix.len() { start } else { path_prefix };
            if longer.starts_with(start) && longer.starts_with(path_prefix) {
                let folder = &longer[..longer.rfind('/').map_or(0, |slash| slash + 1)];
                // What no mapping takes is named by its folders: those at the root are of tables, and no columns.
                if mapping.pattern.is_some() || !folder.is_empty() {
                    self.folders(folder.to_owned(), start, parts);
                }
            }
            if let [Part::Text(text), rest @ ..] = parts {
                self.date_variables(rest, text);
            } else {
                self.date_variables(parts, "");
            }
        } else {
            self.captures(parts, String::new());
        }
        self.pruned
    }

    fn conditions(&self) -> &[Condition] {
        &self.columns.partitions.conditions.0
    }

    /// Folders `name=value` right below `folder`, and below those that a condition fixes.
    fn folders(&mut self, folder: String, start: &str, parts: &[Part]) {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for condition in self.conditions().to_vec() {
                let head = format!("{folder}{}=", condition.name);
                let is_plain_name = !condition.name.contains(['/', '=', '%']);
                if !is_plain_name || has_column(&folder, &condition.ident) {
                    continue;
                }
                let Some(place) = self.place_of_folder(head, &condition, start, parts) else { continue };
                let head = place.head.clone();
                for value in self.prune(&place, &condition) {
                    folders.push(format!("{head}{value}/"));
                }
            }
            self.places += 1;
            if self.places > MAX_PLACES {
                return;
            }
        }
    }

    /// The place behind `name=`; `None` where the folder may be no column, or one of another type.
    fn place_of_folder(&self, head: String, condition: &Condition, start: &str, parts: &[Part]) -> Option<Place<'a>> {
        let columns = self.columns;
        // The variables of this folder, if the template spells its name.
        let folder = start.starts_with(&head).then(|| FolderParts::of(&start[head.len()..], parts)).flatten();
        let has_colon = folder.as_ref().is_none_or(|folder| folder.text.contains(':'));
        let within = folder.map(|folder| folder.variables);
        if !columns.used.is_empty() && within.is_none() {
            // The part of the key that names the table is not a column, and it may be this folder.
            return None;
        }
        let mut typed = columns.partitions.typed(&condition.ident);
        if let Some(capture) = columns.captures.iter().find(|capture| capture.ident == condition.ident) {
            let is_own = matches!(within.as_deref(), Some([Variable::Column(name, _)]) if *name == capture.name);
            if !is_own {
                return None;
            }
            typed = capture.typed.as_ref().or(typed);
        }
        let is_used = |variable: &Variable| {
            // Columns that are not captured as such name the table.
            matches!(variable, Variable::Column(name, _) if !columns.captures.iter().any(|c| c.name == *name))
                || matches!(variable, Variable::Table | Variable::TableHyphen)
                || matches!(variable, Variable::Date(_)) && !columns.used.is_empty()
        };
        if within.iter().flatten().any(is_used) {
            return None;
        }
        let digits = within.is_some_and(|variables| variables.iter().all(|v| matches!(v, Variable::Date(_))));
        let escapes = columns.partitions.decodes() && !digits;
        Some(Place { head, behind: "/", escapes, typed, is_no_time: digits && !has_colon })
    }

    /// Variables of a template from its first on, as long as the key is fixed before them.
    fn captures(&mut self, parts: &[Part], mut head: String) {
        self.places += 1;
        let mut rest = parts;
        while let [Part::Text(text), behind @ ..] = rest {
            head.push_str(text);
            rest = behind;
        }
        let [Part::Variable(variable), behind @ ..] = rest else { return };
        if self.places > MAX_PLACES {
            return;
        }
        if let Variable::Date(_) = variable {
            return self.date_variables(rest, &head);
        }
        let Variable::Column(name, _) = variable else { return };
        let columns = self.columns;
        let Some(capture) = columns.captures.iter().find(|capture| capture.name == *name) else { return };
        if columns.partitions.path_time().is_some_and(|name| fold(name) == capture.ident) {
            return;
        }
        let text_behind = match behind.first() {
            Some(Part::Text(text)) => text.as_str(),
            _ => "",
        };
        let (escapes, typed) = (columns.partitions.decodes(), capture.typed.as_ref());
        let place = Place { head: head.clone(), behind: text_behind, escapes, typed, is_no_time: false };
        for condition in self.conditions().to_vec() {
            if condition.ident == capture.ident {
                for value in self.prune(&place, &condition) {
                    self.captures(behind, format!("{head}{value}"));
                }
            }
        }
    }

    /// Prunes at a place. Gives the texts that the value must be, if the condition fixes it.
    fn prune(&mut self, place: &Place<'_>, condition: &Condition) -> Vec<String> {
        let Some(kept) = kept(place, &condition.test, self.today) else { return Vec::new() };
        self.leave_out(&place.head, &kept.ranges, condition);
        kept.values
    }

    fn leave_out(&mut self, head: &str, kept: &Ranges, condition: &Condition) {
        let pruned = Ranges::prefix(head).and(&kept.complement());
        self.pruned = std::mem::take(&mut self.pruned).or(pruned);
        self.assumed.push(Assumed { ident: condition.ident.clone(), head: head.to_owned() });
    }

    /// Date variables that follow `head`, from the year on: the conditions on the moment that they make.
    fn date_variables(&mut self, parts: &[Part], head: &str) {
        let Some(ident) = self.columns.partitions.path_time().map(fold) else { return };
        let is_other = self.columns.captures.iter().any(|capture| capture.ident == ident)
            || self.columns.partitions.hive && has_column(&format!("{head}/"), &ident);
        if is_other {
            return;
        }
        for condition in self.conditions().to_vec() {
            let range = |literal: &Literal| {
                let Some(Value::Timestamp(us)) = literal.value(KeyType::Timestamp, self.today) else { return None };
                date_text(parts, us).map(|text| format!("{head}{text}"))
            };
            let kept = match &condition.test {
                Test::Compare(operator, literal) => range(literal).and_then(|text| between(*operator, &text, &text)),
                Test::In(literals) if literals.len() <= MAX_RANGES => {
                    literals.iter().map(|literal| Some(Ranges::prefix(&range(literal)?))).sum_up()
                }
                _ => None,
            };
            if condition.ident == ident
                && let Some(kept) = kept
            {
                self.leave_out(head, &kept, &condition);
            }
        }
    }
}

/// What date variables, from the year down and with text between them, are at a moment.
fn date_text(parts: &[Part], us: i64) -> Option<String> {
    let days = i32::try_from(us.div_euclid(times::DAY_US)).ok()?;
    let (year, month, day) = times::civil(days);
    let minutes = us.rem_euclid(times::DAY_US) / 60_000_000;
    let (mut text, mut end) = (String::new(), 0);
    let mut expected = DatePart::ALL.iter();
    for part in parts {
        match part {
            Part::Text(between) => text.push_str(between),
            Part::Variable(Variable::Date(part)) if expected.next() == Some(part) => {
                let number = match part {
                    DatePart::Year => year,
                    DatePart::Month => month,
                    DatePart::Day => day,
                    DatePart::Hour => minutes / 60,
                    DatePart::Minute => minutes % 60,
                };
                text.push_str(&format!("{number:0width$}", width = part.digits()));
                end = text.len();
            }
            Part::Variable(_) => break,
        }
    }
    text.truncate(end);
    (!text.is_empty()).then_some(text)
}

/// What a template has in a folder.
struct FolderParts {
    variables: Vec<Variable>,
    /// The literal text between them.
    text: String,
}

impl FolderParts {
    /// Of the folder whose literal text begins with `rest`, with which the template's first part ends; `None` if it is
    /// not known where the folder ends.
    fn of(rest: &str, parts: &[Part]) -> Option<Self> {
        let (mut variables, mut text) = (Vec::new(), String::new());
        let first = Part::Text(rest.to_owned());
        for part in std::iter::once(&first).chain(parts.iter().skip(1)) {
            match part {
                Part::Text(literal) => match literal.split_once('/') {
                    Some((literal, _)) => {
                        text.push_str(literal);
                        return Some(Self { variables, text });
                    }
                    None => text.push_str(literal),
                },
                Part::Variable(Variable::AnyDeep) => return None,
                Part::Variable(variable) => variables.push(variable.clone()),
            }
        }
        None
    }
}

/// Whether one of the folders is a column of this name.
fn has_column(folders: &str, ident: &str) -> bool {
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .any(|(name, _)| fold(&percent_decoded(name)) == ident)
}

/// Keys that a condition leaves, of those that begin with a place's head.
struct Kept {
    ranges: Ranges,
    /// The texts that the value must be, if the condition fixes it.
    values: Vec<String>,
}

/// Which keys may satisfy a test; `None` if nothing is known.
fn kept(place: &Place<'_>, test: &Test, today: Today) -> Option<Kept> {
    match test {
        Test::Compare(operator, literal) => one(place, *operator, literal, today),
        Test::In(literals) if literals.len() > MAX_RANGES => None,
        Test::In(literals) => {
            let mut all = Kept { ranges: Ranges::default(), values: Vec::new() };
            for literal in literals {
                let kept = one(place, Operator::Equal, literal, today)?;
                all.ranges = all.ranges.or(kept.ranges);
                all.values.extend(kept.values);
            }
            Some(all)
        }
        Test::IsNull | Test::IsNotNull => None,
    }
}

fn one(place: &Place<'_>, operator: Operator, literal: &Literal, today: Today) -> Option<Kept> {
    let Texts { first, last, is_exact, is_ordered } = texts(place, literal, today)?;
    if first.len() > MAX_RANGES {
        // Each of its characters may take a range.
        return None;
    }
    let head = &place.head;
    let is_fixed = operator == Operator::Equal && is_exact;
    if is_fixed {
        let ranges = Ranges::prefix(&format!("{head}{first}{}", place.behind)).or(place.spelled_otherwise(&first));
        return Some(Kept { ranges, values: vec![first] });
    }
    if !is_ordered {
        return None;
    }
    let ranges = between(operator, &format!("{head}{first}"), &format!("{head}{last}"))?;
    let ranges = match operator {
        Operator::Greater | Operator::GreaterOrEqual => ranges.or(place.spelled_otherwise(&first)),
        Operator::Less | Operator::LessOrEqual => {
            ranges.or(place.spelled_otherwise(&last)).or(place.shorter_than(&last))
        }
        _ => {
            ranges.or(place.spelled_otherwise(&first)).or(place.spelled_otherwise(&last)).or(place.shorter_than(&last))
        }
    };
    Some(Kept { ranges, values: Vec::new() })
}

impl Place<'_> {
    /// Keys that are like `text` up to a `%`: what is behind it may mean anything.
    fn spelled_otherwise(&self, text: &str) -> Ranges {
        if !self.escapes {
            return Ranges::default();
        }
        let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        ends.fold(Ranges::default(), |all, end| all.or(Ranges::prefix(&format!("{}{}%", self.head, &text[..end]))))
    }

    /// Keys whose value ends within `text`: it is less, but what follows it may sort behind.
    fn shorter_than(&self, text: &str) -> Ranges {
        let is_long = matches!(self.typed, Some(Typed { ty: KeyType::Date | KeyType::Timestamp, .. }));
        if is_long || self.behind.is_empty() {
            return Ranges::default();
        }
        // An empty value is null.
        let ends = text.char_indices().map(|(at, _)| at).skip(1);
        let shorter = ends.map(|end| Ranges::prefix(&format!("{}{}{}", self.head, &text[..end], self.behind)));
        shorter.fold(Ranges::default(), Ranges::or)
    }
}

/// The keys that compare so with those between two.
fn between(operator: Operator, first: &str, last: &str) -> Option<Ranges> {
    let (from, to) = match operator {
        Operator::NotEqual => return None,
        Operator::Greater | Operator::GreaterOrEqual => (first, None),
        Operator::Less | Operator::LessOrEqual => ("", behind_prefix(last)),
        Operator::Equal => (first, behind_prefix(last)),
    };
    Some(Ranges::between(from.to_owned(), to))
}

/// What the texts are of values that equal a literal.
struct Texts {
    first: String,
    /// May be the first as well.
    last: String,
    /// There is only one.
    is_exact: bool,
    /// The texts of all values sort as the values do, but for what lies between these two.
    is_ordered: bool,
}

/// `None` if a value can be written in many ways.
fn texts(place: &Place<'_>, literal: &Literal, today: Today) -> Option<Texts> {
    let exact = |text: String| Some(Texts { last: text.clone(), first: text, is_exact: true, is_ordered: true });
    match place.typed {
        None if place.is_no_time && literal.value(KeyType::Date, today).is_some() => {
            exact(literal.value(KeyType::Date, today)?.to_string())
        }
        None => match literal {
            Literal::Text(text) if is_canonical_int64(text) => {
                // As numbers they are written in one way, but 10 sorts before 9.
                Some(Texts { first: text.clone(), last: text.clone(), is_exact: true, is_ordered: false })
            }
            Literal::Text(text) if text.parse::<f64>().is_ok() => None,
            literal => match literal.value(KeyType::Timestamp, today) {
                Some(value) => with_margin(&value),
                None => exact(literal.value(KeyType::Text, today)?.to_string()),
            },
        },
        Some(Typed { ty: ty @ (KeyType::Text | KeyType::Date), format: None }) => {
            exact(literal.value(*ty, today)?.to_string())
        }
        Some(Typed { ty: KeyType::Timestamp, format: None }) => with_margin(&literal.value(KeyType::Timestamp, today)?),
        Some(_) => None,
    }
}

/// The days around a moment: a text may be the time of any place on Earth.
fn with_margin(value: &Value) -> Option<Texts> {
    let Value::Timestamp(us) = value else { return None };
    let day = i32::try_from(us.div_euclid(times::DAY_US)).ok()?;
    let text = |day: Option<i32>| {
        let day = day?;
        // Years of more or fewer than four digits sort otherwise.
        (1..=9999).contains(&times::civil(day).0).then(|| Value::Date(day).to_string())
    };
    let (first, last) = (text(day.checked_sub(1))?, text(day.checked_add(1))?);
    Some(Texts { first, last, is_exact: false, is_ordered: true })
}

/// The union of what is known, if all is.
trait SumUp {
    fn sum_up(self) -> Option<Ranges>;
}

impl<I: Iterator<Item = Option<Ranges>>> SumUp for I {
    fn sum_up(mut self) -> Option<Ranges> {
        self.try_fold(Ranges::default(), |all, ranges| Some(all.or(ranges?)))
    }
}

#[cfg(test)]
mod tests;

//! What a key says about each partition column.

use super::{KeyRules, Partitions, Typed, unknown_column};
use crate::config::Mistake;
use crate::config::layout::PartitionSpec;
use crate::schema::names::fold;
use crate::tables::classify::split;
use crate::tables::mapping::{Captures, DatePart, Pattern, Source, Variable, folders};
use crate::times;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What a key says about one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<'a> {
    /// The column's name as this key spells it.
    pub name: Cow<'a, str>,
    /// The same for comparison: names equal ignoring case are one column.
    pub ident: String,
    /// The value.
    pub value: FoundValue<'a>,
    /// The type that the spec gives the column.
    pub typed: Option<&'a Typed>,
    /// Where it begins in the key, in bytes: what the order of columns is made of.
    pub at: usize,
}

/// A value as a key has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundValue<'a> {
    /// Null.
    Null,
    /// Text, to be read as the column's type.
    Text(Cow<'a, str>),
    /// What the date variables say, in microseconds since 1970.
    Moment(i64),
    /// The text of a date that does not exist.
    NoMoment(String),
}

/// Where a mapping's columns come from.
#[derive(Debug)]
pub(in crate::tables) struct Columns {
    pub(in crate::tables) partitions: Partitions,
    /// Groups of the pattern that are columns.
    pub(in crate::tables) captures: Vec<CaptureColumn>,
    /// Groups of `path_time`.
    dates: Vec<(usize, DatePart)>,
    /// Groups that name the table: no columns, nor are the folders in which they lie.
    pub(in crate::tables) used: Vec<usize>,
}

/// A group of a pattern that is a column.
#[derive(Debug)]
pub(in crate::tables) struct CaptureColumn {
    pub(in crate::tables) group: usize,
    pub(in crate::tables) name: String,
    pub(in crate::tables) ident: String,
    pub(in crate::tables) typed: Option<Typed>,
}

impl Columns {
    /// The columns of a mapping whose table is named by the groups `used`.
    pub(in crate::tables) fn new(
        partitions: Partitions,
        spec: &PartitionSpec,
        pattern: &Pattern,
        used: &[usize],
        mistakes: &mut Vec<Mistake>,
    ) -> Self {
        let mut captures = Vec::new();
        let mut dates = Vec::new();
        for (group, variable) in pattern.variables() {
            match variable {
                Variable::Column(name, ty) if !used.contains(&group) => {
                    let ident = fold(name);
                    let given = partitions.typed(&ident);
                    if let (Some(ty), Some(given)) = (ty, given)
                        && given.ty != *ty
                    {
                        let path = format!("{}.{name}", spec.field("columns"));
                        let text = format!("is {} here and {ty} in path; give the type in one place", given.ty);
                        mistakes.push(Mistake { path, text });
                    }
                    let typed = given.cloned().or_else(|| ty.map(Typed::plain));
                    captures.push(CaptureColumn { group, name: name.clone(), ident, typed });
                }
                Variable::Date(part) if partitions.path_time.is_some() => dates.push((group, *part)),
                _ => {}
            }
        }
        let columns = Self { partitions, captures, dates, used: used.to_vec() };
        columns.check(spec, matches!(pattern.source, Source::Path(_)), mistakes);
        columns
    }

    /// The columns of objects that no mapping takes.
    pub(in crate::tables) fn of_folders(
        partitions: Partitions,
        spec: &PartitionSpec,
        mistakes: &mut Vec<Mistake>,
    ) -> Self {
        let columns = Self { partitions, captures: Vec::new(), dates: Vec::new(), used: Vec::new() };
        columns.check(spec, false, mistakes);
        columns
    }

    /// What makes columns of keys; `None`: nothing does.
    pub(in crate::tables) fn rules(&self) -> Option<KeyRules> {
        let Self { partitions, captures, dates, .. } = self;
        if !partitions.hive && captures.is_empty() && dates.is_empty() {
            return None;
        }
        let format = |column: &CaptureColumn| column.typed.as_ref().and_then(|typed| typed.format.clone());
        let names: Vec<_> = captures.iter().map(|column| (&column.name, format(column))).collect();
        let types: Vec<_> = captures.iter().map(|column| column.typed.as_ref().map(|typed| typed.ty)).collect();
        let dates: Vec<_> = dates.iter().map(|(_, part)| part).collect();
        let KeyRules { values, types: given } = partitions.rules();
        Some(KeyRules { values: format!("{values} {names:?} {dates:?}"), types: format!("{given} {types:?}") })
    }

    fn check(&self, spec: &PartitionSpec, is_path: bool, mistakes: &mut Vec<Mistake>) {
        if self.partitions.path_time.is_some()
            && let Some(text) = self.missing_date(is_path)
            && !spec.is_inherited("path_time")
        {
            mistakes.push(Mistake { path: spec.field("path_time"), text });
        }
        if self.partitions.hive {
            // Folders have any names: they are looked at when all keys are known.
            return;
        }
        let names = self.captures.iter().map(|column| column.name.as_str());
        let path_time = self.partitions.path_time().filter(|_| !self.dates.is_empty());
        let names: Vec<&str> = names.chain(path_time).collect();
        mistakes.extend(self.partitions.conditions.unknown_names(&names));
        for (name, _) in spec.columns.iter().filter(|_| !spec.is_inherited("columns")) {
            if !names.iter().any(|known| fold(known) == fold(name)) {
                let text = unknown_column(name, &names, "style: hive makes columns of folders name=value");
                mistakes.push(Mistake { path: format!("{}.{name}", spec.field("columns")), text });
            }
        }
    }

    /// Which part of a date `path_time` lacks.
    fn missing_date(&self, is_path: bool) -> Option<String> {
        if !is_path || self.dates.is_empty() {
            return Some("needs a path with {{YEAR}}".to_owned());
        }
        let smallest = self.dates.iter().map(|(_, part)| *part).max()?;
        let missing = DatePart::ALL.iter().filter(|part| **part < smallest);
        let missing = missing.copied().find(|part| !self.dates.iter().any(|(_, there)| there == part))?;
        let name = |part: DatePart| Variable::Date(part).name().to_owned();
        Some(format!("needs {{{{{}}}}} where {{{{{}}}}} is", name(missing), name(smallest)))
    }

    /// What a key says about each column, in the order of the path.
    pub(in crate::tables) fn values<'a>(&'a self, key: &'a str, captures: &Captures) -> Vec<Found<'a>> {
        let mut found: Vec<Found<'a>> = Vec::new();
        let mut hive: Vec<Range<usize>> = Vec::new();
        for (folder, name, text) in self.hive_folders(key, captures) {
            let (name, value) = (self.partitions.decoded(name), self.partitions.text(text));
            let ident = fold(&name);
            let typed = self.partitions.typed(&ident);
            found.push(Found { name, ident, value, typed, at: folder.start });
            hive.push(folder);
        }
        for column in &self.captures {
            let span = captures.span(column.group);
            let within = |folder: &Range<usize>| span.as_ref().is_some_and(|span| overlap(span, folder));
            let own = hive.iter().zip(&mut found).find(|(folder, found)| within(folder) && found.ident == column.ident);
            if let Some((_, folder)) = own {
                // `dt={{dt:date}}` is one column.
                folder.typed = column.typed.as_ref().or(folder.typed);
                continue;
            }
            let at = span.as_ref().map_or(key.len(), |span| span.start);
            let text = span.and_then(|span| key.get(span)).unwrap_or_default();
            let (name, ident) = (column.name.as_str().into(), column.ident.clone());
            found.push(Found { name, ident, value: self.partitions.text(text), typed: column.typed.as_ref(), at });
        }
        found.extend(self.path_time(key, captures));
        found.sort_by_key(|found| found.at);
        number_twins(&mut found);
        found
    }

    /// The folders that are columns: where, name, text of the value.
    fn hive_folders<'a>(
        &self,
        key: &'a str,
        captures: &Captures,
    ) -> impl Iterator<Item = (Range<usize>, &'a str, &'a str)> {
        let used: Vec<Range<usize>> = self.used.iter().filter_map(|group| captures.span(*group)).collect();
        let is_on = self.partitions.hive;
        folders(key).filter(move |_| is_on).filter_map(move |folder| {
            let (name, text) = key.get(folder.start..folder.end - 1)?.split_once('=')?;
            let names_table = used.iter().any(|span| overlap(span, &folder));
            (!name.is_empty() && !names_table).then_some((folder, name, text))
        })
    }

    /// The moment that the date variables say.
    fn path_time<'a>(&'a self, key: &str, captures: &Captures) -> Option<Found<'a>> {
        let name = self.partitions.path_time()?;
        let part = |wanted: DatePart, default: i64| -> i64 {
            let group = self.dates.iter().find(|(_, part)| *part == wanted);
            group.and_then(|(group, _)| captures.text(*group, key)?.parse().ok()).unwrap_or(default)
        };
        let at = self.dates.iter().filter_map(|(group, _)| captures.span(*group)).map(|span| span.start).min()?;
        let (year, month, day) = (part(DatePart::Year, 0), part(DatePart::Month, 1), part(DatePart::Day, 1));
        let (hour, minute) = (part(DatePart::Hour, 0), part(DatePart::Minute, 0));
        let moment = times::days(year, month, day).and_then(|days| times::moment_us(days, (hour, minute, 0), 0));
        let value = match moment {
            Some(moment) => FoundValue::Moment(moment),
            None => FoundValue::NoMoment(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")),
        };
        Some(Found { name: name.into(), ident: fold(name), value, typed: None, at })
    }

    /// The key's folders without those that are columns.
    pub(in crate::tables) fn other_folders<'a>(&self, key: &'a str, captures: &Captures) -> Cow<'a, str> {
        let directory = split(key).0;
        let groups = self.captures.iter().map(|column| column.group).chain(self.dates.iter().map(|(group, _)| *group));
        let mut columns: Vec<Range<usize>> = groups.filter_map(|group| captures.span(group)).collect();
        columns.extend(self.hive_folders(key, captures).map(|(folder, ..)| folder));
        if columns.is_empty() {
            return directory.into();
        }
        let is_left = |folder: &Range<usize>| !columns.iter().any(|column| overlap(column, folder));
        folders(key).filter(is_left).filter_map(|folder| key.get(folder)).collect::<String>().into()
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Of several columns of one name in a key, the second is `_2`, the third `_3`, or the next number that is free.
fn number_twins(found: &mut [Found<'_>]) {
    let is_twin = |index: usize| found[..index].iter().any(|before| before.ident == found[index].ident);
    if !(1..found.len()).any(is_twin) {
        return;
    }
    let mut taken: HashSet<String> = HashSet::with_capacity(found.len());
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for found in found {
        if taken.insert(found.ident.clone()) {
            continue;
        }
        let number = numbers.entry(found.ident.clone()).or_insert(1);
        let suffix = loop {
            *number += 1;
            let suffix = format!("_{number}");
            if taken.insert(format!("{}{suffix}", found.ident)) {
                break suffix;
            }
        };
        found.name.to_mut().push_str(&suffix);
        found.ident.push_str(&suffix);
        // What the spec says about the name is about the first.
        found.typed = None;
    }
}

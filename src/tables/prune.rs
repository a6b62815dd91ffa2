//! Conditions on partition columns, applied to a whole listing: only then the columns and their types are known.

use super::classify::SkipReason;
use super::group::{Archived, Counted, Listing, Table};
use super::mapping::{Mappings, Match};
use super::objects::ListedObject;
use super::partitions::{Assumed, Bound, Column, Narrowing, StoredColumn, Today};
use crate::config::{Mistake, OnTypeChange};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The columns of a table's keys that earlier syncs left.
pub type Announced<'a> = &'a (dyn Fn(&Table) -> Vec<StoredColumn> + Sync);

/// What is applied to a listing.
#[derive(Clone, Copy)]
pub struct Pruning<'a> {
    /// Whose conditions.
    pub mappings: &'a Mappings,
    /// How they narrowed the listing.
    pub narrowing: Option<&'a Narrowing>,
    /// What `today` means.
    pub today: Today,
    /// What earlier syncs announced: values are compared as what they are in the table.
    pub announced: Announced<'a>,
}

/// A table of which the conditions say nothing, as its keys have other values than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The table.
    pub name: String,
    /// Why, and what to do.
    pub text: String,
    /// Its objects.
    pub left_out: Counted,
}

impl Listing {
    /// Leaves out the objects for which the conditions of the mappings do not hold; `each` hears of them. They are among those
    /// that are not read and keep their state, where these are remembered. Gives the tables that are left out, since conditions
    /// that fit others have values that are not of their columns' types.
    ///
    /// # Errors
    /// Conditions on what is no column, or with values that are of the column's type in no table.
    pub fn prune(
        &mut self,
        Pruning { mappings, narrowing, today, announced }: Pruning<'_>,
        mut each: impl FnMut(&str),
    ) -> Result<Vec<Refused>, Vec<Mistake>> {
        if !mappings.prunes() {
            return Ok(Vec::new());
        }
        let mut pruned = Counted::default();
        let assumed = narrowing.iter().flat_map(|narrowing| narrowing.assumed.iter());
        let assumed: Vec<String> = assumed.map(|assumed| assumed.ident.clone()).collect();
        let known = self.known_columns(mappings, &assumed);
        let (mut failed, mut fitting) = (Vec::new(), HashSet::new());
        for (index, table) in self.tables.iter_mut().enumerate() {
            if !mappings.has_conditions(&table.key) {
                continue;
            }
            table.partly_listed = narrowing.is_some();
            let columns = columns_of(table, announced);
            let bound = bind(table, &columns, mappings, &known, today);
            let mistaken = |field: &str| bound.as_ref().is_err_and(|more| more.iter().any(|m| m.path == field));
            for mapping in mappings.feeding(&table.key) {
                let Some(partitions) = mappings.partitions(mapping) else { continue };
                let fields = partitions.conditions.fields_on(&columns).filter(|field| !mistaken(field));
                fitting.extend(fields.map(str::to_owned));
            }
            match bound {
                Ok(bound) => prune(table, mappings, &bound, &mut pruned, &mut each),
                Err(more) => failed.push((index, more)),
            }
            if !self.remember_unread {
                table.unread = Vec::new();
            }
        }
        let of_all = |mistake: &Mistake| !fitting.contains(&mistake.path);
        let mut mistakes: Vec<Mistake> =
            failed.iter().flat_map(|(_, more)| more).filter(|m| of_all(m)).cloned().collect();
        mistakes.dedup();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let refused: Vec<Refused> = failed.iter().filter_map(|(at, why)| self.refused(*at, why)).collect();
        for (index, _) in failed.iter().rev() {
            let table = self.tables.remove(*index);
            // Its state stays.
            self.filtered_out.insert(table.name);
        }
        self.count_skipped(SkipReason::Pruned, pruned);
        self.drop_empty();
        Ok(refused)
    }

    fn refused(&self, index: usize, mistakes: &[Mistake]) -> Option<Refused> {
        let table = self.tables.get(index)?;
        let mut left_out = Counted::default();
        table.objects.iter().for_each(|object| left_out.add(&table.object_key(object), object.size_bytes));
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        let first_key = left_out.first_key.clone().unwrap_or_default();
        let text = format!(
            "{}; other tables have such values, so the folder of {first_key:?} may be a stray one: exclude it, or give it a \
             mapping of its own",
            texts.join("; ")
        );
        Some(Refused { name: table.name.clone(), text, left_out })
    }

    /// What the user should know of conditions and columns. Ask before [`Self::prune`].
    #[must_use]
    pub fn condition_warnings(&self, mappings: &Mappings, announced: Announced<'_>) -> Vec<String> {
        let of_table = |table: &Table| {
            let columns = columns_of(table, announced);
            let mut partitions = mappings.feeding(&table.key).filter_map(|mapping| mappings.partitions(mapping));
            partitions.find_map(|partitions| partitions.conditions.numbers_against_text(&columns))
        };
        let tables = self.tables.iter().filter(|table| mappings.has_conditions(&table.key));
        let warnings: BTreeSet<String> = tables.filter_map(of_table).collect();
        warnings.into_iter().collect()
    }

    /// The conditions that narrowed the listing and whose columns no listed key has: perhaps no key has them at all, and then
    /// they are mistakes.
    #[must_use]
    pub fn unseen(&self, narrowing: &Narrowing) -> Vec<Assumed> {
        let columns = self.tables.iter().flat_map(|table| table.key_columns.columns(&[]).unwrap_or_default());
        let seen: HashSet<String> = columns.map(|column| column.ident).collect();
        narrowing.assumed.iter().filter(|assumed| !seen.contains(&assumed.ident)).cloned().collect()
    }

    /// The columns of each mapping's tables, of which a table may lack some: there they are null.
    fn known_columns(&self, mappings: &Mappings, assumed: &[String]) -> HashMap<usize, Vec<String>> {
        let mut known: HashMap<usize, Vec<String>> = HashMap::new();
        for table in &self.tables {
            let idents = table.key_columns.columns(&[]).unwrap_or_default().into_iter().map(|column| column.ident);
            let idents: Vec<String> = idents.collect();
            for mapping in mappings.feeding(&table.key) {
                known.entry(mapping).or_insert_with(|| assumed.to_vec()).extend(idents.iter().cloned());
            }
        }
        known
    }
}

/// The columns of a table's keys, with the types that they are announced with.
#[must_use]
pub fn columns_of(table: &Table, announced: Announced<'_>) -> Vec<Column> {
    // Too many are an error of their own.
    let mut columns = table.key_columns.columns(&announced(table)).unwrap_or_default();
    if table.options.schema.on_type_change != OnTypeChange::Widen {
        columns.iter_mut().for_each(|column| column.ty = column.stored.unwrap_or(column.ty));
    }
    columns
}

/// The conditions of the mappings that feed a table, by the mappings' numbers.
fn bind(
    table: &Table,
    columns: &[Column],
    mappings: &Mappings,
    known: &HashMap<usize, Vec<String>>,
    today: Today,
) -> Result<HashMap<usize, Bound>, Vec<Mistake>> {
    let (mut bound, mut mistakes) = (HashMap::new(), Vec::new());
    for mapping in mappings.feeding(&table.key) {
        let Some(partitions) = mappings.partitions(mapping) else { continue };
        let known = known.get(&mapping).map(Vec::as_slice).unwrap_or_default();
        match partitions.conditions.bind(columns, known, today) {
            Ok(conditions) => _ = bound.insert(mapping, conditions),
            Err(more) => mistakes.extend(more),
        }
    }
    if mistakes.is_empty() { Ok(bound) } else { Err(mistakes) }
}

/// How many objects of a table were left out.
fn prune(
    table: &mut Table,
    mappings: &Mappings,
    bound: &HashMap<usize, Bound>,
    pruned: &mut Counted,
    each: &mut impl FnMut(&str),
) {
    let folders = &table.folders;
    let mut is_read = |object: &ListedObject| {
        let key = object.key(folders);
        let Match::Table(mapped) = mappings.of(&key, object.size_bytes) else { return true };
        let is_read = bound.get(&mapped.mapping).is_none_or(|bound| bound.admits(&mappings.values_of(&mapped, &key)));
        if !is_read {
            each(&key);
            pruned.add(&key, object.size_bytes);
        }
        is_read
    };
    table.archived = Archived::default();
    for object in table.unread.iter_mut().filter(|object| object.is_archived()) {
        if is_read(object) {
            table.archived.count += 1;
            table.archived.first_key.get_or_insert_with(|| object.key(folders));
        } else {
            object.unset_archived();
        }
    }
    let (read, left_out): (Vec<_>, Vec<_>) = std::mem::take(&mut table.objects).into_iter().partition(|o| is_read(o));
    table.objects = read;
    table.unread.extend(left_out);
    table.objects.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layout::{Layout, PartitionSpec};
    use crate::config::{KeyFilter, layout};
    use crate::s3::ObjectMeta;
    use crate::tables::group::Grouper;

    const TODAY: i64 = 20_484 * 86_400;

    fn mappings(conditions: &[&str]) -> Mappings {
        let conditions = conditions.iter().map(ToString::to_string).collect();
        let partitions = PartitionSpec { hive: true, conditions, ..PartitionSpec::default() };
        Mappings::new(&Layout { partitions, ..layout::Layout::default() }).unwrap()
    }

    /// What is read of each table, what is not read, and how it is counted.
    fn pruned(
        conditions: &[&str],
        keys: &[&str],
        remember: bool,
    ) -> Result<(Vec<String>, Vec<String>, String), String> {
        let (mappings, filter) = (mappings(conditions), KeyFilter::default());
        let mut grouper = Grouper::new(&filter).mapped_by(&mappings).remember_unread(remember);
        for key in keys {
            let (key, archived) = match key.strip_prefix('!') {
                Some(key) => (key.to_owned(), true),
                None => ((*key).to_owned(), false),
            };
            grouper.add(ObjectMeta { key, size_bytes: 1, etag: None, last_modified_s: 0, archived });
        }
        let mut listing = grouper.finish();
        let mut heard = 0;
        let result = {
            let today = Today::from_unix_s(TODAY);
            let pruning = Pruning { mappings: &mappings, narrowing: None, today, announced: &|_| Vec::new() };
            listing.prune(pruning, |_| heard += 1)
        };
        result.map_err(|mistakes| mistakes.iter().map(|mistake| format!("{mistake}\n")).collect::<String>())?;
        let (mut read, mut unread) = (Vec::new(), Vec::new());
        for table in &listing.tables {
            read.extend(table.objects.iter().map(|object| table.object_key(object)));
            unread.extend(table.unread.iter().map(|object| table.object_key(object)));
            unread.extend(table.archived.first_key.iter().map(|key| format!("!{key}")));
        }
        Ok((read, unread, format!("{} {heard} {:?}", listing.skipped, listing.names().len())))
    }

    #[test]
    fn what_the_conditions_leave_out_is_counted_and_remembered() {
        let keys = [
            "t/dt=2026-01-01/a.parquet",
            "!t/dt=2026-01-01/b.parquet",
            "t/dt=2026-01-31/a.parquet",
            "!t/dt=2026-01-31/b.parquet",
        ];
        let (read, unread, counted) = pruned(&["dt >= today"], &keys, true).unwrap();
        assert_eq!(read, ["t/dt=2026-01-31/a.parquet"]);
        let expected = [
            "t/dt=2026-01-01/b.parquet",
            "t/dt=2026-01-31/b.parquet",
            "t/dt=2026-01-01/a.parquet",
            "!t/dt=2026-01-31/b.parquet",
        ];
        assert_eq!(unread, expected);
        assert_eq!(counted, "pruned: 2 2 1");
        let (_, unread, _) = pruned(&["dt >= today"], &keys, false).unwrap();
        assert_eq!(unread, ["!t/dt=2026-01-31/b.parquet"]);
    }

    #[test]
    fn a_table_that_lacks_the_column_has_nulls_unless_no_table_has_it() {
        let keys = ["t/dt=2026-01-31/a.parquet", "u/a.parquet"];
        assert_eq!(pruned(&["dt >= today"], &keys, false).unwrap().0, [keys[0]]);
        assert_eq!(pruned(&["dt is null"], &keys, false).unwrap().0, [keys[1]]);
        let error = pruned(&["day >= today"], &keys, false).unwrap_err();
        assert!(error.contains("partitions.where[0]: there is no partition column \"day\"; "), "{error}");
        let error = pruned(&["dt >= 5"], &keys, false).unwrap_err();
        assert!(error.starts_with("partitions.where[0]: dt is date, and \"5\" is not"), "{error}");
    }

    #[test]
    fn a_table_of_which_nothing_is_left_is_no_table_but_known() {
        let (read, _, counted) = pruned(&["dt > today"], &["t/dt=2026-01-31/a.parquet"], true).unwrap();
        assert_eq!((read, counted.as_str()), (vec![], "pruned: 1 1 1"));
    }
}

//! Conditions on partition columns, applied to a whole listing: only then the columns and their types are known.

use super::classify::SkipReason;
use super::group::{Archived, Counted, Listing, Table};
use super::mapping::{Mappings, Match};
use super::objects::ListedObject;
use super::partitions::{Assumed, Bound, Narrowing, Today};
use crate::config::Mistake;
use std::collections::{HashMap, HashSet};

impl Listing {
    /// Leaves out the objects for which the conditions of `mappings` do not hold; `each` hears of them. They are among those
    /// that are not read and keep their state, where these are remembered. `narrowing`: how they narrowed the listing.
    ///
    /// # Errors
    /// Conditions on what is no column, or with values that are not of the column's type.
    pub fn prune(
        &mut self,
        mappings: &Mappings,
        narrowing: Option<&Narrowing>,
        today: Today,
        mut each: impl FnMut(&str),
    ) -> Result<(), Vec<Mistake>> {
        if !mappings.prunes() {
            return Ok(());
        }
        let (mut pruned, mut mistakes) = (Counted::default(), Vec::new());
        let assumed = narrowing.iter().flat_map(|narrowing| narrowing.assumed.iter());
        let assumed: Vec<String> = assumed.map(|assumed| assumed.ident.clone()).collect();
        let known = self.known_columns(mappings, &assumed);
        for table in self.tables.iter_mut().filter(|table| mappings.has_conditions(&table.key)) {
            table.partly_listed = narrowing.is_some();
            match bind(table, mappings, &known, today) {
                Ok(bound) => prune(table, mappings, &bound, &mut pruned, &mut each),
                Err(more) => mistakes.extend(more),
            }
            if !self.remember_unread {
                table.unread = Vec::new();
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        self.count_skipped(SkipReason::Pruned, pruned);
        self.drop_empty();
        Ok(())
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

/// The conditions of the mappings that feed a table, by the mappings' numbers.
fn bind(
    table: &Table,
    mappings: &Mappings,
    known: &HashMap<usize, Vec<String>>,
    today: Today,
) -> Result<HashMap<usize, Bound>, Vec<Mistake>> {
    // Too many are an error of their own.
    let columns = table.key_columns.columns(&[]).unwrap_or_default();
    let (mut bound, mut mistakes) = (HashMap::new(), Vec::new());
    for mapping in mappings.feeding(&table.key) {
        let Some(partitions) = mappings.partitions(mapping) else { continue };
        let known = known.get(&mapping).map(Vec::as_slice).unwrap_or_default();
        match partitions.conditions.bind(&columns, known, today) {
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
        let result = listing.prune(&mappings, None, Today::from_unix_s(TODAY), |_| heard += 1);
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

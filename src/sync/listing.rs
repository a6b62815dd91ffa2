//! From the bucket's listing to the selected tables. Nothing but the listing is read.
//!
//! A prefix under which there is nothing is nearly always a slip of the pen. Then one more page is listed, to say what there
//! is next to it.

use crate::cloudquery::source::{ErrorKind, Selection, SourceError};
use crate::config::Spec;
use crate::s3::list::Pages;
use crate::s3::{self, ObjectMeta, Store};
use crate::tables::classify::SkipReason;
use crate::tables::group::{Grouper, Listing, Skipped, Table};
use crate::tables::mapping::Mappings;
use crate::tables::partitions::{Assumed, KeyRange, Narrowing, Today, narrow};
use crate::tables::prune::{Announced, Pruning, Refused};
use crate::tables::select::Selector;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The tables that a sync reads.
#[derive(Debug)]
pub struct Selected {
    /// The bucket, through the region that it said it is in.
    pub store: Store,
    /// In the order of their names.
    pub tables: Vec<Table>,
    /// Selected tables without any object, of those that the caller knew.
    pub emptied: Vec<String>,
    /// What else the listing had.
    pub skipped: Skipped,
    /// S3's clock at the first page, seconds since 1970.
    pub date_s: Option<i64>,
    /// Conditions spared some of the listing.
    pub narrowed: bool,
    /// Tables that are left out with an error.
    pub refused: Vec<Refused>,
    /// What the user may want to know of the tables.
    pub hint: Option<String>,
}

/// A whole listing, and where it is from.
#[derive(Debug)]
pub struct Listed {
    /// The bucket, through the region that it said it is in.
    pub store: Store,
    /// S3's clock at the first page, seconds since 1970.
    pub date_s: Option<i64>,
    /// What was listed.
    pub listing: Listing,
    /// No key was listed at all: what the user should know about that.
    pub nothing: Option<String>,
    /// Conditions spared some of it.
    pub narrowed: bool,
    /// Tables that are left out with an error.
    pub refused: Vec<Refused>,
}

impl Selected {
    /// Says which tables a sync would leave out with an error.
    pub fn warn_of_refused(&self) {
        for Refused { name, text, .. } in &self.refused {
            tracing::warn!(table = name, error = text, "table is left out: a sync would refuse it");
        }
    }

    /// Says what a full sync does to rows of objects that are filtered out by time or by conditions.
    pub fn warn_of_delete_stale(&self) {
        let left_out = self.skipped.count(SkipReason::Modified) + self.skipped.count(SkipReason::Pruned);
        if left_out == 0 && !self.narrowed {
            return;
        }
        let unlisted = "the keys for which the conditions cannot hold, which are not even listed";
        let what = match (left_out, self.narrowed) {
            (_, false) => "objects".to_owned(),
            (0, true) => unlisted.to_owned(),
            (_, true) => format!("objects, and {unlisted}"),
        };
        tracing::warn!(
            objects = left_out,
            "partitions.where or modified leaves out {what}: with write_mode overwrite-delete-stale the destination removes \
             the rows that earlier syncs brought of them; with backend_options nothing is removed"
        );
    }
}

/// Folders next to a prefix without keys that are named, the likeliest first.
const MAX_NAMED_FOLDERS: usize = 3;

/// How far a listing is, for whoever watches it.
#[derive(Debug, Default)]
pub struct Watch {
    /// Pages that came.
    pub pages: AtomicU64,
    /// Keys in them that belong to the listing.
    pub keys: AtomicU64,
}

impl Watch {
    fn page(&self) {
        self.pages.fetch_add(1, Ordering::Relaxed);
    }

    fn key(&self) {
        self.keys.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lists the whole prefix, or what of it the conditions of `mappings` need, and keeps what is in the tables of `selection`.
/// `announced` is what earlier syncs left, where that is known: then objects that are not read are remembered.
///
/// # Errors
/// When the listing cannot be had completely; [`ErrorKind::InvalidSelection`] as soon as it has too many tables, or when
/// conditions do not fit what was listed.
pub async fn list(
    spec: &Spec,
    mappings: &Mappings,
    store: &Store,
    selection: &Selection,
    announced: Option<Announced<'_>>,
    watch: &Watch,
) -> Result<Listed, SourceError> {
    let mut lister = Lister { spec, mappings, store: store.clone(), date_s: None, empty: true, unlisted: false, watch };
    let selector = Selector::new(&selection.tables, &selection.skip_tables);
    let mut grouper =
        Grouper::new(&spec.keys).mapped_by(mappings).selected_by(selector).remember_unread(announced.is_some());
    let mut narrowing = lister.list(&mut grouper).await?;
    let nothing = match (lister.empty, &narrowing) {
        (false, _) => None,
        (true, None) => Some(nothing(&lister.store, &spec.path_prefix).await),
        (true, Some(_)) => Some(format!(
            "0 keys were listed under s3://{}/{}, as far as the conditions of `partitions.where` can hold there",
            lister.store.bucket(),
            spec.path_prefix
        )),
    };
    let mut listing = grouper.finish();
    if let Some(narrowing) = &mut narrowing {
        let unseen = listing.unseen(narrowing);
        lister.forget_what_is_nowhere(narrowing, unseen).await?;
    }
    let today = Today::from_unix_s(lister.now_s());
    let log = |key: &str| tracing::debug!(key, reason = SkipReason::Pruned.name(), "object skipped");
    let announced = announced.unwrap_or(&|_| Vec::new());
    for warning in listing.condition_warnings(mappings, announced) {
        tracing::warn!("{warning}");
    }
    let pruning = Pruning { mappings, narrowing: narrowing.as_ref(), today, announced };
    let refused = listing.prune(pruning, log).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        invalid(texts.join("\n"))
    })?;
    let (store, date_s) = (lister.store, lister.date_s);
    let mut refused = refused;
    refused.extend(listing.refuse_mixed_formats(mappings));
    Ok(Listed { store, date_s, listing, nothing, narrowed: narrowing.is_some(), refused })
}

/// Says which keys are listed and which are not.
fn log_narrowing(narrowing: &Narrowing) {
    for range in &narrowing.ranges {
        let (start_after, stop_at) = (range.start_after(), range.stop_at());
        tracing::debug!(prefix = range.prefix(), start_after, stop_at, "part of the listing");
    }
    let first = narrowing.ranges.first().map(KeyRange::prefix);
    let start_key = narrowing.ranges.iter().find_map(KeyRange::start_after);
    tracing::info!(
        parts = narrowing.ranges.len(),
        prefix = first,
        start_key = start_key.as_deref().or(first),
        "conditions narrow the listing: keys for which they cannot hold are not listed"
    );
}

/// Lists the keys below `path_prefix`, from the first to the last.
struct Lister<'a> {
    spec: &'a Spec,
    mappings: &'a Mappings,
    store: Store,
    /// S3's clock at the first answer.
    date_s: Option<i64>,
    /// No key was listed so far.
    empty: bool,
    /// Keys were left out.
    unlisted: bool,
    watch: &'a Watch,
}

impl Lister<'_> {
    /// What time it is, in seconds since 1970: by S3's clock if that is known.
    fn now_s(&self) -> i64 {
        let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.date_s.unwrap_or_else(|| i64::try_from(here()).unwrap_or(i64::MAX))
    }

    /// The next page. The first of all may be in another region than the spec's, which has none: then S3's advice is followed.
    async fn next(
        &mut self,
        pages: &mut Pages,
        open: impl Fn(&Store) -> Pages,
    ) -> Result<Option<Vec<ObjectMeta>>, SourceError> {
        let is_first = self.date_s.is_none() && self.empty;
        let page = match pages.next().await {
            Err(s3::Error { kind: s3::ErrorKind::WrongRegion(Some(region)), .. })
                if is_first && self.spec.region.is_none() =>
            {
                tracing::info!(bucket = self.store.bucket(), region, "the bucket is in another region, going there");
                self.store = self.store.moved_to(&region);
                *pages = open(&self.store);
                pages.next().await
            }
            other => other,
        };
        self.date_s = self.date_s.or(pages.date_s());
        page.map_err(|error| super::error::fatal(&error))
    }

    /// Conditions on what no key has are mistakes, and must not pass for columns whose keys were not listed: asks for one key of
    /// each.
    async fn forget_what_is_nowhere(&self, narrowing: &mut Narrowing, unseen: Vec<Assumed>) -> Result<(), SourceError> {
        let mut found: Vec<String> = Vec::new();
        for Assumed { ident, head } in &unseen {
            if found.contains(ident) {
                continue;
            }
            let page = self.store.list(head).with_page_keys(1).next().await;
            if page.map_err(|error| super::error::fatal(&error))?.is_some_and(|page| !page.is_empty()) {
                found.push(ident.clone());
            }
        }
        narrowing.assumed.retain(|assumed| !unseen.contains(assumed) || found.contains(&assumed.ident));
        Ok(())
    }

    /// Lists what the conditions need; gives how they narrowed the listing, if they did.
    ///
    /// The first page is that of the whole listing: most prefixes have no second, and then nothing is gained by leaving
    /// something out. It also says what day it is. If there are more, the listing jumps over what is not needed. Every page
    /// is as full as S3 makes it and may end in a later range, so there are never more pages than without conditions.
    async fn list(&mut self, grouper: &mut Grouper<'_>) -> Result<Option<Narrowing>, SourceError> {
        let prefix = self.spec.path_prefix.as_str();
        let open = |store: &Store| store.list(prefix);
        let mut pages = open(&self.store);
        let Some(mut page) = self.next(&mut pages, open).await? else { return Ok(None) };
        let today = Today::from_unix_s(self.now_s());
        let narrowing = if pages.is_last() { None } else { narrow(self.mappings, prefix, today) };
        let Some(narrowing) = narrowing else {
            loop {
                self.take(page, grouper, |_| true)?;
                match self.next(&mut pages, open).await? {
                    Some(next) => page = next,
                    None => return Ok(None),
                }
            }
        };
        log_narrowing(&narrowing);
        // The last key of the last page: all before it is listed.
        let mut listed = String::new();
        let mut ranges = narrowing.ranges.iter().peekable();
        loop {
            if let Some(last) = page.last() {
                listed.clone_from(&last.key);
            }
            self.take(page, grouper, |key| narrowing.lists(key))?;
            while ranges.next_if(|range| range.is_before(&listed)).is_some() {}
            let (range, is_last) = (ranges.peek(), pages.is_last());
            self.unlisted |= range.is_none() && !is_last;
            let Some(range) = range.filter(|_| !is_last) else { break };
            if let Some(start) = range.start().filter(|start| *start > listed) {
                pages = self.store.list(prefix).starting_after(Some(start));
                self.unlisted = true;
            }
            match self.next(&mut pages, open).await? {
                Some(next) => page = next,
                None => break,
            }
        }
        Ok(self.unlisted.then_some(narrowing))
    }

    /// Groups the objects of a page that are wanted.
    fn take(
        &mut self,
        page: Vec<ObjectMeta>,
        grouper: &mut Grouper<'_>,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<(), SourceError> {
        self.watch.page();
        grouper.modified_within(self.mappings.modified().at(self.now_s()));
        for object in page {
            if !is_wanted(&object.key) {
                self.unlisted = true;
                continue;
            }
            self.empty = false;
            self.watch.key();
            let key = tracing::event_enabled!(tracing::Level::DEBUG).then(|| object.key.clone());
            if let (Some(reason), Some(key)) = (grouper.add(object), key) {
                tracing::debug!(key, reason = reason.name(), "object skipped");
            }
        }
        grouper.check_number(self.spec.max_tables).map_err(|error| invalid(error.to_string()))
    }
}

/// What to say about a prefix under which no key was listed.
async fn nothing(store: &Store, prefix: &str) -> String {
    let bucket = store.bucket();
    let mut text = format!("0 keys were listed under s3://{bucket}/{prefix}");
    if let Some(hint) = slip(bucket, prefix) {
        text.push_str(&format!("; {hint}"));
    } else if !prefix.is_empty() {
        let (parent, missing) = split_prefix(prefix);
        match store.folders(parent).await {
            Ok(folders) => text.push_str(&format!("; {}", neighbours(bucket, parent, missing, folders))),
            Err(error) => tracing::debug!(error = error.to_string(), "what is next to the prefix cannot be listed"),
        }
    }
    text
}

/// Why the prefix cannot be the beginning of a key, if it is obvious.
fn slip(bucket: &str, prefix: &str) -> Option<String> {
    if let Some(rest) = prefix.strip_prefix("s3://") {
        let (named, key) = rest.split_once('/').unwrap_or((rest, ""));
        let rule = "path_prefix is the beginning of the keys, without s3:// and the bucket's name";
        return Some(if named == bucket {
            format!("{rule}: set `path_prefix: {:?}`", key.trim_start_matches('/'))
        } else {
            format!("{rule}; this one names the bucket {named:?}, while `bucket` is {bucket:?}")
        });
    }
    prefix.starts_with('/').then(|| {
        let key = prefix.trim_start_matches('/');
        format!("path_prefix begins with a slash, and keys hardly ever do: set `path_prefix: {key:?}`")
    })
}

/// A prefix as its parent folder (empty, or with its slash) and what comes behind.
fn split_prefix(prefix: &str) -> (&str, &str) {
    let name = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.split_at(name.rfind('/').map_or(0, |slash| slash + 1))
}

/// What there is in `parent` where `missing` is not. Each of `folders` begins with `parent`.
fn neighbours(bucket: &str, parent: &str, missing: &str, mut folders: Vec<String>) -> String {
    if folders.is_empty() {
        return format!("there is no folder in s3://{bucket}/{parent} either");
    }
    let missing = missing.to_lowercase();
    let likeness = |folder: &String| {
        let name = folder.strip_prefix(parent).unwrap_or(folder).to_lowercase();
        strsim::normalized_damerau_levenshtein(&name, &missing)
    };
    folders.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    let named: Vec<String> = folders.iter().take(MAX_NAMED_FOLDERS).map(|folder| format!("{folder:?}")).collect();
    let more = folders.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("the folders in s3://{bucket}/{parent} are {}{more}", named.join(", "))
}

/// Says what the user should know, and makes sure that something is selected, under names that are unambiguous. `emptied`
/// are tables that are known to have been there and have no object any more.
///
/// # Errors
/// [`ErrorKind::InvalidSelection`], before any object is touched.
pub fn select(listed: Listed, mappings: &Mappings, mut emptied: Vec<String>) -> Result<Selected, SourceError> {
    let Listed { store, date_s, mut listing, nothing, narrowed, refused } = listed;
    emptied.retain(|name| listing.takes_emptied(name));
    if narrowed {
        // They may have objects that were not listed.
        emptied.clear();
    }
    for warning in listing.warnings(store.bucket()) {
        tracing::warn!("{warning}");
    }
    // That nothing was listed is the reason for whatever else there is to say.
    let why = nothing.map(|nothing| format!("; {nothing}")).unwrap_or_default();
    let warnings = listing.check_selection().map_err(|error| {
        let unmapped = listing.unmapped().map(|unmapped| format!("; {unmapped}")).unwrap_or_default();
        invalid(format!("{error}{why}{unmapped}"))
    })?;
    for warning in &warnings {
        tracing::warn!("{warning}{why}");
    }
    if warnings.is_empty() && !why.is_empty() {
        tracing::warn!("there is no object{why}");
    }
    listing.check_names(mappings).map_err(|error| invalid(error.to_string()))?;
    if let Some(mistake) = listing.misplaced_type() {
        return Err(invalid(mistake.to_string()));
    }
    for table in &listing.tables {
        table.key_columns.columns(&[]).map_err(|error| invalid(format!("table {}: {error}", table.name)))?;
    }
    let hint = listing.hint();
    Ok(Selected { store, tables: listing.tables, emptied, skipped: listing.skipped, date_s, narrowed, refused, hint })
}

fn invalid(text: String) -> SourceError {
    SourceError::new(ErrorKind::InvalidSelection, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_its_parent_and_a_name() {
        for (prefix, parts) in [
            ("raw/orders/", ("raw/", "orders/")),
            ("raw/orders", ("raw/", "orders")),
            ("raw/", ("", "raw/")),
            ("raw", ("", "raw")),
            ("a//", ("a/", "/")),
        ] {
            assert_eq!(split_prefix(prefix), parts, "{prefix}");
        }
    }

    #[test]
    fn what_is_no_beginning_of_a_key_is_corrected() {
        assert!(slip("lake", "s3://lake/raw/").unwrap().contains("`path_prefix: \"raw/\"`"));
        assert!(slip("lake", "s3://lake").unwrap().contains("`path_prefix: \"\"`"));
        for (prefix, named) in [("s3://lakehouse/raw/", "lakehouse"), ("s3://raw/", "raw"), ("s3://other", "other")] {
            let text = slip("lake", prefix).unwrap();
            assert!(text.contains(&format!("names the bucket {named:?}, while `bucket` is \"lake\"")), "{text}");
            assert!(!text.contains("set `"), "{text}");
        }
        assert!(slip("lake", "/raw/").unwrap().contains("`path_prefix: \"raw/\"`"));
        assert_eq!(slip("lake", "raw/s3://x/"), None);
    }

    #[test]
    fn the_likeliest_neighbours_are_named() {
        let folders = ["raw/users/", "raw/payments/", "raw/Orders/", "raw/orders_old/"].map(str::to_owned).to_vec();
        assert_eq!(
            neighbours("lake", "raw/", "order/", folders),
            "the folders in s3://lake/raw/ are \"raw/Orders/\", \"raw/orders_old/\", \"raw/users/\" and 1 more"
        );
        assert_eq!(neighbours("lake", "", "x/", Vec::new()), "there is no folder in s3://lake/ either");
    }
}

//! From the bucket's listing to the selected tables. Nothing but the listing is read.
//!
//! A prefix under which there is nothing is nearly always a slip of the pen. Then one more page is listed, to say what there
//! is next to it.

use crate::cloudquery::source::{ErrorKind, Selection, SourceError};
use crate::config::Spec;
use crate::s3::{self, Store};
use crate::tables::group::{Grouper, Listing, Skipped, Table};
use crate::tables::select::Selector;

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
}

/// Folders next to a prefix without keys that are named, the likeliest first.
const MAX_NAMED_FOLDERS: usize = 3;

/// Lists the whole prefix and keeps what is in the tables of `selection`.
///
/// # Errors
/// When the listing cannot be had completely; [`ErrorKind::InvalidSelection`] as soon as it has too many tables.
pub async fn list(
    spec: &Spec,
    store: &Store,
    selection: &Selection,
    remember_unread: bool,
) -> Result<Listed, SourceError> {
    let mut store = store.clone();
    let mut pages = store.list(&spec.path_prefix);
    let selector = Selector::new(&selection.tables, &selection.skip_tables);
    let mut grouper = Grouper::new(&spec.keys).selected_by(selector).remember_unread(remember_unread);
    let (mut first, mut empty) = (true, true);
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                empty &= page.is_empty();
                for object in page {
                    let key = tracing::event_enabled!(tracing::Level::DEBUG).then(|| object.key.clone());
                    if let (Some(reason), Some(key)) = (grouper.add(object), key) {
                        tracing::debug!(key, reason = reason.name(), "object skipped");
                    }
                }
                grouper.check_number(spec.max_tables).map_err(|error| invalid(error.to_string()))?;
            }
            Ok(None) => {
                let nothing = if empty { Some(nothing(&store, &spec.path_prefix).await) } else { None };
                return Ok(Listed { store, date_s: pages.date_s(), listing: grouper.finish(), nothing });
            }
            // The spec has no region: follow S3's advice instead of asking for it.
            Err(s3::Error { kind: s3::ErrorKind::WrongRegion(Some(region)), .. }) if first && spec.region.is_none() => {
                tracing::info!(bucket = store.bucket(), region, "the bucket is in another region, going there");
                store = store.moved_to(&region);
                pages = store.list(&spec.path_prefix);
            }
            Err(error) => return Err(super::error::fatal(&error)),
        }
        first = false;
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
pub fn select(listed: Listed, mut emptied: Vec<String>) -> Result<Selected, SourceError> {
    let Listed { store, date_s, mut listing, nothing } = listed;
    emptied.retain(|name| listing.takes_emptied(name));
    for warning in listing.warnings(store.bucket()) {
        tracing::warn!("{warning}");
    }
    // That nothing was listed is the reason for whatever else there is to say.
    let why = nothing.map(|nothing| format!("; {nothing}")).unwrap_or_default();
    let warnings = listing.check_selection().map_err(|error| invalid(format!("{error}{why}")))?;
    for warning in &warnings {
        tracing::warn!("{warning}{why}");
    }
    if warnings.is_empty() && !why.is_empty() {
        tracing::warn!("there is no object{why}");
    }
    listing.check_names().map_err(|error| invalid(error.to_string()))?;
    Ok(Selected { store, tables: listing.tables, emptied, skipped: listing.skipped, date_s })
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

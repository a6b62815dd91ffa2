//! From the bucket's listing to the selected tables. Nothing but the listing is read.

use crate::cloudquery::source::{ErrorKind, Selection, SourceError};
use crate::s3::{self, Store};
use crate::spec::Spec;
use crate::tables::group::{Grouper, Listing, Skipped, Table};
use crate::tables::select;

/// The tables that a sync reads.
#[derive(Debug)]
pub struct Selected {
    /// The bucket, through the region that it said it is in.
    pub store: Store,
    /// In the order of their names.
    pub tables: Vec<Table>,
    /// What the listing had besides.
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
}

/// Lists the whole prefix.
///
/// # Errors
/// When the listing cannot be had completely.
pub async fn list(spec: &Spec, store: &Store, remember_unread: bool) -> Result<Listed, SourceError> {
    let mut store = store.clone();
    let mut pages = store.list(&spec.path_prefix);
    let mut grouper = Grouper::new(&spec.keys).remember_unread(remember_unread);
    let mut first = true;
    loop {
        match pages.next().await {
            Ok(Some(page)) => page.into_iter().for_each(|object| grouper.add(object)),
            Ok(None) => return Ok(Listed { store, date_s: pages.date_s(), listing: grouper.finish() }),
            // Nobody set the region in the spec: follow S3's advice instead of asking for it.
            Err(s3::Error { kind: s3::ErrorKind::WrongRegion(Some(region)), .. }) if first && spec.region.is_none() => {
                tracing::info!(bucket = store.bucket(), region, "the bucket is in another region, going there");
                store = store.moved_to(&region);
                pages = store.list(&spec.path_prefix);
            }
            Err(error) => return Err(super::fatal(&error)),
        }
        first = false;
    }
}

/// Applies `tables` and `skip_tables`, and makes sure that the names are unambiguous and not absurdly many.
///
/// # Errors
/// [`ErrorKind::InvalidSelection`], before any object is touched.
pub fn select(spec: &Spec, listed: Listed, selection: &Selection) -> Result<Selected, SourceError> {
    let Listed { store, date_s, listing } = listed;
    for warning in listing.warnings(store.bucket()) {
        tracing::warn!("{warning}");
    }
    let invalid = |text: String| SourceError::new(ErrorKind::InvalidSelection, text);
    let names: Vec<&str> = listing.tables.iter().map(|table| table.name.as_str()).collect();
    let selected = select::select(&names, &selection.tables, &selection.skip_tables)
        .map_err(|error| invalid(error.to_string()))?;
    for warning in &selected.warnings {
        tracing::warn!("{warning}");
    }
    let mut keep = vec![false; listing.tables.len()];
    for index in &selected.indexes {
        keep[*index] = true;
    }
    let mut keep = keep.into_iter();
    let mut tables = listing.tables;
    tables.retain(|_| keep.next().unwrap_or(false));
    crate::tables::group::check(&tables, spec.max_tables).map_err(|error| invalid(error.to_string()))?;
    Ok(Selected { store, tables, skipped: listing.skipped, date_s })
}

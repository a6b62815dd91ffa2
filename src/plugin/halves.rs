//! The two halves of a listing, each by itself: for the bench that compares what they cost. A sync has them page by page, in
//! `sync::listing`.

use super::{connect, invalid_spec};
use crate::cloudquery::source::SourceError;
use crate::config::Spec;
use crate::s3::{ObjectMeta, Store};
use crate::tables::group::Grouper;
use crate::tables::mapping::Mappings;
use std::sync::Arc;

/// A spec and its bucket.
#[derive(Debug)]
pub struct Halves {
    spec: Spec,
    mappings: Arc<Mappings>,
    store: Store,
}

/// A whole listing, before anything is made of it.
#[derive(Debug)]
pub struct Pages(Vec<Vec<ObjectMeta>>);

/// What became of the keys of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouped {
    /// Tables.
    pub tables: usize,
    /// Objects in them.
    pub objects: usize,
    /// Partition columns of all tables.
    pub key_columns: usize,
}

impl Halves {
    /// Reads a spec. No request is sent if it names a region.
    ///
    /// # Errors
    /// When the spec is not valid, or there can be no client for its bucket.
    pub async fn connect(spec: &[u8]) -> Result<Self, SourceError> {
        let (spec, mappings) = Mappings::read_spec(spec).map_err(|errors| invalid_spec(&errors))?;
        let store = connect(&spec).await?;
        Ok(Self { spec, mappings, store })
    }

    /// The first half: requests, and reads what S3 answers. Dropping the future ends the listing.
    ///
    /// # Errors
    /// When the listing cannot be had completely.
    pub async fn pages(&self) -> Result<Pages, SourceError> {
        let (mut pages, mut listed) = (self.store.list(&self.spec.path_prefix), Vec::new());
        while let Some(page) = pages.next().await.map_err(|error| crate::sync::error::fatal(&error))? {
            listed.push(page);
        }
        Ok(Pages(listed))
    }

    /// The second half: which table each object belongs to, and what its key says about columns.
    #[must_use]
    pub fn group(&self, pages: Pages) -> Grouped {
        let mut grouper = Grouper::new(&self.spec.keys).mapped_by(&self.mappings);
        for object in pages.0.into_iter().flatten() {
            grouper.add(object);
        }
        let tables = grouper.finish().tables;
        Grouped {
            tables: tables.len(),
            objects: tables.iter().map(|table| table.objects.len()).sum(),
            key_columns: tables
                .iter()
                .filter_map(|table| table.key_columns.columns(&[]).ok())
                .map(|all| all.len())
                .sum(),
        }
    }
}

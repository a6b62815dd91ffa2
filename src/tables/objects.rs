//! Listed objects, of which a table may have millions.
//!
//! Each is kept small: its key without its folder, its ETag in 24 bytes, size and time. That, with what the
//! allocator adds, is the 120 bytes a key of the memory bound. While they are listed they lie in chunks: a vector that
//! doubles would for a moment hold three times what it needs.

use super::folders::{FolderId, Folders};
use crate::formats::format::Format;
use crate::s3::{ETag, ObjectMeta};

/// Objects in a chunk: 256 KiB of records, so that neither the list of chunks nor the room in the last one counts.
const CHUNK_OBJECTS: usize = 4096;

/// One object of a table, as listed.
#[derive(Debug, Clone)]
pub struct ListedObject {
    /// The key behind its folder.
    suffix: Box<str>,
    /// Entity tag, where the listing has one.
    pub etag: Option<ETag>,
    /// Size in bytes; never 0.
    pub size_bytes: u64,
    /// Last modification, seconds since 1970.
    pub last_modified_s: i64,
    /// What the survey found out: the memory that sending it takes at a time, in KiB, plus one. 0: not to be sent;
    /// [`ARCHIVED`]: it cannot be read.
    held_kib: u32,
    /// Its folder, among those of the table.
    folder: FolderId,
    /// By its name.
    pub format: Format,
    /// Its last row was sent in this sync.
    pub sent: bool,
}

/// What [`ListedObject`] says of an archived object in place of its memory.
const ARCHIVED: u32 = u32::MAX;

impl ListedObject {
    /// A listed object, whose folder is one of `folders` from now on.
    pub(super) fn new(object: ObjectMeta, folders: &mut Folders, format: Format) -> Self {
        let (folder, suffix) = folders.split(&object.key);
        Self {
            suffix: suffix.into(),
            etag: object.etag,
            size_bytes: object.size_bytes,
            last_modified_s: object.last_modified_s,
            held_kib: if object.archived { ARCHIVED } else { 0 },
            folder,
            format,
            sent: false,
        }
    }

    /// The same object in the folders of its table, if it has its whole key.
    pub(super) fn moved_to(mut self, folders: &mut Folders) -> Self {
        let (folder, suffix) = folders.split(&self.suffix);
        (self.folder, self.suffix) = (folder, suffix.into());
        self
    }

    /// The whole key, given the folders of its table.
    #[must_use]
    pub fn key(&self, folders: &Folders) -> String {
        folders.key(self.folder, &self.suffix)
    }

    /// It is archived, so it cannot be read.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.held_kib == ARCHIVED
    }

    /// Nobody needs to restore it: it is not to be read.
    pub(super) fn unset_archived(&mut self) {
        self.held_kib = 0;
    }

    fn place(&self) -> (FolderId, &str) {
        (self.folder, &self.suffix)
    }

    /// The object can be sent, and takes this much memory at a time, without its messages.
    pub fn set_held_bytes(&mut self, bytes: u64) {
        self.held_kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(ARCHIVED).saturating_add(1).min(ARCHIVED - 1);
    }

    /// The object is not to be sent.
    pub fn unset_held_bytes(&mut self) {
        self.held_kib = 0;
    }

    /// The memory that sending it takes at a time, in bytes, without its messages; `None` for an object that is not to be
    /// sent.
    #[must_use]
    pub fn held_bytes(&self) -> Option<u64> {
        self.held_kib.checked_sub(1).filter(|_| !self.is_archived()).map(|kib| u64::from(kib) * 1024)
    }
}

/// A list that only grows, and copies nothing when it does.
#[derive(Debug, Default)]
pub(super) struct GrowingList {
    /// Chunks of [`CHUNK_OBJECTS`].
    full: Vec<Vec<ListedObject>>,
    /// Those behind them, at most a chunk.
    last: Vec<ListedObject>,
}

impl GrowingList {
    /// Adds one at the end.
    pub(super) fn push(&mut self, object: ListedObject) {
        if self.last.len() == CHUNK_OBJECTS {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK_OBJECTS));
            self.full.push(full);
        }
        self.last.push(object);
    }

    /// All of them, one by one.
    pub(super) fn into_iter(self) -> impl Iterator<Item = ListedObject> {
        self.full.into_iter().flatten().chain(self.last)
    }

    /// All of them in one piece, without room behind. Each chunk goes as soon as it is copied.
    pub(super) fn into_vec(mut self) -> Vec<ListedObject> {
        if self.full.is_empty() {
            self.last.shrink_to_fit();
            return self.last;
        }
        let mut all = Vec::with_capacity(self.full.len() * CHUNK_OBJECTS + self.last.len());
        self.full.into_iter().chain(std::iter::once(self.last)).for_each(|chunk| all.extend(chunk));
        all
    }
}

/// Brings the objects into the order of their keys, each key once: as it was listed last. A listing of S3 is like that
/// already; pages of other servers may overlap when objects are written meanwhile, or come in another order.
pub(super) fn keep_once(objects: &mut Vec<ListedObject>, folders: &Folders) {
    let compare = |a: &ListedObject, b: &ListedObject| folders.compare(a.place(), b.place());
    if objects.is_sorted_by(|a, b| compare(a, b).is_lt()) {
        return;
    }
    objects.sort_by(|a, b| compare(a, b));
    objects.dedup_by(|later, kept| {
        let twice = compare(later, kept).is_eq();
        if twice {
            std::mem::swap(later, kept);
        }
        twice
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_object_is_small() {
        assert!(size_of::<ListedObject>() <= 64);
    }

    #[test]
    fn a_list_keeps_order_across_chunks_and_has_no_room_behind() {
        for objects in [0, 1, CHUNK_OBJECTS, CHUNK_OBJECTS + 1, 3 * CHUNK_OBJECTS + 7] {
            let (mut list, mut folders) = (GrowingList::default(), Folders::new("t/"));
            for n in 0..objects {
                let key = format!("t/{n}");
                let object =
                    ObjectMeta { key, size_bytes: n as u64 + 1, etag: None, last_modified_s: 0, archived: false };
                list.push(ListedObject::new(object, &mut folders, Format::Parquet));
            }
            let all = list.into_vec();
            assert_eq!((all.len(), all.capacity()), (objects, objects));
            assert!(all.iter().enumerate().all(|(n, object)| object.key(&folders) == format!("t/{n}")));
        }
    }
}

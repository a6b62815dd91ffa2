//! The folders of a table's objects, each kept once.
//!
//! With partitions a table has objects of many folders, and their keys are long: behind the table's common folder they
//! would be most of what is kept per object. So an object has the number of its folder and the name behind it.

use std::cmp::Ordering;
use std::collections::HashMap;

/// The number of a folder: two bytes, which a listed object has to spare.
pub type FolderId = u16;

/// Folders by number.
#[derive(Debug)]
pub struct Folders {
    /// The first is what all keys begin with that no other folder has; mostly empty.
    folders: Vec<Box<str>>,
    ids: HashMap<Box<str>, FolderId>,
    /// That of the last key: a listing is sorted, so it is nearly always the same.
    last: FolderId,
    /// No more folders are kept.
    is_full: bool,
}

impl Folders {
    /// No folders but that which every key begins with.
    #[must_use]
    pub fn new(common: &str) -> Self {
        Self { folders: vec![common.into()], ids: HashMap::from([(common.into(), 0)]), last: 0, is_full: false }
    }

    /// One folder only, so that keys are kept as a whole.
    #[must_use]
    pub fn whole_keys() -> Self {
        Self { is_full: true, ..Self::new("") }
    }

    /// The number of the key's folder, and the key behind it. Once the numbers are used up, further folders are no
    /// longer kept apart: their keys are kept behind the common one, with which every key must begin.
    pub fn split<'k>(&mut self, key: &'k str) -> (FolderId, &'k str) {
        let end = key.rfind('/').map_or(0, |slash| slash + 1);
        let (folder, name) = key.split_at(end);
        if self.get(self.last) == folder {
            return (self.last, name);
        }
        let id = self.ids.get(folder).copied().or_else(|| self.add(folder));
        if let Some(id) = id {
            self.last = id;
            return (id, name);
        }
        (0, key.strip_prefix(self.get(0)).unwrap_or(key))
    }

    fn add(&mut self, folder: &str) -> Option<FolderId> {
        let id = FolderId::try_from(self.folders.len()).ok().filter(|_| !self.is_full)?;
        self.folders.push(folder.into());
        self.ids.insert(folder.into(), id);
        Some(id)
    }

    /// A folder.
    #[must_use]
    pub fn get(&self, id: FolderId) -> &str {
        self.folders.get(usize::from(id)).map_or("", |folder| folder)
    }

    /// All keys were seen: what finds the numbers of folders goes.
    pub fn finish(&mut self) {
        self.ids = HashMap::new();
        self.folders.shrink_to_fit();
    }

    /// The folders in which keys lie, and the one with which all begin.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(|folder| &**folder)
    }

    /// How the keys in these folders, with these names, compare.
    #[must_use]
    pub fn compare(&self, a: (FolderId, &str), b: (FolderId, &str)) -> Ordering {
        if a.0 == b.0 {
            return a.1.cmp(b.1);
        }
        let (folder_a, folder_b) = (self.get(a.0), self.get(b.0));
        folder_a.bytes().chain(a.1.bytes()).cmp(folder_b.bytes().chain(b.1.bytes()))
    }

    /// The whole key.
    #[must_use]
    pub fn key(&self, id: FolderId, name: &str) -> String {
        let folder = self.get(id);
        let mut key = String::with_capacity(folder.len() + name.len());
        key.push_str(folder);
        key.push_str(name);
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_is_kept_once() {
        let mut folders = Folders::new("t/");
        let keys = ["t/a/1", "t/a/2", "t/b/1", "t/a/3", "t/4"];
        let split: Vec<_> = keys.iter().map(|key| folders.split(key)).collect();
        assert_eq!(split, [(1, "1"), (1, "2"), (2, "1"), (1, "3"), (0, "4")]);
        for (key, (id, name)) in keys.iter().zip(split) {
            assert_eq!(folders.key(id, name), *key);
        }
        folders.finish();
        assert_eq!((folders.key(2, "1"), folders.iter().count()), ("t/b/1".to_owned(), 3));
    }

    #[test]
    fn keys_compare_as_a_whole() {
        let mut folders = Folders::new("");
        let keys = ["a/b/1", "a-/1", "a/", "a/b", "a/b0/", "b"];
        let split = keys.map(|key| folders.split(key));
        for (a, key_a) in split.iter().zip(keys) {
            for (b, key_b) in split.iter().zip(keys) {
                assert_eq!(folders.compare(*a, *b), key_a.cmp(key_b), "{key_a} {key_b}");
            }
        }
    }

    #[test]
    fn more_folders_than_numbers_still_give_their_keys() {
        let mut folders = Folders::new("t/");
        for n in 0..70_000 {
            let key = format!("t/k={n}/x");
            let (id, name) = folders.split(&key);
            assert_eq!(folders.key(id, name), key);
            assert_eq!(name == "x", n < 65_535, "{n}");
        }
        assert_eq!(folders.folders.len(), 65_536);
    }
}

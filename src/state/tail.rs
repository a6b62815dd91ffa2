//! The end of a stream of rows: which objects were sent so lately that a destination may not have stored them yet.
//!
//! Destinations write in batches: by rows, by bytes and by time, whichever limit is reached first. So an object is *stored*,
//! as far as a source can know, once more rows than a batch has, more bytes than a batch has, and more time than a batch
//! waits lie behind its last row. All three are asked for, since destinations differ in each of them. Where it must be sure,
//! the stream is that of one table: most destinations write each table on its own.
//!
//! Pure: the caller says what time it is. Held are the objects of the tail alone, not those of the whole sync.

use std::collections::VecDeque;
use std::time::Duration;

/// How much has to lie behind an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Time.
    pub age: Duration,
}

/// What CloudQuery's destinations hold back by default, with room: PostgreSQL up to 10,000 rows, 100 MB or 60 s, the other
/// databases as much or less (10,000 rows, 4 MiB to 100 MB, 20 to 60 s); and a message is on its way, too.
pub const LIMITS: Limits = Limits { rows: 20_000, bytes: 128 << 20, age: Duration::from_secs(90) };

/// An object that was sent to its last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left<T> {
    object: T,
    rows: u64,
    bytes: u64,
    at: Duration,
}

/// The end of a stream.
#[derive(Debug)]
pub struct Tail<T> {
    limits: Limits,
    /// Rows sent so far.
    rows: u64,
    /// Bytes sent so far.
    bytes: u64,
    /// In the order in which they were sent.
    objects: VecDeque<Left<T>>,
}

impl<T> Tail<T> {
    /// A stream of which nothing was sent.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, rows: 0, bytes: 0, objects: VecDeque::new() }
    }

    /// Counts a sent message of `rows` rows and `bytes` encoded bytes.
    pub fn message(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
    }

    /// The last message of an object was sent, at `now` since the stream began.
    pub fn object(&mut self, object: T, now: Duration) {
        self.objects.push_back(Left { object, rows: self.rows, bytes: self.bytes, at: now });
    }

    /// Takes out the objects that count as stored at `now`.
    pub fn stored(&mut self, now: Duration) -> Vec<T> {
        let Self { limits, rows, bytes, .. } = *self;
        let is_stored = |left: &Left<T>| {
            rows - left.rows > limits.rows
                && bytes - left.bytes > limits.bytes
                && now.saturating_sub(left.at) > limits.age
        };
        // Each has no more behind it than the one before.
        let stored = self.objects.partition_point(is_stored);
        self.objects.drain(..stored).map(|left| left.object).collect()
    }

    /// The objects that are not known to be stored.
    pub fn objects(&self) -> impl Iterator<Item = &T> {
        self.objects.iter().map(|left| &left.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_stored_when_rows_bytes_and_time_are_behind_it() {
        let limits = Limits { rows: 10, bytes: 100, age: Duration::from_secs(5) };
        let second = Duration::from_secs;
        let mut tail = Tail::new(limits);
        tail.message(50, 5_000);
        tail.object("a", second(1));
        tail.message(1, 1);
        tail.object("b", second(2));
        assert_eq!(tail.stored(second(1_000)), Vec::<&str>::new(), "time alone");
        tail.message(10, 10);
        assert_eq!(tail.stored(second(1_000)), Vec::<&str>::new(), "rows and time");
        tail.message(0, 90);
        assert_eq!(tail.stored(second(6)), Vec::<&str>::new(), "not long enough");
        assert_eq!(tail.stored(second(7)), ["a"], "b has just ten rows behind it");
        assert_eq!(tail.objects().collect::<Vec<_>>(), [&"b"]);
        tail.message(1, 1);
        assert_eq!(tail.stored(second(8)), ["b"]);
    }
}

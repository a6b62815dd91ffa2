//! How many requests a sync makes, by the sizes of its objects, and what they cost. Pure.

use crate::formats::text;
use crate::s3::coalesce::MAX_GET_BYTES;
use crate::sync::need::SMALL_OBJECT_BYTES;

/// The region whose prices these are: the cheapest ones, and those that Amazon's pages show first.
pub(crate) const PRICE_REGION: &str = "us-east-1";
/// Price of a LIST request of S3 Standard, in dollars.
pub(crate) const DOLLARS_PER_LIST: f64 = 0.005 / 1_000.0;
/// Price of a GET request of S3 Standard, in dollars.
pub(crate) const DOLLARS_PER_GET: f64 = 0.0004 / 1_000.0;
/// Price of transfer out of Amazon to the internet, up to 10 TB a month, in dollars. Within a region it is free.
pub(crate) const DOLLARS_PER_GIB_OUT: f64 = 0.09;
/// What Amazon bills as a GB.
const GIB_BYTES: f64 = (1_u64 << 30) as f64;

/// Requests, and the bytes that they bring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// ListObjectsV2.
    pub(crate) lists: u64,
    /// GetObject.
    pub(crate) gets: u64,
    /// Bytes of objects.
    pub(crate) bytes: u64,
}

impl Requests {
    /// Price of the requests, in dollars.
    pub(crate) fn dollars(self) -> f64 {
        self.lists as f64 * DOLLARS_PER_LIST + self.gets as f64 * DOLLARS_PER_GET
    }

    /// Price of the transfer if the bytes leave Amazon for the internet, in dollars.
    pub(crate) fn transfer_dollars(self) -> f64 {
        self.bytes as f64 / GIB_BYTES * DOLLARS_PER_GIB_OUT
    }
}

/// Counts the GETs of a sync, object by object, in the order in which the survey looks at them.
#[derive(Debug)]
pub(crate) struct Gets {
    /// What is left of the memory for small objects that are fetched once.
    reserve_bytes: u64,
    requests: Requests,
}

impl Gets {
    /// None yet, with so much memory for small objects.
    pub(crate) fn new(reserve_bytes: u64, lists: u64) -> Self {
        Self { reserve_bytes, requests: Requests { lists, ..Requests::default() } }
    }

    /// An object that is sent. What is estimated: that its head is as short as most are, and that its row groups fill the
    /// ranges that are fetched at once.
    pub(crate) fn send(&mut self, size_bytes: u64) {
        let gets = if size_bytes > SMALL_OBJECT_BYTES {
            1 + size_bytes.div_ceil(MAX_GET_BYTES)
        } else if size_bytes <= self.reserve_bytes {
            self.reserve_bytes -= size_bytes;
            1
        } else {
            2
        };
        self.requests.gets += gets;
        self.requests.bytes = self.requests.bytes.saturating_add(size_bytes);
    }

    /// An object of text that is sent: it is read in windows, without a look at it.
    pub(crate) fn send_text(&mut self, size_bytes: u64) {
        self.requests.gets += windows(size_bytes);
        self.requests.bytes = self.requests.bytes.saturating_add(size_bytes);
    }

    /// An object of which only the head is read.
    pub(crate) fn look(&mut self) {
        self.requests.gets += 1;
    }

    /// All of them.
    pub(crate) fn requests(&self) -> Requests {
        self.requests
    }
}

/// The windows in which an object of text is read: a small one is fetched whole.
fn windows(size_bytes: u64) -> u64 {
    if size_bytes <= SMALL_OBJECT_BYTES {
        return 1;
    }
    let (mut windows, mut end) = (0, 0);
    while end < size_bytes && text::window_bytes(end) < text::MAX_WINDOW_BYTES {
        end += text::window_bytes(end);
        windows += 1;
    }
    windows + size_bytes.saturating_sub(end).div_ceil(text::MAX_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gets(reserve_bytes: u64, sizes: &[u64]) -> u64 {
        let mut gets = Gets::new(reserve_bytes, 0);
        sizes.iter().for_each(|size| gets.send(*size));
        gets.requests().gets
    }

    #[test]
    fn small_objects_are_fetched_once_while_there_is_room() {
        const MIB: u64 = 1 << 20;
        assert_eq!(gets(128 * MIB, &[1, MIB, 8 * MIB]), 3);
        assert_eq!(gets(8 * MIB, &[8 * MIB, 8 * MIB]), 3);
        assert_eq!(gets(128 * MIB, &[9 * MIB]), 2);
        assert_eq!(gets(0, &[100 * MIB]), 1 + 7);
    }

    #[test]
    fn texts_are_read_in_windows_that_grow() {
        const MIB: u64 = 1 << 20;
        // 0.5, 1.5 and 6 MiB, then 8 MiB each.
        assert_eq!([1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 16 * MIB + 1, 80 * MIB].map(windows), [1, 1, 4, 4, 5, 12]);
    }

    #[test]
    fn prices_are_those_of_the_page() {
        let requests = Requests { lists: 1_000, gets: 1_000_000, bytes: 10 << 30 };
        assert!((requests.dollars() - 0.405).abs() < 1e-9, "{}", requests.dollars());
        assert!((requests.transfer_dollars() - 0.9).abs() < 1e-9);
        let page = include_str!("../../docs/cost.md");
        for price in [DOLLARS_PER_LIST * 1_000.0, DOLLARS_PER_GET * 1_000.0, DOLLARS_PER_GIB_OUT] {
            assert!(page.contains(&format!("${price}")), "docs/cost.md lacks ${price}");
        }
        assert!(page.contains(PRICE_REGION));
    }
}

//! A sorted set of 64-bit hashes as short ASCII text.
//!
//! Differences of sorted random numbers are spread exponentially, for which the Rice code is close to the best there is:
//! the low `k` bits of a difference as they are, the rest in unary. For a set of `n` hashes that takes 64 - log2(n) + 1.6
//! bits each. The bits become text in the Z85 alphabet, five characters for four bytes: no quotes, no backslash, no comma,
//! no space. In characters a hash:
//!
//! | hashes in the set | characters each |
//! |---|---|
//! | 5,000 | 8.3 |
//! | 2,500 | 8.5 |
//! | 1,000 | 8.7 |
//! | 300 | 9.0 |
//!
//! Larger sets are cut into chunks by the ledger, so it is the size of a chunk that counts.

/// The alphabet of Z85 (ZeroMQ RFC 32).
const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
/// Bytes and characters of a group.
const GROUP_BYTES: usize = 4;
const GROUP_CHARS: usize = 5;
/// Bits of a hash.
const HASH_BITS: u32 = 64;

/// The number of low bits of a difference that are written as they are, for a set of `count` hashes. Frozen. With it a
/// set of any hashes, however unevenly spread, takes at most `count * (k + 1) + 2 * count` bits.
fn low_bits(count: usize) -> u32 {
    HASH_BITS - 1 - count.max(1).ilog2()
}

/// The text of `hashes`, which must be sorted and without doubles.
pub(super) fn encode(hashes: &[u64]) -> String {
    let low = low_bits(hashes.len());
    let mut bits = BitWriter::default();
    let mut previous = 0;
    for &hash in hashes {
        let difference = hash - previous;
        previous = hash;
        let mut ones = difference >> low;
        while ones > 0 {
            let now = ones.min(32);
            bits.put((1 << now) - 1, now as u32);
            ones -= now;
        }
        bits.put(0, 1);
        bits.put(difference & ((1 << low) - 1), low);
    }
    to_text(&bits.finish())
}

/// The `count` hashes that [`encode`] made `text` of, sorted.
pub(super) fn decode(text: &str, count: usize) -> Result<Vec<u64>, &'static str> {
    // Each takes more than one character: a wrong count must not ask for memory without bound.
    if count > text.len() {
        return Err("it is too short for its number of hashes");
    }
    let bytes = from_text(text)?;
    let low = low_bits(count);
    let mut bits = BitReader { bytes: &bytes, bit: 0 };
    let mut hashes = Vec::with_capacity(count);
    let mut previous: u64 = 0;
    for index in 0..count {
        let mut high: u64 = 0;
        while bits.take(1)? == 1 {
            high += 1;
        }
        if low > 0 && high > u64::MAX >> low {
            return Err("a hash is too large");
        }
        let difference = high << low | bits.take(low)?;
        let hash = previous.checked_add(difference).ok_or("a hash is too large")?;
        if index > 0 && difference == 0 {
            return Err("a hash is there twice");
        }
        hashes.push(hash);
        previous = hash;
    }
    if bytes.len() * 8 - bits.bit >= GROUP_BYTES * 8 {
        return Err("it is too long for its number of hashes");
    }
    Ok(hashes)
}

/// Collects bits, the highest of each byte first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// The last bits, fewer than 8 between two calls.
    pending: u128,
    pending_bits: u32,
}

impl BitWriter {
    /// Adds the low `bits` (at most 64) of `value`, which must have no others.
    fn put(&mut self, value: u64, bits: u32) {
        self.pending = self.pending << bits | u128::from(value);
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            self.pending_bits -= 8;
            self.bytes.push((self.pending >> self.pending_bits) as u8);
        }
        self.pending &= (1 << self.pending_bits) - 1;
    }

    /// The bytes, filled up with zeros to whole groups.
    fn finish(mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.put(0, 8 - self.pending_bits);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(GROUP_BYTES), 0);
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    bit: usize,
}

impl BitReader<'_> {
    /// The next `bits` (at most 64) as a number.
    fn take(&mut self, bits: u32) -> Result<u64, &'static str> {
        let mut value: u128 = 0;
        let mut missing = bits;
        while missing > 0 {
            let byte = *self.bytes.get(self.bit / 8).ok_or("it is too short for its number of hashes")?;
            let offset = (self.bit % 8) as u32;
            let now = missing.min(8 - offset);
            let part = (byte >> (8 - offset - now)) & (0xff >> (8 - now)) as u8;
            value = value << now | u128::from(part);
            missing -= now;
            self.bit += now as usize;
        }
        Ok(value as u64)
    }
}

/// Z85; the bytes must be whole groups.
fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / GROUP_BYTES * GROUP_CHARS);
    for group in bytes.chunks_exact(GROUP_BYTES) {
        let number = group.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        for divisor in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(number / divisor % 85) as usize]));
        }
    }
    text
}

fn from_text(text: &str) -> Result<Vec<u8>, &'static str> {
    const NONE: u8 = 0xff;
    const DIGITS: [u8; 256] = {
        let mut digits = [NONE; 256];
        let mut index = 0;
        while index < ALPHABET.len() {
            digits[ALPHABET[index] as usize] = index as u8;
            index += 1;
        }
        digits
    };
    if !text.len().is_multiple_of(GROUP_CHARS) {
        return Err("it was cut");
    }
    let mut bytes = Vec::with_capacity(text.len() / GROUP_CHARS * GROUP_BYTES);
    for group in text.as_bytes().chunks_exact(GROUP_CHARS) {
        let mut number: u64 = 0;
        for &char in group {
            let digit = DIGITS[usize::from(char)];
            if digit == NONE {
                return Err("it has a character outside its alphabet");
            }
            number = number * 85 + u64::from(digit);
        }
        let number = u32::try_from(number).map_err(|_| "it has a group of characters that no number gives")?;
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(count: usize, seed: u64) -> Vec<u64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut hashes: Vec<u64> = (0..count).map(|_| random.u64(..)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    #[test]
    fn z85_as_its_rfc_has_it() {
        let bytes = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        assert_eq!(to_text(&bytes), "HelloWorld");
        assert_eq!(from_text("HelloWorld").unwrap(), bytes);
        assert!(ALPHABET.iter().all(|c| !b"\"'\\`, ".contains(c)));
    }

    #[test]
    fn characters_a_hash_by_size_of_the_set() {
        for (count, most) in [(300, 9.0), (1_000, 8.75), (2_500, 8.51), (5_000, 8.33), (5_500, 8.33)] {
            let text = encode(&random(count, 1));
            let each = text.len() as f64 / count as f64;
            assert!(each <= most, "{count}: {each}");
        }
    }

    #[test]
    fn the_worst_sets_stay_within_the_bound() {
        let count = 5_500;
        let crowded: Vec<u64> = (0..count).chain([u64::MAX]).collect();
        let bound_bits = crowded.len() * (low_bits(crowded.len()) as usize + 3);
        assert!(encode(&crowded).len() <= bound_bits.div_ceil(32) * GROUP_CHARS);
    }

    #[test]
    fn text_that_is_none_is_refused() {
        let hashes = random(100, 2);
        let text = encode(&hashes);
        assert_eq!(decode(&text, 100).unwrap(), hashes);
        for (text, count, what) in [
            (&text[..text.len() - 5], 100, "too short"),
            (&text[1..], 100, "cut"),
            (&text, 90, ""),
            (&text, usize::MAX, "too short"),
            ("\"\"\"\"\"", 1, "alphabet"),
            ("#####", 1, "group"),
            ("00000000000000000000", 2, "twice"),
        ] {
            let error = decode(text, count).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_set_survives(mut hashes in prop::collection::vec(any::<u64>(), 0..200), near in 0..1_000_u64) {
            hashes.extend([near, near + 1, u64::MAX - near]);
            hashes.sort_unstable();
            hashes.dedup();
            prop_assert_eq!(decode(&encode(&hashes), hashes.len()), Ok(hashes));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-zA-Z#$%]{0,60}", count in 0..70_usize) {
            let _ = decode(&text, count);
        }
    }
}

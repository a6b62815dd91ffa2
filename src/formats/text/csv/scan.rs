//! Which bytes of a text matter, 64 at a time: one bit a byte.
//!
//! Plain loops over arrays of fixed length, which compilers turn into vector instructions: no `unsafe`, no code of one
//! processor. Looking for one byte after the other costs more where they are near to each other, as in CSV.

/// Bytes that one mask stands for.
pub(super) const BLOCK: usize = 64;

/// The low bit of each byte of a word is moved to the word's highest byte by this factor, in their order.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// A set of bytes to look for. Fewer than `N` are given by naming one twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needles<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Needles<N> {
    /// The bits of those bytes of `block` that are in the set; the lowest one stands for the first byte.
    #[inline]
    pub(super) fn bits(self, block: &[u8; BLOCK]) -> u64 {
        let mut found = [0_u8; BLOCK];
        for (found, byte) in found.iter_mut().zip(block) {
            let mut any = false;
            for needle in self.0 {
                any |= *byte == needle;
            }
            *found = u8::from(any);
        }
        let (words, _) = found.as_chunks::<8>();
        let mut bits = 0;
        for (index, word) in words.iter().enumerate() {
            bits |= (u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56) << (8 * index);
        }
        bits
    }
}

/// The block of `bytes` at `at`, and the bits of it that are there: behind the end it is filled up.
#[inline]
pub(super) fn block(bytes: &[u8], at: usize) -> Option<([u8; BLOCK], u64)> {
    let rest = bytes.get(at..)?;
    if let Some(block) = rest.first_chunk::<BLOCK>() {
        return Some((*block, u64::MAX));
    }
    if rest.is_empty() {
        return None;
    }
    let mut block = [0; BLOCK];
    block.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    Some((block, (1 << rest.len()) - 1))
}

/// The places of the bytes of a set, one after the other.
#[derive(Debug)]
pub(super) struct Marks<'a, const N: usize> {
    bytes: &'a [u8],
    needles: Needles<N>,
    /// Where the block begins.
    at: usize,
    /// Its bits that are still to come.
    bits: u64,
}

impl<'a, const N: usize> Marks<'a, N> {
    pub(super) fn new(bytes: &'a [u8], needles: Needles<N>) -> Self {
        let mut marks = Self { bytes, needles, at: 0, bits: 0 };
        marks.load(0);
        marks
    }

    #[inline]
    fn load(&mut self, at: usize) -> bool {
        self.at = at;
        match block(self.bytes, at) {
            Some((block, there)) => {
                self.bits = self.needles.bits(&block) & there;
                true
            }
            None => false,
        }
    }

    /// The next place; the length of the text where there is no further one.
    #[inline(always)]
    pub(super) fn next(&mut self) -> usize {
        while self.bits == 0 {
            if !self.load(self.at + BLOCK) {
                self.at -= BLOCK;
                return self.bytes.len();
            }
        }
        let place = self.at + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        place
    }

    /// Goes on at `place`, which is not before those that were given.
    #[inline]
    pub(super) fn skip_to(&mut self, place: usize) {
        let block = place - place % BLOCK;
        if block != self.at && !self.load(block) {
            self.bits = 0;
            return;
        }
        self.bits &= u64::MAX << (place % BLOCK);
    }
}

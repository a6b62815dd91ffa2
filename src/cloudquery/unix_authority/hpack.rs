//! Strings and integers of HPACK (RFC 7541 §5), as far as the repair of one field needs them.

use httlib_huffman::DecoderSpeed;

/// A string literal of HPACK (RFC 7541 §5.2), still encoded.
pub(super) struct HpackString<'a> {
    /// The string, Huffman coded or not.
    pub(super) bytes: &'a [u8],
    /// Whether it is Huffman coded.
    pub(super) huffman: bool,
    /// Index of the first byte behind it.
    pub(super) end: usize,
}

impl<'a> HpackString<'a> {
    /// Parses the string at index `at` of a header block; `None` if it is malformed.
    pub(super) fn parse(block: &'a [u8], at: usize) -> Option<Self> {
        let huffman = block.get(at)? & 0x80 != 0;
        let (length, start) = integer(block, at, 7)?;
        let end = start.checked_add(length)?;
        Some(Self { bytes: block.get(start..end)?, huffman, end })
    }

    /// The text, or `None` if the Huffman code is malformed.
    pub(super) fn decode(&self) -> Option<Vec<u8>> {
        if !self.huffman {
            return Some(self.bytes.to_vec());
        }
        let mut decoded = Vec::with_capacity(self.bytes.len() * 2);
        httlib_huffman::decode(self.bytes, &mut decoded, DecoderSpeed::FourBits).ok()?;
        Some(decoded)
    }
}

/// The integer of HPACK at index `at` with a prefix of `prefix_bits` bits (RFC 7541 §5.1), and the index of the first byte
/// behind it. `None` if it is cut off or longer than any length in a block.
pub(super) fn integer(block: &[u8], at: usize, prefix_bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*block.get(at)?) & mask;
    let mut next = at + 1;
    if value < mask {
        return Some((value, next));
    }
    // Four more bytes hold 28 bits: more than the length of any block that is collected.
    for shift in [0, 7, 14, 21] {
        let byte = usize::from(*block.get(next)?);
        next += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, next));
        }
    }
    None
}

/// Appends an integer with a prefix of `prefix_bits` bits; the bits above the prefix are 0.
pub(super) fn put_integer(output: &mut Vec<u8>, mut value: usize, prefix_bits: u32) {
    let mask = (1_usize << prefix_bits) - 1;
    let low = |bits: usize| u8::try_from(bits & 0xff).unwrap_or(u8::MAX);
    if value < mask {
        output.push(low(value));
        return;
    }
    output.push(low(mask));
    value -= mask;
    while value >= 0x80 {
        output.push(low(value & 0x7f | 0x80));
        value >>= 7;
    }
    output.push(low(value));
}

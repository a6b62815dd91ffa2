//! Objects that are cut off, damaged, or something else.

use super::*;

/// What is behind the end of a member of `compression`, if `packed[..at]` is all there is.
fn may_end(compression: Compression, at: usize) -> bool {
    // Snappy's streams have no end of their own: they may stop behind any chunk, as behind the first, of ten bytes.
    compression == Compression::Snappy && at == snappy::MAGIC.len()
}

#[test]
fn whatever_is_cut_off_is_said_so_after_its_beginning() {
    for (compression, packed) in SMALL {
        for at in 0..packed.len() {
            let (unpacked, error) = unpack(*compression, &packed[..at]);
            assert!(text(SMALL_LINES).starts_with(&unpacked), "{compression} cut at {at}");
            let truncated = error.as_ref().is_some_and(UnpackError::is_truncated);
            assert!(truncated || may_end(*compression, at), "{compression} cut at {at}: {error:?}");
        }
    }
}

#[test]
fn most_of_a_file_that_is_cut_off_comes_out() {
    for (compression, name, packed) in WHOLE {
        let whole = text(WHOLE_LINES);
        let (unpacked, error) = unpack(*compression, &packed[..packed.len() * 9 / 10]);
        assert!(whole.starts_with(&unpacked), "{name}");
        // bzip2 has blocks of up to 900 kB, and nothing of one comes out before it is whole; zstd's have 128 KiB.
        let some = unpacked.len() > whole.len() / 3 || *compression == Compression::Bzip2;
        assert!(some, "{name}: {} bytes", unpacked.len());
        let truncated = error.is_some_and(|error| error.is_truncated());
        // What lacks may be zeros behind the end.
        assert!(truncated || unpacked == whole, "{name}");
    }
}

#[test]
fn a_bit_that_flips_is_never_taken_for_content() {
    for (compression, packed) in SMALL {
        for bit in 0..packed.len() * 8 {
            let mut damaged = packed.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (unpacked, error) = unpack(*compression, &damaged);
            // A few bits say nothing of the content, as the time in gzip's header.
            let unharmed = unpacked == text(SMALL_LINES);
            assert!(
                error.is_some() || unharmed || is_no_longer_a_chunk(*compression, bit / 8),
                "{compression} bit {bit}"
            );
        }
    }
}

/// Snappy passes over chunks of types that it does not know, so the type is the one byte that nothing guards.
fn is_no_longer_a_chunk(compression: Compression, at: usize) -> bool {
    compression == Compression::Snappy && at == snappy::MAGIC.len()
}

#[test]
fn what_stands_behind_the_end_is_an_error_behind_the_content() {
    for (compression, packed) in SMALL {
        for behind in ["trailing text", "t", "\0\0\0\0t"] {
            let (unpacked, error) = unpack(*compression, &[packed, behind.as_bytes()].concat());
            assert_eq!(unpacked, text(SMALL_LINES), "{compression}");
            let at = (packed.len() + behind.len() - behind.trim_start_matches('\0').len()) as u64;
            let expected = UnpackError::Trailing { compression: *compression, at };
            assert_eq!(error, Some(expected), "{compression}, {behind:?}");
        }
    }
    let error = UnpackError::Trailing { compression: Compression::Gzip, at: 12 }.to_string();
    assert!(error.starts_with("bytes behind the end of the gzip stream: byte 12 begins"), "{error}");
}

#[test]
fn a_wrong_checksum_is_named_behind_the_content() {
    let mut packed = made!("small.gz").to_vec();
    let at = packed.len() - 8;
    packed[at] ^= 1;
    let (unpacked, error) = unpack(Compression::Gzip, &packed);
    assert_eq!(unpacked, text(SMALL_LINES));
    assert_eq!(error.unwrap().to_string(), "damaged gzip stream: its checksum is wrong");
}

#[test]
fn variants_that_are_not_read_are_named() {
    let error = |compression, packed| unpack(compression, packed).1.unwrap().to_string();
    assert_eq!(
        error(Compression::Lz4, made!("legacy.lz4")),
        "lz4 stream that can't be read: it is the legacy format (`lz4 -l`): compress it without `-l`"
    );
    let raw = error(Compression::Snappy, made!("raw.snappy"));
    assert!(
        raw.starts_with("not a snappy stream: it begins with") && raw.contains("raw blocks and those of Hadoop"),
        "{raw}"
    );
    // Hadoop's: lengths of a block and of its part, big-endian, before raw data.
    let hadoop = [&[0, 0, 0, 200, 0, 0, 0, 102], made!("raw.snappy")].concat();
    assert!(error(Compression::Snappy, &hadoop).contains("those of Hadoop"));
    assert!(error(Compression::Lz4, &hadoop).contains("those of Hadoop"));
    let plain = error(Compression::Gzip, b"id,name\n");
    assert_eq!(
        plain,
        "not a gzip stream: it begins with \"id,name\\n\"; leave out `compression`, or set it to what the object is"
    );
}

/// Files of every kind, large and small.
fn any_file() -> impl Strategy<Value = (Compression, &'static [u8])> {
    let all: Vec<_> =
        SMALL.iter().copied().chain(WHOLE.iter().map(|(compression, _, packed)| (*compression, *packed))).collect();
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Damage costs the same, and is called the same, however the object was cut.
    #[test]
    fn damage_does_not_depend_on_cuts(
        (compression, packed) in any_file(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in prop::collection::vec(1_usize..5_000, 1..40),
    ) {
        let mut damaged = packed.to_vec();
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        let limits = UnpackLimits { max_expansion: u64::MAX, max_decompressed_bytes: Some(16 << 20) };
        let whole = unpack_cut(compression, &damaged, &[], limits);
        prop_assert!(whole.0.len() <= 16 << 20);
        let cut = unpack_cut(compression, &damaged, &cuts, limits);
        prop_assert_eq!(&cut.1, &whole.1);
        // The decoder of bzip2 forgets what it wrote of a damaged block since it was called: how much depends on the calls.
        let same = cut.0 == whole.0
            || (compression == Compression::Bzip2 && (cut.0.starts_with(&whole.0) || whole.0.starts_with(&cut.0)));
        prop_assert!(same, "{}: {} and {} bytes", compression, cut.0.len(), whole.0.len());
    }

    /// Whatever follows a beginning that looks right ends in an error or in content within the limit.
    #[test]
    fn rubbish_does_no_harm(
        (compression, packed) in any_file(),
        kept in 0_usize..40,
        rubbish in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let limits = UnpackLimits { max_expansion: 1_000, max_decompressed_bytes: Some(1 << 20) };
        let begin = &packed[..kept.min(packed.len())];
        let (unpacked, _) = unpack_cut(compression, &[begin, &rubbish].concat(), &[], limits);
        prop_assert!(unpacked.len() <= 1 << 20);
    }
}

//! How much comes out, and how much memory that takes.

use super::*;

/// A frame of Zstandard without a size, of this many blocks that repeat a byte 128 Ki times: four bytes each.
fn bomb(blocks: usize) -> Vec<u8> {
    let window_of_1_mib = 10 << 3;
    let mut packed = [zstd::MAGIC, &[0, window_of_1_mib]].concat();
    for block in 1..=blocks {
        let header: u32 = (128 << 10) << 3 | 1 << 1 | u32::from(block == blocks);
        packed.extend_from_slice(&header.to_le_bytes()[..3]);
        packed.push(b'\n');
    }
    packed
}

const MIB: usize = 1 << 20;

#[test]
fn growth_is_limited_once_64_mib_came_out() {
    let limits = UnpackLimits { max_expansion: 1_000, max_decompressed_bytes: None };
    let (unpacked, error) = unpack_cut(Compression::Zstd, &bomb(64 * 8), &[], limits);
    assert_eq!((unpacked.len(), error), (64 * MIB, None), "small objects may be as dense as they like");

    let (unpacked, error) = unpack_cut(Compression::Zstd, &bomb(10 * 1024 * 8), &[], limits);
    assert!((64 * MIB..=66 * MIB).contains(&unpacked.len()), "{} bytes", unpacked.len());
    let error = error.unwrap().to_string();
    assert!(error.starts_with("64.") && error.contains("more than 1000 times as much"), "{error}");
    assert!(error.ends_with("raise `limits.max_expansion` if that is right"), "{error}");

    let limits = UnpackLimits { max_expansion: 100_000, max_decompressed_bytes: None };
    let (unpacked, error) = unpack_cut(Compression::Zstd, &bomb(100 * 8), &[], limits);
    assert_eq!((unpacked.len(), error), (100 * MIB, None));
}

#[test]
fn two_layers_together_grow_no_more_than_one() {
    let limits = UnpackLimits { max_expansion: 1_000, max_decompressed_bytes: None };
    let inner = bomb(100 * 8);
    let whole = |object_bytes| {
        let mut unpacker = Unpacker::new(Compression::Zstd, limits);
        unpacker.push_inner(inner.clone().into(), object_bytes);
        let mut bytes = 0;
        while let Some(piece) = unpacker.next()? {
            bytes += piece.len();
        }
        Ok(bytes)
    };
    assert_eq!(whole(1 << 20), Ok(100 * MIB));
    assert!(matches!(whole(1 << 10), Err(UnpackError::Expansion { packed_bytes: 1024, .. })));
}

#[test]
fn the_whole_is_limited_to_the_byte() {
    let whole = text(WHOLE_LINES);
    for (compression, name, packed) in WHOLE {
        let limit = |max_bytes| UnpackLimits { max_expansion: 1_000, max_decompressed_bytes: Some(max_bytes) };
        let (unpacked, error) = unpack_cut(*compression, packed, &[], limit(100_001));
        assert!(unpacked == whole[..100_001], "{name}: {} bytes", unpacked.len());
        assert_eq!(error, Some(UnpackError::Decompressed { max_bytes: 100_001 }), "{name}");
        let (unpacked, error) = unpack_cut(*compression, packed, &[], limit(whole.len() as u64));
        assert!(unpacked == whole && error.is_none(), "{name}");
    }
    let error = UnpackError::Decompressed { max_bytes: 10 << 30 }.to_string();
    assert_eq!(error, "the object unpacks to more than 10 GiB: raise `limits.max_decompressed` if that is right");
}

#[test]
fn windows_and_dictionaries_are_limited() {
    let (unpacked, error) = unpack(Compression::Zstd, made!("long31.zst"));
    assert!(unpacked.is_empty());
    assert_eq!(
        error.unwrap().to_string(),
        "the zstd window is 2 GiB, more than 128 MiB: compress without `zstd --long`, or with `--long=27` at most"
    );
    let (unpacked, error) = unpack(Compression::Xz, made!("large_dictionary.xz"));
    assert!(unpacked.is_empty());
    assert_eq!(
        error.unwrap().to_string(),
        "the xz dictionary is 256 MiB, more than 64 MiB: compress with `xz -9` at most, whose dictionary is as large as that"
    );
}

#[test]
fn the_codecs_memory_is_told_by_the_first_bytes() {
    let within = |compression, packed: &[u8], least: u64, most: u64| {
        let bytes = codec_bytes(compression, packed);
        assert!((least..=most).contains(&bytes), "{compression}: {bytes}");
    };
    let mib = MIB as u64;
    within(Compression::Zstd, made!("window.zst"), 128 << 10, mib);
    within(Compression::Zstd, made!("frames.zst"), 128 << 10, mib);
    within(Compression::Zstd, made!("long31.zst"), 128 * mib, 129 * mib);
    within(Compression::Zstd, &made!("tool.zst")[..5], 128 * mib, 129 * mib);
    within(Compression::Xz, made!("tool.xz"), 8 * mib, 9 * mib);
    within(Compression::Xz, &made!("tool.xz")[..12], 64 * mib, 65 * mib);
    within(Compression::Xz, made!("large_dictionary.xz"), 64 * mib, 65 * mib);
    within(Compression::None, b"id", 0, 0);
}

#[test]
fn memory_is_what_was_said_a_piece_and_what_was_pushed() {
    for (compression, name, packed) in WHOLE {
        let said = codec_bytes(*compression, packed);
        let mut unpacker = Unpacker::new(*compression, NO_LIMITS);
        for window in packed.chunks(10_000) {
            unpacker.push(Bytes::copy_from_slice(window));
            loop {
                let held_bytes = unpacker.held_bytes();
                let most = said + (PIECE_BYTES + packed.len()) as u64;
                assert!(held_bytes <= most, "{name}: {held_bytes} of {most}");
                if unpacker.next().unwrap().is_none() {
                    break;
                }
            }
        }
    }
}

proptest! {
    /// What a header claims costs nothing before it is there.
    #[test]
    fn headers_do_not_ask_for_memory(header in prop::collection::vec(any::<u8>(), 0..30)) {
        for (compression, packed) in SMALL {
            let mut unpacker = Unpacker::new(*compression, NO_LIMITS);
            unpacker.push([&packed[..4], &header].concat().into());
            while let Ok(Some(_)) = unpacker.next() {}
            prop_assert!(unpacker.held_bytes() <= codec_bytes(*compression, b"") + (1 << 20));
        }
    }
}

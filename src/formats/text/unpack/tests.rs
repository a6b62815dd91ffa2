//! Files of real tools, in any cuts; damage is in [`damage`], limits are in [`limits`].

mod damage;
mod limits;
mod speed;

use super::*;
use proptest::prelude::*;

/// Reads a file of tests/fixtures/unpack, which make.py there makes.
macro_rules! made {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/unpack/", $name)).as_slice()
    };
}
use made;

const NO_LIMITS: UnpackLimits = UnpackLimits { max_expansion: u64::MAX, max_decompressed_bytes: None };

/// Lines of [`text`] in the large files and in the small ones.
const WHOLE_LINES: u64 = 5_000;
const SMALL_LINES: u64 = 5;

const WHOLE: &[(Compression, &str, &[u8])] = &[
    (Compression::Gzip, "tool.gz", made!("tool.gz")),
    (Compression::Gzip, "members.gz", made!("members.gz")),
    (Compression::Gzip, "padded.gz", made!("padded.gz")),
    (Compression::Gzip, "blocks.bgzf.gz", made!("blocks.bgzf.gz")),
    (Compression::Zstd, "tool.zst", made!("tool.zst")),
    (Compression::Zstd, "long.zst", made!("long.zst")),
    (Compression::Zstd, "frames.zst", made!("frames.zst")),
    (Compression::Zstd, "window.zst", made!("window.zst")),
    (Compression::Bzip2, "tool.bz2", made!("tool.bz2")),
    (Compression::Bzip2, "streams.bz2", made!("streams.bz2")),
    (Compression::Lz4, "tool.lz4", made!("tool.lz4")),
    (Compression::Lz4, "tool_blocks.lz4", made!("tool_blocks.lz4")),
    (Compression::Lz4, "linked.lz4", made!("linked.lz4")),
    (Compression::Lz4, "independent.lz4", made!("independent.lz4")),
    (Compression::Snappy, "tool.sz", made!("tool.sz")),
    (Compression::Snappy, "streams.sz", made!("streams.sz")),
    (Compression::Xz, "tool.xz", made!("tool.xz")),
    (Compression::Xz, "streams.xz", made!("streams.xz")),
    (Compression::Xz, "blocks.xz", made!("blocks.xz")),
];

/// Each has a checksum of its content.
const SMALL: &[(Compression, &[u8])] = &[
    (Compression::Gzip, made!("small.gz")),
    (Compression::Zstd, made!("small.zst")),
    (Compression::Bzip2, made!("small.bz2")),
    (Compression::Lz4, made!("small.lz4")),
    (Compression::Snappy, made!("small.sz")),
    (Compression::Xz, made!("small.xz")),
];

/// What is in the files.
fn text(lines: u64) -> Vec<u8> {
    let line = |i: u64| format!("{i},item-{},{}.{:02},the quick brown fox\n", i * 7919 % 97, i * 31 % 1000, i % 100);
    (0..lines).flat_map(|i| line(i).into_bytes()).collect()
}

/// What came out, and why it ended.
type Outcome = (Vec<u8>, Option<UnpackError>);

/// Unpacks `packed`, pushed in pieces of these lengths, and the rest as one piece.
fn unpack_cut(compression: Compression, packed: &[u8], cuts: &[usize], limits: UnpackLimits) -> Outcome {
    let mut unpacker = Unpacker::new(compression, limits);
    let mut out = Vec::new();
    let mut rest = Bytes::copy_from_slice(packed);
    let mut cuts = cuts.iter();
    loop {
        loop {
            match unpacker.next() {
                Ok(Some(piece)) => {
                    assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES, "a piece of {} bytes", piece.len());
                    out.extend_from_slice(&piece);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(unpacker.next().unwrap_err(), error, "an error stays");
                    return (out, Some(error));
                }
            }
        }
        if rest.is_empty() {
            unpacker.finish();
            match unpacker.next() {
                Ok(None) => return (out, None),
                Ok(Some(piece)) => out.extend_from_slice(&piece),
                Err(error) => return (out, Some(error)),
            }
            continue;
        }
        let length = cuts.next().copied().unwrap_or(usize::MAX).min(rest.len());
        unpacker.push(rest.split_to(length));
    }
}

fn unpack(compression: Compression, packed: &[u8]) -> Outcome {
    unpack_cut(compression, packed, &[], NO_LIMITS)
}

#[test]
fn files_of_all_tools_are_unpacked_whole() {
    let expected = text(WHOLE_LINES);
    for (compression, name, packed) in WHOLE {
        assert_eq!(Compression::of_bytes(&packed[..8]), *compression, "{name}");
        let (unpacked, error) = unpack(*compression, packed);
        assert_eq!(error, None, "{name}");
        assert!(unpacked == expected, "{name}: {} of {} bytes", unpacked.len(), expected.len());
    }
}

#[test]
fn a_skippable_frame_before_lz4_needs_the_compression_named() {
    let packed = made!("frames.lz4");
    assert_eq!(unpack(Compression::Lz4, packed), (text(WHOLE_LINES), None));
    assert_eq!(Compression::of_bytes(packed), Compression::Zstd, "both formats have the same magic there");
}

#[test]
fn one_byte_at_a_time_gives_the_same() {
    for (compression, name, packed) in WHOLE {
        let (unpacked, error) = unpack_cut(*compression, packed, &vec![1; packed.len()], NO_LIMITS);
        assert!(error.is_none() && unpacked == text(WHOLE_LINES), "{name}: {error:?}");
    }
}

#[test]
fn members_follow_one_another_with_zeros_between() {
    for (compression, packed) in SMALL {
        let joined = [packed, packed, [0; 7].as_slice(), packed, &[0; 4]].concat();
        let (unpacked, error) = unpack(*compression, &joined);
        assert_eq!(error, None, "{compression}");
        assert_eq!(unpacked, text(SMALL_LINES).repeat(3), "{compression}");
    }
}

#[test]
fn plain_bytes_go_through_without_a_copy() {
    let bytes = Bytes::from(text(SMALL_LINES));
    let mut unpacker = Unpacker::new(Compression::None, NO_LIMITS);
    unpacker.push(Bytes::new());
    unpacker.push(bytes.clone());
    assert_eq!(unpacker.held_bytes(), bytes.len() as u64);
    let piece = unpacker.next().unwrap().unwrap();
    assert_eq!((piece.as_ptr(), piece.len()), (bytes.as_ptr(), bytes.len()));
    assert!(!unpacker.is_finished());
    unpacker.finish();
    assert_eq!(unpacker.next(), Ok(None));
    assert!(unpacker.is_finished() && unpacker.held_bytes() == 0);
}

#[test]
fn text_is_no_compression() {
    let texts: &[&[u8]] = &[
        b"",
        b"i",
        b"id,name\n1,a\n",
        b"BZhour,count\n",
        b"BZh9",
        b"BZh91AY,1\n",
        b"{\"a\":1}\n",
        b"P*M,1,2,3",
        b"PK\x03\x04....",
        b"\xef\xbb\xbfid,name",
        b"(\xb5",
        b"\x1f",
        b"sNaPpY",
    ];
    for text in texts {
        assert_eq!(Compression::of_bytes(text), Compression::None, "{}", text.escape_ascii());
    }
    assert_eq!(Compression::of_bytes(b"\x1f\x8b"), Compression::Gzip, "cut off behind its magic");
    assert_eq!(Compression::of_bytes(made!("legacy.lz4")), Compression::Lz4, "so that the error says what it is");
}

proptest! {
    #[test]
    fn cuts_change_nothing(file in 0..WHOLE.len(), cuts in prop::collection::vec(1_usize..20_000, 0..40)) {
        let (compression, name, packed) = WHOLE[file];
        let (unpacked, error) = unpack_cut(compression, packed, &cuts, NO_LIMITS);
        prop_assert!(error.is_none() && unpacked == text(WHOLE_LINES), "{}: {:?}", name, error);
    }
}

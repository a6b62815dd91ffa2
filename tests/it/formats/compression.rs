//! Compressed objects: what they are packed with, their bytes say, whatever their names.

use super::{rows, synced};
use serde_json::json;
use std::io::Write as _;

const TEXT: &str = "id,name\n1,a\n2,b\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = snap::write::FrameEncoder::new(Vec::new());
    out.write_all(bytes).unwrap();
    out.into_inner().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = liblzma::write::XzEncoder::new(Vec::new(), 6);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn the_same_rows_come_out_of_every_compression() {
    let objects = [
        ("t/a.csv", TEXT.as_bytes().to_vec()),
        ("t/b.csv.gz", gzip(TEXT.as_bytes())),
        ("t/c.csv.zst", zstd(TEXT.as_bytes())),
        ("t/d.csv.bz2", bzip2(TEXT.as_bytes())),
        ("t/e.csv.lz4", lz4(TEXT.as_bytes())),
        ("t/f.csv.sz", snappy(TEXT.as_bytes())),
        ("t/g.csv.xz", xz(TEXT.as_bytes())),
        // What the bytes are counts, not what the name says.
        ("t/h.csv", gzip(TEXT.as_bytes())),
        ("t/i.csv.gz", TEXT.as_bytes().to_vec()),
        ("t/j.csv.gz", gzip(&gzip(TEXT.as_bytes()))),
    ];
    let objects: Vec<(&str, &[u8])> = objects.iter().map(|(key, bytes)| (*key, &bytes[..])).collect();
    let (sync, log) = synced(&objects, json!({"filetype": "csv"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(rows(&sync, "t"), [["1 a -"; 10], ["2 b -"; 10]].concat());
    log.assert_clean();
}

#[tokio::test]
async fn all_members_and_frames_are_read() {
    let (first, rest) = TEXT.as_bytes().split_at(11);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"skip"].concat();
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("t/a.csv.gz", [gzip(first), gzip(rest), vec![0; 512]].concat()),
        ("t/b.csv.zst", [skippable, zstd(first), zstd(rest)].concat()),
        ("t/c.csv.bz2", [bzip2(first), bzip2(rest)].concat()),
        ("t/d.csv.lz4", [lz4(first), lz4(rest)].concat()),
        ("t/e.csv.sz", [snappy(first), snappy(rest)].concat()),
        ("t/f.csv.xz", [xz(first), xz(rest)].concat()),
    ];
    let objects: Vec<(&str, &[u8])> = objects.iter().map(|(key, bytes)| (*key, &bytes[..])).collect();
    let (sync, _) = synced(&objects, json!({"filetype": "csv"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(rows(&sync, "t"), [["1 a -"; 6], ["2 b -"; 6]].concat());
}

#[tokio::test]
async fn what_is_damaged_is_an_error_behind_its_whole_records() {
    let text = format!("id,name\n{}", (0..50_000).map(|n| format!("{n},{}\n", n * 7919 % 10_007)).collect::<String>());
    let whole = gzip(text.as_bytes());
    let mut crc = whole.clone();
    let at = crc.len() - 6;
    crc[at] ^= 1;
    for (bytes, said) in [
        (whole[..whole.len() * 9 / 10].to_vec(), "early"),
        ([&whole[..], b"and more"].concat(), "behind the end"),
        (crc, "checksum"),
    ] {
        let (sync, log) = synced(&[("t/a.csv.gz", &bytes)], json!({"filetype": "csv"})).await;
        let status = sync.status.clone().expect("the object is in error");
        assert!(status.message().contains("t/a.csv.gz") && status.message().contains(said), "{}", status.message());
        assert!(sync.rows("t") > 40_000, "{said}: {} rows", sync.rows("t"));
        drop(log);
    }
}

#[tokio::test]
async fn bombs_end_in_one_sentence_with_the_number_and_the_field() {
    let line = b",\n".repeat(1 << 20);
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..150 {
        out.write_all(&line).unwrap();
    }
    let bomb = out.finish().unwrap();
    let spec = json!({"filetype": "csv", "limits": {"max_expansion": 100}});
    let (sync, _) = synced(&[("t/a.csv.gz", &bomb), ("u/a.csv", TEXT.as_bytes())], spec).await;
    let text = sync.status.clone().unwrap().message().to_owned();
    assert!(text.contains("limits.max_expansion") && text.contains("100"), "{text}");
    assert_eq!(sync.rows("u"), 2, "other objects are sent");
}

#[tokio::test]
async fn compression_may_be_told() {
    let spec = json!({"filetype": "csv", "compression": "gzip"});
    let (sync, _) = synced(&[("t/a.csv", TEXT.as_bytes())], spec).await;
    assert!(sync.status.unwrap().message().contains("gzip"));
    let spec = json!({"filetype": "csv", "compression": "none"});
    let (sync, _) = synced(&[("t/a.csv", TEXT.as_bytes())], spec).await;
    assert_eq!(sync.rows("t"), 2);
}

#[tokio::test]
async fn a_window_of_zstd_that_is_too_large_is_named() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&b"id\n1\n".repeat(1 << 20)).unwrap();
    let bytes = encoder.finish().unwrap();
    let (sync, _) = synced(&[("t/a.csv.zst", &bytes)], json!({"filetype": "csv"})).await;
    let text = sync.status.unwrap().message().to_owned();
    assert!(text.contains("window") && text.contains("128 MiB"), "{text}");
}

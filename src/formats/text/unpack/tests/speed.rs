//! How fast it is: `cargo test --release --lib -- --ignored --nocapture unpacking_speed`.

use super::*;
use std::io::Write;
use std::time::Instant;

const LINES: u64 = 600_000;

#[test]
#[ignore = "a measurement, for a release build"]
fn unpacking_speed() {
    let whole = text(LINES);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(&whole).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&whole).unwrap();
    let mut snappy = snap::write::FrameEncoder::new(Vec::new());
    snappy.write_all(&whole).unwrap();
    let mut bzip2 = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::best());
    bzip2.write_all(&whole).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 3);
    xz.write_all(&whole).unwrap();
    let packed = [
        (Compression::Gzip, gzip.finish().unwrap()),
        (Compression::Zstd, ::zstd::bulk::compress(&whole, 3).unwrap()),
        (Compression::Lz4, lz4.finish().unwrap()),
        (Compression::Snappy, snappy.into_inner().unwrap()),
        (Compression::Bzip2, bzip2.finish().unwrap()),
        (Compression::Xz, xz.finish().unwrap()),
    ];
    for (compression, packed) in packed {
        let packed = Bytes::from(packed);
        let begin = Instant::now();
        let mut unpacker = Unpacker::new(compression, NO_LIMITS);
        let mut unpacked_bytes = 0;
        for at in (0..packed.len()).step_by(8 << 20) {
            unpacker.push(packed.slice(at..packed.len().min(at + (8 << 20))));
            if at + (8 << 20) >= packed.len() {
                unpacker.finish();
            }
            while let Some(piece) = unpacker.next().unwrap() {
                unpacked_bytes += piece.len();
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        assert_eq!(unpacked_bytes, whole.len());
        println!(
            "{compression}: {:.0} MB/s out, {:.0} MB/s in",
            unpacked_bytes as f64 / 1e6 / seconds,
            packed.len() as f64 / 1e6 / seconds
        );
    }
}

//! How fast it is: `cargo test --release csv::tests::speed -- --ignored --nocapture`.

use super::super::dialect::Dialect;
use super::super::lexer::{End, Lexer};
use super::super::{Parser, Splitter};
use crate::config::csv::CsvOptions;
use crate::formats::text::chunk::{Chunk, Cut};
use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// Of each text.
const BYTES: usize = 100_000_000;

/// What an object is fetched in.
const WINDOW_BYTES: usize = 8 << 20;

fn text(fields: usize, mut field: impl FnMut(&mut String, u64)) -> Bytes {
    let mut text = String::with_capacity(BYTES + 1_000);
    let mut random = 12_345_u64;
    while text.len() < BYTES {
        for index in 0..fields {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if index > 0 {
                text.push(',');
            }
            field(&mut text, random >> 16);
        }
        text.push('\n');
    }
    Bytes::from(text)
}

fn letters(text: &mut String, random: u64, length: u64) {
    text.extend((0..length).map(|index| char::from(b'a' + ((random >> (index % 50)) % 26) as u8)));
}

fn quoted(text: &mut String, random: u64) {
    text.push('"');
    letters(text, random, random % 8);
    text.push_str(if random % 11 == 3 { "\"\"" } else { ", " });
    letters(text, random, random % 24);
    text.push('"');
}

fn measure(name: &str, bytes: usize, mut work: impl FnMut() -> u64) {
    let once = |_| {
        let start = cpu_time();
        let result = black_box(work());
        (cpu_time() - start, result)
    };
    let (best, result) = (0..6).map(once).min().unwrap();
    println!("{name:30} {:6.0} MB/s {result:10}", bytes as f64 / best.as_secs_f64() / 1e6);
}

/// What this thread had of a core: others may be at work, too.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn split(options: &Arc<CsvOptions>, text: &Bytes) -> (Vec<Chunk>, Parser) {
    let mut splitter = Splitter::new(Arc::clone(options), 1 << 20);
    let mut chunks = Vec::new();
    for start in (0..text.len()).step_by(WINDOW_BYTES) {
        splitter.push(text.slice(start..text.len().min(start + WINDOW_BYTES)));
        while let Ok(Some(Cut::Chunk(chunk))) = splitter.next() {
            chunks.push(chunk);
        }
    }
    let header = splitter.header().unwrap();
    let all: Vec<usize> = (0..header.names.len()).collect();
    (chunks, Parser::new(Arc::clone(options), header, &all))
}

#[test]
#[ignore = "takes long, and says something of release builds only"]
fn speed() {
    let options = Arc::new(CsvOptions { header: false, ..CsvOptions::default() });
    let narrow = text(8, |text, random| text.push_str(&(random % 100_000).to_string()));
    let wide = text(6, |text, random| letters(text, random, 20 + random % 80));
    let quoted = text(6, quoted);
    for (name, text) in [("narrow", narrow), ("wide", wide), ("quoted", quoted)] {
        let bytes = text.len();
        measure(&format!("{name}: splitter"), bytes, || {
            split(&options, &text).0.iter().map(|chunk| chunk.records).sum()
        });
        measure(&format!("{name}: lexer"), bytes, || {
            let mut lexer = Lexer::new(&text, Dialect::new(&options, b','));
            let (mut fields, mut copied) = (0, Vec::new());
            while lexer.next_record() {
                while lexer.field(&mut copied).1 == End::Delimiter {
                    fields += 1;
                }
                fields += 1;
                copied.clear();
            }
            fields
        });
        measure(&format!("{name}: csv-core"), bytes, || {
            let (mut reader, mut rest, mut fields) = (csv_core::Reader::new(), &text[..], 0);
            let (mut output, mut ends) = ([0; 1 << 16], [0; 64]);
            loop {
                let (result, read, _, ended) = reader.read_record(rest, &mut output, &mut ends);
                rest = &rest[read..];
                match result {
                    csv_core::ReadRecordResult::Record => fields += ended as u64,
                    csv_core::ReadRecordResult::End => return fields,
                    _ => {}
                }
            }
        });
        let (chunks, parser) = split(&options, &text);
        measure(&format!("{name}: parser"), bytes, || {
            chunks.iter().map(|chunk| parser.parse(chunk).numbers.len() as u64).sum()
        });
    }
}

//! Random texts, cut in random places.

use super::super::dialect::Dialect;
use super::super::{Parser, Sample, Splitter};
use super::reference::{Record, records};
use super::{Read, read_pieces};
use crate::config::csv::{CsvOptions, Delimiter, LongRows, RepeatedHeader, ShortRows, Trim};
use crate::formats::text::chunk::{Chunk, Cut};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// Bytes that mean something, far more often than in real texts; and some that are no characters.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let meaning = prop::sample::select(b"\"\"\",,\n\n\r;'\\# ax\xc3\xa9".to_vec());
    let run = prop_oneof![
        6 => vec(meaning, 1..4),
        1 => (1..140_usize).prop_map(|length| b"abcdefgh".iter().copied().cycle().take(length).collect()),
        1 => Just(b"\"a,\n\"\"b\"".to_vec()),
    ];
    vec(run, 0..60).prop_map(|runs| runs.concat())
}

fn options() -> impl Strategy<Value = CsvOptions> {
    let quote = prop::sample::select(vec![Some(b'"'), Some(b'\''), None]);
    let escape = prop::sample::select(vec![None, None, Some(b'\\'), Some(b'"')]);
    let comment = prop::sample::select(vec![None, Some(b'#')]);
    let delimiter = prop::sample::select(vec![b',', b';', b'x']);
    (delimiter, quote, escape, comment, any::<bool>(), any::<bool>()).prop_map(
        |(delimiter, quote, escape, comment, header, trim)| CsvOptions {
            delimiter: Delimiter::Is(delimiter),
            quote,
            escape,
            comment,
            header,
            trim: if trim { Trim::Outer } else { Trim::None },
            ..CsvOptions::default()
        },
    )
}

/// `text` cut at these places.
fn pieces<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|window| &text[window[0]..window[1]]).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the records of the reference are as rows.
fn expected(options: &CsvOptions, mut records: Vec<Record>) -> Read {
    let mut read = Read::default();
    if records.is_empty() {
        return read;
    }
    let names = if options.header {
        let header = records.remove(0);
        if !header.is_closed {
            return read;
        }
        header.fields.iter().map(|(field, _)| lossy(field)).collect()
    } else if records[0].is_closed {
        (1..=records[0].fields.len()).map(|column| format!("column_{column}")).collect()
    } else {
        return read;
    };
    let columns = Vec::len(&names);
    for (number, record) in records.iter().enumerate().filter(|(_, record)| record.is_closed) {
        let value = |(field, quoted): &(Vec<u8>, bool)| (*quoted || !field.is_empty()).then(|| lossy(field));
        let mut values: Vec<_> = record.fields.iter().take(columns).map(value).collect();
        values.resize(columns, None);
        read.rows.push((number as u64, values));
        let surplus: Vec<String> = record.fields.iter().skip(columns).map(|(field, _)| lossy(field)).collect();
        let filled = surplus.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
        read.others.push((filled > 0).then(|| serde_json::json!({ "_extra": surplus[..filled] }).to_string()));
        read.short_rows += u64::from(record.fields.len() < columns);
    }
    read.header = Some(names);
    read
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However the text comes in, the rows are those of the reference.
    #[test]
    fn any_cut_gives_the_same_rows(text in text(), options in options(), cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let dialect = Dialect::new(&options, match options.delimiter { Delimiter::Is(byte) => byte, Delimiter::Auto => b',' });
        let all = records(&text, dialect);
        let want = expected(&options, all.clone());
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        for pieces in [vec![text.as_slice()], bytes, pieces(&text, &cuts)] {
            let got = read_pieces(&options, &pieces, 1 << 20, None);
            prop_assert_eq!(&got.rows, &want.rows);
            prop_assert_eq!(&got.others, &want.others);
            prop_assert_eq!(got.short_rows, want.short_rows);
            if all.last().is_none_or(|last| last.is_closed) {
                prop_assert_eq!(&got.header, &want.header);
                prop_assert!(got.error.is_none() && got.bad.is_empty());
            } else {
                prop_assert!(got.error.is_some());
                let header = usize::from(options.header);
                if all.len() > header {
                    prop_assert_eq!(got.bad[0].offset, all[all.len() - 1].offset as u64);
                    prop_assert_eq!(got.bad[0].number, (all.len() - 1 - header) as u64);
                }
            }
        }
    }

    /// Numbers, offsets and errors of bad records are the same, too.
    #[test]
    fn any_cut_gives_the_same_bad_records(
        text in text(), options in options(), cuts in vec(any::<prop::sample::Index>(), 0..8),
        max_row_bytes in 4..90_u64, skip_rows in 0..3_u64, auto in any::<bool>(),
    ) {
        let options = CsvOptions {
            skip_rows,
            short_rows: ShortRows::Bad,
            long_rows: LongRows::Bad,
            repeated_header: RepeatedHeader::Skip,
            delimiter: if auto { Delimiter::Auto } else { options.delimiter },
            ..options
        };
        let whole = read_pieces(&options, &[&text], max_row_bytes, None);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        for pieces in [bytes, pieces(&text, &cuts)] {
            prop_assert_eq!(&read_pieces(&options, &pieces, max_row_bytes, None), &whole);
        }
    }

    /// Chunks are whole records, parse alike alone, and their counts are right.
    #[test]
    fn chunks_say_what_they_have(text in text(), options in options()) {
        let options = Arc::new(options);
        let mut splitter = Splitter::new(Arc::clone(&options), 1 << 20);
        splitter.push(Bytes::from(text.clone()));
        splitter.finish();
        let mut next = 0;
        while let Ok(Some(cut)) = splitter.next() {
            let Cut::Chunk(chunk) = cut else { continue };
            prop_assert_eq!(chunk.first_record, next);
            next += chunk.records;
            let offset = usize::try_from(chunk.offset).unwrap();
            prop_assert_eq!(&chunk.bytes[..], &text[offset..offset + chunk.bytes.len()]);
            let header = splitter.header().unwrap();
            let parsed = Parser::new(Arc::clone(&options), header, &[0]).parse(&chunk);
            prop_assert_eq!(parsed.numbers.len() as u64, chunk.records);
        }
    }

    /// Nothing panics, whatever the bytes are and whatever a chunk says of them.
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..400), options in options(), records in any::<u64>()) {
        let options = Arc::new(options);
        read_pieces(&options, &[&bytes], 64, None);
        let sample = Sample::read(&options, Bytes::from(bytes.clone()), false, 64);
        prop_assert!(sample.rows() <= bytes.len());
        let Some(header) = sample.header else { return Ok(()) };
        let chunk = Chunk { bytes: Bytes::from(bytes), first_record: 0, records, offset: 0, kept: None };
        Parser::new(options, &header, &[0, 7]).parse(&chunk);
    }
}

/// Chunks end where they are large enough, with any number of columns.
#[test]
fn chunks_are_bounded() {
    use crate::formats::text::chunk::{CHUNK_BYTES, CHUNK_RECORDS};
    let options = Arc::new(CsvOptions { header: false, ..CsvOptions::default() });
    let narrow = "1\n".repeat(20_000);
    let wide = format!("{}\n", "1234567,".repeat(1_000)).repeat(300);
    let short = format!("{}\n{}", ",".repeat(1_599), "1\n".repeat(20_000));
    for (text, most_records) in [(narrow, CHUNK_RECORDS), (wide, CHUNK_RECORDS), (short, 163)] {
        let mut splitter = Splitter::new(Arc::clone(&options), 1 << 20);
        let mut records = 0;
        splitter.push(Bytes::from(text.clone()));
        splitter.finish();
        while let Some(cut) = splitter.next().unwrap() {
            let Cut::Chunk(chunk) = cut else { panic!("no record is bad") };
            assert!(chunk.bytes.len() <= CHUNK_BYTES + 10_000 && chunk.records <= most_records);
            records += chunk.records;
        }
        assert_eq!(records, text.lines().count() as u64);
    }
}

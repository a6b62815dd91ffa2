//! What other readers of CSV say, where they mean the same by it.

use super::super::dialect::Dialect;
use super::super::lexer::{End, Lexer};
use crate::config::csv::CsvOptions;
use proptest::collection::vec;
use proptest::prelude::*;

/// All fields of all records.
fn ours(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut lexer = Lexer::new(text, Dialect::new(&CsvOptions::default(), b','));
    let mut copied = Vec::new();
    let mut records = Vec::new();
    while lexer.next_record() {
        let mut fields = Vec::new();
        loop {
            let (field, end) = lexer.field(&mut copied);
            fields.push(field.bytes(text, &copied).to_vec());
            if end != End::Delimiter {
                break;
            }
        }
        records.push(fields);
    }
    records
}

fn csv_core(mut text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv_core::Reader::new();
    let mut records = Vec::new();
    let (mut output, mut ends) = (vec![0; 4 * text.len() + 16], vec![0; text.len() + 16]);
    let (mut written, mut fields) = (0, 0);
    loop {
        let (result, read, wrote, ended) = reader.read_record(text, &mut output[written..], &mut ends[fields..]);
        text = &text[read..];
        written += wrote;
        fields += ended;
        match result {
            csv_core::ReadRecordResult::InputEmpty => {}
            csv_core::ReadRecordResult::Record => {
                let mut start = 0;
                records.push(
                    ends[..fields]
                        .iter()
                        .map(|end| output[std::mem::replace(&mut start, *end)..*end].to_vec())
                        .collect(),
                );
                (written, fields) = (0, 0);
            }
            csv_core::ReadRecordResult::End => return records,
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn csv_core_reads_the_same(runs in vec(prop::sample::select(vec![
        "\"", "\"", "\"\"", ",", ",", "\n", "\r\n", "\r", "a", "b c", "é", "\",\"", "long enough for more than a block of bytes, with a comma",
    ]), 0..80)) {
        let text = runs.concat();
        prop_assert_eq!(ours(text.as_bytes()), csv_core(text.as_bytes()));
    }
}

//! Lines, however they come in.

use super::{Parser, Splitter};
use crate::config::csv::InvalidUtf8;
use crate::formats::text::chunk::{CHUNK_RECORDS, Cut, SplitError};
use arrow::array::AsArray as _;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// The number of each line, its text, and what is wrong with those without.
type Read = (Vec<(u64, String)>, Vec<(u64, u64, String)>, Option<SplitError>);

fn read(pieces: &[&[u8]], max_row_bytes: u64, invalid_utf8: InvalidUtf8) -> Read {
    let mut splitter = Splitter::new(max_row_bytes);
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for piece in pieces.iter().map(Some).chain([None]) {
        match piece {
            Some(piece) => splitter.push(Bytes::copy_from_slice(piece)),
            None => splitter.finish(),
        }
        loop {
            match splitter.next() {
                Ok(Some(Cut::Chunk(chunk))) => {
                    assert!(chunk.records <= CHUNK_RECORDS);
                    let parsed = Parser::new(invalid_utf8).parse(&chunk);
                    let lines = parsed.columns[0].as_string::<i32>();
                    assert_eq!((parsed.numbers.len() + parsed.bad.len()) as u64, chunk.records);
                    rows.extend(
                        lines
                            .iter()
                            .enumerate()
                            .map(|(row, line)| (parsed.numbers.number(row), line.unwrap().to_owned())),
                    );
                    bad.extend(parsed.bad.into_iter().map(|bad| (bad.number, bad.offset, bad.reason.to_string())));
                }
                Ok(Some(Cut::Bad(record))) => bad.push((record.number, record.offset, record.reason.to_string())),
                Ok(None) => break,
                Err(error) => return (rows, bad, Some(error)),
            }
        }
    }
    (rows, bad, None)
}

#[test]
fn a_row_a_line() {
    let (rows, bad, error) = read(&[b"a,\"b\r\n\n c \rd\n\r\nlast"], 100, InvalidUtf8::Replace);
    let lines: Vec<&str> = rows.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!((lines, bad, error), (vec!["a,\"b", "", " c \rd", "", "last"], vec![], None));
    assert!(read(&[b""], 100, InvalidUtf8::Replace).0.is_empty());
    assert_eq!(read(&[b"a\n"], 100, InvalidUtf8::Replace).0, [(0, "a".to_owned())]);
}

#[test]
fn a_line_that_is_no_text() {
    let text: &[u8] = b"ab\nc\xff\r\nd\n";
    assert_eq!(read(&[text], 100, InvalidUtf8::Replace).0[1], (1, "c\u{fffd}".to_owned()));
    let (rows, bad, _) = read(&[text], 100, InvalidUtf8::Bad);
    assert_eq!(rows, [(0, "ab".to_owned()), (2, "d".to_owned())]);
    assert_eq!(bad, [(1, 3, "it is not valid UTF-8 at its byte 1".to_owned())]);
}

#[test]
fn lines_that_are_too_long() {
    let text = format!("a\n{}\nb\n{}\nc\n", "x".repeat(15), "x".repeat(21));
    let (rows, bad, error) = read(&[text.as_bytes()], 10, InvalidUtf8::Replace);
    assert_eq!(rows, [(0, "a".to_owned()), (2, "b".to_owned())]);
    assert_eq!(bad, [(1, 2, "it is longer than 10 bytes (limits.max_row_bytes)".to_owned())]);
    assert_eq!(error, Some(SplitError::TooLong { number: 3, offset: 20, most_bytes: 10, looked_at_bytes: 20 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_cut_gives_the_same_lines(
        text in vec(prop::sample::select(b"\n\n\r\nabcdefgh\xc3\xa9".to_vec()), 0..120),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
        max_row_bytes in 3..20_u64,
    ) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
        places.sort_unstable();
        let cut: Vec<&[u8]> = places.windows(2).map(|window| &text[window[0]..window[1]]).collect();
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        for invalid_utf8 in [InvalidUtf8::Replace, InvalidUtf8::Bad] {
            let whole = read(&[&text], max_row_bytes, invalid_utf8);
            prop_assert_eq!(&read(&cut, max_row_bytes, invalid_utf8), &whole);
            prop_assert_eq!(&read(&bytes, max_row_bytes, invalid_utf8), &whole);
        }
        let whole = read(&[&text], 1_000, InvalidUtf8::Replace).0;
        let want = text.strip_suffix(b"\n").unwrap_or(&text).split(|byte| *byte == b'\n');
        let want: Vec<String> = want
            .map(|line| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned())
            .collect();
        let got: Vec<String> = whole.into_iter().map(|(_, line)| line).collect();
        prop_assert_eq!(got, if text.is_empty() { Vec::new() } else { want });
    }
}

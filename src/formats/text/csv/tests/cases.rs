//! One case a rule of the dialect.

use super::super::{Header, Sample};
use super::{MAX_ROW_BYTES, read, read_pieces, without_header};
use crate::config::csv::{CsvOptions, Delimiter, InvalidUtf8, LongRows, RepeatedHeader, ShortRows, Trim};
use crate::formats::text::chunk::{RAW_BYTES, SplitError};
use bytes::Bytes;
use std::sync::Arc;

#[test]
fn line_ends_of_all_kinds_end_records() {
    let got = read(&CsvOptions::default(), "a,b\r\n1,2\r3,4\n\n\r\n5,\"x\r\ny\"\n\r6,7");
    assert_eq!(got.header, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(got.values(), [["1", "2"], ["3", "4"], ["5", "x\r\ny"], ["6", "7"]]);
    assert_eq!(got.numbers(), [0, 1, 2, 3]);
}

#[test]
fn quotes_open_fields_only_where_these_begin() {
    let text = "\"a \"\"b\"\" c\",a\"b,\"x\"y,a\"\"b\n\"x\"y\"z\",\"\"\"\",\"\"x,\"a,b\"\n";
    let got = read(&without_header(), text);
    assert_eq!(got.values(), [["a \"b\" c", "a\"b", "xy", "a\"\"b"], ["xy\"z\"", "\"", "x", "a,b"]]);
}

#[test]
fn another_quote_and_an_escape() {
    let options = CsvOptions { quote: Some(b'\''), escape: Some(b'\\'), ..without_header() };
    let got = read(&options, "'a\\'b','c''d','e\\\\','f\\\ng'\n\"x\",a\\,'\\\\',''\n");
    assert_eq!(got.values(), [["a'b", "c'd", "e\\", "f\ng"], ["\"x\"", "a\\", "\\", ""]]);
    let none = CsvOptions { quote: None, ..without_header() };
    assert_eq!(read(&none, "\"a,b\"\n").values(), [["\"a", "b\""]]);
}

#[test]
fn an_escape_that_is_the_quote_is_a_doubled_quote() {
    let options = CsvOptions { escape: Some(b'"'), ..without_header() };
    assert_eq!(read(&options, "\"a\"\"b\",c\n").values(), [["a\"b", "c"]]);
}

#[test]
fn empty_is_not_null_in_quotes() {
    let nulls = vec![String::new(), "NULL".to_owned()];
    let options = CsvOptions { null_values: nulls, ..without_header() };
    let text = "a,,b\na,\"\",b\na,NULL,b\na,\"NULL\",b\n";
    assert_eq!(read(&options, text).values(), [["a", "-", "b"], ["a", "", "b"], ["a", "-", "b"], ["a", "NULL", "b"]]);
    let quoted = CsvOptions { quoted_null: true, ..options };
    assert_eq!(read(&quoted, text).values(), [["a", "-", "b"]; 4]);
    let never = CsvOptions { null_values: Vec::new(), ..without_header() };
    assert_eq!(read(&never, "a,,b\n").values(), [["a", "", "b"]]);
}

#[test]
fn rows_that_are_too_short_or_too_long() {
    let text = "a,b,c\n1\n1,2,3,x\n1,2,3,,\n1,2,3,,\"y \"\"z\"\"\",\n1,2,3\n";
    let got = read(&CsvOptions::default(), text);
    assert_eq!(got.values(), [["1", "-", "-"], ["1", "2", "3"], ["1", "2", "3"], ["1", "2", "3"], ["1", "2", "3"]]);
    let extra = |text: &str| Some(text.to_owned());
    assert_eq!(got.others, [None, extra(r#"{"_extra":["x"]}"#), None, extra(r#"{"_extra":["","y \"z\""]}"#), None]);
    assert_eq!(got.short_rows, 1);

    let ignored = read(&CsvOptions { long_rows: LongRows::Ignore, ..CsvOptions::default() }, text);
    assert_eq!(ignored.others, [const { None::<String> }; 5]);

    let strict = CsvOptions { long_rows: LongRows::Bad, short_rows: ShortRows::Bad, ..CsvOptions::default() };
    let got = read(&strict, text);
    assert_eq!(got.numbers(), [2, 4]);
    assert_eq!(
        got.reasons(),
        [
            (0, 6, "it has 1 fields instead of 3".to_owned()),
            (1, 8, "it has 4 fields instead of 3".to_owned()),
            (3, 24, "it has 5 fields instead of 3".to_owned()),
        ]
    );
    assert_eq!(got.bad[1].raw, "1,2,3,x");
}

#[test]
fn a_table_of_one_column() {
    let got = read(&CsvOptions::default(), "a\n1\n\n\"\"\n   \n2\n");
    assert_eq!(got.values(), [["1"], [""], ["   "], ["2"]]);
}

#[test]
fn columns_that_are_not_read() {
    let got =
        read_pieces(&CsvOptions::default(), &[b"a,b,c\n1,2,3\n4\n5,\"6\"\"\",7,8\n"], MAX_ROW_BYTES, Some(&[1, 2]));
    assert_eq!(got.values(), [["2", "3"], ["-", "-"], ["6\"", "7"]]);
    assert_eq!(got.others[2].as_deref(), Some(r#"{"_extra":["8"]}"#));
    let none = read_pieces(&CsvOptions::default(), &[b"a,b,c\n1,2,3\n4\n"], MAX_ROW_BYTES, Some(&[]));
    assert_eq!(none.values(), [[""; 0]; 2]);
}

#[test]
fn lines_before_the_header_comments_and_names() {
    let options = CsvOptions { skip_rows: 2, comment: Some(b'#'), ..CsvOptions::default() };
    let text = "made \"by\r\nus\r\n\r\n# a \"comment\na,b\n#x,\"y\n1,2\n3,#4\n  #5,6\n#";
    let got = read(&options, text);
    assert_eq!(got.header, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(got.values(), [["1", "2"], ["3", "#4"], ["  #5", "6"]]);
    assert_eq!(got.numbers(), [0, 1, 2]);

    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let given = CsvOptions { names: names(&["x"]), ..without_header() };
    let got = read(&given, "1,2,3\n4,5,6\n");
    assert_eq!(got.header, names(&["x", "column_2", "column_3"]));
    assert_eq!(got.values(), [["1", "2", "3"], ["4", "5", "6"]]);
    assert_eq!(read(&without_header(), "1,2\n").header, names(&["column_1", "column_2"]));
    let instead = CsvOptions { names: names(&["x", "y", "z"]), ..CsvOptions::default() };
    let got = read(&instead, "a,b\n1,2\n");
    assert_eq!((got.header.clone(), got.values()), (names(&["x", "y", "z"]), vec![vec!["1", "2", "-"]]));
}

#[test]
fn texts_without_records() {
    assert_eq!(read(&CsvOptions::default(), "").header, None);
    assert_eq!(read(&CsvOptions::default(), "\n\r\n").header, None);
    assert_eq!(read(&CsvOptions::default(), "a,b").header, Some(vec!["a".to_owned(), "b".to_owned()]));
    let named = CsvOptions { names: Some(vec!["x".to_owned()]), ..without_header() };
    assert_eq!(read(&named, "").header, Some(vec!["x".to_owned()]));
    assert_eq!(read(&CsvOptions { skip_rows: 9, ..CsvOptions::default() }, "a\nb\n").header, None);
}

#[test]
fn headers_stay_as_they_stand_in_the_file() {
    let got = read(&CsvOptions::default(), "a,a,A,,_cq_id,\"x y\",\"q\"\"\"\n");
    assert_eq!(got.header.unwrap(), ["a", "a", "A", "", "_cq_id", "x y", "q\""]);
}

#[test]
fn a_repeated_header_keeps_its_number() {
    let options = CsvOptions { repeated_header: RepeatedHeader::Skip, ..CsvOptions::default() };
    let text = "a,\"b\"\n1,2\n\"a\",b\na,b,\na,c\n3,4\na,b";
    let got = read(&options, text);
    assert_eq!(got.values(), [["1", "2"], ["a", "b"], ["a", "c"], ["3", "4"]]);
    assert_eq!(got.numbers(), [0, 2, 3, 4]);
    assert_eq!(read(&CsvOptions::default(), text).rows.len(), 6);
}

#[test]
fn spaces_around_fields() {
    let text = " a , \"b\" ,\" c \",   \n";
    assert_eq!(read(&without_header(), text).values(), [[" a ", " \"b\" ", " c ", "   "]]);
    let trimmed = CsvOptions { trim: Trim::Outer, ..without_header() };
    assert_eq!(read(&trimmed, text).values(), [["a", "\"b\"", " c ", "-"]]);
}

#[test]
fn bytes_that_are_no_character() {
    let text: &[u8] = b"a,b\n\xff1,x\xe2\x82,y\xff\n\xc3\xa9,\"\xc3\"\"\"\n3,4\n";
    let got = read_pieces(&CsvOptions::default(), &[text], MAX_ROW_BYTES, None);
    assert_eq!(got.values(), [["\u{fffd}1", "x\u{fffd}"], ["é", "\u{fffd}\""], ["3", "4"]]);
    assert_eq!(got.others[0].as_deref(), Some("{\"_extra\":[\"y\u{fffd}\"]}"));
    assert_eq!(got.replaced, 4);

    let strict = CsvOptions { invalid_utf8: InvalidUtf8::Bad, ..CsvOptions::default() };
    let got = read_pieces(&strict, &[text], MAX_ROW_BYTES, None);
    assert_eq!(got.numbers(), [2]);
    assert_eq!(
        got.reasons(),
        [
            (0, 4, "it is not valid UTF-8 at its byte 0".to_owned()),
            (1, 14, "it is not valid UTF-8 at its byte 4".to_owned())
        ]
    );
}

#[test]
fn tab_separated_values_of_postgresql() {
    let text = "id\ttext\n1\ta\\tb\\\\n\\n\n\\N\t\n2\t\"x\n3\t\\\\N\n4\t\\d\\\n";
    let got = read(&CsvOptions::tsv(), text);
    assert_eq!(got.values(), [["1", "a\tb\\n\n"], ["-", ""], ["2", "\"x"], ["3", "\\N"], ["4", "\\d\\"]]);
}

#[test]
fn a_quote_that_is_never_closed() {
    let got = read(&CsvOptions::default(), "a,b\n1,2\n3,\"4\n5,6\n");
    assert_eq!(got.values(), [["1", "2"]]);
    assert_eq!(got.reasons(), [(1, 8, "a quoted field of it never ends".to_owned())]);
    assert_eq!(got.bad[0].raw, "3,\"4\n5,6\n");
    assert_eq!(got.error, Some(SplitError::UnclosedQuote { number: 1, offset: 8 }));
    let header = read(&CsvOptions::default(), "a,\"b\n1,2\n");
    assert_eq!(header.error.unwrap().to_string(), "the header is bad: a quoted field of it never ends");
}

#[test]
fn records_that_are_too_long() {
    let long = "x".repeat(30);
    let text = format!("a\n1\n{long}\n{}\n2\n", "y".repeat(20));
    for piece_bytes in [1, 7, 1000] {
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece_bytes).collect();
        let got = read_pieces(&CsvOptions::default(), &pieces, 20, None);
        assert_eq!((got.numbers(), got.error), (vec![0, 2, 3], None));
        assert_eq!(got.bad[0].reason.to_string(), "it is longer than 20 bytes (limits.max_row_bytes)");
        assert_eq!((got.bad[0].number, got.bad[0].offset, got.bad[0].raw.as_ref()), (1, 4, long.as_bytes()));

        let got = read_pieces(&CsvOptions::default(), &pieces, 14, None);
        assert_eq!(got.numbers(), [0]);
        let looked_at_bytes = 28;
        assert_eq!(got.error, Some(SplitError::TooLong { number: 1, offset: 4, most_bytes: 14, looked_at_bytes }));
    }
    let header = read_pieces(&CsvOptions::default(), &[b"abcdef,abcdef\n1\n"], 10, None);
    assert_eq!(
        header.error.unwrap().to_string(),
        "the header is bad: it is longer than 10 bytes (limits.max_row_bytes)"
    );
}

#[test]
fn the_delimiter_that_fits_the_first_records() {
    let auto = CsvOptions { delimiter: Delimiter::Auto, ..CsvOptions::default() };
    for (text, first) in [
        ("a;b\n1,5;2\n3;4\n", vec!["1,5", "2"]),
        ("a,b\n1;5,2\n3,4\n", vec!["1;5", "2"]),
        ("a\tb\n1\t2\n", vec!["1", "2"]),
        ("a|\"b|c\"\n1|2\n", vec!["1", "2"]),
        ("a;b\n\"x;\n,y\";2\n", vec!["x;\n,y", "2"]),
        ("a\n1\n2\n", vec!["1"]),
        // Few are no reason.
        ("a;b\n1;2\n3\n4\n5\n", vec!["1;2"]),
        // Most, not all.
        ("a;b\n1;2\n3\n4;5", vec!["1", "2"]),
    ] {
        for piece_bytes in [1, 5, 1000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece_bytes).collect();
            assert_eq!(read_pieces(&auto, &pieces, MAX_ROW_BYTES, None).values()[0], first, "{text}");
        }
    }
}

#[test]
fn the_delimiter_is_known_after_twenty_records() {
    let auto = Arc::new(CsvOptions { delimiter: Delimiter::Auto, ..CsvOptions::default() });
    let mut splitter = super::super::Splitter::new(auto, MAX_ROW_BYTES);
    splitter.push(Bytes::from("a;b\n".repeat(19)));
    assert!(splitter.next().unwrap().is_none());
    splitter.push(Bytes::from("a;b\n".repeat(19)));
    assert!(splitter.next().unwrap().is_some());
    assert_eq!(splitter.header().unwrap().delimiter, b';');
}

#[test]
fn the_first_bytes_of_an_object() {
    let options = Arc::new(CsvOptions::default());
    let sample = Sample::read(&options, Bytes::from_static(b"a,b\n1,x\n2,\n3,\"y"), false, MAX_ROW_BYTES);
    assert_eq!(sample.header.as_ref().unwrap().names, ["a", "b"]);
    assert_eq!(sample.values(0).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(sample.values(1).collect::<Vec<_>>(), ["x"]);
    assert_eq!((sample.rows(), sample.failed), (2, None));
    let whole = Sample::read(&options, Bytes::from_static(b"a,b\n1,x\n2,"), true, MAX_ROW_BYTES);
    assert_eq!(whole.values(0).collect::<Vec<_>>(), ["1", "2"]);
    assert!(Sample::read(&options, Bytes::from_static(b"a,b"), false, MAX_ROW_BYTES).header.is_none());
    let auto = Arc::new(CsvOptions { delimiter: Delimiter::Auto, ..CsvOptions::default() });
    let sample = Sample::read(&auto, Bytes::from_static(b"a;b\n1;x\n2;"), false, MAX_ROW_BYTES);
    assert_eq!(sample.values(1).collect::<Vec<_>>(), ["x"]);
}

#[test]
fn only_a_record_is_held_and_of_one_that_is_too_long_its_beginning() {
    let options = Arc::new(CsvOptions::default());
    let mut splitter = super::super::Splitter::new(options, 4 << 20);
    let mut most_held_bytes = 0;
    splitter.push(Bytes::from("a\n".to_owned() + &"1\n".repeat(500_000) + "tail"));
    while splitter.next().unwrap().is_some() {}
    assert!(splitter.held_bytes() < 100, "whole records are not held");
    for _ in 0..7 {
        splitter.push(Bytes::from("x".repeat(1 << 20)));
        assert!(splitter.next().unwrap().is_none());
        most_held_bytes = most_held_bytes.max(splitter.held_bytes());
    }
    assert!(most_held_bytes <= 9 << 20, "what a record may have, and what growing takes");
    assert!(splitter.held_bytes() <= RAW_BYTES as u64 + 1_000);
}

#[test]
fn names_that_a_description_gives() {
    let described = |names: &[&str], header: bool| CsvOptions {
        described: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        header,
        ..CsvOptions::default()
    };
    let of = |text: &str| Header::read(&described(&["id", "n"], false), b',', text.as_bytes());
    assert_eq!(of("1,2\n").names, ["id", "n"]);
    assert_eq!(of("t,s,1,2\n").names, ["_cq_sync_time", "_cq_source_name", "id", "n"]);
    assert_eq!(of("t,s,g,1,2\n").names, ["_cq_sync_time", "_cq_source_name", "_cq_sync_group_id", "id", "n"]);
    for text in ["1\n", "1,2,3\n", "1,2,3,4,5,6\n"] {
        assert!(of(text).unnamed.is_some_and(|what| what.contains("2 columns")), "{text}");
    }
    assert_eq!(Header::read(&described(&["x"], true), b',', b"a,b\n").names, ["a", "b"], "the header says them");
    let in_it = Header::read(&described(&["_cq_sync_time", "id"], false), b',', b"1,2,3\n");
    assert!(in_it.unnamed.is_some(), "one alone is never added");
}

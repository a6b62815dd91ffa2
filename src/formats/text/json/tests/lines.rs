//! Lines, and values behind each other.

use super::super::Shape;
use super::{Read, json, jsonl};
use crate::config::json::DuplicateKeys;

#[test]
fn lines_end_as_they_like_and_blank_ones_are_no_records() {
    let text = "\r\n{\"a\":1}\r\n\n  \t\n{\"a\": 2 }\n {\"a\":3}";
    for how in [json(&["a"]), jsonl(&["a"])] {
        assert_eq!(how.shown(text), ["1", "2", "3"]);
        assert_eq!(how.split(text.as_bytes()).1, Some(Shape::Lines));
    }
    assert!(json(&["a"]).shown("").is_empty() && jsonl(&["a"]).shown(" \n\n").is_empty());
}

#[test]
fn values_stay_as_they_stand_in_the_text() {
    let text = r#"{"n":12345678901234567890,"f":1.0,"s":"a\n\u0041","o":{"b": [1, 2]},"e":1e400,"z":null,"t":true}"#;
    assert_eq!(
        json(&["n", "f", "s", "o", "e", "z", "t", "missing"]).shown(text),
        [r#"12345678901234567890 1.0 "a\n\u0041" {"b": [1, 2]} 1e400 - true -"#]
    );
}

#[test]
fn values_behind_each_other_are_records() {
    for text in
        ["{\"a\":1}{\"a\":2} {\"a\":3}", "{\"a\":1}\t{\"a\":2}\n{\"a\":3}\n", "{\n\"a\":1}\n{\"a\"\n:2}{\"a\":3}"]
    {
        for how in [json(&["a"]), jsonl(&["a"])] {
            assert_eq!(how.shown(text), ["1", "2", "3"], "{text}");
            assert_eq!(how.split(text.as_bytes()).1, Some(Shape::Values));
        }
    }
    // A bad one ends where its brackets end.
    assert_eq!(
        json(&["a"]).shown(r#"{"a":1}{"a":}{"a":"}\""}"#),
        ["1", "bad 7: it is not valid JSON at its byte 5", r#""}\"""#]
    );
}

#[test]
fn one_pretty_document_is_one_record() {
    assert_eq!(json(&["a", "b"]).shown("{\n  \"a\": {\n    \"c\": 1 },\n  \"b\": 2\n}\n"), ["{\n    \"c\": 1 } 2"]);
    assert_eq!(json(&["a"]).shown("{\n  \"a\": 1,\n  \"b"), ["bad 0: the object ends in the middle of it"]);
}

#[test]
fn a_bad_line_is_bad_on_its_own() {
    let text = "{\"a\":0}\n{\"a\":1}\n{\"a\":2, \"b\n{\"a\":3}\n{\"a\":4}\n";
    let expected = ["0", "1", "bad 16: it is not valid JSON at its byte 10", "3", "4"];
    assert_eq!(jsonl(&["a"]).shown(text), expected);
    assert_eq!(
        jsonl(&["a"]).read(text).0.get(2),
        Some(&Read::Bad(2, 16, expected[2][8..].into(), "{\"a\":2, \"b".into()))
    );
    // The first one too.
    for cut in ["{\"a\":", "{\"a\":0, \"b", "{\"a\"", "{", "nonsense"] {
        assert_eq!(jsonl(&["a"]).shown(format!("{cut}\n{{\"a\":1}}\n{{\"a\":2}}\n"))[1..], ["1", "2"], "{cut}");
    }
}

#[test]
fn scalars_are_no_records_but_documents() {
    let text = "1\n\"x\"\nnull\n[1]\n{\"a\":1}\n";
    let bad = "it is not a JSON object";
    let expected = [
        format!("bad 0: {bad}"),
        format!("bad 2: {bad}"),
        format!("bad 6: {bad}"),
        format!("bad 11: {bad}"),
        "1".into(),
    ];
    assert_eq!(jsonl(&["a"]).shown(text), expected);
    assert_eq!(jsonl(&["data"]).document().shown(text), ["1", "\"x\"", "-", "[1]", "{\"a\":1}"]);
    assert_eq!(json(&["data"]).document().shown(text), ["1", "\"x\"", "-", "[1]", "{\"a\":1}"]);
    assert_eq!(
        json(&["a"]).shown("1"),
        [
            "error: the JSON begins with neither an object nor an array: with json.as: document, values of every kind are rows"
        ]
    );
}

#[test]
fn unknown_keys_go_to_the_others() {
    let text = r#"{"x" : [ 1 ],"a":1,"y\"":2,"z":null}"#;
    assert_eq!(jsonl(&["a"]).shown(text), [r#"1 | {"x":[ 1 ],"y\"":2}"#]);
    assert_eq!(jsonl(&["a"]).shown("{\"a\":1}\n{\"b\":2}\n{}"), ["1", "- | {\"b\":2}", "-"]);
}

#[test]
fn keys_are_compared_without_their_escapes() {
    assert_eq!(
        jsonl(&["a\"b", "é", "c\\n"]).shown(r#"{"a\"b":1,"\u00e9":2,"c\\n":3,"c\n":4}"#),
        [r#"1 2 3 | {"c\n":4}"#]
    );
    // The order of keys changes, keys are missing.
    let text = "{\"a\":1,\"b\":2,\"c\":3}\n{\"c\":3,\"a\":1}\n{\"b\":2}\n{\"a\":1,\"c\":3}\n{\"a\":1,\"b\":2}\n";
    assert_eq!(jsonl(&["a", "b", "c"]).shown(text), ["1 2 3", "1 - 3", "- 2 -", "1 - 3", "1 2 -"]);
}

#[test]
fn of_a_key_that_is_there_twice_the_last_value_counts() {
    let text = r#"{"a":1,"x":1,"a":2,"x":null,"\u0061":3}"#;
    assert_eq!(jsonl(&["a"]).shown(text), ["3"]);
    let mut how = jsonl(&["a"]);
    how.options.duplicate_keys = DuplicateKeys::Bad;
    let bad = ["bad 0: it has a key twice (json.duplicate_keys)"];
    for text in [text, r#"{"a":null,"a":1}"#, r#"{"x":null,"b":0,"\u0078":1}"#] {
        assert_eq!(how.shown(text), bad, "{text}");
    }
    let many: Vec<String> = (0..100_000).map(|key| format!("\"k{key}\":0")).collect();
    assert_eq!(
        how.shown(format!("{{{},\"k99999\":1}}", many.join(","))),
        ["bad 0: it is longer than 1048576 bytes (limits.max_row_bytes)"]
    );
    how.most_bytes = 16 << 20;
    assert_eq!(how.shown(format!("{{{},\"k99999\":1}}", many.join(","))), bad);
}

#[test]
fn deep_values_are_bad_and_overflow_no_stack() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!(jsonl(&["a"]).shown(nested(64)).len(), 1);
    let bad = "bad 0: it is nested deeper than 64 levels (limits.max_depth)";
    for (text, levels) in [(nested(65), 65), (nested(100_000), 100_000)] {
        for how in [jsonl(&["a"]), json(&["a"]), json(&["data"]).document()] {
            assert_eq!(
                how.shown(format!("{text}\n{{}}")),
                [bad, if how.options.read_as == Default::default() { "-" } else { "{}" }],
                "{levels}"
            );
        }
        assert_eq!(json(&["a"]).shown(format!("[{text}]")), [bad.replace('0', "1")], "{levels}");
    }
}

#[test]
fn a_record_that_is_too_long_is_bad_if_it_ends_at_all() {
    let mut how = jsonl(&["a"]).pieces(16);
    how.most_bytes = 40;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(50));
    for separator in ["\n", "", "\n\n"] {
        let shown = how.shown(format!("{{\"a\":1}}{separator}{long}{separator}{{\"a\":2}}"));
        assert_eq!(
            shown,
            ["1", &format!("bad {}: it is longer than 40 bytes (limits.max_row_bytes)", 7 + separator.len()), "2"]
        );
    }
    let shown = how.shown(format!("{{\"a\":1}}\n{{\"a\":\"{}", "x".repeat(500)));
    assert_eq!(shown, ["1", "error: the record 1 at byte 8 does not end within 88 bytes; limits.max_row_bytes is 40"]);
}

#[test]
fn bytes_that_are_no_text_make_one_record_bad() {
    let text = b"{\"a\":1}\n{\"a\":\"\xff\"}\n{\"a\":\"\xc3\xa9\"}\n";
    assert_eq!(jsonl(&["a"]).shown(text), ["1", "bad 8: it is not valid UTF-8 at its byte 6", "\"é\""]);
    let text = b"[{\"a\":1},{\"a\":\"\xff\"},{\"a\":\"\xc3\xa9\"}]";
    assert_eq!(json(&["a"]).shown(text), ["1", "bad 9: it is not valid UTF-8 at its byte 6", "\"é\""]);
    let text = b"{\"a\":1}{\"a\":\"\xff\"}{\"a\":\"\xc3\xa9\"}";
    assert_eq!(json(&["a"]).shown(text), ["1", "bad 7: it is not valid UTF-8 at its byte 6", "\"é\""]);
}

#[test]
fn chunks_are_views_of_the_piece_and_of_bounded_size() {
    let text = "{\"a\":1}\n".repeat(20_000);
    let (cuts, ..) = jsonl(&["a"]).split(text.as_bytes());
    assert_eq!(cuts.len(), 3);
    let wide = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1000)).repeat(3000);
    let (cuts, ..) = jsonl(&["a"]).split(wide.as_bytes());
    assert_eq!(cuts.len(), 3);
}

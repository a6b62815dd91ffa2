//! Arrays, and documents that have the records in them.

use super::super::Shape;
use super::json;

#[test]
fn the_items_of_an_array_are_records() {
    for text in ["[{\"a\":1},{\"a\":2}]", " [\n {\"a\":1} ,\n{\"a\":2}\n]\n", "[{\"a\":1},{\"a\":2}] []\n"] {
        assert_eq!(json(&["a"]).shown(text), ["1", "2"], "{text}");
        assert_eq!(json(&["a"]).split(text.as_bytes()).1, Some(Shape::Items));
    }
    assert!(json(&["a"]).shown(" [ ] ").is_empty());
    assert_eq!(json(&["data"]).document().shown("[1, [2,\"]\"], {\"a\":null}]"), ["1", "[2,\"]\"]", "{\"a\":null}"]);
}

#[test]
fn bad_items_are_bad_on_their_own() {
    assert_eq!(
        json(&["a"]).shown(r#"[{"a":1},{"a":},,7,{"a":2} {"a":3},{"a":4},]"#),
        [
            "1",
            "bad 9: it is not valid JSON at its byte 5",
            "bad 16: it is not valid JSON at its byte 0",
            "bad 17: it is not a JSON object",
            "bad 19: it is not valid JSON at its byte 8",
            "4",
            "bad 43: it is not valid JSON at its byte 0",
        ]
    );
}

#[test]
fn an_array_that_is_cut_is_an_error_behind_its_records() {
    let error = "error: the object ends in the middle of a JSON document";
    assert_eq!(json(&["a"]).shown("[{\"a\":1},{\"a\":2"), ["1", "bad 9: the object ends in the middle of it", error]);
    assert_eq!(json(&["a"]).shown("[{\"a\":1},"), ["1", error]);
    assert_eq!(json(&["a"]).shown("[{\"a\":1}"), ["bad 1: the object ends in the middle of it", error]);
    assert_eq!(json(&["a"]).shown("[{\"a\":1}]x"), ["1", "error: what begins at byte 9 is not an array of records"]);
    assert_eq!(json(&["a"]).shown("[{\"a\":1}}"), ["1", "error: the JSON document is not valid JSON at byte 8"]);
}

#[test]
fn a_pointer_leads_to_the_records() {
    let how = || json(&["a"]).records("/x/1/Records");
    let text = r#"{"y":[{"Records":[0]}],"x":[{"Records":[{"a":0}]},{"u":"}","Records":[{"a":1},{"a":2}],"v":1}],"z":{"x":1}}"#;
    assert_eq!(how().shown(text), ["1", "2"]);
    assert_eq!(how().shown(format!("{text}\n{text}{text}")), ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(json(&["a"]).records("/a~1b/").shown(r#"{"a\/b":{"":[{"a":1}]}}"#), ["1"]);
    assert!(json(&["a"]).records("/r").shown(r#"{"r":null}{"r":[]}"#).is_empty());
}

#[test]
fn a_pointer_that_leads_nowhere_is_an_error() {
    let how = json(&["a"]).records("/Records");
    for (text, error) in [
        ("{\"records\":[]}", "error: the JSON document up to byte 13 has nothing at json.records (/Records)"),
        ("[1]", "error: the JSON document up to byte 2 has nothing at json.records (/Records)"),
        ("7", "error: the JSON document up to byte 0 has nothing at json.records (/Records)"),
        ("{\"Records\":{}}", "error: the value at json.records (/Records) is not an array: it begins at byte 11"),
        ("{\"Records\":[],}", "error: the JSON document is not valid JSON at byte 14"),
        ("{\"x\":,\"Records\":[]}", "error: the JSON document is not valid JSON at byte 5"),
        ("{\"Records\":[]", "error: the object ends in the middle of a JSON document"),
    ] {
        assert_eq!(how.shown(text), [error], "{text}");
    }
}

#[test]
fn kept_values_are_in_each_row() {
    let how = json(&["id", "region", "a", "b"]).records("/items").keep(&["/id", "/meta/region"]);
    let text = r#"{"id": "s\"1" ,"meta":{"n":[1,{}],"region":{"x": 1}},"items":[{"a":1,"id":9},{"a":2}],"more":[]}"#;
    assert_eq!(how.shown(text), [r#""s\"1" {"x": 1} 1 - | {"id":9}"#, r#""s\"1" {"x": 1} 2 -"#]);
    // Each document has its own, or none.
    assert_eq!(
        how.shown("{\"id\":1,\"items\":[{}]}{\"id\":null,\"items\":[{}]}{\"items\":[{}]}"),
        ["1 - - -", "- - - -", "- - - -"]
    );
    assert_eq!(
        how.shown("{\"items\":[{\"a\":1}],\"id\":1}"),
        [
            "- - 1 -",
            "error: /id of json.keep stands at byte 24, behind the records at /items: rows before it can't have it; \
             take it out of json.keep"
        ]
    );
    assert!(how.shown("{\"items\":[],\"id\":1}").is_empty());
    assert_eq!(how.shown("{\"id\":nul,\"items\":[]}"), ["error: the JSON document is not valid JSON at byte 9"]);
}

#[test]
fn a_long_document_is_never_held() {
    let item = "{\"a\":\"0123456789\"},";
    let text = format!("{{\"skipped\":\"{}\",\"Records\":[{}{{}}]}}", "x".repeat(300_000), item.repeat(20_000));
    let mut how = json(&["a"]).records("/Records").pieces(1000);
    how.most_bytes = 100;
    let mut splitter = super::Splitter::new(std::sync::Arc::new(how.options.clone()), false, how.most_bytes, 64);
    let mut records = 0;
    for piece in text.as_bytes().chunks(how.piece_bytes) {
        splitter.push(bytes::Bytes::copy_from_slice(piece));
        while let Some(cut) = splitter.next().unwrap() {
            let super::Cut::Chunk(chunk) = cut else { panic!("{cut:?}") };
            records += chunk.records;
        }
        assert!(splitter.held_bytes() < 1000, "{}", splitter.held_bytes());
    }
    assert_eq!(records, 20_001);
}

#[test]
fn large_kept_values_make_small_chunks() {
    let text = format!("{{\"k\":\"{}\",\"r\":[{}{{}}]}}", "x".repeat(500_000), "{},".repeat(20));
    let (cuts, ..) = json(&["k"]).records("/r").keep(&["/k"]).split(text.as_bytes());
    assert_eq!(cuts.len(), 11);
}

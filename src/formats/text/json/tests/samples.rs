//! Names and values of the first bytes.

use super::super::sample;
use super::super::sample::Sample;
use super::{How, MOST_LEVELS, json, jsonl};
use arrow::array::{Array, AsArray};
use bytes::Bytes;
use std::sync::Arc;

fn of(how: &How, text: &str, is_all: bool) -> Sample {
    let text = Bytes::copy_from_slice(text.as_bytes());
    sample(&Arc::new(how.options.clone()), how.is_lines, how.most_bytes, MOST_LEVELS, text, is_all)
}

#[test]
fn names_come_in_the_order_of_their_first_appearance() {
    let text = "{\"b\":1,\"n\":null}\n{\"a\":{\"x\": 1},\"b\":2}\n7\n{\"\\u0063\":3,\"b\":\"";
    let sample_of = of(&jsonl(&[]), text, false);
    assert_eq!((sample_of.names.join(" "), sample_of.rows, sample_of.bad), (String::from("b n a"), 2, 1));
    let [columns] = &sample_of.chunks[..] else { panic!() };
    let values: Vec<_> = columns.iter().map(|column| column.as_string::<i32>().iter().collect::<Vec<_>>()).collect();
    assert_eq!(values, [vec![Some("1"), Some("2")], vec![None, None], vec![None, Some("{\"x\": 1}")]]);
    // The last line is whole if the object ends with it.
    assert_eq!(of(&jsonl(&[]), "{\"a\":1}\n{\"\\u0063\":3}", true).names, ["a", "c"]);
    assert_eq!(of(&jsonl(&[]), "{\"a\":1}\n{\"c\":3}", false).names, ["a"]);
}

#[test]
fn kept_values_and_documents_have_names_too() {
    let how = json(&[]).records("/r").keep(&["/x/id"]);
    let sample_of = of(&how, "{\"x\":{\"id\":5},\"r\":[{\"a\":1},{\"id\":2,\"b\":1},{\"c", false);
    assert_eq!((sample_of.names.join(" "), sample_of.rows), (String::from("id a b"), 2));
    assert_eq!(sample_of.chunks[0][0].as_string::<i32>().value(1), "5");
    assert_eq!(of(&json(&[]).document(), "{\"a\":1}", true).names, ["data"]);
    assert!(of(&json(&[]), "7", true).error.is_some());
    assert!(of(&json(&[]), "{\"a\":1,", false).names.is_empty());
    assert_eq!(sample_of.chunks[0][1].len(), 2);
}

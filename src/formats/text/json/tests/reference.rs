//! What is JSON, and what is in it, is what serde_json says.

use super::super::Shape;
use super::super::scanner::Scanner;
use super::{Chunk, Read, json, jsonl};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Whether serde_json takes the bytes as one value.
fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

fn is_ours(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii();
    std::str::from_utf8(bytes).is_ok() && Scanner::new(120).value(bytes, 0, 0) == Ok(bytes.len())
}

#[test]
fn cases_of_the_grammar() {
    let cases = "0|-0|1|-1|01|-01|-|+1|1.|.1|1.0|1.0.|1e1|1E+1|1e-1|1e|1e+|1e1.0|0e0|0x1|1_0|NaN|Infinity|-Infinity|true|True|tru|truee|\
        false|nul|null|\"\"|\"a|\"\\a\"|\"\\u12\"|\"\\u12g4\"|\"\\ud800\"|\"\\u0000\"|\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"|\"\t\"|\"\u{7f}\"|'a'|[]|[ ]|[1,]|[,1]|\
        [1 2]|[1,,2]|[|]|[1}|{}|{ }|{\"a\"}|{\"a\":}|{\"a\":1,}|{,}|{a:1}|{1:1}|{\"a\":1 \"b\":2}|{\"a\":1,\"a\":1}|{\"a\" : 1 }|{\"a\":1]|\
        [{\"a\":[{}]},[[]]]|[\"é\"]|//|/**/1|1//|\u{feff}1|[1]x|{}{}|\"\\\"|\"\\\\\"|[\"\\\\\",\"]\"]|\u{a0}1|\u{b}1|[1\u{c}]| 1 ";
    for case in cases.split('|') {
        assert_eq!(
            is_ours(case.as_bytes()),
            is_json(case.as_bytes()) && !case.contains(['\u{b}', '\u{c}']),
            "{case:?}"
        );
    }
    for bytes in
        [&b"\"\xff\""[..], b"\"\x1f\"", b"\"\0\"", b"", b"\0", b"[\"12345678\x019\"]", b"\"1234567\\\"8\xc3\xa9\""]
    {
        assert_eq!(is_ours(bytes), is_json(bytes), "{bytes:?}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        "([a-z\"\\\\\n{}\\[\\],é]|.){0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc\"\\\\é]{0,2}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn objects() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map("[abc\"\\\\é]{0,2}", values(), 0..6)
}

fn value(raw: Option<&String>) -> Value {
    raw.map_or(Value::Null, |raw| serde_json::from_str(raw).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn mutations_are_json_as_serde_json_says(
        value in values(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"{}[],:\"\\ \n0-.eE+ux\x01\xff\xc3tfn"[..])), 0..3),
        is_pretty in any::<bool>(),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut text = if is_pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
        for (index, byte) in changes {
            let index = index.index(text.len());
            text[index] = byte;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
        }
        prop_assert_eq!(is_ours(&text), is_json(&text), "{:?}", String::from_utf8_lossy(&text));
        // A line is a record exactly if it is an object.
        let line: Vec<u8> = text.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
        let is_object = is_json(&line) && line.trim_ascii().starts_with(b"{");
        let chunk = Chunk {
            bytes: line.trim_ascii().to_vec().into(),
            first_record: 0,
            records: 1,
            offset: 0,
            kept: None,
        };
        let read = jsonl(&[]).parse(Shape::Lines, &chunk);
        let good = read.iter().filter(|read| matches!(read, Read::Row(..))).count();
        let expected = usize::from(is_object);
        prop_assert!(good == expected, "{:?}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn all_values_come_out(rows in prop::collection::vec(objects(), 1..8), shape in 0..4) {
        let texts: Vec<String> = rows.iter().map(|row| match shape {
            1 => serde_json::to_string_pretty(row).unwrap(),
            _ => serde_json::to_string(row).unwrap(),
        }).collect();
        let text = match shape {
            0 => texts.join("\n"),
            1 | 2 => texts.concat(),
            _ => format!("[{}]", texts.join(" , ")),
        };
        let names = ["a", "b", "é", "\"\\", "ca"];
        let (read, error) = json(&names).read(&text);
        prop_assert_eq!(error, None);
        prop_assert_eq!(read.len(), rows.len());
        for (read, row) in read.iter().zip(&rows) {
            let Read::Row(_, columns, others) = read else { panic!("{read:?}") };
            let mut all: BTreeMap<String, Value> = others.as_ref().map(|others| serde_json::from_str(others).unwrap()).unwrap_or_default();
            for (name, column) in names.iter().zip(columns) {
                prop_assert!(!all.contains_key(*name));
                all.insert(String::from(*name), value(column.as_ref()));
            }
            all.retain(|_, value| !value.is_null());
            let expected: BTreeMap<String, Value> = row.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(all, expected);
        }
    }
}

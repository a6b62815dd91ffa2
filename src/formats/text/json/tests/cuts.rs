//! Pieces of any cut give the same records, and no bytes panic.

use super::{How, json, jsonl};
use proptest::prelude::*;

fn hows() -> Vec<How> {
    let names = &["a", "b", "k"];
    let mut hows = vec![
        json(names),
        jsonl(names),
        json(&["data"]).document(),
        jsonl(&["data"]).document(),
        json(names).records("/a"),
        json(names).records("/a").keep(&["/k", "/b/0/k"]),
        json(names).records(""),
    ];
    for how in &mut hows {
        how.most_bytes = 60;
    }
    hows
}

/// Texts that are often JSON, and often nearly.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\n", "\r\n", " ", "\"a\"", "\"b\"", "\"k\"", "\"a\":", "\"b\":", "\"k\":", "{\"a\":1}", "{\"a\":[",
            "1", "-0.5e3", "true", "null", "\"\\\"\"", "\"\\\\\"", "\"{\"", "\"", "\\", "\"\\u00e9\"", "tru", "01", "é", "{\"k\":7,\"a\":[{\"b\":1},",
            "{\"k\":7,\"a\":[{\"b\":1}, 7 ,{}]}", "[{\"a\":1} ,{\"b\":2}]",
        ]).prop_map(|token| token.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
        1 => any::<u8>().prop_map(|size| format!("{{\"a\":\"{}\"}}", "x".repeat(usize::from(size) % 120)).into_bytes()),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_cut_gives_the_same(text in texts(), pieces in prop::collection::vec(1_usize..40, 1..4)) {
        for how in hows() {
            // What is far too long may be bad, or end the splitting, as the pieces are: it is left out here.
            let (whole, error) = how.read(&text);
            for bytes in &pieces {
                let (read, cut_error) = how.clone().pieces(*bytes).read(&text);
                let is_too_long = |error: &Option<_>| matches!(error, Some(super::SplitError::TooLong { .. }));
                if is_too_long(&error) || is_too_long(&cut_error) {
                    continue;
                }
                prop_assert_eq!(&read, &whole);
                prop_assert_eq!(&cut_error, &error);
            }
        }
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        for how in hows() {
            how.read(&text);
        }
    }
}

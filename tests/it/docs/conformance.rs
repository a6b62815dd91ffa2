//! The items of docs/conformance.md and the tests that have their numbers in their names.

use super::{files_below, inline_code, page};
use std::collections::{BTreeMap, BTreeSet};

/// The names of all functions of the code and its tests.
fn functions() -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for file in ["src", "tests"].into_iter().flat_map(files_below).filter(|name| name.ends_with(".rs")) {
        for rest in page(&file).split("fn ").skip(1) {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            functions.insert(rest[..end].to_owned());
        }
    }
    functions
}

/// The items that a test's name begins with: `item_54_to_59_and_61_…`, `items_91_and_92_…`.
fn items_of(function: &str) -> BTreeSet<u32> {
    let Some(rest) = function.strip_prefix("items_").or_else(|| function.strip_prefix("item_")) else {
        return BTreeSet::new();
    };
    let words: Vec<&str> = rest.split('_').collect();
    let mut items = BTreeSet::new();
    let mut at = 0;
    let mut from = None;
    while let Some(number) = words.get(at).and_then(|word| word.parse::<u32>().ok()) {
        items.extend(from.unwrap_or(number)..=number);
        from = (words.get(at + 1) == Some(&"to")).then_some(number);
        at += 2;
    }
    items
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(items_of("item_07_a_stale_socket"), BTreeSet::from([7]));
    assert_eq!(items_of("item_54_to_56_and_61_rules"), BTreeSet::from([54, 55, 56, 61]));
    assert_eq!(items_of("items_91_and_92_four_shards"), BTreeSet::from([91, 92]));
    assert_eq!(items_of("other_item_5"), BTreeSet::new());
}

#[test]
fn the_list_of_items_and_the_tests_agree() {
    let text = page("docs/conformance.md");
    let mut listed: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(number) = cells.first().and_then(|cell| cell.parse().ok()) else { continue };
        let [_, _, tests] = cells[..] else { panic!("an item is a number, a rule and tests: {line}") };
        assert_eq!(number, listed.len() as u32 + 1, "items are numbered without a gap");
        listed.insert(number, inline_code(tests).into_iter().collect());
    }
    let functions = functions();
    for (number, tests) in &listed {
        assert!(!tests.is_empty(), "item {number} has no test");
        for test in tests {
            assert!(functions.contains(*test), "item {number} names {test}, which does not exist");
        }
    }
    let mut cited = 0;
    for function in &functions {
        for number in items_of(function) {
            let item = listed.get(&number).unwrap_or_else(|| panic!("{function} cites item {number}, no such item"));
            assert!(item.contains(function.as_str()), "item {number} lacks its test {function}");
            cited += 1;
        }
    }
    assert!(cited > 80, "the names of tests were not found");
}

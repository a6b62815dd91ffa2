//! Sets of parts: what is written when, and that anything torn or damaged is seen.

use super::*;
use crate::state::MAX_VALUE_CHARS;

type Rows = BTreeMap<String, String>;

fn load(rows: &Rows) -> Result<Loaded<'_>, String> {
    PartSet::load("k", rows.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

fn change(rows: &Rows, parts: &[&str], meta: &str) -> Vec<(String, String)> {
    let mut change = load(rows).unwrap().set.change();
    for part in parts {
        change.add(part);
    }
    change.finish(meta)
}

fn keys(changes: &[(String, String)]) -> Vec<&str> {
    changes.iter().map(|(key, _)| key.as_str()).collect()
}

fn contents(rows: &Rows) -> Result<Vec<&str>, String> {
    let mut parts = load(rows)?.parts;
    parts.sort_unstable();
    Ok(parts)
}

#[test]
fn what_was_written_is_read_and_only_changes_are_written() {
    let mut rows = Rows::from([("other".to_owned(), "x".to_owned()), ("k2".to_owned(), "x".to_owned())]);
    assert_eq!(load(&rows).unwrap().meta, None);
    assert!(change(&rows, &[], "").is_empty());
    let first = change(&rows, &["a", "b"], "n=1");
    assert_eq!(keys(&first), ["k.0", "k.1", "k"]);
    rows.extend(first);
    assert_eq!(contents(&rows).unwrap(), ["a", "b"]);
    assert_eq!(load(&rows).unwrap().meta.as_deref(), Some("n=1"));
    assert!(change(&rows, &["b", "a"], "n=1").is_empty());
    assert_eq!(keys(&change(&rows, &["a", "b"], "n=2")), ["k"]);

    let second = change(&rows, &["a", "c"], "n=1");
    assert_eq!(keys(&second), ["k.2", "k", "k.1"], "k.1 counts until the head is written, and is emptied then");
    rows.extend(second);
    assert_eq!(contents(&rows).unwrap(), ["a", "c"]);
    let third = change(&rows, &["a", "d"], "n=1");
    assert_eq!(keys(&third), ["k.1", "k", "k.2"], "reused");
    rows.extend(third);
    let fourth = change(&rows, &["a"], "n=1");
    assert_eq!(keys(&fourth), ["k", "k.1"]);
    rows.extend(fourth);
    assert_eq!((rows["k.1"].as_str(), rows["k.2"].as_str()), ("", ""));
    assert_eq!(contents(&rows).unwrap(), ["a"]);
}

fn revocably(rows: &Rows, which: Which, parts: &[&str], meta: &str) -> Vec<(String, String)> {
    let mut change = stored(rows).take(which).unwrap().set.change();
    for part in parts {
        change.add(part);
    }
    change.finish_revocably(meta)
}

fn stored(rows: &Rows) -> Stored<'_> {
    Stored::read("k", rows.iter().map(|(key, value)| (key.as_str(), value.as_str()))).unwrap()
}

fn both(rows: &Rows) -> [Vec<&str>; 2] {
    [Which::Current, Which::Previous].map(|which| {
        let mut parts = stored(rows).parts(which).unwrap();
        parts.sort_unstable();
        parts
    })
}

#[test]
fn what_was_there_before_stays_whole_as_long_as_it_may_be_needed() {
    let mut rows = Rows::new();
    rows.extend(revocably(&rows, Which::Current, &["a", "b"], "n=1"));
    assert_eq!(both(&rows), [vec!["a", "b"], vec![]]);
    let second = revocably(&rows, Which::Current, &["a", "c"], "n=2");
    assert_eq!(keys(&second), ["k.2", "k.prev", "k"]);
    for stop in 0..second.len() {
        let mut torn = rows.clone();
        torn.extend(second[..stop].iter().cloned());
        assert_eq!(both(&torn)[0], ["a", "b"], "{stop}");
    }
    rows.extend(second);
    assert_eq!(both(&rows), [vec!["a", "c"], vec!["a", "b"]]);
    assert_eq!((stored(&rows).meta(Which::Current), stored(&rows).meta(Which::Previous)), (Some("n=2"), Some("n=1")));

    // From the previous one again: the current one stays until the head is written.
    let instead = revocably(&rows, Which::Previous, &["a", "b", "d"], "n=3");
    assert_eq!(keys(&instead), ["k.3", "k"], "the previous head is the same");
    let mut other = rows.clone();
    other.extend(instead);
    assert_eq!(both(&other), [vec!["a", "b", "d"], vec!["a", "b"]]);

    let third = revocably(&rows, Which::Current, &["c", "e"], "n=3");
    for stop in 0..third.len() {
        let mut torn = rows.clone();
        torn.extend(third[..stop].iter().cloned());
        assert_eq!(both(&torn)[0], ["a", "c"], "{stop}");
    }
    rows.extend(third);
    assert_eq!(both(&rows), [vec!["c", "e"], vec!["a", "c"]]);
    let back = stored(&rows).take(Which::Previous).unwrap().set.change();
    assert!(!back.is_stored(&[], "n=2"), "nothing of it is new, but it is not what counts now");
    rows.extend(change(&rows, &["c"], "n=4"));
    assert_eq!(both(&rows), [vec!["c"], vec![]]);
    assert_eq!(rows.values().filter(|value| !value.is_empty()).count(), 2, "all else is emptied");
}

#[test]
fn a_write_that_stops_before_the_head_changes_nothing() {
    let mut rows = Rows::new();
    rows.extend(change(&rows, &["a", "b"], ""));
    let second = change(&rows, &["c", "d", "e"], "");
    let head = second.iter().position(|(key, _)| key == "k").unwrap();
    for stop in 0..=head {
        let mut torn = rows.clone();
        torn.extend(second[..stop].iter().cloned());
        assert_eq!(contents(&torn).unwrap(), ["a", "b"], "{stop}");
        torn.extend(change(&torn, &["f", "g"], ""));
        assert_eq!(contents(&torn).unwrap(), ["f", "g"]);
    }
    for lost in 0..head {
        let mut torn = rows.clone();
        torn.extend(second.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, change)| change.clone()));
        assert!(contents(&torn).unwrap_err().contains("is missing"), "{lost}");
    }
}

#[test]
fn parts_of_different_writes_do_not_pass_for_one() {
    let mut rows = Rows::new();
    rows.extend(change(&rows, &["a", "b"], ""));
    let old = rows.clone();
    rows.extend(change(&rows, &["a", "c"], ""));
    rows.extend(change(&rows, &["a", "d"], ""));
    rows.insert("k.1".to_owned(), old["k.1"].clone());
    assert!(contents(&rows).unwrap_err().contains("do not fit together"));
}

#[test]
fn any_damage_is_an_error() {
    let mut rows = Rows::new();
    rows.extend(change(&rows, &["a", "b"], "n=1"));
    for (key, from, to) in [
        ("k", "generation=1", "generation=2"),
        ("k", "n=1", "n=2"),
        ("k", "live=03", "live=01"),
        ("k", "live=03", "live=07"),
        ("k", "live=03", "live=0é"),
        ("k", "parts=2", "parts=3"),
        ("k", "parts=2", "pants=2"),
        ("k", "v1", "v2"),
        ("k", " checksum=", " "),
        ("k.0", "a", "b"),
        ("k.0", "v1", "v9"),
    ] {
        let mut damaged = rows.clone();
        let value = damaged[key].replace(from, to);
        assert_ne!(value, damaged[key], "{from}");
        damaged.insert(key.to_owned(), value);
        assert!(contents(&damaged).is_err(), "{from} {to}");
    }
    rows.remove("k");
    assert_eq!(contents(&rows).unwrap_err(), "k is missing though there are 2 parts of it");
}

#[test]
fn a_head_of_many_parts_fits_into_a_value() {
    let live = 50_000..100_000;
    let text = Head::text(u64::MAX, live, 50_000, u64::MAX, "low_water=4294967295 objects=18446744073709551615");
    assert!(text.len() + 50 < MAX_VALUE_CHARS, "{}", text.len());
}

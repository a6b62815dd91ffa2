use super::*;

fn object(key: &str) -> ObjectMeta {
    ObjectMeta { key: key.to_owned(), size_bytes: 10, etag: None, last_modified_s: 0, archived: false }
}

fn list(keys: &[&str]) -> Listing {
    let filter = KeyFilter::default();
    let mut grouper = Grouper::new(&filter);
    for key in keys {
        grouper.add(object(key));
    }
    grouper.finish()
}

#[test]
fn objects_meet_in_their_table_in_whatever_order() {
    let listing = list(&["b/2.parquet", "a/1.parquet", "b/1.parquet", "b/x.csv", "root.parquet"]);
    let tables: Vec<(&str, Vec<String>)> = listing
        .tables
        .iter()
        .map(|table| (table.name.as_str(), table.objects.iter().map(|o| table.object_key(o)).collect()))
        .collect();
    assert_eq!(
        tables,
        [
            ("a", vec!["a/1.parquet".to_owned()]),
            ("b", vec!["b/1.parquet".to_owned(), "b/2.parquet".to_owned()]),
            ("root", vec!["root.parquet".to_owned()]),
        ]
    );
    assert_eq!(listing.skipped.to_string(), "not_parquet: 1");
}

#[test]
fn a_key_that_is_listed_again_counts_once_as_it_was_last() {
    let filter = KeyFilter::default();
    let mut grouper = Grouper::new(&filter);
    for (key, last_modified_s) in
        [("a/2.parquet", 1), ("a/2.parquet", 2), ("a/3.parquet", 3), ("a/1.parquet", 4), ("a/3.parquet", 5)]
    {
        grouper.add(ObjectMeta { last_modified_s, ..object(key) });
    }
    let listing = grouper.finish();
    let objects = listing.tables[0].objects.iter();
    let objects: Vec<_> =
        objects.map(|object| (listing.tables[0].object_key(object), object.last_modified_s)).collect();
    let expected = [("a/1.parquet", 4), ("a/2.parquet", 2), ("a/3.parquet", 5)];
    assert_eq!(objects, expected.map(|(key, time)| (key.to_owned(), time)));
}

#[test]
fn two_prefixes_with_one_name_are_both_named_with_the_cure() {
    let listing = list(&["a-b/1.parquet", "a_b/1.parquet"]);
    let error = listing.check_names(&Mappings::default()).unwrap_err().to_string();
    assert!(error.contains("\"a-b/\" and \"a_b/\" would both become the table a_b"), "{error}");
    assert!(error.contains("exclude: [\"a_b/*.parquet\"]"), "{error}");
}

#[test]
fn only_selected_tables_are_kept_and_count() {
    let filter = KeyFilter::new(&[], &["**/old*".to_owned()]).unwrap();
    let selector = Selector::new(&["a*".to_owned()], &["a2".to_owned()]);
    let mut grouper = Grouper::new(&filter).selected_by(selector).remember_unread(true);
    for key in ["a0/old.parquet", "a1/1.parquet", "a1/old.parquet", "a2/1.parquet", "b/1.parquet", "b/old.parquet"] {
        grouper.add(object(key));
    }
    assert_eq!((grouper.tables.len(), grouper.index.len()), (1, 1));
    assert_eq!(grouper.check_number(NonZeroUsize::MIN), Ok(()));
    grouper.add(object("a3/1.parquet"));
    assert!(grouper.check_number(NonZeroUsize::MIN).unwrap_err().to_string().contains("at least 2 tables"));
    let listing = grouper.finish();
    let unread: Vec<String> = listing.tables[0].unread.iter().map(|o| listing.tables[0].object_key(o)).collect();
    assert_eq!(unread, ["a1/old.parquet"]);
    assert_eq!(listing.names(), HashSet::from(["a0", "a1", "a3"]));
    assert_eq!(listing.check_selection(), Ok(vec![]));
}

#[test]
fn warnings_are_about_what_is_read_or_could_be() {
    let listing = list(&[
        "t/_delta_log/0.json",
        "t/_delta_log/1.json",
        "t/a.parquet",
        "i/metadata/v1.metadata.json",
        "i/data/x.parquet",
        "i/data/x.PARQUET",
        "nothing/_delta_log/0.json",
    ]);
    let warnings = listing.warnings("lake");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].starts_with("s3://lake/t/ is a table in Delta format"), "{}", warnings[0]);
    assert!(warnings[2].contains("such as \"i/data/x.PARQUET\""), "{}", warnings[2]);
}

#[test]
fn archived_objects_are_known_but_not_read() {
    let filter = KeyFilter::default();
    let mut grouper = Grouper::new(&filter);
    grouper.add(ObjectMeta { archived: true, ..object("a/1.parquet") });
    grouper.add(object("a/2.parquet"));
    let listing = grouper.finish();
    assert_eq!(listing.tables[0].objects.len(), 1);
    let archived = Archived { count: 1, first_key: Some("a/1.parquet".to_owned()) };
    assert_eq!(listing.tables[0].archived, archived);
}

use super::*;

const RULES: &str = "1;nested_as=json";

fn options(rules: &str, file_columns: bool) -> ColumnOptions {
    let words: &[&str] = if file_columns { &FIRST_FILE_COLUMNS } else { &[] };
    ColumnOptions { rules: rules.to_owned(), file_columns: words.iter().map(ToString::to_string).collect() }
}

fn schema(columns: &[(&str, ColumnType)]) -> StoredSchema {
    let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
        source: ColumnSource::File { name: (*name).to_owned(), occurrence: 0 },
        name: name.to_lowercase(),
        column_type: column_type.clone(),
    };
    let columns = columns.iter().map(column).collect();
    StoredSchema {
        key: "raw/größe \"a\".parquet".to_owned(),
        schema: TableSchema::from_columns(columns),
        pending: Vec::new(),
    }
}

fn read(rows: &BTreeMap<String, String>, rules: &str) -> Result<SchemaState, String> {
    read_with(rows, &options(rules, false))
}

fn read_with(rows: &BTreeMap<String, String>, options: &ColumnOptions) -> Result<SchemaState, String> {
    SchemaState::read("p/schema", "orders", entries(rows), Some(options))
}

fn entries(rows: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    rows.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

#[test]
fn what_was_stored_is_found_and_written_once() {
    let mut rows = BTreeMap::new();
    let mut state = read(&rows, RULES).unwrap();
    assert!(state.stored().is_none() && !state.is_outdated());
    let stored = schema(&[
        ("Id", ColumnType::Int64),
        ("größe\u{7f}😀", ColumnType::List(Box::new(ColumnType::Decimal128 { precision: 9, scale: 2 }))),
    ]);
    rows.extend(state.update(&stored));
    assert!(rows.values().all(|value| value.is_ascii()), "{rows:?}");
    let mut state = read(&rows, RULES).unwrap();
    assert_eq!(state.stored(), Some(&stored));
    assert!(state.update(&stored).is_empty());
    let changed = schema(&[("Id", ColumnType::Int32)]);
    rows.extend(read(&rows, RULES).unwrap().update(&changed));
    assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&changed));
}

#[test]
fn columns_that_are_not_announced_yet_are_remembered() {
    let mut rows = BTreeMap::new();
    let mut stored = schema(&[("Id", ColumnType::Int64)]);
    let pending =
        |name: &str, column_type| PendingColumn { key: "raw/b.csv".to_owned(), name: name.to_owned(), column_type };
    stored.pending =
        vec![pending("größe", ColumnType::Utf8), pending("n", ColumnType::List(Box::new(ColumnType::Int64)))];
    rows.extend(read(&rows, RULES).unwrap().update(&stored));
    let mut state = read(&rows, RULES).unwrap();
    assert_eq!(state.stored(), Some(&stored));
    assert!(state.update(&stored).is_empty());
    stored.pending.clear();
    rows.extend(state.update(&stored));
    assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&stored));
}

#[test]
fn columns_of_the_key_are_told_from_those_of_files() {
    let mut rows = BTreeMap::new();
    let mut stored = schema(&[("Id", ColumnType::Int64)]);
    let of_key = TableColumn {
        source: ColumnSource::Key { name: "dt".to_owned() },
        name: "dt".to_owned(),
        column_type: ColumnType::Date32,
    };
    let columns = stored.schema.columns().iter().cloned();
    stored.schema = TableSchema::from_columns(std::iter::once(of_key).chain(columns).collect());
    rows.extend(read(&rows, RULES).unwrap().update(&stored));
    assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&stored));
}

#[test]
fn other_rules_make_it_outdated_also_with_types_of_the_future() {
    let mut rows = BTreeMap::new();
    rows.extend(read(&rows, RULES).unwrap().update(&schema(&[("Id", ColumnType::Int64)])));
    let mut state = read(&rows, "2").unwrap();
    assert!(state.stored().is_none() && state.is_outdated());
    let stored = schema(&[("Id", ColumnType::Int64)]);
    rows.extend(state.update(&stored));
    assert_eq!(read(&rows, "2").unwrap().stored(), Some(&stored));
    assert!(read(&rows, RULES).unwrap().is_outdated());
}

/// Another format of dates changes no column, and all values.
#[test]
fn other_choices_make_other_rows_of_the_same_columns() {
    let stored = schema(&[("Id", ColumnType::Int64)]);
    let differs = |rules: &str, today: &str| {
        let mut rows = BTreeMap::new();
        rows.extend(read(&rows, rules).unwrap().update(&stored));
        read(&rows, today).unwrap().differs(&stored.schema)
    };
    let chosen = format!("{RULES};options=0123456789abcdef");
    assert!(differs(RULES, &chosen) && differs(&chosen, RULES));
    assert!(differs(&chosen, &format!("{RULES};options=1123456789abcdef")));
    assert!(!differs(RULES, RULES) && !differs(&chosen, &chosen));
    let keys = |values: &str, types: &str| format!("{RULES};keys={values};key_types={types}");
    assert!(differs(&keys("1", "1"), &keys("2", "1")));
    assert!(!differs(&keys("1", "1"), &keys("1", "2")) && !differs(RULES, &keys("1", "1")));
    assert!(!differs(RULES, "1;nested_as=native2") && !differs(RULES, "2;nested_as=json"));
}

#[test]
fn a_wide_schema_is_split_over_several_values() {
    let names: Vec<String> = (0..5_000).map(|number| format!("column_{number}_é")).collect();
    let columns: Vec<(&str, ColumnType)> = names.iter().map(|name| (name.as_str(), ColumnType::Utf8)).collect();
    let wide = schema(&columns);
    let mut rows = BTreeMap::new();
    let changes = read(&rows, RULES).unwrap().update(&wide);
    assert!(changes.len() > 3);
    assert_eq!(changes.last().unwrap().0, "p/schema");
    assert!(changes.iter().all(|(_, value)| value.len() <= MAX_VALUE_CHARS && value.is_ascii()));
    rows.extend(changes);
    assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&wide));
    rows.remove("p/schema.1");
    assert!(read(&rows, RULES).unwrap_err().contains("p/schema.1 is missing"));
}

#[test]
fn other_rules_that_make_the_same_columns_are_no_difference() {
    let mut rows = BTreeMap::new();
    let stored = schema(&[("Id", ColumnType::Int64), ("tags", ColumnType::Json)]);
    rows.extend(read(&rows, RULES).unwrap().update(&stored));
    assert!(!read(&rows, RULES).unwrap().differs(&stored.schema), "not outdated");
    let state = read(&rows, "2").unwrap();
    let ordered_otherwise = schema(&[("tags", ColumnType::Json), ("Id", ColumnType::Int64)]);
    assert!(!state.differs(&stored.schema) && !state.differs(&ordered_otherwise.schema));
    for other in [vec![("Id", ColumnType::Int64)], vec![("Id", ColumnType::Int64), ("tags", ColumnType::Utf8)]] {
        assert!(state.differs(&schema(&other).schema), "{other:?}");
    }
}

#[test]
fn added_columns_are_a_difference_once_it_is_known_what_was_before() {
    let mut rows = golden();
    let stored = read(&rows, RULES).unwrap().stored().unwrap().clone();
    for file_columns in [false, true] {
        assert!(!read_with(&rows, &options(RULES, file_columns)).unwrap().added_columns_changed(), "of release 0.1");
    }
    rows.extend(read_with(&rows, &options(RULES, true)).unwrap().update(&stored));
    for (file_columns, changed) in [(true, false), (false, true)] {
        let state = read_with(&rows, &options(RULES, file_columns)).unwrap();
        assert_eq!((state.stored(), state.added_columns_changed()), (Some(&stored), changed));
    }
}

#[test]
fn columns_of_a_list_are_stored_by_their_words_and_found_whatever_the_options() {
    let stored = schema(&[("Id", ColumnType::Int64)]);
    let list = |words: &[&str]| ColumnOptions {
        rules: RULES.to_owned(),
        file_columns: words.iter().map(ToString::to_string).collect(),
    };
    let mut rows = BTreeMap::new();
    rows.extend(read_with(&rows, &list(&["row", "file"])).unwrap().update(&stored));
    for (options, changed) in [(list(&["row", "file"]), false), (list(&["row"]), true), (list(&[]), true)] {
        assert_eq!(read_with(&rows, &options).unwrap().added_columns_changed(), changed, "{options:?}");
    }
    let mut state = SchemaState::read("p/schema", "orders", entries(&rows), None).unwrap();
    assert_eq!((state.stored(), state.file_columns()), (Some(&stored), ["row", "file"].map(str::to_owned).as_slice()));
    assert!(state.update(&stored).is_empty());
}

#[test]
fn the_state_names_its_tables() {
    let stored = schema(&[("Id", ColumnType::Int64)]);
    let mut rows = BTreeMap::new();
    for (prefix, name) in [("s/b/orders/1/", "orders"), ("s/b/größe/2/", "größe")] {
        let key = format!("{prefix}schema");
        let mut state = SchemaState::read(&key, name, entries(&rows), Some(&options(RULES, false))).unwrap();
        rows.extend(state.update(&stored));
        rows.insert(format!("{prefix}ledger"), "v1 whatever".to_owned());
    }
    // Without a name, damaged, and something else.
    rows.extend(golden().into_iter().map(|(key, value)| (format!("s/b/old/3/{key}"), value)));
    rows.insert("s/b/torn/4/schema".to_owned(), "v1 nonsense".to_owned());
    rows.insert("foreign".to_owned(), "x".to_owned());
    let named = named_tables(entries(&rows));
    assert_eq!(named, [("s/b/größe/2/", "größe".to_owned()), ("s/b/orders/1/", "orders".to_owned())]);
}

fn golden() -> BTreeMap<String, String> {
    serde_json::from_str(include_str!("../../../tests/fixtures/state/schema_v1.json")).unwrap()
}

/// Frozen: the next release reads it. (Rewritten never; a change of the format gets a new file.)
#[test]
fn golden_schema() {
    let stored = schema(&[("Id", ColumnType::Int64), ("größe", ColumnType::List(Box::new(ColumnType::Uuid)))]);
    // What release 0.1 wrote.
    assert_eq!(read(&golden(), RULES).unwrap().stored(), Some(&stored));
    let rows: BTreeMap<String, String> =
        serde_json::from_str(include_str!("../../../tests/fixtures/state/schema_v1_named.json")).unwrap();
    let written: BTreeMap<String, String> =
        read(&BTreeMap::new(), RULES).unwrap().update(&stored).into_iter().collect();
    let state = read(&rows, RULES).unwrap();
    assert_eq!(state.stored(), Some(&stored));
    assert_eq!(written, rows);
}

/// Frozen likewise: a merged table, whose rescue column stands between those of the first sync and a later one.
#[test]
fn golden_schema_of_a_merged_table() {
    const MERGED: &str = "1;nested_as=json;schema=merge";
    let mut columns = schema(&[("Id", ColumnType::Int64), ("rest", ColumnType::Json), ("b", ColumnType::Utf8)])
        .schema
        .columns()
        .to_vec();
    columns[1].source = ColumnSource::Rescue;
    let stored = StoredSchema {
        key: "raw/a.parquet".to_owned(),
        schema: TableSchema::from_columns(columns),
        pending: Vec::new(),
    };
    let rows: BTreeMap<String, String> =
        serde_json::from_str(include_str!("../../../tests/fixtures/state/schema_v1_merged.json")).unwrap();
    let written: BTreeMap<String, String> =
        read(&BTreeMap::new(), MERGED).unwrap().update(&stored).into_iter().collect();
    assert_eq!(written, rows);
    assert_eq!(read(&rows, MERGED).unwrap().stored(), Some(&stored));
}

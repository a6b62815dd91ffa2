//! Plans as people read them.

use super::{config, lake, plan, run};
use expect_test::expect;
use serde_json::json;

/// One object at a time: how many requests heads take depends on those that came before.
fn spec() -> serde_json::Value {
    json!({"concurrency": 1, "path_prefix": "raw/", "exclude": ["raw/tmp/**"], "file_columns": true})
}

#[tokio::test]
async fn at_80_columns() {
    let s3 = lake().await;
    let shown = plan(&s3, spec(), &[]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(3), ""));
    expect![[r#"
        s3://test-bucket/raw/
        3 tables, 5 objects, 6.6 KiB

        TABLE                                 OBJECTS     SIZE  FROM
        raw_events                                  2  3.6 KiB  raw/events/
            archived  1 archived object that can't be read, the first:
                      raw/events/2025-12.parquet; a sync sends the others and ends with
                      an error: restore or `exclude` what is archived, or set
                      `on_archived: skip`
            plugin    _cq_id uuid, _cq_parent_id uuid, _s3_key utf8,
                      _s3_last_modified timestamp, _s3_row int64
            file      id int64, text utf8, at timestamp, f float64, list list<utf8>,
                      structs json, map json, raw binary
        raw_mixed                                   2  2.1 KiB  raw/mixed/
            error     "raw/mixed/1.parquet" and "raw/mixed/2.parquet" do not agree:
                      column "number" is int64 in the first and missing in the second;
                      all files of a table must have the same columns, so move one of
                      them to another prefix, or exclude it. To take all files, with
                      null where one lacks a column and with joined types where they
                      differ, add these lines to the source:
                      spec:
                        schema:
                          mode: merge
        raw_users_of_a_team_with_a_long_name        1    896 B  raw/users_of_a_team_wit…
            plugin    _cq_id uuid, _cq_parent_id uuid, _s3_key utf8,
                      _s3_last_modified timestamp, _s3_row int64
            file      number int64, text utf8, when timestamp, one json

        skipped       4 objects, 1.8 KiB
            directory_marker  1  such as raw/events/
            excluded          1  such as raw/tmp/1.parquet
            hidden            1  such as raw/events/_SUCCESS
            not_parquet       1  such as raw/events/notes.csv
        warning       s3://test-bucket/raw/events/: 1 skipped object could be data, such
                      as "raw/events/notes.csv"; only Parquet is read by default:
                      `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other
                      formats have to be converted, or leave them out with `exclude`
        state         none is configured: every sync reads all objects
        this plan     1 LIST, 9 GET, 4.8 KiB
        a sync        1 LIST, about 5 GET, 6.6 KiB, $0.0000070 (and $0.00000057 of
                      transfer)
                      at Amazon's prices in us-east-1; transfer is free within the
                      bucket's region
        1 table with errors: a sync sends what can be read and ends with an error, at
        which the CLI stops the destination: rows that it had not written yet are lost.
        `on_object_error: skip` lets it end well, `exclude` leaves out what is bad
    "#]]
    .assert_eq(&shown.stdout);
    let widest = shown.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}");
}

#[tokio::test]
async fn at_200_columns() {
    let s3 = lake().await;
    let shown = run(&config(&s3, json!({"skip_tables": ["raw_mixed"]}), spec()), &[], &[("COLUMNS", "200")]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(3), ""));
    expect![[r#"
        s3://test-bucket/raw/
        source lake, 2 tables, 3 objects, 4.5 KiB

        TABLE                                 OBJECTS     SIZE  FROM
        raw_events                                  2  3.6 KiB  raw/events/
            archived  1 archived object that can't be read, the first: raw/events/2025-12.parquet; a sync sends the others and ends with an error: restore or `exclude` what is archived, or set `on_archived:
                      skip`
            plugin    _cq_id uuid, _cq_parent_id uuid, _s3_key utf8, _s3_last_modified timestamp, _s3_row int64
            file      id int64, text utf8, at timestamp, f float64, list list<utf8>, structs json, map json, raw binary
        raw_users_of_a_team_with_a_long_name        1    896 B  raw/users_of_a_team_with_a_long_name/
            plugin    _cq_id uuid, _cq_parent_id uuid, _s3_key utf8, _s3_last_modified timestamp, _s3_row int64
            file      number int64, text utf8, when timestamp, one json

        skipped       4 objects, 1.8 KiB
            directory_marker  1  such as raw/events/
            excluded          1  such as raw/tmp/1.parquet
            hidden            1  such as raw/events/_SUCCESS
            not_parquet       1  such as raw/events/notes.csv
        not selected  2 objects, 2.1 KiB of tables that `tables` and `skip_tables` leave out, such as raw/mixed/1.parquet
        warning       s3://test-bucket/raw/events/: 1 skipped object could be data, such as "raw/events/notes.csv"; only Parquet is read by default: `filetype: auto` reads CSV, JSON, Avro and Arrow, too;
                      other formats have to be converted, or leave them out with `exclude`
        state         none is configured: every sync reads all objects
        this plan     1 LIST, 5 GET, 3.4 KiB
        a sync        1 LIST, about 3 GET, 4.5 KiB, $0.0000062 (and $0.00000039 of transfer)
                      at Amazon's prices in us-east-1; transfer is free within the bucket's region
    "#]].assert_eq(&shown.stdout);
}

#[tokio::test]
async fn with_colours() {
    let s3 = lake().await;
    let shown = plan(&s3, spec(), &["--color", "always"]).await;
    expect![[r#"
        ^[1ms3://test-bucket/raw/^[0m
        3 tables, 5 objects, 6.6 KiB

        ^[2mTABLE                                 OBJECTS     SIZE  FROM^[0m
        ^[1mraw_events^[0m                                  2  3.6 KiB  raw/events/
        ^[2m    archived  ^[0m^[31m1 archived object that can't be read, the first:^[0m
                      ^[31mraw/events/2025-12.parquet; a sync sends the others and ends with^[0m
                      ^[31man error: restore or `exclude` what is archived, or set^[0m
                      ^[31m`on_archived: skip`^[0m
        ^[2m    plugin    ^[0m^[2m_cq_id uuid, _cq_parent_id uuid, _s3_key utf8,^[0m
                      ^[2m_s3_last_modified timestamp, _s3_row int64^[0m
        ^[2m    file      ^[0mid int64, text utf8, at timestamp, f float64, list list<utf8>,
                      structs json, map json, raw binary
        ^[31mraw_mixed^[0m                                   2  2.1 KiB  raw/mixed/
        ^[2m    error     ^[0m^[31m"raw/mixed/1.parquet" and "raw/mixed/2.parquet" do not agree:^[0m
                      ^[31mcolumn "number" is int64 in the first and missing in the second;^[0m
                      ^[31mall files of a table must have the same columns, so move one of^[0m
                      ^[31mthem to another prefix, or exclude it. To take all files, with^[0m
                      ^[31mnull where one lacks a column and with joined types where they^[0m
                      ^[31mdiffer, add these lines to the source:^[0m
        ^[2m              ^[0m^[31mspec:^[0m
        ^[2m              ^[0m^[31m  schema:^[0m
        ^[2m              ^[0m^[31m    mode: merge^[0m
        ^[1mraw_users_of_a_team_with_a_long_name^[0m        1    896 B  raw/users_of_a_team_wit…
        ^[2m    plugin    ^[0m^[2m_cq_id uuid, _cq_parent_id uuid, _s3_key utf8,^[0m
                      ^[2m_s3_last_modified timestamp, _s3_row int64^[0m
        ^[2m    file      ^[0mnumber int64, text utf8, when timestamp, one json

        ^[1mskipped       ^[0m4 objects, 1.8 KiB
            ^[33mdirectory_marker^[0m  1  such as raw/events/
            ^[33mexcluded        ^[0m  1  such as raw/tmp/1.parquet
            ^[33mhidden          ^[0m  1  such as raw/events/_SUCCESS
            ^[33mnot_parquet     ^[0m  1  such as raw/events/notes.csv
        ^[33mwarning       ^[0ms3://test-bucket/raw/events/: 1 skipped object could be data, such
                      as "raw/events/notes.csv"; only Parquet is read by default:
                      `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other
                      formats have to be converted, or leave them out with `exclude`
        ^[1mstate         ^[0mnone is configured: every sync reads all objects
        ^[1mthis plan     ^[0m1 LIST, 9 GET, 4.8 KiB
        ^[1ma sync        ^[0m1 LIST, about 5 GET, 6.6 KiB, $0.0000070 (and $0.00000057 of
                      transfer)
        ^[2m              ^[0m^[2mat Amazon's prices in us-east-1; transfer is free within the^[0m
                      ^[2mbucket's region^[0m
        ^[31m1 table with errors: a sync sends what can be read and ends with an error, at^[0m
        ^[31mwhich the CLI stops the destination: rows that it had not written yet are lost.^[0m
        ^[31m`on_object_error: skip` lets it end well, `exclude` leaves out what is bad^[0m
    "#]]
    .assert_eq(&shown.stdout.replace('\u{1b}', "^"));
    // The colours are all that differs.
    let mut plain = String::new();
    for (index, piece) in shown.stdout.split('\u{1b}').enumerate() {
        plain.push_str(if index == 0 { piece } else { piece.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, plan(&s3, spec(), &[]).await.stdout);
}

#[tokio::test]
async fn without_columns() {
    let s3 = lake().await;
    let shown = plan(&s3, json!({}), &["--no-columns"]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(3), ""));
    expect![[r#"
        s3://test-bucket/
        5 tables, 7 objects, 10.3 KiB

        TABLE                                 OBJECTS     SIZE  FROM
        elsewhere                                   1  1.8 KiB  elsewhere/
        raw_events                                  2  3.6 KiB  raw/events/
            archived  1 archived object that can't be read, the first:
                      raw/events/2025-12.parquet; a sync sends the others and ends with
                      an error: restore or `exclude` what is archived, or set
                      `on_archived: skip`
        raw_mixed                                   2  2.1 KiB  raw/mixed/
        raw_tmp                                     1  1.8 KiB  raw/tmp/
        raw_users_of_a_team_with_a_long_name        1    896 B  raw/users_of_a_team_wit…

        skipped       3 objects, 3 B
            directory_marker  1  such as raw/events/
            hidden            1  such as raw/events/_SUCCESS
            not_parquet       1  such as raw/events/notes.csv
        warning       s3://test-bucket/raw/events/: 1 skipped object could be data, such
                      as "raw/events/notes.csv"; only Parquet is read by default:
                      `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other
                      formats have to be converted, or leave them out with `exclude`
        state         none is configured: every sync reads all objects
        this plan     1 LIST, 0 GET, 0 B
        a sync        1 LIST, about 7 GET, 10.3 KiB, $0.0000078 (and $0.00000088 of
                      transfer)
                      at Amazon's prices in us-east-1; transfer is free within the
                      bucket's region
    "#]]
    .assert_eq(&shown.stdout);
}

#[tokio::test]
async fn for_programs() {
    let s3 = lake().await;
    let shown = plan(&s3, spec(), &["--json"]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(3), ""));
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    expect![[r#"
        {
          "format_version": 1,
          "plugin_version": "vVERSION",
          "source": null,
          "bucket": "test-bucket",
          "prefix": "raw/",
          "state": {
            "status": "none",
            "table_name": null,
            "connection": null,
            "answer": null
          },
          "tables": [
            {
              "name": "raw_events",
              "prefix": "raw/events/",
              "mappings": [],
              "partitions": null,
              "objects": 2,
              "bytes": 3730,
              "new_objects": null,
              "new_bytes": null,
              "archived_objects": 1,
              "first_archived_key": "raw/events/2025-12.parquet",
              "columns": [
                {
                  "name": "_cq_id",
                  "type": "uuid",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_cq_parent_id",
                  "type": "uuid",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_key",
                  "type": "utf8",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_last_modified",
                  "type": "timestamp",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_row",
                  "type": "int64",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "id",
                  "type": "int64",
                  "from": "file",
                  "file_column": "id",
                  "file_column_index": 0
                },
                {
                  "name": "text",
                  "type": "utf8",
                  "from": "file",
                  "file_column": "text",
                  "file_column_index": 0
                },
                {
                  "name": "at",
                  "type": "timestamp",
                  "from": "file",
                  "file_column": "at",
                  "file_column_index": 0
                },
                {
                  "name": "f",
                  "type": "float64",
                  "from": "file",
                  "file_column": "f",
                  "file_column_index": 0
                },
                {
                  "name": "list",
                  "type": "list<utf8>",
                  "from": "file",
                  "file_column": "list",
                  "file_column_index": 0
                },
                {
                  "name": "structs",
                  "type": "json",
                  "from": "file",
                  "file_column": "structs",
                  "file_column_index": 0
                },
                {
                  "name": "map",
                  "type": "json",
                  "from": "file",
                  "file_column": "map",
                  "file_column_index": 0
                },
                {
                  "name": "raw",
                  "type": "binary",
                  "from": "file",
                  "file_column": "raw",
                  "file_column_index": 0
                }
              ],
              "sampled_objects": 2,
              "all_objects_sampled": true,
              "error": null,
              "unreadable": []
            },
            {
              "name": "raw_mixed",
              "prefix": "raw/mixed/",
              "mappings": [],
              "partitions": null,
              "objects": 2,
              "bytes": 2155,
              "new_objects": null,
              "new_bytes": null,
              "archived_objects": 0,
              "first_archived_key": null,
              "columns": null,
              "sampled_objects": null,
              "all_objects_sampled": null,
              "error": "\"raw/mixed/1.parquet\" and \"raw/mixed/2.parquet\" do not agree: column \"number\" is int64 in the first and missing in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. To take all files, with null where one lacks a column and with joined types where they differ, add these lines to the source:\nspec:\n  schema:\n    mode: merge",
              "unreadable": []
            },
            {
              "name": "raw_users_of_a_team_with_a_long_name",
              "prefix": "raw/users_of_a_team_with_a_long_name/",
              "mappings": [],
              "partitions": null,
              "objects": 1,
              "bytes": 896,
              "new_objects": null,
              "new_bytes": null,
              "archived_objects": 0,
              "first_archived_key": null,
              "columns": [
                {
                  "name": "_cq_id",
                  "type": "uuid",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_cq_parent_id",
                  "type": "uuid",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_key",
                  "type": "utf8",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_last_modified",
                  "type": "timestamp",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "_s3_row",
                  "type": "int64",
                  "from": "plugin",
                  "file_column": null,
                  "file_column_index": null
                },
                {
                  "name": "number",
                  "type": "int64",
                  "from": "file",
                  "file_column": "number",
                  "file_column_index": 0
                },
                {
                  "name": "text",
                  "type": "utf8",
                  "from": "file",
                  "file_column": "text",
                  "file_column_index": 0
                },
                {
                  "name": "when",
                  "type": "timestamp",
                  "from": "file",
                  "file_column": "when",
                  "file_column_index": 0
                },
                {
                  "name": "one",
                  "type": "json",
                  "from": "file",
                  "file_column": "one",
                  "file_column_index": 0
                }
              ],
              "sampled_objects": 1,
              "all_objects_sampled": true,
              "error": null,
              "unreadable": []
            }
          ],
          "skipped": [
            {
              "reason": "directory_marker",
              "objects": 1,
              "bytes": 0,
              "first_key": "raw/events/"
            },
            {
              "reason": "excluded",
              "objects": 1,
              "bytes": 1865,
              "first_key": "raw/tmp/1.parquet"
            },
            {
              "reason": "hidden",
              "objects": 1,
              "bytes": 0,
              "first_key": "raw/events/_SUCCESS"
            },
            {
              "reason": "not_parquet",
              "objects": 1,
              "bytes": 3,
              "first_key": "raw/events/notes.csv"
            }
          ],
          "not_selected": {
            "objects": 0,
            "bytes": 0,
            "first_key": null
          },
          "totals": {
            "tables": 3,
            "tables_with_errors": 1,
            "listed_keys": 10,
            "objects": 5,
            "bytes": 6781,
            "new_objects": null,
            "new_bytes": null,
            "archived_objects": 1,
            "skipped_objects": 4,
            "skipped_bytes": 1868
          },
          "requests": {
            "plan": {
              "list": 1,
              "get": 9,
              "get_bytes": 4932,
              "request_dollars": 8.6e-6,
              "transfer_dollars": 4.13395e-7
            },
            "sync": {
              "list": 1,
              "get": 5,
              "get_bytes": 6781,
              "request_dollars": 7e-6,
              "transfer_dollars": 5.68377e-7
            },
            "full_sync": {
              "list": 1,
              "get": 5,
              "get_bytes": 6781,
              "request_dollars": 7e-6,
              "transfer_dollars": 5.68377e-7
            },
            "price_region": "us-east-1"
          },
          "sync_ends_with_error": true,
          "hints": [],
          "warnings": [
            "s3://test-bucket/raw/events/: 1 skipped object could be data, such as \"raw/events/notes.csv\"; only Parquet is read by default: `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other formats have to be converted, or leave them out with `exclude`"
          ]
        }
    "#]].assert_eq(&shown.stdout.replace(version, "vVERSION"));
}

/// The paths of all fields, with `[]` for the items of lists.
fn fields(value: &serde_json::Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                found.insert(path.clone());
                fields(value, &path, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}[]"), found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_field_is_documented_and_every_documented_field_is_there() {
    let s3 = lake().await;
    s3.put("raw/bad/dt=1/1.parquet", "no parquet");
    let mut found = std::collections::BTreeSet::new();
    let mut more = spec();
    more["partitions"] = json!("hive");
    fields(&plan(&s3, more, &["--json"]).await.json(), "", &mut found);
    fields(&plan(&s3, spec(), &["--json", "--explain", "x"]).await.json(), "", &mut found);
    // All three have the same fields, and the page says so.
    found.retain(|field| !field.starts_with("requests.sync.") && !field.starts_with("requests.full_sync."));
    // What only holds others.
    let only_holds = [
        "state",
        "totals",
        "requests",
        "not_selected",
        "skipped",
        "steps",
        "tables[].unreadable",
        "tables[].partitions.columns",
    ];
    found.retain(|field| !only_holds.contains(&field.as_str()));
    let page = include_str!("../../../docs/plan.md");
    let (_, section) = page.split_once("\n## JSON\n").unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let documented = cells.flat_map(|cell| cell.split(',')).map(|name| name.trim_matches(['`', ' ']).to_owned());
    assert_eq!(found, documented.collect());
}

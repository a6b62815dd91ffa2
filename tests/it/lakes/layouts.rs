//! Mappings: templates, globs and regular expressions, and what they name.

use super::{columns, counts, file, rows, skipped};
use crate::rig::Rig;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use testkit::client::assert_protocol;

const UUID: &str = "8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c";

fn tables(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
}

#[tokio::test]
async fn the_destinations_own_path_brings_its_tables_back() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cloudquery");
    let written: Value = serde_json::from_slice(&std::fs::read(fixtures.join("objects.json")).unwrap()).unwrap();
    let mut configurations = 0;
    let mut rig = Rig::start().await;
    for (configuration, written) in written.as_object().unwrap() {
        if written["spec"]["format"] != "parquet" {
            continue;
        }
        rig.s3.bucket(configuration);
        let bucket = rig.s3.bucket(configuration);
        for object in written["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            let tables = ["aws_all_types_children", "aws_all_types", "aws_empty"];
            let content = match tables.iter().find(|table| key.contains(**table)) {
                Some(table) => std::fs::read(fixtures.join(format!("{table}.parquet"))).unwrap(),
                None => Vec::new(),
            };
            bucket.put(key, content);
        }
        let path = &written["spec"]["path"];
        let sync = rig.sync(json!({"bucket": configuration, "path": path, "partitions": "hive"})).await;
        assert_protocol(&sync);
        let mut expected = tables(&[("aws_all_types", 3), ("aws_all_types_children", 2)]);
        if configuration == "parquet-athena-empty" {
            expected.insert("aws_empty".to_owned(), 0);
        }
        assert_eq!(counts(&sync), expected, "{configuration}");
        let dated = columns(&sync, "aws_all_types").contains(&"dt Date32".to_owned());
        assert_eq!(dated, configuration == "parquet-dated", "{configuration}");
        configurations += 1;
    }
    assert_eq!(configurations, 6);
    let log = rig.stop();
    assert_eq!(skipped(&log), "test_object: 1");
    log.assert_clean();
}

#[tokio::test]
async fn keys_of_other_destinations_go_to_their_tables_too() {
    let mut rig = Rig::start().await;
    for (path, key) in [
        ("p/{{TABLE}}/{{UUID}}.{{FORMAT}}", format!("p/aws_x/{UUID}.parquet")),
        ("p", format!("p/aws_x.parquet.{UUID}")),
        ("p/", "p/aws_x.parquet".to_owned()),
        ("p/{{UUID}}", format!("p/{UUID}/aws_x.parquet.{UUID}")),
        ("p/{{TABLE_HYPHEN}}/{{UUID}}.{{FORMAT}}", format!("p/aws-x/{UUID}.parquet/aws_x.parquet.{UUID}")),
    ] {
        rig.s3.put(&key, file(&[1, 2]));
        // Without the path, folders name tables.
        rig.s3.put("other/x.parquet", file(&[1]));
        let sync = rig.sync(json!({"path": path})).await;
        assert_eq!(counts(&sync), tables(&[("aws_x", 2)]), "{path}: {key}");
        rig.s3.delete(&key);
    }
}

#[tokio::test]
async fn hyphens_become_underscores_and_a_table_given_twice_must_be_equal() {
    let mut rig = Rig::start().await;
    rig.s3.put("p/aws-ec2-x/1.parquet", file(&[1]));
    let sync = rig.sync(json!({"path": "p/{{TABLE_HYPHEN}}/{{*}}.{{FORMAT}}"})).await;
    assert_eq!(counts(&sync), tables(&[("aws_ec2_x", 1)]));
    rig.s3.put("q/a/a.parquet", file(&[1]));
    rig.s3.put("q/a/b.parquet", file(&[1]));
    let sync = rig.sync(json!({"path": "q/{{TABLE}}/{{TABLE}}.parquet"})).await;
    assert_eq!(counts(&sync), tables(&[("a", 1)]));
    assert_eq!(skipped(&rig.stop()), "unmapped: 2");
}

#[tokio::test]
async fn the_first_mapping_counts_and_each_object_that_is_passed_over_has_its_reason() {
    let mut rig = Rig::start().await;
    for key in [
        "a/1.parquet",
        "a/old/2.parquet",
        "b/3.parquet",
        "c/d/4.parquet",
        "c/d/4.csv",
        "_x/_5",
        "raw/TEST_TABLE/TEST_UUID.parquet",
    ] {
        rig.s3.put(key, file(&[1]));
    }
    rig.s3.put("a/empty.parquet", "");
    rig.s3.put("raw/TEST_TABLE.parquet", "");
    let mut mappings = json!([
        {"glob": "a/old/**", "skip": true},
        {"glob": ["a/**", "x/**"], "table": "first"},
        {"regex": "(?<letter>[ab])/.*", "table": "second_{{letter}}"},
        {"path": "raw"},
    ]);
    let sync = rig.sync(json!({"mappings": mappings})).await;
    assert_eq!(counts(&sync), tables(&[("first", 1), ("second_b", 1)]));
    mappings[3] = json!({"glob": "raw/**", "table": "raw"});
    let sync = rig.sync(json!({"mappings": mappings, "unmapped": "folder"})).await;
    assert_eq!(counts(&sync), tables(&[("first", 1), ("second_b", 1), ("c_d", 1)]));
    let log = rig.stop();
    assert_eq!(skipped(&log), "hidden: 1, test_object: 1, skip: 1, not_parquet: 1, zero_bytes: 2");
}

#[tokio::test]
async fn one_literal_table_takes_objects_of_several_mappings() {
    let mut rig = Rig::start().await;
    rig.s3.put("a/1.parquet", file(&[1]));
    rig.s3.put("b/2/x.parquet", file(&[2]));
    let sync = rig
        .sync(json!({"mappings": [
            {"glob": "a/*", "table": "events"},
            {"path": "b/{{part:int64}}/{{*}}", "table": "events"},
        ]}))
        .await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "events"), ["part Int64", "id Int64"]);
    assert_eq!(rows(&sync, "events"), ["- 1", "2 2"]);
}

#[tokio::test]
async fn a_mapping_with_a_filetype_reads_any_name_and_what_is_no_parquet_is_that_objects_error() {
    let mut rig = Rig::start().await;
    rig.s3.put("ctas/20260101_000000_00001_abcde", file(&[1, 2]));
    rig.s3.put("ctas/x.csv", "id,name\n1,x\n");
    rig.s3.put("ctas/x.gz", b"\x1f\x8b\x08\0 and more".to_vec());
    let spec = |mapping: Value| json!({"mappings": [mapping], "on_object_error": "skip"});
    let sync = rig.sync(spec(json!({"glob": "ctas/*", "table": "t", "filetype": "parquet"}))).await;
    assert_eq!(counts(&sync), tables(&[("t", 2)]));
    let mut errors: Vec<&str> = sync.errors().into_iter().map(|(_, error)| error).collect();
    errors.sort_unstable();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].contains("ctas/x.csv") && errors[0].contains(r#"it begins with "id,name\n""#), "{}", errors[0]);
    assert!(
        errors[1].contains("ctas/x.gz") && errors[1].contains(r#"it begins with "\x1f\x8b\x08\x00 and""#),
        "{}",
        errors[1]
    );
    // Inherited, it still wants the name.
    let sync = rig.sync(spec(json!({"glob": "ctas/*", "table": "t"}))).await;
    assert_eq!(counts(&sync), tables(&[]));
    let log = rig.stop();
    assert_eq!(skipped(&log), "not_parquet: 3");
    let warnings = log.of_level("warn");
    assert!(warnings.iter().any(|warning| warning.contains("a mapping with `filetype: parquet`")), "{warnings:?}");
}

#[tokio::test]
async fn two_tables_of_one_name_are_an_error_that_names_the_mappings() {
    let mut rig = Rig::start().await;
    rig.s3.put("a-b/1.parquet", file(&[1]));
    rig.s3.put("a_b/1.parquet", file(&[1]));
    let mappings = json!([{"glob": "a-b/*"}, {"glob": "a_b/*"}]);
    let sync = rig.sync(json!({"mappings": mappings})).await;
    let error = sync.status.unwrap();
    let expected = "\"a-b/\" of mappings[0] and \"a_b/\" of mappings[1] would both become the table a_b; give one of the \
                    mappings another `table`";
    assert!(error.message().contains(expected), "{error}");
}

#[tokio::test]
async fn all_mistakes_are_told_at_once_each_with_its_field() {
    let mut rig = Rig::start().await;
    let spec = rig.spec(json!({
        "bucket": null,
        "rows_per_record": 0,
        "mappings": [
            {"path": "raw/{{TABEL}}/{{*}}"},
            {"table": "x"},
            {"path": "raw/{{TABLE}}{{UUID}}"},
            {"path": "/raw/{{TABEL}}"},
            {"path": "raw/{{account}}/{{*}}", "table": "{{region}}"},
            {"regex": "a(?=b)"},
            {"glob": "[a]", "table": "y"},
            {"glob": "a/**", "partitions": {"columns": {"m": "itn64"}, "where": ["m ~ 1"]}},
            {"glob": "a/**", "filetype": "cvs"},
        ],
        "modified": {"after": "2024-02-30"},
    }));
    let error = rig.client.init(&spec).await.unwrap_err();
    for expected in [
        "bucket: is required",
        "rows_per_record: must be at least 1",
        "mappings[0].path: {{TABEL}} is no variable; did you mean {{TABLE}}?",
        "mappings[1]: needs exactly one of path, glob and regex",
        "mappings[2].path: {{TABLE}} and {{UUID}} touch; put some text between them",
        "mappings[3].path: must not start with /",
        "mappings[3].path: {{TABEL}} is no variable; did you mean {{TABLE}}?",
        "mappings[4].table: {{region}} is not in path",
        "mappings[5].regex: look-around is not supported",
        "mappings[6].glob: \"[a]\" is not a valid pattern: square brackets",
        "mappings[7].partitions.columns.m: \"itn64\" is not a type",
        "mappings[7].partitions.where[0]: \"m ~ 1\": write `name = value`",
        "mappings[8].filetype: must be `parquet` or `auto` or `csv`",
        "modified.after: there is no such time: 2024-02-30",
    ] {
        assert!(error.message().contains(expected), "{expected}\nis not in\n{}", error.message());
    }
}

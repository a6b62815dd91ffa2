//! `plan --explain`: each reason for which an object is in a table, or is not.

use super::{EVENTS, config, lake, plan, put_archived, run};
use expect_test::expect;
use serde_json::{Value, json};
use testkit::s3_server::S3Server;

/// Explanations of these keys, one behind the other.
async fn explained(s3: &S3Server, more: Value, keys: &[&str]) -> String {
    let mut text = String::new();
    for key in keys {
        let shown = plan(s3, more.clone(), &["--explain", key]).await;
        assert_eq!((shown.status, shown.stderr.as_str()), (Some(0), ""), "{key}");
        text.push_str(&shown.stdout);
        text.push('\n');
    }
    // When an object was written differs from run to run.
    let lines = text.lines().map(|line| line.split_once(", last modified").map_or(line, |(size, _)| size));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test]
async fn every_rule_has_its_word() {
    let s3 = lake().await;
    let more = json!({"path_prefix": "raw/", "include": ["raw/**", "x/**"], "exclude": ["raw/tmp/**"]});
    s3.put("raw/events/empty.parquet", "");
    s3.put("raw/events/_delta_log/1.parquet", EVENTS);
    s3.put("raw/TEST_TABLE/TEST_UUID.parquet", "");
    let keys = [
        "raw/events/2026-01.parquet",
        "raw/events/2025-12.parquet",
        "raw/events/9999.parquet",
        "elsewhere/1.parquet",
        "raw/events/",
        "raw/tmp/1.parquet",
        "raw/events/_SUCCESS",
        "raw/events/_delta_log/1.parquet",
        "raw/TEST_TABLE/TEST_UUID.parquet",
        "raw/events/notes.csv",
        "raw/events/empty.parquet",
    ];
    expect![[r#"
        s3://test-bucket/raw/events/2026-01.parquet
        1,865 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✓ test object    it is not what CloudQuery's S3 destination writes to test its access
          ✓ format         its name is that of a Parquet file
          ✓ size           it has 1,865 bytes
          ✓ table          its folder, "raw/events/", makes it part of raw_events
          ✓ tables         `tables` and `skip_tables` of the source select raw_events
          ✓ archived       S3 hands it out

        part of table raw_events

        s3://test-bucket/raw/events/2025-12.parquet
        1,865 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✓ test object    it is not what CloudQuery's S3 destination writes to test its access
          ✓ format         its name is that of a Parquet file
          ✓ size           it has 1,865 bytes
          ✓ table          its folder, "raw/events/", makes it part of raw_events
          ✓ tables         `tables` and `skip_tables` of the source select raw_events
          ✗ archived       it is in an archive class and not restored, so S3 does not hand it out

        part of table raw_events, but archived: `on_archived` decides

        s3://test-bucket/raw/events/9999.parquet
        there is no such object; if there were one:

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✓ test object    it is not what CloudQuery's S3 destination writes to test its access
          ✓ format         its name is that of a Parquet file
          ✓ size           not known; an empty object would be skipped
          ✓ table          its folder, "raw/events/", makes it part of raw_events
          ✓ tables         `tables` and `skip_tables` of the source select raw_events

        part of table raw_events

        s3://test-bucket/elsewhere/1.parquet
        1,865 bytes

          ✗ path_prefix  the key does not begin with "raw/"

        not listed

        s3://test-bucket/raw/events/
        0 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✗ folder marker  the key ends in /: it only makes a folder show up

        skipped: directory_marker

        s3://test-bucket/raw/tmp/1.parquet
        1,865 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✗ exclude        "raw/tmp/**" matches

        skipped: excluded

        s3://test-bucket/raw/events/_SUCCESS
        0 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✗ hidden names   the name "_SUCCESS" begins with _ or .

        skipped: hidden

        s3://test-bucket/raw/events/_delta_log/1.parquet
        1,865 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✗ hidden names   engines keep in "_delta_log" what are not rows of a table

        skipped: hidden

        s3://test-bucket/raw/TEST_TABLE/TEST_UUID.parquet
        0 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✗ test object    CloudQuery's S3 destination wrote it to test its access

        skipped: test_object

        s3://test-bucket/raw/events/notes.csv
        3 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✓ test object    it is not what CloudQuery's S3 destination writes to test its access
          ✗ format         its name ends neither in .parquet nor in .parquet.<uuid>

        skipped: not_parquet

        s3://test-bucket/raw/events/empty.parquet
        0 bytes

          ✓ path_prefix    the key begins with "raw/"
          ✓ folder marker  the key does not end in /
          ✓ include        "raw/**" matches
          ✓ exclude        no pattern matches
          ✓ hidden names   neither its name nor a folder is hidden
          ✓ test object    it is not what CloudQuery's S3 destination writes to test its access
          ✓ format         its name is that of a Parquet file
          ✗ size           it is empty

        skipped: zero_bytes

    "#]]
    .assert_eq(&explained(&s3, more, &keys).await);
    expect![[r#"
        s3://test-bucket/raw/events/2026-01.parquet
        1,865 bytes

          ✓ path_prefix    none: the whole bucket is listed
          ✓ folder marker  the key does not end in /
          ✗ include        no pattern matches

        skipped: excluded

    "#]]
    .assert_eq(&explained(&s3, json!({"include": ["x/**"]}), &["raw/events/2026-01.parquet"]).await);
}

#[tokio::test]
async fn one_key_costs_one_request_and_with_its_size_none() {
    let s3 = lake().await;
    let shown =
        plan(&s3, json!({}), &["--json", "--explain", "s3://test-bucket/raw/events/2026-01.parquet"]).await.json();
    assert_eq!((s3.counts().lists, s3.counts().gets), (1, 0));
    assert_eq!(shown["key"], "raw/events/2026-01.parquet");
    assert_eq!((&shown["outcome"], &shown["table"]), (&json!("read"), &json!("raw_events")));
    assert_eq!((&shown["object"], &shown["size_bytes"]), (&json!("listed"), &json!(EVENTS.len())));

    s3.reset_counts();
    // Neither bucket nor credentials are needed.
    let shown = run("bucket: x-y-z\n", &["--json", "--explain", "a/b.parquet", "--size", "7"], &[]).await.json();
    assert_eq!(s3.counts().lists, 0);
    assert_eq!((&shown["object"], &shown["size_bytes"]), (&json!("assumed"), &json!(7)));
    assert_eq!((&shown["outcome"], &shown["table"]), (&json!("read"), &json!("a")));
}

#[tokio::test]
async fn for_programs() {
    let s3 = S3Server::start().await;
    put_archived(&s3, "raw/a.parquet");
    let config = config(&s3, json!({"skip_tables": ["other"]}), json!({}));
    let shown = run(&config, &["--json", "--explain", "raw/a.parquet"], &[]).await;
    let mut shown = shown.json();
    assert!(shown["last_modified"].as_str().unwrap().starts_with("20"), "{shown}");
    shown["last_modified"] = json!("…");
    expect![[r#"
        {
          "format_version": 1,
          "bucket": "test-bucket",
          "key": "raw/a.parquet",
          "object": "listed",
          "size_bytes": 1865,
          "last_modified": "…",
          "steps": [
            {
              "rule": "path_prefix",
              "passes": true,
              "text": "none: the whole bucket is listed"
            },
            {
              "rule": "directory_marker",
              "passes": true,
              "text": "the key does not end in /"
            },
            {
              "rule": "include",
              "passes": true,
              "text": "none: every key is admitted"
            },
            {
              "rule": "exclude",
              "passes": true,
              "text": "none"
            },
            {
              "rule": "hidden",
              "passes": true,
              "text": "neither its name nor a folder is hidden"
            },
            {
              "rule": "test_object",
              "passes": true,
              "text": "it is not what CloudQuery's S3 destination writes to test its access"
            },
            {
              "rule": "not_parquet",
              "passes": true,
              "text": "its name is that of a Parquet file"
            },
            {
              "rule": "zero_bytes",
              "passes": true,
              "text": "it has 1,865 bytes"
            },
            {
              "rule": "table",
              "passes": true,
              "text": "its folder, \"raw/\", makes it part of raw"
            },
            {
              "rule": "tables",
              "passes": true,
              "text": "`tables` and `skip_tables` of the source select raw"
            },
            {
              "rule": "archived",
              "passes": false,
              "text": "it is in an archive class and not restored, so S3 does not hand it out"
            }
          ],
          "outcome": "archived",
          "skip_reason": null,
          "table": "raw",
          "done": null
        }
    "#]]
    .assert_eq(&format!("{shown:#}\n"));
    let config = super::config(&s3, json!({"tables": ["other"]}), json!({}));
    let shown = run(&config, &["--json", "--explain", "raw/a.parquet"], &[]).await.json();
    assert_eq!((&shown["outcome"], &shown["table"]), (&json!("not_selected"), &json!("raw")));
}

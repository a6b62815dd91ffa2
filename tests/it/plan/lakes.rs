//! Plans of mappings, partitions and conditions.

use super::{EVENTS, Shown, USERS, config, plan, run};
use crate::rig::{Rig, STATE_TABLE};
use expect_test::expect;
use serde_json::{Value, json};
use testkit::backend::{Backend, Mode};
use testkit::s3_server::S3Server;

/// Partitions in folders, tables by a template, and what no mapping takes.
async fn lake() -> S3Server {
    let s3 = S3Server::start().await;
    for dt in ["2026-01-01", "2026-01-02", "2026-01-03"] {
        for region in ["eu", "us"] {
            s3.put(&format!("raw/events/dt={dt}/region={region}/1.parquet"), EVENTS);
        }
    }
    s3.put("raw/users/dt=2026-01-01/1.parquet", USERS);
    s3.put("exports/customers-2026", USERS);
    s3.put("exports/old/1.parquet", USERS);
    s3.put("other/1.parquet", USERS);
    s3
}

fn spec(more: Value) -> Value {
    let mut spec = json!({
        "concurrency": 1,
        "partitions": "hive",
        "mappings": [
            {"path": "raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}"},
            {"glob": "exports/old/**", "skip": true},
            {"regex": "exports/(?<what>[a-z]+)-[0-9]+", "table": "{{what}}", "filetype": "parquet"},
        ],
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

#[tokio::test]
async fn mappings_and_partitions_in_words() {
    let s3 = lake().await;
    let shown = plan(&s3, spec(json!({})), &[]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(0), ""));
    expect![[r#"
        s3://test-bucket/
        3 tables, 8 objects, 12.7 KiB

        TABLE             OBJECTS      SIZE  FROM
        customers               1     896 B  exports/ (mappings[2])
            plugin    _cq_id uuid, _cq_parent_id uuid
            file      number int64, text utf8, when timestamp, one json
        events                  6  10.9 KiB  raw/ (mappings[0])
            parts     6 partitions of dt date, region utf8
            plugin    _cq_id uuid, _cq_parent_id uuid
            key       dt date, region utf8
            file      id int64, text utf8, at timestamp, f float64, list list<utf8>,
                      structs json, map json, raw binary
        users                   1     896 B  raw/ (mappings[0])
            parts     1 partition of dt date
            plugin    _cq_id uuid, _cq_parent_id uuid
            key       dt date
            file      number int64, text utf8, when timestamp, one json

        skipped       2 objects, 1.8 KiB
            skip      1  such as exports/old/1.parquet
            unmapped  1  such as other/1.parquet
        state         none is configured: every sync reads all objects
        this plan     1 LIST, 11 GET, 11.2 KiB
        a sync        1 LIST, about 8 GET, 12.7 KiB, $0.0000082 (and $0.0000011 of
                      transfer)
                      at Amazon's prices in us-east-1; transfer is free within the
                      bucket's region
    "#]]
    .assert_eq(&shown.stdout);
}

#[tokio::test]
async fn partitions_are_counted_with_their_columns() {
    let s3 = lake().await;
    let shown = plan(&s3, spec(json!({})), &["--json", "--no-columns"]).await.json();
    let events = &shown["tables"][1];
    assert_eq!((&events["name"], &events["mappings"]), (&json!("events"), &json!(["mappings[0]"])));
    let columns = json!([{"name": "dt", "type": "date"}, {"name": "region", "type": "utf8"}]);
    assert_eq!(events["partitions"], json!({"count": 6, "columns": columns}));
    assert_eq!(shown["tables"][0]["partitions"], Value::Null, "{}", shown["tables"][0]);
    let reasons: Vec<_> = shown["skipped"].as_array().unwrap().iter().map(|skipped| &skipped["reason"]).collect();
    assert_eq!(reasons, ["skip", "unmapped"]);

    let shown = plan(&s3, spec(json!({})), &["--json"]).await.json();
    let from: Vec<_> = shown["tables"][1]["columns"].as_array().unwrap().iter().map(|c| c["from"].as_str()).collect();
    assert_eq!(from[..5], ["plugin", "plugin", "key", "key", "file"].map(Some));
}

#[tokio::test]
async fn conditions_narrow_the_listing_of_a_plan_too() {
    let s3 = lake().await;
    let conditions =
        json!({"partitions": {"style": "hive", "where": ["dt >= 2026-01-03"]}, "path_prefix": "raw/events/"});
    // One page is listed as a whole.
    assert_eq!(plan(&s3, conditions.clone(), &["--json"]).await.json()["totals"]["listed_keys"], 6);
    s3.set_page_keys(2);
    s3.reset_counts();
    let shown = plan(&s3, conditions, &["--json"]).await.json();
    assert_eq!(shown["totals"]["objects"], 2);
    // With a margin of a day: where a folder's type is not sure yet.
    assert_eq!(shown["totals"]["listed_keys"], 4);
    assert_eq!(shown["tables"][0]["partitions"]["count"], 2);
    let warning = shown["warnings"].to_string();
    assert!(warning.contains("removes the rows that earlier syncs brought of them"), "{warning}");
    assert_eq!(shown["requests"]["sync"]["list"], s3.counts().lists, "the sync asks for what the plan asked for");
}

/// The steps from the mappings on, and where the key ends.
fn explained(shown: &Shown) -> String {
    let shown = shown.json();
    let steps = shown["steps"].as_array().unwrap().iter();
    let steps = steps.skip_while(|step| step["rule"] != "test_object").skip(1);
    let mut text = format!("{}\n", shown["key"].as_str().unwrap());
    for step in steps {
        let mark = if step["passes"] == true { "+" } else { "-" };
        text.push_str(&format!("  {mark} {}: {}\n", step["rule"].as_str().unwrap(), step["text"].as_str().unwrap()));
    }
    let reason = shown["skip_reason"].as_str().unwrap_or_default();
    text + &format!("  = {} {reason}\n", shown["outcome"].as_str().unwrap())
}

#[tokio::test]
async fn each_mapping_says_why_it_does_not_take_a_key() {
    let s3 = lake().await;
    let conditions = json!({"style": "hive", "where": ["dt >= 2026-01-02"]});
    let more = json!({"partitions": conditions, "modified": {"after": "1d"}});
    let mut text = String::new();
    for (key, size) in [
        ("raw/events/dt=2026-01-02/region=eu/1.parquet", None),
        ("raw/events/dt=2026-01-01/region=eu/1.parquet", None),
        ("raw/events/day=2026-01-01/1.parquet", Some("5")),
        ("exports/customers-2026", None),
        ("exports/old/1.parquet", None),
        ("raw/events/dt=2026-01-02/region=eu/1.csv", Some("5")),
        ("other/1.parquet", None),
    ] {
        let mut flags = vec!["--json", "--explain", key];
        flags.extend(size.into_iter().flat_map(|size| ["--size", size]));
        text.push_str(&explained(&plan(&s3, spec(more.clone()), &flags).await));
    }
    expect![[r#"
        raw/events/dt=2026-01-02/region=eu/1.parquet
          + mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: takes it
          + not_parquet: it is read as Parquet
          + zero_bytes: it has 1,865 bytes
          + table: "events" makes it part of events
          + tables: `tables` and `skip_tables` of the source select events
          + partitions: dt = 2026-01-02, region = eu
          + modified: it was last modified within that time
          + where: the conditions hold: dt is date, region is utf8 by all 10 keys that are listed
          + archived: S3 hands it out
          = read 
        raw/events/dt=2026-01-01/region=eu/1.parquet
          + mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: takes it
          + not_parquet: it is read as Parquet
          + zero_bytes: it has 1,865 bytes
          + table: "events" makes it part of events
          + tables: `tables` and `skip_tables` of the source select events
          + partitions: dt = 2026-01-01, region = eu
          + modified: it was last modified within that time
          - where: a condition does not hold for these values: dt is date, region is utf8 by all 10 keys that are listed
          = skipped pruned
        raw/events/day=2026-01-01/1.parquet
          - mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: the key fits up to raw/{{TABLE}}, then /dt= must follow
          - mappings: mappings[1], glob exports/old/**: it does not match
          - mappings: mappings[2], regex exports/(?<what>[a-z]+)-[0-9]+: it does not match
          - unmapped: no mapping takes it, and `unmapped` is skip
          = skipped unmapped
        exports/customers-2026
          - mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: the key does not begin with raw/
          - mappings: mappings[1], glob exports/old/**: it does not match
          + mappings: mappings[2], regex exports/(?<what>[a-z]+)-[0-9]+: takes it
          + not_parquet: it is read as Parquet
          + zero_bytes: it has 896 bytes
          + table: "customers" makes it part of customers
          + tables: `tables` and `skip_tables` of the source select customers
          + modified: it was last modified within that time
          - where: a sync would report an error: partitions.where[0]: there is no partition column "dt"; no folder of the table is name=value; other tables have such values, so the folder of "exports/customers-2026" may be a stray one: exclude it, or give it a mapping of its own
          = refused 
        exports/old/1.parquet
          - mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: the key does not begin with raw/
          + mappings: mappings[1], glob exports/old/**: takes it
          - skip: the mapping says so
          = skipped skip
        raw/events/dt=2026-01-02/region=eu/1.csv
          + mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: takes it
          - not_parquet: its name ends neither in .parquet nor in .parquet.<uuid>
          = skipped not_parquet
        other/1.parquet
          - mappings: mappings[0], path raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}: the key does not begin with raw/
          - mappings: mappings[1], glob exports/old/**: it does not match
          - mappings: mappings[2], regex exports/(?<what>[a-z]+)-[0-9]+: it does not match
          - unmapped: no mapping takes it, and `unmapped` is skip
          = skipped unmapped
    "#]].assert_eq(&text);
}

#[tokio::test]
async fn what_is_too_old_is_said() {
    let s3 = lake().await;
    let more = json!({"modified": {"before": "30d"}});
    let shown = plan(&s3, spec(more), &["--json", "--explain", "exports/customers-2026"]).await;
    assert!(explained(&shown).ends_with("  = skipped modified\n"), "{}", shown.stdout);
}

/// The step `where` of an explanation, and where the key ends.
async fn condition_on(config: &str, key: &str, flags: &[&str]) -> (String, String) {
    let flags = [&["--json", "--explain", key], flags].concat();
    let shown = run(config, &flags, &[]).await.json();
    let steps = shown["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["rule"] == "where").unwrap_or_else(|| panic!("{shown:#}"));
    (step["text"].as_str().unwrap().to_owned(), shown["outcome"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn conditions_compare_as_a_sync_does() {
    let mut rig = Rig::start().await;
    for month in ["01", "09", "10"] {
        rig.s3.put(&format!("t/month={month}/1.parquet"), EVENTS);
    }
    let more = json!({"partitions": {"style": "hive", "where": ["month >= 9"]}});
    let config = config(&rig.s3, json!({}), more.clone());
    // As numbers 10 and 9 would be in it; all keys together are texts, and "10" comes before "9".
    for key in ["t/month=10/1.parquet", "t/month=09/1.parquet"] {
        let (text, outcome) = condition_on(&config, key, &[]).await;
        let expected = "a condition does not hold for these values: month is utf8 by all 3 keys that are listed";
        assert_eq!((text.as_str(), outcome.as_str()), (expected, "skipped"), "{key}");
    }
    assert_eq!(rig.sync(more).await.tables(), Vec::<String>::new(), "and a sync reads none");
    let (text, outcome) = condition_on(&config, "t/month=10/1.parquet", &["--size", "5"]).await;
    let expected =
        "the conditions hold: month is int64 by this key alone; a sync looks at all keys, and may find other types";
    assert_eq!((text.as_str(), outcome.as_str()), (expected, "read"));
    // In large buckets a part is looked at.
    rig.s3.set_page_keys(1);
    (0..9).for_each(|n| drop(rig.s3.put(&format!("a/month={n}/1.parquet"), EVENTS)));
    let (text, _) = condition_on(&config, "t/month=10/1.parquet", &[]).await;
    assert!(text.contains("by 5 keys of those that are listed; a sync looks at all keys"), "{text}");
    rig.stop();
}

#[tokio::test]
async fn conditions_compare_with_the_type_that_an_earlier_sync_announced() {
    let (mut rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    let more = json!({"partitions": {"style": "hive", "where": ["n >= 10"]}});
    rig.s3.put("t/n=9/1.parquet", EVENTS);
    rig.s3.put("t/n=10/1.parquet", EVENTS);
    rig.sync_with_state(more.clone(), &backend).await;
    rig.s3.put("t/n=x/1.parquet", EVENTS);
    rig.s3.put("t/n=011/1.parquet", EVENTS);
    let outer = json!({"backend_options": {"table_name": STATE_TABLE, "connection": backend.connection()}});
    let config = config(&rig.s3, outer, more.clone());
    for (key, expected) in [("t/n=011/1.parquet", "read"), ("t/n=x/1.parquet", "skipped")] {
        let (text, outcome) = condition_on(&config, key, &[]).await;
        assert!(text.ends_with(": n is int64 as an earlier sync announced"), "{text}");
        assert_eq!(outcome, expected, "{key}");
    }
    let without = super::config(&rig.s3, json!({}), more);
    let (text, outcome) = condition_on(&without, "t/n=011/1.parquet", &[]).await;
    assert!(text.contains("n is utf8 by all 4 keys"), "{text}");
    assert_eq!(outcome, "skipped", "\"011\" comes before \"10\"");
}

//! What a plan says of how a sync ends, and what its exit status is then.

use super::{EVENTS, OTHER, USERS, config, plan, put_archived, run};
use crate::rig::Rig;
use serde_json::json;
use std::time::Duration;
use testkit::backend::{Backend, Mode};
use testkit::s3_server::{Action, S3Server};

/// A bucket with a table whose files do not agree, and a good one.
async fn with_a_conflict() -> S3Server {
    let s3 = S3Server::start().await;
    s3.put("bad/1.parquet", USERS);
    s3.put("bad/2.parquet", OTHER);
    s3.put("good/1.parquet", EVENTS);
    s3
}

/// The text as one line.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_errors_do_is_up_to_the_spec_and_the_backend() {
    let (s3, backend) = (with_a_conflict().await, Backend::start(Mode::Upsert).await);
    let outer = json!({"backend_options": {"table_name": "cq_state", "connection": backend.connection()}});
    let skip = json!({"on_object_error": "skip"});
    for (source, more, fails, text) in [
        (json!({}), json!({}), true, "ends with an error, at which the CLI stops the destination"),
        (json!({}), skip, false, "removed"),
        (outer.clone(), json!({}), false, "ends well; the next one tries again"),
        (outer, json!({"on_object_error": "fail"}), true, "ends with an error, at which the CLI stops the destination"),
    ] {
        let config = config(&s3, source, more);
        let shown = run(&config, &[], &[]).await;
        assert_eq!(shown.status, Some(3), "{}", shown.stderr);
        let last = on_one_line(&shown.stdout);
        let (_, last) = last.rsplit_once("1 table with errors: a sync ").unwrap();
        assert!(last.contains(text), "{text}: {last}");
        assert_eq!(run(&config, &["--json"], &[]).await.json()["sync_ends_with_error"], fails);
    }
    let shown = plan(&s3, json!({}), &["--json"]).await.json();
    let error = shown["tables"][0]["error"].as_str().unwrap();
    assert!(error.ends_with("add these lines to the source:\nspec:\n  schema:\n    mode: merge"), "{error}");
}

#[tokio::test]
async fn archived_objects_end_a_full_sync_with_an_error() {
    let s3 = S3Server::start().await;
    s3.put("t/1.parquet", EVENTS);
    put_archived(&s3, "t/2.parquet");
    let shown = plan(&s3, json!({}), &[]).await;
    assert_eq!(shown.status, Some(3));
    assert!(on_one_line(&shown.stdout).contains("ends with an error: restore or `exclude` what is archived"));
    let shown = plan(&s3, json!({"on_archived": "skip"}), &[]).await;
    assert_eq!(shown.status, Some(0));
    assert!(on_one_line(&shown.stdout).contains("a sync leaves out what is archived"), "{}", shown.stdout);
}

#[tokio::test]
async fn a_table_that_its_keys_put_into_error_is_there_with_it() {
    let s3 = S3Server::start().await;
    s3.put("a/dt=2026-01-31/1.parquet", EVENTS);
    s3.put("b/dt=1/1.parquet", EVENTS);
    let more = json!({"partitions": {"style": "hive", "where": ["dt >= 2026-01-01"]}});
    let shown = plan(&s3, more, &["--json"]).await;
    assert_eq!(shown.status, Some(3));
    let shown = shown.json();
    assert_eq!((&shown["tables"][1]["name"], &shown["tables"][1]["objects"]), (&json!("b"), &json!(1)));
    assert!(shown["tables"][1]["error"].as_str().unwrap().contains("exclude it"), "{shown}");
}

#[tokio::test]
async fn without_a_table_the_plan_says_what_no_mapping_takes() {
    let s3 = S3Server::start().await;
    s3.put("raw/x/1.parquet", EVENTS);
    s3.put("raw/x/2.parquet", EVENTS);
    let more = json!({"path": "{{TABLE}}/{{*}}", "path_prefix": "raw/"});
    let shown = plan(&s3, more.clone(), &["--json"]).await;
    assert_eq!(shown.status, Some(4));
    let warning = shown.json()["warnings"][0].as_str().unwrap().to_owned();
    let expected = "but there is no table: no mapping takes any of 2 objects, the first: \"raw/x/1.parquet\"; ";
    assert!(warning.contains(expected) && !warning.contains("include and exclude"), "{warning}");
    let explained = plan(&s3, more.clone(), &["--explain", "raw/x/1.parquet"]).await.stdout;
    let expected = "✗ mappings       path {{TABLE}}/{{*}}: the key goes on behind the end";
    assert!(explained.contains(expected), "{explained}");
    // With a name that is looked for it is an error, in a sync, too.
    let shown = run(&config(&s3, json!({"tables": ["x"]}), more), &[], &[]).await;
    assert_eq!(shown.status, Some(1));
    let expected = "tables include a pattern x with no matches; no mapping takes any of 2 objects, the first: \"raw/x";
    assert!(shown.stderr.contains(expected), "{}", shown.stderr);
}

#[tokio::test]
async fn a_pattern_outside_the_prefix_is_a_mistake() {
    let s3 = S3Server::start().await;
    let mappings = json!([
        {"path": "exports/{{TABLE}}/{{*}}"},
        {"glob": "raw/a/**", "table": "a"},
        {"glob": "old/**", "skip": true},
        {"regex": "landing/(?<t>[^/]+)/.*", "table": "{{t}}"},
        {"glob": ["ra*", "exports/**"], "table": "b"},
    ]);
    let shown = plan(&s3, json!({"path_prefix": "raw/", "mappings": mappings}), &[]).await;
    assert_eq!(shown.status, Some(1));
    let says = |field: &str, start: &str| {
        let expected = format!(
            "{field}: takes no key that is listed: its keys begin with {start:?}, and path_prefix is \"raw/\"; a "
        );
        assert!(shown.stderr.contains(&expected), "{expected}\n{}", shown.stderr);
    };
    says("mappings[0].path", "exports/");
    says("mappings[3].regex", "landing/");
    assert_eq!(shown.stderr.lines().count(), 2, "{}", shown.stderr);
    let shown = plan(&s3, json!({"path_prefix": "raw/2026", "path": "raw"}), &[]).await;
    assert_eq!((shown.status, shown.stderr.as_str()), (Some(4), ""), "the path goes on where the prefix does");
}

#[tokio::test]
async fn folders_that_could_be_columns_are_hinted_at() {
    let mut rig = Rig::start().await;
    let hint = "2 tables are made of `key=value` folders, such as \"e/dt=2026-01-01/\": `partitions: hive` makes columns of \
                them, and one table of \"e/\"";
    rig.s3.put("e/dt=2026-01-01/1.parquet", EVENTS);
    rig.s3.put("e/dt=2026-01-02/1.parquet", EVENTS);
    rig.s3.put("f/1.parquet", EVENTS);
    let shown = plan(&rig.s3, json!({}), &[]).await;
    assert_eq!(shown.status, Some(0));
    assert!(on_one_line(&shown.stdout).contains(&format!("hint {hint}")), "{}", shown.stdout);
    assert_eq!(plan(&rig.s3, json!({}), &["--json"]).await.json()["hints"], json!([hint]));
    assert_eq!(plan(&rig.s3, json!({"partitions": "hive"}), &["--json"]).await.json()["hints"], json!([]));
    rig.sync(json!({})).await;
    rig.sync(json!({"partitions": "hive"})).await;
    let infos = rig.stop().of_level("info");
    let told: Vec<_> = infos.iter().filter(|line| line.contains("`partitions: hive` makes columns")).collect();
    assert_eq!(told.len(), 1, "{infos:#?}");
}

/// The mistakes of a spec in YAML.
async fn mistakes(yaml: &str) -> String {
    let shown = run(&format!("bucket: test-bucket\n{yaml}\n"), &[], &[]).await;
    assert_eq!(shown.status, Some(1), "{}", shown.stdout);
    shown.stderr
}

#[tokio::test]
async fn words_of_others_for_types_and_what_yaml_cuts_are_told() {
    for (yaml, field, meant) in [
        ("columns: {a: integer}", "columns.a", "did you mean int64?"),
        ("columns: {a: VARCHAR(20)}", "columns.a", "did you mean utf8?"),
        ("columns: {a: number}", "columns.a", "did you mean decimal(12, 2)?"),
        ("columns: {a: datetime}", "columns.a", "did you mean timestamp?"),
        ("columns: {a: Int64}", "columns.a", "did you mean int64?"),
        ("columns: {a: decimal(12, 2)}", "columns.a", "quote it, as in \"decimal(12, 2)\""),
        ("partitions: {style: hive, columns: {a: integer}}", "partitions.columns.a", "did you mean int64?"),
        ("partitions: {style: hive, columns: {a: varchar}}", "partitions.columns.a", "did you mean utf8?"),
        ("partitions: {style: hive, columns: {a: datetime}}", "partitions.columns.a", "did you mean timestamp?"),
        (
            "partitions: {style: hive, columns: {a: decimal(12, 2)}}",
            "partitions.columns.a",
            "quote it, as in \"decimal(12, 2)\"",
        ),
        (
            "partitions: {style: hive, where: ['a in [eu', 'us]']}",
            "partitions.where[0]",
            "quote the condition: [\"region in [eu, us]\"]",
        ),
    ] {
        let told = mistakes(yaml).await;
        assert!(told.contains(&format!("{field}: ")) && told.contains(meant), "{yaml}: {told}");
    }
    let told = mistakes("partitions: {style: hive, where: [a in [eu, us]]}").await;
    assert!(told.contains("quote texts that have brackets or commas"), "{told}");
}

#[tokio::test]
async fn a_plan_that_waits_says_for_what() {
    let s3 = S3Server::start().await;
    s3.put("t/1.parquet", EVENTS);
    s3.on_list(|page| (page == 1).then(|| Action::Delay(Duration::from_secs(7))));
    let shown = plan(&s3, json!({}), &["--no-columns"]).await;
    assert_eq!(shown.status, Some(0));
    let expected = format!("waiting for {}: no answer for 5 s", s3.endpoint());
    assert!(shown.stderr.starts_with(&expected) && shown.stderr.lines().count() == 1, "{}", shown.stderr);
}

//! Plans of incremental syncs: what is new since the last one, and nothing is written.

use super::{EVENTS, USERS, config, run};
use crate::rig::{self, Rig, STATE_TABLE};
use serde_json::{Value, json};
use testkit::backend::{Backend, Call, Mode};

fn backend_flags(backend: &Backend) -> Vec<String> {
    ["--json", "--backend", &backend.connection(), "--backend-table", STATE_TABLE].map(str::to_owned).to_vec()
}

async fn plan(rig: &Rig, backend: &Backend) -> Value {
    let flags = backend_flags(backend);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    run(&rig::spec(&rig.s3.endpoint(), json!({})).to_string(), &flags, &[]).await.json()
}

#[tokio::test]
async fn new_is_what_the_ledger_does_not_have_and_nothing_is_written() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("events/1.parquet", EVENTS);
    rig.s3.put("users/1.parquet", USERS);
    rig.s3.put("gone/1.parquet", USERS);
    rig.sync_with_state(json!({}), &backend).await;
    rig.s3.put("events/2.parquet", EVENTS);
    rig.s3.delete("gone/1.parquet");
    backend.forget_calls();
    rig.s3.reset_counts();

    let shown = plan(&rig, &backend).await;
    assert_eq!(shown["state"]["status"], "read");
    let tables: Vec<_> = shown["tables"].as_array().unwrap().iter().collect();
    let of = |name: &str| *tables.iter().find(|table| table["name"] == name).unwrap();
    assert_eq!((&of("events")["objects"], &of("events")["new_objects"]), (&json!(2), &json!(1)));
    assert_eq!(of("events")["new_bytes"], EVENTS.len());
    assert_eq!((&of("users")["objects"], &of("users")["new_objects"]), (&json!(1), &json!(0)));
    assert_eq!((&of("gone")["objects"], &of("gone")["new_objects"]), (&json!(0), &json!(0)), "announced without rows");
    assert!(of("gone")["columns"].as_array().unwrap().len() > 2);
    assert_eq!(shown["totals"]["new_objects"], 1);
    assert_eq!((&shown["requests"]["sync"]["get"], &shown["requests"]["full_sync"]["get"]), (&json!(1), &json!(3)));
    let calls = backend.calls();
    assert!(calls.iter().all(|call| matches!(call, Call::GetVersions | Call::Read(_))), "{calls:?}");

    // And so it is.
    rig.s3.reset_counts();
    rig.sync_with_state(json!({}), &backend).await;
    assert_eq!(rig.s3.counts().gets, 1);
    assert_eq!(plan(&rig, &backend).await["totals"]["new_objects"], 0);
}

#[tokio::test]
async fn a_backend_without_a_table_means_that_all_is_new() {
    let rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("events/1.parquet", EVENTS);
    let shown = plan(&rig, &backend).await;
    assert_eq!(shown["state"]["status"], "no_table");
    assert_eq!(shown["totals"]["new_objects"], 1);
    assert!(!backend.calls().contains(&Call::Migrate(STATE_TABLE.into())));
}

#[tokio::test]
async fn the_config_names_the_backend() {
    let rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("events/1.parquet", EVENTS);
    let options = json!({"backend_options": {"table_name": "t", "connection": "@@plugins.mem.connection"}});
    let source = config(&rig.s3, options, json!({}));
    let destination = |registry: &str| {
        let connection = backend.connection();
        format!("{source}\n---\nkind: destination\nspec: {{name: mem, registry: {registry}, path: \"{connection}\"}}\n")
    };
    let shown = run(&destination("grpc"), &["--json"], &[]).await.json();
    assert_eq!((&shown["state"]["status"], &shown["state"]["table_name"]), (&json!("no_table"), &json!("t")));
    let shown = run(&destination("local"), &["--json"], &[]).await.json();
    assert_eq!((&shown["state"]["status"], &shown["totals"]["new_objects"]), (&json!("not_reachable"), &Value::Null));
    let text = run(&destination("local"), &[], &[("COLUMNS", "200")]).await.stdout;
    assert!(text.contains("table t of @@plugins.mem.connection, which only the CLI can reach"), "{text}");
}

#[tokio::test]
async fn an_explanation_says_whether_the_object_was_sent() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("events/1.parquet", EVENTS);
    rig.sync_with_state(json!({}), &backend).await;
    rig.s3.put("events/2.parquet", EVENTS);
    for (key, done) in [("events/1.parquet", true), ("events/2.parquet", false)] {
        let flags = backend_flags(&backend);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--explain", key]);
        let spec = rig::spec(&rig.s3.endpoint(), json!({})).to_string();
        assert_eq!(run(&spec, &flags, &[]).await.json()["done"], done, "{key}");
    }
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_an_error_soon() {
    let rig = Rig::start().await;
    let flags = ["--backend", "127.0.0.1:1", "--backend-table", "t"];
    let shown = run(&rig::spec(&rig.s3.endpoint(), json!({})).to_string(), &flags, &[]).await;
    assert_eq!(shown.status, Some(1));
    assert!(shown.stderr.contains("connect to the backend at \"127.0.0.1:1\""), "{}", shown.stderr);
}

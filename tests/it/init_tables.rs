//! Items 37–52: Init, TestConnection and GetTables. (52 as this plugin has it: GetTables connects when it is
//! called, also after Init with no_connection.)

use crate::rig::Rig;
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::client::{Collected, Message, Nested, decode, protocol_violations};
use testkit::parquet_files as files;
use testkit::s3_server::DEFAULT_BUCKET;
use tonic::Code;

/// The texts that Init refuses with begin so.
const REFUSED: &str = "failed to init plugin: failed to initialize client: ";

async fn tables(rig: &mut Rig, tables: &[&str], skip_tables: &[&str]) -> Vec<String> {
    let schemas = rig.client.tables(tables, skip_tables).await.unwrap();
    schemas.iter().map(|schema| schema.metadata()["cq:table_name"].clone()).collect()
}

fn fill(rig: &Rig) {
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    rig.s3.put("raw/events/a.parquet", files::nested(10, 1));
    rig.s3.put("raw/users/a.parquet", files::flat(10, 2));
}

#[tokio::test]
async fn item_37_the_schema_says_what_it_must() {
    let mut rig = Rig::start().await;
    let answer = rig.client.grpc.get_spec_schema(pb::get_spec_schema::Request {}).await.unwrap().into_inner();
    let schema: Value = serde_json::from_str(&answer.json_schema.unwrap()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let name = schema["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
    let spec = &schema["$defs"][name];
    assert_eq!(spec["required"], json!(["bucket"]), "so that an empty object is invalid");
    assert_eq!(spec["additionalProperties"], false, "so that unknown keys are invalid");
}

#[tokio::test]
async fn item_38_the_corpus_is_what_init_accepts() {
    let corpus: Vec<Value> = serde_json::from_str(include_str!("../fixtures/spec_corpus.json")).unwrap();
    let mut rig = Rig::start().await;
    for case in corpus {
        let result = rig.client.init(&case["spec"]).await;
        assert_eq!(result.is_ok(), case["valid"] == true, "{}: {result:?}", case["name"]);
        if let Err(status) = result {
            assert_eq!(status.code(), Code::Internal);
            assert!(status.message().starts_with(REFUSED), "{}", status.message());
        }
    }
}

#[tokio::test]
async fn item_39_without_connection_no_spec_is_fine_until_it_is_needed() {
    let mut rig = Rig::start().await;
    for spec in ["", "null", "{}"] {
        rig.client.init_with(spec, true).await.unwrap();
        let status = rig.client.tables(&["*"], &[]).await.unwrap_err();
        assert!(status.message().contains("bucket: is required"), "{}", status.message());
    }
}

#[tokio::test]
async fn item_40_init_touches_no_network() {
    let mut rig = Rig::start().await;
    for no_connection in [true, false] {
        rig.client.init_with(rig.spec(json!({})).to_string(), no_connection).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.s3.counts().http_requests, 0);
}

#[tokio::test]
async fn item_42_the_second_init_counts() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.s3.bucket("other-bucket").put("others/a.parquet", files::flat(5, 1));
    rig.init(json!({})).await;
    rig.init(json!({"bucket": "other-bucket"})).await;
    assert_eq!(tables(&mut rig, &["*"], &[]).await, ["others"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_init_during_a_sync_is_refused_and_disturbs_nothing() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.s3.set_get_latency(Duration::from_millis(500));
    rig.init(json!({})).await;
    let mut other = rig.client.clone();
    let running = tokio::spawn(async move { other.sync(&["*"], &[]).await });
    while rig.s3.counts().lists == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = rig.client.init(&rig.spec(json!({"path_prefix": "raw/"}))).await.unwrap_err();
    assert_eq!(status.message(), "failed to init plugin: plugin already in use");
    let status = rig.client.sync(&["*"], &[]).await.status.unwrap();
    assert!(status.message().contains("plugin already in use"), "{}", status.message());
    let sync = running.await.unwrap();
    testkit::client::assert_protocol(&sync);
    assert_eq!(sync.rows("orders"), 10, "the first spec is in force");
    assert_eq!(tables(&mut rig, &["*"], &[]).await.len(), 3);
}

#[tokio::test]
async fn item_44_whole_numbers_may_be_written_as_floats() {
    let mut rig = Rig::start().await;
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    for (number, inserts) in [(json!(5), 2), (json!(5.0), 2), (json!(2.0), 5)] {
        let sync = rig.sync(json!({"rows_per_record": number})).await;
        assert_eq!(sync.totals()["orders"].inserts, inserts, "{number}");
    }
}

#[tokio::test]
async fn item_45_unknown_keys_are_named_all_at_once() {
    let mut rig = Rig::start().await;
    let status = rig.client.init(&rig.spec(json!({"conccurency": 3, "regoin": "x"}))).await.unwrap_err();
    for text in ["conccurency: unknown key; did you mean `concurrency`", "regoin: unknown key; did you mean `region`"] {
        assert!(status.message().contains(text), "{}", status.message());
    }
}

#[tokio::test]
async fn item_46_to_48_test_connection_has_stable_codes() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.s3.require_credentials("AKIAEXAMPLE", "right");
    let keys = |id: &str, secret: &str| json!({"access_key_id": id, "secret_access_key": secret});
    // A port where nothing listens: it was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (more, code, mentions) in [
        (json!({"credentials": keys("AKIAEXAMPLE", "right")}), "", ""),
        (json!({"credentials": keys("AKIAEXAMPLE", "wrong")}), "UNAUTHORIZED", "SignatureDoesNotMatch"),
        (json!({"credentials": keys("AKIANOBODY", "right")}), "UNAUTHORIZED", "InvalidAccessKeyId"),
        (json!({"credentials": {"anonymous": true}}), "ACCESS_DENIED", "s3:ListBucket"),
        (json!({"buckte": 1}), "INVALID_SPEC", "buckte"),
        (
            json!({"bucket": "no-such-bucket", "credentials": keys("AKIAEXAMPLE", "right")}),
            "BUCKET_NOT_FOUND",
            "no-such-bucket",
        ),
        (json!({"endpoint": format!("http://{free}")}), "UNREACHABLE", DEFAULT_BUCKET),
    ] {
        let answer = rig.client.test_connection(&rig.spec(more.clone())).await.unwrap();
        assert_eq!(answer.failure_code, code, "{more}: {}", answer.failure_description);
        assert_eq!(answer.success, code.is_empty(), "{more}");
        assert!(answer.failure_description.contains(mentions), "{more}: {}", answer.failure_description);
        assert!(!answer.failure_description.contains("right"), "{}", answer.failure_description);
    }
    let read: Vec<_> = rig.s3.requests().into_iter().filter(|request| request.bytes_sent > 0).collect();
    assert_eq!(read.iter().map(|request| request.bytes_sent).collect::<Vec<_>>(), [1], "one byte of one object");
}

#[tokio::test]
async fn item_50_schemas_are_streams_without_batches_and_with_all_keys() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.init(json!({})).await;
    let request = pb::get_tables::Request { tables: vec!["*".to_owned()], ..Default::default() };
    let answer = rig.client.grpc.get_tables(request).await.unwrap().into_inner();
    let messages: Vec<Message> = answer
        .tables
        .iter()
        .map(|table| {
            let (schema, batches) = decode(table).unwrap();
            let name = schema.metadata()["cq:table_name"].clone();
            Message::Migrate { table: name, schema, batches: batches.len() }
        })
        .collect();
    let announced = Collected { messages, ..Collected::default() };
    assert_eq!(announced.tables(), ["orders", "raw_events", "raw_users"]);
    assert_eq!(protocol_violations(&announced, Nested::AsJson), Vec::<String>::new());

    let sync = rig.client.sync(&["*"], &[]).await;
    for table in sync.tables() {
        assert_eq!(announced.schema(&table), sync.schema(&table), "as in a sync");
    }
}

#[tokio::test]
async fn item_51_patterns_are_the_sdks() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.init(json!({})).await;
    assert_eq!(tables(&mut rig, &["*"], &[]).await, ["orders", "raw_events", "raw_users"]);
    assert_eq!(tables(&mut rig, &["raw_*"], &["*_users"]).await, ["raw_events"]);
    assert_eq!(tables(&mut rig, &["orders", "r*s"], &["no_such_table"]).await.len(), 3);
    let warnings = rig.lines("warn");
    assert!(
        warnings.iter().any(|line| line["message"] == "skip_tables include a pattern no_such_table with no matches")
    );
    let status = rig.client.tables(&["orders", "invoices*"], &[]).await.unwrap_err();
    let text = "failed to get tables: failed to get tables: tables include a pattern invoices* with no matches";
    assert_eq!(status.message(), text);
}

#[tokio::test]
async fn item_52_get_tables_connects_when_called() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.client.init_with(rig.spec(json!({})).to_string(), true).await.unwrap();
    assert_eq!(rig.s3.counts().http_requests, 0);
    assert_eq!(tables(&mut rig, &["*"], &[]).await, ["orders", "raw_events", "raw_users"]);
    assert!(rig.s3.counts().http_requests > 0);
}

#[tokio::test]
async fn get_tables_samples_ten_footers_of_a_table() {
    let mut rig = Rig::start().await;
    for n in 0..25 {
        rig.s3.put(&format!("orders/{n:02}.parquet"), files::flat(2_000, n));
    }
    rig.init(json!({})).await;
    assert_eq!(tables(&mut rig, &["*"], &[]).await, ["orders"]);
    let read: std::collections::BTreeSet<String> =
        rig.s3.requests().into_iter().filter(|request| request.bytes_sent > 0).map(|request| request.key).collect();
    assert_eq!(read.len(), 10, "{read:?}");
    assert!(rig.lines("info").iter().any(|line| line.to_string().contains("sample")), "it says so");
}

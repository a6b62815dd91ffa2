//! The built plugin as a process, driven over gRPC, against S3 in a container.

use arrow::array::Array as _;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;

use crate::data::{self, Table};
use crate::localstack::{ACCESS_KEY_ID, LocalStack, REGION, SECRET_ACCESS_KEY};
use crate::server::{Address, Server};
use testkit::client::{Client, Collected, assert_protocol};

const BUCKET: &str = "lake";
/// One more than a listing page holds.
const OBJECTS_OVER_A_PAGE: usize = 1_001;

/// The plugin's process, and a connection to it as the CLI makes it.
async fn plugin(address: Address, dir: &Path, env: &[(&str, &str)]) -> (Server, Client) {
    let target = match &address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(path) => format!("unix://{}", path.display()),
    };
    let server = Server::plugin(address, dir, env);
    let client = Client::connect(&target).await;
    (server, client)
}

/// One Init and one whole sync of all tables.
async fn sync_all(client: &mut Client, spec: &serde_json::Value) -> Collected {
    client.init(spec).await.expect("init");
    client.sync(&["*"], &[]).await
}

/// The sync kept the protocol's rules, and every table arrived with exactly the rows that were written.
fn assert_contents(collected: &Collected, tables: &[Table]) {
    assert_protocol(collected);
    assert_eq!(collected.errors(), []);
    let mut names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    names.sort_unstable();
    assert_eq!(collected.tables(), names);
    for table in tables {
        let rows = data::received_rows(&[collected.concatenated(table.name)]);
        assert_eq!(rows, table.expected_rows(), "rows of {}", table.name);
    }
}

async fn sync_over(address: Address, dir: &Path) {
    let s3 = LocalStack::start().await;
    let tables = data::tables();
    s3.create_filled_bucket(BUCKET, &tables).await;
    // What a listing also shows and a sync must pass over.
    s3.put(BUCKET, "orders/", "").await;
    s3.put(BUCKET, "orders/_SUCCESS", "").await;
    s3.put(BUCKET, "orders/.draft.parquet", "not Parquet").await;
    s3.put(BUCKET, "orders/notes.txt", "not Parquet").await;
    let (server, mut client) = plugin(address, dir, &[]).await;

    let first = sync_all(&mut client, &s3.spec(BUCKET)).await;
    assert_contents(&first, &tables);
    // The same process takes one sync after another, and unchanged data keeps its ids.
    let second = sync_all(&mut client, &s3.spec(BUCKET)).await;
    assert_contents(&second, &tables);
    for table in &tables {
        assert_eq!(ids(&first, table.name), ids(&second, table.name), "ids of {}", table.name);
    }
    let output = server.output();
    let loud: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(r#""level":"warn""#) || line.contains(r#""level":"error""#))
        .collect();
    assert!(loud.is_empty(), "a sync without problems warns of nothing: {loud:#?}");
    assert!(!output.contains(SECRET_ACCESS_KEY), "the secret key is in the log");
}

/// All `_cq_id`s of a table.
fn ids(collected: &Collected, table: &str) -> BTreeSet<Vec<u8>> {
    let all = collected.concatenated(table);
    let column = all.column_by_name("_cq_id").expect("the id column");
    let column = column.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>().expect("ids are UUIDs");
    (0..column.len()).map(|row| column.value(row).to_vec()).collect()
}

#[tokio::test]
async fn everything_arrives_over_tcp() {
    let dir = tempfile::tempdir().expect("a folder");
    sync_over(Address::free_tcp(), dir.path()).await;
}

#[tokio::test]
async fn everything_arrives_over_a_unix_socket() {
    let dir = tempfile::tempdir().expect("a folder");
    sync_over(Address::Unix(dir.path().join("plugin.sock")), dir.path()).await;
}

#[tokio::test]
async fn a_table_of_more_objects_than_a_listing_page_is_complete() {
    let s3 = LocalStack::start().await;
    s3.create_bucket(BUCKET).await;
    let object = |n: usize| {
        let value = i64::try_from(n).expect("a small number");
        data::counter_object(&format!("many/{n:05}.parquet"), value..value + 1)
    };
    let objects: Vec<data::Object> = (0..OBJECTS_OVER_A_PAGE).map(object).collect();
    s3.put_all(BUCKET, objects.iter().map(|object| (object.key.clone(), object.parquet())).collect()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (_server, mut client) = plugin(Address::free_tcp(), dir.path(), &[]).await;

    let collected = sync_all(&mut client, &s3.spec(BUCKET)).await;

    assert_contents(&collected, &[Table { name: "many", objects }]);
}

#[tokio::test]
async fn replaced_added_and_deleted_objects_show_in_the_next_sync() {
    let s3 = LocalStack::start().await;
    let counters = |objects: Vec<data::Object>| vec![Table { name: "counters", objects }];
    let before = counters(vec![
        data::counter_object("counters/deleted.parquet", 0..10),
        data::counter_object("counters/kept.parquet", 10..20),
        data::counter_object("counters/replaced.parquet", 20..30),
    ]);
    s3.create_filled_bucket(BUCKET, &before).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (_server, mut client) = plugin(Address::free_tcp(), dir.path(), &[]).await;
    let first = sync_all(&mut client, &s3.spec(BUCKET)).await;
    assert_contents(&first, &before);

    let after = counters(vec![
        data::counter_object("counters/added.parquet", 30..40),
        data::counter_object("counters/kept.parquet", 10..20),
        data::counter_object("counters/replaced.parquet", 120..125),
    ]);
    s3.delete(BUCKET, "counters/deleted.parquet").await;
    for object in &after[0].objects {
        s3.put(BUCKET, &object.key, object.parquet()).await;
    }
    let second = sync_all(&mut client, &s3.spec(BUCKET)).await;
    assert_contents(&second, &after);
    // The kept object's ten rows and the replaced one's first five keep their ids: a replaced object overwrites.
    let (first, second) = (ids(&first, "counters"), ids(&second, "counters"));
    assert_eq!(first.intersection(&second).count(), 15);
}

#[tokio::test]
async fn an_archived_object_fails_the_sync_unless_it_is_to_be_skipped() {
    let s3 = LocalStack::start().await;
    let readable = vec![Table { name: "t", objects: vec![data::counter_object("t/hot.parquet", 0..10)] }];
    s3.create_filled_bucket(BUCKET, &readable).await;
    s3.put_archived(BUCKET, "t/cold.parquet", data::counter_object("t/cold.parquet", 10..20).parquet()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (_server, mut client) = plugin(Address::free_tcp(), dir.path(), &[]).await;

    let failed = sync_all(&mut client, &s3.spec(BUCKET)).await;
    let status = failed.status.as_ref().expect("an archived object ends the stream with an error");
    for text in ["t/cold.parquet", "on_archived"] {
        assert!(status.message().contains(text), "the error should say {text:?}: {}", status.message());
    }
    assert_eq!(failed.rows("t"), 10, "everything else is sent first");

    let mut spec = s3.spec(BUCKET);
    spec["on_archived"] = json!("skip");
    let skipped = sync_all(&mut client, &spec).await;
    assert_protocol(&skipped);
    assert_eq!(data::received_rows(&[skipped.concatenated("t")]), readable[0].expected_rows());
    assert!(skipped.errors().is_empty(), "what is skipped is a warning in the log: {:?}", skipped.errors());
}

#[tokio::test]
async fn a_role_is_assumed_with_keys_from_the_environment() {
    let s3 = LocalStack::start().await;
    let tables = data::tables();
    s3.create_filled_bucket(BUCKET, &tables).await;
    let dir = tempfile::tempdir().expect("a folder");
    let env = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ("AWS_ENDPOINT_URL_STS", s3.endpoint.as_str()),
    ];
    let (_server, mut client) = plugin(Address::free_tcp(), dir.path(), &env).await;
    let mut spec = s3.spec(BUCKET);
    spec["credentials"] = json!({
        "role_arn": "arn:aws:iam::000000000000:role/lake-reader",
        "role_session_name": "e2e",
        "external_id": "partner-1",
    });

    assert_contents(&sync_all(&mut client, &spec).await, &tables);

    let log = s3.log().await;
    assert!(log.contains("sts.AssumeRole => 200"), "nobody assumed a role:\n{log}");
}

#[tokio::test]
async fn test_connection_tells_a_missing_bucket_from_a_dead_endpoint() {
    let s3 = LocalStack::start().await;
    s3.create_filled_bucket(BUCKET, &data::tables()).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (_server, mut client) = plugin(Address::free_tcp(), dir.path(), &[]).await;

    let good = client.test_connection(&s3.spec(BUCKET)).await.expect("an answer");
    assert!(good.success, "{}: {}", good.failure_code, good.failure_description);

    let missing = client.test_connection(&s3.spec("no-such-bucket")).await.expect("an answer");
    assert!(!missing.success);
    assert_eq!(missing.failure_code, "BUCKET_NOT_FOUND");
    assert!(missing.failure_description.contains("no-such-bucket"), "{}", missing.failure_description);

    let Address::Tcp(nobody) = Address::free_tcp() else { unreachable!("free_tcp gives a TCP address") };
    let dead = json!({"bucket": BUCKET, "region": REGION, "endpoint": format!("http://{nobody}"), "path_style": true,
        "credentials": {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY}});
    let unreachable = client.test_connection(&dead).await.expect("an answer");
    assert!(!unreachable.success);
    assert_eq!(unreachable.failure_code, "UNREACHABLE");
}

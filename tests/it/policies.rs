//! What cannot be read: who is told, what is sent all the same, and how the stream ends.

use crate::rig::{Rig, assert_rows, expected, overwritten, small, versioned};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};
use testkit::parquet_files as files;
use testkit::s3_server::{ObjectAttributes, Op, Restore};
use tonic::Code;

#[track_caller]
fn status(collected: &Collected) -> (Code, String) {
    let status = collected.status.as_ref().expect("the sync should have failed");
    (status.code(), status.message().to_owned())
}

/// A file whose second row group begins with nonsense.
fn damaged() -> Bytes {
    let file = files::with_row_groups(2_000, 1_000, 1);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let (start, _) = reader.metadata().row_group(1).column(0).byte_range();
    let mut bytes = BytesMut::from(&file[..]);
    bytes[start as usize..][..100].fill(0xAA);
    bytes.freeze()
}

#[tokio::test]
async fn objects_that_are_no_sound_parquet_are_named_one_by_one_and_the_rest_is_sent() {
    let mut rig = Rig::start().await;
    let good = small("good");
    let mut encrypted = BytesMut::from(&good[..]);
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    rig.s3.put("t/good.parquet", good.clone());
    rig.s3.put("u/good.parquet", files::flat(10, 1));
    rig.s3.put("u/damaged.parquet", damaged());
    rig.s3.put("t/encrypted.parquet", encrypted.freeze());
    rig.s3.put("t/garbage.parquet", "id,name\n1,Ada\n".repeat(100));
    rig.s3.put("t/tiny.parquet", "PAR1");
    rig.s3.put("t/truncated.parquet", good.slice(..good.len() / 2));
    let what = [
        ("u/damaged.parquet", "row group 1"),
        ("t/encrypted.parquet", "encrypted"),
        ("t/garbage.parquet", "not a Parquet file"),
        ("t/tiny.parquet", "not a Parquet file"),
        ("t/truncated.parquet", "not a Parquet file"),
    ];

    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::DataLoss, "{text}");
    assert!(text.contains("5 objects could not be read"), "{text}");
    assert!(
        text.contains("rows that it had not written yet are lost") && text.contains("`on_object_error: skip`"),
        "{text}"
    );
    assert_eq!(overwritten(&sync, "t"), expected("good", 100));
    assert_eq!(sync.rows("u"), 10 + 1_000, "what came before the damage stays");
    assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
    let errors = sync.errors();
    assert_eq!(errors.len(), what.len(), "{errors:#?}");
    for (key, reason) in what {
        let named = format!("s3://test-bucket/{key}: ");
        let (table, error) = errors.iter().find(|(_, error)| error.contains(&named)).expect(key);
        assert_eq!(*table, &key[..1]);
        assert!(error.contains(reason), "{error}");
    }

    let sync = rig.sync(json!({"on_object_error": "skip"})).await;
    assert_protocol(&sync);
    assert_eq!((sync.errors().len(), sync.rows("t")), (5, 100));

    let log = rig.stop();
    let lines = log.of_level("error");
    assert_eq!(lines.len(), 10, "one a failed object: {lines:#?}");
    for (key, reason) in what {
        assert_eq!(lines.iter().filter(|line| line.contains(key) && line.contains(reason)).count(), 2, "{lines:#?}");
    }
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("overwrite-delete-stale") && warnings[0].contains("removes the rows"), "{warnings:?}");
}

#[tokio::test]
async fn a_panic_of_the_decoder_stays_in_its_object() {
    let mut rig = Rig::start().await;
    // The first page says that it is no dictionary, which the decoder then misses when values refer to it.
    let layout = files::Layout { compression: Compression::UNCOMPRESSED, ..files::Layout::default() };
    let mut bytes = BytesMut::from(&files::write_batch(&files::flat_batch(60, 1), &layout)[..]);
    bytes[5] = 2;
    rig.s3.put("t/1.parquet", files::flat(10, 1));
    rig.s3.put("t/2.parquet", bytes.freeze());
    rig.s3.put("t/3.parquet", files::flat(20, 1));
    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::DataLoss, "{text}");
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("s3://test-bucket/t/2.parquet: the decoder panicked"), "{error}");
    assert_eq!(sync.rows("t"), 30);
    assert_eq!(rig.sync(json!({"exclude": ["t/2.parquet"]})).await.rows("t"), 30, "the process goes on");
    let errors = rig.stop().of_level("error");
    assert_eq!(errors.len(), 1, "{errors:#?}");
}

#[tokio::test]
async fn a_peer_that_does_not_know_error_messages_still_gets_the_status() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/good.parquet", small("good"));
    rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let spec = rig.spec(json!({}));
    rig.client.init(&spec).await.unwrap();
    let mut request = testkit::client::sync_request(&["*"], &[]);
    request.with_error_messages = false;
    let sync = rig.client.sync_with(request, |_| {}).await;
    assert_eq!(sync.errors(), []);
    assert_eq!(sync.rows("t"), 100);
    let (code, text) = status(&sync);
    assert!(code == Code::DataLoss && text.contains("t/garbage.parquet"), "{text}");
}

fn class(name: &str, restore: Restore) -> ObjectAttributes {
    ObjectAttributes { storage_class: Some(name.to_owned()), restore, ..ObjectAttributes::default() }
}

#[tokio::test]
async fn archived_objects_are_told_from_readable_ones_by_the_listing() {
    let mut rig = Rig::start().await;
    let later = Restore::Until(SystemTime::now() + Duration::from_secs(86_400));
    for (key, attributes) in [
        ("t/1_glacier.parquet", class("GLACIER", Restore::None)),
        ("t/2_deep.parquet", class("DEEP_ARCHIVE", Restore::None)),
        ("t/3_restoring.parquet", class("GLACIER", Restore::InProgress)),
        ("t/4_restored.parquet", class("GLACIER", later)),
        ("t/5_instant.parquet", class("GLACIER_IR", Restore::None)),
        ("t/6_tiering.parquet", class("INTELLIGENT_TIERING", Restore::None)),
        ("t/7_standard.parquet", ObjectAttributes::default()),
        ("only/archived.parquet", class("GLACIER", Restore::None)),
        ("skipped/archived.parquet", class("GLACIER", Restore::None)),
    ] {
        rig.s3.put_with(key, small(key), attributes);
    }
    let spec = rig.spec(json!({}));
    rig.client.init(&spec).await.unwrap();
    let sync = rig.client.sync(&["*"], &["skipped"]).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::DataLoss, "{text}");
    let first =
        "4 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/only/";
    assert!(text.contains(first) && text.contains("`on_archived: skip`"), "{text}");
    assert_eq!(sync.tables(), ["t"], "a table whose objects are all archived keeps its old rows");
    assert_eq!(sync.rows("t"), 400);
    assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
    assert!(rig.s3.requests().iter().all(|request| request.status != 403), "what the listing tells is not asked for");

    let spec = rig.spec(json!({"on_archived": "skip"}));
    rig.client.init(&spec).await.unwrap();
    let sync = rig.client.sync(&["*"], &["skipped"]).await;
    assert_protocol(&sync);
    assert_eq!((sync.rows("t"), sync.errors()), (400, vec![]), "what is skipped on purpose is no error");
    assert_eq!(rig.failure(json!({"path_prefix": "only/"})).await, None, "TestConnection does not read archived ones");

    let log = rig.stop();
    let (errors, warnings) = (log.of_level("error"), log.of_level("warn"));
    assert_eq!((errors.len(), warnings.len()), (1, 2), "{errors:#?} {warnings:#?}");
    assert!(errors[0].contains("4 objects are archived"), "{errors:?}");
    assert!(warnings[0].contains("\"count\":1") && warnings[0].contains("only/archived.parquet"), "{warnings:?}");
    assert!(warnings[1].contains("\"count\":3") && warnings[1].contains("t/1_glacier.parquet"), "{warnings:?}");
}

#[tokio::test]
async fn an_archive_tier_that_only_the_get_tells_is_archived_too() {
    let mut rig = Rig::start().await;
    let deep = ObjectAttributes { archived: true, ..class("INTELLIGENT_TIERING", Restore::None) };
    rig.s3.put_with("t/1.parquet", small("deep"), deep);
    rig.s3.put("t/2.parquet", small("here"));
    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert!(code == Code::DataLoss && text.contains("1 object is archived") && text.contains("t/1.parquet"), "{text}");
    assert_eq!(overwritten(&sync, "t"), expected("here", 100));
    let sync = rig.sync(json!({"on_archived": "skip"})).await;
    assert_protocol(&sync);
    assert_eq!(sync.errors(), vec![]);
    assert_eq!(rig.s3.gets_of("t/1.parquet").len(), 2, "one a sync: asking again would not help");
}

#[tokio::test]
async fn files_that_do_not_agree_keep_their_table_out_and_no_other() {
    let mut rig = Rig::start().await;
    let text = |name| files::batch_of(vec![(name, true, Arc::new(StringArray::from(vec!["7"])) as ArrayRef)]);
    let number = files::batch_of(vec![("amount", true, Arc::new(Int64Array::from(vec![7])) as ArrayRef)]);
    rig.s3.put("sales/2025.parquet", files::write_batch(&number, &files::Layout::default()));
    rig.s3.put("sales/2026.parquet", files::write_batch(&text("amount"), &files::Layout::default()));
    rig.s3.put("visits/a.parquet", files::write_batch(&number, &files::Layout::default()));
    rig.s3.put("visits/b.parquet", files::write_batch(&text("who"), &files::Layout::default()));
    rig.s3.put("users/a.parquet", small("a"));

    let sync = rig.sync(json!({})).await;
    assert_eq!(sync.tables(), ["users"], "no migrate: old rows stay");
    assert_eq!(overwritten(&sync, "users"), expected("a", 100));
    let (code, status) = status(&sync);
    assert!(code == Code::DataLoss && status.contains("2 tables were left out"), "{status}");
    let mut errors = sync.errors();
    errors.sort();
    let [("sales", sales), ("visits", visits)] = errors[..] else { panic!("{errors:?}") };
    for part in ["\"sales/2025.parquet\"", "\"sales/2026.parquet\"", "column \"amount\"", "int64", "utf8", "exclude"] {
        assert!(sales.to_lowercase().contains(part), "{part}: {sales}");
    }
    assert!(visits.contains("column \"amount\"") && visits.contains("missing in the second"), "{visits}");

    let sync = rig.sync(json!({"on_object_error": "skip"})).await;
    assert_protocol(&sync);
    assert_eq!((sync.tables(), sync.errors().len()), (vec!["users".to_owned()], 2));
    // GetTables shows what a sync would send.
    let tables = rig.client.tables(&["*"], &[]).await.unwrap();
    assert_eq!(tables.len(), 1);
    let log = rig.stop();
    let errors = log.of_level("error");
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(errors.iter().all(|line| line.contains("do not agree")), "{errors:#?}");
}

#[tokio::test]
async fn two_prefixes_of_one_name_end_the_sync_before_anything_is_read() {
    let mut rig = Rig::start().await;
    for key in ["a-b/1.parquet", "a_b/1.parquet", "c/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert_eq!((code, sync.messages.len()), (Code::InvalidArgument, 0), "{text}");
    assert!(text.contains("\"a-b/\" and \"a_b/\" would both become the table a_b"), "{text}");
    assert_eq!(rig.s3.counts().gets, 0);
    // The text has the cure.
    let exclude = text.split("`exclude: [\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a glob");
    let sync = rig.sync(json!({"exclude": [exclude]})).await;
    assert_rows(&sync, "a_b", expected("a-b/1.parquet", 100));
    // Tables that are not selected may share a name.
    let sync = rig.client.sync(&["c"], &[]).await;
    assert_protocol(&sync);
}

#[tokio::test]
async fn too_many_tables_are_an_error_that_counts_partitions() {
    let mut rig = Rig::start().await;
    for day in 1..=4 {
        rig.s3.put(&format!("events/dt=2026-01-0{day}/1.parquet"), small("e"));
    }
    rig.s3.put("users/1.parquet", small("u"));
    let sync = rig.sync(json!({"max_tables": 4})).await;
    let (code, text) = status(&sync);
    assert_eq!((code, sync.messages.len()), (Code::InvalidArgument, 0), "{text}");
    assert!(text.contains("5 tables are selected, more than max_tables (4)"), "{text}");
    assert!(text.contains("4 of them are `key=value` folders"), "{text}");
    assert!(text.contains("such as \"events/dt=2026-01-01/\""), "{text}");
    assert!(rig.client.tables(&["*"], &[]).await.is_err(), "GetTables has the same limit");
    assert_eq!(rig.s3.counts().gets, 0, "before any footer is read");
    assert_protocol(&rig.client.sync(&["users"], &[]).await);
    assert_protocol(&rig.sync(json!({"max_tables": 5})).await);
}

#[tokio::test]
async fn delta_and_iceberg_tables_are_warned_about_once() {
    let mut rig = Rig::start().await;
    for key in
        ["d/_delta_log/0.json", "d/_delta_log/1.json", "i/metadata/v1.metadata.json", "i/metadata/v2.metadata.json"]
    {
        rig.s3.put(key, "{}");
    }
    for key in ["d/a.parquet", "i/data/a.parquet", "plain/a.parquet"] {
        rig.s3.put(key, small(key));
    }
    assert_protocol(&rig.sync(json!({})).await);
    let log = rig.stop();
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    for (place, format) in [("s3://test-bucket/d/", "Delta"), ("s3://test-bucket/i/", "Iceberg")] {
        assert!(warnings.iter().any(|line| line.contains(place) && line.contains(format)), "{warnings:#?}");
    }
    assert_eq!(log.of_level("error"), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_table_is_counted_by_reason_and_is_no_error() {
    let mut rig = Rig::start().await;
    for key in ["t/", "t/_SUCCESS", "t/.hidden.parquet", "t/_temporary/0/x.parquet", "t/readme.csv", "x/out.parquet"] {
        rig.s3.put(key, "x");
    }
    rig.s3.put("t/empty.parquet", "");
    rig.s3.put("t/a.parquet", small("a"));
    let sync = rig.sync(json!({"exclude": ["x/**"]})).await;
    assert_rows(&sync, "t", expected("a", 100));
    let log = rig.stop();
    log.assert_clean();
    assert_eq!(log.summary()["skipped"], "directory_marker: 1, excluded: 1, hidden: 3, not_parquet: 1, zero_bytes: 1");
}

#[tokio::test]
async fn selection_reads_only_what_is_selected() {
    let mut rig = Rig::start().await;
    for key in ["raw_orders/1.parquet", "raw_users/1.parquet", "users/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    let spec = rig.spec(json!({}));
    rig.client.init(&spec).await.unwrap();
    let sync = rig.client.sync(&["raw_*"], &["*_users", "nothing*"]).await;
    assert_protocol(&sync);
    assert_eq!(sync.tables(), ["raw_orders"]);
    let read: Vec<_> = rig.s3.requests().into_iter().filter(|request| request.op == Op::Get).collect();
    assert!(read.iter().all(|request| request.key.starts_with("raw_orders/")), "{read:#?}");

    let (code, text) = status(&rig.client.sync(&["orders"], &[]).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("tables include a pattern orders with no matches"), "{text}");
    let (_, text) = status(&rig.client.sync(&["*"], &["*"]).await);
    assert!(text.contains("no tables specified for syncing, review `tables` and `skip_tables`"), "{text}");
    let names = |schemas: Vec<arrow::datatypes::SchemaRef>| -> Vec<String> {
        schemas.iter().map(|schema| schema.metadata()["cq:table_name"].clone()).collect()
    };
    assert_eq!(names(rig.client.tables(&["*users"], &[]).await.unwrap()), ["raw_users", "users"]);

    // An empty bucket is no error for `*`.
    rig.s3.bucket("empty");
    let sync = rig.sync(json!({"bucket": "empty"})).await;
    assert_protocol(&sync);
    assert!(sync.messages.is_empty());
    let warnings = rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(warnings[0].contains("skip_tables include a pattern nothing* with no matches"), "{warnings:?}");
    assert!(warnings[1].contains("there is no table"), "{warnings:?}");
}

#[tokio::test]
async fn test_connection_lists_one_page_and_reads_one_byte() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/0.parquet", "");
    for n in 1..=30 {
        rig.s3.put(&format!("t/{n}.parquet"), small("a"));
    }
    rig.s3.set_page_keys(10);
    assert_eq!(rig.failure(json!({})).await, None);
    let requests = rig.s3.requests();
    let [list, get] = &requests[..] else { panic!("{requests:#?}") };
    assert_eq!((list.op, get.op, get.bytes_sent), (Op::List, Op::Get, 1));
    assert_eq!(rig.failure(json!({"path_prefix": "nothing/here"})).await, None);

    let (code, text) = rig.failure(json!({"bucket": null, "concurency": 5})).await.unwrap();
    assert_eq!(code, "INVALID_SPEC");
    assert!(text.contains("bucket") && text.contains("concurency") && text.contains("concurrency"), "{text}");
    let (code, text) = rig.failure(json!({"bucket": "no-such-bucket"})).await.unwrap();
    assert!(code == "BUCKET_NOT_FOUND" && text.contains("no-such-bucket"), "{code} {text}");

    use testkit::s3_server::Action;
    rig.s3.on_get(|_, _| Some(Action::Status(403, "AccessDenied")));
    let (code, text) = rig.failure(json!({})).await.unwrap();
    assert!(code == "ACCESS_DENIED" && text.contains("allow s3:GetObject on arn:aws:s3:::test-bucket/t/"), "{text}");
    rig.s3.on_list(|_| Some(Action::Status(403, "AccessDenied")));
    let (code, text) = rig.failure(json!({})).await.unwrap();
    assert!(code == "ACCESS_DENIED" && text.contains("allow s3:ListBucket on arn:aws:s3:::test-bucket"), "{text}");
}

#[tokio::test]
async fn a_row_above_100_mib_is_an_error_that_names_it() {
    let mut rig = Rig::start().await;
    let long = "x".repeat(101 << 20);
    let texts = StringArray::from(vec!["short", long.as_str(), "short"]);
    let batch = files::batch_of(vec![("text", false, Arc::new(texts) as ArrayRef)]);
    let layout = files::Layout { dictionary: false, compression: Compression::SNAPPY, ..files::Layout::default() };
    rig.s3.put("t/long.parquet", files::write_batch(&batch, &layout));
    rig.s3.put("u/a.parquet", versioned("a", 10, 16, None));
    let sync = rig.sync(json!({})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("s3://test-bucket/t/long.parquet: row 1 takes"), "{error}");
    assert_eq!(sync.rows("u"), 10);
    assert_eq!(status(&sync).0, Code::DataLoss);
}

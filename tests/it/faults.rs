//! S3 misbehaves or changes under the sync: what is tried again, what is read anew, what ends in an error.

use crate::rig::{self, Rig, assert_rows, expected, overwritten, small, spec, versioned};
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use testkit::client::{Collected, assert_protocol};
use testkit::faults::{FaultServer, Reply};
use testkit::s3_server::{Action, DEFAULT_BUCKET, ObjectAttributes};
use tonic::Code;

/// Rows in a row group of [`large`].
const GROUP: usize = 64;

/// Row groups of 9 MiB, too large for two of them to be read with one GET.
fn large(origin: &str, groups: usize) -> Bytes {
    versioned(origin, groups * GROUP, 144 << 10, Some(GROUP))
}

/// A second small object that does not fit into the reserve beside the first one: 5 MiB.
fn medium(origin: &str, rows: usize) -> Bytes {
    versioned(origin, rows, 16 << 10, Some(64))
}

const MEDIUM_ROWS: usize = 320;

/// The status of a sync that ended with one.
fn status(collected: &Collected) -> (Code, &str) {
    let status = collected.status.as_ref().expect("the sync should have failed");
    (status.code(), status.message())
}

#[tokio::test]
async fn throttling_is_waited_out_without_a_word() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", small("a"));
    rig.s3.on_list(|nth| (nth == 1).then_some(Action::Status(503, "SlowDown")));
    rig.s3.on_get(|_, nth| match nth {
        1 => Some(Action::Status(503, "SlowDown")),
        2 => Some(Action::Status(500, "InternalError")),
        _ => None,
    });
    let sync = rig.sync(json!({})).await;
    assert_rows(&sync, "t", expected("a", 100));
    let log = rig.stop();
    log.assert_clean();
    let summary = log.summary();
    assert_eq!((&summary["retries"], &summary["lists"], &summary["gets"]), (&3.into(), &2.into(), &3.into()));
}

#[tokio::test]
async fn a_small_body_that_breaks_off_is_resumed_where_it_ended() {
    let mut rig = Rig::start().await;
    let file = versioned("a", 1_000, 1_000, None);
    let last = file.len() - 1;
    let etag = rig.s3.put("t/a.parquet", file);
    rig.s3.on_get(|_, nth| match nth {
        1 => Some(Action::CutBodyAfter(300_000)),
        2 => Some(Action::CutBodyAfter(200_000)),
        _ => None,
    });
    let sync = rig.sync(json!({})).await;
    assert_rows(&sync, "t", expected("a", 1_000));
    let gets = rig.s3.gets_of("t/a.parquet");
    let ranges: Vec<_> = gets.iter().map(|get| get.range.as_deref().unwrap_or("")).collect();
    assert_eq!(ranges, ["", &format!("bytes=300000-{last}"), &format!("bytes=500000-{last}")]);
    assert!(gets.iter().all(|get| get.if_match.as_deref() == Some(&etag)), "{gets:#?}");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_range_that_breaks_off_is_resumed_where_it_ended() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("a", 3));
    // 1: footer, then three row groups.
    rig.s3.on_get(|_, nth| (nth == 3).then_some(Action::CutBodyAfter(500_000)));
    let sync = rig.sync(json!({})).await;
    assert_rows(&sync, "t", expected("a", 3 * GROUP));
    let gets = rig.s3.gets_of("t/a.parquet");
    assert_eq!(gets.len(), 1 + 3 + 1, "{gets:#?}");
    let bounds = |nth: usize| -> (u64, u64) {
        let range = gets[nth - 1].range.as_ref().unwrap().strip_prefix("bytes=").unwrap().to_owned();
        let (first, last) = range.split_once('-').unwrap();
        (first.parse().unwrap(), last.parse().unwrap())
    };
    let resumed = (4..=gets.len()).map(bounds).find(|(_, last)| *last == bounds(3).1);
    assert_eq!(resumed.map(|(first, _)| first), Some(bounds(3).0 + 500_000));
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_small_object_replaced_before_it_is_read_comes_in_its_new_version() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", small("old"));
    let new = versioned("new", 50, 16, None);
    rig.s3.on_get(move |_, nth| (nth == 1).then(|| Action::ReplaceObjectFirst(new.clone())));
    let sync = rig.sync(json!({})).await;
    assert_rows(&sync, "t", expected("new", 50));
    let statuses: Vec<u16> = rig.s3.gets_of("t/a.parquet").iter().map(|get| get.status).collect();
    assert_eq!(statuses[..1], [412]);
    assert!(statuses.len() <= 4, "{statuses:?}");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_small_object_beyond_the_reserve_replaced_between_footer_and_data_is_read_anew() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", medium("first", MEDIUM_ROWS));
    rig.s3.put("t/2.parquet", medium("old", MEDIUM_ROWS));
    let new = medium("new", 200);
    rig.s3.on_get(move |key, nth| (key == "t/2.parquet" && nth == 2).then(|| Action::ReplaceObjectFirst(new.clone())));
    let sync = rig.sync(json!({"memory_limit": "32MiB", "concurrency": 1})).await;
    assert_protocol(&sync);
    let mut all = expected("first", MEDIUM_ROWS);
    all.extend(expected("new", 200));
    all.sort();
    assert_eq!(overwritten(&sync, "t"), all);
    let gets = rig.s3.gets_of("t/2.parquet");
    // Footer of the old version, 412, footer of the new one, all of it.
    assert_eq!(gets.iter().map(|get| get.status).collect::<Vec<_>>(), [206, 412, 206, 200]);
    assert_eq!(rig.s3.gets_of("t/1.parquet").len(), 1);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_large_object_replaced_in_the_middle_is_never_a_mix_of_versions() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("old", 4));
    let new = large("new", 5);
    // Before the third of four GETs of row groups.
    rig.s3.on_get(move |_, nth| (nth == 4).then(|| Action::ReplaceObjectFirst(new.clone())));
    let sync = rig.sync(json!({})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(overwritten(&sync, "t"), expected("new", 5 * GROUP));
    assert_eq!(sync.errors(), []);
    // The old version's rows came first and are overwritten, none of them comes after one of the new version.
    let versions: Vec<String> = sync.batches("t").iter().map(|batch| origin(batch)).collect();
    let first_new = versions.iter().position(|origin| origin == "new").unwrap();
    assert!(first_new > 0, "the test replaced it too early");
    assert!(versions[first_new..].iter().all(|origin| origin == "new"));
    let log = rig.stop();
    let [warning] = &log.of_level("warn")[..] else { panic!("{:?}", log.of_level("warn")) };
    assert!(warning.to_string().contains("rows_sent_again"), "{warning}");
    assert_eq!(log.of_level("error").len(), 0);
}

fn origin(batch: &arrow::array::RecordBatch) -> String {
    use arrow::array::AsArray as _;
    batch.column_by_name("origin").unwrap().as_string::<i32>().value(0).to_owned()
}

#[tokio::test]
async fn an_object_that_never_rests_is_an_error_that_says_so() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("0", 2));
    rig.s3.put("t/b.parquet", small("b"));
    let versions: Vec<Bytes> = (1..=9).map(|n| large(&n.to_string(), 2)).collect();
    let next = AtomicU64::new(0);
    // Replaced before every GET but the first: whatever ETag the footer had, the data has another one.
    rig.s3.on_get(move |key, nth| {
        (key == "t/a.parquet" && nth >= 2).then(|| {
            let version = next.fetch_add(1, Ordering::SeqCst) as usize;
            Action::ReplaceObjectFirst(versions[version % versions.len()].clone())
        })
    });
    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::DataLoss, "{text}");
    let [(table, error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert_eq!(table, "t");
    assert!(error.contains("s3://test-bucket/t/a.parquet"), "{error}");
    assert!(error.contains("replaced 4 times while it was read"), "{error}");
    assert!(text.contains(error), "{text}");
    assert_eq!(overwritten(&sync, "t"), expected("b", 100), "the other object was sent");
    let log = rig.stop();
    assert_eq!(log.of_level("error").len(), 1, "{:?}", log.of_level("error"));
}

#[tokio::test]
async fn a_new_version_with_fewer_rows_than_were_sent_is_an_error() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("old", 4));
    let new = versioned("new", 10, 16, None);
    rig.s3.on_get(move |_, nth| (nth == 4).then(|| Action::ReplaceObjectFirst(new.clone())));
    let sync = rig.sync(json!({})).await;
    assert_eq!(status(&sync).0, Code::DataLoss);
    let [(_, error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("s3://test-bucket/t/a.parquet"), "{error}");
    assert!(error.contains("the new one has only 10") && error.contains("sync again"), "{error}");
}

#[tokio::test]
async fn a_new_version_with_other_columns_is_an_error() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("old", 2));
    let new = testkit::parquet_files::flat(10, 1);
    rig.s3.on_get(move |_, nth| (nth == 2).then(|| Action::ReplaceObjectFirst(new.clone())));
    let sync = rig.sync(json!({})).await;
    assert_eq!(status(&sync).0, Code::DataLoss);
    let [(_, error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("s3://test-bucket/t/a.parquet: column \"row\": it is missing in this file"), "{error}");
}

#[tokio::test]
async fn item_77_objects_deleted_after_they_were_listed_are_a_warning() {
    let mut rig = Rig::start().await;
    for key in ["t/1.parquet", "t/2.parquet", "gone/3.parquet"] {
        rig.s3.put(key, small(key));
    }
    rig.s3.put("u/large.parquet", large("large", 2));
    rig.s3.on_get(|key, nth| {
        let deleted = match key {
            "t/2.parquet" | "gone/3.parquet" => nth == 1,
            "u/large.parquet" => nth == 2, // its footer was read
            _ => false,
        };
        deleted.then_some(Action::DeleteFirst)
    });
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(sync.errors(), []);
    assert_eq!(overwritten(&sync, "t"), expected("t/1.parquet", 100));
    assert_eq!((sync.tables(), sync.rows("u")), (vec!["t".to_owned(), "u".to_owned()], 0));
    let log = rig.stop();
    assert_eq!(log.of_level("error"), Vec::<String>::new());
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    for key in ["t/2.parquet", "gone/3.parquet", "u/large.parquet"] {
        assert!(warnings.iter().any(|line| line.contains(key) && line.contains("deleted")), "{warnings:#?}");
    }
    assert_eq!(log.summary()["gone"], 3);
}

#[tokio::test]
async fn item_77_so_is_one_deleted_after_some_of_its_rows_were_sent() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", large("a", 4));
    rig.s3.on_get(|_, nth| (nth == 4).then_some(Action::DeleteFirst));
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    let rows = sync.rows("t");
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(
        error.contains(&format!("s3://test-bucket/t/a.parquet was deleted while it was read, after {rows}")),
        "{error}"
    );
    assert!(rows > 0 && rows < 4 * GROUP, "{rows}");
    let log = rig.stop();
    let [warning] = &log.of_level("warn")[..] else { panic!("{:?}", log.of_level("warn")) };
    let warning: serde_json::Value = serde_json::from_str(warning).unwrap();
    assert_eq!((&warning["key"], &warning["rows_sent"]), (&"t/a.parquet".into(), &rows.into()));
    assert!(warning["message"].to_string().contains("deleted while it was read"), "{warning}");
    assert_eq!(log.summary()["gone"], 1);
}

#[tokio::test]
async fn without_an_etag_in_the_listing_the_first_one_seen_binds_all_reads() {
    let mut rig = Rig::start().await;
    let bare = || ObjectAttributes { no_etag_in_listing: true, ..ObjectAttributes::default() };
    rig.s3.put_with("t/a.parquet", small("a"), bare());
    let etag = rig.s3.put_with("u/b.parquet", large("b", 2), bare());
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!((sync.rows("t"), sync.rows("u")), (100, 2 * GROUP));
    let gets = rig.s3.gets_of("u/b.parquet");
    assert_eq!(gets[0].if_match, None);
    assert!(gets[1..].iter().all(|get| get.if_match.as_deref() == Some(&etag)), "{gets:#?}");
    assert_eq!(rig.s3.gets_of("t/a.parquet").len(), 1);
    rig.stop().assert_clean();
}

/// A server of one object, whose GETs are answered by `script`, which sees how many there were before.
async fn one_object(
    listed: (&'static str, usize),
    script: impl Fn(&testkit::faults::Request, u64) -> Reply + Send + Sync + 'static,
) -> FaultServer {
    let gets = AtomicU64::new(0);
    FaultServer::start(move |request, _| {
        if request.is_list() {
            return Reply::listing(DEFAULT_BUCKET, &[("t/a.parquet", listed.0, listed.1)]);
        }
        script(request, gets.fetch_add(1, Ordering::SeqCst) + 1)
    })
    .await
}

#[tokio::test]
async fn a_server_that_ignores_if_match_is_caught_by_its_etags() {
    let (old, new) = (large("old", 3), large("new", 4));
    let len = old.len();
    // It changes in the middle of the data.
    let s3 = one_object(("old", len), move |request, nth| match nth {
        1..=3 => Reply::object(request, "old", &old),
        _ => Reply::object(request, "new", &new),
    })
    .await;
    let (plugin, mut client) = rig::plugin().await;
    client.init(&spec(&s3.endpoint(), json!({}))).await.unwrap();
    let sync = client.sync(&["*"], &[]).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(overwritten(&sync, "t"), expected("new", 4 * GROUP));
    let log = rig::Log::of(plugin);
    assert_eq!((log.of_level("warn").len(), log.of_level("error").len()), (1, 0), "rows are sent again");
}

#[tokio::test]
async fn an_answer_with_another_range_than_asked_for_is_not_taken() {
    let file = large("a", 3);
    let len = file.len();
    let wrong = format!("bytes 0-99999/{len}");
    let s3 = one_object(("v", len), move |request, nth| match nth {
        2 => Reply::wrong_range("v", &wrong, file.slice(..100_000)),
        // A server that ignores Range altogether.
        4 => Reply::Full { status: 200, headers: vec![("etag".into(), "\"v\"".into())], body: file.clone() },
        _ => Reply::object(request, "v", &file),
    })
    .await;
    let (plugin, mut client) = rig::plugin().await;
    client.init(&spec(&s3.endpoint(), json!({}))).await.unwrap();
    let sync = client.sync(&["*"], &[]).await;
    assert_rows(&sync, "t", expected("a", 3 * GROUP));
    let log = rig::Log::of(plugin);
    log.assert_clean();
    assert_eq!(log.summary()["retries"], 2);
}

#[tokio::test]
async fn sizes_come_from_the_answers_when_the_listing_is_wrong() {
    for listed in [50 << 20, 100] {
        let file = large("a", 1);
        let s3 = one_object(("v", listed), move |request, _| Reply::object(request, "v", &file)).await;
        let (plugin, mut client) = rig::plugin().await;
        client.init(&spec(&s3.endpoint(), json!({}))).await.unwrap();
        let sync = client.sync(&["*"], &[]).await;
        assert_protocol(&sync);
        assert_eq!(overwritten(&sync, "t"), expected("a", GROUP), "listed with {listed} bytes");
        rig::Log::of(plugin).assert_clean();
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_ends_the_sync() {
    let mut rig = Rig::start().await;
    let sync = rig.sync(json!({"bucket": "no-such-bucket"})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::NotFound, "{text}");
    assert!(text.contains("ListObjectsV2 of s3://no-such-bucket") && text.contains("NoSuchBucket"), "{text}");
    assert!(text.contains("check `bucket`"), "{text}");
}

#[tokio::test]
async fn a_denied_listing_names_the_action_and_the_bucket() {
    let mut rig = Rig::start().await;
    rig.s3.on_list(|_| Some(Action::Status(403, "AccessDenied")));
    let sync = rig.sync(json!({"path_prefix": "raw/"})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(text.contains("allow s3:ListBucket on arn:aws:s3:::test-bucket"), "{text}");
    assert!(!text.contains("arn:aws:s3:::test-bucket/"), "ListBucket is granted on the bucket: {text}");
}

#[tokio::test]
async fn a_denied_object_is_in_error_and_the_others_are_sent() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", small("a"));
    rig.s3.put("t/b.parquet", small("b"));
    rig.s3.on_get(|key, _| (key == "t/b.parquet").then_some(Action::Status(403, "AccessDenied")));
    let sync = rig.sync(json!({})).await;
    let (code, text) = status(&sync);
    assert_eq!(code, Code::DataLoss, "{text}");
    assert!(text.contains("All else was sent, but"), "{text}");
    assert_eq!(overwritten(&sync, "t"), expected("a", 100));
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("GetObject of s3://test-bucket/t/b.parquet"), "{error}");
    assert!(error.contains("allow s3:GetObject on arn:aws:s3:::test-bucket/t/b.parquet"), "{error}");
    assert_eq!(rig.s3.gets_of("t/b.parquet").len(), 1, "asking again would not help");
}

#[tokio::test]
async fn a_missing_permission_for_the_key_names_kms_decrypt() {
    let s3 = one_object(("v", 5_000), |_, _| {
        Reply::s3_error(403, "AccessDenied", "User: x is not authorized to perform: kms:Decrypt on resource: y")
    })
    .await;
    let (_plugin, mut client) = rig::plugin().await;
    let spec = spec(&s3.endpoint(), json!({}));
    client.init(&spec).await.unwrap();
    let sync = client.sync(&["*"], &[]).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    let advice = "allow kms:Decrypt on the key that encrypts s3://test-bucket/t/a.parquet";
    assert!(error.contains(advice), "{error}");
    let (code, text) = rig::failure(&mut client, &spec).await.unwrap();
    assert!(code == "ACCESS_DENIED" && text.contains(advice), "{code} {text}");
}

#[tokio::test]
async fn unknown_credentials_end_the_sync_and_are_not_repeated() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", small("a"));
    rig.s3.require_credentials("AKIAGOOD", "right");
    let bad_secret = json!({"credentials": {"access_key_id": "AKIAGOOD", "secret_access_key": "hush"}});
    for (more, s3_code) in [(json!({}), "InvalidAccessKeyId"), (bad_secret, "SignatureDoesNotMatch")] {
        let sync = rig.sync(more.clone()).await;
        let (code, text) = status(&sync);
        assert_eq!(code, Code::Unauthenticated, "{text}");
        assert!(text.contains(s3_code) && text.contains("check the credentials"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        let (code, text) = rig.failure(more).await.unwrap();
        assert!(code == "UNAUTHORIZED" && text.contains(s3_code), "{code} {text}");
    }
    assert_eq!(rig.s3.counts().http_requests, 4, "one request each: asking again would not help");
    let good = json!({"credentials": {"access_key_id": "AKIAGOOD", "secret_access_key": "right"}});
    assert_eq!(rig.sync(good.clone()).await.rows("t"), 100);
    assert_eq!(rig.failure(good).await, None);
}

#[tokio::test]
async fn the_region_of_the_spec_is_binding_and_a_wrong_one_is_named() {
    let mut rig = Rig::start().await;
    let far = rig.s3.bucket("far");
    far.set_region("eu-central-1");
    far.put("t/a.parquet", small("a"));
    let wrong = json!({"bucket": "far"});
    let (code, text) = rig.failure(wrong.clone()).await.unwrap();
    assert!(code == "WRONG_REGION" && text.contains("set `region: eu-central-1`"), "{code} {text}");
    let sync = rig.sync(wrong).await;
    let (code, text) = status(&sync);
    assert!(code == Code::InvalidArgument && text.contains("set `region: eu-central-1`"), "{code} {text}");

    let open = json!({"bucket": "far", "region": null});
    assert_eq!(rig.failure(open.clone()).await, None);
    let sync = rig.sync(open).await;
    assert_rows(&sync, "t", expected("a", 100));
    assert_eq!(rig.client.tables(&["*"], &[]).await.unwrap().len(), 1);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_unreachable_at_once() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let (_plugin, mut client) = rig::plugin().await;
    let started = std::time::Instant::now();
    let (code, text) = rig::failure(&mut client, &spec(&endpoint, json!({}))).await.unwrap();
    assert_eq!(code, "UNREACHABLE", "{text}");
    assert!(text.contains("tried 3 times") && text.contains("check `endpoint`"), "{text}");
    assert!(started.elapsed().as_secs() < 10, "somebody waits at a terminal: {:?}", started.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_only_fails_is_given_up_with_its_last_answer() {
    let s3 = FaultServer::start(|_, _| Reply::s3_error(503, "SlowDown", "Please reduce your request rate.")).await;
    let (_plugin, mut client) = rig::plugin().await;
    let (code, text) = rig::failure(&mut client, &spec(&s3.endpoint(), json!({}))).await.unwrap();
    assert_eq!(code, "UNREACHABLE", "{text}");
    assert!(text.contains("SlowDown (HTTP 503): Please reduce your request rate"), "{text}");
    assert!(text.contains("tried 3 times"), "{text}");
    assert_eq!(s3.requests().len(), 3);
}

//! Servers that speak S3 nearly as Amazon does: what they leave out, refuse or answer otherwise costs no row, and what
//! cannot be right is said at once.

use crate::rig::{self, Log, Rig, assert_rows, expected, overwritten, small, spec, state_request, versioned};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, assert_protocol};
use testkit::faults::{FaultServer, Reply, Request};
use tonic::Code;

/// A listing's page: keys with ETags and sizes as they stand in the XML, and what else the answer says.
fn page(objects: &[(&str, &str, usize)], more: &str) -> Reply {
    let mut body = format!("<ListBucketResult><Name>test-bucket</Name><Prefix></Prefix>{more}");
    for (key, etag, bytes) in objects {
        body.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>{etag}</ETag>\
             <Size>{bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        ));
    }
    body.push_str("</ListBucketResult>");
    Reply::ok(body)
}

/// One sync of a bucket behind `server` in a plugin of its own, and what the plugin said.
async fn sync(server: &FaultServer) -> (Collected, Log) {
    let (plugin, mut client) = rig::plugin().await;
    client.init(&spec(&server.endpoint(), json!({}))).await.unwrap();
    let collected = client.sync(&["*"], &[]).await;
    (collected, Log::of(plugin))
}

/// The listings among the requests.
fn lists(server: &FaultServer) -> Vec<Request> {
    server.requests().into_iter().filter(Request::is_list).collect()
}

#[tokio::test]
async fn etags_are_the_same_with_and_without_quotes() {
    for (listed, read) in [("v1", "\"v1\""), ("W/&quot;v1&quot;", "\"v1\""), ("&quot;v1&quot;", "W/\"v1\"")] {
        let file = small("a");
        let (size, body) = (file.len(), file.clone());
        let s3 = FaultServer::start(move |request, _| {
            if request.is_list() {
                return page(&[("t/a.parquet", listed, size)], "<IsTruncated>false</IsTruncated>");
            }
            // As strict as Amazon: what is compared is what stands between the quotes, and nothing weak matches.
            if request.headers.get("if-match").is_some_and(|condition| condition != "\"v1\"") {
                return Reply::s3_error(412, "PreconditionFailed", "no");
            }
            match Reply::object(request, "v1", &body) {
                Reply::Full { status, mut headers, body } => {
                    headers.retain(|(name, _)| name != "etag");
                    headers.push(("etag".to_owned(), read.to_owned()));
                    Reply::Full { status, headers, body }
                }
                other => other,
            }
        })
        .await;
        let backend = Backend::start(Mode::Upsert).await;
        let (plugin, mut client) = rig::plugin().await;
        client.init(&spec(&s3.endpoint(), json!({}))).await.unwrap();
        let first = client.sync_with(state_request(&backend, None), |message| backend.store(message)).await;
        assert_rows(&first, "t", expected("a", 100));
        assert_eq!(s3.requests().len(), 2, "{listed}: a listing and a GET");
        let second = client.sync_with(state_request(&backend, None), |_| {}).await;
        assert_eq!(second.rows("t"), 0, "{listed}: it is done");
        Log::of(plugin).assert_clean();
    }
}

/// What the survey read of a large object is not kept: nothing would tell that the rows are another version's.
#[tokio::test]
async fn without_etags_a_large_object_is_looked_at_again_before_its_rows_are_read() {
    let (old, new) = (versioned("old", 10_000, 1_024, Some(1_000)), versioned("new", 11_000, 1_024, Some(1_000)));
    let (size, gets) = (old.len(), AtomicUsize::new(0));
    let s3 = FaultServer::start(move |request, _| {
        if request.is_list() {
            return page(&[("t/a.parquet", "", size)], "<IsTruncated>false</IsTruncated>");
        }
        let version = if gets.fetch_add(1, Ordering::SeqCst) == 0 { &old } else { &new };
        match Reply::object(request, "", version) {
            Reply::Full { status, mut headers, body } => {
                headers.retain(|(name, _)| name != "etag");
                Reply::Full { status, headers, body }
            }
            other => other,
        }
    })
    .await;
    let (collected, log) = sync(&s3).await;
    assert_rows(&collected, "t", expected("new", 11_000));
    log.assert_clean();
}

#[tokio::test]
async fn a_listing_that_leads_nowhere_is_an_error_at_once() {
    let token =
        |token: &str| format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>");
    let cases = [
        (vec!["<IsTruncated>true</IsTruncated>".to_owned()], "IsTruncated true without a NextContinuationToken", 1),
        (vec![token("one")], "NextContinuationToken \"one\" for the second time", 2),
        (vec![token("one"), token("two")], "NextContinuationToken \"one\" for the second time", 3),
    ];
    for (answers, text, requests) in cases {
        let turns = answers.clone();
        let s3 = FaultServer::start(move |_, nth| {
            page(&[("t/a.parquet", "v", 10)], &turns[(nth as usize - 1) % turns.len()])
        })
        .await;
        let (collected, _) = sync(&s3).await;
        let status = collected.status.expect("no whole listing");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("ListObjectsV2 of s3://test-bucket failed"), "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
        assert_eq!(s3.requests().len(), requests, "{answers:?}");
    }
}

#[tokio::test]
async fn a_page_that_names_the_next_one_is_not_the_last() {
    let file = small("a");
    let size = file.len();
    let s3 = FaultServer::start(move |request, _| {
        match (request.is_list(), request.target.contains("continuation-token")) {
            (true, false) => page(&[("t/a.parquet", "v", size)], "<NextContinuationToken>more</NextContinuationToken>"),
            (true, true) => page(&[("t/b.parquet", "v", size)], "<IsTruncated>false</IsTruncated>"),
            (false, _) => Reply::object(request, "v", &file),
        }
    })
    .await;
    let (collected, _) = sync(&s3).await;
    assert_protocol(&collected);
    assert_eq!(collected.rows("t"), 200);
}

#[tokio::test]
async fn a_key_that_is_listed_twice_is_read_once() {
    let file = small("a");
    let size = file.len();
    let s3 = FaultServer::start(move |request, _| {
        match (request.is_list(), request.target.contains("continuation-token")) {
            (true, false) => page(
                &[("t/a.parquet", "v", size), ("t/b.parquet", "v", size), ("t/b.parquet", "v", size)],
                "<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>",
            ),
            (true, true) => page(
                &[("t/a.parquet", "v", size), ("t/b.parquet", "v", size), ("t/c.parquet", "v", size)],
                "<IsTruncated>false</IsTruncated>",
            ),
            (false, _) => Reply::object(request, "v", &file),
        }
    })
    .await;
    let (collected, _) = sync(&s3).await;
    assert_protocol(&collected);
    assert_eq!(collected.rows("t"), 300);
    assert_eq!(s3.requests().len(), 2 + 3);
}

#[tokio::test]
async fn what_a_server_refuses_of_a_listing_is_left_out() {
    for (status, refused, first_page_requests) in [
        (400, &["x-amz-optional-object-attributes"][..], 2),
        (405, &["encoding-type"], 3),
        (501, &["x-amz-optional-object-attributes", "encoding-type"], 3),
    ] {
        let file = small("a");
        let size = file.len();
        let s3 = FaultServer::start(move |request, _| {
            let has = |name: &&str| request.headers.contains_key(*name) || request.target.contains(*name);
            match (request.is_list(), request.target.contains("continuation-token")) {
                (true, _) if refused.iter().any(has) => Reply::s3_error(status, "UnknownThing", "what is that?"),
                (true, false) => page(
                    &[("t/a.parquet", "v", size)],
                    "<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>",
                ),
                (true, true) => page(&[("t/b.parquet", "v", size)], "<IsTruncated>false</IsTruncated>"),
                (false, _) => Reply::object(request, "v", &file),
            }
        })
        .await;
        let (collected, log) = sync(&s3).await;
        assert_protocol(&collected);
        assert_eq!(collected.rows("t"), 200, "{refused:?}");
        assert_eq!(lists(&s3).len(), first_page_requests + 1, "{refused:?}: asked for on the first page only");
        log.assert_clean();
    }
}

#[tokio::test]
async fn a_listing_that_is_refused_whatever_is_asked_says_why() {
    let s3 = FaultServer::start(|_, _| Reply::s3_error(400, "InvalidBucketName", "The bucket is not valid.")).await;
    let (collected, _) = sync(&s3).await;
    let status = collected.status.unwrap();
    assert!(status.message().contains("InvalidBucketName (HTTP 400): The bucket is not valid"), "{status:?}");
    assert_eq!(s3.requests().len(), 3);
}

/// Keys that XML cannot say, or that look as if they were encoded.
const ODD_KEYS: [&str; 6] =
    ["t/100%.parquet", "t/%41.parquet", "t/a+b c.parquet", "t/ü&<>\"'.parquet", "t/🦀.parquet", "t/a%2Bb.parquet"];

#[tokio::test]
async fn odd_keys_are_read_in_url_encoding_and_without() {
    for ignores in [false, true] {
        let mut rig = Rig::start().await;
        rig.s3.set_ignores_encoding_type(ignores);
        rig.s3.set_page_keys(2);
        // XML 1.0 has no way to write these.
        let control = ["t/\u{17}.parquet", "t/\u{1}\u{2}.parquet"];
        let keys: Vec<&str> = ODD_KEYS.into_iter().chain(control.into_iter().filter(|_| !ignores)).collect();
        for key in &keys {
            rig.s3.put(key, small(key));
        }
        let sync = rig.sync(json!({"file_columns": true})).await;
        assert_protocol(&sync);
        let mut seen: Vec<String> = overwritten(&sync, "t").into_iter().map(|(_, origin)| origin).collect();
        seen.sort();
        seen.dedup();
        let mut keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        keys.sort();
        assert_eq!(seen, keys);
        assert_eq!(sync.rows("t"), keys.len() * 100);
        rig.stop().assert_clean();
    }
}

#[tokio::test]
async fn an_object_whose_key_cannot_be_listed_is_no_deleted_one() {
    // A character that the server replaced, and a byte that is no UTF-8.
    for (key, encoding) in [("t/\u{fffd}.parquet", ""), ("t/caf%E9.parquet", "<EncodingType>url</EncodingType>")] {
        let file = small("a");
        let size = file.len();
        let s3 =
            FaultServer::start(move |request, _| match (request.is_list(), request.path().ends_with("/t/a.parquet")) {
                (true, _) => page(&[("t/a.parquet", "v", size), (key, "v", size)], encoding),
                (false, true) => Reply::object(request, "v", &file),
                (false, false) => Reply::s3_error(404, "NoSuchKey", "The specified key does not exist."),
            })
            .await;
        let (collected, _) = sync(&s3).await;
        assert_eq!(overwritten(&collected, "t"), expected("a", 100));
        let [("t", error)] = collected.errors()[..] else { panic!("{key}: {:?}", collected.errors()) };
        assert!(error.contains("NoSuchKey (HTTP 404)") && error.contains("give the object another key"), "{error}");
        assert_eq!(collected.status.unwrap().code(), Code::DataLoss);
    }
}

/// A server whose clock is `ahead_s` seconds ahead of ours (behind, if negative), and that tells the time if `tells`.
async fn server_with_clock(ahead_s: i64, tells: bool) -> FaultServer {
    let file: Bytes = small("a");
    FaultServer::start(move |request, _| {
        let now = DateTime::from(SystemTime::now()).secs() + ahead_s;
        let answer = match request.headers.get("x-amz-date").and_then(|date| signed_at(date)) {
            Some(signed_at) if (signed_at - now).abs() < 15 * 60 => match request.is_list() {
                true => Reply::listing("test-bucket", &[("t/a.parquet", "v", file.len())]),
                false => Reply::object(request, "v", &file),
            },
            _ => Reply::s3_error(
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
        };
        let date = DateTime::from_secs(now).fmt(Format::HttpDate).unwrap();
        match answer {
            Reply::Full { status, mut headers, body } if tells => {
                headers.push(("date".to_owned(), date));
                Reply::Full { status, headers, body }
            }
            other => other,
        }
    })
    .await
}

/// `20261128T053000Z` in seconds since 1970.
fn signed_at(date: &str) -> Option<i64> {
    let part = |range| date.get(range);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(9..11)?,
        part(11..13)?,
        part(13..15)?
    );
    Some(DateTime::from_str(&text, Format::DateTime).ok()?.secs())
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_by_s3_s() {
    for ahead_s in [2 * 3_600, -40 * 24 * 3_600] {
        let s3 = server_with_clock(ahead_s, true).await;
        let (collected, log) = sync(&s3).await;
        assert_rows(&collected, "t", expected("a", 100));
        assert_eq!(s3.requests().len(), 3, "one request to learn the time, a listing, a GET");
        log.assert_clean();
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_corrected_is_named() {
    let s3 = server_with_clock(2 * 3_600, false).await;
    let (collected, _) = sync(&s3).await;
    let status = collected.status.unwrap();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    assert!(status.message().contains("set the machine's clock"), "{status:?}");
    assert_eq!(s3.requests().len(), 2);
}

#[tokio::test]
async fn a_prefix_without_keys_says_so_and_what_is_next_to_it() {
    let mut rig = Rig::start().await;
    for key in ["raw/orders/a.parquet", "raw/users/a.parquet", "raw/Payments/a.parquet", "raw/x.parquet"] {
        rig.s3.put(key, small("a"));
    }
    let cases = [
        (
            "raw/order/",
            "0 keys were listed under s3://test-bucket/raw/order/; the folders in s3://test-bucket/raw/ are \
                        \\\"raw/orders/\\\", ",
            2,
        ),
        ("row/orders/", "there is no folder in s3://test-bucket/row/ either", 2),
        ("Raw/", "the folders in s3://test-bucket/ are \\\"raw/\\\"", 2),
        ("s3://test-bucket/raw/", "set `path_prefix: \\\"raw/\\\"`", 1),
        ("/raw/", "set `path_prefix: \\\"raw/\\\"`", 1),
    ];
    for (prefix, text, lists) in cases {
        rig.s3.reset_counts();
        let sync = rig.sync(json!({ "path_prefix": prefix })).await;
        assert_protocol(&sync);
        assert!(sync.messages.is_empty());
        assert_eq!(rig.s3.counts().lists, lists, "{prefix}");
        let warnings = rig.lines("warn");
        let last = warnings.last().unwrap().to_string();
        assert!(last.contains("there is no table") && last.contains(text), "{prefix}: {last}");
    }
    rig.init(json!({"path_prefix": "raw/order/"})).await;
    let status = rig.client.sync(&["orders"], &[]).await.status.unwrap();
    assert!(
        status.message().contains("tables include a pattern orders with no matches; 0 keys were listed"),
        "{status:?}"
    );
    assert_eq!(rig.stop().of_level("warn").len(), cases.len());
}

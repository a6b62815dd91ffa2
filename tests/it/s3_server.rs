//! The test servers do what the tests rely on, seen through the real AWS SDK.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ObjectStorageClass, OptionalObjectAttributes, RequestPayer};
use bytes::Bytes;
use std::fmt::Debug;
use std::time::{Duration, Instant, UNIX_EPOCH};
use testkit::faults::{FaultServer, Reply};
use testkit::s3_server::{Action, DEFAULT_BUCKET, ObjectAttributes, Op, Restore, S3Server};

fn client_as(endpoint: &str, access_key: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(access_key, secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn client(endpoint: &str) -> Client {
    client_as(endpoint, "any", "any")
}

/// Status and S3 code of a refused request.
fn refusal<E: ProvideErrorMetadata + Debug, T: Debug>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (u16, String) {
    let error = result.expect_err("the server should have refused");
    let status = error.raw_response().expect("an answer").status().as_u16();
    (status, error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn listing_has_pages_in_key_order_under_the_prefix() {
    let server = S3Server::start().await;
    server.set_page_keys(2);
    for key in ["a/3", "a/1", "b/1", "a/2", "a/Z ü+&", "A/0", "a//x"] {
        server.put(key, "x");
    }
    let client = client(&server.endpoint());
    let mut pages = client.list_objects_v2().bucket(DEFAULT_BUCKET).prefix("a/").into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.push(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(keys, [vec!["a//x", "a/1"], vec!["a/2", "a/3"], vec!["a/Z ü+&"]]);
    assert_eq!(server.counts().lists, 3);
    assert!(server.requests().iter().all(|request| request.op == Op::List && request.key == "a/"));

    let rest = client.list_objects_v2().bucket(DEFAULT_BUCKET).start_after("a/3").send().await.unwrap();
    let rest: Vec<_> = rest.contents().iter().map(|object| object.key().unwrap()).collect();
    assert_eq!(rest, ["a/Z ü+&", "b/1"]);
}

#[tokio::test]
async fn listing_shows_the_attributes_that_the_test_set() {
    let server = S3Server::start().await;
    server.put_with(
        "old",
        "12345",
        ObjectAttributes {
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            etag: Some("abc-2".to_owned()),
            storage_class: Some("GLACIER".to_owned()),
            restore: Restore::Until(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            ..ObjectAttributes::default()
        },
    );
    server.put_with("new", "", ObjectAttributes { no_etag_in_listing: true, ..ObjectAttributes::default() });
    let client = client(&server.endpoint());
    let listed = client
        .list_objects_v2()
        .bucket(DEFAULT_BUCKET)
        .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
        .send()
        .await
        .unwrap();
    let [new, old] = listed.contents() else { panic!("two objects: {listed:?}") };
    assert_eq!((new.e_tag(), new.size(), new.restore_status()), (None, Some(0), None));
    assert_eq!((old.e_tag(), old.size()), (Some("\"abc-2\""), Some(5)));
    assert_eq!(old.last_modified().unwrap().secs(), 1_700_000_000);
    assert_eq!(old.storage_class(), Some(&ObjectStorageClass::Glacier));
    let restore = old.restore_status().unwrap();
    assert_eq!(restore.is_restore_in_progress(), Some(false));
    assert_eq!(restore.restore_expiry_date().unwrap().secs(), 1_800_000_000);

    let plain = client.list_objects_v2().bucket(DEFAULT_BUCKET).send().await.unwrap();
    assert_eq!(plain.contents()[1].restore_status(), None, "only on request");
}

#[tokio::test]
async fn get_honours_ranges_and_counts_bytes() {
    let server = S3Server::start().await;
    let etag = server.put("digits", "0123456789");
    assert_eq!(etag, "781e5e245d69b566979b86e28d23f2c7", "the MD5 of the content");
    let client = client(&server.endpoint());
    let get = |range: &'static str| client.get_object().bucket(DEFAULT_BUCKET).key("digits").range(range).send();
    for (range, content_range, wanted) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-30", "bytes 0-9/10", "0123456789"),
        ("bytes=9-99", "bytes 9-9/10", "9"),
    ] {
        let got = get(range).await.unwrap();
        assert_eq!((got.content_range(), got.e_tag()), (Some(content_range), Some(format!("\"{etag}\"").as_str())));
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), wanted);
    }
    assert_eq!(refusal(get("bytes=10-").await), (416, "InvalidRange".to_owned()));
    server.put("empty", "");
    let empty = client.get_object().bucket(DEFAULT_BUCKET).key("empty").range("bytes=-1").send().await;
    assert_eq!(refusal(empty), (416, "InvalidRange".to_owned()));
    let counts = server.counts();
    assert_eq!((counts.gets, counts.bytes, counts.http_requests), (7, 3 + 2 + 3 + 10 + 1, 7));
    let ranges: Vec<_> = server.gets_of("digits").into_iter().map(|request| request.range.unwrap()).collect();
    assert_eq!(ranges[0..3], ["bytes=2-4", "bytes=8-", "bytes=-3"]);
    server.reset_counts();
    assert_eq!((server.counts(), server.requests()), Default::default());
}

#[tokio::test]
async fn refusals_have_the_codes_of_s3() {
    let server = S3Server::start().await;
    server.put("there", "x");
    let archived = ObjectAttributes { storage_class: Some("DEEP_ARCHIVE".to_owned()), ..ObjectAttributes::default() };
    server.put_with("frozen", "x", archived.clone());
    server.put_with("thawing", "x", ObjectAttributes { restore: Restore::InProgress, ..archived.clone() });
    server.put_with("thawed", "x", ObjectAttributes { restore: Restore::Until(UNIX_EPOCH), ..archived });
    let client = client(&server.endpoint());
    let get = |key: &str| client.get_object().bucket(DEFAULT_BUCKET).key(key).send();
    assert_eq!(refusal(get("nowhere").await), (404, "NoSuchKey".to_owned()));
    assert_eq!(refusal(get("frozen").await), (403, "InvalidObjectState".to_owned()));
    assert_eq!(refusal(get("thawing").await), (403, "InvalidObjectState".to_owned()));
    get("thawed").await.expect("a restored object can be read");
    let list = client.list_objects_v2().bucket("no-such-bucket").send().await;
    assert_eq!(refusal(list), (404, "NoSuchBucket".to_owned()));
    let other_version = client.get_object().bucket(DEFAULT_BUCKET).key("there").if_match("\"other\"").send().await;
    assert_eq!(refusal(other_version), (412, "PreconditionFailed".to_owned()));
    let last = server.requests().pop().unwrap();
    assert_eq!((last.if_match.as_deref(), last.status), (Some("other"), 412));
}

#[tokio::test]
async fn credentials_region_and_payer_are_checked_on_demand() {
    let server = S3Server::start().await;
    let paid = server.bucket("paid");
    paid.put("k", "x");
    paid.set_requester_pays(true);
    let list = |client: &Client, bucket: &str| client.list_objects_v2().bucket(bucket).send();
    let anyone = client(&server.endpoint());
    assert_eq!(refusal(list(&anyone, "paid").await), (403, "AccessDenied".to_owned()));
    anyone.list_objects_v2().bucket("paid").request_payer(RequestPayer::Requester).send().await.unwrap();
    assert!(server.requests().pop().unwrap().request_payer);

    server.bucket("far").set_region("eu-central-1");
    let elsewhere = list(&anyone, "far").await.expect_err("signed for us-east-1");
    let response = elsewhere.raw_response().unwrap();
    assert_eq!(response.status().as_u16(), 301);
    assert_eq!(response.headers().get("x-amz-bucket-region"), Some("eu-central-1"));

    server.require_credentials("good", "secret");
    list(&client_as(&server.endpoint(), "good", "secret"), DEFAULT_BUCKET).await.unwrap();
    assert_eq!(server.requests().pop().unwrap().access_key.as_deref(), Some("good"));
    let wrong_secret = list(&client_as(&server.endpoint(), "good", "guess"), DEFAULT_BUCKET).await;
    assert_eq!(refusal(wrong_secret), (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(refusal(list(&anyone, DEFAULT_BUCKET).await), (403, "InvalidAccessKeyId".to_owned()));
}

#[tokio::test]
async fn hooks_change_single_answers() {
    let server = S3Server::start().await;
    let first = server.put("k", "old content");
    server.on_get(|key, nth| match (key, nth) {
        ("k", 1) => Some(Action::Status(503, "SlowDown")),
        ("k", 2) => Some(Action::ReplaceObjectFirst(Bytes::from_static(b"new content"))),
        ("k", 4) => Some(Action::CutBodyAfter(3)),
        ("k", 5) => Some(Action::StallBodyAfter(3, Duration::from_millis(80))),
        ("k", 6) => Some(Action::DeleteFirst),
        _ => None,
    });
    server.on_list(|nth| (nth == 1).then_some(Action::Status(500, "InternalError")));
    let client = client(&server.endpoint());
    let get = || client.get_object().bucket(DEFAULT_BUCKET).key("k");
    assert_eq!(refusal(get().send().await), (503, "SlowDown".to_owned()));
    assert_eq!(refusal(get().if_match(first).send().await), (412, "PreconditionFailed".to_owned()));
    let third = get().send().await.unwrap().body.collect().await.unwrap().into_bytes();
    assert_eq!(third, "new content");
    get().send().await.unwrap().body.collect().await.expect_err("cut off after 3 bytes");
    let started = Instant::now();
    let fifth = get().send().await.unwrap().body.collect().await.unwrap().into_bytes();
    assert_eq!(fifth, "new content");
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(refusal(get().send().await), (404, "NoSuchKey".to_owned()));
    let list = || client.list_objects_v2().bucket(DEFAULT_BUCKET).send();
    assert_eq!(refusal(list().await), (500, "InternalError".to_owned()));
    list().await.expect("only the first listing fails");
}

#[tokio::test]
async fn latency_and_bandwidth_slow_a_get_down() {
    let server = S3Server::start().await;
    server.put("k", vec![7; 100_000]);
    server.set_get_latency(Duration::from_millis(50));
    server.set_get_bytes_per_second(Some(1_000_000));
    let client = client(&server.endpoint());
    let started = Instant::now();
    let got = client.get_object().bucket(DEFAULT_BUCKET).key("k").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().len(), 100_000);
    assert!(started.elapsed() >= Duration::from_millis(150), "50 ms and 100 ms, not {:?}", started.elapsed());
}

#[tokio::test]
async fn objects_come_and_go_over_http_and_the_server_ends_when_dropped() {
    let server = S3Server::start().await;
    let client = client(&server.endpoint());
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"hello");
    client.put_object().bucket(DEFAULT_BUCKET).key("k").body(body).send().await.unwrap();
    let head = client.head_object().bucket(DEFAULT_BUCKET).key("k").send().await.unwrap();
    assert_eq!((head.content_length(), head.e_tag()), (Some(5), Some("\"5d41402abc4b2a76b9719d911017c592\"")));
    let bucket = server.bucket(DEFAULT_BUCKET);
    assert_ne!(bucket.replace("k", "other"), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(bucket.keys(), ["k"]);
    client.delete_object().bucket(DEFAULT_BUCKET).key("k").send().await.unwrap();
    assert!(!bucket.delete("k"), "gone already");
    client.head_bucket().bucket(DEFAULT_BUCKET).send().await.unwrap();
    drop(server);
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.head_bucket().bucket(DEFAULT_BUCKET).send().await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn fault_server_breaks_what_the_script_says() {
    let content = Bytes::from_static(b"0123456789");
    let server = FaultServer::start(move |request, nth| match nth {
        1 if request.is_list() => Reply::listing("b", &[("k", "e1", 10)]),
        2 => Reply::object(request, "e1", &content),
        3 => Reply::cut_object(request, "e1", &content, 4),
        4 => Reply::stalled_object(request, "e1", &content, 4),
        5 => Reply::CloseBeforeHeaders,
        6 => Reply::Reset,
        7 => Reply::wrong_range("e1", "bytes 0-1/10", "01"),
        8 => Reply::s3_error(403, "AccessDenied", "no"),
        _ => Reply::Never,
    })
    .await;
    let client = client(&server.endpoint());
    let listed = client.list_objects_v2().bucket("b").send().await.unwrap();
    assert_eq!(listed.contents()[0].e_tag(), Some("\"e1\""));
    let get = || client.get_object().bucket("b").key("k").range("bytes=2-7").send();
    assert_eq!(get().await.unwrap().body.collect().await.unwrap().into_bytes(), "234567");
    get().await.unwrap().body.collect().await.expect_err("two bytes are missing");
    let stalled = get().await.unwrap().body.collect();
    tokio::time::timeout(Duration::from_millis(100), stalled).await.expect_err("the rest never comes");
    get().await.expect_err("closed before the headers");
    get().await.expect_err("reset");
    assert_eq!(get().await.unwrap().content_range(), Some("bytes 0-1/10"));
    assert_eq!(refusal(get().await), (403, "AccessDenied".to_owned()));
    tokio::time::timeout(Duration::from_millis(100), get()).await.expect_err("no answer");
    assert_eq!(server.requests().len(), 9);
    assert!(server.connections() >= 5, "a broken connection is not used again");
}

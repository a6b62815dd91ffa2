//! Whole syncs of a format that exists in tests alone ([`records`]): no row count, records that straddle steps.
//!
//! The format is no part of the program, so the source is called in this process, with the S3 server of the other tests
//! behind it: everything between a listing and the messages is what ships.

use crate::cloudquery::source::{Message, Selection, Source as _, SourceError, SyncRequest, sync_channel};
use crate::formats::records;
use crate::plugin::S3Source;
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use serde_json::json;
use std::collections::BTreeSet;
use testkit::s3_server::{Action, DEFAULT_BUCKET, S3Server};
use tokio_util::sync::CancellationToken;

/// Longer than a step is cut: with 32 MiB of memory a step aims at 4 MiB.
const LARGE_RECORD_BYTES: usize = 300_007;

/// A sync of everything: how it ended, its error messages, and the rows that arrived, in their order.
async fn sync(server: &S3Server) -> (Result<(), SourceError>, Vec<String>, Option<RecordBatch>) {
    sync_within(server, 32).await
}

/// The same with this much memory.
async fn sync_within(
    server: &S3Server,
    limit_mib: usize,
) -> (Result<(), SourceError>, Vec<String>, Option<RecordBatch>) {
    let spec = json!({
        "bucket": DEFAULT_BUCKET,
        "endpoint": server.endpoint(),
        "path_style": true,
        "region": "us-east-1",
        "credentials": {"access_key_id": "AKIATEST", "secret_access_key": "hush"},
        "memory_limit": format!("{limit_mib} MiB"),
        "file_columns": true,
    });
    let source = S3Source::new();
    let client = source.init(spec.to_string().as_bytes(), false).unwrap();
    let (sink, mut receiver) = sync_channel(4);
    let selection = Selection { tables: vec!["*".to_owned()], skip_tables: Vec::new() };
    let request = SyncRequest { selection, with_error_messages: true, ..SyncRequest::default() };
    let syncing = source.sync(&client, request, sink, CancellationToken::new());
    let receiving = async {
        let (mut errors, mut batches) = (Vec::new(), Vec::new());
        while let Some(message) = receiver.recv().await {
            match message {
                Message::Insert { record, .. } => {
                    batches.extend(StreamReader::try_new(&record[..], None).unwrap().map(Result::unwrap));
                }
                Message::Error { error, .. } => errors.push(error),
                Message::Migrate(_) => {}
            }
        }
        (errors, batches)
    };
    let (result, (errors, batches)) = tokio::join!(syncing, receiving);
    let rows = batches.first().map(|first| concat_batches(&first.schema(), &batches).unwrap());
    (result, errors, rows)
}

fn texts(rows: &RecordBatch) -> Vec<String> {
    let column = rows.column_by_name("text").unwrap().as_string::<i32>();
    column.iter().map(|text| text.unwrap().to_owned()).collect()
}

fn numbers(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("_s3_row").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// Records that are told from one another, `count` of them, each of `length` bytes.
fn large(count: usize, length: usize, mark: char) -> Vec<String> {
    (0..count).map(|n| format!("{n:05}{}", mark.to_string().repeat(length - 5))).collect()
}

fn file(texts: &[String]) -> Bytes {
    records::write(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_is_read_in_one_request() {
    let server = S3Server::start().await;
    let expected: Vec<String> = (0..10).map(|n| format!("row {n}")).collect();
    server.put("t/a.records", file(&expected));
    let (result, errors, rows) = sync(&server).await;
    result.unwrap();
    let rows = rows.unwrap();
    assert_eq!((errors.len(), texts(&rows), numbers(&rows)), (0, expected, (0..10).collect()));
    assert_eq!(server.counts().gets, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_straddle_the_steps_of_a_large_object() {
    let expected = large(40, LARGE_RECORD_BYTES, 'x');
    for (limit_mib, steps) in [(32, 3), (64, 2)] {
        let server = S3Server::start().await;
        server.put("t/a.records", file(&expected));
        assert_rows(sync_within(&server, limit_mib).await, &expected);
        // An eighth of the memory a step, and the head, which the survey kept.
        assert_eq!((40 * (LARGE_RECORD_BYTES + 4)).div_ceil(limit_mib << 17), steps);
        assert_eq!(server.counts().gets as usize, 1 + steps, "{limit_mib} MiB");
    }
}

/// All rows have arrived, each of them once and in its order.
#[track_caller]
fn assert_rows(
    (result, errors, rows): (Result<(), SourceError>, Vec<String>, Option<RecordBatch>),
    expected: &[String],
) {
    result.unwrap();
    let rows = rows.unwrap();
    assert_eq!((errors.len(), numbers(&rows)), (0, (0..expected.len() as i64).collect()));
    assert!(texts(&rows) == expected, "the texts are not those that were written");
    let ids = rows.column(0).as_fixed_size_binary();
    let distinct: BTreeSet<&[u8]> = (0..ids.len()).map(|row| ids.value(row)).collect();
    assert_eq!(distinct.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_more_than_estimated_is_admitted_again() {
    let server = S3Server::start().await;
    let expected = large(40, LARGE_RECORD_BYTES, 'x');
    server.put("t/a.records", records::write_heavy(&expected.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_rows(sync(&server).await, &expected);
    // The first step is found to take nine times its 4 MiB: everything is given back, the head too, and then there is room
    // for all three.
    assert_eq!(server.counts().gets, (1 + 1) + (1 + 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_longer_than_its_steps_has_an_account_for_what_is_carried() {
    let server = S3Server::start().await;
    let expected = [large(1, 5, 's'), large(1, 30 << 20, 'x'), large(3, 5, 's')].concat();
    server.put("t/a.records", file(&expected));
    assert_rows(sync(&server).await, &expected);
    // A step of 4 MiB takes 12 MiB to decode and 4 MiB for messages; what is carried comes on top, and does not fit with the
    // fourth. With the memory to itself, the object is read on from the record's beginning.
    let (before, from_there) = (4, (30_usize << 20).div_ceil(4 << 20));
    assert_eq!(server.counts().gets as usize, (1 + before) + (1 + from_there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stops_early_is_an_error_behind_its_rows() {
    let server = S3Server::start().await;
    let expected = large(40, LARGE_RECORD_BYTES, 'x');
    let whole = file(&expected);
    server.put("t/a.records", whole.slice(..whole.len() - 7));
    let (result, errors, rows) = sync(&server).await;
    assert!(result.is_err(), "an object could not be sent");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("damaged records file: the last record stops early"), "{}", errors[0]);
    assert!(texts(&rows.unwrap()) == expected[..39], "all complete records arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_rows_of_a_newer_version_are_found_at_its_end() {
    let server = S3Server::start().await;
    server.put("t/a.records", file(&large(40, LARGE_RECORD_BYTES, 'x')));
    // When most of the old version was sent, a smaller one takes its place.
    let newer = file(&large(2, LARGE_RECORD_BYTES, 'y'));
    server.on_get(move |_, n| (n == 4).then(|| Action::ReplaceObjectFirst(newer.clone())));
    let (result, errors, rows) = sync(&server).await;
    assert!(result.is_err(), "an object could not be sent");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("of the old version were sent, the new one has only 2"), "{}", errors[0]);
    assert!(texts(&rows.unwrap()).iter().filter(|text| text.ends_with('y')).count() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_like_the_format_is_refused_by_name() {
    let server = S3Server::start().await;
    server.put("t/a.records", "RECORDS?");
    server.put("t/b.records", file(&["good".to_owned()]));
    let (result, errors, rows) = sync(&server).await;
    assert!(result.is_err(), "an object could not be sent");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("t/a.records: not a records file: it does not start with RECS"), "{}", errors[0]);
    assert_eq!(texts(&rows.unwrap()), ["good"]);
}

//! What a sync leaves that is killed long before its end: the next one goes on at its last checkpoint, and no row is lost.
//! And that the state stays small.
//!
//! The plugin runs in this process where checkpoints have to come faster than every five minutes. To be killed is to be
//! dropped then: whatever was under way at S3, at the backend or in the stream stops at once.

use crate::rig::{COMMIT_TABLE, Rig, STATE_TABLE, spec, versioned};
use arrow::array::AsArray as _;
use bytes::Bytes;
use cq_source_s3::cloudquery::source::{
    Backend as BackendOptions, Message, Selection, Source as _, SyncRequest, sync_channel,
};
use cq_source_s3::plugin::{Behind, Pace, S3Source};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use testkit::backend::{Backend, Call, Method, Mode, Row, Trouble};
use testkit::client::decode;
use testkit::s3_server::S3Server;
use tokio_util::sync::CancellationToken;

const OBJECTS: usize = 40;
const ROWS: usize = 100;
/// An object that is large enough to have messages of its own.
fn object(origin: &str) -> Bytes {
    versioned(origin, ROWS, 1_024, None)
}

/// The destination writes a batch of so many rows; what it holds when it is killed is lost.
const BATCH_ROWS: usize = 250;

fn fast() -> Pace {
    let behind = Behind { rows: BATCH_ROWS as u64, bytes: 1_000, age: Duration::from_millis(50) };
    Pace { interval: Duration::from_millis(30), behind }
}

/// What a sync did.
#[derive(Debug, Default)]
struct Outcome {
    /// Objects of which rows were sent.
    sent: BTreeSet<String>,
    /// `None`: it was killed.
    result: Option<Result<(), String>>,
}

/// Rows that the destination has stored, by their object.
type Stored = BTreeMap<String, usize>;

/// When the destination stores rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stores {
    /// In batches.
    AsItGoes,
    /// All of them when the stream ends: a file of a whole sync.
    AtTheEnd,
}

/// A sync whose peer takes a message every 10 ms, and kills all once `enough` says so of the messages taken so far.
async fn sync(s3: &S3Server, backend: &Backend, stored: &mut Stored, enough: impl Fn(usize) -> bool) -> Outcome {
    sync_to(Stores::AsItGoes, s3, backend, stored, enough).await
}

async fn sync_to(
    stores: Stores,
    s3: &S3Server,
    backend: &Backend,
    stored: &mut Stored,
    enough: impl Fn(usize) -> bool,
) -> Outcome {
    let source = S3Source::with_pace(fast());
    let client = source.init(spec(&s3.endpoint(), json!({"concurrency": 4})).to_string().as_bytes(), false).unwrap();
    let request = SyncRequest {
        selection: Selection { tables: vec!["*".to_owned()], skip_tables: vec![] },
        backend: Some(BackendOptions { table_name: STATE_TABLE.to_owned(), connection: backend.connection() }),
        ..SyncRequest::default()
    };
    let (sink, mut receiver) = sync_channel(1);
    let (kill, mut sent) = (tokio::sync::Notify::new(), BTreeSet::new());
    let peer = async {
        let (mut held, mut messages): (Vec<String>, usize) = (Vec::new(), 0);
        let mut store = |held: &mut Vec<String>| {
            held.drain(..).for_each(|origin| *stored.entry(origin).or_default() += 1);
        };
        while let Some(message) = receiver.recv().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if let Message::Insert { record, .. } = &message {
                let (schema, batches) = decode(record).unwrap();
                if schema.metadata()["cq:table_name"] == COMMIT_TABLE {
                    if stores == Stores::AtTheEnd {
                        continue;
                    }
                    store(&mut held);
                    backend.store_in(COMMIT_TABLE, batches);
                    continue;
                }
                for batch in batches {
                    let origins = batch.column_by_name("origin").unwrap().as_string::<i32>();
                    held.extend(origins.iter().flatten().map(str::to_owned));
                }
                sent.extend(held.last().cloned());
                if stores == Stores::AsItGoes && held.len() >= BATCH_ROWS {
                    store(&mut held);
                }
            }
            messages += 1;
            if enough(messages) {
                kill.notify_one();
                std::future::pending::<()>().await;
            }
        }
        store(&mut held);
    };
    let work = source.sync(&client, request, sink, CancellationToken::new());
    let result = tokio::select! {
        biased;
        () = kill.notified() => None,
        (result, ()) = async { tokio::join!(work, peer) } => Some(result.map_err(|error| error.to_string())),
    };
    Outcome { sent, result }
}

fn key(number: usize) -> String {
    format!("t/{number:02}.parquet")
}

async fn lake() -> (Rig, Backend) {
    let (rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    (0..OBJECTS).for_each(|number| drop(rig.s3.put(&key(number), object(&key(number)))));
    (rig, backend)
}

fn assert_all_are_stored(stored: &Stored) {
    for number in 0..OBJECTS {
        let rows = stored.get(&key(number)).copied().unwrap_or_default();
        assert!(rows >= ROWS, "{rows} rows of {}", key(number));
    }
}

/// A first sync that is killed when two thirds of it were taken.
async fn killed(rig: &Rig, backend: &Backend, stored: &mut Stored) -> Outcome {
    let killed = sync(&rig.s3, backend, stored, |messages| messages > OBJECTS * 2 / 3).await;
    assert_eq!(killed.result, None);
    assert!(backend.rows(STATE_TABLE).iter().any(|row| row.key.ends_with("/checkpoint")), "{:?}", backend.calls());
    assert!(!backend.rows(STATE_TABLE).iter().any(|row| row.key.contains("/ledger") || row.key.ends_with("/commits")));
    killed
}

#[tokio::test]
async fn a_first_sync_that_is_killed_goes_on_at_its_last_checkpoint() {
    let (rig, backend) = lake().await;
    let mut stored = Stored::new();
    let first = killed(&rig, &backend, &mut stored).await;
    let second = sync(&rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!(second.result, Some(Ok(())));
    assert_all_are_stored(&stored);
    let again = second.sent.intersection(&first.sent).count();
    println!(
        "{} objects were sent, {again} of them again, then {} others",
        first.sent.len(),
        second.sent.len() - again
    );
    // Behind an object lie 250 rows, 50 ms and the 30 ms to the next checkpoint: about 18 messages of 10 ms.
    assert!(again < first.sent.len(), "something is done");
    assert!(second.sent.len() < OBJECTS);
    // And all is well again: it is written once, and nothing is left to do.
    let third = sync(&rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!((third.result, third.sent), (Some(Ok(())), BTreeSet::new()));
}

/// Whatever it was sent long ago is lost with its file.
#[tokio::test]
async fn a_destination_that_stores_nothing_before_the_end_gets_no_checkpoints() {
    let (rig, backend) = lake().await;
    let mut stored = Stored::new();
    let killed = sync_to(Stores::AtTheEnd, &rig.s3, &backend, &mut stored, |messages| messages >= OBJECTS - 1).await;
    assert_eq!((killed.result, stored.len()), (None, 0));
    let asked = |call: &Call| matches!(call, Call::Read(table) if table == COMMIT_TABLE);
    assert!(backend.calls().iter().filter(|call| asked(call)).count() > 1, "{:?}", backend.calls());
    assert_eq!(backend.rows(STATE_TABLE).len(), 0, "nothing is known to be stored");
    let second = sync_to(Stores::AtTheEnd, &rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!(second.result, Some(Ok(())));
    assert_all_are_stored(&stored);
}

#[tokio::test]
async fn a_sync_that_is_killed_again_and_again_comes_to_its_end() {
    let (rig, backend) = lake().await;
    let (mut stored, mut kills) = (Stored::new(), 0);
    loop {
        // None of them would come to an end by itself.
        let outcome = sync(&rig.s3, &backend, &mut stored, |messages| messages > OBJECTS / 2 + 10).await;
        match outcome.result {
            None => kills += 1,
            Some(result) => {
                result.unwrap();
                break;
            }
        }
        assert!(kills < 20, "no progress");
    }
    assert!(kills > 0);
    assert_all_are_stored(&stored);
}

/// The real binary goes on where one was killed, with a word of it; a checkpoint that is damaged costs a warning.
#[tokio::test]
async fn the_next_plugin_says_what_is_done_and_what_of_it_is_damaged() {
    for damaged in [false, true] {
        let (mut rig, backend) = lake().await;
        killed(&rig, &backend, &mut Stored::new()).await;
        if damaged {
            // A write that was under way may still arrive.
            tokio::time::sleep(Duration::from_millis(500)).await;
            backend.remove_rows(STATE_TABLE, |key| key.contains("/checkpoint."));
        }
        let sync = rig.sync_with_state(json!({}), &backend).await;
        assert_eq!(sync.status.as_ref().map(ToString::to_string), None);
        let (rows, warnings) = (sync.rows("t"), rig.lines("warn"));
        let said = rig.lines("info").iter().any(|line| line["message"].to_string().contains("by its last checkpoint"));
        assert_eq!((rows < OBJECTS * ROWS, said, warnings.len()), (!damaged, !damaged, usize::from(damaged)));
        if damaged {
            assert_eq!(rows, OBJECTS * ROWS);
            let key = backend.rows(STATE_TABLE).into_iter().find(|row| row.key.ends_with("/checkpoint")).unwrap().key;
            assert!(warnings[0]["error"].to_string().contains(&key), "{warnings:?}");
        }
        let sync = rig.sync_with_state(json!({}), &backend).await;
        assert_eq!((sync.rows("t"), rig.lines("warn").len()), (0, usize::from(damaged)), "it is said once");
    }
}

#[tokio::test]
async fn a_backend_that_fails_at_a_checkpoint_does_not_end_the_sync() {
    let (rig, backend) = lake().await;
    let mut stored = Stored::new();
    backend.fail_writes_after(1);
    let outcome = sync(&rig.s3, &backend, &mut stored, |messages| {
        if messages == OBJECTS * 2 / 3 {
            backend.repair();
        }
        false
    })
    .await;
    assert_eq!(outcome.result, Some(Ok(())));
    let failed = backend.calls().iter().filter(|call| matches!(call, Call::Insert(_))).count();
    assert!(failed > 2, "checkpoints were tried before and after: {:?}", backend.calls());
    let next = sync(&rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!((next.result, next.sent), (Some(Ok(())), BTreeSet::new()));
}

/// Some destinations log that a write failed, and answer that it went well. Each write in turn is one of these.
#[tokio::test]
async fn a_write_that_the_backend_swallows_is_not_taken_for_that_of_another_sync() {
    // About as many as there are; what comes after the last one is nothing.
    let swallowed = futures::future::join_all((0..12).map(|number| async move {
        let (rig, backend) = lake().await;
        let mut stored = Stored::new();
        backend.trouble(Method::Insert, Trouble::Nothing, number);
        backend.trouble(Method::Insert, Trouble::Swallowed, 1);
        let first = sync(&rig.s3, &backend, &mut stored, |_| false).await;
        assert_eq!(first.result, Some(Ok(())));
        let has_ledger = |keys: Vec<(String, u64)>| keys.iter().any(|(key, _)| key.ends_with("/ledger"));
        let lost = backend.calls().into_iter().find_map(|call| match call {
            Call::Swallowed(keys) => Some(has_ledger(keys)),
            _ => None,
        });
        backend.repair();
        let second = sync(&rig.s3, &backend, &mut stored, |_| false).await;
        assert_eq!(second.result, Some(Ok(())));
        assert_all_are_stored(&stored);
        // Nothing is read behind the last write.
        assert!(lost == Some(true) || second.sent.is_empty(), "write {number}: {:?}", second.sent);
        lost == Some(false)
    }));
    let swallowed = swallowed.await.into_iter().filter(|swallowed| *swallowed).count();
    assert!(swallowed > 2, "before, in and behind the first checkpoint: {swallowed}");
}

#[tokio::test]
async fn where_the_last_write_is_swallowed_the_checkpoints_count() {
    let (rig, backend) = lake().await;
    let mut stored = Stored::new();
    let first = sync(&rig.s3, &backend, &mut stored, |messages| {
        if messages == OBJECTS {
            backend.trouble(Method::Insert, Trouble::Swallowed, 1_000);
        }
        false
    });
    assert_eq!(first.await.result, Some(Ok(())));
    backend.repair();
    let second = sync(&rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!(second.result, Some(Ok(())));
    assert!((1..OBJECTS).contains(&second.sent.len()), "{}", second.sent.len());
    assert_all_are_stored(&stored);
    let third = sync(&rig.s3, &backend, &mut stored, |_| false).await;
    assert_eq!((third.result, third.sent), (Some(Ok(())), BTreeSet::new()));
}

/// The next checkpoint brings what the first one did not.
#[tokio::test]
async fn a_sync_goes_on_at_its_last_checkpoint_though_the_backend_swallowed_one_before() {
    for swallowed in 0..3 {
        let (rig, backend) = lake().await;
        let mut stored = Stored::new();
        backend.trouble(Method::Insert, Trouble::Nothing, swallowed);
        backend.trouble(Method::Insert, Trouble::Swallowed, 1);
        let first = killed(&rig, &backend, &mut stored).await;
        let second = sync(&rig.s3, &backend, &mut stored, |_| false).await;
        assert_eq!(second.result, Some(Ok(())));
        assert_all_are_stored(&stored);
        let again = second.sent.intersection(&first.sent).count();
        assert!(again < first.sent.len(), "write {swallowed}: something is done");
    }
}

/// What a checkpoint holds does not count where another sync wrote the table's ledger meanwhile: there is none from then on, and
/// no word of one.
#[tokio::test]
async fn a_table_that_another_sync_writes_meanwhile_has_no_more_checkpoints() {
    let (rig, backend) = lake().await;
    let has =
        |call: &Call, suffix| matches!(call, Call::Insert(keys) if keys.iter().any(|(key, _)| key.ends_with(suffix)));
    let outcome = sync(&rig.s3, &backend, &mut Stored::new(), |messages| {
        if messages == OBJECTS / 2 {
            let rows = backend.rows(STATE_TABLE);
            let checkpoint = rows.iter().find(|row| row.key.ends_with("/checkpoint")).expect("one by now");
            let key = checkpoint.key.replace("/checkpoint", "/ledger");
            backend.put_rows(STATE_TABLE, [Row { key, value: "another sync's".to_owned(), version: Some(1) }]);
            backend.note("another sync");
        }
        false
    })
    .await;
    assert_eq!(outcome.result, Some(Ok(())));
    let calls = backend.calls();
    let at = calls.iter().position(|call| matches!(call, Call::Note(_))).unwrap();
    let count = |calls: &[Call]| calls.iter().filter(|call| has(call, "/checkpoint")).count();
    // One may have been on its way.
    assert!(count(&calls[..at]) > 0 && count(&calls[at..]) <= 1, "{:?}", &calls[at..]);
    assert!(!calls.iter().any(|call| has(call, "/ledger")), "it is the other one's");
}

#[tokio::test]
async fn an_option_that_changes_columns_takes_the_checkpoint_with_it() {
    let (mut rig, backend) = lake().await;
    killed(&rig, &backend, &mut Stored::new()).await;
    let sync = rig.sync_with_state(json!({ "file_columns": true }), &backend).await;
    assert_eq!(sync.rows("t"), OBJECTS * ROWS);
    let keys: Vec<String> =
        backend.current(STATE_TABLE).into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, _)| key).collect();
    assert!(!keys.iter().any(|key| key.contains("/checkpoint")), "{keys:?}");
    let sync = rig.sync_with_state(json!({ "file_columns": true }), &backend).await;
    assert_eq!(sync.rows("t"), 0);
}

/// Characters of all keys that have a value, and of the values.
fn state_chars(backend: &Backend) -> usize {
    let rows = backend.current(STATE_TABLE).into_iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(key, value)| key.len() + value.len()).sum()
}

async fn state_of(keys: impl Iterator<Item = usize>) -> (Rig, Backend) {
    let (mut rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    keys.for_each(|number| drop(rig.s3.put(&format!("t/{number}.parquet"), object(&format!("{number}")))));
    let sync = rig.sync_with_state(json!({}), &backend).await;
    assert!(sync.status.is_none());
    (rig, backend)
}

#[tokio::test]
async fn the_state_shrinks_with_the_bucket() {
    let (mut rig, backend) = state_of(0..200).await;
    let many = state_chars(&backend);
    let (_, fresh) = state_of(0..2).await;
    let few = state_chars(&fresh);
    (2..200).for_each(|number| assert!(rig.s3.delete(&format!("t/{number}.parquet"))));
    assert!(rig.sync_with_state(json!({}), &backend).await.status.is_none());
    let after = state_chars(&backend);
    println!("characters: 200 objects {many}, 198 of them deleted {after}, two objects from the start {few}");
    assert!(2 * after <= 3 * few && few < many / 2, "{many} {after} {few}");
    // Where the same sync sends rows, too, the ledger before stays until it is sure that they are stored: the second sync that
    // sends rows behind it lets go of its parts.
    (2..200).for_each(|number| drop(rig.s3.put(&format!("t/{number}.parquet"), object(&format!("{number} again")))));
    assert!(rig.sync_with_state(json!({}), &backend).await.status.is_none());
    (2..200).for_each(|number| assert!(rig.s3.delete(&format!("t/{number}.parquet"))));
    for number in [200, 201, 202] {
        rig.s3.put(&format!("t/{number}.parquet"), object("new"));
        assert!(rig.sync_with_state(json!({}), &backend).await.status.is_none());
    }
    let (_, fresh) = state_of([0, 1, 200, 201, 202].into_iter()).await;
    let (after, few) = (state_chars(&backend), state_chars(&fresh));
    println!("the same with new objects, two syncs later {after}, from the start {few}");
    assert!(after <= 2 * few, "{after} {few}: the ledger and the one before");
}

//! The state client against a backend in memory.

use cq_source_s3::cloudquery::source;
use cq_source_s3::cloudquery::state_client::{OpenError, Patience, StateClient, StateError};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use testkit::backend::{Backend, Call, Method, Mode, Row, Trouble};
use testkit::proxy::Proxy;

const TABLE: &str = "cq_state";

/// As patient as a test: a second of tries, half a second for an answer.
const IMPATIENT: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_millis(500),
    tries: Duration::from_secs(1),
    first_wait: Duration::from_millis(50),
};

async fn open_with(connection: &str, patience: Patience) -> Result<Option<StateClient>, StateError> {
    let backend = source::Backend { table_name: TABLE.to_owned(), connection: connection.to_owned() };
    StateClient::open_with(&backend, patience).await
}

async fn open_at(connection: &str) -> Result<Option<StateClient>, StateError> {
    open_with(connection, Patience::default()).await
}

async fn open(backend: &Backend) -> StateClient {
    open_at(&backend.connection()).await.unwrap().expect("a backend is configured")
}

fn row(key: &str, value: &str, version: Option<u64>) -> Row {
    Row { key: key.to_owned(), value: value.to_owned(), version }
}

#[tokio::test]
async fn item_79_opening_asks_for_versions_then_migrates_then_reads() {
    let backend = Backend::start(Mode::Upsert).await;
    open(&backend).await;
    let table = || TABLE.to_owned();
    let expected = [Call::GetVersions, Call::Migrate(table()), Call::WriteEnd(1), Call::Read(table())];
    assert_eq!(backend.calls(), expected);
    let schema = backend.schema(TABLE).unwrap();
    let fields: Vec<_> = schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect();
    assert_eq!(fields, ["key: Utf8", "value: Utf8", "version: UInt64"]);
    let keys: Vec<_> = schema.fields().iter().map(|f| f.metadata().get("cq:extension:primary_key")).collect();
    assert_eq!(keys, [Some(&"true".to_owned()), None, None]);
    assert!(schema.metadata().contains_key("cq:table_description"));
}

#[tokio::test]
async fn item_80_both_strings_or_none() {
    let open = |table: &str, connection: &str| {
        let backend = source::Backend { table_name: table.to_owned(), connection: connection.to_owned() };
        async move { StateClient::open(&backend).await }
    };
    assert!(open("", "").await.unwrap().is_none());
    for (table, connection, missing) in [("t", "", "connection"), ("", "localhost:1", "table_name")] {
        let error = open(table, connection).await.unwrap_err().to_string();
        let expected = format!("backend_options must contain both connection and table_name: {missing} is empty");
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn item_81_a_backend_without_version_3_is_refused() {
    let backend = Backend::start(Mode::Upsert).await;
    backend.set_versions(&[1, 2]);
    let error = open_at(&backend.connection()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create state client: please upgrade your state backend plugin. state supporting version 3 plugin \
         has [1, 2]"
    );
    assert_eq!(backend.calls(), [Call::GetVersions]);
}

#[tokio::test]
async fn item_82_the_highest_version_counts_and_null_is_zero() {
    let backend = Backend::start(Mode::Append).await;
    backend.put_rows(
        TABLE,
        [
            row("k", "one", Some(1)),
            row("k", "three", Some(3)),
            row("k", "two", Some(2)),
            row("null", "old", None),
            row("null", "new", Some(0)),
            row("tie", "first", Some(7)),
            row("tie", "last", Some(7)),
            row("late null", "one", Some(1)),
            row("late null", "null", None),
        ],
    );
    for rows_per_record in [1, 100] {
        backend.set_rows_per_record(rows_per_record);
        let state = open(&backend).await;
        let all: Vec<_> = state.keys_with_prefix("").collect();
        assert_eq!(all, [("k", "three"), ("late null", "one"), ("null", "new"), ("tie", "last")]);
    }
}

#[tokio::test]
async fn item_83_a_flush_is_one_insert_of_what_changed() {
    for mode in [Mode::Upsert, Mode::Append] {
        let backend = Backend::start(mode).await;
        backend.put_rows(TABLE, [row("a", "1", Some(4)), row("b", "1", None), row("c", "1", Some(2))]);
        let mut state = open(&backend).await;
        backend.forget_calls();
        assert_eq!(state.flush().await.unwrap(), 0);
        state.set("c", "1");
        state.set("none", "");
        assert_eq!(state.flush().await.unwrap(), 0);
        assert_eq!(backend.calls(), [], "nothing changed");

        state.set("new", "1");
        state.set("b", "2");
        state.set("a", "2");
        state.set("b", "3");
        assert_eq!(state.get("b"), Some("3"));
        assert_eq!(state.flush().await.unwrap(), 3);
        let versions = [("new".to_owned(), 1), ("a".to_owned(), 5), ("b".to_owned(), 2)];
        assert_eq!(backend.calls(), [Call::Insert(versions.to_vec()), Call::WriteEnd(1)]);
        assert_eq!(state.flush().await.unwrap(), 0, "the marks are gone");

        let again = open(&backend).await;
        let all: Vec<_> = again.keys_with_prefix("").collect();
        assert_eq!(all, [("a", "2"), ("b", "3"), ("c", "1"), ("new", "1")], "{mode:?}");
    }
}

#[tokio::test]
async fn item_86_a_failed_flush_is_an_error_and_can_be_repeated() {
    let backend = Backend::start(Mode::Upsert).await;
    let mut state = open(&backend).await;
    state.set("a", "1");
    state.set("b", "1");
    backend.fail_writes_after(1);
    let error = state.flush().await.unwrap_err();
    assert!(matches!(error, StateError::Flush { .. }));
    assert_eq!(
        error.to_string(),
        "failed to write state to the backend's table \"cq_state\": the backend was told to fail"
    );
    assert_eq!(backend.current(TABLE).len(), 1, "torn");
    backend.repair();
    assert_eq!(state.flush().await.unwrap(), 2);
    assert_eq!(backend.current(TABLE).len(), 2);
}

#[tokio::test]
async fn failures_while_opening_name_the_call() {
    let backend = Backend::start(Mode::Upsert).await;
    backend.fail_reads();
    let error = open_at(&backend.connection()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "failed to create state client: read of the state table \"cq_state\": the backend was told to fail"
    );
    let connection = backend.connection();
    drop(backend);
    tokio::task::yield_now().await;
    let error = open_with("127.0.0.1:1", IMPATIENT).await.unwrap_err();
    assert!(matches!(error, StateError::Open(OpenError::Connect { .. })), "{error} ({connection})");
    let text = error.to_string();
    assert!(text.contains("\"127.0.0.1:1\": transport error: ") && text.contains("(tried "), "{text}");
    let error = open_at("nowhere").await.unwrap_err().to_string();
    assert!(error.starts_with("failed to create state client: cannot read the connection \"nowhere\""), "{error}");
}

#[tokio::test]
async fn item_89_every_kind_of_connection() {
    let backend = Backend::start(Mode::Upsert).await;
    let address = backend.connection();
    for connection in [address.clone(), format!("dns:///{address}"), format!("passthrough:///{address}")] {
        open_at(&connection).await.unwrap_or_else(|error| panic!("{connection}: {error}"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn item_89_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cq 1.sock");
    let backend = Backend::start_unix(Mode::Upsert, &path);
    assert!(backend.connection().starts_with("unix:///"));
    for connection in [backend.connection(), format!("unix:{}", path.display())] {
        open_at(&connection).await.unwrap_or_else(|error| panic!("{connection}: {error}"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn item_89_abstract_unix_sockets() {
    let name = format!("cq-source-s3-test-{}", std::process::id());
    let listener = tokio::net::UnixListener::bind(format!("\0{name}")).unwrap();
    let _backend = Backend::start_unix_listener(Mode::Upsert, listener);
    open_at(&format!("unix-abstract:{name}")).await.unwrap();
}

#[tokio::test]
async fn item_90_a_hundred_thousand_keys_and_fifty_mebibytes() {
    let backend = Backend::start(Mode::Upsert).await;
    let key = |number: usize| format!("source/table-{number:06}");
    backend.put_rows(TABLE, (0..100_000).map(|number| row(&key(number), "value", Some(1))));
    let state = open(&backend).await;
    assert_eq!(state.keys_with_prefix("source/").count(), 100_000);
    assert_eq!(state.keys_with_prefix("source/table-00001").count(), 10);
    assert_eq!(state.get(&key(99_999)), Some("value"));

    // One answer of more than 50 MiB.
    let value = "x".repeat(48 << 10);
    backend.put_rows("large", (0..1_100).map(|number| row(&key(number), &value, Some(1))));
    let large = source::Backend { table_name: "large".to_owned(), connection: backend.connection() };
    let state = StateClient::open(&large).await.unwrap().unwrap();
    assert_eq!(state.keys_with_prefix("").map(|(_, value)| value.len()).sum::<usize>(), 1_100 * (48 << 10));
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// Keys of the inserts that arrived, one text for each.
fn inserts(backend: &Backend) -> Vec<String> {
    let keys = |call: Call| match call {
        Call::Insert(keys) => Some(keys.into_iter().map(|(key, version)| format!("{key}@{version}")).collect()),
        _ => None,
    };
    backend.calls().into_iter().filter_map(keys).map(|keys: Vec<String>| keys.join(" ")).collect()
}

#[tokio::test]
async fn a_write_that_fails_for_a_while_is_tried_again_with_the_same_versions() {
    for mode in [Mode::Upsert, Mode::Append] {
        for (trouble, times) in
            [(Trouble::Refused, 1), (Trouble::Refused, 3), (Trouble::AnswerLost, 2), (Trouble::Silence, 1)]
        {
            let backend = Backend::start(mode).await;
            let mut state = open_with(&backend.connection(), IMPATIENT).await.unwrap().unwrap();
            state.set("a", "1");
            state.set("b", "1");
            backend.trouble(Method::Insert, trouble, times);
            assert_eq!(state.flush().await.unwrap(), 2, "{trouble:?} {times} times");
            let stored = if trouble == Trouble::AnswerLost { times + 1 } else { 1 };
            assert_eq!(inserts(&backend), vec!["a@1 b@1"; stored]);
            let again = open(&backend).await;
            assert_eq!(again.keys_with_prefix("").collect::<Vec<_>>(), [("a", "1"), ("b", "1")], "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_fails_for_long_fails_the_flush_and_never_hangs_it() {
    for trouble in [Trouble::Refused, Trouble::Silence] {
        let backend = Backend::start(Mode::Upsert).await;
        let mut state = open_with(&backend.connection(), IMPATIENT).await.unwrap().unwrap();
        state.set("a", "1");
        backend.trouble(Method::Insert, trouble, 1_000);
        let started = Instant::now();
        let error = state.flush().await.unwrap_err().to_string();
        assert!(error.starts_with("failed to write state to the backend's table \"cq_state\": "), "{error}");
        let reason = if trouble == Trouble::Silence { "no answer in 0.5 s" } else { "the backend is not ready" };
        assert!(error.contains(reason) && error.contains(" (tried "), "{error}");
        assert!((490..4_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        backend.repair();
        assert_eq!(state.flush().await.unwrap(), 1, "the key is still marked");
    }
}

/// Destinations that write in batches of their own log that one failed, and answer that it went well.
#[tokio::test]
async fn what_a_backend_swallowed_is_set_again_in_the_same_order() {
    for mode in [Mode::Upsert, Mode::Append] {
        let backend = Backend::start(mode).await;
        backend.put_rows(TABLE, [row("t/a", "0", Some(4)), row("t/kept", "0", Some(1))]);
        let mut state = open(&backend).await;
        let swallow = |times| backend.trouble(Method::Insert, Trouble::Swallowed, times);
        for (key, value) in [("t/b", "1"), ("t/a", "1")] {
            state.set(key, value);
        }
        swallow(1);
        assert_eq!(state.flush().await.unwrap(), 2);
        assert_eq!(state.refresh().await.unwrap(), set(&[]), "nobody else wrote");
        state.set("t/c", "1");
        // Of two writes in a row, too; and what was written before counts by its order.
        swallow(2);
        assert_eq!(state.flush().await.unwrap(), 3);
        state.set("t/a", "2");
        assert_eq!(state.flush().await.unwrap(), 1);
        assert_eq!(state.refresh().await.unwrap(), set(&[]));
        assert!(state.has_changes());
        backend.forget_calls();
        assert_eq!(state.flush().await.unwrap(), 3);
        assert_eq!(inserts(&backend), ["t/b@1 t/c@1 t/a@6"]);
        assert_eq!(state.refresh().await.unwrap(), set(&[]));
        assert!(!state.has_changes());
        let all = [("t/a", "2"), ("t/b", "1"), ("t/c", "1"), ("t/kept", "0")];
        assert_eq!(open(&backend).await.keys_with_prefix("").collect::<Vec<_>>(), all, "{mode:?}");
    }
}

/// A value that was there before may be another sync's, too, where that one wrote something else beside it.
#[tokio::test]
async fn what_another_client_wrote_is_not_taken_for_lost() {
    let backend = Backend::start(Mode::Upsert).await;
    backend
        .put_rows(TABLE, [row("t/part", "old", Some(1)), row("t/head", "old", Some(1)), row("u/head", "old", Some(1))]);
    let (mut mine, mut other) = (open(&backend).await, open(&backend).await);
    for key in ["t/part", "t/head", "u/head"] {
        mine.set(key, "mine");
    }
    mine.flush().await.unwrap();
    other.refresh().await.unwrap();
    for (key, value) in [("t/part", "old"), ("t/head", "other"), ("u/head", "old")] {
        other.set(key, value);
    }
    other.flush().await.unwrap();
    assert_eq!(mine.refresh().await.unwrap(), set(&["t/head", "t/part"]));
    assert_eq!((mine.get("t/part"), mine.get("t/head")), (Some("old"), Some("other")), "as the other one left them");
    mine.flush().await.unwrap();
    let all = [("t/head", "other"), ("t/part", "old"), ("u/head", "mine")];
    assert_eq!(open(&backend).await.keys_with_prefix("").collect::<Vec<_>>(), all);
}

#[tokio::test]
async fn a_read_that_fails_for_a_while_is_tried_again() {
    let backend = Backend::start(Mode::Upsert).await;
    backend.put_rows(TABLE, [row("a", "1", Some(4))]);
    for (trouble, times) in [(Trouble::Refused, 2), (Trouble::Silence, 1)] {
        backend.trouble(Method::Read, trouble, times);
        let state = open_with(&backend.connection(), IMPATIENT).await.unwrap().unwrap();
        assert_eq!(state.get("a"), Some("1"));
    }
    backend.trouble(Method::Read, Trouble::Silence, 1_000);
    let error = open_with(&backend.connection(), IMPATIENT).await.unwrap_err().to_string();
    assert!(error.contains("read of the state table \"cq_state\": no answer in 0.5 s (tried "), "{error}");
}

#[tokio::test]
async fn a_connection_that_is_lost_between_two_calls_is_not_missed() {
    let backend = Backend::start(Mode::Upsert).await;
    let mut proxy = Proxy::start(&backend.connection()).await;
    let mut state = open_with(&proxy.address(), IMPATIENT).await.unwrap().unwrap();
    // As by a NAT gateway, whose peers are told nothing.
    proxy.forget();
    state.set("a", "1");
    let started = Instant::now();
    state.flush().await.unwrap();
    assert!(started.elapsed() < IMPATIENT.answer, "no deadline had to pass: {:?}", started.elapsed());
    proxy.outage(Duration::ZERO).await;
    state.set("a", "2");
    state.flush().await.unwrap();
    // While it is away, and comes back.
    proxy.cut().await;
    state.set("a", "3");
    let (flushed, ()) = tokio::join!(state.flush(), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        proxy.restore().await;
    });
    assert_eq!(flushed.unwrap(), 1);
    assert_eq!(open(&backend).await.get("a"), Some("3"));
}

//! How the columns of merged tables change from sync to sync, with a state backend.

use super::{TOO_FINE, columns, file, ints, longs, merged, rows, texts};
use crate::rig::{COMMIT_TABLE, Rig, state_request};
use arrow::array::{ArrayRef, Float64Array};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::backend::{Backend, Method, Mode, Trouble};
use testkit::client::{Collected, assert_protocol};
use testkit::s3_server::Op;

/// A bucket with a backend.
struct Lake {
    rig: Rig,
    backend: Backend,
}

impl Lake {
    async fn start() -> Self {
        Self { rig: Rig::start().await, backend: Backend::start(Mode::Upsert).await }
    }

    fn put(&self, key: &str, columns: Vec<(&str, ArrayRef)>) {
        self.rig.s3.put(key, file(columns));
    }

    /// A sync that must end well.
    async fn sync(&mut self, schema: Value) -> Collected {
        let sync = self.any_sync(schema).await;
        assert_protocol(&sync);
        sync
    }

    /// How many objects were looked at by the last sync.
    fn gets(&self) -> usize {
        self.rig.s3.requests().iter().filter(|request| request.op == Op::Get).count()
    }

    async fn any_sync(&mut self, schema: Value) -> Collected {
        self.rig.s3.reset_counts();
        self.rig.sync_with_state(merged(schema), &self.backend).await
    }
}

#[tokio::test]
async fn columns_come_at_the_end_and_old_ones_keep_their_names_and_places() {
    let mut lake = Lake::start().await;
    lake.put("t/5.parquet", vec![("a", ints(&[1])), ("id", texts(&["i"]))]);
    assert_eq!(columns(&lake.sync(json!({})).await), ["a Int32", "id Utf8", "_s3_rescued json"]);
    // Its key is the first one now, and it changes nothing of what there is.
    lake.put("t/1.parquet", vec![("b", texts(&["x"])), ("ID", texts(&["j"])), ("a", ints(&[2]))]);
    let second = lake.sync(json!({})).await;
    assert_eq!(columns(&second), ["a Int32", "id Utf8", "_s3_rescued json", "b Utf8"]);
    assert_eq!(rows(&second), ["a=2 id=j b=x"], "what was sent is not sent again");
    lake.put("t/0.parquet", vec![("c", ints(&[9])), ("b", ints(&[5]))]);
    let third = lake.sync(json!({})).await;
    assert_eq!(columns(&third), ["a Int32", "id Utf8", "_s3_rescued json", "b Utf8", "c Int32"]);
    assert_eq!(rows(&third), ["b=5 c=9"]);
    let fourth = lake.sync(json!({})).await;
    assert_eq!((columns(&fourth), lake.gets()), (columns(&third), 0));
    lake.rig.stop().assert_clean();
}

/// Columns that a table has keep their names and meanings: two names that were one stay what they were, and are told apart from
/// the first file on that has both.
#[tokio::test]
async fn names_that_differ_in_case_become_two_columns_once_and_stay_two() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("id", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("ID", ints(&[2]))]);
    assert_eq!(rows(&lake.sync(json!({})).await), ["id=2"]);
    lake.put("t/3.parquet", vec![("id", ints(&[3])), ("ID", ints(&[30]))]);
    let parted = lake.sync(json!({})).await;
    assert_eq!(columns(&parted), ["id Int32", "_s3_rescued json", "ID_2 Int32"]);
    assert_eq!(rows(&parted), ["id=3 ID_2=30"]);
    for (key, name, row) in [("t/4.parquet", "ID", "ID_2=4"), ("t/5.parquet", "id", "id=4")] {
        lake.put(key, vec![(name, ints(&[4]))]);
        let sync = lake.sync(json!({})).await;
        assert_eq!((columns(&sync), rows(&sync)), (columns(&parted), vec![row.to_owned()]));
    }
    let warned = lake.rig.stop().of_level("warn");
    assert!(warned.len() == 1 && warned[0].contains(r#"\"ID\" beside \"id\" since \"t/3.parquet\""#), "{warned:?}");
}

#[tokio::test]
async fn new_columns_by_choice() {
    for (choice, columns_then, row) in [
        ("rescue", vec!["a Int32", "_s3_rescued json"], r#"a=2 _s3_rescued={"b":"x"}"#),
        ("ignore", vec!["a Int32", "_s3_rescued json"], "a=2"),
    ] {
        let mut lake = Lake::start().await;
        lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
        lake.sync(json!({})).await;
        lake.put("t/2.parquet", vec![("a", ints(&[2])), ("b", texts(&["x"]))]);
        let sync = lake.sync(json!({"new_columns": choice})).await;
        assert_eq!(
            (columns(&sync), rows(&sync)),
            (columns_then.iter().map(ToString::to_string).collect(), vec![row.to_owned()])
        );
    }
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", ints(&[2])), ("b", texts(&["x"]))]);
    let sync = lake.any_sync(json!({"new_columns": "fail"})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains(r#""t/2.parquet" has the column "b""#) && error.contains("new_columns"), "{error}");
    assert!(!sync.tables().contains(&"t".to_owned()));
}

#[tokio::test]
async fn a_choice_that_loses_less_reads_all_objects_again() {
    // What was null comes into the rescue column.
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", longs(&[TOO_FINE]))]);
    lake.put("t/2.parquet", vec![("a", Arc::new(Float64Array::from(vec![0.5])))]);
    assert_eq!(rows(&lake.sync(json!({"on_mismatch": null})).await), ["", "a=0.5"]);
    let rescued = [r#"_s3_rescued={"a":9007199254740993}"#, "a=0.5"];
    assert_eq!(rows(&lake.sync(json!({})).await), rescued);
    assert_eq!(
        (lake.sync(json!({"on_mismatch": "fail"})).await.rows("t"), lake.gets()),
        (0, 0),
        "no row is another one"
    );
    // What was rescued or left out becomes a column, but not the other way round.
    lake.put("t/3.parquet", vec![("a", longs(&[1])), ("b", texts(&["x"]))]);
    assert_eq!(rows(&lake.sync(json!({"new_columns": "rescue"})).await), [r#"a=1.0 _s3_rescued={"b":"x"}"#]);
    lake.put("t/4.parquet", vec![("a", longs(&[2])), ("c", texts(&["y"]))]);
    assert_eq!(rows(&lake.sync(json!({"new_columns": "ignore"})).await), ["a=2.0"]);
    let added = lake.sync(json!({})).await;
    assert_eq!(columns(&added), ["a Float64", "b Utf8", "c Utf8", "_s3_rescued json"]);
    assert_eq!(rows(&added), [rescued[0], rescued[1], "a=1.0 b=x", "a=2.0 c=y"]);
    assert_eq!((lake.sync(json!({})).await.rows("t"), lake.gets()), (0, 0));
    let log = lake.rig.stop();
    let anew = |line: &&String| line.contains("columns changed with an option");
    assert_eq!(log.of_level("warn").iter().filter(anew).count(), 2, "{:?}", log.of_level("warn"));
}

#[tokio::test]
async fn a_type_that_changes_is_kept_widened_or_refused() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1, 2, 3]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", texts(&["x", "7"]))]);
    let sync = lake.any_sync(json!({"on_type_change": "fail"})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    for part in ["\"a\"", "utf8 in \"t/2.parquet\"", "on_type_change", "Left out: 1 object with 2 rows"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!sync.tables().contains(&"t".to_owned()) && sync.rows("t") == 0, "nothing is sent");
    let kept = lake.sync(json!({})).await;
    assert_eq!(columns(&kept), ["a Int32", "_s3_rescued json"]);
    assert_eq!(rows(&kept), [r#"_s3_rescued={"a":"7"}"#, r#"_s3_rescued={"a":"x"}"#]);
    // Of integers those that fit.
    lake.put("t/3.parquet", vec![("a", longs(&[4, i64::MAX]))]);
    assert_eq!(rows(&lake.sync(json!({})).await), [r#"_s3_rescued={"a":9223372036854775807}"#, "a=4"]);
    // Only what is new says that types changed: what was rescued stays so until then.
    lake.put("t/4.parquet", vec![("a", texts(&["y"]))]);
    let widened = lake.sync(json!({"on_type_change": "widen"})).await;
    assert_eq!(columns(&widened), ["a Utf8", "_s3_rescued json"]);
    let all = ["a=1", "a=2", "a=3", "a=4", "a=7", "a=9223372036854775807", "a=x", "a=y"];
    assert_eq!(rows(&widened), all, "all objects are read again");
    let sync = lake.sync(json!({"on_type_change": "widen"})).await;
    assert_eq!((columns(&sync), sync.rows("t"), lake.gets()), (columns(&widened), 0, 0));
    let warned = lake.rig.stop().of_level("warn");
    let line = warned.iter().find(|line| line.contains("migrate_mode: forced")).expect("a line about wider types");
    assert!(line.contains(r#"int32 → utf8"#) && line.contains("t/2.parquet"), "{line}");
    assert!(!warned.iter().any(|line| line.contains("changed with an option")), "{warned:?}");
}

/// The destination has the state, too, and refuses the migrate that was sent before: another try would change nothing.
#[tokio::test]
async fn a_destination_that_refuses_wider_types_ends_the_sync_at_once() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", texts(&["x"]))]);
    lake.backend.trouble(Method::Insert, Trouble::MigrationRefused, usize::from(u8::MAX));
    let started = std::time::Instant::now();
    let sync = lake.any_sync(json!({"on_type_change": "widen"})).await;
    let status = sync.status.as_ref().expect("it fails").message();
    for part in ["require migration", r#"it needs `migrate_mode: forced`: "t""#] {
        assert!(status.contains(part), "{part}: {status}");
    }
    assert!(started.elapsed().as_secs() < 20, "tried again for {:?}", started.elapsed());
    let warned = lake.rig.stop().of_level("warn").join("\n");
    assert!(!warned.contains("it is tried again"), "{warned}");
}

#[tokio::test]
async fn another_mode_makes_the_columns_anew_and_says_so() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    let strict = lake.rig.sync_with_state(json!({}), &lake.backend).await;
    assert_eq!(columns(&strict), ["a Int32"]);
    let sync = lake.sync(json!({})).await;
    assert_eq!(
        (columns(&sync), rows(&sync)),
        (vec!["a Int32".to_owned(), "_s3_rescued json".to_owned()], vec!["a=1".to_owned()])
    );
    let again = lake.sync(json!({})).await;
    assert_eq!((again.rows("t"), lake.gets()), (0, 0));
    // An option that changes no column changes nothing.
    assert_eq!(lake.sync(json!({"new_columns": "fail"})).await.rows("t"), 0);
    let renamed = lake.sync(json!({"rescue_column": "rest"})).await;
    assert_eq!((columns(&renamed), renamed.rows("t")), (vec!["a Int32".to_owned(), "rest json".to_owned()], 1));
    let warned = lake.rig.stop().of_level("warn");
    assert!(
        warned.iter().all(|line| line.contains("columns changed with an option")) && warned.len() == 2,
        "{warned:?}"
    );
}

#[tokio::test]
async fn what_an_object_had_sent_before_it_failed_is_not_sent_again() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", longs(&[1, 2, 3, i64::MAX]))]);
    let failing = json!({"on_mismatch": "fail"});
    let sync = lake.any_sync(failing).await;
    assert_eq!((rows(&sync), sync.errors().len()), (vec!["a=1".to_owned(), "a=2".to_owned()], 1));
    let rest = lake.sync(json!({})).await;
    assert_eq!(rows(&rest), [r#"_s3_rescued={"a":9223372036854775807}"#, "a=3"]);
}

#[tokio::test]
async fn shards_share_the_columns_of_all_objects() {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        let array = if n == 3 { longs(&[i64::MAX]) } else { ints(&[n]) };
        lake.put(&format!("t/{n}.parquet"), vec![("a", array)]);
    }
    lake.rig.init(merged(json!({}))).await;
    let mut rows = 0;
    for shard in [(1, 2), (2, 2)] {
        let request = state_request(&lake.backend, Some(shard));
        let sync = lake.rig.client.sync_with(request, |message| lake.backend.store(message)).await;
        assert_protocol(&sync);
        assert_eq!(columns(&sync), ["a Int64", "_s3_rescued json"]);
        rows += sync.rows("t");
    }
    assert_eq!(rows, 8);
    assert!(lake.backend.rows(COMMIT_TABLE).len() <= 2);
}

#[tokio::test]
async fn partitions_and_columns_come_later() {
    let mut lake = Lake::start().await;
    let mut spec = merged(json!({}));
    spec["partitions"] = "hive".into();
    spec["file_columns"] = json!(["row"]);
    lake.put("t/dt=2024-01-01/1.parquet", vec![("a", ints(&[1]))]);
    let sync = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync), ["_s3_row Int64", "dt Date32", "a Int32", "_s3_rescued json"]);
    lake.put("t/dt=2024-01-02/region=eu/1.parquet", vec![("a", texts(&["x"])), ("b", ints(&[2])), ("DT", ints(&[9]))]);
    let sync = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync), ["_s3_row Int64", "dt Date32", "a Int32", "_s3_rescued json", "region Utf8", "b Int32"]);
    assert_eq!(rows(&sync), [r#"_s3_row=0 dt=2024-01-02 _s3_rescued={"a":"x"} region=eu b=2"#]);
    spec["schema"]["on_type_change"] = "widen".into();
    lake.put("t/dt=2024-01-03/region=us/1.parquet", vec![("a", longs(&[i64::MAX]))]);
    let sync = lake.rig.sync_with_state(spec, &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync)[2], "a Utf8");
    assert_eq!(
        rows(&sync),
        [
            "_s3_row=0 dt=2024-01-01 a=1",
            "_s3_row=0 dt=2024-01-02 a=x region=eu b=2",
            "_s3_row=0 dt=2024-01-03 a=9223372036854775807 region=us",
        ]
    );
}

#[tokio::test]
async fn columns_of_the_key_count_once_among_those_that_destinations_take() {
    let mut lake = Lake::start().await;
    let wide = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("c{n:04}")).collect();
        file(names.iter().map(|name| (name.as_str(), ints(&[7]))).collect())
    };
    let mut spec = merged(json!({}));
    spec["partitions"] = "hive".into();
    lake.rig.s3.put("t/dt=1/1.parquet", wide(10));
    let first = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_eq!(first.schema("t").fields().len(), 2 + 1 + 10 + 1);
    // The key's column is one that the table has.
    lake.rig.s3.put("t/dt=2/1.parquet", wide(1_700));
    let full = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_eq!(full.schema("t").fields().len(), 1_600 - 2, "all that the CLI's two leave");
    // Another one finds no room.
    lake.rig.s3.put("t/dt=3/region=eu/1.parquet", wide(10));
    let later = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&later);
    assert_eq!((later.schema("t").clone(), later.rows("t")), (full.schema("t").clone(), 1));
    let log = lake.rig.stop();
    let warned = log.of_level("warn").join("\n");
    assert!(
        warned.contains(r#"more than 1600 columns, which is limits.max_columns: the key's \"region\""#),
        "{warned}"
    );
}

//! What is not read, and not even listed: conditions on columns of keys, and `modified`.

use super::{counts, file, rows, skipped};
use crate::rig::{Rig, state_request};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use testkit::backend::{Backend, Mode};
use testkit::client::Collected;
use testkit::s3_server::{ObjectAttributes, Op};

fn with(condition: &str) -> Value {
    json!({"path": "e/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{*}}", "partitions": {"style": "hive", "where": [condition]}})
}

/// `e/dt=<day>/…` for days of January and February, and a folder beside.
fn fill(rig: &Rig) {
    for day in 1..=28 {
        rig.s3.put(&format!("e/dt=2026-01-{day:02}/a.parquet"), file(&[day]));
        rig.s3.put(&format!("e/dt=2026-02-{day:02}/a.parquet"), file(&[100 + day]));
    }
}

async fn sync_with_state(rig: &mut Rig, spec: Value, backend: &Backend) -> Collected {
    rig.init(spec).await;
    rig.client.sync_with(state_request(backend, None), |message| backend.store(message)).await
}

#[tokio::test]
async fn pruned_objects_are_neither_listed_nor_fetched() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.s3.set_page_keys(10);
    let table = json!({"table": "e", "glob": "e/**", "partitions": {"style": "hive", "decode": false, "columns": {"dt": "date"}, "where": ["dt >= 2026-02-20"]}});
    let sync = rig.sync(json!({"path_prefix": "e/", "mappings": [table]})).await;
    assert_eq!(counts(&sync).into_iter().collect::<Vec<_>>(), [("e".to_owned(), 9)]);
    let requests = rig.s3.requests();
    let listed: Vec<_> = requests.iter().filter(|request| request.op == Op::List).collect();
    assert!(listed.len() <= 3, "of 6 pages: {listed:#?}");
    assert!(listed.iter().any(|request| request.start_after.as_deref() == Some("e/dt=2026-02-2/~")), "{listed:#?}");
    let fetched: Vec<_> = requests.iter().filter(|request| request.op == Op::Get).collect();
    assert!(fetched.iter().all(|request| request.key.as_str() >= "e/dt=2026-02-20/"), "{fetched:#?}");
    let log = rig.stop();
    assert_eq!(skipped(&log), "none");
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("overwrite-delete-stale"), "{warnings:?}");
    assert!(
        warnings[0].contains("leaves out the keys for which the conditions cannot hold, which are not even listed:"),
        "{warnings:?}"
    );
    let infos = log.of_level("info");
    let narrowed = infos.iter().find(|line| line.contains("conditions narrow the listing")).unwrap();
    assert!(narrowed.contains("e/dt=2026-02-2/~"), "where it starts: {narrowed}");
}

#[tokio::test]
async fn where_the_order_of_keys_says_nothing_pruned_objects_are_listed_and_not_fetched() {
    let mut rig = Rig::start().await;
    for n in 0..30 {
        rig.s3.put(&format!("t/n={n}/a.parquet"), file(&[n]));
    }
    let sync = rig.sync(json!({"partitions": {"style": "hive", "where": ["n > 27"]}})).await;
    assert_eq!(rows(&sync, "t"), ["28 28", "29 29"]);
    assert_eq!((rig.s3.counts().lists, rig.s3.counts().gets), (1, 2));
    assert_eq!(skipped(&rig.stop()), "pruned: 28");
}

#[tokio::test]
async fn where_tables_are_named_by_their_folders_one_listing_has_them_all() {
    let mut rig = Rig::start().await;
    fill(&rig);
    let sync = rig.sync(json!({"partitions": {"style": "hive", "where": ["dt >= 2026-02-20"]}})).await;
    assert_eq!(sync.rows("e"), 9);
    assert_eq!(rig.s3.counts().lists, 1);
}

/// LIST requests of a sync with these conditions, and the rows of its only table.
async fn lists(rig: &mut Rig, table: &Value, conditions: Value) -> (u64, usize) {
    rig.s3.reset_counts();
    let mut table = table.clone();
    table["partitions"]["where"] = conditions;
    let sync = rig.sync(json!({"path_prefix": "e/", "mappings": [table]})).await;
    (rig.s3.counts().lists, sync.rows("e"))
}

#[tokio::test]
async fn conditions_never_cost_a_request_more_than_the_whole_listing() {
    let mut rig = Rig::start().await;
    fill(&rig);
    let template =
        json!({"path": "e/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{*}}", "table": "e", "partitions": {"style": "hive"}});
    let glob = json!({"glob": "e/**", "table": "e", "partitions": {"style": "hive"}});
    for (page_keys, whole) in [(1000, 1), (20, 3), (2, 28)] {
        rig.s3.set_page_keys(page_keys);
        for table in [&template, &glob] {
            assert_eq!(lists(&mut rig, table, json!([])).await, (whole, 56));
            for (condition, rows) in [
                ("dt >= 2026-02-20", 9),
                ("dt < 2026-01-03", 2),
                ("dt = 2026-02-20", 1),
                ("dt in [2026-01-05, 2026-02-05, 2026-02-20]", 3),
                ("dt < today-3650d", 0),
                ("dt is null", 0),
            ] {
                let (made, read) = lists(&mut rig, table, json!([condition])).await;
                assert!(made <= whole, "{condition} in pages of {page_keys}: {made} requests, {whole} for all");
                assert_eq!(read, rows, "{condition} in pages of {page_keys}");
            }
        }
    }
    // Of 28 pages, the first and those that are needed.
    let (made, _) = lists(&mut rig, &template, json!(["dt >= 2026-02-20"])).await;
    assert!(made <= 1 + 5, "{made}");
}

#[tokio::test]
async fn a_bucket_of_one_page_is_listed_as_a_whole_and_what_is_left_out_is_counted() {
    let mut rig = Rig::start().await;
    fill(&rig);
    assert_eq!(rig.sync(with("dt >= 2026-02-20")).await.rows("e"), 9);
    assert_eq!(rig.s3.counts().lists, 1);
    // A name that no key has is told by the same request.
    rig.s3.reset_counts();
    let error =
        rig.sync(json!({"path_prefix": "e/", "partitions": {"style": "hive", "where": ["day >= today-7d"]}})).await;
    assert!(error.status.unwrap().message().contains("there is no partition column \"day\"; there are dt"));
    assert_eq!(rig.s3.counts().lists, 1);
    let log = rig.stop();
    assert!(log.of_level("info").iter().all(|line| !line.contains("conditions narrow the listing")));
    let warnings = log.of_level("warn");
    assert!(warnings[0].contains("leaves out objects: with write_mode") && warnings[0].contains("47"), "{warnings:?}");
}

#[tokio::test]
async fn a_wider_condition_reads_the_rest_and_a_narrower_one_forgets_nothing() {
    // All of it listed, and with a listing that jumps.
    for page_keys in [1000, 10] {
        widen_and_narrow(page_keys).await;
    }
}

async fn widen_and_narrow(page_keys: usize) {
    let (mut rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    fill(&rig);
    rig.s3.set_page_keys(page_keys);
    let sync = sync_with_state(&mut rig, with("dt >= 2026-02-01"), &backend).await;
    assert_eq!(sync.rows("e"), 28);
    // Narrower: nothing to do; then as before, and wider.
    for (condition, new) in [
        ("dt >= 2026-02-20", 0),
        ("dt >= 2026-02-01", 0),
        ("dt >= 2026-01-27", 2),
        ("dt is not null", 26),
        ("dt >= 2026-02-20", 0),
        ("dt is not null", 0),
    ] {
        rig.s3.reset_counts();
        let sync = sync_with_state(&mut rig, with(condition), &backend).await;
        assert_eq!((sync.rows("e"), rig.s3.counts().gets), (new, new as u64), "{condition}");
    }
    // An object that is gone from what is listed is forgotten all the same.
    rig.s3.delete("e/dt=2026-02-28/a.parquet");
    sync_with_state(&mut rig, with("dt is not null"), &backend).await;
    rig.s3.put("e/dt=2026-02-28/a.parquet", file(&[128]));
    assert_eq!(sync_with_state(&mut rig, with("dt >= 2026-02-20"), &backend).await.rows("e"), 1);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn today_is_the_day_of_s3s_clock() {
    let mut rig = Rig::start().await;
    let days = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // No calendar is needed: what lies far back and what lies far ahead.
    rig.s3.put("e/dt=2020-01-01/a.parquet", file(&[1]));
    rig.s3.put("e/dt=2999-01-01/a.parquet", file(&[2]));
    assert!(days > 18_262 + 8);
    let sync = rig.sync(with("dt >= today-7d")).await;
    assert_eq!(rows(&sync, "e"), ["2999-01-01 2"]);
    let requests = rig.s3.requests();
    assert!(
        requests
            .iter()
            .filter(|request| request.op == Op::List)
            .all(|request| request.key.starts_with('e') || request.key.is_empty())
    );
}

#[tokio::test]
async fn conditions_that_do_not_fit_are_mistakes_before_anything_is_read() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/dt=2026-01-31/a.parquet", file(&[1]));
    for (condition, expected) in [
        ("day >= 2026-01-01", "partitions.where[0]: there is no partition column \"day\"; there are dt"),
        ("dt >= 5", "partitions.where[0]: dt is date, and \"5\" is not; write YYYY-MM-DD, today or today-7d"),
    ] {
        let sync = rig.sync(json!({"partitions": {"style": "hive", "where": [condition]}})).await;
        let error = sync.status.unwrap();
        assert!(error.message().contains(expected), "{error}");
    }
    assert_eq!(rig.s3.counts().gets, 0);
}

#[tokio::test]
async fn only_what_was_modified_lately_is_read_and_others_keep_their_state() {
    let (mut rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    let old = SystemTime::now() - Duration::from_secs(40 * 86_400);
    let attributes = || ObjectAttributes { last_modified: Some(old), ..ObjectAttributes::default() };
    rig.s3.put_with("t/old.parquet", file(&[1]), attributes());
    rig.s3.put_with("u/old.parquet", file(&[2]), attributes());
    rig.s3.put("t/new.parquet", file(&[3]));
    assert_eq!(rows(&sync_with_state(&mut rig, json!({}), &backend).await, "t"), ["1", "3"]);
    let sync = sync_with_state(&mut rig, json!({"modified": {"after": "30d"}}), &backend).await;
    assert_eq!((sync.tables(), sync.rows("t")), (vec!["t".to_owned()], 0));
    assert_eq!(sync_with_state(&mut rig, json!({}), &backend).await.rows("t"), 0, "nothing was forgotten");
    let sync = rig.sync(json!({"modified": {"before": "30d"}})).await;
    assert_eq!(counts(&sync).into_iter().collect::<Vec<_>>(), [("t".to_owned(), 1), ("u".to_owned(), 1)]);
    let sync = rig.sync(json!({"modified": {"after": "1970-01-01", "before": "2000-01-01T00:00:00Z"}})).await;
    assert!(sync.messages.is_empty());
    let log = rig.stop();
    assert_eq!(skipped(&log), "modified: 3");
    let warnings = log.of_level("warn");
    assert!(
        warnings.iter().all(|warning| warning.contains("overwrite-delete-stale")) && warnings.len() == 2,
        "{warnings:?}"
    );
}

#[tokio::test]
async fn conditions_compare_with_the_type_that_was_announced() {
    let (mut rig, backend) = (Rig::start().await, Backend::start(Mode::Upsert).await);
    let spec = |condition: &str| json!({"partitions": {"style": "hive", "where": [condition]}});
    rig.s3.put("t/n=9/a.parquet", file(&[1]));
    rig.s3.put("t/n=10/a.parquet", file(&[2]));
    assert_eq!(rows(&sync_with_state(&mut rig, spec("n >= 10"), &backend).await, "t"), ["10 2"]);
    // By the values of all keys, it would be text from now on.
    rig.s3.put("t/n=x/a.parquet", file(&[3]));
    rig.s3.put("t/n=011/a.parquet", file(&[4]));
    assert_eq!(rows(&sync_with_state(&mut rig, spec("n >= 10"), &backend).await, "t"), ["11 4"]);
    rig.s3.put("t/n=100/a.parquet", file(&[5]));
    assert_eq!(rows(&sync_with_state(&mut rig, spec("n >= 9"), &backend).await, "t"), ["100 5", "9 1"]);
    let sync = rig.sync(spec("n >= 9")).await;
    assert_eq!(rows(&sync, "t"), ["9 1", "x 3"], "without a state it is text");
    let warnings = rig.stop().of_level("warn");
    let told: Vec<_> = warnings.iter().filter(|warning| warning.contains("`partitions.columns: {n: int64}`")).collect();
    assert_eq!(told.len(), 1, "{warnings:?}");
}

#[tokio::test]
async fn a_stray_folder_is_an_error_of_its_table_alone() {
    let mut rig = Rig::start().await;
    rig.s3.put("a/dt=2026-01-31/a.parquet", file(&[1]));
    rig.s3.put("b/dt=1/a.parquet", file(&[2]));
    let sync = rig.sync(json!({"partitions": {"style": "hive", "where": ["dt >= 2026-01-01"]}})).await;
    assert_eq!(rows(&sync, "a"), ["2026-01-31 1"]);
    let [("b", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("partitions.where[0]: dt is int64, and \"2026-01-01\" is not"), "{error}");
    assert!(error.contains("\"b/dt=1/a.parquet\"") && error.contains("exclude it"), "{error}");
}

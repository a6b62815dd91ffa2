//! What the state keeps when a table has more objects than it may remember.

use super::*;

#[tokio::test]
async fn above_the_limit_old_objects_collapse_into_a_time_with_a_warning() {
    let mut lake = Lake::start().await;
    let spec = json!({"ledger_limit": 10, "late_arrival_window": "1h"});
    for n in 0..30 {
        lake.rig.s3.put_with(&format!("t/{n:02}.parquet"), small(&format!("{n:02}")), at(NOON + n));
    }
    assert_eq!(lake.origins(spec.clone()).await.len(), 30);
    assert_eq!(lake.rig.lines("warn").len(), 0, "not as long as the rows may have to be sent again");
    assert_eq!(lake.origins(spec.clone()).await, set(&[]));
    let warnings = lake.rig.lines("warn");
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
    assert!(warning["message"].as_str().unwrap().contains("ledger_limit") && warning["table"] == "t", "{warning}");
    assert_eq!(lake.origins(spec.clone()).await, set(&[]));
    lake.rig.s3.put_with("t/new.parquet", small("new"), at(NOON + 100));
    lake.rig.s3.put_with("t/late.parquet", small("late"), at(NOON));
    assert_eq!(lake.origins(spec.clone()).await, set(&["new"]), "what is below the low water is not seen");
    // What is forgotten stays forgotten: a higher limit brings nothing back.
    assert_eq!(lake.origins(json!({"ledger_limit": 1_000})).await, set(&[]));
    assert_eq!(lake.rig.lines("warn").len(), 2, "one whenever it collapses: two syncs, of the six");
}

#[tokio::test]
async fn within_the_late_arrival_window_nothing_collapses() {
    let mut lake = Lake::start().await;
    let spec = json!({"ledger_limit": 5, "late_arrival_window": "24h"});
    for n in 0..12 {
        lake.put(&format!("t/{n}.parquet"));
    }
    assert_eq!(lake.origins(spec.clone()).await.len(), 12);
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let late = ObjectAttributes { last_modified: Some(hour_ago), ..ObjectAttributes::default() };
    lake.rig.s3.put_with("t/late.parquet", small("late"), late);
    assert_eq!(lake.origins(spec.clone()).await, set(&["late"]));
    assert_eq!(lake.origins(spec).await, set(&[]));
}

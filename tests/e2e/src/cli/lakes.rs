//! A lake as people have it, under the real CLI: a table of partition folders whose files differ, synced twice, with a new
//! column and a new partition in between, in all write modes, with and without a state.

use super::*;
use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

pub(super) const WRITE_MODES: [&str; 3] = ["append", "overwrite", "overwrite-delete-stale"];

/// The rows of the first files, then with those of the file that comes later: id, partition, name, and the column that comes
/// later.
const FIRST: [&str; 4] = ["1|2026-01-30|a|", "2|2026-01-30||", "3|2026-01-31|b|", "1099511627776|2026-01-31|c|"];
const LATER: &str = "4|2026-02-01|d|1.5";

/// Puts the first files: one has numbers of 32 bits where the other has 64, and their columns are in another order.
pub(super) async fn put_first(s3: &LocalStack, table: &str) {
    let names = StringArray::from(vec![Some("a"), None]);
    let columns = data::columns([("id", Int32Array::from(vec![1, 2]).into()), ("name", names.into())]);
    put(s3, table, "dt=2026-01-30", columns).await;
    let ids = Int64Array::from(vec![3, 1 << 40]);
    let columns = data::columns([("name", StringArray::from(vec!["b", "c"]).into()), ("id", ids.into())]);
    put(s3, table, "dt=2026-01-31", columns).await;
}

/// Puts the file with one more column, in a folder of its own.
pub(super) async fn put_later(s3: &LocalStack, table: &str) {
    let columns = data::columns([
        ("id", Int64Array::from(vec![4]).into()),
        ("name", StringArray::from(vec!["d"]).into()),
        ("score", Float64Array::from(vec![1.5]).into()),
    ]);
    put(s3, table, "dt=2026-02-01", columns).await;
}

async fn put(s3: &LocalStack, table: &str, partition: &str, columns: Vec<data::Column>) {
    let key = format!("{table}/{partition}/part-0.parquet");
    let object = data::Object { key, columns };
    s3.put(BUCKET, &object.key, object.parquet()).await;
}

/// The plugin, for one table.
pub(super) fn lake(s3: &LocalStack, destination: &str, table: &str) -> Value {
    let mut spec = s3.spec(BUCKET);
    spec["partitions"] = json!("hive");
    spec["schema"] = json!({"mode": "merge"});
    spec["mappings"] = json!([{"glob": format!("{table}/**")}]);
    spec["state_id"] = json!(table);
    source("local", &plugin_path(), destination, &spec)
}

/// What the destination has after the second sync.
pub(super) fn expected(write_mode: &str, with_state: bool) -> Vec<String> {
    let copies = if write_mode == "append" && !with_state { 2 } else { 1 };
    let mut rows: Vec<String> = FIRST.iter().flat_map(|row| vec![(*row).to_owned(); copies]).collect();
    rows.push(LATER.to_owned());
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn a_partitioned_table_of_files_that_differ_grows() {
    let setup = Setup::new().await;
    for write_mode in WRITE_MODES {
        for with_state in [false, true] {
            let table = format!("{}_{with_state}", write_mode.replace('-', "_"));
            let mut config = [lake(&setup.s3, "mem", &table), setup.mem(write_mode)];
            if with_state {
                keep_state_in("mem", &mut config[0]);
            }
            put_first(&setup.s3, &table).await;
            setup.cli.run(&["sync"], &config).assert_success();
            put_later(&setup.s3, &table).await;
            setup.cli.run(&["sync"], &config).assert_success();

            let batches = setup.mem.read(&table).await;
            let rows = data::rows_of_columns(&batches, &["id", "dt", "name", "score"]);
            assert_eq!(rows, expected(write_mode, with_state), "{table}");
        }
    }
}

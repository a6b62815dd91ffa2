//! CloudQuery's own destination into a real database, compared by the database. No package registry offers that
//! destination, so `just test-cli` selects this module only where [`DESTINATION_VARIABLE`] is set.

use super::lakes;
use super::*;
use crate::postgres::Postgres;
use std::time::Duration;

/// The variable that gives the path of CloudQuery's own PostgreSQL destination.
const DESTINATION_VARIABLE: &str = "CQ_DESTINATION_POSTGRESQL";

/// A server, and the destination `pg` that writes to it.
struct Database {
    server: Postgres,
    /// The path of the destination's binary.
    destination: String,
}

impl Database {
    /// Starts the server in this folder.
    fn start(dir: &Path) -> Self {
        let destination = std::env::var(DESTINATION_VARIABLE).unwrap_or_else(|_| {
            panic!("set {DESTINATION_VARIABLE} to the path of CloudQuery's PostgreSQL destination")
        });
        Self { server: Postgres::start(dir), destination }
    }

    /// The plugin, for this destination.
    fn source(&self, s3: &LocalStack) -> Value {
        source("local", &plugin_path(), "pg", &s3.spec(BUCKET))
    }

    fn destination(&self, write_mode: &str) -> Value {
        let spec = json!({"connection_string": self.server.connection_string()});
        destination("pg", "local", &self.destination, write_mode, &spec)
    }
}

#[tokio::test]
async fn holds_what_the_files_hold() {
    let setup = Setup::new().await;
    let database = Database::start(setup.dir.path());
    let config = [database.source(&setup.s3), database.destination("overwrite-delete-stale")];

    for _ in 0..2 {
        assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
        for table in &setup.tables {
            database.server.assert_contents(table);
        }
    }
}

/// The state lies in the same database.
#[tokio::test]
async fn keeps_the_state_of_incremental_syncs() {
    let setup = Setup::new().await;
    let database = Database::start(setup.dir.path());
    let mut config = [database.source(&setup.s3), database.destination("overwrite-delete-stale")];
    keep_state_in("pg", &mut config[0]);

    for rows in [setup.row_count() + COMMIT_ROW, 0, 0] {
        assert_eq!(setup.cli.sync(&[], &config), rows);
        for table in &setup.tables {
            database.server.assert_contents(table);
        }
    }
}

/// A row of each group for each id: `_cq_id` is the primary key together with the group, and not unique besides.
/// Version 0.1.0 said so, and its tables have a constraint that must go by itself.
#[tokio::test]
async fn keeps_the_rows_of_every_sync_group() {
    let setup = Setup::new().await;
    let database = Database::start(setup.dir.path());
    let mut config = [database.source(&setup.s3), database.destination("overwrite")];
    config[1]["spec"]["sync_group_id"] = json!("{{SYNC_ID}}");
    let constraints = || {
        let ours = "contype = 'u' AND connamespace = 'public'::regnamespace";
        database.server.psql(&format!("SELECT count(*) FROM pg_constraint WHERE {ours};")).trim().to_owned()
    };

    for groups in 1..=3 {
        assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
        assert_eq!(constraints(), "0");
        for table in &setup.tables {
            let counts = "count(*), count(DISTINCT _cq_sync_group_id), count(DISTINCT _cq_id)";
            let found = database.server.psql(&format!("SELECT {counts} FROM {};", table.name));
            let rows = table.row_count();
            assert_eq!(found.trim(), format!("{}|{groups}|{rows}", groups * rows), "{}", table.name);
            if groups == 1 {
                // As version 0.1.0 left it: PostgreSQL gives it the name that it gives it with CREATE TABLE.
                database.server.psql(&format!("ALTER TABLE {} ADD UNIQUE (_cq_id);", table.name));
            }
        }
    }
}

/// A database refuses what is not a new column.
#[tokio::test]
async fn has_a_partitioned_table_of_files_that_differ() {
    let setup = Setup::new().await;
    let database = Database::start(setup.dir.path());
    for write_mode in lakes::WRITE_MODES {
        for with_state in [false, true] {
            let table = format!("{}_{with_state}", write_mode.replace('-', "_"));
            let mut config = [lakes::lake(&setup.s3, "pg", &table), database.destination(write_mode)];
            if with_state {
                keep_state_in("pg", &mut config[0]);
                // Without keys in `append`, and so no table for the other modes.
                config[0]["spec"]["backend_options"]["table_name"] = json!(format!("state_{table}"));
            }
            lakes::put_first(&setup.s3, &table).await;
            setup.cli.run(&["sync"], &config).assert_success();
            lakes::put_later(&setup.s3, &table).await;
            setup.cli.run(&["sync"], &config).assert_success();

            let query = format!("SELECT id, dt::date, name, score FROM public.{table};");
            let mut rows: Vec<String> = database.server.psql(&query).lines().map(str::to_owned).collect();
            rows.sort_unstable();
            assert_eq!(rows, lakes::expected(write_mode, with_state), "{table}");
        }
    }
}

/// The destination holds the last rows back while the state is written already, and then all are killed.
#[tokio::test]
async fn has_every_row_after_the_cli_was_killed_behind_the_state() {
    const ROWS: i64 = 2_000;
    let dir = short_dir();
    let s3 = LocalStack::start().await;
    s3.create_bucket(BUCKET).await;
    let cli = Cli::new(dir.path());
    let database = Database::start(dir.path());
    let mut killed = 0;
    // The first sync of a source, and later ones.
    for first in [true, false] {
        for signal in ["TERM", "KILL"] {
            for after_ms in [0, 300, 700, 1_100] {
                let key = format!("counters/{killed}.parquet");
                let object = data::counter_object(&key, killed * ROWS..(killed + 1) * ROWS);
                s3.put(BUCKET, &object.key, object.parquet()).await;
                killed += 1;
                let mut config = [database.source(&s3), database.destination("overwrite")];
                let state_id = if first { killed.to_string() } else { "later".to_owned() };
                config[0]["spec"]["spec"]["state_id"] = json!(state_id);
                keep_state_in("pg", &mut config[0]);

                cli.sync_until(&config, "state flushed", Duration::from_millis(after_ms), signal);
                cli.run(&["sync"], &config).assert_success();

                let rows = database.server.psql("SELECT count(DISTINCT value), count(*) FROM public.counters;");
                let expected = killed * ROWS;
                assert_eq!(rows.trim(), format!("{expected}|{expected}"), "{signal} after {after_ms} ms");
            }
        }
    }
}

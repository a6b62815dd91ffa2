//! How far a sync is, for people who watch its log: one line at `info` every 15 s, and one for each table at `debug`.

use super::table::{Stats, TableRun};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between lines: often enough to see that something moves, and nothing at all in a short sync.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How far one sync is. Shared by all its tasks.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects that the survey inspects; set when the listing is done.
    to_inspect: OnceLock<u64>,
    /// Those of them that are inspected twice.
    twice: AtomicU64,
    inspected: AtomicU64,
    /// Set when all are inspected.
    tables: OnceLock<Vec<Arc<TableRun>>>,
}

impl Progress {
    /// The listing is done; the survey of `objects` objects comes next.
    pub fn survey_begins(&self, objects: u64) {
        // Set once a sync.
        let _ = self.to_inspect.set(objects);
    }

    /// Objects are inspected once more.
    pub fn survey_goes_on(&self, objects: u64) {
        self.twice.fetch_add(objects, Ordering::Relaxed);
    }

    /// One object was inspected, or could not be.
    pub fn object_inspected(&self) {
        self.inspected.fetch_add(1, Ordering::Relaxed);
    }

    /// The survey is done; the objects of these tables come next.
    pub fn inserts_begin(&self, tables: &[Arc<TableRun>]) {
        let _ = self.tables.set(tables.to_vec());
    }

    /// Runs `work` and logs every `interval` until it is done. Cancel safe as `work` is.
    pub async fn logged<T>(&self, interval: Duration, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                result = &mut work => return result,
                _ = ticks.tick() => self.log(),
            }
        }
    }

    fn log(&self) {
        let Some(&to_inspect) = self.to_inspect.get() else {
            tracing::info!("listing the bucket");
            return;
        };
        let Some(tables) = self.tables.get() else {
            let done = self.inspected.load(Ordering::Relaxed);
            let objects = to_inspect + self.twice.load(Ordering::Relaxed);
            tracing::info!(objects_done = done, objects, "reading footers");
            return;
        };
        let mut total = Counts::default();
        for table in tables {
            let counts = Counts::of(table);
            tracing::debug!(
                table = table.name,
                objects_done = counts.objects_done,
                objects = counts.objects,
                bytes_done = counts.bytes_done,
                bytes = counts.bytes,
                rows = counts.rows,
                "sending rows of a table"
            );
            total.add(&counts);
        }
        tracing::info!(
            objects_done = total.objects_done,
            objects = total.objects,
            bytes_done = total.bytes_done,
            bytes = total.bytes,
            rows = total.rows,
            "sending rows"
        );
    }
}

/// What a line says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    objects_done: u64,
    objects: u64,
    bytes_done: u64,
    bytes: u64,
    rows: u64,
}

impl Counts {
    fn of(table: &TableRun) -> Self {
        Self {
            objects_done: Stats::get(&table.stats.handled),
            objects: table.planned.objects,
            bytes_done: Stats::get(&table.stats.handled_bytes),
            bytes: table.planned.bytes,
            rows: Stats::get(&table.stats.rows),
        }
    }

    fn add(&mut self, other: &Self) {
        self.objects_done += other.objects_done;
        self.objects += other.objects;
        self.bytes_done += other.bytes_done;
        self.bytes += other.bytes;
        self.rows += other.rows;
    }
}

#[cfg(test)]
mod tests {
    use super::super::announce::tests::run;
    use super::*;
    use std::fmt::Write as _;
    use std::sync::Mutex;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

    /// Collects events as `level message field=value …`.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl tracing::field::Visit for Text {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                write!(self.0, " {value:?}").unwrap();
            } else {
                write!(self.0, " {}={value:?}", field.name()).unwrap();
            }
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }

    #[test]
    fn each_phase_has_its_line() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            let progress = Progress::default();
            progress.log();
            progress.survey_begins(3);
            progress.object_inspected();
            progress.log();
            let (a, b) = (run("a", 2, 1_000), run("b", 1, 50));
            a.sent(7, 100);
            a.handled(1_000);
            b.sent(1, 10);
            progress.inserts_begin(&[a, b]);
            progress.log();
        });
        let lines = lines.0.lock().unwrap();
        assert_eq!(
            *lines,
            [
                "INFO listing the bucket",
                "INFO reading footers objects_done=1 objects=3",
                "DEBUG sending rows of a table table=\"a\" objects_done=1 objects=2 bytes_done=1000 bytes=2000 rows=7",
                "DEBUG sending rows of a table table=\"b\" objects_done=0 objects=1 bytes_done=0 bytes=50 rows=1",
                "INFO sending rows objects_done=1 objects=3 bytes_done=1000 bytes=2050 rows=8",
            ]
        );
    }

    #[tokio::test]
    async fn lines_come_until_the_work_is_done() {
        let lines = Lines::default();
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
        let progress = Progress::default();
        let work = async {
            while lines.0.lock().unwrap().len() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            "done"
        };
        assert_eq!(progress.logged(Duration::from_millis(2), work).await, "done");
    }
}

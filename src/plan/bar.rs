//! The line on stderr that shows how far a plan is, redrawn in place. Only on a terminal.

use super::terminal::cut;
use crate::sync::listing;
use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two drawings: smooth for eyes, nothing for a CPU.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// The pictures that turn.
const FRAMES: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
/// Back to the line's start, and everything behind it away.
const CLEAR: &str = "\r\u{1b}[2K";

/// How far a plan is. Shared by who works and who draws.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The listing.
    pub(crate) listing: listing::Watch,
    /// Tables whose columns are looked for; 0 while the listing goes on.
    pub(crate) tables: AtomicU64,
    /// Those that are done.
    pub(crate) tables_done: AtomicU64,
}

impl Watch {
    /// What the line says, at most `columns` wide.
    fn line(&self, frame: usize, elapsed: Duration, columns: usize) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let frame = FRAMES[frame % FRAMES.len()];
        let tables = count(&self.tables);
        let text = if tables > 0 {
            format!("{frame} reading heads: {} of {tables} tables", count(&self.tables_done))
        } else {
            let (pages, keys) = (count(&self.listing.pages), crate::words::number(count(&self.listing.keys)));
            let pages_a_second = pages as f64 / elapsed.as_secs_f64().max(0.001);
            format!("{frame} listing: {keys} keys, {pages_a_second:.1} pages/s")
        };
        cut(&text, columns)
    }
}

/// What can be drawn on.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    /// Its width.
    pub(crate) columns: usize,
    /// Time between two drawings.
    pub(crate) interval: Duration,
    /// Where to write.
    pub(crate) output: W,
}

/// Runs `work` and draws meanwhile, if there is something to draw on. Nothing of the line is left behind. Cancel safe as
/// `work` is.
pub(crate) async fn drawn<T>(watch: &Watch, mut on: Option<Screen<impl Write>>, work: impl Future<Output = T>) -> T {
    let Some(Screen { columns, interval, output }) = &mut on else { return work.await };
    let started = Instant::now();
    let mut work = pin!(work);
    let mut ticks = interval_at(started + *interval, *interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = 0;
    loop {
        tokio::select! {
            result = &mut work => {
                // A terminal that is gone is nobody's loss.
                if frame > 0 {
                    let _ = write!(output, "{CLEAR}").and_then(|()| output.flush());
                }
                return result;
            }
            _ = ticks.tick() => {
                let line = watch.line(frame, started.elapsed(), *columns - 1);
                let _ = write!(output, "{CLEAR}{line}").and_then(|()| output.flush());
                frame += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_done_and_how_fast() {
        let watch = Watch::default();
        watch.listing.pages.store(42, Ordering::Relaxed);
        watch.listing.keys.store(41_999, Ordering::Relaxed);
        assert_eq!(watch.line(0, Duration::from_secs(10), 80), "⣾ listing: 41,999 keys, 4.2 pages/s");
        assert_eq!(watch.line(0, Duration::from_secs(10), 20), "⣾ listing: 41,999 k…");
        watch.tables.store(12, Ordering::Relaxed);
        watch.tables_done.store(3, Ordering::Relaxed);
        assert_eq!(watch.line(9, Duration::from_secs(10), 80), "⣽ reading heads: 3 of 12 tables");
    }

    fn screen(output: &mut Vec<u8>) -> Option<Screen<&mut Vec<u8>>> {
        Some(Screen { columns: 80, interval: Duration::from_millis(2), output })
    }

    #[tokio::test]
    async fn nothing_of_it_is_left() {
        let (watch, mut output) = (Watch::default(), Vec::new());
        drawn(&watch, screen(&mut output), tokio::time::sleep(Duration::from_millis(50))).await;
        let text = String::from_utf8(output).unwrap();
        assert!(text.matches("listing: 0 keys").count() > 1, "{text:?}");
        assert!(text.starts_with(CLEAR) && text.ends_with(CLEAR), "{text:?}");
    }

    #[tokio::test]
    async fn quick_work_draws_nothing() {
        let mut output = Vec::new();
        assert_eq!(drawn(&Watch::default(), screen(&mut output), async { 5 }).await, 5);
        assert!(output.is_empty());
        assert_eq!(drawn(&Watch::default(), None::<Screen<Vec<u8>>>, async { 5 }).await, 5);
    }
}

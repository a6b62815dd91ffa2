//! The line on stderr that shows how far a plan is: on a terminal redrawn in place, elsewhere a line now and then, so that a
//! plan that waits does not look like one that hangs.

use super::terminal::cut;
use crate::sync::listing;
use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two drawings: smooth for eyes, nothing for a CPU.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Time between two lines where nothing can be redrawn: most plans are done before the first.
pub(crate) const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// After so long without a page, the line says what is waited for.
const WAITING_AFTER: Duration = Duration::from_secs(3);
/// The pictures that turn.
const FRAMES: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
/// Back to the line's start, and everything behind it away.
const CLEAR: &str = "\r\u{1b}[2K";

/// How far a plan is. Shared by who works and who draws.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Who is asked, in words.
    pub(crate) place: String,
    /// The listing.
    pub(crate) listing: listing::Watch,
    /// Tables whose columns are looked for; 0 while the listing goes on.
    pub(crate) tables: AtomicU64,
    /// Those that are done.
    pub(crate) tables_done: AtomicU64,
}

impl Watch {
    /// What the line says.
    fn line(&self, elapsed: Duration) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tables = count(&self.tables);
        if tables > 0 {
            return format!("reading heads: {} of {tables} tables", count(&self.tables_done));
        }
        let (pages, keys) = (count(&self.listing.pages), crate::words::number(count(&self.listing.keys)));
        if pages == 0 && elapsed >= WAITING_AFTER {
            return format!("waiting for {}: no answer for {} s, it is asked again", self.place, elapsed.as_secs());
        }
        let pages_a_second = pages as f64 / elapsed.as_secs_f64().max(0.001);
        format!("listing: {keys} keys, {pages_a_second:.1} pages/s")
    }
}

/// What can be drawn on.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    /// Its width, if a line can be redrawn.
    pub(crate) columns: Option<usize>,
    /// Time between two drawings.
    pub(crate) interval: Duration,
    /// Where to write.
    pub(crate) output: W,
}

/// Runs `work` and draws meanwhile, if there is something to draw on. Nothing of the line is left behind. Cancel safe as
/// `work` is.
pub(crate) async fn drawn<T>(watch: &Watch, screen: Screen<impl Write>, work: impl Future<Output = T>) -> T {
    let Screen { columns, interval, mut output } = screen;
    let started = Instant::now();
    let mut work = pin!(work);
    let mut ticks = interval_at(started + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = 0;
    loop {
        tokio::select! {
            result = &mut work => {
                // A terminal that is gone is nobody's loss.
                if frame > 0 && columns.is_some() {
                    let _ = write!(output, "{CLEAR}").and_then(|()| output.flush());
                }
                return result;
            }
            _ = ticks.tick() => {
                let line = watch.line(started.elapsed());
                let line = match columns {
                    Some(columns) => {
                        let line = format!("{} {line}", FRAMES[frame % FRAMES.len()]);
                        format!("{CLEAR}{}", cut(&line, columns.saturating_sub(1)))
                    }
                    None => line + "\n",
                };
                let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
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
        assert_eq!(watch.line(Duration::from_secs(10)), "listing: 41,999 keys, 4.2 pages/s");
        watch.tables.store(12, Ordering::Relaxed);
        watch.tables_done.store(3, Ordering::Relaxed);
        assert_eq!(watch.line(Duration::from_secs(10)), "reading heads: 3 of 12 tables");
        let watch = Watch { place: "S3".to_owned(), ..Watch::default() };
        assert_eq!(watch.line(Duration::from_secs(1)), "listing: 0 keys, 0.0 pages/s");
        assert!(watch.line(Duration::from_secs(7)).starts_with("waiting for S3: no answer for 7 s"));
    }

    fn screen(columns: Option<usize>, output: &mut Vec<u8>) -> Screen<&mut Vec<u8>> {
        Screen { columns, interval: Duration::from_millis(2), output }
    }

    #[tokio::test]
    async fn nothing_of_it_is_left() {
        let (watch, mut output) = (Watch::default(), Vec::new());
        drawn(&watch, screen(Some(80), &mut output), tokio::time::sleep(Duration::from_millis(50))).await;
        let text = String::from_utf8(output).unwrap();
        assert!(text.matches("listing: 0 keys").count() > 1, "{text:?}");
        assert!(text.starts_with(CLEAR) && text.ends_with(CLEAR), "{text:?}");
    }

    #[tokio::test]
    async fn quick_work_draws_nothing() {
        let mut output = Vec::new();
        assert_eq!(drawn(&Watch::default(), screen(Some(80), &mut output), async { 5 }).await, 5);
        assert!(output.is_empty());
    }

    #[tokio::test]
    async fn where_nothing_can_be_redrawn_there_are_whole_lines() {
        let (watch, mut output) = (Watch::default(), Vec::new());
        drawn(&watch, screen(None, &mut output), tokio::time::sleep(Duration::from_millis(50))).await;
        let text = String::from_utf8(output).unwrap();
        assert!(
            text.lines().count() > 1 && text.lines().all(|line| line == "listing: 0 keys, 0.0 pages/s"),
            "{text:?}"
        );
    }
}

//! The steps of an object that is too large to be fetched whole.

use super::row_sink::RowSink;
use super::{Held, Room, Sending, facts};
use crate::config::FileColumn;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::{File, Position};
use crate::memory::need::Need;
use crate::memory::spare::Spare;
use crate::memory::{Admitted, Seat};
use crate::s3::{ByteRange, ETag, RetryBudget};
use crate::sync::context::Context;
use crate::sync::cpu;
use crate::sync::error::Error;
use crate::sync::need::{Experience, Facts, Fetch};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

/// Range reads of one step at a time: enough to fill a connection's latency, few enough that fifty objects at a time do
/// not open hundreds of connections each.
const GETS_IN_FLIGHT: usize = 4;

/// How far an object is.
#[derive(Debug)]
struct Walk {
    /// Where reading goes on; `None` as long as nothing of it is known.
    resume_at: Option<Position>,
    /// The version whose rows were sent.
    etag: Option<ETag>,
    experience: Experience,
}

/// An object whose head is there.
#[derive(Clone, Copy)]
struct Source<'a> {
    cx: &'a Context,
    key: &'a str,
    file: &'a File,
    etag: Option<&'a ETag>,
    budget: &'a RetryBudget,
    facts: Facts,
}

/// A step in memory.
struct Fetched {
    fetch: Fetch,
    bytes: FetchedRanges,
    /// Memory for decoding it, as measured.
    decoding_bytes: u64,
}

/// The step that follows the one that is sent.
enum Next {
    /// Not fetched: it is the last, or there was no memory for two.
    NotYet,
    /// In memory, on the object's own share.
    Own(Fetched),
    /// In memory, on a share of its own.
    Extra(Fetched, Admitted<'static>),
}

impl Sending<'_> {
    /// All rows of an object that is read in steps.
    pub(super) async fn send_large(&mut self, seat: &mut Seat) -> Result<(), Error> {
        let mut walk = Walk { resume_at: None, etag: self.task.etag.clone(), experience: Experience::default() };
        let (mut need, budget) = (self.task.need, RetryBudget::default());
        loop {
            let mut own = seat.admit(need).await;
            match Box::pin(self.send_admitted(&mut own, &mut walk, &budget)).await? {
                Held::Done => return Ok(()),
                // More than before each time, and no more than the largest step takes: it ends.
                Held::Needs(more) => need = more,
            }
            self.rows.drop_reader();
        }
    }

    /// The steps that are left, on what the object was admitted with.
    async fn send_admitted(
        &mut self,
        own: &mut Admitted<'_>,
        walk: &mut Walk,
        budget: &RetryBudget,
    ) -> Result<Held, Error> {
        let (file, object_bytes) = self.head(walk, budget).await?;
        let next_row = self.rows.next_row();
        let from = *walk.resume_at.get_or_insert_with(|| file.position_of_row(next_row));
        let facts = facts(self.cx, &self.table.objects.options, &self.task.key, &file, object_bytes);
        let (of, output, learned) = (file.clone(), self.output(), facts.with(walk.experience));
        let opened = cpu::run(move || Ok::<_, ReadError>((learned.of_steps(&of, from)?, of.reader(output)?)));
        let (need, reader) = opened.await??;
        // As the survey found it, unless the object is another one by now and has no ETag to tell.
        if !own.suffices_for(need) {
            return Ok(Held::Needs(need));
        }
        self.warn_if_alone(own);
        self.rows.read(reader);
        let (cx, key, etag) = (self.cx, self.task.key.as_str(), walk.etag.clone());
        let source = Source { cx, key, file: &file, etag: etag.as_ref(), budget, facts };
        Steps { source, rows: &mut self.rows, walk, at: from }.send(own).await
    }

    /// What the file says, as the survey kept it or read now, and the object's size.
    async fn head(&mut self, walk: &mut Walk, budget: &RetryBudget) -> Result<(File, u64), Error> {
        if let Some(file) = self.task.head.take().and_then(Spare::take) {
            return Ok((file, self.task.object_bytes));
        }
        let options = &self.table.objects.options;
        // The version's id only the answer to a request tells.
        let tells_version = options.file_columns.has(FileColumn::Version) && self.task.version.is_none();
        // Without an ETag nothing would tell that another version has taken its place between two steps.
        let is_told = walk.etag.is_some() && !tells_version;
        if is_told && let Some(file) = self.task.format.unread(options, self.task.object_bytes) {
            return Ok((file, self.task.object_bytes));
        }
        let found = self.inspector(budget).fetch(self.task.object_bytes, walk.etag.as_ref(), Room::Admitted).await?;
        walk.etag = found.etag;
        self.task.version = found.version;
        Ok((found.file, found.object_bytes))
    }
}

/// The steps of an object, one after the other.
struct Steps<'a, 'b> {
    source: Source<'a>,
    rows: &'a mut RowSink<'b>,
    walk: &'a mut Walk,
    /// Behind what was fetched.
    at: Position,
}

impl Steps<'_, '_> {
    async fn send(mut self, own: &mut Admitted<'_>) -> Result<Held, Error> {
        let mut next = Next::NotYet;
        loop {
            next = match next {
                Next::NotYet => {
                    let Some(fetched) = self.source.fetch_own(self.at, own).await? else { return Ok(Held::Done) };
                    if let Some(need) = self.lacks(own, &fetched) {
                        return Ok(Held::Needs(need));
                    }
                    Next::Own(fetched)
                }
                Next::Own(fetched) => {
                    self.at = fetched.fetch.step.next;
                    let (source, following, experience) = (self.source, self.at, self.walk.experience);
                    // An error of what is fetched ahead comes after the rows before it.
                    let ahead = async { Ok(source.fetch_ahead(following, experience).await) };
                    let ((), ahead) = futures::try_join!(self.send_step(fetched, own), ahead)?;
                    match ahead? {
                        Some((fetched, mut extra)) => {
                            // As it was asked for.
                            let need = self.measured(&fetched, self.rows.held_bytes()).without_head();
                            // Else there is room for one: it is fetched again.
                            if extra.suffices_for(need) { Next::Extra(fetched, extra) } else { Next::NotYet }
                        }
                        None => Next::NotYet,
                    }
                }
                Next::Extra(fetched, mut extra) => {
                    self.at = fetched.fetch.step.next;
                    let (source, following) = (self.source, self.at);
                    let ahead = async { Ok(source.fetch_own(following, own).await) };
                    let ((), ahead) = futures::try_join!(self.send_step(fetched, &mut extra), ahead)?;
                    drop(extra);
                    match ahead? {
                        Some(fetched) => {
                            if let Some(need) = self.lacks(own, &fetched) {
                                return Ok(Held::Needs(need));
                            }
                            Next::Own(fetched)
                        }
                        None => return Ok(Held::Done),
                    }
                }
            };
        }
    }

    /// What a step needs as measured, which is remembered, beside what the reader carries into it.
    fn measured(&mut self, fetched: &Fetched, carried_bytes: u64) -> Need {
        self.walk.experience.learn(fetched.fetch.step.decoding_bytes, fetched.decoding_bytes);
        let decoding_bytes = fetched.decoding_bytes.saturating_add(carried_bytes);
        self.source.facts.need(self.source.file, fetched.fetch.input_bytes(), decoding_bytes)
    }

    /// What a step needs, if that is more than the object's own share has or can get.
    fn lacks(&mut self, own: &mut Admitted<'_>, fetched: &Fetched) -> Option<Need> {
        let carried_bytes = self.rows.held_bytes();
        let need = self.measured(fetched, carried_bytes);
        if own.suffices_for(need) {
            return None;
        }
        // A record longer than steps is carried on: with room for as much again, it is not begun anew for each of them.
        let need = self.measured(fetched, carried_bytes.saturating_mul(2));
        let Source { file, facts, .. } = self.source;
        let later = facts.with(self.walk.experience).of_steps(file, fetched.fetch.step.from).ok();
        later.into_iter().chain([need]).max_by_key(|need| need.total_bytes())
    }

    async fn send_step(&mut self, fetched: Fetched, share: &mut Admitted<'_>) -> Result<(), Error> {
        let Fetched { fetch, bytes, .. } = fetched;
        self.rows.send_step(fetch.step, bytes, share.pool()).await?;
        share.mark_all_resident();
        self.walk.resume_at = self.rows.resume_at();
        Ok(())
    }
}

impl Source<'_> {
    /// The step from `from` on, if there is one and memory for it now, given what earlier steps taught.
    async fn fetch_ahead(
        self,
        from: Position,
        experience: Experience,
    ) -> Result<Option<(Fetched, Admitted<'static>)>, Error> {
        let Some(fetch) = Fetch::of(self.file, from, self.facts.step_bytes())? else { return Ok(None) };
        let decoding_bytes = experience.apply(fetch.step.decoding_bytes);
        let need = self.facts.need(self.file, fetch.input_bytes(), decoding_bytes);
        // The object's own share has the head.
        let Some(mut extra) = self.cx.memory.try_admit(need.without_head()).await else { return Ok(None) };
        Ok(Some((self.fetch(fetch, &mut extra).await?, extra)))
    }

    /// The step from `from` on, if there is one, on the object's own share, which is free.
    async fn fetch_own(self, from: Position, own: &mut Admitted<'_>) -> Result<Option<Fetched>, Error> {
        let Some(fetch) = Fetch::of(self.file, from, self.facts.step_bytes())? else { return Ok(None) };
        Ok(Some(self.fetch(fetch, own).await?))
    }

    async fn fetch(self, fetch: Fetch, share: &mut Admitted<'_>) -> Result<Fetched, Error> {
        share.refill().await;
        let pieces: Vec<(u64, Bytes)> = futures::stream::iter(fetch.pieces.clone())
            .map(|piece| async move {
                let part = ByteRange::Part { start: piece.start, len: piece.end - piece.start };
                let fetched = self.cx.store.get(self.key, part, self.etag, self.budget).await?;
                Ok::<_, Error>((fetched.start, fetched.bytes))
            })
            .buffer_unordered(GETS_IN_FLIGHT)
            .try_collect()
            .await?;
        share.mark_resident(fetch.input_bytes());
        let bytes = FetchedRanges::new(pieces)?;
        let (file, step, fetched) = (self.file.clone(), fetch.step.clone(), bytes.clone());
        let decoding_bytes = cpu::run(move || file.measured_bytes(&step, &fetched)).await?;
        Ok(Fetched { fetch, bytes, decoding_bytes })
    }
}

//! The steps of an object that is too large to be fetched whole.

use super::{Admitted, Error, Held, Object, Room, Seat, Task, cpu, facts, footer, group_of_row, group_rows};
use crate::formats::parquet::chunks::FetchedRanges;
use crate::formats::parquet::memory;
use crate::formats::parquet::row_groups::ObjectPlan;
use crate::s3::{ByteRange, ETag, RetryBudget};
use crate::sync::need::{Experience, Facts, Need, Step, step};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// Range reads of one step at a time: enough to fill a connection's latency, few enough that fifty objects at a time do
/// not open hundreds of connections each.
const GETS_IN_FLIGHT: usize = 4;
/// How far an object is.
#[derive(Debug, Default)]
struct Walk {
    /// The first row group that is left.
    row_group: usize,
    /// The number of its first row.
    first_row: u64,
    /// The version whose rows were sent.
    etag: Option<ETag>,
    experience: Experience,
    warned: bool,
}

/// An object whose footer is there.
struct Source<'a> {
    object: Object<'a>,
    metadata: &'a Arc<ParquetMetaData>,
    etag: Option<&'a ETag>,
    budget: &'a RetryBudget,
    plan: Arc<ObjectPlan>,
    facts: Facts,
}

/// A step in memory.
struct Fetched {
    step: Step,
    bytes: FetchedRanges,
    /// Memory for decoding its largest row group, as measured.
    decoding_bytes: u64,
}

/// The step that follows the one that is sent.
enum Next {
    /// Not fetched: it is the last, or there was no memory for two.
    NotYet,
    /// In memory, on the object's own share.
    Own(Fetched),
    /// In memory, on a share besides.
    Extra(Fetched, Admitted<'static>),
}

impl Object<'_> {
    /// All rows of an object that is read in steps.
    pub(super) async fn send_large(self, seat: &mut Seat, task: &Task, sent: &mut u64) -> Result<(), Error> {
        let (mut walk, mut need) = (Walk { etag: task.etag.clone(), ..Walk::default() }, task.need);
        let budget = RetryBudget::default();
        loop {
            let mut own = seat.admit(need).await;
            let sending = self.send_admitted(&mut own, task.object_bytes, &mut walk, &budget, sent);
            match Box::pin(sending).await? {
                Held::Done => return Ok(()),
                // More than before each time, and no more than the largest step takes: it ends.
                Held::Needs(more) => need = more,
            }
        }
    }

    /// The steps that are left, on what the object was admitted with.
    async fn send_admitted(
        self,
        own: &mut Admitted<'_>,
        object_bytes: u64,
        walk: &mut Walk,
        budget: &RetryBudget,
        sent: &mut u64,
    ) -> Result<Held, Error> {
        let (cx, guess) = (self.cx, &self.table.objects.footers);
        let etag = walk.etag.as_ref();
        let footer = footer::fetch(&cx.store, self.key, object_bytes, etag, guess, budget, Room::Admitted).await?;
        walk.etag.clone_from(&footer.etag);
        let metadata = &footer.metadata;
        if walk.row_group == 0 {
            (walk.row_group, walk.first_row) = group_of_row(metadata, self.first_row);
        }
        let facts = facts(cx, self.key, metadata, footer.object_bytes);
        // As the footer pass found it, unless the object is another one by now and has no ETag to tell.
        let need = facts.with(walk.experience).of_steps(metadata, walk.row_group)?;
        if !own.try_grow(need) && !own.need().suffices_for(need) {
            return Ok(Held::Needs(need));
        }
        let (planner, of) = (self.planner(), Arc::clone(metadata));
        let plan = cpu::run(move || planner(&of)).await??;
        let source = Source { object: self, metadata, etag: footer.etag.as_ref(), budget, plan, facts };
        source.send(own, walk, sent).await
    }
}

impl Source<'_> {
    async fn send(&self, own: &mut Admitted<'_>, walk: &mut Walk, sent: &mut u64) -> Result<Held, Error> {
        let mut next = Next::NotYet;
        while walk.row_group < self.metadata.num_row_groups() {
            self.object.warn_if_alone(own, &mut walk.warned);
            next = match next {
                Next::NotYet => {
                    let fetched = self.fetch(self.step(walk.row_group)?, own).await?;
                    if let Some(need) = self.lacks(own, &fetched, walk) {
                        return Ok(Held::Needs(need));
                    }
                    Next::Own(fetched)
                }
                Next::Own(fetched) => {
                    let following = fetched.step.row_groups.end;
                    // An error of what is fetched ahead comes after the rows before it.
                    let experience = walk.experience;
                    let ahead = async { Ok(self.fetch_ahead(following, experience).await) };
                    let ((), ahead) = futures::try_join!(self.send_step(fetched, own, walk, sent), ahead)?;
                    match ahead? {
                        Some((fetched, mut extra)) => {
                            // As it was asked for.
                            let need = self.measured(&fetched, walk).without_footer();
                            // Else there is room for one: it is fetched again.
                            if suffices(&mut extra, need) { Next::Extra(fetched, extra) } else { Next::NotYet }
                        }
                        None => Next::NotYet,
                    }
                }
                Next::Extra(fetched, mut extra) => {
                    let following = fetched.step.row_groups.end;
                    let ahead = async { Ok(self.fetch_own(following, own).await) };
                    let ((), ahead) = futures::try_join!(self.send_step(fetched, &mut extra, walk, sent), ahead)?;
                    drop(extra);
                    match ahead? {
                        Some(fetched) => {
                            if let Some(need) = self.lacks(own, &fetched, walk) {
                                return Ok(Held::Needs(need));
                            }
                            Next::Own(fetched)
                        }
                        None => Next::NotYet,
                    }
                }
            };
        }
        Ok(Held::Done)
    }

    fn step(&self, row_group: usize) -> Result<Step, Error> {
        step(self.metadata, row_group, self.facts.step_bytes())
    }

    /// The step from `row_group` on, if there is one and memory for it now, given what earlier steps taught.
    async fn fetch_ahead(
        &self,
        row_group: usize,
        experience: Experience,
    ) -> Result<Option<(Fetched, Admitted<'static>)>, Error> {
        if row_group >= self.metadata.num_row_groups() {
            return Ok(None);
        }
        let step = self.step(row_group)?;
        let need = self.facts.need(self.metadata, step.input_bytes(), experience.apply(step.decoding_bytes));
        // The object's own share has the footer.
        let Some(mut extra) = self.object.cx.memory.try_admit(need.without_footer()).await else { return Ok(None) };
        Ok(Some((self.fetch(step, &mut extra).await?, extra)))
    }

    /// The step from `row_group` on, if there is one, on the object's own share, which is free.
    async fn fetch_own(&self, row_group: usize, own: &mut Admitted<'_>) -> Result<Option<Fetched>, Error> {
        if row_group >= self.metadata.num_row_groups() {
            return Ok(None);
        }
        Ok(Some(self.fetch(self.step(row_group)?, own).await?))
    }

    async fn fetch(&self, step: Step, share: &mut Admitted<'_>) -> Result<Fetched, Error> {
        share.refill().await;
        let (cx, key) = (self.object.cx, self.object.key);
        let pieces: Vec<(u64, Bytes)> = futures::stream::iter(step.pieces.clone())
            .map(|piece| async move {
                let part = ByteRange::Part { start: piece.start, len: piece.end - piece.start };
                let fetched = cx.store.get(key, part, self.etag, self.budget).await?;
                Ok::<_, Error>((fetched.start, fetched.bytes))
            })
            .buffer_unordered(GETS_IN_FLIGHT)
            .try_collect()
            .await?;
        share.arrived(step.input_bytes());
        let bytes = FetchedRanges::new(pieces)?;
        let (metadata, row_groups, fetched) = (Arc::clone(self.metadata), step.row_groups.clone(), bytes.clone());
        let decoding_bytes = cpu::run(move || {
            let of_group = |group| memory::measured_bytes(&metadata, group, &fetched);
            row_groups.map(of_group).max().unwrap_or(0)
        })
        .await?;
        Ok(Fetched { step, bytes, decoding_bytes })
    }

    /// What a step needs as measured, which is remembered.
    fn measured(&self, fetched: &Fetched, walk: &mut Walk) -> Need {
        walk.experience.learn(fetched.step.decoding_bytes, fetched.decoding_bytes);
        self.facts.need(self.metadata, fetched.step.input_bytes(), fetched.decoding_bytes)
    }

    /// What a step needs, if that is more than the object's own share has or can get.
    fn lacks(&self, own: &mut Admitted<'_>, fetched: &Fetched, walk: &mut Walk) -> Option<Need> {
        let need = self.measured(fetched, walk);
        if suffices(own, need) {
            return None;
        }
        let later = self.facts.with(walk.experience).of_steps(self.metadata, walk.row_group).ok();
        later.into_iter().chain([need]).max_by_key(|need| need.total_bytes())
    }

    async fn send_step(
        &self,
        fetched: Fetched,
        share: &mut Admitted<'_>,
        walk: &mut Walk,
        sent: &mut u64,
    ) -> Result<(), Error> {
        let Fetched { step, bytes, .. } = fetched;
        for row_group in step.row_groups {
            let (bytes, first_row) = (bytes.clone(), walk.first_row);
            self.object.send_row_group(&self.plan, row_group, bytes, first_row, share.pool(), sent).await?;
            share.filled();
            walk.first_row += group_rows(self.metadata, row_group);
            walk.row_group = row_group + 1;
        }
        Ok(())
    }
}

/// Whether `share` has what is needed, or can get it now.
fn suffices(share: &mut Admitted<'_>, need: Need) -> bool {
    share.try_grow(need) || share.need().suffices_for(need)
}

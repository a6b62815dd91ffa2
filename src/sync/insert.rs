//! The phase of the inserts: every object is a task of its own, tables take turns.

use super::context::Context;
use super::need;
use super::report::Report;
use super::sending::{self, Outcome, Task};
use super::survey::SurveyedTable;
use super::table::TableRun;
use super::tasks::{Turns, run_each};
use super::together::{self, Grouped, Together};
use crate::cloudquery::source::SourceError;
use std::sync::Arc;

/// Sends all objects of all tables. What the survey kept in memory goes first: the others wait until it was admitted.
///
/// # Errors
/// What ends the whole sync.
pub async fn insert(cx: &Context, tables: Vec<SurveyedTable>, report: &Arc<Report>) -> Result<(), SourceError> {
    let mut kept = Vec::new();
    let mut queues = Vec::with_capacity(tables.len());
    for table in tables {
        if table.run.planned.objects == 0 {
            table.run.telemetry.finished();
        }
        let indexes: Vec<usize> = table.kept.keys().copied().collect();
        for (index, object) in table.kept {
            let task = task(&table.run, index, cx).map(|task| Task { kept: Some(object), ..task });
            kept.extend(task.map(|task| (Arc::clone(&table.run), task)));
        }
        let most = together::most_to_fetch(table.run.objects.count_small(), cx.concurrency);
        let (run, cx, mut heads) = (Arc::clone(&table.run), cx.clone(), table.heads);
        let later = (0..run.objects.len()).filter(move |index| indexes.binary_search(index).is_err()).filter_map(
            move |index| {
                let task = Task { head: heads.remove(&index), ..task(&run, index, &cx)? };
                Some((Arc::clone(&run), task))
            },
        );
        queues.push(Grouped::new(later, most));
    }
    let kept = Grouped::new(kept.into_iter(), usize::MAX);
    let sends = kept.chain(Turns::new(queues)).map(|together| {
        let (cx, report) = (cx.clone(), Arc::clone(report));
        async move { send_objects(&cx, together, &report).await }
    });
    run_each(cx.concurrency, sends).await
}

/// Objects of one table: together, as far as they can be, then one by one.
async fn send_objects(cx: &Context, Together { run, tasks }: Together, report: &Report) -> Result<(), SourceError> {
    let keys = tasks.first().map(|task| task.key.clone()).unwrap_or_default();
    let alone = match together::send(cx, &run, tasks).await {
        Ok(alone) => alone,
        // The peer has gone, or the process ends: that is said.
        Err(error) => return report.object_failed(&run.name, &keys, error).await,
    };
    for task in alone {
        send_object(cx, &run, task, report).await?;
    }
    Ok(())
}

/// What is to be done about an object of a table; `None` for one that is not to be sent.
fn task(table: &TableRun, index: usize, cx: &Context) -> Option<Task> {
    let (key, object) = table.objects.get(index)?;
    let need = need::recorded(object.held_bytes()?, object.size_bytes, cx.memory.limit_bytes());
    let (object_bytes, first_row) = (object.size_bytes, table.objects.rows_sent(index));
    let (format, etag) = (object.format, object.etag);
    let version = None;
    Some(Task { index, key, format, object_bytes, etag, version, first_row, need, kept: None, head: None })
}

/// One object; what happens to it is counted and reported. Only what ends the whole sync is an error.
async fn send_object(cx: &Context, table: &Arc<TableRun>, task: Task, report: &Report) -> Result<(), SourceError> {
    let (key, index, object_bytes) = (task.key.clone(), task.index, task.object_bytes);
    match sending::send(cx, table, task).await {
        Ok(Outcome::Sent { etag }) => {
            table.objects.sent(index, etag);
            table.stats.count_object();
            if let Some(delivery) = &cx.delivery {
                delivery.object(table, index);
            }
        }
        Ok(Outcome::Gone { sent }) => report.object_vanished(&table.name, &key, sent).await?,
        Err(error) => report.object_failed(&table.name, &key, error).await?,
    }
    table.handled(object_bytes);
    Ok(())
}

//! The phase of the inserts: every object is a task of its own, tables take turns.

use super::context::Context;
use super::need;
use super::report::Report;
use super::sending::{self, Outcome, Task};
use super::survey::SurveyedTable;
use super::table::TableRun;
use super::tasks::{Turns, run_each};
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
        let (run, cx, mut heads) = (Arc::clone(&table.run), cx.clone(), table.heads);
        let later = (0..run.objects.len()).filter(move |index| indexes.binary_search(index).is_err()).filter_map(
            move |index| {
                let task = Task { head: heads.remove(&index), ..task(&run, index, &cx)? };
                Some((Arc::clone(&run), task))
            },
        );
        queues.push(later);
    }
    let sends = kept.into_iter().chain(Turns::new(queues)).map(|(run, task)| {
        let (cx, report) = (cx.clone(), Arc::clone(report));
        async move { send_object(&cx, &run, task, &report).await }
    });
    run_each(cx.concurrency, sends).await
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

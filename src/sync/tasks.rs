//! Tasks of a sync: how many run at a time, and in which order tables are served.

use crate::cloudquery::source::{ErrorKind, SourceError};
use std::collections::VecDeque;
use tokio::task::{JoinError, JoinSet};

/// Runs every one of `tasks`, at most `at_a_time` of them at a time, each as a task of the runtime. The first error ends
/// them all, as does dropping the future.
pub(super) async fn run_each<F>(at_a_time: usize, mut tasks: impl Iterator<Item = F>) -> Result<(), SourceError>
where
    F: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_a_time {
            let Some(task) = tasks.next() else { break };
            running.spawn(task);
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(result) => joined(result)?,
        }
    }
}

/// The result of a task of the sync.
fn joined(result: Result<Result<(), SourceError>, JoinError>) -> Result<(), SourceError> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(SourceError::new(ErrorKind::Cancelled, "the plugin is stopping")),
        // A bug of ours outside the decoder: the log has the panic.
        Err(_) => Err(SourceError::new(ErrorKind::Internal, "a task of the sync panicked; the log says where")),
    }
}

/// Tables take turns, an object at a time.
pub(super) struct Turns<I> {
    queues: VecDeque<I>,
}

impl<I> Turns<I> {
    /// Serves the queues in the order in which they stand here.
    pub(super) fn new(queues: Vec<I>) -> Self {
        Self { queues: queues.into() }
    }
}

impl<I: Iterator> Iterator for Turns<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        loop {
            let mut queue = self.queues.pop_front()?;
            if let Some(item) = queue.next() {
                self.queues.push_back(queue);
                return Some(item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_turns() {
        let queues = vec![vec!["a1", "a2", "a3"].into_iter(), vec!["b1"].into_iter(), vec!["c1", "c2"].into_iter()];
        let order: Vec<&str> = Turns::new(queues).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}

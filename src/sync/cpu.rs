//! Where CPU work runs: on the runtime's blocking threads, no more at a time than there are cores, and never taking the
//! process down with it.

use super::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use tokio::sync::Semaphore;

/// As many pieces of CPU work at a time as the machine (or its CPU quota) runs in parallel: more would only hold memory.
static CORES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)));

/// Runs `work`. A panic in it becomes an error: damage that a decoder did not foresee stays in its object. Dropping the
/// future leaves work that has begun to end by itself.
///
/// # Errors
/// [`Error::Panic`], [`Error::Cancelled`] when the runtime ends.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let core = CORES.acquire().await.map_err(|_| Error::Cancelled)?;
    let result = tokio::task::spawn_blocking(move || {
        crate::telemetry::with_contained_panics(|| std::panic::catch_unwind(AssertUnwindSafe(work)))
    })
    .await;
    drop(core);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => Err(Error::Panic(panic_text(panic.as_ref()))),
        Err(_) => Err(Error::Cancelled),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run(|| -> u8 { panic!("page {} is odd", 3) }).await.unwrap_err();
        assert!(matches!(error, Error::Panic(text) if text == "page 3 is odd"));
        assert_eq!(run(|| 7).await.unwrap(), 7);
    }
}

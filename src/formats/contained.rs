//! Readers of other crates that may panic on damaged bytes: what they say becomes an error of the place that is being read.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives, or why it does not. What it was working on must not be used after an error.
pub(super) fn contained<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(format!("its bytes contradict one another ({text})"))
        }
    }
}

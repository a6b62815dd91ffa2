//! The warnings of a command that is not a server: they are shown when it is done, not as lines of a log.

use super::{Fields, MIN_VALUE_BYTES, SECRETS, is_own, redact};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt as _},
    registry,
};

/// Warnings that are kept; the rest is a number. More is read by nobody.
const MAX_WARNINGS: usize = 200;
/// The longest value of a field that is kept, in bytes.
const MAX_VALUE_BYTES: usize = 64 * MIN_VALUE_BYTES;

/// What this crate warned of since [`collect`]. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Mutex<(Vec<String>, usize)>>);

/// Has all warnings and errors of this crate kept from now on, instead of logged.
pub fn collect() -> Collected {
    let collected = Collected::default();
    // Fails only when the process has a subscriber already.
    let _ = tracing::subscriber::set_global_default(registry().with(collected.clone()));
    collected
}

impl Collected {
    /// The texts so far, which are no longer kept.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        let (mut texts, more) = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if more > 0 {
            texts.push(format!("{more} more warnings"));
        }
        texts
    }
}

impl<S: Subscriber> Layer<S> for Collected {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && is_own(metadata.target()) && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = sentence(fields);
        if let Some(secrets) = SECRETS.read().unwrap_or_else(PoisonError::into_inner).clone() {
            redact(&mut text, &secrets);
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < MAX_WARNINGS { kept.0.push(text) } else { kept.1 += 1 }
    }
}

/// An event as a sentence: its table, what it says, the error, and its other fields in brackets.
fn sentence(fields: Fields) -> String {
    let (mut table, mut error, mut others) = (String::new(), String::new(), Vec::new());
    for (name, value) in fields.others {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let shown: String = value.chars().take(MAX_VALUE_BYTES).collect();
        match name.as_str() {
            "table" => table = format!("table {shown}: "),
            "error" => error = format!(": {shown}"),
            name => others.push(format!("{name}: {shown}")),
        }
    }
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("{table}{}{error}{others}", fields.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_with_their_fields_and_nothing_else_is() {
        let collected = Collected::default();
        let subscriber = registry().with(collected.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            tracing::warn!(table = "t", objects = 3, "strange objects");
            tracing::error!(target: "other_crate", "nor this");
            (0..MAX_WARNINGS + 1).for_each(|_| tracing::error!("again"));
        });
        let texts = collected.take();
        assert_eq!(texts[0], "table t: strange objects (objects: 3)");
        assert_eq!((texts.len(), texts[MAX_WARNINGS].as_str()), (MAX_WARNINGS + 1, "2 more warnings"));
        assert!(collected.take().is_empty());
    }
}

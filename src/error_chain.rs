//! One text of an error and its causes.
//!
//! An error of this crate either prints its cause or returns it from `source()`, never both. Those of other crates may do
//! both, or repeat a cause's words in the layer above: what the text has already is left out.

use std::error::Error;

/// The error and its causes, outermost first, each once.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn causes_follow_outermost_first_and_none_is_said_twice() {
        let cause = Layer("refused", None);
        let middle = Layer("connect: refused", Some(Box::new(cause)));
        assert_eq!(error_chain(&Layer("transport error", Some(Box::new(middle)))), "transport error: connect: refused");
        assert_eq!(error_chain(&Layer("alone", None)), "alone");
    }
}

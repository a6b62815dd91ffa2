//! A text that must never be printed.

use std::fmt;

/// A secret of the spec. Neither `Debug` nor `Display` show it, and it has no `Serialize`: the only way to the content
/// is
/// [`Secret::expose`], so that every use can be found by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Printed in place of a secret.
const REDACTED: &str = "[redacted]";

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The content, for the one place that hands it to the AWS SDK. Never log it or put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_shows_nothing_of_it() {
        let secret = Secret::new("wJalrXUtnFEMI");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)).matches("wJal").count(), 0);
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
    }
}

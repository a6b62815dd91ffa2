//! Which mapping takes a key, told one by one, and where a pattern stops fitting: for people who ask why.

use super::pattern::Source;
use super::{Mapping, Mappings};
use crate::tables::name::TableKey;
use std::collections::BTreeSet;

/// A mapping, and what it makes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its field in the spec, as `mappings[1]`, or `path`.
    pub field: String,
    /// Its pattern.
    pub pattern: String,
    /// Why it does not take the key; `None`: it does.
    pub why_not: Option<String>,
}

impl Mappings {
    /// The mappings with a pattern in the order in which they are tried, up to the first that takes the key.
    #[must_use]
    pub fn tried(&self, key: &str) -> Vec<Tried> {
        let mut tried = Vec::new();
        for mapping in &self.mappings[..self.patterns()] {
            let Some(pattern) = &mapping.pattern else { continue };
            let takes = mapping.captures(key).is_some();
            tried.push(Tried {
                field: mapping.field().to_owned(),
                pattern: pattern.source.to_string(),
                why_not: (!takes).then(|| pattern.source.why_not(key)),
            });
            if takes {
                break;
            }
        }
        tried
    }

    /// The fields of the mappings that feed a table; none for a table of a folder.
    #[must_use]
    pub fn fields(&self, table: &TableKey) -> Vec<&str> {
        let fields = self.feeding(table).filter_map(|index| self.mappings.get(index));
        let with_pattern = fields.filter(|mapping| mapping.pattern.is_some());
        let fields: BTreeSet<&str> = with_pattern.map(Mapping::field).collect();
        fields.into_iter().collect()
    }
}

impl Mapping {
    fn field(&self) -> &str {
        if self.field.is_empty() { "path" } else { &self.field }
    }
}

impl std::fmt::Display for Source {
    /// As the spec has it; a template with what it was completed by.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(template) => write!(f, "path {template}"),
            Self::Glob(globs) => write!(f, "glob {}", globs.join(", ")),
            Self::Regex(regex) => write!(f, "regex {regex}"),
        }
    }
}

impl Source {
    /// Why the key, which is not taken, is not.
    fn why_not(&self, key: &str) -> String {
        match self {
            Self::Path(template) => template.why_not(key),
            Self::Glob(_) | Self::Regex(_) => "it does not match".to_owned(),
        }
    }
}

//! What the texts of a column are, if all are of one kind: what a type was before it was written as text.

use super::by_hand::text;
use crate::schema::types::ColumnType;
use arrow::array::{Array as _, StringArray};

/// What texts are, by those that were seen.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    seen: bool,
    left: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Json,
    Inet,
    Mac,
}

impl Kind {
    /// Whether the text is what is written of a value of this kind.
    fn has(self, value: &str) -> bool {
        match self {
            Self::Uuid => value.len() == 36 && is_lower_case(value) && text::uuid(value).is_some(),
            Self::Json => value.starts_with(['{', '[']) && text::json(value).is_some(),
            Self::Inet => value.contains('/') && text::inet(value).is_some(),
            Self::Mac => value.contains(':') && is_lower_case(value) && text::mac(value).is_some(),
        }
    }
}

fn is_lower_case(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_uppercase())
}

impl Default for Kinds {
    fn default() -> Self {
        Self { seen: false, left: vec![Kind::Uuid, Kind::Json, Kind::Inet, Kind::Mac] }
    }
}

impl Kinds {
    /// Looks at more texts.
    pub(crate) fn observe(&mut self, texts: &StringArray) {
        if !self.is_open() || texts.null_count() == texts.len() {
            return;
        }
        self.seen = true;
        self.left.retain(|kind| texts.iter().flatten().all(|value| kind.has(value)));
    }

    /// What these and those texts are.
    pub(crate) fn join(&mut self, other: &Self) {
        self.seen |= other.seen;
        self.left.retain(|kind| other.left.contains(kind));
    }

    /// Whether more texts may change the outcome.
    pub(crate) fn is_open(&self) -> bool {
        !self.left.is_empty()
    }

    /// The type of which all texts are; `None`: there is none, or there were no texts.
    pub(crate) fn column_type(&self) -> Option<ColumnType> {
        let kind = self.left.first().filter(|_| self.seen)?;
        Some(match kind {
            Kind::Uuid => ColumnType::Uuid,
            Kind::Json => ColumnType::Json,
            Kind::Inet => ColumnType::Inet,
            Kind::Mac => ColumnType::Mac,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[&[Option<&str>]]) -> Option<ColumnType> {
        let mut kinds = Kinds::default();
        for texts in columns {
            kinds.observe(&StringArray::from(texts.to_vec()));
        }
        kinds.column_type()
    }

    #[test]
    fn all_texts_must_be_of_one_kind() {
        let uuid = Some("12345678-90ab-cdef-1234-567890abcdef");
        assert_eq!(of(&[&[uuid, None], &[], &[uuid]]), Some(ColumnType::Uuid));
        assert_eq!(of(&[&[uuid], &[Some("x")]]), None);
        assert_eq!(of(&[&[Some("12345678-90AB-cdef-1234-567890abcdef")]]), None, "not as it is written");
        assert_eq!(of(&[&[Some("1234567890abcdef1234567890abcdef")]]), None);
        assert_eq!(of(&[&[Some("{}"), Some("[1]"), None]]), Some(ColumnType::Json));
        assert_eq!(of(&[&[Some("1"), Some("{}")]]), None, "a scalar may be a text like any other");
        assert_eq!(of(&[&[Some("[1, 2")]]), None);
        assert_eq!(of(&[&[Some("10.0.0.1/32"), Some("2001:db8::/64")]]), Some(ColumnType::Inet));
        assert_eq!(of(&[&[Some("10.0.0.1")]]), None);
        assert_eq!(of(&[&[Some("aa:bb:cc:dd:ee:ff")]]), Some(ColumnType::Mac));
        assert_eq!(of(&[&[None, None]]), None);
        assert_eq!(of(&[&[Some("")]]), None);
    }
}

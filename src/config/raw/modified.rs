//! `modified`.

use crate::config::field_types::RawMoment;
use crate::config::layout::ModifiedSpec;
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, type_name};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// Which objects are read, by their last modification.
#[derive(JsonSchema)]
#[schemars(rename = "Modified", deny_unknown_fields, transform = modified_rules)]
pub(in crate::config) struct RawModified {
    /// Objects last modified then or later: a time such as `2024-01-31T00:00:00Z`, a date, or a span such as `30d`, which counts
    /// back from S3's clock.
    #[schemars(default, with = "RawMoment")]
    pub(in crate::config) after: Option<RawMoment>,

    /// Objects last modified before that, written as in `after`.
    #[schemars(default, with = "RawMoment")]
    pub(in crate::config) before: Option<RawMoment>,
}

impl FromJson for RawModified {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with after or before, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let modified = Self { after: object.optional("after", mistakes), before: object.optional("before", mistakes) };
        object.finish(&[], mistakes);
        if map.is_empty() {
            mistakes.add(path, "needs after, before or both");
        }
        Some(modified)
    }
}

/// Adds to the schema what [`RawModified::from_json`] checks besides.
fn modified_rules(schema: &mut Schema) {
    schema.insert("minProperties".to_owned(), 1.into());
}

impl RawModified {
    pub(in crate::config) fn spec(self) -> ModifiedSpec {
        ModifiedSpec { after: self.after.map(|moment| moment.0), before: self.before.map(|moment| moment.0) }
    }
}

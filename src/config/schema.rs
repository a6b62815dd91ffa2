//! The JSON Schema of the spec, draft 2020-12, as `validate-config` and the CloudQuery Hub use it.

use super::raw::RawSpec;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Names the schema; nothing is ever fetched from there.
const SCHEMA_ID: &str = "urn:cq-source-s3:spec";

/// The schema as a value.
pub(super) fn schema_value() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let root = generator.subschema_for::<RawSpec>();
    let definitions: Map<String, Value> = generator.take_definitions(true);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "$ref": root.get("$ref"),
        "$defs": definitions,
    });
    unwrap_descriptions(&mut schema);
    schema
}

/// Doc comments are broken at the source's line width; in JSON they are one line a paragraph.
fn unwrap_descriptions(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "description" => {
                        *text = text
                            .split("\n\n")
                            .map(|paragraph| paragraph.replace('\n', " "))
                            .collect::<Vec<_>>()
                            .join("\n\n");
                    }
                    value => unwrap_descriptions(value),
                }
            }
        }
        _ => {}
    }
}

/// The JSON Schema of the spec: what it accepts is exactly what [`super::Spec::parse`] accepts, but for keys given twice, and for
/// what no schema can say well: rules between fields of several objects, such as which options are for which `filetype`.
pub fn json_schema() -> String {
    // Pretty, with a newline: the same text is committed as a file. Printing a value cannot fail.
    format!("{:#}\n", schema_value())
}

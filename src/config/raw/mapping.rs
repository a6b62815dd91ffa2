//! A mapping: which keys belong to which table.

use crate::config::field_types::{FilledText, Flag, GlobOrGlobs};
use crate::config::layout::{MAX_MAPPINGS, MappingSpec, PatternSpec};
use crate::config::limits::Limits;
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, type_name, wrong_type};
use crate::config::raw::partitions::RawPartitions;
use crate::config::table_options::RawTableOptions;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// One of the fields that say which keys a mapping takes.
const PATTERNS: [&str; 3] = ["path", "glob", "regex"];

/// Which keys belong to which table. Exactly one of `path`, `glob` and `regex`, and whatever else is other than at the top
/// level.
#[derive(JsonSchema)]
#[schemars(rename = "Mapping", deny_unknown_fields, transform = mapping_rules)]
pub(in crate::config) struct RawMapping {
    /// A template for whole keys, as CloudQuery's destinations have it in `path`: `{{TABLE}}`, `{{TABLE_HYPHEN}}`,
    /// `{{FORMAT}}`, `{{UUID}}`, `{{SYNC_ID}}`, `{{YEAR}}` … `{{MINUTE}}`; also `{{name}}` and `{{name:type}}`, which become
    /// columns, `{{*}}` (any text without `/`) and `{{**}}` (any text).
    #[schemars(default, with = "FilledText")]
    pub(in crate::config) path: Option<FilledText>,

    /// A pattern for whole keys, or a list of them, as in `include`.
    #[schemars(default, with = "GlobOrGlobs")]
    pub(in crate::config) glob: Option<GlobOrGlobs>,

    /// A regular expression for whole keys, without look-around. Named groups become columns.
    #[schemars(default, with = "FilledText")]
    pub(in crate::config) regex: Option<FilledText>,

    /// What the tables are called: text with `{{TABLE}}`, captured names, `{{FOLDER}}` and `{{FILE}}` (the file's name without
    /// its suffixes). Left out it is `{{TABLE}}` if `path` has it, else `{{FOLDER}}`.
    #[schemars(default, with = "FilledText")]
    pub(in crate::config) table: Option<FilledText>,

    /// Its objects are not read.
    #[schemars(default, with = "Flag", extend("default" = false))]
    pub(in crate::config) skip: Option<Flag>,

    #[schemars(flatten)]
    pub(in crate::config) options: RawTableOptions,
}

impl FromJson for RawMapping {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with keys such as path, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let mapping = Self {
            path: object.optional("path", mistakes),
            glob: object.optional("glob", mistakes),
            regex: object.optional("regex", mistakes),
            table: object.optional("table", mistakes),
            skip: object.optional("skip", mistakes),
            options: RawTableOptions::read(&mut object, mistakes),
        };
        object.finish(&[], mistakes);
        if PATTERNS.iter().filter(|name| map.contains_key(**name)).count() != 1 {
            mistakes.add(path, "needs exactly one of path, glob and regex");
            return None;
        }
        if mapping.skip.is_some_and(|skip| skip.0) && map.contains_key("table") {
            mistakes.add(format!("{path}.table"), "not together with skip: true");
        }
        Some(mapping)
    }
}

/// Adds to the schema what [`RawMapping::from_json`] checks between fields. The defaults are the top level's.
fn mapping_rules(schema: &mut Schema) {
    schema.insert("oneOf".to_owned(), PATTERNS.map(|name| json!({"required": [name]})).to_vec().into());
    schema.insert("if".to_owned(), json!({"required": ["skip"], "properties": {"skip": {"const": true}}}));
    schema.insert("then".to_owned(), json!({"properties": {"table": false}}));
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for property in properties.into_iter().flat_map(|properties| properties.values_mut()) {
        property.as_object_mut().map(|property| property.remove("default"));
    }
}

impl RawMapping {
    /// The mapping at `field`; `None` if what it takes is not known, which was noted.
    pub(in crate::config) fn spec(self, field: String, top: &RawTableOptions, limits: Limits) -> Option<MappingSpec> {
        let pattern = match (self.path, self.glob, self.regex) {
            (Some(path), ..) => PatternSpec::Path(path.0),
            (_, Some(globs), _) => PatternSpec::Glob(globs.0),
            (.., regex) => PatternSpec::Regex(regex?.0),
        };
        let partitions = RawPartitions::in_mapping(&field, self.options.partitions.as_ref(), top.partitions.as_ref());
        Some(MappingSpec {
            field,
            pattern,
            table: self.table.map(|table| table.0),
            skip: self.skip.is_some_and(|skip| skip.0),
            filetype: self.options.filetype.or(top.filetype).unwrap_or_default(),
            any_name: self.options.filetype.is_some(),
            partitions,
            options: Arc::new(self.options.over(top, limits)),
        })
    }
}

/// `mappings`. One that could not be read keeps its place.
pub(in crate::config) struct RawMappings(pub(in crate::config) Vec<Option<RawMapping>>);

impl JsonSchema for RawMappings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mappings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<RawMapping>();
        json_schema!({"type": "array", "items": item, "maxItems": MAX_MAPPINGS})
    }
}

impl FromJson for RawMappings {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistakes.add(path, wrong_type("a list of mappings", value));
            return None;
        };
        if items.len() > MAX_MAPPINGS {
            mistakes.add(path, format!("must be at most {MAX_MAPPINGS}, found {}", items.len()));
        }
        let read = |(index, item)| RawMapping::from_json(item, &format!("{path}[{index}]"), mistakes);
        Some(Self(items.iter().take(MAX_MAPPINGS).enumerate().map(read).collect()))
    }
}

//! The spec as typed: one field for each key that users may write. The doc comments are the descriptions of the JSON
//! Schema and of `docs/spec.md`; they are written for users, in Markdown.

pub(super) mod bad_rows;
pub(super) mod credentials;
pub(super) mod csv;
pub(super) mod json;
mod limits;
pub(super) mod mapping;
mod modified;
pub(super) mod partitions;
pub(super) mod schema_options;
mod text_rules;

use super::field_types::{
    AnyText, Count, FilledText, Flag, GlobList, MAX_COUNT, MemoryLimit, OptionalText, RawConcurrency, RawDuration, Text,
};
use super::layout::{Layout, Unmapped};
use super::object_reader::{Mistakes, ObjectReader};
use super::rules::{BucketRule, EndpointRule, ProfileRule, RegionRule};
use super::table_options::RawTableOptions;
use super::{
    DEFAULT_CONCURRENCY, DEFAULT_LATE_ARRIVAL_WINDOW, DEFAULT_LEDGER_LIMIT, DEFAULT_MAX_TABLES, DEFAULT_MEMORY_LIMIT,
    DEFAULT_MEMORY_LIMIT_BYTES, DEFAULT_ROWS_PER_RECORD, OnError,
};
use credentials::RawCredentials;
use limits::RawLimits;
use mapping::RawMappings;
use modified::RawModified;
use partitions::RawPartitions;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use std::sync::Arc;

// A default that the schema promises must be one that it accepts.
const _: () = assert!(DEFAULT_ROWS_PER_RECORD.get() < MAX_COUNT as usize);
const _: () = assert!(DEFAULT_LEDGER_LIMIT.get() < MAX_COUNT as usize);

/// What to read from which bucket, and how.
#[derive(JsonSchema)]
#[schemars(rename = "Spec", deny_unknown_fields, transform = spec_rules)]
pub(super) struct RawSpec {
    /// The bucket to read: its name, or the alias or ARN of an access point (also a multi-region one, or one on
    /// Outposts).
    #[schemars(required, with = "Text<BucketRule>")]
    pub(super) bucket: Option<Text<BucketRule>>,

    /// The bucket's region, such as `eu-central-1`. Left out or empty, it comes from the AWS chain (`AWS_REGION`, profile) or
    /// from the bucket's own answer.
    #[schemars(default, with = "OptionalText<RegionRule>", extend("default" = ""))]
    pub(super) region: Option<OptionalText<RegionRule>>,

    /// Profile in `~/.aws/config` and `~/.aws/credentials` to take credentials and region from. Not together with keys
    /// or `anonymous` under `credentials`.
    #[schemars(default, with = "OptionalText<ProfileRule>", extend("default" = ""))]
    pub(super) local_profile: Option<OptionalText<ProfileRule>>,

    /// Only objects whose key starts with this text are listed. It is a plain text prefix: `raw/2024` admits
    /// `raw/2024/x` and `raw/2024-old/x`. Table names are made of the whole key all the same.
    #[schemars(default, with = "AnyText", extend("default" = ""))]
    pub(super) path_prefix: Option<AnyText>,

    /// A template for the keys of all objects that are read, as CloudQuery's destinations have it in their `path`: short for
    /// one mapping with this `path`. Not together with `mappings`.
    #[schemars(default, with = "FilledText")]
    pub(super) path: Option<FilledText>,

    /// Which keys belong to which table; the first that matches counts. Without mappings, a folder is a table.
    #[schemars(default, with = "RawMappings", extend("default" = []))]
    pub(super) mappings: Option<RawMappings>,

    /// What happens to objects that no mapping takes. `folder`: a folder is a table, as without mappings. `skip`: they are
    /// not read. Left out it is `skip` with `path` or `mappings`.
    // No `default` in the schema: there are two.
    #[schemars(default, with = "Unmapped")]
    pub(super) unmapped: Option<Unmapped>,

    /// Only objects that were last modified within this time are read, see below. With a state backend, others keep what is
    /// known of them; without one, `overwrite-delete-stale` removes their rows.
    #[schemars(default, with = "RawModified")]
    pub(super) modified: Option<RawModified>,

    #[schemars(flatten)]
    pub(super) options: RawTableOptions,

    /// Most rows in one record sent to the destination. Records are cut at about 4 MiB as well.
    #[schemars(default, with = "Count", extend("default" = DEFAULT_ROWS_PER_RECORD))]
    pub(super) rows_per_record: Option<Count>,

    /// Objects whose rows are read at the same time. Negative: as many as `memory_limit` lets in. What files say of
    /// themselves is read before, in small requests, of which there are more at a time: 256 from `50` on, fewer in proportion
    /// below, and one with `1`.
    #[schemars(default, with = "RawConcurrency", extend("default" = DEFAULT_CONCURRENCY))]
    pub(super) concurrency: Option<RawConcurrency>,

    /// URL of an S3-compatible server, such as `https://s3.example.org:9000`; for Amazon S3 leave it out. Without user
    /// name, password and query.
    #[schemars(default, with = "OptionalText<EndpointRule>", extend("default" = ""))]
    pub(super) endpoint: Option<OptionalText<EndpointRule>>,

    /// Address the bucket as `https://host/bucket/key` instead of `https://bucket.host/key`, which many S3-compatible
    /// servers need. Not with an ARN as `bucket`.
    #[schemars(default, with = "Flag", extend("default" = false))]
    pub(super) path_style: Option<Flag>,

    /// Where credentials come from, when not from the AWS chain (variables, profiles, SSO, web identity, container and
    /// instance roles).
    #[schemars(default, with = "RawCredentials")]
    pub(super) credentials: Option<RawCredentials>,

    /// Agree to pay for the requests, as requester-pays buckets demand.
    #[schemars(default, with = "Flag", extend("default" = false))]
    pub(super) request_payer: Option<Flag>,

    /// Only keys that match one of these patterns are read; empty: all. A pattern stands for the whole key: `*` is any
    /// text without `/`, `**` any text, `?` one character, `{a,b}` either one. `\` takes the meaning from the next
    /// character; `[…]` is not supported.
    #[schemars(default, with = "GlobList", extend("default" = []))]
    pub(super) include: Option<GlobList>,

    /// Keys that match one of these patterns (written as in `include`) are not read, also when `include` names them.
    #[schemars(default, with = "GlobList", extend("default" = []))]
    pub(super) exclude: Option<GlobList>,

    /// Memory for fetched bytes, decoded rows and queued messages: bytes as a number, or text with `KiB`, `MiB` or
    /// `GiB` such as `512 MiB`; at least 32 MiB. Below 256 MiB a sync is slower. The process needs some more: about
    /// 64 MB, and 120 bytes for each listed key.
    #[schemars(default, with = "MemoryLimit", extend("default" = DEFAULT_MEMORY_LIMIT))]
    pub(super) memory_limit: Option<MemoryLimit>,

    /// Guards against objects that would take more than a sync has, see below.
    #[schemars(default, with = "RawLimits")]
    pub(super) limits: Option<RawLimits>,

    /// More tables than this are an error, before any file is opened. It guards against folders such as
    /// `dt=2024-01-01`, each of which becomes a table.
    #[schemars(default, with = "Count", extend("default" = DEFAULT_MAX_TABLES))]
    pub(super) max_tables: Option<Count>,

    /// What happens when an object can't be read (damaged, denied, retries exhausted) or the files of a table do not
    /// agree. `fail`: all else is sent, then the sync ends with an error, so that `overwrite-delete-stale` cannot remove
    /// that object's rows; but the CLI then stops the destination, and rows that it had not written yet are lost. `skip`:
    /// one error in the log, and the sync ends well. Left out it is `fail`, and `skip` with `backend_options`. An object
    /// that stays bad belongs in `exclude`.
    // No `default` in the schema: there are two.
    #[schemars(default, with = "OnError")]
    pub(super) on_object_error: Option<OnError>,

    /// The same for objects in an archive class (GLACIER, DEEP_ARCHIVE) that were not restored, with the same defaults;
    /// `skip` is one warning for each table.
    #[schemars(default, with = "OnError")]
    pub(super) on_archived: Option<OnError>,

    /// Only with `backend_options`: a name that keeps this source's state apart. Set it when several sources read the
    /// same bucket into different destinations and share one state table. A new value reads everything again.
    #[schemars(default, with = "AnyText", extend("default" = ""))]
    pub(super) state_id: Option<AnyText>,

    /// Only with `backend_options`: most objects of a table that are remembered one by one (about 9 bytes each in the
    /// state table). Above it, the oldest are remembered by a time only, and objects that arrive later with an older
    /// last modification are not seen.
    #[schemars(default, with = "Count", extend("default" = DEFAULT_LEDGER_LIMIT))]
    pub(super) ledger_limit: Option<Count>,

    /// Only with `backend_options`: objects modified within this long before the sync are always remembered one by one, even
    /// above `ledger_limit`, so an object may arrive this late and still be read. A whole number with `s`, `m`, `h` or `d`,
    /// such as `24h`.
    #[schemars(default, with = "RawDuration", extend("default" = DEFAULT_LATE_ARRIVAL_WINDOW))]
    pub(super) late_arrival_window: Option<RawDuration>,

    /// Only with `backend_options`: the table `<state table>_commits` at the destinations has a row of this source, by which
    /// the next sync knows whether the rows of the last one were stored. `false`: there is no such table, and the objects
    /// that a sync sends last are sent once more by the next one.
    #[schemars(default, with = "Flag", extend("default" = true))]
    pub(super) commit_table: Option<Flag>,
}

impl RawSpec {
    /// Reads the spec; what is missing or wrong is noted and left `None`.
    pub(super) fn read(map: &Map<String, Value>, mistakes: &mut Mistakes) -> Self {
        let mut object = ObjectReader::new(map, "");
        let spec = Self {
            bucket: object.required("bucket", mistakes),
            region: object.optional("region", mistakes),
            local_profile: object.optional("local_profile", mistakes),
            path_prefix: object.optional("path_prefix", mistakes),
            path: object.optional("path", mistakes),
            mappings: object.optional("mappings", mistakes),
            unmapped: object.optional("unmapped", mistakes),
            modified: object.optional("modified", mistakes),
            options: RawTableOptions::read(&mut object, mistakes),
            rows_per_record: object.optional("rows_per_record", mistakes),
            concurrency: object.optional("concurrency", mistakes),
            endpoint: object.optional("endpoint", mistakes),
            path_style: object.optional("path_style", mistakes),
            credentials: object.optional("credentials", mistakes),
            request_payer: object.optional("request_payer", mistakes),
            include: object.optional("include", mistakes),
            exclude: object.optional("exclude", mistakes),
            memory_limit: object.optional("memory_limit", mistakes),
            limits: object.optional("limits", mistakes),
            max_tables: object.optional("max_tables", mistakes),
            on_object_error: object.optional("on_object_error", mistakes),
            on_archived: object.optional("on_archived", mistakes),
            state_id: object.optional("state_id", mistakes),
            ledger_limit: object.optional("ledger_limit", mistakes),
            late_arrival_window: object.optional("late_arrival_window", mistakes),
            commit_table: object.optional("commit_table", mistakes),
        };
        let under_credentials = [
            "credentials.access_key_id",
            "credentials.secret_access_key",
            "credentials.session_token",
            "credentials.role_arn",
            "credentials.external_id",
            "credentials.role_session_name",
            "credentials.anonymous",
        ];
        object.finish(&under_credentials, mistakes);
        spec.check_rules(map, mistakes);
        spec
    }

    pub(super) fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit.map_or(DEFAULT_MEMORY_LIMIT_BYTES, |limit| limit.0)
    }

    /// What it says about layouts; what was wrong is left out.
    pub(super) fn layout(&mut self) -> Layout {
        let top = &self.options;
        let limits = self.limits.unwrap_or_default().limits(self.memory_limit_bytes());
        let mappings = self.mappings.take().map(|mappings| mappings.0).unwrap_or_default().into_iter().enumerate();
        let mappings = mappings.filter_map(|(index, mapping)| mapping?.spec(format!("mappings[{index}]"), top, limits));
        Layout {
            path_prefix: self.path_prefix.as_ref().map(|prefix| prefix.0.clone()).unwrap_or_default(),
            path: self.path.take().map(|path| path.0),
            mappings: mappings.collect(),
            unmapped: self.unmapped,
            filetype: top.filetype.unwrap_or_default(),
            partitions: RawPartitions::at_top(top.partitions.as_ref()),
            modified: self.modified.take().map(RawModified::spec).unwrap_or_default(),
            options: Arc::new(top.over(top, limits)),
        }
    }

    /// The rules between fields, as in [`spec_rules`].
    fn check_rules(&self, map: &Map<String, Value>, mistakes: &mut Mistakes) {
        let is_arn = map.get("bucket").and_then(Value::as_str).is_some_and(|bucket| bucket.starts_with("arn:"));
        if is_arn && self.path_style.as_ref().is_some_and(|flag| flag.0) {
            mistakes.add("path_style", "must not be true with an ARN as bucket: access points have hosts of their own");
        }
        let has_mappings = map.get("mappings").and_then(Value::as_array).is_some_and(|mappings| !mappings.is_empty());
        if map.contains_key("path") && has_mappings {
            mistakes.add("path", "not together with mappings; make it one of them");
        }
        for (index, mapping) in self.mappings.iter().flat_map(|mappings| &mappings.0).enumerate() {
            if let Some(schema) = mapping.as_ref().and_then(|mapping| mapping.options.schema.as_ref()) {
                schema.check_in_mapping(self.options.schema.as_ref(), &format!("mappings[{index}]"), mistakes);
            }
        }
        let mappings = self.mappings.as_ref().map_or(&[][..], |mappings| &mappings.0);
        text_rules::check(&self.options, mappings, mistakes);
        if let Some(limits) = &self.limits {
            limits.check(self.memory_limit_bytes(), mistakes);
        }
        if map.get("local_profile").is_some_and(|profile| profile != "") {
            let credentials = map.get("credentials").and_then(Value::as_object);
            let given = |name: &&str| credentials.is_some_and(|credentials| credentials.contains_key(*name));
            for name in STATIC_KEYS.iter().filter(|name| given(name)) {
                let text = "must not be given together with local_profile; keep one of them";
                mistakes.add(format!("credentials.{name}"), text);
            }
            if self.credentials.as_ref().is_some_and(|credentials| credentials.anonymous.as_ref().is_some_and(|f| f.0))
            {
                let text = "must not be true together with local_profile; keep one of them";
                mistakes.add("credentials.anonymous", text);
            }
        }
    }
}

/// The keys that make up static credentials.
const STATIC_KEYS: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];

/// Adds to the schema what [`RawSpec::check_rules`] checks.
fn spec_rules(schema: &mut Schema) {
    let rules = json!([
        {
            "if": {"required": ["bucket"], "properties": {"bucket": {"type": "string", "pattern": "^arn:"}}},
            "then": {"properties": {"path_style": {"const": false}}},
        },
        {
            "if": {"required": ["local_profile"], "properties": {"local_profile": {"not": {"const": ""}}}},
            "then": {"properties": {"credentials": {"properties": {
                "access_key_id": false,
                "secret_access_key": false,
                "session_token": false,
                "anonymous": {"const": false},
            }}}},
        },
        {
            "if": {"required": ["mappings"], "properties": {"mappings": {"type": "array", "minItems": 1}}},
            "then": {"properties": {"path": false}},
        },
    ]);
    schema.insert("allOf".to_owned(), rules);
}

//! The spec: what the user writes under `spec:` of the source. [`Spec`] is validated and all the rest ever sees; how it
//! is typed is `raw`, made of the types in `field_types` and the texts' `rules`, and read from JSON by `object_reader`.
//! All mistakes are reported at once, each with the path of its field.
//!
//! The JSON Schema ([`json_schema`]) and the reference in `docs/spec.md` are made from the same types and constants
//! that decide here, and a corpus (`tests/fixtures/spec_corpus.json`) is held against both.

mod bad_rows;
mod columns;
mod compression;
pub mod csv;
mod field_types;
mod file_columns;
mod format;
pub(crate) mod glob;
pub mod json;
pub mod layout;
mod limits;
mod object_reader;
mod raw;
#[cfg(test)]
mod reference_test;
mod rules;
mod schema;
mod schema_options;
mod secret;
mod table_options;
mod text_choices;

pub use bad_rows::{BadRows, MostBadRows, OnBadRow};
pub(crate) use columns::hint_of_type;
pub use columns::{ColumnChoice, CqColumns, RestoreTypes, TypeChoice, TypeWord, Unit};
pub use compression::Compression;
pub use csv::CsvOptions;
pub use file_columns::{FileColumn, FileColumns};
pub use format::Format;
pub use glob::{BadGlob, KeyFilter, escape as escape_glob};
pub use json::JsonOptions;
pub use limits::{Limits, MaxColumns};
pub use object_reader::Mistake;
pub use rules::Endpoint;
pub use schema::json_schema;
pub use schema_options::{
    MissingColumns, NewColumns, OnMismatch, OnTypeChange, RescueColumn, Sample, SampledFiles, SchemaMode, SchemaOptions,
};
pub use secret::Secret;
pub use table_options::TableOptions;

pub(crate) use field_types::span;
pub(crate) use object_reader::quote;

use layout::Layout;
use object_reader::Mistakes;
use raw::RawSpec;
use raw::credentials::RawCredentials;
use serde_json::Value;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Rows in a record unless the spec says otherwise: what users of the earlier plugin have.
pub(crate) const DEFAULT_ROWS_PER_RECORD: NonZeroUsize = NonZeroUsize::new(500).unwrap();
/// Objects read at a time: enough to hide S3's latency (some 50 ms) behind small objects, as in the earlier plugin.
pub(crate) const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::new(50).unwrap();
/// Memory in bytes: room for 50 small objects at a time on a small container.
pub(crate) const DEFAULT_MEMORY_LIMIT_BYTES: u64 = 512 << 20;
/// The same as users write it.
const DEFAULT_MEMORY_LIMIT: &str = "512 MiB";
/// Tables: more than a destination's schema usually holds, so more means a misunderstanding of the folders.
pub(crate) const DEFAULT_MAX_TABLES: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
/// Objects of a table that are remembered one by one: some 45 MB of state, as much as a backend reads back in one go.
pub(crate) const DEFAULT_LEDGER_LIMIT: NonZeroUsize = NonZeroUsize::new(5_000_000).unwrap();
/// How late objects may arrive, once more than that are in a table: a day, the usual rhythm of exports.
const DEFAULT_LATE_ARRIVAL_WINDOW: &str = "24h";
/// The same as a span.
pub(crate) const DEFAULT_LATE_ARRIVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Session name of an assumed role unless the spec gives one.
const DEFAULT_ROLE_SESSION_NAME: &str = "cq-source-s3";

/// A validated spec.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The bucket's name, or an access point's alias or ARN.
    pub bucket: String,
    /// The bucket's region, where the spec gives it.
    pub region: Option<String>,
    /// Profile of the shared AWS files.
    pub local_profile: Option<String>,
    /// Plain text prefix of all keys that are listed; may be empty.
    pub path_prefix: String,
    /// Most rows in one record batch sent.
    pub rows_per_record: NonZeroUsize,
    /// Objects read at the same time.
    pub concurrency: Concurrency,
    /// An S3 server other than Amazon's.
    pub endpoint: Option<Endpoint>,
    /// Address as `host/bucket/key`. Never true with an ARN as bucket.
    pub path_style: bool,
    /// Where credentials come from.
    pub credentials: Credentials,
    /// Send `x-amz-request-payer: requester`.
    pub request_payer: bool,
    /// `include` and `exclude`.
    pub keys: KeyFilter,
    /// The memory budget, in bytes.
    pub memory_limit_bytes: u64,
    /// Most tables in a sync.
    pub max_tables: NonZeroUsize,
    /// What an unreadable object does; `None`: the documented default.
    pub on_object_error: Option<OnError>,
    /// What an archived object does; `None`: the documented default.
    pub on_archived: Option<OnError>,
    /// Tells the state of sources apart that are alike in all else; may be empty.
    pub state_id: String,
    /// Most objects of a table that the state remembers one by one.
    pub ledger_limit: NonZeroUsize,
    /// How far before the present the time stays, by which the oldest objects are remembered above that limit.
    pub late_arrival_window: Duration,
    /// Keep a row of this source in a table of the destinations, to know that rows were stored.
    pub commit_table: bool,
    /// Which object belongs to which table, with each table's options.
    pub layout: Layout,
}

/// How structs, maps and lists of structs travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NestedAs {
    /// As CloudQuery's `json`.
    #[default]
    Json,
    /// As Arrow types.
    Native,
}

/// How many objects are read at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// At most this many.
    Limited(NonZeroUsize),
    /// As many as the memory budget lets in.
    Unlimited,
}

/// Whether something bad ends the sync with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Log it, go on, end well.
    Skip,
    /// Log it, go on, end with an error status.
    Fail,
}

/// Where credentials come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// What the first request, to S3 or to STS, is signed with.
    pub base: CredentialBase,
    /// A role to assume with it. Never together with [`CredentialBase::Anonymous`].
    pub role: Option<Role>,
}

/// What the first request is signed with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CredentialBase {
    /// Whatever the AWS chain gives, with [`Spec::local_profile`] if there is one.
    #[default]
    Chain,
    /// Nothing: unsigned requests.
    Anonymous,
    /// Keys of the spec.
    Static {
        /// The access key's id; not shown either, since it tells the account.
        access_key_id: Secret,
        /// The secret key.
        secret_access_key: Secret,
        /// The token of temporary keys.
        session_token: Option<Secret>,
    },
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy asks for.
    pub external_id: Option<Secret>,
    /// Name of the session in CloudTrail.
    pub session_name: String,
}

/// All mistakes in a spec, at least one. `Display` gives one line for each: path, colon, what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SpecErrors(Vec<Mistake>);

impl SpecErrors {
    /// The mistakes, in the order of the fields.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl Spec {
    /// Parses and validates the bytes of an Init request: JSON text. No bytes, `null` and `{}` mean the same, since
    /// peers send any of them for "no spec".
    ///
    /// # Errors
    /// [`SpecErrors`] with all mistakes. They name fields and types and never show a secret.
    ///
    /// What patterns for keys, conditions and types say is not checked: see [`Self::parse_with`].
    pub fn parse(json: &[u8]) -> Result<Self, SpecErrors> {
        Self::parse_with(json, |_| Ok(())).map(|(spec, ())| spec)
    }

    /// The same, and `compile` makes something of the layout, or says what is wrong with it: then these mistakes come behind
    /// the others. It is asked, too, when the rest of the spec is wrong, with what of the layout could be read.
    ///
    /// # Errors
    /// [`SpecErrors`] with all mistakes.
    pub fn parse_with<T>(
        json: &[u8],
        compile: impl FnOnce(&Layout) -> Result<T, Vec<Mistake>>,
    ) -> Result<(Self, T), SpecErrors> {
        let mut mistakes = Mistakes::default();
        let raw = read(json, &mut mistakes);
        let compiled = raw.map(|mut raw| {
            let layout = raw.layout();
            let compiled = compile(&layout).map_err(|more| mistakes.0.extend(more)).ok();
            Some((validated(raw, layout, &mut mistakes)?, compiled?))
        });
        match compiled.flatten() {
            Some(both) if mistakes.0.is_empty() => Ok(both),
            _ => Err(SpecErrors(mistakes.0)),
        }
    }
}

/// Reads what can be read; `None` comes with at least one mistake.
fn read(json: &[u8], mistakes: &mut Mistakes) -> Option<RawSpec> {
    let text = if json.trim_ascii().is_empty() { b"{}" } else { json };
    let (value, twice) = match object_reader::parse_json(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            mistakes.add("spec", format!("is not JSON: {error}"));
            return None;
        }
    };
    for key in twice {
        mistakes.add(key.escape_debug().to_string(), "is given twice; keep one");
    }
    match &value {
        Value::Null => Some(RawSpec::read(&serde_json::Map::new(), mistakes)),
        Value::Object(map) => Some(RawSpec::read(map, mistakes)),
        other => {
            mistakes.add(
                "spec",
                format!("expected an object with keys such as bucket, found {}", object_reader::type_name(other)),
            );
            None
        }
    }
}

/// From the raw spec, filled with defaults, to the validated one.
fn validated(raw: RawSpec, layout: Layout, mistakes: &mut Mistakes) -> Option<Spec> {
    let count = |given: Option<field_types::Count>, default| {
        given.and_then(|count| NonZeroUsize::new(usize::try_from(count.0).ok()?)).unwrap_or(default)
    };
    let memory_limit_bytes = raw.memory_limit_bytes();
    let globs = |given: Option<field_types::GlobList>| given.map(|list| list.0).unwrap_or_default();
    let keys = match KeyFilter::new(&globs(raw.include), &globs(raw.exclude)) {
        Ok(keys) => keys,
        Err(error) => {
            // Each pattern was checked by itself, so this is about their sum.
            mistakes.add("include", format!("include and exclude: {error}"));
            return None;
        }
    };
    Some(Spec {
        bucket: raw.bucket?.0,
        region: raw.region.and_then(|text| text.0),
        local_profile: raw.local_profile.and_then(|text| text.0),
        path_prefix: raw.path_prefix.map(|text| text.0).unwrap_or_default(),
        rows_per_record: count(raw.rows_per_record, DEFAULT_ROWS_PER_RECORD),
        concurrency: match raw.concurrency {
            None => Concurrency::Limited(DEFAULT_CONCURRENCY),
            Some(given) => usize::try_from(given.0)
                .ok()
                .and_then(NonZeroUsize::new)
                .map_or(Concurrency::Unlimited, Concurrency::Limited),
        },
        endpoint: raw.endpoint.and_then(|url| url.0).map(Endpoint::new),
        path_style: raw.path_style.is_some_and(|flag| flag.0),
        credentials: raw.credentials.map(credentials).unwrap_or_default(),
        request_payer: raw.request_payer.is_some_and(|flag| flag.0),
        keys,
        memory_limit_bytes,
        max_tables: count(raw.max_tables, DEFAULT_MAX_TABLES),
        on_object_error: raw.on_object_error,
        on_archived: raw.on_archived,
        state_id: raw.state_id.map(|text| text.0).unwrap_or_default(),
        ledger_limit: count(raw.ledger_limit, DEFAULT_LEDGER_LIMIT),
        late_arrival_window: raw.late_arrival_window.map_or(DEFAULT_LATE_ARRIVAL, |span| span.0),
        commit_table: raw.commit_table.is_none_or(|flag| flag.0),
        layout,
    })
}

/// The credentials; combinations that make no sense were noted as mistakes before.
fn credentials(raw: RawCredentials) -> Credentials {
    let base = match (raw.access_key_id, raw.secret_access_key) {
        (Some(access_key_id), Some(secret_access_key)) => CredentialBase::Static {
            access_key_id: access_key_id.0,
            secret_access_key: secret_access_key.0,
            session_token: raw.session_token.map(|token| token.0),
        },
        _ if raw.anonymous.is_some_and(|flag| flag.0) => CredentialBase::Anonymous,
        _ => CredentialBase::Chain,
    };
    let role = raw.role_arn.map(|arn| Role {
        arn: arn.0,
        external_id: raw.external_id.map(|id| Secret::new(id.0)),
        session_name: raw.role_session_name.map_or_else(|| DEFAULT_ROLE_SESSION_NAME.to_owned(), |name| name.0),
    });
    Credentials { base, role }
}

#[cfg(test)]
mod tests;

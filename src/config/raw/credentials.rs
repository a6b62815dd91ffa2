//! `credentials`.

use crate::config::field_types::{Flag, RawSecret, Text};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, type_name};
use crate::config::rules::{ExternalIdRule, RoleArnRule, RoleSessionNameRule};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// Credentials. Empty: the AWS chain.
#[derive(JsonSchema)]
#[schemars(rename = "Credentials", deny_unknown_fields, transform = credentials_rules)]
pub(in crate::config) struct RawCredentials {
    /// Access key, together with `secret_access_key`. Better than writing keys into a file: `${VARIABLE}`.
    #[schemars(default, with = "RawSecret")]
    pub(in crate::config) access_key_id: Option<RawSecret>,

    /// Secret key of `access_key_id`.
    #[schemars(default, with = "RawSecret")]
    pub(in crate::config) secret_access_key: Option<RawSecret>,

    /// Session token of temporary keys.
    #[schemars(default, with = "RawSecret")]
    pub(in crate::config) session_token: Option<RawSecret>,

    /// Role to assume through STS, starting from the keys, the profile or the AWS chain.
    #[schemars(default, with = "Text<RoleArnRule>")]
    pub(in crate::config) role_arn: Option<Text<RoleArnRule>>,

    /// External id that the role's trust policy asks for.
    #[schemars(default, with = "Text<ExternalIdRule>")]
    pub(in crate::config) external_id: Option<Text<ExternalIdRule>>,

    /// Name of the assumed session, as CloudTrail shows it; `cq-source-s3` if left out.
    #[schemars(default, with = "Text<RoleSessionNameRule>")]
    pub(in crate::config) role_session_name: Option<Text<RoleSessionNameRule>>,

    /// Send unsigned requests, for public buckets. Excludes the other fields.
    #[schemars(default, with = "Flag", extend("default" = false))]
    pub(in crate::config) anonymous: Option<Flag>,
}

/// Which field of the credentials makes no sense without which others.
const NEEDS: [(&str, &[&str]); 5] = [
    ("access_key_id", &["secret_access_key"]),
    ("secret_access_key", &["access_key_id"]),
    ("session_token", &["access_key_id", "secret_access_key"]),
    ("external_id", &["role_arn"]),
    ("role_session_name", &["role_arn"]),
];

/// What `anonymous: true` excludes.
const NOT_ANONYMOUS: [&str; 6] =
    ["access_key_id", "secret_access_key", "session_token", "role_arn", "external_id", "role_session_name"];

impl FromJson for RawCredentials {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with keys such as role_arn, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let credentials = Self {
            access_key_id: object.optional("access_key_id", mistakes),
            secret_access_key: object.optional("secret_access_key", mistakes),
            session_token: object.optional("session_token", mistakes),
            role_arn: object.optional("role_arn", mistakes),
            external_id: object.optional("external_id", mistakes),
            role_session_name: object.optional("role_session_name", mistakes),
            anonymous: object.optional("anonymous", mistakes),
        };
        object.finish(&["region", "local_profile"], mistakes);
        for (name, needed) in NEEDS.iter().filter(|(name, _)| map.contains_key(*name)) {
            for missing in needed.iter().filter(|needed| !map.contains_key(**needed)) {
                mistakes.add(format!("{path}.{missing}"), format!("is required together with {path}.{name}"));
            }
        }
        if credentials.anonymous.as_ref().is_some_and(|flag| flag.0) {
            for name in NOT_ANONYMOUS.iter().filter(|name| map.contains_key(**name)) {
                mistakes
                    .add(format!("{path}.{name}"), format!("must not be given together with {path}.anonymous: true"));
            }
        }
        Some(credentials)
    }
}

/// Adds to the schema what [`RawCredentials::from_json`] checks between fields.
fn credentials_rules(schema: &mut Schema) {
    let needs: Map<String, Value> = NEEDS.iter().map(|(name, needed)| ((*name).to_owned(), json!(needed))).collect();
    schema.insert("dependentRequired".to_owned(), needs.into());
    let none: Map<String, Value> = NOT_ANONYMOUS.iter().map(|name| ((*name).to_owned(), json!(false))).collect();
    schema.insert("if".to_owned(), json!({"required": ["anonymous"], "properties": {"anonymous": {"const": true}}}));
    schema.insert("then".to_owned(), json!({"properties": none}));
}

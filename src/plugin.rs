//! This plugin as the protocol sees it: specs become stores, tables become schemas, a sync runs [`crate::sync`].

pub mod halves;

use crate::cloudquery::source::{ErrorKind, Selection, Source, SourceError, SyncRequest, SyncSink, TestFailure};
use crate::config::{CredentialBase, Spec, SpecErrors};
use crate::error_chain::error_chain;
use crate::s3::connect::{ConnectError, CredentialSource, Options, Role};
use crate::s3::{self, Store};
use crate::sync::announce::announced;
use crate::sync::context::Context;
use crate::sync::{self, listing, sample};
use crate::tables::classify::{Classified, classify};
use crate::tables::mapping::Mappings;
use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use std::pin::pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub use crate::sync::incremental::checkpoints::{Behind, Pace};

/// The source plugin.
#[derive(Debug, Default)]
pub struct S3Source {
    pace: Pace,
}

impl S3Source {
    /// The plugin, not yet initialised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with checkpoints at another pace.
    #[must_use]
    pub fn with_pace(pace: Pace) -> Self {
        Self { pace }
    }
}

/// What Init leaves: a valid spec, or what is wrong with it. Connecting comes later, with the first call that needs S3.
#[derive(Debug)]
pub struct Client {
    spec: Result<(Spec, Arc<Mappings>), SpecErrors>,
}

impl Client {
    async fn connect(&self) -> Result<(&Spec, &Arc<Mappings>, Store), SourceError> {
        let (spec, mappings) = self.spec.as_ref().map_err(invalid_spec)?;
        Ok((spec, mappings, connect(spec).await?))
    }
}

/// The bucket of a spec. From now on no line of the log shows a secret of it.
///
/// # Errors
/// When the region can't be found out, or TLS can't be set up.
pub(crate) async fn connect(spec: &Spec) -> Result<Store, SourceError> {
    crate::telemetry::set_secrets(secrets(spec));
    Store::connect(&options(spec)).await.map_err(|error| match &error {
        ConnectError::Region(error) => sync::error::fatal(error),
        ConnectError::CaBundle { .. } | ConnectError::Tls(_) => {
            SourceError::new(ErrorKind::InvalidSpec, error_chain(&error))
        }
    })
}

impl Source for S3Source {
    type Client = Client;

    fn spec_schema(&self) -> String {
        crate::config::json_schema()
    }

    fn init(&self, spec: &[u8], no_connection: bool) -> Result<Client, SourceError> {
        let spec = Mappings::read_spec(spec);
        if let Ok((spec, _)) = &spec {
            crate::telemetry::set_secrets(secrets(spec));
        }
        match spec {
            Err(errors) if !no_connection => Err(invalid_spec(&errors)),
            spec => Ok(Client { spec }),
        }
    }

    async fn tables(&self, client: &Client, selection: Selection) -> Result<Vec<SchemaRef>, SourceError> {
        let (spec, mappings, store) = client.connect().await?;
        let listed = listing::list(spec, mappings, &store, &selection, None, &listing::Watch::default()).await?;
        let selected = listing::select(listed, mappings, Vec::new())?;
        selected.warn_of_refused();
        let cx = Context::to_look(spec, mappings, selected.store).await?;
        let mut schemas = Vec::with_capacity(selected.tables.len());
        let (mut sampled, mut first_error) = (0_usize, None);
        let mut samples = pin!(sample::samples(&cx, &selected.tables, |_| None));
        for table in &selected.tables {
            let Some(sample) = samples.next().await else { break };
            let sample = sample?;
            sampled += usize::from(!sample.whole);
            for (key, error) in &sample.unreadable {
                let (table, bucket) = (&table.name, cx.store.bucket());
                tracing::warn!(table, bucket, key, error, "footer could not be read");
            }
            if let Some(error) = &sample.conflict {
                tracing::warn!(table = table.name, error, "table is left out: a sync would refuse it");
            }
            schemas.extend(sample.columns.map(|columns| announced(&table.name, &columns, table.options.file_columns)));
            first_error = first_error.or_else(|| sample.unreadable.into_iter().next().map(|(_, error)| error));
        }
        if let Some(error) = first_error
            && schemas.is_empty()
        {
            return Err(SourceError::new(ErrorKind::Incomplete, format!("no table could be read: {error}")));
        }
        if sampled > 0 {
            tracing::info!(
                tables = sampled,
                "columns were taken from a sample of at most 10 objects a table (the first and the newest); a sync looks \
                 at all of them"
            );
        }
        Ok(schemas)
    }

    async fn sync(
        &self,
        client: &Client,
        request: SyncRequest,
        sink: SyncSink,
        cancel: CancellationToken,
    ) -> Result<(), SourceError> {
        let run = async {
            if let Ok((spec, _)) = &client.spec {
                let options = options(spec);
                tracing::info!(
                    endpoint = options.endpoint_text(),
                    bucket = spec.bucket,
                    prefix = spec.path_prefix,
                    "sync started"
                );
            }
            let (spec, mappings, store) = client.connect().await?;
            sync::run(spec, mappings, &store, request, sink, self.pace).await
        };
        tokio::select! {
            result = run => result,
            () = cancel.cancelled() => Err(SourceError::new(ErrorKind::Cancelled, "the sync was cancelled")),
        }
    }

    async fn test_connection(&self, spec: &[u8]) -> Result<(), TestFailure> {
        let failure = |code, description: String| TestFailure { code, description };
        let (spec, mappings) =
            Mappings::read_spec(spec).map_err(|errors| failure("INVALID_SPEC", errors.to_string()))?;
        crate::telemetry::set_secrets(secrets(&spec));
        let store = Store::connect(&options(&spec)).await.map_err(|error| match &error {
            ConnectError::Region(error) => failure(code(&error.kind), error.to_string()),
            ConnectError::CaBundle { .. } | ConnectError::Tls(_) => failure("INVALID_SPEC", error_chain(&error)),
        })?;
        let wanted = |object: &s3::ObjectMeta| {
            let mappings = Some(&*mappings).filter(|mappings| !mappings.is_plain());
            matches!(classify(&object.key, object.size_bytes, &spec.keys, mappings), Classified::File(_))
        };
        let probe = match store.probe(&spec.path_prefix, wanted).await {
            // As in a sync: where the spec names no region, S3's advice is followed.
            Err(s3::Error { kind: s3::ErrorKind::WrongRegion(Some(region)), .. }) if spec.region.is_none() => {
                store.moved_to(&region).probe(&spec.path_prefix, wanted).await
            }
            other => other,
        };
        probe.map_err(|error| failure(code(&error.kind), error.to_string()))
    }
}

/// The stable code of a failed test of the connection.
fn code(kind: &s3::ErrorKind) -> &'static str {
    match kind {
        s3::ErrorKind::NoSuchBucket => "BUCKET_NOT_FOUND",
        s3::ErrorKind::WrongRegion(_) => "WRONG_REGION",
        s3::ErrorKind::AccessDenied(_) => "ACCESS_DENIED",
        s3::ErrorKind::Unauthorized => "UNAUTHORIZED",
        s3::ErrorKind::Changed
        | s3::ErrorKind::Gone
        | s3::ErrorKind::Archived
        | s3::ErrorKind::Exhausted
        | s3::ErrorKind::Overloaded
        | s3::ErrorKind::Unreachable
        | s3::ErrorKind::EndpointDown
        | s3::ErrorKind::Refused => "UNREACHABLE",
    }
}

fn invalid_spec(errors: &SpecErrors) -> SourceError {
    SourceError::new(ErrorKind::InvalidSpec, errors.to_string())
}

/// What the log must never show, whatever a library puts into an error text.
fn secrets(spec: &Spec) -> Vec<String> {
    let mut secrets = Vec::new();
    if let CredentialBase::Static { access_key_id, secret_access_key, session_token } = &spec.credentials.base {
        secrets.extend([access_key_id.expose().to_owned(), secret_access_key.expose().to_owned()]);
        secrets.extend(session_token.as_ref().map(|token| token.expose().to_owned()));
    }
    let role = spec.credentials.role.as_ref();
    secrets.extend(role.and_then(|role| role.external_id.as_ref()).map(|id| id.expose().to_owned()));
    secrets
}

/// The part of the spec that `s3` needs, in its own terms.
fn options(spec: &Spec) -> Options {
    Options {
        bucket: spec.bucket.clone(),
        region: spec.region.clone(),
        endpoint: spec.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned()),
        path_style: spec.path_style,
        request_payer: spec.request_payer,
        credentials: match &spec.credentials.base {
            CredentialBase::Chain => CredentialSource::Chain { profile: spec.local_profile.clone() },
            CredentialBase::Anonymous => CredentialSource::Anonymous,
            CredentialBase::Static { access_key_id, secret_access_key, session_token } => CredentialSource::Keys {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            },
        },
        role: spec.credentials.role.as_ref().map(|role| Role {
            arn: role.arn.clone(),
            external_id: role.external_id.clone(),
            session_name: Some(role.session_name.clone()),
        }),
    }
}

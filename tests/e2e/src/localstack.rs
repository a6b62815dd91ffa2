//! S3 (and STS) in a container, and a client to fill buckets with.

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::types::{BucketVersioningStatus, StorageClass, VersioningConfiguration};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage};

use crate::data::Table;

/// The last release line that starts without an account.
const IMAGE: &str = "localstack/localstack";
const TAG: &str = "4.4.0";
const EDGE_PORT: u16 = 4566;
pub const REGION: &str = "us-east-1";
pub const ACCESS_KEY_ID: &str = "test-access-key";
pub const SECRET_ACCESS_KEY: &str = "test-secret-key";
/// The server handles some hundred small PUTs a second, whatever the number in flight.
const UPLOADS_IN_FLIGHT: usize = 16;

/// A container with an S3 server, for one test: it goes when the value goes.
pub struct LocalStack {
    container: ContainerAsync<GenericImage>,
    /// As the spec's `endpoint` takes it.
    pub endpoint: String,
    client: aws_sdk_s3::Client,
}

impl LocalStack {
    /// Starts a container and waits until it serves.
    pub async fn start() -> Self {
        let image = GenericImage::new(IMAGE, TAG)
            .with_exposed_port(EDGE_PORT.tcp())
            .with_wait_for(WaitFor::message_on_stdout("Ready."));
        let container = image.start().await.unwrap_or_else(|error| {
            panic!("no S3 server: Docker must be running (`docker info`) and have or get {IMAGE}:{TAG}: {error}")
        });
        let host = container.get_host().await.expect("the container's host");
        let port = container.get_host_port_ipv4(EDGE_PORT).await.expect("the container's port");
        let endpoint = format!("http://{host}:{port}");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self { container, endpoint, client: aws_sdk_s3::Client::from_conf(config) }
    }

    /// Makes an empty bucket.
    pub async fn create_bucket(&self, bucket: &str) {
        self.client.create_bucket().bucket(bucket).send().await.expect("create a bucket");
    }

    /// Writes an object, new or not.
    pub async fn put(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        let body = content.into().into();
        self.client.put_object().bucket(bucket).key(key).body(body).send().await.expect("put an object");
    }

    /// Writes an object that S3 doesn't give out before it is restored.
    pub async fn put_archived(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        let request = self.client.put_object().bucket(bucket).key(key).storage_class(StorageClass::Glacier);
        request.body(content.into().into()).send().await.expect("put an archived object");
    }

    /// Writes many objects at once.
    pub async fn put_all(&self, bucket: &str, objects: Vec<(String, Bytes)>) {
        futures::stream::iter(objects)
            .for_each_concurrent(UPLOADS_IN_FLIGHT, |(key, content)| async move {
                self.put(bucket, &key, content).await;
            })
            .await;
    }

    /// Makes a bucket with all objects of `tables`.
    pub async fn create_filled_bucket(&self, bucket: &str, tables: &[Table]) {
        self.create_bucket(bucket).await;
        let objects = tables.iter().flat_map(|table| &table.objects);
        self.put_all(bucket, objects.map(|object| (object.key.clone(), object.parquet())).collect()).await;
    }

    /// Removes an object.
    pub async fn delete(&self, bucket: &str, key: &str) {
        self.client.delete_object().bucket(bucket).key(key).send().await.expect("delete an object");
    }

    /// Has the bucket keep every version from now on, for [`Self::hide`].
    pub async fn keep_versions(&self, bucket: &str) {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = self.client.put_bucket_versioning().bucket(bucket).versioning_configuration(enabled);
        request.send().await.expect("enable versioning");
    }

    /// Takes an object out of the listing until [`Self::reveal`], which takes what this gives. It then comes back with the
    /// LastModified that it had: what a sync meets when an upload or a replication ends late.
    pub async fn hide(&self, bucket: &str, key: &str) -> String {
        let marker = self.client.delete_object().bucket(bucket).key(key).send().await.expect("put a delete marker");
        assert_eq!(marker.delete_marker(), Some(true), "the bucket keeps versions");
        marker.version_id.expect("a marker is a version")
    }

    /// Undoes [`Self::hide`].
    pub async fn reveal(&self, bucket: &str, key: &str, marker: &str) {
        let request = self.client.delete_object().bucket(bucket).key(key).version_id(marker);
        request.send().await.expect("remove a delete marker");
    }

    /// LastModified of an object in whole seconds since 1970, as a listing shows it.
    pub async fn last_modified_seconds(&self, bucket: &str, key: &str) -> i64 {
        let page = self.client.list_objects_v2().bucket(bucket).prefix(key).send().await.expect("list an object");
        let object = page.contents().iter().find(|object| object.key() == Some(key)).expect("the object");
        object.last_modified().expect("a time").secs()
    }

    /// The smallest spec that reads `bucket` here, with keys in it: a `docker` plugin would get no other ones.
    pub fn spec(&self, bucket: &str) -> Value {
        json!({
            "bucket": bucket,
            "region": REGION,
            "endpoint": self.endpoint,
            "path_style": true,
            "credentials": {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY},
        })
    }

    /// As [`Self::spec`], with the address that other containers on the engine's default network reach.
    pub async fn spec_for_containers(&self, bucket: &str) -> Value {
        let address = self.container.get_bridge_ip_address().await.expect("the container's address");
        let mut spec = self.spec(bucket);
        spec["endpoint"] = json!(format!("http://{address}:{EDGE_PORT}"));
        spec
    }

    /// What the container printed: one line for each request.
    pub async fn log(&self) -> String {
        String::from_utf8_lossy(&self.container.stdout_to_vec().await.expect("the container's output")).into_owned()
    }
}

/// What the other tests rest on: a listing comes in pages of a thousand.
#[tokio::test]
async fn a_listing_has_pages_of_a_thousand_keys() {
    let s3 = LocalStack::start().await;
    s3.create_bucket("pages").await;
    let objects = (0..1_001).map(|n| (format!("k/{n:04}"), Bytes::from_static(b"x"))).collect();
    s3.put_all("pages", objects).await;

    let page = s3.client.list_objects_v2().bucket("pages").send().await.expect("list a page");

    assert_eq!(page.contents().len(), 1_000);
    assert_eq!(page.is_truncated(), Some(true));
    assert!(page.next_continuation_token().is_some());
}

//! Items 35, 36, 39, 41, 49, 53: what the CLI asks first, and calls in the wrong order.

use cq_source_s3::cloudquery::proto::{
    discovery_v0::{self, discovery_client::DiscoveryClient as DiscoveryV0},
    discovery_v1::{self, discovery_client::DiscoveryClient as DiscoveryV1},
    plugin_v3 as pb,
};
use testkit::process::Plugin;
use tonic::Code;

#[tokio::test]
async fn item_35_discovery_answers_version_3() {
    let plugin = Plugin::start();
    let v1 = DiscoveryV1::new(plugin.channel().await).get_versions(discovery_v1::get_versions::Request {}).await;
    assert_eq!(v1.unwrap().into_inner().versions, [3]);
    let v0 = DiscoveryV0::new(plugin.channel().await).get_versions(discovery_v0::get_versions::Request {}).await;
    assert_eq!(v0.unwrap().into_inner().versions, ["v3"]);
}

#[tokio::test]
async fn item_36_name_version_and_schema_before_init() {
    let plugin = Plugin::start();
    let mut client = plugin.client().await;
    assert_eq!(client.get_name(pb::get_name::Request {}).await.unwrap().into_inner().name, "s3");
    let version = client.get_version(pb::get_version::Request {}).await.unwrap().into_inner().version;
    assert_eq!(version, concat!("v", env!("CARGO_PKG_VERSION")));
    let schema = client.get_spec_schema(pb::get_spec_schema::Request {}).await.unwrap().into_inner().json_schema;
    let schema: serde_json::Value = serde_json::from_str(&schema.unwrap()).unwrap();
    assert_eq!(schema["$defs"]["Spec"]["required"], serde_json::json!(["bucket"]));
}

#[tokio::test]
async fn item_39_and_41_empty_specs_give_the_same_clear_error() {
    let plugin = Plugin::start();
    let mut texts = Vec::new();
    for spec in ["", "null", "{}"] {
        let status = plugin.init(spec, "").await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{spec:?}");
        assert!(status.message().starts_with("failed to init plugin: "), "{}", status.message());
        assert!(status.message().contains("bucket"), "{}", status.message());
        texts.push(status.message().to_owned());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
}

#[tokio::test]
async fn item_49_and_53_calls_before_init() {
    let plugin = Plugin::start();
    let mut client = plugin.client().await;
    let request = pb::get_tables::Request { tables: vec!["*".to_owned()], ..Default::default() };
    let status = client.get_tables(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "failed to get tables: plugin not initialized");
    let status = client.sync(pb::sync::Request::default()).await.unwrap_err();
    assert!(status.message().contains("plugin not initialized"), "{}", status.message());
}

#[tokio::test]
async fn health_and_reflection_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    use tonic_reflection::pb::{v1, v1alpha};
    let plugin = Plugin::start();
    for service in ["", "cloudquery.plugin.v3.Plugin"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(plugin.channel().await).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(plugin.channel().await);
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let text = format!("{:?}", answers.message().await.unwrap().unwrap());
    for service in ["cloudquery.plugin.v3.Plugin", "cloudquery.discovery.v1.Discovery", "grpc.health.v1.Health"] {
        assert!(text.contains(service), "{text}");
    }

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "cloudquery.plugin.v3.Plugin".to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(plugin.channel().await);
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    assert!(matches!(answer, Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))));
}

//! The image as operators and the CloudQuery CLI run it. `just test-image` builds it, pushes it to a registry on this
//! machine, and names both here.

use cq_source_s3::cloudquery::proto::discovery_v1::{discovery_client::DiscoveryClient, get_versions};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use testcontainers::core::{ContainerPort, IntoContainerPort as _};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::cloudquery::{Cli, destination, source};
use crate::data;
use crate::destination::MemDestination;
use crate::localstack::LocalStack;
use crate::server::Address;
use testkit::client::{Client, assert_protocol};

const PORT: ContainerPort = ContainerPort::Tcp(7777);
const BUCKET: &str = "lake";
/// From the engine's word that it started the container.
const READY_WITHIN: Duration = Duration::from_secs(1);
/// Where the time to serve is not what is tested.
const SET_UP_WITHIN: Duration = Duration::from_secs(30);
/// Under emulation everything takes ten times as long.
const EMULATED_READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(2);
const NOBODY: &str = "65534";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests with `just test-image`"))
}

/// The image that `just docker` loaded.
fn local_image() -> String {
    variable("CQ_IMAGE")
}

/// The tag in the local registry, as `vX.Y.Z-<short commit>`.
fn pushed_image() -> String {
    variable("CQ_PUSHED_IMAGE")
}

/// The platforms of the pushed image with their digests, from the index in the registry; and the index's annotations.
fn pushed_index() -> (Vec<(String, String)>, Value) {
    let raw = docker_ok(&["buildx", "imagetools", "inspect", "--raw", &pushed_image()]);
    let index: Value = serde_json::from_str(&raw).expect("an index");
    let mut platforms = Vec::new();
    for manifest in index["manifests"].as_array().expect("an index") {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (os, architecture) = (text(&manifest["platform"]["os"]), text(&manifest["platform"]["architecture"]));
        if os != "unknown" {
            // Not an attestation.
            platforms.push((format!("{os}/{architecture}"), text(&manifest["digest"])));
        }
    }
    platforms.sort_unstable();
    (platforms, index["annotations"].clone())
}

/// A request for a container of the image with nothing but its own CMD.
fn image(reference: &str) -> ContainerRequest<GenericImage> {
    let (name, tag) = reference.rsplit_once(':').expect("an image with a tag");
    GenericImage::new(name, tag).with_exposed_port(PORT).into()
}

async fn start(request: ContainerRequest<GenericImage>) -> ContainerAsync<GenericImage> {
    request.start().await.expect("start a container of the image")
}

/// `host:port` that leads to a port of the container.
async fn address(container: &ContainerAsync<GenericImage>, port: ContainerPort) -> String {
    let host = container.get_host().await.expect("the container's host");
    let port = container.get_host_port_ipv4(port).await.expect("the container's port");
    format!("{host}:{port}")
}

/// Waits until gRPC health says SERVING at `address`.
async fn wait_until_serving(address: &str, within: Duration) {
    let started = Instant::now();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    loop {
        if let Ok(channel) = endpoint.connect().await {
            let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
            if answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving) {
                break;
            }
        }
        assert!(started.elapsed() < within, "{address} does not serve within {within:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() < within, "{address} serves after {:?}, not within {within:?}", started.elapsed());
}

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).output().expect("run docker")
}

/// What `docker` prints; it must succeed.
fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn it_serves_within_a_second_of_its_start() {
    let container = start(image(&local_image())).await;
    wait_until_serving(&address(&container, PORT).await, READY_WITHIN).await;
}

#[tokio::test]
async fn the_address_can_be_another_one() {
    let reference = local_image();
    let (name, tag) = reference.rsplit_once(':').expect("an image with a tag");
    let request = GenericImage::new(name, tag).with_exposed_port(8080.tcp());
    let container = start(request.with_cmd(["serve", "--address", "[::]:8080"])).await;
    wait_until_serving(&address(&container, 8080.tcp()).await, READY_WITHIN).await;
}

#[tokio::test]
async fn it_runs_as_nobody() {
    let container = start(image(&local_image())).await;
    // The engine asks the host's ps, so the image needs none.
    let top = docker_ok(&["top", container.id(), "-o", "pid,uid,gid"]);
    let row: Vec<&str> = top.lines().nth(1).expect("a process").split_whitespace().collect();
    assert_eq!(row[1..], [NOBODY, NOBODY], "{top}");
    assert_eq!(docker_ok(&["inspect", "--format", "{{.Config.User}}", container.id()]), format!("{NOBODY}:{NOBODY}"));
}

#[tokio::test]
async fn sigterm_ends_it_with_0_at_once() {
    let container = start(image(&local_image())).await;
    let address = address(&container, PORT).await;
    wait_until_serving(&address, READY_WITHIN).await;
    // A client that stays connected must not hold it.
    let _client = Client::connect(&format!("http://{address}")).await;
    let asked = Instant::now();
    container.stop_with_timeout(Some(10)).await.expect("stop the container");
    assert!(asked.elapsed() < STOPPED_WITHIN, "stopped after {:?}", asked.elapsed());
    assert_eq!(container.exit_code().await.expect("the exit code"), Some(0));
}

#[tokio::test]
async fn with_a_terminal_the_log_is_still_only_json() {
    let id = docker_ok(&["run", "--detach", "--tty", "--publish", "127.0.0.1::7777", &local_image()]);
    let address = docker_ok(&["port", &id, "7777/tcp"]);
    wait_until_serving(&address, READY_WITHIN).await;
    docker_ok(&["stop", &id]);
    let log = docker_ok(&["logs", &id]);
    docker_ok(&["rm", &id]);
    let lines: Vec<&str> = log.lines().collect();
    assert!(!lines.is_empty(), "it logged nothing");
    for line in lines {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
        assert!(entry["level"].is_string() && entry["message"].is_string(), "{line}");
    }
}

/// Nothing is writable, no capability is left, and there is no `/tmp`: a whole sync works all the same.
#[tokio::test]
async fn a_locked_down_container_syncs_from_s3() {
    let s3 = LocalStack::start().await;
    let tables = data::tables();
    s3.create_filled_bucket(BUCKET, &tables).await;
    let locked = image(&local_image()).with_readonly_rootfs(true).with_cap_drop("ALL");
    let container = start(locked.with_security_opt("no-new-privileges")).await;
    let address = address(&container, PORT).await;
    wait_until_serving(&address, READY_WITHIN).await;
    let mut client = Client::connect(&format!("http://{address}")).await;

    client.init(&s3.spec_for_containers(BUCKET).await).await.expect("init");
    let collected = client.sync(&["*"], &[]).await;

    assert_protocol(&collected);
    assert_eq!(collected.errors(), []);
    for table in &tables {
        let rows = data::received_rows(&[collected.concatenated(table.name)]);
        assert_eq!(rows, table.expected_rows(), "rows of {}", table.name);
    }
    // And there was nothing to write to. (Other bases than the empty one bring a /tmp, which is read-only here.)
    let base = std::env::var("CQ_BASE_IMAGE").unwrap_or_default();
    if base.is_empty() || base == "scratch" {
        let found = docker(&["cp", &format!("{}:/tmp", container.id()), "-"]);
        assert!(!found.status.success(), "the image has a /tmp");
    }
}

#[tokio::test]
async fn arm64_answers_under_emulation() {
    // By its own digest: an engine may keep one platform of a tag, and another test wants the other one.
    let (platforms, _) = pushed_index();
    let (_, digest) = platforms.iter().find(|(platform, _)| platform == "linux/arm64").expect("arm64 was pushed");
    let pushed = pushed_image();
    let (name, _) = pushed.rsplit_once(':').expect("an image with a tag");
    let container = start(image(&format!("{name}@{digest}")).with_platform("linux/arm64")).await;
    let address = address(&container, PORT).await;
    wait_until_serving(&address, EMULATED_READY_WITHIN).await;
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect().await;
    let mut discovery = DiscoveryClient::new(channel.expect("connect"));
    let answer = discovery.get_versions(get_versions::Request {}).await.expect("GetVersions");
    assert_eq!(answer.into_inner().versions, [3]);
}

#[test]
fn the_pushed_tag_has_both_platforms_and_runs_after_a_pull() {
    let reference = pushed_image();
    let manifest: Value =
        serde_json::from_str(&docker_ok(&["manifest", "inspect", "--insecure", &reference])).expect("a manifest");
    let mut platforms: Vec<String> = manifest["manifests"]
        .as_array()
        .expect("an index")
        .iter()
        .map(|entry| &entry["platform"])
        .filter(|platform| platform["os"] != "unknown") // attestations
        .map(|platform| {
            format!("{}/{}", platform["os"].as_str().unwrap_or(""), platform["architecture"].as_str().unwrap_or(""))
        })
        .collect();
    platforms.sort_unstable();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let (indexed, annotations) = pushed_index();
    assert!(indexed.iter().map(|(platform, _)| platform).eq(&platforms), "{indexed:?}");
    assert_eq!(annotations["org.opencontainers.image.revision"], variable("CQ_REVISION"));
    assert_eq!(annotations["org.opencontainers.image.title"], "cq-source-s3");
    let description = annotations["org.opencontainers.image.description"].as_str().expect("a description");
    let labels = docker_ok(&["inspect", "--format", "{{json .Config.Labels}}", &local_image()]);
    assert!(!description.is_empty() && labels.contains(description), "{description:?} is not the labels' of {labels}");

    for platform in platforms {
        docker_ok(&["pull", "--platform", &platform, &reference]);
        let version = docker_ok(&["run", "--rm", "--platform", &platform, &reference, "--version"]);
        assert!(version.contains(&variable("CQ_REVISION")), "{platform} calls itself {version}");
    }
}

#[test]
fn labels_say_what_it_is() {
    let labels = docker_ok(&["inspect", "--format", "{{json .Config.Labels}}", &local_image()]);
    let labels: Value = serde_json::from_str(&labels).expect("labels");
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str().unwrap_or_default().to_owned();
    assert_eq!(label("version"), variable("CQ_VERSION"));
    assert_eq!(label("revision"), variable("CQ_REVISION"));
    assert_eq!(label("licenses"), "Apache-2.0");
    let version = docker_ok(&["run", "--rm", &local_image(), "--version"]);
    assert_eq!(version, format!("cq-source-s3 version {} ({})", label("version"), label("revision")));
}

/// What a pull transfers: the compressed layers, as the manifests in the registry count them. The script has the limit, also a
/// higher one for the gate's profile.
#[test]
fn it_is_small() {
    let script = testkit::repository().join(".ci/image");
    let output = Command::new(script).args(["size", &pushed_image()]).output().expect("run .ci/image");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("bytes compressed").count(), 2, "two platforms: {text}");
    println!("{text}");
}

/// The CLI starts the container with arguments of its own, without environment, with a terminal.
#[tokio::test]
async fn the_cli_syncs_with_registry_docker() {
    let dir = tempfile::Builder::new().prefix("cq").tempdir_in("/tmp").expect("a folder in /tmp");
    let s3 = LocalStack::start().await;
    let tables = data::tables();
    s3.create_filled_bucket(BUCKET, &tables).await;
    let mem = MemDestination::start(dir.path());
    let cli = Cli::new(dir.path());
    let config = [
        source("docker", &local_image(), "mem", &s3.spec_for_containers(BUCKET).await),
        destination("mem", "grpc", &mem.target(), "overwrite-delete-stale", &json!({})),
    ];

    for _ in 0..2 {
        assert_eq!(cli.sync(&[], &config), tables.iter().map(data::Table::row_count).sum::<usize>());
        for table in &tables {
            assert_eq!(data::received_rows(&mem.read(table.name).await), table.expected_rows(), "{}", table.name);
        }
    }
}

/// As `examples/kubernetes/shards.yaml` has it: a plugin's container and a CLI for each shard, all at once, one destination that
/// also keeps the state. `append`, because that shows doubles.
#[tokio::test(flavor = "multi_thread")]
async fn four_shards_at_once_are_complete_without_doubles() {
    const SHARDS: usize = 4;
    let dir = tempfile::Builder::new().prefix("cq").tempdir_in("/tmp").expect("a folder in /tmp");
    let s3 = LocalStack::start().await;
    let mut tables = data::tables();
    let counters = (0..40).map(|n| data::counter_object(&format!("counters/{n}.parquet"), n * 10..n * 10 + 10));
    tables.push(data::Table { name: "counters", objects: counters.collect() });
    s3.create_filled_bucket(BUCKET, &tables).await;
    // Where the containers reach it, too.
    let gateway = docker_ok(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    let gateway = gateway.parse().expect("an engine on this machine: the bridge's address is reached from here, too");
    let mem = MemDestination::start_at(Address::free_tcp_of(gateway), dir.path());
    let spec = s3.spec_for_containers(BUCKET).await;
    let mut shards = Vec::new();
    for shard in 1..=SHARDS {
        let container = start(image(&local_image())).await;
        let address = address(&container, PORT).await;
        wait_until_serving(&address, SET_UP_WITHIN).await;
        let dir = dir.path().join(shard.to_string());
        std::fs::create_dir(&dir).expect("make a folder");
        let mut source = source("grpc", &address, "mem", &spec);
        source["spec"]["backend_options"] =
            json!({"table_name": "cq_state_s3", "connection": "@@plugins.mem.connection"});
        let config = [source, destination("mem", "grpc", &mem.target(), "append", &json!({}))];
        shards.push((container, Cli::new(&dir), format!("{shard}/{SHARDS}"), config));
    }

    // Each shard's commit row comes with the first sync.
    for expected in [tables.iter().map(data::Table::row_count).sum::<usize>() + SHARDS, 0] {
        let rows: Vec<usize> = std::thread::scope(|scope| {
            let runs: Vec<_> = shards
                .iter()
                .map(|(_, cli, shard, config)| scope.spawn(move || cli.sync(&["--shard", shard], config)))
                .collect();
            runs.into_iter().map(|run| run.join().expect("a good sync")).collect()
        });
        assert_eq!(rows.iter().sum::<usize>(), expected, "{rows:?}");
        assert!(expected == 0 || rows.iter().all(|rows| *rows > 0), "every shard has objects: {rows:?}");
        for table in &tables {
            assert_eq!(data::received_rows(&mem.read(table.name).await), table.expected_rows(), "{}", table.name);
        }
    }
}

//! Items 17 and 98: what a collector receives, and what a collector that is not there costs. The collector
//! here is as narrow as the CloudQuery CLI's: a point of a sum without `sync.table.name` fails the test.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric::Data, number_data_point};
use prost::Message as _;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::client::Client;
use testkit::parquet_files as files;
use testkit::process::Plugin;
use testkit::s3_server::{DEFAULT_BUCKET, S3Server};

const INVOCATION_ID: &str = "11111111-2222-4333-8444-555555555555";
/// The most that the end of a sync waits for a collector, and time for the sync itself on a busy machine.
const SYNC_WITHIN: Duration = Duration::from_secs(12);

/// A span, as far as the tests look.
#[derive(Debug, Clone)]
struct Span {
    parent: Vec<u8>,
    id: Vec<u8>,
    attributes: BTreeMap<String, String>,
    events: Vec<(String, BTreeMap<String, String>)>,
}

/// What came so far.
#[derive(Debug, Default)]
struct Received {
    /// By counter and table, the last value.
    counters: BTreeMap<(String, String), i64>,
    spans: BTreeMap<String, Span>,
    /// Texts with their attributes.
    logs: Vec<(String, BTreeMap<String, String>)>,
    resources: Vec<BTreeMap<String, String>>,
    complaints: Vec<String>,
}

/// A collector on a free port.
struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Received>>::default();
        let filled = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, filled) = (stream.unwrap(), Arc::clone(&filled));
                std::thread::spawn(move || serve(&stream, &filled));
            }
        });
        Self { address, received }
    }

    fn counter(&self, name: &str, table: &str) -> Option<i64> {
        self.received.lock().unwrap().counters.get(&(name.to_owned(), table.to_owned())).copied()
    }
}

/// Requests of one connection, until the client closes it.
fn serve(stream: &TcpStream, received: &Mutex<Received>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request_line = String::new();
        if reader.read_line(&mut request_line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers["content-length"].parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        let mut received = received.lock().unwrap();
        if headers.get("content-type").map(String::as_str) != Some("application/x-protobuf") {
            received.complaints.push(format!("{request_line}: {headers:?}"));
        }
        match request_line.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["POST", "/v1/metrics"] => received.metrics(&body),
            ["POST", "/v1/traces"] => received.traces(&body),
            ["POST", "/v1/logs"] => received.log_records(&body),
            _ => received.complaints.push(format!("unexpected request: {request_line}")),
        }
        drop(received);
        // An empty body is an empty protobuf message.
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

impl Received {
    fn metrics(&mut self, body: &[u8]) {
        let request = ExportMetricsServiceRequest::decode(body).unwrap();
        for resource in request.resource_metrics {
            self.resources.push(attributes(&resource.resource.unwrap().attributes));
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let name = format!("{} {}", metric.name, metric.unit);
                let Some(Data::Sum(sum)) = metric.data else {
                    self.complaints.push(format!("{name} is no sum"));
                    continue;
                };
                if sum.aggregation_temporality != AggregationTemporality::Cumulative as i32 || !sum.is_monotonic {
                    self.complaints.push(format!("{name} is no cumulative counter"));
                }
                for point in sum.data_points {
                    let attributes = attributes(&point.attributes);
                    let (Some(table), Some(number_data_point::Value::AsInt(value))) =
                        (attributes.get("sync.table.name"), point.value)
                    else {
                        self.complaints.push(format!("{name}: the CLI would panic over {point:?}"));
                        continue;
                    };
                    if attributes.get("sync.client.id").map(String::as_str) != Some("") {
                        self.complaints.push(format!("{name}: sync.client.id in {attributes:?}"));
                    }
                    self.counters.insert((name.clone(), table.clone()), value);
                }
            }
        }
    }

    fn traces(&mut self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            let events = span.events.iter().map(|event| (event.name.clone(), attributes(&event.attributes))).collect();
            let seen = Span {
                parent: span.parent_span_id,
                id: span.span_id,
                attributes: attributes(&span.attributes),
                events,
            };
            if self.spans.insert(span.name.clone(), seen).is_some() {
                self.complaints.push(format!("two spans {}", span.name));
            }
        }
    }

    fn log_records(&mut self, body: &[u8]) {
        let request = ExportLogsServiceRequest::decode(body).unwrap();
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        for record in scopes.flat_map(|scope| scope.log_records) {
            let text = match record.body.and_then(|body| body.value) {
                Some(Value::StringValue(text)) => text,
                other => panic!("a log record without text: {other:?}"),
            };
            self.logs.push((text, attributes(&record.attributes)));
        }
    }
}

/// Two good tables, and one with a good and a bad object.
async fn bucket() -> (S3Server, serde_json::Value) {
    let server = S3Server::start().await;
    server.put("orders/1.parquet", files::flat(30, 1));
    server.put("orders/2.parquet", files::flat(12, 2));
    server.put("customers/1.parquet", files::flat(5, 3));
    server.put("damaged/1.parquet", files::flat(4, 4));
    server.put("damaged/2.parquet", "no Parquet");
    let spec = json!({
        "bucket": DEFAULT_BUCKET,
        "region": "us-east-1",
        "endpoint": server.endpoint(),
        "path_style": true,
        "credentials": {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"},
        "on_object_error": "skip",
    });
    (server, spec)
}

async fn sync(plugin: &Plugin, spec: &serde_json::Value) -> usize {
    let mut client = Client::connect(&format!("http://{}", plugin.address())).await;
    client.init(spec).await.unwrap();
    let collected = client.sync(&["*"], &[]).await;
    assert!(collected.status.is_none(), "{:?}", collected.status);
    ["orders", "customers", "damaged"].iter().map(|table| collected.rows(table)).sum()
}

#[tokio::test]
async fn item_98_a_collector_gets_counters_spans_and_logs_before_the_sync_ends() {
    let (_server, spec) = bucket().await;
    let collector = Collector::start();
    let endpoint = collector.address.to_string();
    let plugin = Plugin::start_with(&["--otel-endpoint", &endpoint, "--otel-endpoint-insecure"], &[]);

    assert_eq!(sync(&plugin, &spec).await, 51);

    // No waiting: the CLI looks as soon as the stream has ended.
    for (table, resources, errors) in [("orders", 42, 0), ("customers", 5, 0), ("damaged", 4, 1)] {
        assert_eq!(collector.counter("sync.table.resources /{tot}", table), Some(resources), "{table}");
        assert_eq!(collector.counter("sync.table.errors /{tot}", table), Some(errors), "{table}");
        assert_eq!(collector.counter("sync.table.panics /{tot}", table), Some(0), "{table}");
        let millis = collector.counter("sync.table.duration ms", table).expect(table);
        assert!((1..=i64::try_from(SYNC_WITHIN.as_millis()).unwrap()).contains(&millis), "{table}: {millis} ms");
    }
    {
        let received = collector.received.lock().unwrap();
        assert!(received.complaints.is_empty(), "{:#?}", received.complaints);
        let resource = &received.resources[0];
        assert_eq!(resource["service.name"], "cloudquery-s3");
        assert_eq!(resource["service.version"], concat!("v", env!("CARGO_PKG_VERSION")));
        assert_eq!(resource["cloudquery.plugin.path"], "cloudquery/source/s3");

        let whole = &received.spans["sync"];
        assert_eq!(whole.attributes["sync.invocation.id"], INVOCATION_ID);
        let table = &received.spans["sync.table.damaged"];
        assert_eq!(table.parent, whole.id);
        assert_eq!(table.attributes["sync.invocation.id"], INVOCATION_ID);
        assert_eq!(table.attributes["sync.client.id"], "");
        let (event, stats) = &table.events[0];
        assert_eq!(event, "sync.finish.stats");
        assert_eq!((&*stats["sync.resources"], &*stats["sync.errors"], &*stats["sync.panics"]), ("4", "1", "0"));
        assert!(
            received.spans.contains_key("sync.table.orders") && received.spans.contains_key("sync.table.customers")
        );

        let (_, finished) = received.logs.iter().find(|(text, _)| text == "sync finished").expect("the summary");
        assert_eq!((&*finished["rows"], &*finished["invocation_id"]), ("51", INVOCATION_ID));
        let (_, error) = received.logs.iter().find(|(text, _)| text == "object could not be read").expect("the error");
        assert_eq!((&*error["table"], &*error["key"]), ("damaged", "damaged/2.parquet"));
    }

    // Counters are cumulative over the life of the process, and a second sync has a span of its own.
    collector.received.lock().unwrap().spans.clear();
    assert_eq!(sync(&plugin, &spec).await, 51);
    assert_eq!(collector.counter("sync.table.resources /{tot}", "orders"), Some(84));
    assert_eq!(collector.counter("sync.table.errors /{tot}", "damaged"), Some(2));
    let received = collector.received.lock().unwrap();
    assert!(received.complaints.is_empty() && received.spans.contains_key("sync"), "{received:#?}");
}

/// Beyond 2,000 tables the SDK would lump points together without the attribute that the CLI takes for granted.
#[tokio::test]
async fn item_98_many_tables_have_points_of_their_own() {
    const TABLES: usize = 2_100;
    let (server, mut spec) = bucket().await;
    let file = files::flat(1, 1);
    for table in 0..TABLES {
        server.put(&format!("many/t{table}/1.parquet"), file.clone());
    }
    spec["path_prefix"] = json!("many/");
    spec["max_tables"] = json!(TABLES);
    let collector = Collector::start();
    let endpoint = collector.address.to_string();
    let plugin = Plugin::start_with(&["--otel-endpoint", &endpoint, "--otel-endpoint-insecure"], &[]);

    sync(&plugin, &spec).await;

    let received = collector.received.lock().unwrap();
    assert!(received.complaints.is_empty(), "{:#?}", received.complaints);
    let rows =
        received.counters.iter().filter(|((name, _), value)| name.starts_with("sync.table.resources") && **value == 1);
    assert_eq!(rows.count(), TABLES);
}

/// Nobody listens; somebody listens and says nothing; somebody listens and speaks no TLS; an endpoint that is none.
#[tokio::test]
async fn item_17_without_its_collector_the_plugin_syncs_and_says_it_once() {
    let (_server, spec) = bucket().await;
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = Collector::start();
    let (silent_address, plain_address) = (silent.local_addr().unwrap().to_string(), plain.address.to_string());
    for arguments in [
        &["--otel-endpoint", &refused, "--otel-endpoint-insecure"][..],
        &["--otel-endpoint", &silent_address, "--otel-endpoint-insecure"],
        &["--otel-endpoint", &plain_address],
        &["--otel-endpoint", "no host:x", "--otel-endpoint-insecure"],
    ] {
        let plugin = Plugin::start_with(arguments, &[]);
        let started = Instant::now();
        assert_eq!(sync(&plugin, &spec).await, 51, "{arguments:?}");
        assert!(started.elapsed() < SYNC_WITHIN, "{arguments:?}: {:?}", started.elapsed());
        assert_eq!(sync(&plugin, &spec).await, 51, "{arguments:?}");
        let lines = plugin.stop();
        let said: Vec<_> = (lines.iter())
            .filter(|line| line["level"] == "warn" || line["level"] == "error")
            .filter(|line| {
                line["message"].as_str().is_some_and(|text| text.contains("deliver") || text.contains("otel"))
            })
            .collect();
        assert_eq!(said.len(), 1, "{arguments:?}: {said:#?}");
        assert_eq!(said[0]["level"], "warn", "{arguments:?}");
    }
    assert!(plain.received.lock().unwrap().complaints.iter().all(|text| !text.contains("POST")));
}

#[tokio::test]
async fn the_summary_is_the_last_word_of_a_sync() {
    let (_server, spec) = bucket().await;
    let plugin = Plugin::start();
    assert_eq!(sync(&plugin, &spec).await, 51);
    let lines = plugin.stop();
    let own: Vec<_> = lines.iter().filter(|line| line["message"] != "Plugin server stopped").collect();
    let summary = own.last().unwrap();
    assert_eq!(summary["message"], "sync finished", "{own:#?}");
    let expected =
        [("tables", 3), ("objects", 4), ("rows", 51), ("failed", 1), ("gone", 0), ("retries", 0), ("lists", 1)];
    for (field, value) in expected {
        assert_eq!(summary[field], value, "{field} in {summary}");
    }
    for field in ["gets", "get_bytes", "message_bytes"] {
        assert!(summary[field].as_u64().is_some_and(|value| value > 0), "{field} in {summary}");
    }
    assert!(summary["seconds"].as_f64().is_some_and(|value| value > 0.0), "{summary}");
    assert!(summary["skipped"].is_string(), "{summary}");
    if cfg!(target_os = "linux") {
        assert!(summary["peak_memory_bytes"].as_u64().is_some_and(|value| value > 1_000_000), "{summary}");
    }
}

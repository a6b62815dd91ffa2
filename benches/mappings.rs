//! `cargo bench --bench mappings`: what it costs to find the table of each key, against reading the listing itself.
//!
//! A listing of a million keys and fifty mappings of all kinds; most keys go to one of the first, as is usual. The first half is
//! what the plugin spends on requests and on the XML of the pages, which come from the S3 server in memory, on other threads. The
//! second half is from the listed keys to the tables with their partition columns. What counts is the processor time of the one
//! thread that does both, which a busy machine changes little (Linux only; elsewhere it is the time that passes).

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints, and stops when something fails")]

use cq_source_s3::plugin::halves::{Grouped, Halves};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use testkit::s3_server::{DEFAULT_BUCKET, S3Server};

/// Keys in the bucket.
const KEYS: u64 = 1_000_000;
/// The same where the bench is only run to see that it works.
const QUICK_KEYS: u64 = 10_000;
/// Rounds of which the fastest counts, because noise only ever adds.
const ROUNDS: usize = 3;

fn main() {
    // As `cargo test --benches` calls it, there is no such argument.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let keys = if quick { QUICK_KEYS } else { KEYS };
    let threads_of_server = tokio::runtime::Runtime::new().expect("a runtime");
    let server = threads_of_server.block_on(S3Server::start());
    let mut key_bytes = 0;
    for key in (0..keys).map(key) {
        key_bytes += key.len();
        server.put(&key, "x");
    }
    let spec = spec(&server.endpoint());
    let this_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let halves = this_thread.block_on(Halves::connect(spec.to_string().as_bytes())).expect("a good spec");
    let (mut list, mut group) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (pages, time) = timed(|| this_thread.block_on(halves.pages()).expect("a whole listing"));
        list = list.min(time);
        let (grouped, time) = timed(|| halves.group(pages));
        group = group.min(time);
        assert_eq!(grouped, expected(keys), "a key in the wrong table");
    }
    let ns_per_key = |time: Duration| time.as_secs_f64() * 1e9 / keys as f64;
    println!("{keys} keys of {} bytes on average, {} mappings", key_bytes as u64 / keys, mappings().len());
    println!("list:  {:>6.0} ns a key", ns_per_key(list));
    println!("group: {:>6.0} ns a key", ns_per_key(group));
    println!("group / list: {:.2}", group.as_secs_f64() / list.as_secs_f64());
}

/// What `work` gives, and the processor time of this thread for it.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_time();
    let result = work();
    (result, thread_time().saturating_sub(before))
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The first number: nanoseconds on a processor, as of the last tick or the last switch of threads. So there is a switch.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = text.split(' ').next().and_then(|ns| ns.parse().ok());
    spent.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn spec(endpoint: &str) -> Value {
    json!({
        "bucket": DEFAULT_BUCKET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "path_style": true,
        "credentials": { "anonymous": true },
        "mappings": mappings(),
    })
}

/// Two that most keys match, and sixteen of each kind that few match.
fn mappings() -> Vec<Value> {
    let mut mappings = vec![
        json!({
            "path": "raw/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{UUID}}.{{FORMAT}}",
            "partitions": "hive",
        }),
        json!({
            "path": "AWSLogs/{{account}}/CloudTrail/{{region}}/{{year:int}}/{{month:int}}/{{day:int}}/{{*}}.json.gz",
            "table": "cloudtrail",
            "filetype": "jsonl",
            "partitions": "hive",
        }),
    ];
    for n in 0..16 {
        mappings.push(json!({ "path": format!("lake{n}/{{{{TABLE}}}}/{{{{UUID}}}}.{{{{FORMAT}}}}") }));
        mappings.push(json!({ "glob": format!("exports/{n}/**"), "table": format!("exports_{n}") }));
        mappings.push(json!({
            "regex": format!("landing{n}/(?<schema>[^/]+)/(?<table>[^/]+)/.*"),
            "table": "{{schema}}_{{table}}",
            "filetype": "csv",
        }));
    }
    mappings
}

/// Of 20 keys 13 are of the first mapping, 5 of the second, one is of a late one, one of none.
fn key(n: u64) -> String {
    let uuid = format!("{:08x}-0d4e-4f6a-9b8c-{n:012x}", n.wrapping_mul(2_654_435_761) as u32);
    let (month, day) = (n % 12 + 1, n % 28 + 1);
    match n % 20 {
        0..=12 => format!("raw/aws_ec2_{}/dt=2026-{month:02}-{day:02}/{uuid}.parquet", n % 90),
        13..=17 => {
            format!("AWSLogs/123456789012/CloudTrail/eu-central-1/2026/{month:02}/{day:02}/{uuid}.json.gz")
        }
        18 => format!("landing{}/sales/orders/{uuid}.csv", n % 16),
        _ => format!("elsewhere/{uuid}"),
    }
}

/// 90 tables with the column `dt`, one with what its path captures in five places, one of each of the four late mappings that match.
fn expected(keys: u64) -> Grouped {
    Grouped { tables: 90 + 1 + 4, objects: (keys / 20 * 19) as usize, key_columns: 90 + 5 }
}

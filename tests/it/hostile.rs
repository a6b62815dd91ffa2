//! A bucket of everything that is small in the file and large in memory, read with a small limit by a slow client: every good
//! row arrives, and the peak stays within the bound.

use crate::memory::assert_bounded_by;
use crate::rig::Rig;
use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int64Array, StringArray};
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3::sync::response::Message;
use parquet::basic::{Compression, ZstdLevel};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use testkit::client::sync_request;
use testkit::parquet_files::{self as files, Layout};

const MIB: u64 = 1 << 20;
const LIMIT_BYTES: u64 = 128 * MIB;
/// A sync that takes longer hangs.
const DEADLOCK: Duration = Duration::from_secs(150);

/// A struct of 2,000 optional booleans with names of 60 characters, all null: nearly nothing, and 140 kB of JSON a row.
fn nulls(rows: usize) -> Bytes {
    let names: Vec<String> = (0..2_000).map(|n| format!("{n:060}")).collect();
    let null = || Arc::new(BooleanArray::new_null(rows)) as ArrayRef;
    let fields = names.iter().map(|name| (name.as_str(), null())).collect();
    let structs = files::struct_of(fields, None);
    files::write_batch(&files::batch_of(vec![("s", false, Arc::new(structs))]), &Layout::default())
}

/// `embedding`: lists of 1,536 floats.
fn embeddings(rows: usize) -> Bytes {
    let mut numbers = files::Numbers::new(1);
    let values: Float32Array = (0..rows * 1_536).map(|_| numbers.next_u64() as f32).collect();
    let lists = files::list_of(Arc::new(values), vec![1_536; rows], None);
    files::write_batch(&files::batch_of(vec![("embedding", false, Arc::new(lists))]), &Layout::default())
}

/// Texts of `length` bytes, all in one page that takes nearly nothing when it is packed.
fn one_page(rows: usize, length: usize) -> Bytes {
    let texts: StringArray = std::iter::repeat_n(Some("x".repeat(length)), rows).collect();
    let compression = Compression::ZSTD(ZstdLevel::default());
    let layout = Layout { compression, dictionary: false, one_page: true, ..Layout::default() };
    files::write_batch(&files::batch_of(vec![("t", false, Arc::new(texts))]), &layout)
}

/// As some writers leave it: the footer doesn't say how many pages there are.
fn without_page_counts(file: &Bytes) -> Bytes {
    files::with_footer(file, |chunk| chunk.clear_page_encoding_stats().set_unencoded_byte_array_data_bytes(None))
}

/// The footer says that the chunk has next to nothing.
fn lying(file: &Bytes) -> Bytes {
    files::with_footer(file, |chunk| chunk.set_total_uncompressed_size(1_000).set_unencoded_byte_array_data_bytes(None))
}

/// A file of `columns` × `row_groups` column chunks of `rows` values each.
fn wide(columns: usize, row_groups: usize, rows: usize) -> Bytes {
    let names: Vec<String> = (0..columns).map(|n| format!("c{n:04}")).collect();
    let column = || Arc::new(Int64Array::from_iter_values(0..(rows * row_groups) as i64)) as ArrayRef;
    let columns = names.iter().map(|name| (name.as_str(), false, column())).collect();
    let layout = Layout { row_group_rows: Some(rows), dictionary: false, ..Layout::default() };
    files::write_batch(&files::batch_of(columns), &layout)
}

/// The rows of each table, of a sync whose messages are read with a pause after each. Texts of errors that the log has.
async fn sync(rig: &mut Rig, spec: Value, pause: Duration) -> BTreeMap<String, u64> {
    rig.init(spec).await;
    let reading = async {
        let mut rows = BTreeMap::new();
        let mut stream = rig.client.grpc.sync(sync_request(&["*"], &[])).await.unwrap().into_inner();
        while let Some(response) = stream.message().await.unwrap() {
            let Some(Message::Insert(insert)) = response.message else { continue };
            let reader = arrow::ipc::reader::StreamReader::try_new(&insert.record[..], None).unwrap();
            let table = reader.schema().metadata()["cq:table_name"].clone();
            *rows.entry(table).or_default() += reader.map(|batch| batch.unwrap().num_rows() as u64).sum::<u64>();
            tokio::time::sleep(pause).await;
        }
        rows
    };
    tokio::time::timeout(DEADLOCK, reading).await.expect("a sync that does not hang")
}

/// A control group with so much memory, for one process; removed on drop, when that has ended.
struct Confined(PathBuf);

impl Confined {
    /// `None` where the system does not let this test make one: then the peak alone has to show it.
    fn new(process: u32, bytes: u64) -> Option<Self> {
        let name = format!("cq-source-s3-{process}");
        // Version 2, version 1.
        let roots = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];
        roots.into_iter().find_map(|(root, limit)| {
            let group = Self(PathBuf::from(root).join(&name));
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            std::fs::write(group.0.join("cgroup.procs"), process.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_bucket_is_read_whole_within_the_bound() {
    let mut rig = Rig::start().await;
    // More than this, and the kernel ends the process.
    let confined = Confined::new(rig.plugin.id(), 256 * MIB);
    eprintln!("confined to 256 MiB: {}", confined.is_some());
    rig.s3.put("nulls/a.parquet", nulls(300));
    let lists = embeddings(2_000);
    for n in 0..4 {
        rig.s3.put(&format!("embeddings/{n}.parquet"), lists.clone());
    }
    let page = without_page_counts(&one_page(40_000, 1_000));
    for n in 0..4 {
        rig.s3.put(&format!("pages/{n}.parquet"), page.clone());
    }
    let lie = lying(&one_page(150, 1_000_000));
    assert!(lie.len() < 100_000, "{}", lie.len());
    for n in 0..4 {
        rig.s3.put(&format!("lies/{n}.parquet"), lie.clone());
    }
    rig.s3.put("lies/good.parquet", one_page(10, 100));
    rig.s3.put("wide/a.parquet", wide(2_500, 60, 4));
    let small = files::incompressible(1, None, 1);
    for n in 0..40 {
        rig.s3.put(&format!("small/{n:02}.parquet"), small.clone());
    }
    for n in 0..20_000 {
        rig.s3.put(&format!("events/k={n}/a.parquet"), "x");
    }
    let spec = json!({"memory_limit": LIMIT_BYTES, "exclude": ["events/**"], "on_object_error": "skip"});
    let rows = sync(&mut rig, spec, Duration::from_millis(1)).await;
    let expected = [
        ("embeddings", 8_000),
        ("lies", 10),
        ("nulls", 300),
        ("pages", 160_000),
        ("small", 40 * MIB.div_ceil(1_000)),
        ("wide", 240),
    ];
    assert_eq!(rows, expected.map(|(table, rows)| (table.to_owned(), rows)).into());
    assert_bounded_by(&rig, LIMIT_BYTES, 0, 20_100);
    let errors = rig.stop().of_level("error");
    assert_eq!(errors.len(), 4, "{errors:#?}");
    assert!(
        errors.iter().all(|error| error.contains("row group 0, column \\\"t\\\": its pages have 150000")),
        "{errors:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_many_megabytes_are_in_memory_one_at_a_time() {
    let mut rig = Rig::start().await;
    let (values, value_bytes) = (4, 40_000_000);
    rig.s3.put("t/a.parquet", one_page(values, value_bytes));
    let limit = 64 * MIB;
    assert_eq!(sync(&mut rig, json!({"memory_limit": limit}), Duration::from_millis(50)).await["t"], values as u64);
    // The page, and a value decoded, in a message, and on its way.
    let need = (values + 3) * value_bytes;
    assert_bounded_by(&rig, limit, need as u64, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_too_large_for_a_message_costs_no_memory() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", one_page(2, 120_000_000));
    rig.s3.put("t/b.parquet", one_page(3, 100));
    let spec = json!({"memory_limit": 64 * MIB, "on_object_error": "skip"});
    assert_eq!(sync(&mut rig, spec, Duration::ZERO).await["t"], 3);
    assert_bounded_by(&rig, 64 * MIB, 0, 2);
    let errors = rig.stop().of_level("error");
    let [error] = &errors[..] else { panic!("{errors:#?}") };
    assert!(error.contains("t/a.parquet") && error.contains("it has a value of about 12000000"), "{error}");
}

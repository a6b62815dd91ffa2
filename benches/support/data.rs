//! The objects that syncs are measured with: each is what one kind of column costs.

use arrow::array::{
    ArrayRef, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
};
use bytes::Bytes;
use std::sync::Arc;
use testkit::parquet_files::{self as files, Layout, Numbers};

/// 2026-01-01T00:00:00Z, in microseconds since 1970.
const YEAR_2026_MICROS: i64 = 1_767_225_600_000_000;

/// Rows of a row group: several groups an object, as large files have.
const ROW_GROUP_ROWS: usize = 250_000;

/// An object with these rows.
pub fn object(batch: &RecordBatch) -> Bytes {
    files::write_batch(batch, &Layout { row_group_rows: Some(ROW_GROUP_ROWS), ..Layout::default() })
}

/// Ten columns of 8 to 64 bits, with and without signs; few different values, as counts and codes have.
pub fn narrow_ints(rows: usize) -> RecordBatch {
    let mut numbers = Numbers::new(1);
    let mut column = |limit: u64| -> Vec<u64> { (0..rows).map(|_| numbers.below(limit)).collect() };
    let int8: Int8Array = column(128).into_iter().map(|value| Some(value as i8)).collect();
    let int16: Int16Array = column(30_000).into_iter().map(|value| Some(value as i16)).collect();
    let int32: Int32Array = column(1 << 31).into_iter().map(|value| Some(value as i32)).collect();
    let int64: Int64Array = column(1 << 40).into_iter().map(|value| Some(value as i64)).collect();
    let uint8: UInt8Array = column(256).into_iter().map(|value| Some(value as u8)).collect();
    let uint16: UInt16Array = column(60_000).into_iter().map(|value| Some(value as u16)).collect();
    let uint32: UInt32Array = column(1000).into_iter().map(|value| Some(value as u32)).collect();
    let some: Int32Array = column(5000).into_iter().map(|value| (value % 5 != 0).then_some(value as i32)).collect();
    let few: Int64Array = column(7).into_iter().map(|value| Some(value as i64)).collect();
    files::batch_of(vec![
        ("id", false, Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("int8", false, Arc::new(int8)),
        ("int16", false, Arc::new(int16)),
        ("int32", false, Arc::new(int32)),
        ("int64", false, Arc::new(int64)),
        ("uint8", false, Arc::new(uint8)),
        ("uint16", false, Arc::new(uint16)),
        ("uint32", false, Arc::new(uint32)),
        ("some", true, Arc::new(some)),
        ("few", false, Arc::new(few)),
    ])
}

/// Four columns of texts that hardly come twice, of 8 to 60 bytes.
pub fn texts(rows: usize) -> RecordBatch {
    let mut numbers = Numbers::new(2);
    let mut column = |extra: u64| -> ArrayRef {
        let texts: StringArray = (0..rows)
            .map(|_| {
                let length = 8 + numbers.below(extra) as usize;
                Some(
                    format!(
                        "{:016x}{:016x}{:016x}{:016x}",
                        numbers.next_u64(),
                        numbers.next_u64(),
                        numbers.next_u64(),
                        0
                    )[..length]
                        .to_owned(),
                )
            })
            .collect();
        Arc::new(texts)
    };
    let columns = [("short", 9), ("middle", 24), ("long", 53), ("other", 24)];
    files::batch_of(columns.into_iter().map(|(name, extra)| (name, false, column(extra))).collect())
}

/// Six columns of texts that come again and again, of 2 to 30 bytes: what a dictionary is for.
pub fn dictionary_texts(rows: usize) -> RecordBatch {
    let mut numbers = Numbers::new(3);
    let mut column = |values: usize| -> ArrayRef {
        let words: Vec<String> = (0..values)
            .map(|word| format!("{word:02}{}", &"-the quick brown fox jumps over"[..numbers.below(29) as usize]))
            .collect();
        let texts: StringArray =
            (0..rows).map(|_| Some(words[numbers.below(values as u64) as usize].as_str())).collect();
        Arc::new(texts)
    };
    let columns = [("country", 200), ("kind", 5), ("status", 12), ("agent", 1000), ("city", 5000), ("day", 31)];
    files::batch_of(columns.into_iter().map(|(name, values)| (name, false, column(values))).collect())
}

/// Columns as public data of taxi trips has them: two times, codes, a flag as text, sums of money.
pub fn trips(rows: usize) -> RecordBatch {
    const MONEY: [&str; 9] = ["fare", "extra", "tax", "tip", "tolls", "surcharge", "total", "congestion", "airport"];
    let mut numbers = Numbers::new(4);
    let start: Vec<i64> = (0..rows).map(|_| YEAR_2026_MICROS + numbers.below(2_678_400) as i64 * 1_000_000).collect();
    let end: Vec<i64> = start.iter().map(|start| start + numbers.below(3600) as i64 * 1_000_000).collect();
    let mut code = |limit: u64| -> ArrayRef {
        let codes: Int32Array = (0..rows).map(|_| Some(numbers.below(limit) as i32)).collect();
        Arc::new(codes)
    };
    let mut columns: Vec<(&str, bool, ArrayRef)> = vec![
        ("vendor", true, code(3)),
        ("start", true, Arc::new(TimestampMicrosecondArray::from(start))),
        ("end", true, Arc::new(TimestampMicrosecondArray::from(end))),
        ("from", true, code(265)),
        ("to", true, code(265)),
        ("payment", true, code(6)),
    ];
    let mut numbers = Numbers::new(5);
    let flag: StringArray = (0..rows).map(|_| (numbers.below(20) != 0).then_some("N")).collect();
    columns.push(("flag", true, Arc::new(flag)));
    for name in MONEY {
        let cents: Float64Array =
            (0..rows).map(|_| (numbers.below(20) != 0).then(|| numbers.below(5000) as f64 / 100.0)).collect();
        columns.push((name, true, Arc::new(cents)));
    }
    files::batch_of(columns)
}

//! What can't be read, and what is refused before it takes memory.

use super::schema::check;
use super::*;
use crate::formats::reading_test::{Reading, fixture, inspect, read, rows};
use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use serde_json::json;

fn zigzag(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// A file with this schema and these blocks, each with its number of records.
fn file(schema: &str, codec: &str, blocks: &[(i64, &[u8])]) -> Bytes {
    let mut file = MAGIC.to_vec();
    file.extend(zigzag(2));
    for (key, value) in [("avro.codec", codec), ("avro.schema", schema)] {
        for text in [key, value] {
            file.extend(zigzag(text.len() as i64));
            file.extend(text.as_bytes());
        }
    }
    file.push(0);
    file.extend([7; SYNC_BYTES]);
    for (rows, bytes) in blocks {
        file.extend(zigzag(*rows));
        file.extend(zigzag(bytes.len() as i64));
        file.extend(*bytes);
        file.extend([7; SYNC_BYTES]);
    }
    file.into()
}

fn record(fields: serde_json::Value) -> String {
    json!({"type": "record", "name": "R", "namespace": "a.b", "fields": fields}).to_string()
}

fn error_of(object: &Bytes) -> String {
    read(Format::Avro, object, &Reading::default()).1.unwrap().to_string()
}

#[test]
fn numbers_have_all_their_bits() {
    for value in [0, 1, -1, 63, 64, -65, i64::MAX, i64::MIN] {
        let bytes = zigzag(value);
        assert_eq!(number(&bytes).unwrap(), Some((value, bytes.len())));
        assert_eq!(number(&bytes[..bytes.len() - 1]).unwrap(), None);
    }
    assert!(number(&[0xff; 10]).is_err());
}

#[test]
fn what_no_column_can_hold_is_told_by_its_column() {
    for (name, words) in [("recursive.avro", ["next", "recursive"]), ("union_of_200.avro", ["u", "union of 200 types"])]
    {
        let error = inspect(Format::Avro, &fixture(name)).unwrap_err().to_string();
        assert!(error.contains(&format!("column {:?}", words[0])) && error.contains(words[1]), "{error}");
    }
    let error = inspect(Format::Avro, &file("\"string\"", "null", &[])).unwrap_err().to_string();
    assert!(error.contains("only those have columns"), "{error}");
    let error = inspect(Format::Avro, &file(&record(json!([])), "lzo", &[])).unwrap_err().to_string();
    assert!(error.contains("\"lzo\"") && error.contains("zstandard"), "{error}");
    let error = inspect(Format::Avro, &Bytes::from_static(b"PAR1 and so on")).unwrap_err().to_string();
    assert!(error.starts_with("not a Avro file") || error.starts_with("not an Avro file"), "{error}");
}

/// A type that is named twice by each of forty would be made a trillion times.
#[test]
fn a_small_schema_that_stands_for_a_large_one_is_refused() {
    let mut fields = vec![json!({"name": "f0", "type": {"type": "record", "name": "N0", "fields": [
        {"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}})];
    for n in 1..40 {
        let before = format!("N{}", n - 1);
        fields.push(json!({"name": format!("f{n}"), "type": {"type": "record", "name": format!("N{n}"), "fields": [
            {"name": "a", "type": before}, {"name": "b", "type": before}]}}));
    }
    let error = check(&record(fields.into())).unwrap_err().to_string();
    assert!(error.contains("more than 100000 fields"), "{error}");
    let fixed = json!({"type": "fixed", "name": "F", "size": 1 << 20});
    let error =
        check(&record(json!([{"name": "x", "type": {"type": "array", "items": ["null", fixed]}}]))).unwrap_err();
    assert!(error.to_string().contains("a fixed type of 1048576 bytes is in an array"), "{error}");
}

#[test]
fn blocks_are_checked_against_what_they_claim() {
    let schema = record(json!([{"name": "x", "type": "long"}]));
    let good = [zigzag(5), zigzag(-6)].concat();
    let batch =
        rows(Format::Avro, &file(&schema, "null", &[(2, &good), (0, b""), (1, &good[..1])]), &Reading::default());
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[5, -6, 5]);
    assert!(error_of(&file(&schema, "null", &[(1, &good)])).contains("1 bytes behind its records"));
    assert!(error_of(&file(&schema, "null", &[(1 << 40, &good)])).contains("claims 1099511627776 records in 2 bytes"));
    assert!(error_of(&file(&schema, "null", &[(-1, &good)])).contains("claims -1 records"));
    assert!(error_of(&file(&schema, "deflate", &[(2, &good)])).contains("block at byte"));
    let mut long = file(&schema, "null", &[]).to_vec();
    long.extend([zigzag(1), zigzag(1 << 30)].concat());
    assert!(error_of(&long.into()).contains("a block claims 1073741824 bytes"));
    // The rows before the bad one, and which it is.
    let object = file(&schema, "null", &[(2, &good), (3, &[&good[..], &[0x80]].concat())]);
    let (batches, error) = read(Format::Avro, &object, &Reading::default());
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 4);
    assert!(error.unwrap().to_string().contains("row 4 of the object"));
    assert_eq!(batches[0].column(2).null_count(), 0);
}

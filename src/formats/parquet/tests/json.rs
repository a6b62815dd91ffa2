//! Nested values as JSON, from file to text.

use super::{columns, decode_one, write};
use arrow::array::types::Float64Type as F64;
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Fields};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Clone)]
struct Row {
    integer: Option<i64>,
    text: Option<String>,
    floats: Option<Vec<Option<f64>>>,
    valid: bool,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop::option::of(any::<f64>());
    let row = (
        any::<Option<i64>>(),
        any::<Option<String>>(),
        prop::option::of(prop::collection::vec(float, 0..4)),
        any::<bool>(),
    );
    let row = row.prop_map(|(integer, text, floats, valid)| Row { integer, text, floats, valid });
    prop::collection::vec(row, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Written to Parquet, read back and encoded, a struct parses to the value that it was made from.
    #[test]
    fn structs_parse_back(rows in rows()) {
        let floats = ListArray::from_iter_primitive::<F64, _, _>(rows.iter().map(|row| row.floats.clone()));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.integer))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.text.as_deref()))),
            Arc::new(floats),
        ];
        let names = ["b", "a", "\"c\""];
        let fields: Fields = names.iter().zip(&arrays).map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
        let valid: NullBuffer = rows.iter().map(|row| row.valid).collect::<Vec<_>>().into();
        let batch = columns(vec![("s", Arc::new(StructArray::new(fields, arrays, Some(valid))))]);
        let (output, _) = decode_one(&write(&batch));
        let column = output.column_by_name("s").unwrap().as_binary::<i32>();
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(column.is_valid(index), row.valid);
            if !row.valid {
                continue;
            }
            let text = std::str::from_utf8(column.value(index)).unwrap();
            let mut parsed: Value = serde_json::from_str(text).unwrap();
            let expected = json!({
                "b": row.integer,
                "a": row.text.as_ref().map(|text| text.replace('\0', "")),
                "\"c\"": null,
            });
            parsed["\"c\""] = Value::Null;
            prop_assert_eq!(parsed, expected);
            // serde_json's own parsing of floats may be off by a digit: the standard library's is exact.
            let parsed: HashMap<String, Box<RawValue>> = serde_json::from_str(text).unwrap();
            let parsed: Option<Vec<Box<RawValue>>> = serde_json::from_str(parsed["\"c\""].get()).unwrap();
            let parsed = parsed.map(|values| values.iter().map(|value| value.get().parse().ok()).collect::<Vec<Option<f64>>>());
            let finite = |floats: &Vec<Option<f64>>| floats.iter().map(|f| f.filter(|f| f.is_finite())).collect();
            prop_assert_eq!(parsed, row.floats.as_ref().map(finite));
            prop_assert!(text.find("\"b\":") < text.find("\"a\":"), "schema order: {}", text);
        }
    }
}

use super::*;
use crate::cast::table_batch::TableBatch;
use crate::config::OnMismatch;
use crate::schema::field::Reading;
use crate::schema::fit::{FileColumnAt, FittedColumn};
use crate::schema::join::join;
use crate::schema::types::UTC;
use crate::schema::types::arbitrary::{any_type, plain};
use arrow::array::types::{Date32Type, Decimal128Type, TimestampMicrosecondType};
use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::Field;
use arrow::util::display::array_value_to_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const BIG: i64 = 1 << 53;

/// A column of this type with its extreme values, and a null.
fn extremes(column_type: &ColumnType) -> ArrayRef {
    let floats =
        [0.0, -0.0, 0.1, -1.5, 1e15, 1e23, 1e300, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let ends = |bits: u32| [0, 1, -1, i64::MAX >> (64 - bits), i64::MIN >> (64 - bits)];
    let unsigned = |bits: u32| [0, 1, u64::MAX >> (64 - bits), u64::MAX >> (64 - bits) >> 1];
    macro_rules! integers {
        ($array:ty, $values:expr) => {
            Arc::new($values.iter().map(|value| (*value).try_into().ok()).chain([None]).collect::<$array>())
        };
    }
    match column_type {
        ColumnType::Boolean => Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ColumnType::Int8 => integers!(Int8Array, ends(8)),
        ColumnType::Int16 => integers!(Int16Array, ends(16)),
        ColumnType::Int32 => integers!(Int32Array, ends(32)),
        ColumnType::Int64 => {
            let values: Vec<i64> = ends(64).into_iter().chain([BIG, BIG + 1, -BIG - 1, i64::MAX - 511]).collect();
            integers!(Int64Array, values)
        }
        ColumnType::UInt8 => integers!(UInt8Array, unsigned(8)),
        ColumnType::UInt16 => integers!(UInt16Array, unsigned(16)),
        ColumnType::UInt32 => integers!(UInt32Array, unsigned(32)),
        ColumnType::UInt64 => {
            let values: Vec<u64> = unsigned(64).into_iter().chain([1 << 53, (1 << 53) + 1, u64::MAX - 2047]).collect();
            integers!(UInt64Array, values)
        }
        #[expect(clippy::cast_possible_truncation, reason = "the nearest will do")]
        ColumnType::Float32 => Arc::new(floats.iter().map(|v| Some(*v as f32)).chain([None]).collect::<Float32Array>()),
        ColumnType::Float64 => Arc::new(floats.iter().map(|v| Some(*v)).chain([None]).collect::<Float64Array>()),
        ColumnType::Utf8 => {
            Arc::new(StringArray::from(vec![Some(""), Some("größe \"x\"\n"), Some("007"), Some("1.5"), None]))
        }
        ColumnType::Binary => Arc::new(BinaryArray::from_opt_vec(vec![Some(b""), Some(b"\x00\xff{}"), None])),
        ColumnType::Date32 => {
            let days = [0, -1, 19_753, -2_440_588, 2_145_042_905, 106_751_991, 106_751_992];
            Arc::new(days.into_iter().map(Some).chain([None]).collect::<Date32Array>())
        }
        ColumnType::Time64 => Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_999), None])),
        ColumnType::Timestamp => {
            let micros = [0, -1, 86_400_000_000, 1_700_000_000_000_001, -210_866_803_200_000_000, i64::MAX];
            let times: TimestampMicrosecondArray = micros.into_iter().map(Some).chain([None]).collect();
            Arc::new(times.with_timezone(UTC))
        }
        ColumnType::Decimal128 { precision, scale } => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let values = [0, 1, -1, most, -most, most / 7, most / 10 * 10].map(Some);
            let decimals: Decimal128Array = values.into_iter().chain([None]).collect();
            Arc::new(decimals.with_precision_and_scale(*precision, *scale).unwrap())
        }
        ColumnType::Uuid => {
            let values = [Some([0_u8; 16]), Some([0xa5; 16]), None];
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).unwrap())
        }
        ColumnType::Json => Arc::new(StringArray::from(vec![Some("{\"a\": 1}"), Some("null"), None])),
        other => panic!("{other} is not plain"),
    }
}

/// A value as Arrow's own formatter shows it, which knows no time zones by name.
fn shown(array: &ArrayRef, row: usize) -> String {
    let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
        return array_value_to_string(array, row).unwrap();
    };
    if times.is_null(row) {
        return String::new();
    }
    let naive: ArrayRef = Arc::new(times.clone().with_timezone_opt(None::<&str>));
    format!("{}Z", array_value_to_string(&naive, row).unwrap_or_default())
}

/// A field that such a column is read from.
fn field(name: &str, column_type: &ColumnType, arrow: &DataType) -> FileField {
    let reading = match column_type {
        ColumnType::Uuid => Reading::Uuid,
        ColumnType::Json => Reading::Json,
        _ => Reading::Plain,
    };
    let kind = FieldKind::Leaf { arrow: arrow.clone(), reading };
    FileField { name: name.to_owned(), nullable: true, kind, leaves: 0..1 }
}

/// A decimal number without zeros at its ends: sign, digits in front of the point, digits behind it.
fn plain_digits(text: &str) -> (bool, String, String) {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (integer, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let (integer, decimals) = (integer.trim_start_matches('0'), decimals.trim_end_matches('0'));
    (negative && !(integer.is_empty() && decimals.is_empty()), integer.to_owned(), decimals.to_owned())
}

/// The number with all its digits; `None`: it is not finite, or not a number.
fn exact(column_type: &ColumnType, array: &ArrayRef, row: usize) -> Option<(bool, String, String)> {
    let float = |value: f64| value.is_finite().then(|| plain_digits(&format!("{value:.1100}")));
    match column_type {
        ColumnType::Float32 => float(array.as_primitive::<arrow::array::types::Float32Type>().value(row).into()),
        ColumnType::Float64 => float(array.as_primitive::<arrow::array::types::Float64Type>().value(row)),
        ColumnType::Decimal128 { .. } => {
            Some(plain_digits(&array.as_primitive::<Decimal128Type>().value_as_string(row)))
        }
        _ => Some(plain_digits(&shown(array, row))),
    }
}

fn is_number(column_type: &ColumnType) -> bool {
    use ColumnType::{Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    matches!(
        column_type,
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Decimal128 { .. } | Float32 | Float64
    )
}

/// Whether the value in the table is that of the file, told slowly and by other means than the code has.
fn is_same(own: &ColumnType, from: &ArrayRef, target: &ColumnType, to: &ArrayRef, row: usize) -> bool {
    let text_of = || shown(from, row);
    if is_number(own) && is_number(target) {
        let (a, b) = (exact(own, from, row), exact(target, to, row));
        let shortest =
            |row| plain_digits(&format!("{}", to.as_primitive::<arrow::array::types::Float64Type>().value(row)));
        let is_decimal = matches!((own, target), (ColumnType::Decimal128 { .. }, ColumnType::Float64));
        return a == b || (is_decimal && a == Some(shortest(row)));
    }
    match (own, target) {
        (ColumnType::Date32, ColumnType::Timestamp) => {
            let micros = to.as_primitive::<TimestampMicrosecondType>().value(row);
            i128::from(micros) == i128::from(from.as_primitive::<Date32Type>().value(row)) * 86_400_000_000
        }
        (_, ColumnType::Utf8) => is_text(own, from, row, to.as_string::<i32>().value(row)),
        (_, ColumnType::Json) => {
            let text = std::str::from_utf8(to.as_binary::<i32>().value(row)).unwrap();
            match (own, serde_json::from_str::<Value>(text).unwrap()) {
                (ColumnType::Json, _) => text == text_of(),
                (_, Value::String(text)) => is_text(own, from, row, &text),
                (_, Value::Bool(_)) => text == text_of(),
                (_, Value::Number(_)) if matches!(own, ColumnType::Float32) => {
                    text.parse::<f32>().unwrap().to_string() == text_of().parse::<f32>().unwrap().to_string()
                }
                (_, Value::Number(_)) if matches!(own, ColumnType::Float64) => {
                    text.parse::<f64>().unwrap() == text_of().parse::<f64>().unwrap()
                }
                (_, Value::Number(_)) => Some(plain_digits(text)) == exact(own, from, row),
                (_, other) => panic!("{other} of {own}"),
            }
        }
        _ => own == target && text_of() == shown(to, row),
    }
}

fn is_text(own: &ColumnType, from: &ArrayRef, row: usize, text: &str) -> bool {
    let shown = shown(from, row);
    match own {
        ColumnType::Float32 | ColumnType::Float64 => match text {
            "NaN" => shown == "NaN",
            "Infinity" | "-Infinity" => shown == text.to_lowercase().replace("inity", ""),
            // Digits without an exponent, which give the number again.
            _ if matches!(own, ColumnType::Float32) => {
                !text.contains('e') && text.parse::<f32>() == shown.parse::<f32>()
            }
            _ => !text.contains('e') && text.parse::<f64>() == shown.parse::<f64>(),
        },
        ColumnType::Binary => STANDARD.decode(text).unwrap() == from.as_binary::<i32>().value(row),
        ColumnType::Uuid => text.replace('-', "") == shown && text.len() == 36,
        // Arrow's formatter stops somewhere beyond four digits.
        ColumnType::Timestamp | ColumnType::Date32 if text.starts_with(['+', '-']) => text[1..].contains('-'),
        _ => text == shown,
    }
}

/// Whether no value of the type can be that of the file.
fn cannot_hold(own: &ColumnType, from: &ArrayRef, target: &ColumnType, row: usize) -> bool {
    match (own, target) {
        (ColumnType::Date32, ColumnType::Timestamp) => {
            let micros = i128::from(from.as_primitive::<Date32Type>().value(row)) * 86_400_000_000;
            i64::try_from(micros).is_err()
        }
        (_, ColumnType::Float64) => {
            let digits = exact(own, from, row).unwrap();
            let nearest: f64 = format!("{}{}.{}", if digits.0 { "-" } else { "" }, digits.1, digits.2).parse().unwrap();
            let shortest = plain_digits(&nearest.to_string());
            let is_whole = digits.2.is_empty();
            plain_digits(&format!("{nearest:.1100}")) != digits && (is_whole || shortest != digits)
        }
        _ => false,
    }
}

/// Every value of every type is in a column of the joined type as it is, or cannot be.
#[test]
fn every_join_holds_or_loses_each_value_as_it_must() {
    let mut lost_pairs = BTreeSet::new();
    for own in plain() {
        for other in plain().into_iter().chain([ColumnType::List(Box::new(ColumnType::Int8))]) {
            let target = join(&own, &other).settled();
            let array = extremes(&own);
            let field = field("x", &own, array.data_type());
            let counts = CastCounts::default();
            let Converted { array: converted, lost } = convert(&field, &target, &array, None, &counts).unwrap();
            assert_eq!(
                (converted.len(), converted.data_type()),
                (array.len(), &target.arrow_type()),
                "{own} to {target}"
            );
            assert_eq!(counts.summary(), None, "{own} to {target}");
            for row in 0..array.len() {
                let is_lost = lost.as_ref().is_some_and(|lost| lost.value(row));
                let shown = shown(&array, row);
                if array.is_null(row) {
                    assert!(converted.is_null(row) && !is_lost, "{own} to {target}: null");
                } else if is_lost {
                    assert!(converted.is_null(row), "{own} to {target}: {shown}");
                    assert!(cannot_hold(&own, &array, &target, row), "{own} to {target}: {shown} is lost");
                    lost_pairs.insert(format!("{own} to {target}"));
                } else {
                    assert!(converted.is_valid(row), "{own} to {target}: {shown} is null");
                    assert!(is_same(&own, &array, &target, &converted, row), "{own} to {target}: {shown}");
                }
            }
        }
    }
    // And no others are checked by value.
    let expected = [
        "date to timestamp",
        "decimal(20, 0) to float64",
        "decimal(38, 0) to float64",
        "decimal(38, 10) to float64",
        "int64 to float64",
        "uint64 to float64",
    ];
    assert_eq!(lost_pairs.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// A stored type may be any: what it does not hold is lost, never changed.
#[test]
fn every_type_is_converted_to_every_other_or_lost() {
    for own in plain() {
        for target in plain() {
            let array = extremes(&own);
            let field = field("x", &own, array.data_type());
            let Converted { array: converted, lost } =
                convert(&field, &target, &array, None, &CastCounts::default()).unwrap();
            assert_eq!((converted.len(), converted.data_type()), (array.len(), &target.arrow_type()));
            for row in 0..array.len() {
                let is_lost = lost.as_ref().is_some_and(|lost| lost.value(row));
                assert_eq!(converted.is_null(row), array.is_null(row) || is_lost, "{own} to {target}");
                let exactly = is_number(&own) && is_number(&target) && converted.is_valid(row);
                // A float may come into a decimal by its shortest digits.
                let by_digits = matches!(own, ColumnType::Float32 | ColumnType::Float64)
                    && matches!(target, ColumnType::Decimal128 { .. });
                if exactly && !by_digits {
                    assert!(is_same(&own, &array, &target, &converted, row), "{own} to {target}");
                }
            }
        }
    }
}

#[test]
fn numbers_come_into_narrower_types_where_these_hold_them() {
    let narrowed = |own: &ColumnType, array: ArrayRef, target: &ColumnType| {
        let field = field("x", own, array.data_type());
        let converted = convert(&field, target, &array, None, &CastCounts::default()).unwrap();
        (0..array.len()).map(|row| shown(&converted.array, row)).collect::<Vec<_>>()
    };
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![127, 128, -129]));
    assert_eq!(narrowed(&ColumnType::Int64, integers, &ColumnType::Int8), ["127", "", ""]);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.5, 0.1, 1e300]));
    assert_eq!(narrowed(&ColumnType::Float64, Arc::clone(&floats), &ColumnType::Int32), ["1", "", "", ""]);
    let decimal = ColumnType::Decimal128 { precision: 4, scale: 1 };
    assert_eq!(narrowed(&ColumnType::Float64, floats, &decimal), ["1.0", "1.5", "0.1", ""]);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![86_400_000_000, 1]).with_timezone(UTC));
    assert_eq!(narrowed(&ColumnType::Timestamp, times, &ColumnType::Date32), ["1970-01-02", ""]);
}

fn nested(name: &str, kind: FieldKind) -> FileField {
    FileField { name: name.to_owned(), nullable: true, kind, leaves: 0..1 }
}

fn leaf(name: &str, arrow: DataType) -> FileField {
    nested(name, FieldKind::Leaf { arrow, reading: Reading::Plain })
}

#[test]
fn of_nested_values_what_fits_stays_and_rows_that_lose_something_are_named() {
    // [[1, 2^53 + 1], null, [], [3]] as floats.
    let item = Arc::new(Field::new("item", DataType::Int64, true));
    let offsets = OffsetBuffer::new(vec![0, 2, 2, 2, 3].into());
    let nulls = NullBuffer::from(vec![true, false, true, true]);
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, BIG + 1, 3]));
    let lists: ArrayRef = Arc::new(ListArray::new(item, offsets, values, Some(nulls)));
    let list_field = nested("x", FieldKind::List(Box::new(leaf("item", DataType::Int64))));
    let target = ColumnType::List(Box::new(ColumnType::Float64));
    let converted = convert(&list_field, &target, &lists, None, &CastCounts::default()).unwrap();
    let texts: Vec<String> = (0..4).map(|row| shown(&converted.array, row)).collect();
    assert_eq!(texts, ["[1.0, ]", "", "[]", "[3.0]"]);
    assert_eq!(converted.lost.unwrap().set_indices().collect::<Vec<_>>(), [0]);

    // {a, b} where the table has {b: text, c}.
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(2)]));
    let b: ArrayRef = Arc::new(Int32Array::from(vec![7, 8, 9]));
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int32, true)];
    let nulls = NullBuffer::from(vec![true, true, false]);
    let structs: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![a, b], Some(nulls)));
    let struct_field = nested("x", FieldKind::Struct(vec![leaf("a", DataType::Int64), leaf("b", DataType::Int32)]));
    let target = ColumnType::Struct(vec![("b".to_owned(), ColumnType::Utf8), ("c".to_owned(), ColumnType::Int8)]);
    let converted = convert(&struct_field, &target, &structs, None, &CastCounts::default()).unwrap();
    let texts: Vec<String> = (0..3).map(|row| shown(&converted.array, row)).collect();
    assert_eq!(texts, ["{b: 7, c: }", "{b: 8, c: }", ""]);
    assert_eq!(converted.lost.unwrap().set_indices().collect::<Vec<_>>(), [0]);

    // Nested where the table has numbers, and the other way round.
    let converted = convert(&struct_field, &ColumnType::Int64, &structs, None, &CastCounts::default()).unwrap();
    assert_eq!((converted.array.null_count(), converted.lost.unwrap().count_set_bits()), (3, 2));
    let plain: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let converted = convert(&leaf("x", DataType::Int32), &target, &plain, None, &CastCounts::default()).unwrap();
    assert_eq!((converted.array.null_count(), converted.lost.unwrap().count_set_bits()), (2, 1));
    let json = convert(&struct_field, &ColumnType::Json, &structs, None, &CastCounts::default()).unwrap();
    assert_eq!(json.array.as_binary::<i32>().value(0), br#"{"a":1,"b":7}"#);
}

#[test]
fn the_rescue_column_has_what_was_lost_and_what_has_no_place() {
    let column = |name: &str, array: &ArrayRef, occurrence| FileColumnAt {
        field: leaf(name, array.data_type().clone()),
        occurrence,
        index: 0,
        second: None,
    };
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(BIG + 1), Some(2), None, Some(-BIG - 1)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, None, Some("a\"b"), Some("x")]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![None, None, None, Some(f64::NAN)]));
    let fitted = |converts, target| FittedColumn { from: column("a", &integers, 0), target, converts, told: None };
    let cast = |on_mismatch| {
        let counts = CastCounts::default();
        let mut batch = TableBatch::new(4, &counts, (on_mismatch, true), 1 << 20);
        let array = batch.column(&fitted(true, ColumnType::Float64), &integers, None)?;
        assert_eq!(array.null_count(), 3);
        batch.rescue(&column("b", &texts, 1), &texts, None)?;
        batch.rescue(&column("c", &floats, 0), &floats, None)?;
        let rescued = batch.rescue_column(None)?;
        let rescued: Vec<Option<Value>> = rescued
            .as_binary::<i32>()
            .iter()
            .map(|text| text.map(|text| serde_json::from_slice(text).unwrap()))
            .collect();
        Ok::<_, CastError>((rescued, counts.summary()))
    };
    let (rescued, counted) = cast(OnMismatch::Rescue).unwrap();
    let expected = [
        Some(json!({"a": BIG + 1})),
        None,
        Some(json!({"b#2": "a\"b"})),
        Some(json!({"a": -BIG - 1, "b#2": "x", "c": "NaN"})),
    ];
    assert_eq!(rescued, expected);
    let expected = r#"5 values that their columns cannot hold are in the rescue column ("a": 2, "b#2": 2, "c": 1)"#;
    assert_eq!(counted.unwrap(), expected);
    let (rescued, counted) = cast(OnMismatch::Null).unwrap();
    assert_eq!(rescued[0], None);
    assert!(counted.unwrap().contains(r#"2 values that their columns cannot hold became null ("a": 2)"#));
    assert_eq!(cast(OnMismatch::Fail), Err(CastError::Mismatch { row: 0, target: "float64".to_owned() }));
}

#[test]
fn without_losses_the_rescue_column_is_null_and_json_keeps_to_its_budget() {
    let counts = CastCounts::default();
    let mut batch = TableBatch::new(3, &counts, (OnMismatch::Rescue, true), 20);
    assert_eq!(batch.rescue_column(None).unwrap().null_count(), 3);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["0123456789"; 3]));
    let column = FileColumnAt { field: leaf("a", DataType::Utf8), occurrence: 0, index: 0, second: None };
    batch.rescue(&column, &texts, None).unwrap();
    assert!(matches!(batch.rescue_column(None), Err(CastError::OverBudget(1))));
    assert_eq!(counts.summary().map(|text| text.contains("3 values")), Some(true));
}

/// A nested field of a type, and a column of it with a few values.
fn sample(name: &str, column_type: &ColumnType) -> Option<(FileField, ArrayRef)> {
    Some(match column_type {
        ColumnType::Null => (leaf(name, DataType::Null), new_null_array(&DataType::Null, 3)),
        ColumnType::List(item) => {
            let (item, values) = sample("item", item)?;
            let offsets = OffsetBuffer::new(vec![0, 1, 1, i32::try_from(values.len()).unwrap()].into());
            let list_field = Arc::new(Field::new("item", values.data_type().clone(), true));
            let nulls = NullBuffer::from(vec![true, false, true]);
            let list = ListArray::new(list_field, offsets, values, Some(nulls));
            (nested(name, FieldKind::List(Box::new(item))), Arc::new(list))
        }
        ColumnType::Struct(fields) => {
            let parts: Vec<_> = fields.iter().map(|(name, kind)| sample(name, kind)).collect::<Option<_>>()?;
            let arrow: Vec<Field> =
                parts.iter().map(|(field, array)| Field::new(&field.name, array.data_type().clone(), true)).collect();
            let (fields, arrays): (Vec<_>, Vec<_>) = parts.into_iter().map(|(f, array)| (f, array.slice(0, 3))).unzip();
            (nested(name, FieldKind::Struct(fields)), Arc::new(StructArray::new(arrow.into(), arrays, None)))
        }
        // Maps are as lists of pairs.
        ColumnType::Map { .. } => return None,
        plain => {
            let array = extremes(plain);
            let mut field = field(name, plain, array.data_type());
            field.nullable = true;
            (field, array)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is joined with whatever: each value comes into the joined type, or its row is named.
    #[test]
    fn nested_values_are_converted_or_lost(own in any_type(), other in any_type()) {
        // What fields of this type really give: lists of nested types are JSON where nested values do not travel natively.
        let Some((field, array)) = sample("x", &own) else { return Ok(()) };
        let array = array.slice(0, 3.min(array.len()));
        let target = join(&field.target_as(NestedAs::Native), &other).settled();
        let Converted { array: converted, lost } =
            convert(&field, &target, &array, None, &CastCounts::default()).unwrap();
        prop_assert_eq!((converted.len(), converted.data_type()), (array.len(), &target.arrow_type()));
        for row in 0..array.len() {
            let is_lost = lost.as_ref().is_some_and(|lost| lost.value(row));
            prop_assert!(!(is_lost && array.is_null(row)));
            // Of a value that is not lost something is there.
            prop_assert_eq!(converted.is_null(row) && !is_lost, array.is_null(row) || *array.data_type() == DataType::Null);
        }
    }
}

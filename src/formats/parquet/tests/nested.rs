use crate::cast::origin::Origin;
use crate::config::NestedAs;
use crate::formats::Output;
use crate::formats::error::ReadError;
use crate::formats::parquet::tests::{columns, decode_as, footer, int96, next_column, table_as, write, write_raw};
use crate::schema::types::ColumnType;
use arrow::array::types::*;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int96Type};
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn decode(file: &Bytes) -> (RecordBatch, Arc<crate::cast::counts::CastCounts>) {
    let (mut batches, counts) = decode_as(file, NestedAs::Native, Origin::new("bucket", "key")).unwrap();
    assert_eq!(batches.len(), 1);
    (batches.remove(0), counts)
}

fn target(file: &Bytes, column: usize) -> ColumnType {
    table_as(&footer(file).unwrap(), NestedAs::Native).unwrap().columns()[column].column_type.clone()
}

fn list(item: ArrayRef, lengths: impl IntoIterator<Item = usize>, nulls: Option<Vec<bool>>) -> ArrayRef {
    let field = Arc::new(Field::new("element", item.data_type().clone(), true));
    let nulls = nulls.map(NullBuffer::from);
    Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), item, nulls))
}

/// Struct, list of struct and map of struct, with nulls at every level and leaves that need casts.
#[test]
fn nested_values_keep_their_shape_and_their_leaves_are_cast() {
    let inner = Fields::from(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        Field::new("text", DataType::LargeUtf8, true),
    ]);
    let structs = |rows: i64, nulls: Option<Vec<bool>>| {
        let times = TimestampNanosecondArray::from_iter_values((0..rows).map(|row| 1_000 * row + 1));
        let texts: LargeStringArray = (0..rows).map(|row| (row % 2 == 0).then(|| format!("t{row}"))).collect();
        let arrays: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(texts)];
        StructArray::new(inner.clone(), arrays, nulls.map(NullBuffer::from))
    };
    let map = {
        let keys = LargeStringArray::from(vec!["a", "b", "c"]);
        let pair = Fields::from(vec![
            Field::new("k", DataType::LargeUtf8, false),
            Field::new("v", DataType::Struct(inner.clone()), true),
        ]);
        let values = structs(3, Some(vec![true, false, true]));
        let pairs = StructArray::new(pair.clone(), vec![Arc::new(keys) as ArrayRef, Arc::new(values)], None);
        let entries = Arc::new(Field::new("kv", DataType::Struct(pair), false));
        let nulls = NullBuffer::from(vec![true, false, true]);
        MapArray::new(entries, OffsetBuffer::from_lengths([2, 0, 1]), pairs, Some(nulls), false)
    };
    let batch = columns(vec![
        ("s", Arc::new(structs(3, Some(vec![true, false, true]))) as ArrayRef),
        ("ls", list(Arc::new(structs(3, Some(vec![true, false, true]))), [2, 0, 1], Some(vec![true, false, true]))),
        ("m", Arc::new(map)),
    ]);
    let file = write(&batch);
    let (output, counts) = decode(&file);
    assert_eq!(counts.summary(), None);
    let names: Vec<String> = (0..3).map(|column| target(&file, column).to_string()).collect();
    let of_struct = r#"struct<"at": timestamp, "text": utf8>"#;
    assert_eq!(names, [of_struct, &format!("list<{of_struct}>"), &format!("map<utf8, {of_struct}>")]);

    let check_structs = |structs: &StructArray| {
        assert_eq!(structs.nulls().unwrap().iter().collect::<Vec<_>>(), [true, false, true]);
        assert!(structs.fields().iter().all(|field| field.is_nullable() && field.metadata().is_empty()));
        let times = structs.column_by_name("at").unwrap().as_primitive::<TimestampMicrosecondType>();
        assert_eq!((times.value(0), times.value(2), times.timezone()), (0, 2, Some("UTC")));
        let texts = structs.column_by_name("text").unwrap().as_string::<i32>();
        assert_eq!((texts.value(0), texts.value(2)), ("t0", "t2"));
    };
    check_structs(output.column_by_name("s").unwrap().as_struct());
    let lists = output.column_by_name("ls").unwrap().as_list::<i32>();
    check_structs(lists.values().as_struct());
    assert_eq!((lists.value_length(0), lists.is_null(1), lists.value_length(2)), (2, true, 1));
    let DataType::List(item) = lists.data_type() else { panic!() };
    assert_eq!((item.name().as_str(), item.is_nullable()), ("item", true));
    let maps = output.column_by_name("m").unwrap().as_map();
    check_structs(maps.values().as_struct());
    assert_eq!(maps.keys().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((maps.value_length(0), maps.is_null(1), maps.value_length(2)), (2, true, 1));
    let DataType::Map(entries, false) = maps.data_type() else { panic!() };
    let DataType::Struct(pair) = entries.data_type() else { panic!() };
    let names: Vec<_> = pair.iter().map(|field| (field.name().as_str(), field.is_nullable())).collect();
    assert_eq!((entries.name().as_str(), entries.is_nullable()), ("entries", false));
    assert_eq!(names, [("key", false), ("value", true)]);
}

/// CloudQuery's extension types stand on nested fields, and only they.
#[test]
fn uuid_and_json_inside_have_their_extension() {
    let message = "message m { REQUIRED GROUP s {
        REQUIRED FIXED_LEN_BYTE_ARRAY (16) u (UUID) = 7;
        OPTIONAL BYTE_ARRAY j (JSON);
    } OPTIONAL GROUP jl (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (JSON); } } }";
    let file = write_raw(message, |group| {
        let uuid = FixedLenByteArray::from(vec![9; 16]);
        next_column::<FixedLenByteArrayType>(group, &[uuid], None, None);
        next_column::<ByteArrayType>(group, &[ByteArray::from("no JSON")], Some(&[1]), None);
        next_column::<ByteArrayType>(group, &[ByteArray::from("{}")], Some(&[3]), Some(&[0]));
    });
    let (output, counts) = decode(&file);
    assert_eq!(counts.json_invalid.load(Ordering::Relaxed), 1);
    let structs = output.column_by_name("s").unwrap().as_struct();
    assert_eq!(structs.column(0).as_fixed_size_binary().value(0), [9; 16]);
    assert_eq!(structs.column(1).as_binary::<i32>().value(0), b"\"no JSON\"");
    let extension = |field: &Field| {
        assert_eq!(field.metadata().len(), 2, "{field:?}");
        let [name, metadata] =
            ["name", "metadata"].map(|key| field.metadata()[&format!("ARROW:extension:{key}")].clone());
        (name, metadata)
    };
    assert_eq!(extension(&structs.fields()[0]), ("uuid".into(), "uuid-serialized".into()));
    assert_eq!(extension(&structs.fields()[1]), ("json".into(), "json-serialized".into()));
    let DataType::List(item) = output.column_by_name("jl").unwrap().data_type() else { panic!() };
    assert_eq!(extension(item).0, "json");
}

/// What is read twice is found in both readings, and values out of range are null and counted, on any level.
#[test]
fn casts_inside_find_the_second_reading_and_count() {
    const EPOCH: u32 = 2_440_588;
    let message = "message m { OPTIONAL GROUP l (LIST) { REPEATED GROUP list { OPTIONAL GROUP element {
        REQUIRED INT96 at; } } } REQUIRED GROUP m (MAP) { REPEATED GROUP key_value {
        REQUIRED BYTE_ARRAY key (UTF8); REQUIRED INT96 value; } } }";
    let times = [int96(EPOCH, 1_500), int96(u32::MAX, 0)];
    let file = write_raw(message, |group| {
        next_column::<Int96Type>(group, &times, Some(&[3, 3]), Some(&[0, 1]));
        next_column::<ByteArrayType>(
            group,
            &[ByteArray::from("a"), ByteArray::from("b")],
            Some(&[1, 1]),
            Some(&[0, 1]),
        );
        next_column::<Int96Type>(group, &times, Some(&[1, 1]), Some(&[0, 1]));
    });
    let (output, counts) = decode(&file);
    let in_list = output.column_by_name("l").unwrap().as_list::<i32>().values().as_struct().column(0).clone();
    let in_map = output.column_by_name("m").unwrap().as_map().values().clone();
    for times in [in_list, in_map] {
        assert_eq!(times.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(), [Some(1), None]);
    }
    assert_eq!(counts.timestamps_out_of_range.load(Ordering::Relaxed), 2);
}

/// Lists of lists, odd keys and what is very deep are JSON where they stand; what is around them is not.
#[test]
fn what_destinations_cannot_take_is_json_all_the_same() {
    let numbers = || Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef;
    let structure = |name: &str, array: ArrayRef| {
        let fields = Fields::from(vec![Field::new(name, array.data_type().clone(), true)]);
        Arc::new(StructArray::new(fields, vec![array], None)) as ArrayRef
    };
    let mut by_date = MapBuilder::new(None, Date32Builder::new(), Int32Builder::new());
    for row in 0..2 {
        by_date.keys().append_value(row);
        by_date.values().append_value(row);
        by_date.append(true).unwrap();
    }
    let lists = list(list(numbers(), [1, 1], None), [1, 1], None);
    let deep = (0..20).fold(numbers(), |array, _| structure("x", array));
    let file = write(&columns(vec![
        ("lists", Arc::clone(&lists)),
        ("inside", structure("lists", lists)),
        ("by_date", Arc::new(by_date.finish())),
        ("deep", deep),
    ]));
    assert_eq!(target(&file, 0), ColumnType::Json);
    assert_eq!(target(&file, 1).to_string(), r#"struct<"lists": json>"#);
    assert_eq!(target(&file, 2), ColumnType::Json);
    let deep = target(&file, 3);
    assert_eq!(deep.to_string().matches("struct<").count(), crate::schema::field::MAX_NATIVE_DEPTH);
    assert_eq!(ColumnType::parse(&deep.to_string()), Some(deep));
    let (output, _) = decode(&file);
    let json = |array: &ArrayRef| String::from_utf8(array.as_binary::<i32>().value(1).to_vec()).unwrap();
    assert_eq!(json(output.column_by_name("lists").unwrap()), "[[2]]");
    assert_eq!(json(output.column_by_name("inside").unwrap().as_struct().column(0)), "[[2]]");
    assert_eq!(json(output.column_by_name("by_date").unwrap()), r#"[["1970-01-02",1]]"#);
    let mut inside = Arc::clone(output.column_by_name("deep").unwrap());
    while let Some(structs) = inside.as_struct_opt() {
        let column = Arc::clone(structs.column(0));
        inside = column;
    }
    assert_eq!(json(&inside), r#"{"x":{"x":{"x":{"x":2}}}}"#);
}

/// A file whose struct has other fields is another table's, and the message tells both types.
#[test]
fn structs_of_other_fields_do_not_agree() {
    let file = |name: &str| {
        let fields = Fields::from(vec![Field::new(name, DataType::Int32, true)]);
        let array = StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![1]))], None);
        write(&columns(vec![("s", Arc::new(array) as ArrayRef)]))
    };
    let (a, b) = (footer(&file("a")).unwrap(), footer(&file("b")).unwrap());
    let open = |table: NestedAs| {
        let table = table_as(&a, table).unwrap();
        let output = Arc::clone(table.arrow());
        let origin = Origin::new("bucket", "key");
        crate::formats::parquet::plan::ObjectPlan::new(
            Arc::clone(&b),
            Output::new(Arc::new(table.clone()), output, origin, Arc::default()),
        )
    };
    let error = open(NestedAs::Native).unwrap_err();
    assert!(matches!(error, ReadError::SchemaChanged { .. }));
    let text = error.to_string();
    assert!(text.contains(r#"struct<"a": int32>"#) && text.contains(r#"struct<"b": int32>"#), "{text}");
    assert!(open(NestedAs::Json).is_ok(), "as JSON any two structs agree");
}

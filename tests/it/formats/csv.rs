//! CSV and TSV: from records to rows.

use super::{synced, table_of};
use crate::rig::Rig;
use serde_json::{Value, json};

/// The columns and rows of one CSV object under these options.
async fn csv(text: &str, csv: Value) -> (Vec<String>, Vec<String>) {
    csv_bytes(text.as_bytes(), csv).await
}

async fn csv_bytes(bytes: &[u8], csv: Value) -> (Vec<String>, Vec<String>) {
    let (mut columns, rows) = table_of("t/a.csv", bytes, json!({"filetype": "csv", "csv": csv})).await;
    assert_eq!(columns.pop().unwrap(), "_s3_rescued Binary");
    (columns, rows)
}

#[tokio::test]
async fn names_come_from_the_header_without_its_byte_order_mark() {
    let (columns, rows) = csv("\u{feff}id,name\n1,größe\n", json!({})).await;
    assert_eq!((columns, rows), (vec!["id Int64".into(), "name Utf8".into()], vec!["1 größe -".to_owned()]));
}

#[tokio::test]
async fn names_that_tables_cannot_have_are_changed() {
    let (columns, _) = csv("a,a,A,,_cq_id,\"x y\"\n1,2,3,4,5,6\n", json!({})).await;
    let names: Vec<&str> = columns.iter().map(|column| column.split(' ').next().unwrap()).collect();
    assert_eq!(names[..5], ["a", "a_2", "A_3", "_", "src_cq_id"]);
    assert!(columns[5].starts_with("x y "), "{columns:?}");
}

#[tokio::test]
async fn other_encodings_are_read() {
    let utf16: Vec<u8> = "\u{feff}name\ngröße\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(csv_bytes(&utf16, json!({})).await.1, ["größe -"]);
    let windows = b"name\ngr\xf6\xdfe \x80\n";
    assert_eq!(csv_bytes(windows, json!({"encoding": "windows-1252"})).await.1, ["größe € -"]);
}

#[tokio::test]
async fn line_ends_may_be_mixed_and_those_in_quotes_are_text() {
    let (_, rows) = csv("id,t\r\n1,a\r2,\"x\r\ny\"\n\n3,c", json!({})).await;
    assert_eq!(rows, ["1 a -", "2 x\r\ny -", "3 c -"]);
}

#[tokio::test]
async fn quotes_are_read_as_most_writers_write_them() {
    let (_, rows) = csv("t\n\"a \"\"b\"\" c\"\na\"b\n\"x\"y\n", json!({})).await;
    assert_eq!(rows, ["a \"b\" c -", "a\"b -", "xy -"]);
    let (_, rows) = csv("t\n'a,b'\n'it\\'s'\n", json!({"quote": "'", "escape": "\\"})).await;
    assert_eq!(rows, ["a,b -", "it's -"]);
}

#[tokio::test]
async fn nothing_is_null_and_quotes_without_anything_are_empty_text() {
    let text = "a,b,c\nx,,z\nx,\"\",z\nx,NULL,z\n";
    let nulls = json!(["", "NULL"]);
    assert_eq!(csv(text, json!({"null_values": nulls})).await.1, ["x  z -", "x - z -", "x - z -"]);
    let quoted = json!({"null_values": nulls, "quoted_null": true});
    assert_eq!(csv(text, quoted).await.1, ["x - z -", "x - z -", "x - z -"]);
}

#[tokio::test]
async fn short_and_long_rows_lose_nothing() {
    let text = "a,b\n1\n2,x,,y\n3,z,,\n";
    assert_eq!(csv(text, json!({})).await.1, ["1 - -", "2 x {\"_extra\":[\"\",\"y\"]}", "3 z -"]);
    let (sync, log) = synced(
        &[("t/a.csv", text.as_bytes())],
        json!({"filetype": "csv", "csv": {"short_rows": "bad", "long_rows": "bad"}, "bad_rows": {"on": "skip"}}),
    )
    .await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(super::rows(&sync, "t"), ["3 z -"]);
    let warnings = log.of_level("warn");
    assert_eq!(warnings.iter().filter(|line| line.contains("a record could not be read")).count(), 2, "{warnings:?}");
}

#[tokio::test]
async fn what_is_no_canonical_number_stays_text() {
    for text in ["007", "+1", "1_0", "0x1", " 1", "1,5"] {
        let (columns, rows) = csv(&format!("v\n\"{text}\"\n"), json!({})).await;
        assert_eq!((&columns[..], &rows[..]), (&["v Utf8".to_owned()][..], &[format!("{text} -")][..]), "{text}");
    }
}

#[tokio::test]
async fn types_are_inferred_from_all_values() {
    for (values, column, first) in [
        (&["1", "-2", "0"][..], "Int64", "-2 -"),
        (&["9223372036854775808"], "Decimal128(38, 0)", "9223372036854775808 -"),
        (&["12345678901234567890123456789012345678"], "Decimal128(38, 0)", "12345678901234567890123456789012345678 -"),
        (
            &["12345678901234567890123456789012345678901234567890"],
            "Utf8",
            "12345678901234567890123456789012345678901234567890 -",
        ),
        (&["1.1", "1e5", "NaN", "+Inf"], "Float64", "1.1 -"),
        (&["0.1234567890123456789"], "Decimal128(19, 19)", "0.1234567890123456789 -"),
        (&["2024-01-31"], "Date32", "2024-01-31 -"),
        (&["2024-02-30"], "Utf8", "2024-02-30 -"),
        (&["31.01.2024"], "Utf8", "31.01.2024 -"),
        (&["true", "FALSE", "True"], "Boolean", "false -"),
        (&["yes"], "Utf8", "yes -"),
        (&["0", "1"], "Int64", "0 -"),
    ] {
        let (columns, rows) = csv(&format!("v\n{}\n", values.join("\n")), json!({})).await;
        assert_eq!(columns, [format!("v {column}")], "{values:?}");
        assert_eq!(rows[0], first, "{values:?}");
    }
    let (columns, rows) = csv("v\n2024-01-01T00:00:00+02:00\n2024-01-01 00:00:00\n", json!({})).await;
    assert_eq!(columns, ["v Timestamp(µs, \"UTC\")"]);
    assert_eq!(rows, ["2023-12-31T22:00:00 -", "2024-01-01T00:00:00 -"]);
    let (columns, _) = csv("v\n1\n", json!({"types": "text"})).await;
    assert_eq!(columns, ["v Utf8"]);
}

#[tokio::test]
async fn what_comes_behind_the_sample_is_rescued_and_never_changed() {
    let mut text = "v\n".to_owned();
    text.push_str(&"1\n".repeat(200_000));
    text.push_str("007\nabc\n");
    let (columns, rows) = csv(&text, json!({})).await;
    assert_eq!(columns, ["v Int64"]);
    assert_eq!(rows.len(), 200_002);
    assert_eq!(rows[..2], ["- {\"v\":\"007\"}", "- {\"v\":\"abc\"}"]);
}

#[tokio::test]
async fn an_integer_that_a_float_cannot_hold_is_rescued() {
    let mut text = "v\n".to_owned();
    text.push_str(&"1.5\n".repeat(100_000));
    text.push_str("9007199254740993\n");
    let (columns, rows) = csv(&text, json!({})).await;
    assert_eq!((&columns[..], &rows[0][..]), (&["v Float64".to_owned()][..], "- {\"v\":\"9007199254740993\"}"));
}

#[tokio::test]
async fn columns_are_told_by_hand() {
    let spec = json!({
        "filetype": "csv",
        "csv": {"delimiter": ";", "decimal_comma": true},
        "columns": {"zip": "text", "since": {"type": "date", "format": "%d.%m.%Y"}},
    });
    let (columns, rows) = table_of("t/a.csv", b"zip;price;since\n01234;1,5;31.01.2024\n", spec).await;
    assert_eq!(columns[..3], ["zip Utf8", "price Float64", "since Date32"]);
    assert_eq!(rows, ["01234 1.5 2024-01-31 -"]);
}

#[tokio::test]
async fn comments_lines_in_front_and_headers_are_as_set() {
    let spec = json!({
        "filetype": "csv",
        "file_columns": ["row"],
        "csv": {"comment": "#", "skip_rows": 2, "header": false, "names": ["x", "y"]},
    });
    let (columns, rows) = table_of("t/a.csv", b"made by\nsomebody\n# no row\n1,a\n2,b\n", spec).await;
    assert_eq!(columns[..3], ["_s3_row Int64", "x Int64", "y Utf8"]);
    assert_eq!(rows, ["0 1 a -", "1 2 b -"]);
    let (columns, _) = csv("1,a\n", json!({"header": false})).await;
    assert_eq!(columns, ["column_1 Int64", "column_2 Utf8"]);
    let (_, rows) = csv("a\n1\na\n2\n", json!({"repeated_header": "skip"})).await;
    assert_eq!(rows, ["1 -", "2 -"]);
    let (columns, _) = csv("a;b\n1;2\n3;4\n", json!({"delimiter": "auto"})).await;
    assert_eq!(columns, ["a Int64", "b Int64"]);
}

#[tokio::test]
async fn more_columns_than_destinations_take_are_rescued() {
    let names: Vec<String> = (0..3_000).map(|n| format!("c{n}")).collect();
    let values: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    let text = format!("{}\n{}\n", names.join(","), values.join(","));
    let (sync, log) = synced(&[("t/a.csv", text.as_bytes())], json!({"filetype": "csv"})).await;
    assert!(super::columns(&sync, "t").len() <= 1_600);
    assert!(super::rows(&sync, "t")[0].contains("\"c2999\":\"2999\""));
    assert_eq!(log.of_level("warn").iter().filter(|line| line.contains("more than 1600 columns")).count(), 1);
}

#[tokio::test]
async fn tsv_is_what_postgresql_and_hive_write() {
    let (columns, rows) = table_of("t/a.tsv", b"id\tt\n1\ta\\tb\n2\t\\N\n3\t\"q\"\n", json!({"filetype": "tsv"})).await;
    assert_eq!(columns[..2], ["id Int64", "t Utf8"]);
    assert_eq!(rows, ["1 a\tb -", "2 - -", "3 \"q\" -"]);
}

#[tokio::test]
async fn files_are_one_table_by_the_names_of_their_columns() {
    let objects: [(&str, &[u8]); 3] =
        [("t/a.csv", b"id,name\n1,x\n"), ("t/b.csv", b"name,id\ny,2\n"), ("t/c.csv", b"id,more\n3,2024-01-31\n")];
    let (sync, _) = synced(&objects, json!({"filetype": "csv"})).await;
    assert_eq!(super::columns(&sync, "t"), ["id Int64", "name Utf8", "more Date32", "_s3_rescued Binary"]);
    assert_eq!(super::rows(&sync, "t"), ["1 x - -", "2 y - -", "3 - 2024-01-31 -"]);
}

/// The same values give the same types however they are spread over files.
#[tokio::test]
async fn types_are_joined_by_the_values_of_all_files() {
    let objects: [(&str, &[u8]); 2] = [("t/a.csv", b"v\n1.5\n"), ("t/b.csv", b"v\n0.1234567890123456789\n")];
    let (sync, _) = synced(&objects, json!({"filetype": "csv"})).await;
    assert_eq!(super::columns(&sync, "t")[0], "v Decimal128(20, 19)");
    assert_eq!(super::rows(&sync, "t"), ["0.1234567890123456789 -", "1.5000000000000000000 -"]);
}

#[tokio::test]
async fn an_object_of_nothing_but_a_header_has_columns_and_no_rows() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.csv", "id,name\n");
    rig.s3.put("u/a.csv", "\n\n");
    let sync = rig.sync(json!({"filetype": "csv"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!((super::columns(&sync, "t").len(), sync.rows("t")), (3, 0));
}

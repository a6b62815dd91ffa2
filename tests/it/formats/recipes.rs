//! The recipes of `docs/formats.md`, each with the object, its text and the spec that stand there.

use super::columns;
use crate::lakes::counts;
use crate::rig::Rig;
use serde_json::Value;
use std::io::Write as _;
use testkit::client::assert_protocol;

/// A column as the page has it.
fn documented(column: &str) -> String {
    let (name, data_type) = column.rsplit_once(' ').unwrap_or((column, ""));
    let (name, word) = match data_type {
        "Utf8" => (name, "text"),
        "Int64" => (name, "int64"),
        "Float64" => (name, "float64"),
        "Binary" => (name, "json"),
        // `Timestamp(µs, "UTC")` has a space.
        _ => (column.split_once(" Timestamp").map_or(name, |(name, _)| name), "timestamp"),
    };
    format!("{name} {word}")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

#[tokio::test]
async fn each_recipe_of_the_page_gives_the_table_and_the_columns_that_it_says() {
    let page = include_str!("../../../docs/formats.md");
    let (_, recipes) = page.split_once("## Recipes").unwrap();
    let mut rig = Rig::start().await;
    let mut tried = 0;
    for row in recipes.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", _, key, text, spec, table, of_the_page, ""] = cells[..] else { panic!("not a recipe: {row}") };
        let spec: Value = serde_yaml_ng::from_str(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let text = text.replace('⏎', "\n").replace("PIPE", "|");
        // Gzip is told by the bytes: half of the rows have it in their names, and all of them might be packed.
        rig.s3.put(key, if tried % 2 == 0 { gzip(&text) } else { text.into_bytes() });
        let sync = rig.sync(spec).await;
        rig.s3.delete(key);
        assert!(sync.status.is_none(), "{row}: {:?}", sync.status);
        assert_protocol(&sync);
        assert_eq!(counts(&sync).keys().collect::<Vec<_>>(), [table], "{row}");
        assert!(sync.rows(table) > 0, "{row}");
        let mut columns: Vec<String> = columns(&sync, table).iter().map(|column| documented(column)).collect();
        assert_eq!(columns.pop().as_deref(), Some("_s3_rescued json"), "{row}");
        assert_eq!(columns.join(", "), of_the_page, "{row}");
        tried += 1;
    }
    assert!(tried > 10, "{tried} recipes");
    assert_eq!(rig.stop().of_level("error"), Vec::<String>::new());
}

//! The recipes of `docs/layouts.md`, each with the object and the spec that stand there.

use super::{columns, counts, file};
use crate::rig::Rig;
use serde_json::Value;
use testkit::client::assert_protocol;

/// A column's type as the page says it.
fn documented(column: &str) -> String {
    let (name, data_type) = column.split_once(' ').unwrap();
    let word = match data_type {
        "Utf8" => "utf8",
        "Int64" => "int64",
        "Date32" => "date",
        other if other.starts_with("Timestamp") => "timestamp",
        other => other,
    };
    format!("{name} {word}")
}

#[tokio::test]
async fn each_recipe_of_the_page_gives_the_table_and_the_columns_that_it_says() {
    let page = include_str!("../../../docs/layouts.md");
    let (_, recipes) = page.split_once("## Recipes").unwrap();
    let (recipes, _) = recipes.split_once("## Mappings").unwrap();
    let mut rig = Rig::start().await;
    let mut tried = 0;
    for row in recipes.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", _, key, spec, table, of_the_page, ""] = cells[..] else { panic!("not a recipe: {row}") };
        let spec: Value = serde_yaml_ng::from_str(spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        rig.s3.put(key, file(&[1]));
        let sync = rig.sync(spec).await;
        rig.s3.delete(key);
        assert_protocol(&sync);
        assert_eq!(counts(&sync).into_iter().collect::<Vec<_>>(), [(table.to_owned(), 1)], "{row}");
        let columns: Vec<String> = columns(&sync, table).iter().map(|column| documented(column)).collect();
        assert_eq!(columns.join(", "), format!("{of_the_page}, id int64").trim_start_matches(", "), "{row}");
        tried += 1;
    }
    assert!(tried > 15, "{tried} recipes");
    let log = rig.stop();
    // Conditions leave objects out, which is worth a warning in a full sync.
    let others = |line: &&String| !line.contains("leaves objects out");
    assert_eq!(log.of_level("warn").iter().filter(others).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(log.of_level("error"), Vec::<String>::new());
}

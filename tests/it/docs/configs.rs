//! Configurations that pages show are files of `examples`, word for word, and the plugin takes them.

use super::{PLUGIN, blocks, files_below, page, pages};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// What the CLI knows of a source, as far as pages use it. What is below `spec` is the plugin's.
const SOURCE_FIELDS: [&str; 8] =
    ["backend_options", "destinations", "name", "path", "registry", "spec", "tables", "version"];

fn examples() -> Vec<String> {
    files_below("examples").into_iter().filter(|name| name.ends_with(".yml")).collect()
}

#[test]
fn configurations_of_pages_are_the_files_of_examples_that_the_pages_name() {
    let mut shown = BTreeSet::new();
    for name in pages() {
        let text = page(&name);
        for block in blocks(&text, "yaml") {
            let example = examples().into_iter().find(|example| page(example) == block);
            let example = example.unwrap_or_else(|| panic!("{name} shows what is no file of examples:\n{block}"));
            assert!(text.contains(&format!("{example})")), "{name} shows {example} and does not link to it");
            shown.insert(example);
        }
    }
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), examples(), "no page shows the others");
}

#[tokio::test]
async fn the_plugin_takes_the_specs_of_examples() {
    let (plugin, mut client) = crate::rig::plugin().await;
    let mut sources = 0;
    for name in examples() {
        for document in page(&name).split("---\n") {
            let config: Value = serde_yaml_ng::from_str(document).expect("YAML");
            if config["kind"] != "source" {
                continue;
            }
            let source = config["spec"].as_object().expect("a source has a spec");
            for field in source.keys() {
                assert!(SOURCE_FIELDS.contains(&field.as_str()), "{name}: the CLI does not know {field}");
            }
            client.init(&source["spec"]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            sources += 1;
        }
    }
    assert_eq!(sources, examples().len(), "each has a source");
    plugin.stop();
}

/// The corpus holds schema and validation together only for fields that it has.
#[test]
fn each_field_of_the_spec_is_in_the_corpus() {
    let schema = Command::new(PLUGIN).arg("spec-schema").output().expect("start the plugin");
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("the schema is JSON");
    let corpus: Vec<Value> =
        serde_json::from_str(&page("tests/fixtures/spec_corpus.json")).expect("the corpus is JSON");
    for (object, inside) in [
        ("Spec", ""),
        ("Credentials", "/credentials"),
        ("Partitions", "/partitions"),
        ("Modified", "/modified"),
        ("Schema", "/schema"),
        ("Mapping", "/mappings"),
    ] {
        let fields = schema["$defs"][object]["properties"].as_object().expect("an object with fields");
        for field in fields.keys() {
            // Of a list, in any of its objects.
            let has_field = |case: &&Value| match case["spec"].pointer(inside) {
                Some(Value::Array(items)) => items.iter().any(|item| item.get(field).is_some()),
                Some(spec) => spec.get(field).is_some(),
                None => false,
            };
            let named = |case: &&Value| case["mentions"].to_string().contains(field.as_str());
            let (right, wrong): (Vec<_>, Vec<_>) =
                corpus.iter().filter(has_field).partition(|case| case["valid"] == true);
            assert!(!right.is_empty(), "the corpus has no valid spec with {field}");
            assert!(wrong.iter().any(named), "the corpus has no invalid spec whose mistake is at {field}");
        }
    }
}

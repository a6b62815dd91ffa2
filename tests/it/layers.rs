//! Who may use whom in `src`, as tables that are held against every path of the code.
//!
//! An arrow is a path that starts at the crate's root (`crate::s3::Error`, also in groups and behind enough `super::`) and leads
//! into another top-level module. Comments, texts and code that only tests compile are left out.
//!
//! When this fails: is the new arrow meant? Then it belongs into [`ARROWS`], in the row of the module that uses. Does it lead to
//! a later row? Then what it uses lives in the wrong module.

mod source;

use source::Source;
use std::collections::{BTreeMap, BTreeSet};

/// Each top-level module with those that it uses. The order is that of the layers: a module uses earlier rows only, so there is
/// no circle. `main` and `allocator` are the binary's.
const ARROWS: &[(&str, &[&str])] = &[
    ("shutdown", &[]),
    ("about", &[]),
    ("error_chain", &[]),
    ("hash", &[]),
    ("times", &[]),
    ("words", &[]),
    ("config", &["times"]),
    ("telemetry", &["about", "error_chain"]),
    ("s3", &["config", "error_chain"]),
    ("schema", &["config", "hash", "times", "words"]),
    ("cast", &["config", "schema", "times", "words"]),
    ("formats", &["cast", "config", "schema"]),
    ("tables", &["config", "formats", "hash", "s3", "schema", "times", "words"]),
    ("memory", &[]),
    ("state", &["hash", "schema"]),
    ("cloudquery", &["about", "error_chain", "hash", "schema", "telemetry"]),
    (
        "sync",
        &[
            "cast",
            "cloudquery",
            "config",
            "error_chain",
            "formats",
            "memory",
            "state",
            "s3",
            "schema",
            "tables",
            "telemetry",
            "words",
        ],
    ),
    ("plugin", &["cloudquery", "config", "error_chain", "s3", "sync", "tables", "telemetry"]),
    ("cli", &["cloudquery", "telemetry"]),
    (
        "plan",
        &[
            "about",
            "cli",
            "cloudquery",
            "config",
            "formats",
            "plugin",
            "s3",
            "schema",
            "state",
            "sync",
            "tables",
            "telemetry",
            "words",
        ],
    ),
    ("run", &["about", "cli", "cloudquery", "plan", "plugin", "shutdown", "telemetry"]),
    ("allocator", &["memory"]),
    ("main", &["run"]),
];

/// Who may name a crate: paths below `src`, without `.rs`; a folder's name stands for its files, too. A crate's name that ends
/// with `_` stands for all that start so.
const CRATES: &[(&str, &[&str])] = &[
    ("parquet", &["formats/parquet"]),
    ("arrow_avro", &["formats/avro"]),
    ("bzip2", &["formats/avro", "formats/text/unpack"]),
    ("flate2", &["formats/avro", "formats/text/unpack"]),
    ("liblzma", &["formats/avro", "formats/text/unpack"]),
    ("lz4_flex", &["formats/text/unpack"]),
    ("snap", &["formats/avro", "formats/text/unpack"]),
    ("aws_config", &["s3"]),
    ("aws_credential_types", &["s3"]),
    ("aws_sdk_", &["s3"]),
    // Telemetry sends with the SDK's HTTP client: one TLS stack in the binary.
    ("aws_smithy_", &["s3", "telemetry"]),
    ("tonic", &["cloudquery"]),
    ("clap", &["cli", "cloudquery/network", "run"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_", &["telemetry"]),
    ("schemars", &["config"]),
    ("saphyr_parser", &["plan/yaml"]),
    ("terminal_size", &["plan/terminal"]),
];

/// Neither I/O nor a clock: all that these need is in their arguments.
const PURE: &[&str] = &[
    "config",
    "tables",
    "schema",
    "cast",
    "formats",
    "state",
    "hash",
    "times",
    "words",
    "plan/config_file",
    "plan/cost",
    "plan/explain",
    "plan/explain_output",
    "plan/json",
    "plan/render",
    "plan/report",
    "plan/words",
    "plan/yaml",
];

/// What [`PURE`] modules do not name.
const IMPURE: &[&str] =
    &["tokio", "std::fs", "std::net", "std::env", "std::process", "std::thread", "SystemTime", "Instant"];

#[test]
fn modules_use_only_those_that_they_may() {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for source in Source::all() {
        for used in source.modules_used() {
            found.entry(source.module().to_owned()).or_default().entry(used).or_insert_with(|| source.path.clone());
        }
    }
    let mut mistakes = Vec::new();
    for (module, uses) in &found {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == module) else {
            mistakes.push(format!("{module} is in no row of ARROWS; it uses {:?}", uses.keys()));
            continue;
        };
        for (used, file) in uses.iter().filter(|(used, _)| !allowed.contains(&used.as_str())) {
            mistakes.push(format!("{module} uses {used} (src/{file}), which its row of ARROWS does not have"));
        }
    }
    // A table that allows more than there is would let arrows in unseen.
    for (module, allowed) in ARROWS {
        for used in *allowed {
            if !found.get(*module).is_some_and(|uses| uses.contains_key(*used)) {
                mistakes.push(format!("{module} does not use {used}: take it out of ARROWS"));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

/// So there is no circle between modules.
#[test]
fn arrows_lead_to_earlier_rows() {
    let row = |module: &str| ARROWS.iter().position(|(name, _)| *name == module);
    for (module, allowed) in ARROWS {
        for used in *allowed {
            assert!(row(used).is_some(), "ARROWS names {used}, which has no row");
            assert!(row(used) < row(module), "{module} uses {used}, whose row is a later one: a layer points up");
        }
    }
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut mistakes = Vec::new();
    for (name, places) in CRATES {
        let mut used: BTreeSet<&str> = BTreeSet::new();
        for source in Source::all().iter().filter(|source| source.names_crate(name)) {
            match places.iter().find(|place| source.is_below(place)) {
                Some(place) => drop(used.insert(place)),
                None => mistakes.push(format!("src/{} names {name}, which only {places:?} may", source.path)),
            }
        }
        let unused = places.iter().filter(|place| !used.contains(*place));
        mistakes.extend(unused.map(|place| format!("{place} does not name {name}: take it out of CRATES")));
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    let mut mistakes = Vec::new();
    for source in Source::all().iter().filter(|source| PURE.iter().any(|place| source.is_below(place))) {
        mistakes.extend(
            IMPURE
                .iter()
                .filter(|name| source.names_path(name))
                .map(|name| format!("src/{} names {name}: this module is pure", source.path)),
        );
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

/// The map that newcomers read first: a line ``//! - [`module`] …`` for each module, in the order of the `mod` lines.
#[test]
fn the_crate_documentation_names_the_modules_in_reading_order() {
    let text = std::fs::read_to_string(Source::folder().join("lib.rs")).unwrap();
    let declared: Vec<&str> = text.lines().filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';')).collect();
    let (named, sentences): (Vec<&str>, Vec<&str>) =
        text.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split_once("`]")).unzip();
    assert_eq!(named, declared, "in the documentation (left), in the list of modules (right)");
    for (module, sentence) in named.iter().zip(sentences) {
        assert!(sentence.split_whitespace().count() >= 3, "lib.rs says of {module} only {sentence:?}");
    }
    // `main` and `allocator` are no modules of the library.
    let rows: BTreeSet<&str> =
        ARROWS.iter().map(|(name, _)| *name).filter(|name| !matches!(*name, "main" | "allocator")).collect();
    assert_eq!(rows, declared.into_iter().collect(), "rows of ARROWS (left), modules of lib.rs (right)");
}

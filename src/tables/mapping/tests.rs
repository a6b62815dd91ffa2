use super::format as formats;
use super::*;
use crate::config::Format;
use crate::config::layout::{FileType, PartitionSpec, TypeSpec};
use std::collections::BTreeSet;

const UUID: &str = "8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c";

fn spec(mut mappings: Vec<MappingSpec>) -> Layout {
    for (index, mapping) in mappings.iter_mut().enumerate() {
        mapping.field = format!("mappings[{index}]");
    }
    Layout { mappings, ..Layout::default() }
}

fn hive() -> PartitionSpec {
    PartitionSpec { hive: true, ..PartitionSpec::default() }
}

/// Partitions of a mapping, all of whose keys stand there.
fn own(field: &str) -> PartitionSpec {
    let own = BTreeSet::from(["style", "columns", "null_values", "decode", "conflict", "path_time", "where"]);
    PartitionSpec { origin: PartitionOrigin::Mapping { field: field.to_owned(), own }, ..PartitionSpec::default() }
}

/// Everything that matches is read.
fn mapping(pattern: PatternSpec) -> MappingSpec {
    MappingSpec {
        field: String::new(),
        pattern,
        table: None,
        skip: false,
        filetype: FileType::Of(Format::Parquet),
        any_name: true,
        partitions: PartitionSpec::default(),
        options: Arc::default(),
    }
}

fn path(path: &str) -> MappingSpec {
    // Those of CloudQuery's destinations are for all formats that they write.
    let says_formats = path.contains("{{FORMAT}}") || path.contains("{{UUID}}") || !path.contains("{{");
    let filetype = if says_formats { FileType::Auto } else { FileType::Of(Format::Parquet) };
    MappingSpec { filetype, ..mapping(PatternSpec::Path(path.to_owned())) }
}

fn glob(globs: &[&str]) -> MappingSpec {
    mapping(PatternSpec::Glob(globs.iter().map(ToString::to_string).collect()))
}

fn regex(regex: &str) -> MappingSpec {
    mapping(PatternSpec::Regex(regex.to_owned()))
}

trait Named {
    fn table(self, table: &str) -> Self;
}

impl Named for MappingSpec {
    fn table(self, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self }
    }
}

fn compile(mappings: Vec<MappingSpec>) -> Mappings {
    Mappings::new(&spec(mappings)).unwrap()
}

fn mistakes(spec: &Layout) -> Vec<String> {
    Mappings::new(spec).map(|_| ()).unwrap_err().iter().map(ToString::to_string).collect()
}

/// The table's name, or the reason why it is skipped.
fn outcome(mappings: &Mappings, key: &str, size_bytes: u64) -> String {
    match mappings.of(key, size_bytes) {
        Match::Table(mapped) => mapped.table.table_name(),
        Match::Skipped(reason) => format!("-{}", reason.name()),
        Match::Nameless(text) => format!("!{text}"),
    }
}

/// `name=value` of each column; nulls as `name`.
fn values(mappings: &Mappings, key: &str) -> Vec<String> {
    use crate::tables::partitions::FoundValue;
    let Match::Table(mapped) = mappings.of(key, 1) else { panic!("{key} has no table") };
    assert_eq!(mappings.values(mapped.mapping, key), mappings.values_of(&mapped, key));
    let found = mappings.values_of(&mapped, key);
    let shown = found.into_iter().map(|found| match found.value {
        FoundValue::Null => found.name.into_owned(),
        FoundValue::Text(text) => format!("{}={text}", found.name),
        FoundValue::Moment(us) => format!("{}@{us}", found.name),
        FoundValue::NoMoment(text) => format!("{}!{text}", found.name),
    });
    shown.collect()
}

/// What CloudQuery's S3 destination really wrote: configuration, `path` of the destination's spec, keys, and sizes.
const WRITTEN: &str = include_str!("../../../tests/fixtures/cloudquery/objects.json");

#[test]
fn every_object_that_cloudquery_wrote_goes_to_its_table() {
    let written: serde_json::Value = serde_json::from_str(WRITTEN).unwrap();
    let (mut tables, mut tests) = (0, 0);
    for (configuration, written) in written.as_object().unwrap() {
        let pasted = written["spec"]["path"].as_str().unwrap();
        let format = written["spec"]["format"].as_str().unwrap();
        let mappings = compile(vec![path(pasted)]);
        for object in written["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            let size_bytes = object["bytes"].as_u64().unwrap();
            let outcome = outcome(&mappings, key, size_bytes);
            if size_bytes == 0 {
                assert_eq!(outcome, "-test_object", "{configuration}: {key}");
                tests += 1;
                continue;
            }
            let expected = ["aws_all_types_children", "aws_all_types", "aws_empty"];
            let expected = expected.iter().find(|name| key.contains(**name)).unwrap();
            assert_eq!(outcome, *expected, "{configuration}: {key}");
            let Match::Table(mapped) = mappings.of(key, size_bytes) else { panic!() };
            if pasted.contains("{{FORMAT}}") || !pasted.contains("{{TABLE}}") {
                assert_eq!(Some(mapped.format), formats::of_template(format), "{configuration}: {key}");
            }
            tables += 1;
        }
    }
    assert!(tables > 40 && tests > 20, "{tables} objects, {tests} of them tests");
}

#[test]
fn the_keys_of_all_destinations_with_their_own_path() {
    for (pasted, key) in [
        // S3, GCS and file, as documented
        ("p/{{TABLE}}/{{UUID}}.{{FORMAT}}", format!("p/aws_x/{UUID}.parquet")),
        ("p/{{TABLE}}/{{UUID}}.{{FORMAT}}", format!("p/aws_x/{UUID}.json.gz")),
        ("p/{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{UUID}}.parquet", format!("p/aws_x/dt=2026-11-28/{UUID}.parquet")),
        // without {{TABLE}}
        ("p", format!("p/aws_x.json.{UUID}")),
        ("p/", format!("p/aws_x.json.{UUID}")),
        ("p/{{UUID}}", format!("p/{UUID}/aws_x.parquet.{UUID}")),
        ("p", "p/aws_x.json".to_owned()),
        // with {{TABLE_HYPHEN}}, which the destination does not count as a table
        ("p/{{TABLE_HYPHEN}}/{{UUID}}.{{FORMAT}}", format!("p/aws-x/{UUID}.csv.gz/aws_x.csv.{UUID}")),
        // GCS and Azure
        ("p", format!("p/aws_x.csv.gz.{UUID}")),
        ("p", "p/aws_x.csv.gz".to_owned()),
        (".", "aws_x.csv".to_owned()),
    ] {
        assert_eq!(outcome(&compile(vec![path(pasted)]), &key, 5), "aws_x", "{pasted}: {key}");
    }
    let mappings = compile(vec![path("p/{{UUID}}")]);
    assert_eq!(
        outcome(&mappings, &format!("p/{UUID}/aws_x.parquet.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2d"), 5),
        "-unmapped"
    );
}

#[test]
fn test_objects_are_skipped_with_and_without_a_uuid() {
    for (pasted, key, size_bytes, expected) in [
        ("p/{{TABLE}}/{{UUID}}.{{FORMAT}}", "p/TEST_TABLE/TEST_UUID.csv", 0, "-test_object"),
        ("p/{{TABLE}}/{{UUID}}.{{FORMAT}}", "p/TEST_TABLE/TEST_UUID.csv", 9, "-test_object"),
        ("p", "p/TEST_TABLE.parquet", 0, "-test_object"),
        ("p", "p/TEST_TABLE.parquet", 9, "test_table"),
        ("p", "p/aws_x.parquet", 0, "aws_x"),
        ("p/{{TABLE_HYPHEN}}/{{*}}", "p/TEST-TABLE/x", 0, "test_table"),
        ("p/{{TABLE}}/{{SYNC_ID}}.{{FORMAT}}", "p/x/TEST_UUID.csv", 9, "-test_object"),
    ] {
        assert_eq!(outcome(&compile(vec![path(pasted)]), key, size_bytes), expected, "{pasted}: {key}");
    }
}

#[test]
fn no_rotate_keeps_the_tables_of_one_folder_apart() {
    let mappings = compile(vec![path("raw")]);
    assert_eq!(outcome(&mappings, "raw/aws_a.json", 5), "aws_a");
    assert_eq!(outcome(&mappings, "raw/aws_b.json", 5), "aws_b");
    let folders = MappingSpec { filetype: FileType::Of(Format::Json), ..glob(&["raw/*"]) };
    let mappings = compile(vec![folders]);
    assert_eq!(outcome(&mappings, "raw/aws_a.json", 5), outcome(&mappings, "raw/aws_b.json", 5));
}

#[test]
fn hyphens_become_underscores_and_unequal_tables_are_unmapped() {
    let mappings = compile(vec![path("p/{{TABLE_HYPHEN}}/{{*}}.csv")]);
    assert_eq!(outcome(&mappings, "p/aws-ec2-x/1.csv", 5), "aws_ec2_x");
    let mappings = compile(vec![path("p/{{TABLE}}/{{TABLE}}.csv")]);
    assert_eq!(outcome(&mappings, "p/a/a.csv", 5), "a");
    assert_eq!(outcome(&mappings, "p/a/b.csv", 5), "-unmapped");
    let mappings = compile(vec![path("p/{{TABLE}}/{{TABLE}}.csv"), path("{{x}}/{{*}}/{{*}}").table("other")]);
    assert_eq!(outcome(&mappings, "p/a/b.csv", 5), "other");
}

#[test]
fn names_of_tables() {
    for (mapping, key, expected) in [
        (path("raw/{{TABLE}}/{{*}}"), "raw/aws_x/1", "aws_x"),
        (path("raw/{{TABLE}}/{{*}}").table("raw_{{TABLE}}"), "raw/aws_x/1", "raw_aws_x"),
        (path("raw/{{TABLE_HYPHEN}}/{{*}}").table("raw_{{TABLE}}"), "raw/aws-x/1", "raw_aws_x"),
        (path("{{schema}}/{{t}}/{{*}}").table("{{schema}}__{{t}}"), "a/b/1", "a_b"),
        (regex("landing/(?<schema>[^/]+)/(?<table>[^/]+)/.*").table("{{schema}}_{{table}}"), "landing/a/b/1", "a_b"),
        (path("{{YEAR}}/{{*}}").table("events_{{YEAR}}"), "2026/1", "events_2026"),
        (glob(&["exports/**"]).table("Customers!"), "exports/x", "customers"),
        (glob(&["exports/**"]).table("{{FOLDER}}"), "exports/EU/x.csv", "exports_eu"),
        (glob(&["exports/**"]), "exports/EU/x.csv", "exports_eu"),
        (glob(&["exports/**"]).table("all_{{FILE}}"), "exports/EU/x.y.csv.gz", "all_x_y"),
        (glob(&["**"]), "x.csv", "x"),
        (glob(&["**"]), "a/x.csv.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c", "a_x"),
        (path("a/{{x}}/b/{{*}}"), "a/1/b/f", "a_b"),
        (path("a/v{{x}}/b/{{*}}"), "a/v1/b/f", "a_b"),
        (path("a/{{YEAR}}/{{*}}").table("{{FOLDER}}"), "a/2026/f", "a_2026"),
        (regex("a/(?<x>.*)/c/.*"), "a/1/2/c/f", "a_c"),
    ] {
        let shown = format!("{mapping:?}");
        assert_eq!(outcome(&compile(vec![mapping]), key, 5), expected, "{shown}");
    }
}

#[test]
fn the_first_mapping_wins_and_skips_are_counted_by_reason() {
    let skip = MappingSpec { skip: true, ..glob(&["a/old/**"]) };
    let list = vec![skip, glob(&["a/**"]).table("first"), glob(&["**/x"]).table("second")];
    let mappings = compile(list.clone());
    for (key, expected) in [("a/old/x", "-skip"), ("a/x", "first"), ("b/x", "second"), ("b/y", "-unmapped")] {
        assert_eq!(outcome(&mappings, key, 5), expected, "{key}");
    }
    let spec = Layout { unmapped: Some(Unmapped::Folder), ..spec(list) };
    let mappings = Mappings::new(&spec).unwrap();
    assert_eq!(outcome(&mappings, "b/y.parquet", 5), "b");
    assert_eq!(outcome(&mappings, "b/y.csv", 5), "-not_parquet");
}

#[test]
fn the_name_tells_the_format_unless_the_mapping_says_which() {
    let read = |filetype, any_name| {
        let mappings = compile(vec![MappingSpec { filetype, any_name, ..path("{{TABLE}}/{{*}}.{{FORMAT}}") }]);
        ["a/x.parquet", "a/x.csv", "a/x.parquet.gz"].map(|key| outcome(&mappings, key, 5))
    };
    assert_eq!(read(FileType::Of(Format::Parquet), false), ["a", "-not_parquet", "-not_parquet"]);
    assert_eq!(read(FileType::Of(Format::Parquet), true), ["a", "-not_parquet", "a"]);
    assert_eq!(read(FileType::Of(Format::Csv), true), ["-other_format", "a", "-other_format"]);
    assert_eq!(read(FileType::Auto, true), ["a", "a", "a"]);
    let any =
        |filetype, any_name| outcome(&compile(vec![MappingSpec { filetype, any_name, ..glob(&["**"]) }]), "a/x", 5);
    assert_eq!(any(FileType::Of(Format::Parquet), true), "a");
    assert_eq!(any(FileType::Of(Format::Parquet), false), "-not_parquet");
}

#[test]
fn one_literal_table_is_one_table_for_several_mappings() {
    let mappings = compile(vec![
        glob(&["a/**"]).table("events"),
        path("b/{{TABLE}}.csv"),
        glob(&["c/**"]).table("events"),
        path("d/{{TABLE}}.csv"),
        glob(&["e/**"]).table("Events"),
    ]);
    let table = |key: &str| match mappings.of(key, 5) {
        Match::Table(mapped) => mapped.table,
        other => panic!("{other:?}"),
    };
    assert_eq!(table("a/x"), table("c/x"));
    assert_eq!(table("c/x").mapping(), Some(0));
    // These have one name and are two tables: an error elsewhere, which names the mappings.
    assert_ne!(table("b/x.csv"), table("d/x.csv"));
    assert_eq!(table("b/x.csv").table_name(), table("d/x.csv").table_name());
    assert_ne!(table("a/x"), table("e/x"));
    assert_eq!(mappings.describe(&table("d/x.csv")), "\"x\" of mappings[3]");
    assert!(mappings.shares_table(0) && mappings.shares_table(2) && !mappings.shares_table(1));
}

#[test]
fn without_mappings_a_folder_is_a_table_as_ever() {
    use crate::tables::classify::{split, table_of_format};
    let mappings = compile(vec![]);
    let long = format!("{}/x.parquet", "long/".repeat(20));
    for key in [
        "a/b/x.parquet",
        "x.parquet",
        &format!("a/x.parquet.{UUID}"),
        "2024/x.parquet",
        "日本/x.parquet",
        "/x.parquet",
        &long,
    ] {
        let (directory, file) = split(key);
        let ours = outcome(&mappings, key, 5);
        assert_eq!(ours, table_of_format(directory, file, ".parquet").unwrap().table_name(), "{key}");
    }
}

#[test]
fn folders_that_became_columns_do_not_name_the_table() {
    let mappings = Mappings::new(&Layout { partitions: hive(), ..spec(vec![]) }).unwrap();
    for (key, table, columns) in [
        ("events/dt=2024-01-31/x.parquet", "events", &["dt=2024-01-31"][..]),
        ("events/dt=2024-02-01/x.parquet", "events", &["dt=2024-02-01"]),
        ("a/y=1/b/m=02/x.parquet", "a_b", &["y=1", "m=02"]),
        ("a/x.parquet", "a", &[]),
        ("a/=v/x.parquet", "a_v", &[]),
        ("a/k=/x.parquet", "a", &["k"]),
        ("a/k=__HIVE_DEFAULT_PARTITION__/x.parquet", "a", &["k"]),
        ("a/a=b=c/x.parquet", "a", &["a=b=c"]),
        ("a/k=1/K=2/x.parquet", "a", &["k=1", "K_2=2"]),
        ("a/k=1/k_2=3/k=2/x.parquet", "a", &["k=1", "k_2=3", "k_3=2"]),
        ("a/k=a%2Fb%20c/x.parquet", "a", &["k=a/b c"]),
        ("a/k=100%/x.parquet", "a", &["k=100%"]),
        ("a/k=%ff/x.parquet", "a", &["k=%ff"]),
        ("a/k%20x=1/x.parquet", "a", &["k x=1"]),
        ("a/f=1.parquet", "a", &[]),
        ("dt=1/users.parquet.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c", "users", &["dt=1"]),
    ] {
        assert_eq!(outcome(&mappings, key, 5), table, "{key}");
        assert_eq!(values(&mappings, key), columns, "{key}");
    }
    let nameless = outcome(&mappings, "dt=1/x.parquet", 5);
    assert!(nameless.contains("\"dt=1/x.parquet\"") && nameless.contains("mappings: [{glob: \"**\", table: events}]"));
    let mappings = compile(vec![MappingSpec { partitions: hive(), ..glob(&["**"]) }]);
    assert!(outcome(&mappings, "dt=1/x", 5).ends_with("give mappings[0] a `table`"));
    let mappings = compile(vec![MappingSpec { partitions: hive(), ..glob(&["**"]) }.table("events")]);
    assert_eq!(outcome(&mappings, "dt=1/x", 5), "events");
}

#[test]
fn a_name_that_is_there_hundreds_of_times_is_numbered_soon() {
    let mappings = Mappings::new(&Layout { partitions: hive(), ..spec(vec![]) }).unwrap();
    let key = format!("t/{}x.parquet", "a=1/".repeat(250));
    let found = mappings.values(0, &key);
    assert_eq!((found.len(), found[249].name.as_ref(), found[249].ident.as_str()), (250, "a_250", "a_250"));
}

#[test]
fn what_is_null_and_whether_it_is_decoded_can_be_said() {
    let spec_with = |null_values: &[&str], decode| {
        let null_values = Some(null_values.iter().map(ToString::to_string).collect());
        let partitions = PartitionSpec { null_values, decode: Some(decode), ..hive() };
        Mappings::new(&Layout { partitions, ..spec(vec![]) }).unwrap()
    };
    assert_eq!(values(&spec_with(&["N A"], true), "t/a=N%20A/b=x/c=/x.parquet"), ["a", "b=x", "c"]);
    assert_eq!(
        values(&spec_with(&[], false), "t/a=N%20A/b=__HIVE_DEFAULT_PARTITION__/x.parquet"),
        ["a=N%20A", "b=__HIVE_DEFAULT_PARTITION__"]
    );
}

#[test]
fn captures_are_columns_unless_they_name_the_table() {
    let mappings =
        compile(vec![path("AWSLogs/{{account}}/CloudTrail/{{region}}/{{year:int}}/{{*}}.json.gz").table("cloudtrail")]);
    let key = "AWSLogs/123/CloudTrail/eu-west-1/2026/x.json.gz";
    assert_eq!(values(&mappings, key), ["account=123", "region=eu-west-1", "year=2026"]);
    assert_eq!(mappings.values(0, key)[2].typed.unwrap().ty.to_string(), "int64");

    let mappings = compile(vec![path("{{a}}/{{b}}/{{*}}").table("{{b}}")]);
    assert_eq!(values(&mappings, "x/y/z"), ["a=x"]);
    let mappings = compile(vec![regex("(?<a>x)?(?<b>.*)").table("t")]);
    assert_eq!(values(&mappings, "y"), ["b=y", "a"]);

    // With hive, a variable belongs to its folder; what names the table is not a column.
    let with_hive = |template: &str| MappingSpec { partitions: hive(), ..path(template) };
    let mappings = compile(vec![with_hive("{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{UUID}}.{{FORMAT}}")]);
    assert_eq!(values(&mappings, &format!("aws_x/dt=2026-11-28/{UUID}.csv")), ["dt=2026-11-28"]);
    let mappings = compile(vec![with_hive("t/dt={{dt:date}}/{{x}}")]);
    let found = mappings.values(0, "t/dt=2026-01-01/f");
    assert_eq!((found.len(), found[0].typed.unwrap().ty.to_string().as_str()), (2, "date"));
    let mappings = compile(vec![with_hive("{{tenant}}/{{x}}").table("t_{{tenant}}")]);
    assert_eq!(values(&mappings, "k=v/f"), ["x=f"]);
}

#[test]
fn date_variables_make_one_moment() {
    let timed = |template: &str| {
        let partitions = PartitionSpec { path_time: Some("at".to_owned()), ..hive() };
        compile(vec![MappingSpec { partitions, ..path(template) }.table("t")])
    };
    let mappings = timed("{{YEAR}}/{{MONTH}}/{{DAY}}/{{HOUR}}{{MINUTE}}/{{*}}");
    assert_eq!(values(&mappings, "1970/01/02/0130/x"), ["at@91800000000"]);
    assert_eq!(values(&mappings, "2026/02/30/0000/x"), ["at!2026-02-30 00:00"]);
    assert_eq!(values(&mappings, "2026/02/01/2400/x"), ["at!2026-02-01 24:00"]);
    let mappings = timed("dt={{YEAR}}-{{MONTH}}/{{*}}");
    assert_eq!(values(&mappings, "dt=1970-02/x"), ["dt=1970-02", "at@2678400000000"]);
    let folder = PartitionSpec { path_time: Some("at".to_owned()), ..PartitionSpec::default() };
    let mappings = compile(vec![MappingSpec { partitions: folder, ..path("logs/{{YEAR}}/{{MONTH}}/{{x}}/{{*}}") }]);
    assert_eq!(outcome(&mappings, "logs/2026/01/a/f", 5), "logs");
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_field() {
    let list = vec![
        path("raw/{{TABEL}}/{{Uuid}}"),
        path("raw/{{TABLE}}{{UUID}}"),
        path("/raw"),
        path("{{a}}/{{a}}"),
        path("raw/{{account}}/{{*}}").table("{{region}}_{{acount}}_{{UUID}}"),
        regex("a(?=b)"),
        glob(&["x", "[a]"]),
        glob(&["y"]).table(""),
        path("q/{{TABLE}}/{{*}}"),
        path("q//{{TABLE}}/{{*}}").table("z"),
        glob(&["**"]).table("{{TABLE}}"),
    ];
    let expected = [
        "mappings[0].path: {{TABEL}} is no variable; did you mean {{TABLE}}?",
        "mappings[0].path: {{Uuid}} is no variable; did you mean {{UUID}}?",
        "mappings[1].path: {{TABLE}} and {{UUID}} touch; put some text between them",
        "mappings[2].path: must not start with /",
        "mappings[3].path: {{a}} is there twice; give each column a name of its own",
        "mappings[4].table: {{region}} is not in path",
        "mappings[4].table: {{acount}} is not in path; did you mean {{account}}?",
        "mappings[4].table: {{UUID}} cannot name a table",
        "mappings[5].regex: look-around is not supported",
        "mappings[6].glob: \"[a]\" is not a pattern: square brackets are not supported",
        "mappings[7].table: must not be empty",
        "mappings[10].table: {{TABLE}} is not in glob",
        "mappings[9]: can never match, mappings[8] matches all that it does",
    ];
    let found = mistakes(&spec(list));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    let top = Layout { path: Some("/a".to_owned()), ..spec(vec![]) };
    assert_eq!(mistakes(&top), ["path: must not start with /"]);
}

#[test]
fn mistakes_in_partitions_have_their_field() {
    let typed = |name: &str, ty: &str, format: Option<&str>| {
        (name.to_owned(), TypeSpec { word: ty.to_owned(), format: format.map(str::to_owned) })
    };
    let given = PartitionSpec {
        columns: vec![
            typed("m", "itn64", None),
            typed("d", "date", Some("%Q")),
            typed("i", "int64", Some("%Y")),
            typed("yaer", "int64", None),
            typed("year", "date", None),
        ],
        path_time: Some("at".to_owned()),
        conditions: vec!["yaer >= 1".to_owned(), "year ~ 1".to_owned()],
        ..own("mappings[0]")
    };
    let found = mistakes(&spec(vec![MappingSpec { partitions: given, ..path("{{year:int}}/{{DAY}}/{{*}}") }]));
    let expected = [
        "mappings[0].partitions.columns.m: \"itn64\" is not a type",
        "mappings[0].partitions.columns.d.format: %Q is not supported",
        "mappings[0].partitions.columns.i.format: only for date and timestamp, the type is int64",
        "mappings[0].partitions.where[1]: \"year ~ 1\": write `name = value`",
        "mappings[0].partitions.columns.year: is date here and int64 in path; give the type in one place",
        "mappings[0].partitions.path_time: needs {{YEAR}} where {{DAY}} is",
        "mappings[0].partitions.where[0]: there is no partition column \"yaer\"; did you mean year?",
        "mappings[0].partitions.columns.m: there is no partition column \"m\"",
        "mappings[0].partitions.columns.d: there is no partition column \"d\"",
        "mappings[0].partitions.columns.i: there is no partition column \"i\"",
        "mappings[0].partitions.columns.yaer: there is no partition column \"yaer\"; did you mean year?",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    let timed = PartitionSpec { path_time: Some("at".to_owned()), ..PartitionSpec::default() };
    let found = mistakes(&spec(vec![MappingSpec { partitions: timed.clone(), ..glob(&["**"]) }]));
    assert_eq!(found, ["partitions.path_time: needs a path with {{YEAR}}"]);
    let inherited = PartitionSpec { origin: PartitionOrigin::Inherited, ..timed };
    compile(vec![MappingSpec { partitions: inherited, ..glob(&["**"]) }]);
}

#[test]
fn conditions_prune_what_is_old() {
    use crate::tables::partitions::{Inference, Today};
    let pruned = |condition: &str| {
        let conditions = PartitionSpec { conditions: vec![condition.to_owned()], ..hive() };
        let mappings = Mappings::new(&Layout { partitions: conditions, ..spec(vec![]) }).unwrap();
        let old = (0..1000).map(|n| format!("e/dt=2024-01-{:02}/{n}.parquet", n % 31 + 1));
        let keys: Vec<String> = old.chain(["e/dt=2024-02-01/x.parquet".to_owned()]).collect();
        let mut inference = Inference::default();
        keys.iter().for_each(|key| inference.see(key, &mappings.values(0, key)));
        let columns = inference.columns(&[]).unwrap();
        let bound = mappings.partitions(0).unwrap().conditions.bind(&columns, &[], Today::from_unix_s(0)).unwrap();
        keys.iter().filter(|key| !bound.admits(&mappings.values(0, key))).count()
    };
    assert_eq!(pruned("dt >= 2024-02-01"), 1000);
    assert_eq!(pruned("dt >= 2024-01-01"), 0);
}

#[test]
fn a_table_s_keys_have_a_common_folder() {
    let mappings =
        compile(vec![glob(&["a/b/c*", "a/b/d"]).table("t"), path("a/x/{{*}}").table("t"), path("raw/{{TABLE}}/{{*}}")]);
    for (key, expected) in [("a/b/c1", "a/"), ("a/x/1", "a/"), ("raw/t/1", "raw/")] {
        let Match::Table(mapped) = mappings.of(key, 5) else { panic!() };
        assert_eq!(mappings.common_folder(&mapped.table), expected, "{key}");
    }
}

//! The spec as a whole: the corpus, defaults, and that secrets stay secret.

use super::*;
use serde_json::json;

fn parse(spec: &Value) -> Result<Spec, SpecErrors> {
    Spec::parse(spec.to_string().as_bytes())
}

fn mistakes(spec: &Value) -> String {
    parse(spec).map(|_| ()).unwrap_err().to_string()
}

/// `tests/spec_schema.py` holds the JSON Schema against the same file with another validator.
const CORPUS: &str = include_str!("../../tests/fixtures/spec_corpus.json");

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    spec: Value,
    valid: bool,
    mentions: Vec<String>,
}

#[test]
fn corpus_is_accepted_and_refused_as_it_says() {
    let corpus: Vec<Case> = serde_json::from_str(CORPUS).unwrap();
    assert!(corpus.len() >= 80);
    let wrong: Vec<String> =
        corpus.iter().filter_map(|case| Some(format!("{}: {}", case.name, wrong(case)?))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is other than a case says.
fn wrong(case: &Case) -> Option<String> {
    let errors = match parse(&case.spec) {
        Ok(_) => return (!case.valid).then(|| "was accepted".to_owned()),
        Err(errors) => errors,
    };
    let text = errors.to_string();
    if case.valid {
        return Some(format!("was refused: {text}"));
    }
    if let Some(mention) = case.mentions.iter().find(|mention| !text.lines().any(|line| line.contains(*mention))) {
        return Some(format!("{text}\nlacks {mention}"));
    }
    if text.contains("s3cr3t") || text.contains("hunter2") {
        return Some(format!("shows a secret: {text}"));
    }
    (text.lines().count() != errors.mistakes().len()).then(|| format!("not one line each: {text}"))
}

#[test]
fn defaults() {
    let spec = parse(&json!({"bucket": "my-bucket"})).unwrap();
    assert_eq!(spec.bucket, "my-bucket");
    assert_eq!((spec.region, spec.local_profile, spec.endpoint), (None, None, None));
    assert_eq!(spec.path_prefix, "");
    assert_eq!(spec.rows_per_record.get(), 500);
    assert_eq!(spec.concurrency, Concurrency::Limited(NonZeroUsize::new(50).unwrap()));
    assert_eq!(spec.credentials, Credentials { base: CredentialBase::Chain, role: None });
    assert!(!spec.path_style && !spec.request_payer);
    assert!(spec.keys.admits("any/key"));
    assert_eq!(spec.memory_limit_bytes, 536_870_912);
    assert_eq!(spec.max_tables.get(), 1000);
    assert_eq!((spec.on_object_error, spec.on_archived), (None, None));
    assert_eq!((spec.state_id.as_str(), spec.ledger_limit.get()), ("", 5_000_000));
    assert_eq!(spec.late_arrival_window.as_secs(), 86_400);
    assert_eq!(*spec.layout.options, TableOptions::default());
    assert!(spec.layout.mappings.is_empty() && spec.layout.path.is_none());
}

#[test]
fn empty_texts_are_left_out() {
    let spec = parse(&json!({"bucket": "my-bucket", "region": "", "local_profile": "", "endpoint": ""})).unwrap();
    assert_eq!((spec.region, spec.local_profile, spec.endpoint), (None, None, None));
}

#[test]
fn defaults_in_the_schema_change_nothing() {
    let schema = schema::schema_value();
    let mut spec = json!({"bucket": "my-bucket"});
    for (name, property) in schema["$defs"]["Spec"]["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            spec[name] = default.clone();
        }
    }
    let written = parse(&spec).unwrap();
    let left_out = parse(&json!({"bucket": "my-bucket"})).unwrap();
    assert_eq!(format!("{written:?}"), format!("{left_out:?}"));
}

#[test]
fn schema_has_the_fields_that_are_read() {
    let schema = schema::schema_value();
    let known = |mistake: String| {
        let (_, list) = mistake.split_once("known are ").unwrap();
        list.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let properties =
        |object: &str| schema["$defs"][object]["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(known(mistakes(&json!({"bucket": "my-bucket", "zzzzzz": 1}))), properties("Spec"));
    let credentials = json!({"bucket": "my-bucket", "credentials": {"zzzzzz": 1}});
    assert_eq!(known(mistakes(&credentials)), properties("Credentials"));
    for (field, object) in [
        ("partitions", "Partitions"),
        ("modified", "Modified"),
        ("csv", "Csv"),
        ("json", "Json"),
        ("bad_rows", "BadRows"),
        ("limits", "Limits"),
        ("schema", "Schema"),
    ] {
        let text = mistakes(&json!({"bucket": "my-bucket", (field): {"zzzzzz": 1}}));
        assert_eq!(known(text.lines().next().unwrap().to_owned()), properties(object));
    }
    let mapping = json!({"bucket": "my-bucket", "mappings": [{"path": "a", "zzzzzz": 1}]});
    assert_eq!(known(mistakes(&mapping)), properties("Mapping"));
}

#[test]
fn no_spec_in_every_spelling_gives_one_error() {
    for bytes in ["", " \n", "null", "{}"] {
        assert_eq!(Spec::parse(bytes.as_bytes()).unwrap_err().to_string(), "bucket: is required", "{bytes:?}");
    }
}

#[test]
fn what_is_no_json_gives_one_error() {
    for bytes in [&b"bucket: x"[..], b"{", b"{\"bucket\": \"my-bucket\"} x", b"\xff", b"{\"bucket\": 1e999}"] {
        let errors = Spec::parse(bytes).unwrap_err();
        assert_eq!(errors.mistakes().len(), 1);
        assert!(errors.to_string().starts_with("spec: is not JSON: "), "{errors}");
    }
    assert!(Spec::parse("[".repeat(100_000).as_bytes()).unwrap_err().to_string().contains("not JSON"));
}

#[test]
fn keys_given_twice_are_named() {
    let errors = Spec::parse(br#"{"bucket": "my-bucket", "region": "a", "region": "b"}"#).unwrap_err();
    assert_eq!(errors.to_string(), "region: is given twice; keep one");
}

#[test]
fn numbers_in_every_spelling() {
    let spec = Spec::parse(br#"{"bucket": "my-bucket", "rows_per_record": 1e3, "concurrency": -1.0}"#).unwrap();
    assert_eq!(spec.rows_per_record.get(), 1000);
    assert_eq!(spec.concurrency, Concurrency::Unlimited);
}

#[test]
fn credentials_are_read_and_never_shown() {
    let spec = parse(&json!({
        "bucket": "my-bucket",
        "credentials": {
            "access_key_id": "AKIAsecret1", "secret_access_key": "secret2", "session_token": "secret3",
            "role_arn": "arn:aws:iam::123456789012:role/reader", "external_id": "secret4",
        },
    }))
    .unwrap();
    let CredentialBase::Static { access_key_id, secret_access_key, session_token } = &spec.credentials.base else {
        panic!("{:?}", spec.credentials)
    };
    assert_eq!((access_key_id.expose(), secret_access_key.expose()), ("AKIAsecret1", "secret2"));
    assert_eq!(session_token.as_ref().unwrap().expose(), "secret3");
    let role = spec.credentials.role.as_ref().unwrap();
    assert_eq!((role.session_name.as_str(), role.external_id.as_ref().unwrap().expose()), ("cq-source-s3", "secret4"));
    assert!(!format!("{spec:?} {spec:#?}").contains("secret1"));
    for secret in ["secret1", "secret2", "secret3", "secret4"] {
        assert!(!format!("{spec:?}").contains(secret));
    }
}

#[test]
fn a_secret_in_any_wrong_shape_is_not_echoed() {
    let wrong = [json!(8_675_309), json!(["8675309"]), json!({"8675309": "x"}), json!("8675309 "), json!("8675309\n")];
    for field in ["access_key_id", "secret_access_key", "session_token", "external_id"] {
        for value in &wrong {
            let text = mistakes(&json!({"bucket": "my-bucket", "credentials": {(field): value}}));
            assert!(text.contains(&format!("credentials.{field}: ")), "{text}");
            assert!(!text.contains("8675309"), "{text}");
        }
    }
    let text = mistakes(&json!({"bucket": "https://AKIA:hunter2@my-bucket", "endpoint": "https://u:hunter2@h"}));
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_line_break_in_a_value_makes_no_second_line() {
    let text = mistakes(&json!({"bucket": "a\nb\r\nc", "x\ny": 1, "filetype": "a\u{2028}b", "include": ["\n["]}));
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn schema_counts_no_repetition_above_what_re2_takes() {
    // The CLI compiles the patterns with Go's regexp; one that fails makes it skip the whole schema.
    let text = json_schema();
    let counts = text.split('{').skip(1).filter_map(|rest| {
        let (inside, _) = rest.split_once('}')?;
        inside.split(',').map(|number| number.parse::<usize>().ok()).collect::<Option<Vec<_>>>()
    });
    let counts: Vec<usize> = counts.flatten().collect();
    assert!(counts.len() > 5 && counts.iter().all(|count| *count <= 1000), "{counts:?}");
}

/// In Python's and Perl's engines `$` is also where a line feed at the very end begins.
#[test]
fn schema_patterns_with_an_end_refuse_a_line_feed_behind_it() {
    fn visit(value: &Value, path: &str, found: &mut usize) {
        let Some(map) = value.as_object() else {
            for item in value.as_array().into_iter().flatten() {
                visit(item, path, found);
            }
            return;
        };
        // A glob may have line feeds anywhere, so it does not matter what its end means.
        if let Some(pattern) = map.get("pattern").and_then(Value::as_str)
            && pattern.ends_with('$')
            && pattern != glob::GLOB_PATTERN
        {
            assert_eq!(map.get("not"), Some(&json!({"pattern": "\\n"})), "{path}: {pattern}");
            *found += 1;
        }
        for (key, value) in map {
            visit(value, &format!("{path}/{key}"), found);
        }
    }
    let mut found = 0;
    visit(&schema::schema_value(), "", &mut found);
    assert!(found >= 12, "only {found} patterns");
}

#[test]
fn objects_are_overridden_key_by_key() {
    let spec = parse(&json!({
        "bucket": "my-bucket",
        "filetype": "auto",
        "nested_as": "native",
        "compression": "gzip",
        "csv": {"delimiter": ";", "types": "text"},
        "json": {"records": "/a"},
        "bad_rows": {"on": "skip", "max": "1.5%"},
        "limits": {"max_row_bytes": "1 MiB", "max_columns": 100, "max_decompressed": "2 GiB"},
        "schema": {"sample": {"files": "all"}},
        "mappings": [{
            "glob": "a/**", "table": "a", "compression": "auto",
            "csv": {"delimiter": "\\t", "quote": "none"},
            "json": {"nested": "json", "keep": ["/id"]},
            "bad_rows": {"on": "table", "table": "bad"},
            "schema": {"sample": {"bytes": "1 MiB"}},
        }],
    }))
    .unwrap();
    let (top, own) = (&spec.layout.options, &spec.layout.mappings[0].options);
    assert_eq!((top.compression, own.compression), (Some(Compression::Gzip), None));
    assert_eq!((top.csv.delimiter, top.csv.quote), (csv::Delimiter::Is(b';'), Some(b'"')));
    assert_eq!(
        (own.csv.delimiter, own.csv.quote, own.csv.types),
        (csv::Delimiter::Is(b'\t'), None, csv::CsvTypes::Text)
    );
    // TSV has other defaults, and what is given counts there, too.
    assert_eq!((top.dialect(Format::Tsv).delimiter, top.dialect(Format::Tsv).quote), (csv::Delimiter::Is(b';'), None));
    assert_eq!(top.dialect(Format::Tsv).null_values, ["\\N"]);
    assert_eq!((top.json.nested, own.json.nested), (None, Some(NestedAs::Json)));
    assert_eq!((top.json.keep.len(), own.json.keep.len(), &own.json.records), (0, 1, &top.json.records));
    assert_eq!((top.bad_rows.on, top.bad_rows.max), (OnBadRow::Skip, Some(MostBadRows::Percent(1.5))));
    assert_eq!((own.bad_rows.on, own.bad_rows.max), (OnBadRow::Table, Some(MostBadRows::Percent(1.5))));
    assert_eq!((top.bad_rows.table.as_str(), own.bad_rows.table.as_str()), ("{{TABLE}}_bad_rows", "bad"));
    assert_eq!((top.limits.max_row_bytes, top.limits.max_decompressed_bytes), (1 << 20, Some(2 << 30)));
    assert_eq!((own.limits, own.schema.max_columns.0.get()), (top.limits, 100));
    let of = |sample: Sample| (sample.files, sample.bytes);
    assert_eq!(
        (of(top.schema.sample), of(own.schema.sample)),
        ((SampledFiles::All, 256 << 10), (SampledFiles::All, 1 << 20))
    );
}

#[test]
fn records_are_smaller_where_the_memory_is() {
    let limits =
        |limit: &str| parse(&json!({"bucket": "my-bucket", "memory_limit": limit})).unwrap().layout.options.limits;
    assert_eq!(limits("32 MiB").max_row_bytes, 4 << 20);
    assert_eq!(limits("4 GiB").max_row_bytes, 16 << 20);
}

/// The state keeps columns under these texts: they never change, and each choice that changes columns is among them.
#[test]
fn choices_about_texts_have_texts() {
    let choices = |spec: Value| {
        let mut spec = spec;
        (spec["bucket"], spec["filetype"]) = ("my-bucket".into(), "auto".into());
        parse(&spec).unwrap().layout.options.text_choices()
    };
    assert_eq!(choices(json!({})), [""; 0]);
    let limits = json!({"compression": "gzip", "bad_rows": {"on": "skip"}, "limits": {"max_depth": 3}});
    assert_eq!(choices(limits), [""; 0], "these decide what is an error");
    assert_eq!(choices(json!({"csv": {"delimiter": ","}})), ["tsv.delimiter=44"], "the default of CSV alone");
    let csv = json!({"csv": {
        "delimiter": "auto", "quote": "'", "escape": "\\", "header": false, "names": ["a", "b,c"], "skip_rows": 1,
        "comment": "#", "null_values": ["x"], "quoted_null": true, "trim": "outer", "short_rows": "bad", "long_rows": "ignore",
        "encoding": "latin1", "invalid_utf8": "bad", "types": "text", "true_values": ["1"], "false_values": [],
        "decimal_comma": true,
    }});
    let of_csv: Vec<String> = choices(csv).into_iter().filter(|choice| choice.starts_with("csv.")).collect();
    let expected = [
        "delimiter=auto",
        "quote=39",
        "escape=92",
        "header=false",
        "names=[\"a\",\"b,c\"]",
        "skip_rows=1",
        "comment=35",
        "null_values=[\"x\"]",
        "quoted_null=true",
        "trim=outer",
        "short_rows=bad",
        "long_rows=ignore",
        "encoding=latin1",
        "invalid_utf8=bad",
        "types=text",
        "true_values=[\"1\"]",
        "false_values=[]",
        "decimal_comma=true",
    ];
    assert_eq!(of_csv, expected.map(|text| format!("csv.{text}")));
    let json = json!({"json": {
        "records": "/a/b", "as": "document", "keep": ["/c"], "nested": "native", "types": "text", "duplicate_keys": "bad",
    }});
    let expected = [
        "json.records=/a/b",
        "json.as=document",
        "json.keep=[\"/c\"]",
        "json.nested=native",
        "json.types=text",
        "json.duplicate_keys=bad",
    ];
    assert_eq!(choices(json), expected);
    assert_eq!(choices(json!({"json": {"nested": "json"}})), [""; 0]);
    let sample = json!({"schema": {"sample": {"files": "all", "bytes": 8192}}});
    assert_eq!(choices(sample), ["schema.sample.files=all", "schema.sample.bytes=8192"]);
}

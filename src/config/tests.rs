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
    for case in &corpus {
        match parse(&case.spec) {
            Ok(_) => assert!(case.valid, "{} was accepted", case.name),
            Err(errors) => {
                let text = errors.to_string();
                assert!(!case.valid, "{} was refused: {text}", case.name);
                for mention in &case.mentions {
                    assert!(text.lines().any(|line| line.contains(mention)), "{}: {text}\nlacks {mention}", case.name);
                }
                assert!(!text.contains("s3cr3t") && !text.contains("hunter2"), "{}: {text}", case.name);
                assert_eq!(text.lines().count(), errors.mistakes().len(), "{}: one line each", case.name);
            }
        }
    }
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
    for (field, object) in [("partitions", "Partitions"), ("modified", "Modified")] {
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

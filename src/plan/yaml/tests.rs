use super::*;
use serde_json::json;

fn value(text: &str, variables: &[(&str, &str)]) -> Result<Value, Vec<String>> {
    let texts = |errors: Vec<YamlError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let documents = Documents::parse(text).map_err(|error| texts(vec![error]))?;
    let mut lookup = |name: &str| {
        let known = variables.iter().find(|(known, _)| *known == name);
        known.map(|(_, value)| (*value).to_owned()).ok_or_else(|| format!("{name} is not set"))
    };
    documents.value(&documents.roots[0], &mut lookup).map_err(texts)
}

#[test]
fn scalars_mean_what_they_mean_to_the_cli() {
    let text =
        "[yes, Off, ~, 12, -3, 0x1f, 010, 08, 1_000, 1.5, 1e3, .5, 2026-01-01, 1.2.3.4, 1h, -, +, 007x, 'yes', \"5\"]";
    let expected = json!([
        true,
        false,
        null,
        12,
        -3,
        31,
        8,
        8,
        1000,
        1.5,
        1000.0,
        0.5,
        "2026-01-01",
        "1.2.3.4",
        "1h",
        "-",
        "+",
        "007x",
        "yes",
        "5"
    ]);
    assert_eq!(value(&text.replace(" -,", " \"-\",").replace(" +,", " \"+\","), &[]).unwrap(), expected);
    assert_eq!(value("a: !!str 5\non: x\n1: z", &[]).unwrap(), json!({"a": "5", "true": "x", "1": "z"}));
    assert_eq!(value("9223372036854775808", &[]).unwrap(), json!(9_223_372_036_854_775_808_u64));
}

#[test]
fn variables_stand_for_texts_in_quotes_and_for_values_without() {
    let variables = [("N", "5"), ("LIST", "[a, b]"), ("TEXT", "x: \"y\" # z"), ("EMPTY", "")];
    let text = r#"
        a: ${N}     # ${NOT_SET}
        b: "${N}"
        c: pre-${N}-post
        d: [${LIST}, ${N}]
        e: "${TEXT}"
        f: ${EMPTY}
        g: |
          ${TEXT}
        h: $N ${ {
    "#;
    let expected = json!({
        "a": 5, "b": "5", "c": "pre-5-post", "d": [["a", "b"], 5], "e": "x: \"y\" # z", "f": null,
        "g": "x: \"y\" # z\n", "h": "$N ${ {",
    });
    assert_eq!(value(text, &variables).unwrap(), expected);
    assert_eq!(value("{\"a\": \"${N}\", \"b\": [1, true, null]}", &variables).unwrap()["a"], json!("5"));
}

#[test]
fn all_that_is_missing_is_named_with_its_line_and_nothing_that_is_secret() {
    let errors = value("a: ${X}\nb: [1, '${Y}']\nc: ${SECRET}\n", &[("SECRET", "hush: hush: [")]).unwrap_err();
    assert_eq!(errors[..2], ["line 1: X is not set", "line 2: Y is not set"]);
    assert!(errors[2].starts_with("line 3: what ${SECRET} stands for is not one value"), "{errors:?}");
    assert!(!errors.concat().contains("hush"), "{errors:?}");
}

#[test]
fn anchors_merges_and_documents() {
    let text = "base: &b {x: 1, z: 2}\nmore: {<<: *b, z: 3}\nlist: [*b]\n";
    let expected = json!({"base": {"x": 1, "z": 2}, "more": {"x": 1, "z": 3}, "list": [{"x": 1, "z": 2}]});
    assert_eq!(value(text, &[]).unwrap(), expected);
    let documents = Documents::parse("---\na: 1\n---\n# nothing\n---\nb: 2\n").unwrap();
    assert_eq!(documents.roots.len(), 2);
    assert_eq!(documents.roots[1].line(), 6);
    assert!(documents.roots[1].get("b").is_some() && documents.roots[1].is_mapping());
}

#[test]
fn mistakes_have_lines() {
    for (text, expected) in [
        ("a: 1\nb: [1, 2\nc: 3\n", "line "),
        ("a: 1\na: 2\n", "line 2: the key \"a\" is given twice"),
        ("? [a]\n: b\n", "line 1: a key is a text"),
        ("<<: 5\n", "line 1: << needs a mapping"),
        ("a: *x\n", "line 1: "),
    ] {
        let errors = value(text, &[]).unwrap_err();
        assert!(errors[0].starts_with(expected), "{text}: {errors:?}");
    }
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(MAX_DEPTH + 1);
    assert!(value(&deep, &[]).unwrap_err()[0].contains("levels"));
    let mut wide = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1]\n");
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        wide.push_str(&format!("a{n}: &a{n} [{}]\n", vec![before; 9].join(",")));
    }
    assert!(value(&wide, &[]).unwrap_err()[0].contains("more than"));
}

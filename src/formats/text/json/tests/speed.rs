//! How fast it is: `cargo test --release speed -- --ignored --nocapture`, one core, MB/s of text.

use super::super::Parser;
use super::{Cut, How, json, jsonl};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

/// For comparison: the values of an object as serde_json reads them.
struct Members<'a>(&'a mut Vec<(Cow<'static, str>, usize)>);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            let value: &RawValue = map.next_value()?;
            self.0.push((Cow::Borrowed(""), key.len() + value.get().len()));
        }
        Ok(())
    }
}

fn megabytes(bytes: usize, run: impl Fn()) -> f64 {
    let best = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    bytes as f64 / 1e6 / best.fold(f64::MAX, f64::min)
}

fn measure(name: &str, how: &How, text: &str) {
    let (cuts, shape, error) = how.split(text.as_bytes());
    assert_eq!(error, None);
    let parser = Parser::new(&how.options, shape.unwrap(), 64, how.names.clone());
    let split = megabytes(text.len(), || drop(how.clone().pieces(1 << 20).split(text.as_bytes())));
    let copy = megabytes(text.len(), || drop(std::hint::black_box(bytes::Bytes::copy_from_slice(text.as_bytes()))));
    let parse = megabytes(text.len(), || {
        for cut in &cuts {
            let Cut::Chunk(chunk) = cut else { panic!() };
            assert!(parser.parse(chunk).bad.is_empty());
        }
    });
    let lines: Vec<&str> = text.lines().collect();
    let (visitor, ignored) = if how.is_lines {
        (
            megabytes(text.len(), || {
                let mut members = Vec::new();
                for line in &lines {
                    members.clear();
                    serde_json::Deserializer::from_str(line).deserialize_map(Members(&mut members)).unwrap();
                    std::hint::black_box(&members);
                }
            }),
            megabytes(text.len(), || {
                for line in &lines {
                    serde_json::from_str::<IgnoredAny>(line).unwrap();
                }
            }),
        )
    } else {
        (0.0, 0.0)
    };
    println!(
        "{name:28} split {split:6.0} (copy {copy:6.0})  parse {parse:5.0}  serde_json: raw values {visitor:5.0}, ignored {ignored:5.0}"
    );
}

#[test]
#[ignore = "measures"]
fn speed() {
    let numbers: String = (0..200_000u64)
        .map(|row| {
            let n = |k: u64| row.wrapping_mul(7919 * k + 13) % 100_000;
            format!(
                "{{\"id\":{row},\"a\":{},\"b\":{},\"c\":{}.{},\"d\":{},\"e\":{}}}\n",
                n(1),
                n(2),
                n(3),
                n(4) % 100,
                n(5),
                n(6)
            )
        })
        .collect();
    let names = ["id", "a", "b", "c", "d", "e"];
    measure("narrow numbers, lines", &jsonl(&names), &numbers);
    let array = format!("[{}]", numbers.trim_end().replace('\n', ","));
    measure("narrow numbers, array", &json(&names), &array);
    measure("narrow numbers, Firehose", &json(&names), &numbers.replace('\n', ""));
    let words = "the quick brown fox jumps over the lazy dog, then \\\"sleeps\\\" für eine Weile in the sun ";
    let strings: String = (0..40_000usize)
        .map(|row| {
            let text = |k: usize| words.repeat(1 + (row + k) % 3);
            format!(
                "{{\"title\":\"{}\",\"body\":\"{}\",\"tags\":\"{}\",\"note\":\"{}\"}}\n",
                text(1),
                text(2),
                text(3),
                text(4)
            )
        })
        .collect();
    measure("wide strings, lines", &jsonl(&["title", "body", "tags", "note"]), &strings);
    let trail: String = (0..30_000u64)
        .map(|row| {
            format!(
                "{{\"eventVersion\":\"1.08\",\"userIdentity\":{{\"type\":\"AssumedRole\",\"principalId\":\"AROA{row}:session\",\
                 \"arn\":\"arn:aws:sts::123456789012:assumed-role/x/{row}\",\"accountId\":\"123456789012\",\"sessionContext\":{{\
                 \"sessionIssuer\":{{\"type\":\"Role\",\"principalId\":\"AROA{row}\",\"userName\":\"role\"}},\"attributes\":{{\
                 \"creationDate\":\"2026-11-28T00:00:00Z\",\"mfaAuthenticated\":\"false\"}}}}}},\"eventTime\":\"2026-11-28T00:00:00Z\",\
                 \"eventSource\":\"s3.amazonaws.com\",\"eventName\":\"GetObject\",\"awsRegion\":\"eu-central-1\",\"sourceIPAddress\":\"10.0.0.1\",\
                 \"requestParameters\":{{\"bucketName\":\"lake\",\"key\":\"a/b/{row}\",\"parts\":[1,2,{row}]}},\"responseElements\":null,\
                 \"readOnly\":true,\"resources\":[{{\"type\":\"AWS::S3::Object\",\"ARN\":\"arn:aws:s3:::lake/a/b/{row}\"}}],\"eventID\":\"{row}\"}}\n"
            )
        })
        .collect();
    let names = [
        "eventVersion",
        "userIdentity",
        "eventTime",
        "eventSource",
        "eventName",
        "awsRegion",
        "sourceIPAddress",
        "requestParameters",
        "responseElements",
        "readOnly",
        "resources",
        "eventID",
    ];
    measure("CloudTrail, lines", &jsonl(&names), &trail);
    let document = format!("{{\"Records\":[{}]}}", trail.trim_end().replace('\n', ","));
    measure("CloudTrail, /Records", &json(&names).records("/Records"), &document);
}

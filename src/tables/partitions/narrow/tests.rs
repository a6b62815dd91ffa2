use super::*;
use crate::config::layout::{self, FileType, MappingSpec, PartitionOrigin, PartitionSpec, PatternSpec, TypeSpec};
use crate::tables::mapping::Match;
use crate::tables::name::TableKey;
use crate::tables::partitions::Inference;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// 2026-01-31.
const TODAY_S: i64 = 20_484 * 86_400;

fn today() -> Today {
    Today::from_unix_s(TODAY_S)
}

/// What a test needs of a spec: a path, or `glob …`, `regex …`, or nothing; `hive`; types; conditions.
#[derive(Debug, Clone)]
struct Layout<'a> {
    mappings: Vec<&'a str>,
    hive: bool,
    decode: bool,
    columns: Vec<(&'a str, &'a str)>,
    conditions: Vec<String>,
}

impl Layout<'_> {
    fn mappings(&self) -> Result<Mappings, Vec<crate::config::Mistake>> {
        let typed = |(name, ty): &(&str, &str)| ((*name).to_owned(), TypeSpec { word: (*ty).to_owned(), format: None });
        let partitions = PartitionSpec {
            origin: PartitionOrigin::Inherited,
            hive: self.hive,
            columns: self.columns.iter().map(typed).collect(),
            decode: Some(self.decode),
            path_time: Some("at".to_owned()),
            conditions: self.conditions.clone(),
            ..PartitionSpec::default()
        };
        let mappings = self.mappings.iter().map(|text| {
            let (text, table) = match text.split_once(" -> ") {
                Some((text, table)) => (text, Some(table.to_owned())),
                None => (*text, None),
            };
            let (pattern, skip) = match text.split_once(' ') {
                Some(("glob", glob)) => (PatternSpec::Glob(vec![glob.to_owned()]), false),
                Some(("regex", regex)) => (PatternSpec::Regex(regex.to_owned()), false),
                Some(("skip", glob)) => (PatternSpec::Glob(vec![glob.to_owned()]), true),
                _ => (PatternSpec::Path(text.to_owned()), false),
            };
            let (partitions, options) = (partitions.clone(), Default::default());
            let (field, filetype, any_name) = (String::new(), FileType::Auto, true);
            MappingSpec { field, pattern, table, skip, filetype, any_name, partitions, options }
        });
        let (mappings, filetype) = (mappings.collect(), FileType::Auto);
        let layout = layout::Layout { mappings, filetype, partitions: partitions.clone(), ..Default::default() };
        Mappings::new(&layout)
    }
}

fn layout<'a>(mapping: &'a str, hive: bool, conditions: &[&str]) -> Layout<'a> {
    let mappings = if mapping.is_empty() { vec![] } else { vec![mapping] };
    let conditions = conditions.iter().map(ToString::to_string).collect();
    Layout { mappings, hive, decode: true, columns: vec![], conditions }
}

/// The listing's requests, as `prefix`, `prefix from start-after`, `… to stop`.
fn requests(layout: &Layout<'_>, prefix: &str) -> Option<Vec<String>> {
    let narrowing = narrow(&layout.mappings().unwrap(), prefix, today())?;
    let shown = narrowing.ranges.iter().map(|range| {
        let from = range.start_after().map(|after| format!(" from {after}")).unwrap_or_default();
        let to = range.stop_at().map(|stop| format!(" to {stop}")).unwrap_or_default();
        format!("{}{from}{to}", range.prefix())
    });
    Some(shown.collect())
}

#[test]
fn dates_as_folders_of_a_template_start_at_their_day() {
    let layout = |conditions| layout("events/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{*}}", true, conditions);
    let expected = ["events/ to events/dt=", "events/ from events/dt=2026-01-00~"];
    assert_eq!(requests(&layout(&["dt >= 2026-01-01"]), "events/").unwrap(), expected);
    let one_folder = requests(&layout(&["dt >= 2026-01-01"]), "events/dt=").unwrap();
    assert_eq!(one_folder, ["events/dt= from events/dt=2026-01-00~"]);
}

#[test]
fn folders_of_dates_are_listed_with_whatever_may_be_a_date_beside_them() {
    let layout = |conditions| layout("", true, conditions);
    let requests = requests(&layout(&["dt >= today-7d"]), "events/").unwrap();
    assert_eq!(requests[0], "events/ to events/dt=");
    assert!(requests.contains(&"events/dt=2026%".to_owned()), "{requests:?}");
    assert!(requests.contains(&"events/ from events/dt=2026-01-22~".to_owned()), "{requests:?}");
    assert!(requests.len() < 16, "{requests:?}");
}

#[test]
fn a_fixed_first_folder_leads_to_the_next() {
    let mut layout = layout("", true, &["region in [eu, us]", "dt >= 2026-01-10", "dt <= 2026-01-11"]);
    layout.decode = false;
    layout.columns = vec![("dt", "date")];
    let requests = requests(&layout, "e/").unwrap();
    let days = |region: &str| {
        let folder = format!("e/region={region}/");
        [
            format!("{folder} to {folder}dt="),
            format!("{folder}dt=2026-01-1 from {folder}dt=2026-01-1/~ to {folder}dt=2026-01-12"),
            format!("{folder} from {folder}dt=~"),
        ]
    };
    let beside =
        ["e/ to e/dt=", "e/dt=2026-01-1 from e/dt=2026-01-1/~ to e/dt=2026-01-12", "e/ from e/dt=~ to e/region="];
    let mut expected: Vec<String> = beside.map(str::to_owned).into();
    expected.extend(days("eu"));
    expected.extend(days("us"));
    expected.push("e/ from e/region=~".to_owned());
    assert_eq!(requests, expected);
}

#[test]
fn years_months_and_days_as_folders() {
    let layout = |conditions| layout("logs/{{YEAR}}/{{MONTH}}/{{DAY}}/{{HOUR}}/{{*}}", false, conditions);
    let first = requests(&layout(&["at >= 2026-01-31"]), "logs/").unwrap();
    assert_eq!(first, ["logs/ from logs/2026/01/31/0/~"]);
    let one = requests(&layout(&["at >= 2026-01-31T05:00:00Z", "at < 2026-01-31T05:30:00Z"]), "").unwrap();
    assert_eq!(one.last().unwrap(), " from logs/~");
    assert!(one.contains(&"logs/2026/01/31/05".to_owned()), "{one:?}");
}

#[test]
fn variables_of_the_path_fix_each_other() {
    let layout = Layout {
        decode: false,
        ..layout(
            "AWSLogs/{{account}}/CloudTrail/{{region}}/{{YEAR}}/{{MONTH}}/{{DAY}}/{{*}} -> trail",
            false,
            &["account = 123", "region in [eu-west-1, us-east-1]", "at >= 2026-01-30"],
        )
    };
    let requests = requests(&layout, "AWSLogs/").unwrap();
    let expected = [
        "AWSLogs/123/CloudTrail/eu-west-1/ from AWSLogs/123/CloudTrail/eu-west-1/2026/01/3/~",
        "AWSLogs/123/CloudTrail/us-east-1/ from AWSLogs/123/CloudTrail/us-east-1/2026/01/3/~",
    ];
    assert_eq!(requests, expected);
}

#[test]
fn in_doubt_everything_is_listed() {
    for (mapping, hive, columns, condition) in [
        ("", true, vec![], "year >= 2024"),
        ("", true, vec![("year", "int64")], "year = 2024"),
        ("", true, vec![], "dt is null"),
        ("", true, vec![], "dt is not null"),
        ("", true, vec![], "dt != 2026-01-01"),
        ("", true, vec![], "x >= 1.5"),
        ("", true, vec![], "x = nan"),
        ("e/{{x:float64}}/{{*}}", false, vec![], "x = 1"),
        ("{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{*}}", true, vec![], "dt >= 2026-01-01"),
        ("regex (?<t>[^/]+)/.* -> {{t}}", true, vec![], "dt >= 2026-01-01"),
        ("e/{{**}}/{{dt:date}}/{{*}}", false, vec![], "dt >= 2026-01-01"),
    ] {
        let layout = Layout { columns, ..layout(mapping, hive, &[condition]) };
        assert_eq!(requests(&layout, ""), None, "{layout:?}");
    }
    assert_eq!(requests(&layout("", true, &[]), ""), None);
}

#[test]
fn keys_that_sort_otherwise_than_their_values_are_listed() {
    for (conditions, key) in [
        // As text it is less, but what follows it sorts behind.
        (&["dt <= 2026-01-01"][..], "e/dt=2026/x"),
        (&["dt < b-x"], "e/dt=b/x"),
        // The first folder of a name is the column, the second is dt_2.
        (&["dt = eu", "dt >= eu"], "e/dt=eu/dt=0/x"),
        (&["dt >= 2026-01-01"], "e/dt=2025-12-31T23:30:00-02:00/x"),
        (&["dt >= 2026-01-01"], "e/dt=2026%2D01-02/x"),
        (&["dt >= 2026-01-01"], "e/DT=2026-01-02/x"),
        (&["dt >= 2026-01-01"], "e/a/dt=2026-01-02/x"),
    ] {
        let narrowing = narrow(&layout("", true, conditions).mappings().unwrap(), "e/", today()).unwrap();
        assert!(narrowing.lists(key), "{conditions:?} {key}");
    }
}

#[test]
fn keys_of_other_mappings_are_listed() {
    let with =
        |other| Layout { mappings: vec!["e/dt={{dt:date}}/{{*}}", other], ..layout("", true, &["dt >= 2026-01-01"]) };
    let narrowed = |other: &'static str| {
        let narrowing = narrow(&with(other).mappings().unwrap(), "", today())?;
        Some(narrowing.lists("e/dt=2020-01-01/x"))
    };
    assert_eq!(narrowed("glob f/** -> f"), Some(false));
    assert_eq!(narrowed("skip e/**"), Some(false));
    assert_eq!(narrowed("regex e/.* -> f"), Some(false));
    // Nothing is known about where its columns are.
    assert_eq!(narrowed("regex (e|f)/.* -> f"), Some(true));
    // Both are one table, whose column may be of another type.
    let mut one = with("e/{{dt}}/{{*}} -> t");
    one.mappings[0] = "e/dt={{dt:date}}/{{*}} -> t";
    assert_eq!(narrow(&one.mappings().unwrap(), "", today()), None);
}

const LITERALS: [&str; 17] = [
    "2026-01-01",
    "2026-01-02",
    "2025-12-31",
    "today",
    "today-30d",
    "2026",
    "2026-1-1",
    "x",
    "eu",
    "e",
    "5",
    "05",
    "10",
    "2026-01-01T00:30:00+02:00",
    "2026-01-01 12:00:00",
    "'2026-01'",
    "1e1",
];

fn condition() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["dt", "dt", "dt", "DT", "r", "at", "at"]);
    let operator = prop::sample::select(vec!["=", "<", "<=", ">", ">=", ">=", "!="]);
    let literal = || prop::sample::select(LITERALS.to_vec());
    prop_oneof![
        6 => (name.clone(), operator, literal()).prop_map(|(name, operator, literal)| format!("{name} {operator} {literal}")),
        2 => (name.clone(), literal(), literal()).prop_map(|(name, a, b)| format!("{name} in [{a}, {b}]")),
        1 => name.prop_map(|name| format!("{name} is null")),
    ]
}

fn any_layout() -> impl Strategy<Value = Layout<'static>> {
    let mapping = prop::sample::select(vec![
        "glob e/** -> t",
        "glob **",
        "glob {e,f}/** -> t",
        "regex e/.* -> t",
        "regex e/(?<dt>[^/]+)/.* -> t",
        "regex (?<n>[ef])/.* -> t_{{n}}",
        "e/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}",
        "e/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}} -> t_{{YEAR}}",
        "e/{{dt}}/{{*}}",
        "e/{{r}}/{{dt:date}}/{{*}}",
        "e/{{r}}-{{dt}}",
        "e/{{r}}-{{dt}}/{{**}} -> {{r}}",
        "e/dt={{dt:date}}/{{**}}",
        "e/dt={{dt}}/{{**}}",
        "e/dt={{r}}/{{dt}}",
        "e/r={{r}}/dt={{dt}}/{{**}}",
        "e/{{YEAR}}/{{MONTH}}/{{DAY}}/{{**}}",
        "e/{{YEAR}}{{MONTH}}/{{at}}/{{**}}",
        "e/{{YEAR}}-{{DAY}}-{{MONTH}}/{{**}}",
        "e/at={{YEAR}}-{{MONTH}}/{{**}} -> t",
        "e/{{r}}/{{YEAR}}/{{**}} -> t",
        "{{TABLE}}/dt={{YEAR}}-{{MONTH}}-{{DAY}}/{{**}}",
        "e/{{TABLE}}/{{**}}",
        "e/dt=2026-{{MONTH}}-{{DAY}}/{{**}} -> t",
        "skip e/dt=2026-01-01/** ",
    ]);
    let columns = prop::sample::select(vec![
        vec![],
        vec![],
        vec![("dt", "date")],
        vec![("dt", "text")],
        vec![("dt", "int64")],
        vec![("dt", "timestamp")],
        vec![("dt", "date"), ("r", "text")],
    ]);
    let mappings = prop::collection::vec(mapping, 0..3);
    let conditions = prop::collection::vec(condition(), 1..4);
    (mappings, any::<bool>(), any::<bool>(), columns, conditions).prop_map(
        |(mappings, hive, decode, columns, conditions)| Layout { mappings, hive, decode, columns, conditions },
    )
}

/// Values that are mostly of one kind, so that types are often inferred.
fn value(kind: usize) -> BoxedStrategy<String> {
    let of = |values: &[&'static str]| prop::sample::select(values.to_vec()).prop_map(str::to_owned).boxed();
    match kind {
        0 => of(&["2026-01-01", "2025-12-31", "2026-01-02", "2026-02-01", "2019-07-01"]),
        1 => of(&[
            "2026-01-01",
            "2026%2D01-02",
            "%32026-01-01",
            "2026-01-%30%32",
            "2025-12-31",
            "2027-01-01",
            "20%32%35-12-31",
        ]),
        2 => of(&[
            "2026-01-01T00:00:00Z",
            "2025-12-31T23:30:00-02:00",
            "2026-01-02 00:30:00",
            "2025-12-31T23:00:00+05:00",
            "2025-12-31T12:00:00-23:59",
            "2026-01-02T01:00:00%2B23:00",
        ]),
        3 => of(&["5", "10", "9", "2026", "-5", "0"]),
        4 => of(&["eu", "e", "eu-west", "e%75", "us", "eu%", "", "x", "%78"]),
        _ => prop_oneof![
            of(&["2026", "2026-1-1", "2026-01", "2026-01-01", "20", "", "2026-01-01x", "!", "~"]),
            "[0-9%x-]{0,4}"
        ]
        .boxed(),
    }
}

fn any_keys() -> impl Strategy<Value = Vec<String>> {
    (0..6_usize).prop_flat_map(|kind| {
        let folder = prop_oneof![
            4 => (prop::sample::select(vec!["dt", "dt", "DT", "r", "%64t", "at", "a", "z"]), value(kind))
                .prop_map(|(name, value)| format!("{name}={value}/")),
            2 => value(kind).prop_map(|value| format!("{value}/")),
            1 => (value(4), value(kind)).prop_map(|(r, dt)| format!("{r}-{dt}/")),
            1 => prop::sample::select(vec!["2026/01/01/", "2025/12/31/", "2026/13/01/", "2026/02/", "202601/", "2026/", "o/"])
                .prop_map(str::to_owned),
        ];
        let key = (prop::sample::select(vec!["e/", "e/", "e/", "f/", ""]), prop::collection::vec(folder, 0..4), value(kind));
        prop::collection::vec(key.prop_map(|(start, folders, file)| format!("{start}{}{file}", folders.concat())), 1..30)
    })
}

/// The keys that the conditions admit, if all are listed; tables whose conditions don't fit them are left out.
fn admitted(mappings: &Mappings, keys: &[String], assumed: &[String]) -> Vec<String> {
    let mut tables: BTreeMap<TableKey, Vec<(usize, &String)>> = BTreeMap::new();
    for key in keys {
        if let Match::Table(mapped) = mappings.of(key, 1) {
            tables.entry(mapped.table).or_default().push((mapped.mapping, key));
        }
    }
    let mut admitted = Vec::new();
    for keys in tables.values() {
        let mut inference = Inference::default();
        keys.iter().for_each(|(mapping, key)| inference.see(key, &mappings.values(*mapping, key)));
        let columns = inference.columns(&[]).unwrap();
        for (mapping, key) in keys {
            let conditions = &mappings.partitions(*mapping).unwrap().conditions;
            let Ok(bound) = conditions.bind(&columns, assumed, today()) else { continue };
            if bound.admits(&mappings.values(*mapping, key)) {
                admitted.push((*key).clone());
            }
        }
    }
    admitted
}

/// One column at one place, with one condition; values of one kind.
fn one_column() -> impl Strategy<Value = (Layout<'static>, Vec<String>)> {
    let mapping = prop::sample::select(vec![
        ("glob e/** -> t", true),
        ("e/dt={{dt}}/{{*}}", true),
        ("e/{{dt}}/{{*}}", false),
        ("e/{{dt:date}}/{{*}}", false),
        ("e/{{dt:timestamp}}/{{*}}", false),
        ("e/{{dt}}-{{*}}", false),
        ("e/{{dt}}", false),
        ("e/{{TABLE}}/dt={{dt}}/{{*}}", true),
    ]);
    let operator = prop::sample::select(vec!["=", "<", "<=", ">", ">="]);
    let condition = (operator, prop::sample::select(LITERALS.to_vec()));
    let conditions =
        prop::collection::vec(condition.prop_map(|(operator, literal)| format!("dt {operator} {literal}")), 1..3);
    (mapping, conditions, any::<bool>(), 0..6_usize).prop_flat_map(|((mapping, hive), conditions, decode, kind)| {
        let layout = Layout { mappings: vec![mapping], hive, decode, columns: vec![], conditions };
        let key = (value(kind), any::<bool>()).prop_map(move |(value, twice)| match mapping {
            "e/{{dt}}" => format!("e/{value}"),
            "e/{{dt}}-{{*}}" => format!("e/{value}-x"),
            "e/{{TABLE}}/dt={{dt}}/{{*}}" => format!("e/dt=0/dt={value}/x"),
            "glob e/** -> t" if twice => format!("e/dt={value}/dt=0/x"),
            _ if hive => format!("e/dt={value}/x"),
            _ => format!("e/{value}/x"),
        });
        (Just(layout), prop::collection::vec(key, 1..6))
    })
}

fn check_that_none_is_lost(layout: &Layout<'_>, keys: &[String], prefix: &str) -> Result<(), TestCaseError> {
    let Ok(mappings) = layout.mappings() else { return Ok(()) };
    let Some(narrowing) = narrow(&mappings, prefix, today()) else { return Ok(()) };
    for key in admitted(&mappings, keys, &[]).iter().filter(|key| key.starts_with(prefix)) {
        prop_assert!(narrowing.lists(key), "{:?} {:?} {:?}", layout, key, narrowing);
    }
    prop_assert!(narrowing.ranges.iter().all(|range| range.prefix().starts_with(prefix)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// The promise: what is not listed is pruned, whatever else there is.
    #[test]
    fn no_admitted_key_is_lost(
        layout in any_layout(), keys in any_keys(),
        prefix in prop::sample::select(vec!["", "e/", "e/d", "e/dt=2026", "e/2026/0"]),
    ) {
        check_that_none_is_lost(&layout, &keys, prefix)?;
    }

    /// The same for few folders and one condition: more of these are about the order of values.
    #[test]
    fn no_admitted_value_is_lost((layout, keys) in one_column()) {
        check_that_none_is_lost(&layout, &keys, "e/")?;
    }

    /// The conditions fit the tables that a narrowed listing shows, if they fit those of a whole one.
    #[test]
    fn a_narrowed_listing_makes_no_condition_unknown(layout in any_layout(), keys in any_keys()) {
        let Ok(mappings) = layout.mappings() else { return Ok(()) };
        let Some(narrowing) = narrow(&mappings, "", today()) else { return Ok(()) };
        let listed: Vec<String> = keys.iter().filter(|key| narrowing.lists(key)).cloned().collect();
        let assumed: Vec<String> = narrowing.assumed.iter().map(|assumed| assumed.ident.clone()).collect();
        for key in admitted(&mappings, &listed, &assumed) {
            prop_assert!(listed.contains(&key));
        }
    }
}

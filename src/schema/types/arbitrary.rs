//! Types for tests: all plain ones, and random nested ones.

use super::ColumnType;
use crate::config::NestedAs;
use crate::schema::text_forms::TextForms;
use crate::schema::text_types::TextTypes;
use proptest::prelude::*;

/// All plain types, some decimals among them.
pub(crate) fn plain() -> Vec<ColumnType> {
    let decimal = |precision, scale| ColumnType::Decimal128 { precision, scale };
    let mut types = of_files();
    types.extend([decimal(1, 0), decimal(10, 2), decimal(5, 5), decimal(20, 0), decimal(38, 0), decimal(38, 10)]);
    types
}

/// Those without parameters: no file says that a column is an address.
fn of_files() -> Vec<ColumnType> {
    let plain = super::text::PLAIN.into_iter();
    plain.filter(|plain| !matches!(plain, ColumnType::Inet | ColumnType::Mac)).collect()
}

/// Any type that a column of a file may have.
pub(crate) fn any_type() -> impl Strategy<Value = ColumnType> {
    let decimal = (1..=38_u8)
        .prop_flat_map(|precision| (Just(precision), 0..=precision))
        .prop_map(|(precision, scale)| ColumnType::Decimal128 { precision, scale: i8::try_from(scale).unwrap() });
    let leaf = prop_oneof![
        6 => proptest::sample::select(of_files()),
        2 => decimal,
        1 => Just(ColumnType::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let fields = prop::collection::btree_map("[a-d]", inner.clone(), 1..4).prop_shuffled_fields();
        let keys = proptest::sample::select(vec![ColumnType::Utf8, ColumnType::Int32, ColumnType::Int64]);
        prop_oneof![
            inner.clone().prop_map(|item| match item {
                ColumnType::List(_) => ColumnType::Json,
                item => ColumnType::List(Box::new(item)),
            }),
            fields,
            (keys, inner).prop_map(|(key, value)| ColumnType::Map { key: Box::new(key), value: Box::new(value) }),
        ]
    })
}

/// Structs of fields in any order.
trait Shuffled {
    fn prop_shuffled_fields(self) -> BoxedStrategy<ColumnType>;
}

impl<S: Strategy<Value = std::collections::BTreeMap<String, ColumnType>> + 'static> Shuffled for S {
    fn prop_shuffled_fields(self) -> BoxedStrategy<ColumnType> {
        self.prop_map(|fields| fields.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(ColumnType::Struct)
            .boxed()
    }
}

/// Any text that a value of CSV may be: mostly such that are, or nearly are, values of types.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "true|FALSE|yes|0|1",
        4 => "-?(0|[1-9][0-9]{0,20})",
        4 => "-?(0|[1-9][0-9]{0,17})[.][0-9]{1,21}",
        2 => "-?[1-9]([.][0-9]{1,16})?[eE][-+]?[0-9]{1,3}",
        2 => any::<f64>().prop_map(|value| value.to_string()),
        1 => "0[0-9]{1,3}|[+][0-9]+|[0-9]_[0-9]|[.][0-9]|NaN|[+-]?Inf|nan",
        2 => "20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
        2 => "20[0-9]{2}-0[1-9]-[12][0-9][T ][01][0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+]0[0-9]:[0-5][0-9])?",
        1 => "[012][0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,7})?",
        1 => "\\PC{0,5}",
    ]
}

/// Any value of JSON, as a file may have it.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,20})([.][0-9]{1,18})?([eE][-+]?[0-9]{1,3})?";
    let string = any_text().prop_map(|text| serde_json::Value::from(text).to_string());
    let scalar =
        prop_oneof![4 => number, 1 => "true|false|null", 4 => string, 1 => Just("\"\\u0000\\ud800x\"".to_owned())];
    let array = prop::collection::vec(scalar, 1..4);
    array.prop_flat_map(|items| {
        let array = format!("[{}]", items.join(", "));
        let object = format!("{{\"a\": {}}}", items[0]);
        prop_oneof![6 => Just(items[0].clone()), 1 => Just(array), 1 => Just(object)]
    })
}

/// What a few values of files of text are.
pub(crate) fn any_text_types() -> impl Strategy<Value = TextTypes> {
    let texts = prop::collection::vec(any_text(), 0..3);
    let values = prop::collection::vec((any_json(), any::<bool>()), 0..3);
    (texts, values, any::<bool>(), any::<bool>()).prop_map(|(texts, values, csv, json)| {
        let mut types = TextTypes::default();
        texts.iter().filter(|_| csv).for_each(|text| types.see_text(text, &TextForms::default()));
        for (raw, native) in values.iter().filter(|_| json) {
            types.see_json(raw, if *native { NestedAs::Native } else { NestedAs::Json });
        }
        types
    })
}

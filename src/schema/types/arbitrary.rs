//! Types for tests: all plain ones, and random nested ones.

use super::ColumnType;
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

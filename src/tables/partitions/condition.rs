//! Conditions on partition columns: `dt >= today-7d`, `region in [eu, us]`, `x is null`.
//!
//! They are read with the spec, typed once a table's columns are known ([`Conditions::bind`]), and then asked about
//! each key. A null satisfies `is null` and nothing else.

use super::{Cell, Column, Found, KeyType, Value, unknown_column};
use crate::config::Mistake;
use crate::config::quote;
use crate::schema::names::fold;
use std::cmp::Ordering;

/// The day that `today` means: that of S3's clock when the listing began, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Today {
    /// Days since 1970.
    days: i32,
}

impl Today {
    /// The day of a moment, in seconds since 1970.
    #[must_use]
    pub fn from_unix_s(seconds: i64) -> Self {
        Self { days: i32::try_from(seconds.div_euclid(86_400)).unwrap_or(i32::MAX) }
    }
}

/// All conditions of a `where`; each must hold.
#[derive(Debug, Clone, Default)]
pub struct Conditions(pub(super) Vec<Condition>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its field, as `partitions.where[0]`.
    field: String,
    /// The column as it is written.
    pub(super) name: String,
    /// The same for comparison.
    pub(super) ident: String,
    pub(super) test: Test,
}

/// What must be true of the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Compare(Operator, Literal),
    In(Vec<Literal>),
    IsNull,
    IsNotNull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The longer of two that begin alike comes first.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

/// A value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    /// So many days after today.
    Today(i32),
}

impl Literal {
    /// The value in a column of type `ty`; `None` if it does not fit.
    pub(super) fn value(&self, ty: KeyType, today: Today) -> Option<Value> {
        match self {
            Self::Text(text) => Value::read(text, ty),
            Self::Today(days) if matches!(ty, KeyType::Date | KeyType::Timestamp | KeyType::Text) => {
                Value::Date(today.days.checked_add(*days)?).cast(ty)
            }
            Self::Today(_) => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Today(0) => "today".to_owned(),
            Self::Today(days) => format!("today{days:+}d"),
        }
    }
}

impl Conditions {
    /// Reads the conditions that stand at `field`.
    pub(super) fn read(texts: &[String], field: &str, nulls: &[String], mistakes: &mut Vec<Mistake>) -> Self {
        let mut conditions = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let field = format!("{field}[{index}]");
            match read(text, nulls) {
                Ok((name, test)) => conditions.push(Condition { field, ident: fold(&name), name, test }),
                Err(mistake) => mistakes.push(Mistake { path: field, text: format!("{}: {mistake}", quote(text)) }),
            }
        }
        Self(conditions)
    }

    /// Whether there are no conditions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Mistakes about names that are not among `known`.
    pub(super) fn unknown_names(&self, known: &[&str]) -> Vec<Mistake> {
        let unknown = self.0.iter().filter(|condition| !known.iter().any(|name| fold(name) == condition.ident));
        let cure = "style: hive makes columns of folders name=value, {{name}} in path of other folders";
        unknown
            .map(|condition| Mistake {
                path: condition.field.clone(),
                text: unknown_column(&condition.name, known, cure),
            })
            .collect()
    }

    /// The fields of the conditions on these columns.
    pub(in crate::tables) fn fields_on<'a>(&'a self, columns: &'a [Column]) -> impl Iterator<Item = &'a str> {
        let is_there = |condition: &&Condition| columns.iter().any(|column| column.ident == condition.ident);
        self.0.iter().filter(is_there).map(|condition| condition.field.as_str())
    }

    /// What the user should know of conditions that compare numbers with what was found to be text.
    pub(in crate::tables) fn numbers_against_text(&self, columns: &[Column]) -> Option<String> {
        self.0.iter().find_map(|condition| {
            let is_text = |column: &&Column| {
                column.ident == condition.ident && column.ty == KeyType::Text && !column.given && column.stored.is_none()
            };
            let Condition { field, name, test: Test::Compare(operator, Literal::Text(text)), .. } = condition else {
                return None;
            };
            let is_ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
            let is_number = is_ordered && text.parse::<f64>().is_ok();
            (is_number && columns.iter().any(|column| is_text(&column))).then(|| {
                format!(
                    "{field}: {name} is text, as its values are not all numbers, and is compared as text with {}: give it \
                     another type with `partitions.columns: {{{name}: int64}}`",
                    quote(text)
                )
            })
        })
    }

    /// Gives the conditions the types of a table's columns. A name of `assumed` may be missing, and then all its values are
    /// null: another table of the mapping has it, or it was used to narrow the listing, so that perhaps no key that has it
    /// was listed.
    ///
    /// # Errors
    /// Names that no column has, and values that are not of their column's type.
    pub fn bind(&self, columns: &[Column], assumed: &[String], today: Today) -> Result<Bound, Vec<Mistake>> {
        let (mut tests, mut mistakes) = (Vec::new(), Vec::new());
        for condition in &self.0 {
            let Some(column) = columns.iter().find(|column| column.ident == condition.ident) else {
                if assumed.contains(&condition.ident) {
                    let test = match condition.test {
                        Test::IsNull => Some(TypedTest::IsNull(true)),
                        _ => None,
                    };
                    tests.push(BoundTest { ident: condition.ident.clone(), ty: KeyType::Text, test });
                    continue;
                }
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let text = unknown_column(&condition.name, &names, "no folder of the table is name=value");
                mistakes.push(Mistake { path: condition.field.clone(), text });
                continue;
            };
            match condition.test.bind(column, today) {
                Ok(test) => {
                    tests.push(BoundTest { ident: column.ident.clone(), ty: column.ty, test: Some(test) });
                }
                Err(text) => mistakes.push(Mistake { path: condition.field.clone(), text }),
            }
        }
        if mistakes.is_empty() { Ok(Bound(tests)) } else { Err(mistakes) }
    }
}

impl Test {
    fn bind(&self, column: &Column, today: Today) -> Result<TypedTest, String> {
        let value = |literal: &Literal| literal.value(column.ty, today).ok_or_else(|| wrong_value(column, literal));
        Ok(match self {
            Self::Compare(operator, literal) => TypedTest::Compare(*operator, value(literal)?),
            Self::In(literals) => TypedTest::In(literals.iter().map(value).collect::<Result<_, _>>()?),
            Self::IsNull => TypedTest::IsNull(true),
            Self::IsNotNull => TypedTest::IsNull(false),
        })
    }
}

fn wrong_value(column: &Column, literal: &Literal) -> String {
    let expected = match column.ty {
        KeyType::Date => "YYYY-MM-DD, today or today-7d".to_owned(),
        KeyType::Timestamp => "a date or a time such as 2026-01-31T10:00:00Z".to_owned(),
        KeyType::Bool => "true or false".to_owned(),
        ty => format!("a value of that type, or give the column another in `partitions.columns` than {ty}"),
    };
    format!("{} is {}, and {} is not; write {expected}", column.name, column.ty, literal.shown())
}

/// Conditions with the types of a table's columns.
#[derive(Debug, Clone)]
pub struct Bound(Vec<BoundTest>);

#[derive(Debug, Clone)]
struct BoundTest {
    ident: String,
    ty: KeyType,
    /// `None`: no key of the table has the column, so all are null; and the condition is not `is null`.
    test: Option<TypedTest>,
}

#[derive(Debug, Clone)]
enum TypedTest {
    Compare(Operator, Value),
    In(Vec<Value>),
    /// Or the contrary.
    IsNull(bool),
}

impl Bound {
    /// Whether an object whose key says this is read. What is not of its column's type counts as null.
    #[must_use]
    pub fn admits(&self, values: &[Found<'_>]) -> bool {
        self.0.iter().all(|bound| {
            let found = values.iter().find(|found| found.ident == bound.ident);
            let cell = found.map_or(Cell::Null, |found| Cell::of(found, bound.ty));
            let value = if let Cell::Value(value) = cell { Some(value) } else { None };
            match (&bound.test, value) {
                (None, _) => false,
                (Some(TypedTest::IsNull(is_null)), value) => value.is_none() == *is_null,
                (_, None) => false,
                (Some(TypedTest::In(values)), Some(value)) => {
                    values.iter().any(|other| value.compare(other) == Some(Ordering::Equal))
                }
                (Some(TypedTest::Compare(operator, other)), Some(value)) => operator.holds(value.compare(other)),
            }
        })
    }
}

impl Operator {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        match (self, ordering) {
            // Not a number is different from all.
            (operator, None) => operator == Self::NotEqual,
            (Self::Equal, Some(ordering)) => ordering.is_eq(),
            (Self::NotEqual, Some(ordering)) => ordering.is_ne(),
            (Self::Less, Some(ordering)) => ordering.is_lt(),
            (Self::LessOrEqual, Some(ordering)) => ordering.is_le(),
            (Self::Greater, Some(ordering)) => ordering.is_gt(),
            (Self::GreaterOrEqual, Some(ordering)) => ordering.is_ge(),
        }
    }
}

/// What conditions look like, for mistakes.
const FORMS: &str =
    "write `name = value` with one of = != < <= > >=, `name in [a, b]`, `name is null` or `name is not null`";

/// Reads one condition.
fn read(text: &str, nulls: &[String]) -> Result<(String, Test), String> {
    let (name, rest) = name(text.trim())?;
    let rest = rest.trim();
    if let Some((symbol, operator)) = OPERATORS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        let value = rest[symbol.len()..].trim();
        if value.starts_with(['=', '<', '>']) {
            return Err(FORMS.to_owned());
        }
        return Ok((name.clone(), Test::Compare(*operator, literal(value, &name, nulls)?)));
    }
    let (word, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()));
    let behind = behind.trim();
    match word.to_ascii_lowercase().as_str() {
        "in" => Ok((name.clone(), Test::In(list(behind, &name, nulls)?))),
        "is" => {
            let words: Vec<String> = behind.split_whitespace().map(str::to_ascii_lowercase).collect();
            match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["null"] => Ok((name, Test::IsNull)),
                ["not", "null"] => Ok((name, Test::IsNotNull)),
                _ => Err(FORMS.to_owned()),
            }
        }
        _ => Err(FORMS.to_owned()),
    }
}

/// The name in front, in quotes or up to a space or an operator, and what is behind it.
fn name(text: &str) -> Result<(String, &str), String> {
    if let Some((name, rest)) = quoted(text)? {
        return Ok((name, rest));
    }
    let end = text.find(|c: char| c.is_whitespace() || "=!<>[]".contains(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() { Err(FORMS.to_owned()) } else { Ok((name.to_owned(), rest)) }
}

/// If the text begins with a quote: what is within, and what is behind.
fn quoted(text: &str) -> Result<Option<(String, &str)>, String> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) else { return Ok(None) };
    match text[1..].split_once(quote) {
        Some((within, rest)) => Ok(Some((within.to_owned(), rest))),
        None => Err(format!("a {quote} is not closed")),
    }
}

fn literal(text: &str, name: &str, nulls: &[String]) -> Result<Literal, String> {
    let (text, is_quoted) = match quoted(text)? {
        Some((within, rest)) if rest.trim().is_empty() => (within, true),
        Some(_) => return Err("there is something behind the closing quote".to_owned()),
        None => (text.to_owned(), false),
    };
    if !is_quoted && text.is_empty() {
        return Err(format!("the value is missing; {FORMS}"));
    }
    if text.is_empty() || nulls.contains(&text) || !is_quoted && text.eq_ignore_ascii_case("null") {
        return Err(format!("that means null, which is equal to nothing; write `{name} is null`"));
    }
    if !is_quoted && let Some(rest) = text.strip_prefix("today") {
        match days_from_today(rest) {
            Some(days) => return Ok(Literal::Today(days)),
            None if rest.trim_start().starts_with(['-', '+']) => {
                return Err(format!("{} is not a day; write today-7d or today+1d", quote(&text)));
            }
            None => {}
        }
    }
    Ok(Literal::Text(text))
}

/// What stands behind `today`: nothing, or `-7d`.
fn days_from_today(text: &str) -> Option<i32> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(['-', '+'])?.strip_suffix('d')?;
    // Six digits, as in the spans of the spec.
    let is_number = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let days: i32 = digits.parse().ok().filter(|_| is_number)?;
    Some(if text.starts_with('-') { -days } else { days })
}

/// Reads `[a, b]`.
fn list(text: &str, name: &str, nulls: &[String]) -> Result<Vec<Literal>, String> {
    let within = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let Some(mut rest) = within.map(str::trim) else {
        let is_cut = text.starts_with('[');
        let hint = "; within [] YAML ends a text at a comma, so quote the condition: [\"region in [eu, us]\"]";
        return Err(format!(
            "the values of `in` stand in brackets, as in `region in [eu, us]`{}",
            if is_cut { hint } else { "" }
        ));
    };
    let mut literals = Vec::new();
    loop {
        let end = match quoted(rest)? {
            Some((_, behind)) => rest.len() - behind.len() + behind.find(',').unwrap_or(behind.len()),
            None => rest.find(',').unwrap_or(rest.len()),
        };
        literals.push(literal(rest[..end].trim(), name, nulls)?);
        match rest[end..].strip_prefix(',') {
            Some(behind) => rest = behind.trim(),
            None => return Ok(literals),
        }
    }
}

#[cfg(test)]
mod tests;

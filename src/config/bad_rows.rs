//! What becomes of records that cannot be read: `bad_rows` in the spec, of which each key may stand at the top level or in a
//! mapping.

/// What becomes of records that cannot be read, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRows {
    /// What one does.
    pub on: OnBadRow,
    /// More than this and the object is in error; `None`: the documented default. Never with [`OnBadRow::Fail`].
    pub max: Option<MostBadRows>,
    /// The name of the table that they go to, in which `{{TABLE}}` is that of the rows. Only with [`OnBadRow::Table`].
    pub table: String,
}

/// The name of the table of bad records unless the spec gives one.
pub(crate) const DEFAULT_BAD_ROWS_TABLE: &str = "{{TABLE}}_bad_rows";

impl Default for BadRows {
    fn default() -> Self {
        Self { on: OnBadRow::default(), max: None, table: DEFAULT_BAD_ROWS_TABLE.to_owned() }
    }
}

/// What a record that cannot be read does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnBadRow {
    /// Its object is in error.
    #[default]
    Fail,
    /// It is counted and left out.
    Skip,
    /// It goes to a table of its own.
    Table,
}

/// How many records of an object may be bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MostBadRows {
    /// This many.
    Records(u64),
    /// This part of all, in percent, from 0 to 100.
    Percent(f64),
}

// A percentage is never NaN.
impl Eq for MostBadRows {}

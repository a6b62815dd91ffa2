//! What a plan says: plain data, which [`super::render`] and [`super::json`] turn into text. Pure.

use super::cost::Requests;
use crate::cloudquery::source::Backend;
use crate::config::{FileColumns, OnError, Spec};
use crate::schema::names::{CQ_ID, CQ_PARENT_ID, file_columns};
use crate::schema::table::{ColumnSource, TableSchema};
use crate::schema::types::ColumnType;
use crate::tables::group::{Archived, Skipped};

/// What a sync would do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The source's name in the config.
    pub(crate) source: Option<String>,
    /// The bucket.
    pub(crate) bucket: String,
    /// `path_prefix`.
    pub(crate) prefix: String,
    /// The state of earlier syncs.
    pub(crate) state: StateSeen,
    /// In the order of their names.
    pub(crate) tables: Vec<PlannedTable>,
    /// What the listing has besides.
    pub(crate) skipped: Skipped,
    /// Keys that were listed.
    pub(crate) listed_keys: u64,
    /// Requests.
    pub(crate) requests: PlannedRequests,
    /// What a sync does about objects and tables that it cannot read.
    pub(crate) policy: Policy,
    /// What a user may want instead.
    pub(crate) hints: Vec<String>,
    /// What a user should know.
    pub(crate) warnings: Vec<String>,
}

/// Which errors end a sync with an error, after all else was sent; the others are left out, and the sync ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Objects that cannot be read and tables whose files do not agree do.
    pub(crate) object_errors_fail: bool,
    /// Archived objects do.
    pub(crate) archived_fail: bool,
    /// The sync is incremental, so that nothing is removed from the destination.
    pub(crate) incremental: bool,
}

impl Policy {
    /// What the spec says, and where it says nothing, what a sync does.
    pub(crate) fn of(spec: &Spec, incremental: bool) -> Self {
        let fails = |policy: Option<OnError>| policy.map_or(!incremental, |policy| policy == OnError::Fail);
        Self { object_errors_fail: fails(spec.on_object_error), archived_fail: fails(spec.on_archived), incremental }
    }
}

/// The requests of a plan and of the sync that it shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedRequests {
    /// Those that the plan made.
    pub(crate) made: Requests,
    /// Those that a sync would make now, with its state if there is one.
    pub(crate) sync: Requests,
    /// Those of a sync without state; the same where there is none.
    pub(crate) full_sync: Requests,
}

/// What is known of the state of earlier syncs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateSeen {
    /// None is configured.
    None,
    /// It was read.
    Read(Backend),
    /// The backend has no such table, or says something else instead.
    NoTable(Backend, String),
    /// Only the CLI knows where it is: its table, and what the config says.
    OfTheCli(String, String),
}

impl StateSeen {
    /// Whether a sync is incremental.
    pub(crate) fn is_incremental(&self) -> bool {
        *self != Self::None
    }

    /// Whether it is known what is new.
    pub(crate) fn tells_what_is_new(&self) -> bool {
        matches!(self, Self::Read(_) | Self::NoTable(..))
    }
}

/// A number of objects, and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// How many.
    pub(crate) objects: u64,
    /// Their size.
    pub(crate) bytes: u64,
}

impl Amount {
    /// With one more.
    pub(crate) fn add(&mut self, size_bytes: u64) {
        *self += Self { objects: 1, bytes: size_bytes };
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A table.
#[derive(Debug, Default)]
pub(crate) struct PlannedTable {
    /// Its name.
    pub(crate) name: String,
    /// What its objects' keys begin with, as far as it makes the table.
    pub(crate) prefix: String,
    /// The fields of the mappings that feed it.
    pub(crate) mappings: Vec<String>,
    /// Its partitions, if it has columns of keys.
    pub(crate) partitions: Option<Partitions>,
    /// Its objects that can be read.
    pub(crate) readable: Amount,
    /// Of these, those that a sync would send; `None`: not known.
    pub(crate) new: Option<Amount>,
    /// Its archived objects.
    pub(crate) archived: Archived,
    /// Its columns; `None`: they were not asked for, or can't be told.
    pub(crate) columns: Option<Columns>,
    /// Why a sync would leave it out.
    pub(crate) error: Option<String>,
    /// Objects of the sample that can't be read: keys and reasons.
    pub(crate) unreadable: Vec<(String, String)>,
}

impl PlannedTable {
    /// Whether something is wrong that a sync would report as an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.error.is_some() || !self.unreadable.is_empty()
    }
}

/// The partitions of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partitions {
    /// How many different values of all columns together its objects that are read have.
    pub(crate) count: u64,
    /// The columns of keys: name and type.
    pub(crate) columns: Vec<(String, String)>,
}

/// The columns of a table, and how they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    /// In the table's order.
    pub(crate) list: Vec<PlannedColumn>,
    /// Objects whose heads were read for it.
    pub(crate) sampled_objects: u64,
    /// These were all.
    pub(crate) whole: bool,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedColumn {
    /// Its name at the destination.
    pub(crate) name: String,
    /// Its type, in the words of the documentation.
    pub(crate) column_type: String,
    /// Where its values come from.
    pub(crate) from: From,
}

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    /// The plugin.
    Plugin,
    /// The object's key.
    Key,
    /// What fits into no other column.
    Rescue,
    /// The files, where it has this name; the index counts the columns of that name.
    File(String, usize),
}

impl From {
    /// Its name in outputs; never changes.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Key => "key",
            Self::Rescue => "rescue",
            Self::File(..) => "file",
        }
    }
}

/// All columns of a table as it is announced: ours first.
pub(crate) fn planned_columns(schema: &TableSchema, added: FileColumns) -> Vec<PlannedColumn> {
    let ours = |name: &str, column_type: &ColumnType| PlannedColumn {
        name: name.to_owned(),
        column_type: column_type.to_string(),
        from: From::Plugin,
    };
    let ids = [CQ_ID, CQ_PARENT_ID].into_iter().map(|name| ours(name, &ColumnType::Uuid));
    let columns = schema.columns().iter().map(|column| PlannedColumn {
        name: column.name.clone(),
        column_type: column.column_type.to_string(),
        from: match &column.source {
            ColumnSource::Key { .. } => From::Key,
            ColumnSource::Rescue => From::Rescue,
            ColumnSource::File { name, occurrence } => From::File(name.clone(), *occurrence),
        },
    });
    ids.chain(file_columns(added).map(|(_, name, added)| ours(name, added))).chain(columns).collect()
}

/// Sums over all tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Objects that can be read.
    pub(crate) readable: Amount,
    /// Those that a sync would send; `None`: not known.
    pub(crate) new: Option<Amount>,
    /// Archived ones.
    pub(crate) archived_objects: u64,
    /// Skipped ones.
    pub(crate) skipped: Amount,
    /// Tables with errors.
    pub(crate) tables_with_errors: u64,
}

impl Plan {
    /// The sums.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { new: self.state.tells_what_is_new().then(Amount::default), ..Totals::default() };
        for table in &self.tables {
            totals.readable += table.readable;
            totals.archived_objects += table.archived.count;
            totals.tables_with_errors += u64::from(table.has_errors());
            if let (Some(sum), Some(new)) = (&mut totals.new, table.new) {
                *sum += new;
            }
        }
        for counted in self.skipped.by_reason.values() {
            totals.skipped += Amount { objects: counted.objects, bytes: counted.bytes };
        }
        totals
    }

    /// Whether the plan shows something that a sync would report as an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.tables.iter().any(PlannedTable::has_errors) || self.sync_fails()
    }

    /// Whether a sync would end with an error.
    pub(crate) fn sync_fails(&self) -> bool {
        let Policy { object_errors_fail, archived_fail, .. } = self.policy;
        let fails = |table: &PlannedTable| {
            (object_errors_fail && table.has_errors()) || (archived_fail && table.archived.count > 0)
        };
        self.tables.iter().any(fails)
    }
}

//! A plan as JSON for programs. Pure. `docs/plan.md` has the fields; their names, units and meanings stay.

use super::cost::{PRICE_REGION, Requests};
use super::report::{Amount, From, Plan, PlannedTable, StateSeen};
use crate::about::PLUGIN_VERSION;
use serde_json::{Value, json};

/// Grows when a field changes its meaning or goes; new fields don't count.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The whole plan.
pub(crate) fn value(plan: &Plan) -> Value {
    let totals = plan.totals();
    let unselected = &plan.skipped.unselected;
    let skipped = plan.skipped.by_reason.iter().map(|(reason, counted)| {
        json!({
            "reason": reason.name(),
            "objects": counted.objects,
            "bytes": counted.bytes,
            "first_key": counted.first_key,
        })
    });
    json!({
        "format_version": FORMAT_VERSION,
        "plugin_version": PLUGIN_VERSION,
        "source": plan.source,
        "bucket": plan.bucket,
        "prefix": plan.prefix,
        "state": state(&plan.state),
        "tables": plan.tables.iter().map(table).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
        "not_selected": {
            "objects": unselected.objects,
            "bytes": unselected.bytes,
            "first_key": unselected.first_key,
        },
        "totals": {
            "tables": plan.tables.len(),
            "tables_with_errors": totals.tables_with_errors,
            "listed_keys": plan.listed_keys,
            "objects": totals.readable.objects,
            "bytes": totals.readable.bytes,
            "new_objects": totals.new.map(|new| new.objects),
            "new_bytes": totals.new.map(|new| new.bytes),
            "archived_objects": totals.archived_objects,
            "skipped_objects": totals.skipped.objects,
            "skipped_bytes": totals.skipped.bytes,
        },
        "requests": {
            "plan": requests(plan.requests.made),
            "sync": requests(plan.requests.sync),
            "full_sync": requests(plan.requests.full_sync),
            "price_region": PRICE_REGION,
        },
        "sync_ends_with_error": plan.sync_fails(),
        "hints": plan.hints,
        "warnings": plan.warnings,
    })
}

fn state(state: &StateSeen) -> Value {
    let (status, table, connection, answer) = match state {
        StateSeen::None => ("none", None, None, None),
        StateSeen::Read(backend) => ("read", Some(&backend.table_name), Some(&backend.connection), None),
        StateSeen::NoTable(backend, answer) => {
            ("no_table", Some(&backend.table_name), Some(&backend.connection), Some(answer))
        }
        StateSeen::OfTheCli(table, connection) => ("not_reachable", Some(table), Some(connection), None),
    };
    json!({"status": status, "table_name": table, "connection": connection, "answer": answer})
}

fn table(table: &PlannedTable) -> Value {
    let new = |of: fn(Amount) -> u64| table.new.map(of);
    let columns = table.columns.as_ref().map(|columns| {
        let list = columns.list.iter().map(|column| {
            let (source_name, occurrence) = match &column.from {
                From::File(name, occurrence) => (Some(name), Some(occurrence)),
                From::Plugin | From::Key | From::Rescue => (None, None),
            };
            json!({
                "name": column.name,
                "type": column.column_type,
                "from": column.from.name(),
                "file_column": source_name,
                "file_column_index": occurrence,
            })
        });
        list.collect::<Vec<_>>()
    });
    json!({
        "name": table.name,
        "prefix": table.prefix,
        "mappings": table.mappings,
        "partitions": table.partitions.as_ref().map(|partitions| {
            let columns = partitions.columns.iter().map(|(name, key_type)| json!({"name": name, "type": key_type}));
            json!({"count": partitions.count, "columns": columns.collect::<Vec<_>>()})
        }),
        "objects": table.readable.objects,
        "bytes": table.readable.bytes,
        "new_objects": new(|new| new.objects),
        "new_bytes": new(|new| new.bytes),
        "archived_objects": table.archived.count,
        "first_archived_key": table.archived.first_key,
        "columns": columns,
        "sampled_objects": table.columns.as_ref().map(|columns| columns.sampled_objects),
        "all_objects_sampled": table.columns.as_ref().map(|columns| columns.whole),
        "error": table.error,
        "unreadable": table.unreadable.iter().map(|(key, error)| json!({"key": key, "error": error})).collect::<Vec<_>>(),
    })
}

fn requests(requests: Requests) -> Value {
    json!({
        "list": requests.lists,
        "get": requests.gets,
        "get_bytes": requests.bytes,
        "request_dollars": rounded(requests.dollars()),
        "transfer_dollars": rounded(requests.transfer_dollars()),
    })
}

/// To a millionth of a millionth: what is behind it is noise of the arithmetic.
fn rounded(dollars: f64) -> f64 {
    (dollars * 1e12).round() / 1e12
}

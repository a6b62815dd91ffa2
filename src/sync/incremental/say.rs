//! What the log says of the state that a sync finds.

use crate::state::table::TableState;

/// Forgets what was done of a table whose columns are no longer those that its rows were sent with, and says so.
pub fn start_anew(table: &str, state: &mut TableState) {
    if let Some(objects_done) = state.start_anew() {
        tracing::warn!(
            table,
            objects_done,
            "the table's columns changed with an option or the release: all its objects are read again"
        );
    }
}

/// Says what earlier syncs did and this one does again, if there is any.
pub fn say_what_comes_again<'a>(tables: impl Iterator<Item = &'a TableState>) {
    let (mut lost, mut again, mut done) = (0, 0, 0);
    for table in tables {
        let (lost_of_table, again_of_table) = table.again();
        (lost, again, done) = (lost + lost_of_table, again + again_of_table, done + table.done_by_checkpoint());
    }
    if done > 0 {
        tracing::info!(
            objects = done,
            "an earlier sync came to no end: the objects that it had sent by its last checkpoint are not read again"
        );
    }
    if lost > 0 {
        tracing::warn!(
            objects = lost,
            "the last sync was interrupted before the destination had stored all of its rows: these objects are read again"
        );
    }
    if again > 0 {
        tracing::info!(
            objects = again,
            "it is not known whether the destination stored the last rows of the sync before: these objects are read once \
             more"
        );
    }
}

//! A plan as text for people. Pure: the layout is an argument.

use super::cost::{PRICE_REGION, Requests};
use super::report::{Columns, From, Plan, PlannedColumn, PlannedTable, Policy, StateSeen, Totals};
use super::terminal::{Layout, columns_of, cut, printable};
use super::words::{dollars, size};
use crate::words::{count, number};
use std::fmt::Write as _;

/// Where lists are wrapped if the output has no width of its own.
const DEFAULT_COLUMNS: usize = 100;
/// A table's name is not cut below this.
const MIN_NAME_COLUMNS: usize = 16;
/// Where lists and paragraphs begin, behind the words in front of them.
const LABEL_COLUMNS: usize = 14;

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// A heading, or a name that is looked for.
    Strong,
    /// What can be overlooked.
    Faint,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Wrong.
    Error,
}

impl Layout {
    /// The text in the colour of its tone.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Error => "31",
        };
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn cut(&self, text: &str, used_columns: usize) -> String {
        let text = printable(text);
        self.columns.map_or_else(|| text.clone(), |columns| cut(&text, columns.saturating_sub(used_columns).max(8)))
    }

    fn wrap_columns(&self) -> usize {
        self.columns.unwrap_or(DEFAULT_COLUMNS)
    }
}

/// The whole plan.
pub(crate) fn text(plan: &Plan, layout: &Layout) -> String {
    let mut text = String::new();
    let totals = plan.totals();
    headline(&mut text, plan, &totals, layout);
    tables(&mut text, plan, layout);
    skipped(&mut text, plan, &totals, layout);
    foot(&mut text, plan, layout);
    text
}

fn headline(text: &mut String, plan: &Plan, totals: &Totals, layout: &Layout) {
    let place = layout.paint(Tone::Strong, &printable(&format!("s3://{}/{}", plan.bucket, plan.prefix)));
    let source = plan.source.as_ref().map(|name| format!("source {}, ", printable(name))).unwrap_or_default();
    let tables = count(plan.tables.len() as u64, "table");
    let objects = count(totals.readable.objects, "object");
    let new = totals.new.map(|new| format!(", {} new", number(new.objects))).unwrap_or_default();
    let size = size(totals.readable.bytes);
    let _ = writeln!(text, "{place}\n{source}{tables}, {objects}, {size}{new}\n");
}

/// The rows of tables, each with its columns below.
fn tables(text: &mut String, plan: &Plan, layout: &Layout) {
    if plan.tables.is_empty() {
        return;
    }
    let with_new = plan.state.tells_what_is_new();
    let rows: Vec<[String; 5]> = plan.tables.iter().map(|table| cells(table, with_new)).collect();
    let head = ["TABLE", "OBJECTS", "SIZE", if with_new { "NEW" } else { "" }, "FROM"].map(str::to_owned);
    let mut widths = [0; 4];
    for row in std::iter::once(&head).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns_of(cell).max(*width);
        }
    }
    // What is behind the name must have room, and some of the prefix.
    let behind: usize = widths[1..].iter().map(|width| width + 2).sum::<usize>() + 2;
    if let Some(columns) = layout.columns {
        widths[0] = widths[0].min(columns.saturating_sub(behind + MIN_NAME_COLUMNS)).max(MIN_NAME_COLUMNS);
    }
    let _ = writeln!(text, "{}", layout.paint(Tone::Faint, row(&head, &widths, layout).trim_end()));
    for (table, cells) in plan.tables.iter().zip(&rows) {
        let line = row(cells, &widths, layout);
        let line = line.trim_end();
        let tone = if table.has_errors() { Tone::Error } else { Tone::Strong };
        let name = cut(&cells[0], widths[0]);
        let rest = line.strip_prefix(name.as_str()).unwrap_or(line);
        let _ = writeln!(text, "{}{rest}", layout.paint(tone, &name));
        below(text, table, plan.policy, layout);
    }
    text.push('\n');
}

fn cells(table: &PlannedTable, with_new: bool) -> [String; 5] {
    let new = match table.new {
        _ if !with_new => String::new(),
        Some(new) => number(new.objects),
        None => "?".to_owned(),
    };
    let objects = number(table.readable.objects);
    let from = match &table.mappings[..] {
        [] => table.prefix.clone(),
        mappings => format!("{} ({})", table.prefix, mappings.join(", ")),
    };
    [printable(&table.name), objects, size(table.readable.bytes), new, from]
}

fn row(cells: &[String; 5], widths: &[usize; 4], layout: &Layout) -> String {
    let mut line = cut(&cells[0], widths[0]);
    line.push_str(&" ".repeat(widths[0].saturating_sub(columns_of(&line))));
    for (cell, width) in cells[1..4].iter().zip(&widths[1..]).filter(|(_, width)| **width > 0) {
        let _ = write!(line, "  {cell:>width$}");
    }
    let used = columns_of(&line) + 2;
    line + "  " + &layout.cut(&cells[4], used)
}

/// What there is to say about one table.
fn below(text: &mut String, table: &PlannedTable, policy: Policy, layout: &Layout) {
    let mut say = |tone, label: &str, what: &str| {
        let _ = writeln!(text, "{}", wrapped(&Label::below(label), what.split(' '), " ", tone, layout));
    };
    if let Some(error) = &table.error {
        // Behind the sentences there may be lines to be pasted.
        let (sentences, lines) = error.split_once('\n').unwrap_or((error, ""));
        say(Some(Tone::Error), "error", &printable(sentences));
        for line in lines.lines() {
            say(Some(Tone::Error), "", &printable(line));
        }
    }
    for (_, reason) in &table.unreadable {
        say(Some(Tone::Error), "error", &printable(reason));
    }
    if table.archived.count > 0 {
        let first = table.archived.first_key.as_deref().unwrap_or_default();
        let archived = count(table.archived.count, "archived object");
        let (tone, end) = if policy.archived_fail {
            (
                Tone::Error,
                "a sync sends the others and ends with an error: restore or `exclude` what is archived, or set `on_archived: skip`",
            )
        } else {
            (Tone::Warning, "a sync leaves out what is archived")
        };
        let first = printable(first);
        say(Some(tone), "archived", &format!("{archived} that can't be read, the first: {first}; {end}"));
    }
    if let Some(partitions) = &table.partitions {
        let columns: Vec<String> =
            partitions.columns.iter().map(|(name, key_type)| format!("{} {key_type}", printable(name))).collect();
        let what = format!("{} of {}", count(partitions.count, "partition"), columns.join(", "));
        let _ = writeln!(text, "{}", wrapped(&Label::below("parts"), what.split(' '), " ", None, layout));
    }
    if let Some(columns) = &table.columns {
        column_lists(text, columns, layout);
    }
}

/// The columns, by where they come from: the list of a table with hundreds of them stays readable.
fn column_lists(text: &mut String, columns: &Columns, layout: &Layout) {
    for label in ["plugin", "key", "file", "rescue"] {
        let list: Vec<String> = columns.list.iter().filter(|column| column.from.name() == label).map(column).collect();
        if !list.is_empty() {
            let tone = (label == "plugin").then_some(Tone::Faint);
            let _ = writeln!(
                text,
                "{}",
                wrapped(&Label::below(label), list.iter().map(String::as_str), ", ", tone, layout)
            );
        }
    }
    if !columns.whole {
        let sampled = count(columns.sampled_objects, "object");
        let note = format!("(columns by a sample of {sampled}; a sync looks at all)");
        let _ = writeln!(text, "{}", wrapped(&Label::below(""), note.split(' '), " ", Some(Tone::Faint), layout));
    }
}

fn column(column: &PlannedColumn) -> String {
    let name = printable(&column.name);
    match &column.from {
        From::File(source, occurrence) if *source != column.name || *occurrence > 0 => {
            let which = if *occurrence > 0 { format!("#{}", occurrence + 1) } else { String::new() };
            format!("{name} {} (in files {:?}{which})", column.column_type, source)
        }
        _ => format!("{name} {}", column.column_type),
    }
}

/// What stands in front of a list or a text.
struct Label<'a> {
    text: &'a str,
    /// Where it begins itself.
    indent: usize,
    /// Where what follows begins.
    columns: usize,
    tone: Tone,
}

impl<'a> Label<'a> {
    /// Below a table.
    fn below(text: &'a str) -> Self {
        Self { text, indent: 4, columns: LABEL_COLUMNS, tone: Tone::Faint }
    }
}

/// A label and words behind it, on as many lines as it takes.
fn wrapped<'a>(
    label: &Label<'_>,
    words: impl Iterator<Item = &'a str>,
    between: &str,
    tone: Option<Tone>,
    layout: &Layout,
) -> String {
    let room = layout.wrap_columns().saturating_sub(label.columns).max(MIN_NAME_COLUMNS);
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if columns_of(line) + columns_of(between) + columns_of(word) <= room => {
                line.push_str(between);
                line.push_str(word);
            }
            Some(line) => {
                line.push_str(between.trim_end());
                lines.push(word.to_owned());
            }
            None => lines.push(word.to_owned()),
        }
    }
    let paint = |line: String| tone.map_or_else(|| line.clone(), |tone| layout.paint(tone, &line));
    let lines: Vec<String> = lines.into_iter().map(paint).collect();
    let Label { indent, columns, .. } = *label;
    let front = format!("{}{:<width$}", " ".repeat(indent), label.text, width = columns - indent);
    let front = if front.is_empty() { front } else { layout.paint(label.tone, &front) };
    front + &lines.join(&format!("\n{}", " ".repeat(columns)))
}

fn skipped(text: &mut String, plan: &Plan, totals: &Totals, layout: &Layout) {
    let unselected = &plan.skipped.unselected;
    if totals.skipped.objects > 0 {
        let amount = format!("{}, {}", count(totals.skipped.objects, "object"), size(totals.skipped.bytes));
        paragraph(text, "skipped", &amount, layout);
        let names = plan.skipped.by_reason.keys().map(|reason| reason.name().len()).max().unwrap_or(0);
        let digits = plan.skipped.by_reason.values().map(|counted| number(counted.objects).len()).max().unwrap_or(0);
        for (reason, counted) in &plan.skipped.by_reason {
            let (reason, objects) = (reason.name(), number(counted.objects));
            let line = format!("    {reason:<names$}  {objects:>digits$}  ");
            let key = layout.cut(counted.first_key.as_deref().unwrap_or_default(), columns_of(&line) + 5);
            let _ = writeln!(
                text,
                "    {}  {objects:>digits$}  such as {key}",
                layout.paint(Tone::Warning, &format!("{reason:<names$}"))
            );
        }
    }
    if let Some(key) = &unselected.first_key {
        let amount = format!("{}, {}", count(unselected.objects, "object"), size(unselected.bytes));
        let line = format!("{amount} of tables that `tables` and `skip_tables` leave out, such as ");
        let key = layout.cut(key, LABEL_COLUMNS + columns_of(&line));
        paragraph(text, "not selected", &(line + &key), layout);
    }
}

fn paragraph(text: &mut String, label: &str, what: &str, layout: &Layout) {
    let label = Label { text: label, indent: 0, columns: LABEL_COLUMNS, tone: Tone::Strong };
    let _ = writeln!(text, "{}", wrapped(&label, what.split(' '), " ", None, layout));
}

fn foot(text: &mut String, plan: &Plan, layout: &Layout) {
    let notes = plan.warnings.iter().map(|warning| ("warning", Tone::Warning, warning));
    for (label, tone, note) in notes.chain(plan.hints.iter().map(|hint| ("hint", Tone::Strong, hint))) {
        let label = Label { text: label, indent: 0, columns: LABEL_COLUMNS, tone };
        let _ = writeln!(text, "{}", wrapped(&label, printable(note).split(' '), " ", None, layout));
    }
    paragraph(text, "state", &state(&plan.state), layout);
    paragraph(text, "this plan", &requests(plan.requests.made, ""), layout);
    let sync = plan.requests.sync;
    paragraph(text, "a sync", &format!("{}, {}", requests(sync, "about "), price(sync)), layout);
    if plan.requests.full_sync != sync {
        let full = plan.requests.full_sync;
        paragraph(text, "a full sync", &format!("{}, {}", requests(full, "about "), price(full)), layout);
    }
    let prices = format!("at Amazon's prices in {PRICE_REGION}; transfer is free within the bucket's region");
    let label = Label { text: "", indent: 0, columns: LABEL_COLUMNS, tone: Tone::Faint };
    let _ = writeln!(text, "{}", wrapped(&label, prices.split(' '), " ", Some(Tone::Faint), layout));
    let failed = plan.totals().tables_with_errors;
    if failed > 0 {
        let what = format!("{} with errors: {}", count(failed, "table"), end_of_sync(plan.policy));
        let label = Label { text: "", indent: 0, columns: 0, tone: Tone::Error };
        let _ = writeln!(text, "{}", wrapped(&label, what.split(' '), " ", Some(Tone::Error), layout));
    }
}

/// What a sync does about tables with errors.
fn end_of_sync(policy: Policy) -> &'static str {
    match policy {
        Policy { object_errors_fail: true, .. } => {
            "a sync sends what can be read and ends with an error, at which the CLI stops the destination: rows that it had not \
             written yet are lost. `on_object_error: skip` lets it end well, `exclude` leaves out what is bad"
        }
        Policy { incremental: true, .. } => {
            "a sync leaves out the table whose files don't agree and objects that can't be read, and ends well; the next one \
             tries again"
        }
        _ => {
            "a sync leaves out the table whose files don't agree and objects that can't be read, and ends well \
             (`on_object_error` is skip); with write_mode overwrite-delete-stale their rows of earlier syncs are removed"
        }
    }
}

fn requests(requests: Requests, about: &str) -> String {
    let Requests { lists, gets, bytes } = requests;
    format!("{} LIST, {about}{} GET, {}", number(lists), number(gets), size(bytes))
}

fn price(requests: Requests) -> String {
    let (requests, transfer) = (dollars(requests.dollars()), dollars(requests.transfer_dollars()));
    format!("{requests} (and {transfer} of transfer)")
}

fn state(state: &StateSeen) -> String {
    match state {
        StateSeen::None => "none is configured: every sync reads all objects".to_owned(),
        StateSeen::Read(backend) => {
            format!("table {} of {}: NEW are the objects that are not done", backend.table_name, backend.connection)
        }
        StateSeen::NoTable(backend, answer) => format!(
            "{} has no table {} yet, so all is new (it says: {})",
            backend.connection,
            backend.table_name,
            printable(answer)
        ),
        StateSeen::OfTheCli(table, connection) => format!(
            "table {table} of {connection}, which only the CLI can reach: what is new isn't known; --backend HOST:PORT \
             names one that runs"
        ),
    }
}

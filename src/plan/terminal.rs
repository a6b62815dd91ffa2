//! What the terminal can show: colours, how many columns, whether a line can be redrawn.

use crate::cli::ColorWhen;
use std::io::{self, IsTerminal as _};

/// The narrowest terminal that is laid out for; a narrower one wraps by itself.
const MIN_COLUMNS: usize = 40;

/// How a text is laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// With colours.
    pub(crate) colored: bool,
    /// Characters on a line; `None`: nothing is cut.
    pub(crate) columns: Option<usize>,
}

/// The environment's wishes.
#[derive(Debug, Clone, Default)]
struct Wishes {
    no_color: bool,
    dumb: bool,
    columns: Option<usize>,
}

impl Wishes {
    fn of_the_environment() -> Self {
        let text = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            // https://no-color.org: set and not empty.
            no_color: text("NO_COLOR").is_some(),
            dumb: text("TERM").is_some_and(|term| term == "dumb"),
            columns: text("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok()),
        }
    }

    fn layout(&self, when: ColorWhen, is_terminal: bool, terminal_columns: Option<usize>) -> Layout {
        let colored = match when {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => is_terminal && !self.no_color && !self.dumb,
        };
        let columns = self.columns.or(terminal_columns).map(|columns| columns.max(MIN_COLUMNS));
        Layout { colored, columns }
    }
}

/// The layout for stdout.
pub(crate) fn layout(when: ColorWhen) -> Layout {
    let columns = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    Wishes::of_the_environment().layout(when, io::stdout().is_terminal(), columns)
}

/// Columns of the terminal that stderr is, if a line on it can be redrawn; `None`: there is no such terminal.
pub(crate) fn redrawable_columns() -> Option<usize> {
    if !io::stderr().is_terminal() || Wishes::of_the_environment().dumb {
        return None;
    }
    let columns = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    Some(columns.max(MIN_COLUMNS))
}

/// The columns that a text takes: most letters take one, those of East Asia and pictures two, combining marks none. Near
/// enough for a table to stand straight.
pub(crate) fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

fn columns_of_char(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

/// The text, cut to `columns` with `…` at its end if it is longer.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(columns_of_char(c)) else { break };
        left = rest;
        kept.push(c);
    }
    kept + "…"
}

/// The text without what would move a terminal's cursor: control characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { printable.extend(c.escape_default()) } else { printable.push(c) }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_as_terminals_have_them() {
        let plain = Wishes::default();
        let no_color = Wishes { no_color: true, ..Wishes::default() };
        let dumb = Wishes { dumb: true, ..Wishes::default() };
        for (wishes, when, is_terminal, colored) in [
            (&plain, ColorWhen::Auto, true, true),
            (&plain, ColorWhen::Auto, false, false),
            (&plain, ColorWhen::Always, false, true),
            (&plain, ColorWhen::Never, true, false),
            (&no_color, ColorWhen::Auto, true, false),
            (&no_color, ColorWhen::Always, true, true),
            (&dumb, ColorWhen::Auto, true, false),
        ] {
            assert_eq!(wishes.layout(when, is_terminal, None).colored, colored, "{wishes:?} {when:?} {is_terminal}");
        }
    }

    #[test]
    fn the_width_is_the_terminals_unless_told() {
        let told = Wishes { columns: Some(200), ..Wishes::default() };
        assert_eq!(told.layout(ColorWhen::Auto, true, Some(80)).columns, Some(200));
        assert_eq!(Wishes::default().layout(ColorWhen::Auto, true, Some(80)).columns, Some(80));
        assert_eq!(Wishes::default().layout(ColorWhen::Auto, true, Some(3)).columns, Some(MIN_COLUMNS));
        assert_eq!(Wishes::default().layout(ColorWhen::Auto, false, None).columns, None);
    }

    #[test]
    fn texts_are_cut_by_what_they_take() {
        assert_eq!(cut("orders", 6), "orders");
        assert_eq!(cut("orders_2026", 6), "order…");
        assert_eq!(cut("日本語日本語", 6), "日本…");
        assert_eq!(columns_of("e\u{301}日a"), 4);
        assert_eq!(printable("a\u{1b}[31m\tb"), "a\\u{1b}[31m\\tb");
    }
}

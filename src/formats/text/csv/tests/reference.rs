//! CSV read one byte after the other: slow, and plain enough to be believed.

use super::super::dialect::Dialect;

/// A record: where it begins, and its fields with whether they are in quotes. `None`: its last field is not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: usize,
    pub(super) fields: Vec<(Vec<u8>, bool)>,
    pub(super) is_closed: bool,
}

/// The records of a text, whatever it is.
pub(super) fn records(text: &[u8], dialect: Dialect) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if matches!(text[at], b'\n' | b'\r') {
            at += 1;
        } else if Some(text[at]) == dialect.comment {
            while at < text.len() && !matches!(text[at], b'\n' | b'\r') {
                at += 1;
            }
        } else {
            let (record, end) = record(text, at, dialect);
            records.push(record);
            at = end;
        }
    }
    records
}

fn record(text: &[u8], offset: usize, dialect: Dialect) -> (Record, usize) {
    let mut at = offset;
    let mut fields = Vec::new();
    let mut is_closed = true;
    loop {
        let mut field = Vec::new();
        let is_quoted = at < text.len() && Some(text[at]) == dialect.quote;
        if is_quoted {
            at += 1;
            is_closed = false;
            while at < text.len() {
                let byte = text[at];
                at += 1;
                if Some(byte) == dialect.escape {
                    if at < text.len() {
                        field.push(text[at]);
                        at += 1;
                    }
                } else if Some(byte) == dialect.quote {
                    if at < text.len() && Some(text[at]) == dialect.quote {
                        field.push(text[at]);
                        at += 1;
                    } else {
                        is_closed = true;
                        break;
                    }
                } else {
                    field.push(byte);
                }
            }
        }
        while at < text.len() && text[at] != dialect.delimiter && !matches!(text[at], b'\n' | b'\r') {
            field.push(text[at]);
            at += 1;
        }
        if dialect.trim && !is_quoted {
            let kept = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
            field.drain(..kept);
            while field.last() == Some(&b' ') {
                field.pop();
            }
        }
        fields.push((field, is_quoted));
        let is_last = at >= text.len() || text[at] != dialect.delimiter;
        at += 1;
        if is_last {
            return (Record { offset, fields, is_closed }, at.min(text.len()));
        }
    }
}

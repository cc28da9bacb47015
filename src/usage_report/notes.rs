//! What rows of usage do not say of themselves: since when their steps are kept, where the question begins before, and which
//! names it asks for that nothing has. As they are told and read.

use super::table::time;
use crate::printable::{Printable, bounded};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use usage::Report;

/// Where they are told beside CSV, which has no place for them.
pub(crate) const NOTES_HEADER: &str = "x-gemini-balance-usage-notes";

/// As the fields of an answer: none where there is nothing to note.
pub(super) fn notes_json(report: &Report) -> Map<String, Value> {
    let mut notes = Map::new();
    if let Some((step, at)) = report.kept_since() {
        notes.insert("kept_since".to_owned(), json!({ "step": step.as_str(), "time": time(at) }));
    }
    let missing: Map<_, _> = report
        .not_found()
        .map(|(column, name)| (column.as_str().to_owned(), Value::from(name.as_str())))
        .collect();
    if !missing.is_empty() {
        notes.insert("not_found".to_owned(), missing.into());
    }
    notes
}

/// As a header's value.
pub(super) fn notes_header(notes: Map<String, Value>) -> Option<String> {
    (!notes.is_empty()).then(|| ascii(&Value::from(notes).to_string()))
}

/// The same JSON, of which a header can carry every character.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() && letter != '\x7f' {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

/// The line that says since when there are sums; `None` where the question begins later.
pub(crate) fn kept_line(notes: &Value) -> Option<String> {
    let step = notes["kept_since"]["step"].as_str()?;
    let at = notes["kept_since"]["time"].as_str()?;
    Some(format!("{step}s are kept since {}: what was used before is not counted here", Printable(at)))
}

/// The words that say which names nothing has; `None` where each is found.
pub(crate) fn missing_words(notes: &Value) -> Option<String> {
    let missing = notes["not_found"].as_object().filter(|missing| !missing.is_empty())?;
    let words: Vec<_> = missing
        .iter()
        .map(|(column, name)| {
            let name = bounded(name.as_str().unwrap_or_default(), 200);
            format!("no {column} in the usage book is called {}", Printable(name))
        })
        .collect();
    Some(words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use usage::{Column, Days, Query, QueryStep};

    #[test]
    fn what_rows_leave_out_is_told_and_read_again() {
        let query = Query {
            from: 0,
            to: 1,
            step: QueryStep::All,
            by: Vec::new(),
            filter: vec![(Column::Caller, "tüpo \u{1f600}".to_owned())],
            most_rows: 1,
        };
        let mut report = Report::new(query, Days::default()).unwrap();
        report.note_kept_since(3_600);
        let notes = Value::from(notes_json(&report));
        let header = notes_header(notes_json(&report)).unwrap();
        assert!(header.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&header).unwrap(), notes);
        assert_eq!(
            kept_line(&notes).unwrap(),
            "hours are kept since 1970-01-01T01:00:00Z: what was used before is not counted here"
        );
        assert_eq!(missing_words(&notes).unwrap(), "no caller in the usage book is called tüpo \u{1f600}");
        report.note_kept_since(-3_600);
        let notes = Value::from(notes_json(&report));
        assert_eq!(kept_line(&notes), None, "the whole span is kept");
        assert_eq!((kept_line(&Value::Null), missing_words(&Value::Null)), (None, None));
    }
}

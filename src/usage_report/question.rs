//! How a question about the usage is written: `from`, `to`, `step`, `by`, `format`, and a filter by each column.

use super::table::Format;
use chrono::{DateTime, NaiveDate};
use std::collections::HashMap;
use usage::{Column, Days, Query, QueryStep};

/// The columns of a table for people.
pub(crate) const TABLE_COLUMNS: [&str; 11] = [
    "requests",
    "answered",
    "attempts",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "thoughts_tokens",
    "tool_tokens",
    "cost",
    "currency",
    "unpriced",
];

/// What is asked for when nothing is said: the last thirty days, by day and model.
const DEFAULT_FROM: &str = "-30d";

/// A question that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) query: Query,
    pub(crate) format: Format,
}

impl Question {
    /// Reads the parameters; what is wrong with them in one line.
    pub(crate) fn read(parameters: &HashMap<String, String>, days: &Days, now: i64) -> Result<Self, String> {
        const KNOWN: [&str; 9] = ["from", "to", "step", "by", "format", "caller", "key", "project", "model"];
        if let Some(unknown) = parameters.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(format!("{unknown} is no parameter; those are {}", KNOWN.join(", ")));
        }
        let text = |name: &str| parameters.get(name).map(String::as_str).filter(|text| !text.is_empty());
        let time = |name: &str, text: &str| {
            time(text, days, now).ok_or_else(|| {
                format!("{name} must be a time such as 2026-11-27T10:00:00Z, a date, or a span such as -24h or -30d")
            })
        };
        let from = time("from", text("from").unwrap_or(DEFAULT_FROM))?;
        let to = match text("to") {
            Some(text) => time("to", text)?,
            // Including this second.
            None => now.saturating_add(1),
        };
        let step: QueryStep = text("step")
            .unwrap_or("day")
            .parse()
            .map_err(|()| "step must be one of minute, hour, day, month, all".to_owned())?;
        let mut by: Vec<Column> = Vec::new();
        for word in parameters.get("by").map_or("model", String::as_str).split(',') {
            let word = word.trim();
            if word.is_empty() {
                continue;
            }
            let column =
                word.parse().map_err(|()| "by must be a list of caller, key, project, model".to_owned())?;
            if !by.contains(&column) {
                by.push(column);
            }
        }
        let filter = [Column::Caller, Column::Key, Column::Project, Column::Model]
            .into_iter()
            .filter_map(|column| Some((column, parameters.get(column.as_str())?.clone())))
            .collect();
        let format = match text("format").unwrap_or("json") {
            "json" => Format::Json,
            "csv" => Format::Csv,
            _ => return Err("format must be json or csv".to_owned()),
        };
        Ok(Self { query: Query { from, to, step, by, filter, most_rows: Query::MOST_ROWS }, format })
    }
}

/// Reads a time: RFC 3339, a date (which begins at midnight where days do), or a span from now.
pub(crate) fn time(text: &str, days: &Days, now: i64) -> Option<i64> {
    if let Some(span) = span(text) {
        return now.checked_add(span);
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(days.midnight(date));
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp())
}

/// Reads `90d`, `12h`, `30m`, `45s`, with a sign or without, in seconds.
fn span(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_780_800; // 2026-11-27T12:00:00Z

    fn read(parameters: &[(&str, &str)]) -> Result<Question, String> {
        let parameters =
            parameters.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Question::read(&parameters, &Days::of("Asia/Kolkata").unwrap(), NOW)
    }

    #[test]
    fn times_are_written_as_people_and_programs_do() {
        for (text, expected) in [
            ("-24h", NOW - 86_400),
            ("-30d", NOW - 30 * 86_400),
            ("-45s", NOW - 45),
            ("30m", NOW + 1_800),
            ("0s", NOW),
            ("2026-11-27", NOW - 12 * 3_600 - 19_800),
            ("2026-11-27T12:00:00Z", NOW),
            ("2026-11-27T13:00:00.5+01:00", NOW),
            ("1970-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(read(&[("from", text), ("to", "9999d")]).unwrap().query.from, expected, "{text}");
        }
        for text in
            ["yesterday", "24", "d", "1.5h", "2026-13-01", "2026-11-27 12:00", "99999999999999999d", "-", "é"]
        {
            assert!(read(&[("from", text)]).unwrap_err().starts_with("from must be"), "{text}");
        }
    }

    #[test]
    fn nothing_said_asks_for_the_last_thirty_days_by_day_and_model() {
        let Question { query, format } = read(&[]).unwrap();
        assert_eq!((query.from, query.to), (NOW - 30 * 86_400, NOW + 1));
        assert_eq!((query.step, query.by, format), (QueryStep::Day, vec![Column::Model], Format::Json));
        assert_eq!(read(&[("by", "")]).unwrap().query.by, []);
        assert_eq!(
            read(&[("by", "caller, model,caller")]).unwrap().query.by,
            [Column::Caller, Column::Model]
        );
        assert_eq!(
            read(&[("caller", "alice")]).unwrap().query.filter,
            [(Column::Caller, "alice".to_owned())]
        );
    }

    #[test]
    fn what_is_no_question_is_refused_in_words() {
        for parameters in [
            ("step", "week"),
            ("by", "colour"),
            ("format", "xml"),
            ("form", "x"),
            ("BY", "model"),
            ("to", "never"),
        ] {
            assert!(!read(&[parameters]).unwrap_err().contains('\n'), "{parameters:?}");
        }
    }
}

//! How rows of usage are written: CSV for spreadsheets, JSON for programs. Both have the same columns in the same order.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};
use std::io::{self, Write};
use usage::{Column, ReportRow};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object with the rows as a list.
    Json,
    /// One row a line, with a head.
    Csv,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// What is counted, after the time and the labels.
pub(crate) const COUNTS: [&str; 23] = [
    "requests",
    "answered",
    "client_errors",
    "refused_caller",
    "refused_pool",
    "refused_google",
    "failed",
    "left",
    "broken",
    "attempts",
    "retries",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "thoughts_tokens",
    "tool_tokens",
    "cost",
    "currency",
    "unpriced",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "first_event_ms",
];

/// What stands in the columns of [`COUNTS`]: numbers, but for the currency.
fn counts(row: &ReportRow, currency: &str) -> [String; COUNTS.len()] {
    let it = &row.cell.counters;
    [
        it.requests.to_string(),
        it.answered.to_string(),
        it.client_errors.to_string(),
        it.refused_caller.to_string(),
        it.refused_pool.to_string(),
        it.refused_google.to_string(),
        it.failed.to_string(),
        it.left.to_string(),
        it.broken.to_string(),
        it.attempts.to_string(),
        it.retries.to_string(),
        it.input_tokens.to_string(),
        it.cached_tokens.to_string(),
        it.output_tokens.to_string(),
        it.thoughts_tokens.to_string(),
        it.tool_tokens.to_string(),
        it.cost().to_string(),
        currency.to_owned(),
        it.unpriced.to_string(),
        it.bytes_in.to_string(),
        it.bytes_out.to_string(),
        (it.duration_us / 1_000).to_string(),
        (it.first_event_us / 1_000).to_string(),
    ]
}

/// Writes the rows one by one. `more`: fields of the answer beside them; there is no place for such in CSV.
pub(crate) fn write_table(
    into: &mut impl Write,
    format: Format,
    by: &[Column],
    rows: &[ReportRow],
    currency: &str,
    more: &Map<String, Value>,
) -> io::Result<()> {
    match format {
        Format::Json => write_json(into, by, rows, currency, more),
        Format::Csv => write_csv(into, by, rows, currency),
    }
}

fn write_csv(into: &mut impl Write, by: &[Column], rows: &[ReportRow], currency: &str) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(into);
    let head = ["from", "to"].into_iter().chain(by.iter().map(|column| column.as_str())).chain(COUNTS);
    csv.write_record(head)?;
    for row in rows {
        let mut record = vec![time(row.from), time(row.to)];
        record.extend(row.labels.iter().map(|label| no_formula(label)));
        record.extend(counts(row, &no_formula(currency)));
        csv.write_record(record)?;
    }
    csv.flush()
}

fn write_json(
    into: &mut impl Write,
    by: &[Column],
    rows: &[ReportRow],
    currency: &str,
    more: &Map<String, Value>,
) -> io::Result<()> {
    let currency = serde_json::to_string(currency)?;
    write!(into, "{{\"rows\":[")?;
    for (position, row) in rows.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(into, "{comma}\n{{\"from\":\"{}\",\"to\":\"{}\"", time(row.from), time(row.to))?;
        for (column, label) in by.iter().zip(&row.labels) {
            write!(into, ",\"{}\":{}", column.as_str(), serde_json::to_string(&**label)?)?;
        }
        for (name, count) in COUNTS.iter().zip(counts(row, &currency)) {
            write!(into, ",\"{name}\":{count}")?;
        }
        write!(into, "}}")?;
    }
    write!(into, "\n]")?;
    for (name, value) in more {
        write!(into, ",{}:{value}", Value::from(name.as_str()))?;
    }
    writeln!(into, "}}")
}

pub(super) fn time(at: i64) -> String {
    DateTime::from_timestamp(at, 0)
        .map_or_else(|| at.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A name that a spreadsheet would run as a formula gets an apostrophe in front.
pub(crate) fn no_formula(label: &str) -> String {
    if label.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{label}") } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use usage::{Cell, Counters};

    fn rows() -> Vec<ReportRow> {
        let row = |label: &str, requests| {
            let counters = Counters {
                requests,
                cost_billionths: 1_500_000_001,
                duration_us: 2_999,
                ..Counters::default()
            };
            ReportRow {
                from: 0,
                to: 86_400,
                labels: vec![Arc::from(label), Arc::from("m")],
                cell: Cell { counters, ..Cell::default() },
            }
        };
        vec![row("=cmd|' /C calc'!A0", 1), row("Ünï\"cødé, 名前", 2), row("-1+1", 3), row("", 4)]
    }

    fn written(format: Format) -> String {
        let mut text = Vec::new();
        write_table(
            &mut text,
            format,
            &[Column::Caller, Column::Model],
            &rows(),
            "USD",
            serde_json::json!({ "gateways": { "counted": 2 } }).as_object().unwrap(),
        )
        .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn csv_has_the_columns_that_scripts_rely_on_and_no_formula() {
        let text = written(Format::Csv);
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap(),
            "from,to,caller,model,requests,answered,client_errors,refused_caller,refused_pool,refused_google,failed,left,\
             broken,attempts,retries,input_tokens,cached_tokens,output_tokens,thoughts_tokens,tool_tokens,cost,currency,\
             unpriced,bytes_in,bytes_out,duration_ms,first_event_ms"
        );
        let first = "1970-01-01T00:00:00Z,1970-01-02T00:00:00Z,'=cmd|' /C calc'!A0,m,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,\
                     1.500000001,USD,0,0,0,2,0";
        assert_eq!(lines.next().unwrap(), first);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let names: Vec<String> = reader.records().map(|record| record.unwrap()[2].to_owned()).collect();
        assert_eq!(names, ["'=cmd|' /C calc'!A0", "Ünï\"cødé, 名前", "'-1+1", ""]);
    }

    #[test]
    fn json_has_the_same_columns_with_names_as_they_are() {
        let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        let first = &json["rows"][0];
        assert_eq!(json["gateways"]["counted"], 2);
        assert_eq!(first["caller"], "=cmd|' /C calc'!A0");
        assert_eq!(
            (&first["cost"], &first["currency"]),
            (&serde_json::json!(1.500_000_001), &serde_json::json!("USD"))
        );
        let csv = written(Format::Csv);
        let mut head: Vec<_> = csv.lines().next().unwrap().split(',').collect();
        let mut names: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
        head.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, head);
        let mut none = Vec::new();
        write_table(&mut none, Format::Json, &[], &[], "USD", &Map::new()).unwrap();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&none).unwrap(),
            serde_json::json!({ "rows": [] })
        );
    }
}

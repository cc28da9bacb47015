//! The keys as a table to take away: how each is and what it has done, without any secret. CSV for spreadsheets, JSON for
//! programs; handed over a few rows at a time.

use super::listing::{Row, rows};
use crate::{
    keys::KeyInventory,
    usage_report::{Format, no_formula},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Version, header},
};
use bytes::Bytes;
use futures_util::stream;
use keypool::Snapshot;
use serde_json::{Map, Value, json};
use std::{convert::Infallible, sync::Arc};

/// How many rows are made at a time.
const AT_ONCE: usize = 100;

/// The columns, in their order.
const COLUMNS: [&str; 16] = [
    "id",
    "source",
    "project",
    "project_number",
    "state",
    "reason",
    "since",
    "back_in_s",
    "added",
    "weight",
    "in_flight",
    "served",
    "faults",
    "abandoned",
    "input_tokens",
    "output_tokens",
];

/// Answers with the table.
pub(super) fn answer(
    request: &HttpRequest,
    format: Format,
    snapshot: &Snapshot,
    inventory: &Arc<KeyInventory>,
) -> HttpResponse {
    // Rows are small, and the snapshot is not: it goes before the first row is sent.
    let records: Vec<[Value; COLUMNS.len()]> = rows(snapshot, inventory).map(|row| record(&row)).collect();
    let (head, foot) = match format {
        Format::Csv => (csv_line(&COLUMNS.map(Value::from)), Vec::new()),
        Format::Json => (b"{\"keys\":[".to_vec(), b"\n]}\n".to_vec()),
    };
    let mut records = records.into_iter();
    let mut is_first = true;
    let chunks = std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        for record in records.by_ref().take(AT_ONCE) {
            match format {
                Format::Csv => chunk.extend(csv_line(&record)),
                Format::Json => {
                    chunk.extend_from_slice(if is_first { b"\n" } else { b",\n" });
                    chunk.extend(json_object(record));
                }
            }
            is_first = false;
        }
        (!chunk.is_empty()).then_some(chunk)
    });
    let all =
        std::iter::once(head).chain(chunks).chain(std::iter::once(foot)).filter(|part| !part.is_empty());
    let name = if format == Format::Csv { "keys.csv" } else { "keys.json" };
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(format.content_type())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")));
    if request.version() == Version::HTTP_10 {
        // It knows no chunks.
        return answer.body(all.collect::<Vec<_>>().concat());
    }
    answer.streaming(stream::iter(all.map(|part| Ok::<_, Infallible>(Bytes::from(part)))))
}

fn record(row: &Row) -> [Value; COLUMNS.len()] {
    let view = row.view.as_ref();
    let field = |name: &str| view.map_or(Value::Null, |view| view.field(name));
    let total = |name: &str| field("totals").get(name).cloned().unwrap_or(Value::Null);
    let back_in = field("back_in_ms").as_u64().map(|ms| ms.div_ceil(1000));
    [
        row.id.as_str().into(),
        row.source.into(),
        row.project.as_deref().into(),
        field("project_number"),
        row.state.into(),
        field("reason"),
        field("since"),
        json!(back_in),
        json!(row.added),
        json!(row.weight),
        field("in_flight"),
        total("successes"),
        total("faults"),
        total("abandoned"),
        total("input_tokens"),
        total("output_tokens"),
    ]
}

fn csv_line(record: &[Value]) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let cells = record.iter().map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => no_formula(text),
        other => other.to_string(),
    });
    // Writing into memory does not fail.
    let _ = csv.write_record(cells);
    csv.into_inner().unwrap_or_default()
}

fn json_object(record: [Value; COLUMNS.len()]) -> Vec<u8> {
    let fields: Map<String, Value> = COLUMNS.iter().map(|&name| name.to_owned()).zip(record).collect();
    serde_json::to_vec(&fields).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_record_whatever_its_cells_hold() {
        let line = csv_line(&["=cmd|' /C calc'!A0".into(), Value::Null, 7.into(), "a,\"b\"\nc".into()]);
        assert_eq!(String::from_utf8(line).unwrap(), "'=cmd|' /C calc'!A0,,7,\"a,\"\"b\"\"\nc\"\n");
    }
}

//! `gemini-balance usage`: asks a running gateway on this machine, over the operator's listener, what was used.

use super::{failure::Failure, operator::ask_for_answer, printing::plain};
use crate::{
    local_http,
    settings::Settings,
    usage_report::{NOTES_HEADER, REACH_HEADER, TABLE_COLUMNS, kept_line, missing_words, reach_line},
};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::{fmt::Write as _, process::ExitCode};

/// What to ask for.
#[derive(Clone, Debug, Args)]
pub(super) struct Flags {
    /// From when on: a date, a time such as 2026-11-27T10:00:00Z, or a span such as -24h
    #[arg(long, value_name = "TIME", default_value = "-30d", allow_hyphen_values = true)]
    from: String,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// What rows are told apart by: a list of caller, key, project, model
    #[arg(long, value_name = "COLUMNS", default_value = "model")]
    by: String,
    /// The time that one row stands for: minute, hour, day, month or all
    #[arg(long, default_value = "day")]
    step: String,
    /// Only of this caller
    #[arg(long)]
    caller: Option<String>,
    /// Only of this key
    #[arg(long)]
    key: Option<String>,
    /// Only of this project
    #[arg(long)]
    project: Option<String>,
    /// Only of this model
    #[arg(long)]
    model: Option<String>,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = UsageFormat::Table)]
    format: UsageFormat,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum UsageFormat {
    /// For people: the columns that matter most
    Table,
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}

/// Asks and prints; on standard error what the rows do not say of themselves.
pub(super) fn run(settings: &Settings, flags: &Flags) -> Result<ExitCode, Failure> {
    let answer = ask_for_answer(settings, "GET", &path(flags), "", local_http::PATIENCE)?;
    let (gateways, notes): (Value, Value) = if flags.format == UsageFormat::Csv {
        out!("{}", answer.body);
        let told = |name| answer.header(name).and_then(|told| serde_json::from_str(told).ok());
        (told(REACH_HEADER).unwrap_or_default(), told(NOTES_HEADER).unwrap_or_default())
    } else {
        let mut body: Value = serde_json::from_str(&answer.body)?;
        match flags.format {
            UsageFormat::Table => out!("{}", table(&body, flags)),
            UsageFormat::Csv | UsageFormat::Json => out!("{}", answer.body),
        }
        (body["gateways"].take(), body)
    };
    // The table of nothing says itself why it is empty.
    let missing = missing_words(&notes).filter(|_| flags.format != UsageFormat::Table);
    for line in [kept_line(&notes), missing, reach_line(&gateways)].into_iter().flatten() {
        err_line!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn path(flags: &Flags) -> String {
    let format = if flags.format == UsageFormat::Csv { "csv" } else { "json" };
    let asked = [
        ("from", Some(&flags.from)),
        ("to", flags.to.as_ref()),
        ("step", Some(&flags.step)),
        ("by", Some(&flags.by)),
        ("caller", flags.caller.as_ref()),
        ("key", flags.key.as_ref()),
        ("project", flags.project.as_ref()),
        ("model", flags.model.as_ref()),
    ];
    let mut path = format!("/api/usage?format={format}");
    for (name, value) in asked.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = write!(path, "&{name}={}", local_http::encoded(value));
    }
    path
}

/// One line a row, and one for all together.
fn table(body: &Value, flags: &Flags) -> String {
    let rows = body["rows"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        let why = missing_words(body).map(|why| format!(": {why}")).unwrap_or_default();
        return format!("nothing was used in this time{why}\n");
    }
    // Of the other steps everybody knows the length.
    let times: &[&str] = if flags.step == "all" { &["from", "to"] } else { &["from"] };
    let labels: Vec<_> = flags.by.split(',').map(str::trim).filter(|column| !column.is_empty()).collect();
    let columns: Vec<_> = times.iter().chain(&labels).copied().chain(TABLE_COLUMNS).collect();
    let mut lines = vec![columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>()];
    for row in rows {
        lines.push(columns.iter().map(|&column| word(&row[column])).collect());
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            // Names to the left, numbers to the right.
            if column < times.len() + labels.len() {
                format!("{cell:width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        // Nothing that a client has named acts on the terminal.
        Value::String(text) => text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect(),
        Value::Number(number) => plain(number),
        other => other.to_string(),
    }
}

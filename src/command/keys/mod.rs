//! `gemini-balance keys`: asks a running gateway on this machine, over the operator's listener, how its keys are, and
//! passes on the operator's word on them. How keys are added is in `add`.

mod add;

use super::{
    cluster::tell_reach,
    failure::Failure,
    operator::{aligned, ask, ask_for_text, ask_patiently, time},
    printing::plain,
};
use crate::{
    local_http,
    printable::{Printable, bounded},
    settings::Settings,
};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::{process::ExitCode, time::Duration};

/// How long Google may take to answer about keys, through the gateway.
const CHECK_PATIENCE: Duration = Duration::from_secs(130);

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// List the keys: state, why, when they are back, use (the default)
    List,
    /// Add the keys that a text holds, after showing what was found in it
    Add(add::Flags),
    /// Remove a key that was added; requests under way on it go on
    Remove {
        /// The key's id, as `list` shows it
        id: String,
    },
    /// Call a key that was added by another name
    Label {
        /// The key's id, as `list` shows it
        id: String,
        /// The new name; without one its fingerprint
        label: Option<String>,
    },
    /// Say which Google project a key that was added belongs to
    Project {
        /// The key's id, as `list` shows it
        id: String,
        /// The project's label; without one a project of its own
        project: Option<String>,
    },
    /// Give a key that was added another share under strategy = "weighted"
    Weight {
        /// The key's id, as `list` shows it
        id: String,
        /// The share, at least 1
        weight: u32,
    },
    /// Use a disabled key again
    Enable {
        /// The key's id, as `list` shows it
        id: String,
    },
    /// Use a key no more; requests under way on it go on
    Disable {
        /// The key's id, as `list` shows it
        id: String,
    },
    /// Forget what is held against a key: its retirement and cooldowns, and those of its project
    Reset {
        /// The key's id, as `list` shows it
        id: String,
    },
    /// Ask Google about a key, without spending quota; one that is well again is used again
    Check {
        /// The key's id, as `list` shows it
        id: String,
    },
    /// Write all keys as a table, without their secrets
    Export {
        /// How rows are written
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
    },
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// For spreadsheets
    Csv,
    /// For programs
    Json,
}

/// Asks and prints.
pub(crate) fn run(settings: &Settings, action: Option<Action>) -> Result<ExitCode, Failure> {
    let path = |id: &str, verb: &str| format!("/api/keys/{}{verb}", local_http::encoded(id));
    let verb = |id: &str, verb: &str| ask(settings, "POST", &path(id, verb), "");
    let change =
        |id: &str, verb: &str, body: Value| ask(settings, "POST", &path(id, verb), &body.to_string());
    let answer = match action.unwrap_or(Action::List) {
        Action::List => {
            let answer = ask(settings, "GET", "/keys", "")?;
            let keys = answer["keys"].as_array();
            out!(
                "{}",
                table(keys.ok_or_else(|| Failure::new("what the gateway answers is no list of keys"))?)
            );
            return Ok(ExitCode::SUCCESS);
        }
        Action::Add(flags) => return add::run(settings, &flags),
        Action::Check { id } => {
            let answer = ask_patiently(settings, "POST", &path(&id, "/check"), "", CHECK_PATIENCE)?;
            out_line!("{}: {}", Printable(&id), verdict(&answer["check"]));
            let is_good = answer["check"]["verdict"] == "good";
            return Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::Export { format } => {
            let format = if format == ExportFormat::Csv { "csv" } else { "json" };
            let path = format!("/api/keys/export?format={format}");
            out!("{}", ask_for_text(settings, "GET", &path, "", local_http::PATIENCE)?);
            return Ok(ExitCode::SUCCESS);
        }
        Action::Remove { id } => ask(settings, "DELETE", &path(&id, ""), "")?,
        Action::Enable { id } => return said("enabled", &verb(&id, "/enable")?),
        Action::Disable { id } => return said("disabled", &verb(&id, "/disable")?),
        Action::Reset { id } => return said("reset", &verb(&id, "/reset")?),
        Action::Label { id, label } => change(&id, "/label", json!({ "label": label }))?,
        Action::Project { id, project } => change(&id, "/project", json!({ "project": project }))?,
        Action::Weight { id, weight } => change(&id, "/weight", json!({ "weight": weight }))?,
    };
    out_line!("done");
    kept(&answer)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells of a word that all gateways are to hear.
fn said(done: &str, answer: &Value) -> Result<ExitCode, Failure> {
    kept(answer)?;
    Ok(tell_reach(done, answer))
}

/// Fails where what was done is not written down.
fn kept(answer: &Value) -> Result<(), Failure> {
    if answer["kept"] == false {
        return Err(Failure::new(
            "it holds now, and is not written down, so that it ends with the process: see store.path, and /health/ready",
        ));
    }
    Ok(())
}

/// What Google says of a key, in words.
fn verdict(check: &Value) -> String {
    let word = cell(check["verdict"].as_str().unwrap_or("unknown"));
    let status = check["status"].as_u64().map_or_else(String::new, |status| format!(" ({status})"));
    let why = check["why"].as_str().map_or_else(String::new, |why| format!(": {}", cell(why)));
    let project = check["project_number"].as_str();
    let project = project.map_or_else(String::new, |number| format!("; project {}", cell(number)));
    format!("{word}{status}{why}{project}")
}

/// How many signs of a text are shown in the table.
const CELL: usize = 80;
/// How many models of one key are shown.
const MODELS: usize = 40;

/// One line a key, and one for each model in trouble on it.
fn table(keys: &[Value]) -> String {
    let mut rows =
        vec![["KEY", "PROJECT", "STATE", "WHY", "BACK IN", "NOW", "SERVED", "FAULTS"].map(str::to_owned)];
    for key in keys {
        let totals = &key["totals"];
        rows.push([
            word(&key["id"]),
            word(&key["project"]),
            word(&key["state"]),
            word(&key["reason"]),
            in_time(&key["back_in_ms"]),
            word(&key["in_flight"]),
            word(&totals["successes"]),
            word(&totals["faults"]),
        ]);
        let models = key["models"].as_array().map_or(&[][..], Vec::as_slice);
        for model in models.iter().take(MODELS) {
            rows.push([
                format!("  {}", word(&model["model"])),
                String::new(),
                word(&model["state"]),
                word(&model["reason"]),
                in_time(&model["back_in_ms"]),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
        if let Some(more) = models.len().checked_sub(MODELS).filter(|more| *more > 0) {
            let mut row: [String; 8] = std::array::from_fn(|_| String::new());
            row[0] = format!("  and {more} more models");
            rows.push(row);
        }
    }
    aligned(&rows)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => cell(text),
        Value::Number(number) => plain(number),
        other => cell(&other.to_string()),
    }
}

/// What the table shows of a text: clients name the models.
fn cell(text: &str) -> String {
    let shown = bounded(text, CELL);
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", Printable(shown))
}

fn in_time(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| time(ms.div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_shows_what_clients_have_made_up_without_acting_on_it_and_not_without_end() {
        let names = ["x\n\u{1b}[31mforged", "a\u{202e}b", "\u{9b}2J"];
        let mut models: Vec<Value> =
            names.iter().map(|name| json!({"model": name, "state": "cooling"})).collect();
        models.push(json!({"model": "m".repeat(1_000_000), "state": "cooling"}));
        models.extend((0..500).map(|n| json!({"model": format!("made-up-{n}"), "state": "cooling"})));
        let keys = [json!({"id": "a", "state": "available", "reason": "say\rnothing", "models": models})];
        let text = table(&keys);
        assert!(
            !text.contains(|sign: char| sign != '\n' && crate::printable::acts_on_a_terminal(sign)),
            "{text:?}"
        );
        assert_eq!(text.lines().count(), 1 + 1 + MODELS + 1, "{text}");
        assert!(text.contains("x\\n\\u{1b}[31mforged") && text.contains("and 464 more models"), "{text}");
        assert!(text.len() < 20_000, "{} bytes", text.len());
    }
}

//! `gemini-balance keys`: asks a running gateway on this machine, over the operator's listener, how its keys are, and
//! passes on the operator's word on one of them.

use super::{
    failure::Failure,
    operator::{aligned, ask, time},
};
use crate::{
    local_http,
    printable::{Printable, bounded},
    settings::Settings,
};
use clap::Subcommand;
use serde_json::Value;
use std::process::ExitCode;

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// List the keys: state, why, when they are back, use (the default)
    List,
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
}

/// Asks and prints.
#[expect(clippy::print_stdout, reason = "a command that speaks to a person")]
pub(crate) fn run(settings: &Settings, action: Option<Action>) -> Result<ExitCode, Failure> {
    let action = action.unwrap_or(Action::List);
    let is_list = matches!(action, Action::List);
    let (method, path) = match action {
        Action::List => ("GET", "/keys".to_owned()),
        Action::Enable { id } => ("POST", format!("/keys/{}/enable", local_http::encoded(&id))),
        Action::Disable { id } => ("POST", format!("/keys/{}/disable", local_http::encoded(&id))),
        Action::Reset { id } => ("POST", format!("/keys/{}/reset", local_http::encoded(&id))),
    };
    let body = ask(settings, method, &path, "")?;
    match (is_list, body["keys"].as_array()) {
        (true, Some(keys)) => print!("{}", table(keys)),
        (false, _) => println!("done"),
        (true, None) => return Err(Failure::new("what the gateway answers is no list of keys")),
    }
    Ok(ExitCode::SUCCESS)
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

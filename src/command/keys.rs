//! `gemini-balance keys`: asks a running gateway on this machine, over the operator's listener, how its keys are, and
//! passes on the operator's word on one of them.

use super::{
    failure::Failure,
    operator::{aligned, ask, encoded, time},
};
use crate::settings::Settings;
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
    let (method, path) = match action.unwrap_or(Action::List) {
        Action::List => ("GET", "/keys".to_owned()),
        Action::Enable { id } => ("POST", format!("/keys/{}/enable", encoded(&id))),
        Action::Disable { id } => ("POST", format!("/keys/{}/disable", encoded(&id))),
        Action::Reset { id } => ("POST", format!("/keys/{}/reset", encoded(&id))),
    };
    let body = ask(settings, method, &path, "")?;
    match body["keys"].as_array() {
        Some(keys) => print!("{}", table(keys)),
        None => println!("done"),
    }
    Ok(ExitCode::SUCCESS)
}

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
        for model in key["models"].as_array().into_iter().flatten() {
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
    }
    aligned(&rows)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn in_time(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| time(ms.div_ceil(1000)))
}

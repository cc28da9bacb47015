//! `gemini-balance keys`: asks a running gateway on this machine, over the operator's listener, how its keys are, and
//! passes on the operator's word on one of them.

use super::failure::Failure;
use crate::{admin, local_http, settings::Settings};
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
    let token = settings.admin_token()?.ok_or_else(|| {
        Failure::new("the operator's listener is off: set ADMIN_TOKEN or admin.token, for the gateway and for this command")
    })?;
    let address = admin::address(settings)?;
    let (method, path) = match action.unwrap_or(Action::List) {
        Action::List => ("GET", "/keys".to_owned()),
        Action::Enable { id } => ("POST", format!("/keys/{}/enable", encoded(&id))),
        Action::Disable { id } => ("POST", format!("/keys/{}/disable", encoded(&id))),
        Action::Reset { id } => ("POST", format!("/keys/{}/reset", encoded(&id))),
    };
    let header = format!("authorization: Bearer {}\r\n", token.expose());
    let answer = local_http::ask(address, method, &path, &header).map_err(|error| {
        Failure::new(format!("no answer from http://{address}: {error}; is the gateway running?"))
    })?;
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        let why = body["error"].as_str().unwrap_or("no reason given").to_owned();
        return Err(Failure::new(format!("the gateway answers {}: {why}", answer.status)));
    }
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
            time(&key["back_in_ms"]),
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
                time(&model["back_in_ms"]),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn time(value: &Value) -> String {
    let Some(ms) = value.as_u64() else { return "-".to_owned() };
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

/// A path segment: ids are labels of the operator's own making.
fn encoded(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

//! `gemini-balance reload`: has a running gateway on this machine read its configuration again, over the operator's
//! listener, and says what has changed, or would.

use super::{failure::Failure, operator::ask};
use crate::{printable::Printable, settings::Settings};
use serde_json::Value;
use std::{fmt::Write as _, process::ExitCode};

/// How to reload.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Flags {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

/// Asks and prints.
pub(super) fn run(settings: &Settings, flags: Flags) -> Result<ExitCode, Failure> {
    let path = if flags.dry_run { "/api/reload?dry_run=1" } else { "/api/reload" };
    let answer = ask(settings, "POST", path, "")?;
    out!("{}", told(&answer));
    Ok(ExitCode::SUCCESS)
}

/// One line a change, and what needs a restart.
fn told(answer: &Value) -> String {
    let mut text = String::new();
    let changes = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
    for change in changes {
        let part = |name: &str| change[name].as_str().unwrap_or("-").to_owned();
        let (setting, from, to) = (part("setting"), part("from"), part("to"));
        let waits = if change["live"] == true { "" } else { "; it needs a restart" };
        let _ = writeln!(text, "{}: {} -> {}{waits}", Printable(setting), Printable(from), Printable(to));
    }
    if changes.is_empty() {
        text.push_str("nothing differs from what is in use\n");
    }
    let waiting: Vec<&str> =
        answer["restart_needed"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !waiting.is_empty() {
        let _ = writeln!(text, "a restart is needed for: {}", Printable(waiting.join(", ")));
    }
    let what = if answer["dry_run"] == true { "dry run; in use is" } else { "in use is" };
    let _ = writeln!(text, "{what} revision {}", answer["revision"]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_change_is_a_line_that_does_nothing_to_a_terminal() {
        let changes = json!([
            { "setting": "pool.max_wait_ms", "from": "1", "to": "2", "live": true },
            { "setting": "keys.a\u{1b}[31m", "from": null, "to": "***", "live": true },
            { "setting": "server.port", "from": "1", "to": "2", "live": false },
        ]);
        let answer =
            json!({ "changes": changes, "restart_needed": ["server.port"], "revision": 3, "dry_run": true });
        assert_eq!(
            told(&answer),
            "pool.max_wait_ms: 1 -> 2\nkeys.a\\u{1b}[31m: - -> ***\nserver.port: 1 -> 2; it needs a restart\n\
             a restart is needed for: server.port\ndry run; in use is revision 3\n"
        );
        let nothing = json!({ "changes": [], "restart_needed": [], "revision": 1, "dry_run": false });
        assert_eq!(told(&nothing), "nothing differs from what is in use\nin use is revision 1\n");
    }
}

//! `gemini-balance cluster`: asks a running gateway on this machine who shares its pool, and whether all agree.

use super::{
    failure::Failure,
    operator::{aligned, ask, time},
};
use crate::{
    printable::{Printable, bounded},
    settings::Settings,
};
use serde_json::Value;
use std::{fmt::Write as _, process::ExitCode};

/// The exit status where the gateways do not agree, or this one is alone: what was asked for was done nevertheless.
const NOT_ALL: u8 = 2;

/// Asks and prints. Succeeds where all gateways are there and agree.
pub(super) fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let answer = ask(settings, "GET", "/api/cluster", "")?;
    if answer["enabled"] != true {
        return Err(Failure::new("this gateway is not one of several: cluster.url is not set"));
    }
    out!("{}", told(&answer));
    Ok(if answer["well"] == true { ExitCode::SUCCESS } else { ExitCode::from(NOT_ALL) })
}

fn told(answer: &Value) -> String {
    let mut rows = vec![["GATEWAY", "VERSION", "SINCE", "HEARD", "BEHIND", "SETTINGS"].map(str::to_owned)];
    for gateway in answer["gateways"].as_array().into_iter().flatten() {
        let name = word(&gateway["name"]);
        let heard = time(gateway["heard_ms_ago"].as_u64().unwrap_or_default() / 1_000);
        let differs: Vec<_> = gateway["differs_in"].as_array().into_iter().flatten().map(word).collect();
        rows.push([
            if gateway["this"] == true { format!("{name} (this one)") } else { name },
            word(&gateway["version"]),
            word(&gateway["since"]),
            if gateway["there"] == true { format!("{heard} ago") } else { format!("silent for {heard}") },
            match gateway["behind_ms"].as_u64().unwrap_or_default() {
                0 => "-".to_owned(),
                ms => format!("{ms} ms"),
            },
            if differs.is_empty() { "agree".to_owned() } else { format!("differ in {}", differs.join(", ")) },
        ]);
    }
    let mut text = aligned(&rows);
    if let Some(why) = answer["alone"].as_str() {
        let so_for = time(answer["so_for_s"].as_u64().unwrap_or_default());
        let _ = writeln!(text, "alone for {so_for}: {}", Printable(bounded(why, 300)));
    }
    let untold = answer["facts"]["untold"].as_u64().unwrap_or_default();
    if untold > 0 {
        let _ = writeln!(text, "{untold} facts are still to be told");
    }
    text
}

/// Says where an operator's word was done, and returns the exit status. Where there are no others, it was done.
pub(super) fn tell_reach(done: &str, answer: &Value) -> ExitCode {
    let (text, is_everywhere) = reach(done, &answer["gateways"]);
    out_line!("{text}");
    if is_everywhere { ExitCode::SUCCESS } else { ExitCode::from(NOT_ALL) }
}

/// The same on standard error, where a token and nothing else is on standard output.
pub(super) fn tell_reach_aside(done: &str, answer: &Value) -> ExitCode {
    let (text, is_everywhere) = reach(done, &answer["gateways"]);
    err_line!("{text}");
    if is_everywhere { ExitCode::SUCCESS } else { ExitCode::from(NOT_ALL) }
}

fn reach(done: &str, gateways: &Value) -> (String, bool) {
    let (Some(reached), Some(of)) = (gateways["done"].as_u64(), gateways["of"].as_u64()) else {
        return (done.to_owned(), true);
    };
    if let Some(why) = gateways["alone"].as_str() {
        let why = Printable(bounded(why, 300)).to_string();
        return (
            format!("{done} here alone; the other gateways hear of it when Redis is back ({why})"),
            false,
        );
    }
    let mut text = format!("{done} on {reached} of {of} gateways");
    let silent: Vec<_> = gateways["silent"].as_array().into_iter().flatten().map(word).collect();
    if !silent.is_empty() {
        let verb = if silent.len() == 1 { "has" } else { "have" };
        let _ = write!(text, "; {} {verb} not answered", silent.join(", "));
    }
    (text, reached == of)
}

fn word(value: &Value) -> String {
    Printable(bounded(value.as_str().unwrap_or("-"), 80)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_said_where_a_word_was_done() {
        for (gateways, text, everywhere) in [
            (json!(null), "disabled", true),
            (json!({"done": 3, "of": 3, "silent": []}), "disabled on 3 of 3 gateways", true),
            (
                json!({"done": 2, "of": 3, "silent": ["gw-3"]}),
                "disabled on 2 of 3 gateways; gw-3 has not answered",
                false,
            ),
            (
                json!({"done": 1, "of": 1, "silent": [], "alone": "Redis did not answer in time"}),
                "disabled here alone; the other gateways hear of it when Redis is back (Redis did not answer in time)",
                false,
            ),
        ] {
            assert_eq!(reach("disabled", &gateways), (text.to_owned(), everywhere));
        }
    }

    #[test]
    fn each_gateway_is_a_line() {
        let answer = json!({
            "gateways": [
                {"name": "gw-1", "this": true, "there": true, "version": "0.1.0", "since": "2026-11-27T15:00:00Z",
                 "heard_ms_ago": 400, "behind_ms": 0, "differs_in": []},
                {"name": "gw-2\u{1b}[31m", "this": false, "there": false, "version": "0.1.0", "since": null,
                 "heard_ms_ago": 7_000, "behind_ms": 120, "differs_in": ["keys", "limits"]},
            ],
            "alone": null,
            "facts": {"untold": 4},
        });
        let text = told(&answer);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("gw-1 (this one)") && lines[1].ends_with("agree"), "{text}");
        assert!(
            lines[2].contains("silent for 7 s") && lines[2].ends_with("differ in keys, limits"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}') && lines[3] == "4 facts are still to be told", "{text}");
    }
}

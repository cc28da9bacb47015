//! A request's line of the transaction log in plain words: when it had which key and why, what was waited for, what Google
//! said, what the client was told. Everything in it may be of somebody else's making, so it is shown bounded and escaped.

use crate::{
    blame_words,
    command::operator::time,
    counted::counted,
    printable::{Printable, bounded},
};
use serde_json::Value;
use std::fmt::Write as _;

/// How many signs are shown of one text.
const SHOWN: usize = 400;

/// Returns the whole story, a line an event.
pub(super) fn told(request: &Value) -> String {
    let mut text = head(request);
    let mut events: Vec<(f64, String)> = Vec::new();
    for delay in list(&request["delays"]) {
        events.push((number(&delay["start_ms"]), told_of_delay(delay)));
    }
    let attempts = list(&request["attempts"]);
    for (place, attempt) in attempts.iter().enumerate() {
        let start = number(&attempt["start_ms"]);
        events.push((start, told_of_choice(attempt, request)));
        let is_last = place + 1 == attempts.len();
        events.push((start + number(&attempt["ms"]), told_of_end(attempt, is_last, request)));
    }
    // What happened at the same moment stays in the order of its telling.
    events.sort_by(|one, other| one.0.total_cmp(&other.0));
    events.push((number(&request["total_ms"]), told_of_request(request)));
    text.push('\n');
    for (at, event) in events {
        let _ = writeln!(text, "{:>10}  {event}", span(at));
    }
    text
}

/// Who asked for what, when.
fn head(request: &Value) -> String {
    let caller = request["caller"].as_str().map_or_else(|| "somebody unknown".to_owned(), shown);
    let asked = match request["verb"].as_str() {
        Some(verb) => format!("{} {}", word(&request["method"]), shown(verb)),
        None => word(&request["method"]),
    };
    let mut text = format!("Request {} of {caller}: {asked}", word(&request["id"]));
    if let Some(model) = request["model"].as_str() {
        let _ = write!(text, ", model {}", shown(model));
    }
    if request["streamed"] == true {
        text.push_str(", streamed");
    }
    let dialect = match request["dialect"].as_str() {
        Some("openai") => "OpenAI's",
        Some("anthropic") => "Anthropic's Messages",
        Some("responses") => "OpenAI's Responses",
        _ => "Gemini's",
    };
    let asked = if is_translated(request) { "Asked of Google: " } else { "" };
    let _ = write!(
        text,
        ", in {dialect} format, ended {}\n{asked}{}\n",
        word(&request["time"]),
        word(&request["path"])
    );
    if let Some(name) = request["bound_to"].as_str() {
        let _ = writeln!(text, "Bound to one project, which has {}.", shown(name));
    }
    text
}

/// Whether it came in a format that is none of Google's.
fn is_translated(request: &Value) -> bool {
    matches!(request["dialect"].as_str(), Some("anthropic" | "responses"))
}

/// Whether the client was given the start of an answer, which had begun as a success.
fn has_begun(request: &Value) -> bool {
    request["status"].as_u64().is_some_and(|status| (200..300).contains(&status))
}

fn told_of_choice(attempt: &Value, request: &Value) -> String {
    let mut text = key(attempt);
    let why = match attempt["chosen"].as_str() {
        None | Some("turn") => "was next in turn",
        Some("least_busy") => "was the least busy",
        Some("weight") => "had its turn by weight",
        Some("conversation") => "is of the project that has this conversation",
        Some("bound") if request["bound_to"].is_string() => "is of the project that the request is bound to",
        Some("bound") => "is of the project that was to be asked",
        Some("only_one") => "was the only one left",
        Some(_) => "was chosen",
    };
    let _ = write!(text, " {why}");
    if attempt["probe"] == true {
        text.push_str(", as the first after a cooldown or an outage");
    }
    text.push('.');
    let passed = passed_over(attempt);
    if !passed.is_empty() {
        let _ = write!(text, " Passed over: {passed}.");
    }
    text
}

fn told_of_end(attempt: &Value, is_last: bool, request: &Value) -> String {
    let status = attempt["status"].as_u64().unwrap_or(0);
    let kind = attempt["fault"].as_str();
    let said = match (status, kind) {
        (0, None) if is_last && request["end"] != "complete" => {
            return "The attempt was cut short.".to_owned();
        }
        (0, None) => "The attempt ended without an answer".to_owned(),
        (0, Some(_)) => "No answer of Google's came".to_owned(),
        (101, _) => "Google began the session".to_owned(),
        (status, _) => format!("Google answered {status}"),
    };
    let words = attempt["words"].as_str().map(|words| format!(": \"{}\"", shown(words))).unwrap_or_default();
    let Some(name) = kind else { return format!("{said}{words}.") };
    let known = blame_words::kind_of(name);
    let what = known.filter(|_| words.is_empty()).map(|kind| format!(": {}", blame_words::what(kind)));
    let what = what.unwrap_or_default();
    let is_amid = is_last && has_begun(request) && status < 400;
    let rule = known.map_or_else(String::new, |kind| {
        let left_alone = blame_words::left_alone(kind);
        let next =
            if is_amid { "not repeated, as the client had the start of it" } else { blame_words::next(kind) };
        format!(" Left alone: {left_alone}. The rule for the request: {next}.")
    });
    let amid = if is_amid { ", and an error in the middle of the answer" } else { "" };
    format!("{said}{amid}{words}{what} ({}).{rule}", shown(name))
}

fn told_of_delay(delay: &Value) -> String {
    let took = span(number(&delay["ms"]));
    if delay["cause"] == "pause" {
        return format!("A pause of {took} after {}.", word(&delay["after"]));
    }
    let passed = passed_over(delay);
    let because = if passed.is_empty() { String::new() } else { format!(": {passed}") };
    match delay["refusal"].as_str() {
        Some(refusal) if number(&delay["ms"]) < 1.0 => {
            format!("The pool gave no key: {}{}.", shown(refusal), because.replacen(": ", "; ", 1))
        }
        Some(refusal) => format!("Waited {took} for a key{because}. In vain: {}.", shown(refusal)),
        None => format!("Waited {took} for a key{because}."),
    }
}

/// Whether the last attempt has a fault.
fn has_failed_last(request: &Value) -> bool {
    list(&request["attempts"]).last().is_some_and(|last| last["fault"].is_string())
}

/// How it ended for the client.
fn told_of_request(request: &Value) -> String {
    let status = request["status"].as_u64().unwrap_or(0);
    let attempts = list(&request["attempts"]).len();
    let told = request["told"].as_str().map(|told| format!(" \"{}\"", shown(told))).unwrap_or_default();
    let mut text = match request["end"].as_str().unwrap_or_default() {
        "complete" if status == 101 => "The session ended.".to_owned(),
        "complete" if attempts == 0 => format!("The client got {status}, in Google's words."),
        "complete" if status >= 400 && is_translated(request) => {
            format!("The client got Google's last answer in its own format: {status}.")
        }
        "complete" if status >= 400 => format!("The client got Google's last answer unchanged: {status}."),
        "complete" if has_begun(request) && has_failed_last(request) => {
            format!("The client got {status}, the start of the answer, and Google's error in its middle.")
        }
        "complete" => format!("The client got the whole answer: {status}."),
        "refused" if has_begun(request) => {
            format!("The client got {status} and the start of the answer, which was then cut off:{told}")
        }
        "refused" => format!("The gateway told the client {status}:{told}"),
        "client_left" if status == 0 => "The client left before there was an answer.".to_owned(),
        "client_left" => "The client left in the middle of the answer.".to_owned(),
        "client_stalled" => "The client took nothing for too long and was cut off.".to_owned(),
        "upstream_broke" => {
            "Google broke off in the middle of the answer, and the client was shown so.".to_owned()
        }
        other => format!("It ended: {}.", shown(other)),
    };
    let limit = request["limit"].as_str();
    match (request["refused_by"].as_str(), limit) {
        (Some("caller"), Some(limit)) => {
            let _ = write!(text, " It was refused by what its own token allows: {}.", shown(limit));
        }
        (Some("caller"), None) => text.push_str(" It was refused by what its own token allows."),
        (Some("pool"), _) => text.push_str(" It was refused by the pool, which had no key for it."),
        (Some("google"), _) => {
            text.push_str(" It was refused by Google: a quota is spent on every project tried.");
        }
        _ => {}
    }
    let queued = number(&request["queued_ms"]);
    // Every key costs a message there and back; that is no wait.
    let has_waited = |delay: &Value| delay["cause"] == "no_key" && number(&delay["ms"]) >= 1.0;
    if list(&request["delays"]).iter().any(has_waited) {
        let _ = write!(text, " It had no key for {} in all.", span(queued));
    }
    let tokens = |name: &str| request["usage"][name].as_u64();
    if let (Some(prompt), Some(output)) = (tokens("prompt"), tokens("output")) {
        let _ = write!(text, " Tokens: {prompt} in, {output} out.");
    }
    text
}

/// `2 keys, since the model cools there (first k2: a quota per minute is used up; back in 34 s)`.
fn passed_over(of: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for group in list(&of["passed_over"]) {
        let count = group["keys"].as_u64().unwrap_or(0);
        let mut part = counted(count, "key");
        let why = match group["why"].as_str().unwrap_or_default() {
            "disabled" => "disabled by the operator",
            "not_allowed" => "of projects that the caller's token does not allow",
            "retired" => "retired",
            "tried" => "tried already",
            "cooling" => "cooling",
            "model_cooling" => "cooling for this model",
            "tool_cooling" => "cooling for a tool of the request",
            "probed" => "back from a cooldown, with another request finding out whether it is well",
            "too_small" => "of projects whose limit of input tokens the request alone exceeds",
            "full" => "of projects whose known limit is used up",
            "just_failed" => "on which the attempt before failed",
            "project_tried" => "of a project that was tried already",
            other => other,
        };
        let _ = write!(part, " {}", shown(why));
        let mut about =
            vec![if count == 1 { word(&group["key"]) } else { format!("first {}", word(&group["key"])) }];
        if let Some(reason) = group["reason"].as_str() {
            about.push(shown(reason));
        }
        if let Some(back_in) = group["back_in_ms"].as_u64() {
            about.push(format!("back in {}", time(back_in.div_ceil(1000))));
        }
        let _ = write!(part, " ({})", about.join(", "));
        parts.push(part);
    }
    if let Some(more) = of["passed_over_more"].as_u64() {
        parts.push(format!("{more} more that were not looked at one by one"));
    }
    parts.join("; ")
}

fn key(attempt: &Value) -> String {
    match attempt["project"].as_str() {
        Some(project) => format!("Key {} of project {}", word(&attempt["key"]), shown(project)),
        None => format!("Key {}", word(&attempt["key"])),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), shown)
}

fn shown(text: &str) -> String {
    Printable(bounded(text, SHOWN)).to_string()
}

/// So many milliseconds, as people say it.
fn span(ms: f64) -> String {
    match ms {
        ..1.0 => "0 ms".to_owned(),
        ..10_000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_story_is_told_in_the_order_of_its_events() {
        let request = json!({
            "time": "2026-11-27T12:00:00.000Z", "id": "00112233445566aa", "caller": "alice", "dialect": "gemini",
            "method": "POST", "verb": "generateContent", "path": "/v1beta/models/m:generateContent", "model": "m",
            "attempts": [
                {"key": "a", "project": "p", "start_ms": 0.1, "status": 429, "fault": "QuotaMinute", "ms": 5.0,
                 "words": "RESOURCE_EXHAUSTED: spent"},
                {"key": "b", "chosen": "only_one", "start_ms": 905.0, "status": 200, "ms": 20.0,
                 "passed_over": [{"why": "model_cooling", "keys": 2, "key": "a", "reason": "a quota per minute is used up",
                                  "back_in_ms": 33_100}], "passed_over_more": 7},
            ],
            "delays": [{"start_ms": 5.2, "ms": 899.0, "cause": "no_key"}],
            "status": 200, "end": "complete", "total_ms": 926.0, "queued_ms": 899.5,
            "usage": {"prompt": 3, "output": 4},
        });
        let text = told(&request);
        let places: Vec<_> = [
            "of alice: POST generateContent, model m",
            "Key a of project p was next in turn.",
            "Google answered 429: \"RESOURCE_EXHAUSTED: spent\" (QuotaMinute). Left alone: the model in the project",
            "Waited 899 ms for a key.",
            "Key b was the only one left. Passed over: 2 keys cooling for this model (first a, a quota per minute is used up, back in 34 s); 7 more",
            "Google answered 200.",
            "The client got the whole answer: 200. It had no key for 900 ms in all. Tokens: 3 in, 4 out.",
        ]
        .map(|part| text.find(part).unwrap_or_else(|| panic!("no {part:?} in:\n{text}")))
        .into();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn what_others_have_made_up_does_nothing_to_a_terminal() {
        let evil = "x\n\u{1b}[31mforged".repeat(1000);
        let request = json!({
            "id": evil, "caller": evil, "model": evil, "path": evil, "end": evil, "told": evil, "bound_to": evil,
            "attempts": [{"key": evil, "fault": evil, "words": evil, "project": evil,
                          "passed_over": [{"why": evil, "key": evil, "reason": evil}]}],
            "delays": [{"cause": "no_key", "refusal": evil}],
        });
        let text = told(&request);
        assert!(!text.contains('\u{1b}') && text.len() < 20_000, "{text}");
        assert!(!text.lines().any(|line| line.starts_with("forged")));
    }
}

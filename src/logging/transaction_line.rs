//! What one transaction looks like in `logs/transactions.log`, and in the operator's API: a JSON object a line, written
//! straight into its text. What few requests have is left out where it is not there. `gemini-balance explain` reads it.

use super::line::{JsonText, timestamp_of};
use gemini_balance_actors::transaction::{Attempt, Delay, DelayCause, Transaction};
use keypool::{Choice, PassedOver};
use std::fmt::{self, Write as _};

/// What the client was told where the gateway answered itself: the status, and the message.
pub type Told<'a> = (u16, std::borrow::Cow<'a, str>);

/// The transaction's line. `told` is what the HTTP face has made of its failure.
pub fn transaction_line<'a>(transaction: &'a Transaction, told: Option<Told<'a>>) -> impl fmt::Display + 'a {
    Line(transaction, told)
}

struct Line<'a>(&'a Transaction, Option<Told<'a>>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(t, told) = self;
        write!(f, r#"{{"time":"{}","id":"{}","caller":"#, timestamp_of(t.ended), t.id)?;
        text_or_null(f, t.caller.as_deref())?;
        let dialect = match t.dialect {
            gemini::path::Dialect::Gemini => "gemini",
            gemini::path::Dialect::OpenAi => "openai",
        };
        let translated = t.detail.as_ref().and_then(|detail| detail.translated.as_deref());
        let dialect = translated.map_or(dialect, |translated| translated.format);
        write!(f, r#","dialect":"{dialect}","method":"{}""#, t.method)?;
        // Of what was refused before it was read no model is known.
        if let Some(translated) = translated.filter(|translated| !translated.asked_model.is_empty()) {
            write!(f, r#","asked_model":{}"#, JsonText(&translated.asked_model))?;
        }
        if let Some(verb) = &t.verb {
            write!(f, r#","verb":{}"#, JsonText(verb.as_str()))?;
        }
        if t.streamed {
            f.write_str(r#","streamed":true"#)?;
        }
        write!(f, r#","path":{},"model":"#, JsonText(&t.path))?;
        text_or_null(f, t.model.as_deref())?;
        f.write_str(r#","attempts":["#)?;
        for (position, attempt) in t.attempts.iter().enumerate() {
            if position > 0 {
                f.write_char(',')?;
            }
            write_attempt(f, attempt)?;
        }
        let status = told.as_ref().map_or(t.status, |(status, _)| *status);
        write!(f, r#"],"status":{status},"end":"{}""#, t.end.as_str())?;
        if let Some(refuser) = t.refuser() {
            write!(f, r#","refused_by":"{}""#, refuser.as_str())?;
            if let Some(limit) = refuser.limit() {
                write!(f, r#","limit":"{limit}""#)?;
            }
        }
        if let Some(first_byte) = t.first_byte {
            write!(f, r#","first_byte_ms":{}"#, Millis(first_byte))?;
        }
        write!(
            f,
            r#","total_ms":{},"queued_ms":{},"bytes_in":{},"bytes_out":{}"#,
            Millis(t.total),
            Millis(t.queued),
            t.bytes_in,
            t.bytes_out
        )?;
        if let Some(usage) = &t.usage {
            f.write_str(r#","usage":{"#)?;
            let counts = [
                ("prompt", usage.prompt_tokens),
                ("output", usage.output_tokens),
                ("thoughts", usage.thoughts_tokens),
                ("cached", usage.cached_tokens),
                ("total", usage.total_tokens),
            ];
            let mut comma = "";
            for (name, count) in counts {
                if let Some(count) = count {
                    write!(f, r#"{comma}"{name}":{count}"#)?;
                    comma = ",";
                }
            }
            f.write_char('}')?;
        }
        if let Some(detail) = &t.detail {
            if let Some(name) = &detail.bound_to {
                write!(f, r#","bound_to":{}"#, JsonText(name))?;
            }
            if !detail.delays.is_empty() {
                f.write_str(r#","delays":["#)?;
                for (position, delay) in detail.delays.iter().enumerate() {
                    if position > 0 {
                        f.write_char(',')?;
                    }
                    write_delay(f, delay)?;
                }
                f.write_char(']')?;
            }
        }
        let at_the_door = || t.detail.as_ref()?.told.as_deref();
        if let Some(told) = told.as_ref().map(|(_, told)| &**told).or_else(at_the_door) {
            write!(f, r#","told":{}"#, JsonText(told))?;
        }
        f.write_char('}')
    }
}

fn text_or_null(f: &mut fmt::Formatter<'_>, text: Option<&str>) -> fmt::Result {
    match text {
        Some(text) => write!(f, "{}", JsonText(text)),
        None => f.write_str("null"),
    }
}

fn write_attempt(f: &mut fmt::Formatter<'_>, attempt: &Attempt) -> fmt::Result {
    write!(f, r#"{{"key":{}"#, JsonText(attempt.key.as_str()))?;
    if let Some(project) = &attempt.project {
        write!(f, r#","project":{}"#, JsonText(project.as_str()))?;
    }
    if attempt.choice != Choice::Turn {
        write!(f, r#","chosen":"{}""#, attempt.choice.as_str())?;
    }
    if attempt.is_probe {
        f.write_str(r#","probe":true"#)?;
    }
    let (start, status) = (Millis(attempt.start), attempt.status.unwrap_or(0));
    write!(f, r#","start_ms":{start},"status":{status}"#)?;
    if let Some(fault) = attempt.fault {
        write!(f, r#","fault":"{fault:?}""#)?;
    }
    write!(f, r#","ms":{}"#, Millis(attempt.took))?;
    if let Some(detail) = &attempt.detail {
        if let Some(words) = &detail.words {
            write!(f, r#","words":{}"#, JsonText(words))?;
        }
        if let Some(passed_over) = &detail.passed_over {
            write_passed_over(f, passed_over)?;
        }
    }
    f.write_char('}')
}

fn write_delay(f: &mut fmt::Formatter<'_>, delay: &Delay) -> fmt::Result {
    write!(f, r#"{{"start_ms":{},"ms":{}"#, Millis(delay.start), Millis(delay.took))?;
    match &delay.cause {
        DelayCause::NoKey(passed_over) => {
            f.write_str(r#","cause":"no_key""#)?;
            if let Some(passed_over) = passed_over {
                write_passed_over(f, passed_over)?;
            }
        }
        DelayCause::AfterFault(kind) => write!(f, r#","cause":"pause","after":"{kind:?}""#)?,
    }
    if let Some(refusal) = &delay.refusal {
        write!(f, r#","refusal":{}"#, JsonText(&refusal.to_string()))?;
    }
    f.write_char('}')
}

fn write_passed_over(f: &mut fmt::Formatter<'_>, passed_over: &PassedOver) -> fmt::Result {
    f.write_str(r#","passed_over":["#)?;
    for (position, group) in passed_over.groups.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        write!(f, r#"{comma}{{"why":"{}","keys":{}"#, group.obstacle, group.keys)?;
        write!(f, r#","key":{}"#, JsonText(group.first.as_str()))?;
        if let Some(reason) = group.reason {
            write!(f, r#","reason":{}"#, JsonText(&reason.to_string()))?;
        }
        if let Some(back_in) = group.back_in {
            write!(f, r#","back_in_ms":{}"#, back_in.as_millis())?;
        }
        f.write_char('}')?;
    }
    f.write_char(']')?;
    if passed_over.more > 0 {
        write!(f, r#","passed_over_more":{}"#, passed_over.more)?;
    }
    Ok(())
}

/// Milliseconds with three decimals.
struct Millis(std::time::Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

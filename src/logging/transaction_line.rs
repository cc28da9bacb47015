//! What one transaction looks like in `logs/transactions.log`, and in the operator's API: a JSON object a line, written
//! straight into its text. What few requests have is left out where it is not there. `gemini-balance explain` reads it.

use super::line::{JsonText, timestamp_of};
use gemini_balance_actors::transaction::{Attempt, Delay, DelayCause, Transaction};
use keypool::{Choice, PassedOver};
use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// What a line of one attempt takes, with room for its names.
const USUAL_BYTES: usize = 640;

/// What the client was told where the gateway answered itself: the status, and the message.
pub type Told<'a> = (u16, std::borrow::Cow<'a, str>);

/// The transaction's line. `told` is what the HTTP face has made of its failure.
pub fn transaction_line<'a>(transaction: &'a Transaction, told: Option<Told<'a>>) -> impl fmt::Display + 'a {
    Line(transaction, told)
}

struct Line<'a>(&'a Transaction, Option<Told<'a>>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Put together in memory and passed on in one piece: a line has some seventy parts, and a request has a line.
        let mut line = String::with_capacity(USUAL_BYTES);
        self.write_to(&mut line)?;
        f.write_str(&line)
    }
}

impl Line<'_> {
    fn write_to(&self, line: &mut String) -> fmt::Result {
        let Self(t, told) = self;
        write!(line, r#"{{"time":"{}","id":""#, timestamp_of(t.ended))?;
        line.push_str(&t.id);
        text_or_null(line, r#"","caller":"#, t.caller.as_deref())?;
        let dialect = match t.dialect {
            gemini::path::Dialect::Gemini => "gemini",
            gemini::path::Dialect::OpenAi => "openai",
        };
        let translated = t.detail.as_ref().and_then(|detail| detail.translated.as_deref());
        word(line, r#","dialect":"#, translated.map_or(dialect, |translated| translated.format));
        word(line, r#","method":"#, t.method.as_str());
        // Of what was refused before it was read no model is known.
        if let Some(translated) = translated.filter(|translated| !translated.asked_model.is_empty()) {
            text(line, r#","asked_model":"#, &translated.asked_model)?;
        }
        if let Some(verb) = &t.verb {
            text(line, r#","verb":"#, verb.as_str())?;
        }
        if t.streamed {
            line.push_str(r#","streamed":true"#);
        }
        text(line, r#","path":"#, &t.path)?;
        text_or_null(line, r#","model":"#, t.model.as_deref())?;
        line.push_str(r#","attempts":["#);
        for (position, attempt) in t.attempts.iter().enumerate() {
            if position > 0 {
                line.push(',');
            }
            write_attempt(line, attempt)?;
        }
        let status = told.as_ref().filter(|_| !t.was_cut_off()).map_or(t.status, |(status, _)| *status);
        number(line, r#"],"status":"#, status);
        word(line, r#","end":"#, t.end.as_str());
        if let Some(refuser) = t.refuser() {
            word(line, r#","refused_by":"#, refuser.as_str());
            if let Some(limit) = refuser.limit() {
                write!(line, r#","limit":"{limit}""#)?;
            }
        }
        if let Some(first_byte) = t.first_byte {
            milliseconds(line, r#","first_byte_ms":"#, first_byte);
        }
        milliseconds(line, r#","total_ms":"#, t.total);
        milliseconds(line, r#","queued_ms":"#, t.queued);
        number(line, r#","bytes_in":"#, t.bytes_in);
        number(line, r#","bytes_out":"#, t.bytes_out);
        if let Some(usage) = &t.usage {
            line.push_str(r#","usage":{"#);
            let counts = [
                (r#""prompt":"#, usage.prompt_tokens),
                (r#""output":"#, usage.output_tokens),
                (r#""thoughts":"#, usage.thoughts_tokens),
                (r#""cached":"#, usage.cached_tokens),
                (r#""total":"#, usage.total_tokens),
            ];
            let mut comma = "";
            for (name, count) in counts {
                if let Some(count) = count {
                    line.push_str(comma);
                    number(line, name, count);
                    comma = ",";
                }
            }
            line.push('}');
        }
        if let Some(detail) = &t.detail {
            if let Some(name) = &detail.bound_to {
                text(line, r#","bound_to":"#, name)?;
            }
            if !detail.delays.is_empty() {
                line.write_str(r#","delays":["#)?;
                for (position, delay) in detail.delays.iter().enumerate() {
                    if position > 0 {
                        line.write_char(',')?;
                    }
                    write_delay(line, delay)?;
                }
                line.write_char(']')?;
            }
        }
        let at_the_door = || t.detail.as_ref()?.told.as_deref();
        if let Some(told) = told.as_ref().map(|(_, told)| &**told).or_else(at_the_door) {
            text(line, r#","told":"#, told)?;
        }
        line.write_char('}')
    }
}

/// Each of these writes a member: its name, as it is written with what stands before it, and its value.
fn text(line: &mut String, name: &str, text: &str) -> fmt::Result {
    line.push_str(name);
    JsonText(text).write_to(line)
}

fn text_or_null(line: &mut String, name: &str, text: Option<&str>) -> fmt::Result {
    line.push_str(name);
    match text {
        Some(text) => JsonText(text).write_to(line),
        None => line.write_str("null"),
    }
}

/// One of the gateway's own words, in which nothing is to be escaped.
fn word(line: &mut String, name: &str, word: &str) {
    for part in [name, "\"", word, "\""] {
        line.push_str(part);
    }
}

fn number(line: &mut String, name: &str, number: impl itoa::Integer) {
    line.push_str(name);
    line.push_str(itoa::Buffer::new().format(number));
}

/// Milliseconds with three decimals.
fn milliseconds(line: &mut String, name: &str, time: Duration) {
    let micros = time.as_micros();
    number(line, name, u64::try_from(micros / 1000).unwrap_or(u64::MAX));
    // A leading digit keeps the zeros behind it, and is cut off.
    let mut decimals = itoa::Buffer::new();
    line.push('.');
    line.push_str(&decimals.format(1000 + micros % 1000)[1..]);
}

fn write_attempt(line: &mut String, attempt: &Attempt) -> fmt::Result {
    text(line, r#"{"key":"#, attempt.key.as_str())?;
    if let Some(project) = &attempt.project {
        text(line, r#","project":"#, project.as_str())?;
    }
    if attempt.choice != Choice::Turn {
        word(line, r#","chosen":"#, attempt.choice.as_str());
    }
    if attempt.is_probe {
        line.push_str(r#","probe":true"#);
    }
    milliseconds(line, r#","start_ms":"#, attempt.start);
    number(line, r#","status":"#, attempt.status.unwrap_or(0));
    if let Some(fault) = attempt.fault {
        write!(line, r#","fault":"{fault:?}""#)?;
    }
    milliseconds(line, r#","ms":"#, attempt.took);
    if let Some(detail) = &attempt.detail {
        if let Some(words) = &detail.words {
            text(line, r#","words":"#, words)?;
        }
        if let Some(passed_over) = &detail.passed_over {
            write_passed_over(line, passed_over)?;
        }
    }
    line.push('}');
    Ok(())
}

fn write_delay(line: &mut String, delay: &Delay) -> fmt::Result {
    milliseconds(line, r#"{"start_ms":"#, delay.start);
    milliseconds(line, r#","ms":"#, delay.took);
    match &delay.cause {
        DelayCause::NoKey(passed_over) => {
            line.write_str(r#","cause":"no_key""#)?;
            if let Some(passed_over) = passed_over {
                write_passed_over(line, passed_over)?;
            }
        }
        DelayCause::AfterFault(kind) => write!(line, r#","cause":"pause","after":"{kind:?}""#)?,
    }
    if let Some(refusal) = &delay.refusal {
        text(line, r#","refusal":"#, &refusal.to_string())?;
    }
    line.write_char('}')
}

fn write_passed_over(line: &mut String, passed_over: &PassedOver) -> fmt::Result {
    line.write_str(r#","passed_over":["#)?;
    for (position, group) in passed_over.groups.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        write!(line, r#"{comma}{{"why":"{}","keys":{}"#, group.obstacle, group.keys)?;
        text(line, r#","key":"#, group.first.as_str())?;
        if let Some(reason) = group.reason {
            text(line, r#","reason":"#, &reason.to_string())?;
        }
        if let Some(back_in) = group.back_in {
            write!(line, r#","back_in_ms":{}"#, back_in.as_millis())?;
        }
        line.write_char('}')?;
    }
    line.write_char(']')?;
    if passed_over.more > 0 {
        write!(line, r#","passed_over_more":{}"#, passed_over.more)?;
    }
    Ok(())
}

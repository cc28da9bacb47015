//! What operators ask of the usage: how a question is written, and how its answer is. Asked over the operator's listener
//! (`/api/usage`) and by `gemini-balance usage`, which is its client. What is counted is in `gemini_balance_actors::accounting`.

mod notes;
mod question;
mod reach;
mod table;

pub(crate) use notes::{NOTES_HEADER, kept_line, missing_words};
pub(crate) use question::{Question, TABLE_COLUMNS, time};
pub(crate) use reach::{REACH_HEADER, reach_line};
use table::write_table;
pub(crate) use table::{COUNTS, Format, no_formula};

use gemini_balance_actors::{accounting::Accounts, cluster::SharedUsage};
use gemini_balance_store::{BookError, StoreError};
use std::collections::HashMap;

/// An answer: a status of HTTP, the type of the text, and the text.
pub(crate) struct UsageAnswer {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// What the text has no place for, each a header of its name.
    pub(crate) beside: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Answers a question that came with these parameters at `now`, in seconds of Unix time: of all gateways, where there are
/// others. Blocks on the disk, and for some time at most on what they share.
pub(crate) fn answer(
    accounts: &Accounts,
    shared: Option<&SharedUsage>,
    parameters: &HashMap<String, String>,
    now: i64,
) -> UsageAnswer {
    let asked = Question::read(parameters, &accounts.days(), now);
    let question = match asked {
        Ok(question) => question,
        Err(why) => return refused(400, &why),
    };
    let answered = match shared {
        Some(shared) => shared.query(&question.query).map(|(report, counted)| (report, Some(counted))),
        None => accounts.report(&question.query).map(|report| (report, None)),
    };
    let (report, counted) = match answered {
        Ok(answered) => answered,
        Err(BookError::Query(error)) => return refused(400, &error.to_string()),
        Err(BookError::Store(error @ StoreError::Busy { .. })) => return refused(503, &error.to_string()),
        Err(BookError::Store(error)) => return refused(503, &format!("the usage cannot be read: {error}")),
    };
    let by = &question.query.by;
    let mut notes = notes::notes_json(&report);
    let reach = counted.as_ref().map(reach::reach_json);
    let mut beside = Vec::new();
    if question.format == Format::Csv {
        beside.extend(reach.as_ref().map(|reach| (REACH_HEADER, reach.to_string())));
        beside.extend(notes::notes_header(std::mem::take(&mut notes)).map(|notes| (NOTES_HEADER, notes)));
    }
    notes.extend(reach.map(|reach| ("gateways".to_owned(), reach)));
    let mut body = Vec::new();
    match write_table(&mut body, question.format, by, &report.rows(), &accounts.currency(), &notes) {
        Ok(()) => UsageAnswer { status: 200, content_type: question.format.content_type(), beside, body },
        Err(error) => refused(500, &format!("the answer cannot be written: {error}")),
    }
}

fn refused(status: u16, why: &str) -> UsageAnswer {
    let body = serde_json::json!({ "error": why }).to_string().into_bytes();
    UsageAnswer { status, content_type: "application/json", beside: Vec::new(), body }
}

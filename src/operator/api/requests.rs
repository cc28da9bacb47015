//! `/api/requests` and `/api/errors`: the newest requests one by one, and their faults by kind, from the ring in memory. Each
//! looks as in `logs/transactions.log`, which has the older ones.

use super::{Desk, RouteTable, gate::answer};
use crate::{blame_words, http::told_of, logging::transaction_line, usage_report};
use actix_web::{HttpResponse, http::header, web};
use chrono::{DateTime, SecondsFormat, Utc};
use gemini::{classify::TABLE, fault::Kind};
use gemini_balance_actors::{
    accounting::Accounts,
    transaction::{Attempt, End, Refuser, Transaction},
};
use serde_json::{Value, json};
use std::{collections::HashMap, fmt::Write as _};

/// How many requests an answer has, where nothing is said, and at most.
const LIMIT: usize = 50;
const MOST: usize = 200;
/// How many of the last messages of a kind are told.
const MESSAGES: usize = 5;

/// Adds the paths of these resources.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/requests", list).get("/api/requests/{id}", one).get("/api/errors", errors);
}

type Parameters = web::Query<HashMap<String, String>>;

async fn list(parameters: Parameters, desk: web::Data<Desk>) -> HttpResponse {
    let accounts = match kept(&desk) {
        Ok(accounts) => accounts,
        Err(refusal) => return *refusal,
    };
    let filter = match Filter::read(&parameters, accounts, &Filter::KNOWN) {
        Ok(filter) => filter,
        Err(why) => return answer(400, &why),
    };
    let found = accounts.recent(filter.before, filter.limit, |it| filter.wants(it));
    let cursor = found.last().filter(|_| found.len() == filter.limit).map(|(number, _)| number.to_string());
    let mut body = String::from(r#"{"requests":["#);
    for (position, (_, transaction)) in found.iter().enumerate() {
        let comma = if position > 0 { "," } else { "" };
        let _ = write!(body, "{comma}{}", line(transaction));
    }
    let _ = write!(body, r#"],"cursor":{},"kept":{}}}"#, json!(cursor), accounts.recent_count());
    sent(body)
}

/// What the id of a request is.
const ID: &str = "the sixteen digits (0-9, a-f) of an x-request-id";

/// Returns whether a request could have this id.
fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn one(id: web::Path<String>, desk: web::Data<Desk>) -> HttpResponse {
    if !is_id(&id) {
        return answer(400, &format!("the id must be {ID}"));
    }
    let accounts = match kept(&desk) {
        Ok(accounts) => accounts,
        Err(refusal) => return *refusal,
    };
    match accounts.recent(None, 1, |it| it.id == *id).first() {
        Some((_, transaction)) => sent(line(transaction).to_string()),
        None => {
            answer(404, "no request of this id is among the newest; logs/transactions.log has older ones")
        }
    }
}

async fn errors(parameters: Parameters, desk: web::Data<Desk>) -> HttpResponse {
    let accounts = match kept(&desk) {
        Ok(accounts) => accounts,
        Err(refusal) => return *refusal,
    };
    let filter = match Filter::read(&parameters, accounts, &["caller", "model", "key", "since"]) {
        Ok(filter) => filter,
        Err(why) => return answer(400, &why),
    };
    let is_trouble =
        |it: &Transaction| it.failure.is_some() || it.attempts.iter().any(|attempt| attempt.fault.is_some());
    let found = accounts.recent(None, usize::MAX, |it| is_trouble(it) && filter.wants(it));
    let mut faults: HashMap<Kind, Seen> = HashMap::new();
    let mut refusals: Vec<(String, Seen)> = Vec::new();
    for (_, transaction) in &found {
        for attempt in transaction.attempts.iter().rev() {
            if let Some(kind) = attempt.fault {
                faults.entry(kind).or_default().see(|| message(transaction, attempt));
            }
        }
        let Some(failure) = &transaction.failure else { continue };
        let (status, told) = told_of(failure);
        let refuser = transaction.refuser();
        let by = refuser.map_or("gateway", Refuser::as_str);
        let limit = refuser.and_then(Refuser::limit);
        let name = format!("{status} {by} {}", limit.unwrap_or_default());
        let place = refusals.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            refusals.push((
                name,
                Seen { about: json!({ "status": status, "by": by, "limit": limit }), ..Seen::default() },
            ));
            refusals.len() - 1
        });
        refusals[place]
            .1
            .see(|| json!({ "time": time(transaction.ended), "id": transaction.id, "told": told }));
    }
    let faults = TABLE.iter().filter_map(|row| {
        let seen = faults.remove(&row.kind)?;
        Some(json!({
            "fault": format!("{:?}", row.kind),
            "count": seen.count,
            "says": row.words,
            "left_alone": blame_words::left_alone(row.kind),
            "request": blame_words::next(row.kind),
            "advice": blame_words::advice(row.kind),
            "last": seen.last,
        }))
    });
    let mut faults: Vec<Value> = faults.collect();
    faults.sort_by_key(|fault| std::cmp::Reverse(fault["count"].as_u64()));
    let refusals = refusals.into_iter().map(|(_, seen)| {
        let mut about = seen.about;
        about["count"] = seen.count.into();
        about["last"] = seen.last.into();
        about
    });
    let refusals: Vec<Value> = refusals.collect();
    sent(json!({ "faults": faults, "refusals": refusals, "kept": accounts.recent_count() }).to_string())
}

/// Faults of one kind, or refusals for one reason.
#[derive(Default)]
struct Seen {
    about: Value,
    count: u64,
    /// The last of them, newest first.
    last: Vec<Value>,
}

impl Seen {
    fn see(&mut self, told: impl FnOnce() -> Value) {
        self.count += 1;
        if self.last.len() < MESSAGES {
            self.last.push(told());
        }
    }
}

fn message(transaction: &Transaction, attempt: &Attempt) -> Value {
    let words = attempt.detail.as_ref().and_then(|detail| detail.words.as_deref());
    json!({
        "time": time(transaction.ended),
        "id": transaction.id,
        "model": transaction.model.as_deref(),
        "key": attempt.key.as_str(),
        "status": attempt.status,
        "words": words,
    })
}

/// Returns what keeps the newest requests, or says that nothing does.
fn kept(desk: &Desk) -> Result<&Accounts, Box<HttpResponse>> {
    const OFF: &str = "no requests are kept in memory: usage.enabled is false; see logs/transactions.log";
    let off = || Box::new(answer(404, OFF));
    desk.operated.accounts.as_ref().ok_or_else(off)
}

/// Returns a transaction as it is in the log.
pub(in super::super) fn line(transaction: &Transaction) -> impl std::fmt::Display + '_ {
    transaction_line(transaction, transaction.failure.as_ref().map(told_of))
}

fn sent(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Which requests are asked for.
#[derive(Debug, Default)]
struct Filter {
    caller: Option<String>,
    model: Option<String>,
    key: Option<String>,
    status: Option<Status>,
    end: Option<String>,
    fault: Option<Kind>,
    refused_by: Option<String>,
    id: Option<String>,
    since: Option<DateTime<Utc>>,
    before: Option<u64>,
    limit: usize,
}

/// A status, or all of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    One(u16),
    Class(u16),
}

impl Filter {
    const KNOWN: [&'static str; 11] =
        ["caller", "model", "key", "status", "end", "fault", "refused_by", "id", "since", "limit", "cursor"];

    /// Reads the parameters; what is wrong with them in one line.
    fn read(
        parameters: &HashMap<String, String>,
        accounts: &Accounts,
        known: &[&str],
    ) -> Result<Self, String> {
        if let Some(unknown) = parameters.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("{unknown} is no parameter; those are {}", known.join(", ")));
        }
        let text = |name: &str| parameters.get(name).filter(|text| !text.is_empty());
        let read =
            |name: &str, why: &str| text(name).map(|text| (text.as_str(), format!("{name} must be {why}")));
        let status = match read("status", "a status such as 429, or a class such as 4xx") {
            Some((text, why)) => Some(Status::read(text).ok_or(why)?),
            None => None,
        };
        let fault = match read("fault", "a name of docs/errors.md's blame table, such as QuotaMinute") {
            Some((text, why)) => Some(blame_words::kind_of(text).ok_or(why)?),
            None => None,
        };
        let since = match read("since", "a time such as 2026-11-27T10:00:00Z, a date, or a span such as -24h")
        {
            Some((text, why)) => {
                let now = Utc::now().timestamp();
                let time = usage_report::time(text, &accounts.days(), now);
                Some(time.and_then(|time| DateTime::from_timestamp(time, 0)).ok_or(why)?)
            }
            None => None,
        };
        let limit = match read("limit", "a number from 1 to 200") {
            Some((text, why)) => text.parse().ok().filter(|limit| (1..=MOST).contains(limit)).ok_or(why)?,
            None => LIMIT,
        };
        let ends = End::ALL.map(End::as_str);
        for (name, words) in [("end", &ends[..]), ("refused_by", &Refuser::WORDS)] {
            if let Some(word) = text(name).filter(|word| !words.contains(&word.as_str())) {
                return Err(format!("{name} must be one of {}; {word:?} is none", words.join(", ")));
            }
        }
        if let Some((id, why)) = read("id", ID)
            && !is_id(id)
        {
            return Err(why);
        }
        let before = match read("cursor", "that of an answer") {
            Some((text, why)) => Some(text.parse().map_err(|_| why)?),
            None => None,
        };
        let [caller, model, key, end, refused_by, id] =
            ["caller", "model", "key", "end", "refused_by", "id"].map(|name| text(name).cloned());
        Ok(Self { caller, model, key, status, end, fault, refused_by, id, since, before, limit })
    }

    fn wants(&self, it: &Transaction) -> bool {
        fn fits<T: PartialEq + ?Sized>(asked: Option<&T>, there: Option<&T>) -> bool {
            asked.is_none_or(|asked| there == Some(asked))
        }
        fits(self.caller.as_deref(), it.caller.as_deref())
            && fits(self.model.as_deref(), it.model.as_deref())
            && fits(self.end.as_deref(), Some(it.end.as_str()))
            && fits(self.refused_by.as_deref(), it.refuser().map(Refuser::as_str))
            && fits(self.id.as_deref(), Some(it.id.as_str()))
            && self.since.is_none_or(|since| it.ended >= since)
            && self.key.as_deref().is_none_or(|key| it.attempts.iter().any(|at| at.key.as_str() == key))
            && self.fault.is_none_or(|fault| it.attempts.iter().any(|at| at.fault == Some(fault)))
            && self.status.is_none_or(|status| {
                status.is(it.answered_failure().map_or(it.status, |failure| told_of(failure).0))
            })
    }
}

impl Status {
    fn read(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            return class.parse().ok().filter(|class| (1..=5).contains(class)).map(Self::Class);
        }
        text.parse().ok().filter(|status| *status < 1000).map(Self::One)
    }

    fn is(self, status: u16) -> bool {
        match self {
            Self::One(asked) => status == asked,
            Self::Class(class) => status / 100 == class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_asked_for_alone_or_by_its_class() {
        for (text, status) in [
            ("429", Some(Status::One(429))),
            ("4xx", Some(Status::Class(4))),
            ("9xx", None),
            ("x", None),
            ("99999", None),
        ] {
            assert_eq!(Status::read(text), status, "{text}");
        }
        assert!(Status::Class(4).is(404) && !Status::Class(4).is(500) && !Status::One(404).is(400));
    }
}

//! A transaction in few bytes, written one after the other: a finished request is kept for a while, and where it consists of
//! many small pieces of memory, keeping it costs more than all that is counted of it. What few requests have (a refusal, a
//! second attempt, words of Google's) has no brief form: such a transaction is kept whole.

use crate::transaction::{Attempt, End, Transaction};
use chrono::{DateTime, Utc};
use gemini::{fault::Kind, operation::Verb, path::Dialect, usage::Usage};
use http::Method;
use keypool::{Choice, KeyId, Project};
use std::{str, time::Duration};

/// The methods that have a brief form.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];

/// What of a transaction is no text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    pub(super) ended: DateTime<Utc>,
    dialect: Dialect,
    method: u8,
    verb: Option<&'static str>,
    streamed: bool,
    attempt: Option<BriefAttempt>,
    status: u16,
    end: End,
    first_byte: Option<Duration>,
    total: Duration,
    queued: Duration,
    bytes_in: u64,
    bytes_out: u64,
    usage: Option<Usage>,
    texts: TextPlaces,
}

/// The only attempt, which has no detail.
#[derive(Clone, Copy, Debug)]
struct BriefAttempt {
    choice: Choice,
    is_probe: bool,
    start: Duration,
    status: Option<u16>,
    fault: Option<Kind>,
    took: Duration,
}

/// Where a transaction's texts begin, and the length of each: id, path, caller, model, key, project. Nothing is not the same
/// as empty.
#[derive(Clone, Copy, Debug)]
struct TextPlaces {
    start: usize,
    lengths: [u16; 6],
}

/// The length of a text that is not there.
const NONE: u16 = u16::MAX;

/// The texts of transactions in their brief form, one after the other.
#[derive(Debug, Default)]
pub(super) struct BriefText(Vec<u8>);

impl BriefText {
    /// Writes a transaction down; `None` where it has no brief form.
    pub(super) fn brief(&mut self, transaction: &Transaction) -> Option<Brief> {
        let attempt = match transaction.attempts.as_slice() {
            [] => None,
            [attempt] if attempt.detail.is_none() => Some(attempt),
            _ => return None,
        };
        if transaction.failure.is_some() || transaction.detail.is_some() {
            return None;
        }
        let verb = match &transaction.verb {
            Some(verb) => Some(verb.known()?),
            None => None,
        };
        let method = METHODS.iter().position(|method| *method == transaction.method)?;
        let texts = [
            Some(transaction.id.as_str()),
            Some(&transaction.path),
            transaction.caller.as_deref(),
            transaction.model.as_deref(),
            attempt.map(|attempt| attempt.key.as_str()),
            attempt.and_then(|attempt| attempt.project.as_ref()).map(Project::as_str),
        ];
        if texts.iter().flatten().any(|text| text.len() >= usize::from(NONE)) {
            return None;
        }
        let mut places = TextPlaces { start: self.0.len(), lengths: [NONE; 6] };
        for (length, text) in places.lengths.iter_mut().zip(texts) {
            if let Some(text) = text {
                *length = u16::try_from(text.len()).unwrap_or(NONE);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
        let &Transaction { dialect, streamed, status, end, first_byte, total, ended, queued, .. } =
            transaction;
        let &Transaction { bytes_in, bytes_out, usage, .. } = transaction;
        let attempt = attempt.map(|attempt| {
            let &Attempt { choice, is_probe, start, status, fault, took, .. } = attempt;
            BriefAttempt { choice, is_probe, start, status, fault, took }
        });
        let method = u8::try_from(method).ok()?;
        let texts = places;
        Some(Brief {
            ended,
            dialect,
            method,
            verb,
            streamed,
            attempt,
            status,
            end,
            first_byte,
            total,
            queued,
            bytes_in,
            bytes_out,
            usage,
            texts,
        })
    }

    /// Makes it whole again.
    pub(super) fn whole(&self, brief: &Brief) -> Transaction {
        let mut at = brief.texts.start;
        let texts = brief.texts.lengths.map(|length| {
            let end = at + usize::from(if length == NONE { 0 } else { length });
            let text = str::from_utf8(self.0.get(at..end).unwrap_or_default()).unwrap_or_default();
            at = end;
            (length != NONE).then_some(text)
        });
        let [id, path, caller, model, key, project] = texts;
        let &Brief {
            ended,
            dialect,
            streamed,
            status,
            end,
            first_byte,
            total,
            queued,
            bytes_in,
            bytes_out,
            usage,
            ..
        } = brief;
        let attempt = brief.attempt.map(|attempt| {
            let BriefAttempt { choice, is_probe, start, status, fault, took } = attempt;
            let (key, project) = (KeyId::from(key.unwrap_or_default()), project.map(Project::from));
            Attempt { key, project, choice, is_probe, start, status, fault, took, detail: None }
        });
        Transaction {
            id: id.unwrap_or_default().to_owned(),
            caller: caller.map(Into::into),
            dialect,
            method: METHODS.get(usize::from(brief.method)).cloned().unwrap_or_default(),
            verb: brief.verb.map(Verb::of),
            streamed,
            path: path.unwrap_or_default().to_owned(),
            model: model.map(Into::into),
            attempts: attempt.into_iter().collect(),
            status,
            failure: None,
            end,
            first_byte,
            total,
            ended,
            queued,
            bytes_in,
            bytes_out,
            usage,
            detail: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Failure, transaction::Detail};
    use gemini::usage::UsageForm;

    fn transaction() -> Transaction {
        Transaction {
            ended: DateTime::from_timestamp_micros(1_793_484_000_123_456).unwrap(),
            verb: Some(Verb::of("generateContent")),
            bytes_in: 17,
            bytes_out: u64::MAX,
            first_byte: Some(Duration::from_nanos(12_345)),
            total: Duration::from_secs(3),
            queued: Duration::from_millis(7),
            usage: Some(Usage { prompt_tokens: Some(5), form: UsageForm::OpenAi, ..Usage::default() }),
            ..crate::testing::transaction("alice", "/v1beta/models/gemini-2.5-flash:generateContent")
        }
    }

    fn changed(change: impl FnOnce(&mut Transaction)) -> Transaction {
        let mut transaction = transaction();
        change(&mut transaction);
        transaction
    }

    #[test]
    fn what_is_written_down_briefly_is_the_same_when_it_is_made_whole_again() {
        let mut text = BriefText::default();
        let all = [
            transaction(),
            changed(|it| (it.caller, it.model, it.usage) = (None, None, None)),
            changed(|it| (it.caller, it.first_byte, it.verb) = (Some("".into()), None, None)),
            changed(|it| it.attempts.clear()),
            changed(|it| it.attempts[0].project = Some("".into())),
            changed(|it| {
                it.attempts[0].project = Some("öffentlich".into());
                it.attempts[0].fault = Some(Kind::Client);
                (it.attempts[0].status, it.status, it.end) = (Some(400), 400, End::ClientLeft);
            }),
            changed(|it| (it.method, it.dialect, it.streamed) = (Method::DELETE, Dialect::OpenAi, true)),
        ];
        let briefs: Vec<_> = all.iter().map(|it| text.brief(it).unwrap()).collect();
        for (brief, transaction) in briefs.iter().zip(&all) {
            assert_eq!(format!("{:?}", text.whole(brief)), format!("{transaction:?}"));
        }
    }

    #[test]
    fn what_few_requests_have_has_no_brief_form() {
        let mut text = BriefText::default();
        for transaction in [
            changed(|it| it.attempts.push(it.attempts[0].clone())),
            changed(|it| it.attempts[0].say("words")),
            changed(|it| it.failure = Some(Failure::PoolSilent)),
            changed(|it| it.detail = Some(Box::new(Detail::default()))),
            changed(|it| it.method = "BREW".parse().unwrap()),
            changed(|it| it.verb = Some(Verb::of("brew"))),
            changed(|it| it.path = "p".repeat(70_000)),
        ] {
            assert!(text.brief(&transaction).is_none(), "{transaction:?}");
        }
        assert!(text.0.is_empty(), "nothing is half written down");
    }

    #[test]
    fn a_brief_form_is_small() {
        assert!(size_of::<Brief>() <= 320, "{}", size_of::<Brief>());
    }
}

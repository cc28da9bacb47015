//! A transaction in few bytes, written one after the other: a finished request is kept for a while, and where it consists of
//! many small pieces of memory, keeping it costs more than all that is counted of it. What few requests have (a refusal, a
//! second attempt, words of Google's) has no brief form: such a transaction is kept whole.

use crate::transaction::{Attempt, End, Transaction};
use chrono::{DateTime, Utc};
use gemini::{
    fault::Kind,
    operation::Verb,
    path::Dialect,
    usage::{Usage, UsageForm},
};
use http::Method;
use keypool::{Choice, KeyId, Project};
use std::{str, time::Duration};

/// The methods that have a brief form.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];

/// What of a transaction is no text. Times are microseconds, as exact as the log's; what is beyond any number's room has no
/// brief form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    /// Since 1970.
    ended_us: i64,
    /// Where the texts begin, and the length of each: id, path, verb, caller, model, key, project. Nothing is not the same as
    /// empty.
    start: u32,
    lengths: [u16; 7],
    total_us: u32,
    queued_us: u32,
    first_byte_us: u32,
    bytes_in: u32,
    bytes_out: u32,
    tokens: [u32; 6],
    form: Option<UsageForm>,
    status: u16,
    dialect: Dialect,
    method: u8,
    streamed: bool,
    end: End,
    attempt: Option<BriefAttempt>,
}

/// The only attempt, which has no detail.
#[derive(Clone, Copy, Debug)]
struct BriefAttempt {
    start_us: u32,
    took_us: u32,
    status: Option<u16>,
    choice: Choice,
    is_probe: bool,
    fault: Option<Kind>,
}

impl Brief {
    /// When the transaction ended.
    pub(super) fn ended(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.ended_us).unwrap_or_default()
    }
}

/// A number that is not there.
const NO_NUMBER: u32 = u32::MAX;

/// The number where it has room.
fn small(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|&number| number != NO_NUMBER)
}

fn micros(duration: Duration) -> Option<u32> {
    u32::try_from(duration.as_micros()).ok().filter(|&micros| micros != NO_NUMBER)
}

fn duration(micros: u32) -> Duration {
    Duration::from_micros(micros.into())
}

/// All where each number that is there has room.
fn tokens(usage: &Usage) -> Option<[u32; 6]> {
    let Usage {
        prompt_tokens,
        output_tokens,
        thoughts_tokens,
        cached_tokens,
        tool_tokens,
        total_tokens,
        form: _,
    } = *usage;
    let mut all = [NO_NUMBER; 6];
    let counts = [prompt_tokens, output_tokens, thoughts_tokens, cached_tokens, tool_tokens, total_tokens];
    for (kept, count) in all.iter_mut().zip(counts) {
        if let Some(count) = count {
            *kept = small(count)?;
        }
    }
    Some(all)
}

fn usage(tokens: [u32; 6], form: UsageForm) -> Usage {
    let [prompt_tokens, output_tokens, thoughts_tokens, cached_tokens, tool_tokens, total_tokens] =
        tokens.map(|count| (count != NO_NUMBER).then_some(count.into()));
    Usage { prompt_tokens, output_tokens, thoughts_tokens, cached_tokens, tool_tokens, total_tokens, form }
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
        let (form, counts) = match &transaction.usage {
            Some(usage) => (Some(usage.form), tokens(usage)?),
            None => (None, [NO_NUMBER; 6]),
        };
        let first_byte_us = match transaction.first_byte {
            Some(first_byte) => micros(first_byte)?,
            None => NO_NUMBER,
        };
        let texts = [
            Some(transaction.id.as_str()),
            Some(&transaction.path),
            verb,
            transaction.caller.as_deref(),
            transaction.model.as_deref(),
            attempt.map(|attempt| attempt.key.as_str()),
            attempt.and_then(|attempt| attempt.project.as_ref()).map(Project::as_str),
        ];
        if texts.iter().flatten().any(|text| text.len() >= usize::from(NONE)) {
            return None;
        }
        let attempt = match attempt {
            Some(&Attempt { choice, is_probe, start, status, fault, took, .. }) => {
                let (start_us, took_us) = (micros(start)?, micros(took)?);
                Some(BriefAttempt { start_us, took_us, status, choice, is_probe, fault })
            }
            None => None,
        };
        let &Transaction { dialect, streamed, status, end, .. } = transaction;
        let mut brief = Brief {
            ended_us: transaction.ended.timestamp_micros(),
            start: u32::try_from(self.0.len()).ok()?,
            lengths: [NONE; 7],
            total_us: micros(transaction.total)?,
            queued_us: micros(transaction.queued)?,
            first_byte_us,
            bytes_in: small(transaction.bytes_in)?,
            bytes_out: small(transaction.bytes_out)?,
            tokens: counts,
            form,
            status,
            dialect,
            method: u8::try_from(method).ok()?,
            streamed,
            end,
            attempt,
        };
        for (length, text) in brief.lengths.iter_mut().zip(texts) {
            if let Some(text) = text {
                *length = u16::try_from(text.len()).unwrap_or(NONE);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
        Some(brief)
    }

    /// Writes down what another has written down, unless there is no room for it.
    pub(super) fn copy(&mut self, from: &Self, brief: &Brief) -> Option<Brief> {
        let lengths = brief.lengths.iter().filter(|&&length| length != NONE);
        let begin = brief.start as usize;
        let end = begin + lengths.map(|&length| usize::from(length)).sum::<usize>();
        let start = u32::try_from(self.0.len()).ok()?;
        self.0.extend_from_slice(from.0.get(begin..end)?);
        Some(Brief { start, ..*brief })
    }

    /// Makes it whole again.
    pub(super) fn whole(&self, brief: &Brief) -> Transaction {
        let mut at = brief.start as usize;
        let texts = brief.lengths.map(|length| {
            let end = at + usize::from(if length == NONE { 0 } else { length });
            let text = str::from_utf8(self.0.get(at..end).unwrap_or_default()).unwrap_or_default();
            at = end;
            (length != NONE).then_some(text)
        });
        let [id, path, verb, caller, model, key, project] = texts;
        let attempt = brief.attempt.map(|attempt| {
            let BriefAttempt { start_us, took_us, status, choice, is_probe, fault } = attempt;
            let (key, project) = (KeyId::from(key.unwrap_or_default()), project.map(Project::from));
            let (start, took) = (duration(start_us), duration(took_us));
            Attempt { key, project, choice, is_probe, start, status, fault, took, detail: None }
        });
        Transaction {
            id: id.unwrap_or_default().to_owned(),
            caller: caller.map(Into::into),
            dialect: brief.dialect,
            method: METHODS.get(usize::from(brief.method)).cloned().unwrap_or_default(),
            verb: verb.map(Verb::of),
            streamed: brief.streamed,
            path: path.unwrap_or_default().to_owned(),
            model: model.map(Into::into),
            attempts: attempt.into_iter().collect(),
            status: brief.status,
            failure: None,
            end: brief.end,
            first_byte: (brief.first_byte_us != NO_NUMBER).then(|| duration(brief.first_byte_us)),
            total: duration(brief.total_us),
            ended: brief.ended(),
            queued: duration(brief.queued_us),
            bytes_in: brief.bytes_in.into(),
            bytes_out: brief.bytes_out.into(),
            usage: brief.form.map(|form| usage(brief.tokens, form)),
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

    fn transaction() -> Transaction {
        Transaction {
            ended: DateTime::from_timestamp_micros(1_793_484_000_123_456).unwrap(),
            verb: Some(Verb::of("generateContent")),
            bytes_in: 17,
            bytes_out: 4_000_000_000,
            first_byte: Some(Duration::from_micros(12_345)),
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
        let mut copies = BriefText::default();
        for (brief, transaction) in briefs.iter().zip(&all).rev() {
            assert_eq!(format!("{:?}", text.whole(brief)), format!("{transaction:?}"));
            let copy = copies.copy(&text, brief).unwrap();
            assert_eq!(format!("{:?}", copies.whole(&copy)), format!("{transaction:?}"));
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
            changed(|it| it.bytes_out = u64::from(u32::MAX)),
            changed(|it| it.total = Duration::from_secs(2 * 3_600)),
            changed(|it| it.usage.as_mut().unwrap().total_tokens = Some(u64::MAX)),
        ] {
            assert!(text.brief(&transaction).is_none(), "{transaction:?}");
        }
        assert!(text.0.is_empty(), "nothing is half written down");
    }

    #[test]
    fn a_brief_form_is_small() {
        assert!(size_of::<Brief>() <= 112, "{}", size_of::<Brief>());
    }
}

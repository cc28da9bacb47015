//! What a finished transaction counts as: how it ended, on whose keys it was tried, what it used and what that costs.

use super::{CallerNames, operation::operation};
use crate::{
    failure::Failure,
    key_ring::KeyRing,
    transaction::{End, Refuser, Transaction},
};
use chrono::NaiveDate;
use foldhash::HashMap;
use gemini::{fault::Kind, path::Dialect};
use keypool::KeyId;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use usage::{
    Billable, Cost, KeyUse, NONE, Observation, Prices, Processing, RequestOutcome, Sample, billable,
};

/// The name under which callers on keys of the pool's count.
const POOL: &str = "pool";

/// What a request of its kind costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charge {
    /// Nothing: it reads or arranges something.
    None,
    /// What the model uses.
    Tokens(Processing),
}

/// Makes samples. Remembers the keys' names, so that they are shared, and their projects.
#[derive(Debug)]
pub(super) struct Sampler {
    /// The set of keys that is known here.
    ring: Weak<KeyRing>,
    keys: HashMap<KeyId, KeyUse>,
    /// The keys of the set before, on which streams may still have been running.
    former: HashMap<KeyId, KeyUse>,
    nobody: Arc<str>,
    /// The one caller that all are who call on a key of the pool's.
    pool: Option<Arc<str>>,
}

impl Sampler {
    pub(super) fn new(callers: CallerNames) -> Self {
        let pool = (callers == CallerNames::PoolKeys).then(|| POOL.into());
        let (ring, keys, former) = (Weak::new(), HashMap::default(), HashMap::default());
        Self { ring, keys, former, nobody: NONE.into(), pool }
    }

    /// Takes the set of keys as it is now; whether it is another one.
    pub(super) fn follow(&mut self, ring: &Arc<KeyRing>) -> bool {
        if self.ring.as_ptr() == Arc::as_ptr(ring) {
            return false;
        }
        self.former = std::mem::take(&mut self.keys);
        self.ring = Arc::downgrade(ring);
        for key in ring.keys() {
            self.key_use(key.id(), ring);
        }
        true
    }

    /// Makes the sample of a transaction that ended on this day.
    pub(super) fn sample(
        &mut self,
        transaction: &Transaction,
        ring: &KeyRing,
        prices: &mut Prices,
        day: NaiveDate,
    ) -> Sample {
        let proven = was_answered(transaction);
        let (billable, cost) = match charge(transaction) {
            Charge::None => (Billable::default(), Cost::Free),
            Charge::Tokens(processing) => {
                let used = transaction.usage.as_ref().map(billable);
                let cost = match &transaction.model {
                    _ if used.is_none() && !proven => Cost::Free,
                    Some(model) => prices.cost(model, used.as_ref(), processing, day),
                    None => Cost::Unknown,
                };
                (used.unwrap_or_default(), cost)
            }
        };
        Sample {
            caller: match &transaction.caller {
                Some(caller) => Arc::clone(self.pool_of(caller, ring).unwrap_or(caller)),
                None => Arc::clone(&self.nobody),
            },
            model: transaction.model.clone(),
            proven,
            tries: transaction.attempts.iter().map(|attempt| self.key_use(&attempt.key, ring)).collect(),
            outcome: outcome(transaction),
            billable,
            cost,
            bytes_in: transaction.bytes_in,
            bytes_out: transaction.bytes_out,
            duration: transaction.total,
            first_event: transaction.first_byte,
        }
    }

    /// The name under which this caller counts, if it is a key of the pool's. Tokens may be made at any time.
    fn pool_of(&self, caller: &str, ring: &KeyRing) -> Option<&Arc<str>> {
        let is_key = |id: &KeyId| ring.find(id).is_some() || self.former.contains_key(id);
        self.pool.as_ref().filter(|_| is_key(&KeyId::from(caller)))
    }

    fn key_use(&mut self, id: &KeyId, ring: &KeyRing) -> KeyUse {
        if let Some(known) = self.keys.get(id) {
            return known.clone();
        }
        let former = self.former.get(id);
        let key: Arc<str> = former.map_or_else(|| id.as_str().into(), |former| Arc::clone(&former.key));
        // Without a label a key is a project of its own; one that is gone is of the project that it was of.
        let project = match (ring.find(id), former) {
            (Some(present), _) => present.project().map_or_else(|| Arc::clone(&key), Arc::from),
            (None, Some(former)) => return former.clone(),
            (None, None) => Arc::clone(&key),
        };
        let made = KeyUse { key, project };
        self.keys.insert(id.clone(), made.clone());
        made
    }
}

/// What metrics tell of a transaction beside its sample.
pub(super) fn observe(transaction: &Transaction, status_of: fn(&Failure) -> u16) -> Observation {
    let first = transaction.attempts.first();
    let asked_the_pool = first.is_some() || matches!(transaction.failure, Some(Failure::NoKey(_)));
    Observation {
        operation: operation(transaction),
        code: transaction.failure.as_ref().map_or(transaction.status, status_of),
        streamed: transaction.streamed,
        queued: asked_the_pool.then_some(transaction.queued),
        overhead: first.map(|first| first.start.saturating_sub(waited_before(transaction, first.start))),
        faults: transaction.attempts.iter().map(|attempt| attempt.fault).collect(),
        limit: transaction.refuser().and_then(Refuser::limit),
    }
}

/// How long a request could not go on before this time after its arrival.
fn waited_before(transaction: &Transaction, start: Duration) -> Duration {
    transaction.delays().iter().filter(|delay| delay.start < start).map(|delay| delay.took).sum()
}

/// Whether Google answered with success, however the answer then ended.
fn was_answered(transaction: &Transaction) -> bool {
    let (status, attempts) = (transaction.status, &transaction.attempts);
    if status == http::StatusCode::SWITCHING_PROTOCOLS.as_u16() {
        // Of a Live session this is what the client's upgrade was answered with.
        return attempts.last().is_some_and(|last| last.fault.is_none() && last.status.is_some())
            || transaction.usage.is_some();
    }
    !attempts.is_empty() && (200..300).contains(&status)
}

fn outcome(transaction: &Transaction) -> RequestOutcome {
    match transaction.end {
        End::ClientLeft | End::ClientStalled => return RequestOutcome::Left,
        End::UpstreamBroke => return RequestOutcome::Broken,
        End::Complete | End::Refused => {}
    }
    match transaction.refuser() {
        Some(Refuser::Caller(_)) => return RequestOutcome::RefusedCaller,
        Some(Refuser::Pool) => return RequestOutcome::RefusedPool,
        Some(Refuser::Google) => return RequestOutcome::RefusedGoogle,
        None => {}
    }
    if let Some(failure) = &transaction.failure {
        return match failure {
            Failure::PoolSilent | Failure::LedgerSilent => RequestOutcome::GatewayFailed,
            Failure::Denied(_) | Failure::TwoProjects(_) | Failure::BadPage(_) => RequestOutcome::ClientError,
            Failure::NoKey(_)
            | Failure::OwnerGone(_)
            | Failure::Unreachable
            | Failure::HeadLost
            | Failure::HeadTimeout
            | Failure::BodyLost
            | Failure::NotGoogle(_)
            | Failure::NoPage => RequestOutcome::Failed,
        };
    }
    if transaction.end == End::Refused {
        // The HTTP face refused it before anything was tried.
        return if transaction.status < 500 {
            RequestOutcome::ClientError
        } else {
            RequestOutcome::GatewayFailed
        };
    }
    if transaction.status < 400 {
        return RequestOutcome::Answered;
    }
    match transaction.attempts.last().and_then(|last| last.fault) {
        Some(Kind::Client | Kind::ResourceUnreachable | Kind::Cancelled | Kind::CredentialsMultiple) => {
            RequestOutcome::ClientError
        }
        None if transaction.status < 500 => RequestOutcome::ClientError,
        _ => RequestOutcome::Failed,
    }
}

fn charge(transaction: &Transaction) -> Charge {
    let path = transaction.path.as_str();
    if transaction.status == http::StatusCode::SWITCHING_PROTOCOLS.as_u16() {
        return Charge::Tokens(Processing::Standard);
    }
    if transaction.method != http::Method::POST {
        // What is read again was charged when it was made.
        return Charge::None;
    }
    if let Some((_, verb)) = path.rsplit_once(':').filter(|(_, verb)| !verb.contains('/')) {
        return match verb {
            "countTokens" | "countTextTokens" | "countMessageTokens" | "cancel" | "importFile" => {
                Charge::None
            }
            "batchGenerateContent" | "asyncBatchEmbedContent" => Charge::Tokens(Processing::Batch),
            _ if path.contains("/models/")
                || path.contains("/tunedModels/")
                || path.contains("/dynamic/") =>
            {
                Charge::Tokens(Processing::Standard)
            }
            _ => Charge::None,
        };
    }
    let rest = path.trim_end_matches('/');
    let ends = |names: &[&str]| names.iter().any(|name| rest.ends_with(name));
    match transaction.dialect {
        Dialect::OpenAi if ends(&["/batches"]) => Charge::Tokens(Processing::Batch),
        Dialect::OpenAi if ends(&["/files"]) => Charge::None,
        Dialect::OpenAi
            if ends(&[
                "/completions",
                "/embeddings",
                "/generations",
                "/edits",
                "/speech",
                "/videos",
                "/responses",
            ]) =>
        {
            Charge::Tokens(Processing::Standard)
        }
        Dialect::Gemini if ends(&["/interactions"]) => Charge::Tokens(Processing::Standard),
        _ if transaction.model.is_some() && transaction.usage.is_some() => {
            Charge::Tokens(Processing::Standard)
        }
        _ => Charge::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::Secret,
        transaction::{Attempt, Delay, DelayCause},
    };
    use gemini::usage::{Usage, UsageForm};
    use keypool::{KeySpec, Project};

    fn transaction(method: http::Method, path: &str) -> Transaction {
        Transaction {
            dialect: if path.contains("openai") { Dialect::OpenAi } else { Dialect::Gemini },
            method,
            model: Some("gemini-2.5-flash".into()),
            usage: Some(Usage {
                prompt_tokens: Some(1_000_000),
                form: UsageForm::Native,
                ..Usage::default()
            }),
            ..crate::testing::transaction("alice", path)
        }
    }

    fn sampled(transaction: &Transaction) -> Sample {
        let key = KeySpec { id: KeyId::from("one"), project: Some(Project::from("p")), weight: 1 };
        let ring = KeyRing::new(vec![(key, Secret::new("secret-of-a-key".to_owned()))]).unwrap();
        let mut prices = Prices::new(&[]).unwrap();
        Sampler::new(CallerNames::Tokens).sample(
            transaction,
            &ring,
            &mut prices,
            NaiveDate::from_ymd_opt(2026, 11, 27).unwrap(),
        )
    }

    fn post(path: &str) -> Transaction {
        transaction(http::Method::POST, path)
    }

    fn dollars(millionths: u64) -> Cost {
        Cost::Known(usage::Money::from_billionths(millionths * 1_000))
    }

    #[test]
    fn a_key_counts_under_the_project_that_it_is_of_and_one_that_is_gone_under_the_one_it_was_of() {
        let ring = |keys: &[(&str, &str)]| {
            let key = |(id, project): &(&str, &str)| {
                let project = Some(Project::from(*project));
                (KeySpec { project, ..KeySpec::new(*id) }, Secret::new(format!("secret-of-{id}")))
            };
            Arc::new(KeyRing::new(keys.iter().map(key).collect()).unwrap())
        };
        let mut sampler = Sampler::new(CallerNames::PoolKeys);
        for (keys, one, caller) in [
            (&[("one", "p"), ("two", "p")][..], "p", "alice"),
            (&[("one", "q"), ("two", "p")], "q", "alice"),
            (&[("two", "p"), ("alice", "p")], "q", "pool"),
            (&[("two", "p")], "one", "pool"),
            (&[("two", "p"), ("one", "r")], "r", "alice"),
        ] {
            let ring = ring(keys);
            sampler.follow(&ring);
            let sample = sampler.sample(
                &post("/v1beta/models/gemini-2.5-flash:generateContent"),
                &ring,
                &mut Prices::new(&[]).unwrap(),
                NaiveDate::from_ymd_opt(2026, 11, 27).unwrap(),
            );
            assert_eq!((&*sample.tries[0].key, &*sample.tries[0].project), ("one", one));
            assert_eq!(&*sample.caller, caller);
        }
    }

    #[test]
    fn each_kind_of_request_is_charged_as_google_does() {
        for (path, cost) in [
            ("/v1beta/models/gemini-2.5-flash:generateContent", dollars(300_000)),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", dollars(300_000)),
            ("/v1beta/models/gemini-2.5-flash:someVerbYetToCome", dollars(300_000)),
            ("/v1beta/models/gemini-2.5-flash:batchGenerateContent", dollars(150_000)),
            ("/v1beta/models/gemini-2.5-flash:countTokens", Cost::Free),
            ("/v1beta/openai/chat/completions", dollars(300_000)),
            ("/v1beta/openai/embeddings", dollars(300_000)),
            ("/v1beta/openai/batches", dollars(150_000)),
            ("/v1beta/interactions", dollars(300_000)),
            ("/v1beta/interactions/abc:cancel", Cost::Free),
        ] {
            assert_eq!(sampled(&post(path)).cost, cost, "{path}");
        }
        for path in ["/v1beta/interactions/abc", "/v1beta/batches/abc", "/v1beta/models/gemini-2.5-flash"] {
            let read = transaction(http::Method::GET, path);
            let sample = sampled(&read);
            assert_eq!(
                (sample.cost, sample.billable),
                (Cost::Free, Billable::default()),
                "{path} is read again"
            );
        }
        let upload = Transaction { usage: None, model: None, ..post("/upload/v1beta/files") };
        assert_eq!(sampled(&upload).cost, Cost::Free);
    }

    #[test]
    fn what_costs_something_unknown_is_never_free() {
        let generate = || post("/v1beta/models/gemini-2.5-flash:generateContent");
        for (what, transaction) in [
            ("no usage", Transaction { usage: None, ..generate() }),
            ("no price", Transaction { model: Some("gemini-unheard-of".into()), ..generate() }),
            ("no model", Transaction { model: None, ..generate() }),
            ("left", Transaction { usage: None, end: End::ClientLeft, ..generate() }),
            (
                "a batch",
                Transaction { usage: None, ..post("/v1beta/models/gemini-2.5-flash:batchGenerateContent") },
            ),
        ] {
            assert_eq!(sampled(&transaction).cost, Cost::Unknown, "{what}");
        }
        for (what, transaction) in [
            ("refused", Transaction { usage: None, status: 429, ..generate() }),
            (
                "left before the answer",
                Transaction { usage: None, status: 0, end: End::ClientLeft, ..generate() },
            ),
            ("never tried", Transaction { usage: None, attempts: Vec::new(), ..generate() }),
        ] {
            assert_eq!(sampled(&transaction).cost, Cost::Free, "{what}");
        }
        // What a client that left had used so far counts.
        let left = Transaction { end: End::ClientLeft, ..generate() };
        assert_eq!(sampled(&left).cost, dollars(300_000));
    }

    #[test]
    fn each_end_is_one_outcome() {
        let ended = |end, status, failure: Option<Failure>, fault: Option<Kind>| {
            let mut transaction =
                Transaction { status, failure, end, ..post("/v1beta/models/m:generateContent") };
            transaction.attempts[0].fault = fault;
            sampled(&transaction).outcome
        };
        let silent = Some(Failure::PoolSilent);
        for (found, expected) in [
            (ended(End::Complete, 200, None, None), RequestOutcome::Answered),
            (ended(End::Complete, 429, None, Some(Kind::QuotaMinute)), RequestOutcome::RefusedGoogle),
            (ended(End::Complete, 429, None, Some(Kind::QuotaDay)), RequestOutcome::RefusedGoogle),
            (ended(End::Complete, 402, None, Some(Kind::CreditsGone)), RequestOutcome::RefusedGoogle),
            (ended(End::Complete, 400, None, Some(Kind::Client)), RequestOutcome::ClientError),
            (ended(End::Complete, 404, None, None), RequestOutcome::ClientError),
            (ended(End::Complete, 400, None, Some(Kind::KeyInvalid)), RequestOutcome::Failed),
            (ended(End::Complete, 503, None, Some(Kind::Overloaded)), RequestOutcome::Failed),
            (ended(End::Refused, 0, silent, None), RequestOutcome::GatewayFailed),
            (ended(End::Refused, 0, Some(Failure::OwnerGone("x".into())), None), RequestOutcome::RefusedPool),
            (ended(End::Refused, 401, None, None), RequestOutcome::ClientError),
            (ended(End::Refused, 503, None, None), RequestOutcome::GatewayFailed),
            (ended(End::ClientLeft, 200, None, None), RequestOutcome::Left),
            (ended(End::ClientStalled, 200, None, None), RequestOutcome::Left),
            (ended(End::UpstreamBroke, 200, None, None), RequestOutcome::Broken),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_key_counts_under_its_label_of_a_project_or_as_one_of_its_own() {
        let mut retried = post("/v1beta/models/m:generateContent");
        retried.attempts.push(Attempt { key: KeyId::from("gone"), ..retried.attempts[0].clone() });
        let tries = sampled(&retried).tries;
        let named: Vec<_> = tries.iter().map(|at| (&*at.key, &*at.project)).collect();
        assert_eq!(named, [("one", "p"), ("gone", "gone")]);
    }

    #[test]
    fn what_metrics_tell_leaves_waiting_out_of_the_gateways_own_work() {
        let ms = Duration::from_millis;
        let mut waited = post("/v1beta/models/m:generateContent");
        (waited.streamed, waited.queued, waited.status) = (true, ms(30), 0);
        waited.failure = Some(Failure::HeadTimeout);
        waited.attempts[0] =
            Attempt { start: ms(32), fault: Some(Kind::Overloaded), ..waited.attempts[0].clone() };
        waited.attempts.push(Attempt { start: ms(99), fault: None, ..waited.attempts[0].clone() });
        for (start, took) in [(1, 30), (50, 40)] {
            let cause = DelayCause::NoKey(None);
            waited.detail_mut().delays.push(Delay { start: ms(start), took: ms(took), cause, refusal: None });
        }
        let seen = observe(&waited, |_| 504);
        assert_eq!((seen.operation, seen.code, seen.streamed), ("generateContent", 504, true));
        assert_eq!((seen.queued, seen.overhead), (Some(ms(30)), Some(ms(2))));
        assert_eq!(seen.faults, [Some(Kind::Overloaded), None]);
        let mut refused = post("/v1beta/models/m:generateContent");
        (refused.end, refused.attempts) = (End::Refused, Vec::new());
        refused.failure = Some(Failure::Denied(callers::Denial::Model));
        let seen = observe(&refused, |_| 403);
        assert_eq!((seen.queued, seen.overhead, seen.limit, seen.code), (None, None, Some("model"), 403));
    }
}

//! What requests of one class count as: the names of their callers and keys, and what they cost.

use super::{
    CallerNames,
    class::{Charge, RequestClass, UseKind},
};
use crate::key_ring::KeyRing;
use chrono::NaiveDate;
use foldhash::HashMap;
use keypool::KeyId;
use std::sync::{Arc, Weak};
use usage::{Billable, Cost, Counted, KeyUse, NONE, Observation, Prices, Totals};

/// The name under which callers on keys of the pool's count.
const POOL: &str = "pool";

/// Knows callers and keys by the names under which they count. Remembers these, so that they are shared, and the keys' projects.
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

    /// Returns the name under which a caller counts; `None` is whoever was not let in.
    pub(super) fn caller(&self, caller: Option<&Arc<str>>, ring: &KeyRing) -> Arc<str> {
        Arc::clone(caller.map_or(&self.nobody, |caller| self.pool_of(caller, ring).unwrap_or(caller)))
    }

    /// Returns the names under which tries on these keys count.
    pub(super) fn tries(&mut self, keys: &[KeyId], ring: &KeyRing) -> Vec<KeyUse> {
        keys.iter().map(|key| self.key_use(key, ring)).collect()
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

/// What requests of a class that ended on this day count as.
pub(super) fn counted(class: &RequestClass, totals: &Totals, prices: &mut Prices, day: NaiveDate) -> Counted {
    let cost = cost(class, totals, prices, day);
    let mut totals = *totals;
    if class.traits.charge == Charge::None {
        totals.billable = Billable::default();
    }
    Counted { outcome: class.traits.outcome, cost, totals }
}

/// What they cost together.
fn cost(class: &RequestClass, totals: &Totals, prices: &mut Prices, day: NaiveDate) -> Cost {
    let Charge::Tokens(processing) = class.traits.charge else { return Cost::Free };
    let used = (class.traits.use_kind != UseKind::Unsaid).then_some(&totals.billable);
    match &class.model {
        _ if used.is_none() && !class.traits.proven => Cost::Free,
        Some(model) => prices.cost(model, used, totals.requests, processing, day),
        None => Cost::Unknown,
    }
}

/// What metrics tell of the requests of a class beside what is counted.
pub(super) fn observe(class: &RequestClass) -> Observation {
    let traits = &class.traits;
    Observation {
        operation: traits.operation,
        code: traits.code,
        streamed: traits.streamed,
        faults: class.faults.to_vec(),
        limit: traits.limit,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::groups::{ClassGroup, RequestGroups},
        *,
    };
    use crate::{
        failure::Failure,
        secret::Secret,
        transaction::{Attempt, Delay, DelayCause, End, Transaction},
    };
    use gemini::{
        fault::Kind,
        path::Dialect,
        usage::{Usage, UsageForm},
    };
    use keypool::{KeySpec, Project};
    use std::time::Duration;
    use usage::RequestOutcome;

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

    /// What one request counts as.
    struct Sampled {
        caller: Arc<str>,
        tries: Vec<KeyUse>,
        outcome: RequestOutcome,
        cost: Cost,
        billable: Billable,
    }

    fn sample(sampler: &mut Sampler, transaction: &Transaction, ring: &KeyRing) -> Sampled {
        let groups = groups(transaction);
        let class = &groups.classes()[0].class;
        let mut prices = Prices::new(&[]).unwrap();
        let mut counted = |totals| counted(class, totals, &mut prices, today());
        let of_all = counted(&groups.classes()[0].totals);
        assert_eq!(of_all, counted(&groups.callers()[0].totals));
        assert_eq!(of_all, counted(&groups.keys()[0].totals));
        let Counted { outcome, cost, totals } = of_all;
        Sampled {
            caller: sampler.caller(groups.callers()[0].caller.as_ref(), ring),
            tries: sampler.tries(&groups.keys()[0].keys, ring),
            outcome,
            cost,
            billable: totals.billable,
        }
    }

    fn sampled(transaction: &Transaction) -> Sampled {
        let key = KeySpec { id: KeyId::from("one"), project: Some(Project::from("p")), weight: 1 };
        let ring = KeyRing::new(vec![(key, Secret::new("secret-of-a-key".to_owned()))]).unwrap();
        sample(&mut Sampler::new(CallerNames::Tokens), transaction, &ring)
    }

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, 27).unwrap()
    }

    fn groups(transaction: &Transaction) -> RequestGroups {
        let mut groups = RequestGroups::default();
        assert!(groups.add(transaction, 1, &[200_000], |_| 504));
        groups
    }

    fn group(transaction: &Transaction) -> ClassGroup {
        groups(transaction).classes()[0].clone()
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
            let asked = post("/v1beta/models/gemini-2.5-flash:generateContent");
            let sample = sample(&mut sampler, &asked, &ring);
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
        let waited = group(&waited);
        let seen = observe(&waited.class);
        assert_eq!((seen.operation, seen.code, seen.streamed), ("generateContent", 504, true));
        assert_eq!((waited.times.waits.sum(), waited.times.overheads.sum()), (ms(30), ms(2)));
        assert_eq!(seen.faults, [Some(Kind::Overloaded), None]);
        let mut refused = post("/v1beta/models/m:generateContent");
        (refused.end, refused.attempts) = (End::Refused, Vec::new());
        refused.failure = Some(Failure::Denied(callers::Denial::Model));
        let refused = group(&refused);
        let seen = observe(&refused.class);
        assert!(refused.times.waits.is_empty() && refused.times.overheads.is_empty());
        assert_eq!((seen.limit, seen.code), (Some("model"), 504));
    }

    #[test]
    fn requests_of_one_class_count_and_cost_together_what_each_would() {
        let used = |prompt: u64, output: u64, cached: Option<u64>| Transaction {
            usage: Some(Usage {
                prompt_tokens: Some(prompt),
                output_tokens: Some(output),
                cached_tokens: cached,
                ..Usage::default()
            }),
            model: Some("gemini-2.5-pro".into()),
            total: Duration::from_millis(prompt % 50),
            bytes_in: 3,
            ..post("/v1beta/models/gemini-2.5-pro:generateContent")
        };
        let mut retried = used(7, 7, None);
        retried.attempts.insert(0, Attempt { fault: Some(Kind::Overloaded), ..retried.attempts[0].clone() });
        let all = [
            used(1, 5, None),
            used(200_000, 5, None),
            used(200_001, 5, None),
            used(300_000, 50, Some(7)),
            used(10, 0, None),
            used(2, 9, Some(2)),
            Transaction { usage: None, ..used(0, 0, None) },
            Transaction { usage: None, status: 503, ..used(0, 0, None) },
            Transaction { caller: Some("bob".into()), ..used(1, 5, None) },
            Transaction { method: http::Method::GET, ..used(1, 5, None) },
            retried,
        ];
        let key = KeySpec { id: KeyId::from("one"), project: Some(Project::from("p")), weight: 1 };
        let ring = KeyRing::new(vec![(key, Secret::new("secret-of-a-key".to_owned()))]).unwrap();
        let (mut sampler, mut prices) = (Sampler::new(CallerNames::Tokens), Prices::new(&[]).unwrap());
        let mut sums = |all: Vec<RequestGroups>| {
            let mut sums = usage::Sums::new(0);
            let mut names = usage::ModelNames::new(9, []);
            for groups in all {
                let mut models = Vec::new();
                for ClassGroup { class, totals, times, .. } in groups.classes() {
                    let model = names.name(class.model.as_ref(), class.traits.proven);
                    let counted = counted(class, totals, &mut prices, today());
                    sums.count_by_model(&model, &counted, class.faults.len(), times);
                    models.push((class, model));
                }
                for group in groups.callers() {
                    let (class, model) = &models[group.class as usize];
                    let counted = counted(class, &group.totals, &mut prices, today());
                    let caller = sampler.caller(group.caller.as_ref(), &ring);
                    sums.count_by_caller(&caller, model, &counted, class.faults.len());
                }
                for group in groups.keys() {
                    let (class, model) = &models[group.class as usize];
                    let counted = counted(class, &group.totals, &mut prices, today());
                    let tries = sampler.tries(&group.keys, &ring);
                    sums.count_by_key(&tries, model, &counted, usage::KeyDetail::Models);
                }
            }
            sums
        };
        let thrice = || all.iter().cycle().take(3 * all.len());
        let one_by_one = sums(thrice().map(groups).collect());
        let mut groups = RequestGroups::default();
        for transaction in thrice() {
            assert!(groups.add(transaction, 100, &[200_000], |_| 504));
        }
        assert!(groups.callers().len() < all.len(), "some are alike: {}", groups.callers().len());
        assert_eq!(sums(vec![groups]), one_by_one);
        assert_eq!(one_by_one.requests(), 33);
    }
}

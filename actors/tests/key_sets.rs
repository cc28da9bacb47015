//! Streams on the simulator while the set of keys changes under them: none ends early, no key that has gone is used
//! again, and who waits is served by a key that comes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use actix_rt::ArbiterHandle;
use bytes::Bytes;
use callers::{CallerSpec, Directory, Door, InstanceKey, ModelShown};
use gemini::{
    fault::{Fault, Kind, Wait},
    path::{CredentialForm, parse},
};
use gemini_balance_actors::{
    Caller, CallerAccount, CurrentKeys, Job, KeyManager, RetryLimits, Secret,
    caller_cuts::WorkerCuts,
    clock::Clock,
    forward::{AnswerBody, Forwarder, Limits, Piece},
    health::Health,
    key_manager::Reconcile,
    key_ring::KeyRing,
    ledger::Ledger,
    listeners::Listeners,
    store::Memory,
    supervisor::Intensity,
    transaction::Transaction,
    upstream::{BaseUrl, UpstreamSettings},
};
use gemini_simulator::{Config, Shape, Simulator};
use http::{HeaderMap, Method};
use keypool::{KeySpec, LeaseRequest, Outcome, Settings};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use usage::Prices;

const MODEL: &str = "gemini-2.5-flash";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const EVENTS: u64 = 20;

fn secret(n: usize) -> String {
    format!("AIzaKeySet{n:04}CanaryCanaryCanary")
}

/// The set of these keys, `k0` and so on.
fn ring(keys: impl IntoIterator<Item = usize>) -> KeyRing {
    let key = |n| (KeySpec::new(format!("k{n}")), Secret::new(secret(n)));
    KeyRing::new(keys.into_iter().map(key).collect()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A pool on one thread, and a worker that forwards to the simulator.
struct Stage {
    keys: KeyManager,
    forwarder: Rc<Forwarder>,
    callers: Directory,
    clock: Clock,
    /// What has ended, by the request's id.
    ended: Rc<RefCell<HashMap<String, Transaction>>>,
}

impl Stage {
    fn new(simulator: &Simulator, pool: &ArbiterHandle, ring: KeyRing, rules: Settings) -> Self {
        let current = CurrentKeys::new(ring);
        let memory = Arc::new(Memory::new(current.clone()));
        let health = Arc::new(Health::default());
        let keys = KeyManager::start(pool, current.clone(), memory, rules, Intensity::default(), health);
        let keys = keys.unwrap();
        let base = BaseUrl::parse(&simulator.url()).unwrap();
        let upstream = UpstreamSettings {
            gemini_base: base.clone(),
            openai_base: base,
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            proxy: None,
            extra_roots: Vec::new(),
            redirect_hosts: Vec::new(),
        };
        let retry = RetryLimits {
            max_attempts: 3,
            quota_deadline: Duration::from_secs(10),
            lease_deadline: Duration::from_secs(60),
        };
        let limits = Limits { retry, empty_answers: false, prefixes: false, fallback: Arc::default() };
        let ended: Rc<RefCell<HashMap<String, Transaction>>> = Rc::default();
        let told = Rc::clone(&ended);
        let listen = move |transaction: &Transaction| {
            told.borrow_mut().insert(transaction.id.clone(), transaction.clone());
        };
        let ledger = Ledger::new(current, Duration::from_secs(600));
        let listeners = Listeners::new(vec![Box::new(listen)], None);
        let forwarder =
            Forwarder::new(upstream, keys.clone(), ledger, limits, listeners, WorkerCuts::default()).unwrap();
        let callers = Directory::new(InstanceKey::new(&[7; 32]), chrono_tz::UTC);
        callers.set_given([(CallerSpec::new("tester"), &b"a-token-of-the-test"[..])]);
        Self { keys, forwarder: Rc::new(forwarder), callers, clock: Clock::start(), ended }
    }

    async fn reconcile(&self, keys: impl IntoIterator<Item = usize>) {
        let change = Reconcile { ring: Arc::new(ring(keys)), rules: None };
        self.keys.reconcile(change, soon()).await.unwrap();
    }

    /// Waits for so many transactions: each ends a moment after its client has read the last byte.
    async fn all_have_ended(&self, count: usize) {
        while self.ended.borrow().len() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Streams an answer to its end, and returns its text.
    async fn stream(&self, id: &str) -> String {
        let target = parse("POST", STREAM, Some("alt=sse"), CredentialForm::GoogHeader).unwrap();
        let now = self.clock.now();
        let token = self.callers.named("tester", now.wall).unwrap().caller;
        let door = Door { surface: target.surface, model: ModelShown::Named(MODEL), spends: true };
        let pass = token.admit(door, now).unwrap();
        let prices = Rc::new(RefCell::new(Prices::new(&[]).unwrap()));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let job = Job {
            id: id.to_owned(),
            caller: Caller::from(token),
            method: Method::POST,
            target,
            headers,
            body: Bytes::from_static(br#"{"contents":[{"parts":[{"text":"hello"}]}]}"#),
            clear: None,
            stream: None,
            upload: None,
            stall: None,
            conversation: None,
            prefer: None,
            translated: None,
            bodies: None,
            origin: None,
            arrived: std::time::Instant::now(),
        };
        let account = CallerAccount::new(pass, true, self.clock, prices);
        let answer = self.forwarder.start(job, account).await.unwrap().unwrap_or_else(|failure| {
            panic!("{id}: {failure:?}");
        });
        assert_eq!(answer.status, 200, "{id}");
        let AnswerBody::Stream { mut pieces, .. } = answer.body else { panic!("{id}: no stream") };
        let mut text = String::new();
        loop {
            let (chunk, is_last) = match pieces.recv().await {
                Some(Piece::Chunk(chunk)) => (chunk, false),
                Some(Piece::Last(chunk)) => (chunk, true),
                None => panic!("{id}: broken off after {} bytes", text.len()),
            };
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            if is_last {
                return text;
            }
        }
    }
}

async fn simulator(keys: usize, interval_ms: u64) -> Simulator {
    let mut config = Config::with_keys((0..keys).map(secret));
    config.shape = Shape { events: EVENTS, interval_ms, ..Shape::default() };
    Simulator::start(config).await.unwrap()
}

#[test]
fn a_hundred_changes_under_running_streams_end_none_of_them_and_use_no_key_that_has_gone() {
    const ROUNDS: usize = 100;
    const AT_ONCE: usize = 3;
    actix_rt::System::new().block_on(async {
        let pool = actix_rt::Arbiter::new();
        let simulator = simulator(ROUNDS + AT_ONCE, 10).await;
        let stage = Rc::new(Stage::new(&simulator, &pool.handle(), ring(0..AT_ONCE), Settings::default()));
        let mut streams = Vec::new();
        for round in 0..ROUNDS {
            // From now on the set is `round .. round + AT_ONCE`: a key goes, and a key comes.
            stage.reconcile(round..round + AT_ONCE).await;
            // Those of the rounds before stream by now, those of the last are anywhere on their way to a key.
            while simulator.stats().requests < 4 * (round as u64).saturating_sub(1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for n in 0..4 {
                let (stage, id) = (Rc::clone(&stage), format!("{round}-{n}"));
                streams.push(actix_rt::spawn(async move { stage.stream(&id).await }));
            }
        }
        for stream in streams {
            let text = stream.await.unwrap();
            assert_eq!(text.matches("data: ").count() as u64, EVENTS, "{text}");
        }
        stage.all_have_ended(ROUNDS * 4).await;
        let counts = stage.keys.snapshot(soon()).await.unwrap().counts;
        assert_eq!((counts.total, counts.available, counts.in_flight), (AT_ONCE, AT_ONCE, 0));
        let ended = stage.ended.borrow();
        assert_eq!(ended.len(), ROUNDS * 4);
        let mut used = BTreeMap::new();
        for (id, transaction) in &*ended {
            let begun: usize = id.split_once('-').unwrap().0.parse().unwrap();
            assert_eq!(transaction.attempts.len(), 1, "{id}");
            let key: usize = transaction.attempts[0].key.as_str()[1..].parse().unwrap();
            assert!(key >= begun, "{id} began when k{key} had gone");
            *used.entry(key).or_insert(0_u64) += 1;
        }
        assert!(used.len() > ROUNDS / 2, "keys that came were used: {used:?}");
        // And the simulator has seen nothing else.
        let seen = simulator.stats().by_key;
        let expected: BTreeMap<_, _> = used.into_iter().map(|(key, count)| (secret(key), count)).collect();
        assert_eq!(seen, expected);
        pool.stop();
    });
}

#[test]
fn a_request_that_waits_is_served_by_the_key_that_comes_while_a_stream_goes_on_on_the_one_that_goes() {
    actix_rt::System::new().block_on(async {
        let pool = actix_rt::Arbiter::new();
        let simulator = simulator(2, 20).await;
        let rules = Settings { max_wait: Duration::from_secs(3_600), ..Settings::default() };
        let stage = Rc::new(Stage::new(&simulator, &pool.handle(), ring([0]), rules));
        let begun = Rc::clone(&stage);
        let running = actix_rt::spawn(async move { begun.stream("running").await });
        while simulator.stats().open_requests == 0 {
            tokio::task::yield_now().await;
        }
        // For most of an hour there is no key for this model.
        let lease = stage.keys.lease(LeaseRequest::any(Some(MODEL.into())), soon()).await.unwrap();
        let wait = Wait::For(Duration::from_secs(3_000));
        let fault = Fault { kind: Kind::QuotaMinute, wait, quotas: Vec::new(), project: None };
        lease.settle(Outcome::Fault(fault), None);
        let late = Rc::clone(&stage);
        let waiting = actix_rt::spawn(async move { late.stream("waiting").await });
        while stage.keys.snapshot(soon()).await.unwrap().counts.waiting == 0 {
            tokio::task::yield_now().await;
        }
        stage.reconcile([1]).await;
        for stream in [running, waiting] {
            assert_eq!(stream.await.unwrap().matches("data: ").count() as u64, EVENTS);
        }
        stage.all_have_ended(2).await;
        let ended = stage.ended.borrow();
        let key = |id: &str| ended[id].attempts[0].key.to_string();
        assert_eq!((key("running"), key("waiting")), ("k0".to_owned(), "k1".to_owned()));
        pool.stop();
    });
}

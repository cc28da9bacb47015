//! What other gateways have left in Redis, or anybody else who can write there: facts of the pool, notes and tokens. What is
//! read of one is what is told again, the pool and the tokens take in what they can and none of it harms them.

use callers::{Directory, InstanceKey, KeptToken, TokenChange};
use chrono::{DateTime, TimeDelta, Utc};
use gemini_balance_actors::{
    Secret,
    cluster::{Naming, Note},
    key_ring::KeyRing,
};
use gemini_balance_cluster::{ClusterAddress, Fact, FactId, NodeId, PlacedFact};
use keypool::{Effects, KeySpec, Pool, Record, Settings};
use meter::Now;
use std::{sync::LazyLock, time::Duration};

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = |name: &str, secret: &str| (KeySpec::new(name), Secret::new(secret.to_owned()));
    KeyRing::new(vec![key("a", "AIza-one"), key("b", "AIza-two")]).unwrap()
});

fn now() -> Now {
    let wall = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap();
    Now { mono: Duration::from_secs(5_000), wall }
}

/// A fact as the hash holds it and as the stream does: both are read alike, and its place is written as it was read.
fn placed(text: &str) -> Option<PlacedFact> {
    let (subject, value) = text.split_once('\n').unwrap_or((r#"{"subject":"key","key":"x"}"#, text));
    let held = PlacedFact::held(subject, value);
    let mut parts = value.splitn(4, ' ');
    let mut part = || parts.next().map(str::to_owned);
    if let (Some(id), Some(rank), Some(origin), Some(body)) = (part(), part(), part(), part()) {
        let fields = ["x", "later", "s", subject, "r", &rank, "o", &origin, "b", &body].map(str::to_owned);
        assert_eq!(PlacedFact::of_entry(&id, &fields), held);
    }
    if let Some(held) = &held {
        assert_eq!(held.id.to_string().parse::<FactId>().unwrap(), held.id);
    }
    held
}

/// A record that anybody can have written: the pool takes it in, and goes on.
fn heard(record: &Record) {
    let mut pool = Pool::new(Settings::default(), vec![KeySpec::new("a"), KeySpec::new("b")], 1).unwrap();
    let mut effects = Effects::new();
    pool.join(now(), &mut effects);
    pool.heard(record.clone(), now(), &mut effects);
    pool.overruled(record, record.clone(), now(), &mut effects);
    let later = Now { mono: now().mono + Duration::from_secs(60), wall: now().wall + TimeDelta::seconds(60) };
    for now in [now(), later] {
        pool.wake(now, &mut effects);
        let _ = (pool.snapshot(now), pool.facts(now));
        // What a later process finds is what this one knows.
        let mut next = Pool::new(Settings::default(), vec![KeySpec::new("a"), KeySpec::new("b")], 1).unwrap();
        next.restore(pool.records(now), now);
    }
}

fn token(text: &str) {
    let Ok(token) = serde_json::from_str::<KeptToken>(text) else { return };
    let directory = Directory::new(InstanceKey::new(&[7; 32]), chrono_tz::UTC);
    let name = token.spec.name.clone();
    let kept = directory.hear(TokenChange::Put(Box::new(token.clone())));
    let is_listed = directory.list(now()).iter().any(|listing| *listing.spec.name == *name);
    let is_kept = kept.iter().any(|change| matches!(change, TokenChange::Put(_)));
    assert_eq!(is_listed, is_kept);
    // What is kept is read again as it was, and the same word once more is no news.
    if is_kept {
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<KeptToken>(&text).unwrap(), token);
        assert!(directory.hear(TokenChange::Put(Box::new(token))).is_empty());
    }
}

/// See the module.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    token(text);
    if let Ok(record) = serde_json::from_str::<Record>(text) {
        heard(&record);
    }
    if let Err(error) = ClusterAddress::parse(&format!("redis://:hunter2hunter2@{text}")) {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let Some(PlacedFact { fact, .. }) = placed(text) else { return };
    let node = NodeId::new("gw-1.0").unwrap();
    if let Some(note) = Note::of(&fact) {
        let again = note.fact(&node).expect("a note that was told can be told");
        assert_eq!(Note::of(&again), Some(note));
    }
    record(&fact, &node);
    // As one that has learnt of a key by its fingerprint here.
    let local = |text: &str| text.replace("KEY-A", RING.find(&"a".into()).unwrap().fingerprint());
    if let Ok(fact) = Fact::new(&local(fact.subject()), fact.rank(), &local(fact.body()), node.clone()) {
        record(&fact, &node);
    }
}

/// On clocks far apart.
fn record(fact: &Fact, node: &NodeId) {
    for ahead in [0, 3_600_000, -7] {
        let naming = Naming { ring: &RING, node, ahead: TimeDelta::milliseconds(ahead) };
        let Some(record) = naming.record_of(fact) else { continue };
        heard(&record);
        if let Some(told) = naming.fact_of(&record) {
            assert_eq!(naming.record_of(&told), Some(record));
        }
    }
}

//! The ledger on a real Redis, against the rules that every ledger keeps.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use gemini_balance_cluster::{
    ClusterAddress, KeyPrefix, NodeId, RedisLedger, RedisSettings,
    conformance::{RedisPlace, RedisServer, free_port},
};
use gemini_balance_store::{
    Holding, Ledger, LedgerChange, StoreError,
    conformance::{self, LedgerPlace},
};

struct Shared {
    place: RedisPlace,
    start: DateTime<Utc>,
}

impl Shared {
    fn new() -> Self {
        // Beyond what a run of the rules takes by the server's clock, which drops what has expired.
        let start = (Utc::now() + TimeDelta::days(30)).trunc_subsecs(6);
        Self { place: RedisPlace::new(), start }
    }
}

impl LedgerPlace for Shared {
    type Ledger = RedisLedger;

    const WHOLE_BATCHES: bool = true;

    fn open(&self) -> RedisLedger {
        ledger(self.place.settings())
    }

    fn start(&self) -> DateTime<Utc> {
        self.start
    }
}

fn ledger(settings: Arc<RedisSettings>) -> RedisLedger {
    RedisLedger::new(settings, NodeId::new("one").unwrap())
}

fn held(name: &str, expires: Option<DateTime<Utc>>) -> Holding {
    Holding {
        name: name.to_owned(),
        key: "k-1".to_owned(),
        project: None,
        caller: None,
        expires,
        address: None,
        made: Utc::now().trunc_subsecs(6),
    }
}

#[test]
fn redis_keeps_the_rules_for_a_ledger() {
    conformance::ledger(Shared::new);
}

#[test]
fn what_expires_is_dropped_by_the_server_itself_and_never_before() {
    let shared = Shared::new();
    let mut ledger = shared.open();
    let hour = (Utc::now() + TimeDelta::hours(1)).trunc_subsecs(6);
    ledger.record(&[LedgerChange::Put(held("files/a", Some(hour)))]).unwrap();
    ledger.record(&[LedgerChange::Put(held("files/b", None))]).unwrap();
    let at: i64 = shared.place.raw(&["PEXPIRETIME", &shared.place.key("h:files/a")]);
    assert_eq!(at, hour.timestamp_millis() + 1);
    let never: i64 = shared.place.raw(&["PEXPIRETIME", &shared.place.key("h:files/b")]);
    assert_eq!(never, -1);
    // Made anew without an end, it has none.
    ledger.record(&[LedgerChange::Put(held("files/a", None))]).unwrap();
    let never: i64 = shared.place.raw(&["PEXPIRETIME", &shared.place.key("h:files/a")]);
    assert_eq!(never, -1);
    let long_ago = DateTime::from_timestamp_micros(-1).unwrap();
    let past = [held("files/a", Some(long_ago)), held("files/b", Some(Utc::now() - TimeDelta::days(1)))];
    ledger.record(&past.map(LedgerChange::Put)).unwrap();
    assert_eq!(ledger.find(&["files/a", "files/b"], long_ago).unwrap(), [None, None]);
}

#[test]
fn what_cannot_be_read_counts_as_not_there_and_what_is_new_to_it_is_passed_over() {
    let shared = Shared::new();
    let mut ledger = shared.open();
    let key = |name: &str| shared.place.key(&format!("h:{name}"));
    let _: () = shared.place.raw(&["SET", &key("files/a"), "{\"key\":"]);
    let _: () = shared.place.raw(&["SET", &key("files/b"), r#"{"key":"k","made":7,"colour":"red"}"#]);
    let _: () = shared.place.raw(&["SET", &key("files/c"), r#"{"key":"k","made":9223372036854775807}"#]);
    let found = ledger.find(&["files/a", "files/b", "files/c"], Utc::now()).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    ledger.record(&[LedgerChange::Put(held("files/a", None))]).unwrap();
    assert!(ledger.find(&["files/a"], Utc::now()).unwrap()[0].is_some());
}

#[test]
fn a_ledger_that_cannot_be_reached_names_its_place_and_no_password() {
    let url = format!("redis://gate:hunter2@127.0.0.1:{}", free_port());
    let settings = RedisSettings::new(ClusterAddress::parse(&url).unwrap(), KeyPrefix::new("t").unwrap());
    let error = ledger(Arc::new(settings)).find(&["files/a"], Utc::now()).unwrap_err().to_string();
    assert!(error.contains("redis://127.0.0.1:") && error.contains("cannot be reached"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_server_without_memory_takes_none_of_a_batch_and_still_answers() {
    let server = RedisServer::start(&["--maxmemory-policy", "noeviction", "--maxmemory", "3mb"]);
    let mut ledger = ledger(Arc::new(server.settings()));
    ledger.record(&[LedgerChange::Put(held("files/first", None))]).unwrap();
    let large = |n: usize| Holding { caller: Some("x".repeat(100_000)), ..held(&format!("files/{n}"), None) };
    let mut n = 0;
    let full = loop {
        n += 1;
        match ledger.record(&[LedgerChange::Put(held("files/small", None)), LedgerChange::Put(large(n))]) {
            Ok(()) => assert!(n < 1_000, "a memory of 3 MB is full before"),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    let batch = [LedgerChange::Forget("files/first".to_owned()), LedgerChange::Put(large(0))];
    ledger.record(&batch).unwrap_err();
    let found = ledger.find(&["files/first", "files/0"], Utc::now()).unwrap();
    assert!(found[0].is_some() && found[1].is_none(), "all or nothing");
}

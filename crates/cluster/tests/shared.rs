//! Both kinds of shared state against the rules they share, and what only a real server can show.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gemini_balance_cluster::{
    Addition, Away, Beat, BookId, BucketLimits, BucketName, BucketUnits, Common, Draw, Fact, FactId,
    KeyPrefix, NodeId, Reading, Redis, RedisLedger, RedisPassword, RedisSettings, Shared, SpendReport,
    TableChange, TableReply, TableStamp, TableStep, UsageTable,
    conformance::{self, RedisPlace, RedisServer},
};
use gemini_balance_store::{Ledger, LedgerChange};
use usage::Breakdown;

#[test]
fn memory_keeps_the_rules_for_members_and_claims() {
    conformance::members(Common::default);
}

#[test]
fn redis_keeps_the_rules_for_members_and_claims() {
    conformance::members(RedisPlace::new);
}

#[test]
fn memory_keeps_the_rules_for_facts() {
    conformance::facts(Common::default);
}

#[test]
fn redis_keeps_the_rules_for_facts() {
    conformance::facts(RedisPlace::new);
}

#[test]
fn memory_keeps_the_rules_for_buckets() {
    conformance::buckets(Common::default);
}

#[test]
fn redis_keeps_the_rules_for_buckets() {
    conformance::buckets(RedisPlace::new);
}

#[test]
fn memory_keeps_the_rules_for_sums() {
    conformance::sums(Common::default);
}

#[test]
fn redis_keeps_the_rules_for_sums() {
    conformance::sums(RedisPlace::new);
}

#[test]
fn memory_keeps_the_rules_for_tables() {
    conformance::tables(Common::default);
}

#[test]
fn redis_keeps_the_rules_for_tables() {
    conformance::tables(RedisPlace::new);
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

#[test]
fn a_reader_that_waits_is_woken_by_the_first_fact() {
    let server = RedisServer::shared();
    let settings = Arc::new(server.settings());
    let mut reader = Redis::new(Arc::clone(&settings), id("reader"));
    let since = Instant::now();
    let waited = Duration::from_millis(60);
    assert_eq!(reader.facts(FactId::START, waited), Ok(Reading::Facts(Vec::new())));
    assert!(since.elapsed() >= waited);
    let telling = thread::spawn(move || {
        let mut teller = Redis::new(settings, id("teller"));
        teller.tell(&[Fact::new("key", 1, "open", id("teller")).unwrap()], FactId::START).unwrap()
    });
    let Reading::Facts(facts) = reader.facts(FactId::START, Duration::from_secs(30)).unwrap() else {
        panic!("nothing was cut off");
    };
    assert_eq!((facts.len(), facts[0].fact.body()), (1, "open"));
    telling.join().unwrap();
}

#[test]
fn scripts_are_loaded_again_where_the_server_has_lost_them() {
    let server = RedisServer::start(&[]);
    let settings = Arc::new(server.settings());
    let mut redis = Redis::new(settings, id("one"));
    let fact = |n: u64| Fact::new("key", n, "open", id("one")).unwrap();
    redis.tell(&[fact(1)], FactId::START).unwrap();
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut client.get_connection().unwrap()).unwrap();
    redis.tell(&[fact(2)], FactId::START).unwrap();
    assert_eq!(redis.known().unwrap().facts.len(), 1);
}

#[test]
fn a_server_that_was_restarted_is_a_new_generation() {
    let server = RedisServer::start(&[]);
    let (port, settings) = (server.port(), Arc::new(server.settings()));
    let mut redis = Redis::new(settings, id("one"));
    let before = redis.hello().unwrap();
    drop(server);
    redis.hello().unwrap_err();
    let _server = RedisServer::start_on(port, &[]);
    let after = redis.hello().unwrap();
    assert!(after.generation > before.generation);
    assert!(!after.hold.is_zero());
}

#[test]
fn a_bucket_goes_by_the_servers_clock_and_ends_after_its_last_touch() {
    let server = RedisServer::shared();
    let settings = Arc::new(server.settings());
    let mut node = Redis::new(Arc::clone(&settings), id("one"));
    node.hello().unwrap();
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    let mut raw = client.get_connection().unwrap();
    // Nothing is given for a second at first, and that need not be waited for here.
    let meta = format!("{}:{{c}}:meta", settings.prefix);
    redis::cmd("HSET").arg(meta).arg("hold_until").arg(0).exec(&mut raw).unwrap();
    let mut left = |owner: &str, day_ends_ms| {
        let bucket = BucketName::new(owner, "model").unwrap();
        let limits = BucketLimits { rpm: Some(5), tpm: None, rpd: Some(100) };
        let want = BucketUnits { requests: 2, tokens: 0 };
        let drawn = node.take(&[Draw { want, day_ends_ms, ..Draw::new(bucket, limits) }]).unwrap();
        assert_eq!(drawn[0].given.requests, 2);
        let key = format!("{}:{{model:0}}:b:{owner}", settings.prefix);
        let left: u64 = redis::cmd("PTTL").arg(key).query(&mut raw).unwrap();
        (left, drawn[0].at_ms)
    };
    let (minute, now) = left("minute", None);
    assert!((80_000..=90_000).contains(&minute), "{minute}");
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.abs_diff(u64::try_from(wall.as_millis()).unwrap()) < 10_000);
    let (day, _) = left("day", Some(now + 3_600_000));
    assert!((3_590_000..=3_600_000).contains(&day), "{day}");
}

/// What docs/cluster.md tells an operator to allow.
fn documented_rights() -> String {
    let page = include_str!("../../../docs/cluster.md");
    let line = page.lines().find(|line| line.contains("ACL SETUSER")).unwrap();
    line.trim().strip_prefix("ACL SETUSER ").unwrap().to_owned()
}

#[test]
fn the_documented_rights_are_enough_for_all_that_a_gateway_does() {
    let rights = documented_rights();
    let mut words = rights.split(' ');
    let user = words.next().unwrap();
    let server = RedisServer::start(&[]);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    let mut setting = redis::cmd("ACL");
    setting.arg("SETUSER").arg(user);
    let mut prefix = None;
    for word in words {
        prefix = prefix.or_else(|| word.strip_prefix('~')?.strip_suffix(":*"));
        setting.arg(if word.starts_with('>') { ">secret" } else { word });
    }
    setting.exec(&mut client.get_connection().unwrap()).unwrap();
    let settings = Arc::new(RedisSettings {
        prefix: KeyPrefix::new(prefix.unwrap()).unwrap(),
        username: Some(user.to_owned()),
        password: Some(RedisPassword::new("secret".to_owned())),
        ..server.settings()
    });
    let mut node = Redis::new(Arc::clone(&settings), id("one"));
    node.ping().unwrap();
    node.hello().unwrap();
    node.beat(&Beat::default()).unwrap();
    assert_eq!(node.nodes().unwrap().len(), 1);
    node.tell(&[Fact::new("key", 1, "open", id("one")).unwrap()], FactId::START).unwrap();
    let known = node.known().unwrap();
    assert_eq!(node.facts(known.end, Duration::from_millis(5)), Ok(Reading::Facts(Vec::new())));
    node.claim("site", Duration::from_secs(1)).unwrap();
    node.release("site").unwrap();
    let bucket = BucketName::new("owner", "model").unwrap();
    let limits = BucketLimits { rpm: Some(5), tpm: Some(100), rpd: Some(100) };
    let want = BucketUnits { requests: 9, tokens: 100 };
    let reports = vec![SpendReport { age: Duration::from_secs(1), requests: 5, tokens: 1 }];
    let draw = Draw { reports, want, day_ends_ms: Some(u64::MAX), ..Draw::new(bucket.clone(), limits) };
    node.take(&[draw.clone(), draw]).unwrap();
    node.close(&bucket, Duration::from_secs(1)).unwrap();
    let addition = Addition::new("day", 1, vec![("a".into(), 1)], Duration::from_secs(9)).unwrap();
    node.add(&addition).unwrap();
    node.sums("day").unwrap();
    let book = BookId::new("b00c").unwrap();
    node.keep_book(&book).unwrap();
    assert_eq!(node.books().unwrap().len(), 1);
    let at = i64::try_from(node.hello().unwrap().at_ms / 1_000).unwrap();
    let table = UsageTable { book, step: TableStep::Hour, at, by: Breakdown::Models };
    let mut before = None;
    for (n, (set, removed)) in
        [(vec![(vec![1], vec![1])], vec![]), (vec![], vec![vec![1]])].into_iter().enumerate()
    {
        let after = TableStamp(n as u64);
        let change = TableChange::new(table.clone(), before, after, set, removed).unwrap();
        assert_eq!(node.write_table(&change), Ok(TableReply::Written));
        before = Some(after);
    }
    assert_eq!(node.tables(TableStep::Hour, at, at + 1).unwrap().len(), 1);
    assert_eq!(node.read_tables(&[table]).unwrap()[0].stamp, before);
    node.leave().unwrap();
    let mut ledger = RedisLedger::new(Arc::clone(&settings), id("one"));
    ledger.record(&[LedgerChange::Forget("files/a".to_owned())]).unwrap();
    ledger.find(&["files/a"], chrono::Utc::now()).unwrap();
    // And no more than that.
    let other = RedisSettings { prefix: KeyPrefix::new("another").unwrap(), ..(*settings).clone() };
    let denied = Redis::new(Arc::new(other), id("one")).ping().unwrap_err();
    assert!(matches!(denied, Away::Denied { .. }), "{denied:?}");
}

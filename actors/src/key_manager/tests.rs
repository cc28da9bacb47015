//! The actor on a real pool: leases, reports, the line, restarts; in time that jumps.

use super::*;
use crate::Secret;
use crate::testing::{KeyOf, current, exact, in_system, manager, ring};
use gemini::fault::{Fault, Kind, Wait};
use keypool::{KeySpec, KeyState, Limit, Outcome, PageRequest, Reach};

const SECOND: Duration = Duration::from_secs(1);
const TWO: &[KeyOf] = &[("a", None), ("b", None)];

fn started(keys: &[KeyOf]) -> KeyManager {
    manager(&current(keys), exact())
}

fn soon() -> Instant {
    Instant::now() + 60 * SECOND
}

fn any() -> LeaseRequest {
    LeaseRequest::any(Some("gemini-x".into()))
}

fn only(key: &str) -> LeaseRequest {
    LeaseRequest { reach: Reach::Only(key.into()), ..any() }
}

fn quota(seconds: u64) -> Outcome {
    let wait = Wait::For(Duration::from_secs(seconds));
    Outcome::Fault(Fault { kind: Kind::QuotaMinute, wait, quotas: Vec::new(), project: None })
}

fn retired() -> Outcome {
    Outcome::Fault(Fault { kind: Kind::KeyInvalid, wait: Wait::Retire, quotas: Vec::new(), project: None })
}

#[test]
fn a_lease_that_is_dropped_is_settled() {
    in_system(async {
        let keys = started(TWO);
        for _ in 0..3 {
            let lease = keys.lease(any(), soon()).await.unwrap();
            assert_eq!(keys.snapshot(soon()).await.unwrap().counts.in_flight, 1);
            drop(lease);
            assert_eq!(keys.snapshot(soon()).await.unwrap().counts.in_flight, 0);
        }
    });
}

#[test]
fn a_report_counts_before_the_next_lease() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(600), None);
        for _ in 0..4 {
            assert_eq!(keys.lease(any(), soon()).await.unwrap().key().id().as_str(), "b");
        }
        let refused = keys.lease(only("a"), soon()).await.unwrap_err();
        assert!(matches!(refused, LeaseError::Refused(Refusal::Cooling { .. })), "{refused:?}");
    });
}

#[test]
fn who_waits_is_served_as_soon_as_a_key_is_back() {
    for seconds in [1, 3, 9] {
        in_system(async move {
            let keys = started(TWO);
            for key in ["a", "b"] {
                keys.lease(only(key), soon()).await.unwrap().settle(quota(seconds), None);
            }
            let begun = Instant::now();
            let lease = keys.lease(any(), soon()).await.unwrap();
            assert_eq!(begun.elapsed().as_secs(), seconds);
            drop(lease);
        });
    }
}

#[test]
fn a_message_that_outruns_the_timer_takes_nobodys_turn_away() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(1), None);
        keys.lease(only("b"), soon()).await.unwrap().settle(quota(3), None);
        let begun = Instant::now();
        let wait = async || {
            let lease = keys.lease(any(), soon()).await.unwrap();
            (begun.elapsed().as_secs(), lease)
        };
        let outrun = async {
            tokio::task::yield_now().await;
            // It is there before the time is, and taken before the timer's turn.
            let (snapshot, ()) = tokio::join!(keys.snapshot(soon()), tokio::time::advance(2 * SECOND));
            assert_eq!(snapshot.unwrap().counts.in_flight, 1);
        };
        let all = async { tokio::join!(wait(), wait(), outrun) };
        let (first, second, ()) = tokio::time::timeout(30 * SECOND, all).await.expect("both are served");
        assert_eq!((first.0, second.0), (2, 3));
    });
}

#[test]
fn the_word_of_a_probe_lets_the_others_follow_before_it_ends() {
    in_system(async {
        let keys = started(&[("a", None)]);
        keys.lease(any(), soon()).await.unwrap().settle(quota(2), None);
        let probe = keys.lease(any(), soon()).await.unwrap();
        let waiting = tokio::time::timeout(SECOND, keys.lease(any(), soon())).await;
        assert!(waiting.is_err(), "one goes first");
        probe.vouch();
        assert!(keys.lease(any(), soon()).await.is_ok());
    });
}

#[test]
fn who_leaves_the_line_takes_no_key_with_it() {
    in_system(async {
        let keys = started(&[("a", None)]);
        keys.lease(any(), soon()).await.unwrap().settle(quota(5), None);
        assert!(tokio::time::timeout(SECOND, keys.lease(any(), soon())).await.is_err());
        assert_eq!(keys.snapshot(soon()).await.unwrap().counts.waiting, 0);
        tokio::time::sleep(10 * SECOND).await;
        assert_eq!(keys.snapshot(soon()).await.unwrap().counts.in_flight, 0);
    });
}

#[test]
fn a_refusal_that_is_due_while_waiting_is_told() {
    in_system(async {
        let keys = started(&[("a", None)]);
        keys.lease(any(), soon()).await.unwrap().settle(quota(5), None);
        let (waited, ()) = tokio::join!(keys.lease(any(), soon()), async {
            let verb = Verb { kind: VerbKind::Disable, key: "a".into() };
            keys.verb(verb, soon()).await.unwrap().unwrap();
        });
        assert_eq!(waited.unwrap_err(), LeaseError::Refused(Refusal::AllDisabled));
    });
}

#[test]
fn an_operators_words_reach_the_pool() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(retired(), None);
        let state = async |key: &str| {
            let snapshot = keys.snapshot(soon()).await.unwrap();
            snapshot.keys.iter().find(|view| view.id.as_str() == key).unwrap().state
        };
        assert_eq!(state("a").await, KeyState::Retired);
        for (kind, key, expected) in [
            (VerbKind::Reset, "a", KeyState::Available),
            (VerbKind::Disable, "b", KeyState::Disabled),
            (VerbKind::Enable, "b", KeyState::Available),
        ] {
            keys.verb(Verb { kind, key: key.into() }, soon()).await.unwrap().unwrap();
            assert_eq!(state(key).await, expected);
        }
        assert!(keys.verb(Verb { kind: VerbKind::Reset, key: "no".into() }, soon()).await.unwrap().is_err());
    });
}

#[test]
fn projects_are_the_pools_notion_of_them() {
    in_system(async {
        let keys = started(&[("a", Some("p")), ("b", Some("p")), ("c", None), ("d", None)]);
        let shares = async |one: &str, other: &str| keys.share_a_project(&one.into(), &other.into()).await;
        assert!(shares("a", "b").await && shares("c", "c").await);
        assert!(!shares("a", "c").await && !shares("c", "d").await);
        assert_eq!(keys.projects(soon()).await.unwrap().len(), 3);
        for key in ["c", "d"] {
            let kind = Kind::Client;
            let named = Fault { kind, wait: Wait::None, quotas: Vec::new(), project: Some("7".into()) };
            keys.lease(only(key), soon()).await.unwrap().settle(Outcome::Fault(named), None);
        }
        assert!(shares("c", "d").await, "its report lies in the inbox");
        assert_eq!(keys.projects(soon()).await.unwrap().len(), 2);
    });
}

#[cfg(debug_assertions)]
#[test]
fn a_new_life_remembers_what_cools_and_takes_the_reports_of_the_last() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(600), None);
        let open = keys.lease(only("b"), soon()).await.unwrap();
        let waiting = keys.clone();
        keys.panic();
        assert!(matches!(
            waiting.lease(only("a"), soon()).await,
            Err(LeaseError::Refused(Refusal::Cooling { .. }))
        ));
        open.settle(retired(), None);
        let refused = keys.lease(only("b"), soon()).await.unwrap_err();
        assert_eq!(refused, LeaseError::Refused(Refusal::AllRetired));
    });
}

#[cfg(debug_assertions)]
#[test]
fn who_stood_in_line_stands_in_the_next_lifes_line() {
    in_system(async {
        let keys = started(&[("a", None)]);
        keys.lease(any(), soon()).await.unwrap().settle(quota(5), None);
        let begun = Instant::now();
        let (lease, ()) = tokio::join!(keys.lease(any(), soon()), async {
            tokio::time::sleep(SECOND).await;
            keys.panic();
        });
        assert_eq!(lease.unwrap().key().id().as_str(), "a");
        // What is left of a cooldown is remembered by the wall clock, which does not jump.
        assert!((5..=6).contains(&begun.elapsed().as_secs()));
    });
}

#[test]
fn cooldowns_and_retirements_are_counted_and_a_restart_takes_no_count_along() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(600), None);
        keys.lease(only("b"), soon()).await.unwrap().settle(retired(), None);
        let reading = keys.reading(10, soon()).await.unwrap();
        assert_eq!(reading.counts, keys.snapshot(soon()).await.unwrap().counts);
        let counts = keys.event_counts();
        assert_eq!(counts.cooldowns[&("model", "quota_minute")], 1);
        assert_eq!(counts.retirements["key_invalid"], 1);
        assert_eq!(counts.retirements["key_suspended"], 0, "what can happen begins at nothing");
        #[cfg(debug_assertions)]
        {
            keys.panic();
            keys.reading(10, soon()).await.unwrap();
            assert_eq!(keys.event_counts(), counts);
        }
    });
}

fn to(keys: &[KeyOf]) -> Reconcile {
    Reconcile { ring: Arc::new(ring(keys)), rules: None }
}

/// The ring of these keys, each with the secret that the second text makes.
fn with_secrets(keys: &[(&str, &str)]) -> Reconcile {
    let key = |(id, secret): &(&str, &str)| (KeySpec::new(*id), Secret::new(format!("AIza-{secret}")));
    Reconcile { ring: Arc::new(KeyRing::new(keys.iter().map(key).collect()).unwrap()), rules: None }
}

async fn secret_of(keys: &KeyManager, key: &str) -> String {
    keys.lease(only(key), soon()).await.unwrap().key().secret().expose().to_owned()
}

#[test]
fn keys_that_come_are_leased_and_keys_that_go_are_not() {
    in_system(async {
        let keys = started(TWO);
        let open = keys.lease(only("a"), soon()).await.unwrap();
        let done = keys.reconcile(to(&[("b", None), ("c", None)]), soon()).await.unwrap();
        assert_eq!((done.added, done.removed), (vec!["c".into()], vec!["a".into()]));
        let mut leased = Vec::new();
        for _ in 0..4 {
            leased.push(keys.lease(any(), soon()).await.unwrap().key().id().as_str().to_owned());
        }
        leased.sort();
        assert_eq!(leased, ["b", "b", "c", "c"]);
        assert_eq!(keys.snapshot(soon()).await.unwrap().counts.in_flight, 1);
        open.settle(retired(), None);
        let counts = keys.snapshot(soon()).await.unwrap().counts;
        assert_eq!((counts.total, counts.available, counts.in_flight), (2, 2, 0));
        assert!(keys.lease(only("a"), soon()).await.is_err());
        assert!(keys.ring().find(&"a".into()).is_none());
    });
}

#[test]
fn a_set_or_rules_that_make_no_sense_are_refused_and_change_nothing() {
    in_system(async {
        let keys = started(TWO);
        let refused = keys.reconcile(to(&[]), soon()).await;
        assert_eq!(refused, Err(ReconcileError::Refused(PoolError::NoKeys)));
        let rules = Settings { failure_threshold: 0, ..exact() };
        let change = Reconcile { rules: Some(rules), ..to(&[("c", None)]) };
        let refused = keys.reconcile(change, soon()).await;
        assert!(matches!(
            refused,
            Err(ReconcileError::Refused(PoolError::Setting { name: "failure_threshold", .. }))
        ));
        assert!(keys.lease(only("a"), soon()).await.is_ok());
        assert!(keys.ring().find(&"c".into()).is_none());
    });
}

#[test]
fn who_waits_is_served_at_once_by_a_key_that_is_added() {
    in_system(async {
        let keys = started(&[("a", None)]);
        keys.lease(any(), soon()).await.unwrap().settle(quota(20), None);
        let begun = Instant::now();
        let (lease, done) = tokio::join!(keys.lease(any(), soon()), async {
            tokio::time::sleep(SECOND).await;
            keys.reconcile(to(TWO), soon()).await
        });
        assert_eq!((lease.unwrap().key().id().as_str(), begun.elapsed()), ("b", SECOND));
        assert_eq!(done.unwrap().added, ["b".into()]);
    });
}

#[test]
fn who_waits_is_told_at_once_when_its_key_is_gone() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(20), None);
        let begun = Instant::now();
        let (waited, _) = tokio::join!(keys.lease(only("a"), soon()), async {
            tokio::time::sleep(SECOND).await;
            keys.reconcile(to(&[("b", None)]), soon()).await
        });
        assert_eq!(waited.unwrap_err(), LeaseError::Refused(Refusal::NoneLeft));
        assert_eq!(begun.elapsed(), SECOND);
    });
}

#[test]
fn another_secret_under_the_same_name_is_another_key_that_new_leases_use() {
    in_system(async {
        let keys = started(TWO);
        let open = keys.lease(only("a"), soon()).await.unwrap();
        keys.lease(only("a"), soon()).await.unwrap().settle(retired(), None);
        let change = with_secrets(&[("a", "other"), ("b", "b")]);
        let done = keys.reconcile(change, soon()).await.unwrap();
        assert_eq!((done.added, done.removed), (vec!["a".into()], vec!["a".into()]));
        assert_eq!(secret_of(&keys, "a").await, "AIza-other");
        assert_eq!(open.key().secret().expose(), "AIza-a");
        open.settle(retired(), None);
        assert_eq!(secret_of(&keys, "a").await, "AIza-other");
    });
}

#[test]
fn another_name_of_the_same_secret_is_the_same_key() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("a"), soon()).await.unwrap().settle(quota(600), None);
        let done = keys.reconcile(with_secrets(&[("b", "b"), ("new", "a")]), soon()).await.unwrap();
        assert_eq!((done.changed.len(), done.added.len(), done.removed.len()), (1, 0, 0));
        let refused = keys.lease(only("new"), soon()).await.unwrap_err();
        assert!(matches!(refused, LeaseError::Refused(Refusal::Cooling { .. })), "{refused:?}");
    });
}

#[test]
fn other_rules_hold_from_then_on() {
    in_system(async {
        let keys = started(TWO);
        let limit = Limit { rpm: Some(1), ..Limit::default() };
        let rules = Settings { limits: vec![limit], max_wait: Duration::ZERO, ..exact() };
        let done = keys.reconcile(Reconcile { rules: Some(rules), ..to(TWO) }, soon()).await.unwrap();
        assert!(done.is_empty());
        for _ in TWO {
            keys.lease(any(), soon()).await.unwrap().settle(Outcome::Success, None);
        }
        let refused = keys.lease(any(), soon()).await.unwrap_err();
        assert!(matches!(refused, LeaseError::Refused(Refusal::Cooling { .. })), "{refused:?}");
    });
}

#[cfg(debug_assertions)]
#[test]
fn a_new_life_begins_with_the_keys_and_rules_of_now() {
    in_system(async {
        let keys = started(TWO);
        for key in ["a", "b"] {
            keys.lease(only(key), soon()).await.unwrap().settle(quota(600), None);
        }
        let rules = Settings { max_wait: Duration::ZERO, ..exact() };
        let change = Reconcile { rules: Some(rules), ..to(&[("c", None), ("b", None)]) };
        keys.reconcile(change, soon()).await.unwrap();
        // What was held against the key that went is forgotten, though it is back.
        keys.reconcile(to(&[("c", None), ("b", None), ("a", None)]), soon()).await.unwrap();
        keys.panic();
        assert_eq!(keys.lease(any(), soon()).await.unwrap().key().id().as_str(), "c");
        let snapshot = keys.snapshot(soon()).await.unwrap();
        let shown: Vec<_> = snapshot.keys.iter().map(|view| (view.id.as_str(), view.models.len())).collect();
        assert_eq!(shown, [("c", 0), ("b", 1), ("a", 0)]);
        for key in ["a", "c"] {
            keys.lease(only(key), soon()).await.unwrap().settle(quota(1), None);
        }
        let refused = keys.lease(any(), soon()).await.unwrap_err();
        assert!(matches!(refused, LeaseError::Refused(Refusal::Cooling { .. })), "nobody waits by now");
    });
}

#[test]
fn a_page_shows_what_the_reports_in_the_inbox_say() {
    in_system(async {
        let keys = started(TWO);
        keys.lease(only("b"), soon()).await.unwrap().settle(retired(), None);
        let request = PageRequest { states: vec![KeyState::Retired], limit: 10, ..PageRequest::default() };
        let page = keys.page(request, soon()).await.unwrap();
        assert_eq!((page.matched, page.keys[0].id.as_str()), (1, "b"));
        assert_eq!((page.overview.counts.total, page.overview.counts.retired), (2, 1));
    });
}

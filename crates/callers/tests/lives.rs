//! One caller on gateways that are restarted, and on a Redis that loses what it was told: what was used counts once.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod gateways;

use std::sync::Arc;
use std::time::Duration;

use callers::{CallerLimits, Ending, Registered, Seed, Spent, Used};
use gateways::{Cluster, Of, Place, at, gateway, refused};

#[test]
fn what_is_spent_on_one_is_spent_on_all_and_a_restart_forgives_nothing() {
    let limits =
        CallerLimits { tokens_month: Some(10_000), tokens_day: Some(8_000), ..CallerLimits::default() };
    let mut cluster = Cluster::new(limits, 2);
    for _ in 0..20 {
        if let Some((pass, _)) = refused(cluster.ask(0, 1_500)) {
            let spent = Spent { tokens: 2_000, output_tokens: 500, money: 0 };
            pass.settle(Ending::Spent(spent), at(cluster.now));
        }
    }
    cluster.tell(0);
    assert!(refused(cluster.ask(1, 1_500)).is_none(), "8,000 are spent");
    // The first one ends, and a new life of it knows by its own book what the former one spent.
    cluster.gateways.remove(0);
    let next = gateway(limits);
    let former = Used { requests: 4, tokens: 8_000, money: 0 };
    next.seed(&Seed { day: former, month: former, ..Seed::default() }, at(cluster.now));
    let reading = |caller: &Registered, now| {
        caller.read(at(now)).limits.iter().map(|reading| reading.used).collect::<Vec<_>>()
    };
    assert_eq!(reading(&next, cluster.now), [8_000, 8_000], "before it has heard anything");
    cluster.place.books.insert(7, 0);
    cluster.place.tell(7, 2, &next, cluster.now, false);
    assert_eq!(reading(&next, cluster.now), [8_000, 8_000], "it does not count twice");
    // Nor does it where the book is gone.
    let empty = gateway(limits);
    cluster.place.tell(8, 2, &empty, cluster.now, false);
    assert_eq!(reading(&empty, cluster.now), [8_000, 8_000]);
    // On the next day the month goes on.
    cluster.now += Duration::from_secs(24 * 3_600);
    let caller = &cluster.gateways[0];
    cluster.place.tell(1, 2, caller, cluster.now, false);
    assert!(caller.read(at(cluster.now)).limits.iter().map(|reading| reading.used).eq([0, 8_000]));
}

#[test]
fn what_was_shared_and_is_lost_is_told_anew() {
    let limits =
        CallerLimits { rpm: Some(10), rpd: Some(20), tokens_month: Some(50_000), ..CallerLimits::default() };
    let mut cluster = Cluster::new(limits, 2);
    for n in 0..6 {
        let (pass, _) = refused(cluster.ask(n % 2, 100)).unwrap();
        let spent = Spent { tokens: 600, output_tokens: 500, money: 0 };
        pass.settle(Ending::Spent(spent), at(cluster.now));
    }
    cluster.tell_all();
    cluster.place = Place { run: 1, ..Place::default() };
    cluster.gateways.iter().for_each(|caller| caller.tell_anew(at(cluster.now)));
    cluster.now += Duration::from_secs(1);
    // Before the other has told it again, what was known of it holds.
    cluster.tell(0);
    let first = cluster.gateways[0].read(at(cluster.now));
    assert!(first.limits.iter().map(|reading| reading.used).eq([6, 6, 3_600]), "{first:?}");
    assert!(cluster.gateways.iter().all(|caller| caller.has_news(at(cluster.now))));
    cluster.tell_all();
    for caller in &cluster.gateways {
        let reading = caller.read(at(cluster.now));
        assert!(reading.limits.iter().map(|reading| reading.used).eq([6, 6, 3_600]), "{reading:?}");
        assert!(!caller.has_news(at(cluster.now)));
    }
}

#[test]
fn what_former_lives_have_used_is_told_by_the_next_once_where_it_was_lost() {
    let limits =
        CallerLimits { tokens_day: Some(10_000), tokens_month: Some(50_000), ..CallerLimits::default() };
    let used_by = |caller: &Registered, now| {
        caller.read(at(now)).limits.iter().map(|reading| reading.used).collect::<Vec<_>>()
    };
    let spend = |cluster: &mut Cluster, tokens| {
        let (pass, _) = refused(cluster.ask(0, 100)).unwrap();
        pass.settle(Ending::Spent(Spent { tokens, output_tokens: 10, money: 0 }), at(cluster.now));
    };
    for (written, is_lost) in [(6_000, true), (6_000, false), (5_000, false), (5_000, true)] {
        let mut cluster = Cluster::new(limits, 2);
        spend(&mut cluster, 6_000);
        cluster.tell_all();
        // The next life of the first gateway has nothing but the book, in which a kill may have left less than was told.
        let former = Used { requests: 1, tokens: written, money: 0 };
        cluster.gateways[0] = gateway(limits);
        cluster.gateways[0].seed(&Seed { day: former, month: former, ..Seed::default() }, at(cluster.now));
        if is_lost {
            cluster.place = Place { run: 1, ..Place::default() };
        } else {
            // Under another life's number, and the same book.
            let lives = cluster.place.periods.iter().filter(|((.., of), _)| *of != Of::Life(0));
            cluster.place.periods = lives.map(|(name, sums)| (*name, *sums)).collect();
        }
        cluster.gateways.iter().for_each(|caller| caller.tell_anew(at(cluster.now)));
        assert!(cluster.gateways[0].has_news(at(cluster.now)), "nobody has asked it for anything");
        // A reply that is lost says nothing of whether it was added.
        let caller = Arc::clone(&cluster.gateways[0]);
        cluster.place.tell(0, 2, &caller, cluster.now, false);
        cluster.place.tell(0, 2, &caller, cluster.now, true);
        assert!(!is_lost || caller.has_news(at(cluster.now)));
        // Longer than what the others knew of it holds.
        cluster.pass(Duration::from_secs(3));
        cluster.tell_all();
        let known = if is_lost { written } else { 6_000 };
        for caller in &cluster.gateways {
            assert_eq!(used_by(caller, cluster.now), [known, known], "{written}, lost: {is_lost}");
            assert!(!caller.has_news(at(cluster.now)));
        }
        // It adds its own to that, and tells all of it where it is lost again.
        spend(&mut cluster, 1_000);
        cluster.tell_all();
        cluster.place = Place { run: 2, ..Place::default() };
        cluster.gateways.iter().for_each(|caller| caller.tell_anew(at(cluster.now)));
        cluster.pass(Duration::from_secs(3));
        cluster.tell_all();
        for caller in &cluster.gateways {
            assert_eq!(used_by(caller, cluster.now), [written + 1_000, written + 1_000]);
        }
    }
}

//! The rules for a ledger whose owner looks after what has expired, and starts from what it holds.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Place,
    holdings::{find, forget, held, keys, put, put_all, record},
    put as put_record, save, start,
};
use crate::{Holding, Ledger, Records, Upkeep};

/// Holds an implementation against every rule for the upkeep of a ledger.
pub fn upkeep<P: Place>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 7] = [
        an_empty_ledger_needs_no_upkeep,
        nothing_is_left_of_a_replaced_holdings_times,
        nothing_is_left_of_a_forgotten_holding,
        what_has_expired_is_removed_for_good,
        expired_holdings_are_removed_some_at_a_time_and_the_oldest_first,
        the_newest_come_first_and_never_an_expired_one,
        records_and_ledger_share_a_place_and_leave_each_other_alone,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn at(minutes: i64) -> DateTime<Utc> {
    start() + TimeDelta::minutes(minutes)
}

fn until(name: &str, minutes: i64) -> Holding {
    Holding { expires: Some(at(minutes)), ..held(name, "key") }
}

fn made(name: &str, minutes: i64) -> Holding {
    Holding { made: at(minutes), ..held(name, "key") }
}

fn newest(ledger: &mut impl Upkeep, at_most: usize, now: DateTime<Utc>) -> Vec<String> {
    let newest = ledger.newest(at_most, now).expect("the ledger can be read");
    newest.into_iter().map(|holding| holding.name).collect()
}

fn expire(ledger: &mut impl Upkeep, now: DateTime<Utc>, at_most: usize) -> usize {
    ledger.expire(now, at_most).expect("the ledger can be written")
}

fn an_empty_ledger_needs_no_upkeep(place: &impl Place) {
    let mut ledger = place.open();
    record(&mut ledger, &[]);
    record(&mut ledger, &[forget("files/a")]);
    assert_eq!(expire(&mut ledger, at(0), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(0)), [""; 0]);
}

fn nothing_is_left_of_a_replaced_holdings_times(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5), &held("files/b", "1")]);
    let next = Holding { expires: Some(at(50)), made: at(-20), ..held("files/a", "2") };
    put_all(&mut ledger, [&next]);
    assert_eq!(expire(&mut ledger, at(5), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(5)), ["files/b", "files/a"]);
    put_all(&mut ledger, [&held("files/a", "3")]);
    assert_eq!(expire(&mut ledger, at(50), 10), 0);
    assert_eq!(keys(&mut ledger, &["files/a"]), [Some("3".to_owned())]);
}

fn nothing_is_left_of_a_forgotten_holding(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5), &held("files/b", "1")]);
    record(&mut ledger, &[forget("files/a")]);
    assert_eq!(expire(&mut ledger, at(5), 10), 0);
    assert_eq!(newest(&mut ledger, 10, at(0)), ["files/b"]);
}

fn what_has_expired_is_removed_for_good(place: &impl Place) {
    let mut ledger = place.open();
    put_all(&mut ledger, [&until("files/a", 5)]);
    assert_eq!(expire(&mut ledger, at(5) - TimeDelta::nanoseconds(1), 10), 0);
    assert_eq!(expire(&mut ledger, at(5), 10), 1);
    // It is gone for good, whatever the clock says.
    assert_eq!(find(&mut ledger, &["files/a"]), [None]);
}

fn expired_holdings_are_removed_some_at_a_time_and_the_oldest_first(place: &impl Place) {
    let mut ledger = place.open();
    let all: Vec<_> = (0..100).map(|n| until(&format!("files/{n}"), (n * 37) % 100)).collect();
    put_all(&mut ledger, &all);
    assert_eq!(expire(&mut ledger, at(49), 0), 0);
    assert_eq!(expire(&mut ledger, at(49), 30), 30);
    let names: Vec<_> = all.iter().map(|holding| holding.name.as_str()).collect();
    let left = ledger.find(&names, at(-1)).expect("the ledger can be read");
    for (holding, left) in all.iter().zip(left) {
        assert_eq!(left.is_some(), holding.expires >= Some(at(30)), "{}", holding.name);
    }
    assert_eq!([30, 30].map(|at_most| expire(&mut ledger, at(49), at_most)), [20, 0]);
    assert_eq!(expire(&mut ledger, at(200), usize::MAX), 50);
}

fn the_newest_come_first_and_never_an_expired_one(place: &impl Place) {
    let mut ledger = place.open();
    let expiring = Holding { expires: Some(at(60)), ..made("files/d", 40) };
    put_all(&mut ledger, [&made("b", 10), &made("c", 30), &made("a", 10), &expiring, &made("e", -5)]);
    assert_eq!(newest(&mut ledger, 10, at(59)), ["files/d", "c", "a", "b", "e"]);
    assert_eq!(newest(&mut ledger, 2, at(59)), ["files/d", "c"]);
    assert_eq!(newest(&mut ledger, 2, at(60)), ["c", "a"]);
    assert_eq!(newest(&mut ledger, 0, at(60)), [""; 0]);
    let all = ledger.newest(usize::MAX, at(0)).expect("the ledger can be read");
    assert!(all[0] == expiring && all.len() == 5);
}

fn records_and_ledger_share_a_place_and_leave_each_other_alone(place: &impl Place) {
    let (mut one, mut other) = (place.open(), place.open());
    for round in 0..10 {
        let round = round.to_string();
        record(&mut one, &[put("files/a", &round)]);
        save(&mut other, &[put_record("files/a", &round)]);
        assert_eq!(keys(&mut other, &["files/a"]), [Some(round.clone())]);
        assert_eq!(one.load().expect("the records load")[0].body, round);
        one.sync().expect("one handle syncs while another is open");
    }
    record(&mut one, &[forget("files/a")]);
    drop((one, other));
    let mut next = place.open();
    assert_eq!(
        (next.load().expect("the records load").len(), find(&mut next, &["files/a"])),
        (1, vec![None])
    );
}

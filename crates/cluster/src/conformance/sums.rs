//! The rules for sums.

use std::{collections::BTreeMap, thread, time::Duration};

use super::{SharedPlace, members::id};
use crate::{AddReply, Addition, Shared};

/// Holds shared state against every rule for sums.
pub fn sums<P: SharedPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 4] = [
        what_all_add_comes_together,
        a_repeated_addition_adds_once,
        racing_additions_are_all_there,
        sums_end_after_their_time,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn addition(name: &str, number: u64, deltas: &[(&str, i64)]) -> Addition {
    let deltas = deltas.iter().map(|(field, delta)| ((*field).into(), *delta)).collect();
    Addition::new(name, number, deltas, DAY).expect("an addition")
}

fn what_all_add_comes_together(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    assert_eq!(one.sums("2026-01-01"), Ok(BTreeMap::new()));
    let first = one.add(&addition("2026-01-01", 1, &[("a", 5), ("q:other", 7)]));
    assert_eq!(first, Ok(AddReply::Added(vec![5, 7])));
    let second = other.add(&addition("2026-01-01", 1, &[("b {c}", i64::MAX >> 11), ("a", -2)]));
    assert_eq!(second, Ok(AddReply::Added(vec![i64::MAX >> 11, 3])));
    other.add(&addition("2026-01-02", 2, &[("a", 1)])).expect("it is added");
    let expected = [("a", 3), ("b {c}", i64::MAX >> 11), ("q:other", 7)];
    let expected: BTreeMap<_, _> = expected.map(|(field, sum)| (field.to_owned(), sum)).into();
    assert_eq!(one.sums("2026-01-01"), Ok(expected));
}

fn a_repeated_addition_adds_once(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    one.add(&addition("day", 7, &[("a", 5)])).expect("it is added");
    let again = one.add(&addition("day", 7, &[("a", 5), ("b", 1)]));
    assert_eq!(again, Ok(AddReply::AddedBefore(vec![5, 0])));
    let late = one.add(&addition("day", 6, &[("a", 5)])).expect("an answer");
    assert_eq!((&late, late.sums()), (&AddReply::AddedBefore(vec![5]), &[5][..]));
    assert_eq!(one.add(&addition("day", 8, &[("a", 1)])), Ok(AddReply::Added(vec![6])));
    assert_eq!(one.add(&addition("day", 1 << 53, &[])), Ok(AddReply::Added(vec![])));
}

fn racing_additions_are_all_there(place: &impl SharedPlace) {
    let adding = |n: usize| {
        let mut node = place.node(&id(&format!("node-{n}")));
        thread::spawn(move || {
            for number in 1..=100 {
                node.add(&addition("budget", number, &[("spent", 3)])).expect("it is added");
            }
        })
    };
    let all: Vec<_> = (0..4).map(adding).collect();
    for adding in all {
        adding.join().expect("it ends well");
    }
    let sums = place.node(&id("reader")).sums("budget").expect("the sums");
    assert_eq!(sums.get("spent"), Some(&1_200));
}

fn sums_end_after_their_time(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let keep = Duration::from_millis(40);
    let short = Addition::new("short", 1, vec![("a".into(), 1)], keep).expect("an addition");
    one.add(&short).expect("it is added");
    place.wait_out(keep + Duration::from_millis(10));
    assert_eq!(one.sums("short"), Ok(BTreeMap::new()));
}

//! Pages of the keys: what fits, in what order, and that nothing is left out or told twice on the way through them.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use gemini::fault::{Kind, Wait};
use keypool::{
    Answer, KeyColumn, KeyId, KeyPage, KeySpec, KeyState, LeaseRequest, Outcome, PageRequest, Reach,
};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs};

fn serve(stage: &mut Stage, key: &str, outcome: Outcome) {
    let request = LeaseRequest { reach: Reach::Only(key.into()), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Granted(grant) = stage.ask(&request) else { panic!("no grant of {key}") };
    stage.settle(&grant, MODEL, outcome);
}

/// Six keys: `k1` cools, `k2` is retired, `k3` disabled; `k4` has served twice, `k5` has failed once and is in use.
fn stage() -> Stage {
    let specs = vec![
        labelled("k0", "Team"),
        KeySpec::new("k1"),
        labelled("k2", "team"),
        KeySpec::new("k3"),
        KeySpec::new("k4"),
        labelled("k5", "a"),
    ];
    let mut stage = Stage::new(exact(), specs);
    serve(&mut stage, "k1", fault(Kind::KeyRestricted, Wait::For(secs(60))));
    serve(&mut stage, "k2", fault(Kind::KeyInvalid, Wait::Retire));
    stage.disable("k3");
    serve(&mut stage, "k4", Outcome::Success);
    serve(&mut stage, "k4", Outcome::Success);
    serve(&mut stage, "k5", fault(Kind::Client, Wait::None));
    let request = LeaseRequest { reach: Reach::Only("k5".into()), ..LeaseRequest::any(model(MODEL)) };
    assert!(matches!(stage.ask(&request), Answer::Granted(_)));
    stage
}

fn ids(page: &KeyPage) -> String {
    let ids: Vec<_> = page.keys.iter().map(|view| view.id.as_str()).collect();
    ids.join(" ")
}

fn all() -> PageRequest {
    PageRequest { limit: 100, ..PageRequest::default() }
}

#[test]
fn a_page_has_what_fits_in_the_order_that_was_asked_for() {
    let stage = stage();
    let by = |order, descending| PageRequest { order, descending, ..all() };
    let named = |text: &str| PageRequest { text: text.into(), ..all() };
    let being = |states: &[KeyState]| PageRequest { states: states.to_vec(), ..all() };
    for (request, expected) in [
        (all(), "k0 k1 k2 k3 k4 k5"),
        (by(KeyColumn::Id, true), "k5 k4 k3 k2 k1 k0"),
        (by(KeyColumn::Project, false), "k1 k3 k4 k0 k5 k2"),
        (by(KeyColumn::State, false), "k0 k4 k5 k1 k2 k3"),
        (by(KeyColumn::State, true), "k3 k2 k1 k5 k4 k0"),
        (by(KeyColumn::Served, true), "k4 k5 k3 k2 k1 k0"),
        (by(KeyColumn::Faults, false), "k0 k3 k4 k1 k2 k5"),
        (by(KeyColumn::InFlight, true), "k5 k4 k3 k2 k1 k0"),
        (named("TEAM"), "k0 k2"),
        (named("4"), "k4"),
        (named("none of it"), ""),
        (being(&[KeyState::Available]), "k0 k4 k5"),
        (being(&[KeyState::Cooling, KeyState::Disabled]), "k1 k3"),
        (PageRequest { limit: 0, ..all() }, ""),
    ] {
        let page = stage.pool.page(&request, stage.now);
        assert_eq!(ids(&page), expected, "{request:?}");
        let snapshot = stage.pool.snapshot(stage.now);
        assert_eq!(page.overview.counts, snapshot.counts);
        assert_eq!(page.overview.back_in_ms, snapshot.back_in_ms);
        assert!(page.keys.iter().all(|view| snapshot.keys.contains(view)));
        if request.limit > 0 {
            assert_eq!((page.matched, page.next), (page.keys.len(), None));
        }
    }
}

#[test]
fn the_first_of_many_are_found_in_whatever_order_they_come() {
    for descending in [false, true] {
        let mut stage = Stage::new(exact(), keys(5_000));
        serve(&mut stage, "k77", Outcome::Success);
        let request =
            PageRequest { order: KeyColumn::Served, descending, limit: 3, ..PageRequest::default() };
        let first = stage.pool.page(&request, stage.now);
        let second = stage.pool.page(&PageRequest { after: first.next.clone(), ..request }, stage.now);
        let expected =
            if descending { ["k77 k999 k998", "k997 k996 k995"] } else { ["k0 k1 k10", "k100 k1000 k1001"] };
        assert_eq!([ids(&first), ids(&second)], expected);
        assert_eq!(first.matched, 5_000);
    }
}

#[test]
fn a_page_goes_on_where_the_last_one_ended_though_its_last_key_is_gone() {
    let mut stage = Stage::new(exact(), keys(9));
    let first = stage.pool.page(&PageRequest { limit: 4, ..all() }, stage.now);
    assert_eq!((ids(&first).as_str(), first.matched), ("k0 k1 k2 k3", 9));
    let mut rest = keys(9);
    rest.remove(3);
    rest.push(KeySpec::new("k35"));
    stage.pool.reconcile(rest, stage.now, &mut stage.effects).unwrap();
    let second = stage.pool.page(&PageRequest { limit: 4, after: first.next, ..all() }, stage.now);
    assert_eq!(ids(&second), "k35 k4 k5 k6");
    let third = stage.pool.page(&PageRequest { limit: 4, after: second.next, ..all() }, stage.now);
    assert_eq!((ids(&third).as_str(), third.next), ("k7 k8", None));
}

proptest! {
    #[test]
    fn the_pages_together_are_the_list(
        served in prop::collection::vec(0..3_u8, 1..40),
        order in prop::sample::select(vec![KeyColumn::Id, KeyColumn::Served, KeyColumn::Project]),
        descending in any::<bool>(),
        limit in 1..12_usize,
    ) {
        let mut stage = Stage::new(exact(), keys(served.len()));
        for (at, times) in served.iter().enumerate() {
            for _ in 0..*times {
                serve(&mut stage, &format!("k{at}"), Outcome::Success);
            }
        }
        let whole = PageRequest { order, descending, ..all() };
        let expected = stage.pool.page(&whole, stage.now);
        let (mut seen, mut after): (Vec<KeyId>, _) = (Vec::new(), None);
        loop {
            let page = stage.pool.page(&PageRequest { limit, after, ..whole.clone() }, stage.now);
            let skipping = PageRequest { limit, skip: seen.len(), ..whole.clone() };
            prop_assert_eq!(&stage.pool.page(&skipping, stage.now), &page, "passed over is as good as read on");
            prop_assert!(page.keys.len() <= limit);
            prop_assert_eq!(page.matched, served.len());
            seen.extend(page.keys.into_iter().map(|view| view.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> = expected.keys.into_iter().map(|view| view.id).collect();
        prop_assert_eq!(seen, expected);
    }
}

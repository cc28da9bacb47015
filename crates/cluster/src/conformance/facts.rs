//! The rules for facts.

use std::{collections::BTreeMap, thread, time::Duration};

use super::{SharedPlace, members::id};
use crate::{Fact, FactId, NodeId, PlacedFact, Reading, Shared, TellReply};

/// Holds shared state against every rule for facts.
pub fn facts<P: SharedPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 13] = [
        nothing_is_known_at_first,
        what_is_told_is_read_in_its_order_by_all,
        texts_come_back_byte_for_byte,
        the_last_fact_of_a_subject_is_what_is_known,
        who_has_not_heard_of_a_fact_cannot_undo_it,
        a_weightier_fact_holds_whoever_tells_it,
        who_has_heard_of_a_fact_may_replace_it,
        a_node_may_replace_what_it_told_itself,
        a_fact_that_is_told_twice_says_the_same,
        ranks_are_compared_as_numbers,
        that_there_is_nothing_to_know_is_known_for_an_hour,
        a_reader_that_was_away_too_long_is_told_so,
        all_nodes_come_to_know_the_same,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

fn fact(subject: &str, rank: u64, body: &str, origin: &str) -> Fact {
    Fact::new(subject, rank, body, id(origin)).expect("a fact")
}

fn tell(shared: &mut impl Shared, fact: &Fact, seen: FactId) -> TellReply {
    shared.tell(std::slice::from_ref(fact), seen).expect("it is told").remove(0)
}

fn written(shared: &mut impl Shared, fact: &Fact, seen: FactId) -> FactId {
    match tell(shared, fact, seen) {
        TellReply::Written(id) => id,
        TellReply::Overruled(held) => panic!("{fact:?} is overruled by {held:?}"),
    }
}

fn overruled(shared: &mut impl Shared, fact: &Fact, seen: FactId) -> PlacedFact {
    match tell(shared, fact, seen) {
        TellReply::Written(_) => panic!("{fact:?} is written"),
        TellReply::Overruled(held) => held,
    }
}

fn read(shared: &mut impl Shared, after: FactId) -> Vec<PlacedFact> {
    match shared.facts(after, Duration::ZERO).expect("facts can be read") {
        Reading::Facts(facts) => facts,
        Reading::Trimmed => panic!("what comes after {after} is gone"),
    }
}

fn bodies(facts: &[PlacedFact]) -> Vec<&str> {
    facts.iter().map(|placed| placed.fact.body()).collect()
}

fn known(shared: &mut impl Shared) -> BTreeMap<String, PlacedFact> {
    let known = shared.known().expect("what is known can be read").facts;
    known.into_iter().map(|placed| (placed.fact.subject().to_owned(), placed)).collect()
}

fn nothing_is_known_at_first(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let known = one.known().expect("what is known can be read");
    assert_eq!((known.facts, known.end), (Vec::new(), FactId::START));
    assert_eq!(read(&mut one, FactId::START), []);
    assert_eq!(one.tell(&[], FactId::START), Ok(Vec::new()));
}

fn what_is_told_is_read_in_its_order_by_all(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let all: Vec<_> = (0..500).map(|n| fact(&format!("subject {n}"), 1, &n.to_string(), "one")).collect();
    let replies = one.tell(&all, FactId::START).expect("all are told");
    let ids: Vec<_> = replies
        .into_iter()
        .map(|reply| match reply {
            TellReply::Written(id) => id,
            TellReply::Overruled(held) => panic!("overruled by {held:?}"),
        })
        .collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "each has a place of its own");
    place.pass(Duration::from_secs(1));
    let last = written(&mut other, &fact("another", 1, "500", "other"), FactId::START);
    for shared in [&mut one, &mut other] {
        let (mut after, mut seen) = (FactId::START, Vec::new());
        loop {
            let next = read(shared, after);
            let Some(end) = next.last() else { break };
            after = end.id;
            seen.extend(next);
        }
        assert_eq!(seen.len(), 501);
        assert!(seen.iter().zip(&all).all(|(seen, told)| seen.fact == *told));
        assert!(seen.iter().zip(&ids).all(|(seen, id)| seen.id == *id));
        assert_eq!(after, last);
        assert_eq!(bodies(&read(shared, ids[498])), ["499", "500"]);
        assert_eq!(shared.known().expect("what is known can be read").end, last);
    }
}

fn texts_come_back_byte_for_byte(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let texts = ["é", "e\u{301}", "nul\0here", "two\r\nlines ", " 1-1 2 x y", "{\"a\":[1,2]}", "🔑 ключ"];
    let all: Vec<_> = texts.iter().map(|text| fact(text, u64::MAX, text, "one")).collect();
    one.tell(&all, FactId::START).expect("all are told");
    let large = fact(&"s".repeat(1_024), 0, &"b".repeat(65_536), "one");
    one.tell(&vec![large.clone(); 40], FactId::START).expect("large ones are told");
    let seen = read(&mut one, FactId::START);
    assert!(all.iter().zip(&seen).all(|(told, seen)| seen.fact == *told));
    assert!(seen[all.len()..].len() == 40 && seen[all.len()..].iter().all(|seen| seen.fact == large));
    let known = known(&mut one);
    assert!(all.iter().chain([&large]).all(|told| known[told.subject()].fact == *told));
}

fn the_last_fact_of_a_subject_is_what_is_known(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let mut seen = FactId::START;
    for (rank, body) in [(1, "open"), (3, "retired"), (2, "cooling")] {
        seen = written(&mut one, &fact("key", rank, body, "one"), seen);
    }
    let known = known(&mut one);
    assert_eq!(known.len(), 1);
    assert_eq!(known["key"], PlacedFact { id: seen, fact: fact("key", 2, "cooling", "one") });
}

fn who_has_not_heard_of_a_fact_cannot_undo_it(place: &impl SharedPlace) {
    let (mut one, mut stale) = (place.node(&id("one")), place.node(&id("stale")));
    let before = written(&mut one, &fact("key", 1, "open", "one"), FactId::START);
    let retired = fact("key", 3, "retired", "one");
    let at = written(&mut one, &retired, before);
    for rank in [1, 2, 3] {
        let held = overruled(&mut stale, &fact("key", rank, "stale", "stale"), before);
        assert_eq!(held, PlacedFact { id: at, fact: retired.clone() });
    }
    assert_eq!(read(&mut stale, at), [], "nobody hears of what was overruled");
    assert_eq!(known(&mut stale)["key"].fact, retired);
}

fn a_weightier_fact_holds_whoever_tells_it(place: &impl SharedPlace) {
    let (mut one, mut stale) = (place.node(&id("one")), place.node(&id("stale")));
    let cooling = fact("key", 2 << 40, "cooling", "one");
    written(&mut one, &cooling, FactId::START);
    let later = fact("key", (2 << 40) + 1, "cooling for longer", "stale");
    written(&mut stale, &later, FactId::START);
    assert_eq!(known(&mut one)["key"].fact, later);
    assert_eq!(overruled(&mut one, &cooling, FactId::START).fact, later);
}

fn who_has_heard_of_a_fact_may_replace_it(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let at = written(&mut one, &fact("key", 3, "retired", "one"), FactId::START);
    let reset = fact("key", 1, "open", "other");
    written(&mut other, &reset, at);
    assert_eq!(known(&mut one)["key"].fact, reset);
}

fn a_node_may_replace_what_it_told_itself(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    written(&mut one, &fact("key", 3, "retired", "one"), FactId::START);
    written(&mut one, &fact("key", 1, "open", "one"), FactId::START);
    let batch = [fact("key", 3, "retired", "one"), fact("key", 1, "open again", "one")];
    one.tell(&batch, FactId::START).expect("both are told");
    assert_eq!(known(&mut one)["key"].fact, batch[1]);
}

fn a_fact_that_is_told_twice_says_the_same(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let retired = fact("key", 3, "retired", "one");
    let first = written(&mut one, &retired, FactId::START);
    let again = written(&mut one, &retired, FactId::START);
    assert!(again > first);
    assert_eq!(known(&mut one)["key"].fact, retired);
}

fn ranks_are_compared_as_numbers(place: &impl SharedPlace) {
    let (mut one, mut stale) = (place.node(&id("one")), place.node(&id("stale")));
    for (n, (high, low)) in
        [(10, 9), (u64::MAX, u64::MAX - 1), (1 << 60, (1 << 60) - 1)].into_iter().enumerate()
    {
        let subject = n.to_string();
        written(&mut one, &fact(&subject, high, "high", "one"), FactId::START);
        overruled(&mut stale, &fact(&subject, low, "low", "stale"), FactId::START);
    }
}

fn that_there_is_nothing_to_know_is_known_for_an_hour(place: &impl SharedPlace) {
    let (mut one, mut stale) = (place.node(&id("one")), place.node(&id("stale")));
    let at = written(&mut one, &fact("key", 2, "cooling", "one"), FactId::START);
    written(&mut one, &fact("limit", 2, "10", "one"), at);
    // Reckoned from the id, which a real server makes by its own clock.
    written(&mut one, &fact("key", 3, "", "one"), at);
    assert_eq!(overruled(&mut stale, &fact("key", 2, "cooling", "stale"), at).fact.body(), "");
    place.pass(Duration::from_secs(3_590));
    assert_eq!(known(&mut one).len(), 2);
    place.pass(Duration::from_secs(60));
    assert_eq!(known(&mut one).keys().collect::<Vec<_>>(), ["limit"], "what says something stays");
}

fn a_reader_that_was_away_too_long_is_told_so(place: &impl SharedPlace) {
    let (mut one, mut away) = (place.node(&id("one")), place.node(&id("away")));
    let first = written(&mut one, &fact("first", 1, "1", "one"), FactId::START);
    assert_eq!(away.facts(first, Duration::ZERO), Ok(Reading::Facts(Vec::new())));
    let many: Vec<_> = (0..12_000).map(|n| fact(&format!("{}", n % 7), 1, &n.to_string(), "one")).collect();
    one.tell(&many, first).expect("all are told");
    assert_eq!(away.facts(first, Duration::ZERO), Ok(Reading::Trimmed));
    assert_eq!(away.facts(FactId::START, Duration::ZERO), Ok(Reading::Trimmed));
    let known = away.known().expect("what is known can be read");
    assert_eq!(known.facts.len(), 8);
    let last = written(&mut one, &fact("last", 1, "last", "one"), known.end);
    assert_eq!(read(&mut away, known.end).iter().map(|placed| placed.id).collect::<Vec<_>>(), [last]);
    place.lose_everything();
    assert_eq!(
        away.facts(known.end, Duration::ZERO),
        Ok(Reading::Trimmed),
        "an empty server has lost it too"
    );
}

/// A node with its own picture of what holds.
struct Listener<S> {
    shared: S,
    node: NodeId,
    holds: BTreeMap<String, Fact>,
    applied: FactId,
}

impl<S: Shared> Listener<S> {
    fn listen(&mut self) {
        loop {
            let next = read(&mut self.shared, self.applied);
            let Some(last) = next.last() else { return };
            self.applied = last.id;
            for placed in next {
                self.holds.insert(placed.fact.subject().to_owned(), placed.fact);
            }
        }
    }

    fn say(&mut self, subject: &str, rank: u64, body: &str) {
        let fact = Fact::new(subject, rank, body, self.node.clone()).expect("a fact");
        let reply = tell(&mut self.shared, &fact, self.applied);
        let holds = match reply {
            TellReply::Written(_) => fact,
            TellReply::Overruled(held) => held.fact,
        };
        self.holds.insert(subject.to_owned(), holds);
    }
}

fn all_nodes_come_to_know_the_same(place: &impl SharedPlace) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut nodes: Vec<_> = (0..4)
        .map(|n| {
            let node = id(&format!("node-{n}"));
            Listener { shared: place.node(&node), node, holds: BTreeMap::new(), applied: FactId::START }
        })
        .collect();
    thread::scope(|scope| {
        for node in &mut nodes {
            let mut random = random.fork();
            scope.spawn(move || {
                for n in 0..150 {
                    if random.u8(..4) == 0 {
                        node.listen();
                    }
                    let body = format!("{} {n}", node.node);
                    node.say(&random.u8(..10).to_string(), random.u64(1..4), &body);
                }
            });
        }
    });
    let holds: BTreeMap<_, _> =
        known(&mut nodes[0].shared).into_iter().map(|(subject, placed)| (subject, placed.fact)).collect();
    for node in &mut nodes {
        node.listen();
        assert_eq!(node.holds, holds, "{}", node.node);
    }
}

//! The rules for hello, beats, the list of nodes, and claims.

use std::time::Duration;

use super::SharedPlace;
use crate::{Away, Beat, ClaimReply, ClusterMember, FactId, NodeId, SCHEMA, Shared};

/// Holds shared state against every rule for those who share it.
pub fn members<P: SharedPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 11] = [
        nothing_is_given_until_all_have_had_time_to_report,
        another_server_is_another_generation,
        a_server_that_came_back_empty_never_has_a_former_generation,
        all_are_kept_from_taking_when_nobody_was_heard,
        a_clock_that_is_set_back_does_not_hold_for_hours,
        what_a_newer_version_wrote_is_left_as_it_is,
        a_beat_is_what_the_others_see,
        a_node_that_falls_silent_counts_no_more_and_is_forgotten,
        who_leaves_is_gone_at_once,
        a_claim_is_one_nodes_until_it_is_released,
        a_claim_ends_with_its_patience,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a node's id")
}

fn beat(name: &str) -> Beat {
    Beat {
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        settings: "f00d".to_owned(),
        since_ms: 1_767_225_600_000,
        applied: FactId { ms: 7, seq: 8 },
        load: r#"{"gemini-2.5-flash":{"ä":1}}"#.to_owned(),
    }
}

fn names(members: &[ClusterMember]) -> Vec<&str> {
    members.iter().map(|member| member.node.as_str()).collect()
}

fn nothing_is_given_until_all_have_had_time_to_report(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let first = one.hello().expect("a hello");
    assert_eq!(first.hold, SECOND, "a new server");
    place.pass(SECOND / 4);
    let second = other.hello().expect("a hello");
    assert_eq!((second.generation, second.hold), (first.generation, SECOND * 3 / 4));
    assert_eq!(second.at_ms, first.at_ms + 250);
    place.pass(SECOND * 3 / 4);
    assert_eq!(one.beat(&beat("one")).expect("a beat").hold, Duration::ZERO);
}

fn another_server_is_another_generation(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let before = one.hello().expect("a hello");
    place.pass(SECOND);
    other.beat(&beat("other")).expect("a beat");
    place.fail_over();
    let after = one.beat(&beat("one")).expect("a beat");
    assert!(after.generation > before.generation);
    assert_eq!(after.hold, SECOND);
    let same = other.hello().expect("a hello");
    assert_eq!((same.generation, same.hold), (after.generation, SECOND));
}

fn a_server_that_came_back_empty_never_has_a_former_generation(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let mut known = vec![one.hello().expect("a hello").generation];
    for _ in 0..3 {
        place.pass(SECOND);
        place.fail_over();
        known.push(one.hello().expect("a hello").generation);
    }
    place.pass(SECOND);
    place.lose_everything();
    let again = one.beat(&beat("one")).expect("a beat");
    assert!(known.iter().all(|known| again.generation > *known), "{again:?} after {known:?}");
    assert_eq!(again.hold, SECOND);
}

fn all_are_kept_from_taking_when_nobody_was_heard(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let generation = one.hello().expect("a hello").generation;
    for _ in 0..3 {
        place.pass(SECOND * 3 / 2);
        assert_eq!(one.beat(&beat("one")).expect("a beat").hold, Duration::ZERO, "one is heard, if late");
    }
    place.pass(SECOND * 3 / 2);
    assert_eq!(other.hello().expect("a hello").hold, Duration::ZERO, "a newcomer need not wait");
    place.pass(SECOND * 9);
    assert_eq!(one.beat(&beat("one")).expect("a beat").hold, Duration::ZERO, "one never was away");
    place.pass(SECOND * 2 + Duration::from_millis(1));
    let back = other.hello().expect("a hello");
    assert_eq!((back.hold, back.generation), (SECOND, generation), "all were away");
}

fn a_clock_that_is_set_back_does_not_hold_for_hours(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    place.pass(SECOND * 3_600);
    one.hello().expect("a hello");
    place.set_back(SECOND * 3_600);
    let back = one.hello().expect("a hello");
    assert!(back.hold <= SECOND, "{back:?}");
    place.pass(back.hold);
    assert_eq!(one.beat(&beat("one")).expect("a beat").hold, Duration::ZERO);
}

fn what_a_newer_version_wrote_is_left_as_it_is(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    one.beat(&beat("one")).expect("a beat");
    place.set_schema(SCHEMA + 1);
    let newer = Away::Newer { found: SCHEMA + 1, known: SCHEMA };
    assert_eq!(one.beat(&beat("one")), Err(newer.clone()));
    assert_eq!(one.hello(), Err(newer.clone()));
    let mut late = place.node(&id("late"));
    assert_eq!(late.hello(), Err(newer.clone()));
    assert_eq!(late.beat(&beat("late")), Err(newer));
    place.set_schema(SCHEMA);
    late.hello().expect("a hello");
    assert_eq!(names(&late.nodes().expect("a list")), ["one"], "who is refused is not listed");
}

fn a_beat_is_what_the_others_see(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    assert_eq!(one.nodes(), Ok(Vec::new()));
    other.beat(&beat("first")).expect("a beat");
    one.beat(&beat("gw-1")).expect("a beat");
    place.pass(SECOND / 2);
    other.beat(&beat("gw-2")).expect("a beat");
    let expected = [
        ClusterMember { node: id("one"), silent_for: SECOND / 2, beat: beat("gw-1") },
        ClusterMember { node: id("other"), silent_for: Duration::ZERO, beat: beat("gw-2") },
    ];
    for handle in [&mut one, &mut other] {
        assert_eq!(handle.nodes().expect("a list"), expected);
    }
}

fn a_node_that_falls_silent_counts_no_more_and_is_forgotten(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    one.beat(&beat("one")).expect("a beat");
    for (after, is_there) in [(5, Some(true)), (1, Some(false)), (4, Some(false)), (1, None)] {
        place.pass(SECOND * after);
        other.beat(&beat("other")).expect("a beat");
        let seen = other.nodes().expect("a list");
        let one = seen.iter().find(|member| member.node == id("one"));
        assert_eq!(one.map(ClusterMember::is_there), is_there);
    }
}

fn who_leaves_is_gone_at_once(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    one.beat(&beat("one")).expect("a beat");
    other.beat(&beat("other")).expect("a beat");
    one.leave().expect("a farewell");
    one.leave().expect("a second one is no error");
    assert_eq!(names(&other.nodes().expect("a list")), ["other"]);
}

fn a_claim_is_one_nodes_until_it_is_released(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let minute = SECOND * 60;
    assert_eq!(one.claim("site {1}", minute), Ok(ClaimReply::Won));
    assert_eq!(one.claim("site {1}", minute), Ok(ClaimReply::Won), "a lost answer is asked for again");
    assert_eq!(other.claim("site {1}", minute), Ok(ClaimReply::Taken));
    assert_eq!(other.claim("site {2}", minute), Ok(ClaimReply::Won), "another site is another claim");
    other.release("site {1}").expect("a release");
    assert_eq!(other.claim("site {1}", minute), Ok(ClaimReply::Taken), "nobody releases another's");
    one.release("site {1}").expect("a release");
    one.release("site {1}").expect("a second one is no error");
    assert_eq!(other.claim("site {1}", minute), Ok(ClaimReply::Won));
}

fn a_claim_ends_with_its_patience(place: &impl SharedPlace) {
    let (mut one, mut other) = (place.node(&id("one")), place.node(&id("other")));
    let patience = SECOND / 20;
    assert_eq!(one.claim("site", patience), Ok(ClaimReply::Won));
    place.wait_out(patience + Duration::from_millis(10));
    assert_eq!(other.claim("site", SECOND), Ok(ClaimReply::Won));
    one.release("site").expect("a release");
    assert_eq!(one.claim("site", SECOND), Ok(ClaimReply::Taken), "a late release does not take it away");
}

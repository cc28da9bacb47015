//! The rules for buckets.

use std::{thread, time::Duration};

use super::{SharedPlace, members::id};
use crate::{BucketLimits, BucketName, BucketUnits, Draw, Drawn, Shared, SpendReport};

/// Holds shared state against every rule for buckets.
pub fn buckets<P: SharedPlace>(new_place: impl Fn() -> P) {
    let rules: [fn(&P); 16] = [
        a_fresh_bucket_gives_what_is_wanted_up_to_its_limits,
        what_is_not_limited_is_given_as_wanted,
        nothing_is_given_while_all_are_to_report,
        who_comes_to_what_others_hold_gets_half_of_what_is_left,
        racing_nodes_get_all_of_a_limit_and_no_more,
        what_was_used_comes_back_a_minute_after_its_second,
        what_is_reported_late_counts_from_when_it_was,
        many_reports_are_all_counted,
        what_is_taken_back_makes_room,
        what_a_node_has_replaces_what_it_was_believed_to_have,
        what_a_silent_node_holds_counts_as_used_for_the_minute_and_not_for_the_day,
        a_tokens_bucket_is_its_own,
        requests_are_of_no_use_without_tokens,
        a_refusal_closes_a_bucket_for_its_time,
        a_day_counts_until_its_end,
        a_new_generation_forgets_the_minute_and_raises_the_day,
    ];
    for rule in rules {
        rule(&new_place());
    }
}

const SECOND: Duration = Duration::from_secs(1);
const NONE: BucketLimits = BucketLimits { rpm: None, tpm: None, rpd: None };

fn rpm(limit: u64) -> BucketLimits {
    BucketLimits { rpm: Some(limit), ..NONE }
}

fn name(owner: &str) -> BucketName {
    BucketName::new(owner, "gemini-2.5-flash").expect("a bucket's name")
}

fn draw(limits: BucketLimits) -> Draw {
    Draw::new(name("owner"), limits)
}

fn units(requests: u64, tokens: u64) -> BucketUnits {
    BucketUnits { requests, tokens }
}

fn wish(limits: BucketLimits, requests: u64, tokens: u64) -> Draw {
    Draw { want: units(requests, tokens), ..draw(limits) }
}

fn report(age: Duration, requests: i64, tokens: i64) -> SpendReport {
    SpendReport { age, requests, tokens }
}

fn take(shared: &mut impl Shared, draw: &Draw) -> Drawn {
    shared.take(std::slice::from_ref(draw)).expect("a draw").remove(0)
}

/// A node that may draw: the time to report is over.
fn ready<P: SharedPlace>(place: &P, node: &str) -> P::Shared {
    let mut shared = place.node(&id(node));
    let hold = shared.hello().expect("a hello").hold;
    place.pass(hold);
    shared
}

fn a_fresh_bucket_gives_what_is_wanted_up_to_its_limits(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let limits = BucketLimits { rpm: Some(10), tpm: Some(5_000), rpd: Some(100) };
    let first = take(&mut one, &wish(limits, 4, 2_000));
    assert_eq!((first.given, first.limits), (units(4, 2_000), limits));
    assert_eq!((first.left_requests, first.left_tokens, first.left_of_day), (Some(6), Some(3_000), Some(96)));
    assert_eq!((first.opens_in, first.closed_for), (Duration::ZERO, Duration::ZERO));
    let rest = take(&mut one, &Draw { have: first.given, ..wish(limits, 400, 3_000) });
    assert_eq!((rest.given.requests, rest.left_requests), (6, Some(0)), "of the lower limit");
    assert!(!rest.opens_in.is_zero());
    let state = one.hello().expect("a hello");
    assert_eq!((rest.generation, rest.at_ms), (state.generation, state.at_ms));
    // Buckets know nothing of each other.
    let other = Draw { bucket: BucketName::new("owner", "another").expect("a name"), ..wish(limits, 9, 9) };
    assert_eq!(take(&mut one, &other).given, units(9, 9));
}

fn what_is_not_limited_is_given_as_wanted(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let drawn = take(&mut one, &wish(rpm(10), 3, 1_000_000));
    assert_eq!((drawn.given, drawn.left_tokens, drawn.left_of_day), (units(3, 1_000_000), None, None));
    let tokens = Draw { bucket: name("tokens"), ..wish(BucketLimits { tpm: Some(50), ..NONE }, 7, 40) };
    let drawn = take(&mut one, &tokens);
    assert_eq!((drawn.given, drawn.left_requests, drawn.left_tokens), (units(7, 40), None, Some(10)));
    let day = Draw { bucket: name("day"), ..wish(BucketLimits { rpd: Some(5), ..NONE }, 7, 40) };
    let drawn = take(&mut one, &day);
    assert_eq!((drawn.given, drawn.left_requests, drawn.left_of_day), (units(5, 40), Some(0), Some(0)));
}

fn nothing_is_given_while_all_are_to_report(place: &impl SharedPlace) {
    let mut one = place.node(&id("one"));
    let hold = one.hello().expect("a hello").hold;
    let drawn = take(&mut one, &Draw { reports: vec![report(SECOND, 3, 0)], ..wish(rpm(10), 1, 0) });
    assert_eq!((drawn.given, drawn.left_requests, drawn.opens_in), (units(0, 0), Some(7), hold));
    place.pass(hold);
    assert_eq!(take(&mut one, &wish(rpm(10), 10, 0)).given, units(7, 0), "what was reported counts");
}

fn who_comes_to_what_others_hold_gets_half_of_what_is_left(place: &impl SharedPlace) {
    let (mut one, mut other) = (ready(place, "one"), ready(place, "other"));
    assert_eq!(take(&mut one, &wish(rpm(10), 3, 0)).given.requests, 3);
    let mut have = units(0, 0);
    for (expected, left) in [(3, 4), (2, 2), (1, 1), (1, 0), (0, 0)] {
        let drawn = take(&mut other, &Draw { have, ..wish(rpm(10), 10, 0) });
        assert_eq!((drawn.given.requests, drawn.left_requests), (expected, Some(left)));
        have.requests += expected;
    }
    // What goes back is there for others at once.
    take(&mut one, &draw(rpm(10)));
    assert_eq!(take(&mut other, &Draw { have, ..wish(rpm(10), 10, 0) }).given.requests, 3);
}

fn racing_nodes_get_all_of_a_limit_and_no_more<P: SharedPlace>(place: &P) {
    const LIMIT: u64 = 3_000;
    let nodes: Vec<_> = (0..3).map(|n| ready(place, &format!("node-{n}"))).collect();
    let drawing = |mut node: P::Shared| {
        thread::spawn(move || {
            let (mut spent, mut misses) = (0, 0);
            // Each spends what it has at once and says so with the next draw.
            let mut last = 0;
            while misses < 3 {
                let reports = vec![report(Duration::ZERO, i64::try_from(last).expect("a count"), 0)];
                last = take(&mut node, &Draw { reports, ..wish(rpm(LIMIT), 7, 0) }).given.requests;
                misses = if last == 0 { misses + 1 } else { 0 };
                spent += last;
            }
            spent
        })
    };
    let racing: Vec<_> = nodes.into_iter().map(drawing).collect();
    let spent: u64 = racing.into_iter().map(|node| node.join().expect("a node ends well")).sum();
    assert_eq!(spent, LIMIT);
}

fn what_was_used_comes_back_a_minute_after_its_second(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let given = take(&mut one, &wish(rpm(5), 5, 0)).given;
    assert_eq!(given.requests, 5);
    let used = Draw { reports: vec![report(Duration::ZERO, 5, 0)], ..wish(rpm(5), 1, 0) };
    let full = take(&mut one, &used);
    assert_eq!((full.given.requests, full.left_requests), (0, Some(0)));
    assert!((60 * SECOND..=62 * SECOND).contains(&full.opens_in), "{:?}", full.opens_in);
    place.pass(full.opens_in.saturating_sub(Duration::from_millis(1)));
    assert_eq!(take(&mut one, &wish(rpm(5), 1, 0)).given.requests, 0);
    place.pass(Duration::from_millis(1));
    assert_eq!(take(&mut one, &wish(rpm(5), 9, 0)).given.requests, 5);
}

fn what_is_reported_late_counts_from_when_it_was(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let reports = vec![report(90 * SECOND, 1, 0), report(50 * SECOND, 2, 0), report(5 * SECOND, 3, 0)];
    let drawn = take(&mut one, &Draw { reports, ..draw(rpm(10)) });
    assert_eq!(drawn.left_requests, Some(5), "what is older than the window does not count");
    place.pass(12 * SECOND);
    assert_eq!(take(&mut one, &draw(rpm(10))).left_requests, Some(7));
    place.pass(45 * SECOND);
    assert_eq!(take(&mut one, &draw(rpm(10))).left_requests, Some(10));
}

fn many_reports_are_all_counted(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let reports = (0..5_000).map(|n| report(Duration::from_millis(n * 2), 1, 3)).collect();
    let limits = BucketLimits { rpm: Some(9_000), tpm: Some(90_000), rpd: Some(50_000) };
    let day_ends_ms = Some(one.hello().expect("a hello").at_ms + 3_600_000);
    let drawn = take(&mut one, &Draw { reports, day_ends_ms, ..draw(limits) });
    assert_eq!((drawn.left_requests, drawn.left_tokens), (Some(4_000), Some(75_000)));
    assert_eq!(drawn.left_of_day, Some(45_000));
    place.pass(56 * SECOND);
    let later = take(&mut one, &draw(limits)).left_requests.expect("it is limited");
    assert!((6_000..8_000).contains(&later), "half of it has left the window: {later}");
}

fn what_is_taken_back_makes_room(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let limits = BucketLimits { rpm: Some(10), tpm: Some(1_000), rpd: Some(100) };
    let reported =
        |requests, tokens| Draw { reports: vec![report(SECOND, requests, tokens)], ..draw(limits) };
    assert_eq!(take(&mut one, &reported(4, 900)).left_tokens, Some(100));
    let back = take(&mut one, &reported(-1, -600));
    assert_eq!((back.left_requests, back.left_tokens, back.left_of_day), (Some(7), Some(700), Some(97)));
    let too_much = take(&mut one, &reported(-100, -100_000));
    assert_eq!(
        (too_much.left_requests, too_much.left_tokens),
        (Some(10), Some(1_000)),
        "no more than there is"
    );
}

fn what_a_node_has_replaces_what_it_was_believed_to_have(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    assert_eq!(take(&mut one, &wish(rpm(10), 8, 0)).given.requests, 8);
    // The answer was lost: the node has nothing, and asks again.
    let again = take(&mut one, &wish(rpm(10), 8, 0));
    assert_eq!((again.given.requests, again.left_requests), (8, Some(2)));
    let used = Draw { reports: vec![report(Duration::ZERO, 5, 0)], have: units(3, 0), ..wish(rpm(10), 8, 0) };
    let more = take(&mut one, &used);
    assert_eq!((more.given.requests, more.left_requests), (2, Some(0)));
}

fn what_a_silent_node_holds_counts_as_used_for_the_minute_and_not_for_the_day(place: &impl SharedPlace) {
    let (mut one, mut other) = (ready(place, "one"), ready(place, "other"));
    let limits = BucketLimits { rpm: Some(10), tpm: Some(1_000), rpd: Some(100) };
    take(&mut one, &Draw { lives: 3 * SECOND, ..wish(limits, 6, 300) });
    place.pass(Duration::from_millis(2_999));
    let held = take(&mut other, &draw(limits));
    assert_eq!((held.left_requests, held.left_of_day), (Some(4), Some(94)));
    place.pass(Duration::from_millis(1));
    let ended = take(&mut other, &draw(limits));
    assert_eq!((ended.left_requests, ended.left_tokens, ended.left_of_day), (Some(4), Some(700), Some(100)));
    place.pass(60 * SECOND);
    assert_eq!(
        take(&mut other, &draw(limits)).left_requests,
        Some(4),
        "it may have been used at the last moment"
    );
    place.pass(3 * SECOND);
    let over = take(&mut other, &draw(limits));
    assert_eq!((over.left_requests, over.left_tokens), (Some(10), Some(1_000)));
    // What the silent one did use, and says later, is booked by its age.
    let late = Draw { reports: vec![report(64 * SECOND, 2, 100)], ..draw(limits) };
    let late = take(&mut one, &late);
    assert_eq!((late.left_requests, late.left_of_day), (Some(10), Some(98)));
}

fn a_tokens_bucket_is_its_own(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let token = BucketName::of_token("owner").expect("a bucket's name");
    take(&mut one, &wish(rpm(10), 9, 0));
    let drawn = take(&mut one, &Draw { bucket: token.clone(), ..wish(rpm(5), 3, 0) });
    assert_eq!((drawn.bucket, drawn.given.requests, drawn.left_requests), (token.clone(), 3, Some(2)));
    one.close(&token, SECOND).expect("it is closed");
    assert_eq!(take(&mut one, &draw(rpm(10))).closed_for, Duration::ZERO);
}

fn requests_are_of_no_use_without_tokens(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let limits = BucketLimits { rpm: Some(10), tpm: Some(1_000), ..NONE };
    take(&mut one, &Draw { reports: vec![report(SECOND, 1, 1_000)], ..draw(limits) });
    assert_eq!(take(&mut one, &wish(limits, 5, 100)).given, units(0, 0), "tokens are gone");
    let requests =
        Draw { bucket: name("requests"), reports: vec![report(SECOND, 8, 0)], ..wish(limits, 8, 800) };
    assert_eq!(take(&mut one, &requests).given, units(2, 200), "as many tokens as go with the requests");
    let tokens = Draw { bucket: name("requests"), have: units(2, 200), ..wish(limits, 0, 100) };
    assert_eq!(take(&mut one, &tokens).given, units(0, 100), "more for the requests it has");
}

fn a_refusal_closes_a_bucket_for_its_time(place: &impl SharedPlace) {
    let (mut one, mut other) = (ready(place, "one"), ready(place, "other"));
    one.close(&name("owner"), 30 * SECOND).expect("it is closed");
    one.close(&name("owner"), 10 * SECOND).expect("it is closed");
    let closed = take(&mut other, &wish(rpm(10), 1, 0));
    assert_eq!((closed.given.requests, closed.closed_for, closed.opens_in), (0, 30 * SECOND, 30 * SECOND));
    assert_eq!(closed.left_requests, Some(10));
    place.pass(30 * SECOND);
    assert_eq!(take(&mut other, &wish(rpm(10), 1, 0)).given.requests, 1);
    one.close(&name("owner"), 3_600 * SECOND).expect("it is closed");
    one.close(&name("owner"), Duration::ZERO).expect("it is open again");
    let open = take(&mut one, &wish(rpm(10), 1, 0));
    assert_eq!((open.given.requests, open.closed_for), (1, Duration::ZERO));
}

fn a_day_counts_until_its_end(place: &impl SharedPlace) {
    let mut one = ready(place, "one");
    let now = one.hello().expect("a hello").at_ms;
    let limits = BucketLimits { rpd: Some(5), ..NONE };
    let ending = |hours: u64| Draw { day_ends_ms: Some(now + hours * 3_600_000), ..draw(limits) };
    let used = take(&mut one, &Draw { reports: vec![report(SECOND, 5, 0)], ..ending(1) });
    assert_eq!((used.left_of_day, used.opens_in), (Some(0), 3_600 * SECOND));
    // What others take for the day's end does not move it.
    place.pass(3_000 * SECOND);
    assert_eq!(take(&mut one, &ending(9)).left_of_day, Some(0));
    place.pass(600 * SECOND);
    let next = take(&mut one, &Draw { want: units(1, 0), ..ending(25) });
    assert_eq!((next.left_of_day, next.given.requests), (Some(4), 1));
    // A request of before midnight is one of the former day.
    let reports = vec![report(2 * SECOND, 1, 0), report(Duration::ZERO, 1, 0)];
    assert_eq!(take(&mut one, &Draw { reports, ..ending(25) }).left_of_day, Some(4));
}

fn a_new_generation_forgets_the_minute_and_raises_the_day(place: &impl SharedPlace) {
    let (mut one, mut other) = (ready(place, "one"), ready(place, "other"));
    let now = one.hello().expect("a hello").at_ms;
    let limits = BucketLimits { rpm: Some(10), tpm: Some(100), rpd: Some(100) };
    let day = |draw: Draw| Draw { day_ends_ms: Some(now + 3_600_000), ..draw };
    let before = take(
        &mut one,
        &day(Draw { reports: vec![report(SECOND, 4, 40)], want: units(2, 20), ..draw(limits) }),
    );
    assert_eq!((before.left_requests, before.left_of_day), (Some(4), Some(94)));
    place.fail_over();
    let hold = one.hello().expect("a hello").hold;
    // Each says all it remembers: what it used of the minute, and of the day in all.
    let said = |reports, used| day(Draw { reports, day_used: Some(used), ..draw(limits) });
    let first = take(&mut one, &said(vec![report(SECOND, 4, 40)], 4));
    assert!(first.generation > before.generation);
    assert_eq!((first.left_requests, first.left_tokens, first.left_of_day), (Some(6), Some(60), Some(96)));
    let second = take(&mut other, &said(vec![report(SECOND, 1, 10)], 8));
    assert_eq!(
        (second.left_requests, second.left_of_day),
        (Some(5), Some(88)),
        "the sum is more than was kept"
    );
    place.pass(hold);
    let later = take(&mut one, &day(Draw { reports: vec![report(SECOND, 1, 10)], ..draw(limits) }));
    assert_eq!(later.left_of_day, Some(87));
}

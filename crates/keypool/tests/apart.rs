//! Pools that cannot ask: what they use by habit and beyond it, and what they say when they are together again. What comes of
//! that in a whole cluster is simulated in `outages.rs`.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod buckets;
mod stage;
mod world;

use buckets::Buckets;
use gemini::fault::{Kind, QuotaUnit, QuotaWindow, Wait};
use keypool::{
    Answer, Choice, Effect, KeyId, LeaseRequest, Limit, ModelWeight, Outcome, Settings, Strategy, Ticket,
    Tried,
};
use stage::{MODEL, Stage, exact, keys, labelled, model, over, place};
use world::{ms, rpm, secs};

/// A pool with one key for each limit, among so many nodes.
fn pool(limit: &Limit, nodes: u32) -> Stage {
    let mut stage = Stage::new(Settings { limits: vec![limit.clone()], ..exact() }, keys(1));
    stage.pool.weigh(nodes, &[]);
    stage
}

fn join(stage: &mut Stage) {
    stage.pool.join(stage.now, &mut stage.effects);
    stage.take();
}

fn alone(stage: &mut Stage) {
    stage.pool.alone(stage.now, &mut stage.effects);
    stage.take();
}

/// Makes a call to the store, and says how many buckets it spoke of.
fn draw(stage: &mut Stage, store: &mut Buckets) -> usize {
    let draws = stage.pool.draws(stage.now);
    let replies: Vec<_> = draws.iter().map(|draw| store.take(0, draw, stage.now.mono)).collect();
    stage.pool.drawn(replies, stage.now, &mut stage.effects);
    stage.take();
    draws.len()
}

fn is_granted(stage: &Stage, ticket: Ticket) -> bool {
    stage.answers().iter().any(|(_, to, answer)| *to == ticket && answer.is_ok())
}

/// Leases as many as there are without waiting.
fn lease_all(stage: &mut Stage) -> usize {
    let request = LeaseRequest { may_wait: false, ..LeaseRequest::any(model(MODEL)) };
    (0..1_000).take_while(|_| matches!(stage.ask(&request), Answer::Granted(_))).count()
}

#[test]
fn one_that_may_not_wait_waits_for_a_slice_and_no_longer() {
    let mut stage = pool(&rpm(5), 1);
    join(&mut stage);
    let request = LeaseRequest { may_wait: false, ..LeaseRequest::any(model(MODEL)) };
    let Answer::Waiting(ticket) = stage.ask(&request) else { panic!("nothing was drawn yet") };
    assert!(stage.said.iter().any(|(_, effect)| *effect == Effect::Draw));
    assert_eq!(draw(&mut stage, &mut Buckets::default()), 1);
    assert!(is_granted(&stage, ticket));

    let mut stage = pool(&rpm(5), 1);
    join(&mut stage);
    let Answer::Waiting(ticket) = stage.ask(&request) else { panic!("nothing was drawn yet") };
    stage.pass(ms(100));
    let (at, to, answer) = stage.answers().remove(0);
    assert_eq!((at, to, answer.is_err()), (secs(100) + ms(100), ticket, true), "the store does not answer");
}

#[test]
fn only_one_call_is_asked_for_at_a_time() {
    let mut stage = pool(&rpm(5), 1);
    join(&mut stage);
    let tickets = [stage.wait(MODEL), stage.wait(MODEL), stage.wait(MODEL)];
    let asked = |stage: &Stage| stage.said.iter().filter(|(_, effect)| *effect == Effect::Draw).count();
    assert_eq!(asked(&stage), 1);
    draw(&mut stage, &mut Buckets::default());
    assert!(tickets.iter().all(|ticket| is_granted(&stage, *ticket)), "one call for all who wait");
    assert_eq!(asked(&stage), 1);
}

#[test]
fn a_slice_of_one_project_makes_it_not_the_only_one_that_could_be_leased() {
    let mut stage = Stage::new(Settings { limits: vec![rpm(50)], ..exact() }, keys(4));
    join(&mut stage);
    let ticket = stage.wait(MODEL);
    draw(&mut stage, &mut Buckets::default());
    let grant = stage.grant_of(ticket);
    assert_eq!((grant.choice, grant.passed_over), (Choice::Turn, None));
}

#[test]
fn conversations_stay_on_their_projects_on_every_node() {
    let mut store = Buckets::default();
    let mut used = std::collections::HashMap::new();
    for node in 0..3 {
        let rules = Settings { limits: vec![rpm(50)], strategy: Strategy::Prefix, ..exact() };
        let mut stage = Stage::new(rules.clone(), keys(20));
        stage.pool = keypool::Pool::new(rules, keys(20), node + 1).unwrap();
        stage.pool.weigh(3, &[]);
        join(&mut stage);
        for turn in 0..40_u64 {
            let prefix = Some(turn % 8);
            let request = LeaseRequest { prefix, ..LeaseRequest::any(model(MODEL)) };
            let grant = match stage.ask(&request) {
                Answer::Granted(grant) => grant,
                Answer::Waiting(ticket) => {
                    draw(&mut stage, &mut store);
                    stage.grant_of(ticket)
                }
                Answer::Refused(refusal) => panic!("{refusal}"),
            };
            stage.settle(&grant, MODEL, Outcome::Success);
            assert_eq!(used.entry(prefix).or_insert(grant.key.clone()), &grant.key);
        }
    }
}

#[test]
fn what_is_spent_is_reported_and_what_is_held_is_renewed_and_given_back() {
    let mut stage = pool(&rpm(6_000), 1);
    join(&mut stage);
    let mut store = Buckets::default();
    for _ in 0..20 {
        (0..10).for_each(|_| {
            stage.wait_or_lease();
        });
        draw(&mut stage, &mut store);
        stage.pass(ms(250));
    }
    stage.pass(secs(1));
    let draws = stage.pool.draws(stage.now);
    assert!(draws[0].have.requests > 0, "for the load ahead: {draws:?}");
    let replies = draws.iter().map(|draw| store.take(0, draw, stage.now.mono)).collect();
    stage.pool.drawn(replies, stage.now, &mut stage.effects);
    // Nobody comes any more: after some seconds nothing is held.
    for _ in 0..40 {
        stage.pass(ms(250));
        draw(&mut stage, &mut store);
    }
    stage.pass(secs(1));
    assert_eq!(stage.pool.draws(stage.now), [], "nothing is held, and nothing to say");
}

#[test]
fn one_that_begins_alone_uses_its_part_of_the_limits_by_number() {
    let mut stage = pool(&rpm(20), 4);
    alone(&mut stage);
    assert_eq!(lease_all(&mut stage), 5);
    assert_eq!(stage.back_in(MODEL), secs(2), "then it may go beyond");
}

#[test]
fn one_that_is_alone_uses_what_it_used_and_held_and_its_part_of_what_was_left() {
    let mut stage = pool(&rpm(100), 2);
    join(&mut stage);
    let mut store = Buckets::default();
    for _ in 0..10 {
        stage.wait_or_lease();
        draw(&mut stage, &mut store);
    }
    let load = stage.pool.loads(stage.now).remove(0);
    assert_eq!((load.used, load.limit), (10, 100));
    let weight = ModelWeight { model: model(MODEL), part: 0.25, full: 0.95 };
    stage.pool.weigh(2, &[weight]);
    alone(&mut stage);
    let held = 90 - 88;
    let more = lease_all(&mut stage);
    assert!((22..=22 + held).contains(&more), "a quarter of what was left, and what it holds: {more}");
    // In the next minute the same as in the last, and no more.
    stage.pass(secs(61));
    assert_eq!(lease_all(&mut stage), 10 + more);
    assert_eq!(stage.pool.draws(stage.now), [], "and nothing is asked");
    join(&mut stage);
    let draws = stage.pool.draws(stage.now);
    let spent: i64 = draws[0].spent.iter().map(|spend| spend.day).sum();
    assert!(spent >= i64::try_from(10 + 2 * more - 10).unwrap(), "all that was spent alone: {draws:?}");
}

#[test]
fn beyond_habit_a_request_goes_once_and_the_sooner_the_emptier_the_limits_were() {
    for (full, wait) in [(0.4, 0), (0.7, 1_000), (1.0, 2_000)] {
        let is_half_empty = full < 0.5;
        let mut stage = pool(&rpm(20), 20);
        join(&mut stage);
        stage.wait_or_lease();
        draw(&mut stage, &mut Buckets::default());
        stage.pass(secs(5));
        let weight = ModelWeight { model: model(MODEL), part: 0.0, full };
        stage.pool.weigh(20, &[weight]);
        alone(&mut stage);
        let first = LeaseRequest::any(model(MODEL));
        let retry = LeaseRequest { failed_on: Some(KeyId::from("k0")), ..first.clone() };
        let retried = stage.ask(&LeaseRequest { may_wait: false, ..retry });
        assert_eq!(matches!(retried, Answer::Granted(_)), is_half_empty, "else a retry stays within habit");
        let asked_at = stage.now.mono;
        match stage.ask(&first) {
            Answer::Granted(_) => assert_eq!(wait, 0),
            Answer::Waiting(ticket) => {
                stage.pass(secs(3));
                let (at, to, answer) = stage.answers().pop().unwrap();
                assert_eq!((to, answer.is_ok()), (ticket, true));
                let waited = at.checked_sub(asked_at).unwrap();
                assert!(waited.abs_diff(ms(wait)) < ms(1), "{waited:?}");
            }
            other @ Answer::Refused(_) => panic!("{other:?}"),
        }
    }
}

/// A node that is alone, on limits of which it was told nothing, with this part of a model whose limits were so full.
fn untold(limits: &[u64], part: f64, full: f64) -> Stage {
    let named =
        |(at, requests): (usize, &u64)| Limit { project: Some(format!("p{at}").into()), ..rpm(*requests) };
    let settings = Settings { limits: limits.iter().enumerate().map(named).collect(), ..exact() };
    let specs = (0..limits.len()).map(|at| labelled(&format!("k{at}"), &format!("p{at}"))).collect();
    let mut stage = Stage::new(settings, specs);
    join(&mut stage);
    // It was heard, of something else.
    stage.wait(MODEL);
    let mut draws = stage.pool.draws(stage.now);
    draws.truncate(1);
    let mut store = Buckets::default();
    store.hold_until = secs(1_000);
    let replies = draws.iter().map(|draw| store.take(0, draw, stage.now.mono)).collect();
    stage.pool.drawn(replies, stage.now, &mut stage.effects);
    stage.pool.weigh(50, &[ModelWeight { model: model(MODEL), part, full }]);
    stage.pass(secs(20));
    alone(&mut stage);
    stage
}

#[test]
fn what_one_was_not_told_of_is_as_empty_for_it_as_the_models_limits_were() {
    let mut stage = untold(&[1_000, 8, 8, 8], 0.02, 0.45);
    let leases = |stage: &mut Stage, count: usize| {
        (0..count).map(|_| place(&stage.lease(MODEL).key)).filter(|place| *place == 0).count()
    };
    assert_eq!(leases(&mut stage, 10), 10, "a fiftieth of the half that is left; of the small ones nothing");
    let beyond = leases(&mut stage, 100);
    assert!((90..100).contains(&beyond), "and beyond it where the largest limits are: {beyond}");
}

#[test]
fn where_limits_were_full_nothing_is_left_of_what_one_was_not_told_of() {
    let mut stage = untold(&[1_000], 0.5, 0.9);
    assert_eq!(lease_all(&mut stage), 0);
}

#[test]
fn a_refusal_closes_the_bucket_of_one_that_is_alone() {
    let mut stage = pool(&rpm(20), 4);
    alone(&mut stage);
    let grant = stage.lease(MODEL);
    let quota = [(QuotaUnit::Requests, QuotaWindow::Minute, Some(20))];
    stage.settle(&grant, MODEL, over(Kind::QuotaMinute, Wait::For(secs(25)), &quota));
    let request = LeaseRequest { may_wait: false, tried: Tried::new(), ..LeaseRequest::any(model(MODEL)) };
    let Answer::Refused(refusal) = stage.ask(&request) else { panic!("it is full") };
    assert!(refusal.back_in().unwrap() >= secs(25));
}

#[test]
fn a_day_is_shared_by_what_was_left_of_it() {
    let mut stage = pool(&Limit { rpd: Some(50), ..Limit::default() }, 2);
    join(&mut stage);
    let mut store = Buckets::default();
    for _ in 0..10 {
        stage.wait_or_lease();
        draw(&mut stage, &mut store);
    }
    let weight = ModelWeight { model: model(MODEL), part: 0.5, full: 1.0 };
    stage.pool.weigh(2, &[weight]);
    stage.pass(secs(10));
    alone(&mut stage);
    let more = lease_all(&mut stage);
    assert!((18..=20).contains(&more), "half of what was left: {more}");
    stage.pass(secs(600));
    assert_eq!(lease_all(&mut stage), 0, "for the whole day");
}

#[test]
fn a_store_that_knows_nothing_is_told_the_whole_minute_once() {
    let mut stage = pool(&rpm(100), 1);
    join(&mut stage);
    let mut store = Buckets::default();
    for _ in 0..10 {
        stage.wait_or_lease();
        draw(&mut stage, &mut store);
        stage.pass(secs(1));
    }
    stage.pool.new_generation(stage.now, &mut stage.effects);
    stage.take();
    let spent = |stage: &mut Stage| {
        let draws = stage.pool.draws(stage.now);
        draws.iter().flat_map(|draw| &draw.spent).map(|spend| spend.requests).sum::<i64>()
    };
    let draws = stage.pool.draws(stage.now);
    assert_eq!(draws[0].have, keypool::Units::default());
    let all: i64 = draws[0].spent.iter().map(|spend| spend.requests).sum();
    assert_eq!(all, 10);
    let replies = draws.iter().map(|draw| Buckets::default().take(0, draw, stage.now.mono)).collect();
    stage.pool.drawn(replies, stage.now, &mut stage.effects);
    stage.take();
    assert_eq!(spent(&mut stage), 0);
}

impl Stage {
    /// Asks for a key, and gives it back served when there is one at once.
    fn wait_or_lease(&mut self) {
        let answer = self.ask(&LeaseRequest::any(model(MODEL)));
        if let Answer::Granted(grant) = answer {
            self.settle(&grant, MODEL, Outcome::Success);
        }
    }
}

//! What pools of one cluster tell each other: that each hears what concerns it, that nothing is told on, and that all come
//! to the same view, whatever the order in which their words arrive.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod cluster;
mod stage;

use std::collections::{BTreeMap, HashSet};

use cluster::{Cluster, hear, together, told};
use gemini::fault::{Fault, Kind, QuotaUnit, QuotaWindow, Wait};
use keypool::{
    Answer, CooldownState, Gauge, KeyId, KeySpec, KeyState, LeaseRequest, Outcome, Owner, Pool, Reach,
    Reason, Record, Refusal, Subject,
};
use proptest::prelude::*;
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, over, secs};

/// Has one pool hear all that the other told, by way of JSON.
fn hear_all(from: &Stage, to: &mut Stage) {
    let facts: Vec<Record> = serde_json::from_str(&serde_json::to_string(&told(from)).unwrap()).unwrap();
    for fact in &facts {
        hear(to, fact);
    }
}

fn minute_quota(limit: u64) -> Outcome {
    over(Kind::QuotaMinute, Wait::For(secs(20)), &[(QuotaUnit::Requests, QuotaWindow::Minute, Some(limit))])
}

#[test]
fn a_pool_without_company_tells_nothing() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, minute_quota(5));
    stage.disable("k0");
    stage.reset("k0");
    assert_eq!(told(&stage), []);
}

#[test]
fn nodes_that_begin_together_do_not_all_begin_with_the_same_key() {
    let first = |seed, is_shared| {
        let mut stage = Stage::new(exact(), keys(8));
        stage.pool = Pool::new(exact(), keys(8), seed).unwrap();
        if is_shared {
            stage.pool.alone(stage.now, &mut stage.effects);
        }
        (stage.lease(MODEL).key, stage.lease("m").key)
    };
    let one = |seed| first(seed, true);
    let firsts: HashSet<_> = (0..20).map(one).collect();
    assert!(firsts.len() > 4, "{firsts:?}");
    assert!(firsts.iter().all(|(first, second)| first != second), "{firsts:?}");
    assert_eq!((0..20).map(|seed| first(seed, false)).collect::<HashSet<_>>().len(), 1);
}

#[test]
fn what_one_node_is_refused_the_other_does_not_ask_for() {
    let mut one = together(keys(3));
    let mut other = together(keys(3));
    let cools = one.serve(MODEL, fault(Kind::QuotaBare, Wait::For(secs(60))));
    let retired = one.serve("m", fault(Kind::KeyInvalid, Wait::Retire));
    assert_ne!(cools, retired, "each model begins behind the last lease");
    hear_all(&one, &mut other);
    let left = other.lease(MODEL).key;
    assert!(
        ![&cools, &retired].contains(&&left),
        "the model cools on {cools}, and {retired} is retired: {left}"
    );
    let cools = format!(
        "model {MODEL} on the project of key {cools} cools for 60.0 s: {} (met by another gateway)",
        Reason::RateLimit
    );
    let retired = format!(
        "key {retired} is retired until it is reset: the key is invalid or expired (met by another gateway)"
    );
    assert_eq!(other.events(), [cools, retired]);
    let kept = |stage: &Stage| stage::stored(stage).len();
    assert_eq!((kept(&one), kept(&other)), (2, 2), "each keeps it for a start without the others");
    assert_eq!(told(&other), [], "and nothing is told on");
}

#[test]
fn what_is_known_already_changes_nothing() {
    let mut one = together(keys(3));
    one.serve(MODEL, minute_quota(5));
    one.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    one.disable("k2");
    let mut other = together(keys(3));
    hear_all(&one, &mut other);
    other.pass(secs(1));
    one.pass(secs(1));
    let before = (other.said.len(), other.records());
    hear_all(&one, &mut other);
    let own = told(&one);
    for fact in &own {
        hear(&mut one, fact);
    }
    assert_eq!((other.said.len(), other.records()), before);
    assert_eq!(told(&one), own);
}

#[test]
fn a_cooldown_that_runs_is_not_shortened_and_one_that_lasts_longer_is_taken() {
    let mut stage = together(keys(1));
    stage.serve(MODEL, fault(Kind::QuotaBare, Wait::For(secs(60))));
    let told = told(&stage).remove(0);
    let until = |until_s: i64| {
        let CooldownState::Cooling { until, .. } = told.state else { panic!("{told:?}") };
        let until = until + chrono::TimeDelta::seconds(until_s);
        let state = CooldownState::Cooling { until, steps: 0, reason: Reason::QuotaMinute, daily: false };
        Record { state, ..told.clone() }
    };
    hear(&mut stage, &until(-30));
    assert_eq!(stage.back_in(MODEL), secs(60));
    hear(&mut stage, &until(30));
    assert_eq!(stage.back_in(MODEL), secs(90));
    hear(&mut stage, &Record::clear(told.subject.clone()));
    stage.serve(MODEL, Outcome::Success);
}

#[test]
fn those_who_wait_are_served_when_a_word_opens_a_key() {
    let mut stage = together(keys(1));
    stage.serve(MODEL, fault(Kind::QuotaBare, Wait::For(secs(20))));
    let ticket = stage.wait(MODEL);
    let subject = told(&stage).remove(0).subject;
    stage.pass(secs(5));
    hear(&mut stage, &Record::clear(subject));
    assert_eq!(stage.grant_of(ticket).key, KeyId::from("k0"));
}

#[test]
fn the_operators_words_reach_every_node() {
    let mut one = together(vec![labelled("a", "p"), labelled("b", "p")]);
    let mut other = together(vec![labelled("a", "p"), labelled("b", "p")]);
    one.disable("a");
    one.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    hear_all(&one, &mut other);
    assert_eq!(other.refusal(MODEL), Refusal::AllRetired);
    other.said.clear();
    other.reset("b");
    other.enable("a");
    hear_all(&other, &mut one);
    let used: Vec<_> = (0..2).map(|_| one.serve(MODEL, Outcome::Success)).collect();
    assert_eq!(used.len(), 2);
    assert!(used.contains(&"a".into()) && used.contains(&"b".into()));
    assert!(one.events().iter().any(|line| line == "key a is enabled"), "{:?}", one.events());
}

#[test]
fn of_a_reset_and_a_retirement_that_did_not_know_of_each_other_the_later_holds_on_all() {
    let retire = |cluster: &mut Cluster| {
        cluster.nodes[1].stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    };
    let reset = |cluster: &mut Cluster| cluster.nodes[0].stage.reset("k0");
    for (is_reset_later, told_first) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut cluster = Cluster::new(3, &keys(1));
        let words: [&dyn Fn(&mut Cluster); 2] =
            if is_reset_later { [&retire, &reset] } else { [&reset, &retire] };
        for word in words {
            word(&mut cluster);
            for node in &mut cluster.nodes {
                node.stage.pass(secs(1));
            }
        }
        for at in [told_first, 1 - told_first] {
            cluster.tell(at);
        }
        cluster.read_all();
        for node in &cluster.nodes {
            let state = node.stage.pool.snapshot(node.stage.now).keys.remove(0).state;
            let holds = if is_reset_later { KeyState::Available } else { KeyState::Retired };
            assert_eq!(state, holds, "the reset later: {is_reset_later}, told first by {told_first}");
        }
    }
}

#[test]
fn lost_connections_are_each_nodes_own_matter() {
    let mut one = together(keys(2));
    for _ in 0..3 {
        for (id, outcome) in [("k1", Outcome::Success), ("k0", fault(Kind::HeadLost, Wait::None))] {
            let reach = Reach::Only(id.into());
            let request = LeaseRequest { reach, ..LeaseRequest::any(model(MODEL)) };
            let Answer::Granted(grant) = one.ask(&request) else { panic!("no grant of {id}") };
            one.settle(&grant, MODEL, outcome);
        }
    }
    assert_eq!(one.waits(), [secs(30)]);
    assert_eq!(told(&one), []);
    // Another's word that the key is well says nothing of the way there from here.
    hear(&mut one, &Record::clear(Subject::Key { key: "k0".into() }));
    let only = LeaseRequest { reach: Reach::Only("k0".into()), may_wait: false, ..LeaseRequest::default() };
    assert!(matches!(one.ask(&only), Answer::Refused(Refusal::Cooling { .. })));
    one.pass(secs(30));
    let Answer::Granted(probe) = one.ask(&only) else { panic!("no probe") };
    let settlement = keypool::Settlement {
        lease: probe.lease,
        key: probe.key,
        model: None,
        outcome: Outcome::Success,
        input_tokens: None,
        output_tokens: None,
    };
    one.pool.settle(&settlement, one.now, &mut one.effects);
    one.take();
    assert_eq!(told(&one), [], "nor is it told that the key is back");
}

#[test]
fn limits_that_one_node_learns_hold_on_all_and_counts_stay_at_home() {
    let mut one = together(keys(1));
    let mut other = together(keys(1));
    one.serve(MODEL, minute_quota(5));
    hear_all(&one, &mut other);
    let limits = |stage: &Stage| {
        let key = stage.pool.snapshot(stage.now).keys.remove(0);
        key.limits.into_iter().map(|limit| (limit.rpm, limit.minute_requests)).collect::<Vec<_>>()
    };
    assert_eq!(limits(&one), [(Some(5), 0)]);
    assert_eq!(limits(&other), [(Some(5), 0)]);
    other.said.clear();
    other.reset("k0");
    hear_all(&other, &mut one);
    assert_eq!(limits(&one), [(None, 0)]);
}

#[test]
fn a_number_joins_the_same_keys_on_every_node_and_their_cooldowns() {
    let mut one = together(keys(2));
    let mut other = together(keys(2));
    // What the other finds out of the one project, under its former name, when the number is on its way.
    other.serve(MODEL, fault(Kind::QuotaBare, Wait::For(secs(60))));
    for id in ["k0", "k1"] {
        let reach = Reach::Only(id.into());
        let Answer::Granted(grant) = one.ask(&LeaseRequest { reach, ..LeaseRequest::any(model("n")) }) else {
            panic!("no grant of {id}")
        };
        one.settle(&grant, "n", naming("7"));
    }
    let of_other = told(&other);
    hear_all(&one, &mut other);
    for fact in &of_other {
        hear(&mut one, fact);
    }
    for stage in [&mut one, &mut other] {
        assert!(stage.pool.share_a_project(&"k0".into(), &"k1".into()));
        assert_eq!(stage.back_in(MODEL), secs(60), "on either key");
    }
}

#[test]
fn a_word_that_is_overruled_is_told_again_where_it_is_beside_the_point() {
    let mut one = together(keys(1));
    one.disable("k0");
    let mine = told(&one).remove(0);
    let subject = mine.subject.clone();
    let theirs =
        Record { state: CooldownState::Retired { reason: Reason::KeyInvalid }, ..Record::clear(subject) };
    one.pool.overruled(&mine, theirs.clone(), one.now, &mut one.effects);
    one.take();
    let again = told(&one).pop().unwrap();
    assert_eq!((again.disabled, &again.state), (true, &theirs.state));

    one.reset("k0");
    one.enable("k0");
    one.serve(MODEL, minute_quota(5));
    let is_of_limits = |fact: &&Record| matches!(fact.subject, Subject::Limits { .. });
    let mine = told(&one).iter().rfind(is_of_limits).unwrap().clone();
    let mut theirs = mine.clone();
    theirs.limits.as_mut().unwrap().learnt[0].gauge = Gauge::Rpd;
    one.pool.overruled(&mine, theirs.clone(), one.now, &mut one.effects);
    one.take();
    let again = told(&one).pop().unwrap();
    assert_eq!(again.limits.as_ref().unwrap().learnt.len(), 2, "both");
    let count = told(&one).len();
    one.pool.overruled(&mine, again, one.now, &mut one.effects);
    one.take();
    assert_eq!(told(&one).len(), count, "and then no more");
}

#[test]
fn facts_of_what_is_not_here_are_passed_by() {
    let mut stage = together(keys(1));
    let retired = CooldownState::Retired { reason: Reason::KeyInvalid };
    for subject in [
        Subject::Key { key: "gone".into() },
        Subject::Model { project: Owner::Project("gone".into()), model: model("m") },
        Subject::Limits { project: Owner::Key("gone".into()), model: model("m") },
        Subject::Usage { key: "k0".into() },
    ] {
        hear(&mut stage, &Record { state: retired.clone(), ..Record::clear(subject) });
    }
    assert_eq!(stage.said.len(), 0);
    stage.serve(MODEL, Outcome::Success);
}

#[test]
fn all_that_a_pool_knows_it_can_tell_again() {
    let mut one = together(keys(3));
    one.serve(MODEL, minute_quota(5));
    one.serve("m", fault(Kind::KeyInvalid, Wait::Retire));
    one.disable("k2");
    let mut fresh = together(keys(3));
    for fact in one.pool.facts(one.now) {
        hear(&mut fresh, &fact);
    }
    assert_eq!(view(&fresh), view(&one));
}

/// What a pool would tell, by subject, with ends by the second: what must be equal on all nodes.
fn view(stage: &Stage) -> BTreeMap<String, String> {
    let tell = |fact: Record| {
        let state = match &fact.state {
            CooldownState::Cooling { until, .. } if *until <= stage.now.wall => "on probation".into(),
            CooldownState::Cooling { until, reason, .. } => format!("{reason} until {until:?}"),
            state => format!("{state:?}"),
        };
        let learnt: BTreeMap<_, _> = fact
            .limits
            .iter()
            .flat_map(|limits| &limits.learnt)
            .map(|learnt| (learnt.gauge, (learnt.limit, learnt.until)))
            .collect();
        (format!("{:?}", fact.subject), format!("{state} {} {:?} {learnt:?}", fact.disabled, fact.number))
    };
    stage.pool.facts(stage.now).into_iter().map(tell).collect()
}

/// One step of a history.
fn run(cluster: &mut Cluster, step: &Step) {
    let count = cluster.nodes.len();
    match step {
        Step::Serve { node, key, model: name, outcome } => {
            let node = node % count;
            let reach = Reach::Only(format!("k{key}").as_str().into());
            let request = LeaseRequest { reach, may_wait: false, ..LeaseRequest::any(model(name)) };
            // A probe has to be claimed; of key, project and model each.
            for _ in 0..4 {
                let answer = cluster.nodes[node].stage.ask(&request);
                cluster.tell(node);
                let stage = &mut cluster.nodes[node].stage;
                let grant = match answer {
                    Answer::Granted(grant) => Some(grant),
                    Answer::Waiting(ticket) => {
                        let served = stage.answers().iter().any(|(_, to, end)| *to == ticket && end.is_ok());
                        served.then(|| stage.grant_of(ticket))
                    }
                    Answer::Refused(_) => None,
                };
                if let Some(grant) = grant {
                    stage.settle(&grant, name, outcome.clone());
                    break;
                }
                cluster.answer(node);
            }
            cluster.tell(node);
        }
        Step::Word { node, key, word } => {
            let (node, id) = (node % count, format!("k{key}"));
            let stage = &mut cluster.nodes[node].stage;
            match word {
                0 => stage.disable(&id),
                1 => stage.enable(&id),
                _ => stage.reset(&id),
            }
            cluster.tell(node);
        }
        Step::Fail { node, model } => {
            for _ in 0..10 {
                let (model, outcome) = (model.clone(), fault(Kind::Overloaded, Wait::None));
                run(cluster, &Step::Serve { node: *node, key: 0, model, outcome });
            }
        }
        Step::Pass { ms } => cluster.pass(std::time::Duration::from_millis(*ms)),
        Step::Read { node, count: facts } => cluster.read(node % count, *facts),
        Step::Number { node, key, number } => {
            // A number that is learnt while words under the former names are on their way has a test of its own.
            cluster.read_all();
            let step = Step::Serve {
                node: *node,
                key: *key,
                model: "unknown".into(),
                outcome: naming(&number.to_string()),
            };
            run(cluster, &step);
            cluster.read_all();
        }
    }
}

/// A fault that blames nobody and names a project.
fn naming(project: &str) -> Outcome {
    Outcome::Fault(Fault {
        kind: Kind::Client,
        wait: Wait::None,
        quotas: Vec::new(),
        project: Some(project.into()),
    })
}

#[derive(Clone, Debug)]
enum Step {
    Serve { node: usize, key: usize, model: String, outcome: Outcome },
    Word { node: usize, key: usize, word: u8 },
    Fail { node: usize, model: String },
    Pass { ms: u64 },
    Read { node: usize, count: usize },
    Number { node: usize, key: usize, number: u64 },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let quota = |window| {
        move |(limit, ms): (u64, u64)| {
            let wait = Wait::For(std::time::Duration::from_millis(ms));
            over(Kind::QuotaMinute, wait, &[(QuotaUnit::Requests, window, Some(limit))])
        }
    };
    let ms = || (10_u64..400).prop_map(|tenths| tenths * 100);
    let wait = || (1_u64..20, ms());
    let kinds = [Kind::KeyRestricted, Kind::QuotaBare, Kind::ModelWithheld, Kind::SpendingCap];
    prop_oneof![
        6 => Just(Outcome::Success),
        2 => wait().prop_map(quota(QuotaWindow::Minute)),
        1 => wait().prop_map(quota(QuotaWindow::Day)),
        4 => (prop::sample::select(kinds.to_vec()), ms())
            .prop_map(|(kind, ms)| fault(kind, Wait::For(std::time::Duration::from_millis(ms)))),
        1 => Just(fault(Kind::HeadLost, Wait::None)),
        1 => Just(fault(Kind::KeyInvalid, Wait::Retire)),
        1 => Just(fault(Kind::Overloaded, Wait::None)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let models = || prop::sample::select(vec!["a".to_owned(), "b".to_owned()]);
    prop_oneof![
        2 => (0..5_usize, models()).prop_map(|(node, model)| Step::Fail { node, model }),
        20 => (0..5_usize, 0..4_usize, models(), outcome())
            .prop_map(|(node, key, model, outcome)| Step::Serve { node, key, model, outcome }),
        3 => (0..5_usize, 0..4_usize, 0..3_u8).prop_map(|(node, key, word)| Step::Word { node, key, word }),
        6 => (0..300_u64).prop_map(|tenths| Step::Pass { ms: tenths * 100 }),
        15 => (0..5_usize, 1..6_usize).prop_map(|(node, count)| Step::Read { node, count }),
        1 => (0..5_usize, 0..4_usize, 1..3_u64)
            .prop_map(|(node, key, number)| Step::Number { node, key, number: 10 + number * (key as u64 % 2) }),
    ]
}

proptest! {
    #[test]
    fn all_nodes_come_to_the_same_view(
        nodes in 2..6_usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let specs = [labelled("k0", "p"), labelled("k1", "p"), KeySpec::new("k2"), KeySpec::new("k3")];
        let mut cluster = Cluster::new(nodes, &specs);
        for step in &steps {
run(&mut cluster, step);
}
        cluster.read_all();
        let first = view(&cluster.nodes[0].stage);
        for node in &cluster.nodes {
            prop_assert_eq!(&view(&node.stage), &first);
        }
        // Who comes later and reads what holds comes to the same view.
        let mut late = together(specs.to_vec());
        late.now = cluster.nodes[0].stage.now;
        let mut holds: Vec<_> = cluster.store.holds.into_values().collect();
        holds.sort_by_key(|(id, ..)| *id);
        let has_number = |(_, _, fact): &(usize, usize, Record)| fact.number.is_none();
        holds.sort_by_key(has_number);
        for (_, _, fact) in holds {
            hear(&mut late, &fact);
        }
        prop_assert_eq!(&view(&late), &first);
    }
}

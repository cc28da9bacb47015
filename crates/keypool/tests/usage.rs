//! Totals: what is summed up, for whom, and that nothing of it is lost or written too often.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::collections::HashMap;
use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{FaultTotals, KeyView, Outcome, Pool, Record, Settlement, Totals};
use stage::{MODEL, Stage, exact, fault, keys, model, secs};

fn view(stage: &Stage) -> KeyView {
    stage.pool.snapshot(stage.now).keys[0].clone()
}

fn settle_with(stage: &mut Stage, name: &str, outcome: Outcome, tokens: (u64, u64)) {
    let grant = stage.lease(name);
    let settlement = Settlement {
        lease: grant.lease,
        key: grant.key,
        model: model(name),
        outcome,
        input_tokens: Some(tokens.0),
        output_tokens: Some(tokens.1),
    };
    stage.pool.settle(&settlement, stage.now, &mut stage.effects);
    stage.take();
}

/// A pool that has seen a bit of everything.
fn lived() -> Stage {
    let mut stage = Stage::new(exact(), keys(1));
    settle_with(&mut stage, MODEL, Outcome::Success, (100, 20));
    settle_with(&mut stage, "other", Outcome::Success, (7, 3));
    settle_with(&mut stage, MODEL, Outcome::Abandoned, (5, 1));
    for kind in [
        Kind::Client,
        Kind::ResourceUnreachable,
        Kind::Internal,
        Kind::Overloaded,
        Kind::HeadLost,
        Kind::QuotaMinute,
        Kind::QuotaBare,
        Kind::QuotaUnnamed,
        Kind::ModelWithheld,
        Kind::SpendingCap,
        Kind::Forbidden,
        Kind::CredentialMissing,
    ] {
        stage.serve(MODEL, fault(kind, Wait::None));
    }
    stage
}

#[test]
fn leases_are_summed_up_by_key_and_by_model_and_faults_by_who_is_to_blame() {
    let stage = lived();
    let expected = Totals {
        leases: 15,
        successes: 2,
        faults: 12,
        abandoned: 1,
        faults_of: FaultTotals {
            key: 1,
            project: 2,
            quota: 3,
            model: 2,
            client: 2,
            gateway: 1,
            transport: 1,
        },
        input_tokens: 112,
        output_tokens: 24,
    };
    let view = view(&stage);
    assert_eq!(view.totals, expected);
    let other = Totals { leases: 1, successes: 1, input_tokens: 7, output_tokens: 3, ..Totals::default() };
    let by_model: HashMap<_, _> = view.usage.into_iter().map(|usage| (usage.model, usage.totals)).collect();
    assert_eq!(by_model[&model("other")], other);
    assert_eq!(by_model[&model(MODEL)].leases, 14);
    assert_eq!(by_model[&model(MODEL)].faults_of, expected.faults_of);
}

#[test]
fn totals_survive_a_restart() {
    let mut old = lived();
    old.pass(secs(2));
    let kept: HashMap<_, _> =
        old.usage.iter().map(|(_, record)| (record.subject.clone(), record.clone())).collect();
    let kept: Vec<Record> = kept.into_values().collect();
    for records in [old.pool.records(old.now), kept] {
        let records: Vec<Record> = serde_json::from_str(&serde_json::to_string(&records).unwrap()).unwrap();
        let mut new = Stage::new(exact(), keys(2));
        new.pool = Pool::new(exact(), keys(2), 2).unwrap();
        new.pool.restore(records, new.now);
        assert_eq!((view(&new).totals, view(&new).usage), (view(&old).totals, view(&old).usage));
        new.serve(MODEL, Outcome::Success);
        assert_eq!(view(&new).totals.successes, 3);
    }
}

#[test]
fn a_key_is_written_up_twice_a_second_at_most_and_the_last_word_comes_by_the_alarm() {
    let mut stage = Stage::new(exact(), keys(1));
    for _ in 0..1_000 {
        stage.serve(MODEL, Outcome::Success);
        stage.pass(Duration::from_millis(5));
    }
    let times: Vec<_> = stage.usage.iter().map(|(at, _)| *at).collect();
    assert!((10..=11).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(500)), "{times:?}");
    stage.pass(secs(1));
    let (_, last) = stage.usage.last().unwrap();
    assert_eq!(last.usage.as_ref().unwrap().totals.successes, 1_000);
    let before = stage.usage.len();
    stage.pass(secs(3_600));
    assert_eq!(stage.usage.len(), before, "nothing happened, nothing is written");
}

#[test]
fn models_that_clients_make_up_are_not_kept_apart_for_ever() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, Outcome::Success);
    for at in 0..5_000 {
        stage.serve(&format!("made-up-{at}"), fault(Kind::Client, Wait::None));
        stage.pass(Duration::from_millis(100));
    }
    let view = view(&stage);
    assert!(view.usage.len() <= 512, "{}", view.usage.len());
    assert_eq!(view.totals.faults_of.client, 5_000);
    assert!(view.usage.iter().any(|usage| usage.model == model(MODEL)));
}

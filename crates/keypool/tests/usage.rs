//! Totals: what is summed up, for whom, and that nothing of it is lost or written too often.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::collections::HashMap;
use std::time::Duration;

use gemini::fault::{Kind, Wait};
use keypool::{Effect, FaultTotals, KeyView, Outcome, Pool, Record, Settlement, Subject, Totals};
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
        Kind::KeyRestricted,
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
    for of_model in [false, true] {
        let is_meant = |record: &Record| matches!(record.subject, Subject::ModelUsage { .. }) == of_model;
        let times: Vec<_> =
            stage.usage.iter().filter(|(_, record)| is_meant(record)).map(|(at, _)| *at).collect();
        assert!((10..=11).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_millis(500)), "{times:?}");
    }
    stage.pass(secs(1));
    for (_, last) in stage.usage.iter().rev().take(2) {
        assert_eq!(last.usage.as_ref().unwrap().totals.successes, 1_000);
    }
    let before = stage.usage.len();
    stage.pass(secs(3_600));
    assert_eq!(stage.usage.len(), before, "nothing happened, nothing is written");
}

/// A store that obeys every `Persist`, and counts.
#[derive(Default)]
struct Store {
    records: HashMap<Subject, Record>,
    bytes: usize,
}

impl Store {
    fn obey(&mut self, stage: &mut Stage) {
        let said = stage.said.drain(..).filter_map(|(_, effect)| match effect {
            Effect::Persist(record) => Some(record),
            _ => None,
        });
        for record in stage.usage.drain(..).map(|(_, record)| record).chain(said) {
            self.bytes += serde_json::to_string(&record).unwrap().len();
            if record.is_clear() {
                self.records.remove(&record.subject);
            } else {
                self.records.insert(record.subject.clone(), record);
            }
        }
    }

    fn models(&self) -> usize {
        let of_model = |subject: &&Subject| !matches!(subject, Subject::Usage { .. } | Subject::Key { .. });
        self.records.keys().filter(of_model).count()
    }
}

#[test]
fn what_is_written_grows_with_what_changed_and_not_with_what_is_known() {
    // One request after the other, each written up by itself: the dearest case.
    let written = |known: usize| {
        let (mut stage, mut store) = (Stage::new(exact(), keys(3)), Store::default());
        for at in 0..known {
            stage.serve(&format!("gemini-{at:05}"), Outcome::Success);
        }
        stage.pass(secs(2));
        store.obey(&mut stage);
        assert_eq!(store.models(), known);
        store.bytes = 0;
        for at in 0..200 {
            stage.serve(&format!("gemini-{:05}", at * 37 % known), Outcome::Success);
            stage.pass(secs(1));
            store.obey(&mut stage);
        }
        store.bytes / 200
    };
    let (few, many) = (written(10), written(10_000));
    // Key and model, as the request goes out and as it comes back.
    assert!(few <= 4 * 320, "{few} bytes a request");
    assert!(many <= few + 64, "{many} bytes a request where 10,000 models are known, {few} where 10 are");
}

#[test]
fn names_that_google_has_not_served_are_bounded_in_memory_and_in_the_store() {
    let refusals = [
        fault(Kind::Client, Wait::None),
        fault(Kind::QuotaBare, Wait::For(secs(2))),
        fault(Kind::Overloaded, Wait::None),
        Outcome::Abandoned,
    ];
    for refusal in refusals {
        let limits = vec![keypool::Limit { rpd: Some(1_000), ..keypool::Limit::default() }];
        let settings = keypool::Settings { limits, ..exact() };
        let (mut stage, mut store) = (Stage::new(settings, keys(3)), Store::default());
        stage.serve(MODEL, Outcome::Success);
        let mut longest = 0;
        for at in 0..10_000 {
            stage.serve(&format!("made-up-{at}"), refusal.clone());
            stage.pass(Duration::from_millis(1));
            store.obey(&mut stage);
            longest = longest.max(store.models());
        }
        stage.pass(secs(2));
        store.obey(&mut stage);
        let views = stage.pool.snapshot(stage.now).keys;
        let names: usize = views.iter().map(|view| view.usage.len()).sum();
        assert!(names <= 1_001, "{refusal:?}: {names} names");
        // Of each name the sums, the budget and the cooldown, and what half a second adds before it is written up.
        assert!(store.models() <= 3 * 1_001, "{refusal:?}: {} records", store.models());
        assert!(longest <= 3 * 1_501 + 500, "{refusal:?}: {longest} records");
        assert!(store.bytes / 10_000 <= 4_096, "{refusal:?}: {} bytes", store.bytes / 10_000);
        // The sums of the keys are exact, and the oldest that was served is there.
        assert_eq!(views.iter().map(|view| view.totals.leases).sum::<u64>(), 10_001);
        assert!(views[0].usage.iter().any(|usage| usage.model == model(MODEL)));
        assert!(views.iter().any(|view| view.usage.iter().any(|it| it.model == model("made-up-9999"))));
        assert!(views.iter().all(|view| view.usage.iter().all(|it| it.model != model("made-up-0"))));
        let records = stage.pool.records(stage.now);
        let known: HashMap<_, _> =
            records.into_iter().map(|record| (record.subject.clone(), record)).collect();
        let stale: Vec<_> = store.records.keys().filter(|subject| !known.contains_key(subject)).collect();
        assert!(stale.is_empty(), "{refusal:?}: the store knows what the pool forgot: {stale:?}");
    }
}

#[test]
fn a_name_that_google_has_said_nothing_of_is_not_written_up_apart() {
    let tells =
        [Outcome::Success, fault(Kind::QuotaBare, Wait::For(secs(2))), fault(Kind::Overloaded, Wait::None)];
    for tells in tells {
        let (mut stage, mut store) = (Stage::new(exact(), keys(2)), Store::default());
        for at in 0..500 {
            let outcome = if at % 2 == 0 { fault(Kind::Client, Wait::None) } else { Outcome::Abandoned };
            stage.serve(&format!("made-up-{at}"), outcome);
            stage.pass(Duration::from_millis(5));
        }
        for _ in 0..3 {
            stage.serve(MODEL, fault(Kind::Client, Wait::None));
        }
        stage.pass(secs(2));
        store.obey(&mut stage);
        assert_eq!(store.models(), 0);
        let totals = |stage: &Stage| stage.pool.snapshot(stage.now).keys[0].totals;
        assert!(totals(&stage).leases > 200);
        // With the first that it says, all that there is of the name on any key.
        stage.serve(MODEL, tells.clone());
        stage.pass(secs(2));
        store.obey(&mut stage);
        let of_model = |record: &&Record| matches!(record.subject, Subject::ModelUsage { .. });
        let written = store.records.values().filter(of_model);
        let leases = written.map(|record| record.usage.as_ref().unwrap().totals.leases);
        assert_eq!(leases.sum::<u64>(), 4, "{tells:?}");
        assert!(store.records.len() <= 2 * 2 + 2, "{:?}", store.records.keys());
    }
}

#[test]
fn a_name_that_google_serves_is_kept_from_then_on() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve("late", fault(Kind::Client, Wait::None));
    for at in 0..500 {
        stage.serve(&format!("made-up-{at}"), fault(Kind::Client, Wait::None));
    }
    stage.serve("late", Outcome::Success);
    for at in 500..3_000 {
        stage.serve(&format!("made-up-{at}"), fault(Kind::Client, Wait::None));
    }
    let late = view(&stage).usage.into_iter().find(|usage| usage.model == model("late")).unwrap();
    assert_eq!((late.totals.leases, late.totals.successes), (2, 1));
}

#[test]
fn a_record_of_old_with_all_its_models_is_taken_over_and_written_anew() {
    let page = |models: &str| {
        format!(
            r#"[{{"subject":"usage","key":"k0","standing":"open","usage":{{"totals":{{"leases":9,"successes":7}},"models":[{models}]}}}}]"#
        )
    };
    let of = |name: &str, leases| {
        format!(r#"{{"model":"{name}","totals":{{"leases":{leases},"successes":{leases}}}}}"#)
    };
    let old =
        page(&[of(MODEL, 5), of("other", 2), r#"{"model":null,"totals":{"leases":2}}"#.into()].join(","));
    let (mut stage, mut store) = (Stage::new(exact(), keys(1)), Store::default());
    stage.pool.restore(serde_json::from_str::<Vec<Record>>(&old).unwrap(), stage.now);
    assert_eq!(view(&stage).totals.leases, 9);
    assert_eq!(view(&stage).usage.len(), 3);
    stage.pool.wake(stage.now, &mut stage.effects);
    stage.take();
    stage.pass(secs(1));
    store.obey(&mut stage);
    assert_eq!((store.records.len(), store.models()), (4, 3));
    assert!(store.records.values().all(|record| record.usage.as_ref().unwrap().models.is_empty()));
    let mut new = Stage::new(exact(), keys(1));
    new.pool.restore(store.records.into_values(), new.now);
    assert_eq!((view(&new).totals, view(&new).usage), (view(&stage).totals, view(&stage).usage));
    // Beside a newer record of its own the page says nothing.
    let newer = format!(
        r#"[{{"subject":"model_usage","key":"k0","model":"{MODEL}","standing":"open","usage":{{"totals":{{"leases":6}}}}}}]"#
    );
    for order in [[&old, &newer], [&newer, &old]] {
        let mut stage = Stage::new(exact(), keys(1));
        let records = order.iter().flat_map(|json| serde_json::from_str::<Vec<Record>>(json).unwrap());
        stage.pool.restore(records, stage.now);
        let own = view(&stage).usage.into_iter().find(|usage| usage.model == model(MODEL)).unwrap();
        assert_eq!(own.totals.leases, 6);
    }
}

#[test]
fn an_old_record_with_too_many_names_is_cut_to_the_bound() {
    let names: Vec<_> =
        (0..5_000).map(|at| format!(r#"{{"model":"made-up-{at}","totals":{{"leases":1}}}}"#)).collect();
    let old = format!(
        r#"[{{"subject":"usage","key":"k0","standing":"open","usage":{{"totals":{{"leases":5000}},"models":[{}]}}}}]"#,
        names.join(",")
    );
    let (mut stage, mut store) = (Stage::new(exact(), keys(1)), Store::default());
    stage.pool.restore(serde_json::from_str::<Vec<Record>>(&old).unwrap(), stage.now);
    stage.pass(secs(1));
    stage.serve(MODEL, Outcome::Success);
    stage.pass(secs(1));
    store.obey(&mut stage);
    assert!(view(&stage).usage.len() <= 1_001);
    assert_eq!(store.models(), view(&stage).usage.len());
}

//! What each outcome does to a key, its project and the model there, and for how long.

mod stage;

use std::time::Duration;

use gemini::fault::{Kind, Quota, QuotaUnit, QuotaWindow, Wait};
use keypool::{Answer, KeyId, KeyState, LeaseRequest, Outcome, Reach, Refusal, Role, Settings};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, secs, wall};

const A_MINUTE: Wait = Wait::For(Duration::from_secs(60));

/// Which of the pool's corners a fault closes: the key that met it, a sibling in its project, another model on the key,
/// another model on the sibling. A stranger's key is never closed.
fn closed_by(kind: Kind) -> [bool; 4] {
    let specs = vec![labelled("met", "p"), labelled("sibling", "p"), labelled("stranger", "q")];
    let mut stage = Stage::new(exact(), specs);
    assert_eq!(stage.serve(MODEL, fault(kind, A_MINUTE)), KeyId::from("met"));
    let mut closed = |id, name| {
        let reach = Reach::Only(KeyId::from(id));
        let request = LeaseRequest { reach, may_wait: false, ..LeaseRequest::any(model(name)) };
        match stage.ask(&request) {
            Answer::Granted(grant) => {
                stage.settle(&grant, name, Outcome::Abandoned);
                false
            }
            Answer::Refused(refusal) => {
                assert_eq!(refusal, Refusal::Cooling { back_in: secs(60), quota: None }, "{kind:?}");
                true
            }
            Answer::Waiting(_) => panic!("it would not wait"),
        }
    };
    assert!(!closed("stranger", MODEL) && !closed("stranger", "other"), "{kind:?}");
    [closed("met", MODEL), closed("sibling", MODEL), closed("met", "other"), closed("sibling", "other")]
}

#[test]
fn a_fault_closes_what_it_blames_and_nothing_else() {
    let nothing = [false, false, false, false];
    let key = [true, false, true, false];
    let project = [true, true, true, true];
    let model = [true, true, false, false];
    for (kind, expected) in [
        (Kind::KeyInvalid, key),
        (Kind::KeyUnauthenticated, key),
        (Kind::KeySuspended, key),
        (Kind::KeyRestricted, key),
        (Kind::MethodBlocked, model),
        (Kind::Forbidden, model),
        (Kind::BillingDisabled, project),
        (Kind::ServiceDisabled, project),
        (Kind::SpendingCap, project),
        (Kind::CreditsGone, project),
        (Kind::ProjectUnfit, project),
        (Kind::ModelWithheld, model),
        (Kind::QuotaMinute, model),
        (Kind::QuotaDay, model),
        (Kind::QuotaZero, model),
        (Kind::QuotaBare, model),
        (Kind::RateLimited, model),
        (Kind::QuotaUnnamed, nothing),
        (Kind::CredentialsMultiple, nothing),
        (Kind::CredentialMissing, nothing),
        (Kind::LocationUnsupported, nothing),
        (Kind::Client, nothing),
        (Kind::ResourceUnreachable, nothing),
        (Kind::Cancelled, nothing),
        (Kind::Internal, nothing),
        (Kind::Overloaded, nothing),
        (Kind::DeadlineExceeded, nothing),
        (Kind::ConnectFailed, nothing),
        (Kind::NotDone, nothing),
        (Kind::NotGoogle, nothing),
        (Kind::HeadLost, nothing),
        (Kind::BodyLost, nothing),
    ] {
        assert_eq!(closed_by(kind), expected, "{kind:?}");
    }
}

#[test]
fn a_fault_without_a_wait_cools_nothing() {
    let mut stage = Stage::new(exact(), keys(1));
    for kind in [Kind::KeyInvalid, Kind::SpendingCap, Kind::QuotaMinute] {
        stage.serve(MODEL, fault(kind, Wait::None));
    }
    stage.lease(MODEL);
    assert_eq!(stage.said, []);
}

#[test]
fn what_google_has_not_named_costs_no_model_its_last_project() {
    for kind in [Kind::Forbidden, Kind::MethodBlocked] {
        let mut stage = Stage::new(exact(), keys(3));
        for _ in 0..9 {
            stage.serve(MODEL, fault(kind, Wait::Backoff));
        }
        assert_eq!(stage.waits().len(), 2, "{kind:?}");
        stage.lease(MODEL);
    }
}

#[test]
fn a_key_without_a_project_is_its_own_project() {
    let mut stage = Stage::new(exact(), keys(2));
    stage.serve(MODEL, fault(Kind::SpendingCap, Wait::Long));
    assert_eq!(stage.lease(MODEL).key, KeyId::from("k1"));
    assert_eq!(stage.lease("other").key, KeyId::from("k1"));
}

#[test]
fn a_model_that_only_the_quota_names_cools_where_the_request_named_none() {
    let mut stage = Stage::new(exact(), keys(1));
    let Answer::Granted(grant) = stage.ask(&LeaseRequest::any(None)) else { panic!("no grant") };
    let Outcome::Fault(mut quota_fault) = fault(Kind::QuotaMinute, A_MINUTE) else { unreachable!() };
    quota_fault.quotas.push(Quota {
        id: "".into(),
        unit: QuotaUnit::Requests,
        window: QuotaWindow::Minute,
        limit: None,
        model: Some(MODEL.into()),
    });
    let outcome = Outcome::Fault(quota_fault);
    let settlement = keypool::Settlement {
        lease: grant.lease,
        key: grant.key,
        model: None,
        outcome,
        input_tokens: None,
        output_tokens: None,
    };
    stage.pool.settle(&settlement, stage.now, &mut stage.effects);
    assert_eq!(stage.back_in(MODEL), secs(60));
    assert!(matches!(stage.ask(&LeaseRequest::any(None)), Answer::Granted(_)));
}

#[test]
fn a_retired_key_stays_retired_until_it_is_reset() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    stage.pass(secs(400 * 24 * 3600));
    assert_eq!(stage.refusal(MODEL), Refusal::AllRetired);
    stage.reset("k0");
    assert_eq!(stage.serve(MODEL, Outcome::Success), KeyId::from("k0"));
    assert_eq!(
        stage.events(),
        ["key k0 is retired until it is reset: the key is invalid or expired", "key k0 is reset"]
    );
}

#[test]
fn a_later_fault_does_not_bring_a_retired_key_back() {
    let mut stage = Stage::new(exact(), keys(1));
    let (first, second) = (stage.lease(MODEL), stage.lease(MODEL));
    stage.settle(&first, MODEL, fault(Kind::KeySuspended, Wait::Retire));
    stage.settle(&second, MODEL, fault(Kind::KeyRestricted, Wait::For(secs(1))));
    stage.pass(secs(3600));
    assert_eq!(stage.refusal(MODEL), Refusal::AllRetired);
}

#[test]
fn a_disabled_key_is_not_leased_and_a_reset_does_not_enable_it() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.disable("k0");
    assert_eq!(stage.refusal(MODEL), Refusal::AllDisabled);
    stage.reset("k0");
    assert_eq!(stage.refusal(MODEL), Refusal::AllDisabled);
    stage.enable("k0");
    stage.lease(MODEL);
    assert!(stage.pool.disable(&"nobody".into(), stage.now, &mut stage.effects).is_err());
}

#[test]
fn disabling_does_not_end_a_cooldown() {
    let mut stage = Stage::new(exact(), keys(1));
    stage.serve(MODEL, fault(Kind::KeyRestricted, A_MINUTE));
    stage.disable("k0");
    stage.pass(secs(20));
    stage.enable("k0");
    assert_eq!(stage.back_in(MODEL), secs(40));
}

#[test]
fn a_reset_opens_the_key_its_project_and_its_models() {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
    let grants = [stage.lease(MODEL), stage.lease(MODEL), stage.lease(MODEL)];
    stage.settle(&grants[0], MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    stage.settle(&grants[1], MODEL, fault(Kind::SpendingCap, Wait::Long));
    stage.settle(&grants[2], MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
    assert_eq!(stage.records().len(), 3);
    stage.reset("a");
    assert_eq!(stage.records(), []);
    assert_eq!(stage.serve(MODEL, Outcome::Success), KeyId::from("b"));
    assert_eq!(stage.serve(MODEL, Outcome::Success), KeyId::from("a"));
}

#[test]
fn the_backoff_doubles_up_to_the_maximum_and_starts_again_after_a_success() {
    for (kind, first) in [(Kind::KeyRestricted, 30), (Kind::QuotaBare, 15), (Kind::QuotaMinute, 15)] {
        let mut stage = Stage::new(exact(), keys(1));
        for _ in 0..10 {
            stage.serve(MODEL, fault(kind, Wait::Backoff));
            stage.pass(stage.waits()[stage.waits().len() - 1]);
        }
        let doubled = (0..10).map(|step| secs((first << step).min(3600)));
        assert_eq!(stage.waits(), doubled.collect::<Vec<_>>(), "{kind:?}");
        stage.serve(MODEL, Outcome::Success);
        stage.serve(MODEL, fault(kind, Wait::Backoff));
        assert_eq!(stage.waits()[10], secs(first), "{kind:?}");
    }
}

#[test]
fn the_backoff_varies_by_no_more_than_the_jitter() {
    let jitter = 0.25;
    let settings = Settings { jitter, ..Settings::default() };
    let mut stage = Stage::new(settings, keys(200));
    for _ in 0..200 {
        stage.serve(MODEL, fault(Kind::KeyRestricted, Wait::Backoff));
    }
    let waits: Vec<f64> = stage.waits().iter().map(|wait| wait.as_secs_f64() / 30.0).collect();
    assert!(waits.iter().all(|share| (1.0 - jitter..=1.0 + jitter).contains(share)), "{waits:?}");
    let spread = waits.iter().copied().fold(0.0, f64::max) - waits.iter().copied().fold(9.0, f64::min);
    assert!(spread > jitter, "no jitter to speak of: {spread}");
}

#[test]
fn a_hint_is_kept_to_within_reason() {
    for (hint, expected) in [
        (Duration::ZERO, secs(1)),
        (Duration::from_millis(34_070), Duration::from_millis(34_070)),
        (secs(39_043), secs(39_043)),
        (Duration::MAX, secs(24 * 3600)),
    ] {
        let mut stage = Stage::new(exact(), keys(1));
        stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(hint)));
        assert_eq!(stage.back_in(MODEL), expected);
    }
}

#[test]
fn a_hint_is_never_cut_and_lengthened_by_a_second_at_most() {
    let mut stage = Stage::new(Settings { jitter: 0.5, ..Settings::default() }, keys(100));
    for _ in 0..100 {
        stage.serve(MODEL, fault(Kind::QuotaMinute, Wait::For(secs(34))));
    }
    assert!(stage.waits().iter().all(|wait| (secs(34)..=secs(35)).contains(wait)), "{:?}", stage.waits());
}

#[test]
fn a_cooldown_counts_one_step_however_many_requests_were_under_way() {
    let mut stage = Stage::new(exact(), keys(1));
    let grants: Vec<_> = (0..20).map(|_| stage.lease(MODEL)).collect();
    for grant in &grants[..10] {
        stage.settle(grant, MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    }
    stage.pass(secs(15));
    // Some are so late that the cooldown is over: they say nothing new, in either direction.
    for grant in &grants[10..15] {
        stage.settle(grant, MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    }
    for grant in &grants[15..] {
        stage.settle(grant, MODEL, Outcome::Success);
    }
    assert_eq!(stage.lease(MODEL).role, Role::Probe);
    assert_eq!(stage.waits(), [secs(15)]);
}

#[test]
fn a_late_hint_moves_the_end_only_when_it_asks_for_clearly_more() {
    let mut stage = Stage::new(exact(), keys(1));
    let grants = [stage.lease(MODEL), stage.lease(MODEL), stage.lease(MODEL), stage.lease(MODEL)];
    let quota = |wait| fault(Kind::QuotaMinute, wait);
    stage.settle(&grants[0], MODEL, quota(Wait::For(secs(30))));
    stage.settle(&grants[1], MODEL, quota(Wait::For(Duration::from_millis(30_900))));
    stage.settle(&grants[2], MODEL, quota(Wait::For(secs(10))));
    assert_eq!(stage.back_in(MODEL), secs(30));
    stage.settle(&grants[3], MODEL, quota(Wait::For(secs(50))));
    assert_eq!(stage.back_in(MODEL), secs(50));
}

#[test]
fn a_success_does_not_lift_a_running_cooldown() {
    let mut stage = Stage::new(exact(), keys(1));
    let (first, second) = (stage.lease(MODEL), stage.lease(MODEL));
    stage.settle(&first, MODEL, fault(Kind::QuotaMinute, A_MINUTE));
    stage.settle(&second, MODEL, Outcome::Success);
    assert_eq!(stage.back_in(MODEL), secs(60));
}

/// A pool of two keys of one project whose model has just come back from a cooldown.
fn just_back() -> Stage {
    let mut stage = Stage::new(exact(), vec![labelled("a", "p"), labelled("b", "p")]);
    stage.serve(MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    stage.pass(secs(15));
    stage
}

#[test]
fn after_a_cooldown_one_probe_goes_first() {
    let mut stage = just_back();
    let probe = stage.lease(MODEL);
    assert_eq!(probe.role, Role::Probe);
    assert_eq!(stage.back_in(MODEL), secs(1), "a guess");
    assert_eq!(stage.lease("other").role, Role::Ordinary);
    stage.settle(&probe, MODEL, Outcome::Success);
    for _ in 0..5 {
        assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
    }
    let model = format!("model {MODEL} on project p");
    assert_eq!(
        stage.events(),
        [
            format!("{model} cools for 15.0 s: rate limit, no quota named (met by key a)"),
            format!("{model} may be tried again"),
            format!("{model} is back"),
        ]
    );
}

#[test]
fn a_probe_that_says_nothing_makes_room_for_the_next() {
    for outcome in [
        Outcome::Abandoned,
        fault(Kind::Client, Wait::None),
        fault(Kind::Overloaded, Wait::None),
        fault(Kind::HeadLost, Wait::None),
    ] {
        let mut stage = just_back();
        stage.serve(MODEL, outcome);
        let probe = stage.lease(MODEL);
        assert_eq!(probe.role, Role::Probe);
        stage.refusal(MODEL);
    }
}

#[test]
fn a_probe_that_meets_the_fault_again_cools_for_longer() {
    let mut stage = just_back();
    stage.serve(MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    assert_eq!(stage.back_in(MODEL), secs(30));
}

#[test]
fn a_probe_that_is_vouched_for_opens_the_way_and_its_later_fault_still_counts() {
    let mut stage = just_back();
    let probe = stage.lease(MODEL);
    stage.vouch(&probe, MODEL);
    assert_eq!(stage.lease(MODEL).role, Role::Ordinary);
    stage.settle(&probe, MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    assert_eq!(stage.back_in(MODEL), secs(15), "a new streak");
}

#[test]
fn a_probe_that_does_not_come_back_is_given_up() {
    let mut stage = just_back();
    let lost = stage.lease(MODEL);
    stage.pass(secs(59));
    stage.refusal(MODEL);
    stage.pass(secs(1));
    let second = stage.lease(MODEL);
    assert_eq!(second.role, Role::Probe);
    stage.settle(&lost, MODEL, Outcome::Abandoned);
    stage.refusal(MODEL);
    stage.settle(&second, MODEL, Outcome::Success);
    stage.lease(MODEL);
}

#[test]
fn a_key_on_probation_for_two_reasons_sends_one_probe_for_both() {
    let mut stage = Stage::new(exact(), keys(1));
    let (first, second) = (stage.lease(MODEL), stage.lease(MODEL));
    stage.settle(&first, MODEL, fault(Kind::KeyRestricted, Wait::For(secs(10))));
    stage.settle(&second, MODEL, fault(Kind::QuotaMinute, Wait::For(secs(20))));
    stage.pass(secs(10));
    assert_eq!(stage.back_in(MODEL), secs(10));
    stage.pass(secs(10));
    let probe = stage.lease(MODEL);
    stage.refusal(MODEL);
    stage.refusal("other");
    stage.settle(&probe, MODEL, Outcome::Success);
    assert_eq!((stage.lease(MODEL).role, stage.lease("other").role), (Role::Ordinary, Role::Ordinary));
}

#[test]
fn a_streak_that_nobody_continues_is_forgotten() {
    let mut stage = just_back();
    stage.pass(Duration::from_millis(3_599_999));
    assert_eq!(stage.records().len(), 1);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.records(), []);
    stage.serve(MODEL, fault(Kind::QuotaBare, Wait::Backoff));
    assert_eq!(stage.back_in(MODEL), secs(15));
}

#[test]
fn a_streak_is_forgotten_in_its_time_though_a_probe_was_out_then_and_said_nothing() {
    for (before, out) in [(3_599, 2), (0, 30)] {
        let mut stage = just_back();
        stage.pass(secs(before));
        let probe = stage.lease(MODEL);
        stage.pass(secs(out));
        stage.settle(&probe, MODEL, Outcome::Abandoned);
        stage.pass(secs(3_600 - (before + out).min(3_600)));
        assert_eq!(stage.records(), [], "after {before} and {out} seconds");
        stage.serve(MODEL, fault(Kind::QuotaBare, Wait::Backoff));
        assert_eq!(stage.back_in(MODEL), secs(15));
    }
}

#[test]
fn a_daily_quota_is_back_at_midnight_in_california_on_every_kind_of_day() {
    for (met, back) in [
        ("2026-07-15T20:00:00Z", "2026-07-16T07:00:00Z"),
        ("2026-03-08T08:00:01Z", "2026-03-09T07:00:00Z"), // a day of 23 hours
        ("2026-11-01T07:00:01Z", "2026-11-02T08:00:00Z"), // a day of 25 hours
    ] {
        let mut stage = Stage::at(wall(met), Settings::default(), keys(1));
        stage.serve(MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
        let until = (wall(back) - wall(met)).to_std().unwrap();
        assert_eq!(stage.back_in(MODEL), until, "{met}");
        stage.pass(until.saturating_sub(Duration::from_millis(1)));
        stage.refusal(MODEL);
        stage.pass(Duration::from_millis(1));
        assert_eq!(stage.serve(MODEL, Outcome::Success), KeyId::from("k0"));
        // And only once: nothing closes it again.
        stage.pass(secs(3 * 3600));
        stage.lease(MODEL);
    }
}

#[test]
fn a_stepped_wall_clock_moves_no_running_cooldown_but_a_days() {
    for (step, day) in [(-3600, 12), (3600, 10)] {
        let mut stage = Stage::new(exact(), keys(2));
        stage.serve(MODEL, fault(Kind::QuotaDay, Wait::DailyReset));
        stage.serve(MODEL, fault(Kind::QuotaMinute, A_MINUTE));
        stage.now.wall += chrono::TimeDelta::seconds(step);
        assert_eq!(stage.back_in(MODEL), secs(60));
        stage.disable("k1");
        assert_eq!(stage.back_in(MODEL), secs(day * 3600));
    }
}

#[test]
fn a_probe_before_google_has_struck_midnight_does_not_cost_another_day() {
    let mut stage = Stage::new(exact(), keys(1));
    let day = || fault(Kind::QuotaDay, Wait::DailyReset);
    stage.serve(MODEL, day());
    stage.pass(secs(11 * 3600));
    stage.serve(MODEL, day());
    assert_eq!(stage.back_in(MODEL), secs(15));
    stage.pass(secs(15));
    stage.serve(MODEL, day());
    assert_eq!(stage.back_in(MODEL), secs(30));
    // After ten minutes it is the new day's quota.
    stage.pass(secs(600));
    stage.serve(MODEL, day());
    assert_eq!(stage.back_in(MODEL), secs(24 * 3600 - 615));
}

#[test]
fn a_new_days_quota_may_be_used_up_in_a_minute() {
    let mut stage = Stage::new(exact(), keys(1));
    let day = || fault(Kind::QuotaDay, Wait::DailyReset);
    stage.serve(MODEL, day());
    stage.pass(secs(11 * 3600));
    stage.serve(MODEL, Outcome::Success);
    stage.pass(secs(60));
    stage.serve(MODEL, day());
    assert_eq!(stage.back_in(MODEL), secs(24 * 3600 - 60));
}

#[test]
fn the_snapshot_says_how_each_key_stands_and_why() {
    let mut stage = Stage::new(
        exact(),
        vec![labelled("a", "p"), labelled("b", "p"), keys(2)[0].clone(), keys(2)[1].clone()],
    );
    let grants: Vec<_> = (0..4).map(|_| stage.lease(MODEL)).collect();
    stage.settle(&grants[0], MODEL, fault(Kind::QuotaMinute, A_MINUTE));
    stage.settle(&grants[1], MODEL, fault(Kind::KeyRestricted, Wait::For(secs(30))));
    stage.settle(&grants[2], MODEL, fault(Kind::KeyInvalid, Wait::Retire));
    stage.disable("k1");
    stage.jump(secs(10));
    let snapshot = stage.pool.snapshot(stage.now);
    let states: Vec<_> = snapshot.keys.iter().map(|key| key.state).collect();
    assert_eq!(states, [KeyState::Available, KeyState::Cooling, KeyState::Retired, KeyState::Disabled]);
    let json = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(
        json["counts"],
        serde_json::json!({"total": 4, "available": 1, "probation": 0, "cooling": 1, "retired": 1, "disabled": 1,
            "in_flight": 1, "waiting": 0})
    );
    assert_eq!(
        json["keys"][0]["models"],
        serde_json::json!([{"model": MODEL, "state": "cooling", "reason": "quota_minute", "back_in_ms": 50_000}])
    );
    assert_eq!(json["keys"][1]["back_in_ms"], 20_000);
    assert_eq!(json["keys"][2]["reason"], "key_invalid");
    assert_eq!(json["keys"][3]["in_flight"], 1);
    // The alarm has not rung, but the time is over.
    stage.jump(secs(20));
    assert_eq!(stage.pool.snapshot(stage.now).keys[1].state, KeyState::Probation);
}

//! Refused quotas: how a request goes on to the next project, when no other is worth asking, and which quota a client is
//! told of.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod stage;

use std::sync::Arc;

use gemini::fault::{Fault, Kind, Quota, QuotaUnit, QuotaWindow, Wait};
use keypool::{Answer, Avoid, LeaseRequest, Limit, NamedQuota, Outcome, Pool, Refusal, Settings};
use stage::{MODEL, Stage, exact, fault, keys, labelled, model, place, secs, stored};

const REQUESTS_A_DAY: &str = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
const REQUESTS_A_MINUTE: &str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
const TOKENS_A_MINUTE: &str = "GenerateContentInputTokensPerModelPerMinute-FreeTier";

fn quota(id: &str, limit: Option<u64>) -> Quota {
    let unit = if id == TOKENS_A_MINUTE { QuotaUnit::InputTokens } else { QuotaUnit::Requests };
    let window = if id == REQUESTS_A_DAY { QuotaWindow::Day } else { QuotaWindow::Minute };
    Quota { id: id.into(), unit, window, limit, model: Some(MODEL.into()) }
}

fn refused(kind: Kind, wait: Wait, quotas: Vec<Quota>) -> Fault {
    Fault { kind, wait, quotas, project: None }
}

fn tokens_refused(limit: u64) -> Fault {
    refused(Kind::QuotaMinute, Wait::For(secs(40)), vec![quota(TOKENS_A_MINUTE, Some(limit))])
}

/// What the attempt loop does: goes on after each refusal. The keys it used, and how it ended.
fn go_on(
    stage: &mut Stage,
    mut request: LeaseRequest,
    google: impl Fn(usize) -> Option<Fault>,
) -> (Vec<usize>, Answer) {
    let mut used = Vec::new();
    loop {
        let grant = match stage.ask(&request) {
            Answer::Granted(grant) => grant,
            answer => return (used, answer),
        };
        used.push(place(&grant.key));
        let Some(refusal) = google(place(&grant.key)) else {
            stage.settle(&grant, MODEL, Outcome::Success);
            return (used, Answer::Granted(grant));
        };
        stage.settle(&grant, MODEL, Outcome::Fault(refusal.clone()));
        request.heed(&grant.key, &refusal);
        request.tried.insert(grant.key);
        request.avoid = Avoid::TriedProjects;
    }
}

fn request(input_tokens: u64) -> LeaseRequest {
    LeaseRequest { input_tokens, may_wait: false, ..LeaseRequest::any(model(MODEL)) }
}

#[test]
fn a_request_goes_on_to_the_next_project_with_room_until_none_is_left() {
    let day = || refused(Kind::QuotaDay, Wait::DailyReset, vec![quota(REQUESTS_A_DAY, Some(20))]);
    for well in 0..5 {
        let mut stage = Stage::new(exact(), keys(5));
        let (used, answer) = go_on(&mut stage, request(10), |key| (key != well).then(day));
        assert_eq!(used, (0..=well).collect::<Vec<_>>());
        assert!(matches!(answer, Answer::Granted(_)));
        // Each is remembered: the next goes to the one that is left, or on to those not asked yet.
        let (used, _) = go_on(&mut stage, request(10), |key| (key < well).then(day));
        assert_eq!(used.len(), 1);
    }
    let mut stage = Stage::new(exact(), keys(5));
    let (used, answer) = go_on(&mut stage, request(10), |_| Some(day()));
    assert_eq!((used.len(), answer), (5, Answer::Refused(Refusal::NoneLeft)));
    assert!(matches!(stage.ask(&request(10)), Answer::Refused(Refusal::Cooling { .. })));
}

#[test]
fn the_keys_of_one_project_are_one_try() {
    let specs = (0..6).map(|at| labelled(&format!("k{at}"), if at < 4 { "spent" } else { "well" })).collect();
    let mut stage = Stage::new(exact(), specs);
    let spent = |key| (key < 4).then(|| refused(Kind::QuotaDay, Wait::DailyReset, Vec::new()));
    assert_eq!(go_on(&mut stage, request(10), spent).0, [0, 4]);
}

#[test]
fn a_request_that_is_larger_than_a_limit_is_not_asked_of_projects_that_have_the_same() {
    let tpm = |id: &str, tpm| Limit { project: Some(id.into()), tpm: Some(tpm), ..Limit::default() };
    let limits = vec![tpm("a", 1_000), tpm("b", 1_000), tpm("c", 500), tpm("d", 1_001)];
    let specs: Vec<_> = ["a", "b", "c", "d", "unknown"]
        .iter()
        .enumerate()
        .map(|(at, id)| labelled(&format!("k{at}"), id))
        .collect();
    let mut stage = Stage::new(Settings { limits, ..exact() }, specs);
    let limit = |key: usize| [1_000, 1_000, 500, 1_001, 1_000][key];
    let (used, answer) = go_on(&mut stage, request(5_000), |key| Some(tokens_refused(limit(key))));
    assert_eq!(used, [0, 3, 4], "a higher limit, and one that nobody knows, may hold it");
    assert_eq!(answer, Answer::Refused(Refusal::NoneLeft));
}

#[test]
fn what_a_refusal_taught_counts_as_known() {
    let mut stage = Stage::new(exact(), keys(3));
    let refusal = |_| Some(tokens_refused(1_000));
    assert_eq!(go_on(&mut stage, request(5_000), refusal).0, [0, 1, 2], "none is known");
    stage.pass(secs(120));
    assert_eq!(go_on(&mut stage, request(5_000), refusal).0.len(), 1, "all are");
    // What waits for a key is not kept waiting for one that will refuse it.
    let waits = LeaseRequest { exceeds: Some(1_000), ..LeaseRequest::any(model(MODEL)) };
    assert_eq!(stage.ask(&waits), Answer::Refused(Refusal::NoneLeft));
}

#[test]
fn a_request_that_the_limit_may_hold_is_asked_of_all() {
    let limits = vec![Limit { tpm: Some(1_000), ..Limit::default() }];
    // Rather too high are estimates: up to a quarter above may be one that fits.
    for (tokens, tries) in [(10, 3), (1_000, 3), (1_250, 3), (1_251, 1), (1_000_000, 1)] {
        let mut stage = Stage::new(Settings { limits: limits.clone(), ..exact() }, keys(3));
        let (used, _) = go_on(&mut stage, request(tokens), |_| Some(tokens_refused(1_000)));
        assert_eq!(used.len(), tries, "{tokens}");
    }
    // Other quotas say nothing of a request's size.
    for id in [REQUESTS_A_MINUTE, REQUESTS_A_DAY] {
        let mut stage = Stage::new(Settings { limits: limits.clone(), ..exact() }, keys(3));
        let other = |_| Some(refused(Kind::QuotaMinute, Wait::For(secs(9)), vec![quota(id, Some(20))]));
        assert_eq!(go_on(&mut stage, request(1_000_000), other).0.len(), 3);
    }
    for limit in [None, Some(0)] {
        let mut request = request(1_000_000);
        request
            .heed(&"k0".into(), &refused(Kind::QuotaMinute, Wait::None, vec![quota(TOKENS_A_MINUTE, limit)]));
        assert_eq!(request.exceeds, None);
    }
}

#[test]
fn a_refusal_names_the_quota_that_the_first_project_to_be_back_cools_for() {
    let mut stage = Stage::new(exact(), keys(2));
    let minute = refused(Kind::QuotaMinute, Wait::For(secs(30)), vec![quota(REQUESTS_A_MINUTE, Some(5))]);
    let both = vec![quota(REQUESTS_A_MINUTE, Some(5)), quota(REQUESTS_A_DAY, Some(20))];
    stage.serve(MODEL, Outcome::Fault(refused(Kind::QuotaDay, Wait::DailyReset, both)));
    stage.serve(MODEL, Outcome::Fault(minute));
    let named = |id: &str, daily| Some(Arc::new(NamedQuota { id: id.into(), model: model(MODEL), daily }));
    let of_minute = Refusal::Cooling { back_in: secs(30), quota: named(REQUESTS_A_MINUTE, false) };
    assert_eq!(stage.refusal(MODEL), of_minute);
    stage.disable("k1");
    let back_in = stage.refusal(MODEL).back_in().unwrap();
    let of_day = Refusal::Cooling { back_in, quota: named(REQUESTS_A_DAY, true) };
    assert_eq!(stage.refusal(MODEL), of_day, "of several the day's");
    // It outlives the process.
    let json = serde_json::to_string(&stored(&stage)).unwrap();
    let mut new = Stage::new(exact(), keys(2));
    new.pool = Pool::new(exact(), keys(2), 2).unwrap();
    new.now = stage.now;
    new.pool.restore(serde_json::from_str::<Vec<_>>(&json).unwrap(), new.now);
    assert_eq!(new.refusal(MODEL), of_day);
}

#[test]
fn what_google_did_not_name_is_not_named() {
    for fault in [
        fault(Kind::QuotaBare, Wait::For(secs(30))),
        fault(Kind::KeyRestricted, Wait::For(secs(30))),
        fault(Kind::SpendingCap, Wait::For(secs(30))),
        Outcome::Fault(refused(Kind::QuotaMinute, Wait::For(secs(30)), vec![quota("", Some(5))])),
    ] {
        let mut stage = Stage::new(exact(), keys(1));
        stage.serve(MODEL, fault);
        assert!(matches!(stage.refusal(MODEL), Refusal::Cooling { quota: None, .. }));
    }
    // Nor is what was named before, once the model cools for something else.
    let mut stage = Stage::new(exact(), keys(1));
    let grants = [stage.lease(MODEL), stage.lease(MODEL)];
    let minute = refused(Kind::QuotaMinute, Wait::For(secs(10)), vec![quota(REQUESTS_A_MINUTE, Some(5))]);
    stage.settle(&grants[0], MODEL, Outcome::Fault(minute));
    stage.settle(&grants[1], MODEL, fault(Kind::QuotaBare, Wait::For(secs(60))));
    assert_eq!(stage.refusal(MODEL), Refusal::Cooling { back_in: secs(60), quota: None });
}

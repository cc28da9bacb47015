//! The loop against a made-up upstream, on a real key manager, in time that jumps.

use super::*;
use crate::{
    key_manager::{KeyManager, Reconcile},
    testing::{KeyOf, current, exact, in_system, manager, ring},
};
use gemini::fault::{Next, Quota, QuotaUnit, QuotaWindow, Wait};
use keypool::{Limit, Settings, Snapshot, Tool, Tools};
use std::{cell::RefCell, time::Duration};

const MODEL: &str = "gemini-x";
const SECOND: Duration = Duration::from_secs(1);
const FIVE: &[KeyOf] = &[("a", None), ("b", None), ("c", None), ("d", None), ("e", None)];

const LIMITS: RetryLimits = RetryLimits {
    max_attempts: 3,
    quota_deadline: Duration::from_secs(10),
    lease_deadline: Duration::from_secs(15),
};

/// An error answer: its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said(String);

impl ErrorAnswer for Said {
    fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// What the made-up upstream does.
type Does = Attempted<&'static str, Said>;

/// An upstream that is told what to do by the number of the attempt, from 0, and its key.
struct Upstream<F> {
    does: F,
    /// The keys of all attempts.
    keys: RefCell<Vec<String>>,
    /// How long each attempt takes.
    takes: Duration,
    /// The keys that it refuses whatever is asked for.
    refuses: &'static [&'static str],
}

impl<F: Fn(usize, &str) -> Does> Try for Upstream<F> {
    type Success = &'static str;
    type Answer = Said;

    async fn attempt(&self, key: &Arc<Key>) -> Does {
        let number = self.keys.borrow().len();
        self.keys.borrow_mut().push(key.id().to_string());
        sleep(self.takes).await;
        (self.does)(number, key.id().as_str())
    }

    async fn is_refused(&self, key: &Arc<Key>) -> bool {
        self.refuses.contains(&key.id().as_str())
    }

    fn status(&self, _: &&'static str) -> StatusCode {
        StatusCode::OK
    }

    fn set_aside(&self, success: &'static str) -> (Option<Said>, Option<Usage>) {
        (Some(Said(format!("{success} set aside"))), None)
    }
}

/// What a run of the loop came to.
struct Run {
    found: Result<&'static str, Ended<Said>>,
    /// The keys of its attempts, in order.
    keys: Vec<String>,
    /// What the transaction would show: status and fault of each attempt.
    shown: Vec<(Option<u16>, Option<Kind>)>,
    took: Duration,
}

impl Run {
    fn answer(&self) -> Option<&str> {
        self.found.as_ref().unwrap_err().answer.as_ref().map(|said| said.0.as_str())
    }

    fn failure(&self) -> &Failure {
        &self.found.as_ref().unwrap_err().failure
    }
}

/// A pool, and how a request is tried on it.
struct Stage {
    keys: KeyManager,
    last_answers: LastAnswers<Said>,
    limits: RetryLimits,
    takes: Duration,
    refuses: &'static [&'static str],
}

impl Stage {
    fn new(keys: &[KeyOf]) -> Self {
        Self::with(keys, exact())
    }

    fn with(keys: &[KeyOf], settings: Settings) -> Self {
        let keys = manager(&current(keys), settings);
        let (last_answers, refuses) = (LastAnswers::default(), &[][..]);
        Self { keys, last_answers, limits: LIMITS, takes: Duration::ZERO, refuses }
    }

    async fn run(&self, goal: Goal, does: impl Fn(usize, &str) -> Does) -> Run {
        let record = AttemptRecord::since(std::time::Instant::now());
        let (takes, refuses) = (self.takes, self.refuses);
        let upstream = Upstream { does, keys: RefCell::default(), takes, refuses };
        let Self { keys, last_answers, limits, .. } = self;
        let attempts = Attempts { keys, limits: *limits, last_answers, record: &record };
        let begun = Instant::now();
        let found = attempts.run(goal, &upstream).await.map(|(success, lease)| {
            lease.settle(Outcome::Success, None);
            success
        });
        let took = begun.elapsed();
        let shown: Vec<_> =
            record.into_attempts().into_iter().map(|attempt| (attempt.status, attempt.fault)).collect();
        let keys = upstream.keys.into_inner();
        assert_eq!(keys.len(), shown.len(), "every attempt is recorded");
        Run { found, keys, shown, took }
    }

    async fn snapshot(&self) -> Snapshot {
        self.keys.snapshot(Instant::now() + SECOND).await.unwrap()
    }
}

fn anything() -> Goal {
    goal(Repeat::Freely, Reach::Any)
}

fn goal(repeat: Repeat, reach: Reach) -> Goal {
    let request = LeaseRequest { reach, ..LeaseRequest::any(Some(MODEL.into())) };
    Goal { request, prefer: None, repeat }
}

fn bound_to(key: &str) -> Goal {
    goal(Repeat::Freely, Reach::ProjectOf(key.into()))
}

fn fault(kind: Kind, wait: Wait) -> Fault {
    Fault { kind, wait, quotas: Vec::new(), project: None }
}

/// An answer of the upstream's with this fault, whose text is the fault's name and the key's.
fn answers(fault: Fault, key: &str) -> Does {
    let answer = Some(Said(format!("{:?} on {key}", fault.kind)));
    Attempted::Failed(Failed {
        fault,
        status: Some(StatusCode::IM_A_TEAPOT),
        answer,
        failure: Failure::HeadLost,
    })
}

/// A fault to which nothing was said.
fn silent(kind: Kind, failure: Failure) -> Does {
    Attempted::Failed(Failed::without_answer(fault(kind, kind.row().wait), failure))
}

fn quota(seconds: u64, key: &str) -> Does {
    answers(fault(Kind::QuotaMinute, Wait::For(Duration::from_secs(seconds))), key)
}

fn of(kind: Kind, key: &str) -> Does {
    answers(fault(kind, kind.row().wait), key)
}

#[test]
fn a_success_is_the_end_and_its_lease_is_the_callers() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert_eq!((run.found.unwrap(), run.shown), ("yes", vec![(Some(200), None)]));
        assert_eq!(stage.snapshot().await.keys.iter().map(|key| key.in_flight).sum::<u32>(), 0);
    });
}

#[test]
fn a_lease_of_a_key_that_left_in_the_same_instant_is_not_used() {
    in_system(async {
        let stage = Stage::new(&FIVE[..2]);
        let change = Reconcile { ring: Arc::new(ring(&FIVE[1..2])), rules: None };
        // Both messages lie in the mailbox before the actor looks into it: the lease is granted, then its key goes.
        let (run, done) = tokio::join!(
            stage.run(anything(), |_, _| Attempted::Success("yes")),
            stage.keys.reconcile(change, Instant::now() + SECOND),
        );
        assert_eq!((run.found.unwrap(), run.keys), ("yes", vec!["b".to_owned()]));
        assert_eq!(done.unwrap().removed, ["a".into()]);
        let snapshot = stage.snapshot().await;
        assert_eq!((snapshot.counts.in_flight, snapshot.keys[0].totals.leases), (0, 1));
    });
}

#[test]
fn a_quotas_refusal_goes_on_to_the_project_that_has_room() {
    for kind in [
        Kind::QuotaMinute,
        Kind::QuotaDay,
        Kind::QuotaZero,
        Kind::QuotaUnnamed,
        Kind::QuotaBare,
        Kind::SpendingCap,
        Kind::CreditsGone,
    ] {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let searching = || {
                let mut goal = anything();
                goal.request.tools = Tools::NONE.with(Tool::GoogleSearch);
                goal
            };
            let run = stage
                .run(searching(), |_, key| if key == "e" { Attempted::Success("yes") } else { of(kind, key) })
                .await;
            assert_eq!(run.found.unwrap(), "yes", "{kind:?}");
            assert_eq!(run.keys, ["a", "b", "c", "d", "e"]);
            assert_eq!(run.took, Duration::ZERO);
            let next = stage.run(searching(), |_, _| Attempted::Success("yes")).await;
            assert_eq!(next.keys, ["e"], "each refusal is remembered");
        });
    }
}

#[test]
fn where_no_project_has_room_each_is_asked_once_and_the_last_refusal_is_the_answer() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let well = |number, key: &str| {
            if number == 0 { of(Kind::Overloaded, key) } else { Attempted::Success("yes") }
        };
        stage.run(anything(), well).await;
        let run = stage.run(anything(), |_, key| quota(34, key)).await;
        assert_eq!((run.answer().map(|said| &said[..11]), run.keys.len()), (Some("QuotaMinute"), 5));
        let next = stage.run(anything(), |_, key| quota(34, key)).await;
        assert!(next.keys.is_empty() && next.answer().is_none());
        assert!(matches!(next.failure(), Failure::NoKey(Refusal::Cooling { .. })));
    });
}

#[test]
fn refusals_for_want_of_quota_end_at_their_deadline() {
    in_system(async {
        let mut stage = Stage::new(FIVE);
        stage.takes = 4 * SECOND;
        let run = stage.run(anything(), |_, key| quota(34, key)).await;
        assert_eq!((run.answer(), run.took), (Some("QuotaMinute on c"), 12 * SECOND));
        stage.limits.quota_deadline = 4 * SECOND;
        let run = stage.run(anything(), |_, key| quota(34, key)).await;
        assert_eq!(run.keys, ["d"]);
    });
}

#[test]
fn a_wait_for_a_key_ends_at_the_deadline_too() {
    in_system(async {
        let mut stage = Stage::new(&[("a", Some("p")), ("b", Some("p"))]);
        stage.limits.quota_deadline = 3 * SECOND;
        let run = stage.run(anything(), |_, key| quota(5, key)).await;
        assert_eq!((run.answer(), run.took), (Some("QuotaMinute on a"), 3 * SECOND));
        assert_eq!(stage.snapshot().await.counts.waiting, 0);
    });
}

#[test]
fn quota_refusals_do_not_count_among_the_attempts() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage
            .run(
                anything(),
                |number, key| if number < 2 { quota(34, key) } else { of(Kind::Overloaded, key) },
            )
            .await;
        assert_eq!((run.keys.len(), run.answer().is_some()), (5, true));
    });
}

#[test]
fn a_bound_request_waits_for_its_project_and_is_served() {
    for seconds in [1, 2, 8] {
        in_system(async move {
            let stage = Stage::new(&[("a", None), ("b", Some("p")), ("c", Some("p"))]);
            let run =
                stage
                    .run(bound_to("b"), |number, key| {
                        if number == 0 { quota(seconds, key) } else { Attempted::Success("yes") }
                    })
                    .await;
            assert_eq!(run.found.unwrap(), "yes");
            assert_eq!(run.took, Duration::from_secs(seconds));
            assert!(run.keys.iter().all(|key| key != "a"), "{:?}", run.keys);
        });
    }
}

#[test]
fn a_bound_request_does_not_wait_for_long_nor_for_ever() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage.run(bound_to("b"), |_, key| quota(34, key)).await;
        assert_eq!((run.answer(), run.took), (Some("QuotaMinute on b"), Duration::ZERO));
        let run = stage.run(bound_to("c"), |_, key| quota(1, key)).await;
        assert_eq!((run.answer(), run.keys.len(), run.took), (Some("QuotaMinute on c"), 3, 2 * SECOND));
    });
}

#[test]
fn the_waits_of_all_attempts_together_are_bounded() {
    in_system(async {
        let mut stage = Stage::with(FIVE, Settings { max_wait: 10 * SECOND, ..exact() });
        stage.limits = RetryLimits { max_attempts: 9, quota_deadline: 60 * SECOND, ..LIMITS };
        let run = stage.run(bound_to("c"), |_, key| quota(4, key)).await;
        assert_eq!((run.keys.len(), run.took), (3, 8 * SECOND));
    });
}

#[test]
fn retries_of_a_models_faults_have_a_budget() {
    in_system(async {
        let stage = Stage::with(FIVE, Settings { model_fault_threshold: 1_000, ..exact() });
        let mut attempts = 0;
        for _ in 0..8 {
            attempts += stage.run(anything(), |_, key| of(Kind::Overloaded, key)).await.keys.len();
        }
        assert!((9..=13).contains(&attempts), "{attempts}");
    });
}

#[test]
fn a_request_larger_than_the_refused_quota_is_not_tried_where_that_is_the_limit() {
    let refusal = |unit, limit| {
        let quota =
            Quota { id: "".into(), unit, window: QuotaWindow::Minute, limit: Some(limit), model: None };
        Fault { quotas: vec![quota], ..fault(Kind::QuotaMinute, Wait::For(2 * SECOND)) }
    };
    for (unit, limit, tokens, attempts) in [
        (QuotaUnit::InputTokens, 1_000, 2_000, 1),
        (QuotaUnit::InputTokens, 1_000, 900_000, 1),
        (QuotaUnit::InputTokens, 1_000, 1_000, 5),
        (QuotaUnit::Requests, 5, 2_000, 5),
    ] {
        in_system(async move {
            let limits = vec![Limit { tpm: Some(1_000), ..Limit::default() }];
            let stage = Stage::with(FIVE, Settings { limits, ..exact() });
            let large = |reach| {
                let mut goal = goal(Repeat::Freely, reach);
                goal.request.input_tokens = tokens;
                goal
            };
            let run = stage.run(large(Reach::Any), |_, key| answers(refusal(unit, limit), key)).await;
            assert_eq!((run.keys.len(), run.took), (attempts, Duration::ZERO), "{unit:?} {limit} {tokens}");
            assert!(run.answer().is_some());
        });
    }
    in_system(async move {
        let stage = Stage::new(FIVE);
        let mut goal = bound_to("c");
        goal.request.input_tokens = 5_000;
        let run = stage.run(goal, |_, key| answers(refusal(QuotaUnit::InputTokens, 1_000), key)).await;
        assert_eq!((run.keys.len(), run.took), (1, Duration::ZERO), "no wait will make room");
    });
}

#[test]
fn a_models_fault_is_tried_again_after_a_growing_pause_up_to_the_setting() {
    for max_attempts in [1, 2, 3] {
        in_system(async move {
            let mut stage = Stage::new(FIVE);
            stage.limits.max_attempts = max_attempts;
            let run = stage.run(anything(), |_, key| of(Kind::Overloaded, key)).await;
            assert_eq!(run.keys.len(), max_attempts as usize);
            assert!(run.answer().is_some());
            let longest: u32 = (1..max_attempts).map(|made| 200 * 2_u32.pow(made - 1)).sum();
            let (least, most) =
                (Duration::from_millis((longest / 2).into()), Duration::from_millis(longest.into()));
            assert!(run.took >= least && run.took <= most + SECOND / 100, "{:?}", run.took);
        });
    }
}

#[test]
fn a_keys_fault_goes_on_to_keys_not_tried_and_counts() {
    in_system(async {
        let stage = Stage::new(&[("a", Some("p")), ("b", Some("p")), ("c", Some("q")), ("d", Some("q"))]);
        let run = stage.run(anything(), |_, key| of(Kind::KeyInvalid, key)).await;
        assert_eq!((run.keys, run.took), (vec!["a".into(), "b".into(), "c".into()], Duration::ZERO));
        let run = stage.run(anything(), |_, key| of(Kind::KeyInvalid, key)).await;
        assert_eq!((run.keys.len(), run.answer()), (1, Some("KeyInvalid on d")));
        let run = stage.run(anything(), |_, key| of(Kind::KeyInvalid, key)).await;
        assert!(matches!(run.failure(), Failure::NoKey(Refusal::AllRetired)));
    });
}

#[test]
fn a_projects_fault_passes_over_its_other_keys() {
    for kind in [Kind::BillingDisabled, Kind::ServiceDisabled, Kind::ModelWithheld] {
        in_system(async move {
            let stage = Stage::new(&[("a", Some("p")), ("b", Some("p")), ("c", Some("q"))]);
            let run = stage
                .run(
                    anything(),
                    |number, key| {
                        if number == 0 { of(kind, key) } else { Attempted::Success("yes") }
                    },
                )
                .await;
            assert_eq!(run.keys, ["a", "c"], "{kind:?}");
        });
    }
}

#[test]
fn what_is_the_clients_comes_back_at_once() {
    for kind in [Kind::Client, Kind::ResourceUnreachable, Kind::DeadlineExceeded, Kind::Cancelled] {
        assert_eq!(kind.next(), Next::Return);
        in_system(async move {
            let stage = Stage::new(FIVE);
            let run = stage.run(anything(), |_, key| of(kind, key)).await;
            assert_eq!(run.shown, [(Some(418), Some(kind))]);
            assert_eq!(run.took, Duration::ZERO);
        });
    }
}

#[test]
fn what_may_be_tried_once_more_is_tried_once_more() {
    for kind in [Kind::Internal, Kind::Forbidden, Kind::LocationUnsupported, Kind::ProjectUnfit] {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let run = stage.run(anything(), |_, key| of(kind, key)).await;
            assert_eq!(run.keys.len(), 2, "{kind:?}");
        });
    }
    for (kind, failure) in [(Kind::HeadLost, Failure::HeadLost), (Kind::BodyLost, Failure::BodyLost)] {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let run = stage.run(anything(), |_, _| silent(kind, failure.clone())).await;
            assert_eq!((run.keys.len(), run.failure()), (2, &failure));
        });
    }
}

#[test]
fn what_limits_requests_without_a_word_of_googles_is_tried_on_so_many_keys_and_no_more() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage.run(anything(), |_, key| of(Kind::RateLimited, key)).await;
        assert_eq!((run.keys.len(), run.answer()), (3, Some("RateLimited on c")));
        let next = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert_eq!(next.keys, ["d"], "what was refused is left alone for a moment");
    });
}

#[test]
fn what_was_not_processed_is_sent_again_at_once_creations_too() {
    for (repeat, attempts) in
        [(Repeat::Freely, 3), (Repeat::IfAnswered, 3), (Repeat::IfUnprocessed, 3), (Repeat::Never, 1)]
    {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let lost = |_: usize, _: &str| silent(Kind::NotDone, Failure::HeadLost);
            let run = stage.run(goal(repeat, Reach::Any), lost).await;
            assert_eq!((run.keys.len(), run.took), (attempts, Duration::ZERO), "{repeat:?}");
            assert_eq!(stage.snapshot().await.counts.available, 5);
        });
    }
}

#[test]
fn what_never_went_out_is_sent_again_after_a_breath() {
    for (repeat, attempts) in
        [(Repeat::Freely, 3), (Repeat::IfAnswered, 3), (Repeat::IfUnprocessed, 3), (Repeat::Never, 1)]
    {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let refused = |_: usize, _: &str| silent(Kind::ConnectFailed, Failure::Unreachable);
            let run = stage.run(goal(repeat, Reach::Any), refused).await;
            assert_eq!((run.keys.len(), run.failure()), (attempts, &Failure::Unreachable), "{repeat:?}");
            assert!(run.took <= SECOND / 50, "{:?}", run.took);
        });
    }
}

#[test]
fn what_makes_something_is_not_sent_again_when_its_fate_is_unknown() {
    for kind in [Kind::HeadLost, Kind::BodyLost, Kind::NotGoogle] {
        for (repeat, attempts) in
            [(Repeat::Freely, 2), (Repeat::IfAnswered, 1), (Repeat::IfUnprocessed, 1), (Repeat::Never, 1)]
        {
            in_system(async move {
                let stage = Stage::new(FIVE);
                let lost = |_: usize, _: &str| silent(kind, Failure::HeadLost);
                let run = stage.run(goal(repeat, Reach::Any), lost).await;
                assert_eq!(run.keys.len(), attempts, "{kind:?} {repeat:?}");
            });
        }
    }
}

#[test]
fn what_can_be_used_once_is_not_sent_again_after_an_answer() {
    for (repeat, attempts) in [(Repeat::IfAnswered, 5), (Repeat::IfUnprocessed, 1), (Repeat::Never, 1)] {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let run = stage.run(goal(repeat, Reach::Any), |_, key| quota(34, key)).await;
            assert_eq!(run.keys.len(), attempts, "{repeat:?}");
        });
    }
}

#[test]
fn an_answer_that_does_not_begin_is_not_waited_for_again() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage.run(anything(), |_, _| silent(Kind::HeadLost, Failure::HeadTimeout)).await;
        assert_eq!((run.keys.len(), run.failure()), (1, &Failure::HeadTimeout));
    });
}

#[test]
fn the_upstreams_last_answer_outlives_attempts_without_one() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage
            .run(anything(), |number, key| match number {
                0 => of(Kind::Overloaded, key),
                1 => quota(34, key),
                _ => silent(Kind::ConnectFailed, Failure::Unreachable),
            })
            .await;
        assert_eq!(run.answer(), Some("QuotaMinute on b"));
        assert_eq!((run.keys.len(), run.shown.last()), (4, Some(&(None, Some(Kind::ConnectFailed)))));
    });
}

#[test]
fn an_answer_that_says_nothing_is_tried_once_more_where_it_may_be() {
    for (repeat, attempts) in [(Repeat::Freely, 2), (Repeat::IfAnswered, 1), (Repeat::Never, 1)] {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let run = stage.run(goal(repeat, Reach::Any), |_, _| Attempted::Empty("nothing")).await;
            assert_eq!((run.found.unwrap(), run.keys.len()), ("nothing", attempts), "{repeat:?}");
        });
    }
    in_system(async {
        let stage = Stage::new(FIVE);
        let run = stage
            .run(
                anything(),
                |number, key| {
                    if number == 0 { Attempted::Empty("nothing") } else { silent_on(key) }
                },
            )
            .await;
        assert_eq!(run.answer(), Some("nothing set aside"), "better than none");
    });
}

fn silent_on(_: &str) -> Does {
    silent(Kind::HeadLost, Failure::HeadTimeout)
}

/// An answer that does not show by itself whom it speaks of.
fn unproven(kind: Kind, key: &str) -> Does {
    answers(fault(kind, Wait::None), key)
}

const UNPROVEN: [Kind; 3] = [Kind::Forbidden, Kind::MethodBlocked, Kind::KeyRestricted];

#[test]
fn what_google_forbids_on_every_key_is_held_against_none() {
    for kind in UNPROVEN.into_iter().chain([Kind::KeyUnauthenticated]) {
        for model in [Some(MODEL), None] {
            in_system(async move {
                let stage = Stage::new(FIVE);
                for _ in 0..20 {
                    let mut goal = anything();
                    goal.request.model = model.map(Arc::from);
                    let run = stage.run(goal, |_, key| unproven(kind, key)).await;
                    assert!(run.answer().is_some() && run.keys.len() > 1, "{kind:?}");
                }
                let snapshot = stage.snapshot().await;
                assert_eq!((snapshot.counts.available, snapshot.counts.in_flight), (5, 0), "{kind:?}");
                let run = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
                assert_eq!((run.keys.len(), run.took), (1, Duration::ZERO), "{kind:?}");
            });
        }
    }
}

#[test]
fn what_another_key_has_served_was_the_forbidden_keys_own() {
    for (kind, cools_whole) in
        [(Kind::Forbidden, false), (Kind::MethodBlocked, false), (Kind::KeyRestricted, true)]
    {
        in_system(async move {
            let stage = Stage::new(FIVE);
            let serving = |_: usize, key: &str| {
                if key == "a" { unproven(kind, key) } else { Attempted::Success("yes") }
            };
            assert_eq!(stage.run(anything(), serving).await.keys, ["a", "b"], "{kind:?}");
            for _ in 0..10 {
                assert_eq!(stage.run(anything(), serving).await.keys.len(), 1, "{kind:?}: left alone");
            }
            let snapshot = stage.snapshot().await;
            assert_eq!(
                snapshot.counts.cooling,
                usize::from(cools_whole),
                "{kind:?}: other models are served"
            );
            assert_eq!(snapshot.counts.in_flight, 0);
        });
    }
}

#[test]
fn what_a_project_of_its_own_may_do_is_held_against_no_other() {
    let serving = |_: usize, key: &str| {
        if key == "c" { Attempted::Success("yes") } else { unproven(Kind::Forbidden, key) }
    };
    // Asked for without a model.
    in_system(async move {
        let stage = Stage::new(&[("a", None), ("c", None)]);
        let without = || {
            let mut goal = anything();
            goal.request.model = None;
            goal
        };
        for _ in 0..6 {
            assert_eq!(stage.run(without(), serving).await.found.unwrap(), "yes");
        }
        let all_served = (0..2).map(|_| stage.run(without(), |_, _| Attempted::Success("yes")));
        for run in all_served {
            assert_eq!(run.await.keys.len(), 1);
        }
    });
    // By another key of the same project.
    in_system(async move {
        let stage = Stage::new(&[("a", Some("p")), ("c", Some("p"))]);
        assert_eq!(stage.run(anything(), serving).await.keys, ["a", "c"]);
        let next = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert_eq!(next.found.unwrap(), "yes", "the project is well");
    });
}

#[test]
fn a_bound_request_that_is_forbidden_is_asked_once() {
    in_system(async {
        let stage = Stage::new(&[("a", Some("p")), ("b", Some("p"))]);
        let run = stage.run(bound_to("a"), |_, key| unproven(Kind::Forbidden, key)).await;
        assert_eq!(run.keys.len(), 1);
        let run = stage.run(bound_to("a"), |_, key| unproven(Kind::KeyRestricted, key)).await;
        assert_eq!(run.keys.len(), 2, "another key of the project may be free of it");
        assert_eq!(stage.snapshot().await.counts.available, 2);
    });
}

#[test]
fn a_key_that_is_not_accepted_is_retired_only_if_it_is_refused_elsewhere_too() {
    in_system(async {
        let mut stage = Stage::new(FIVE);
        stage.refuses = &["b"];
        let run = stage.run(anything(), |_, key| unproven(Kind::KeyUnauthenticated, key)).await;
        assert_eq!(run.keys, ["a", "b", "c"]);
        let snapshot = stage.snapshot().await;
        assert_eq!((snapshot.counts.retired, snapshot.counts.available), (1, 4));
    });
}

#[test]
fn a_refusal_that_blames_nobody_ends_the_search() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let run =
            stage.run(anything(), |_, _| Attempted::Refused(Said("no".into()), Some(StatusCode::OK))).await;
        assert_eq!((run.answer(), run.shown.clone()), (Some("no"), vec![(Some(200), None)]));
    });
}

#[test]
fn a_preferred_project_serves_the_first_attempt_if_it_can_at_once() {
    in_system(async {
        let stage = Stage::new(FIVE);
        let near = || Goal { prefer: Some("c".into()), ..anything() };
        let first = stage.run(near(), |_, key| quota(5, key)).await;
        assert_eq!((first.keys[0].as_str(), first.keys.len()), ("c", 5));
        for seconds in [5, 600] {
            let mut stage = Stage::new(FIVE);
            stage.limits.max_attempts = 1;
            stage.run(bound_to("c"), |_, key| quota(seconds, key)).await;
            let second = stage.run(near(), |_, _| Attempted::Success("yes")).await;
            assert_eq!((second.keys.len(), second.took), (1, Duration::ZERO));
            assert_ne!(second.keys[0], "c");
        }
    });
}

#[test]
fn an_attempt_that_is_cut_short_is_recorded_and_blames_nobody() {
    in_system(async {
        let mut stage = Stage::new(FIVE);
        stage.takes = 60 * SECOND;
        let record = AttemptRecord::since(std::time::Instant::now());
        {
            let does = |_: usize, _: &str| Attempted::Success("late");
            let upstream = Upstream { does, keys: RefCell::default(), takes: stage.takes, refuses: &[] };
            let Stage { keys, last_answers, limits, .. } = &stage;
            let attempts = Attempts { keys, limits: *limits, last_answers, record: &record };
            let found = tokio::time::timeout(SECOND, attempts.run(anything(), &upstream)).await;
            assert!(found.is_err());
        }
        let attempts = record.into_attempts();
        assert_eq!(attempts.len(), 1);
        assert_eq!((attempts[0].key.as_str(), attempts[0].status, attempts[0].fault), ("a", None, None));
        let snapshot = stage.snapshot().await;
        assert_eq!(snapshot.keys.iter().map(|key| key.in_flight).sum::<u32>(), 0);
    });
}

#[test]
fn a_model_that_is_left_alone_is_answered_for_with_what_was_said_last() {
    in_system(async {
        let stage = Stage::new(FIVE);
        for _ in 0..30 {
            stage.run(anything(), |_, key| of(Kind::Overloaded, key)).await;
        }
        let run = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert!(run.keys.is_empty());
        assert!(run.answer().is_some_and(|answer| answer.starts_with("Overloaded on ")));
        assert!(run.found.unwrap_err().is_of_model());
    });
}

#[test]
fn a_way_that_is_gone_is_told_with_the_time_to_come_back() {
    in_system(async {
        let mut stage = Stage::new(FIVE);
        stage.limits.max_attempts = 100;
        let run = stage.run(anything(), |_, _| silent(Kind::ConnectFailed, Failure::Unreachable)).await;
        assert_eq!(run.shown.last(), Some(&(None, Some(Kind::ConnectFailed))));
        assert!(matches!(run.failure(), Failure::NoKey(Refusal::RouteDown { .. })), "{:?}", run.failure());
        assert!(run.keys.len() < 30, "{:?}", run.keys);
        let bound = stage.run(bound_to("b"), |_, _| Attempted::Success("yes")).await;
        assert!(matches!(bound.failure(), Failure::NoKey(Refusal::RouteDown { .. })));
        sleep(2 * SECOND).await;
        let back = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert_eq!(back.found.unwrap(), "yes");
    });
}

#[cfg(debug_assertions)]
#[test]
fn a_pool_that_does_not_answer_is_told_as_such() {
    in_system(async {
        let stage = Stage::new(FIVE);
        stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        for _ in 0..2 {
            stage.keys.panic();
            sleep(SECOND).await;
        }
        let run = stage.run(anything(), |_, _| Attempted::Success("yes")).await;
        assert_eq!((run.failure(), run.keys.len()), (&Failure::PoolSilent, 0));
    });
}

//! What follows a failed attempt. Used only while the client has seen no byte; `Attempts::run` does what it says.

use super::Failed;
use crate::failure::Failure;
use gemini::{
    fault::{Fault, Kind, Next, Proof, Scope},
    operation::Ownership,
    path::Target,
};
use http::Method;
use keypool::Avoid;
use std::time::Duration;
use tokio::time::Instant;

/// How hard a request is tried.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    /// Attempts for one request, the first included. Quota refusals that another project may make good do not count.
    pub max_attempts: u32,
    /// How long after its first attempt a request that is refused for want of quota is still tried elsewhere.
    pub quota_deadline: Duration,
    /// How long one request may wait for a lease before the key manager counts as silent.
    pub lease_deadline: Duration,
}

/// When a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After any fault: twice is as good as once.
    Freely,
    /// Where the upstream has said what became of it. It makes something, and there could be two then.
    IfAnswered,
    /// Where it certainly did nothing: what it carries can be used once.
    IfUnprocessed,
    /// Never: its body passes as it comes.
    Never,
}

impl Repeat {
    /// Returns when a request that is held whole may be sent again.
    pub(crate) fn of(method: &Method, target: &Target) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if reads || target.operation.ownership == Ownership::Free { Self::Freely } else { Self::IfAnswered }
    }

    /// Tells whether a request that met this fault may be sent again.
    fn allows(self, kind: Kind) -> bool {
        match self {
            Self::Freely => true,
            // An answer that is not Google's may have come after Google had acted.
            Self::IfAnswered => !matches!(kind, Kind::HeadLost | Kind::BodyLost | Kind::NotGoogle),
            Self::IfUnprocessed => matches!(kind, Kind::NotDone | Kind::ConnectFailed),
            Self::Never => false,
        }
    }
}

/// What comes after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Give the client what there is.
    GiveUp,
    /// Try on a key not tried yet.
    OtherKey(Avoid),
    /// Try on any key that can serve the request after a pause, as soon as the pool has one.
    AnyKey(Duration),
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Tries {
    limits: RetryLimits,
    repeat: Repeat,
    /// Whether only one project can serve it.
    bound: bool,
    /// When the first attempt began.
    begun: Option<Instant>,
    /// The attempts that count against `max_attempts`.
    counted: u32,
    /// Whether what may be tried again once was.
    once_spent: bool,
    /// Whether the last fault was a refusal for want of quota.
    quota_refused: bool,
}

impl Tries {
    pub(crate) fn new(limits: RetryLimits, repeat: Repeat, bound: bool) -> Self {
        Self { limits, repeat, bound, begun: None, counted: 0, once_spent: false, quota_refused: false }
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
        self.counted += 1;
        self.quota_refused = false;
    }

    /// Returns until when the next lease is worth waiting for, after a refusal for want of quota.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        self.begun.filter(|_| self.quota_refused).map(|begun| begun + self.limits.quota_deadline)
    }

    /// Tells whether an answer that says nothing may be followed by another attempt: once.
    pub(crate) fn again_for_nothing(&mut self) -> bool {
        let again = self.repeat == Repeat::Freely && self.has_attempts() && !self.once_spent;
        self.once_spent |= again;
        again
    }

    /// Says what to do after a failed attempt. `chance` is uniform in 0..1 and spreads the pauses.
    pub(crate) fn after<A>(&mut self, failed: &Failed<A>, now: Instant, chance: f64) -> Step {
        let kind = failed.fault.kind;
        // Its time is spent: another attempt would take as long again.
        let is_late = failed.answer.is_none() && failed.failure == Failure::HeadTimeout;
        if is_late || !self.repeat.allows(kind) {
            return Step::GiveUp;
        }
        if kind.is_quota() {
            return self.after_quota(&failed.fault, now);
        }
        if !self.has_attempts() {
            return Step::GiveUp;
        }
        let made = self.counted;
        match (kind, kind.next()) {
            // Nothing was done, and nothing is wrong: at once.
            (Kind::NotDone, _) => Step::AnyKey(Duration::ZERO),
            // Nothing was sent, and no key is to blame: at once but for a breath.
            (Kind::ConnectFailed, _) => Step::AnyKey(pause(Duration::from_millis(5), made, chance)),
            (_, Next::Return) => Step::GiveUp,
            // What it asks for is that project's, and the answer may speak of that.
            (Kind::Forbidden | Kind::ProjectUnfit, _) if self.bound => Step::GiveUp,
            (_, Next::OtherKeyOnce | Next::PauseOnce) if self.once_spent => Step::GiveUp,
            (_, next @ (Next::OtherKey | Next::OtherKeyOnce)) => {
                self.once_spent |= next == Next::OtherKeyOnce;
                self.elsewhere(kind)
            }
            (_, next @ (Next::Pause | Next::PauseOnce)) => {
                self.once_spent |= next == Next::PauseOnce;
                Step::AnyKey(pause(Duration::from_millis(200), made, chance))
            }
        }
    }

    /// Goes on to the next project until none with room is left: refusals are cheap, and the pool remembers each. In the
    /// only project that can serve the request its quota is waited for.
    fn after_quota(&mut self, fault: &Fault, now: Instant) -> Step {
        self.quota_refused = true;
        let is_late = self.begun.is_none_or(|begun| now >= begun + self.limits.quota_deadline);
        if is_late || (self.bound && !self.has_attempts()) {
            return Step::GiveUp;
        }
        if !self.bound {
            self.counted -= 1;
        }
        self.elsewhere(fault.kind)
    }

    /// On another key, where one may do better.
    fn elsewhere(&self, kind: Kind) -> Step {
        match kind.scope() {
            // One of the project's other keys may do what this one may not.
            _ if kind.proof() != Proof::Answer && self.bound => Step::OtherKey(Avoid::Nothing),
            // The project is the only one that can serve the request: its keys may have to be waited for.
            scope if is_of_project(scope) && self.bound => Step::AnyKey(Duration::ZERO),
            scope if is_of_project(scope) => Step::OtherKey(Avoid::TriedProjects),
            _ => Step::OtherKey(Avoid::Nothing),
        }
    }

    fn has_attempts(&self) -> bool {
        self.counted < self.limits.max_attempts
    }
}

/// Tells whether a fault holds for all keys of a project.
fn is_of_project(scope: Scope) -> bool {
    matches!(scope, Scope::Project | Scope::ProjectModel | Scope::ProjectTool | Scope::Billing)
}

/// Doubles with every try made; between half of it and the whole, so that clients do not come back in step.
fn pause(first: Duration, made: u32, chance: f64) -> Duration {
    let full = first * 2u32.pow(made.saturating_sub(1).min(6));
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini::{
        fault::Wait,
        path::{CredentialForm, parse},
    };

    const LIMITS: RetryLimits = RetryLimits {
        max_attempts: 9,
        quota_deadline: Duration::from_secs(10),
        lease_deadline: Duration::from_secs(15),
    };

    fn failed(kind: Kind) -> Failed<()> {
        let fault = Fault { kind, wait: Wait::None, quotas: Vec::new(), project: None };
        Failed { fault, status: None, answer: Some(()), failure: Failure::HeadLost }
    }

    #[test]
    fn a_quotas_refusal_leads_to_another_project_until_its_deadline() {
        let begun = Instant::now();
        let mut tries = Tries::new(LIMITS, Repeat::Freely, false);
        assert_eq!(tries.lease_until(), None);
        for (seconds, step) in [
            (0, Step::OtherKey(Avoid::TriedProjects)),
            (9, Step::OtherKey(Avoid::TriedProjects)),
            (10, Step::GiveUp),
            (11, Step::GiveUp),
        ] {
            let now = begun + Duration::from_secs(seconds);
            tries.begin(if seconds == 0 { begun } else { now });
            assert_eq!(tries.after(&failed(Kind::QuotaMinute), now, 0.0), step, "{seconds}");
            assert_eq!(tries.lease_until(), Some(begun + LIMITS.quota_deadline));
        }
        tries.begin(begun);
        tries.after(&failed(Kind::Overloaded), begun, 0.0);
        assert_eq!(tries.lease_until(), None, "only a quota has this deadline");
    }

    #[test]
    fn what_reads_or_makes_nothing_is_repeated_freely_and_what_makes_something_is_not() {
        for (method, path, repeat) in [
            ("GET", "/v1beta/models", Repeat::Freely),
            ("GET", "/v1beta/files/a", Repeat::Freely),
            ("HEAD", "/v1beta/files/a", Repeat::Freely),
            ("POST", "/v1beta/models/m:generateContent", Repeat::Freely),
            ("POST", "/v1beta/models/m:countTokens", Repeat::Freely),
            ("POST", "/v1beta/cachedContents", Repeat::IfAnswered),
            ("POST", "/v1beta/models/m:batchGenerateContent", Repeat::IfAnswered),
            ("DELETE", "/v1beta/files/a", Repeat::IfAnswered),
        ] {
            let target = parse(method, path, None, CredentialForm::GoogHeader).unwrap();
            let method = method.parse().unwrap();
            assert_eq!(Repeat::of(&method, &target), repeat, "{method} {path}");
        }
    }

    #[test]
    fn pauses_double_and_are_spread_over_their_second_half() {
        for (chance, pauses) in [(0.0, [100, 200, 400]), (0.5, [150, 300, 600]), (1.0, [200, 400, 800])] {
            let mut tries = Tries::new(LIMITS, Repeat::Freely, false);
            for pause in pauses {
                tries.begin(Instant::now());
                let step = tries.after(&failed(Kind::Overloaded), Instant::now(), chance);
                assert_eq!(step, Step::AnyKey(Duration::from_millis(pause)));
            }
        }
    }

    #[test]
    fn a_projects_fault_avoids_it_and_a_keys_does_not() {
        for (kind, bound, step) in [
            (Kind::KeyInvalid, false, Step::OtherKey(Avoid::Nothing)),
            (Kind::KeyInvalid, true, Step::OtherKey(Avoid::Nothing)),
            (Kind::BillingDisabled, false, Step::OtherKey(Avoid::TriedProjects)),
            (Kind::ModelWithheld, false, Step::OtherKey(Avoid::TriedProjects)),
            (Kind::CreditsGone, false, Step::OtherKey(Avoid::TriedProjects)),
            (Kind::QuotaUnnamed, false, Step::OtherKey(Avoid::TriedProjects)),
            (Kind::ServiceDisabled, true, Step::AnyKey(Duration::ZERO)),
            (Kind::QuotaDay, true, Step::AnyKey(Duration::ZERO)),
        ] {
            let mut tries = Tries::new(LIMITS, Repeat::Freely, bound);
            tries.begin(Instant::now());
            assert_eq!(tries.after(&failed(kind), Instant::now(), 0.0), step, "{kind:?} {bound}");
        }
    }
}

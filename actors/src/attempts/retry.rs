//! When a failed attempt is followed by another. Used only while the client has seen no byte.

use gemini::{
    fault::{Fault, Kind, Next},
    operation::Ownership,
    path::Target,
};
use http::Method;
use std::time::Duration;

/// What comes after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Give the client what there is.
    GiveUp,
    /// Try on a key not tried yet.
    OtherKey,
    /// Try on any key after a pause; the key was not at fault.
    AfterPause(Duration),
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Tries {
    made: u32,
    max: u32,
    once_spent: bool,
    replayable: bool,
}

impl Tries {
    /// `max` is `retry.max_attempts`, the first try included.
    pub(crate) fn new(max: u32, method: &Method, target: &Target) -> Self {
        // What makes a resource is not sent again when nobody knows what became of it: there could be two then.
        let replayable = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
            || target.operation.ownership == Ownership::Free;
        Self { made: 0, max, once_spent: false, replayable }
    }

    pub(crate) fn begin(&mut self) {
        self.made += 1;
    }

    /// Whether an answer that says nothing may be followed by another attempt: once.
    pub(crate) fn again_for_nothing(&mut self) -> bool {
        let again = self.replayable && self.made < self.max && !self.once_spent;
        self.once_spent |= again;
        again
    }

    /// What to do after `fault`. `chance` is uniform in 0..1 and spreads the pauses.
    pub(crate) fn after(&mut self, fault: &Fault, chance: f64) -> Step {
        if self.made >= self.max {
            return Step::GiveUp;
        }
        match (fault.kind, fault.kind.next()) {
            // Nothing was sent, and no key is to blame: at once but for a breath.
            (Kind::ConnectFailed, _) => Step::AfterPause(pause(Duration::from_millis(5), self.made, chance)),
            // Something was sent, and it is not known what became of it.
            (Kind::HeadLost | Kind::BodyLost, _) if !self.replayable => Step::GiveUp,
            (_, Next::Return) => Step::GiveUp,
            (_, Next::OtherKey) => Step::OtherKey,
            (_, Next::Pause) => Step::AfterPause(pause(Duration::from_millis(200), self.made, chance)),
            (_, Next::OtherKeyOnce | Next::PauseOnce) if self.once_spent => Step::GiveUp,
            (_, Next::OtherKeyOnce) => {
                self.once_spent = true;
                Step::OtherKey
            }
            (_, Next::PauseOnce) => {
                self.once_spent = true;
                Step::AfterPause(pause(Duration::from_millis(200), self.made, chance))
            }
        }
    }
}

/// Doubles with every try made; between half of it and the whole, so that clients do not come back in step.
fn pause(first: Duration, made: u32, chance: f64) -> Duration {
    let full = first * 2u32.pow(made.saturating_sub(1).min(6));
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

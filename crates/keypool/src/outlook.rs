//! When a request for which no key can be leased now may hope for one: the honest answer behind every `Retry-After`, and
//! what decides between waiting and refusing. Only reads the roster.

use std::time::Duration;

use crate::cooldown::Cooldown;
use crate::key::KeyIx;
use crate::lease_request::{LeaseRequest, Reach};
use crate::roster::Roster;

/// What is said of a key that is only held back by somebody's probe: the report may come at any moment.
const PROBE_GUESS: Duration = Duration::from_secs(1);
/// When a request may hope for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Monotonic.
    Back(Hope),
    /// All of its keys that are not retired have been tried.
    NoneLeft,
    /// All of its keys are retired or disabled.
    AllRetired,
}

/// The times that a request without a key may hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hope {
    /// The first of its keys is back then, or not before then; now, when a probe's report is awaited.
    pub back: Duration,
    /// The next time at which one of its keys may be back by time alone.
    pub next: Option<Duration>,
}

/// What a request is told that gets no key now, when the first may be back then.
pub(crate) fn back_in(back: Duration, now: Duration) -> Duration {
    match back.saturating_sub(now) {
        Duration::ZERO => PROBE_GUESS,
        back_in => back_in,
    }
}

impl Roster {
    /// When this request may hope for a key, if none can be leased now.
    pub(crate) fn outlook(&self, request: &LeaseRequest, now: Duration) -> Outlook {
        match &request.reach {
            Reach::Any => self.outlook_among((0..).map(KeyIx).take(self.keys.len()), request, now),
            Reach::ProjectOf(key) => self.find(key).map_or(Outlook::NoneLeft, |key| {
                self.outlook_among(self.members(self.project(key)).iter().copied(), request, now)
            }),
            Reach::Only(key) => self
                .find(key)
                .map_or(Outlook::NoneLeft, |key| self.outlook_among(std::iter::once(key), request, now)),
        }
    }

    fn outlook_among(
        &self,
        keys: impl Iterator<Item = KeyIx>,
        request: &LeaseRequest,
        now: Duration,
    ) -> Outlook {
        let trouble = self.troubles.get(&request.model);
        let room = self.headroom(self.models.find(&request.model), request.input_tokens, now);
        let mut outlook = Outlook::AllRetired;
        for ix in keys {
            let key = &self.keys[ix.position()];
            let in_model = trouble.and_then(|trouble| trouble.cooldowns.get(&key.project));
            let cooldowns = [Some(&key.cooldown), Some(self.project_cooldown(key.project)), in_model];
            let in_tools =
                request.tools.iter().map(|tool| self.tools[tool as usize].cooldowns.get(&key.project));
            let back = cooldowns
                .into_iter()
                .chain(in_tools)
                .flatten()
                .try_fold(room.opens(key.project), |back, cooldown| Some(back.max(cooldown.back_at(now)?)));
            outlook = match (back, outlook) {
                _ if key.disabled => outlook,
                (None, _) => outlook,
                (Some(_), Outlook::AllRetired) if request.tried.contains(&key.id) => Outlook::NoneLeft,
                (Some(_), _) if request.tried.contains(&key.id) => outlook,
                (Some(back), outlook) => {
                    let next = Some(back).filter(|back| *back > now);
                    Outlook::Back(match outlook {
                        Outlook::Back(hope) => {
                            Hope { back: hope.back.min(back), next: hope.next.into_iter().chain(next).min() }
                        }
                        _ => Hope { back, next },
                    })
                }
            };
        }
        outlook
    }
}

impl Cooldown {
    /// When this may let a lease through. `None` for never.
    pub(crate) fn back_at(&self, now: Duration) -> Option<Duration> {
        match self {
            Self::Open | Self::Probation { .. } => Some(now),
            Self::Cooling { until, .. } => Some(*until),
            Self::Retired { .. } => None,
        }
    }
}

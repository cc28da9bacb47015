//! When a request for which no key can be leased now may hope for one: the honest answer behind every `Retry-After`, and
//! what decides between waiting and refusing. Only reads the roster.

use std::time::Duration;

use crate::answer::Refusal;
use crate::company::Company;
use crate::cooldowns::Cooldown;
use crate::counters::Headroom;
use crate::ids::{KeyIx, ProjectIx};
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
    /// None of its keys is there to be used.
    Unusable(Unusable),
}

/// Why none of a request's keys is there to be used; the later is the one to tell where several are true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unusable {
    /// There is none that it may use.
    NoneAllowed,
    /// The operator has disabled them.
    AllDisabled,
    /// All that are not disabled are retired.
    AllRetired,
}

impl From<Unusable> for Refusal {
    fn from(why: Unusable) -> Self {
        match why {
            Unusable::NoneAllowed => Self::NoneAllowed,
            Unusable::AllDisabled => Self::AllDisabled,
            Unusable::AllRetired => Self::AllRetired,
        }
    }
}

impl Outlook {
    /// The same with a key that is not there to be used for this reason.
    fn without(self, why: Unusable) -> Self {
        match self {
            Self::Unusable(other) => Self::Unusable(other.max(why)),
            outlook => outlook,
        }
    }
}

/// The times that a request without a key may hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hope {
    /// The first of its keys is back then, or not before then; now, when a probe's report is awaited.
    pub back: Duration,
    /// The project of that key.
    pub project: ProjectIx,
    /// The next time at which one of its keys may be back by time alone.
    pub next: Option<Duration>,
    /// A key that only a probe keeps away which nobody has claimed.
    pub claim: Option<KeyIx>,
    /// Whether a call to the store that gives out slices may bring one.
    pub draw: bool,
}

/// What a request is told that gets no key now, when the first may be back then.
pub(crate) fn back_in(back: Duration, now: Duration) -> Duration {
    match back.saturating_sub(now) {
        Duration::ZERO => PROBE_GUESS,
        back_in => back_in,
    }
}

impl Roster {
    /// Returns the refusal of a request that may hope for this, and may not wait for it.
    pub(crate) fn cooling(&self, request: &LeaseRequest, hope: Hope, now: Duration) -> Refusal {
        let quota = self.cooldowns.quota_of(hope.project, &request.model).cloned();
        Refusal::Cooling { back_in: back_in(hope.back, now), quota }
    }

    /// When this request, which has waited so long, may hope for a key, if none can be leased now.
    pub(crate) fn outlook(&self, request: &LeaseRequest, waited: Duration, now: Duration) -> Outlook {
        let room = self.counters.headroom(self.counters.model(&request.model), request, waited, now);
        match &request.reach {
            Reach::Any => self.outlook_among(self.members.iter().map(|(key, _)| key), request, &room),
            Reach::ProjectOf(key) => self.find(key).map_or(Outlook::NoneLeft, |key| {
                self.outlook_among(self.members.of(self.project(key)).iter().copied(), request, &room)
            }),
            Reach::Only(key) => self
                .find(key)
                .map_or(Outlook::NoneLeft, |key| self.outlook_among(std::iter::once(key), request, &room)),
        }
    }

    fn outlook_among(
        &self,
        keys: impl Iterator<Item = KeyIx>,
        request: &LeaseRequest,
        room: &Headroom<'_>,
    ) -> Outlook {
        let Self { members, cooldowns, .. } = self;
        let now = room.now;
        let together = self.company == Company::Together;
        let mut outlook = Outlook::Unusable(Unusable::NoneAllowed);
        for ix in keys {
            let key = members.get(ix);
            let project = key.project;
            let standing = [
                Some(cooldowns.of_key(ix)),
                Some(cooldowns.of_project(project)),
                cooldowns.of_model(project, &request.model),
            ];
            let back = standing
                .into_iter()
                .chain(request.tools.iter().map(|tool| cooldowns.of_tool(project, tool)))
                .flatten()
                .try_fold(room.opens(project, members), |back, cooldown: &Cooldown| {
                    Some(back.max(cooldown.back_at(now)?))
                });
            outlook = match (back, outlook) {
                _ if !request.may_use(&key.id) => outlook,
                _ if cooldowns.is_disabled(ix) => outlook.without(Unusable::AllDisabled),
                (None, _) => outlook.without(Unusable::AllRetired),
                (Some(_), _) if request.tried.contains(&key.id) || !room.may_hold(project, members) => {
                    match outlook {
                        Outlook::Unusable(_) => Outlook::NoneLeft,
                        outlook => outlook,
                    }
                }
                (Some(back), outlook) => {
                    let next = Some(back).filter(|back| *back > now);
                    // It is looked for where there may be one, and no further than the first.
                    let known = matches!(outlook, Outlook::Back(Hope { claim: Some(_), .. }));
                    // A slice is drawn once the claim is won: until then nobody holds one of what cooled.
                    let may_have_room =
                        || room.opens(project, members) <= now || room.draws_from(project, members);
                    let may_claim = together && !known && may_have_room();
                    let claim = may_claim.then(|| self.claimable(ix, request)).flatten().map(|_| ix);
                    let admits = || {
                        let of_tools = request.tools.iter().map(|tool| cooldowns.of_tool(project, tool));
                        standing.into_iter().chain(of_tools).flatten().all(Cooldown::admits)
                    };
                    let draw = together && admits() && room.draws_from(project, members);
                    Outlook::Back(match outlook {
                        Outlook::Back(hope) => {
                            let first = if back < hope.back { Hope { back, project, ..hope } } else { hope };
                            let next = hope.next.into_iter().chain(next).min();
                            Hope { next, claim: hope.claim.or(claim), draw: hope.draw || draw, ..first }
                        }
                        _ => Hope { back, project, next, claim, draw },
                    })
                }
            };
        }
        outlook
    }
}

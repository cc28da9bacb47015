//! A caller's account: its counts under a lock of their own, which is held for arithmetic only. The pass that a request
//! holds puts them right when it ends.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono_tz::Tz;
use gemini::path::Surface;

use crate::counts::{AccountReading, Booking, Counts, Ending, Estimate, Seed, Spent};
use crate::denial::Denial;
use crate::spec::{CallerSpec, ModelShown};
use crate::use_report::{UseReply, UseReport};
use meter::Now;

/// The counts of one caller, whatever becomes of its token.
pub(crate) struct Account(Mutex<Counts>);

impl Account {
    pub(crate) fn new(zone: Tz, is_shared: bool) -> Self {
        let mut counts = Counts::new(zone);
        if is_shared {
            counts.share();
        }
        Self(Mutex::new(counts))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a caller comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// A file or the environment: only they can change it.
    Given,
    /// It was made while the service ran.
    Made,
    /// A key of the pool, while no token is configured and none was ever made.
    PoolKey,
}

/// A key of the pool, as far as callers have to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolKey {
    /// The key's id.
    pub id: Arc<str>,
    /// The operator's label of its project.
    pub project: Option<Arc<str>>,
}

impl PoolKey {
    /// The name of its project: a key without a label goes by its own id.
    pub(crate) fn project_or_id(&self) -> &str {
        self.project.as_deref().unwrap_or(&self.id)
    }
}

/// A caller that may be let in.
pub struct Registered {
    pub(crate) spec: CallerSpec,
    pub(crate) provenance: Provenance,
    pub(crate) account: Arc<Account>,
    /// The keys of the pool as they were when this was made.
    pub(crate) pool_keys: Arc<[PoolKey]>,
    pub(crate) served_by: OnceLock<Option<Arc<HashSet<Arc<str>>>>>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// What is known of a request at the door, before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The surface it is for.
    pub surface: Surface,
    /// The model it shows.
    pub model: ModelShown<'a>,
    /// Whether it uses tokens.
    pub spends: bool,
}

impl Registered {
    /// Who it is and what it may do.
    pub fn spec(&self) -> &CallerSpec {
        &self.spec
    }

    /// Where it comes from.
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Returns the ids of the keys whose projects it may be served from; `None` where it may be from all. A key without
    /// a project's label goes by its own id.
    pub fn served_by(&self) -> Option<Arc<HashSet<Arc<str>>>> {
        let projects = &self.spec.projects;
        let find = || {
            let fits = |key: &&PoolKey| projects.fit(key.project_or_id());
            let ids = || self.pool_keys.iter().filter(fits).map(|key| Arc::clone(&key.id)).collect();
            (!projects.fit_all()).then(|| Arc::new(ids()))
        };
        self.served_by.get_or_init(find).clone()
    }

    /// Lets a request of this caller in, at the door. Whether the caller may call at all was said by
    /// [`Identity::standing`](crate::Identity::standing).
    pub fn admit(self: &Arc<Self>, door: Door<'_>, now: Now) -> Result<Pass, Denial> {
        self.spec.may_enter(door.surface)?;
        self.spec.may_use(door.model)?;
        if self.served_by().is_some_and(|keys| keys.is_empty()) && !self.pool_keys.is_empty() {
            return Err(Denial::Projects);
        }
        let booking = self.account.lock().enter(&self.spec.limits, door.spends, now);
        let booking = booking.map_err(Denial::Limit)?;
        Ok(Pass { caller: Arc::clone(self), booking, is_over: false })
    }

    /// Lets a request of this caller go on that was let in and has ended, for another try of the gateway's own: no limit
    /// on requests counts it twice. `spends` tells whether it uses tokens.
    pub fn admit_again(self: &Arc<Self>, spends: bool, now: Now) -> Result<Pass, Denial> {
        let booking = self.account.lock().enter_again(&self.spec.limits, spends, now);
        let booking = booking.map_err(Denial::Limit)?;
        Ok(Pass { caller: Arc::clone(self), booking, is_over: false })
    }

    /// What it has used, and how its limits stand.
    pub fn read(&self, now: Now) -> AccountReading {
        self.account.lock().read(&self.spec.limits, now)
    }

    /// Takes over what was counted of it before.
    pub fn seed(&self, seed: &Seed, now: Now) {
        self.account.lock().seed(seed, now);
    }

    /// Whether its minute is limited from now on, and was used while it was not.
    pub(crate) fn lacks_minute(&self) -> bool {
        self.spec.limits.count_minutes() && self.account.lock().lacks_minute()
    }

    /// Whether it has limits that all gateways of a cluster count together.
    pub fn is_limited_by_all(&self) -> bool {
        self.spec.limits.are_shared()
    }

    /// Whether a request of it cannot be judged before it is heard what the other gateways have used. Without limits, and
    /// without other gateways, every request can.
    pub fn is_stale(&self, now: Now) -> bool {
        self.is_limited_by_all() && self.account.lock().is_stale(now)
    }

    /// Whether there is something to tell the other gateways of it, or to hear of them.
    pub fn has_news(&self, now: Now) -> bool {
        self.is_limited_by_all() && self.account.lock().has_news(&self.spec.limits, now)
    }

    /// Says what the other gateways are to know of it. `None` where there are none. One report is under way at a time.
    pub fn report(&self, now: Now) -> Option<UseReport> {
        self.account.lock().report(&self.spec.limits, now)
    }

    /// Hears what all have used, now that a report is added to it. To be called after every report, with nothing but the
    /// default where it is not known what became of it.
    pub fn hear(&self, report: UseReport, reply: &UseReply, now: Now) {
        self.account.lock().heard(&self.spec.limits, report, reply, now);
    }

    /// Tells all of it anew with the next report: what was told may be lost.
    pub fn tell_anew(&self, now: Now) {
        self.account.lock().tell_anew(now);
    }
}

/// The right to serve one request. Dropped without a word it ends as [`Ending::Unknown`], at the newest time that its
/// account has seen.
#[must_use]
#[derive(Debug)]
pub struct Pass {
    caller: Arc<Registered>,
    booking: Booking,
    is_over: bool,
}

impl Pass {
    /// Whose it is.
    pub fn caller(&self) -> &Arc<Registered> {
        &self.caller
    }

    /// Books what the request is thought to use, once its body has shown its model and size. Where that is denied, the
    /// request is to be refused, and the pass settled as [`Ending::GivenBack`].
    pub fn reserve(&mut self, estimate: Estimate<'_>, now: Now) -> Result<(), Denial> {
        let spec = &self.caller.spec;
        spec.may_use(estimate.model.map_or(ModelShown::Hidden, |model| ModelShown::Named(model)))?;
        if !spec.limits.limit_spending() {
            return Ok(());
        }
        let mut counts = self.caller.account.lock();
        counts.book(&spec.limits, &mut self.booking, estimate, now).map_err(Denial::Limit)
    }

    /// Has the request wait until the others are told of it and heard, where all gateways together could let in more than there
    /// is room for; whether it has to. Then [`Self::confirm`] says what came of it.
    pub fn wait(&mut self, now: Now) -> bool {
        let limits = &self.caller.spec.limits;
        limits.are_shared() && self.caller.account.lock().wait(limits, &mut self.booking, now)
    }

    /// Says whether there was room for the request when the others were told of it; where they could not be told, what was
    /// known before holds. Where that is denied, the request is to be refused, and the pass settled as [`Ending::GivenBack`].
    pub fn confirm(&self, now: Now) -> Result<(), Denial> {
        let mut counts = self.caller.account.lock();
        counts.confirm(&self.caller.spec.limits, &self.booking, now).map_err(Denial::Limit)
    }

    /// Counts what a request that goes on has used since the last time.
    pub fn spend(&mut self, spent: Spent, now: Now) {
        self.caller.account.lock().spend(&mut self.booking, spent, now);
    }

    /// Ends the request.
    pub fn settle(mut self, ending: Ending, now: Now) {
        self.is_over = true;
        self.caller.account.lock().leave(&self.booking, ending, now);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut counts = self.caller.account.lock();
        // An account that has let somebody in has seen a time.
        if let Some(latest) = counts.latest() {
            counts.leave(&self.booking, Ending::Unknown, latest);
        }
    }
}

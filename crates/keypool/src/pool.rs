//! The pool as its owner sees it: leases, reports, the alarm, the operator's verbs, and what to keep. Puts the desk and
//! the queue together. Every call lets time pass first and serves those who wait before those who come.

use std::sync::Arc;
use std::time::Duration;

use meter::Now;

use crate::answer::{Answer, Refusal, Ticket};
use crate::choice::PassedOver;
use crate::desk::{Desk, DeskAnswer};
use crate::effect::{Effect, Effects, Event};
use crate::error::PoolError;
use crate::ids::{KeyIx, Site};
use crate::key::KeyId;
use crate::key_set::{KeySet, Reconciled};
use crate::lease::{LeaseId, Leases, Settlement};
use crate::lease_request::LeaseRequest;
use crate::outlook::{Hope, Outlook, back_in};
use crate::page::{KeyPage, PageRequest};
use crate::projects::ProjectView;
use crate::reading::PoolReading;
use crate::record::Record;
use crate::roster::Roster;
use crate::route::Route;
use crate::select::Selector;
use crate::settings::Settings;
use crate::slice::DRAW_HOPE;
use crate::snapshot::Snapshot;
use crate::waiting::{Reply, Waiting};

/// How many keys are looked at one by one for a request that gets none.
const LOOKED_AT: usize = 64;

/// A pool of keys.
#[derive(Debug)]
pub struct Pool {
    pub(crate) desk: Desk,
    pub(crate) waiting: Waiting,
    /// When the owner was last asked to call `wake`.
    alarm: Option<Duration>,
    /// When somebody who waits may be served by time alone.
    opening: Option<Duration>,
}

impl Pool {
    /// A pool in which every key is available.
    ///
    /// The seed makes the jitter, and names this incarnation in its leases and tickets: a pool that replaces another
    /// needs a different seed, the same keys in the same order, and the records of the one before.
    ///
    /// # Errors
    /// No keys, two of the same name, a weight of zero, or settings that make no sense.
    pub fn new(settings: Settings, keys: impl Into<KeySet>, seed: u64) -> Result<Self, PoolError> {
        settings.check()?;
        let KeySet { keys, identities, .. } = keys.into();
        let mut roster = Roster::new(keys, &settings.limits)?;
        roster.cooldowns.seed_pauses(seed);
        roster.counters.seed_sharing(seed);
        let selector = Selector::new(settings.strategy, &roster, &identities);
        let rng = fastrand::Rng::with_seed(seed);
        Ok(Self {
            desk: Desk {
                settings,
                roster,
                leases: Leases::new(seed),
                route: Route::default(),
                selector,
                rng,
            },
            waiting: Waiting::new(seed),
            alarm: None,
            opening: None,
        })
    }

    /// Asks for a key.
    pub fn lease(&mut self, request: &LeaseRequest, now: Now, effects: &mut Effects) -> Answer {
        self.begin(now, effects);
        let answer = match self.desk.ask(request, request.waited, now) {
            DeskAnswer::Granted(grant) => Answer::Granted(grant),
            DeskAnswer::Refused(refusal) => Answer::Refused(refusal),
            DeskAnswer::NoKey => self.wait_or_refuse(request, now),
        };
        if self.desk.roster.cooldowns.unclaimed() > 0 && matches!(answer, Answer::Granted(_)) {
            self.desk.roster.claim_along(request, now, &self.desk.settings);
        }
        self.end(now, effects);
        answer
    }

    /// Says what keeps each key from a request that waits or was refused, for its operator to read afterwards.
    pub fn obstacles(&self, request: &LeaseRequest, now: Now) -> Option<Box<PassedOver>> {
        self.desk.roster.obstacles_within_reach(LOOKED_AT, request, now.mono)
    }

    /// Reports how a lease ended. A second report of the same lease changes nothing.
    pub fn settle(&mut self, settlement: &Settlement, now: Now, effects: &mut Effects) {
        // What is over is over before the report; who is served is decided after it.
        self.desk.roster.expire(now, &self.desk.settings, effects);
        self.desk.settle(settlement, now, effects);
        self.begin(now, effects);
        self.end(now, effects);
    }

    /// Says early that a lease will succeed: the head of the upstream's answer was good. Of use for a
    /// [`Role::Probe`](crate::Role::Probe), on whose report others wait; harmless for any. The lease stays open.
    pub fn vouch(
        &mut self,
        lease: LeaseId,
        key: &KeyId,
        model: &Option<Arc<str>>,
        now: Now,
        effects: &mut Effects,
    ) {
        self.desk.vouch(lease, key, model, now, effects);
        self.begin(now, effects);
        self.end(now, effects);
    }

    /// A waiting client left. Whether it was still waiting: if not, its answer is on the way already.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.waiting.leave(ticket)
    }

    /// The alarm asked for by [`Effect::WakeAt`]. Too early or too often is harmless, late only delays.
    pub fn wake(&mut self, now: Now, effects: &mut Effects) {
        self.begin(now, effects);
        self.end(now, effects);
    }

    /// Takes back [`Pool::disable`].
    ///
    /// # Errors
    /// No key has this name.
    pub fn enable(&mut self, id: &KeyId, now: Now, effects: &mut Effects) -> Result<(), PoolError> {
        self.set_disabled(id, false, now, effects)
    }

    /// Leases this key no more until it is enabled; open leases go on.
    ///
    /// # Errors
    /// No key has this name.
    pub fn disable(&mut self, id: &KeyId, now: Now, effects: &mut Effects) -> Result<(), PoolError> {
        self.set_disabled(id, true, now, effects)
    }

    /// Forgets all that is held against this key: its retirement and cooldowns, those of its project, those of all models
    /// and tools there, and the limits that refusals taught. A disabled key stays disabled, and what was used stays counted.
    ///
    /// # Errors
    /// No key has this name.
    pub fn reset(&mut self, id: &KeyId, now: Now, effects: &mut Effects) -> Result<(), PoolError> {
        let key = self.place(id)?;
        self.desk.roster.reset(key, now, effects);
        effects.log(Event::Reset { key: id.clone() });
        self.wake(now, effects);
        Ok(())
    }

    /// Takes another set of keys in place of the present one. What is known of the keys that stay, stays: cooldowns, counts,
    /// budgets, numbers of projects, retirement. Keys that are not in the set are never leased again, and nothing is known
    /// of them any more: their open leases go on, and are settled without harm. A key that was removed and is added again
    /// begins anew, whatever becomes of leases of its former life. Those who wait are served or refused by the new set at
    /// once.
    ///
    /// # Errors
    /// No keys, two of the same name, or a weight of zero; then nothing has changed.
    pub fn reconcile(
        &mut self,
        set: impl Into<KeySet>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Reconciled, PoolError> {
        let reconciled = self.desk.reconcile(set.into(), &mut self.waiting, now, effects)?;
        self.wake(now, effects);
        Ok(reconciled)
    }

    /// Takes other rules and limits from now on. What is under way ends as it began: cooldowns keep their ends, and those
    /// who wait their deadlines.
    ///
    /// # Errors
    /// Rules that make no sense; then nothing has changed.
    pub fn set_rules(&mut self, rules: Settings, now: Now, effects: &mut Effects) -> Result<(), PoolError> {
        self.desk.set_rules(rules)?;
        self.wake(now, effects);
        Ok(())
    }

    fn set_disabled(
        &mut self,
        id: &KeyId,
        disabled: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), PoolError> {
        let key = self.place(id)?;
        let roster = &mut self.desk.roster;
        if roster.cooldowns.is_disabled(key) != disabled {
            roster.cooldowns.disable(key, &roster.members, disabled);
            roster.announce(&Site::Key(key), now, effects);
            let key = id.clone();
            effects.log(if disabled { Event::Disabled { key } } else { Event::Enabled { key } });
        }
        self.wake(now, effects);
        Ok(())
    }

    fn place(&self, id: &KeyId) -> Result<KeyIx, PoolError> {
        self.desk.roster.find(id).ok_or_else(|| PoolError::UnknownKey(id.clone()))
    }

    /// How everything stands, for humans.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot::of(&self.desk.roster, self.desk.leases.len(), self.waiting.len(), now.mono)
    }

    /// How everything stands in figures, with the fullest `most_quotas` of all known limits.
    pub fn reading(&self, most_quotas: usize, now: Now) -> PoolReading {
        PoolReading::of(&self.desk.roster, self.desk.leases.len(), self.waiting.len(), most_quotas, now.mono)
    }

    /// Returns the keys that are asked for, and how the pool stands as a whole.
    pub fn page(&self, request: &PageRequest, now: Now) -> KeyPage {
        let (in_flight, waiting) = (self.desk.leases.len(), self.waiting.len());
        KeyPage::of(&self.desk.roster, request, in_flight, waiting, now.mono)
    }

    /// Each project, in the order of their first keys.
    pub fn projects(&self) -> Vec<ProjectView> {
        self.desk.roster.project_views()
    }

    /// All that must outlive a restart, as of now: what the records of all [`Effect::Persist`] add up to.
    pub fn records(&self, now: Now) -> Vec<Record> {
        self.desk.roster.records(now)
    }

    /// Takes over what a former incarnation kept. Meant for a new pool, before its first lease; records of keys and
    /// projects that are no longer here are passed by. The next call, such as [`Pool::wake`], asks for the alarm.
    pub fn restore(&mut self, records: impl IntoIterator<Item = Record>, now: Now) {
        let records = records.into_iter().collect();
        self.desk.roster.restore_all(records, now, &self.desk.settings);
    }

    /// Tells whether two keys are of one project, as far as labels and the numbers that Google has named so far tell. A
    /// key that is not in the pool shares a project with none.
    pub fn share_a_project(&self, one: &KeyId, other: &KeyId) -> bool {
        let project = |id| self.desk.roster.find(id).map(|key| self.desk.roster.project(key));
        project(one).is_some_and(|one| Some(one) == project(other))
    }

    /// Whether the heads of good answers are to be vouched for on every lease, and not on probes only: it is in doubt
    /// whether the upstream can be reached, and the first head tells.
    pub fn is_route_in_doubt(&self) -> bool {
        self.desk.route.is_in_doubt()
    }

    /// How many requests wait for a key.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many leases of this incarnation are not settled, those of keys that are gone among them.
    pub fn in_flight(&self) -> usize {
        self.desk.leases.len()
    }

    fn wait_or_refuse(&mut self, request: &LeaseRequest, now: Now) -> Answer {
        let hope = match self.desk.roster.outlook(request, request.waited, now.mono) {
            Outlook::Back(hope) => hope,
            Outlook::NoneLeft => return Answer::Refused(Refusal::NoneLeft),
            Outlook::Unusable(why) => return Answer::Refused(why.into()),
        };
        let Hope { back, next, claim, draw, .. } = hope;
        if let Some(key) = claim {
            self.desk.roster.claim_for(key, request, now, &self.desk.settings);
        }
        if draw {
            self.desk.roster.counters.want_draw(now.mono);
        }
        let settings = &self.desk.settings;
        // That something is drawn is worth a moment for whoever would rather not wait.
        let longest = if draw && !request.may_wait { DRAW_HOPE } else { settings.max_wait };
        let may_wait = longest.saturating_sub(request.waited);
        if !(request.may_wait || draw) || may_wait.is_zero() || back > now.mono + may_wait {
            return Answer::Refused(self.desk.roster.cooling(request, hope, now.mono));
        }
        if self.waiting.len() >= settings.max_waiting {
            return Answer::Refused(Refusal::QueueFull { back_in: back_in(back, now.mono) });
        }
        self.opening = self.opening.into_iter().chain(next).min();
        Answer::Waiting(self.waiting.join(request.clone(), now.mono, now.mono + may_wait))
    }

    /// Lets time pass, and serves those who wait.
    fn begin(&mut self, now: Now, effects: &mut Effects) {
        let Self { desk, waiting, opening, .. } = self;
        desk.roster.expire(now, &desk.settings, effects);
        let opens = opening.is_some_and(|at| at <= now.mono);
        if (desk.roster.cooldowns.take_stirred() || opens) && !(waiting.is_empty() && opening.is_none()) {
            *opening = attend(desk, waiting, now, effects);
        }
        while let Some((ticket, waiter)) = waiting.overdue(now.mono) {
            let request = &waiter.request;
            let waited = now.mono.saturating_sub(waiter.since);
            let refusal = match desk.roster.outlook(request, waited, now.mono) {
                Outlook::Back(hope) if !request.may_wait => desk.roster.cooling(request, hope, now.mono),
                Outlook::Back(hope) => Refusal::WaitedTooLong { back_in: back_in(hope.back, now.mono) },
                Outlook::NoneLeft => Refusal::NoneLeft,
                Outlook::Unusable(why) => why.into(),
            };
            effects.push(Reply::Refused(refusal).to(ticket));
        }
    }

    /// Writes up what changed, and asks for the next alarm, if it is earlier than the one that is set.
    fn end(&mut self, now: Now, effects: &mut Effects) {
        let roster = &mut self.desk.roster;
        roster.write_up(now, effects);
        if roster.company.is_shared() {
            roster.tell_of_claims(&self.desk.settings, effects);
            if !self.waiting.is_empty() && roster.counters.take_draw_wish(now.mono) {
                effects.push(Effect::Draw);
            }
        }
        let (deadline, opening) =
            if self.waiting.is_empty() { (None, None) } else { (self.waiting.next_deadline(), self.opening) };
        let sooner = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let next =
            sooner(sooner(roster.cooldowns.next_timer(), roster.counters.due()), sooner(deadline, opening));
        let Some(next) = next else { return };
        if self.alarm.is_none_or(|alarm| alarm <= now.mono || next < alarm) {
            self.alarm = Some(next);
            effects.push(Effect::WakeAt(next));
        }
    }
}

/// Something changed: gives each waiter its key, or the news that it waits in vain. When time alone may serve the next.
fn attend(desk: &mut Desk, waiting: &mut Waiting, now: Now, effects: &mut Effects) -> Option<Duration> {
    // Most waiters want the same. What one of them did not get the next does not get either, since a grant only takes;
    // but a grant may take the room on which an outlook was built.
    let mut known: Option<(LeaseRequest, Option<Outlook>)> = None;
    let mut opening: Option<Duration> = None;
    waiting.attend(effects, |waiter| {
        let request = &waiter.request;
        let waited = now.mono.saturating_sub(waiter.since);
        if !known.as_ref().is_some_and(|(like, _)| like.wants_the_same(request)) {
            match desk.ask(request, waited, now) {
                DeskAnswer::Granted(grant) => {
                    if let Some((_, outlook)) = &mut known {
                        *outlook = None;
                    }
                    return Some(Reply::Granted(grant));
                }
                DeskAnswer::Refused(refusal) => return Some(Reply::Refused(refusal)),
                DeskAnswer::NoKey => known = None,
            }
        }
        let (_, outlook) = known.get_or_insert_with(|| (request.clone(), None));
        let outlook = *outlook.get_or_insert_with(|| {
            let outlook = desk.roster.outlook(request, waited, now.mono);
            if let Outlook::Back(Hope { claim, draw, .. }) = outlook {
                if let Some(key) = claim {
                    desk.roster.claim_for(key, request, now, &desk.settings);
                }
                if draw {
                    desk.roster.counters.want_draw(now.mono);
                }
            }
            outlook
        });
        match outlook {
            // Of those whose time is up, this is not the place to tell.
            Outlook::Back(hope) if hope.back <= waiter.deadline || waiter.deadline <= now.mono => {
                opening = opening.into_iter().chain(hope.next).min();
                None
            }
            Outlook::Back(hope) => Some(Reply::Refused(desk.roster.cooling(request, hope, now.mono))),
            Outlook::NoneLeft => Some(Reply::Refused(Refusal::NoneLeft)),
            Outlook::Unusable(why) => Some(Reply::Refused(why.into())),
        }
    });
    opening
}

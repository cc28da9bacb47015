//! The desk: hands out leases and judges how they ended. Here is whom a fault blames and what a success makes good.
//! Waiting is the pool's matter.

use std::time::Duration;

use gemini::fault::{Fault, Kind, Proof, Scope, Wait};
use meter::Now;

use crate::answer::Refusal;
use crate::breaker::{Back, Turn, Verdict};
use crate::budget::Spent;
use crate::choice::Choice;
use crate::cooldowns::{Penalty, Struck};
use crate::effect::{Effect, Effects, Event};
use crate::ids::{KeyIx, Model, ModelIx, Order, Site};
use crate::key::{KeyId, ProjectNumber};
use crate::lease::{Grant, LeaseId, LeaseState, Leases, Out, Outcome, Role, Settlement};
use crate::lease_request::LeaseRequest;
use crate::quota::NamedQuota;
use crate::reason::Reason;
use crate::roster::Roster;
use crate::rotation::Rotation;
use crate::route::{Mishap, Route};
use crate::select::Selector;
use crate::settings::Settings;
use crate::tool::Tools;

/// What is said when the request that finds out about the route may go at any moment.
const PROBE_GUESS: Duration = Duration::from_secs(1);
/// How many keys that were passed over are looked at one by one: a choice must stay cheap however many cool.
const LOOKED_AT_IN_TURN: usize = 16;
/// The least losses in a row that blame a key: a single one cannot be told from one that all keys share.
const FEWEST_LOSSES: u32 = 2;

#[derive(Debug)]
pub(crate) struct Desk {
    pub settings: Settings,
    pub roster: Roster,
    pub leases: Leases,
    pub route: Route,
    pub selector: Selector,
    pub rng: fastrand::Rng,
}

/// What the desk says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeskAnswer {
    Granted(Grant),
    Refused(Refusal),
    /// No key may be leased for it now.
    NoKey,
}

/// What is known of the lease that a report speaks of.
#[derive(Clone, Copy, Debug)]
struct Report<'a> {
    key: KeyIx,
    model: &'a Model,
    tools: Tools,
    order: Order,
}

impl Desk {
    /// A key for this request, which has waited so long, if it may have one and one may be leased now.
    pub(crate) fn ask(&mut self, request: &LeaseRequest, waited: Duration, now: Now) -> DeskAnswer {
        if let Some(back_in) = self.route.refuses(now.mono) {
            return DeskAnswer::Refused(Refusal::RouteDown { back_in });
        }
        let counters = &self.roster.counters;
        let model = counters.model(&request.model);
        let breaker = model.map(|model| counters.breaker(model));
        if let Some(refusal) = breaker.and_then(|breaker| breaker.refuses(request.retry, now.mono)) {
            return DeskAnswer::Refused(refusal);
        }
        let room = counters.headroom(model, request, waited, now.mono);
        let rotation = model.map_or_else(|| self.selector.fresh(), |model| counters.rotation(model));
        match self.selector.choose(&self.roster, request, &room, rotation, &mut self.rng) {
            Some((key, choice)) => {
                let passed = self.selector.passed_over(rotation, key, &room);
                let passed_over = passed
                    .and_then(|passed| self.roster.obstacles(passed, LOOKED_AT_IN_TURN, request, now.mono));
                let grant = self.grant(key, model, rotation.after(key), request, now);
                DeskAnswer::Granted(Grant { choice, passed_over, ..grant })
            }
            // Where nothing goes through, waiting for a key leads nowhere.
            None if self.route.is_down() => DeskAnswer::Refused(Refusal::RouteDown { back_in: PROBE_GUESS }),
            None => DeskAnswer::NoKey,
        }
    }

    fn grant(
        &mut self,
        key: KeyIx,
        model: Option<ModelIx>,
        rotation: Rotation,
        request: &LeaseRequest,
        now: Now,
    ) -> Grant {
        let Roster { members, cooldowns, counters, .. } = &mut self.roster;
        let model = model.unwrap_or_else(|| counters.enter(&request.model, now.mono));
        counters.set_rotation(model, rotation);
        let patience = self.settings.probe_patience;
        let until = now.mono + patience;
        let probes_model = counters.grant(model, request.retry, self.leases.next(), now.mono, patience);
        let booking = counters.book(members.project(key), model, request.input_tokens, members, now);
        let lease = self.leases.open(Out {
            key: Some(key),
            model,
            tools: request.tools,
            retry: request.retry,
            booking,
        });
        let order = self.leases.order(lease);
        let probed = cooldowns.change_all(key, &request.model, request.tools, members, |cooldown| {
            cooldown.take_probe(order, until)
        });
        let probes_route = self.route.grant(now.mono);
        let ordinary = probed.is_empty() && !probes_model && !probes_route;
        let role = if ordinary { Role::Ordinary } else { Role::Probe };
        for site in probed {
            cooldowns.set_timer(until, site);
        }
        counters.lease_out(key, model);
        counters.count_grant(key, model, now);
        let key = members.get(key).id.clone();
        Grant { lease, key, role, choice: Choice::default(), passed_over: None }
    }

    /// The head of the answer was good: as far as the cooldowns are concerned, a success.
    pub(crate) fn vouch(
        &mut self,
        lease: LeaseId,
        key: &KeyId,
        model: &Model,
        now: Now,
        effects: &mut Effects,
    ) {
        let found = self.leases.find(lease);
        let report = self.attribute(found, lease, key, model);
        if report.is_some() || matches!(found, LeaseState::Ours(_)) {
            self.heard_from_google(report.map(|report| report.key), now, effects);
        }
        if let Some(report) = report {
            self.succeed(report, now, effects);
        }
        if let LeaseState::Ours(out) = found {
            let order = self.leases.order(lease);
            let turn = self.roster.counters.turn(out.model, |breaker| breaker.vouch(order));
            self.tell_of_model(out.model, turn, now, effects);
        }
    }

    /// Ends a lease. One that is settled already changes nothing. What one has to say whose key is gone from the pool
    /// concerns the model and the way there alone: nothing is held against its project, which others may share.
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Now, effects: &mut Effects) {
        let Settlement { lease, key, model, outcome, input_tokens, .. } = settlement;
        let found = self.leases.close(*lease);
        if let LeaseState::Ours(out) = found {
            self.return_lease(*lease, out, outcome, *input_tokens, now, effects);
        }
        let Some(report) = self.attribute(found, *lease, key, model) else {
            if matches!(found, LeaseState::Ours(_)) && was_heard(outcome) {
                self.heard_from_google(None, now, effects);
            }
            return;
        };
        let counted = match found {
            LeaseState::Ours(out) => Some(out.model),
            LeaseState::Former | LeaseState::Settled => self.roster.counters.model(model),
        };
        self.roster.counters.count_report(report.key, counted, settlement, now);
        match outcome {
            Outcome::Success => {
                self.heard_from_google(Some(report.key), now, effects);
                self.succeed(report, now, effects);
            }
            Outcome::Abandoned | Outcome::Unused => {
                self.release(report);
            }
            Outcome::Fault(fault) => {
                // A probe's fault that blames another leaves room for the next probe.
                self.release(report);
                if let Some(number) = fault.project.as_deref().and_then(ProjectNumber::parse) {
                    let moved = self.roster.learn_number(report.key, number, now, &self.settings, effects);
                    self.follow(&moved);
                }
                if was_heard(outcome) {
                    self.heard_from_google(Some(report.key), now, effects);
                }
                self.blame(fault, report, now, effects);
            }
        }
    }

    /// Google has answered on this key, if it is still there, whatever it said: the way there is open.
    fn heard_from_google(&mut self, key: Option<KeyIx>, now: Now, effects: &mut Effects) {
        if let Some(key) = key {
            self.roster.counters.losses_mut().answered(key, now.mono);
        }
        if self.route.answered() {
            effects.log(Event::RouteBack);
        }
    }

    /// Blames the way there, which all keys share.
    fn blame_route(&mut self, kind: Kind, report: Report<'_>, now: Now, effects: &mut Effects) {
        let Report { key, order, .. } = report;
        let after_head = kind == Kind::BodyLost;
        let mishap = Mishap { key, lease: order, next: self.leases.next(), after_head };
        let Roster { members, cooldowns, .. } = &mut self.roster;
        let usable = |key: KeyIx| {
            let project = members.project(key);
            !cooldowns.is_disabled(key)
                && !cooldowns.of_key(key).is_retired()
                && !cooldowns.of_project(project).is_retired()
        };
        let alone = || members.iter().filter(|(key, _)| usable(*key)).take(2).count() < 2;
        if self.route.fail(mishap, now.mono, alone) {
            cooldowns.stir();
            effects.log(Event::RouteDown);
        }
    }

    /// What was taken for this lease is given back, or put right.
    fn return_lease(
        &mut self,
        lease: LeaseId,
        out: Out,
        outcome: &Outcome,
        input_tokens: Option<u64>,
        now: Now,
        effects: &mut Effects,
    ) {
        let Out { key, model, retry, booking, .. } = out;
        let counters = &mut self.roster.counters;
        counters.lease_back(key, model);
        let (order, next) = (self.leases.order(lease), self.leases.next());
        // Requests that name no model have nothing in common that could be down.
        if counters.name(model).is_some() {
            let (verdict, settings, rng) = (verdict(outcome), &self.settings, &mut self.rng);
            let back = Back { verdict, retry, lease: order, next };
            let turn = counters.turn(model, |breaker| breaker.settle(back, now.mono, settings, rng));
            self.tell_of_model(model, turn, now, effects);
        }
        if let Some(booking) = booking {
            let spent = match outcome {
                Outcome::Unused => Spent::Nothing,
                Outcome::Fault(fault) if was_refused(fault.kind) => Spent::Nothing,
                _ => Spent::Tokens(input_tokens),
            };
            if self.roster.counters.settle_booking(model, booking, spent, now.mono) {
                self.roster.cooldowns.stir();
            }
        }
    }

    fn tell_of_model(&mut self, model: ModelIx, turn: Turn, now: Now, effects: &mut Effects) {
        if turn == Turn::None {
            return;
        }
        self.roster.tell_of_breaker(model, now, effects);
        let Some(model) = self.roster.counters.name(model).clone() else { return };
        self.roster.cooldowns.stir();
        effects.log(match turn {
            Turn::Down(pause) => Event::ModelDown { model, pause },
            Turn::Back | Turn::None => Event::ModelBack { model },
        });
    }

    /// What a report speaks of. `None` where its lease is settled, or its key gone.
    fn attribute<'a>(
        &self,
        found: LeaseState,
        lease: LeaseId,
        claimed: &KeyId,
        model: &'a Model,
    ) -> Option<Report<'a>> {
        let (key, tools) = match found {
            LeaseState::Ours(out) => (out.key?, out.tools),
            // Which tools it used is forgotten.
            LeaseState::Former => (self.roster.find(claimed)?, Tools::NONE),
            LeaseState::Settled => return None,
        };
        Some(Report { key, model, tools, order: self.leases.order(lease) })
    }

    fn release(&mut self, report: Report<'_>) {
        let Report { key, model, tools, order } = report;
        let Roster { members, cooldowns, .. } = &mut self.roster;
        cooldowns.release_probe(order, key, model, tools, members, &self.settings);
    }

    fn succeed(&mut self, report: Report<'_>, now: Now, effects: &mut Effects) {
        let Report { key, model, tools, order } = report;
        let Roster { members, cooldowns, .. } = &mut self.roster;
        let mut was_local = false;
        let opened = cooldowns.change_all(key, model, tools, members, |cooldown| {
            // Nearly all are.
            if cooldown.is_open() {
                return false;
            }
            let local = cooldown.is_local();
            let opens = cooldown.succeed(order);
            was_local |= opens && local;
            opens
        });
        for site in opened {
            if was_local && matches!(site, Site::Key(_)) {
                effects.push(Effect::Persist(self.roster.record(&site, now)));
            } else {
                self.roster.announce(&site, now, effects);
            }
            effects.log(Event::Back { subject: self.roster.subject(&site) });
        }
    }

    fn blame(&mut self, fault: &Fault, report: Report<'_>, now: Now, effects: &mut Effects) {
        let Report { key, model, tools, .. } = report;
        let (site, wait) = match fault.scope() {
            Scope::Key => (Site::Key(key), fault.wait),
            // All that is known of a billing account is the key's project.
            Scope::Project | Scope::Billing => (Site::Project(self.roster.project(key)), fault.wait),
            Scope::ProjectModel => {
                let named = || fault.quotas.iter().find_map(|quota| quota.model.as_deref());
                let model = model.clone().or_else(|| named().map(Into::into));
                if matches!(fault.kind, Kind::QuotaMinute | Kind::QuotaDay) {
                    self.roster.learn_limits(key, &model, fault, now, effects);
                }
                let project = self.roster.project(key);
                // What Google has not named is not worth the last key that there is.
                if fault.kind.proof() == Proof::OtherKey && self.roster.is_last_for(project, &model) {
                    return;
                }
                (Site::Model(project, model), fault.wait)
            }
            Scope::Route => {
                self.blame_route(fault.kind, report, now, effects);
                // Where nothing was sent, or a stranger answered, nothing is known of the key.
                if !matches!(fault.kind, Kind::HeadLost | Kind::BodyLost) {
                    return;
                }
                let own = self.roster.counters.losses_mut().lost(key, now.mono);
                if own < self.settings.failure_threshold.max(FEWEST_LOSSES) {
                    return;
                }
                (Site::Key(key), Wait::Backoff)
            }
            Scope::ProjectTool => {
                // Which of several tools it was, Google does not say.
                let project = self.roster.project(key);
                for tool in tools.iter() {
                    self.strike(&Site::Tool(project, tool), fault.wait, fault, report, now, effects);
                }
                return;
            }
            Scope::Model | Scope::Binding | Scope::Client | Scope::Gateway | Scope::Nobody => return,
        };
        self.strike(&site, wait, fault, report, now, effects);
    }

    /// Leaves a site alone for a fault, `wait` long.
    fn strike(
        &mut self,
        site: &Site,
        wait: Wait,
        fault: &Fault,
        report: Report<'_>,
        now: Now,
        effects: &mut Effects,
    ) {
        let reason = Reason::from(fault.kind);
        let wait = match wait {
            Wait::None => return,
            // Nobody can reset a model or a tool, so a day has to do.
            Wait::Retire if matches!(site, Site::Model(..) | Site::Tool(..)) => Wait::Long,
            wait => wait,
        };
        let penalty = Penalty { wait, reason, lease: report.order, next: self.leases.next() };
        let (settings, rng) = (&self.settings, &mut self.rng);
        let Roster { members, cooldowns, .. } = &mut self.roster;
        let struck = cooldowns.change(site, members, |cooldown| cooldown.strike(penalty, now, settings, rng));
        let Some(struck) = struck else { return };
        let subject = self.roster.subject(site);
        let key = self.roster.members.get(report.key).id.clone();
        match struck {
            Struck::Cools(until) => {
                self.roster.cooldowns.set_timer(until, site.clone());
                effects.log(Event::Cooling { subject, key, wait: until.saturating_sub(now.mono), reason });
            }
            Struck::Retired => effects.log(Event::Retired { subject, key, reason }),
        }
        self.roster.cooldowns.name_quota(site, NamedQuota::of(fault));
        if reason == Reason::Transport {
            effects.push(Effect::Persist(self.roster.record(site, now)));
        } else {
            self.roster.announce(site, now, effects);
        }
    }
}

/// Whether Google counts nothing for it: it refused the request for what is counted, or never saw it.
fn was_refused(kind: Kind) -> bool {
    kind.is_quota() || matches!(kind, Kind::RateLimited | Kind::ConnectFailed | Kind::NotDone)
}

/// Whether Google has answered, whatever it said.
fn was_heard(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Success => true,
        Outcome::Abandoned | Outcome::Unused => false,
        Outcome::Fault(fault) => !matches!(fault.scope(), Scope::Route | Scope::Nobody),
    }
}

/// What an outcome says of the model as a whole.
fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Success => Verdict::Served,
        Outcome::Fault(fault) if fault.scope() == Scope::Model => Verdict::Failed(match fault.wait {
            Wait::For(hint) => Some(hint),
            _ => None,
        }),
        Outcome::Fault(_) | Outcome::Abandoned | Outcome::Unused => Verdict::Unknown,
    }
}

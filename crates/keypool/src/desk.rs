//! The desk: hands out leases and judges how they ended. Here is whom a fault blames and what a success makes good.
//! Waiting is the pool's matter.

use gemini::fault::{Fault, Kind, Scope, Wait};
use meter::Now;

use crate::breaker::{Turn, Verdict};
use crate::budget::Spent;
use crate::cooldown::{Order, Penalty, Struck};
use crate::effect::{Effect, Effects, Event};
use crate::key::{KeyId, KeyIx, ProjectNumber};
use crate::lease::{Grant, LeaseId, LeaseState, Leases, Out, Outcome, Role, Settlement};
use crate::lease_request::{LeaseRequest, Refusal};
use crate::models::ModelIx;
use crate::reason::Reason;
use crate::roster::{Model, Roster, Site};
use crate::select::Selector;
use crate::settings::Settings;
use crate::tool::Tools;

#[derive(Debug)]
pub(crate) struct Desk {
    pub settings: Settings,
    pub roster: Roster,
    pub leases: Leases,
    pub selector: Selector,
    pub rng: fastrand::Rng,
}

/// What the desk says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
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
    /// A key for this request, if it may have one and one may be leased now.
    pub(crate) fn ask(&mut self, request: &LeaseRequest, now: Now) -> Asked {
        let model = self.roster.models.find(&request.model);
        let breaker = model.map(|model| &self.roster.models.get(model).breaker);
        if let Some(refusal) = breaker.and_then(|breaker| breaker.refuses(request.retry, now.mono)) {
            return Asked::Refused(refusal);
        }
        let room = self.roster.headroom(model, request.input_tokens, now.mono);
        match self.selector.choose(&self.roster, request, room) {
            Some(key) => Asked::Granted(self.grant(key, model, request, now)),
            None => Asked::NoKey,
        }
    }

    fn grant(&mut self, key: KeyIx, model: Option<ModelIx>, request: &LeaseRequest, now: Now) -> Grant {
        let Roster { models, journal, .. } = &mut self.roster;
        let model = model.unwrap_or_else(|| models.enter(&request.model, now.mono, journal));
        let state = models.get_mut(model);
        state.in_flight += 1;
        let until = now.mono + self.settings.probe_patience;
        let probes_model =
            state.breaker.grant(request.retry, self.leases.next(), now.mono, self.settings.probe_patience);
        let booking = self.roster.book(key, model, request.input_tokens, now);
        let lease = self.leases.open(Out { key, model, tools: request.tools, booking });
        let order = self.leases.order(lease);
        let probed = self
            .roster
            .change_all(key, &request.model, request.tools, |cooldown| cooldown.take_probe(order, until));
        let role = if probed.is_empty() && !probes_model { Role::Ordinary } else { Role::Probe };
        for site in probed {
            self.roster.set_timer(until, site);
        }
        self.roster.count_grant(key, model, now);
        let entry = self.roster.key_mut(key);
        entry.in_flight += 1;
        Grant { lease, key: entry.id.clone(), role }
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
        if let Some(report) = self.attribute(found, lease, key, model) {
            self.succeed(report, now, effects);
        }
        if let LeaseState::Ours(out) = found {
            let state = self.roster.models.get_mut(out.model);
            let turn = state.breaker.vouch(self.leases.order(lease));
            self.tell_of_model(out.model, turn, effects);
        }
    }

    /// Ends a lease. One that is settled already, or whose key is not in the pool, changes nothing.
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Now, effects: &mut Effects) {
        let Settlement { lease, key, model, outcome, input_tokens, .. } = settlement;
        let found = self.leases.close(*lease);
        let Some(report) = self.attribute(found, *lease, key, model) else { return };
        if let LeaseState::Ours(out) = found {
            self.return_lease(*lease, out, outcome, *input_tokens, now, effects);
        }
        let counted = match found {
            LeaseState::Ours(out) => Some(out.model),
            LeaseState::Former | LeaseState::Settled => self.roster.models.find(model),
        };
        self.roster.count_report(report.key, counted, settlement, now);
        match outcome {
            Outcome::Success => {
                self.succeed(report, now, effects);
            }
            Outcome::Abandoned => {
                self.release(report);
            }
            Outcome::Fault(fault) => {
                // A probe's fault that blames another leaves room for the next probe.
                self.release(report);
                if let Some(number) = fault.project.as_deref().and_then(ProjectNumber::parse) {
                    self.roster.learn_number(report.key, number, now, &self.settings, effects);
                }
                self.blame(fault, report, now, effects);
            }
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
        let Out { key, model, booking, .. } = out;
        let entry = self.roster.key_mut(key);
        entry.in_flight = entry.in_flight.saturating_sub(1);
        let state = self.roster.models.get_mut(model);
        state.in_flight = state.in_flight.saturating_sub(1);
        let (order, next) = (self.leases.order(lease), self.leases.next());
        // Requests that name no model have nothing in common that could be down.
        if state.name.is_some() {
            let (verdict, settings, rng) = (verdict(outcome), &self.settings, &mut self.rng);
            let turn = state.breaker.settle(verdict, order, next, now.mono, settings, rng);
            self.tell_of_model(model, turn, effects);
        }
        if let Some(booking) = booking {
            let spent = match outcome {
                Outcome::Fault(fault) if was_refused(fault.kind) => Spent::Nothing,
                _ => Spent::Tokens(input_tokens),
            };
            self.roster.settle_booking(key, model, booking, spent, now.mono);
        }
    }

    fn tell_of_model(&mut self, model: ModelIx, turn: Turn, effects: &mut Effects) {
        if turn == Turn::None {
            return;
        }
        let Some(model) = self.roster.models.get(model).name.clone() else { return };
        self.roster.stirred = true;
        effects.log(match turn {
            Turn::Down(pause) => Event::ModelDown { model, pause },
            Turn::Back | Turn::None => Event::ModelBack { model },
        });
    }

    /// What a report speaks of.
    fn attribute<'a>(
        &self,
        found: LeaseState,
        lease: LeaseId,
        claimed: &KeyId,
        model: &'a Model,
    ) -> Option<Report<'a>> {
        let (key, tools) = match found {
            LeaseState::Ours(out) => (out.key, out.tools),
            // Which tools it used is forgotten.
            LeaseState::Former => (self.roster.find(claimed)?, Tools::NONE),
            LeaseState::Settled => return None,
        };
        Some(Report { key, model, tools, order: self.leases.order(lease) })
    }

    fn release(&mut self, report: Report<'_>) {
        let Report { key, model, tools, order } = report;
        self.roster.change_all(key, model, tools, |cooldown| cooldown.release_probe(order));
    }

    fn succeed(&mut self, report: Report<'_>, now: Now, effects: &mut Effects) {
        let Report { key, model, tools, order } = report;
        self.roster.key_mut(key).failures = 0;
        for site in self.roster.change_all(key, model, tools, |cooldown| cooldown.succeed(order)) {
            effects.push(Effect::Persist(self.roster.record(&site, now)));
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
                (Site::Model(self.roster.project(key), model), fault.wait)
            }
            // Nothing was sent, so nothing is known of the key.
            Scope::Route if fault.kind == Kind::ConnectFailed => return,
            Scope::Route => {
                let entry = self.roster.key_mut(key);
                entry.failures = entry.failures.saturating_add(1);
                if entry.failures < self.settings.failure_threshold {
                    return;
                }
                (Site::Key(key), Wait::Backoff)
            }
            Scope::ProjectTool => {
                // Which of several tools it was, Google does not say.
                let project = self.roster.project(key);
                for tool in tools.iter() {
                    self.strike(
                        &Site::Tool(project, tool),
                        fault.wait,
                        fault.kind.into(),
                        report,
                        now,
                        effects,
                    );
                }
                return;
            }
            Scope::Model | Scope::Binding | Scope::Client | Scope::Gateway | Scope::Nobody => return,
        };
        self.strike(&site, wait, fault.kind.into(), report, now, effects);
    }

    fn strike(
        &mut self,
        site: &Site,
        wait: Wait,
        reason: Reason,
        report: Report<'_>,
        now: Now,
        effects: &mut Effects,
    ) {
        let wait = match wait {
            Wait::None => return,
            // Nobody can reset a model or a tool, so a day has to do.
            Wait::Retire if matches!(site, Site::Model(..) | Site::Tool(..)) => Wait::Long,
            wait => wait,
        };
        let penalty = Penalty { wait, reason, lease: report.order, next: self.leases.next() };
        let (settings, rng) = (&self.settings, &mut self.rng);
        let struck = self.roster.change(site, |cooldown| cooldown.strike(penalty, now, settings, rng));
        let Some(struck) = struck else { return };
        let subject = self.roster.subject(site);
        let key = self.roster.key_mut(report.key).id.clone();
        match struck {
            Struck::Cools(until) => {
                self.roster.set_timer(until, site.clone());
                effects.log(Event::Cooling { subject, key, wait: until.saturating_sub(now.mono), reason });
            }
            Struck::Retired => effects.log(Event::Retired { subject, key, reason }),
        }
        effects.push(Effect::Persist(self.roster.record(site, now)));
    }
}

/// Whether Google counts nothing for it: it refused the request for what is counted, or never saw it.
fn was_refused(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::QuotaMinute
            | Kind::QuotaDay
            | Kind::QuotaZero
            | Kind::QuotaUnnamed
            | Kind::QuotaBare
            | Kind::SpendingCap
            | Kind::CreditsGone
            | Kind::ConnectFailed
    )
}

/// What an outcome says of the model as a whole.
fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Success => Verdict::Served,
        Outcome::Fault(fault) if fault.scope() == Scope::Model => Verdict::Failed(match fault.wait {
            Wait::For(hint) => Some(hint),
            _ => None,
        }),
        Outcome::Fault(_) | Outcome::Abandoned => Verdict::Unknown,
    }
}

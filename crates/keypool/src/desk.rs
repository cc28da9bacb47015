//! The desk: hands out leases and judges how they ended. Here is whom a fault blames and what a success makes good.
//! Waiting is the pool's matter.

use gemini::fault::{Fault, Kind, Scope, Wait};

use crate::cooldown::{Blow, Order, Struck};
use crate::effect::{Effect, Effects, Event};
use crate::key::KeyIx;
use crate::lease::{Found, Grant, LeaseId, Leases, Outcome, Role, Settlement};
use crate::now::Now;
use crate::reason::Reason;
use crate::roster::{Model, Roster, Site};
use crate::select::Selector;
use crate::settings::Settings;
use crate::wish::Wish;

#[derive(Debug)]
pub(crate) struct Desk {
    pub settings: Settings,
    pub roster: Roster,
    pub leases: Leases,
    pub selector: Selector,
    pub rng: fastrand::Rng,
}

impl Desk {
    /// A key for this request, if one may be leased now.
    pub(crate) fn grant(&mut self, wish: &Wish, now: Now) -> Option<Grant> {
        let key = self.selector.choose(&self.roster, wish)?;
        let lease = self.leases.open(key);
        let order = self.leases.order(lease);
        let until = now.mono + self.settings.probe_patience;
        let probed = self.roster.change_all(key, &wish.model, |cooldown| cooldown.take_probe(order, until));
        let role = if probed.is_empty() { Role::Ordinary } else { Role::Probe };
        for site in probed {
            self.roster.set_timer(until, site);
        }
        let entry = self.roster.key_mut(key);
        entry.in_flight += 1;
        entry.totals.leases += 1;
        Some(Grant { lease, key, role })
    }

    /// The head of the answer was good: as far as the cooldowns are concerned, a success.
    pub(crate) fn vouch(
        &mut self,
        lease: LeaseId,
        key: KeyIx,
        model: &Model,
        now: Now,
        effects: &mut Effects,
    ) {
        if let Some((key, order)) = self.attribute(self.leases.find(lease), lease, key) {
            self.succeed(key, model, order, now, effects);
        }
    }

    /// Ends a lease. One that is settled already, or whose key is not in the pool, changes nothing.
    pub(crate) fn settle(&mut self, settlement: &Settlement, now: Now, effects: &mut Effects) {
        let Settlement { lease, key, model, outcome } = settlement;
        let found = self.leases.close(*lease);
        let Some((key, order)) = self.attribute(found, *lease, *key) else { return };
        let entry = self.roster.key_mut(key);
        if matches!(found, Found::Ours(_)) {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
        match outcome {
            Outcome::Success => {
                entry.totals.successes += 1;
                self.succeed(key, model, order, now, effects);
            }
            Outcome::Abandoned => {
                entry.totals.abandoned += 1;
                self.release(key, model, order);
            }
            Outcome::Fault(fault) => {
                entry.totals.faults += 1;
                // A probe's fault that blames another leaves room for the next probe.
                self.release(key, model, order);
                self.blame(fault, key, model, order, now, effects);
            }
        }
    }

    /// The key and the place in the order of granting that a report speaks of.
    fn attribute(&self, found: Found, lease: LeaseId, claimed: KeyIx) -> Option<(KeyIx, Order)> {
        match found {
            Found::Ours(key) => Some((key, self.leases.order(lease))),
            Found::Former => self.roster.get(claimed).map(|_| (claimed, self.leases.order(lease))),
            Found::Settled => None,
        }
    }

    fn release(&mut self, key: KeyIx, model: &Model, order: Order) {
        self.roster.change_all(key, model, |cooldown| cooldown.release_probe(order));
    }

    fn succeed(&mut self, key: KeyIx, model: &Model, order: Order, now: Now, effects: &mut Effects) {
        self.roster.key_mut(key).failures = 0;
        for site in self.roster.change_all(key, model, |cooldown| cooldown.succeed(order)) {
            effects.push(Effect::Persist(self.roster.record(&site, now)));
            effects.log(Event::Back { subject: self.roster.subject(&site) });
        }
    }

    fn blame(
        &mut self,
        fault: &Fault,
        key: KeyIx,
        model: &Model,
        order: Order,
        now: Now,
        effects: &mut Effects,
    ) {
        let (site, wait) = match fault.scope() {
            Scope::Key => (Site::Key(key), fault.wait),
            // All that is known of a billing account is the key's project.
            Scope::Project | Scope::Billing => (Site::Project(self.roster.project(key)), fault.wait),
            Scope::ProjectModel => {
                let named = || fault.quotas.iter().find_map(|quota| quota.model.as_deref());
                let model = model.clone().or_else(|| named().map(Into::into));
                let wait = match fault.wait {
                    // Nobody can reset a model, so a day has to do.
                    Wait::Retire => Wait::Long,
                    wait => wait,
                };
                (Site::Model(self.roster.project(key), model), wait)
            }
            // Nothing was sent, so nothing is known of the key.
            Scope::Transport if fault.kind == Kind::ConnectFailed => return,
            Scope::Transport => {
                let entry = self.roster.key_mut(key);
                entry.failures = entry.failures.saturating_add(1);
                if entry.failures < self.settings.failure_threshold {
                    return;
                }
                (Site::Key(key), Wait::Backoff)
            }
            Scope::ProjectTool | Scope::Model | Scope::Binding | Scope::Client | Scope::Gateway => return,
        };
        if wait != Wait::None {
            self.strike(&site, wait, fault.kind.into(), key, order, now, effects);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, and a struct for it would say nothing more")]
    fn strike(
        &mut self,
        site: &Site,
        wait: Wait,
        reason: Reason,
        key: KeyIx,
        order: Order,
        now: Now,
        effects: &mut Effects,
    ) {
        let blow = Blow { wait, reason, lease: order, next: self.leases.next() };
        let (settings, rng) = (&self.settings, &mut self.rng);
        let struck = self.roster.change(site, |cooldown| cooldown.strike(blow, now, settings, rng));
        let Some(struck) = struck else { return };
        let subject = self.roster.subject(site);
        let key = self.roster.key_mut(key).id.clone();
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

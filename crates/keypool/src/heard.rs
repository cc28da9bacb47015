//! What one node of a cluster hears from the others, and what it tells them when it is asked for all it knows. The owner
//! moves facts and decides by their order which of two holds; here they change the pool, as if this node had found out.

use meter::Now;

use crate::company::Company;
use crate::effect::{Effect, Effects};
use crate::ids::Site;
use crate::pool::Pool;
use crate::record::{Record, Subject};
use crate::roster::{FactPlace, Roster};

impl Pool {
    /// Shares this pool's projects with other nodes from now on, which hear and answer.
    pub fn join(&mut self, now: Now, effects: &mut Effects) {
        self.keep_company(Company::Together, now, effects);
    }

    /// Takes down that the other nodes cannot be asked now: until [`Pool::join`] this one decides by itself. So does a pool that
    /// begins while nobody can be asked.
    pub fn alone(&mut self, now: Now, effects: &mut Effects) {
        self.keep_company(Company::Alone, now, effects);
    }

    /// Returns how this pool stands to those of other nodes.
    pub fn company(&self) -> Company {
        self.desk.roster.company
    }

    fn keep_company(&mut self, company: Company, now: Now, effects: &mut Effects) {
        let Self { desk, .. } = self;
        if desk.roster.company != company {
            desk.roster.expire(now, &desk.settings, effects);
            if !desk.roster.company.is_shared() {
                // Nodes that begin together must not all begin with the first key.
                desk.selector.begin_anywhere(&mut desk.rng);
            }
            desk.roster.company = company;
            let Roster { members, cooldowns, .. } = &mut desk.roster;
            cooldowns.keep_company(company, now.mono, members, &desk.settings);
            desk.roster.counters.keep_company(company, now.mono);
            // Other rules say who may have what.
            desk.roster.cooldowns.stir();
        }
        self.wake(now, effects);
    }

    /// Takes the cluster's answer to [`Effect::Claim`], which is expected within a second and asked for again after that; whoever
    /// has a claim wins it again. Won, the next lease is the probe, whose report ends the claim with
    /// [`Effect::Release`]; so does its not being used within two seconds. Lost, another node probes: this one asks again after
    /// the claim's patience, unless a fact says before how it went.
    pub fn claimed(&mut self, subject: Subject, won: bool, now: Now, effects: &mut Effects) {
        let Self { desk, .. } = self;
        desk.roster.expire(now, &desk.settings, effects);
        desk.roster.answer_claim(subject, won, now, &desk.settings, effects);
        self.wake(now, effects);
    }

    /// Takes in what another node told. The caller has decided that this word holds: none that this node has heard or told of
    /// the subject is newer. So it is applied as it stands, but a cooldown that runs is not shortened by another's, one for
    /// lost connections is this node's own, and counts and sums are never taken. What changes is kept ([`Effect::Persist`])
    /// and logged, those who wait are served, and nothing is told on; what is known already changes nothing. Facts of keys
    /// that are not in the pool are passed by: after [`Pool::reconcile`] the caller has to read those of new keys again.
    ///
    /// The fact's times are on the wall clock that `now` shows.
    pub fn heard(&mut self, fact: Record, now: Now, effects: &mut Effects) {
        self.take_in(fact, now, effects);
        self.wake(now, effects);
    }

    /// Takes in that what was told does not hold, since another node's word of the same subject does. What of the one is beside
    /// the point of the other, as an operator's word on a key that cools, is told again on top of it.
    pub fn overruled(&mut self, told: &Record, holds: Record, now: Now, effects: &mut Effects) {
        let other = holds.clone();
        self.take_in(holds, now, effects);
        let Self { desk, .. } = self;
        let roster = &mut desk.roster;
        match &told.subject {
            Subject::Key { key } => {
                let Some(key) = roster.find(key) else { return self.wake(now, effects) };
                let lacks_number = told.number.is_some() && other.number.is_none();
                if roster.hear_disabled(key, told, effects) || lacks_number {
                    roster.announce(&Site::Key(key), now, effects);
                }
            }
            Subject::Limits { project, model } => {
                let theirs: &[_] = other.limits.as_ref().map_or(&[], |limits| &limits.learnt);
                if let Some(project) = roster.members.owned_by(project)
                    && roster.counters.knows_more_limits(project, model, theirs, now)
                {
                    let ours = roster.counters.limits_record(project, model, &roster.members, now);
                    roster.tell(&ours, effects);
                }
            }
            _ => {}
        }
        self.wake(now, effects);
    }

    /// Returns all that this pool would tell another that knows nothing: for a cluster that has lost what it was told.
    pub fn facts(&self, now: Now) -> Vec<Record> {
        let kept = self.records(now).into_iter().filter_map(|record| record.to_tell());
        kept.chain(self.desk.roster.breaker_records(now)).collect()
    }

    fn take_in(&mut self, fact: Record, now: Now, effects: &mut Effects) {
        let Self { desk, .. } = self;
        // What is over is over before the fact.
        desk.roster.expire(now, &desk.settings, effects);
        if let Subject::Limits { project, model } = &fact.subject {
            desk.roster.hear_limits(project, model, fact.limits.as_deref(), now, effects);
            return;
        }
        if let Subject::Breaker { model } = &fact.subject {
            desk.roster.hear_of_breaker(model, &fact.state, desk.leases.next(), now, effects);
            return;
        }
        let Some(place) = desk.roster.place_of_fact(fact.subject.clone()) else { return };
        let mut is_news = false;
        if let FactPlace::Present(Site::Key(key)) = place {
            if let Some(number) = fact.number
                && desk.roster.members.get(key).number != Some(number)
            {
                let moved = desk.roster.hear_number(key, number, now, &desk.settings, effects);
                desk.follow(&moved);
                is_news = true;
            }
            is_news |= desk.roster.hear_disabled(key, &fact, effects);
        }
        let next = desk.leases.next();
        let settings = &desk.settings;
        is_news |= desk.roster.hear_cooldown(&place, fact, next, now, settings, effects);
        if is_news {
            let (FactPlace::Present(site) | FactPlace::Former(site)) = &place;
            effects.push(Effect::Persist(desk.roster.record(site, now)));
        }
    }
}

//! Which probe a request has to claim before a key can serve it. Where several nodes share what cooled, one of them probes for
//! all; whose turn it is is kept with the cooldowns, and the pool has the cluster asked.

use meter::Now;

use super::Roster;
use crate::cooldowns::{ClaimWord, Cooldown};
use crate::effect::{Effect, Effects};
use crate::ids::{KeyIx, Site};
use crate::lease_request::{LeaseRequest, Reach};
use crate::record::Subject;
use crate::settings::Settings;

/// How many unclaimed sites are looked at for a request that has found a key already: it must stay cheap.
const LOOKED_AT: usize = 16;
/// How many keys of a site are looked at.
const KEYS_LOOKED_AT: usize = 8;

impl Roster {
    /// Returns the site whose probe has to be claimed before this key can serve the request, where that is all that keeps it
    /// from doing so. Of several the first: the key's own before its project's, its model's and its tools'.
    pub(crate) fn claimable(&self, ix: KeyIx, request: &LeaseRequest) -> Option<Site> {
        let Self { members, cooldowns, .. } = self;
        let key = members.get(ix);
        let project = key.project;
        if cooldowns.is_disabled(ix) || !request.may_use(&key.id) || request.tried.contains(&key.id) {
            return None;
        }
        let tools = request.tools.iter().map(|tool| Site::Tool(project, tool));
        let sites = [Site::Key(ix), Site::Project(project), Site::Model(project, request.model.clone())];
        let mut first = None;
        for site in sites.into_iter().chain(tools) {
            match cooldowns.get(&site) {
                Some(cooldown) if cooldown.is_unclaimed() => first = first.or(Some(site)),
                Some(cooldown) if !cooldown.admits() => return None,
                Some(_) | None => {}
            }
        }
        first
    }

    /// Has the cluster asked for the claim that keeps a key from a request.
    pub(crate) fn claim_for(&mut self, key: KeyIx, request: &LeaseRequest, now: Now, settings: &Settings) {
        if let Some(site) = self.claimable(key, request) {
            self.cooldowns.ask_claim(site, now.mono, &self.members, settings);
        }
    }

    /// Has the cluster asked for a claim that this request could have used, had it not found another key: else what cooled once
    /// would stay unused as long as anything else is free.
    pub(crate) fn claim_along(&mut self, request: &LeaseRequest, now: Now, settings: &Settings) {
        for _ in 0..self.cooldowns.unclaimed().min(LOOKED_AT) {
            let Some(site) = self.cooldowns.take_unclaimed() else { return };
            if !self.cooldowns.get(&site).is_some_and(Cooldown::is_unclaimed) {
                continue;
            }
            if self.is_wanted(&site, request) {
                self.cooldowns.ask_claim(site, now.mono, &self.members, settings);
                return;
            }
            self.cooldowns.put_back_unclaimed(site);
        }
    }

    fn is_wanted(&self, site: &Site, request: &LeaseRequest) -> bool {
        let keys = match site {
            Site::Key(key) => std::slice::from_ref(key),
            Site::Project(project) | Site::Model(project, _) | Site::Tool(project, _) => {
                self.members.of(*project)
            }
        };
        let reaches = |ix: KeyIx| match &request.reach {
            Reach::Any => true,
            Reach::Only(key) => self.find(key) == Some(ix),
            Reach::ProjectOf(key) => self.find(key).is_some_and(|key| self.project(key) == self.project(ix)),
        };
        let wants = |ix: &KeyIx| reaches(*ix) && self.claimable(*ix, request).as_ref() == Some(site);
        keys.iter().take(KEYS_LOOKED_AT).any(wants)
    }

    /// Takes the cluster's answer to a claim.
    pub(crate) fn answer_claim(
        &mut self,
        subject: Subject,
        won: bool,
        now: Now,
        settings: &Settings,
        effects: &mut Effects,
    ) {
        let site = self.site(subject.clone());
        let Self { members, cooldowns, .. } = self;
        let is_of_use =
            site.is_some_and(|site| cooldowns.answer_claim(site, &subject, won, now.mono, members, settings));
        if won && !is_of_use {
            effects.push(Effect::Release(subject));
        }
    }

    /// Has the cluster told what there is to say about claims.
    pub(crate) fn tell_of_claims(&mut self, settings: &Settings, effects: &mut Effects) {
        for word in self.cooldowns.take_claim_words() {
            effects.push(match word {
                ClaimWord::Ask(site) => Effect::Claim(self.subject(&site), settings.probe_patience),
                ClaimWord::Release(subject) => Effect::Release(subject),
            });
        }
    }
}

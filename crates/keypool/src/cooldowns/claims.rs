//! The claims to probes that several nodes share: which are unclaimed, which this node wants asked for, and which it holds. Whose
//! turn it is at each site is kept there; which site a request needs is the roster's to say, and the pool has the cluster asked.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Cooldown, Cooldowns, ProbeTurn};
use crate::company::Company;
use crate::ids::Site;
use crate::members::Members;
use crate::record::Subject;
use crate::settings::Settings;

/// The longest that a node waits before it probes when it cannot ask the others who does.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many unclaimed sites are noted.
const MOST_NOTED: usize = 4_096;

#[derive(Debug)]
pub(super) struct Claims {
    /// Where a probe has become unclaimed, until somebody looks. Some may be claimed by now.
    unclaimed: VecDeque<Site>,
    /// What the cluster is to be asked for.
    wanted: Vec<Site>,
    /// What this node has won, under the name by which it asked.
    held: Vec<(Site, Subject)>,
    /// For the pauses of a node that cannot ask.
    rng: fastrand::Rng,
}

impl Default for Claims {
    fn default() -> Self {
        let rng = fastrand::Rng::with_seed(0);
        Self { unclaimed: VecDeque::new(), wanted: Vec::new(), held: Vec::new(), rng }
    }
}

impl Claims {
    /// Returns how long a node waits before it probes what others may probe as well.
    pub(super) fn pause(&mut self, company: Company) -> Duration {
        match company {
            Company::Alone => LONGEST_PAUSE.mul_f64(self.rng.f64()),
            Company::None | Company::Together => Duration::ZERO,
        }
    }

    pub(super) fn note_unclaimed(&mut self, site: Site) {
        // Those who wait find the others, too.
        if self.unclaimed.len() < MOST_NOTED {
            self.unclaimed.push_back(site);
        }
    }
}

/// What this node has to say to the cluster about claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClaimWord {
    /// It wants this one.
    Ask(Site),
    /// It no longer needs the one that it asked for by this name.
    Release(Subject),
}

impl Cooldowns {
    /// Sets how long this node pauses where each must choose for itself.
    pub(crate) fn seed_pauses(&mut self, seed: u64) {
        self.claims.rng = fastrand::Rng::with_seed(seed);
    }

    /// Goes on in other company. What was claimed of the others ends by itself.
    pub(crate) fn keep_company(
        &mut self,
        company: Company,
        now: Duration,
        members: &Members,
        settings: &Settings,
    ) {
        self.claims.wanted.clear();
        self.claims.held.clear();
        for site in self.sites(members) {
            let pause = self.claims.pause(company);
            let changes_at = self.change(&site, members, |cooldown| {
                cooldown.turn_mut()?.keep_company(company, now, pause);
                cooldown.changes_at(settings)
            });
            if let Some(at) = changes_at {
                self.set_timer(at.max(now), site);
            }
        }
    }

    /// Returns how many unclaimed sites are noted.
    pub(crate) fn unclaimed(&self) -> usize {
        self.claims.unclaimed.len()
    }

    /// Takes out the first of the sites that are noted as unclaimed. It may be claimed by now.
    pub(crate) fn take_unclaimed(&mut self) -> Option<Site> {
        self.claims.unclaimed.pop_front()
    }

    /// Puts a site back behind the others.
    pub(crate) fn put_back_unclaimed(&mut self, site: Site) {
        self.claims.unclaimed.push_back(site);
    }

    /// Notes all unclaimed sites again, since places have changed.
    pub(super) fn note_unclaimed_anew(&mut self, members: &Members) {
        if self.claims.unclaimed.is_empty() {
            return;
        }
        self.claims.unclaimed.clear();
        for site in self.sites(members) {
            if self.get(&site).is_some_and(Cooldown::is_unclaimed) {
                self.claims.note_unclaimed(site);
            }
        }
    }

    /// Has the cluster asked for the claim to a site that is unclaimed.
    pub(crate) fn ask_claim(&mut self, site: Site, now: Duration, members: &Members, settings: &Settings) {
        if !self.get(&site).is_some_and(Cooldown::is_unclaimed) {
            return;
        }
        let asked = self.change(&site, members, |cooldown| {
            *cooldown.turn_mut()? = ProbeTurn::Asked { at: now };
            cooldown.changes_at(settings)
        });
        if let Some(at) = asked {
            self.set_timer(at, site.clone());
            self.claims.wanted.push(site);
        }
    }

    /// Takes the cluster's answer to a claim of this name. Returns whether it is of use here.
    pub(crate) fn answer_claim(
        &mut self,
        site: Site,
        subject: &Subject,
        won: bool,
        now: Duration,
        members: &Members,
        settings: &Settings,
    ) -> bool {
        if self.get(&site).is_none() {
            return false;
        }
        let changes_at = self.change(&site, members, |cooldown| {
            let turn = cooldown.turn_mut()?;
            let is_of_use = turn.answer_claim(won, now, settings.probe_patience);
            cooldown.changes_at(settings).filter(|_| is_of_use)
        });
        let Some(changes_at) = changes_at else { return false };
        self.set_timer(changes_at, site.clone());
        if won && self.claims.held.iter().all(|(held, _)| *held != site) {
            self.claims.held.push((site, subject.clone()));
        }
        true
    }

    /// Moves the claims that this node holds to the present places of their keys.
    pub(super) fn move_claims(&mut self, moved: impl Fn(&Site) -> Option<Site>) {
        // What is gone is released when its site is looked for and not found.
        for (site, _) in &mut self.claims.held {
            if let Some(present) = moved(site) {
                *site = present;
            }
        }
    }

    /// Takes out what the cluster is to be told about claims: what is wanted, and what is no longer needed.
    pub(crate) fn take_claim_words(&mut self) -> Vec<ClaimWord> {
        if self.claims.wanted.is_empty() && self.claims.held.is_empty() {
            return Vec::new();
        }
        let (mut words, mut kept) = (Vec::new(), Vec::new());
        for (site, subject) in std::mem::take(&mut self.claims.held) {
            let turn = self.get(&site).and_then(Cooldown::turn);
            if turn.is_some_and(ProbeTurn::is_claimed_here) {
                kept.push((site, subject));
            } else {
                words.push(ClaimWord::Release(subject));
            }
        }
        self.claims.held = kept;
        // Behind what is released, which may be wanted again.
        words.extend(std::mem::take(&mut self.claims.wanted).into_iter().map(ClaimWord::Ask));
        words
    }
}

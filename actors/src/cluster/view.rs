//! The cluster as people see it: who is there, how far each has read, whether their settings agree, and where an operator's word
//! has arrived.

use super::{ClusterShared, agreement};
use gemini_balance_cluster::{Beat, FactId};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How long it takes until all that have come together have been seen: each says so as soon as it finds Redis there, for which
/// it looks four times a second.
const ALL_HAVE_COME: Duration = Duration::from_millis(1_500);

/// Whether this gateway is with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Together {
        /// Since when.
        since: Instant,
    },
    /// It goes on by itself.
    Alone {
        /// Since when.
        since: Instant,
        /// What Redis does; `None` where it has not been asked yet.
        why: Option<String>,
    },
}

/// The cluster at one moment.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// What this gateway is called.
    pub name: String,
    /// Why it is alone, if it is.
    pub alone: Option<String>,
    /// For how long it has been together with the others, or alone.
    pub so_for: Duration,
    /// All that were heard lately, this one included.
    pub gateways: Vec<GatewayView>,
    /// Facts that this gateway has told since it started.
    pub told: u64,
    /// Facts that it has heard.
    pub heard: u64,
    /// Facts that it has still to tell.
    pub untold: usize,
    /// Calls to Redis that failed.
    pub failed: u64,
}

/// One gateway of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayView {
    /// What the operator calls it.
    pub name: String,
    /// Whether it is the one that was asked.
    pub is_this: bool,
    /// Whether it was heard in the last seconds.
    pub is_there: bool,
    /// The version it runs.
    pub version: String,
    /// When it started, in milliseconds since 1970.
    pub since_ms: u64,
    /// How long ago it was heard.
    pub silent_for: Duration,
    /// By how much it is behind the one that has read most, in milliseconds of the facts' clock.
    pub behind_ms: u64,
    /// The parts in which its settings differ from those of the one that was asked.
    pub differs_in: Vec<String>,
}

impl ClusterView {
    /// Whether all are there and agree, and this one is not alone.
    pub fn is_well(&self) -> bool {
        self.alone.is_none()
            && self.gateways.iter().all(|gateway| gateway.is_there && gateway.differs_in.is_empty())
    }
}

/// Where an operator's word has been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordReach {
    /// On how many gateways.
    pub done: usize,
    /// Of how many.
    pub of: usize,
    /// Those that have not said so.
    pub silent: Vec<String>,
    /// Why it was done here alone, if that is so; the others hear of it later.
    pub alone: Option<String>,
}

impl WordReach {
    /// Whether it was done on all.
    pub fn is_everywhere(&self) -> bool {
        self.alone.is_none() && self.done == self.of
    }
}

/// Over how many gateways the use of callers counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallersCounted {
    /// So many count together; 1 where this one goes by what it knows.
    pub gateways: usize,
    /// Why that is so, if it is.
    pub alone: Option<String>,
}

/// Returns over how many gateways callers are counted, where the count with the others goes on or does not.
pub(super) fn counted(shared: &ClusterShared, is_together: bool) -> CallersCounted {
    let company = shared.company();
    // The two are asked over connections of their own: one may know before the other, and one that has nothing to tell does not.
    let alone = match standing(&company.presence) {
        (None, _) => (!is_together).then(|| "Redis does not answer".to_owned()),
        (alone, _) => alone,
    };
    let there = company.members.iter().filter(|member| member.is_there()).count();
    CallersCounted { gateways: if alone.is_some() { 1 } else { there.max(1) }, alone }
}

/// Says why a gateway is alone, if it is, and since when it stands so.
fn standing(presence: &Presence) -> (Option<String>, Instant) {
    match presence {
        Presence::Together { since } => (None, *since),
        Presence::Alone { since, why } => {
            let why = why.clone().unwrap_or_else(|| "Redis has not been asked yet".to_owned());
            (Some(why), *since)
        }
    }
}

pub(super) fn of(shared: &ClusterShared) -> ClusterView {
    let company = shared.company();
    let (alone, since) = standing(&company.presence);
    let own = company.members.iter().find(|member| member.node == shared.node);
    let newest = company.members.iter().map(|member| member.beat.applied).max().unwrap_or_default();
    let since_read = company.read_at.map(|at| at.elapsed()).unwrap_or_default();
    let gateways = company.members.iter().map(|member| GatewayView {
        name: member.beat.name.clone(),
        is_this: member.node == shared.node,
        is_there: member.is_there() && alone.is_none(),
        version: member.beat.version.clone(),
        since_ms: member.beat.since_ms,
        silent_for: member.silent_for + since_read,
        behind_ms: behind_ms(newest, &member.beat),
        differs_in: own.map(|own| agreement::differing(own, member)).unwrap_or_default(),
    });
    ClusterView {
        name: shared.name.clone(),
        alone: alone.clone(),
        so_for: since.elapsed(),
        gateways: gateways.collect(),
        told: shared.told.load(Ordering::Relaxed),
        heard: shared.heard.load(Ordering::Relaxed),
        untold: shared.outbox.untold(),
        failed: shared.failed.load(Ordering::Relaxed),
    }
}

/// Returns by how much a gateway is behind the fact that is the newest anybody has read. One that has just started has read
/// nothing yet, and is behind for as long as it is there.
fn behind_ms(newest: FactId, beat: &Beat) -> u64 {
    newest.ms.saturating_sub(beat.applied.ms.max(beat.since_ms))
}

/// Returns who has read all that this gateway has told so far.
pub(super) fn reach(shared: &ClusterShared) -> WordReach {
    let is_told = shared.outbox.untold() == 0;
    let wanted = shared.outbox.last_told();
    let company = shared.company();
    let alone = match &company.presence {
        Presence::Together { .. } => None,
        Presence::Alone { why, .. } => Some(why.clone().unwrap_or_default()),
    };
    let has_done = |applied: FactId| is_told && applied >= wanted;
    let others = company.members.iter().filter(|member| member.node != shared.node);
    let silent: Vec<_> = others
        .clone()
        .filter(|member| alone.is_some() || !has_done(member.beat.applied))
        .map(|member| member.beat.name.clone())
        .collect();
    let of = others.count() + 1;
    WordReach { done: of - silent.len(), of, silent, alone }
}

/// Whether this gateway has been together with the others for long enough to have seen each of them: those that came, or came
/// back, at the same time say so within a moment of each other.
pub(super) fn knows_who_is_there(shared: &ClusterShared) -> bool {
    match shared.company().presence {
        Presence::Together { since } => since.elapsed() >= ALL_HAVE_COME,
        Presence::Alone { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_behind_for_longer_than_it_is_there() {
        let newest = FactId { ms: 10_000, seq: 0 };
        for (applied, since_ms, behind) in
            [(10_000, 1_000, 0), (9_960, 1_000, 40), (0, 9_000, 1_000), (0, 11_000, 0)]
        {
            let applied = FactId { ms: applied, seq: 0 };
            let beat = Beat { applied, since_ms, ..Beat::default() };
            assert_eq!(behind_ms(newest, &beat), behind, "{beat:?}");
        }
    }
}

//! What a request asks of the pool. How it can be answered is in `answer`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gemini::fault::{Fault, Quota};
use meter::Gauge;

use crate::key::{KeyId, Tried};
use crate::limit::gauge_of;
use crate::tool::Tools;

/// A request for a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The model the request names, if it names one. The same spelling each time, without `models/`.
    pub model: Option<Arc<str>>,
    /// Which keys can serve it at all.
    pub reach: Reach,
    /// The only keys, by their ids, that its caller may be served by; `None` where that is no matter.
    pub among: Option<Arc<HashSet<Arc<str>>>>,
    /// The keys it has used already, which are not given again.
    pub tried: Tried,
    /// What is better avoided, where there is a choice.
    pub avoid: Avoid,
    /// Whether it would rather wait than be refused.
    pub may_wait: bool,
    /// A hash of its beginning, by which [`Strategy::Prefix`](crate::Strategy::Prefix) keeps it with its like.
    pub prefix: Option<u64>,
    /// Whether it is kept with its like whatever the strategy is, as a step of a conversation that carries along what was
    /// said in one project.
    pub keep_together: bool,
    /// Whether it is another attempt after a fault of the model.
    pub retry: Retry,
    /// The tools it uses that have quotas of their own.
    pub tools: Tools,
    /// How many input tokens it is thought to have; 0 when nothing is known.
    pub input_tokens: u64,
    /// The key on which the attempt before failed: given again only where there is no other. Unlike those in `tried`, it
    /// may be; a model that fails on one key may serve on the next.
    pub failed_on: Option<KeyId>,
    /// A limit of input tokens in a minute that the request alone exceeds, as the refusal of an attempt named it: projects
    /// that are known to have no higher one for its model are not asked. See [`LeaseRequest::heed`].
    pub exceeds: Option<u64>,
    /// How long it has waited in earlier attempts; counts against `max_wait`.
    pub waited: Duration,
}

impl LeaseRequest {
    /// Any key for this model, now or later.
    pub fn any(model: Option<Arc<str>>) -> Self {
        Self { model, may_wait: true, ..Self::default() }
    }

    /// Whether its caller may be served by this key.
    pub(crate) fn may_use(&self, key: &KeyId) -> bool {
        self.among.as_ref().is_none_or(|among| among.contains(key.as_str()))
    }

    /// Takes from a failed attempt what the next one can do better, before its lease is asked for: another key, where there
    /// is one, and none that is bound to refuse.
    ///
    /// The attempt loop calls this after every fault. With the tried key in `tried`, and [`Avoid::TriedProjects`] after
    /// a fault of a project's, the pool then gives one project with room after the other until none is left, which it
    /// says by [`Refusal::NoneLeft`](crate::Refusal::NoneLeft) or, where those left cool, by
    /// [`Refusal::Cooling`](crate::Refusal::Cooling). But where the refused quota is of input tokens in a minute, and the
    /// request alone is larger than that by its estimate and a quarter more, since estimates are rather too high, no
    /// project that is known to have the same limit or a lower one is given: it would refuse as well.
    pub fn heed(&mut self, key: &KeyId, fault: &Fault) {
        self.failed_on = Some(key.clone());
        let of_tokens = |quota: &&Quota| gauge_of(quota) == Some(Gauge::Tpm);
        let limits = fault.quotas.iter().filter(of_tokens).filter_map(|quota| quota.limit);
        let too_small =
            limits.filter(|limit| *limit > 0 && self.input_tokens > limit.saturating_add(limit / 4));
        self.exceeds = self.exceeds.into_iter().chain(too_small).max();
    }

    /// Whether any key that can serve the one can serve the other at the same time.
    pub(crate) fn wants_the_same(&self, other: &Self) -> bool {
        self.model == other.model
            && self.reach == other.reach
            && self.among == other.among
            && self.tried == other.tried
            && self.retry == other.retry
            && self.tools == other.tools
            && self.input_tokens == other.input_tokens
            && self.exceeds == other.exceeds
    }
}

/// Which keys can serve a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    #[default]
    Any,
    /// Those of this key's project, which owns the resource that the request names.
    ProjectOf(KeyId),
    /// Only this one.
    Only(KeyId),
}

/// What a request had better avoid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Avoid {
    /// Nothing.
    #[default]
    Nothing,
    /// Projects of the keys it has tried: the last fault was the project's.
    TriedProjects,
}

/// Whether a request has been tried before. Retries that a model's own faults cause add to its load when it can bear it
/// least, so the pool allows few of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// It has not, or failed for another reason.
    #[default]
    No,
    /// The last attempt met a fault of the model as a whole.
    ModelFault,
}

//! Sums over leases that people read and that decide nothing: what became of them, and whose faults there were. Which
//! lease goes into which sum is `counters`' matter.

use std::sync::Arc;

use gemini::fault::{Fault, Kind, Proof, Scope};
use serde::{Deserialize, Serialize};

use crate::lease::{Outcome, Settlement};

/// Sums over leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Leases that were granted.
    pub leases: u64,
    /// Settled as a success.
    pub successes: u64,
    /// Settled with a fault, whoever is to blame.
    pub faults: u64,
    /// Settled as abandoned.
    pub abandoned: u64,
    /// The faults, by who is to blame.
    pub faults_of: FaultTotals,
    /// Input tokens, as far as the upstream said.
    pub input_tokens: u64,
    /// Output tokens, as far as the upstream said.
    pub output_tokens: u64,
}

/// Faults by who or what is to blame. They add up to all faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultTotals {
    /// The key: invalid, suspended, restricted.
    pub key: u64,
    /// The project or its billing, or a model that it may not use.
    pub project: u64,
    /// Faults of a spent quota.
    pub quota: u64,
    /// The model as a whole: overloaded, broken.
    pub model: u64,
    /// The request, or the resource that it names.
    pub client: u64,
    /// Faults of this gateway itself.
    pub gateway: u64,
    /// The way to the upstream.
    pub transport: u64,
}

/// The sums of a key, or of a model on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Of all the leases.
    pub totals: Totals,
    /// By model, in a record of old: those of today have a record each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelUsage>,
}

impl Usage {
    pub(crate) fn of(totals: Totals) -> Self {
        Self { totals, models: Vec::new() }
    }
}

/// The sums of a model on a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelUsage {
    /// The model; `None` stands for requests that name none.
    pub model: Option<Arc<str>>,
    /// Of the key's leases for it.
    pub totals: Totals,
}

impl Totals {
    pub(crate) fn settle(&mut self, settlement: &Settlement) {
        match &settlement.outcome {
            Outcome::Success => self.successes += 1,
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::Unused => self.leases = self.leases.saturating_sub(1),
            Outcome::Fault(fault) => {
                self.faults += 1;
                *self.faults_of.class(fault) += 1;
            }
        }
        self.input_tokens = self.input_tokens.saturating_add(settlement.input_tokens.unwrap_or_default());
        self.output_tokens = self.output_tokens.saturating_add(settlement.output_tokens.unwrap_or_default());
    }
}

impl FaultTotals {
    fn class(&mut self, fault: &Fault) -> &mut u64 {
        match fault.scope() {
            Scope::Key => &mut self.key,
            Scope::ProjectModel if fault.kind.proof() != Proof::Answer => &mut self.key,
            Scope::ProjectModel if fault.kind == Kind::ModelWithheld => &mut self.project,
            Scope::Project | Scope::Billing => &mut self.project,
            Scope::ProjectModel | Scope::ProjectTool => &mut self.quota,
            Scope::Model => &mut self.model,
            Scope::Binding | Scope::Client => &mut self.client,
            Scope::Gateway => &mut self.gateway,
            Scope::Route | Scope::Nobody => &mut self.transport,
        }
    }
}

//! A quota of Google's by the name that its refusal gave it, for whoever must tell a client what is spent. What quotas
//! there are and what cools for them is not decided here.

use std::sync::Arc;

use gemini::fault::{Fault, QuotaWindow};
use serde::{Deserialize, Serialize};

/// A quota that is spent, as Google named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedQuota {
    /// `quotaId` as Google wrote it, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`.
    pub id: Arc<str>,
    /// The model that Google named beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// Whether it is a day's: it is spent until midnight in Los Angeles.
    pub daily: bool,
}

impl NamedQuota {
    /// Returns the quota that a refusal names: of several a day's, else the first.
    pub(crate) fn of(fault: &Fault) -> Option<Arc<Self>> {
        let named = || fault.quotas.iter().filter(|quota| !quota.id.is_empty());
        let is_daily = |window| window == QuotaWindow::Day;
        let quota = named().find(|quota| is_daily(quota.window)).or_else(|| named().next())?;
        let (id, model) = (Arc::from(&*quota.id), quota.model.as_deref().map(Arc::from));
        Some(Arc::new(Self { id, model, daily: is_daily(quota.window) }))
    }
}

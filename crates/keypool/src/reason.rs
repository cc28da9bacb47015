//! Why something cools or is retired, in words that can be stored and shown.

use std::fmt;

use gemini::fault::Kind;
use serde::{Deserialize, Serialize};

/// Why a key, a project or a model is left alone. Only faults that can blame one of them are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Google calls the key invalid or expired.
    KeyInvalid,
    /// Google does not accept the key as a credential.
    KeyUnauthenticated,
    /// The key is suspended or was reported as leaked.
    KeySuspended,
    /// The key's restrictions forbid the call.
    KeyRestricted,
    /// Forbidden, for a reason Google did not name.
    Forbidden,
    /// The prepaid credits are gone.
    CreditsGone,
    /// Billing is disabled.
    BillingDisabled,
    /// The API is not enabled.
    ServiceDisabled,
    /// The monthly spending cap is reached.
    SpendingCap,
    /// The model is not offered to this project.
    ModelWithheld,
    /// A quota per minute is used up.
    QuotaMinute,
    /// A quota per day is used up.
    QuotaDay,
    /// The quota is zero: the model is not in the project's tier.
    QuotaZero,
    /// A tool's quota is used up.
    ToolQuota,
    /// A rate limit that Google did not name.
    RateLimit,
    /// The connection failed, several times in a row.
    Transport,
    /// Anything else, or a reason stored by a later version.
    #[serde(other)]
    Other,
}

impl From<Kind> for Reason {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::KeyInvalid => Self::KeyInvalid,
            Kind::KeyUnauthenticated => Self::KeyUnauthenticated,
            Kind::KeySuspended => Self::KeySuspended,
            Kind::KeyRestricted | Kind::MethodBlocked => Self::KeyRestricted,
            Kind::Forbidden => Self::Forbidden,
            Kind::CreditsGone => Self::CreditsGone,
            Kind::BillingDisabled => Self::BillingDisabled,
            Kind::ServiceDisabled => Self::ServiceDisabled,
            Kind::SpendingCap => Self::SpendingCap,
            Kind::ModelWithheld => Self::ModelWithheld,
            Kind::QuotaMinute => Self::QuotaMinute,
            Kind::QuotaDay => Self::QuotaDay,
            Kind::QuotaZero => Self::QuotaZero,
            Kind::QuotaUnnamed => Self::ToolQuota,
            Kind::QuotaBare | Kind::RateLimited => Self::RateLimit,
            Kind::HeadLost | Kind::BodyLost => Self::Transport,
            _ => Self::Other,
        }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::KeyInvalid,
        Self::KeyUnauthenticated,
        Self::KeySuspended,
        Self::KeyRestricted,
        Self::Forbidden,
        Self::CreditsGone,
        Self::BillingDisabled,
        Self::ServiceDisabled,
        Self::SpendingCap,
        Self::ModelWithheld,
        Self::QuotaMinute,
        Self::QuotaDay,
        Self::QuotaZero,
        Self::ToolQuota,
        Self::RateLimit,
        Self::Transport,
        Self::Other,
    ];

    /// The word by which it is stored, and which metrics use.
    pub fn word(self) -> &'static str {
        match self {
            Self::KeyInvalid => "key_invalid",
            Self::KeyUnauthenticated => "key_unauthenticated",
            Self::KeySuspended => "key_suspended",
            Self::KeyRestricted => "key_restricted",
            Self::Forbidden => "forbidden",
            Self::CreditsGone => "credits_gone",
            Self::BillingDisabled => "billing_disabled",
            Self::ServiceDisabled => "service_disabled",
            Self::SpendingCap => "spending_cap",
            Self::ModelWithheld => "model_withheld",
            Self::QuotaMinute => "quota_minute",
            Self::QuotaDay => "quota_day",
            Self::QuotaZero => "quota_zero",
            Self::ToolQuota => "tool_quota",
            Self::RateLimit => "rate_limit",
            Self::Transport => "transport",
            Self::Other => "other",
        }
    }

    /// Whether the backoff begins with `rate_limit_default_wait` instead of `cooldown_initial`.
    pub(crate) fn is_rate_limit(self) -> bool {
        matches!(
            self,
            Self::QuotaMinute | Self::QuotaDay | Self::QuotaZero | Self::ToolQuota | Self::RateLimit
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyInvalid => "the key is invalid or expired",
            Self::KeyUnauthenticated => "the key is not accepted as a credential",
            Self::KeySuspended => "the key is suspended or was reported as leaked",
            Self::KeyRestricted => "the key's restrictions forbid the call",
            Self::Forbidden => "forbidden, no reason given",
            Self::CreditsGone => "the prepaid credits are gone",
            Self::BillingDisabled => "billing is disabled",
            Self::ServiceDisabled => "the API is not enabled in the project",
            Self::SpendingCap => "the monthly spending cap is reached",
            Self::ModelWithheld => "the model is not offered to the project",
            Self::QuotaMinute => "a quota per minute is used up",
            Self::QuotaDay => "a quota per day is used up",
            Self::QuotaZero => "the model is not in the project's tier",
            Self::ToolQuota => "the tool's quota is used up",
            Self::RateLimit => "rate limit, no quota named",
            Self::Transport => "connections failed several times in a row",
            Self::Other => "another fault",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_one_that_is_stored() {
        let words: Vec<_> = Reason::ALL.map(Reason::word).into();
        let stored: Vec<_> = Reason::ALL.map(|reason| serde_json::to_value(reason).unwrap()).into();
        assert_eq!(words, stored);
    }
}

//! What the real API says with each of its errors. `keys` has those that a key's state causes, `quota` those of a limit.

use std::time::Duration;

use crate::auth::key_unknown;
use crate::error::ApiError;
use crate::google::GoogleError;
use crate::keys::{Key, KeyState, refusal};
use crate::quota::{Dimension, Metered, exceeded};
use crate::route::Route;

/// Who asked for what.
pub(crate) struct Asker<'a> {
    /// The credential, or nothing.
    pub(crate) secret: &'a str,
    pub(crate) project: &'a str,
    pub(crate) model: &'a str,
    pub(crate) route: &'a Route,
}

impl GoogleError {
    /// The whole error, as this caller would hear it.
    pub(crate) fn told(self, to: &Asker<'_>) -> ApiError {
        let quota = |refused: &[(Dimension, u64)]| {
            exceeded(refused, to.model, Metered::Generate, Duration::from_millis(34_070))
        };
        let of_key = |state| {
            let key = Key::valid(to.secret, to.project).in_state(state);
            refusal(&key, &to.route.rpc()).unwrap_or_else(|| ApiError::usual(403))
        };
        match self {
            Self::KeyInvalid => key_unknown(to.route.surface),
            Self::KeyExpired => of_key(KeyState::Expired),
            Self::CredentialsMultiple => ApiError::multiple_credentials(),
            Self::LocationUnsupported => of_key(KeyState::LocationBlocked),
            Self::UnknownField => ApiError::unknown_field("x"),
            Self::PayloadTooLarge => {
                ApiError::new(400, "Request payload size exceeds the limit: 20971520 bytes.")
            }
            Self::InputTooLong => ApiError::input_too_long(1_048_577, 1_048_576),
            Self::SignatureMissing => ApiError::signature_missing("f", Some(2)),
            Self::SignatureCorrupted => ApiError::signature_corrupted(),
            Self::Unauthenticated => of_key(KeyState::Unauthenticated),
            Self::CreditsGone => of_key(KeyState::CreditsDepleted),
            Self::CreditsDepleted => ApiError::new(
                429,
                "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
            ),
            Self::KeySuspended => of_key(KeyState::Suspended),
            Self::KeyLeaked => of_key(KeyState::Leaked),
            Self::KeyRestricted => of_key(KeyState::Restricted),
            Self::ReferrerBlocked => of_key(KeyState::ReferrerBlocked),
            Self::ServiceDisabled => of_key(KeyState::ServiceDisabled),
            Self::BillingDisabled => of_key(KeyState::BillingDisabled),
            Self::UnregisteredCaller => ApiError::unregistered(),
            Self::FileUnreachable => ApiError::new(
                403,
                "You do not have permission to access the File abc-123 or it may not exist.",
            ),
            Self::Forbidden => ApiError::usual(403),
            Self::ModelWithheld => ApiError::new(
                404,
                format!(
                    "This model models/{} is no longer available to new users. Please update your code to use a newer model for the latest features and improvements.",
                    to.model
                ),
            ),
            Self::ModelNotFound => ApiError::new(
                404,
                format!(
                    "models/{} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.",
                    to.model
                ),
            ),
            Self::NotFound => ApiError::usual(404),
            Self::QuotaMinute => quota(&[(Dimension::RequestsPerMinute, 5)]),
            Self::QuotaTokens => quota(&[(Dimension::TokensPerMinute, 250_000)]),
            Self::QuotaDay => quota(&[(Dimension::RequestsPerDay, 20)]),
            Self::QuotaDayAndMinute => {
                quota(&[(Dimension::RequestsPerDay, 20), (Dimension::RequestsPerMinute, 5)])
            }
            Self::QuotaZero => quota(&[
                (Dimension::RequestsPerDay, 0),
                (Dimension::RequestsPerMinute, 0),
                (Dimension::TokensPerMinute, 0),
            ]),
            Self::ToolQuota => ApiError::new(
                429,
                "You exceeded your current quota, please check your plan and billing details. For more information on this error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: https://ai.dev/rate-limit. ",
            )
            .help("Learn more about Gemini API quotas", "https://ai.google.dev/gemini-api/docs/rate-limits"),
            Self::SpendingCap => ApiError::new(
                429,
                "Your project has exceeded its monthly spending cap. Please go to AI Studio to manage your project spend cap.",
            ),
            Self::QuotaBare => ApiError::usual(429),
            Self::Cancelled => ApiError::new(499, "The operation was cancelled."),
            Self::Internal => ApiError::usual(500),
            Self::Overloaded => ApiError::usual(503),
            Self::HighDemand => ApiError::new(
                503,
                "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try again later.",
            ),
            Self::DeadlineExceeded => ApiError::usual(504),
        }
    }
}

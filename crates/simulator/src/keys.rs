//! The keys Google knows, and what Google says about those it does not like.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{ApiError, SERVICE};

/// An API key known to the simulated Google.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The credential itself.
    pub secret: String,
    /// The Google project that owns it; keys of one project share quotas.
    pub project: String,
    /// Whether Google takes it.
    #[serde(default)]
    pub state: KeyState,
}

impl Key {
    /// A key that works.
    pub fn valid(secret: impl Into<String>, project: impl Into<String>) -> Self {
        Self { secret: secret.into(), project: project.into(), state: KeyState::Valid }
    }

    /// The same key in another state.
    #[must_use]
    pub fn in_state(mut self, state: KeyState) -> Self {
        self.state = state;
        self
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("secret", &"***")
            .field("project", &self.project)
            .field("state", &self.state)
            .finish()
    }
}

/// Google's opinion of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It works.
    #[default]
    Valid,
    /// 400 `API_KEY_INVALID`, "API key not valid".
    Invalid,
    /// 400 `API_KEY_INVALID`, "API key expired".
    Expired,
    /// 403 `CONSUMER_SUSPENDED`; the answer echoes the key.
    Suspended,
    /// 403 "reported as leaked", without details.
    Leaked,
    /// 403 `API_KEY_SERVICE_BLOCKED`: the key's restrictions exclude this API.
    Restricted,
    /// 403 `API_KEY_HTTP_REFERRER_BLOCKED`.
    ReferrerBlocked,
    /// 403 `SERVICE_DISABLED`: the API is not enabled in the project.
    ServiceDisabled,
    /// 403 `BILLING_DISABLED`.
    BillingDisabled,
    /// 401 `ACCESS_TOKEN_TYPE_UNSUPPORTED`, what unrestricted standard keys get since June 2026.
    Unauthenticated,
    /// 402: the prepaid credits of the billing account are gone.
    CreditsDepleted,
    /// 400 `FAILED_PRECONDITION`: "User location is not supported".
    LocationBlocked,
}

/// What Google answers to `key` calling `method` (`google.ai.generativelanguage...` name), if it refuses it.
pub(crate) fn refusal(key: &Key, method: &str) -> Option<ApiError> {
    let consumer = format!("projects/{}", key.project);
    let error = match key.state {
        KeyState::Valid => return None,
        KeyState::Invalid => ApiError::key_invalid("API key not valid. Please pass a valid API key."),
        KeyState::Expired => ApiError::key_invalid("API key expired. Please renew the API key."),
        KeyState::Suspended => {
            let container = format!("api_key:{}", key.secret);
            let message = format!("Permission denied: Consumer '{container}' has been suspended.");
            ApiError::new(403, message).info(
                "CONSUMER_SUSPENDED",
                &json!({"consumer": consumer, "containerInfo": container, "service": SERVICE}),
            )
        }
        KeyState::Leaked => {
            ApiError::new(403, "Your API key was reported as leaked. Please use another API key.")
        }
        KeyState::Restricted => {
            ApiError::new(403, format!("Requests to this API {SERVICE} method {method} are blocked.")).info(
                "API_KEY_SERVICE_BLOCKED",
                &json!({"consumer": consumer, "service": SERVICE, "apiName": SERVICE, "methodName": method}),
            )
        }
        KeyState::ReferrerBlocked => ApiError::new(403, "Requests from referer <empty> are blocked.").info(
            "API_KEY_HTTP_REFERRER_BLOCKED",
            &json!({"consumer": consumer, "service": SERVICE, "httpReferrer": "<empty>"}),
        ),
        KeyState::ServiceDisabled => {
            let url = format!(
                "https://console.developers.google.com/apis/api/{SERVICE}/overview?project={}",
                key.project
            );
            let message = format!(
                "Generative Language API has not been used in project {} before or it is disabled. Enable it by visiting {url} then retry.",
                key.project
            );
            ApiError::new(403, message)
                .help("Google developers console API activation", &url)
                .info("SERVICE_DISABLED", &json!({"consumer": consumer, "service": SERVICE}))
        }
        KeyState::BillingDisabled => {
            let message = format!(
                "This API method requires billing to be enabled. Please enable billing on project {}.",
                key.project
            );
            ApiError::new(403, message)
                .info("BILLING_DISABLED", &json!({"consumer": consumer, "service": SERVICE}))
        }
        KeyState::Unauthenticated => ApiError::unauthenticated(method),
        KeyState::CreditsDepleted => ApiError::new(
            402,
            "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.",
        ),
        KeyState::LocationBlocked => ApiError::new(400, "User location is not supported for the API use.")
            .status("FAILED_PRECONDITION"),
    };
    Some(error)
}

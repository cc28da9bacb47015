//! The real API's errors by name, so that a rule need not spell them; `refusals` has their bodies.

use serde::{Deserialize, Serialize};

/// One of Google's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoogleError {
    /// 400 `API_KEY_INVALID`, "API key not valid"; on the OpenAI layer its other wording, without details.
    KeyInvalid,
    /// 400 `API_KEY_INVALID`, "API key expired".
    KeyExpired,
    /// 400 "Multiple authentication credentials received".
    CredentialsMultiple,
    /// 400 `FAILED_PRECONDITION`, "User location is not supported".
    LocationUnsupported,
    /// 400 "Invalid JSON payload received. Unknown name", with a `BadRequest`.
    UnknownField,
    /// 400 "Request payload size exceeds the limit".
    PayloadTooLarge,
    /// 400 "The input token count (1048577) exceeds the maximum number of tokens allowed".
    InputTooLong,
    /// 400 "Function call is missing a `thought_signature`".
    SignatureMissing,
    /// 400 "Corrupted thought signature."
    SignatureCorrupted,
    /// 401 `ACCESS_TOKEN_TYPE_UNSUPPORTED`.
    Unauthenticated,
    /// 402: the prepaid credits are gone.
    CreditsGone,
    /// 429, as 402 was before.
    CreditsDepleted,
    /// 403 `CONSUMER_SUSPENDED`; it echoes the key.
    KeySuspended,
    /// 403 "reported as leaked".
    KeyLeaked,
    /// 403 `API_KEY_SERVICE_BLOCKED`.
    KeyRestricted,
    /// 403 `API_KEY_HTTP_REFERRER_BLOCKED`.
    ReferrerBlocked,
    /// 403 `SERVICE_DISABLED`.
    ServiceDisabled,
    /// 403 `BILLING_DISABLED`.
    BillingDisabled,
    /// 403 "Method doesn't allow unregistered callers".
    UnregisteredCaller,
    /// 403 about a file of another project, or none.
    FileUnreachable,
    /// 403 "The caller does not have permission".
    Forbidden,
    /// 404: the model is "no longer available to new users".
    ModelWithheld,
    /// 404: no such model or method.
    ModelNotFound,
    /// 404 "Requested entity was not found".
    NotFound,
    /// 429 with a per-minute quota of requests and a `RetryInfo` of 35 s.
    QuotaMinute,
    /// 429 with a per-minute quota of input tokens.
    QuotaTokens,
    /// 429 with a per-day quota and a `RetryInfo` that is wrong.
    QuotaDay,
    /// 429 with a per-day and a per-minute quota.
    QuotaDayAndMinute,
    /// 429 with a limit of zero: the model is not in this tier.
    QuotaZero,
    /// 429 "You exceeded your current quota" with only a `Help`: a tool's quota, such as `google_search`'s.
    ToolQuota,
    /// 429: the project's monthly spending cap.
    SpendingCap,
    /// 429 "Resource has been exhausted (e.g. check quota)", without details.
    QuotaBare,
    /// 499.
    Cancelled,
    /// 500.
    Internal,
    /// 503 "The model is overloaded".
    Overloaded,
    /// 503 "This model is currently experiencing high demand", in Google's wording of 2026.
    HighDemand,
    /// 504.
    DeadlineExceeded,
}

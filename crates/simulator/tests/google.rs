//! Google's errors by name: the status and the body of each, on either surface.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Fault, GoogleError, Rule};
use serde_json::{Value, json};
use wire::*;

/// The error's name, its status, its status word, how its message begins, and the types and reasons of its details.
const TABLE: &[(&str, u16, &str, &str, &[&str])] = &[
    ("key_invalid", 400, "INVALID_ARGUMENT", "API key not valid.", &["API_KEY_INVALID"]),
    ("key_expired", 400, "INVALID_ARGUMENT", "API key expired.", &["API_KEY_INVALID"]),
    ("credentials_multiple", 400, "INVALID_ARGUMENT", "Multiple authentication credentials received.", &[]),
    ("location_unsupported", 400, "FAILED_PRECONDITION", "User location is not supported", &[]),
    (
        "unknown_field",
        400,
        "INVALID_ARGUMENT",
        "Invalid JSON payload received. Unknown name \"x\"",
        &["BadRequest"],
    ),
    ("payload_too_large", 400, "INVALID_ARGUMENT", "Request payload size exceeds the limit:", &[]),
    (
        "input_too_long",
        400,
        "INVALID_ARGUMENT",
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
        &[],
    ),
    ("signature_missing", 400, "INVALID_ARGUMENT", "Function call is missing a thought_signature", &[]),
    ("signature_corrupted", 400, "INVALID_ARGUMENT", "Corrupted thought signature.", &[]),
    ("unauthenticated", 401, "UNAUTHENTICATED", "Request had invalid", &["ACCESS_TOKEN_TYPE_UNSUPPORTED"]),
    ("credits_gone", 402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", &[]),
    ("credits_depleted", 429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.", &[]),
    (
        "key_suspended",
        403,
        "PERMISSION_DENIED",
        "Permission denied: Consumer 'api_key:AIzaAlpha' has been suspended.",
        &["CONSUMER_SUSPENDED"],
    ),
    ("key_leaked", 403, "PERMISSION_DENIED", "Your API key was reported as leaked.", &[]),
    (
        "key_restricted",
        403,
        "PERMISSION_DENIED",
        "Requests to this API generativelanguage.googleapis.com method google.ai.",
        &["API_KEY_SERVICE_BLOCKED"],
    ),
    (
        "referrer_blocked",
        403,
        "PERMISSION_DENIED",
        "Requests from referer <empty> are blocked.",
        &["API_KEY_HTTP_REFERRER_BLOCKED"],
    ),
    (
        "service_disabled",
        403,
        "PERMISSION_DENIED",
        "Generative Language API has not been used in project alpha",
        &["Help", "SERVICE_DISABLED"],
    ),
    ("billing_disabled", 403, "PERMISSION_DENIED", "This API method requires billing", &["BILLING_DISABLED"]),
    ("unregistered_caller", 403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers", &[]),
    ("file_unreachable", 403, "PERMISSION_DENIED", "You do not have permission to access the File", &[]),
    ("forbidden", 403, "PERMISSION_DENIED", "The caller does not have permission", &[]),
    (
        "model_withheld",
        404,
        "NOT_FOUND",
        "This model models/gemini-2.5-flash is no longer available to new users.",
        &[],
    ),
    ("model_not_found", 404, "NOT_FOUND", "models/gemini-2.5-flash is not found for API version", &[]),
    ("not_found", 404, "NOT_FOUND", "Requested entity was not found.", &[]),
    ("quota_minute", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["QuotaFailure", "Help", "RetryInfo"]),
    ("quota_tokens", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["QuotaFailure", "Help", "RetryInfo"]),
    ("quota_day", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["QuotaFailure", "Help", "RetryInfo"]),
    ("quota_day_and_minute", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["QuotaFailure", "Help", "RetryInfo"]),
    ("quota_zero", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["QuotaFailure", "Help", "RetryInfo"]),
    ("tool_quota", 429, "RESOURCE_EXHAUSTED", EXCEEDED, &["Help"]),
    ("spending_cap", 429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap.", &[]),
    ("quota_bare", 429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", &[]),
    ("cancelled", 499, "CANCELLED", "The operation was cancelled.", &[]),
    ("internal", 500, "INTERNAL", "An internal error has occurred.", &[]),
    ("overloaded", 503, "UNAVAILABLE", "The model is overloaded. Please try again later.", &[]),
    ("high_demand", 503, "UNAVAILABLE", "This model is currently experiencing high demand.", &[]),
    ("deadline_exceeded", 504, "DEADLINE_EXCEEDED", "Deadline expired", &[]),
];

const EXCEEDED: &str = "You exceeded your current quota, please check your plan and billing details.";

fn rule(error: &str) -> Rule {
    serde_json::from_value(json!({"fault": {"kind": "google", "error": error}})).unwrap()
}

/// The reason of each `ErrorInfo`, the type of every other detail.
fn details(error: &Value) -> Vec<&str> {
    let details = error["details"].as_array().map_or(&[][..], Vec::as_slice);
    details
        .iter()
        .map(|detail| {
            let kind = detail["@type"].as_str().unwrap().rsplit('.').next().unwrap();
            detail["reason"].as_str().unwrap_or(kind)
        })
        .collect()
}

#[tokio::test]
async fn each_error_has_googles_status_and_body() {
    let sim = simulator().await;
    for &(name, status, word, message, expected) in TABLE {
        sim.set_faults([rule(name)]);
        let answer = native(&sim, FLASH, &hello()).await;
        let body = answer.json();
        let error = &body["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["status"]),
            (status, &json!(status), &json!(word)),
            "{name}"
        );
        assert!(error["message"].as_str().unwrap().starts_with(message), "{name}: {error}");
        assert_eq!(details(error), expected, "{name}");

        let compat = openai(&sim, CHAT, &chat()).await;
        assert_eq!(compat.status, status, "{name}");
        assert_eq!(compat.json()[0]["error"]["status"], word, "{name}");
        let streamed = native(&sim, STREAM, &hello()).await;
        assert_eq!(
            (streamed.status, streamed.json()["error"]["status"].as_str()),
            (status, Some(word)),
            "{name}"
        );
    }
    sim.set_faults([rule("key_invalid")]);
    let compat = openai(&sim, CHAT, &chat()).await.json();
    assert_eq!(
        compat,
        json!([{"error": {"code": 400, "message": "Please pass a valid API key", "status": "INVALID_ARGUMENT"}}])
    );
    sim.set_faults([]);
    assert_eq!(sim.stats().by_fault["google"], 3 * TABLE.len() as u64 + 1);
    let every = ["quota_zero", "forbidden"].map(|name| rule(name).fault);
    assert_eq!(every, [Fault::google(GoogleError::QuotaZero), Fault::google(GoogleError::Forbidden)]);
}

#[tokio::test]
async fn quota_errors_name_their_quotas_and_their_waits() {
    let sim = simulator().await;
    for (name, ids, value) in [
        ("quota_minute", &["GenerateRequestsPerMinutePerProjectPerModel-FreeTier"][..], Some("5")),
        ("quota_tokens", &["GenerateContentInputTokensPerModelPerMinute-FreeTier"], Some("250000")),
        ("quota_day", &["GenerateRequestsPerDayPerProjectPerModel-FreeTier"], Some("20")),
        (
            "quota_day_and_minute",
            &[
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            ],
            Some("20"),
        ),
        (
            "quota_zero",
            &[
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            ],
            None,
        ),
    ] {
        sim.set_faults([rule(name)]);
        let error = native(&sim, FLASH, &hello()).await.json()["error"].take();
        let violations = error["details"][0]["violations"].as_array().unwrap();
        let found: Vec<_> =
            violations.iter().map(|violation| violation["quotaId"].as_str().unwrap()).collect();
        assert_eq!(found, ids, "{name}");
        assert_eq!(violations[0]["quotaDimensions"]["model"], "gemini-2.5-flash");
        assert_eq!(violations[0].get("quotaValue").and_then(Value::as_str), value, "{name}");
        assert_eq!(error["message"].as_str().unwrap().contains(", limit: 0,"), name == "quota_zero");
        assert!(error["message"].as_str().unwrap().ends_with("Please retry in 34.07s."), "{error}");
        assert_eq!(error["details"][2]["retryDelay"], "35s");
    }
}

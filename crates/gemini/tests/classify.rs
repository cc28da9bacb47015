//! The blame table, answer by answer. What each kind asks for is stated here literally, so that no row can change
//! unnoticed; the bodies are those of the wire notes.

use std::time::Duration;

use gemini::classify::{Answer, Hint, classify, classify_by_status, error_message_of_part, stream_error};
use gemini::fault::{Fault, Kind, Next, Proof, QuotaUnit, QuotaWindow, Scope, Wait};

/// 2026-11-22T12:00:00Z
const NOW: i64 = 1_795_348_800;

fn fault(status: u16, body: &str) -> Fault {
    classify(&Answer { status, retry_after: None, body: body.as_bytes(), tools: false }, NOW)
}

fn google(status: u16, name: &str, message: &str, details: &str) -> String {
    format!(
        r#"{{"error":{{"code":{status},"message":"{message}","status":"{name}","details":[{details}]}}}}"#
    )
}

fn error_info(reason: &str, metadata: &str) -> String {
    format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{reason}","domain":"googleapis.com","metadata":{{{metadata}}}}}"#
    )
}

fn quota_failure(violations: &[(&str, Option<&str>)]) -> String {
    let violations: Vec<_> = violations
        .iter()
        .map(|(id, value)| {
            let value = value.map(|value| format!(r#","quotaValue":"{value}""#)).unwrap_or_default();
            format!(
                r#"{{"quotaMetric":"generativelanguage.googleapis.com/m","quotaId":"{id}","quotaDimensions":{{"location":"global","model":"gemini-x"}}{value}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{}]}}"#,
        violations.join(",")
    )
}

fn retry_info(delay: &str) -> String {
    format!(r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}"#)
}

const EXCEEDED: &str = "You exceeded your current quota, please check your plan and billing details.";
const MINUTE: &str = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier";
const DAY: &str = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
const TOKENS: &str = "GenerateContentPaidTierInputTokensPerModelPerMinute";

/// What a kind asks for, restated.
fn treatment(kind: Kind) -> (Scope, Wait, Next) {
    use Next::{OtherKey, OtherKeyOnce, Pause, PauseOnce, Return};
    use Wait::{Backoff, DailyReset, Long, Retire};
    match kind {
        Kind::KeyInvalid | Kind::KeyUnauthenticated | Kind::KeySuspended => (Scope::Key, Retire, OtherKey),
        Kind::CredentialsMultiple => (Scope::Gateway, Wait::None, OtherKey),
        Kind::LocationUnsupported => (Scope::Gateway, Wait::None, OtherKeyOnce),
        Kind::ProjectUnfit => (Scope::Project, Wait::None, OtherKeyOnce),
        Kind::Client | Kind::Cancelled | Kind::DeadlineExceeded => (Scope::Client, Wait::None, Return),
        Kind::CreditsGone => (Scope::Billing, Long, OtherKey),
        Kind::BillingDisabled => (Scope::Project, Retire, OtherKey),
        Kind::ServiceDisabled | Kind::SpendingCap => (Scope::Project, Long, OtherKey),
        Kind::KeyRestricted => (Scope::Key, Backoff, OtherKey),
        Kind::CredentialMissing => (Scope::Gateway, Wait::None, Return),
        Kind::ResourceUnreachable => (Scope::Binding, Wait::None, Return),
        Kind::Forbidden => (Scope::ProjectModel, Backoff, OtherKeyOnce),
        Kind::ModelWithheld | Kind::QuotaZero => (Scope::ProjectModel, Long, OtherKey),
        Kind::MethodBlocked | Kind::QuotaMinute | Kind::QuotaBare => (Scope::ProjectModel, Backoff, OtherKey),
        Kind::RateLimited => (Scope::ProjectModel, Wait::For(Duration::from_secs(5)), OtherKey),
        Kind::QuotaDay => (Scope::ProjectModel, DailyReset, OtherKey),
        Kind::QuotaUnnamed => (Scope::ProjectTool, Backoff, OtherKey),
        Kind::Internal => (Scope::Model, Wait::None, PauseOnce),
        Kind::Overloaded => (Scope::Model, Wait::None, Pause),
        Kind::ConnectFailed => (Scope::Route, Wait::None, Pause),
        Kind::NotDone => (Scope::Nobody, Wait::None, Pause),
        Kind::HeadLost | Kind::BodyLost | Kind::NotGoogle => (Scope::Route, Wait::None, PauseOnce),
        other => panic!("{other:?} is a new kind: state its treatment here"),
    }
}

/// One answer of every kind that an answer can have.
fn samples() -> Vec<(u16, String, Kind)> {
    let mut samples = Vec::new();
    let mut add = |status, body: String, kind| samples.push((status, body, kind));
    let invalid = "API key not valid. Please pass a valid API key.";
    add(400, google(400, "INVALID_ARGUMENT", invalid, &error_info("API_KEY_INVALID", "")), Kind::KeyInvalid);
    add(
        400,
        google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", ""),
        Kind::KeyInvalid,
    );
    add(
        400,
        google(400, "INVALID_ARGUMENT", "API Key not found. Please pass a valid API key.", ""),
        Kind::KeyInvalid,
    );
    add(
        400,
        r#"{"error":{"code":400,"message":"Please pass a valid API key","status":"INVALID_ARGUMENT"}}"#
            .into(),
        Kind::KeyInvalid,
    );
    add(
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "Multiple authentication credentials received. Please pass only one.",
            "",
        ),
        Kind::CredentialsMultiple,
    );
    add(
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use.", ""),
        Kind::LocationUnsupported,
    );
    for message in [
        "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.",
        "Imagen API is only accessible to billed users at this time.",
    ] {
        add(400, google(400, "FAILED_PRECONDITION", message, ""), Kind::ProjectUnfit);
        add(400, google(400, "INVALID_ARGUMENT", message, ""), Kind::Client);
    }
    add(400, google(400, "FAILED_PRECONDITION", "The file is not in an ACTIVE state.", ""), Kind::Client);
    add(400, google(400, "INVALID_ARGUMENT", invalid, ""), Kind::KeyInvalid);
    let unknown_name = r#"{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[]}"#;
    add(
        400,
        google(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unknown name", unknown_name),
        Kind::Client,
    );
    add(
        400,
        google(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.", ""),
        Kind::Client,
    );
    let oauth =
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or";
    let unsupported = error_info("ACCESS_TOKEN_TYPE_UNSUPPORTED", r#""method":"m","service":"s""#);
    add(401, google(401, "UNAUTHENTICATED", oauth, &unsupported), Kind::KeyUnauthenticated);
    add(401, google(401, "UNAUTHENTICATED", oauth, ""), Kind::KeyUnauthenticated);
    add(403, google(403, "PERMISSION_DENIED", "x", &unsupported), Kind::KeyUnauthenticated);
    add(402, google(402, "RESOURCE_EXHAUSTED", "Your prepay credits are gone.", ""), Kind::CreditsGone);
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio", ""),
        Kind::CreditsGone,
    );
    let suspended = "Permission denied: Consumer 'api_key:AIza' has been suspended.";
    add(
        403,
        google(403, "PERMISSION_DENIED", suspended, &error_info("CONSUMER_SUSPENDED", "")),
        Kind::KeySuspended,
    );
    add(403, google(403, "PERMISSION_DENIED", suspended, ""), Kind::KeySuspended);
    add(403, google(403, "PERMISSION_DENIED", "x", &error_info("CONSUMER_INVALID", "")), Kind::KeySuspended);
    let leaked = "Your API key was reported as leaked. Please use another API key.";
    add(403, google(403, "PERMISSION_DENIED", leaked, ""), Kind::KeySuspended);
    add(403, google(403, "PERMISSION_DENIED", leaked, &error_info("SOMETHING_NEW", "")), Kind::KeySuspended);
    add(
        403,
        google(403, "PERMISSION_DENIED", "x", &error_info("BILLING_DISABLED", "")),
        Kind::BillingDisabled,
    );
    let help = r#"{"@type":"type.googleapis.com/google.rpc.Help","links":[]}"#;
    let unused = "Generative Language API has not been used in project 7 before or it is disabled.";
    let disabled = format!("{help},{}", error_info("SERVICE_DISABLED", r#""consumer":"projects/7""#));
    add(403, google(403, "PERMISSION_DENIED", unused, &disabled), Kind::ServiceDisabled);
    add(403, google(403, "PERMISSION_DENIED", unused, ""), Kind::ServiceDisabled);
    for reason in [
        "API_KEY_SERVICE_BLOCKED",
        "API_KEY_HTTP_REFERRER_BLOCKED",
        "API_KEY_IP_ADDRESS_BLOCKED",
        "API_KEY_ANDROID_APP_BLOCKED",
        "API_KEY_IOS_APP_BLOCKED",
    ] {
        add(403, google(403, "PERMISSION_DENIED", "x", &error_info(reason, "")), Kind::KeyRestricted);
    }
    let method = r#""apiName":"generativelanguage.googleapis.com","methodName":"GenerateContent""#;
    add(
        403,
        google(403, "PERMISSION_DENIED", "x", &error_info("API_KEY_SERVICE_BLOCKED", method)),
        Kind::MethodBlocked,
    );
    let blocked =
        "Requests to this API generativelanguage.googleapis.com method GenerateContent are blocked.";
    add(403, google(403, "PERMISSION_DENIED", blocked, ""), Kind::MethodBlocked);
    add(
        403,
        google(403, "PERMISSION_DENIED", "Requests from referer <empty> are blocked.", ""),
        Kind::KeyRestricted,
    );
    add(
        403,
        google(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers without", ""),
        Kind::CredentialMissing,
    );
    let file = "You do not have permission to access the File x1 or it may not exist.";
    add(403, google(403, "PERMISSION_DENIED", file, ""), Kind::ResourceUnreachable);
    add(
        403,
        google(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)", ""),
        Kind::ResourceUnreachable,
    );
    add(
        403,
        google(403, "PERMISSION_DENIED", "The cached content x may not exist.", ""),
        Kind::ResourceUnreachable,
    );
    add(404, google(404, "NOT_FOUND", "Requested entity was not found.", ""), Kind::ResourceUnreachable);
    // What only resembles another row.
    for (message, details) in [
        (file, error_info("SOMETHING_NEW", "")),
        ("Permission denied: Consumer 'projects/7' is unknown.", String::new()),
        ("The tuned model has been suspended.", String::new()),
        ("Requests need a signature.", String::new()),
        ("Uploads of this kind are blocked.", String::new()),
    ] {
        add(403, google(403, "PERMISSION_DENIED", message, &details), Kind::Forbidden);
    }
    add(403, google(403, "PERMISSION_DENIED", "The caller does not have permission", ""), Kind::Forbidden);
    add(
        404,
        google(404, "NOT_FOUND", "This model models/gemini-x is no longer available to new users.", ""),
        Kind::ModelWithheld,
    );
    let unknown_model =
        "models/x is not found for API version v1beta, or is not supported for generateContent.";
    add(404, google(404, "NOT_FOUND", unknown_model, ""), Kind::Client);
    add(404, google(404, "NOT_FOUND", "models/x does not exist.", ""), Kind::Client);
    add(404, google(404, "NOT_FOUND", "Method dream is not found for API version v1beta.", ""), Kind::Client);
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(&[(MINUTE, Some("5"))])),
        Kind::QuotaMinute,
    );
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(&[(TOKENS, Some("250000"))])),
        Kind::QuotaMinute,
    );
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(&[(DAY, Some("20"))])),
        Kind::QuotaDay,
    );
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(&[(DAY, Some("0"))])),
        Kind::QuotaZero,
    );
    let zero = "Quota exceeded for metric: m, limit: 0, model: gemini-x";
    add(429, google(429, "RESOURCE_EXHAUSTED", zero, &quota_failure(&[(MINUTE, None)])), Kind::QuotaZero);
    add(
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap.", ""),
        Kind::SpendingCap,
    );
    let bare = "Resource has been exhausted (e.g. check quota).";
    add(429, google(429, "RESOURCE_EXHAUSTED", bare, ""), Kind::QuotaBare);
    add(499, google(499, "CANCELLED", "The operation was cancelled.", ""), Kind::Cancelled);
    add(500, google(500, "INTERNAL", "An internal error has occurred.", ""), Kind::Internal);
    add(
        503,
        google(503, "UNAVAILABLE", "The model is overloaded. Please try again later.", ""),
        Kind::Overloaded,
    );
    add(
        503,
        google(503, "UNAVAILABLE", "This model is currently experiencing high demand.", ""),
        Kind::Overloaded,
    );
    add(
        504,
        google(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.", ""),
        Kind::DeadlineExceeded,
    );
    samples
}

/// The Interactions API's most general `code` for a status.
fn interactions_word(status: u16) -> &'static str {
    match status {
        400 => "invalid_request",
        401 => "authentication",
        402 => "payment_required",
        403 => "permission_denied",
        404 => "not_found",
        429 => "too_many_requests",
        499 => "cancelled",
        500 => "api_error",
        503 => "service_unavailable",
        504 => "deadline_exceeded",
        other => panic!("no word for {other}"),
    }
}

/// The fault is of this kind and asks for what the kind does.
fn treated(fault: &Fault, kind: Kind, of: &str) {
    assert_eq!(fault.kind, kind, "{of}");
    // Where the answer alone is no proof, nobody is blamed for it.
    let is_proof = kind.proof() == Proof::Answer;
    assert!(is_proof || fault.wait == Wait::None, "{of}");
    let fault = if is_proof { fault.clone() } else { fault.clone().proven() };
    assert_eq!((fault.scope(), fault.wait, fault.next()), treatment(kind), "{of}");
}

#[test]
fn what_google_may_say_of_the_request_is_no_proof_against_a_key() {
    for (kind, proof) in [
        (Kind::Forbidden, Proof::OtherKey),
        (Kind::MethodBlocked, Proof::OtherKey),
        (Kind::KeyRestricted, Proof::OtherKey),
        (Kind::KeyUnauthenticated, Proof::KeyCheck),
        (Kind::KeyInvalid, Proof::Answer),
        (Kind::KeySuspended, Proof::Answer),
        (Kind::QuotaDay, Proof::Answer),
    ] {
        assert_eq!(kind.proof(), proof, "{kind:?}");
    }
}

#[test]
fn every_answer_of_the_wire_notes_finds_its_row_in_every_form() {
    for (status, body, kind) in samples() {
        let pretty =
            serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&body).unwrap()).unwrap();
        let code =
            |code: &str| body.replacen(&format!(r#""code":{status}"#), &format!(r#""code":"{code}""#), 1);
        let forms = [
            body.clone(),
            format!("[{body}]"),
            format!("[\n{pretty}\n]\n"),
            pretty,
            code(&status.to_string()),
            // The Interactions API's word for the status adds nothing to what the message says.
            code(interactions_word(status)),
        ];
        for form in forms {
            treated(&fault(status, &form), kind, &form);
        }
    }
}

#[test]
fn every_kind_is_among_the_samples_but_those_of_tools_and_the_way() {
    let sampled: Vec<_> = samples().into_iter().map(|(_, _, kind)| kind).collect();
    for row in gemini::classify::TABLE {
        let elsewhere = matches!(
            row.kind,
            Kind::QuotaUnnamed
                | Kind::RateLimited
                | Kind::ConnectFailed
                | Kind::HeadLost
                | Kind::NotDone
                | Kind::NotGoogle
                | Kind::BodyLost
        );
        assert!(elsewhere || sampled.contains(&row.kind), "{:?}", row.kind);
        assert_eq!((row.scope, row.wait, row.next), treatment(row.kind), "{:?}", row.kind);
        let heeding =
            [Kind::QuotaMinute, Kind::QuotaUnnamed, Kind::QuotaBare, Kind::RateLimited, Kind::Overloaded];
        assert_eq!(row.hint == Hint::Heeded, heeding.contains(&row.kind), "{:?}", row.kind);
        assert!(row.words.ends_with('.'));
    }
}

#[test]
fn a_lost_connection_is_a_fault_of_the_transport() {
    for (fault, kind) in [
        (Fault::connect_failed(), Kind::ConnectFailed),
        (Fault::head_lost(), Kind::HeadLost),
        (Fault::not_done(), Kind::NotDone),
        (Fault::not_google(), Kind::NotGoogle),
        (Fault::body_lost(), Kind::BodyLost),
    ] {
        assert_eq!(fault.kind, kind);
        assert_eq!((fault.scope(), fault.wait, fault.next()), treatment(kind));
    }
}

#[test]
fn what_is_not_in_googles_form_blames_no_key_and_of_load_alone_is_believed_unless_it_is_a_page() {
    for body in [
        "",
        "<html>quota exceeded, API key not valid</html>",
        " \n<!DOCTYPE html>",
        r#"{"error":"rate limited"}"#,
        r#"{"message":"rate limited"}"#,
        "data: slow down",
        "null",
        "[]",
        "{}",
        r#"{"error":null}"#,
        r#"{"error":"blocked by policy"}"#,
        r#"{"error":{"reason":"blocked by policy"}}"#,
        r#"{"error":["blocked by policy"]}"#,
        r#"{"status":403,"code":403,"message":"API key not valid"}"#,
        "upstream connect error or disconnect/reset before headers",
        "\u{0}",
    ] {
        let of_load = |kind| if body.trim().starts_with('<') { Kind::NotGoogle } else { kind };
        for (status, kind) in [
            (304, Kind::Client),
            (400, Kind::Client),
            (401, Kind::NotGoogle),
            (402, Kind::NotGoogle),
            (403, Kind::NotGoogle),
            (404, Kind::Client),
            (405, Kind::Client),
            (407, Kind::NotGoogle),
            (408, Kind::Client),
            (409, Kind::Client),
            (411, Kind::Client),
            (413, Kind::Client),
            (416, Kind::Client),
            (429, of_load(Kind::RateLimited)),
            (499, Kind::Cancelled),
            (500, of_load(Kind::Internal)),
            (501, Kind::Client),
            (502, Kind::NotGoogle),
            (503, of_load(Kind::Overloaded)),
            (504, Kind::NotGoogle),
            (511, Kind::NotGoogle),
            (529, Kind::NotGoogle),
        ] {
            treated(&fault(status, body), kind, &format!("{status} {body:?}"));
            let answer = Answer { status, retry_after: Some("7"), body: body.as_bytes(), tools: true };
            let heeded = matches!(kind, Kind::RateLimited | Kind::Overloaded);
            let wait = if heeded { Wait::For(Duration::from_secs(7)) } else { treatment(kind).1 };
            assert_eq!(classify(&answer, NOW).wait, wait, "{status} {body:?}");
        }
    }
}

#[test]
fn a_hostile_body_is_read_as_no_body() {
    let deep = "[".repeat(100_000);
    assert_eq!(fault(403, &deep).kind, Kind::NotGoogle);
    let huge = google(429, "RESOURCE_EXHAUSTED", &"x".repeat(300_000), &quota_failure(&[(DAY, None)]));
    assert_eq!(fault(429, &huge).kind, Kind::RateLimited);
    let odd = r#"{"error":{"code":{},"message":[1],"status":7,"details":{"@type":5}}}"#;
    assert_eq!(fault(429, odd).kind, Kind::RateLimited);
    let odd = r#"{"error":{"code":429,"details":[7,null,{"@type":"google.rpc.QuotaFailure","violations":[7,{"quotaValue":{}}]}]}}"#;
    assert_eq!(fault(429, odd).kind, Kind::QuotaBare);
    let many = vec![(MINUTE, None); 500];
    assert_eq!(fault(429, &google(429, "x", "x", &quota_failure(&many))).quotas.len(), 16);
}

#[test]
fn a_proxy_that_asks_for_a_login_is_not_google_whatever_its_form() {
    let body = google(407, "PERMISSION_DENIED", "Proxy authentication required", "");
    assert_eq!(fault(407, &body).kind, Kind::NotGoogle);
    assert_eq!(fault(511, &google(511, "UNAVAILABLE", "Log in", "")).kind, Kind::NotGoogle);
}

fn by_status(status: u16, body: &str) -> Fault {
    classify_by_status(&Answer { status, retry_after: None, body: body.as_bytes(), tools: false }, NOW)
}

#[test]
fn an_error_that_broke_off_is_read_as_far_as_it_came() {
    let details = format!("{},{}", quota_failure(&[(DAY, Some("20"))]), retry_info("34s"));
    let whole = google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &details);
    let day_end = whole.find("quotaDimensions").unwrap();
    for len in 0..=whole.len() {
        let found = by_status(429, &whole[..len]);
        let kind = if len > day_end { Kind::QuotaDay } else { found.kind };
        assert_eq!(found.kind, kind, "{}", &whole[..len]);
        assert_eq!(found.scope(), Scope::ProjectModel, "{}", &whole[..len]);
    }
    for end in ["", "  ", "{\"error\":", "[{\"error\":{\"code\":429,\"mess"] {
        assert_eq!(by_status(429, end).kind, Kind::QuotaBare, "{end}");
        assert_eq!(by_status(503, end).kind, Kind::Overloaded, "{end}");
        assert_eq!(by_status(500, end).kind, Kind::Internal, "{end}");
        assert_eq!(error_message_of_part(end.as_bytes()), None, "{end}");
    }
    let at = whole.find("\"details\"").unwrap();
    assert_eq!(error_message_of_part(&whole.as_bytes()[..at]).as_deref(), Some(EXCEEDED));
    assert_eq!(error_message_of_part("[".repeat(100_000).as_bytes()), None);
}

#[test]
fn the_words_of_the_interactions_api_are_understood() {
    for (status, word, kind) in [
        (400, "invalid_request", Kind::Client),
        (400, "parameter_unknown", Kind::Client),
        (401, "authentication", Kind::KeyUnauthenticated),
        (402, "payment_required", Kind::CreditsGone),
        (403, "permission_denied", Kind::Forbidden),
        (404, "not_found", Kind::ResourceUnreachable),
        (404, "model_not_found", Kind::Client),
        (409, "aborted", Kind::Client),
        (416, "out_of_range", Kind::Client),
        (429, "rate_limit_exceeded", Kind::QuotaBare),
        (429, "quota_exceeded", Kind::QuotaDay),
        (429, "too_many_requests", Kind::QuotaBare),
        (500, "api_error", Kind::Internal),
        (501, "unimplemented", Kind::Client),
        (503, "service_unavailable", Kind::Overloaded),
        (504, "deadline_exceeded", Kind::DeadlineExceeded),
    ] {
        let body = format!(r#"{{"error":{{"code":"{word}","message":"words"}}}}"#);
        treated(&fault(status, &body), kind, word);
        treated(&fault(status, &format!("[{body}]")), kind, word);
        let event = format!("event: error\r\ndata: {{\"event_type\":\"error\",{}\r\n\r\n", &body[1..]);
        let error = stream_error(event.as_bytes()).unwrap();
        assert_eq!(error.status, status, "{word}");
        let answer = Answer { status: error.status, retry_after: None, body: &error.body, tools: false };
        treated(&classify(&answer, NOW), kind, word);
    }
}

#[test]
fn a_request_cannot_be_worded_to_cost_a_key() {
    let quoting =
        |message: &str, detail: &str| fault(400, &google(400, "INVALID_ARGUMENT", message, detail)).kind;
    let bad_request = r#"{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[]}"#;
    for words in ["API key not valid.", "please pass a valid api key", "API key expired"] {
        assert_eq!(quoting(&format!("Unknown name '{words}': Cannot find field."), ""), Kind::Client);
        assert_eq!(quoting(words, bad_request), Kind::Client);
        assert_eq!(quoting(words, &error_info("FIELD_INVALID", "")), Kind::Client);
    }
    let file = "You do not have permission to access the File Your API key was reported as leaked or";
    assert_eq!(fault(403, &google(403, "PERMISSION_DENIED", file, "")).kind, Kind::ResourceUnreachable);
    for name in ["has not been used in project", "x API has not been used in project 1 before"] {
        let file = format!("You do not have permission to access the File {name} or it may not exist.");
        assert_eq!(fault(403, &google(403, "PERMISSION_DENIED", &file, "")).kind, Kind::ResourceUnreachable);
        let other = format!("Permission denied on resource files/{name} 1 before or it is disabled.");
        assert_eq!(fault(403, &google(403, "PERMISSION_DENIED", &other, "")).kind, Kind::Forbidden);
    }
}

#[test]
fn a_method_that_takes_no_api_key_does_not_cost_one() {
    let message =
        "API keys are not supported by this API. Expected OAuth2 access token or other authentication";
    let details = error_info("CREDENTIALS_MISSING", "");
    assert_eq!(fault(401, &google(401, "UNAUTHENTICATED", message, &details)).kind, Kind::Client);
    let message = "Request is missing required authentication credential.";
    assert_eq!(fault(401, &google(401, "UNAUTHENTICATED", message, &details)).kind, Kind::CredentialMissing);
}

#[test]
fn of_several_quotas_the_longest_wait_counts() {
    let kind = |violations: &[(&str, Option<&str>)]| {
        fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(violations))).kind
    };
    assert_eq!(kind(&[(MINUTE, Some("5")), (DAY, Some("20"))]), Kind::QuotaDay);
    assert_eq!(kind(&[(DAY, Some("20")), (TOKENS, Some("250000"))]), Kind::QuotaDay);
    assert_eq!(kind(&[(DAY, Some("20")), (MINUTE, Some("0"))]), Kind::QuotaZero);
    let two = format!("{},{}", quota_failure(&[(MINUTE, Some("5"))]), quota_failure(&[(DAY, Some("20"))]));
    assert_eq!(fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &two)).kind, Kind::QuotaDay);
    let limited = "Quota exceeded for metric: m, limit: 05, limit: 0.5";
    let body = google(429, "RESOURCE_EXHAUSTED", limited, &quota_failure(&[(MINUTE, None)]));
    assert_eq!(fault(429, &body).kind, Kind::QuotaMinute);
}

#[test]
fn a_quota_is_read_wherever_google_names_it() {
    let found =
        |message: &str, details: &str| fault(429, &google(429, "RESOURCE_EXHAUSTED", message, details));
    let seconds = |seconds| Wait::For(Duration::from_secs_f64(seconds));
    for (told, wait) in [
        ("2.5s", seconds(2.5)),
        ("34.07s", seconds(34.07)),
        ("500ms", seconds(0.5)),
        ("1m3s", seconds(63.0)),
        ("2h0m1s", seconds(7_201.0)),
        ("99999999h", seconds(86_400.0)),
        ("0s", Wait::Backoff),
        ("a moment", Wait::Backoff),
        ("7", Wait::Backoff),
        ("1.2.3s", Wait::Backoff),
    ] {
        assert_eq!(found(&format!("{EXCEEDED} Please retry in {told}."), "").wait, wait, "{told}");
    }
    let explicit = found(&format!("{EXCEEDED} Please retry in 2.5s."), &retry_info("9s"));
    assert_eq!(explicit.wait, seconds(9.0), "details go first");
    let metric = r#"{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/requests_per_day"}]}"#;
    assert_eq!(found(EXCEEDED, metric).kind, Kind::QuotaDay);
    for (limit, kind) in [
        ("GenerateRequestsPerDayPerProject", Kind::QuotaDay),
        ("GenerateRequestsPerMinutePerProject", Kind::QuotaMinute),
        ("Unheard", Kind::QuotaBare),
    ] {
        let info =
            error_info("RATE_LIMIT_EXCEEDED", &format!(r#""quota_limit":"{limit}","quota_limit_value":"5""#));
        let named = found(EXCEEDED, &info);
        assert_eq!((named.kind, named.quotas[0].limit), (kind, Some(5)), "{limit}");
        let both = found(EXCEEDED, &format!("{info},{}", quota_failure(&[(MINUTE, Some("7"))])));
        assert_eq!((both.kind, both.quotas.len()), (Kind::QuotaMinute, 1), "details go first");
    }
    let told =
        "Quota exceeded for metric: x.googleapis.com/free_tier_requests_per_day, limit: 20, model: gemini-x";
    let told = found(told, "");
    let quota = &told.quotas[0];
    assert_eq!(
        (told.kind, quota.limit, quota.model.as_deref()),
        (Kind::QuotaDay, Some(20), Some("gemini-x"))
    );
    let tier = "Gemini 2.5 Pro Preview doesn't have a free quota tier. Please use another.";
    assert_eq!(found(tier, "").kind, Kind::QuotaZero);
}

#[test]
fn the_quotas_and_the_project_are_handed_on() {
    let details = format!(
        "{},{}",
        quota_failure(&[(MINUTE, Some("5")), (TOKENS, Some("250000")), ("NewQuota", None)]),
        error_info("RATE_LIMIT_EXCEEDED", r#""consumer":"projects/123456""#)
    );
    let fault = fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &details));
    assert_eq!(fault.project.as_deref(), Some("123456"));
    let seen: Vec<_> = fault
        .quotas
        .iter()
        .map(|quota| (&*quota.id, quota.unit, quota.window, quota.limit, quota.model.as_deref()))
        .collect();
    let model = Some("gemini-x");
    assert_eq!(
        seen,
        [
            (MINUTE, QuotaUnit::Requests, QuotaWindow::Minute, Some(5), model),
            (TOKENS, QuotaUnit::InputTokens, QuotaWindow::Minute, Some(250_000), model),
            ("NewQuota", QuotaUnit::Other, QuotaWindow::Other, None, model),
        ]
    );
    let suspended = error_info("CONSUMER_SUSPENDED", r#""consumer":"api_key:AIza""#);
    assert_eq!(self::fault(403, &google(403, "PERMISSION_DENIED", "x", &suspended)).project, None);
}

#[test]
fn a_quota_without_a_name_blames_the_tool_only_when_one_was_used() {
    let help = r#"{"@type":"type.googleapis.com/google.rpc.Help","links":[]}"#;
    let with_tools = |details: &str, message: &str| {
        let body = google(429, "RESOURCE_EXHAUSTED", message, details);
        classify(&Answer { status: 429, retry_after: None, body: body.as_bytes(), tools: true }, NOW)
    };
    let unnamed = with_tools(help, EXCEEDED);
    assert_eq!(unnamed.kind, Kind::QuotaUnnamed);
    assert_eq!((unnamed.scope(), unnamed.wait, unnamed.next()), treatment(Kind::QuotaUnnamed));
    assert_eq!(fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, help)).kind, Kind::QuotaBare);
    assert_eq!(with_tools(&retry_info("5s"), EXCEEDED).kind, Kind::QuotaBare);
    assert_eq!(with_tools(&quota_failure(&[(MINUTE, None)]), EXCEEDED).kind, Kind::QuotaMinute);
    assert_eq!(with_tools(&quota_failure(&[("NewQuota", None)]), EXCEEDED).kind, Kind::QuotaBare);
    assert_eq!(with_tools("", "Resource has been exhausted (e.g. check quota).").kind, Kind::QuotaBare);
}

#[test]
fn a_retry_delay_is_read_in_all_its_spellings_and_capped_at_a_day() {
    for (delay, wait) in [
        ("34s", Wait::For(Duration::from_secs(34))),
        ("38.2s", Wait::For(Duration::from_millis(38_200))),
        ("34.074824224s", Wait::For(Duration::new(34, 74_824_224))),
        ("0.000000001s", Wait::For(Duration::from_nanos(1))),
        ("0.5555555555555s", Wait::For(Duration::from_nanos(555_555_555))),
        ("39043s", Wait::For(Duration::from_secs(39_043))),
        ("86401s", Wait::For(Duration::from_secs(86_400))),
        ("99999999999999999999999s", Wait::For(Duration::from_secs(86_400))),
        ("0s", Wait::Backoff),
        ("-5s", Wait::Backoff),
        ("s", Wait::Backoff),
        ("34", Wait::Backoff),
        ("soon", Wait::Backoff),
        ("+3s", Wait::Backoff),
    ] {
        let details = format!("{},{}", quota_failure(&[(MINUTE, None)]), retry_info(delay));
        let fault = fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &details));
        assert_eq!((fault.kind, fault.wait), (Kind::QuotaMinute, wait), "{delay}");
    }
    let object = retry_info("x").replace(r#""x""#, r#"{"seconds":"3","nanos":500000000}"#);
    let body = google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &object);
    assert_eq!(fault(429, &body).wait, Wait::For(Duration::from_millis(3_500)));
    let two = format!("{},{}", retry_info("20s"), retry_info("10s"));
    assert_eq!(
        fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &two)).wait,
        Wait::For(Duration::from_secs(20))
    );
}

#[test]
fn a_daily_quota_ignores_its_retry_delay() {
    let details = format!("{},{}", quota_failure(&[(DAY, Some("20"))]), retry_info("34s"));
    let fault = fault(429, &google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &details));
    assert_eq!((fault.kind, fault.wait), (Kind::QuotaDay, Wait::DailyReset));
}

#[test]
fn a_retry_after_is_seconds_or_a_date() {
    let body = google(429, "RESOURCE_EXHAUSTED", EXCEEDED, &quota_failure(&[(MINUTE, None)]));
    for (header, wait) in [
        ("30", Wait::For(Duration::from_secs(30))),
        (" 30 ", Wait::For(Duration::from_secs(30))),
        ("Sun, 22 Nov 2026 12:01:30 GMT", Wait::For(Duration::from_secs(90))),
        ("Sunday, 22-Nov-26 12:01:30 GMT", Wait::For(Duration::from_secs(90))),
        ("Mon, 22 Nov 2027 12:00:00 GMT", Wait::For(Duration::from_secs(86_400))),
        ("999999999999999999999", Wait::For(Duration::from_secs(86_400))),
        ("Sun, 22 Nov 2026 12:00:00 GMT", Wait::Backoff),
        ("Sun, 22 Nov 2026 11:00:00 GMT", Wait::Backoff),
        ("0", Wait::Backoff),
        ("-1", Wait::Backoff),
        ("", Wait::Backoff),
        ("later", Wait::Backoff),
    ] {
        let answer = Answer { status: 429, retry_after: Some(header), body: body.as_bytes(), tools: false };
        assert_eq!(classify(&answer, NOW).wait, wait, "{header}");
    }
}

#[test]
fn a_named_wait_is_heeded_by_the_kinds_that_come_and_go_and_by_no_other() {
    let heeding = [Kind::QuotaMinute, Kind::QuotaUnnamed, Kind::QuotaBare, Kind::Overloaded];
    for (status, body, kind) in samples() {
        let answer = Answer { status, retry_after: Some("7"), body: body.as_bytes(), tools: false };
        let heeded = heeding.contains(&kind);
        let expected = match kind.proof() {
            _ if heeded => Wait::For(Duration::from_secs(7)),
            Proof::Answer => treatment(kind).1,
            _ => Wait::None,
        };
        assert_eq!(classify(&answer, NOW).wait, expected, "{kind:?}");
    }
    let body = google(429, "RESOURCE_EXHAUSTED", EXCEEDED, "");
    let unnamed = Answer { status: 429, retry_after: Some("7"), body: body.as_bytes(), tools: true };
    assert_eq!(classify(&unnamed, NOW).wait, Wait::For(Duration::from_secs(7)));
    let both = google(429, "RESOURCE_EXHAUSTED", "x", &retry_info("9s"));
    let both = Answer { status: 429, retry_after: Some("7"), body: both.as_bytes(), tools: false };
    assert_eq!(classify(&both, NOW).wait, Wait::For(Duration::from_secs(9)));
}

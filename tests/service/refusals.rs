//! What the gateway's own refusals carry: what Google's clients, OpenAI's and those of interactions decide by.

use crate::support::{Options, chat, client, prompt, simulator};
use gemini_simulator::{Fault, GoogleError, Rule};
use serde_json::{Value, json};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// The error that is answered, and `Retry-After`.
async fn refused(url: &str, body: String) -> (u16, Value, u64) {
    let request = client().post(url).header("content-type", "application/json").body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let wait = answer.headers().get("retry-after").map_or(0, |wait| wait.to_str().unwrap().parse().unwrap());
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["error"].clone(), wait)
}

fn detail<'a>(error: &'a Value, kind: &str) -> &'a Value {
    let kind = format!("type.googleapis.com/google.rpc.{kind}");
    let details = error["details"].as_array().unwrap();
    details.iter().find(|detail| detail["@type"] == kind).unwrap_or_else(|| panic!("no {kind}: {error}"))
}

#[tokio::test]
async fn a_pool_that_is_spent_for_the_day_says_so_in_each_format() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaDay))]);
    // Google's own, once each project has been asked.
    let (status, _, _) = refused(&gateway.url(GENERATE), prompt("x")).await;
    assert_eq!(status, 429);
    let known = simulator.requests().len();
    for path in [GENERATE, STREAM] {
        let (status, error, wait) = refused(&gateway.url(path), prompt("x")).await;
        assert_eq!((status, error["status"].as_str()), (429, Some("RESOURCE_EXHAUSTED")));
        let violation = &detail(&error, "QuotaFailure")["violations"][0];
        let id = violation["quotaId"].as_str().unwrap();
        assert!(id.starts_with("GenerateRequestsPerDay"), "{id}");
        assert_eq!(detail(&error, "RetryInfo")["retryDelay"], format!("{wait}s"));
        assert!(wait > 0);
    }
    let (status, error, wait) = refused(&gateway.url("/v1/chat/completions"), chat("x", false)).await;
    assert_eq!(
        (status, &error["type"], &error["code"]),
        (429, &json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    assert!(wait > 0 && error.get("details").is_none());
    let body = json!({"model": "gemini-2.5-flash", "input": "x"}).to_string();
    let (status, error, wait) = refused(&gateway.url("/v1beta/interactions"), body).await;
    assert_eq!((status, error["code"].as_str()), (429, Some("quota_exceeded")), "{error}");
    assert!(wait > 0);
    assert_eq!(simulator.requests().len(), known, "what is spent is not asked again");
}

#[tokio::test]
async fn a_quota_of_a_minute_is_not_one_of_the_day() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("pool.max_wait_ms", 0).start();
    simulator.set_faults([Rule::new(Fault::google(GoogleError::QuotaMinute))]);
    assert_eq!(refused(&gateway.url(GENERATE), prompt("x")).await.0, 429);
    let (status, error, wait) = refused(&gateway.url(GENERATE), prompt("x")).await;
    assert_eq!(status, 429);
    let id = detail(&error, "QuotaFailure")["violations"][0]["quotaId"].as_str().unwrap().to_owned();
    assert!(id.contains("PerMinute") && !id.contains("PerDay"), "{id}");
    assert_eq!(detail(&error, "RetryInfo")["retryDelay"], format!("{wait}s"));
    let (_, error, _) = refused(&gateway.url("/v1/chat/completions"), chat("x", true)).await;
    assert_eq!(error["code"], "rate_limit_exceeded");
}

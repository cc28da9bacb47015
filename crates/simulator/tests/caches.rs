//! Explicit caches over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::Simulator;
use serde_json::{Value, json};
use wire::*;

const BETA: &str = "AQ.Beta";
const CACHES: &str = "/v1beta/cachedContents";
const REFUSAL: &str = "CachedContent not found (or permission denied)";

async fn send(sim: &Simulator, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(sim, method, target, &[("x-goog-api-key", key)], &body).await
}

async fn cache(sim: &Simulator, more: Value) -> String {
    let mut body = json!({"model": "models/gemini-2.5-flash", "contents": hello()["contents"]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = send(sim, "POST", CACHES, KEY, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let made = reply.json();
    assert_eq!(
        (&made["model"], &made["usageMetadata"]["totalTokenCount"]),
        (&json!("models/gemini-2.5-flash"), &json!(4))
    );
    assert_eq!(made.get("contents"), None);
    made["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_cache_is_used_by_its_project_alone_on_either_surface() {
    let sim = simulator().await;
    let name = cache(&sim, json!({"displayName": "greeting"})).await;
    let mut body = hello();
    for field in ["cachedContent", "cached_content"] {
        body = hello();
        body[field] = json!(name);
        let usage = native(&sim, FLASH, &body).await.json()["usageMetadata"].clone();
        assert_eq!((&usage["cachedContentTokenCount"], &usage["promptTokenCount"]), (&json!(4), &json!(8)));
        let refused = send(&sim, "POST", STREAM, BETA, &body).await;
        assert_eq!((refused.status, &refused.json()["error"]["message"]), (403, &json!(REFUSAL)));
    }
    assert_eq!(sim.stats().wrong_owner, 2);
    let mut request = chat();
    request["extra_body"] = json!({"google": {"cached_content": name}});
    let usage = openai(&sim, CHAT, &request).await.json()["usage"].clone();
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 4);
    let stranger =
        call(&sim, "POST", CHAT, &[("Authorization", "Bearer AQ.Beta")], &request.to_string()).await;
    assert_eq!((stranger.status, &stranger.json()[0]["error"]["message"]), (403, &json!(REFUSAL)));
    assert_eq!(sim.stats().wrong_owner, 3);
    let pro = "/v1beta/models/gemini-2.5-pro:generateContent";
    assert_eq!(native(&sim, pro, &body).await.status, 400, "another model");
    body["systemInstruction"] = json!({"parts": [{"text": "be brief"}]});
    assert_eq!(native(&sim, FLASH, &body).await.status, 400, "the instruction belongs into the cache");
}

#[tokio::test]
async fn a_cache_lives_as_long_as_it_is_told_to() {
    let sim = simulator().await;
    let hour = format!("/v1beta/{}", cache(&sim, json!({})).await);
    let short = format!("/v1beta/{}", cache(&sim, json!({"ttl": "60s"})).await);
    let status = async |target: &str| send(&sim, "GET", target, KEY, &Value::Null).await.status;
    let patched =
        send(&sim, "PATCH", &format!("{short}?updateMask=ttl"), KEY, &json!({"ttl": "120.5s"})).await;
    assert_eq!(patched.status, 200);
    assert_ne!(patched.json()["expireTime"], patched.json()["updateTime"]);
    sim.set_clock_offset_s(100);
    assert_eq!(status(&short).await, 200);
    sim.set_clock_offset_s(125);
    assert_eq!(status(&short).await, 403);
    assert_eq!(status(&hour).await, 200);
    let late = json!({"expireTime": "2100-01-01T00:00:00Z"});
    assert_eq!(
        send(&sim, "PATCH", &hour, KEY, &late).await.json()["expireTime"],
        "2100-01-01T00:00:00.000000Z"
    );
    sim.set_clock_offset_s(3700);
    assert_eq!(status(&hour).await, 200);
    for (wrong, target) in [
        (json!({"ttl": "soon"}), hour.as_str()),
        (json!({"expireTime": "2001-01-01T00:00:00Z"}), &hour),
        (json!({"ttl": "1s", "expireTime": "2100-01-01T00:00:00Z"}), &hour),
        (json!({"displayName": "x"}), &format!("{hour}?updateMask=displayName")),
    ] {
        assert_eq!(send(&sim, "PATCH", target, KEY, &wrong).await.status, 400, "{wrong}");
    }
    assert_eq!(send(&sim, "PATCH", &hour, BETA, &json!({"ttl": "1s"})).await.status, 403);
    assert_eq!(send(&sim, "DELETE", &hour, BETA, &Value::Null).await.status, 403);
    assert_eq!(send(&sim, "DELETE", &hour, KEY, &Value::Null).await.status, 200);
    assert_eq!(status(&hour).await, 403);
}

#[tokio::test]
async fn caches_are_listed_and_may_not_hold_a_strangers_file() {
    let sim = simulator().await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(cache(&sim, json!({})).await);
    }
    names.reverse();
    let listed = send(&sim, "GET", &format!("{CACHES}?pageSize=2"), KEY, &Value::Null).await.json();
    let token = listed["nextPageToken"].as_str().unwrap();
    let rest = send(&sim, "GET", &format!("{CACHES}?pageToken={token}"), KEY, &Value::Null).await.json();
    let pages = [listed["cachedContents"].as_array().unwrap(), rest["cachedContents"].as_array().unwrap()];
    let found: Vec<&str> = pages.into_iter().flatten().map(|cache| cache["name"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    assert_eq!(send(&sim, "GET", CACHES, BETA, &Value::Null).await.json(), json!({}));

    let file = send(&sim, "POST", "/v1beta/files", BETA, &json!({"file": {"displayName": "f"}})).await.json();
    let part = json!({"fileData": {"fileUri": file["file"]["uri"], "mimeType": "text/plain"}});
    let body = json!({"model": "models/gemini-2.5-flash", "contents": [{"parts": [part]}]});
    assert_eq!(send(&sim, "POST", CACHES, KEY, &body).await.status, 403);
    assert_eq!(send(&sim, "POST", CACHES, BETA, &body).await.status, 200);
    assert_eq!(sim.stats().wrong_owner, 1);
    assert_eq!(send(&sim, "POST", CACHES, KEY, &json!({"contents": []})).await.status, 400, "no model");
    assert_eq!(send(&sim, "POST", CACHES, KEY, &json!({"model": "models/x"})).await.status, 404);
}

//! The implicit cache over real sockets: what usage says of a prompt that was served before.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Config, Key, PrefixCache, Simulator};
use serde_json::{Value, json};
use wire::*;

async fn caching() -> Simulator {
    let mut config = Config { prefix_cache: Some(PrefixCache::default()), ..config() };
    config.keys.push(Key::valid("AIzaSibling", "alpha"));
    Simulator::start(config).await.unwrap()
}

fn conversation(turns: &[&str]) -> Value {
    let turns: Vec<_> = turns.iter().map(|text| json!({"role": "user", "parts": [{"text": text}]})).collect();
    json!({"systemInstruction": {"parts": [{"text": "be brief, please"}]}, "contents": turns})
}

fn messages(turns: &[&str]) -> Value {
    let turns: Vec<_> = turns.iter().map(|text| json!({"role": "user", "content": text})).collect();
    json!({"model": "gemini-2.5-flash", "messages": turns})
}

async fn cached(sim: &Simulator, key: &str, body: &Value) -> Option<u64> {
    let answer = call(sim, "POST", FLASH, &[("x-goog-api-key", key)], &body.to_string()).await.json();
    let usage = &answer["usageMetadata"];
    let details = usage.pointer("/cacheTokensDetails/0/tokenCount").and_then(Value::as_u64);
    let cached = usage.get("cachedContentTokenCount").map(|count| count.as_u64().unwrap());
    assert_eq!(details, cached, "{usage}");
    assert!(cached.is_none_or(|cached| cached <= usage["promptTokenCount"].as_u64().unwrap()), "{usage}");
    cached
}

#[tokio::test]
async fn a_conversation_is_cached_in_the_project_that_served_it() {
    let sim = caching().await;
    let (first, second) =
        (conversation(&["hello over there"]), conversation(&["hello over there", "and on"]));
    assert_eq!(cached(&sim, KEY, &first).await, None);
    assert_eq!(cached(&sim, "AQ.Beta", &second).await, None, "another project has not seen it");
    assert_eq!(cached(&sim, "AIzaSibling", &second).await, Some(8), "a key of the same project profits");
    assert_eq!(cached(&sim, KEY, &conversation(&["another"])).await, Some(4), "its instruction is known");

    let pro = "/v1beta/models/gemini-2.5-pro:generateContent";
    let other_model = native(&sim, pro, &second).await.json();
    assert_eq!(other_model["usageMetadata"].get("cachedContentTokenCount"), None);
    let stream = native(&sim, STREAM, &second).await.text();
    assert_eq!(stream.matches(r#""cachedContentTokenCount":10"#).count(), 5, "in every chunk: {stream}");

    sim.set_clock_offset_s(301);
    assert_eq!(cached(&sim, KEY, &second).await, None, "some minutes later");
    assert_eq!(cached(&sim, KEY, &second).await, Some(10));
    sim.reset();
    assert_eq!(cached(&sim, KEY, &second).await, None);
}

#[tokio::test]
async fn the_openai_layer_says_it_in_openais_words() {
    let sim = caching().await;
    let details = |answer: &Value| answer["usage"].get("prompt_tokens_details").cloned();
    let first = openai(&sim, CHAT, &messages(&["hello over there"])).await.json();
    assert_eq!(details(&first), None);
    let mut second = messages(&["hello over there", "and on"]);
    assert_eq!(details(&openai(&sim, CHAT, &second).await.json()), Some(json!({"cached_tokens": 4})));
    second["stream"] = json!(true);
    let stream = openai(&sim, CHAT, &second).await.text();
    assert_eq!(stream.matches(r#""prompt_tokens_details":{"cached_tokens":6}"#).count(), 5, "{stream}");
}

#[tokio::test]
async fn a_refused_prompt_is_not_cached_and_nothing_is_unless_asked_for() {
    let sim = caching().await;
    sim.set_faults([
        serde_json::from_value(json!({"times": 1, "fault": {"kind": "status", "status": 429}})).unwrap()
    ]);
    let body = conversation(&["hello over there"]);
    assert_eq!(native(&sim, FLASH, &body).await.status, 429);
    assert_eq!(cached(&sim, KEY, &body).await, None);
    let plain = simulator().await;
    for _ in 0..2 {
        assert_eq!(cached(&plain, KEY, &body).await, None);
    }
}

//! Quotas over real sockets. The arithmetic of the windows is tested beside it, with the time passed in.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::time::Duration;

use gemini_simulator::{Config, Key, MinuteWindow, Quota, Simulator};
use serde_json::json;
use wire::*;

#[tokio::test]
async fn keys_of_a_project_share_a_quota_and_other_projects_have_their_own() {
    let mut config = config();
    config.keys.push(Key::valid("AIzaSibling", "alpha"));
    let sim = Simulator::start(config).await.unwrap();
    sim.set_quotas([Quota { rpm: Some(1), ..Quota::default() }]);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    let body = hello().to_string();
    let sibling = call(&sim, "POST", FLASH, &[("x-goog-api-key", "AIzaSibling")], &body).await;
    assert_eq!(sibling.status, 429);
    assert_eq!(call(&sim, "POST", FLASH, &[("x-goog-api-key", "AQ.Beta")], &body).await.status, 200);
    assert_eq!(openai(&sim, CHAT, &chat()).await.status, 429, "the dialects share it");
    let other_model = "/v1beta/models/gemini-2.5-pro:generateContent";
    assert_eq!(native(&sim, other_model, &hello()).await.status, 200);
    assert_eq!(get(&sim, "/v1beta/models").await.status, 200, "asking what there is costs nothing");

    let error = sibling.json();
    let details = &error["error"]["details"];
    assert_eq!(error["error"]["status"], "RESOURCE_EXHAUSTED");
    assert_eq!(
        details[0],
        json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
            "quotaValue": "1",
        }]})
    );
    let delay = details[2]["retryDelay"].as_str().unwrap();
    assert!(delay == "60s" || delay == "59s", "{delay}");
}

#[tokio::test]
async fn after_the_wait_that_was_named_a_window_is_open_again() {
    let quota_minute = Duration::from_millis(400);
    let quotas = vec![Quota { rpm: Some(1), ..Quota::default() }];
    let sim = Simulator::start(Config { quota_minute, quotas, ..config() }).await.unwrap();
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    let refused = native(&sim, FLASH, &hello()).await.json();
    let message = refused["error"]["message"].as_str().unwrap();
    let named = message.rsplit_once("Please retry in ").unwrap().1.strip_suffix("s.").unwrap();
    let wait = Duration::from_secs_f64(named.parse().unwrap());
    assert!(wait <= quota_minute, "{message}");
    // The message has two decimals.
    tokio::time::sleep(wait + Duration::from_millis(10)).await;
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
}

#[tokio::test]
async fn a_reset_forgets_what_was_counted() {
    let sim = simulator().await;
    sim.set_quotas([Quota { rpd: Some(1), model: Some("gemini-2.5-flash".into()), ..Quota::default() }]);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 429);
    sim.reset();
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
}

#[tokio::test]
async fn a_day_passes_when_the_clock_is_set() {
    let sim = simulator().await;
    sim.set_quotas([Quota { rpd: Some(1), rpm: Some(10), ..Quota::default() }]);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 429);
    let today = get(&sim, "/_simulator/clock").await.json();
    assert_eq!(today["offset_s"], 0);

    let set = call(&sim, "PUT", "/_simulator/clock", &[], r#"{"offset_s": 86400}"#).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let tomorrow = get(&sim, "/_simulator/clock").await.json();
    assert_ne!(tomorrow["los_angeles_date"], today["los_angeles_date"]);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 429);
    sim.set_clock_offset_s(2 * 86_400);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);

    let refused = call(&sim, "PUT", "/_simulator/clock", &[], r#"{"offset": 1}"#).await;
    assert_eq!(refused.status, 400);
    let logged = sim.requests().pop().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now.abs_diff(u128::from(logged.at_ms)) < 60_000, "the log keeps the real time");
}

#[tokio::test]
async fn a_minute_passes_when_the_clock_is_set_whichever_way_it_is_counted() {
    for quota_window in [MinuteWindow::Sliding, MinuteWindow::Fixed] {
        let quotas = vec![Quota { rpm: Some(1), ..Quota::default() }];
        // Long enough that no full one passes meanwhile, but for one time in thousands.
        let quota_minute = Duration::from_secs(86_400);
        let sim = Simulator::start(Config { quota_minute, quota_window, quotas, ..config() }).await.unwrap();
        assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
        assert_eq!(native(&sim, FLASH, &hello()).await.status, 429);
        sim.set_clock_offset_s(86_400);
        assert_eq!(native(&sim, FLASH, &hello()).await.status, 200, "{quota_window:?}");
    }
}

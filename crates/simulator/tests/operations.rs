//! Long-running operations and downloads of what they made, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Lifecycle, Simulator};
use serde_json::{Value, json};
use wire::*;

const BETA: &str = "AQ.Beta";
const VEO: &str = "/v1beta/models/veo-3.0-generate-001:predictLongRunning";

async fn ask(sim: &Simulator, method: &str, target: &str, key: &str) -> Reply {
    call(sim, method, target, &[("x-goog-api-key", key)], "").await
}

/// The path of the finished video's address.
async fn film(sim: &Simulator) -> String {
    let made = native(sim, VEO, &json!({"instances": [{"prompt": "a cat"}]})).await.json();
    assert_eq!(made.get("done"), None);
    let target = format!("/v1beta/{}", made["name"].as_str().unwrap());
    let mut polls = 0;
    let done = loop {
        let operation = ask(sim, "GET", &target, KEY).await.json();
        assert_eq!(operation["name"], made["name"]);
        if operation["done"] == true {
            break operation;
        }
        polls += 1;
    };
    assert_eq!(polls, 2);
    let refused = ask(sim, "GET", &target, BETA).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["message"]),
        (404, &json!("Requested entity was not found."))
    );
    let uri =
        done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"].as_str().unwrap();
    uri.strip_prefix("https://generativelanguage.googleapis.com").unwrap().to_owned()
}

#[tokio::test]
async fn a_video_is_made_by_and_by_and_fetched_by_its_project() {
    let sim = simulator().await;
    let target = film(&sim).await;
    let video = ask(&sim, "GET", &target, KEY).await;
    assert_eq!((video.status, video.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(&video.raw[4..8], b"ftyp");
    let by_download = ask(&sim, "GET", &format!("/download{target}"), KEY).await;
    assert_eq!((by_download.status, &by_download.raw), (200, &video.raw));
    let before = sim.stats().wrong_owner;
    assert_eq!(ask(&sim, "GET", &target, BETA).await.status, 403);
    assert_eq!(ask(&sim, "GET", &format!("/download{target}"), BETA).await.status, 403);
    assert_eq!(sim.stats().wrong_owner, before + 2);
    let name = target.strip_prefix("/v1beta/").unwrap().split(':').next().unwrap();
    let file = ask(&sim, "GET", &format!("/v1beta/{name}"), KEY).await.json();
    assert_eq!(file["source"], "GENERATED");
    let again = json!({"instances": [{"prompt": "on", "video": {"uri": format!("https://generativelanguage.googleapis.com{target}")}}]});
    assert_eq!(native(&sim, VEO, &again).await.status, 200);
    let stranger = call(&sim, "POST", VEO, &[("x-goog-api-key", BETA)], &again.to_string()).await;
    assert_eq!(stranger.status, 403);
    let listed = ask(&sim, "GET", "/v1beta/models/veo-3.0-generate-001/operations", KEY).await.json();
    assert_eq!(listed["operations"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_download_may_be_redirected_to_a_place_that_asks_for_no_key() {
    let sim = simulator().await;
    let target = film(&sim).await;
    let elsewhere = format!("{}/media/{{name}}", sim.url());
    sim.set_lifecycle(Lifecycle { download_redirect: Some(elsewhere), ..Lifecycle::default() });
    let sent_on = ask(&sim, "GET", &target, KEY).await;
    assert_eq!(sent_on.status, 302);
    let location = sent_on.header("location").unwrap().strip_prefix(&sim.url()).unwrap().to_owned();
    let media = call(&sim, "GET", &location, &[("X-Seen", "1")], "").await;
    assert_eq!((media.status, &media.raw[4..8]), (200, &b"ftyp"[..]));
    let request = sim.requests().pop().unwrap();
    assert_eq!((request.key.as_deref(), request.header("x-seen")), (None, Some("1")));
    assert_eq!(ask(&sim, "GET", "/media/files/none", KEY).await.status, 404);
    let shown: Value = ask(&sim, "GET", "/_simulator/lifecycle", KEY).await.json();
    assert_eq!(shown["work_polls"], 2);
    let body = json!({"work_polls": 0}).to_string();
    assert_eq!(call(&sim, "PUT", "/_simulator/lifecycle", &[], &body).await.status, 200);
    let made = native(&sim, VEO, &json!({"instances": [{"prompt": "a cat"}]})).await.json();
    let target = format!("/v1beta/{}", made["name"].as_str().unwrap());
    assert_eq!(ask(&sim, "GET", &target, KEY).await.json()["done"], true);
}

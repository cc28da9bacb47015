//! Interactions and what came with them, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Fault, Rule, Simulator};
use serde_json::{Value, json};
use wire::*;

const BETA: &str = "AQ.Beta";
const INTERACTIONS: &str = "/v1beta/interactions";

async fn send(sim: &Simulator, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(sim, method, target, &[("x-goog-api-key", key)], &body).await
}

async fn ask(sim: &Simulator, more: Value) -> Reply {
    let mut body = json!({"model": "gemini-2.5-flash", "input": "hello over there"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    send(sim, "POST", INTERACTIONS, KEY, &body).await
}

/// Kind, id and data of each event.
fn events(reply: &Reply) -> Vec<(String, String, Value)> {
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let text = reply.text();
    let events = text.split_terminator("\n\n").map(|event| {
        let (kind, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        let kind = kind.strip_prefix("event: ").unwrap().to_owned();
        assert_eq!(data["event_type"], kind);
        (kind, data["event_id"].as_str().unwrap().to_owned(), data)
    });
    events.collect()
}

fn missing(reply: &Reply) {
    let expected = json!({"error": {"code": "not_found", "message": "Requested entity was not found."}});
    assert_eq!((reply.status, reply.json()), (404, expected));
}

#[tokio::test]
async fn an_interaction_is_kept_for_its_project_and_goes_on() {
    let sim = simulator().await;
    let first = ask(&sim, json!({})).await.json();
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["steps"][0]["content"][0]["text"], "You said: hello over there");
    assert_eq!((&first["status"], first.get("input")), (&json!("completed"), None));
    let target = format!("{INTERACTIONS}/{id}");
    assert_eq!(send(&sim, "GET", &target, KEY, &Value::Null).await.json(), first);
    let whole = send(&sim, "GET", &format!("{target}?include_input=true"), KEY, &Value::Null).await.json();
    assert_eq!(whole["input"], "hello over there");
    let follow = json!({"previous_interaction_id": id, "input": [{"type": "text", "text": "and on"}]});
    let second = ask(&sim, follow.clone()).await.json();
    assert_eq!(second["usage"]["total_input_tokens"], 13, "2 and the 11 from before");

    let mut stolen = follow;
    stolen["model"] = json!("gemini-2.5-flash");
    missing(&send(&sim, "POST", INTERACTIONS, BETA, &stolen).await);
    missing(&send(&sim, "GET", &target, BETA, &Value::Null).await);
    missing(&send(&sim, "POST", &format!("{target}/cancel"), BETA, &json!({})).await);
    missing(&send(&sim, "DELETE", &target, BETA, &Value::Null).await);
    assert_eq!(sim.stats().wrong_owner, 4);
    missing(&send(&sim, "GET", &format!("{INTERACTIONS}/v1_none"), KEY, &Value::Null).await);
    assert_eq!(sim.stats().wrong_owner, 4);
    assert_eq!(send(&sim, "DELETE", &target, KEY, &Value::Null).await.status, 200);
    missing(&send(&sim, "GET", &target, KEY, &Value::Null).await);
    let listed = send(&sim, "GET", INTERACTIONS, KEY, &Value::Null).await.json();
    assert_eq!(listed["interactions"][0]["id"], second["id"]);
    sim.set_clock_offset_s(55 * 24 * 3600 + 1);
    assert_eq!(send(&sim, "GET", INTERACTIONS, KEY, &Value::Null).await.json(), json!({}));
    let passing = ask(&sim, json!({"store": false})).await.json();
    missing(
        &send(&sim, "GET", &format!("{INTERACTIONS}/{}", passing["id"].as_str().unwrap()), KEY, &Value::Null)
            .await,
    );
}

#[tokio::test]
async fn a_stream_is_told_in_events_and_resumed_after_any_of_them() {
    let sim = simulator().await;
    let told = events(&ask(&sim, json!({"stream": true})).await);
    let kinds: Vec<&str> = told.iter().map(|(kind, _, _)| kind.as_str()).collect();
    let deltas = ["step.delta"; 5];
    let expected = [
        &["interaction.created", "interaction.status_update", "step.start"],
        &deltas[..],
        &["step.stop", "interaction.completed"],
    ];
    assert_eq!(kinds, expected.concat());
    let text: String = told.iter().filter_map(|(_, _, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(text, "You said: hello over there");
    let id = told[0].2["interaction"]["id"].as_str().unwrap();
    let target = format!("{INTERACTIONS}/{id}?stream=true");
    assert_eq!(events(&send(&sim, "GET", &target, KEY, &Value::Null).await), told);
    for (n, (_, event, _)) in told.iter().enumerate() {
        let target = format!("{target}&last_event_id={event}");
        let rest = send(&sim, "GET", &target, KEY, &Value::Null).await;
        assert_eq!(events(&rest), told[n + 1..], "after {n}");
    }
    missing(&send(&sim, "GET", &target, BETA, &Value::Null).await);
    let wrong = send(&sim, "GET", &format!("{target}&last_event_id=x"), KEY, &Value::Null).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["code"]), (400, &json!("invalid_request")));

    sim.set_faults([Rule::new(Fault::Truncate { after_events: 4 }).times(1)]);
    let (bytes, _) = raw(
        sim.addr(),
        &request(
            "POST",
            INTERACTIONS,
            &[("x-goog-api-key", KEY)],
            &json!({"model": "gemini-2.5-flash", "input": "x", "stream": true}).to_string(),
        ),
    )
    .await;
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("event: ").count(), 4, "{text}");
    assert_eq!(sim.resources().len(), 2, "it is kept although its stream broke");
}

#[tokio::test]
async fn an_interaction_in_the_background_is_polled_or_cancelled() {
    let sim = simulator().await;
    let status = async |id: &Value| {
        let target = format!("{INTERACTIONS}/{}", id.as_str().unwrap());
        send(&sim, "GET", &target, KEY, &Value::Null).await.json()["status"].as_str().unwrap().to_owned()
    };
    let begun = ask(&sim, json!({"background": true})).await.json();
    assert_eq!((&begun["status"], begun.get("steps")), (&json!("in_progress"), None));
    assert_eq!(status(&begun["id"]).await, "in_progress");
    assert_eq!(status(&begun["id"]).await, "in_progress");
    assert_eq!(status(&begun["id"]).await, "completed");
    let begun = ask(&sim, json!({"background": true})).await.json();
    let cancel = format!("{INTERACTIONS}/{}/cancel", begun["id"].as_str().unwrap());
    assert_eq!(send(&sim, "POST", &cancel, KEY, &Value::Null).await.json()["status"], "cancelled");
    assert_eq!(send(&sim, "POST", &cancel, KEY, &Value::Null).await.status, 400, "it is over");
    assert_eq!(status(&begun["id"]).await, "cancelled");
    assert_eq!(ask(&sim, json!({"background": true, "store": false})).await.status, 400);
}

#[tokio::test]
async fn errors_of_interactions_have_words_for_codes_but_those_of_keys_do_not() {
    let sim = simulator().await;
    let code = |reply: Reply| (reply.status, reply.json()["error"]["code"].clone());
    assert_eq!(code(ask(&sim, json!({"model": "none"})).await), (404, json!("model_not_found")));
    assert_eq!(code(ask(&sim, json!({"agent": "a"})).await), (400, json!("invalid_request")));
    sim.set_quotas([serde_json::from_value(json!({"rpm": 0})).unwrap()]);
    assert_eq!(code(ask(&sim, json!({})).await).0, 429);
    assert!(code(ask(&sim, json!({})).await).1.is_string());
    let wrong = send(&sim, "POST", INTERACTIONS, "AIzaWrong", &json!({})).await;
    assert_eq!(code(wrong), (400, json!(400)));
    sim.set_faults([Rule::new(Fault::status(503))]);
    assert_eq!(code(ask(&sim, json!({})).await), (503, json!("service_unavailable")));
}

#[tokio::test]
async fn what_an_interaction_names_must_be_its_projects() {
    let sim = simulator().await;
    let made = |collection: &'static str| {
        let sim = &sim;
        async move {
            let target = format!("/v1beta/{collection}");
            let made = send(sim, "POST", &target, BETA, &json!({"display_name": "x"})).await;
            assert_eq!(made.status, 200, "{collection}: {}", made.text());
            made.json()["id"].as_str().unwrap().to_owned()
        }
    };
    let (environment, agent, voice) =
        (made("environments").await, made("agents").await, made("voices").await);
    let file = send(&sim, "POST", "/v1beta/files", BETA, &json!({"file": {}})).await.json();
    let store = send(&sim, "POST", "/v1beta/fileSearchStores", BETA, &json!({})).await.json();
    let stolen = [
        json!({"environment": environment}),
        json!({"environment": {"environment_id": environment}}),
        json!({"input": [{"type": "audio", "voice": voice}]}),
        json!({"tools": [{"type": "file_search", "file_search_store_names": [store["name"]]}]}),
    ];
    for more in &stolen {
        missing(&ask(&sim, more.clone()).await);
    }
    let by_agent = json!({"agent": agent, "input": "x"});
    missing(&send(&sim, "POST", INTERACTIONS, KEY, &by_agent).await);
    assert_eq!(send(&sim, "POST", INTERACTIONS, BETA, &by_agent).await.status, 200);
    let image = json!({"input": [{"type": "image", "uri": file["file"]["uri"]}]});
    let refused = ask(&sim, image).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("permission_denied")));
    assert_eq!(sim.stats().wrong_owner, 6);
    let googles = json!({"agent": "deep-research-pro-preview-12-2025", "input": "x"});
    assert_eq!(send(&sim, "POST", INTERACTIONS, KEY, &googles).await.status, 200);
    let remote = ask(&sim, json!({"environment": "remote"})).await.json();
    let target = format!("/v1beta/environments/{}", remote["environment_id"].as_str().unwrap());
    assert_eq!(send(&sim, "GET", &target, KEY, &Value::Null).await.status, 200);
    missing(&send(&sim, "GET", &target, BETA, &Value::Null).await);
}

#[tokio::test]
async fn every_collection_is_owned() {
    let sim = simulator().await;
    let modern = ["agents", "triggers", "webhooks", "credentials", "voices", "environments"];
    for collection in modern.into_iter().chain(["tunedModels", "corpora"]) {
        let target = format!("/v1beta/{collection}");
        let made = send(&sim, "POST", &target, KEY, &json!({"display_name": "first"})).await.json();
        let is_modern = modern.contains(&collection);
        let item = if is_modern {
            format!("{target}/{}", made["id"].as_str().unwrap())
        } else {
            format!("/v1beta/{}", made["name"].as_str().unwrap())
        };
        let changed = send(&sim, "PATCH", &item, KEY, &json!({"display_name": "second"})).await.json();
        assert_eq!(changed["display_name"], "second");
        assert_eq!(send(&sim, "GET", &item, KEY, &Value::Null).await.json(), changed);
        let listed = send(&sim, "GET", &target, KEY, &Value::Null).await.json();
        assert_eq!(listed[collection], json!([changed]));
        assert_eq!(send(&sim, "GET", &target, BETA, &Value::Null).await.json(), json!({}));
        for (method, body) in [("GET", Value::Null), ("PATCH", json!({})), ("DELETE", Value::Null)] {
            let refused = send(&sim, method, &item, BETA, &body).await;
            if is_modern {
                missing(&refused);
            } else {
                assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!(404)));
            }
        }
        assert_eq!(send(&sim, "DELETE", &item, KEY, &Value::Null).await.status, 200);
        assert_eq!(send(&sim, "GET", &item, KEY, &Value::Null).await.status, 404);
    }
    assert_eq!(sim.stats().wrong_owner, 24);
    for key in [KEY, BETA] {
        let labelled = send(&sim, "POST", "/v1beta/webhooks", key, &json!({"name": "mine"})).await.json();
        assert_eq!((&labelled["name"], labelled["id"] == "mine"), (&json!("mine"), false));
    }
    let chosen = json!({"id": "mine"});
    assert_eq!(send(&sim, "POST", "/v1beta/agents", KEY, &chosen).await.json()["id"], "mine");
    assert_eq!(send(&sim, "POST", "/v1beta/agents", KEY, &chosen).await.json()["error"]["code"], "aborted");
    let trigger = send(&sim, "POST", "/v1beta/triggers", KEY, &json!({})).await.json();
    let target = format!("/v1beta/triggers/{}", trigger["id"].as_str().unwrap());
    assert_eq!(send(&sim, "POST", &format!("{target}/run"), KEY, &json!({})).await.status, 200);
    let executions = format!("{target}/executions");
    assert_eq!(
        send(&sim, "GET", &executions, KEY, &Value::Null).await.json()["executions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    missing(&send(&sim, "GET", &executions, BETA, &Value::Null).await);
    assert_eq!(send(&sim, "GET", "/v1beta/generatedFiles", KEY, &Value::Null).await.json(), json!({}));
}

#[tokio::test]
async fn an_environments_files_are_put_and_fetched() {
    let sim = simulator().await;
    let made = send(&sim, "POST", "/v1beta/environments", KEY, &json!({})).await.json();
    let files = format!("environments/{}/files", made["id"].as_str().unwrap());
    let start = [
        ("x-goog-api-key", KEY),
        ("X-Goog-Upload-Protocol", "resumable"),
        ("X-Goog-Upload-Command", "start"),
    ];
    let stranger = [("x-goog-api-key", BETA), start[1], start[2]];
    let target = format!("/upload/v1beta/{files}/src/main.rs");
    missing(&call(&sim, "PUT", &target, &stranger, "").await);
    let begun = call(&sim, "PUT", &target, &start, "").await;
    let url = begun.header("x-goog-upload-url").unwrap().strip_prefix("http://simulator").unwrap().to_owned();
    let last = [("X-Goog-Upload-Command", "upload, finalize"), ("X-Goog-Upload-Offset", "0")];
    let done = call(&sim, "POST", &url, &last, "fn main() {}").await;
    assert_eq!((done.status, done.header("x-goog-upload-status")), (200, Some("final")));
    let listed =
        send(&sim, "GET", &format!("/v1beta/{files}?recursive=true"), KEY, &Value::Null).await.json();
    assert_eq!(listed["files"][0]["path"], "src/main.rs");
    let file = format!("/v1beta/{files}/src/main.rs?alt=media");
    assert_eq!(send(&sim, "GET", &file, KEY, &Value::Null).await.text(), "fn main() {}");
    missing(&send(&sim, "GET", &file, BETA, &Value::Null).await);
    missing(&send(&sim, "GET", &format!("/v1beta/{files}"), BETA, &Value::Null).await);
    assert_eq!(send(&sim, "DELETE", &file, KEY, &Value::Null).await.status, 200);
}

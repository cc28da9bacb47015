//! Batches on both surfaces, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{Lifecycle, Simulator};
use serde_json::{Value, json};
use wire::*;

const BETA: &str = "AQ.Beta";
const CREATE: &str = "/v1beta/models/gemini-2.5-flash:batchGenerateContent";
const OPENAI: &str = "/v1beta/openai/batches";

async fn send(sim: &Simulator, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(sim, method, target, &[("x-goog-api-key", key)], &body).await
}

async fn bearer(sim: &Simulator, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(sim, method, target, &[("Authorization", &format!("Bearer {key}"))], &body).await
}

/// Uploads lines; returns the file's name.
async fn file(sim: &Simulator, lines: &[Value]) -> String {
    let text: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    let headers = [("x-goog-api-key", KEY), ("X-Goog-Upload-Protocol", "raw")];
    let made = call(sim, "POST", "/upload/v1beta/files", &headers, &text.concat()).await.json();
    made["file"]["name"].as_str().unwrap().to_owned()
}

/// The states seen on the way, and the batch in the end.
async fn wait(sim: &Simulator, target: &str) -> (Vec<String>, Value) {
    let mut states = Vec::new();
    loop {
        let batch = send(sim, "GET", target, KEY, &Value::Null).await.json();
        states.push(batch["metadata"]["state"].as_str().unwrap().to_owned());
        if batch["done"] == true {
            return (states, batch);
        }
    }
}

#[tokio::test]
async fn inline_requests_are_answered_inline() {
    let sim = simulator().await;
    let requests = json!([
        {"request": hello(), "metadata": {"key": "a"}},
        {"request": {"contents": []}, "metadata": {"key": "b"}},
    ]);
    let body = json!({"batch": {"displayName": "two", "inputConfig": {"requests": {"requests": requests}}}});
    let made = send(&sim, "POST", CREATE, KEY, &body).await.json();
    let target = format!("/v1beta/{}", made["name"].as_str().unwrap());
    assert!(target.starts_with("/v1beta/batches/"));
    assert_eq!(made["metadata"]["displayName"], "two");
    let (states, batch) = wait(&sim, &target).await;
    assert_eq!(states, ["BATCH_STATE_PENDING", "BATCH_STATE_RUNNING", "BATCH_STATE_SUCCEEDED"]);
    let answers = &batch["response"]["inlinedResponses"]["inlinedResponses"];
    assert_eq!(
        answers[0]["response"]["candidates"][0]["content"]["parts"][0]["text"],
        "You said: hello over there"
    );
    assert_eq!((&answers[0]["metadata"]["key"], &answers[1]["error"]["code"]), (&json!("a"), &json!(400)));
    assert_eq!(&batch["metadata"]["output"]["inlinedResponses"]["inlinedResponses"], answers);

    let listed = send(&sim, "GET", "/v1beta/batches", KEY, &Value::Null).await.json();
    assert_eq!(listed["operations"][0], batch);
    assert_eq!(send(&sim, "GET", "/v1beta/batches", BETA, &Value::Null).await.json(), json!({}));
    let changed = json!({"displayName": "renamed"});
    let patch = format!("{target}:updateGenerateContentBatch?updateMask=displayName");
    assert_eq!(send(&sim, "PATCH", &patch, KEY, &changed).await.json()["displayName"], "renamed");
    for (method, target) in
        [("GET", &target), ("DELETE", &target), ("PATCH", &patch), ("POST", &format!("{target}:cancel"))]
    {
        let refused = send(&sim, method, target, BETA, &json!({})).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["status"]),
            (404, &json!("NOT_FOUND")),
            "{method}"
        );
    }
    assert_eq!(sim.stats().wrong_owner, 4);
    assert_eq!(send(&sim, "DELETE", &target, KEY, &Value::Null).await.status, 200);
    assert_eq!(send(&sim, "GET", &target, KEY, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_file_of_requests_is_answered_with_a_file() {
    let sim = simulator().await;
    let stranger = send(&sim, "POST", "/v1beta/files", BETA, &json!({"file": {}})).await.json();
    let mut stolen = hello();
    stolen["contents"][0]["parts"] = json!([{"fileData": {"fileUri": stranger["file"]["uri"]}}]);
    let lines = [json!({"key": "a", "request": hello()}), json!({"key": "b", "request": stolen})];
    let name = file(&sim, &lines).await;
    let body = json!({"batch": {"display_name": "lines", "input_config": {"file_name": name}}});
    assert_eq!(send(&sim, "POST", CREATE, BETA, &body).await.status, 403);
    assert_eq!(sim.stats().wrong_owner, 1);
    let made = send(&sim, "POST", CREATE, KEY, &body).await.json();
    assert_eq!(sim.stats().wrong_owner, 2, "a line names what is another's");
    let (_, batch) = wait(&sim, &format!("/v1beta/{}", made["name"].as_str().unwrap())).await;
    let output = batch["response"]["responsesFile"].as_str().unwrap();
    assert_eq!(batch["metadata"]["output"]["responsesFile"], output);
    let target = format!("/download/v1beta/{output}:download?alt=media");
    let text = send(&sim, "GET", &target, KEY, &Value::Null).await.text();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(
        (&answers[0]["key"], &answers[0]["response"]["candidates"][0]["finishReason"]),
        (&json!("a"), &json!("STOP"))
    );
    assert_eq!((&answers[1]["key"], &answers[1]["error"]["code"]), (&json!("b"), &json!(403)));
    assert_eq!(send(&sim, "GET", &target, BETA, &Value::Null).await.status, 403);
}

#[tokio::test]
async fn a_batch_is_cancelled_only_while_it_runs() {
    let sim = simulator().await;
    let requests = json!([{"request": {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}}]);
    let body = json!({"batch": {"inputConfig": {"requests": {"requests": requests}}}});
    let embed = "/v1beta/models/gemini-embedding-001:asyncBatchEmbedContent";
    let made = send(&sim, "POST", embed, KEY, &body).await.json();
    let target = format!("/v1beta/{}", made["name"].as_str().unwrap());
    assert_eq!(send(&sim, "POST", &format!("{target}:cancel"), KEY, &json!({})).await.json(), json!({}));
    let (states, batch) = wait(&sim, &target).await;
    assert_eq!((states.len(), &batch["metadata"]["state"]), (1, &json!("BATCH_STATE_CANCELLED")));
    let made = send(&sim, "POST", embed, KEY, &body).await.json();
    sim.set_clock_offset_s(31);
    let target = format!("/v1beta/{}", made["name"].as_str().unwrap());
    let (states, batch) = wait(&sim, &target).await;
    assert_eq!(states, ["BATCH_STATE_SUCCEEDED"], "by the clock");
    let answers = &batch["response"]["inlinedEmbedContentResponses"]["inlinedResponses"];
    assert_eq!(answers[0]["response"]["embedding"]["values"].as_array().unwrap().len(), 4);
    send(&sim, "POST", &format!("{target}:cancel"), KEY, &json!({})).await;
    assert_eq!(wait(&sim, &target).await.1, batch);
    assert_eq!(send(&sim, "POST", CREATE, KEY, &json!({})).await.status, 400);
}

#[tokio::test]
async fn the_openai_layer_shows_the_same_batches_in_its_own_words() {
    let sim = simulator().await;
    let line = json!({"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": chat()});
    let name = file(&sim, &[line]).await;
    let body = json!({"input_file_id": name, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let refused = bearer(&sim, "POST", OPENAI, BETA, &body).await;
    assert_eq!((refused.status, &refused.json()[0]["error"]["code"]), (403, &json!(403)));
    let made = bearer(&sim, "POST", OPENAI, KEY, &body).await.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (&made["object"], &made["status"], &made["input_file_id"]),
        (&json!("batch"), &json!("validating"), &json!(name))
    );
    let target = format!("{OPENAI}/{}", id.replace('/', "%2F"));
    let mut statuses = Vec::new();
    let done = loop {
        let batch = bearer(&sim, "GET", &target, KEY, &Value::Null).await.json();
        statuses.push(batch["status"].as_str().unwrap().to_owned());
        if batch["completed_at"].is_u64() {
            break batch;
        }
    };
    assert_eq!(statuses, ["validating", "in_progress", "completed"]);
    assert_eq!(done["request_counts"]["completed"], 1);
    let output = format!("/v1beta/{}:download?alt=media", done["output_file_id"].as_str().unwrap());
    let answer: Value =
        serde_json::from_str(&send(&sim, "GET", &output, KEY, &Value::Null).await.text()).unwrap();
    assert_eq!((&answer["custom_id"], &answer["response"]["status_code"]), (&json!("one"), &json!(200)));
    let said = &answer["response"]["body"]["choices"][0]["message"]["content"];
    assert_eq!(said, "You said: hello over there");
    assert_eq!(bearer(&sim, "GET", &target, BETA, &Value::Null).await.status, 404);
    assert_eq!(bearer(&sim, "POST", &format!("{target}/cancel"), BETA, &Value::Null).await.status, 404);
    assert_eq!(sim.stats().wrong_owner, 3);

    sim.set_lifecycle(Lifecycle { work_polls: 5, ..Lifecycle::default() });
    for _ in 0..2 {
        bearer(&sim, "POST", OPENAI, KEY, &body).await;
    }
    let page = bearer(&sim, "GET", &format!("{OPENAI}?limit=2"), KEY, &Value::Null).await.json();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (2, &json!(true)));
    let last = page["last_id"].as_str().unwrap();
    let rest = bearer(&sim, "GET", &format!("{OPENAI}?after={last}"), KEY, &Value::Null).await.json();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(id), &json!(false)));
    let cancelled = bearer(&sim, "POST", &format!("{OPENAI}/{last}/cancel"), KEY, &Value::Null).await.json();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(bearer(&sim, "GET", OPENAI, BETA, &Value::Null).await.json()["data"], json!([]));
}

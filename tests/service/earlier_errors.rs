//! Errors that are told in a success: of a job, an interaction, an answer's own parts. They pass as they are, but for the key
//! that Google may quote in one, and say nothing of the key that the request went on.

use crate::support::{Gateway, Options, client, key_counts, prompt, secret, simulator};
use gemini_simulator::{Fault, Rule, Simulator};
use serde_json::{Value, json};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const SSE: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// Has the simulator answer 200 with this.
fn answers(simulator: &Simulator, kind: &str, body: &Value) {
    let headers = [("content-type".to_owned(), kind.to_owned())].into();
    simulator.set_faults([Rule::new(Fault::Status { status: 200, headers, body: Some(body.clone()) })]);
}

/// Asks in a coding, and returns what is read: the body's length must be what was announced.
async fn read(gateway: &Gateway, path: &str, coding: &str) -> String {
    let request = match path {
        GENERATE | SSE => client().post(gateway.url(path)).body(prompt("x")),
        _ => client().get(gateway.url(path)),
    };
    let answer = request.header("accept-encoding", coding).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path} {coding}");
    let is_coded = answer.headers().contains_key("content-encoding");
    let announced = answer.content_length();
    let bytes = answer.bytes().await.unwrap();
    assert!(announced.is_none_or(|length| length == bytes.len() as u64), "{path} {coding}");
    if is_coded {
        let mut clear = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*bytes), &mut clear).unwrap();
        clear
    } else {
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_key_that_google_quotes_in_an_error_of_earlier_is_struck_out() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let error =
        json!({"code": 7, "message": format!("Consumer 'api_key:{}' has been suspended.", secret(0))});
    let failed =
        json!({"name": "batches/b", "done": true, "error": error, "metadata": {"words": "w".repeat(40_000)}});
    let story = format!(
        "event: interaction.created\ndata: {{\"id\":\"i\"}}\n\nevent: error\ndata: {{\"error\":{error}}}\n\n"
    );
    let said =
        json!({"candidates": [], "steps": [{"error": error}], "usageMetadata": {"totalTokenCount": 1}});
    for (path, kind, body) in [
        ("/v1beta/batches/b", "application/json", failed.clone()),
        ("/v1beta/batches/b?fields=error", "application/json", json!({"error": error})),
        ("/v1beta/models/veo/operations/o", "application/json", failed.clone()),
        (
            "/v1beta/files/f:download?alt=media",
            "application/octet-stream",
            json!(format!("{{\"key\":\"1\",\"error\":{error}}}\n")),
        ),
        (
            "/v1beta/interactions/i",
            "application/json",
            json!({"id": "i", "status": "failed", "error": error}),
        ),
        ("/v1beta/interactions/i?stream=true", "text/event-stream", json!(story)),
        (GENERATE, "application/json", said),
    ] {
        answers(&simulator, kind, &body);
        for coding in ["identity", "gzip"] {
            let told = read(&gateway, path, coding).await;
            assert!(!told.contains("Canary"), "{path} {coding}: {told}");
            assert!(told.contains("***") && told.contains("suspended."), "{path} {coding}: {told}");
        }
    }
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

#[tokio::test]
async fn an_error_of_earlier_is_no_fault_of_the_key_that_tells_of_it() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let error =
        |code: u16, status: &str| json!({"error": {"code": code, "status": status, "message": "quota"}});
    for error in [error(429, "RESOURCE_EXHAUSTED"), error(403, "PERMISSION_DENIED"), error(500, "INTERNAL")] {
        let story = format!("event: error\ndata: {error}\n\n");
        for (path, kind, body) in [
            ("/v1beta/batches/b?fields=error", "application/json", error.to_string()),
            ("/v1beta/interactions/i?stream=true", "text/event-stream", story),
            ("/v1beta/interactions/i", "application/json", error.to_string()),
        ] {
            answers(&simulator, kind, &json!(body));
            assert_eq!(read(&gateway, path, "gzip").await, body, "{path}");
        }
    }
    assert_eq!(key_counts(&gateway).await["available"], 1);
    assert!(gateway.transactions(9).iter().all(|line| line["attempts"].as_array().unwrap().len() == 1));
}

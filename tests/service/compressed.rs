//! Requests that are compressed, or not in plain UTF-8: what they say teaches the pool what it learns of others, and what
//! goes up are the bytes as they came.

use crate::support::{Options, client, simulator};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use gemini_simulator::{Fault, GoogleError, Rule};
use serde_json::json;
use std::io::Write;

fn chat() -> String {
    json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_spent_model_is_learnt_of_whichever_way_a_request_is_coded() {
    let forms: [(&str, Vec<u8>); 3] =
        [("gzip", gzip(&chat())), ("deflate", zlib(&chat())), ("", chat().into_bytes())];
    for (coding, body) in forms {
        let simulator = simulator(5).await;
        let gateway = Options::new(&simulator.url(), 5).start();
        let rules =
            (0..4).map(|n| Rule::new(Fault::google(GoogleError::QuotaDay)).on_key(crate::support::secret(n)));
        simulator.set_faults(rules);
        let mut statuses = Vec::new();
        for _ in 0..8 {
            let mut request = client().post(gateway.url("/v1/chat/completions")).body(body.clone());
            request = request.header("content-type", "application/json");
            if !coding.is_empty() {
                request = request.header("content-encoding", coding);
            }
            statuses.push(request.send().await.unwrap().status().as_u16());
        }
        let spent = simulator.requests().iter().filter(|request| request.status == Some(429)).count();
        assert!(spent <= 4, "{coding}: {spent} requests to projects that are spent, {statuses:?}");
        assert_eq!(statuses[4..], [200; 4], "{coding}");
        for request in simulator.requests() {
            assert_eq!(request.header("content-encoding").unwrap_or_default(), coding);
            assert_eq!(request.body_bytes, body.len() as u64);
        }
    }
}

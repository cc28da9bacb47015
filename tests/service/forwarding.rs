//! What is forwarded arrives as it was sent, and comes back as it was answered.

use crate::support::{Options, TOKEN, client, prompt, simulator};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_native_request_passes_byte_for_byte_both_ways() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let body = prompt("  odd   spacing is kept ");
    let response = client()
        .post(gateway.url("/v1beta/models/gemini-2.5-flash:generateContent?unknown=%20x&a=b"))
        .header("content-type", "application/json")
        .body(body.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let answer = response.bytes().await.unwrap();
    let arrived = &simulator.requests()[0];
    assert_eq!(arrived.body_sha256, Some(hex(body.as_bytes())));
    assert_eq!(arrived.answer_sha256, Some(hex(&answer)));
    assert_eq!(arrived.query.as_deref(), Some("unknown=%20x&a=b"));
    assert!(!format!("{arrived:?}").contains(TOKEN));
}

//! HTTP/2 and TLS, as an ordinary client sees them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::time::{Duration, Instant};

use gemini_simulator::{Config, End, Fault, Leaf, Rule, Shape, Simulator, Tls};
use reqwest::{Certificate, Client, ClientBuilder, Response, Version};
use wire::*;

async fn ask(client: &Client, sim: &Simulator, target: &str) -> reqwest::Result<Response> {
    let url = sim.url() + target;
    client.post(url).header("x-goog-api-key", KEY).body(hello().to_string()).send().await
}

fn client() -> ClientBuilder {
    // The first to install it wins; all install the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

fn h2() -> Client {
    client().http2_prior_knowledge().build().unwrap()
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let sim = simulator().await;
    let reply = ask(&h2(), &sim, STREAM).await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.version()), (200, Version::HTTP_2));
    assert_eq!(reply.text().await.unwrap().matches("data: ").count(), 5);
    let request = &sim.requests()[0];
    assert_eq!((request.http.as_str(), request.header("x-goog-api-key")), ("2", Some(KEY)));
    assert_eq!(request.end, End::Complete);
}

#[tokio::test]
async fn over_http_2_faults_break_the_stream_or_the_connection() {
    let sim = simulator().await;
    sim.set_faults([Rule::new(Fault::Truncate { after_events: 2 })]);
    let client = h2();
    let mut reply = ask(&client, &sim, STREAM).await.unwrap();
    let mut got = String::new();
    let error = loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => got += std::str::from_utf8(&chunk).unwrap(),
            Ok(None) => panic!("a clean end after {got}"),
            Err(error) => break error,
        }
    };
    assert_eq!(got.matches("data: ").count(), 2, "{error:?}");
    sim.set_faults([]);
    assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
    assert_eq!(sim.stats().connections, 1, "only the stream was reset");

    sim.set_faults([
        Rule::new(Fault::Reset { after_events: 1 }).times(1),
        Rule::new(Fault::ResetHead).times(1),
    ]);
    let reply = ask(&client, &sim, STREAM).await.unwrap();
    assert!(reply.text().await.is_err());
    assert!(ask(&client, &sim, FLASH).await.is_err());
    assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
    assert_eq!(sim.stats().connections, 3);
}

#[tokio::test]
async fn over_http_2_a_client_that_leaves_is_noticed() {
    let sim = simulator().await;
    let client = h2();
    sim.set_faults([Rule::new(Fault::StallHead).on_path("/v1beta/models/gemini-2.5-flash:generateContent")]);
    let asked = tokio::time::timeout(Duration::from_millis(200), ask(&client, &sim, FLASH)).await;
    assert!(asked.is_err());
    logged(&sim, |request| request.end == End::ClientLeft).await;

    sim.set_shape(Shape { events: u64::MAX, interval_ms: 10, text_bytes: 0 });
    let mut reply = ask(&client, &sim, STREAM).await.unwrap();
    reply.chunk().await.unwrap().unwrap();
    let left = Instant::now();
    drop(reply);
    logged(&sim, |request| request.seq == 2 && request.end == End::ClientLeft).await;
    assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
}

async fn secure(leaf: Leaf) -> Simulator {
    Simulator::start(Config { tls: Some(Tls { leaf }), ..config() }).await.unwrap()
}

fn trusting(sim: &Simulator) -> ClientBuilder {
    let ca = Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    client().tls_certs_only([ca])
}

#[tokio::test]
async fn over_tls_both_versions_of_http_are_offered() {
    let sim = secure(Leaf::Good).await;
    assert!(sim.url().starts_with("https://127.0.0.1:"));
    let both = trusting(&sim).build().unwrap();
    assert_eq!(ask(&both, &sim, FLASH).await.unwrap().version(), Version::HTTP_2);
    let one = trusting(&sim).http1_only().build().unwrap();
    let reply = ask(&one, &sim, STREAM).await.unwrap();
    assert_eq!(reply.version(), Version::HTTP_11);
    assert_eq!(reply.text().await.unwrap().matches("data: ").count(), 5);
    sim.set_faults([Rule::new(Fault::Truncate { after_events: 2 })]);
    assert!(ask(&one, &sim, STREAM).await.unwrap().text().await.is_err());
}

#[tokio::test]
async fn bad_certificates_are_refused_before_a_request_is_sent() {
    for leaf in [Leaf::WrongHost, Leaf::Expired] {
        let sim = secure(leaf).await;
        assert!(ask(&trusting(&sim).build().unwrap(), &sim, FLASH).await.is_err(), "{leaf:?}");
        assert!(sim.requests().is_empty());
    }
    let (sim, other) = (secure(Leaf::Good).await, secure(Leaf::Good).await);
    assert!(ask(&trusting(&other).build().unwrap(), &sim, FLASH).await.is_err(), "another authority");
    assert!(sim.requests().is_empty());
}

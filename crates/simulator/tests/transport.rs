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

/// The HTTP/2 error code with which a stream or its connection ended, and whether GOAWAY carried it.
fn code(error: &reqwest::Error) -> Option<(u32, bool)> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(h2) = error.downcast_ref::<h2::Error>() {
            return Some((h2.reason()?.into(), h2.is_go_away()));
        }
        source = error.source();
    }
    None
}

#[tokio::test]
async fn a_stream_can_be_refused_before_it_is_answered() {
    for sim in [simulator().await, secure(Leaf::Good).await] {
        sim.set_faults([Rule::new(Fault::RefuseStream).times(2)]);
        let client = if sim.ca_pem().is_some() { trusting(&sim).build().unwrap() } else { h2() };
        // The client sends it again by itself as often as it likes: what is refused has not been processed.
        while let Err(error) = ask(&client, &sim, FLASH).await {
            assert_eq!(code(&error), Some((7, false)), "{error:?}");
        }
        assert_eq!(sim.stats().by_fault["refuse_stream"], 2);
        assert_eq!(sim.stats().connections, 1, "the connection goes on");
        assert_eq!(sim.requests()[0].end, End::Faulted);
    }
}

/// A client that sends nothing twice.
fn once() -> Client {
    client().http2_prior_knowledge().retry(reqwest::retry::never()).build().unwrap()
}

#[tokio::test]
async fn goaway_names_a_last_stream_below_the_requests_and_other_streams_go_on() {
    for code_sent in [0, 11] {
        let sim = simulator().await;
        sim.set_shape(Shape { events: 30, interval_ms: 10, text_bytes: 0 });
        let client = once();
        let first = ask(&client, &sim, STREAM).await.unwrap();
        sim.set_faults([Rule::new(Fault::GoAway { code: code_sent, processed: false }).times(1)]);
        let error = ask(&client, &sim, FLASH).await.unwrap_err();
        assert_eq!(code(&error), Some((code_sent, true)), "{error:?}");
        assert_eq!(sim.requests()[1].end, End::Faulted);
        if code_sent == 0 {
            assert_eq!(first.text().await.unwrap().matches("data: ").count(), 30, "it was below");
        }
        assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
        assert_eq!(sim.stats().connections, 2);
    }
}

#[tokio::test]
async fn goaway_that_names_the_request_lets_it_be_answered() {
    let sim = simulator().await;
    let client = once();
    sim.set_faults([Rule::new(Fault::GoAway { code: 0, processed: true }).times(1)]);
    let answer = ask(&client, &sim, STREAM).await.unwrap();
    assert_eq!(answer.text().await.unwrap().matches("data: ").count(), 5);
    assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
    assert_eq!((sim.stats().connections, sim.stats().requests), (2, 2));

    let one = client_of_http_1();
    sim.set_faults([Rule::new(Fault::GoAway { code: 0, processed: true })]);
    let answer = ask(&one, &sim, FLASH).await.unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    for fault in [Fault::GoAway { code: 0, processed: false }, Fault::RefuseStream] {
        sim.set_faults([Rule::new(fault)]);
        assert!(ask(&one, &sim, FLASH).await.is_err(), "closed without an answer");
    }
}

fn client_of_http_1() -> Client {
    client().http1_only().build().unwrap()
}

#[tokio::test]
async fn a_stream_can_be_reset_in_its_middle_with_any_code() {
    let sim = simulator().await;
    let client = once();
    for (after_events, code_sent) in [(0, 8), (2, 2), (1, 11), (3, 7)] {
        sim.set_faults([Rule::new(Fault::ResetStream { after_events, code: code_sent })]);
        let mut answer = ask(&client, &sim, STREAM).await.unwrap();
        let mut events = 0;
        let error = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => events += std::str::from_utf8(&chunk).unwrap().matches("data: ").count(),
                Ok(None) => panic!("a clean end"),
                Err(error) => break error,
            }
        };
        assert_eq!((events as u64, code(&error)), (after_events, Some((code_sent, false))));
    }
    assert_eq!(sim.stats().connections, 1);
    let text = ask(&client_of_http_1(), &sim, STREAM).await.unwrap().text().await;
    assert!(text.is_err(), "over HTTP/1 the connection is reset");
}

#[tokio::test]
async fn a_window_that_stays_shut_stops_the_body_and_others_go_on() {
    let sim = Simulator::start(Config { h2_window_bytes: Some(65_535), ..config() }).await.unwrap();
    sim.set_faults([Rule::new(Fault::StallRequest { after_bytes: 1 }).times(1)]);
    let client = once();
    let url = sim.url() + FLASH;
    let big = client.post(&url).header("x-goog-api-key", KEY).body(vec![b' '; 500_000]).send();
    let stuck = tokio::spawn(big);
    logged(&sim, |request| request.fault.is_some() && request.body_bytes > 0).await;
    assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
    assert!(sim.requests()[0].body_bytes <= 65_535 && !stuck.is_finished());
    stuck.abort();
    eventually(|| sim.requests()[0].end == End::ClientLeft).await;
    assert_eq!(sim.stats().connections, 1);
}

#[tokio::test]
async fn a_kept_connection_closes_as_the_next_stream_opens() {
    let sim = simulator().await;
    let client = once();
    sim.set_faults([Rule::new(Fault::CloseKept { after_ms: None, reset: false }).times(1)]);
    assert!(!ask(&client, &sim, FLASH).await.unwrap().text().await.unwrap().is_empty());
    assert!(ask(&client, &sim, FLASH).await.is_err());
    assert_eq!(sim.stats().requests, 1);
    assert_eq!(ask(&client, &sim, FLASH).await.unwrap().status(), 200);
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

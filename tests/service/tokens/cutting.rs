//! Tokens that are disabled or removed while requests run under them: these go on, or end with `--cut`.

use super::{CHAT, FLASH, add, operator, options, status, tokens};
use crate::{
    live::Session,
    support::{Gateway, prompt, simulator_with, wait_for},
    wire::{Answer, Wire, request},
};
use gemini_simulator::{Fault, Rule, Shape, Simulator};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const SSE: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const ARRAY: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
const WAITS: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const EVENTS: u64 = 100;
const WORDS: &str =
    "This token was disabled or removed, and what ran under it was ended: ask the gateway's operator.";

/// A request under way, which tells its answer and when that ended.
fn begin(gateway: &Gateway, token: &str, path: &str, body: String) -> JoinHandle<(Answer, Instant)> {
    let (authority, token, path) = (gateway.authority().to_owned(), token.to_owned(), path.to_owned());
    tokio::spawn(async move {
        let mut wire = Wire::connect(&authority).await;
        wire.send(request("POST", &path, &[("x-goog-api-key", &token)], &body)).await.unwrap();
        (wire.answer().await.expect("an answer"), Instant::now())
    })
}

fn streaming_chat() -> String {
    let messages = json!([{"role": "user", "content": "x"}]);
    json!({"model": "gemini-2.5-flash", "stream": true, "messages": messages}).to_string()
}

/// Waits until so many of the simulator's streams have each passed some more bytes on.
fn all_go_on(simulator: &Simulator, streams: usize) {
    let passed = || -> Vec<u64> {
        let seen = simulator.requests();
        let streams = seen.iter().filter(|seen| seen.method == "POST" && seen.answer_bytes > 0);
        streams.map(|seen| seen.answer_bytes).collect()
    };
    wait_for("streams", || (passed().len() >= streams).then_some(()));
    let before = passed();
    wait_for("more of each stream", || {
        passed().iter().zip(&before).all(|(now, before)| now > before).then_some(())
    });
}

/// The simulator, a gateway, and its options: streams of five seconds, and a model that takes as long to answer.
async fn stage(folder: &std::path::Path) -> (Simulator, Gateway, super::Options, u16) {
    let shape = Shape { events: EVENTS, interval_ms: 50, text_bytes: 0 };
    let slow = Rule::new(Fault::DelayHead { ms: 5_000 }).on_model("gemini-2.5-pro");
    let simulator = simulator_with(1, |config| (config.shape, config.faults) = (shape, vec![slow])).await;
    let (options, port) = options(&simulator, 1);
    let gateway = options.start_in(folder);
    (simulator, gateway, options, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_ends_a_callers_streams_and_sessions_visibly_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let (simulator, gateway, options, _) = stage(folder.path()).await;
    let [alice, bob] = ["alice", "bob"].map(|name| add(&options, folder.path(), &[name]));
    let hers = [
        begin(&gateway, &alice, SSE, prompt("x")),
        begin(&gateway, &alice, ARRAY, prompt("x")),
        begin(&gateway, &alice, CHAT, streaming_chat()),
    ];
    let waits = begin(&gateway, &alice, WAITS, prompt("x"));
    let his = begin(&gateway, &bob, SSE, prompt("x"));
    let mut sessions = Vec::new();
    for token in [&alice, &bob] {
        sessions.push(Session::begin_as(&gateway, token).await.unwrap());
    }
    all_go_on(&simulator, 4);

    let run = |arguments: &[&str]| {
        let (done, text) = tokens(&options, folder.path(), arguments);
        assert!(done, "{text}");
    };
    run(&["disable", "alice"]);
    assert_eq!(status(&gateway, &alice).await, 401);
    all_go_on(&simulator, 4);
    assert_eq!(sessions[0].ask("still here").await, "you said: still here");
    assert!(hers.iter().all(|stream| !stream.is_finished()) && !waits.is_finished());

    run(&["disable", "alice", "--cut"]);
    let cut = Instant::now();
    assert_eq!(sessions[0].close().await, Some((1008, WORDS.to_owned())));
    let mut answers = Vec::new();
    for stream in hers {
        let (answer, ended) = stream.await.unwrap();
        assert!(ended.saturating_duration_since(cut) < Duration::from_secs(1));
        assert!(answer.status == 200 && !answer.whole, "{}", answer.text());
        answers.push(answer.text());
    }
    let [sse, array, chat] = &answers[..] else { panic!("{answers:?}") };
    let last = |text: &str| -> Value {
        let event = text.trim_end().rsplit("data: ").next().unwrap();
        serde_json::from_str(event).unwrap_or_else(|_| panic!("{event}"))
    };
    let status_of = json!({"code": 401, "message": WORDS, "status": "UNAUTHENTICATED"});
    assert_eq!(last(sse)["error"], status_of);
    assert!(array.trim_end().ends_with(&json!({ "error": status_of }).to_string()), "{array}");
    assert_eq!(
        (&last(chat)["error"]["message"], &last(chat)["error"]["code"]),
        (&json!(WORDS), &json!("invalid_api_key"))
    );
    assert!(sse.matches("data: ").count() > 3 && !chat.contains("[DONE]"));
    let (refused, ended) = waits.await.unwrap();
    assert!(ended.saturating_duration_since(cut) < Duration::from_secs(1));
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert!(refused.text().contains(WORDS), "{}", refused.text());

    assert_eq!(sessions[1].ask("not mine").await, "you said: not mine");
    let (answer, _) = his.await.unwrap();
    assert!(answer.whole && answer.text().matches("data: ").count() as u64 == EVENTS);
    // What was cut is told apart in the log, and counts against nobody's key.
    let lines = gateway.transactions(7);
    let of_alice: Vec<&Value> =
        lines.iter().filter(|line| line["caller"] == "alice" && line["attempts"][0].is_object()).collect();
    assert_eq!(of_alice.len(), 5, "{lines:#?}");
    // The status is that which the client has read; of the one that had none yet, what it was told.
    let mut statuses: Vec<_> = of_alice.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [101, 200, 200, 200, 401], "{of_alice:#?}");
    for line in of_alice {
        assert_eq!(
            (&line["end"], &line["attempts"][0]["fault"]),
            (&json!("refused"), &Value::Null),
            "{line}"
        );
    }

    // Whoever is let in again may stream again.
    run(&["enable", "alice"]);
    let again = begin(&gateway, &alice, SSE, prompt("x"));
    let (answer, _) = again.await.unwrap();
    assert!(answer.whole && answer.text().matches("data: ").count() as u64 == EVENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_cuts_where_it_says_so_and_not_what_the_configuration_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let (simulator, gateway, options, port) = stage(folder.path()).await;
    let carol = add(&options, folder.path(), &["carol"]);
    let dave = add(&options, folder.path(), &["dave"]);
    let (hers, his) = (begin(&gateway, &carol, SSE, prompt("x")), begin(&gateway, &dave, SSE, prompt("x")));
    all_go_on(&simulator, 2);
    let (code, answer) = operator(port, Method::DELETE, "/api/tokens/carol", r#"{"cut": "yes"}"#).await;
    assert_eq!(code, 400, "{answer}");
    assert_eq!(operator(port, Method::DELETE, "/api/tokens/dave", "").await.0, 200);
    let (code, answer) = operator(port, Method::DELETE, "/api/tokens/carol", r#"{"cut": true}"#).await;
    assert_eq!(code, 200, "{answer}");
    let cut = Instant::now();
    let (answer, ended) = hers.await.unwrap();
    assert!(ended.saturating_duration_since(cut) < Duration::from_secs(1));
    assert!(!answer.whole && answer.text().contains(WORDS), "{}", answer.text());
    for (path, body) in [("/api/tokens/tester", ""), ("/api/tokens/tester", r#"{"cut": true}"#)] {
        assert_eq!(operator(port, Method::DELETE, path, body).await.0, 409);
    }
    let (answer, _) = his.await.unwrap();
    assert!(answer.whole && answer.text().matches("data: ").count() as u64 == EVENTS);
    assert_eq!((status(&gateway, &carol).await, status(&gateway, &dave).await), (401, 401));
    assert!(super::send(&gateway, crate::support::TOKEN, FLASH, prompt("x")).await.status().is_success());
}

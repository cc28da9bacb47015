//! What something on the way to Google answers in its place, and what never got through: no key is to blame for either, and
//! the operator reads why.

use crate::support::{
    Gateway, Options, TOKEN, client, free_port, key_counts, prompt, simulator, simulator_with, wait_for,
};
use gemini_simulator::{Fault, Page, Rule, Tls};
use serde_json::json;
use std::collections::BTreeMap;

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

async fn post(gateway: &Gateway, path: &str) -> (u16, Option<String>, String) {
    let answer = client().post(gateway.url(path)).body(prompt("x")).send().await.unwrap();
    let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), retry_after, answer.text().await.unwrap())
}

#[tokio::test]
async fn no_key_is_blamed_for_what_something_on_the_way_answers() {
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    for (status, page) in [
        (401, Page::Html),
        (403, Page::Html),
        (403, Page::Json),
        (407, Page::Html),
        (429, Page::Html),
        (504, Page::Text),
        (502, Page::Empty),
        (503, Page::Html),
        (200, Page::Html),
        (200, Page::Empty),
    ] {
        let fault = Fault::Middlebox { status, page, headers: BTreeMap::new(), body: None };
        simulator.set_faults([Rule::new(fault)]);
        for _ in 0..4 {
            let (answered, retry_after, text) = post(&gateway, GENERATE).await;
            assert_eq!((answered, retry_after.as_deref()), (502, Some("1")), "{status} {page:?}: {text}");
            assert!(!text.to_lowercase().contains("<html"), "{text}");
        }
        assert_eq!(key_counts(&gateway).await["available"], 3, "{status} {page:?}");
    }
    // Neither what a model has made.
    let answers = |status, kind: &str, body: &str| {
        let headers = [("content-type".to_owned(), kind.to_owned())].into();
        simulator.set_faults([Rule::new(Fault::Status { status, headers, body: Some(json!(body)) })]);
    };
    for (status, body) in
        [(201, ""), (202, "{}"), (204, ""), (205, ""), (304, ""), (200, "<html>Sign in</html>")]
    {
        answers(status, "application/json", body);
        for path in [GENERATE, "/v1beta/openai/embeddings"] {
            let (answered, _, text) = post(&gateway, path).await;
            assert_eq!(answered, 502, "{status} {body} {path}: {text}");
        }
    }
    let log = gateway.output();
    // Nothing has changed for those only who asked.
    let gateway = Options::new(&simulator.url(), 3).start();
    answers(304, "application/json", "");
    for (asked, expected) in [("if-none-match", 304), ("x-none", 502)] {
        let request = client().get(gateway.url("/v1beta/models/m")).header(asked, "\"1\"");
        assert_eq!(request.send().await.unwrap().status(), expected, "{asked}");
    }
    assert_eq!(log.matches("WARN  upstream: Google cannot be reached: 127.0.0.1").count(), 0);
    assert!(log.contains("answers in Google's place (401 Unauthorized, text/html"), "{log}");
}

#[tokio::test]
async fn whoever_meets_a_lost_way_is_told_to_come_back_in_a_second() {
    let simulator = simulator(3).await;
    // One each, so that the pool does not hold the way to be lost yet.
    for fault in [Fault::ResetHead, Fault::CloseHead, Fault::PartialHead] {
        let gateway = Options::new(&simulator.url(), 3).start();
        simulator.set_faults([Rule::new(fault.clone())]);
        for path in ["/v1beta/batches", "/v1/batches"] {
            let request = client().post(gateway.url(path)).bearer_auth(TOKEN).body("{}");
            let answer = request.send().await;
            let Ok(answer) = answer else { panic!("{fault:?}: no answer") };
            let headers = answer.headers().clone();
            assert_eq!(answer.status(), 502, "{fault:?}");
            assert_eq!(headers["retry-after"], "1", "{fault:?}");
        }
    }
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let gateway = Options::new(&nobody, 3).start();
    for _ in 0..8 {
        let (status, retry_after, text) = post(&gateway, GENERATE).await;
        assert_eq!((status, retry_after.as_deref()), (502, Some("1")), "{text}");
        assert!(text.contains("RetryInfo"), "{text}");
    }
}

#[tokio::test]
async fn what_was_not_processed_is_sent_again_whatever_it_makes() {
    let simulator = simulator_with(2, |config| config.tls = Some(Tls::default())).await;
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), simulator.ca_pem().unwrap()).unwrap();
    let gateway = Options::new(&simulator.url(), 2)
        .set("upstream.ca_file", authority.path().display())
        .set("pool.failure_threshold", 1)
        .start();
    for fault in [
        Fault::GoAway { code: 0, processed: false },
        Fault::GoAway { code: 11, processed: false },
        Fault::RefuseStream,
    ] {
        for path in [GENERATE, "/v1beta/models/gemini-2.5-flash:batchGenerateContent"] {
            simulator.set_faults([Rule::new(fault.clone()).times(2)]);
            let (status, _, text) = post(&gateway, path).await;
            assert!(status == 200 || (status == 400 && path != GENERATE), "{fault:?} {path}: {text}");
        }
    }
    assert_eq!(key_counts(&gateway).await["available"], 2);
}

#[tokio::test]
async fn why_google_cannot_be_reached_is_told_once_with_the_way_that_was_tried() {
    let (nobody, proxy) = (free_port(), free_port());
    let upstream = format!("http://127.0.0.1:{nobody}");
    for (variable, value, way) in [
        ("NO_PROXY", "*".to_owned(), format!("127.0.0.1:{nobody}: no connection")),
        (
            "HTTP_PROXY",
            format!("http://u:canary@127.0.0.1:{proxy}"),
            format!(
                "127.0.0.1:{nobody} through the proxy http://127.0.0.1:{proxy} of HTTP_PROXY: no connection"
            ),
        ),
        (
            "ALL_PROXY",
            format!("socks://127.0.0.1:{proxy}"),
            format!(
                "127.0.0.1:{nobody} through the proxy socks5h://127.0.0.1:{proxy} of ALL_PROXY: no connection"
            ),
        ),
    ] {
        let gateway = Options::new(&upstream, 1).env(variable, value).start();
        for _ in 0..3 {
            assert_eq!(post(&gateway, GENERATE).await.0, 502);
        }
        let log = wait_for("the line", || {
            let log = gateway.output();
            log.contains("Google cannot be reached").then_some(log)
        });
        assert!(log.contains(&way), "{way}: {log}");
        assert_eq!(log.matches("Google cannot be reached").count(), 1, "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}

#[tokio::test]
async fn a_variable_that_names_no_usable_proxy_ends_the_start() {
    for (variable, value) in
        [("HTTPS_PROXY", "socks6://canary:1"), ("ALL_PROXY", "quic://canary:1"), ("all_proxy", "http://")]
    {
        let (status, output) =
            Options::new("https://generativelanguage.googleapis.com", 1).env(variable, value).run();
        assert!(!status.success());
        assert!(output.contains(variable) && !output.contains("canary"), "{output}");
    }
}

//! What all paths of the operator's listener have in common, asked of each by the document that the listener gives out: a write
//! is carried out only as it was meant, and every refusal has the form of all others.

use crate::{
    operator_auth::{ADMIN, Headers, ask, filled},
    support::{Options, free_port, simulator},
    wire::{Wire, exchange, request},
};
use serde_json::{Value, json};

const NEW_KEY: &str = "AIzaCanary-operator-writes-0123456789abc";

/// The operator's credential.
fn bearer() -> Headers {
    vec![("authorization", format!("Bearer {ADMIN}"))]
}

fn is_error(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["error"].as_str().is_some_and(|why| !why.is_empty() && why.lines().count() == 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_refuses_in_one_form_what_it_does_not_know() {
    let simulator = simulator(2).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 2).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let _gateway = options.start();
    let authority = format!("127.0.0.1:{port}");
    let document =
        ask(&mut Wire::connect(&authority).await, "GET", "/openapi.json", &Vec::new()).await.json();
    let (mut writes, mut large, mut heads) = (0, 0, 0);
    for (template, operations) in document["paths"].as_object().unwrap() {
        if template == "/assets/{file}" {
            continue;
        }
        let path = filled(template);
        let operations = operations.as_object().unwrap();
        for (method, operation) in operations {
            let method = method.to_uppercase();
            if method == "GET" {
                let mut wire = Wire::connect(&authority).await;
                let head = ask(&mut wire, "HEAD", &path, &bearer()).await;
                heads += 1;
                if template == "/events" {
                    assert_eq!(head.status, 200);
                    continue;
                }
                // On the same connection: nothing of a body is in the way.
                let whole = ask(&mut wire, "GET", &path, &bearer()).await;
                assert_eq!(head.status, whole.status, "{path}");
                assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
                continue;
            }
            for query in ["dryrun=1", "dry_run=0&dry_run=1", "AIzaSecret"] {
                let answer =
                    ask(&mut Wire::connect(&authority).await, &method, &format!("{path}?{query}"), &bearer())
                        .await;
                let text = answer.text();
                assert_eq!(answer.status, 400, "{method} {path}?{query}: {text}");
                assert!(is_error(&text) && !text.contains("AIza"), "{text}");
                writes += 1;
            }
            if !operation["requestBody"].is_null() {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {ADMIN}\r\n\
                     Content-Type: application/json\r\nContent-Length: 99000000\r\n\r\n"
                );
                let mut wire = Wire::connect(&authority).await;
                wire.send(head).await.unwrap();
                let answer = wire.answer().await.unwrap();
                let text = answer.text();
                assert!(!operation["responses"]["413"].is_null(), "{method} {template} is described");
                assert!(answer.status == 413 && is_error(&text), "{method} {path}: {} {text}", answer.status);
                large += 1;
            }
        }
        let answer = ask(&mut Wire::connect(&authority).await, "PATCH", &path, &bearer()).await;
        assert!(answer.status == 405 && is_error(&answer.text()), "{path}: {}", answer.status);
        let allowed = answer.header("allow").unwrap().to_owned();
        for method in operations.keys() {
            assert!(allowed.split(", ").any(|it| it == method.to_uppercase()), "{path}: {allowed}");
        }
    }
    assert!(writes > 30 && large > 8 && heads > 15, "{writes} {large} {heads}");
    let answer = ask(&mut Wire::connect(&authority).await, "GET", "/api/nothing", &bearer()).await;
    assert!(answer.status == 404 && is_error(&answer.text()));
    for list in ["keys", "tokens", "projects", "callers", "models", "requests"] {
        let path = format!("/api/{list}?cursor=zz");
        let answer = ask(&mut Wire::connect(&authority).await, "GET", &path, &bearer()).await;
        assert!(answer.status == 400 && is_error(&answer.text()), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_preview_that_is_asked_for_in_the_query_changes_nothing() {
    let simulator = simulator(1).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let _gateway = options.start();
    let authority = format!("127.0.0.1:{port}");
    let send = async |method: &str, path: &str, kind: &str, body: &str| {
        let bearer = format!("Bearer {ADMIN}");
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        exchange(&authority, request(method, path, &headers, body)).await
    };
    let import = json!({ "files": [{ "name": "keys.txt", "text": NEW_KEY }] }).to_string();
    let paste = json!({ "text": NEW_KEY }).to_string();
    for (path, kind, body) in [
        ("/api/keys?dry_run=1", "text/plain", NEW_KEY),
        ("/api/keys?dry_run=true", "application/json", paste.as_str()),
        ("/api/import?dry_run=1", "application/json", import.as_str()),
    ] {
        let answer = send("POST", path, kind, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(answer.json()["preview"].is_object() && answer.json()["added"].is_null(), "{path}");
        assert_eq!(
            send("POST", &path.replace("=1", "=yes").replace("=true", "=yes"), kind, body).await.status,
            400
        );
    }
    assert_eq!(send("GET", "/api/keys", "", "").await.json()["matched"], 1);
    assert_eq!(send("POST", "/api/keys?dry_run=0", "text/plain", NEW_KEY).await.status, 201);
    assert_eq!(send("GET", "/api/keys", "", "").await.json()["matched"], 2);

    // A price is of the model that requests are counted under.
    let price = |body: &'static str| send("PUT", "/api/prices/models%2Fzz-1", "application/json", body);
    assert_eq!(price(r#"{"input": 1.0, "model": "bar"}"#).await.status, 400);
    assert_eq!(price(r#"{"input": 1.0}"#).await.status, 200);
    let prices = send("GET", "/api/prices", "", "").await.json();
    assert!(prices["prices"].as_array().unwrap().iter().any(|it| it["model"] == "zz-1"), "{prices}");
    assert_eq!(send("DELETE", "/api/prices/models%2Fzz-1", "", "").await.status, 200);
}

//! Pages in browsers: what they ask before they call, what they may read of every answer, and whose pages may.

use crate::support::{Options, TOKEN, free_port, prompt, simulator, stranger};
use reqwest::{Method, StatusCode, header::HeaderMap};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map_or("", |value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} twice");
    value
}

#[tokio::test]
async fn a_preflight_is_answered_on_every_path_without_a_credential_and_a_key() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for path in [
        GENERATE,
        STREAM,
        "/v1/chat/completions",
        "/upload/v1beta/files",
        "/health",
        "/docs/",
        "/openapi.json",
        "/nowhere",
        "/v1beta/../x",
    ] {
        for (origin, method, headers) in [
            ("http://localhost:3000", "POST", "x-goog-api-key,content-type"),
            ("https://page.example", "DELETE", "authorization, x-stainless-os, x-stainless-retry-count"),
            ("app://obsidian.md", "PATCH", "x-goog-upload-command"),
            ("null", "GET", "x-goog-api-client"),
        ] {
            let answer = stranger()
                .request(Method::OPTIONS, gateway.url(path))
                .header("origin", origin)
                .header("access-control-request-method", method)
                .header("access-control-request-headers", headers)
                .header("access-control-request-private-network", "true")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
            let said = answer.headers();
            assert_eq!(text(said, "access-control-allow-origin"), origin);
            assert_eq!(text(said, "access-control-allow-methods"), method);
            assert_eq!(text(said, "access-control-allow-headers"), headers);
            assert_eq!(text(said, "access-control-allow-private-network"), "true");
            assert!(text(said, "access-control-max-age").parse::<u32>().unwrap() > 60);
            assert!(text(said, "vary").contains("Origin"));
            assert!(!said.contains_key("access-control-allow-credentials"));
        }
    }
    assert!(simulator.requests().is_empty());
}

#[tokio::test]
async fn every_answer_may_be_read_by_the_page_refusals_and_streams_included() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for (method, path, token, status) in [
        (Method::POST, GENERATE, TOKEN, 200),
        (Method::POST, STREAM, TOKEN, 200),
        (Method::POST, GENERATE, "wrong", 401),
        (Method::POST, "/v1/chat/completions", "", 401),
        (Method::GET, "/nowhere", TOKEN, 404),
        (Method::GET, "/v1beta/models/none", TOKEN, 404),
        (Method::GET, "/health", "", 200),
        (Method::GET, "/openapi.json", "", 200),
        (Method::GET, "/docs/", "", 200),
        (Method::TRACE, GENERATE, TOKEN, 405),
        (Method::OPTIONS, GENERATE, "", 401),
    ] {
        let what = format!("{method} {path}");
        let mut request =
            stranger().request(method.clone(), gateway.url(path)).header("origin", "https://page.example");
        if !token.is_empty() {
            request = request.header("x-goog-api-key", token);
        }
        if method == Method::POST {
            request = request.header("content-type", "application/json").body(prompt("hello"));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{what}");
        let said = answer.headers();
        assert_eq!(text(said, "access-control-allow-origin"), "https://page.example", "{what}");
        let exposed = text(said, "access-control-expose-headers");
        for name in ["x-request-id", "retry-after", "x-goog-upload-url", "content-disposition"] {
            assert!(exposed.contains(name), "{name}");
        }
        let varies = said.get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("Origin"));
        assert!(varies, "{what}");
    }
    // Without a page there is nothing to say.
    let answer = stranger().get(gateway.url("/health")).send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn what_the_upstream_says_of_origins_is_not_said_again() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nvary: X-Origin\r\n\
                access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\n\
                access-control-expose-headers: x-evil\r\n\r\n{}";
    let upstream = crate::raw::Upstream::start(head);
    for (origins, expected) in
        [("[\"*\"]", "https://page.example"), ("[]", ""), ("[\"https://other.example\"]", "")]
    {
        let gateway = Options::new(&upstream.url, 1).set("server.cors_origins", origins).start();
        let answer = stranger()
            .post(gateway.url(GENERATE))
            .header("x-goog-api-key", TOKEN)
            .header("origin", "https://page.example")
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(text(answer.headers(), "access-control-allow-origin"), expected);
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        assert!(!text(answer.headers(), "access-control-expose-headers").contains("x-evil"));
    }
}

#[tokio::test]
async fn an_operator_may_narrow_the_origins() {
    let simulator = simulator(1).await;
    let origins = "[\"https://page.example\", \"http://localhost:3000\"]";
    let gateway = Options::new(&simulator.url(), 1).set("server.cors_origins", origins).start();
    for (origin, is_allowed) in [
        ("https://page.example", true),
        ("http://localhost:3000", true),
        ("http://page.example", false),
        ("https://page.example.evil.example", false),
        ("null", false),
    ] {
        let preflight = stranger()
            .request(Method::OPTIONS, gateway.url(GENERATE))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
            .await
            .unwrap();
        assert_eq!(preflight.status(), if is_allowed { 204 } else { 403 }, "{origin}");
        assert_eq!(preflight.headers().contains_key("access-control-allow-origin"), is_allowed);
        let health = stranger().get(gateway.url("/health")).header("origin", origin).send().await.unwrap();
        assert_eq!(health.headers().contains_key("access-control-allow-origin"), is_allowed, "{origin}");
    }
    // None at all: an OPTIONS is what it was.
    let gateway = Options::new(&simulator.url(), 1).set("server.cors_origins", "[]").start();
    let preflight = stranger()
        .request(Method::OPTIONS, gateway.url(GENERATE))
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 401);
    assert!(!preflight.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_operators_listener_says_nothing_of_origins() {
    let simulator = simulator(1).await;
    let port = free_port();
    let _gateway =
        Options::new(&simulator.url(), 1).env("ADMIN_TOKEN", "op-token-7").set("admin.port", port).start();
    let admin = format!("http://127.0.0.1:{port}");
    for (method, path) in [(Method::OPTIONS, "/keys"), (Method::GET, "/keys"), (Method::GET, "/health")] {
        let answer = stranger()
            .request(method.clone(), format!("{admin}{path}"))
            .header("origin", "https://page.example")
            .header("access-control-request-method", "GET")
            .header("authorization", "Bearer op-token-7")
            .send()
            .await
            .unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{method} {path}");
        assert!(answer.status() != 204 && answer.status() != 200, "{method} {path}");
    }
}

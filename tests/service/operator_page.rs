//! The operator's page, as far as it is HTTP: who is logged in and for how long, what a foreign page can do (nothing), and what
//! is told as it happens.

use crate::{
    support::{Gateway, Options, TOKEN, client, free_port, prompt, simulator},
    wire::{Answer, exchange},
};
use serde_json::Value;
use std::{fmt::Write as _, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const ADMIN: &str = "operator-token-5b1e";

/// The listener of a gateway, as a browser sees it.
struct Site {
    authority: String,
    port: u16,
}

impl Site {
    fn origin(&self) -> String {
        format!("http://{}", self.authority)
    }

    fn text(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            let _ = write!(text, "Host: {}\r\n", self.authority);
        }
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        text + "\r\n" + body
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        exchange(&self.authority, self.text(method, path, headers, body)).await
    }

    /// As the page itself sends it.
    async fn own(&self, method: &str, path: &str, cookie: &str, body: &str) -> Answer {
        let origin = self.origin();
        let mut headers = vec![("sec-fetch-site", "same-origin"), ("cookie", cookie)];
        if method != "GET" {
            headers.extend([("origin", origin.as_str()), ("x-gemini-balance", "1")]);
        }
        self.send(method, path, &headers, body).await
    }

    async fn log_in(&self, token: &str) -> Answer {
        self.own("POST", "/session", "", &format!("{{\"token\":\"{token}\"}}")).await
    }

    /// The cookie of a new session.
    async fn cookie(&self) -> String {
        let answer = self.log_in(ADMIN).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let set = answer.header("set-cookie").unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

async fn start(change: impl FnOnce(Options) -> Options) -> (gemini_simulator::Simulator, Gateway, Site) {
    let simulator = simulator(2).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 2).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let gateway = change(options).start();
    (simulator, gateway, Site { authority: format!("127.0.0.1:{port}"), port })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_a_random_cookie_and_logging_out_kills_it_at_once() {
    let (_simulator, _gateway, site) = start(|options| options).await;
    assert_eq!(site.own("GET", "/session", "", "").await.json()["open"], false);
    let answer = site.log_in(ADMIN).await;
    let set = answer.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains(ADMIN) && !answer.text().contains(ADMIN));
    assert!(!set.contains("Secure"), "there is no TLS: {set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let (name, id) = cookie.split_once('=').unwrap();
    assert!(id.len() == 64 && name.ends_with(&site.port.to_string()), "{cookie}");
    assert_ne!(site.cookie().await, cookie, "each login has an id of its own");

    let keys = site.own("GET", "/api/keys", &cookie, "").await;
    assert_eq!((keys.status, keys.json()["counts"]["total"].as_u64()), (200, Some(2)));
    assert_eq!(site.own("GET", "/session", &cookie, "").await.json()["open"], true);
    assert_eq!(site.own("DELETE", "/session", &cookie, "").await.status, 200);
    let stale = site.own("GET", "/api/keys", &cookie, "").await;
    assert_eq!(stale.status, 403, "a stale cookie: {}", stale.text());
    assert!(stale.json()["error"].as_str().unwrap().contains("log in"));
    assert_eq!(site.own("GET", "/api/keys", &format!("{name}=guess"), "").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_counts_only_in_requests_of_the_page_itself() {
    let (_simulator, _gateway, site) = start(|options| options).await;
    let cookie = site.cookie().await;
    let own = site.origin();
    let get = async |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        site.send("GET", "/api/overview", &headers, "").await.status
    };
    assert_eq!(get(&[("sec-fetch-site", "same-origin")]).await, 200);
    assert_eq!(get(&[("origin", &own)]).await, 200);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1"),
        ("x-nothing", "said"),
    ] {
        assert_eq!(get(&[(name, value)]).await, 403, "{name}: {value}");
    }
    assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")]).await, 403);
    assert_eq!(get(&[("sec-fetch-site", "cross-site"), ("origin", &own)]).await, 403);

    // What changes something shows that a script of the page sent it.
    let post = async |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        site.send("POST", "/api/reload?dry_run=1", &headers, "").await.status
    };
    assert_eq!(post(&[("origin", &own)]).await, 403);
    assert_ne!(post(&[("origin", &own), ("x-gemini-balance", "1")]).await, 403);
    let foreign = [("origin", "http://evil.example"), ("x-gemini-balance", "1")];
    assert_eq!(post(&foreign).await, 403);
    let login = format!("{{\"token\":\"{ADMIN}\"}}");
    for headers in [&foreign[..], &[("origin", own.as_str())], &[]] {
        assert_eq!(site.send("POST", "/session", headers, &login).await.status, 403);
    }
    // And nothing invites other origins.
    let answer = site.send("OPTIONS", "/api/keys", &[("origin", "http://evil.example")], "").await;
    assert!(!answer.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_somebody_has_point_here_is_refused() {
    let (_simulator, _gateway, site) = start(|options| options).await;
    let cookie = site.cookie().await;
    let rebound = format!("evil.example:{}", site.port);
    let origin = format!("http://{rebound}");
    for path in ["/", "/assets/app.js", "/api/keys", "/session"] {
        let headers =
            [("host", rebound.as_str()), ("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        assert_eq!(site.send("GET", path, &headers, "").await.status, 403, "{path}");
    }
    let headers = [("host", rebound.as_str()), ("origin", origin.as_str()), ("x-gemini-balance", "1")];
    assert_eq!(
        site.send("POST", "/session", &headers, &format!("{{\"token\":\"{ADMIN}\"}}")).await.status,
        403
    );
    // A program may call it as it likes: it has the token, which no page has.
    let bearer = format!("Bearer {ADMIN}");
    let headers = [("host", "gateway:8001"), ("authorization", bearer.as_str())];
    assert_eq!(site.send("GET", "/api/keys", &headers, "").await.status, 200);
    let headers = [("host", "gateway:8001"), ("authorization", "Bearer guess")];
    assert_eq!(site.send("GET", "/api/keys", &headers, "").await.status, 401);
    let tunnel =
        [("host", "localhost:19001"), ("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(site.send("GET", "/api/keys", &tunnel, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_with_tls_the_cookie_is_secure() {
    let (_simulator, _gateway, site) =
        start(|options| options.env("GEMINI_BALANCE__ADMIN__PUBLIC_URL", "https://gw.example")).await;
    let headers = [("host", "gw.example"), ("origin", "https://gw.example"), ("x-gemini-balance", "1")];
    let answer = site.send("POST", "/session", &headers, &format!("{{\"token\":\"{ADMIN}\"}}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-") && set.contains("Secure") && !set.contains("Domain"), "{set}");
    let cookie = set.split(';').next().unwrap();
    let headers = [("host", "gw.example"), ("cookie", cookie), ("sec-fetch-site", "same-origin")];
    assert_eq!(site.send("GET", "/api/keys", &headers, "").await.status, 200);
    let headers = [("host", "gw.example"), ("origin", "http://gw.example"), ("x-gemini-balance", "1")];
    assert_eq!(
        site.send("POST", "/session", &headers, &format!("{{\"token\":\"{ADMIN}\"}}")).await.status,
        403
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_are_counted_by_address_and_a_clients_is_wrong_too() {
    let (_simulator, _gateway, site) = start(|options| options).await;
    for wrong in ["guess", TOKEN, "", "operator-token-5b1f", "x"] {
        let answer = site.log_in(wrong).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.header("set-cookie").is_none());
    }
    let answer = site.log_in(ADMIN).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_ends_every_session() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin-token");
    std::fs::write(&file, "operator-token-of-the-file").unwrap();
    let simulator = simulator(1).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 1).set("admin.port", port);
    let gateway = options.env("GEMINI_BALANCE__ADMIN__TOKEN_FILE", file.display()).start();
    let site = Site { authority: format!("127.0.0.1:{port}"), port };
    let answer = site.log_in("operator-token-of-the-file").await;
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let reload = async || site.own("POST", "/api/reload", &cookie, "").await.status;
    assert_eq!(reload().await, 200);
    assert_eq!(site.own("GET", "/api/keys", &cookie, "").await.status, 200, "the token is the same");
    std::fs::write(&file, "operator-token-changed").unwrap();
    reload().await;
    assert_eq!(site.own("GET", "/api/keys", &cookie, "").await.status, 403);
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_public_small_and_says_what_it_may_do() {
    let (_simulator, _gateway, site) = start(|options| options).await;
    let page = site.send("GET", "/", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "require-trusted-types-for 'script'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let etag = page.header("etag").unwrap();
    assert_eq!(site.send("GET", "/", &[("if-none-match", etag)], "").await.status, 304);
    let script = site.send("GET", "/assets/app.js", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((script.status, script.header("content-encoding")), (200, Some("gzip")));
    for path in
        ["/assets/vendoring/package.json", "/assets/../Cargo.toml", "/assets/%2e%2e/Cargo.toml", "/assets/"]
    {
        assert_eq!(site.send("GET", path, &[], "").await.status, 404, "{path}");
    }
    // A stranger is not even told that there is nothing.
    assert_eq!(site.send("GET", "/Cargo.toml", &[], "").await.status, 401);
    let data = site.send("GET", "/api/keys", &[], "").await;
    assert_eq!((data.status, data.header("cache-control")), (401, Some("no-store")));
    assert!(data.header("content-security-policy").is_some(), "on every answer");
}

/// Reads a stream of events until one of this name has come; its JSON.
async fn event(stream: &mut TcpStream, read: &mut String, name: &str) -> Option<Value> {
    let head = format!("event: {name}\ndata: ");
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if let Some(at) = read.find(&head)
            && let Some(end) = read[at..].find("\n\n")
        {
            let body = read[at + head.len()..at + end].to_owned();
            read.drain(..at + end);
            // What is chunked in between are lines of their own.
            return Some(serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}")));
        }
        match timeout(Duration::from_secs(10), stream.read(&mut buffer)).await.expect("an event").unwrap() {
            0 => return None,
            count => read.push_str(&String::from_utf8_lossy(&buffer[..count])),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_told_within_seconds_and_no_more_after_the_logout() {
    let (_simulator, gateway, site) = start(|options| options).await;
    let cookie = site.cookie().await;
    let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let mut stream = TcpStream::connect(&site.authority).await.unwrap();
    let ask = site.text("GET", "/events?topics=overview,requests", &headers, "");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut read = String::new();
    let first = event(&mut stream, &mut read, "overview").await.unwrap();
    assert_eq!(first["keys"]["total"], 2);
    assert!(first["components"]["key_manager"].is_object(), "{first}");
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let answer = client().post(gateway.url(path)).body(prompt("hello")).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let told = event(&mut stream, &mut read, "requests").await.unwrap();
    assert_eq!((told[0]["id"].as_str(), told[0]["status"].as_u64()), (Some(id.as_str()), Some(200)));
    assert_eq!(site.own("DELETE", "/session", &cookie, "").await.status, 200);
    assert!(event(&mut stream, &mut read, "requests").await.is_none(), "the stream goes on after the logout");
    // Nor is there a stream for who is not logged in.
    assert_eq!(site.own("GET", "/events", &cookie, "").await.status, 403);
    assert_eq!(site.send("GET", "/events", &[], "").await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_shows_is_there_for_programs_too_and_holds_no_secret() {
    let (_simulator, gateway, site) = start(|options| options).await;
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let answer = client().post(gateway.url(path)).body(prompt("hello")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let bearer = format!("Bearer {ADMIN}");
    let get = async |path: &str| {
        let answer = site.send("GET", path, &[("authorization", bearer.as_str())], "").await;
        let text = answer.text();
        for secret in ["Canary", ADMIN, TOKEN] {
            assert!(!text.contains(secret), "{path}: {text}");
        }
        assert_eq!(answer.status, 200, "{path}: {text}");
        answer.json()
    };
    let settings = get("/api/settings").await;
    let port = settings["settings"].as_array().unwrap().iter().find(|it| it["name"] == "admin.port").unwrap();
    assert_eq!(port["value"], site.port.to_string());
    assert!(port["source"].as_str().unwrap().contains("GEMINI_BALANCE__ADMIN__PORT"), "{port}");
    assert_eq!((port["default"].as_str(), port["live"].as_bool()), (Some("8001"), Some(false)));
    let projects = get("/api/projects").await;
    assert_eq!(projects["matched"], 2);
    assert!(projects["day_resets"].is_string());
    let cookie = site.cookie().await;
    assert_eq!(site.own("DELETE", "/session", &cookie, "").await.status, 200);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let audit = get("/api/audit").await;
        if audit["lines"][0]["verb"] == "log out" {
            assert_eq!(
                (&audit["lines"][0]["by"], &audit["lines"][1]["verb"]),
                (&"session".into(), &"log in".into())
            );
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{audit}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let overview = get("/api/overview").await;
    assert_eq!(overview["keys"]["available"], 2);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let models = get("/api/models").await;
        if models["models"][0]["model"] == "gemini-2.5-flash" {
            assert_eq!(models["models"][0]["requests"], 1, "{models}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{models}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_playground_goes_through_the_gateway_as_a_caller_of_its_own() {
    let (simulator, gateway, site) = start(|options| options).await;
    let cookie = site.cookie().await;
    for dialect in ["gemini", "openai"] {
        let body = format!(r#"{{"model":"gemini-2.5-flash","prompt":"hello","dialect":"{dialect}"}}"#);
        let answer = site.own("POST", "/api/playground", &cookie, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("data: {") && answer.whole, "{}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
        let id = answer.header("x-request-id").unwrap().to_owned();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let told = loop {
            let told = site.own("GET", &format!("/api/requests/{id}"), &cookie, "").await;
            if told.status == 200 {
                break told.json();
            }
            assert!(std::time::Instant::now() < deadline, "{}", told.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!((told["caller"].as_str(), told["dialect"].as_str()), (Some("operator"), Some(dialect)));
    }
    assert_eq!(simulator.stats().by_key.values().sum::<u64>(), 2);
    let wrong = site
        .own("POST", "/api/playground", &cookie, r#"{"model":"../x","prompt":"","dialect":"gemini"}"#)
        .await;
    assert_eq!(wrong.status, 400);
    let foreign = [("origin", "http://evil.example"), ("cookie", cookie.as_str()), ("x-gemini-balance", "1")];
    assert_eq!(site.send("POST", "/api/playground", &foreign, "{}").await.status, 403);
    // Nobody else is let in by that name, and no token has it.
    let client = client().get(gateway.url("/me")).header("x-goog-api-key", "operator").send().await.unwrap();
    assert_eq!(client.status(), 401);
    let named = site.own("POST", "/api/tokens", &cookie, r#"{"name":"operator"}"#).await;
    assert_eq!(named.status, 400, "{}", named.text());
}

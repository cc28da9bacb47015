//! Nothing is open but what says how the gateway is. The matrix is made from the route table: a route that is added and
//! not listed here fails.

use crate::{
    support::{Options, TOKEN, prompt, secret, simulator},
    wire::{Answer, Wire, exchange, request},
};
use std::{collections::BTreeSet, fmt::Write as _};

/// The routes that answer without a credential: to GET, and where monitors ask for health to HEAD.
const OPEN: &[&str] = &["/health", "/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/"];

/// Of debug builds alone, and silent there unless a test's environment says otherwise.
const OF_TESTS: &[&str] = &["/debug/panic/key_manager", "/debug/panic/store"];

/// What a caller asks of itself.
const ME: &str = "/me";

/// What is forwarded, or refused as unknown, to callers who are let in. The dialect is that of a caller without a
/// credential.
const CLOSED: &[(&str, Dialect)] = &[
    ("/", Dialect::Gemini),
    ("/v1beta/models", Dialect::Gemini),
    ("/v1/models", Dialect::Gemini),
    ("/v1/files", Dialect::Gemini),
    ("/v1alpha/models/gemini-2.5-flash", Dialect::Gemini),
    ("/v1beta/models/gemini-2.5-flash:generateContent", Dialect::Gemini),
    ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", Dialect::Gemini),
    ("/v7/models", Dialect::Gemini),
    ("/upload/v1beta/files", Dialect::Gemini),
    ("/download/v1beta/files/x:download", Dialect::Gemini),
    ("/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", Dialect::Gemini),
    ("/v1/chat/completions", Dialect::OpenAi),
    ("/v1/embeddings", Dialect::OpenAi),
    ("/v1beta/openai/models", Dialect::OpenAi),
    ("/openai/v1/chat/completions", Dialect::OpenAi),
    ("/v1/messages", Dialect::Anthropic),
    ("/v1/messages/count_tokens", Dialect::Anthropic),
    ("/v1/messages/batches/x", Dialect::Anthropic),
    ("/anthropic/v1/messages", Dialect::Anthropic),
    ("/v1/responses", Dialect::OpenAi),
    ("/v1/responses/resp_1/input_items", Dialect::OpenAi),
    ("/health/", Dialect::Gemini),
    ("//health", Dialect::Gemini),
    ("/health//ready", Dialect::Gemini),
    ("/HEALTH", Dialect::Gemini),
    ("/health/other", Dialect::Gemini),
    ("/openapi.json/", Dialect::Gemini),
    ("/doc", Dialect::Gemini),
    ("/debug/panic", Dialect::Gemini),
    ("/debug/pprof/", Dialect::Gemini),
    ("/admin", Dialect::Gemini),
    (ME, Dialect::Gemini),
    ("/me/", Dialect::Gemini),
    ("/metrics", Dialect::Gemini),
    ("/_simulator/requests", Dialect::Gemini),
    ("/v1beta/../health", Dialect::Gemini),
    ("/v1beta/%2e%2e/health", Dialect::Gemini),
    ("/health%2f", Dialect::Gemini),
];

/// The routes of translated formats, as the table has them.
const TRANSLATED: [&str; 7] = [
    "/v1/messages",
    "/v1/responses",
    "/anthropic",
    "/v1/models",
    "/v1/conversations",
    "/v1/v1/messages",
    "/v1/v1/responses",
];

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "HEAD"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Gemini,
    OpenAi,
    /// Anthropic's, which the gateway translates.
    Anthropic,
}

/// One way to show, or not to show, a credential.
#[derive(Clone, Debug)]
struct Shown {
    headers: Vec<(&'static str, String)>,
    query: Option<String>,
}

impl Shown {
    fn headers(headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { headers, query: None }
    }

    fn query(query: &str) -> Self {
        Self { headers: Vec::new(), query: Some(query.to_owned()) }
    }

    fn request(&self, method: &str, path: &str, host: &[&str]) -> String {
        let mut target = path.to_owned();
        if let Some(query) = &self.query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target += query;
        }
        let mut text = format!("{method} {target} HTTP/1.1\r\n");
        for host in host {
            let _ = write!(text, "Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text + "Content-Length: 0\r\n\r\n"
    }
}

/// Everything that is no credential, or no good one.
fn refused() -> Vec<Shown> {
    let bearer = |token: &str| format!("Bearer {token}");
    let pool_key = secret(0);
    let (longer, shorter) = (format!("{TOKEN}x"), &TOKEN[..TOKEN.len() - 1]);
    let mut all = vec![Shown::headers(&[])];
    for wrong in ["wrong", "", &longer, shorter, &TOKEN.to_uppercase(), "tester", &pool_key, "*", "null"] {
        all.push(Shown::headers(&[("x-goog-api-key", wrong)]));
        all.push(Shown::headers(&[("Authorization", &bearer(wrong))]));
        all.push(Shown::query(&format!("key={wrong}")));
    }
    let pair = format!("tester={TOKEN}");
    let twice = format!("{TOKEN},{TOKEN}");
    all.extend([
        Shown::headers(&[("x-goog-api-key", &pair)]),
        Shown::headers(&[("x-goog-api-key", &twice)]),
        Shown::headers(&[("x-goog-api-key", "wrong"), ("x-goog-api-key", "other")]),
        Shown::headers(&[("x-goog-api-key", "wrong"), ("Authorization", "Bearer other")]),
        Shown::headers(&[("Authorization", TOKEN)]),
        Shown::headers(&[("Authorization", "Bearer")]),
        Shown::headers(&[("Authorization", &format!("Basic {TOKEN}"))]),
        Shown::headers(&[("Authorization", &format!("Bearer{TOKEN}"))]),
        Shown::headers(&[("Proxy-Authorization", &bearer(TOKEN))]),
        Shown::headers(&[("x_goog_api_key", TOKEN)]),
        Shown::headers(&[("x-api-key", "wrong")]),
        Shown::headers(&[("Cookie", &format!("key={TOKEN}"))]),
        Shown::headers(&[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")]),
        Shown::query(&format!("access_token={TOKEN}")),
        Shown::query(&format!("token={TOKEN}")),
        Shown::query("key"),
        Shown::query("key=&key=wrong"),
    ]);
    all
}

/// Every form in which the token is accepted.
fn accepted() -> Vec<Shown> {
    let bearer = format!("Bearer {TOKEN}");
    let encoded: String = TOKEN.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    });
    vec![
        Shown::headers(&[("x-goog-api-key", TOKEN)]),
        Shown::headers(&[("X-GOOG-API-KEY", TOKEN)]),
        Shown::headers(&[("x-api-key", TOKEN)]),
        Shown::headers(&[("x-api-key", TOKEN), ("Authorization", "Bearer ")]),
        Shown::headers(&[("Authorization", &bearer)]),
        Shown::headers(&[("AUTHORIZATION", &format!("bearer {TOKEN}"))]),
        Shown::headers(&[("authorization", &format!("BEARER  {TOKEN} "))]),
        Shown::query(&format!("key={TOKEN}")),
        Shown::query(&format!("a=b&key={encoded}&c=d")),
        Shown::headers(&[("x-goog-api-key", TOKEN), ("x-goog-api-key", TOKEN)]),
        Shown::headers(&[("x-goog-api-key", ""), ("Authorization", &bearer)]),
        Shown::headers(&[("x-goog-api-key", "wrong"), ("Authorization", &bearer)]),
        Shown::headers(&[("x-goog-api-key", TOKEN), ("Authorization", "Bearer other")]),
        Shown::query(&format!("key=wrong&key={TOKEN}")),
    ]
}

/// The paths that a source file registers with actix-web, of whichever kind.
fn paths_registered_in(source: &str) -> BTreeSet<&str> {
    [".route(", "scope(", "resource(", "SwaggerUi::new("]
        .iter()
        .flat_map(|call| source.split(call).skip(1))
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .chain(paths_named_in(source))
        .collect()
}

/// Those that stand in a constant.
fn paths_named_in(source: &str) -> impl Iterator<Item = &str> {
    let constants = source.split("\nconst ").skip(1).filter_map(|rest| rest.split(";\n").next());
    constants.flat_map(|text| text.split('"').skip(1).step_by(2)).filter(|text| text.starts_with('/'))
}

#[test]
fn every_route_of_the_table_is_listed_here() {
    let mut found = paths_registered_in(include_str!("../../src/http/routes.rs"));
    found.extend(paths_registered_in(include_str!("../../src/http/docs.rs")));
    let mut listed: BTreeSet<_> = OPEN.iter().chain(OF_TESTS).copied().chain([ME]).collect();
    // `/docs/` is the page with its files, below `/docs` itself.
    listed.remove("/docs/");
    listed.extend(["", "/{_:.*}"]);
    listed.extend(TRANSLATED);
    assert_eq!(found, listed);
}

fn assert_refused(answer: &Answer, case: &str, dialect: Dialect, head: bool) {
    assert_eq!(answer.status, 401, "{case}: {}", answer.text());
    assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 16), "{case}");
    assert!(answer.header("www-authenticate").is_some(), "{case}");
    if head {
        return;
    }
    let error = &answer.json()["error"];
    assert!(error["message"].as_str().is_some_and(|message| !message.contains(TOKEN)), "{case}");
    match dialect {
        Dialect::Gemini => {
            assert_eq!(
                (&error["code"], &error["status"]),
                (&401.into(), &"UNAUTHENTICATED".into()),
                "{case}"
            );
        }
        Dialect::Anthropic => assert_eq!(
            (&answer.json()["type"], &error["type"]),
            (&"error".into(), &"authentication_error".into()),
            "{case}"
        ),
        Dialect::OpenAi => assert_eq!(
            (&error["code"], &error["type"]),
            (&"invalid_api_key".into(), &"invalid_request_error".into()),
            "{case}"
        ),
    }
}

/// The dialect of a refusal: of paths that both know, and of unknown ones, by the credential's form.
fn dialect(path: &str, usual: Dialect, shown: &Shown) -> Dialect {
    let first = shown.headers.iter().find(|(name, value)| {
        let token =
            value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map(|_| value[7..].trim());
        match name.to_ascii_lowercase().as_str() {
            "x-goog-api-key" => !value.trim().is_empty(),
            "authorization" => token.is_some_and(|token| !token.is_empty()),
            _ => false,
        }
    });
    if usual == Dialect::Anthropic {
        return usual;
    }
    let is_bearer = first.is_some_and(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let ambiguous = matches!(path, "/v1/models" | "/v1/files");
    let native = path.starts_with("/v")
        || path.starts_with("/upload/")
        || path.starts_with("/download/")
        || path.starts_with("/ws/");
    if is_bearer && (ambiguous || !native && usual == Dialect::Gemini) { Dialect::OpenAi } else { usual }
}

#[tokio::test]
async fn nobody_without_a_good_credential_gets_past_the_door() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).set("server.max_guesses_per_minute", 0).start();
    for (path, usual) in CLOSED {
        let mut wire = Wire::connect(gateway.authority()).await;
        for method in METHODS {
            for shown in refused() {
                let case = format!("{method} {path} with {shown:?}");
                wire.send(shown.request(method, path, &["gateway"])).await.unwrap();
                let head = *method == "HEAD";
                let answer = if head { wire.head().await } else { wire.answer().await };
                let answer = answer.unwrap_or_else(|| panic!("no answer to {case}"));
                assert_refused(&answer, &case, dialect(path, *usual, &shown), head);
            }
        }
    }
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn open_routes_answer_to_nothing_but_questions() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let nothing = Shown::headers(&[]);
    for path in OPEN {
        for method in METHODS {
            let text = nothing.request(method, path, &["gateway"]);
            let mut wire = Wire::connect(gateway.authority()).await;
            wire.send(text).await.unwrap();
            let answer = wire.head().await.unwrap();
            let wanted = match *method {
                "GET" if *path == "/docs" => vec![301, 302, 303, 307, 308],
                "GET" => vec![200],
                "HEAD" if path.starts_with("/health") => vec![200],
                _ => vec![401, 405],
            };
            assert!(wanted.contains(&answer.status), "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn odd_targets_and_hosts_open_nothing() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let nothing = Shown::headers(&[]);
    let hosts: &[&[&str]] =
        &[&[], &[""], &["127.0.0.1"], &["localhost:1"], &["evil.example"], &["x/health?y"], &["a", "b"]];
    for host in hosts {
        for target in
            ["/v1beta/models", "//v1beta//models", "/v1beta/models/", "http://gateway/v1beta/models", "*"]
        {
            for method in ["GET", "OPTIONS"] {
                let mut wire = Wire::connect(gateway.authority()).await;
                wire.send(nothing.request(method, target, host)).await.unwrap();
                let answer = wire.answer().await.unwrap();
                let case = format!("{method} {target} for {host:?}: {}", answer.text());
                assert!([400, 401].contains(&answer.status), "{case}");
            }
        }
    }
    let answer =
        exchange(gateway.authority(), "CONNECT gateway:443 HTTP/1.1\r\nHost: gateway:443\r\n\r\n").await;
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(simulator.stats().requests, 0);
}

#[tokio::test]
async fn the_token_is_accepted_in_every_form_and_goes_no_further() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    for path in [
        "/v1beta/models",
        "/v1beta/models/",
        "//v1beta//models",
        "/v1/models",
        "/v1beta/openai/models",
        "/openai/v1/models",
    ] {
        for shown in accepted() {
            let answer = exchange(gateway.authority(), shown.request("GET", path, &["gateway"])).await;
            // Google knows no trailing slash; what matters here is that the request went there.
            let wanted: &[u16] = if path.ends_with('/') { &[200, 404] } else { &[200] };
            assert!(wanted.contains(&answer.status), "{path} {shown:?}: {} {}", answer.status, answer.text());
        }
    }
    let arrived = simulator.requests();
    assert_eq!(arrived.len(), 6 * accepted().len());
    for request in arrived {
        let text = format!("{} {:?} {:?}", request.path, request.query, request.headers);
        assert!(!text.contains(TOKEN) && !text.contains("wrong") && !text.contains("key="), "{text}");
        assert_eq!(request.key.as_deref(), Some(secret(0).as_str()));
    }
}

#[tokio::test]
async fn without_a_token_a_pool_key_is_the_credential_and_the_log_warns() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).without_token().start();
    assert!(gateway.output().contains("no client token is configured"), "{}", gateway.output());
    let key = secret(1);
    let statuses = async |headers: &[(&str, &str)], query: &str| {
        exchange(gateway.authority(), request("GET", &format!("/v1beta/models{query}"), headers, ""))
            .await
            .status
    };
    assert_eq!(statuses(&[("x-goog-api-key", &key)], "").await, 200);
    assert_eq!(statuses(&[("Authorization", &format!("Bearer {key}"))], "").await, 200);
    assert_eq!(statuses(&[], &format!("?key={key}")).await, 200);
    assert_eq!(statuses(&[("x-goog-api-key", TOKEN)], "").await, 401);
    assert_eq!(statuses(&[], "").await, 401);
    assert_eq!(statuses(&[("x-goog-api-key", "")], "?key=").await, 401);
}

#[tokio::test]
async fn tokens_come_from_the_environment_and_from_files() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (config, token_file) = (folder.path().join("gateway.toml"), folder.path().join("carol"));
    std::fs::write(&token_file, "carols-token\n").unwrap();
    let text = format!(
        "[auth]\ntokens = [{{ name = \"bob\", secret = \"bobs-token\" }}, {{ name = \"carol\", secret_file = {token_file:?} }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let gateway = Options::new(&simulator.url(), 1)
        .env("ACCESS_TOKENS", "alice=alices-token, dave=da=ve== ,")
        .args(&["--config", config.to_str().unwrap()])
        .start();
    assert!(!gateway.output().contains("no client token"), "{}", gateway.output());
    let callers =
        [("alice", "alices-token"), ("dave", "da=ve=="), ("bob", "bobs-token"), ("carol", "carols-token")];
    for (_, token) in callers {
        let headers = [("x-goog-api-key", token)];
        let text =
            request("POST", "/v1beta/models/gemini-2.5-flash:generateContent", &headers, &prompt("hi"));
        assert_eq!(exchange(gateway.authority(), text).await.status, 200, "{token}");
    }
    let refused = request("GET", "/v1beta/models", &[("x-goog-api-key", &secret(0))], "");
    assert_eq!(exchange(gateway.authority(), refused).await.status, 401);
    let transactions = gateway.transactions(5);
    let mut names: Vec<_> = transactions.iter().filter_map(|line| line["caller"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["alice", "bob", "carol", "dave"]);
}

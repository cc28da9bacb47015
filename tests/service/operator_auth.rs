//! Nobody but the operator gets in at the operator's listener. The matrix is made from the document that the listener gives
//! out, which a test beside the route table compares with it: a new route is closed here unasked, and open only where listed.

use crate::{
    support::{Options, TOKEN, fingerprint, free_port, secret, simulator},
    wire::{Answer, Wire, exchange, request},
};
use std::collections::BTreeSet;

pub(crate) const ADMIN: &str = "operator-token-5b1e";
const METRICS: &str = "metrics-token-41d7";

/// What answers to strangers. The login is among it, and refuses them itself.
const OPEN: [&str; 7] = [
    "delete /session",
    "get /",
    "get /assets/{file}",
    "get /health",
    "get /openapi.json",
    "get /session",
    "post /session",
];

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];

pub(crate) type Headers = Vec<(&'static str, String)>;

/// Everything that is no credential of an operator's, or not in a form or from a place that counts.
fn refused(port: u16) -> Vec<Headers> {
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let mut all = vec![Vec::new()];
    for wrong in
        ["", "wrong", TOKEN, &secret(0), METRICS, &ADMIN[1..], &ADMIN.to_uppercase(), &format!("{ADMIN}x")]
    {
        all.push(bearer(wrong));
        all.push(vec![("x-goog-api-key", wrong.to_owned())]);
    }
    let cookie = |id: &str| ("cookie", format!("gemini-balance-{port}={id}"));
    all.extend([
        vec![("authorization", format!("Basic {ADMIN}"))],
        vec![("authorization", ADMIN.to_owned())],
        vec![("proxy-authorization", format!("Bearer {ADMIN}"))],
        vec![("cookie", format!("token={ADMIN}"))],
        vec![
            cookie(ADMIN),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("x-gemini-balance", "1".to_owned()),
        ],
        vec![
            cookie(&"0".repeat(64)),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("x-gemini-balance", "1".to_owned()),
        ],
        vec![("x-forwarded-for", "127.0.0.1".to_owned()), ("x-real-ip", "127.0.0.1".to_owned())],
        // A page of a browser's, whatever it knows.
        [bearer(ADMIN), vec![("origin", "http://evil.example".to_owned())]].concat(),
        [bearer(ADMIN), vec![("origin", "null".to_owned())]].concat(),
    ]);
    all
}

/// A path of the document with something in each place.
pub(crate) fn filled(template: &str) -> String {
    let key = fingerprint(0);
    let filling = [
        ("{key}", key.as_str()),
        ("{verb}", "disable"),
        ("{name}", "tester"),
        ("{model}", "x"),
        ("{id}", "x"),
    ];
    let filled = filling.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!filled.contains('{'), "nothing to fill {template} with");
    filled
}

/// Other spellings of a path: none of them opens what the path itself does not.
fn spellings(path: &str) -> Vec<String> {
    let encoded = path.replacen("/api", "/%61pi", 1).replacen("/keys", "/%6beys", 1);
    vec![
        path.to_owned(),
        format!("{path}/"),
        format!("/{path}"),
        path.to_uppercase(),
        encoded,
        format!("{path}?key={ADMIN}"),
        format!("{path}?token={ADMIN}"),
        format!("/assets/..{path}"),
        format!("/assets/%2e%2e{path}"),
        format!("/assets/..%2f{}", &path[1..]),
        format!("/health/..{path}"),
    ]
}

/// Whether a path is not closed as a whole, but has routes that are open or ask for a token of their own.
fn asks_itself(template: &str) -> bool {
    template == "/metrics" || OPEN.iter().any(|open| open.ends_with(&format!(" {template}")))
}

/// By the listener's own name: who calls it by another is refused for that.
fn written(authority: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    request(method, path, headers, "").replacen("Host: gateway", &format!("Host: {authority}"), 1)
}

pub(crate) async fn ask(wire: &mut Wire, method: &str, path: &str, headers: &Headers) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let authority = wire.stream.peer_addr().unwrap().to_string();
    wire.send(written(&authority, method, path, &headers)).await.unwrap();
    let answer = if method == "HEAD" { wire.head().await } else { wire.answer().await };
    answer.unwrap_or_else(|| panic!("no answer to {method} {path} with {headers:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_operator_gets_in_by_any_route_method_or_spelling() {
    let simulator = simulator(2).await;
    let port = free_port();
    let options = Options::new(&simulator.url(), 2)
        .env("ADMIN_TOKEN", ADMIN)
        .set("admin.port", port)
        .set("metrics.token", METRICS)
        .set("server.max_guesses_per_minute", 0);
    let _gateway = options.start();
    let authority = format!("127.0.0.1:{port}");
    let document = exchange(&authority, written(&authority, "GET", "/openapi.json", &[])).await.json();
    let bearer = vec![("authorization", format!("Bearer {ADMIN}"))];
    let keys = ask(&mut Wire::connect(&authority).await, "GET", "/keys", &bearer).await.json();

    let (mut closed, mut open) = (0, BTreeSet::new());
    for (template, operations) in document["paths"].as_object().unwrap() {
        let of = |method: &str| format!("{} {template}", method.to_lowercase());
        // A head is asked for as what it is the head of.
        let is_open = |method: &str| OPEN.contains(&of(method).replace("head ", "get ").as_str());
        open.extend(
            operations
                .as_object()
                .unwrap()
                .keys()
                .map(|method| of(method))
                .filter(|it| OPEN.contains(&it.as_str())),
        );
        if template == "/assets/{file}" {
            continue;
        }
        let path = filled(template);
        let mut wire = Wire::connect(&authority).await;
        for method in METHODS {
            for headers in refused(port) {
                let is_metrics =
                    template == "/metrics" && headers.iter().any(|(_, value)| value.ends_with(METRICS));
                if is_open(method) || is_metrics {
                    continue;
                }
                let answer = ask(&mut wire, method, &path, &headers).await;
                let case = format!("{method} {path} with {headers:?}: {} {}", answer.status, answer.text());
                let is_unknown = asks_itself(template) && operations.get(method.to_lowercase()).is_none();
                let wanted: &[u16] = if is_unknown { &[401, 403, 404, 405] } else { &[401, 403] };
                assert!(wanted.contains(&answer.status), "{case}");
                closed += 1;
            }
        }
        if !asks_itself(template) {
            for (method, spelling) in
                METHODS.iter().flat_map(|method| spellings(&path).into_iter().map(move |it| (method, it)))
            {
                let answer = ask(&mut wire, method, &spelling, &Vec::new()).await;
                let case = format!("{method} {spelling}: {} {}", answer.status, answer.text());
                assert!([400, 401, 403, 404, 405].contains(&answer.status), "{case}");
                closed += 1;
            }
        }
    }
    assert_eq!(open, OPEN.map(str::to_owned).into(), "what is listed as open is there");
    assert!(closed > 4_000, "{closed}");

    // Each of them was refused for its credential alone, and none has had its way.
    let mut wire = Wire::connect(&authority).await;
    for (template, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_some() && !["/assets/{file}", "/events"].contains(&template.as_str()) {
            let answer = ask(&mut wire, "GET", &filled(template), &bearer).await;
            assert!(
                ![401, 403, 405].contains(&answer.status),
                "{template}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    assert_eq!(ask(&mut wire, "GET", "/keys", &bearer).await.json(), keys);
    let audit = ask(&mut wire, "GET", "/api/audit", &bearer).await.json();
    let lines = audit["lines"].as_array().unwrap();
    assert!(lines.iter().all(|line| line["by"] == "nobody" && line["result"] == "refused"), "{audit}");
    assert_eq!(simulator.stats().requests, 0);
}

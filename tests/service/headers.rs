//! Which headers pass: end-to-end ones do, known or not, in both directions; credentials, cookies, what belongs to one
//! connection, and what would lead around the gateway do not.

use crate::{
    raw,
    support::{Options, TOKEN, arrived, bearer, chat, client, prompt, secret, simulator},
};
use gemini_simulator::{Fault, LoggedRequest, Rule, Simulator};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const CHAT: &str = "/v1/chat/completions";

fn only(simulator: &Simulator) -> LoggedRequest {
    let request = arrived(simulator, 1).remove(0);
    simulator.reset();
    request
}

/// Every value of this header.
fn values<'a>(request: &'a LoggedRequest, name: &str) -> Vec<&'a str> {
    let named = request.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}

/// A request with these header lines and a credential.
fn request(path: &str, lines: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: gate.test:8000\r\n{lines}content-length: {length}\r\n\r\n{body}")
        .into()
}

#[tokio::test]
async fn exactly_one_credential_goes_up_in_the_form_that_its_surface_takes() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let credentials = [
        (format!("x-goog-api-key: {TOKEN}\r\n"), String::new()),
        (format!("X-Goog-Api-Key: {TOKEN}\r\n"), String::new()),
        (format!("Authorization: Bearer {TOKEN}\r\n"), String::new()),
        (format!("authorization: bearer {TOKEN}\r\nx-goog-api-key: {TOKEN}\r\n"), String::new()),
        (
            format!("authorization: Basic {TOKEN}\r\nx-goog-api-key: \r\nx-goog-api-key: {TOKEN}\r\n"),
            String::new(),
        ),
        (String::new(), format!("key={TOKEN}")),
        (String::new(), format!("alt=json&%6bey={TOKEN}&access_token={TOKEN}&KEY={TOKEN}")),
        (format!("cookie: key={TOKEN}\r\nx_goog_api_key: {TOKEN}\r\n"), format!("$key={TOKEN}&x=y")),
    ];
    let bodies = [
        (GENERATE, prompt("x"), "/v1beta/models"),
        (CHAT, chat("x", false), "/v1beta/openai"),
        ("/upload/v1beta/files", String::new(), "/upload"),
        ("/v1/embeddings", String::new(), "/v1beta/openai"),
    ];
    for (lines, query) in &credentials {
        for (path, body, upstream) in &bodies {
            let target = if query.is_empty() { (*path).to_owned() } else { format!("{path}?{query}") };
            let answer = raw::ask(gateway.authority(), &request(&target, lines, body));
            assert_ne!(answer.status, 401, "{lines}{target}");
            let arrived = only(&simulator);
            assert!(arrived.path.starts_with(upstream));
            let (goog, bearer) = (values(&arrived, "x-goog-api-key"), values(&arrived, "authorization"));
            if *upstream == "/v1beta/openai" {
                assert_eq!((goog.len(), bearer), (0, vec![format!("Bearer {}", secret(0)).as_str()]));
            } else {
                assert_eq!((goog, bearer.len()), (vec![secret(0).as_str()], 0));
            }
            let query = arrived.query.unwrap_or_default();
            assert!(!query.contains(&secret(0)) && !query.contains(TOKEN), "{query}");
            assert!(matches!(query.as_str(), "" | "alt=json" | "x=y"), "{query}");
            let headers = arrived.headers;
            assert!(!format!("{headers:?}").contains(TOKEN), "{headers:?}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_the_client_or_its_connection_stays_here() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let stays = [
        ("cookie", "session=canary"),
        ("x-forwarded-for", "203.0.113.7"),
        ("X-Forwarded-Host", "canary.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.7"),
        ("via", "1.1 canary"),
        ("x-real-ip", "203.0.113.7"),
        ("OpenAI-Organization", "org-canary"),
        ("openai-project", "proj-canary"),
        ("x-goog-user-project", "canary"),
        ("proxy-authorization", "Basic canary"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-canary"),
        ("keep-alive", "timeout=5"),
        ("X-Private", "canary"),
        ("x-also-private", "canary"),
        ("x_underscored", "canary"),
    ];
    let mut lines = format!("x-goog-api-key: {TOKEN}\r\nconnection: keep-alive, x-Private\r\n");
    lines += "Connection: X-ALSO-PRIVATE , x-goog-api-key, authorization, host, content-length\r\n";
    for (name, value) in stays {
        lines += &format!("{name}: {value}\r\n");
    }
    for (path, body) in [(GENERATE, prompt("x")), (CHAT, chat("x", false))] {
        let answer = raw::ask(gateway.authority(), &request(path, &lines, &body));
        assert_eq!(answer.status, 200);
        let arrived = only(&simulator);
        for (name, _) in stays {
            assert_eq!(values(&arrived, name), Vec::<&str>::new(), "{name}");
        }
        assert_eq!(values(&arrived, "connection"), Vec::<&str>::new());
        assert_eq!(values(&arrived, "host"), [simulator.addr().to_string()]);
        assert_eq!(values(&arrived, "content-length"), [body.len().to_string()]);
        assert!(!format!("{:?}", arrived.headers).contains("canary"), "{:?}", arrived.headers);
    }
}

#[tokio::test]
async fn headers_of_any_other_name_go_up_as_they_are_and_none_is_added() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let passes = [
        ("user-agent", "google-genai-sdk/3.4.0 gl-python/3.12"),
        ("x-goog-api-client", "google-genai-sdk/3.4.0"),
        ("x-server-timeout", "30"),
        ("x-stainless-lang", "python"),
        ("content-type", "application/json; odd=\"yes\""),
        ("accept", "text/*;q=0.3"),
        ("accept-language", "de, en;q=0.5"),
        ("x-goog-upload-protocol", "resumable"),
        ("x-goog-upload-file-name", "a b.txt"),
        ("range", "bytes=0-9"),
        ("if-none-match", "\"abc\""),
        ("origin", "https://app.example"),
        ("x-request-id", "the-clients-own"),
        ("x-not-yet-known", "1"),
        ("x-not-yet-known", "2, 3"),
        ("x-empty", ""),
        ("x-inner  ", "two  spaces"),
    ];
    let mut lines = format!("x-goog-api-key: {TOKEN}\r\n");
    for (name, value) in passes {
        lines += &format!("{}: {value}\r\n", name.trim());
    }
    let answer = raw::ask(gateway.authority(), &request(GENERATE, &lines, &prompt("x")));
    assert_eq!(answer.status, 200, "{answer:?}");
    let first = only(&simulator);
    for (name, _) in passes {
        let sent: Vec<_> =
            passes.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect();
        assert_eq!(values(&first, name.trim()), sent, "{name}");
    }
    let answer =
        raw::ask(gateway.authority(), &request(GENERATE, &lines[..lines.find("user-agent").unwrap()], "{}"));
    assert_eq!(answer.status, 400);
    let names: HashSet<_> =
        only(&simulator).headers.into_iter().map(|(name, _)| name.to_lowercase()).collect();
    let expected = ["host", "x-goog-api-key", "content-length"].map(str::to_owned);
    assert_eq!(names, HashSet::from(expected));
}

#[tokio::test]
async fn end_to_end_headers_come_down_and_those_that_lead_around_the_gateway_do_not() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let set = [
        ("x-brand-new", "value"),
        ("x-request-id", "googles-own"),
        ("set-cookie", "a=b"),
        ("server", "canary"),
        ("alt-svc", "h3=\":443\""),
        ("retry-after", "7"),
        ("x-debug", &secret(0)),
        ("keep-alive", "timeout=4"),
        ("proxy-authenticate", "Basic"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let faults = [
        Fault::Headers { set: BTreeMap::from(set.clone()) },
        Fault::Status { status: 400, headers: BTreeMap::from(set), body: None },
    ];
    for fault in faults {
        simulator.set_faults([Rule::new(fault)]);
        for (client, path, body) in [
            (client(), GENERATE, prompt("x")),
            (client(), "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", prompt("x")),
            (bearer(), CHAT, chat("x", true)),
        ] {
            let response = client.post(gateway.url(path)).body(body).send().await.unwrap();
            let headers = response.headers();
            for gone in ["alt-svc", "set-cookie", "server", "x-debug", "keep-alive", "proxy-authenticate"] {
                assert!(!headers.contains_key(gone), "{gone}: {headers:?}");
            }
            for (name, value) in [
                ("x-brand-new", "value"),
                ("retry-after", "7"),
                ("server-timing", "gfet4t7; dur=12"),
                ("vary", "Origin, X-Origin, Referer"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(headers[name], value);
            }
            if response.status() == 200 {
                assert_eq!(headers["x-gemini-service-tier"], "standard");
            }
            assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
            assert_ne!(headers["x-request-id"], "googles-own");
        }
    }
}

#[tokio::test]
async fn head_is_told_the_upstreams_length_or_none() {
    for (path, status) in
        [("/v1beta/files/abc:download?alt=media", "200 OK"), ("/v1beta/files/abc", "404 Not Found")]
    {
        for (length, told) in [("content-length: 99999\r\n", Some("99999")), ("", None)] {
            let upstream = raw::Upstream::start(format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{length}connection: close\r\n\r\n"
            ));
            let gateway = Options::new(&upstream.url, 1).start();
            let head = format!(
                "HEAD {path} HTTP/1.1\r\nhost: g\r\nx-goog-api-key: {TOKEN}\r\nconnection: close\r\n\r\n"
            );
            let answer =
                raw::converse(gateway.authority(), head.as_bytes(), Duration::from_secs(5)).remove(0);
            assert_eq!(answer.status.to_string(), status[..3], "{path}");
            assert_eq!(answer.header("content-length"), told, "{path}");
            assert!(answer.body.is_empty(), "{path}");
        }
    }
}

#[tokio::test]
async fn repeated_headers_come_down_each_and_nominated_ones_not() {
    let body = "{}";
    let upstream = raw::Upstream::start(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nX-Twice: one\r\nx-twice: two\r\nlink: <a>\r\nLink: <b>\r\n\
         connection: close, x-hop\r\nConnection: x-other-hop\r\nx-hop: canary\r\nx-other-hop: canary\r\nupgrade: h2c\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let gateway = Options::new(&upstream.url, 1).start();
    let response = client().get(gateway.url("/v1beta/models")).send().await.unwrap();
    let all = |name: &str| {
        let values = response.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all("x-twice"), ["one", "two"]);
    assert_eq!(all("link"), ["<a>", "<b>"]);
    for hop in ["x-hop", "x-other-hop", "upgrade"] {
        assert_eq!(all(hop), Vec::<String>::new(), "{hop}");
    }
    assert_eq!(response.bytes().await.unwrap(), body);
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_that_the_log_knows() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let client = client();
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let good = client.post(gateway.url(GENERATE)).body(prompt("x"));
        let refused = client.get(gateway.url("/v1beta/a%2fb"));
        let unknown = client.get(gateway.url("/no/such/root")).header("x-request-id", "mine");
        for request in [good, refused, unknown] {
            let response = request.send().await.unwrap();
            assert!(ids.insert(response.headers()["x-request-id"].to_str().unwrap().to_owned()));
        }
    }
    let logged = gateway.transactions(60).into_iter().map(|line| line["id"].as_str().unwrap().to_owned());
    assert_eq!(logged.collect::<HashSet<_>>(), ids);
}

#[tokio::test]
async fn redirects_are_never_followed_and_lead_nowhere_else() {
    let canary = raw::Upstream::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let own = simulator.url();
    let cases = [
        (format!("{}/steal", canary.url), None),
        (format!("//{}/steal", canary.authority()), None),
        (format!("{own}.{}", canary.authority()), None),
        (format!("http://{}@{}/", simulator.addr(), canary.authority()), None),
        (format!("{own}/v1beta/files/x?alt=media"), Some("http://gate.test:8000/v1beta/files/x?alt=media")),
        ("/v1beta/models".to_owned(), Some("/v1beta/models")),
        (format!("{own}/v1beta/files?key={}", secret(0)), None),
        ("\\\\canary.example/".to_owned(), None),
    ];
    for (location, expected) in cases {
        // A new one each time: a way on which others answer is soon taken for closed.
        let gateway = Options::new(&simulator.url(), 1).start();
        simulator.set_faults([Rule::new(Fault::Redirect { location: location.clone() })]);
        let lines = format!("x-goog-api-key: {TOKEN}\r\n");
        let answer = raw::ask(gateway.authority(), &request(GENERATE, &lines, &prompt("x")));
        // What leads away from Google is not Google's: a captive portal's, say.
        let leads_home = location.starts_with(&format!("{own}/")) || location == "/v1beta/models";
        assert_eq!(answer.status, if leads_home { 302 } else { 502 }, "{location}");
        assert_eq!(answer.header("location"), expected, "{location}");
        simulator.reset();
    }
    for name in ["x-goog-upload-url", "x-goog-upload-control-url", "content-location"] {
        let set = |value: String| Fault::Headers { set: BTreeMap::from([(name.to_owned(), value)]) };
        let lines = format!("x-goog-api-key: {TOKEN}\r\n");
        let path = "/upload/v1beta/files?upload_id=1&upload_protocol=resumable";
        simulator.set_faults([Rule::new(set(format!("{own}{path}")))]);
        let answer = raw::ask(gateway.authority(), &request(GENERATE, &lines, &prompt("x")));
        assert_eq!(answer.header(name), Some(format!("http://gate.test:8000{path}").as_str()));
        simulator.set_faults([Rule::new(set(format!("{}{path}", canary.url)))]);
        let answer = raw::ask(gateway.authority(), &request(GENERATE, &lines, &prompt("x")));
        assert_eq!((answer.status, answer.header(name)), (200, None));
    }
    assert_eq!(canary.connections(), 0);
}

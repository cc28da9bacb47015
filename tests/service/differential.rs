//! The same bytes before the gateway, before nginx and before HAProxy, and before the gateway behind each of them. Nobody may
//! hear more in them, or something else, than whoever stands in front: that is how requests are smuggled. Where one of the
//! proxies refuses what the gateway takes, or the other way round, `expected` says why that is as it should be.

mod expected;
mod readers;
mod wire;

use crate::{
    ambiguous::{
        DOUBLED_SLASHES, ODD_TARGETS, PATH, RAW_TARGETS, TARGETS, framings, heads_that_lead_elsewhere,
        odd_requests, with_bare_line_feeds,
    },
    raw,
    support::{Gateway, Options, TOKEN, secret},
};
use expected::Verdict;
use readers::Proxy;
use std::{collections::BTreeSet, time::Duration};
use wire::{Heard, Listener, Request};

/// How long a silent connection is listened to.
const SILENCE: Duration = Duration::from_secs(1);
/// What comes behind an input on its connection, and on another connection after it.
const BEHIND: &str = "/v1beta/models/behind";
const NEXT: &str = "/v1beta/models/next";
/// What only a second reading of a malformed input would find.
const SMUGGLED: &str = "/v1beta/models?smuggled=1";
/// Where an upstream path may begin.
const ROOTS: [&str; 6] = ["/v1/", "/v1beta/", "/v1alpha/", "/upload/v", "/download/v", "/ws/google.ai."];

/// Bytes that are put to each reader.
struct Input {
    name: String,
    bytes: Vec<u8>,
    /// Whether nothing of it may pass the gateway.
    is_malformed: bool,
}

fn get(target: &[u8], lines: &str) -> Vec<u8> {
    let lines = format!(" HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n{lines}\r\n");
    [b"GET ", target, lines.as_bytes()].concat()
}

fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    let start = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: {TOKEN}\r\n");
    for framing in framings() {
        let behind = if framing.is_malformed { get(SMUGGLED.as_bytes(), "") } else { Vec::new() };
        let bytes = [start.as_bytes(), framing.bytes.as_bytes(), &behind].concat();
        inputs.push(Input { name: framing.name.to_owned(), bytes, is_malformed: framing.is_malformed });
    }
    let mut add = |name: String, bytes: Vec<u8>| inputs.push(Input { name, bytes, is_malformed: false });
    let told = TARGETS.iter().map(|(target, _)| *target);
    let folded = DOUBLED_SLASHES.iter().map(|(target, _)| *target);
    for target in told.chain(folded).chain(ODD_TARGETS.iter().copied()) {
        add(target.to_owned(), get(target.as_bytes(), ""));
    }
    for target in RAW_TARGETS {
        add(target.escape_ascii().to_string(), get(target, ""));
    }
    let credential = format!("x-goog-api-key: {TOKEN}");
    for head in heads_that_lead_elsewhere("own.test", "elsewhere.test") {
        add(head.trim_end().replace("\r\n", ", "), format!("{head}{credential}\r\n\r\n").into());
    }
    let request = String::from_utf8(get(b"/v1beta/models", "")).unwrap();
    for (n, request) in with_bare_line_feeds(&request).into_iter().enumerate() {
        add(format!("line feeds {n}"), request.into());
    }
    for (name, request) in odd_requests(&credential) {
        add(name.to_owned(), request.into());
    }
    inputs
}

/// A way from a client to an upstream.
struct Way<'a> {
    name: &'static str,
    front: &'a str,
    /// Between a proxy and the gateway.
    tap: Option<&'a Listener>,
    upstream: &'a Listener,
}

/// What became of an input on a way.
#[derive(Debug)]
struct Reading {
    answers: Vec<raw::Answer>,
    forwarded: Option<Heard>,
    upstream: Heard,
}

impl Way<'_> {
    fn read(&self, input: &Input) -> Reading {
        let last = "connection: close\r\n";
        let bytes = [input.bytes.as_slice(), &get(BEHIND.as_bytes(), last)].concat();
        let answers = raw::converse(self.front, &bytes, SILENCE);
        let reading =
            Reading { answers, forwarded: self.tap.map(Listener::take), upstream: self.upstream.take() };
        // Whoever comes next meets nothing that has been left behind.
        let mut next = raw::ask(self.front, &get(NEXT.as_bytes(), last));
        if self.tap.is_some() && next.status == 502 {
            // The proxy has taken a connection that was being closed at that moment. What it asked there has come to nobody.
            next = raw::ask(self.front, &get(NEXT.as_bytes(), last));
        }
        let what = format!("{}: {}", self.name, input.name);
        assert_eq!(asked(&next).as_deref(), Some(NEXT), "{what}: {next:?} after {reading:?}");
        let targets: Vec<_> = self.upstream.take().requests.into_iter().map(|it| it.target).collect();
        assert_eq!(targets, [NEXT], "{what}: after {reading:?}");
        self.tap.map(Listener::take);
        reading
    }

    fn read_all(&self, inputs: &[Input]) -> Vec<Reading> {
        inputs.iter().map(|input| self.read(input)).collect()
    }
}

/// What the upstream says it was asked.
fn asked(answer: &raw::Answer) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body["asked"].as_str().filter(|_| answer.status == 200).map(str::to_owned)
}

impl Reading {
    /// Whether the input itself has been passed on, whatever became of what is behind it.
    fn verdict(&self) -> Verdict {
        let first = self.upstream.requests.first().map(|it| it.target.as_str());
        let is_input = first.is_some_and(|target| ![BEHIND, SMUGGLED].contains(&target));
        if is_input || !self.upstream.unreadable.is_empty() { Verdict::Passes } else { Verdict::Refuses }
    }
}

/// What a request means, in which all that read the same bytes must agree.
fn meaning(request: &Request) -> (&str, String, &[u8]) {
    let target = request.target.split('#').next().unwrap();
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => &rest[rest.find('/').unwrap_or(rest.len())..],
        _ => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (&request.method, format!("{}?{query}", folded(path)), &request.body)
}

fn folded(path: &str) -> String {
    let mut folded = path.to_owned();
    while folded.contains("//") {
        folded = folded.replace("//", "/");
    }
    folded
}

/// A path as the upstream decodes it. What passes the gateway has two digits behind each `%`.
fn decoded(path: &str) -> Vec<u8> {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// Whether each of `some` is among `all`, in the same order.
fn is_within(some: &[Request], all: &[Request]) -> bool {
    let mut all = all.iter().map(meaning);
    some.iter().map(meaning).all(|one| all.any(|other| other == one))
}

/// What holds for all that passes the gateway.
fn check_gateway(way: &Way<'_>, input: &Input, reading: &Reading) {
    let what = format!("{}: {}: {reading:#?}", way.name, input.name);
    assert_eq!(reading.upstream.unreadable, [""; 0], "{what}");
    for request in &reading.upstream.requests {
        assert!(ROOTS.iter().any(|root| format!("{}/", request.target).starts_with(root)), "{what}");
        assert_eq!(request.headers("host"), [&way.upstream.authority], "{what}");
        assert!(request.holds(&secret(0)) && !request.holds(TOKEN), "{what}");
    }
    // Each answer is of the request that it seems to be of.
    let answered: Vec<_> = reading.answers.iter().filter_map(asked).collect();
    let requested: Vec<_> = reading.upstream.requests.iter().map(|it| it.target.clone()).collect();
    assert_eq!(answered, requested, "{what}");
    assert!(reading.answers.iter().all(|answer| answer.whole), "{what}");
    if let Some(forwarded) = &reading.forwarded {
        assert!(is_within(&reading.upstream.requests, &forwarded.requests), "{what}");
        assert!(forwarded.answers <= forwarded.requests.len() + forwarded.unreadable.len(), "{what}");
    } else if input.is_malformed {
        assert!(reading.upstream.requests.is_empty() && reading.answers.len() <= 1, "{what}");
    }
}

/// The path that a proxy reads in a request for it, decoded and resolved; none where it refuses.
fn path_read_by(proxy: &Proxy, input: &Input) -> Option<Vec<u8>> {
    let [answer] =
        <[_; 1]>::try_from(raw::converse(&proxy.path, &input.bytes, Duration::from_millis(20))).ok()?;
    (answer.status == 200).then_some(answer.body)
}

/// A gateway in front of an upstream of its own.
fn gateway() -> (Gateway, Listener) {
    let upstream = Listener::upstream();
    (Options::new(&format!("http://{}", upstream.authority), 1).start(), upstream)
}

#[test]
fn nobody_in_front_reads_less_or_something_else_in_what_passes() {
    let inputs = inputs();
    let names: BTreeSet<_> = inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names.len(), inputs.len());
    let (own, own_upstream) = gateway();
    let own = Way { name: "gateway", front: own.authority(), tap: None, upstream: &own_upstream };
    let behind = [gateway(), gateway()];
    let taps = [0, 1].map(|n| Listener::tap(behind[n].0.authority()));
    let upstreams = [Listener::upstream(), Listener::upstream()];
    let proxies = [
        Proxy::nginx(&taps[0].authority, &upstreams[0].authority),
        Proxy::haproxy(&taps[1].authority, &upstreams[1].authority),
    ];
    let alone = [("nginx", 0), ("HAProxy", 1)].map(|(name, n)| Way {
        name,
        front: &proxies[n].alone,
        tap: None,
        upstream: &upstreams[n],
    });
    let in_front = [("behind nginx", 0), ("behind HAProxy", 1)].map(|(name, n)| Way {
        name,
        front: &proxies[n].in_front,
        tap: Some(&taps[n]),
        upstream: &behind[n].1,
    });

    let ways = [&own, &alone[0], &alone[1], &in_front[0], &in_front[1]];
    let readings: Vec<Vec<Reading>> = std::thread::scope(|scope| {
        let readers = ways.map(|way| scope.spawn(|| way.read_all(&inputs)));
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let [by_gateway, by_nginx, by_haproxy, behind_nginx, behind_haproxy] =
        <[_; 5]>::try_from(readings).unwrap();

    let mut differences = Vec::new();
    for (n, input) in inputs.iter().enumerate() {
        let reading = &by_gateway[n];
        check_gateway(&own, input, reading);
        check_gateway(&in_front[0], input, &behind_nginx[n]);
        check_gateway(&in_front[1], input, &behind_haproxy[n]);
        for (proxy, (way, other)) in proxies.iter().zip(alone.iter().zip([&by_nginx[n], &by_haproxy[n]])) {
            let what = format!("{}: {}: {reading:#?} {other:#?}", way.name, input.name);
            if reading.verdict() != other.verdict() {
                differences.push((input.name.as_str(), way.name, reading.verdict()));
            } else if reading.verdict() == Verdict::Passes {
                assert!(is_within(&reading.upstream.requests, &other.upstream.requests), "{what}");
            }
            // Paths are read as the proxy reads them: it decodes and resolves what the upstream would.
            if input.bytes.starts_with(b"GET /")
                && let Some(read) = path_read_by(proxy, input)
                && let (Verdict::Passes, Some(request)) =
                    (reading.verdict(), reading.upstream.requests.first())
            {
                let path = request.target.split('?').next().unwrap();
                let read = folded(&read.escape_ascii().to_string());
                assert_eq!(decoded(path).escape_ascii().to_string(), read, "{what}");
            }
        }
    }
    expected::check(&differences, &names);
    // Connections were used again, or nothing could have been left behind on them.
    for tap in &taps {
        assert!(tap.take().connections < inputs.len(), "no connection was used twice");
    }
}

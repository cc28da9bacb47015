#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]
//! What the pure parts of one request cost: reading its path, leasing a key and settling the lease (in a cluster too), finding the names
//! in its body and the token counts in its answer, translating from other vendors' formats. `cargo bench --locked` compares a run with the one before; what a whole request
//! costs beside nginx is in `docs/performance.md`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use formats::{
    AnswerMemory, AnswerSeed, AnswerStream, StreamEnd,
    anthropic::{self, MessagesStream},
    models::ModelMap,
    responses::{self, ResponsesStream},
};
use gemini::{
    names::in_request,
    path::{CredentialForm, parse},
    usage::{UsageKey, UsageScanner},
};
use keypool::{
    Answer, Draw, Drawn, Effect, Effects, Grant, KeyId, KeySpec, LeaseRequest, Limit, Now, Outcome, Pool,
    Settings, Settlement, Units,
};
use std::{hint::black_box, time::Duration};

fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for (name, path, form) in [
        ("native", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", CredentialForm::GoogHeader),
        ("openai", "/v1/chat/completions", CredentialForm::Bearer),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| parse("POST", black_box(path), Some("alt=sse&key=x"), form));
        });
    }
}

fn leases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lease and settle");
    for count in [5, 1000] {
        for (name, is_limited, is_shared) in [
            ("keys", false, false),
            ("keys, limited", true, false),
            ("keys, limited, in a cluster", true, true),
        ] {
            let mut desk = Desk::new(count, is_limited, is_shared);
            group.bench_function(format!("{count} {name}"), |bencher| bencher.iter(|| desk.serve()));
        }
    }
}

/// A pool that is asked for keys of one model, 10,000 times a second.
struct Desk {
    pool: Pool,
    effects: Effects,
    request: LeaseRequest,
    now: Now,
    /// When it draws slices the next time, if it shares its projects.
    draws: Option<Duration>,
}

impl Desk {
    fn new(keys: usize, is_limited: bool, is_shared: bool) -> Self {
        let keys: Vec<_> = (0..keys)
            .map(|n| KeySpec { id: KeyId::from(format!("key-{n}").as_str()), project: None, weight: 1 })
            .collect();
        let limit = Limit { rpm: Some(1 << 40), tpm: Some(1 << 50), ..Limit::default() };
        let settings =
            Settings { limits: Vec::from_iter(is_limited.then_some(limit)), ..Settings::default() };
        let now = Now { mono: Duration::from_secs(1), wall: chrono::DateTime::UNIX_EPOCH };
        let mut desk = Self {
            pool: Pool::new(settings, keys, 1).expect("a pool"),
            effects: Effects::new(),
            request: LeaseRequest::any(Some("gemini-2.5-flash".into())),
            now,
            draws: is_shared.then_some(now.mono),
        };
        if is_shared {
            desk.pool.join(desk.now, &mut desk.effects);
            desk.serve();
        }
        desk
    }

    fn serve(&mut self) {
        let passed = Duration::from_micros(100);
        self.now = Now { mono: self.now.mono + passed, wall: self.now.wall + passed };
        if self.draws.is_some_and(|at| at <= self.now.mono) {
            self.draws = Some(self.now.mono + Duration::from_millis(250));
            self.draw();
        }
        match self.pool.lease(&self.request, self.now, &mut self.effects) {
            Answer::Granted(grant) => self.settle(grant),
            Answer::Waiting(_) if self.draws.is_some() => {
                self.draw();
                let effects: Vec<_> = self.effects.drain().collect();
                for effect in effects {
                    if let Effect::Granted(_, grant) = effect {
                        self.settle(grant);
                    }
                }
            }
            answer => panic!("there is room for all, and it was said {answer:?}"),
        }
        self.effects.drain().for_each(drop);
    }

    fn settle(&mut self, grant: Grant) {
        let settlement = Settlement {
            lease: grant.lease,
            key: grant.key,
            model: self.request.model.clone(),
            outcome: Outcome::Success,
            input_tokens: None,
            output_tokens: None,
        };
        self.pool.settle(&settlement, self.now, &mut self.effects);
    }

    /// Gets as much as is asked for.
    fn draw(&mut self) {
        let give = |draw: Draw| Drawn {
            call: draw.call,
            project: draw.project,
            model: draw.model,
            given: draw.want,
            left: Units { requests: 1 << 30, tokens: 1 << 40, day: 0 },
            opens_in: Duration::ZERO,
            closed_for: Duration::ZERO,
        };
        let replies = self.pool.draws(self.now).into_iter().map(give).collect();
        self.pool.drawn(replies, self.now, &mut self.effects);
    }
}

fn usage(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("usage");
    let event = format!(
        r#"data: {{"candidates":[{{"content":{{"parts":[{{"text":"{}"}}]}}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":9,"totalTokenCount":16}}}}"#,
        "x".repeat(300)
    );
    let large =
        format!(r#"{{"data":"{}","usageMetadata":{{"totalTokenCount":1}}}}"#, "A".repeat(1024 * 1024));
    for (name, body) in [("event", event), ("1 MiB", large)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut scanner = UsageScanner::new(UsageKey::Metadata);
                scanner.push(black_box(body.as_bytes()));
                scanner.finish()
            });
        });
    }
}

fn names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("names");
    let chat = |text: &str| {
        format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"{text}"}}]}}],"generationConfig":{{"temperature":0.5,"maxOutputTokens":1024,"thinkingConfig":{{"thinkingBudget":0}}}}}}"#
        )
    };
    let turn = r#"{"role":"user","parts":[{"text":"What is the answer to that one?"}]},"#;
    let media = format!(
        r#"{{"contents":[{{"parts":[{{"inlineData":{{"mimeType":"video/mp4","data":"{}"}}}}]}}]}}"#,
        "QUJD".repeat(50 * 256 * 1024)
    );
    for (name, body) in [
        ("chat of 1 KiB", chat(&"Tell me more of it. ".repeat(45))),
        ("turns of 100 KiB", format!(r#"{{"contents":[{}{{}}]}}"#, turn.repeat(1500))),
        (
            "prose of 1 MiB",
            chat(&r#"She said: \"Well.\"\nThen she left, and all was quiet. "#.repeat(20_000)),
        ),
        ("escapes of 1 MiB", chat(&r"\u4f60\u597d".repeat(87_000))),
        ("media of 50 MiB", media),
        (
            "a file",
            chat(
                r#""},{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}},{"text":""#,
            ),
        ),
    ] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| in_request(black_box(body.as_bytes()))));
    }
}

/// A request as agents make them: 40 tools with long schemas, and turns up to 100 KiB; and the events of its answer.
fn translation(criterion: &mut Criterion) {
    let models =
        ModelMap::new([("claude-*", "gemini-3.7-flash"), ("gpt-*", "gemini-3.7-flash")]).expect("a map");
    let property = r#""path":{"type":"string","description":"An absolute path of a file, never a relative one."},"limit":{"type":["integer","null"],"exclusiveMinimum":0},"mode":{"const":"fast"}"#;
    let schema = format!(
        r#"{{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{{{property}}},"required":["path"],"additionalProperties":false}}"#
    );
    let about =
        "Reads a file from the disk, as it is, and gives it back with the numbers of its lines. ".repeat(12);
    let tools = |make: &dyn Fn(usize) -> String| (0..40).map(make).collect::<Vec<_>>().join(",");
    let text = "Look at this, and then go on with the next of the files that were named. ".repeat(10);
    let messages = {
        let tools =
            tools(&|n| format!(r#"{{"name":"tool_{n}","description":"{about}","input_schema":{schema}}}"#));
        let turn =
            format!(r#"{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"{text}"}},"#);
        let turns = turn.repeat(28);
        format!(
            r#"{{"model":"claude-x","max_tokens":1000,"stream":true,"tools":[{tools}],"messages":[{turns}{{"role":"user","content":"go on"}}]}}"#
        )
    };
    let responses = {
        let tools = tools(&|n| {
            format!(
                r#"{{"type":"function","name":"tool_{n}","description":"{about}","parameters":{schema}}}"#
            )
        });
        let turn =
            format!(r#"{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"{text}"}},"#);
        let turns = turn.repeat(28);
        format!(
            r#"{{"model":"gpt-x","stream":true,"tools":[{tools}],"input":[{turns}{{"role":"user","content":"go on"}}]}}"#
        )
    };
    let mut group = criterion.benchmark_group("translation");
    group.throughput(Throughput::Bytes(messages.len() as u64));
    group.bench_function("messages, 40 tools", |bencher| {
        bencher.iter(|| anthropic::messages(black_box(messages.as_bytes()), &models, &|_| false, None));
    });
    group.throughput(Throughput::Bytes(responses.len() as u64));
    group.bench_function("responses, 40 tools", |bencher| {
        bencher.iter(|| responses::create(black_box(responses.as_bytes()), &models, &|_| false, None));
    });
    let event = r#"{"candidates":[{"content":{"parts":[{"text":"some words of an answer"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":9,"totalTokenCount":16},"modelVersion":"gemini-3.7-flash"}"#;
    let last = event.replace(r#""index":0"#, r#""finishReason":"STOP","index":0"#);
    group.throughput(Throughput::Elements(50));
    let memory = || AnswerMemory { asked_model: "claude-x".to_owned(), ..AnswerMemory::default() };
    group.bench_function("messages, a stream of 50 events", |bencher| {
        bencher.iter(|| {
            let mut stream = MessagesStream::new(memory(), AnswerSeed::new("0123456789abcdef", 1));
            for _ in 0..49 {
                black_box(stream.push(black_box(event.as_bytes())));
            }
            black_box(stream.push(last.as_bytes()));
            stream.end(StreamEnd::Complete)
        });
    });
    group.bench_function("responses, a stream of 50 events", |bencher| {
        bencher.iter(|| {
            let mut stream = ResponsesStream::new(memory(), AnswerSeed::new("0123456789abcdef", 1));
            for _ in 0..49 {
                black_box(stream.push(black_box(event.as_bytes())));
            }
            black_box(stream.push(last.as_bytes()));
            stream.end(StreamEnd::Complete)
        });
    });
}

criterion_group!(benches, paths, leases, usage, names, translation);
criterion_main!(benches);

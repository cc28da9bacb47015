#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]
//! What the pure parts of one request cost: reading its path, leasing a key and settling the lease, finding the names
//! in its body and the token counts in its answer. `cargo bench` compares a run with the one before; what a whole request
//! costs beside nginx is in `docs/performance.md`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gemini::{
    names::in_request,
    path::{CredentialForm, parse},
    usage::UsageScanner,
};
use keypool::{Effects, KeyId, KeySpec, LeaseRequest, Now, Outcome, Pool, Settings, Settlement};
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
        let keys: Vec<_> = (0..count)
            .map(|n| KeySpec { id: KeyId::from(format!("key-{n}").as_str()), project: None, weight: 1 })
            .collect();
        let mut pool = Pool::new(Settings::default(), keys, 1).expect("a pool");
        let mut effects = Effects::new();
        let request = LeaseRequest::any(Some("gemini-2.5-flash".into()));
        let now = Now { mono: Duration::from_secs(1), wall: chrono::DateTime::UNIX_EPOCH };
        group.bench_function(format!("{count} keys"), |bencher| {
            bencher.iter(|| {
                let keypool::Answer::Granted(grant) = pool.lease(&request, now, &mut effects) else {
                    panic!("a fresh pool has a key")
                };
                let settlement = Settlement {
                    lease: grant.lease,
                    key: grant.key,
                    model: request.model.clone(),
                    outcome: Outcome::Success,
                    input_tokens: None,
                    output_tokens: None,
                };
                pool.settle(&settlement, now, &mut effects);
                effects.drain().for_each(drop);
            });
        });
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
                let mut scanner = UsageScanner::new();
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

criterion_group!(benches, paths, leases, usage, names);
criterion_main!(benches);

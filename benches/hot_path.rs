#![expect(clippy::expect_used, reason = "a benchmark may fail loudly")]
//! What the pure parts of one request cost: reading its path, leasing a key and settling the lease, finding the token
//! counts in its answer. `cargo bench` compares a run with the one before; what a whole request costs beside nginx is in
//! `docs/performance.md`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gemini::{
    path::{CredentialForm, parse},
    usage::UsageScanner,
};
use keypool::{Effects, KeyId, KeySpec, Now, Outcome, Pool, Settings, Settlement, Wish};
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
        let keys = (0..count)
            .map(|n| KeySpec { id: KeyId::from(format!("key-{n}").as_str()), project: None, weight: 1 })
            .collect();
        let mut pool = Pool::new(Settings::default(), keys, 1).expect("a pool");
        let mut effects = Effects::new();
        let wish = Wish::any(Some("gemini-2.5-flash".into()));
        let now = Now { mono: Duration::from_secs(1), wall: chrono::DateTime::UNIX_EPOCH };
        group.bench_function(format!("{count} keys"), |bencher| {
            bencher.iter(|| {
                let keypool::Answer::Granted(grant) = pool.lease(&wish, now, &mut effects) else {
                    panic!("a fresh pool has a key")
                };
                let settlement = Settlement {
                    lease: grant.lease,
                    key: grant.key,
                    model: wish.model.clone(),
                    outcome: Outcome::Success,
                    input_tokens: Some(7),
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

criterion_group!(benches, paths, leases, usage);
criterion_main!(benches);

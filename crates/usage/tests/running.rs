//! The counts that metrics show: what is in which series, and that there are never more than may be.

use gemini::fault::Kind;
use std::{sync::Arc, time::Duration};
use usage::{
    Billable, Buckets, Cost, Counted, Histogram, KeyUse, MOST_KEYS, MOST_SERIES, Money, Observation,
    RequestOutcome, RunningCounts, Sample, Times, Totals,
};

fn sample(caller: &str, key: &str) -> Sample {
    let try_on = |key: &str| KeyUse { key: key.into(), project: "p".into() };
    Sample {
        caller: caller.into(),
        model: None,
        proven: true,
        tries: vec![try_on("first"), try_on(key)],
        counted: Counted {
            outcome: RequestOutcome::Answered,
            cost: Cost::Known(Money::from_billionths(7)),
            totals: Totals {
                billable: Billable { input: 5, cached: 1, output: 2, thoughts: 3, tool: 4, prompt: 6 },
                ..Totals::of_one(Duration::from_millis(300), Some(Duration::from_millis(200)))
            },
        },
        times: Times {
            waits: Histogram::of(Buckets::WAITS, [Duration::from_millis(3)]),
            overheads: Histogram::of(Buckets::OVERHEADS, [Duration::from_micros(70)]),
            ..Times::of_one(Duration::from_millis(300), Some(Duration::from_millis(200)))
        },
    }
}

fn seen() -> Observation {
    Observation {
        operation: "generateContent",
        code: 200,
        streamed: true,
        faults: vec![Some(Kind::QuotaMinute), None],
        limit: None,
    }
}

fn name(text: &str) -> Arc<str> {
    text.into()
}

#[test]
fn a_request_counts_once_in_each_family_and_each_try_by_its_fault() {
    let mut counts = RunningCounts::new(true);
    counts.count(&sample("alice", "second"), &seen(), &name("m"));
    let (labels, count) = counts.requests().next().unwrap();
    assert_eq!((labels.operation, &*labels.model, labels.code, *count), ("generateContent", "m", 200, 1));
    assert_eq!(counts.durations().map(|(_, times)| times.total()).sum::<u64>(), 1);
    assert!(counts.first_events().all(|(labels, times)| labels.streamed && times.total() == 1));
    assert_eq!(counts.waits().map(|(_, times)| times.total()).sum::<u64>(), 1);
    assert_eq!(counts.overheads().total(), 1);
    let mut faults: Vec<_> = counts.attempts().map(|(labels, count)| (labels.fault, *count)).collect();
    faults.sort_by_key(|(fault, _)| fault.is_some());
    assert_eq!(faults, [(None, 1), (Some(Kind::QuotaMinute), 1)]);
    let retries: Vec<_> = counts.retries().map(|(labels, count)| (labels.fault, *count)).collect();
    assert_eq!(retries, [(Some(Kind::QuotaMinute), 1)], "a retry counts by what it followed");
    let (_, model) = counts.models().next().unwrap();
    assert_eq!(model.tokens.by_type().map(|(_, count)| count).collect::<Vec<_>>(), [5, 1, 2, 3, 4]);
    assert_eq!((model.cost, model.unpriced), (Money::from_billionths(7), 0));
    let (caller, of_caller) = counts.callers().next().unwrap();
    assert_eq!((&**caller, of_caller.tokens), ("alice", model.tokens));
    assert_eq!(
        of_caller.outcomes().filter(|(_, count)| *count > 0).collect::<Vec<_>>(),
        [(RequestOutcome::Answered, 1)]
    );
    assert_eq!(counts.keys().unwrap().count(), 2);
    assert_eq!(counts.dropped(), 0);
    assert!(RunningCounts::new(false).keys().is_none());
}

#[test]
fn no_family_has_more_series_than_may_be_and_what_finds_no_room_is_counted() {
    const REQUESTS: u64 = 20_000;
    let mut counts = RunningCounts::new(true);
    let kinds = [Kind::Overloaded, Kind::QuotaMinute, Kind::Internal];
    for n in 0..REQUESTS {
        let at = usize::try_from(n).unwrap();
        let mut seen = seen();
        seen.code = 200 + u16::try_from(n % 400).unwrap();
        seen.operation = ["generateContent", "countTokens", "files"][at % 3];
        seen.streamed = n % 2 == 0;
        seen.faults = vec![Some(kinds[at % 3]), Some(kinds[at / 3 % 3])];
        seen.limit = Some(["rpm", "tpm", "rpd"][at % 3]);
        let mut sample = sample(&format!("caller-{n}"), &format!("key-{n}"));
        sample.counted.outcome = RequestOutcome::ALL[at % RequestOutcome::ALL.len()];
        counts.count(&sample, &seen, &name(&format!("model-{}", n % 12_000)));
    }
    let histogram = |histograms: usize, series: usize| histograms * series;
    for (family, series) in [
        ("requests", counts.requests().count()),
        ("durations", histogram(counts.durations().count(), 20)),
        ("first events", histogram(counts.first_events().count(), 20)),
        ("waits", histogram(counts.waits().count(), 18)),
        ("attempts", counts.attempts().count()),
        ("retries", counts.retries().count()),
        ("tokens by model", counts.models().count() * 5),
        ("requests by caller", counts.callers().count() * RequestOutcome::ALL.len()),
        ("refusals by caller", counts.callers().map(|(_, caller)| caller.refusals.len()).sum()),
        ("keys", counts.keys().unwrap().count()),
    ] {
        assert!(series <= MOST_SERIES, "{family}: {series}");
        assert!(series > MOST_SERIES / 20, "{family}: {series}");
    }
    let keys: std::collections::HashSet<_> = counts.keys().unwrap().map(|(labels, _)| &labels.key).collect();
    assert!(keys.len() <= MOST_KEYS + 1 && keys.contains(&name("other")), "{}", keys.len());
    assert_eq!(counts.requests().map(|(_, count)| count).sum::<u64>(), REQUESTS);
    assert_eq!(counts.attempts().map(|(_, count)| count).sum::<u64>(), 2 * REQUESTS);
    let by_caller = counts.callers().flat_map(|(_, caller)| caller.outcomes()).map(|(_, count)| count);
    assert_eq!(by_caller.sum::<u64>(), REQUESTS);
    assert!(counts.dropped() > 0 && counts.dropped() <= REQUESTS);
}

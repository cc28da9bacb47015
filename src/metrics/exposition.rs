//! How a scrape is written down: which families there are, in which order, and in the form that was asked for. What a
//! family tells is its own file's matter (`requests`, `callers`, `pool`, `service`, `cluster`, `process`).

use super::{ExpositionFormat, callers, cluster, family::Families, pool, requests, scrape::Scrape, service};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};
use std::fmt;

/// Before all names but those of the process.
const PREFIX: &str = "gemini_balance";

impl Scrape {
    /// Writes everything down.
    pub(super) fn encode(self, form: ExpositionFormat) -> Result<String, fmt::Error> {
        let mut process = Registry::default();
        process.register_collector(Box::new(self.process));
        let mut own = Registry::with_prefix(PREFIX);
        own.register_collector(Box::new(self));
        let mut out = String::new();
        match form {
            ExpositionFormat::OpenMetrics => {
                text::encode_registry(&mut out, &own)?;
                text::encode_registry(&mut out, &process)?;
                text::encode_eof(&mut out)?;
            }
            ExpositionFormat::Plain => {
                prometheus_text::encode(&mut out, &own)?;
                prometheus_text::encode(&mut out, &process)?;
            }
        }
        Ok(out)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        if let Some(usage) = &self.usage {
            requests::encode(&mut families, usage)?;
            callers::encode_counts(&mut families, &usage.running)?;
        }
        callers::encode_limits(&mut families, &self.caller_limits)?;
        pool::encode(&mut families, self)?;
        service::encode(&mut families, self)?;
        cluster::encode(&mut families, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inflight::RequestKind,
        metrics::{
            process,
            scrape::{MOST_QUOTAS, UsageFigures},
        },
    };
    use gemini::fault::Kind;
    use gemini_balance_actors::{accounting::AccountingState, key_manager::PoolEventCounts};
    use keypool::{Gauge, PoolReading, QuotaReading};
    use std::{collections::BTreeMap, sync::Arc, time::Duration};
    use usage::{
        Billable, Buckets, Cost, Counted, Histogram, KeyUse, Observation, RequestOutcome, RunningCounts,
        Sample, Times, Totals,
    };

    /// With every family as full as it can be.
    fn full() -> RunningCounts {
        let mut running = RunningCounts::new(true);
        let kinds = [None, Some(Kind::Overloaded), Some(Kind::QuotaMinute), Some(Kind::Internal)];
        for n in 0..12_000_usize {
            let model: Arc<str> = format!("gemini-model-with-a-long-name-{n}").into();
            let tries = (0..2).map(|at| KeyUse {
                key: format!("key-{}", n + at).into(),
                project: format!("project-{n}").into(),
            });
            let sample = Sample {
                caller: format!("caller-{n}").into(),
                model: Some(Arc::clone(&model)),
                proven: true,
                tries: tries.collect(),
                counted: Counted {
                    outcome: RequestOutcome::ALL[n % 9],
                    cost: Cost::Unknown,
                    totals: Totals {
                        billable: Billable {
                            input: 1,
                            cached: 2,
                            output: 3,
                            thoughts: 4,
                            tool: 5,
                            prompt: 6,
                        },
                        ..Totals::of_one(
                            Duration::from_millis(n as u64),
                            Some(Duration::from_millis(n as u64)),
                        )
                    },
                },
                times: Times {
                    waits: Histogram::of(Buckets::WAITS, [Duration::from_millis(1)]),
                    overheads: Histogram::of(Buckets::OVERHEADS, [Duration::from_micros(80)]),
                    ..Times::of_one(Duration::from_millis(n as u64), Some(Duration::from_millis(n as u64)))
                },
            };
            let seen = Observation {
                operation: "generateContent",
                code: 200,
                streamed: n % 2 == 0,
                faults: vec![kinds[n % 4], kinds[n / 4 % 4]],
                limit: Some("rpm"),
            };
            running.count(&sample, &seen, &model);
        }
        running
    }

    #[test]
    fn a_scrape_is_bounded_with_every_family_full() {
        let quota = |n: usize| QuotaReading {
            project: format!("project-{n}").into(),
            model: None,
            gauge: Gauge::ALL[n % 3],
            used: 0.5,
        };
        let pool = PoolReading { quotas: (0..MOST_QUOTAS).map(quota).collect(), ..PoolReading::default() };
        let scrape = Scrape {
            usage: Some(UsageFigures {
                running: Arc::new(full()),
                state: AccountingState::default(),
                currency: "USD".to_owned(),
            }),
            pool: Some(pool),
            pool_events: PoolEventCounts::default(),
            models: (0..20_000).map(|n| Arc::from(format!("model-{n}"))).collect(),
            caller_limits: Vec::new(),
            components: BTreeMap::new(),
            in_flight: RequestKind::ALL.map(|kind| (kind, 0)),
            lines_lost: 0,
            spans_dropped: None,
            repeats: crate::http::TranslationRepeats::default().by_reason(),
            cluster: None,
            not_after: None,
            reloads: crate::reload::ReloadState::new(chrono::Utc::now()).report(),
            process: process::Beginning::now().figures(),
        };
        let begun = std::time::Instant::now();
        let text = scrape.encode(ExpositionFormat::OpenMetrics).unwrap();
        println!("{} bytes, {} lines in {:?}", text.len(), text.lines().count(), begun.elapsed());
        let mut families: BTreeMap<&str, usize> = BTreeMap::new();
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(title) => family = title.split(' ').next().unwrap_or_default(),
                None if line.starts_with('#') => {}
                None => *families.entry(family).or_default() += 1,
            }
        }
        assert!(families.values().all(|&series| series <= usage::MOST_SERIES), "{families:?}");
        assert!(families.values().sum::<usize>() > 80_000, "it is not full: {families:?}");
        assert!(text.len() < 16 << 20, "{}", text.len());
    }
}

//! Limits that the gateways share: what the pool draws, in the words of the store that lends slices, and its answers in the
//! pool's. Also what the gateways say of their load in their beats, and what each makes of all that: its part, and how full the
//! limits are.

use super::naming::Naming;
use gemini_balance_cluster::{
    BucketLimits, BucketName, BucketUnits, ClusterMember, Draw as BucketDraw, Drawn as BucketDrawn,
    Generation, NodeId, SpendReport,
};
use keypool::{Draw, Drawn, ModelLoad, ModelWeight, Owner, Units};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

/// Names that are longer stand there as hashes.
const LONGEST: usize = 200;
/// How many models a beat speaks of, the busiest.
const MOST_MODELS: usize = 200;

/// Which buckets have heard in this generation what this gateway has used in the day.
#[derive(Debug, Default)]
pub(super) struct DaysTold(HashMap<BucketName, Generation>);

impl DaysTold {
    /// Returns what is to be said of the day, once in each generation.
    fn say(&mut self, bucket: &BucketName, generation: Generation, today: u64) -> Option<u64> {
        if self.0.get(bucket) == Some(&generation) {
            return None;
        }
        if self.0.len() > 100_000 {
            self.0.clear(); // said twice is counted twice, which gives too little for a day
        }
        self.0.insert(bucket.clone(), generation);
        Some(today)
    }

    /// A call was not answered: it is said again.
    pub(super) fn forget(&mut self, draws: &[BucketDraw]) {
        for draw in draws.iter().filter(|draw| draw.day_used.is_some()) {
            self.0.remove(&draw.bucket);
        }
    }
}

impl Naming<'_> {
    /// Returns the bucket that a draw speaks of. `None` for the project of a key that is gone.
    pub(super) fn bucket_of(&self, draw: &Draw) -> Option<BucketName> {
        let owner = match self.owner(&draw.project)? {
            Owner::Project(label) => format!("p:{}", label.as_str()),
            Owner::Number(number) => format!("n:{number}"),
            Owner::Key(key) => format!("k:{key}"),
        };
        let model = draw.model.as_deref().map_or_else(|| "none".to_owned(), |model| format!("m:{model}"));
        BucketName::new(&shortened(owner), &shortened(model)).ok()
    }

    /// Returns a draw in the store's words.
    pub(super) fn draw_of(
        &self,
        draw: &Draw,
        bucket: BucketName,
        generation: Generation,
        days: &mut DaysTold,
    ) -> BucketDraw {
        let day_used = draw.rpd.and_then(|_| days.say(&bucket, generation, draw.today));
        let reports = draw.spent.iter().map(|spend| SpendReport {
            age: spend.ago,
            requests: spend.requests,
            tokens: spend.tokens,
        });
        let ends = draw.day_ends.map(|ends| (ends - self.ahead).timestamp_millis());
        BucketDraw {
            reports: reports.collect(),
            have: of_units(draw.have),
            want: of_units(draw.want),
            day_ends_ms: ends.and_then(|ms| u64::try_from(ms).ok()),
            day_used,
            ..BucketDraw::new(bucket, BucketLimits { rpm: draw.rpm, tpm: draw.tpm, rpd: draw.rpd })
        }
    }
}

/// What is lent is good for the minute and the day alike.
fn of_units(units: Units) -> BucketUnits {
    BucketUnits { requests: units.requests.max(units.day), tokens: units.tokens }
}

/// Returns an answer in the pool's words.
pub(super) fn drawn_of(draw: &Draw, answer: &BucketDrawn) -> Drawn {
    let BucketUnits { requests, tokens } = answer.given;
    let given = Units {
        requests: if draw.rpm.is_some() { requests } else { 0 },
        tokens: if draw.tpm.is_some() { tokens } else { 0 },
        day: if draw.rpd.is_some() { requests } else { 0 },
    };
    let left = Units {
        requests: answer.left_requests.unwrap_or(u64::MAX),
        tokens: answer.left_tokens.unwrap_or(u64::MAX),
        day: answer.left_of_day.unwrap_or(u64::MAX),
    };
    Drawn {
        call: draw.call,
        project: draw.project.clone(),
        model: draw.model.clone(),
        given,
        left,
        opens_in: answer.opens_in,
        closed_for: answer.closed_for,
    }
}

fn shortened(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let mut text = String::from("h:");
    for byte in &Sha256::digest(name.as_bytes())[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The load of a model as a beat tells it.
#[derive(Serialize, Deserialize)]
struct ToldLoad {
    #[serde(rename = "m")]
    model: Option<String>,
    /// Requests a second.
    #[serde(rename = "s")]
    per_second: f64,
    /// Requests of the last minute.
    #[serde(rename = "u")]
    used: u64,
    /// Requests a minute that all limits allow.
    #[serde(rename = "l")]
    limit: u64,
}

/// Writes what a beat says of the load.
pub(super) fn told_loads(mut loads: Vec<ModelLoad>) -> String {
    loads.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
    let told = loads.into_iter().take(MOST_MODELS).map(|load| ToldLoad {
        model: load.model.map(|model| shortened(model.to_string())),
        per_second: (load.per_second * 100.0).round() / 100.0,
        used: load.used,
        limit: load.limit,
    });
    serde_json::to_string(&told.collect::<Vec<_>>()).unwrap_or_default()
}

/// Returns this gateway's part in each of its models, by what it knows of itself and the others say.
pub(super) fn weights(own: &[ModelLoad], me: &NodeId, members: &[ClusterMember]) -> Vec<ModelWeight> {
    let others = members.iter().filter(|member| member.is_there() && member.node != *me);
    let mut sums: BTreeMap<Option<String>, (f64, u64)> = BTreeMap::new();
    let mut gateways = 1.0;
    for member in others {
        gateways += 1.0;
        // One of a version that tells it otherwise tells nothing.
        let told: Vec<ToldLoad> = serde_json::from_str(&member.beat.load).unwrap_or_default();
        for load in told {
            let sum = sums.entry(load.model).or_default();
            sum.0 += load.per_second.max(0.0);
            sum.1 = sum.1.saturating_add(load.used);
        }
    }
    let weight = |load: &ModelLoad| {
        let name = load.model.as_deref().map(|model| shortened(model.to_owned()));
        let (per_second, used) = sums.get(&name).copied().unwrap_or_default();
        let (all, used) = (per_second + load.per_second, used.saturating_add(load.used));
        let part = if all > 0.0 { load.per_second / all } else { 1.0 / gateways };
        #[expect(clippy::cast_precision_loss, reason = "a ratio of requests of a minute")]
        let full = if load.limit == 0 { 1.0 } else { used as f64 / load.limit as f64 };
        ModelWeight { model: load.model.clone(), part: part.clamp(0.0, 1.0), full }
    };
    own.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, key_ring::KeyRing};
    use chrono::TimeDelta;
    use gemini_balance_cluster::Beat;
    use keypool::KeySpec;
    use std::{sync::Arc, time::Duration};

    fn load(model: &str, per_second: f64, used: u64) -> ModelLoad {
        ModelLoad { model: Some(Arc::from(model)), per_second, used, limit: 100 }
    }

    #[test]
    fn a_gateways_part_is_what_it_has_of_the_load_of_all() {
        let member = |name: &str, loads: Vec<ModelLoad>| ClusterMember {
            node: NodeId::new(name).unwrap(),
            silent_for: Duration::ZERO,
            beat: Beat { load: told_loads(loads), ..Beat::default() },
        };
        let own = [load("a", 3.0, 30), load("b", 0.0, 0)];
        let members = [
            member("one", own.to_vec()),
            member("two", vec![load("a", 1.0, 20)]),
            ClusterMember {
                silent_for: Duration::from_secs(6),
                ..member("gone", vec![load("a", 100.0, 100)])
            },
            ClusterMember {
                beat: Beat { load: "unheard of".to_owned(), ..Beat::default() },
                ..member("new", Vec::new())
            },
        ];
        let found = weights(&own, &members[0].node, &members);
        assert_eq!((found[0].part, found[0].full), (0.75, 0.5));
        assert_eq!((found[1].part, found[1].full), (1.0 / 3.0, 0.0), "nobody is asked for it");
    }

    #[test]
    fn a_bucket_is_called_the_same_on_all_gateways_and_never_too_long() {
        let ring = |name: &str| {
            KeyRing::new(vec![(KeySpec::new(name), Secret::new("AIza-one".to_owned()))]).unwrap()
        };
        let (here, there, node) = (ring("a"), ring("b"), NodeId::new("n").unwrap());
        let naming = |ring| Naming { ring, node: &node, ahead: TimeDelta::zero() };
        let draw = |key: &str, model: Option<&str>| Draw {
            call: 1,
            project: Owner::Key(key.into()),
            model: model.map(Arc::from),
            rpm: Some(1),
            tpm: None,
            rpd: None,
            spent: Vec::new(),
            have: Units::default(),
            want: Units::default(),
            full_for: None,
            today: 0,
            day_ends: None,
        };
        for model in [None, Some("none"), Some("gemini-x"), Some(&*"x".repeat(5_000))] {
            let one = naming(&here).bucket_of(&draw("a", model)).unwrap();
            assert_eq!(Some(&one), naming(&there).bucket_of(&draw("b", model)).as_ref());
        }
        let name = |model| naming(&here).bucket_of(&draw("a", model)).unwrap();
        assert_ne!(name(None), name(Some("none")));
        assert_eq!(naming(&here).bucket_of(&draw("gone", None)), None);
    }

    #[test]
    fn what_was_used_in_the_day_is_said_once_in_each_generation() {
        let (mut days, bucket) = (DaysTold::default(), BucketName::new("o", "m").unwrap());
        assert_eq!(days.say(&bucket, Generation(1), 5), Some(5));
        assert_eq!(days.say(&bucket, Generation(1), 6), None);
        assert_eq!(days.say(&bucket, Generation(2), 7), Some(7));
        let said =
            BucketDraw { day_used: Some(7), ..BucketDraw::new(bucket.clone(), BucketLimits::default()) };
        days.forget(&[said]);
        assert_eq!(days.say(&bucket, Generation(2), 8), Some(8), "it did not arrive");
    }
}

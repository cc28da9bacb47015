//! The store that gives out slices of shared budgets, slow and simple: what it must hold to, with time on a clock of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use keypool::{Draw, Drawn, Owner, Units};

/// For how many seconds what was spent counts in a minute.
const COUNTED: u64 = 61;
/// How long a slice is believed to be held by a node that is not heard of.
const HELD_FOR: Duration = Duration::from_secs(3);
/// What reports are made later by: Google counts a request when it arrives.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// One model on one project.
#[derive(Default)]
struct Bucket {
    /// Requests and tokens by second.
    used: BTreeMap<u64, (i64, i64)>,
    held: HashMap<usize, (Units, Duration)>,
    day: i64,
    closed: Duration,
}

type Name = (Owner, Option<std::sync::Arc<str>>);

#[derive(Default)]
pub(crate) struct Buckets {
    buckets: HashMap<Name, Bucket>,
    /// Nothing is given before.
    pub(crate) hold_until: Duration,
}

impl Buckets {
    /// Forgets all, as one that was started anew. Days are kept.
    pub(crate) fn lose(&mut self, hold_until: Duration) {
        for bucket in self.buckets.values_mut() {
            *bucket = Bucket { day: bucket.day, ..Bucket::default() };
        }
        self.hold_until = hold_until;
    }

    pub(crate) fn take(&mut self, node: usize, draw: &Draw, now: Duration) -> Drawn {
        let hold_until = self.hold_until;
        let name = (draw.project.clone(), draw.model.clone());
        let bucket = self.buckets.entry(name).or_default();
        bucket.used.retain(|second, _| second + COUNTED > now.as_secs());
        let gone: Vec<_> =
            bucket.held.iter().filter(|(_, (_, until))| *until <= now).map(|(node, _)| *node).collect();
        for node in gone {
            let (units, until) = bucket.held.remove(&node).unwrap();
            bucket.add(until.as_secs(), signed(units.requests), signed(units.tokens), now);
        }
        for spend in &draw.spent {
            let at = (now + ON_THE_WAY).saturating_sub(spend.ago);
            bucket.add(at.as_secs(), spend.requests, spend.tokens, now);
            bucket.day += spend.day;
        }
        if let Some(full_for) = draw.full_for {
            bucket.closed = bucket.closed.max(now + full_for);
        }
        bucket.held.insert(node, (draw.have, now + HELD_FOR));
        let left = bucket.left(draw);
        let others =
            bucket.held.iter().any(|(holder, (units, _))| *holder != node && *units != Units::default());
        let most = |left: u64| if others { left.min((left / 2).max(1)) } else { left };
        let mut given = Units {
            requests: draw.want.requests.min(most(left.requests)),
            tokens: draw.want.tokens.min(most(left.tokens)),
            day: draw.want.day.min(most(left.day)),
        };
        let lacks = |wanted: u64, given: u64| wanted > 0 && given == 0;
        let closed_for = bucket.closed.max(hold_until).saturating_sub(now);
        if lacks(draw.want.requests, given.requests)
            || lacks(draw.want.tokens, given.tokens)
            || lacks(draw.want.day, given.day)
            || !closed_for.is_zero()
        {
            given = Units::default();
        }
        let have = Units {
            requests: draw.have.requests + given.requests,
            tokens: draw.have.tokens + given.tokens,
            day: draw.have.day + given.day,
        };
        bucket.held.insert(node, (have, now + HELD_FOR));
        if have == Units::default() {
            bucket.held.remove(&node);
        }
        let left = bucket.left(draw);
        let spent = left.requests == 0 || left.tokens == 0 || left.day == 0;
        let first = bucket
            .used
            .keys()
            .next()
            .map_or(Duration::ZERO, |second| Duration::from_secs(second + COUNTED).saturating_sub(now));
        let soon = Duration::from_secs(1);
        let opens_in = match (spent, bucket.held.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, true) => first.max(Duration::from_millis(20)),
            (true, false) => first.min(soon).max(Duration::from_millis(20)),
        };
        Drawn {
            call: draw.call,
            project: draw.project.clone(),
            model: draw.model.clone(),
            given,
            left,
            opens_in,
            closed_for,
        }
    }
}

impl Bucket {
    fn add(&mut self, second: u64, requests: i64, tokens: i64, now: Duration) {
        if second + COUNTED > now.as_secs() {
            let used = self.used.entry(second).or_default();
            used.0 += requests;
            used.1 += tokens;
        }
    }

    /// What nobody has used or holds; without a limit as much as can be.
    fn left(&self, draw: &Draw) -> Units {
        let (mut requests, mut tokens, mut day) = (0, 0, self.day);
        for (of_requests, of_tokens) in self.used.values() {
            requests += of_requests;
            tokens += of_tokens;
        }
        for (units, _) in self.held.values() {
            requests += signed(units.requests);
            tokens += signed(units.tokens);
            day += signed(units.day);
        }
        let left = |limit: Option<u64>, used: i64| {
            limit.map_or(u64::MAX, |limit| limit.saturating_sub(u64::try_from(used).unwrap_or(0)))
        };
        Units { requests: left(draw.rpm, requests), tokens: left(draw.tpm, tokens), day: left(draw.rpd, day) }
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap()
}

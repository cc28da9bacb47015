//! Buckets: what one owner may still use of one model in a minute and a day, and the slices that nodes take of it ahead of
//! need. Who the owners are, what a request costs, and when to ask for how much is the callers' affair.

use std::{collections::BTreeMap, error, fmt, time::Duration};

use crate::node::Generation;

/// The longest owner or model, in bytes.
const MAX_NAME: usize = 256;
/// The highest limit, so that sums stay exact in the scripts' numbers.
const MAX_LIMIT: u64 = 1 << 40;
/// The most that one draw can ask for.
const MAX_REQUESTS: u64 = 1 << 20;
const MAX_TOKENS: u64 = 1 << 32;
/// How many reports one draw carries one by one. More are put together by seconds.
const MAX_REPORTS: usize = 512;
/// From this age on, in seconds, what is reported is in no minute any more.
const OLD: i64 = 90;

/// Which bucket: whose limit, and on what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName {
    owner: Box<str>,
    scope: BucketScope,
}

/// What a bucket limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BucketScope {
    /// What a project uses of this model.
    Model(Box<str>),
    /// All that a client's token uses.
    Token,
}

/// An owner or model is empty or longer than 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBucketName;

impl fmt::Display for BadBucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket's owner and model have 1 to 256 bytes each")
    }
}

impl error::Error for BadBucketName {}

impl BucketName {
    /// Names the bucket of a model on a project.
    pub fn new(owner: &str, model: &str) -> Result<Self, BadBucketName> {
        Self::checked(owner, BucketScope::Model(checked(model)?))
    }

    /// Names the bucket of a client's token: its name, never the secret.
    pub fn of_token(token: &str) -> Result<Self, BadBucketName> {
        Self::checked(token, BucketScope::Token)
    }

    fn checked(owner: &str, scope: BucketScope) -> Result<Self, BadBucketName> {
        Ok(Self { owner: checked(owner)?, scope })
    }

    /// Returns whose limit it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns what it limits.
    pub fn scope(&self) -> &BucketScope {
        &self.scope
    }
}

fn checked(name: &str) -> Result<Box<str>, BadBucketName> {
    if name.is_empty() || name.len() > MAX_NAME { Err(BadBucketName) } else { Ok(name.into()) }
}

/// The limits of a bucket; one that is missing limits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketLimits {
    /// Requests in a minute.
    pub rpm: Option<u64>,
    /// Input tokens in a minute.
    pub tpm: Option<u64>,
    /// Requests in a day.
    pub rpd: Option<u64>,
}

impl BucketLimits {
    /// As the scripts count: `-1` for none.
    pub(crate) fn counted(self) -> [i64; 3] {
        [self.rpm, self.tpm, self.rpd]
            .map(|limit| limit.map_or(-1, |limit| i64::try_from(limit.min(MAX_LIMIT)).unwrap_or(i64::MAX)))
    }

    pub(crate) fn from_counted([rpm, tpm, rpd]: [i64; 3]) -> Self {
        let limit = |counted| u64::try_from(counted).ok();
        Self { rpm: limit(rpm), tpm: limit(tpm), rpd: limit(rpd) }
    }
}

/// Requests and input tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketUnits {
    /// Requests.
    pub requests: u64,
    /// Input tokens.
    pub tokens: u64,
}

impl BucketUnits {
    pub(crate) fn counted(self) -> (i64, i64) {
        let count = |number: u64, most: u64| i64::try_from(number.min(most)).unwrap_or(i64::MAX);
        (count(self.requests, MAX_REQUESTS), count(self.tokens, MAX_TOKENS))
    }

    pub(crate) fn from_counted(requests: i64, tokens: i64) -> Self {
        let count = |counted| u64::try_from(counted).unwrap_or_default();
        Self { requests: count(requests), tokens: count(tokens) }
    }
}

/// What a node has used, or what it has to take back of what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpendReport {
    /// How long ago, by the node's monotonic clock.
    pub age: Duration,
    /// Requests; less than zero takes back.
    pub requests: i64,
    /// Input tokens; less than zero takes back.
    pub tokens: i64,
}

impl SpendReport {
    /// Age in milliseconds, requests and tokens, none beyond what can be counted.
    pub(crate) fn counted(self) -> (i64, i64, i64) {
        const MOST: i64 = 1 << 40;
        let age = i64::try_from(self.age.as_millis()).map_or(MOST, |age| age.min(MOST));
        (age, self.requests.clamp(-MOST, MOST), self.tokens.clamp(-MOST, MOST))
    }
}

/// What a node says of one bucket, and wants of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Which bucket.
    pub bucket: BucketName,
    /// Its limits, as this node knows them.
    pub limits: BucketLimits,
    /// What this node has used since it last said so.
    pub reports: Vec<SpendReport>,
    /// What it has left of its slice. In place of what it is believed to have: an answer that was lost does no harm.
    pub have: BucketUnits,
    /// How much more it wants.
    pub want: BucketUnits,
    /// For how long it will use the slice without asking again: at most ten seconds.
    pub lives: Duration,
    /// When the day ends, in milliseconds of the shared clock; for buckets with a limit a day.
    pub day_ends_ms: Option<u64>,
    /// How many requests this node has made in this day in all. To be said once in each generation, with reports of all that
    /// the node remembers of the last minute, which then count for the minute alone.
    pub day_used: Option<u64>,
}

impl Draw {
    /// Returns a draw that reports and wants nothing, with slices that live three seconds.
    pub fn new(bucket: BucketName, limits: BucketLimits) -> Self {
        Self {
            bucket,
            limits,
            reports: Vec::new(),
            have: BucketUnits::default(),
            want: BucketUnits::default(),
            lives: Duration::from_secs(3),
            day_ends_ms: None,
            day_used: None,
        }
    }

    /// Returns age in milliseconds, requests and tokens of what is reported, in a list of bounded length.
    pub(crate) fn reports(&self) -> Vec<(i64, i64, i64)> {
        let reports = self.reports.iter().map(|report| report.counted());
        if self.reports.len() <= MAX_REPORTS {
            return reports.collect();
        }
        let mut seconds = BTreeMap::<i64, (i64, i64, i64)>::new();
        for (age, requests, tokens) in reports {
            // The youngest age holds for all of a second: they are counted for too long rather than too short.
            let second = seconds.entry((age / 1_000).min(OLD)).or_insert((age, 0, 0));
            *second = (second.0.min(age), second.1 + requests, second.2 + tokens);
        }
        seconds.into_values().collect()
    }
}

/// How a bucket is after a draw, and what it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Which bucket.
    pub bucket: BucketName,
    /// The limits that were gone by.
    pub limits: BucketLimits,
    /// What was given, to be added to what the node had.
    pub given: BucketUnits,
    /// Requests left for all nodes, of the minute and the day; `None` if neither is limited.
    pub left_requests: Option<u64>,
    /// Tokens left for all nodes; `None` if they are not limited.
    pub left_tokens: Option<u64>,
    /// Requests left of the day; `None` if they are not limited.
    pub left_of_day: Option<u64>,
    /// In how long there may be room again; zero if there is some now.
    pub opens_in: Duration,
    /// For how long a refusal has closed it.
    pub closed_for: Duration,
    /// In which generation it was counted. Another one than before: report all you remember, then draw.
    pub generation: Generation,
    /// The shared clock.
    pub at_ms: u64,
}

/// What one bucket answers, in the scripts' numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) given: [i64; 2],
    /// Requests, tokens, requests of the day; `-1` for what is not limited.
    pub(crate) left: [i64; 3],
    pub(crate) opens_in: i64,
    pub(crate) closed_for: i64,
    pub(crate) limits: [i64; 3],
}

impl Counted {
    pub(crate) fn drawn(self, bucket: BucketName, at_ms: u64, generation: u64) -> Drawn {
        let left = |counted| u64::try_from(counted).ok();
        let time = |ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        Drawn {
            bucket,
            limits: BucketLimits::from_counted(self.limits),
            given: BucketUnits::from_counted(self.given[0], self.given[1]),
            left_requests: left(self.left[0]),
            left_tokens: left(self.left[1]),
            left_of_day: left(self.left[2]),
            opens_in: time(self.opens_in),
            closed_for: time(self.closed_for),
            generation: Generation(generation),
            at_ms,
        }
    }
}

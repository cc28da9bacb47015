//! Google's quotas: requests and input tokens a minute, requests a day, per project and model, and the 429 that says so.
//! Pure: the time is an argument. The day is Google's, which turns at midnight in Los Angeles.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{ApiError, SERVICE};

/// A limit. Each project and model it applies to is counted separately, as Google does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// The project it applies to; none means each.
    pub project: Option<String>,
    /// The model (without `models/`) it applies to; none means each.
    pub model: Option<String>,
    /// Requests a minute. 0 is Google's `limit: 0`: the model is not in this tier.
    pub rpm: Option<u64>,
    /// Input tokens a minute.
    pub tpm: Option<u64>,
    /// Requests a day.
    pub rpd: Option<u64>,
}

/// What is being counted; it decides the names in the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Metered {
    Generate,
    Embed,
}

/// When a request is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since any fixed point; never goes backwards.
    pub(crate) elapsed: Duration,
    /// The date in Los Angeles.
    pub(crate) day: NaiveDate,
}

#[derive(Debug)]
struct Window {
    recent: VecDeque<(Duration, u64)>,
    tokens: u64,
    day: NaiveDate,
    today: u64,
}

impl Window {
    fn advance(&mut self, now: Now, minute: Duration) {
        while let Some(&(at, tokens)) = self.recent.front()
            && now.elapsed.saturating_sub(at) >= minute
        {
            self.recent.pop_front();
            self.tokens -= tokens;
        }
        if self.day != now.day {
            self.day = now.day;
            self.today = 0;
        }
    }

    /// How long until `enough` says the entries left (requests, tokens) leave room; a whole minute if they never do.
    fn wait(&self, now: Now, minute: Duration, enough: impl Fn(u64, u64) -> bool) -> Duration {
        let (mut requests, mut tokens) = (self.recent.len() as u64, self.tokens);
        for &(at, spent) in &self.recent {
            requests -= 1;
            tokens -= spent;
            if enough(requests, tokens) {
                return (at + minute).saturating_sub(now.elapsed);
            }
        }
        minute
    }
}

/// The counters behind the quotas.
#[derive(Debug)]
pub(crate) struct Meter {
    minute: Duration,
    quotas: Vec<Quota>,
    windows: HashMap<(String, String, Metered), Window>,
    refusals: u64,
}

impl Meter {
    pub(crate) fn new(quotas: Vec<Quota>, minute: Duration) -> Self {
        Self { minute, quotas, windows: HashMap::new(), refusals: 0 }
    }

    pub(crate) fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// New limits; the counts start again.
    pub(crate) fn set(&mut self, quotas: Vec<Quota>) {
        self.quotas = quotas;
        self.windows.clear();
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&mut self) {
        self.windows.clear();
    }

    /// Counts one request of `tokens` input tokens, or refuses it with Google's 429 (then it is not counted).
    pub(crate) fn take(
        &mut self,
        project: &str,
        model: &str,
        metered: Metered,
        tokens: u64,
        now: Now,
    ) -> Result<(), ApiError> {
        let applies = |quota: &&Quota| {
            quota.project.as_deref().is_none_or(|p| p == project)
                && quota.model.as_deref().is_none_or(|m| m == model)
        };
        let Some(quota) = self.quotas.iter().find(applies) else { return Ok(()) };
        let minute = self.minute;
        let window = self
            .windows
            .entry((project.to_owned(), model.to_owned(), metered))
            .or_insert_with(|| Window { recent: VecDeque::new(), tokens: 0, day: now.day, today: 0 });
        window.advance(now, minute);

        let mut refused: Vec<(Dimension, u64)> = Vec::new();
        let mut wait = None;
        if let Some(limit) = quota.rpd
            && window.today >= limit
        {
            refused.push((Dimension::RequestsPerDay, limit));
        }
        if let Some(limit) = quota.rpm
            && window.recent.len() as u64 >= limit
        {
            refused.push((Dimension::RequestsPerMinute, limit));
            wait = wait.max(Some(window.wait(now, minute, |requests, _| requests < limit)));
        }
        if let Some(limit) = quota.tpm
            && window.tokens + tokens > limit
        {
            refused.push((Dimension::TokensPerMinute, limit));
            wait = wait.max(Some(window.wait(now, minute, |_, left| left + tokens <= limit)));
        }
        if refused.is_empty() {
            window.recent.push_back((now.elapsed, tokens));
            window.tokens += tokens;
            window.today += 1;
            return Ok(());
        }
        self.refusals += 1;
        // Of a daily quota Google says a short time that is wrong (28 to 38 s seen), not the time to midnight.
        let wait = wait.unwrap_or_else(|| Duration::from_millis(28_070 + self.refusals % 10 * 1_000));
        Err(exceeded(&refused, model, metered, wait))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    RequestsPerDay,
    RequestsPerMinute,
    TokensPerMinute,
}

impl Dimension {
    /// Google's `quotaMetric` and `quotaId`.
    fn names(self, metered: Metered) -> (String, &'static str) {
        let (metric, id) = match (metered, self) {
            (Metered::Generate, Self::RequestsPerDay) => {
                ("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier")
            }
            (Metered::Generate, Self::RequestsPerMinute) => (
                "generate_content_free_tier_requests",
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
            ),
            (Metered::Generate, Self::TokensPerMinute) => (
                "generate_content_free_tier_input_token_count",
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            ),
            (Metered::Embed, Self::RequestsPerDay) => {
                ("embed_content_free_tier_requests", "EmbedContentRequestsPerDayPerProjectPerModel-FreeTier")
            }
            (Metered::Embed, Self::RequestsPerMinute) => (
                "embed_content_free_tier_requests",
                "EmbedContentRequestsPerMinutePerProjectPerModel-FreeTier",
            ),
            (Metered::Embed, Self::TokensPerMinute) => (
                "embed_content_free_tier_input_token_count",
                "EmbedContentInputTokensPerModelPerMinute-FreeTier",
            ),
        };
        (format!("{SERVICE}/{metric}"), id)
    }
}

fn exceeded(refused: &[(Dimension, u64)], model: &str, metered: Metered, wait: Duration) -> ApiError {
    let mut message = String::from(
        "You exceeded your current quota, please check your plan and billing details. For more information on this error, head over to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: https://ai.dev/rate-limit. ",
    );
    let mut violations: Vec<Value> = Vec::new();
    for &(dimension, limit) in refused {
        let (metric, id) = dimension.names(metered);
        // Writing to a String cannot fail.
        let _ = write!(message, "\n* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}");
        let mut violation = json!({
            "quotaMetric": metric,
            "quotaId": id,
            "quotaDimensions": {"location": "global", "model": model},
        });
        // A zero is protobuf's default and therefore not written.
        if limit > 0 {
            violation["quotaValue"] = json!(limit.to_string());
        }
        violations.push(violation);
    }
    let _ = write!(message, "\nPlease retry in {:.2}s.", wait.as_secs_f64());
    let delay_s = wait.as_millis().div_ceil(1000);
    ApiError::new(429, message)
        .detail(json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}))
        .help("Learn more about Gemini API quotas", "https://ai.google.dev/gemini-api/docs/rate-limits")
        .detail(
            json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{delay_s}s")}),
        )
}

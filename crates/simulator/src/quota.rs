//! Google's quotas: requests and input tokens a minute, requests a day, per project and model, and the 429 that says so.
//! Pure: the time is an argument. The day is Google's, which turns at midnight in Los Angeles.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use chrono_tz::America::Los_Angeles;
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

/// How a quota's minute passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MinuteWindow {
    /// The last minute counts, at any moment.
    #[default]
    Sliding,
    /// Counting starts again at each full minute.
    Fixed,
}

/// When a request is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Unix time by the simulator's clock.
    pub(crate) unix: Duration,
    /// The date in Los Angeles.
    pub(crate) day: NaiveDate,
}

impl Now {
    /// The time in Los Angeles decides which day it is.
    pub(crate) fn at(unix: Duration) -> Self {
        let secs = i64::try_from(unix.as_secs()).unwrap_or_default();
        let day =
            DateTime::from_timestamp(secs, 0).unwrap_or_default().with_timezone(&Los_Angeles).date_naive();
        Self { unix, day }
    }
}

/// How long a minute lasts, and how it passes.
#[derive(Debug, Clone, Copy)]
struct Minute {
    length: Duration,
    window: MinuteWindow,
}

impl Minute {
    /// How long something counted at `at` still counts.
    fn left(self, at: Duration, now: Duration) -> Duration {
        let end = match self.window {
            MinuteWindow::Sliding => at + self.length,
            MinuteWindow::Fixed => self.start(at) + self.length,
        };
        end.saturating_sub(now)
    }

    /// The start of the fixed minute around `at`.
    fn start(self, at: Duration) -> Duration {
        let length = self.length.as_nanos().max(1);
        let into = u64::try_from(at.as_nanos() % length).unwrap_or_default();
        at.saturating_sub(Duration::from_nanos(into))
    }
}

#[derive(Debug)]
struct Window {
    recent: VecDeque<(Duration, u64)>,
    tokens: u64,
    day: NaiveDate,
    today: u64,
}

impl Window {
    fn advance(&mut self, now: Now, minute: Minute) {
        while let Some(&(at, tokens)) = self.recent.front()
            && minute.left(at, now.unix).is_zero()
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
    fn wait(&self, now: Now, minute: Minute, enough: impl Fn(u64, u64) -> bool) -> Duration {
        let (mut requests, mut tokens) = (self.recent.len() as u64, self.tokens);
        for &(at, spent) in &self.recent {
            requests -= 1;
            tokens -= spent;
            if enough(requests, tokens) {
                return minute.left(at, now.unix);
            }
        }
        minute.length
    }
}

/// The counters behind the quotas.
#[derive(Debug)]
pub(crate) struct Meter {
    minute: Minute,
    quotas: Vec<Quota>,
    windows: HashMap<(String, String, Metered), Window>,
    refusals: u64,
}

impl Meter {
    pub(crate) fn new(quotas: Vec<Quota>, length: Duration, window: MinuteWindow) -> Self {
        let minute = Minute { length, window };
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
            window.recent.push_back((now.unix, tokens));
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
pub(crate) enum Dimension {
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

/// Google's 429 about these limits.
pub(crate) fn exceeded(
    refused: &[(Dimension, u64)],
    model: &str,
    metered: Metered,
    wait: Duration,
) -> ApiError {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn meter(quota: Quota) -> Meter {
        Meter::new(vec![quota], MINUTE, MinuteWindow::Sliding)
    }

    /// Seconds after noon in Los Angeles, which is no full minute.
    fn at(seconds: f64) -> Now {
        Now::at(Duration::from_secs_f64(1_795_377_600.0 + 40.0 + seconds))
    }

    fn take(meter: &mut Meter, tokens: u64, now: Now) -> Result<(), Value> {
        meter
            .take("p", "m", Metered::Generate, tokens, now)
            .map_err(|error| serde_json::from_str::<Value>(&error.line()).unwrap()["error"].take())
    }

    fn ids(error: &Value) -> Vec<&str> {
        let violations = error["details"][0]["violations"].as_array().unwrap();
        violations.iter().map(|violation| violation["quotaId"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_minute_slides_and_the_wait_is_until_the_oldest_request_leaves_it() {
        let mut meter = meter(Quota { rpm: Some(2), ..Quota::default() });
        take(&mut meter, 1, at(0.0)).unwrap();
        take(&mut meter, 1, at(20.0)).unwrap();
        let error = take(&mut meter, 1, at(25.93)).unwrap_err();
        assert!(error["message"].as_str().unwrap().ends_with("Please retry in 34.07s."), "{error}");
        assert_eq!(error["details"][2]["retryDelay"], "35s", "rounded up");
        assert_eq!(ids(&error), ["GenerateRequestsPerMinutePerProjectPerModel-FreeTier"]);
        take(&mut meter, 1, at(60.0)).unwrap();
        take(&mut meter, 1, at(79.9)).unwrap_err();
        take(&mut meter, 1, at(80.0)).unwrap();
    }

    #[test]
    fn tokens_wait_until_enough_of_them_have_left() {
        let mut meter = meter(Quota { tpm: Some(100), ..Quota::default() });
        take(&mut meter, 60, at(0.0)).unwrap();
        take(&mut meter, 40, at(10.0)).unwrap();
        let small = take(&mut meter, 50, at(30.0)).unwrap_err();
        assert_eq!(small["details"][2]["retryDelay"], "30s");
        assert_eq!(ids(&small), ["GenerateContentInputTokensPerModelPerMinute-FreeTier"]);
        let large = take(&mut meter, 90, at(30.0)).unwrap_err();
        assert_eq!(large["details"][2]["retryDelay"], "40s");
        let never = take(&mut meter, 101, at(30.0)).unwrap_err();
        assert_eq!(never["details"][2]["retryDelay"], "60s");
        take(&mut meter, 50, at(60.0)).unwrap();
    }

    #[test]
    fn a_days_quota_names_a_misleading_wait_and_ends_with_the_day() {
        let mut meter = meter(Quota { rpd: Some(20), ..Quota::default() });
        for n in 0..20 {
            take(&mut meter, 1, at(f64::from(n) * 100.0)).unwrap();
        }
        let error = take(&mut meter, 1, at(2000.0)).unwrap_err();
        assert_eq!(ids(&error), ["GenerateRequestsPerDayPerProjectPerModel-FreeTier"]);
        assert_eq!(error["details"][0]["violations"][0]["quotaValue"], "20");
        let delay = error["details"][2]["retryDelay"].as_str().unwrap();
        let seconds: u64 = delay.strip_suffix('s').unwrap().parse().unwrap();
        assert!((28..=38).contains(&seconds), "{delay}");
        take(&mut meter, 1, at(2100.0)).unwrap_err();
        // Noon was 12 h before midnight.
        take(&mut meter, 1, at(12.0 * 3600.0 - 40.0 - 0.5)).unwrap_err();
        take(&mut meter, 1, at(12.0 * 3600.0 - 40.0)).unwrap();
    }

    #[test]
    fn a_day_is_los_angeles_day_whatever_the_season() {
        for (utc, day) in [
            ("2026-11-22T07:59:59Z", "2026-11-21"),
            ("2026-11-22T08:00:00Z", "2026-11-22"),
            ("2026-07-22T06:59:59Z", "2026-07-21"),
            ("2026-07-22T07:00:00Z", "2026-07-22"),
            // The clocks go back on 1 November 2026: that day has 25 hours.
            ("2026-11-01T07:00:00Z", "2026-11-01"),
            ("2026-11-02T07:59:59Z", "2026-11-01"),
            ("2026-11-02T08:00:00Z", "2026-11-02"),
        ] {
            let utc = DateTime::parse_from_rfc3339(utc).unwrap().timestamp();
            let now = Now::at(Duration::from_secs(u64::try_from(utc).unwrap()));
            assert_eq!(now.day.to_string(), day);
        }
    }

    #[test]
    fn a_fixed_minute_starts_again_at_the_full_minute() {
        let quota = Quota { rpm: Some(2), tpm: Some(100), ..Quota::default() };
        let mut meter = Meter::new(vec![quota], MINUTE, MinuteWindow::Fixed);
        // 40 s into a minute.
        take(&mut meter, 10, at(0.0)).unwrap();
        take(&mut meter, 10, at(15.0)).unwrap();
        let error = take(&mut meter, 1, at(15.0)).unwrap_err();
        assert_eq!(
            error["details"][2]["retryDelay"], "5s",
            "to the end of the minute, not of the request's own"
        );
        take(&mut meter, 1, at(19.999)).unwrap_err();
        take(&mut meter, 60, at(20.0)).unwrap();
        let tokens = take(&mut meter, 41, at(50.0)).unwrap_err();
        assert_eq!(ids(&tokens), ["GenerateContentInputTokensPerModelPerMinute-FreeTier"]);
        assert_eq!(tokens["details"][2]["retryDelay"], "30s");
        take(&mut meter, 41, at(80.0)).unwrap();
    }

    #[test]
    fn all_limits_that_are_reached_are_named_and_the_longest_wait_counts() {
        let mut meter = meter(Quota { rpm: Some(1), tpm: Some(10), rpd: Some(1), ..Quota::default() });
        take(&mut meter, 10, at(0.0)).unwrap();
        let error = take(&mut meter, 1, at(20.0)).unwrap_err();
        assert_eq!(
            ids(&error),
            [
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "GenerateContentInputTokensPerModelPerMinute-FreeTier",
            ]
        );
        assert_eq!(error["details"][2]["retryDelay"], "40s");
        let message = error["message"].as_str().unwrap();
        assert_eq!(message.matches("* Quota exceeded for metric: ").count(), 3, "{message}");
    }

    #[test]
    fn a_limit_of_zero_says_so_and_has_no_value() {
        let mut meter = meter(Quota { rpm: Some(0), tpm: Some(0), rpd: Some(0), ..Quota::default() });
        let error = take(&mut meter, 1, at(0.0)).unwrap_err();
        assert_eq!(ids(&error).len(), 3);
        assert!(error["message"].as_str().unwrap().contains(", limit: 0, model: m"));
        assert_eq!(error["details"][0]["violations"][0].get("quotaValue"), None);
    }

    #[test]
    fn the_first_limit_that_applies_counts() {
        let limited = Quota { model: Some("m".into()), rpm: Some(1), ..Quota::default() };
        let mut meter = Meter::new(
            vec![limited, Quota { rpm: Some(0), ..Quota::default() }],
            MINUTE,
            MinuteWindow::Sliding,
        );
        take(&mut meter, 1, at(0.0)).unwrap();
        take(&mut meter, 1, at(1.0)).unwrap_err();
        assert!(meter.take("p", "other", Metered::Generate, 1, at(0.0)).is_err());
    }

    #[test]
    fn refused_requests_are_not_counted() {
        let mut meter = meter(Quota { rpm: Some(1), rpd: Some(2), ..Quota::default() });
        take(&mut meter, 1, at(0.0)).unwrap();
        for n in 1..50 {
            take(&mut meter, 1, at(f64::from(n))).unwrap_err();
        }
        take(&mut meter, 1, at(60.0)).unwrap();
    }
}

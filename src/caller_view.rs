//! How a caller and its limits are shown as JSON: to the operator in the list of tokens, and to the caller itself at `/me`.
//! No secret is known here.

use callers::{AccountReading, CallerSpec, LimitName, LimitReading, Used};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// What a token says of its caller.
#[derive(Serialize)]
pub(crate) struct SpecView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<DateTime<Utc>>,
    enabled: bool,
    resources: callers::Visibility,
    surfaces: callers::Surfaces,
    models: callers::Globs,
    projects: callers::Globs,
}

impl SpecView {
    pub(crate) fn of(spec: &CallerSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            expires: spec.expires,
            enabled: spec.enabled,
            resources: spec.resources,
            surfaces: spec.surfaces,
            models: spec.models.clone(),
            projects: spec.projects.clone(),
        }
    }
}

/// What a caller has used.
#[derive(Serialize)]
pub(crate) struct UseView {
    in_flight: u64,
    limits: Vec<LimitView>,
    day: PeriodView,
    month: PeriodView,
}

#[derive(Serialize)]
struct LimitView {
    name: &'static str,
    limit: Number,
    used: Number,
    /// Seconds until there is room for the smallest request; 0 when there is.
    opens_in_s: u64,
    /// Over how many gateways of a cluster it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateways: Option<usize>,
}

#[derive(Serialize)]
struct PeriodView {
    requests: u64,
    tokens: u64,
    /// Seconds until the next one begins.
    ends_in_s: u64,
    /// Over how many gateways of a cluster it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    gateways: Option<usize>,
}

/// A count, or money in units.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Count(u64),
    Units(f64),
}

impl Number {
    fn of(name: LimitName, number: u64) -> Self {
        match name {
            #[expect(clippy::cast_precision_loss, reason = "for people, who read fewer digits")]
            LimitName::MoneyDay | LimitName::MoneyMonth => Self::Units(number as f64 / 1e9),
            _ => Self::Count(number),
        }
    }
}

impl UseView {
    /// `gateways`: how many count callers together; `None` where it is not to be said.
    pub(crate) fn of(reading: &AccountReading, gateways: Option<usize>) -> Self {
        let over = |is_shared: bool| gateways.map(|gateways| if is_shared { gateways } else { 1 });
        let limit = |limit: &LimitReading| LimitView {
            name: limit.name.as_str(),
            limit: Number::of(limit.name, limit.limit),
            used: Number::of(limit.name, limit.used),
            opens_in_s: whole_seconds(limit.opens.ask_again_in().unwrap_or_default()),
            gateways: over(limit.is_shared),
        };
        let period = |(used, ends_in): (Used, std::time::Duration), is_shared| PeriodView {
            requests: used.requests,
            tokens: used.tokens,
            ends_in_s: whole_seconds(ends_in),
            gateways: over(is_shared),
        };
        Self {
            in_flight: reading.in_flight,
            limits: reading.limits.iter().map(limit).collect(),
            day: period(reading.day, reading.is_day_shared),
            month: period(reading.month, reading.is_month_shared),
        }
    }
}

fn whole_seconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

//! `/api/projects`: the keys by project, and what is known of each project's limits. A project is the pool's: its label, or the
//! key's own where it has none.

use super::{
    Desk, PATIENCE, RouteTable,
    gate::answer,
    keys::state_of,
    listed::{MAX_LIMIT, cursor_at, place_of},
};
use actix_web::{HttpResponse, web};
use chrono::{DateTime, Datelike as _, TimeDelta, TimeZone as _, Utc};
use keypool::{KeyView, LimitView, Snapshot};
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use tokio::time::Instant;

/// How many projects an answer has, where nothing is said.
const USUAL_LIMIT: usize = 100;
/// How many models' limits are told of in one project.
const MOST_MODELS: usize = 30;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/projects", list);
}

/// A project with its keys and what is used of its quotas.
#[derive(Debug, Default, Serialize)]
struct ProjectView {
    /// The label; nothing for a key without one.
    project: Option<String>,
    /// The key, where it has no label.
    key: Option<String>,
    number: Option<String>,
    states: BTreeMap<&'static str, usize>,
    keys: usize,
    in_flight: u64,
    served: u64,
    faults: u64,
    limits: Vec<LimitView>,
}

async fn list(parameters: web::Query<HashMap<String, String>>, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(unknown) = parameters.keys().find(|name| !["q", "limit", "cursor"].contains(&name.as_str())) {
        return answer(400, &format!("{unknown} is no parameter; those are q, limit, cursor"));
    }
    let limit = match parameters.get("limit").map(|text| text.parse::<usize>()) {
        None => USUAL_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return answer(400, "limit must be a whole number from 1 to 200"),
    };
    let after = match parameters.get("cursor").map(|cursor| place_of::<String>(cursor)).transpose() {
        Ok(after) => after,
        Err(why) => return answer(400, &why),
    };
    let Ok(snapshot) = desk.operated.keys.snapshot(Instant::now() + PATIENCE).await else {
        return answer(503, "the key manager does not answer");
    };
    let part = parameters.get("q").map(|part| part.to_lowercase());
    let mut found = projects(&snapshot);
    found.retain(|name, _| part.as_ref().is_none_or(|part| name.to_lowercase().contains(part)));
    let matched = found.len();
    let mut page: Vec<_> =
        found.into_iter().filter(|(name, _)| after.as_ref().is_none_or(|after| name > after)).collect();
    let has_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| has_more).map(|(name, _)| cursor_at(name));
    let projects: Vec<_> = page.into_iter().map(|(_, project)| project).collect();
    HttpResponse::Ok().json(json!({
        "projects": projects,
        "matched": matched,
        "next": next,
        "day_resets": day_resets(Utc::now()),
    }))
}

/// By name, in its order.
fn projects(snapshot: &Snapshot) -> BTreeMap<String, ProjectView> {
    let mut projects: BTreeMap<String, ProjectView> = BTreeMap::new();
    for key in &snapshot.keys {
        let label = key.project.as_ref().map(|project| project.as_str().to_owned());
        let name = label.clone().unwrap_or_else(|| key.id.as_str().to_owned());
        let project = projects.entry(name).or_insert_with(|| ProjectView {
            key: label.is_none().then(|| key.id.as_str().to_owned()),
            project: label,
            ..ProjectView::default()
        });
        project.add(key);
    }
    projects
}

impl ProjectView {
    fn add(&mut self, key: &KeyView) {
        self.keys += 1;
        *self.states.entry(state_of(key.state)).or_default() += 1;
        self.in_flight += u64::from(key.in_flight);
        self.served += key.totals.successes;
        self.faults += key.totals.faults;
        if self.number.is_none() {
            self.number = key
                .project_number
                .as_ref()
                .and_then(|number| serde_json::to_value(number).ok())
                .map(|number| number.as_str().map_or_else(|| number.to_string(), str::to_owned));
        }
        // They are the project's, and so the same for each of its keys.
        if self.limits.is_empty() {
            self.limits = key.limits.iter().take(MOST_MODELS).cloned().collect();
        }
    }
}

/// When Google's day ends: midnight in Los Angeles.
fn day_resets(now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let zone = chrono_tz::America::Los_Angeles;
    let tomorrow = now.with_timezone(&zone).date_naive() + TimeDelta::days(1);
    let midnight = zone.with_ymd_and_hms(tomorrow.year(), tomorrow.month(), tomorrow.day(), 0, 0, 0);
    midnight.earliest().map(|midnight| midnight.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_day_ends_at_midnight_in_los_angeles() {
        for (now, resets) in [
            ("2026-11-27T12:00:00Z", "2026-11-28T08:00:00Z"),
            ("2026-11-27T07:59:59Z", "2026-11-27T08:00:00Z"),
            ("2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z"),
        ] {
            let now: DateTime<Utc> = now.parse().unwrap();
            assert_eq!(day_resets(now), Some(resets.parse().unwrap()), "{now}");
        }
    }
}

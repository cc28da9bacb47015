//! A page of the list of keys: which keys are asked for, in which order, and from where on. Keys that were added and that the
//! configuration shadows are in it as well, in a state of their own. A cursor names the last key of a page, so that keys which
//! come and go meanwhile move no other from one page to the next.

use crate::keys::{AddedKey, KeySet, KeySource};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use keypool::{Counts, KeyState, KeyView, Snapshot};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The longest page, and the usual one.
const MAX_LIMIT: usize = 200;
const USUAL_LIMIT: usize = 100;

/// How many models are told of in each list of a key: clients name them.
const MOST_MODELS: usize = 30;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// A part of the id or of the project, in any case.
    q: Option<String>,
    state: Option<String>,
    /// A column; with `-` before it the other way round.
    sort: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    /// How many keys to pass over, for who looks at the middle of a long list; without a cursor.
    offset: Option<usize>,
}

/// A key of the list.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// `configuration` or `runtime`.
    pub(super) source: &'static str,
    pub(super) state: &'static str,
    pub(super) project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) added: Option<DateTime<Utc>>,
    /// How it is in the pool; nothing for a key that is not used.
    #[serde(flatten)]
    pub(super) view: Option<PoolView>,
}

/// What the pool says of a key, but for what the row says already.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PoolView(serde_json::Map<String, serde_json::Value>);

/// A page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    keys: Vec<Row>,
    /// How many keys there are, by state; of all, whatever was asked for.
    counts: Counts,
    /// How many keys fit the question.
    matched: usize,
    /// What to ask for next; nothing after the last page.
    next: Option<String>,
}

/// How a page ends: the place of its last key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
struct Place(Rank, String, bool);

/// What keys are put in order by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
enum Rank {
    Number(u64),
    Text(String),
}

/// What the list can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    Project,
    State,
    Served,
    Faults,
    InFlight,
}

/// A key before it is known whether it is on the page.
struct Candidate<'a> {
    place: Place,
    of: Shown<'a>,
}

enum Shown<'a> {
    InPool(&'a KeyView),
    Shadowed(&'a AddedKey),
}

const STATES: [&str; 6] = ["available", "probation", "cooling", "retired", "disabled", SHADOWED];
const SHADOWED: &str = "shadowed";

/// Returns a state's word.
pub(in crate::operator::api) fn state_of(state: KeyState) -> &'static str {
    match state {
        KeyState::Available => "available",
        KeyState::Probation => "probation",
        KeyState::Cooling => "cooling",
        KeyState::Retired => "retired",
        KeyState::Disabled => "disabled",
    }
}

impl Column {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "id" => Self::Id,
            "project" => Self::Project,
            "state" => Self::State,
            "served" => Self::Served,
            "faults" => Self::Faults,
            "in_flight" => Self::InFlight,
            _ => return None,
        })
    }

    fn of(self, shown: &Shown<'_>) -> Rank {
        let (id, project, state, totals, in_flight) = match shown {
            Shown::InPool(view) => (
                view.id.as_str(),
                view.project.as_ref().map(keypool::Project::as_str),
                state_of(view.state),
                Some(&view.totals),
                view.in_flight,
            ),
            Shown::Shadowed(key) => (key.id().as_str(), key.project(), SHADOWED, None, 0),
        };
        match self {
            Self::Id => Rank::Text(id.to_owned()),
            Self::Project => Rank::Text(project.unwrap_or_default().to_owned()),
            Self::State => Rank::Text(state.to_owned()),
            Self::Served => Rank::Number(totals.map_or(0, |totals| totals.successes)),
            Self::Faults => Rank::Number(totals.map_or(0, |totals| totals.faults)),
            Self::InFlight => Rank::Number(in_flight.into()),
        }
    }
}

impl Shown<'_> {
    fn id(&self) -> &str {
        match self {
            Self::InPool(view) => view.id.as_str(),
            Self::Shadowed(key) => key.id().as_str(),
        }
    }

    fn project(&self) -> Option<&str> {
        match self {
            Self::InPool(view) => view.project.as_ref().map(keypool::Project::as_str),
            Self::Shadowed(key) => key.project(),
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::InPool(view) => state_of(view.state),
            Self::Shadowed(_) => SHADOWED,
        }
    }

    fn row(&self, set: &KeySet) -> Row {
        let added = match self {
            Self::InPool(view) => match set.source(&view.id) {
                Some(KeySource::Runtime(key)) => Some(key),
                Some(KeySource::Configuration) | None => None,
            },
            Self::Shadowed(key) => Some(*key),
        };
        Row {
            id: self.id().to_owned(),
            fingerprint: added.map(|key| key.fingerprint().to_owned()),
            source: if added.is_some() { "runtime" } else { "configuration" },
            state: self.state(),
            project: self.project().map(str::to_owned),
            weight: added.map(AddedKey::weight),
            added: added.map(AddedKey::added),
            view: match self {
                Self::InPool(view) => PoolView::of(view),
                Self::Shadowed(_) => None,
            },
        }
    }
}

impl PoolView {
    /// Returns what the pool says under this name.
    pub(super) fn field(&self, name: &str) -> serde_json::Value {
        self.0.get(name).cloned().unwrap_or(serde_json::Value::Null)
    }

    fn of(view: &KeyView) -> Option<Self> {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::to_value(view) else { return None };
        for named in ["id", "project", "state"] {
            fields.remove(named);
        }
        let mut left_out = 0;
        for list in ["models", "limits", "usage"] {
            if let Some(serde_json::Value::Array(entries)) = fields.get_mut(list) {
                left_out += entries.len().saturating_sub(MOST_MODELS);
                entries.truncate(MOST_MODELS);
            }
        }
        if left_out > 0 {
            fields.insert("left_out".to_owned(), left_out.into());
        }
        Some(Self(fields))
    }
}

/// Returns every key as a row, in the pool's order, and those that are shadowed after them.
pub(super) fn rows<'a>(snapshot: &'a Snapshot, set: &'a KeySet) -> impl Iterator<Item = Row> + 'a {
    shown(snapshot, set).map(|shown| shown.row(set))
}

fn shown<'a>(snapshot: &'a Snapshot, set: &'a KeySet) -> impl Iterator<Item = Shown<'a>> + 'a {
    snapshot.keys.iter().map(Shown::InPool).chain(set.shadowed().map(Shown::Shadowed))
}

/// Returns the page that is asked for, or what is wrong with the question.
pub(super) fn page(question: &Question, snapshot: &Snapshot, set: &KeySet) -> Result<Page, String> {
    let limit = question.limit.unwrap_or(USUAL_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(format!("limit must be a whole number from 1 to {MAX_LIMIT}"));
    }
    let sort = question.sort.as_deref().unwrap_or("id");
    let (is_reversed, name) = sort.strip_prefix('-').map_or((false, sort), |name| (true, name));
    let column = Column::parse(name)
        .ok_or("sort must be one of id, project, state, served, faults, in_flight, or one of them after -")?;
    if let Some(state) = &question.state
        && !STATES.contains(&state.as_str())
    {
        return Err(format!("state must be one of {}", STATES.join(", ")));
    }
    let after = question.cursor.as_deref().map(place_of).transpose()?;
    let part = question.q.as_deref().map(str::to_lowercase).filter(|part| !part.is_empty());
    let has_part = |text: &str| part.as_ref().is_none_or(|part| text.to_lowercase().contains(part.as_str()));
    let in_order = |one: &Place, other: &Place| -> Ordering {
        if is_reversed { other.cmp(one) } else { one.cmp(other) }
    };
    let mut found: Vec<Candidate<'_>> = shown(snapshot, set)
        .filter(|shown| question.state.as_deref().is_none_or(|state| state == shown.state()))
        .filter(|shown| has_part(shown.id()) || (part.is_some() && shown.project().is_some_and(has_part)))
        .map(|shown| {
            let is_shadowed = matches!(shown, Shown::Shadowed(_));
            Candidate { place: Place(column.of(&shown), shown.id().to_owned(), is_shadowed), of: shown }
        })
        .collect();
    let matched = found.len();
    found.retain(|key| after.as_ref().is_none_or(|after| in_order(&key.place, after).is_gt()));
    found.sort_by(|one, other| in_order(&one.place, &other.place));
    found.drain(..question.offset.unwrap_or(0).min(found.len()));
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| cursor_at(&last.place));
    let keys = found.iter().map(|key| key.of.row(set)).collect();
    Ok(Page { keys, counts: snapshot.counts, matched, next })
}

fn cursor_at(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

fn place_of(cursor: &str) -> Result<Place, String> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| serde_json::from_slice(&text).ok());
    place.ok_or_else(|| "cursor must be what \"next\" of the page before said".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_actors::{Secret, key_ring::KeyRing};
    use keypool::{KeySpec, Pool, Settings};

    fn set(count: usize) -> KeySet {
        let key = |n: usize| {
            let project = Some(format!("P{}", n % 3).into());
            (KeySpec { project, ..KeySpec::new(format!("k{n:03}")) }, Secret::new(format!("AIza{n}")))
        };
        let configured = KeyRing::new((0..count).map(key).collect()).unwrap();
        let kept = gemini_balance_store::vault::KeptKey {
            secret: "AIza0".to_owned().into(),
            label: Some("kept".to_owned()),
            project: None,
            weight: 3,
            added: DateTime::UNIX_EPOCH,
        };
        let added = gemini_balance_store::vault::KeptKey {
            secret: "AIza-added".to_owned().into(),
            label: Some("added".to_owned()),
            ..kept.clone()
        };
        KeySet::new(configured, vec![kept, added])
    }

    fn snapshot(set: &KeySet) -> Snapshot {
        let pool = Pool::new(Settings::default(), set.ring().unwrap().specs(), 1).unwrap();
        pool.snapshot(meter::Now { mono: std::time::Duration::ZERO, wall: Utc::now() })
    }

    fn question(text: &str) -> Question {
        serde_json::from_str(text).unwrap()
    }

    fn ids(question: &Question, set: &KeySet) -> Vec<String> {
        let page = page(question, &snapshot(set), set).unwrap();
        page.keys.iter().map(|row| row.id.clone()).collect()
    }

    #[test]
    fn pages_follow_one_another_and_leave_nothing_out_in_either_order() {
        let set = set(25);
        for sort in ["id", "-id", "project", "-state", "served", "-faults", "in_flight"] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let asked =
                    Question { sort: Some(sort.to_owned()), limit: Some(7), cursor, ..Question::default() };
                let page = page(&asked, &snapshot(&set), &set).unwrap();
                assert_eq!(page.matched, 27);
                seen.extend(page.keys.into_iter().map(|row| row.id));
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            let mut all = seen.clone();
            all.sort();
            all.dedup();
            assert_eq!((seen.len(), all.len()), (27, 27), "{sort}: {seen:?}");
        }
    }

    #[test]
    fn keys_are_found_by_their_ids_projects_and_states() {
        let set = set(6);
        assert_eq!(ids(&question(r#"{"q":"K00","limit":2}"#), &set), ["k000", "k001"]);
        assert_eq!(ids(&question(r#"{"q":"p1"}"#), &set), ["k001", "k004"]);
        assert_eq!(ids(&question(r#"{"state":"shadowed"}"#), &set), ["kept"]);
        assert!(ids(&question(r#"{"state":"retired"}"#), &set).is_empty());
        assert_eq!(ids(&question(r#"{"q":"K00","offset":4,"limit":1}"#), &set), ["k004"]);
        assert!(ids(&question(r#"{"offset":100}"#), &set).is_empty());
        let page = page(&question(r#"{"q":"added"}"#), &snapshot(&set), &set).unwrap();
        let row = serde_json::to_value(&page.keys[0]).unwrap();
        assert_eq!(
            (
                row["source"].as_str(),
                row["weight"].as_u64(),
                row["state"].as_str(),
                row["in_flight"].as_u64()
            ),
            (Some("runtime"), Some(3), Some("available"), Some(0))
        );
        assert!(!row.to_string().contains("AIza"));
    }

    #[test]
    fn a_question_that_makes_no_sense_is_told_what_is_allowed() {
        let set = set(1);
        for (text, word) in [
            (r#"{"limit":0}"#, "limit"),
            (r#"{"limit":201}"#, "200"),
            (r#"{"sort":"secret"}"#, "sort"),
            (r#"{"state":"odd"}"#, "available"),
            (r#"{"cursor":"!"}"#, "cursor"),
            (r#"{"cursor":"W10"}"#, "cursor"),
        ] {
            let why = page(&question(text), &snapshot(&set), &set).unwrap_err();
            assert!(why.contains(word) && why.lines().count() == 1, "{text}: {why}");
        }
    }
}

//! A page of the list of keys: which keys are asked for, in which order, and from where on. The pool makes it; keys that were
//! added and that the configuration shadows are not in the pool, and are listed where their state is asked for. A cursor names
//! the last key of a page, so that keys which come and go meanwhile move no other from one page to the next.

use super::super::listed::{MAX_LIMIT, cursor_at, place_of};
use crate::keys::{AddedKey, KeyInventory, KeySource};
use chrono::{DateTime, Utc};
use gemini_balance_actors::accounting::Accounts;
use keypool::{Counts, KeyColumn, KeyPage, KeyRank, KeyState, KeyView, PageRequest, Snapshot};
use serde::{Deserialize, Serialize};

/// The usual page.
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
    /// Its requests in the last hour, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_hour: Option<u64>,
    /// How it is in the pool; nothing for a key that is not used.
    #[serde(flatten)]
    pub(super) view: Option<PoolView>,
}

/// What the pool says of a key, but for what the row says already.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct PoolView(serde_json::Map<String, serde_json::Value>);

/// A page of keys, as it is answered.
#[derive(Debug, Serialize)]
pub(super) struct KeysPage {
    keys: Vec<Row>,
    /// How many keys there are, by state; of all, whatever was asked for.
    counts: Counts,
    /// How many keys that were added are not used, since the configuration has their secret or their id.
    shadowed: usize,
    /// How many keys fit the question.
    matched: usize,
    /// What to ask for next; nothing after the last page.
    next: Option<String>,
}

/// What a question asks for.
#[derive(Debug)]
pub(super) enum KeysQuestion {
    /// Keys of the pool.
    InPool(PageRequest),
    /// Keys that were added and are shadowed, in the order of their ids.
    Shadowed(PageRequest),
}

/// A key of the list, wherever it is.
enum Shown<'a> {
    InPool(&'a KeyView),
    Shadowed(&'a AddedKey),
}

const STATES: [KeyState; 5] =
    [KeyState::Available, KeyState::Probation, KeyState::Cooling, KeyState::Retired, KeyState::Disabled];
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

    fn row(&self, inventory: &KeyInventory) -> Row {
        let added = match self {
            Self::InPool(view) => match inventory.source(&view.id) {
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
            last_hour: None,
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
pub(super) fn rows<'a>(
    snapshot: &'a Snapshot,
    inventory: &'a KeyInventory,
) -> impl Iterator<Item = Row> + 'a {
    shown(snapshot, inventory).map(|shown| shown.row(inventory))
}

fn shown<'a>(snapshot: &'a Snapshot, inventory: &'a KeyInventory) -> impl Iterator<Item = Shown<'a>> + 'a {
    snapshot.keys.iter().map(Shown::InPool).chain(inventory.shadowed().map(Shown::Shadowed))
}

impl Question {
    /// Says what is asked for, or what is wrong with the question.
    pub(super) fn read(&self) -> Result<KeysQuestion, String> {
        let limit = self.limit.unwrap_or(USUAL_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(format!("limit must be a whole number from 1 to {MAX_LIMIT}"));
        }
        let sort = self.sort.as_deref().unwrap_or("id");
        let (descending, name) = sort.strip_prefix('-').map_or((false, sort), |name| (true, name));
        let order = column(name).ok_or(
            "sort must be one of id, project, state, served, faults, in_flight, or one of them after -",
        )?;
        let after = self.cursor.as_deref().map(place_of).transpose()?;
        let text = self.q.clone().unwrap_or_default();
        let mut request = PageRequest {
            text,
            states: Vec::new(),
            order,
            descending,
            after,
            skip: self.offset.unwrap_or(0),
            limit,
        };
        match self.state.as_deref() {
            None => {}
            Some(SHADOWED) => return Ok(KeysQuestion::Shadowed(request)),
            Some(word) => {
                let state = STATES.into_iter().find(|state| state_of(*state) == word).ok_or_else(|| {
                    let words: Vec<_> = STATES.into_iter().map(state_of).collect();
                    format!("state must be one of {}, {SHADOWED}", words.join(", "))
                })?;
                request.states.push(state);
            }
        }
        Ok(KeysQuestion::InPool(request))
    }
}

impl KeysPage {
    /// Says of each key how many requests it had in the last hour.
    pub(super) fn tell_last_hour(&mut self, accounts: &Accounts) {
        let requests = accounts.last_hour(self.keys.iter().map(|row| row.id.as_str()));
        for (row, requests) in self.keys.iter_mut().zip(requests) {
            row.last_hour = Some(requests);
        }
    }
}

impl KeysQuestion {
    /// Returns what the pool is asked for.
    pub(super) fn of_pool(&self) -> PageRequest {
        match self {
            Self::InPool(request) => request.clone(),
            // Only how it stands as a whole.
            Self::Shadowed(_) => PageRequest::default(),
        }
    }

    /// Returns the page, of what the pool has answered.
    pub(super) fn page(&self, of_pool: &KeyPage, inventory: &KeyInventory) -> KeysPage {
        let (counts, shadowed) = (of_pool.overview.counts, inventory.shadowed().count());
        match self {
            Self::InPool(_) => KeysPage {
                keys: of_pool.keys.iter().map(|view| Shown::InPool(view).row(inventory)).collect(),
                counts,
                shadowed,
                matched: of_pool.matched,
                next: of_pool.next.as_ref().map(cursor_at),
            },
            Self::Shadowed(request) => {
                let part = request.text.to_ascii_lowercase();
                let has_part = |text: &str| text.to_ascii_lowercase().contains(&part);
                let mut found: Vec<_> = inventory
                    .shadowed()
                    .filter(|key| has_part(key.id().as_str()) || key.project().is_some_and(has_part))
                    .collect();
                let matched = found.len();
                // Several may have one id; who reads on begins with the next.
                found.retain(|key| request.after.as_ref().is_none_or(|after| *key.id() > after.id));
                found.sort_by(|one, other| one.id().cmp(other.id()));
                found.drain(..request.skip.min(found.len()));
                let has_more = found.len() > request.limit;
                found.truncate(request.limit);
                let last = found.last().filter(|_| has_more);
                let rank = |key: &&AddedKey| KeyRank { text: String::new(), number: 0, id: key.id().clone() };
                let next = last.map(|key| cursor_at(&rank(key)));
                let keys = found.into_iter().map(|key| Shown::Shadowed(key).row(inventory)).collect();
                KeysPage { keys, counts, shadowed, matched, next }
            }
        }
    }
}

fn column(name: &str) -> Option<KeyColumn> {
    Some(match name {
        "id" => KeyColumn::Id,
        "project" => KeyColumn::Project,
        "state" => KeyColumn::State,
        "served" => KeyColumn::Served,
        "faults" => KeyColumn::Faults,
        "in_flight" => KeyColumn::InFlight,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_actors::{Secret, key_ring::KeyRing};
    use keypool::{KeySpec, Pool, Settings};

    fn inventory(count: usize) -> KeyInventory {
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
        KeyInventory::new(configured, vec![kept, added])
    }

    fn page(question: &Question, inventory: &KeyInventory) -> KeysPage {
        let asked = question.read().unwrap();
        let pool = Pool::new(Settings::default(), inventory.ring().unwrap().specs(), 1).unwrap();
        let now = meter::Now { mono: std::time::Duration::ZERO, wall: Utc::now() };
        asked.page(&pool.page(&asked.of_pool(), now), inventory)
    }

    fn question(text: &str) -> Question {
        serde_json::from_str(text).unwrap()
    }

    fn ids(question: &Question, inventory: &KeyInventory) -> Vec<String> {
        let page = page(question, inventory);
        page.keys.iter().map(|row| row.id.clone()).collect()
    }

    #[test]
    fn pages_follow_one_another_and_leave_nothing_out_in_either_order() {
        let inventory = inventory(25);
        for sort in ["id", "-id", "project", "-state", "served", "-faults", "in_flight"] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let asked =
                    Question { sort: Some(sort.to_owned()), limit: Some(7), cursor, ..Question::default() };
                let page = page(&asked, &inventory);
                assert_eq!((page.matched, page.shadowed), (26, 1));
                seen.extend(page.keys.into_iter().map(|row| row.id));
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            let mut all = seen.clone();
            all.sort();
            all.dedup();
            assert_eq!((seen.len(), all.len()), (26, 26), "{sort}: {seen:?}");
        }
    }

    #[test]
    fn keys_are_found_by_their_ids_projects_and_states() {
        let inventory = inventory(6);
        assert_eq!(ids(&question(r#"{"q":"K00","limit":2}"#), &inventory), ["k000", "k001"]);
        assert_eq!(ids(&question(r#"{"q":"p1"}"#), &inventory), ["k001", "k004"]);
        assert_eq!(ids(&question(r#"{"state":"shadowed"}"#), &inventory), ["kept"]);
        assert!(ids(&question(r#"{"state":"retired"}"#), &inventory).is_empty());
        assert_eq!(ids(&question(r#"{"q":"K00","offset":4,"limit":1}"#), &inventory), ["k004"]);
        assert!(ids(&question(r#"{"offset":100}"#), &inventory).is_empty());
        let page = page(&question(r#"{"q":"added"}"#), &inventory);
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
        for (text, word) in [
            (r#"{"limit":0}"#, "limit"),
            (r#"{"limit":201}"#, "200"),
            (r#"{"sort":"secret"}"#, "sort"),
            (r#"{"state":"odd"}"#, "available"),
            (r#"{"cursor":"!"}"#, "cursor"),
            (r#"{"cursor":"W10"}"#, "cursor"),
        ] {
            let why = question(text).read().unwrap_err();
            assert!(why.contains(word) && why.lines().count() == 1, "{text}: {why}");
        }
    }
}

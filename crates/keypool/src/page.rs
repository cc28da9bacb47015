//! A page of the keys, for whoever shows many of them: which are asked for, in what order, from where on. It costs a look
//! at each key's state and a whole view of those on the page only, so that ten thousand keys hold no lease up.

use std::cmp::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::KeyIx;
use crate::key::KeyId;
use crate::members::{Member, NameOrder};
use crate::roster::Roster;
use crate::snapshot::{KeyState, KeyView, Overview, StateView};

/// What keys can be put in order by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyColumn {
    /// By the keys' ids.
    #[default]
    Id,
    /// The project's label; those without one first.
    Project,
    /// How the key stands: the better first.
    State,
    /// How many leases were a success.
    Served,
    /// How many leases ended with a fault.
    Faults,
    /// How many leases are not settled.
    InFlight,
}

/// A key's place in an order: what it is put in order by, and its name, which tells equals apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyRank {
    /// The column's text, if that is one.
    pub text: String,
    /// The column's number, if that is one.
    pub number: u64,
    /// The key's id, which decides between equal ones.
    pub id: KeyId,
}

/// Which keys are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// A part of the name or of the project's label, in any case of ASCII letters; empty for all.
    pub text: String,
    /// The states; none for all.
    pub states: Vec<KeyState>,
    /// The column that the keys are ordered by.
    pub order: KeyColumn,
    /// Whether it is the other way round.
    pub descending: bool,
    /// The last key of the page before. It need not be there any more.
    pub after: Option<KeyRank>,
    /// How many to pass over besides, for whoever looks at the middle of a long list.
    pub skip: usize,
    /// How many at most.
    pub limit: usize,
}

/// The keys that were asked for, and how the pool stands as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// The whole pool, whatever was asked for.
    pub overview: Overview,
    /// How many keys fit the question, on whatever page.
    pub matched: usize,
    /// Those of this page.
    pub keys: Vec<KeyView>,
    /// Where the next page begins, if there is one.
    pub next: Option<KeyRank>,
}

/// A key's place without copies.
struct KeyPlace<'a> {
    /// `None` where the order is none of texts: even empty ones take their time to compare.
    text: Option<&'a str>,
    number: u64,
    /// The rank of its name.
    name: u32,
    key: KeyIx,
}

impl KeyPage {
    pub(crate) fn of(
        roster: &Roster,
        request: &PageRequest,
        in_flight: usize,
        waiting: usize,
        now: Duration,
    ) -> Self {
        let mut overview = Overview::new(roster, in_flight, waiting, now);
        let mut matched = 0;
        let names = roster.members.names();
        let after = request.after.as_ref().map(|after| KeyPlace {
            text: Some(&*after.text).filter(|_| request.order == KeyColumn::Project),
            number: after.number,
            name: names.rank_of(&after.id),
            key: KeyIx::at(0),
        });
        let limit = if request.limit > 0 { request.limit.saturating_add(request.skip) } else { 0 };
        let from_the_start = PageRequest { limit, ..request.clone() };
        let mut first = First { request: &from_the_start, after, places: Vec::new(), rest: false };
        for (key, member) in roster.members.iter() {
            let state = StateView::of(key, member, roster, now);
            overview.count(&state);
            if !request.fits(member, state.state) {
                continue;
            }
            matched += 1;
            if request.limit > 0 {
                first.take(request.place(key, member, state.state, names, roster));
            }
        }
        overview.finish();
        let (mut places, goes_on) = first.finish();
        places.drain(..request.skip.min(places.len()));
        let next = places.last().filter(|_| goes_on).map(|place| KeyRank {
            text: place.text.unwrap_or_default().to_owned(),
            number: place.number,
            id: roster.members.get(place.key).id.clone(),
        });
        let view = |place: &KeyPlace<'_>| KeyView::of(place.key, roster.members.get(place.key), roster, now);
        Self { overview, matched, keys: places.iter().map(view).collect(), next }
    }
}

/// How many more than are asked for may gather before they are cut off: the more, the seldomer all are looked at again.
const SLACK: usize = 1_024;

/// The first of those that follow the last page, as many as are asked for.
struct First<'a> {
    request: &'a PageRequest,
    /// The last of the page before.
    after: Option<KeyPlace<'a>>,
    /// The first so far, and others that came since they were last cut off.
    places: Vec<KeyPlace<'a>>,
    /// Whether there are others behind them; then the last of the first, when they were last cut off, is at its place.
    rest: bool,
}

impl<'a> First<'a> {
    fn take(&mut self, place: KeyPlace<'a>) {
        let Self { request, after, places, rest } = self;
        if after.as_ref().is_some_and(|after| request.compare(&place, after) != Ordering::Greater) {
            return;
        }
        // Most are behind those that are here already, which one comparison tells.
        let last = places.get(request.limit - 1).filter(|_| *rest);
        if last.is_some_and(|last| request.compare(&place, last) == Ordering::Greater) {
            return;
        }
        places.push(place);
        if places.len() >= request.limit.saturating_add(SLACK) {
            self.cut();
        }
    }

    /// Leaves only the first, the last of them at its place.
    fn cut(&mut self) {
        let Self { request, places, rest, .. } = self;
        if places.len() > request.limit {
            places.select_nth_unstable_by(request.limit - 1, |one, other| request.compare(one, other));
            places.truncate(request.limit);
            *rest = true;
        }
    }

    /// Returns the first in order, and whether there are others behind them.
    fn finish(mut self) -> (Vec<KeyPlace<'a>>, bool) {
        if self.request.limit > 0 {
            self.cut();
        }
        let Self { request, mut places, rest, .. } = self;
        places.sort_unstable_by(|one, other| request.compare(one, other));
        (places, rest)
    }
}

impl PageRequest {
    fn fits(&self, member: &Member, state: KeyState) -> bool {
        let has = |text: &str| contains(text.as_bytes(), self.text.as_bytes());
        (self.states.is_empty() || self.states.contains(&state))
            && (self.text.is_empty()
                || has(member.id.as_str())
                || member.label.as_ref().is_some_and(|label| has(label.as_str())))
    }

    fn place<'a>(
        &self,
        key: KeyIx,
        member: &'a Member,
        state: KeyState,
        names: &NameOrder,
        roster: &Roster,
    ) -> KeyPlace<'a> {
        let totals = || roster.counters.totals(key);
        let (text, number) = match self.order {
            KeyColumn::Id => (None, 0),
            KeyColumn::Project => (Some(member.label.as_ref().map_or("", |label| label.as_str())), 0),
            KeyColumn::State => (None, state as u64),
            KeyColumn::Served => (None, totals().successes),
            KeyColumn::Faults => (None, totals().faults),
            KeyColumn::InFlight => (None, roster.counters.in_flight(key).into()),
        };
        KeyPlace { text, number, name: names.rank(key), key }
    }

    fn compare(&self, one: &KeyPlace<'_>, other: &KeyPlace<'_>) -> Ordering {
        let order = (one.text, one.number, one.name).cmp(&(other.text, other.number, other.name));
        if self.descending { order.reverse() } else { order }
    }
}

/// Tells whether a part is in a text, in any case of ASCII letters.
fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let begins = |at: &usize| {
        text[*at].eq_ignore_ascii_case(first)
            && text[at + 1..].get(..rest.len()).is_some_and(|text| text.eq_ignore_ascii_case(rest))
    };
    (0..text.len()).any(|at| begins(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_in_any_case_and_anywhere() {
        for (text, part, expected) in [
            ("", "", true),
            ("key", "", true),
            ("", "k", false),
            ("Team-Key-7", "key", true),
            ("Team-Key-7", "-7", true),
            ("Team-Key-7", "7-", false),
            ("schlüssel", "SCHLÜSSEL", false),
            ("schlüssel", "SCHLü", true),
        ] {
            assert_eq!(contains(text.as_bytes(), part.as_bytes()), expected, "{part} in {text}");
        }
    }
}

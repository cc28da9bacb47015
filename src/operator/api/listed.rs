//! A list that lies in memory, as it is asked for: a part of its names, a state, so many at a time. A cursor names a page's
//! last entry, so that entries which come and go meanwhile move no other from one page to the next.

use actix_web::web;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The longest page of any list.
pub(super) const MAX_LIMIT: usize = 200;

/// What is asked for. Without a limit it is the whole list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuestion {
    /// A part of the name, in any case.
    q: Option<String>,
    state: Option<String>,
    /// `name`; with `-` before it the other way round.
    sort: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// What a handler takes a question as.
pub(super) type Asked = Result<web::Query<ListQuestion>, actix_web::Error>;

/// An entry of such a list.
pub(super) trait Listed {
    fn name(&self) -> &str;

    /// Its state, where the list has states.
    fn state(&self) -> Option<&str>;
}

/// A page, and what to ask for next.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<String>,
}

/// Returns the cursor that names this place in a list.
pub(super) fn cursor_at<T: Serialize>(place: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default())
}

/// Returns the place that a cursor names, or what is wrong with it: one that no page has given names none.
pub(super) fn place_of<T: DeserializeOwned>(cursor: &str) -> Result<T, String> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| serde_json::from_slice(&text).ok());
    place.ok_or_else(|| "cursor must be what \"next\" of the page before said".to_owned())
}

/// Returns the page of `rows` that is asked for, or what is wrong with the question; `states` are those there are.
pub(super) fn page<T: Listed>(asked: Asked, mut rows: Vec<T>, states: &[&str]) -> Result<Page<T>, String> {
    let known =
        if states.is_empty() { "q, sort, limit and cursor" } else { "q, state, sort, limit and cursor" };
    let question = match asked {
        Ok(question) if !states.is_empty() || question.state.is_none() => question.into_inner(),
        _ => return Err(format!("ask with {known}, each at most once")),
    };
    if question.limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
        return Err(format!("limit must be a whole number from 1 to {MAX_LIMIT}"));
    }
    if let Some(state) = question.state.as_deref().filter(|state| !states.contains(state)) {
        return Err(format!("state must be one of {}; {state:?} is none", states.join(", ")));
    }
    let is_descending = match question.sort.as_deref() {
        None | Some("name") => false,
        Some("-name") => true,
        Some(_) => return Err("sort must be name or -name".to_owned()),
    };
    let after = question.cursor.as_deref().map(place_of::<String>).transpose()?;
    let part = question.q.unwrap_or_default().to_lowercase();
    rows.retain(|row| {
        let has_state = question.state.is_none() || row.state() == question.state.as_deref();
        has_state && row.name().to_lowercase().contains(&part)
    });
    let is_asked = question.limit.is_some() || question.sort.is_some() || after.is_some();
    if is_asked {
        rows.sort_by(|one, other| one.name().cmp(other.name()));
    }
    if is_descending {
        rows.reverse();
    }
    if let Some(after) = &after {
        rows.retain(
            |row| if is_descending { row.name() < after.as_str() } else { row.name() > after.as_str() },
        );
    }
    let limit = question.limit.unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| cursor_at(&row.name()));
    Ok(Page { rows, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Entry(&'static str, &'static str);

    impl Listed for Entry {
        fn name(&self) -> &str {
            self.0
        }

        fn state(&self) -> Option<&str> {
            Some(self.1)
        }
    }

    fn asked(query: &str) -> Result<(Vec<&'static str>, Option<String>), String> {
        let entries = vec![Entry("c", "on"), Entry("Ab", "on"), Entry("a", "off"), Entry("d", "on")];
        let question = web::Query::<ListQuestion>::from_query(query).map_err(actix_web::Error::from);
        let page = page(question, entries, &["on", "off"])?;
        Ok((page.rows.iter().map(|row| row.0).collect(), page.next))
    }

    #[test]
    fn a_page_is_what_was_asked_for_and_says_how_it_goes_on() {
        assert_eq!(asked(""), Ok((vec!["c", "Ab", "a", "d"], None)));
        assert_eq!(asked("q=A"), Ok((vec!["Ab", "a"], None)));
        assert_eq!(asked("state=on&sort=-name"), Ok((vec!["d", "c", "Ab"], None)));
        assert_eq!(asked("limit=2"), Ok((vec!["Ab", "a"], Some(cursor_at(&"a")))));
        assert_eq!(asked(&format!("limit=2&cursor={}", cursor_at(&"a"))), Ok((vec!["c", "d"], None)));
        assert_eq!(
            asked(&format!("limit=3&sort=-name&cursor={}", cursor_at(&"d"))),
            Ok((vec!["c", "a", "Ab"], None))
        );
        for wrong in [
            "cursor=a",
            "cursor=zz",
            "cursor=W10",
            "limit=0",
            "limit=201",
            "limit=x",
            "state=gone",
            "sort=size",
            "unknown=1",
            "q=a&q=b",
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}

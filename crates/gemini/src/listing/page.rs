//! One page of one project, taken apart: its items as Google wrote them, where the next page is, and what else the page
//! says. Which member holds the items is found here too, since every collection names it after itself or otherwise.

use std::fmt;

use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Form;
use super::mark::Mark;

/// The names of a native continuation, in both spellings that Google answers with.
pub(super) const TOKENS: [&str; 2] = ["nextPageToken", "next_page_token"];

/// A project's page, read into its items.
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    /// Where the project's next page is; `None` when there is none.
    pub(super) next: Option<Box<str>>,
    /// The member that holds the items.
    pub(super) list: Option<Box<str>>,
    /// The member that holds `next`.
    pub(super) token_name: Option<&'static str>,
    /// All other members, in their order.
    pub(super) rest: Vec<(String, Box<RawValue>)>,
}

/// One resource of a page, with what it is ordered by.
pub(super) struct Item {
    /// As other requests name it: `files/abc`.
    pub(super) name: Option<String>,
    /// What a client of the OpenAI layer continues after.
    pub(super) id: Option<String>,
    /// By which a token remembers it.
    pub(super) mark: Mark,
    /// When it was made, in microseconds since 1970.
    pub(super) time: Option<i64>,
    /// The resource as Google wrote it.
    pub(super) raw: Box<RawValue>,
}

impl Page {
    /// Reads the page that `asked` named. `None` if it is no page.
    pub(super) fn read(collection: &str, form: Form, asked: Option<&str>, body: &[u8]) -> Option<Self> {
        let Members(members) = serde_json::from_slice(body).ok()?;
        let list = list_name(collection, form, &members)?;
        let mut page = Self { items: Vec::new(), next: None, list: None, token_name: None, rest: Vec::new() };
        let mut more = false;
        for (name, value) in members {
            if list.as_deref() == Some(name.as_str()) {
                let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                page.items = items
                    .into_iter()
                    .enumerate()
                    .map(|(at, raw)| Item::read(collection, form, (asked, at), raw))
                    .collect();
                continue;
            }
            match (form, name.as_str()) {
                (Form::Native, it) if TOKENS.contains(&it) => {
                    page.token_name = TOKENS.into_iter().find(|token| *token == it);
                    page.next = text(value).filter(|token| !token.is_empty()).map(String::into_boxed_str);
                }
                (Form::OpenAi, "has_more") => more = value.get() == "true",
                (Form::OpenAi, "first_id" | "last_id") => {}
                _ => page.rest.push((name, value.to_owned())),
            }
        }
        if more {
            page.next = page.items.last().and_then(|item| item.id.as_deref()).map(Into::into);
        }
        page.list = list.map(String::into_boxed_str);
        Some(page)
    }
}

impl Item {
    /// Whether this is the same item as another project's, one project being in the pool under two names.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.name.is_some() && self.mark == other.mark && self.raw.get() == other.raw.get()
    }

    fn read(collection: &str, form: Form, (page, at): (Option<&str>, usize), raw: &RawValue) -> Self {
        // What is no object has no name and no time.
        let Members(members) = serde_json::from_str(raw.get()).unwrap_or_default();
        let (name, id) = (member(&members, "name").and_then(text), member(&members, "id").and_then(text));
        // A resource name has a slash; where there is an id beside it, another `name` is for people.
        let name = match form {
            Form::Native if name.as_ref().is_some_and(|name| name.contains('/')) => name,
            Form::Native | Form::OpenAi => id.clone().or(name),
        };
        let name = name
            .filter(|name| !name.is_empty())
            .map(|name| if name.contains('/') { name } else { [collection, "/", name.as_str()].concat() });
        let mark = name.as_deref().map_or_else(|| Mark::of_place(page, at), Mark::of);
        let time = created(&members).or_else(|| {
            // A batch is listed as the operation that makes it.
            let Members(inner) = serde_json::from_str(member(&members, "metadata")?.get()).ok()?;
            created(&inner)
        });
        Self { name, id, mark, time, raw: raw.to_owned() }
    }
}

/// The member that holds the items, `Some(None)` if there are none. Known names go first; else it is the only
/// array of objects.
#[expect(clippy::option_option, reason = "no page, a page without items, a page with them")]
fn list_name(collection: &str, form: Form, members: &[(String, &RawValue)]) -> Option<Option<String>> {
    let kind = collection.rsplit('/').next().unwrap_or(collection);
    let snake = snake_case(kind);
    let known = match form {
        Form::Native => [kind, &snake, "operations", "data"],
        Form::OpenAi => ["data", kind, &snake, "operations"],
    };
    for name in known {
        match member(members, name).map(RawValue::get) {
            Some(value) if value.starts_with('[') => return Some(Some(name.to_owned())),
            Some("null") | None => {}
            Some(_) => return None,
        }
    }
    // Items are objects; an array of names, as of places that could not be reached, is none of them.
    let mut arrays = members.iter().filter(|(_, value)| holds_objects(value.get()));
    match (arrays.next(), arrays.next()) {
        (Some(_), Some(_)) => None,
        (only, _) => Some(only.map(|(name, _)| name.clone())),
    }
}

fn holds_objects(value: &str) -> bool {
    value.strip_prefix('[').is_some_and(|items| items.trim_start().starts_with('{'))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

fn created(members: &[(String, &RawValue)]) -> Option<i64> {
    ["createTime", "create_time", "created", "created_at"]
        .into_iter()
        .find_map(|name| member(members, name).and_then(time))
}

/// RFC 3339, or the OpenAI layer's whole seconds, in microseconds since 1970.
fn time(value: &RawValue) -> Option<i64> {
    match text(value) {
        Some(text) => DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_micros()),
        None => value.get().parse::<i64>().ok()?.checked_mul(1_000_000),
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn member<'m>(members: &[(String, &'m RawValue)], name: &str) -> Option<&'m RawValue> {
    members.iter().find(|(it, _)| it == name).map(|(_, value)| *value)
}

/// The members of an object, in their order, each once: the last of several equal keys counts.
#[derive(Default)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllMembers;

        impl<'de> Visitor<'de> for AllMembers {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match members.iter_mut().find(|(it, _)| *it == name) {
                        Some(member) => member.1 = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(AllMembers)
    }
}

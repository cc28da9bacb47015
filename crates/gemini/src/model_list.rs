//! The list of models as somebody may see it who may not use all of them: entries are left out whole, and what stays is as
//! it came. Both dialects' lists are read.

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Leaves only the models of this page that `may_see`, by their names without `models/`. `None` of what is no list of
/// models.
pub fn retain(body: &[u8], may_see: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let Members(members) = serde_json::from_slice(body).ok()?;
    let mut list = Vec::with_capacity(body.len());
    list.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            list.push(b',');
        }
        list.extend_from_slice(serde_json::to_string(name).ok()?.as_bytes());
        list.push(b':');
        if matches!(name.as_str(), "models" | "data") {
            push_visible(&mut list, value, &may_see)?;
        } else {
            list.extend_from_slice(value.get().as_bytes());
        }
    }
    list.push(b'}');
    Some(list)
}

fn push_visible(list: &mut Vec<u8>, value: &RawValue, may_see: impl Fn(&str) -> bool) -> Option<()> {
    let entries: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    list.push(b'[');
    let mut is_first = true;
    for entry in entries {
        let named: Named = serde_json::from_str(entry.get()).ok()?;
        // An entry that says no name says nothing that may be seen.
        let Some(name) = named.name.or(named.id) else { continue };
        if !may_see(name.strip_prefix("models/").unwrap_or(&name)) {
            continue;
        }
        if !is_first {
            list.push(b',');
        }
        is_first = false;
        list.extend_from_slice(entry.get().as_bytes());
    }
    list.push(b']');
    Some(())
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
    id: Option<String>,
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash(name: &str) -> bool {
        name.contains("flash")
    }

    #[test]
    fn entries_are_left_out_whole_and_the_rest_is_as_it_came() {
        for (body, visible) in [
            (
                r#"{"models": [{"name": "models/gemini-2.5-pro", "x": 1e2}, {"name": "models/gemini-2.5-flash", "n": 1.0}], "nextPageToken": "a\u002db"}"#,
                r#"{"models":[{"name": "models/gemini-2.5-flash", "n": 1.0}],"nextPageToken":"a\u002db"}"#,
            ),
            (
                r#"{"object":"list","data":[{"id":"models/gemini-2.5-flash"},{"id":"gemini-2.5-pro"},{"id":"gemini-2.0-flash"}]}"#,
                r#"{"object":"list","data":[{"id":"models/gemini-2.5-flash"},{"id":"gemini-2.0-flash"}]}"#,
            ),
            (r#"{"models":[{"name":"models/gemini-2.5-pro"}]}"#, r#"{"models":[]}"#),
            (r#"{"models":[{"displayName":"flash"}]}"#, r#"{"models":[]}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(String::from_utf8(retain(body.as_bytes(), flash).unwrap()).unwrap(), visible);
        }
    }

    #[test]
    fn what_is_no_list_shows_nothing() {
        for body in [
            "",
            "null",
            "[]",
            r#"{"models":7}"#,
            r#"{"models":[7]}"#,
            r#"{"data":[{"id":7}]}"#,
            "{\"models\":[",
        ] {
            assert_eq!(retain(body.as_bytes(), flash), None, "{body}");
        }
    }
}

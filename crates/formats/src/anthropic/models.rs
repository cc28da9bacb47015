//! `GET /v1/models` and `GET /v1/models/{id}` as Anthropic has them. Which models there are, the caller knows.

use serde::Serialize;

/// The most entries of one page, as Anthropic has it.
const MAX_PAGE: usize = 1_000;

/// How many entries a page has if nobody says.
const USUAL_PAGE: usize = 20;

/// A model as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelEntry {
    /// What a request names it by.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// Google's `inputTokenLimit`, where it is known.
    pub max_input_tokens: Option<u32>,
    /// Google's `outputTokenLimit`, where it is known.
    pub max_tokens: Option<u32>,
}

#[derive(Serialize)]
struct ListedEntry<'m> {
    r#type: &'static str,
    id: &'m str,
    display_name: &'m str,
    created_at: &'static str,
    lifecycle: &'static str,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
}

impl ModelEntry {
    fn shown(&self) -> ListedEntry<'_> {
        ListedEntry {
            r#type: "model",
            id: &self.id,
            display_name: &self.display_name,
            // Google does not say when; this is what Anthropic shows where it does not know.
            created_at: "1970-01-01T00:00:00Z",
            lifecycle: "active",
            max_input_tokens: self.max_input_tokens,
            max_tokens: self.max_tokens,
        }
    }
}

/// Writes the body of one model.
pub fn model_entry(model: &ModelEntry) -> String {
    crate::json::raw_of(&model.shown()).get().to_owned()
}

/// Writes a page of the models, in the order in which they come: `limit` of them, those after `after_id`, or the last
/// ones before `before_id`. An id that is not there gives an empty page, so that whoever turns pages comes to an end.
pub fn model_list(
    models: impl Iterator<Item = ModelEntry>,
    limit: Option<usize>,
    after_id: Option<&str>,
    before_id: Option<&str>,
) -> String {
    #[derive(Serialize)]
    struct Page<'m> {
        data: Vec<ListedEntry<'m>>,
        has_more: bool,
        first_id: Option<&'m str>,
        last_id: Option<&'m str>,
    }

    let limit = limit.unwrap_or(USUAL_PAGE).clamp(1, MAX_PAGE);
    let models: Vec<ModelEntry> = models.collect();
    let place = |id: &str| models.iter().position(|model| model.id == id);
    let mut page = &models[..];
    let mut has_more = false;
    if let Some(id) = after_id {
        page = place(id).map_or(&[], |place| &page[place + 1..]);
    } else if let Some(id) = before_id {
        page = place(id).map_or(&[], |place| &page[..place]);
        if page.len() > limit {
            has_more = true;
            page = &page[page.len() - limit..];
        }
    }
    has_more |= page.len() > limit;
    let data: Vec<ListedEntry<'_>> = page.iter().take(limit).map(ModelEntry::shown).collect();
    let (first_id, last_id) = (data.first().map(|entry| entry.id), data.last().map(|entry| entry.id));
    crate::json::raw_of(&Page { data, has_more, first_id, last_id }).get().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn entry(id: &str) -> ModelEntry {
        let display_name = format!("Model {id}");
        ModelEntry { id: id.to_owned(), display_name, max_input_tokens: Some(1_048_576), max_tokens: None }
    }

    fn page(limit: Option<usize>, after: Option<&str>, before: Option<&str>) -> (String, bool) {
        let models = ["a", "b", "c", "d"].map(entry);
        let page: Value =
            serde_json::from_str(&model_list(models.into_iter(), limit, after, before)).unwrap();
        let ids =
            page["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(page["first_id"], page["data"][0]["id"]);
        (ids, page["has_more"].as_bool().unwrap())
    }

    #[test]
    fn a_model_has_the_members_that_the_sdk_reads() {
        assert_eq!(
            model_entry(&entry("x")),
            concat!(
                r#"{"type":"model","id":"x","display_name":"Model x","created_at":"1970-01-01T00:00:00Z","#,
                r#""lifecycle":"active","max_input_tokens":1048576,"max_tokens":null}"#
            )
        );
    }

    #[test]
    fn pages_are_turned_in_both_ways() {
        for (limit, after, before, expected) in [
            (None, None, None, ("abcd", false)),
            (Some(1_000_000), None, None, ("abcd", false)),
            (Some(0), None, None, ("a", true)),
            (Some(3), None, None, ("abc", true)),
            (Some(3), Some("c"), None, ("d", false)),
            (Some(1), Some("b"), None, ("c", true)),
            (Some(2), None, Some("d"), ("bc", true)),
            (Some(2), None, Some("c"), ("ab", false)),
            (Some(2), Some("gone"), None, ("", false)),
            (Some(2), None, Some("a"), ("", false)),
        ] {
            let (ids, has_more) = page(limit, after, before);
            assert_eq!((ids.as_str(), has_more), expected, "{limit:?} {after:?} {before:?}");
        }
    }
}

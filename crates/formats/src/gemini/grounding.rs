//! What Google's search found: `groundingMetadata`, for both formats' ways to say it. Google's offsets are bytes of UTF-8;
//! clients count characters.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::JsonStr;

/// What of `groundingMetadata` clients are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grounding<'a> {
    /// `webSearchQueries`.
    pub queries: Vec<Cow<'a, str>>,
    /// `groundingChunks[].web`, by their place. One that is no page has an empty address.
    pub pages: Vec<GroundingPage<'a>>,
    /// `groundingSupports`.
    pub supports: Vec<GroundingSupport<'a>>,
}

/// A page that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroundingPage<'a> {
    /// An address of Google's that leads on to the page.
    pub uri: Cow<'a, str>,
    /// Mostly the page's domain.
    pub title: Cow<'a, str>,
}

/// A stretch of the answer, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroundingSupport<'a> {
    /// Where it starts, in bytes of the answer's text.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
    /// What it says.
    pub text: Cow<'a, str>,
    /// Places in [`Grounding::pages`], all of them within.
    pub pages: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireGrounding<'a> {
    #[serde(borrow)]
    web_search_queries: Option<Vec<JsonStr<'a>>>,
    grounding_chunks: Option<Vec<WireFound<'a>>>,
    grounding_supports: Option<Vec<WireSupport<'a>>>,
}

#[derive(Deserialize)]
struct WireFound<'a> {
    #[serde(borrow)]
    web: Option<WirePage<'a>>,
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(borrow)]
    uri: Option<JsonStr<'a>>,
    title: Option<JsonStr<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSupport<'a> {
    #[serde(borrow)]
    segment: Option<WireSegment<'a>>,
    grounding_chunk_indices: Option<Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSegment<'a> {
    start_index: Option<usize>,
    end_index: Option<usize>,
    #[serde(borrow)]
    text: Option<JsonStr<'a>>,
}

impl<'a> Grounding<'a> {
    /// Reads `groundingMetadata`. What cannot be read is taken as nothing: the answer counts without it.
    pub fn read(raw: &'a RawValue) -> Self {
        let Ok(wire) = serde_json::from_str::<WireGrounding<'_>>(raw.get()) else { return Self::default() };
        let text = |text: Option<JsonStr<'a>>| text.unwrap_or_default().into_inner();
        let page = |found: WireFound<'a>| {
            found
                .web
                .map(|web| GroundingPage { uri: text(web.uri), title: text(web.title) })
                .unwrap_or_default()
        };
        let pages: Vec<_> = wire.grounding_chunks.unwrap_or_default().into_iter().map(page).collect();
        let support = |support: WireSupport<'a>| {
            let segment = support.segment?;
            let indices = support.grounding_chunk_indices.unwrap_or_default();
            Some(GroundingSupport {
                start: segment.start_index.unwrap_or_default(),
                end: segment.end_index.unwrap_or_default(),
                text: text(segment.text),
                pages: indices.into_iter().filter(|index| *index < pages.len()).collect(),
            })
        };
        let supports = wire.grounding_supports.unwrap_or_default().into_iter().filter_map(support).collect();
        let queries = wire.web_search_queries.unwrap_or_default();
        Self { queries: queries.into_iter().map(JsonStr::into_inner).collect(), pages, supports }
    }
}

/// Converts an offset in bytes into one in characters. An offset within a character, or beyond the text, is taken down to
/// the nearest before.
pub fn character_offset(text: &str, byte_offset: usize) -> usize {
    text.char_indices().take_while(|(at, letter)| at + letter.len_utf8() <= byte_offset).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_and_indices_stay_within() {
        let raw: &RawValue = serde_json::from_str(
            r#"{"webSearchQueries":["q"],"groundingChunks":[{"web":{"uri":"https://v/1","title":"a.org"}},{"other":{}}],
            "groundingSupports":[{"segment":{"endIndex":9,"text":"x"},"groundingChunkIndices":[0,7]},{}]}"#,
        )
        .unwrap();
        let found = Grounding::read(raw);
        assert_eq!(found.queries, ["q"]);
        assert_eq!(found.pages.len(), 2);
        assert_eq!(found.pages[0].title, "a.org");
        assert_eq!(found.supports.len(), 1);
        assert_eq!(
            (found.supports[0].start, found.supports[0].end, &found.supports[0].pages[..]),
            (0, 9, &[0][..])
        );
        assert_eq!(Grounding::read(RawValue::NULL), Grounding::default());
    }

    #[test]
    fn bytes_become_characters() {
        let text = "aé😀b";
        for (bytes, characters) in [(0, 0), (1, 1), (2, 1), (3, 2), (6, 2), (7, 3), (8, 4), (99, 4)] {
            assert_eq!(character_offset(text, bytes), characters, "{bytes}");
        }
    }
}

//! What Google's search found for an answer (`groundingMetadata`), as Anthropic's blocks of a web search and citations.
//! `blocks` decides where in the answer they stand.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most sources of one answer that are kept; Google gives some ten.
const MAX_SOURCES: usize = 64;

/// The most citations of one answer that are kept.
const MAX_CITATIONS: usize = 256;

/// The most queries of one answer that are kept.
const MAX_QUERIES: usize = 16;

/// The longest address that is kept. Google's are redirects of its own, of some hundred bytes.
const MAX_URL_BYTES: usize = 4_096;

/// The longest title, query or cited text, in characters. Anthropic cites 150 at most.
const MAX_TEXT_CHARS: usize = 150;

/// What a search found, as far as Google has said. Bounded.
#[derive(Debug, Default)]
pub(super) struct SearchFindings {
    queries: Vec<String>,
    sources: Vec<FoundSource>,
    /// The text that rests on a source, and the source's place.
    supports: Vec<(String, usize)>,
}

#[derive(Debug)]
struct FoundSource {
    url: String,
    title: String,
}

/// One of the `content` of a `web_search_tool_result`.
#[derive(Debug, Serialize)]
pub(super) struct SearchResult<'s> {
    r#type: &'static str,
    url: &'s str,
    title: &'s str,
    /// Google gives the page's text to its model alone.
    encrypted_content: &'static str,
    page_age: Option<&'static str>,
}

/// A citation of a text block.
#[derive(Debug, Serialize)]
pub(super) struct SearchCitation<'s> {
    r#type: &'static str,
    cited_text: &'s str,
    url: &'s str,
    title: &'s str,
    encrypted_index: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireGrounding {
    web_search_queries: Option<Vec<String>>,
    grounding_chunks: Option<Vec<WireGroundingChunk>>,
    grounding_supports: Option<Vec<WireSupport>>,
}

#[derive(Deserialize)]
struct WireGroundingChunk {
    web: Option<WireWebPage>,
}

#[derive(Deserialize)]
struct WireWebPage {
    uri: Option<String>,
    title: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSupport {
    segment: Option<WireSegment>,
    grounding_chunk_indices: Option<Vec<usize>>,
}

#[derive(Deserialize)]
struct WireSegment {
    text: Option<String>,
}

impl SearchFindings {
    /// Takes one event's `groundingMetadata`. Events repeat or complete each other, so that of each member the last that
    /// says something counts. What cannot be read is left out: it is no reason to lose an answer.
    pub(super) fn take(&mut self, grounding: &RawValue) {
        let Ok(said) = serde_json::from_str::<WireGrounding>(grounding.get()) else { return };
        if let Some(queries) = said.web_search_queries.filter(|queries| !queries.is_empty()) {
            self.queries = queries.into_iter().take(MAX_QUERIES).map(cut).collect();
        }
        let Some(chunks) = said.grounding_chunks.filter(|chunks| !chunks.is_empty()) else { return };
        // The places of all are needed, since the supports name them.
        let mut places = Vec::with_capacity(chunks.len());
        self.sources.clear();
        for chunk in chunks {
            let page = chunk.web.and_then(|page| Some((page.uri?, page.title.unwrap_or_default())));
            let kept = page.filter(|(url, _)| {
                !url.is_empty() && url.len() <= MAX_URL_BYTES && self.sources.len() < MAX_SOURCES
            });
            places.push(kept.is_some().then_some(self.sources.len()));
            self.sources.extend(kept.map(|(url, title)| FoundSource { url, title: cut(title) }));
        }
        self.supports.clear();
        for support in said.grounding_supports.into_iter().flatten() {
            let text = cut(support.segment.and_then(|segment| segment.text).unwrap_or_default());
            for index in support.grounding_chunk_indices.into_iter().flatten() {
                if let Some(Some(place)) = places.get(index)
                    && self.supports.len() < MAX_CITATIONS
                {
                    self.supports.push((text.clone(), *place));
                }
            }
        }
    }

    /// Whether there was no search.
    pub(super) fn is_empty(&self) -> bool {
        self.queries.is_empty() && self.sources.is_empty()
    }

    /// What was searched for, in one.
    pub(super) fn query(&self) -> String {
        self.queries.join("; ")
    }

    /// The pages, in Google's order.
    pub(super) fn results<'s>(&'s self) -> Vec<SearchResult<'s>> {
        let result = |source: &'s FoundSource| SearchResult {
            r#type: "web_search_result",
            url: &source.url,
            title: &source.title,
            encrypted_content: "",
            page_age: None,
        };
        self.sources.iter().map(result).collect()
    }

    /// What of the answer rests on which page.
    pub(super) fn citations(&self) -> impl Iterator<Item = SearchCitation<'_>> {
        self.supports.iter().filter_map(|(text, place)| {
            let source = self.sources.get(*place)?;
            Some(SearchCitation {
                r#type: "web_search_result_location",
                cited_text: text,
                url: &source.url,
                title: &source.title,
                encrypted_index: "",
            })
        })
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
        text.truncate(end);
    }
    text
}

//! What Google's search found for an answer (`groundingMetadata`), as Anthropic's blocks of a web search and citations.
//! `blocks` decides where in the answer they stand.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::gemini::Grounding;

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

impl SearchFindings {
    /// Takes one event's `groundingMetadata`. Events repeat or complete each other, so that of each member the last that
    /// says something counts. What cannot be read is left out: it is no reason to lose an answer.
    pub(super) fn take(&mut self, grounding: &RawValue) {
        let said = Grounding::read(grounding);
        if !said.queries.is_empty() {
            self.queries = said.queries.iter().take(MAX_QUERIES).map(|query| shortened(query)).collect();
        }
        if said.pages.is_empty() {
            return;
        }
        self.sources.clear();
        let mut places = Vec::with_capacity(said.pages.len());
        for page in &said.pages {
            let is_kept =
                !page.uri.is_empty() && page.uri.len() <= MAX_URL_BYTES && self.sources.len() < MAX_SOURCES;
            places.push(is_kept.then_some(self.sources.len()));
            if is_kept {
                self.sources.push(FoundSource { url: page.uri.to_string(), title: shortened(&page.title) });
            }
        }
        let supports = said.supports.iter().flat_map(|support| {
            let kept = support.pages.iter().filter_map(|&page| places.get(page).copied().flatten());
            kept.map(|place| (shortened(&support.text), place))
        });
        self.supports = supports.take(MAX_CITATIONS).collect();
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

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

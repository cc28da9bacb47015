//! What Google's search found, as a response tells it: citations within the text, and what was searched for. Used by
//! `output`.

use super::wire::{SearchAction, SearchSource, UrlCitation};
use crate::gemini::{Grounding, character_offset};

/// The most citations of one text. Google gives a few dozen.
const MAX_CITATIONS: usize = 250;

/// Pages that were found, and which stretch of the answer rests on which.
#[derive(Debug)]
pub(super) struct FoundPages {
    queries: Vec<String>,
    /// Addresses and titles.
    pages: Vec<(String, String)>,
    /// Start and end in bytes of the whole answer's text, and a place in `pages`.
    supports: Vec<(usize, usize, usize)>,
}

impl FoundPages {
    /// What a response tells of `grounding`; `None` if it says nothing of a search.
    pub(super) fn of(grounding: Grounding<'_>) -> Option<Self> {
        if grounding.queries.is_empty() && grounding.pages.is_empty() {
            return None;
        }
        let supports = grounding
            .supports
            .iter()
            .flat_map(|support| support.pages.iter().map(move |&page| (support.start, support.end, page)));
        Some(Self {
            supports: supports.take(MAX_CITATIONS).collect(),
            queries: grounding.queries.into_iter().map(Into::into).collect(),
            pages: grounding.pages.into_iter().map(|page| (page.uri.into(), page.title.into())).collect(),
        })
    }

    /// The citations of a text that begins `before` bytes after the whole answer's.
    pub(super) fn citations(&self, text: &str, before: usize) -> Vec<UrlCitation> {
        let citation = |&(start, end, page): &(usize, usize, usize)| {
            let (url, title) = self.pages.get(page).filter(|(url, _)| !url.is_empty())?;
            let (start, end) = (start.checked_sub(before)?, end.checked_sub(before)?);
            let (start_index, end_index) = (character_offset(text, start), character_offset(text, end));
            let (url, title) = (url.clone(), title.clone());
            (start_index < end_index).then_some(UrlCitation {
                r#type: "url_citation",
                start_index,
                end_index,
                url,
                title,
            })
        };
        self.supports.iter().filter_map(citation).collect()
    }

    /// What was searched for.
    pub(super) fn action(&self) -> SearchAction<'_> {
        let sources = self.pages.iter().filter(|(url, _)| !url.is_empty());
        SearchAction {
            r#type: "search",
            query: self.queries.first().map_or("", String::as_str),
            queries: &self.queries,
            sources: sources.map(|(url, _)| SearchSource { r#type: "url", url }).collect(),
        }
    }
}

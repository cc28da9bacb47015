//! Revisions: an answer names the one in use as its `ETag`, and a write that names another one in `If-Match` is refused.

use actix_web::http::header::{self, HeaderMap};

/// Returns the header that names a revision.
pub(super) fn etag(revision: u64) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{revision}\""))
}

/// Returns the revision that whoever writes knows, if a write to any other is to be refused.
pub(super) fn known_revision(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let Some(known) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = known.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    revision.parse().map(Some).map_err(|_| "If-Match names a revision, such as \"3\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_write_may_name_the_revision_that_it_knows() {
        for (text, known) in
            [(Some("\"3\""), Ok(Some(3))), (Some("3"), Ok(Some(3))), (Some("*"), Ok(None)), (None, Ok(None))]
        {
            let mut headers = HeaderMap::new();
            if let Some(text) = text {
                headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
            }
            assert_eq!(known_revision(&headers), known);
        }
        for text in ["", "W/\"3\"", "\"a\"", "\"3\", \"4\""] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
            assert!(known_revision(&headers).is_err(), "{text}");
        }
    }
}

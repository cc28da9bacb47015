//! Which media types an operation's answer can have, and which answer is one all the same by how it begins. A page in the
//! place of an answer, with a status of 200, is what captive portals and block pages give.

use crate::path::{Surface, Target};

/// Whether an answer of the type that `Content-Type` names can be Google's to what `target` asks for. What is downloaded
/// can be of any type; all else that Google serves is data, and what a model says comes as JSON, as events, or as protobuf.
pub fn may_answer(target: &Target, content_type: Option<&str>) -> bool {
    if is_download(target) {
        return true;
    }
    let Some(content_type) = content_type else { return true };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is = |other: &str| essence.eq_ignore_ascii_case(other);
    if is("text/html") || is("application/xhtml+xml") {
        return false;
    }
    let is_data = || {
        let starts =
            |with: &str| essence.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        essence.is_empty() || starts("application/") || is("text/event-stream")
    };
    // The OpenAI layer may have speech and transcripts one day.
    target.surface != Surface::Native || target.operation.model.is_none() || is_data()
}

/// Data that is told by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// An object or an array.
    Json,
    /// Server-sent events.
    Events,
}

/// What a body is by how it begins, whatever its `Content-Type` says: gateways in between, and servers that stand in for
/// Google, send JSON as `text/plain` and `text/html`. `text` is all that came, and `None` says that it may still be either;
/// `Some(None)` is no data, such as a page.
pub fn data_by_beginning(text: &[u8]) -> Option<Option<Data>> {
    const EVENTS: [&[u8]; 2] = [b"data:", b"event:"];
    let text = text.trim_ascii_start();
    match text.first() {
        None => None,
        Some(b'{' | b'[') => Some(Some(Data::Json)),
        Some(_) if EVENTS.iter().any(|field| text.starts_with(field)) => Some(Some(Data::Events)),
        Some(_) if EVENTS.iter().any(|field| field.starts_with(text)) => None,
        Some(_) => Some(None),
    }
}

/// Whether a target's answer is a file's own bytes.
pub fn is_download(target: &Target) -> bool {
    let asks_for_media = || {
        let query = target.query.as_deref().unwrap_or_default();
        query.split('&').any(|parameter| parameter == "alt=media")
    };
    let operation = &target.operation;
    let resource = operation.resource.as_ref().map_or("", |resource| resource.as_str());
    target.surface == Surface::Download
        || operation.verb.as_ref().is_some_and(|verb| verb.as_str() == "download")
        || resource.ends_with("/content") // of a file or a video, on the OpenAI layer
        || asks_for_media()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{CredentialForm, parse};

    fn target(method: &str, path: &str) -> Target {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        parse(method, path, query, CredentialForm::GoogHeader).unwrap()
    }

    const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

    #[test]
    fn a_page_answers_nothing_that_google_serves() {
        for (method, path) in [
            ("POST", GENERATE),
            ("GET", "/v1beta/models"),
            ("POST", "/v1beta/openai/chat/completions"),
            ("POST", "/upload/v1beta/files"),
            ("GET", "/v1beta/files/abc"),
            ("POST", "/v1beta/notYetKnown"),
        ] {
            let target = target(method, path);
            for page in ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"] {
                assert!(!may_answer(&target, Some(page)), "{path} {page}");
            }
            for data in [Some("application/json; charset=UTF-8"), Some("text/event-stream"), None] {
                assert!(may_answer(&target, data), "{path} {data:?}");
            }
        }
    }

    #[test]
    fn a_model_answers_with_data() {
        let generate = target("POST", GENERATE);
        for other in ["text/plain", "image/gif", "text/css"] {
            assert!(!may_answer(&generate, Some(other)), "{other}");
            assert!(may_answer(&target("POST", "/v1beta/openai/audio/speech"), Some(other)), "{other}");
        }
        assert!(may_answer(&generate, Some("application/x-protobuf")));
    }

    #[test]
    fn data_is_told_by_how_it_begins() {
        for (text, data) in [
            ("{\"a\":1}", Some(Some(Data::Json))),
            (" \r\n[{", Some(Some(Data::Json))),
            ("data: {}\n\n", Some(Some(Data::Events))),
            ("event: interaction.created\n", Some(Some(Data::Events))),
            ("", None),
            (" \n", None),
            ("dat", None),
            ("<!doctype html>", Some(None)),
            ("date: today", Some(None)),
            ("log in", Some(None)),
        ] {
            assert_eq!(data_by_beginning(text.as_bytes()), data, "{text:?}");
        }
    }

    #[test]
    fn a_download_can_be_anything() {
        for path in [
            "/v1beta/files/abc:download?alt=media",
            "/download/v1beta/files/abc:download",
            "/v1beta/environments/e/files/index.html?recursive=1&alt=media",
        ] {
            assert!(may_answer(&target("GET", path), Some("text/html")), "{path}");
        }
    }
}

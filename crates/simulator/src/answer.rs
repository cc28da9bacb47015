//! What the API answers, before faults, compression and pacing. Made by `native` and `openai`, put on the wire by `respond`.

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::error::{ApiError, Frame};

pub(crate) const JSON: &str = "application/json; charset=UTF-8";
pub(crate) const SSE: &str = "text/event-stream";
/// Bytes rather than text; never compressed. The true type is a header.
pub(crate) const MEDIA: &str = "application/octet-stream";
pub(crate) const HTML: &str = "text/html; charset=UTF-8";

/// How the events of a stream are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `data: {json}` CR LF CR LF, ended by the end of the body.
    Sse,
    /// `[{...}` `,` `{...}` `]`.
    JsonArray,
    /// `data: {json}` LF LF, ended by `data: [DONE]`.
    OpenAi,
}

/// Framed events, made as they are needed: a stream may be endless.
pub(crate) struct Events {
    pub(crate) framing: Framing,
    pub(crate) frames: Box<dyn Iterator<Item = Bytes> + Send + Sync>,
    /// Follows the last event at once.
    pub(crate) closing: Option<Bytes>,
}

pub(crate) enum Payload {
    Whole(Bytes),
    Events(Events),
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) payload: Payload,
    /// Set besides the usual ones, or in their place.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Not Google's: without the headers that all of Google's answers have.
    pub(crate) foreign: bool,
}

impl Answer {
    /// A body of this type.
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type,
            payload: Payload::Whole(body.into()),
            headers: Vec::new(),
            foreign: false,
        }
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// 200 with indented JSON, as Google's native surface writes it.
    pub(crate) fn pretty(value: &impl Serialize) -> Self {
        let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.push('\n');
        Self::new(StatusCode::OK, JSON, text)
    }

    /// 200 with JSON on one line, as the OpenAI layer writes it.
    pub(crate) fn line(value: &Value) -> Self {
        Self::new(StatusCode::OK, "application/json", value.to_string())
    }

    pub(crate) fn error(error: &ApiError, frame: Frame) -> Self {
        Self::new(error.code(), JSON, error.pretty(frame))
    }

    /// The page of Google's front end for an address behind which there is nothing; not JSON.
    pub(crate) fn no_such_page(path: &str) -> Self {
        let path = path.replace('&', "&amp;").replace('<', "&lt;");
        let text = format!(
            "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> <ins>That's an error.</ins>\n  <p>The requested URL <code>{path}</code> was not found on this server.  <ins>That's all we know.</ins>\n"
        );
        Self::new(StatusCode::NOT_FOUND, HTML, text)
    }

    /// 200 with these JSON values as events.
    pub(crate) fn events<T: Serialize>(
        framing: Framing,
        mut values: impl Iterator<Item = T> + Send + Sync + 'static,
    ) -> Self {
        let mut first = true;
        let frames = std::iter::from_fn(move || {
            let value = values.next()?;
            let text = match framing {
                Framing::JsonArray => serde_json::to_string_pretty(&value),
                Framing::Sse | Framing::OpenAi => serde_json::to_string(&value),
            };
            let frame = framing.frame(&text.unwrap_or_default(), first);
            first = false;
            Some(frame)
        });
        let closing = match framing {
            Framing::Sse => None,
            Framing::JsonArray => Some(Bytes::from_static(b"]")),
            Framing::OpenAi => Some(Bytes::from_static(b"data: [DONE]\n\n")),
        };
        Self {
            status: StatusCode::OK,
            content_type: if framing == Framing::JsonArray { JSON } else { SSE },
            payload: Payload::Events(Events { framing, frames: Box::new(frames), closing }),
            headers: Vec::new(),
            foreign: false,
        }
    }
}

impl Framing {
    /// One event around `json`.
    pub(crate) fn frame(self, json: &str, first: bool) -> Bytes {
        match self {
            Self::Sse => format!("data: {json}\r\n\r\n"),
            Self::OpenAi => format!("data: {json}\n\n"),
            Self::JsonArray => format!("{}{json}\n", if first { "[" } else { ",\r\n" }),
        }
        .into()
    }
}

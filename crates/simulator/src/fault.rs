//! Faults on demand: what can go wrong. `rule` says to which requests it happens; carried out by `respond` (the head) and
//! `script` (the body).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::google::GoogleError;

/// What goes wrong. In its texts `{{key}}` stands for the credential of the request that it happens to. `after_events` counts the events of a streamed answer; a unary answer counts as two halves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The normal answer: for a rule's [`Delivery`].
    None,
    /// Another answer: this status, with Google's usual body for it unless `body` is given (a string is sent as it is).
    Status {
        /// The HTTP status.
        status: u16,
        /// Headers added.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// The body: JSON, or a string to be sent literally.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// One of Google's errors, status and body.
    Google {
        /// Which.
        error: GoogleError,
    },
    /// The normal answer, but its head comes late.
    DelayHead {
        /// By how much.
        ms: u64,
    },
    /// The request is read, the answer never begins.
    StallHead,
    /// The request's body is read no further after so many bytes, as a full window stops it; a smaller one is answered.
    /// It strikes before the body is read, so that only the path can name its model.
    StallRequest {
        /// After so many bytes.
        after_bytes: u64,
    },
    /// RST instead of an answer.
    ResetHead,
    /// FIN instead of an answer.
    CloseHead,
    /// A piece of a status line and headers, then FIN.
    PartialHead,
    /// GOAWAY. The last stream that it names is below the request's, which is never answered; other streams go on.
    /// Over HTTP/1 the connection is closed without an answer.
    GoAway {
        /// The HTTP/2 error code, 0 being `NO_ERROR`.
        #[serde(default)]
        code: u32,
        /// The last stream named is the request's, which is answered; over HTTP/1 the answer says `connection: close`.
        #[serde(default)]
        processed: bool,
    },
    /// `RST_STREAM(REFUSED_STREAM)` instead of an answer; over HTTP/1 the connection is closed.
    RefuseStream,
    /// `RST_STREAM` in the answer, its head sent; over HTTP/1 the connection is reset.
    ResetStream {
        /// After so many events.
        after_events: u64,
        /// The HTTP/2 error code, 2 being `INTERNAL_ERROR`.
        #[serde(default = "internal_error")]
        code: u32,
    },
    /// The normal answer; then the connection breaks, as an idle one does.
    CloseKept {
        /// So long after the answer; none: as the next request's first byte arrives, which is not read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
        /// By RST rather than FIN.
        #[serde(default)]
        reset: bool,
    },
    /// The answer stops, the connection stays.
    Stall {
        /// After so many events.
        after_events: u64,
    },
    /// RST in the answer.
    Reset {
        /// After so many events.
        after_events: u64,
    },
    /// FIN in the answer, without the final chunk or with fewer bytes than announced; over HTTP/2 the stream is reset.
    Truncate {
        /// After so many events.
        after_events: u64,
    },
    /// Comments before the first event of a stream that is server-sent events, each after a pause.
    Comments {
        /// How many.
        count: u64,
        /// The pause.
        every_ms: u64,
    },
    /// The body trickles.
    Slow {
        /// Bytes a write, at least 1.
        bytes: usize,
        /// Pause between two writes.
        every_ms: u64,
    },
    /// An error inside a 200, which then ends.
    ErrorEvent {
        /// After so many events; 0 makes it the first.
        after_events: u64,
        /// The error body; the default is a 503 "overloaded".
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
        /// In the stream's framing, or bare and indented as Google does it on `alt=sse`.
        #[serde(default)]
        framed: bool,
    },
    /// `content-encoding: gzip` over bytes that are not.
    BadGzip,
    /// A valid gzip body of spaces that inflates to so many MiB.
    GzipBomb {
        /// Its inflated size.
        mib: u64,
    },
    /// One header of this size in the answer.
    BigHeaders {
        /// Its size.
        kib: usize,
    },
    /// So many more headers in the answer.
    ManyHeaders {
        /// How many.
        count: usize,
    },
    /// Headers set on the normal answer.
    Headers {
        /// Name to value.
        set: BTreeMap<String, String>,
    },
    /// A close of a Live session's server. The stream faults apply to sessions as well, their events being its messages.
    LiveClose {
        /// After so many messages of the client's, unanswered; 0 closes at once, 1 in the place of `setupComplete`.
        after_messages: u64,
        /// The close code; none sends a close without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
        /// The reason, cut to 123 bytes.
        #[serde(default)]
        reason: String,
    },
    /// A Live session announces its end with `goAway`.
    LiveGoAway {
        /// After so many messages of the client's.
        after_messages: u64,
    },
    /// A Live session's server sends text frames, not binary ones.
    LiveText,
    /// 302.
    Redirect {
        /// Where to.
        location: String,
    },
    /// An answer of something between the client and Google, without a word of Google's.
    Middlebox {
        /// The HTTP status.
        status: u16,
        /// What the body is.
        #[serde(default)]
        page: Page,
        /// Headers added to those that go with the status.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// The body, in the place of the usual one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
}

fn internal_error() -> u32 {
    2
}

/// What a middlebox answers with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// An HTML page that fits the status: a captive portal's for a 200, a proxy's for a 407.
    #[default]
    Html,
    /// JSON without `error`.
    Json,
    /// One line of text.
    Text,
    /// Nothing, of length 0.
    Empty,
}

/// How an answer's body comes, whatever the answer is. Counted in bytes as they are on the wire, so that errors, which have
/// no events, can be broken as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Delivery {
    /// It stops, the connection stays.
    Stall {
        /// After so many bytes.
        after_bytes: u64,
    },
    /// It trickles.
    Drip {
        /// Bytes a write, at least 1.
        bytes: usize,
        /// Pause between two writes.
        every_ms: u64,
    },
    /// FIN, with fewer bytes than announced; over HTTP/2 the stream is reset.
    Cut {
        /// After so many bytes.
        after_bytes: u64,
    },
    /// RST.
    Reset {
        /// After so many bytes.
        after_bytes: u64,
    },
}

/// In a text of a fault, this stands for the credential of the request that it happens to.
const KEY_MARK: &str = "{{key}}";

impl Fault {
    /// Its name in rules and in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Status { .. } => "status",
            Self::Google { .. } => "google",
            Self::DelayHead { .. } => "delay_head",
            Self::StallHead => "stall_head",
            Self::StallRequest { .. } => "stall_request",
            Self::GoAway { .. } => "go_away",
            Self::RefuseStream => "refuse_stream",
            Self::ResetStream { .. } => "reset_stream",
            Self::CloseKept { .. } => "close_kept",
            Self::Comments { .. } => "comments",
            Self::ResetHead => "reset_head",
            Self::CloseHead => "close_head",
            Self::PartialHead => "partial_head",
            Self::Stall { .. } => "stall",
            Self::Reset { .. } => "reset",
            Self::Truncate { .. } => "truncate",
            Self::Slow { .. } => "slow",
            Self::ErrorEvent { .. } => "error_event",
            Self::BadGzip => "bad_gzip",
            Self::GzipBomb { .. } => "gzip_bomb",
            Self::BigHeaders { .. } => "big_headers",
            Self::ManyHeaders { .. } => "many_headers",
            Self::Headers { .. } => "headers",
            Self::LiveClose { .. } => "live_close",
            Self::LiveGoAway { .. } => "live_go_away",
            Self::LiveText => "live_text",
            Self::Redirect { .. } => "redirect",
            Self::Middlebox { .. } => "middlebox",
        }
    }

    /// An answer of this status with Google's usual body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, headers: BTreeMap::new(), body: None }
    }

    /// An HTML page of a middlebox's, of this status.
    pub fn middlebox(status: u16) -> Self {
        Self::Middlebox { status, page: Page::Html, headers: BTreeMap::new(), body: None }
    }

    /// Whether it strikes before the request's body is read.
    pub(crate) fn is_early(&self) -> bool {
        matches!(self, Self::StallRequest { .. })
    }

    /// The same, each mark of a key in its texts replaced.
    pub(crate) fn with_key(self, key: &str) -> Self {
        let put = |text: &mut String| *text = text.replace(KEY_MARK, key);
        let put_all = |headers: &mut BTreeMap<String, String>| headers.values_mut().for_each(put);
        let mut fault = self;
        match &mut fault {
            Self::Status { headers, body, .. } => {
                put_all(headers);
                if let Some(body) = body {
                    put_in(body, key);
                }
            }
            Self::ErrorEvent { body: Some(body), .. } => put_in(body, key),
            Self::Headers { set } => put_all(set),
            Self::Redirect { location } => put(location),
            Self::LiveClose { reason, .. } => put(reason),
            Self::Middlebox { headers, body, .. } => {
                put_all(headers);
                body.iter_mut().for_each(put);
            }
            _ => {}
        }
        fault
    }

    /// One of Google's errors.
    pub fn google(error: GoogleError) -> Self {
        Self::Google { error }
    }
}

fn put_in(value: &mut Value, key: &str) {
    match value {
        Value::String(text) => *text = text.replace(KEY_MARK, key),
        Value::Array(items) => items.iter_mut().for_each(|item| put_in(item, key)),
        Value::Object(fields) => fields.values_mut().for_each(|field| put_in(field, key)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_in_any_text_of_a_fault_becomes_the_key() {
        let cases = [
            json!({"kind": "status", "status": 403, "headers": {"x-a": "{{key}}"}, "body": {"error": [{"message": "api_key:{{key}}"}]}}),
            json!({"kind": "error_event", "after_events": 1, "body": "{{key}}"}),
            json!({"kind": "headers", "set": {"x-a": "{{key}}"}}),
            json!({"kind": "redirect", "location": "/x?key={{key}}"}),
            json!({"kind": "live_close", "after_messages": 1, "reason": "{{key}}"}),
            json!({"kind": "middlebox", "status": 403, "body": "{{key}}", "headers": {"x-b": "{{key}}"}}),
        ];
        for case in cases {
            let fault: Fault = serde_json::from_value(case.clone()).unwrap();
            let text = serde_json::to_string(&fault.with_key("AIzaX")).unwrap();
            assert_eq!(text.matches("AIzaX").count(), case.to_string().matches(KEY_MARK).count(), "{text}");
        }
    }
}

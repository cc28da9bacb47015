//! Faults on demand: what can go wrong. `rule` says to which requests it happens; carried out by `respond` (the head) and
//! `script` (the body).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::google::GoogleError;

/// What goes wrong. `after_events` counts the events of a streamed answer; a unary answer counts as two halves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
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
    /// RST instead of an answer.
    ResetHead,
    /// FIN instead of an answer.
    CloseHead,
    /// A piece of a status line and headers, then FIN.
    PartialHead,
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
}

impl Fault {
    /// Its name in rules and in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Google { .. } => "google",
            Self::DelayHead { .. } => "delay_head",
            Self::StallHead => "stall_head",
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
        }
    }

    /// An answer of this status with Google's usual body.
    pub fn status(status: u16) -> Self {
        Self::Status { status, headers: BTreeMap::new(), body: None }
    }

    /// One of Google's errors.
    pub fn google(error: GoogleError) -> Self {
        Self::Google { error }
    }
}

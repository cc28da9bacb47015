//! The debug log of requests and answers with their bodies, for an operator who has asked for it (`log.debug_enabled`).
//! The pool's keys are struck out; what a body says otherwise is written as it is, up to a length.

use crate::{
    logging::{BODIES, timestamp},
    settings,
};
use flate2::read::MultiGzDecoder;
use gemini_balance_actors::{CurrentKeys, key_ring::KeyRing};
use serde_json::json;
use std::{borrow::Cow, io::Read, sync::Arc};

/// Writes bodies down.
pub struct BodyLog {
    /// How much of each is shown.
    limit: usize,
    keys: CurrentKeys,
}

/// The keys that are struck out of one text, whatever becomes of the set of them meanwhile.
struct Struck {
    keys: Arc<KeyRing>,
    /// How much more than the limit is looked at: a key that begins within it is struck out whole.
    margin: usize,
}

/// An answer's body on its way to the client, written down at its end, whichever that is.
pub(super) struct AnswerCopy {
    log: Arc<BodyLog>,
    struck: Struck,
    id: String,
    status: u16,
    gzip: bool,
    begun: Vec<u8>,
    bytes: u64,
}

impl BodyLog {
    /// None unless it was asked for.
    pub fn new(settings: &settings::Log, keys: &CurrentKeys) -> Option<Arc<Self>> {
        let log = || Arc::new(Self { limit: settings.debug_body_bytes, keys: keys.clone() });
        settings.debug_enabled.then(log)
    }

    fn struck(&self) -> Struck {
        let keys = self.keys.ring();
        // A JSON string or a URL may spell each byte with six.
        let margin = keys.keys().iter().map(|key| key.secret().expose().len() * 6).max().unwrap_or_default();
        Struck { keys, margin }
    }

    /// Writes a request down.
    pub(super) fn request(&self, id: &str, method: &str, path: &str, body: &[u8]) {
        let struck = self.struck();
        let begun = &body[..body.len().min(self.limit + struck.margin)];
        let shown = struck.shown(begun, body.len(), self.limit);
        let line = json!({
            "time": timestamp().to_string(), "id": id, "of": "request", "method": method, "path": path,
            "bytes": body.len(), "body": shown,
        });
        log::info!(target: BODIES, "{line}");
    }

    /// Begins to copy an answer. `coding` is its `Content-Encoding`.
    pub(super) fn answer(self: &Arc<Self>, id: &str, status: u16, coding: Option<&[u8]>) -> AnswerCopy {
        let gzip = coding == Some(b"gzip");
        let (log, struck, id) = (Arc::clone(self), self.struck(), id.to_owned());
        AnswerCopy { log, struck, id, status, gzip, begun: Vec::new(), bytes: 0 }
    }
}

impl Struck {
    /// The beginning of a text of `whole` bytes, in the clear and without keys.
    fn shown(&self, begun: &[u8], whole: usize, limit: usize) -> String {
        let secrets: Vec<_> = self.keys.keys().iter().map(|key| key.secret().expose()).collect();
        let text = String::from_utf8_lossy(&gemini::classify::redact(begun, &secrets)).into_owned();
        // Where the copy stops short, its last bytes may be a part of a key, which is not recognised.
        let safe = if begun.len() < whole { text.len().saturating_sub(self.margin) } else { text.len() };
        let mut end = safe.min(limit);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    }
}

impl AnswerCopy {
    /// Looks at the next bytes.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let room = (self.log.limit + self.struck.margin).saturating_sub(self.begun.len());
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Drop for AnswerCopy {
    fn drop(&mut self) {
        let mut begun = Cow::Borrowed(&self.begun[..]);
        let mut whole = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        if self.gzip {
            let mut clear = Vec::new();
            let most = (self.log.limit + self.struck.margin) as u64;
            // What is cut off or broken is shown as far as it can be read.
            let read = MultiGzDecoder::new(&self.begun[..]).take(most).read_to_end(&mut clear);
            let is_all = read.is_ok() && (clear.len() as u64) < most && whole == self.begun.len();
            whole = clear.len() + usize::from(!is_all);
            begun = Cow::Owned(clear);
        }
        let line = json!({
            "time": timestamp().to_string(), "id": self.id, "of": "answer", "status": self.status,
            "bytes": self.bytes, "body": self.struck.shown(&begun, whole, self.log.limit),
        });
        log::info!(target: BODIES, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini_balance_actors::Secret;
    use keypool::{KeyId, KeySpec};
    use std::io::Write;

    fn struck() -> Struck {
        let spec = KeySpec { id: KeyId::from("a"), project: None, weight: 1 };
        let ring = KeyRing::new(vec![(spec, Secret::new("AIzaCanaryCanary"))]).unwrap();
        BodyLog { limit: 0, keys: CurrentKeys::new(ring) }.struck()
    }

    #[test]
    fn a_key_is_struck_out_wherever_the_text_is_cut() {
        let text = format!("{}AIzaCanaryCanary{}", "x".repeat(50), "y".repeat(500)).into_bytes();
        for limit in 0..300 {
            let struck = struck();
            for length in 0..=text.len().min(limit + struck.margin) {
                let shown = struck.shown(&text[..length], text.len(), limit);
                assert!(shown.len() <= limit && !shown.contains("AIz") && !shown.contains("ary"), "{shown}");
            }
        }
        assert!(struck().shown(&text, text.len(), 60).ends_with("xxx***yyyyyyy"));
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_cut_between_characters() {
        let text = "ü".repeat(100);
        assert_eq!(struck().shown(text.as_bytes(), text.len(), 5), "üü");
        assert_eq!(struck().shown(b"\xff\xff\xff\xff", 4, 9), "\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn the_beginning_of_a_compressed_answer_is_in_the_clear() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"{\"candidates\": \"AIzaCanaryCanary\"}").unwrap();
        let bytes = encoder.finish().unwrap();
        let mut clear = String::new();
        MultiGzDecoder::new(&bytes[..]).read_to_string(&mut clear).unwrap();
        assert_eq!(struck().shown(clear.as_bytes(), clear.len(), 1000), "{\"candidates\": \"***\"}");
    }
}

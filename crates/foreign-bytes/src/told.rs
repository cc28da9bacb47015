//! What a client of a translated stream reads, for the targets of both formats.

use formats::{AnswerStream, StreamEnd};
use serde::de::IgnoredAny;

/// Says whether these bytes are JSON.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Feeds the lines of `input` to a stream as Google's events and holds it to an end in one of these events: one that says
/// nothing must have failed.
pub(crate) fn ends_in_one_of(stream: &mut dyn AnswerStream, input: &[u8], ends: &[&str]) {
    let mut told = Vec::new();
    for event in input.split(|byte| *byte == b'\n') {
        told.extend(stream.push(event));
    }
    told.extend(stream.end(StreamEnd::Complete));
    let told = told.concat();
    assert!(!told.is_empty() || stream.fault().is_some(), "a stream that says nothing has failed");
    ends_well(&told, ends);
}

/// Holds what a client was told to an end in one of these events. Nothing is no end, and no offence.
pub(crate) fn ends_well(told: &[u8], ends: &[&str]) {
    let text = std::str::from_utf8(told).expect("events are UTF-8");
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    assert!(text.is_empty() || ends.iter().any(|end| last.starts_with(&format!("event: {end}\n"))), "{last}");
}

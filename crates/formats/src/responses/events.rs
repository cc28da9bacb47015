//! A response's events: numbered from 0 without gaps, framed one behind the other, written member by member since a stream
//! is made of them. It knows how an event looks; `output` and `stream` know which comes when. A whole answer is made by the
//! same machine with nobody to hear its events.

use serde::Serialize;

use crate::sse::EventFrame;

/// The events that are to be sent.
#[derive(Debug)]
pub(super) struct EventLog {
    audience: EventAudience,
    next_number: u64,
    frames: Vec<u8>,
}

/// Who hears the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventAudience {
    /// The client of a stream.
    Client,
    /// Nobody: the answer comes whole.
    Nobody,
}

/// Where in the output an event belongs, as the members that say so: written once an item.
#[derive(Debug)]
pub(super) struct EventPlace(String);

impl EventPlace {
    /// The place of an item. Ids are made of letters, digits and `_` and need no escape.
    pub(super) fn of_item(output_index: usize, id: &str) -> Self {
        Self(format!(r#","output_index":{output_index},"item_id":"{id}""#))
    }

    /// The place of the item's only part, which `member` counts.
    pub(super) fn of_part(output_index: usize, id: &str, member: &str) -> Self {
        Self(format!(r#","output_index":{output_index},"item_id":"{id}","{member}":0"#))
    }
}

impl EventLog {
    /// None yet.
    pub(super) fn new(audience: EventAudience) -> Self {
        Self { audience, next_number: 0, frames: Vec::new() }
    }

    /// Exchanges where the events are written to: the buffer of who hears them, for the time that they are made.
    pub(super) fn swap_frames(&mut self, frames: &mut Vec<u8>) {
        std::mem::swap(&mut self.frames, frames);
    }

    /// Writes an event with these members, of about `room` bytes.
    fn emit(&mut self, kind: &str, room: usize, members: impl FnOnce(&mut EventFrame<'_>)) {
        const NUMBER_BYTES: usize = r#","sequence_number":"#.len() + 20;
        if self.audience == EventAudience::Nobody {
            return;
        }
        let mut frame = EventFrame::begin(&mut self.frames, kind, NUMBER_BYTES + room);
        frame.value("sequence_number", &self.next_number);
        self.next_number += 1;
        members(&mut frame);
        frame.end();
    }

    /// Tells the response as it stands.
    pub(super) fn emit_response(&mut self, kind: &str, response: &[u8]) {
        self.emit(kind, 16 + response.len(), |frame| {
            frame.json("response", response);
        });
    }

    /// Tells an item as it begins or as it is.
    pub(super) fn emit_item(&mut self, kind: &str, output_index: usize, item: &impl Serialize) {
        self.emit(kind, 256, |frame| {
            frame.value("output_index", &output_index).value("item", item);
        });
    }

    /// Tells an item that is written down.
    pub(super) fn emit_written_item(&mut self, kind: &str, output_index: usize, item: &[u8]) {
        self.emit(kind, 64 + item.len(), |frame| {
            frame.value("output_index", &output_index).json("item", item);
        });
    }

    /// Tells something of the item or part at `place`: the members that `members` adds, of about `room` bytes.
    pub(super) fn emit_at(
        &mut self,
        kind: &str,
        place: &EventPlace,
        room: usize,
        members: impl FnOnce(&mut EventFrame<'_>),
    ) {
        self.emit(kind, place.0.len() + room, |frame| members(frame.written(&place.0)));
    }
}

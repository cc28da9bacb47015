//! The output items that are done, as the JSON that the response's `output` is made of: each is written once, and copied
//! into its event and into the response.

use serde::Serialize;

/// Items behind each other, with commas between.
#[derive(Debug, Default)]
pub(in crate::responses) struct DoneItems {
    json: Vec<u8>,
    count: usize,
}

impl DoneItems {
    /// How many they are: the index of the item that comes next.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns what stands between the brackets of the list.
    pub(in crate::responses) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Adds an item of about `room` bytes and returns its JSON. `item` must be of a type whose serialisation cannot fail.
    pub(super) fn add(&mut self, item: &impl Serialize, room: usize) -> &[u8] {
        self.json.reserve(room);
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
        let start = self.json.len();
        let written = serde_json::to_writer(&mut self.json, item);
        debug_assert!(written.is_ok());
        &self.json[start..]
    }
}

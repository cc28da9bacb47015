//! Where each caller has made something last: what one makes close together lives together, so that it can be used
//! together in one request.

use keypool::KeyId;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many times in a window others hear that it goes on.
const OFTEN: u32 = 10;

/// Each caller's last creation.
#[derive(Debug)]
pub(super) struct Recent {
    window: Duration,
    last: HashMap<Arc<str>, (KeyId, Instant)>,
}

impl Recent {
    /// `window` slides: each creation begins it anew.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, last: HashMap::new() }
    }

    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    pub(super) fn last(&self, caller: &str, now: Instant) -> Option<KeyId> {
        let (key, at) = self.last.get(caller)?;
        (now.saturating_duration_since(*at) < self.window).then(|| key.clone())
    }

    /// Callers are those of the configuration, so the map is bounded. Whether others should hear of it: the key is another, or
    /// a good part of the window is over.
    pub(super) fn made(&mut self, caller: &Arc<str>, key: &KeyId, now: Instant) -> bool {
        let before = self.last.insert(Arc::clone(caller), (key.clone(), now));
        before
            .is_none_or(|(last, at)| last != *key || now.saturating_duration_since(at) > self.window / OFTEN)
    }

    /// Somebody else says so; of what is known here the later counts.
    pub(super) fn heard(&mut self, caller: &Arc<str>, key: KeyId, then: Instant) {
        if self.last.get(caller).is_none_or(|(_, at)| *at < then) {
            self.last.insert(Arc::clone(caller), (key, then));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_counts_for_the_window_and_each_begins_it_anew() {
        let mut recent = Recent::new(Duration::from_secs(600));
        let (alice, start) = (Arc::from("alice"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(recent.last("alice", start), None);
        assert!(recent.made(&alice, &KeyId::from("c"), start));
        assert!(!recent.made(&alice, &KeyId::from("c"), start), "others know");
        assert_eq!(recent.last("alice", at(599)), Some(KeyId::from("c")));
        assert_eq!(recent.last("bob", at(1)), None);
        assert!(recent.made(&alice, &KeyId::from("c"), at(599)));
        assert_eq!(recent.last("alice", at(1_198)), Some(KeyId::from("c")));
        assert_eq!(recent.last("alice", at(1_199)), None);
    }
}

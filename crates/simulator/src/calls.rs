//! Which key was called for which model, when and with what result: what a test asks to see that a key was left alone.
//! Part of [`crate::Stats`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The calls with one credential. Times are of arrival, Unix time in milliseconds by the real clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCalls {
    /// The first since the last reset.
    pub first_at_ms: u64,
    /// The last.
    pub last_at_ms: u64,
    /// By model; those that named none under the empty name.
    pub models: BTreeMap<String, ModelCalls>,
}

/// The calls with one credential for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCalls {
    /// How many, answered or not.
    pub requests: u64,
    /// The first since the last reset.
    pub first_at_ms: u64,
    /// The last.
    pub last_at_ms: u64,
    /// The answers by status.
    pub by_status: BTreeMap<u16, u64>,
}

/// All calls, by credential. A name is allocated only the first time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(BTreeMap<String, KeyCalls>);

impl Calls {
    /// A request with this credential has arrived.
    pub(crate) fn arrived(&mut self, key: &str, at_ms: u64) {
        at(&mut self.0, key, |calls| stretch(&mut calls.first_at_ms, &mut calls.last_at_ms, at_ms));
    }

    /// It is known which model it is for; an empty name means none.
    pub(crate) fn asked_for(&mut self, key: &str, model: &str, at_ms: u64) {
        self.of(key, model, |calls| {
            calls.requests += 1;
            stretch(&mut calls.first_at_ms, &mut calls.last_at_ms, at_ms);
        });
    }

    pub(crate) fn answered(&mut self, key: &str, model: &str, status: u16) {
        self.of(key, model, |calls| *calls.by_status.entry(status).or_default() += 1);
    }

    fn of(&mut self, key: &str, model: &str, change: impl FnOnce(&mut ModelCalls)) {
        at(&mut self.0, key, |calls| at(&mut calls.models, model, change));
    }

    pub(crate) fn by_key(&self) -> BTreeMap<String, KeyCalls> {
        self.0.clone()
    }
}

/// Changes what is under a name.
fn at<T: Default>(map: &mut BTreeMap<String, T>, name: &str, change: impl FnOnce(&mut T)) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => change(map.entry(name.to_owned()).or_default()),
    }
}

/// Requests are counted in about the order of their arrival.
fn stretch(first: &mut u64, last: &mut u64, at_ms: u64) {
    *first = if *first == 0 { at_ms } else { at_ms.min(*first) };
    *last = at_ms.max(*last);
}

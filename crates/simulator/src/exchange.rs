//! One request from its arrival to its end: keeps the log honest whichever way the exchange ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::request::Parts;
use http::{HeaderMap, Version};
use sha2::{Digest as _, Sha256};

use crate::journal::{Arrival, Digest, End, Entry};
use crate::line::Control;
use crate::world::World;

/// Dropped before it ended, it means that the client left.
pub(crate) struct Exchange {
    world: Arc<World>,
    entry: Arc<Entry>,
    answer: Sha256,
    ended: bool,
}

impl Exchange {
    pub(crate) fn begin(world: &Arc<World>, arrival: Arrival) -> Self {
        Self { world: Arc::clone(world), entry: world.arrived(arrival), answer: Sha256::new(), ended: false }
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.entry.arrival.key.as_deref()
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.entry.arrival.project.as_deref()
    }

    /// The body is read: which model it is for, if it names one.
    pub(crate) fn asked_for(&self, model: Option<&str>) {
        self.entry.update(|progress| progress.model = model.map(str::to_owned));
        self.world.asked_for(&self.entry.arrival, model);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.entry.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn body(&self, digest: Digest) {
        self.entry.update(|progress| progress.body = Some(digest));
    }

    pub(crate) fn fault(&self, kind: &'static str) {
        self.entry.update(|progress| progress.fault = Some(kind));
        self.world.struck(kind);
    }

    pub(crate) fn status(&self, status: u16) {
        self.entry.update(|progress| {
            progress.status = Some(status);
            self.world.answered(&self.entry.arrival, progress.model.as_deref(), status);
        });
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.answer.update(bytes);
        self.entry.answer_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    /// The client of a Live session closed it.
    pub(crate) fn closed(&self, how: String) {
        self.entry.update(|progress| progress.closed = Some(how));
    }

    /// The first end counts.
    pub(crate) fn end(&mut self, end: End) {
        if !self.ended {
            self.ended = true;
            let digest = self.answer.finalize_reset().into();
            let at_ms = self.world.now_ms();
            self.entry.update(|progress| progress.ended = Some((end, at_ms, digest)));
            self.world.ended(end);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(End::ClientLeft);
    }
}

/// What the log keeps of a request that arrives.
pub(crate) fn arrival(world: &World, parts: &Parts, control: &Control, secret: Option<&str>) -> Arrival {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let seen = if parts.version == Version::HTTP_2 {
        None
    } else {
        control.take_head(&format!("{} {target} HTTP/1.", parts.method))
    };
    Arrival {
        at_ms: world.now_ms(),
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        head: seen.unwrap_or_else(|| lines(&parts.headers)),
        version: parts.version,
        key: secret.map(str::to_owned),
        project: secret.and_then(|secret| world.project(secret)),
    }
}

fn lines(headers: &HeaderMap) -> Box<[u8]> {
    let mut lines = Vec::with_capacity(512);
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
    lines.into()
}

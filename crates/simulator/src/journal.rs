//! The log of what arrived and how it ended, newest requests only. Filled in by `exchange`, read by tests.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Version;
use serde::{Deserialize, Serialize};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It has not.
    Open,
    /// The whole answer was handed to the connection.
    Complete,
    /// The client went away first.
    ClientLeft,
    /// A fault broke it off.
    Faulted,
}

/// One request as it arrived, and its answer. Times are Unix time in milliseconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRequest {
    /// Counts from 1 since the last reset.
    pub seq: u64,
    /// When its head had arrived.
    pub at_ms: u64,
    /// The HTTP method.
    pub method: String,
    /// The path as on the wire.
    pub path: String,
    /// The query as on the wire.
    pub query: Option<String>,
    /// The headers as on the wire, in order; over HTTP/2 (and when pipelined) names are lower-case and same names adjoin.
    pub headers: Vec<(String, String)>,
    /// The first credential it carried, good or not.
    pub key: Option<String>,
    /// The project of that key, if the key is known.
    pub project: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Bytes of the request body that arrived.
    pub body_bytes: u64,
    /// Hex digest of the request body; none until all of it arrived.
    pub body_sha256: Option<String>,
    /// The answer's status; none until there is one.
    pub status: Option<u16>,
    /// Bytes of the answer's body handed to the connection, after compression, before transfer framing.
    pub answer_bytes: u64,
    /// Hex digest of those bytes; none while open.
    pub answer_sha256: Option<String>,
    /// How it ended.
    pub end: End,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
    /// `1.0`, `1.1` or `2`.
    pub http: String,
    /// The close that the client of a Live session sent: its code and reason, or `no code`.
    pub closed: Option<String>,
    /// The kind of the fault rule that applied.
    pub fault: Option<String>,
}

impl LoggedRequest {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

// Headers, query and key are secrets of the client under test.
impl fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedRequest")
            .field("seq", &self.seq)
            .field("method", &self.method)
            .field("path", &self.path)
            .field("project", &self.project)
            .field("status", &self.status)
            .field("end", &self.end)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

pub(crate) type Digest = [u8; 32];

/// What is known of a request once its head is in.
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Header lines as bytes, so that logging costs one allocation.
    pub(crate) head: Box<[u8]>,
    pub(crate) version: Version,
    pub(crate) key: Option<String>,
    pub(crate) project: Option<String>,
}

#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) model: Option<String>,
    pub(crate) body: Option<Digest>,
    pub(crate) status: Option<u16>,
    pub(crate) closed: Option<String>,
    pub(crate) fault: Option<&'static str>,
    /// End, time and the answer's digest.
    pub(crate) ended: Option<(End, u64, Digest)>,
}

/// A line of the log, shared with the exchange that is still writing it.
pub(crate) struct Entry {
    pub(crate) arrival: Arrival,
    pub(crate) body_bytes: AtomicU64,
    pub(crate) answer_bytes: AtomicU64,
    progress: Mutex<Progress>,
}

impl Entry {
    pub(crate) fn new(arrival: Arrival) -> Self {
        Self {
            arrival,
            body_bytes: AtomicU64::new(0),
            answer_bytes: AtomicU64::new(0),
            progress: Mutex::default(),
        }
    }

    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Progress) -> T) -> T {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn logged(&self, seq: u64) -> LoggedRequest {
        let Arrival { at_ms, method, path, query, head, version, key, project } = &self.arrival;
        self.update(|progress| LoggedRequest {
            seq,
            at_ms: *at_ms,
            method: method.clone(),
            path: path.clone(),
            query: query.clone(),
            headers: headers(head),
            key: key.clone(),
            project: project.clone(),
            model: progress.model.clone(),
            body_bytes: self.body_bytes.load(Ordering::Relaxed),
            body_sha256: progress.body.as_ref().map(hex),
            status: progress.status,
            answer_bytes: self.answer_bytes.load(Ordering::Relaxed),
            answer_sha256: progress.ended.as_ref().map(|(_, _, digest)| hex(digest)),
            end: progress.ended.as_ref().map_or(End::Open, |(end, _, _)| *end),
            ended_at_ms: progress.ended.as_ref().map(|(_, at_ms, _)| *at_ms),
            http: match *version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            }
            .to_owned(),
            closed: progress.closed.clone(),
            fault: progress.fault.map(str::to_owned),
        })
    }
}

fn headers(head: &[u8]) -> Vec<(String, String)> {
    head.split(|&b| b == b'\n')
        .filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            Some((text(&line[..colon]), text(&line[colon + 1..])))
        })
        .collect()
}

pub(crate) fn hex(digest: &Digest) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The newest requests in order of arrival.
pub(crate) struct Journal {
    capacity: usize,
    next_seq: u64,
    entries: VecDeque<(u64, Arc<Entry>)>,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, next_seq: 1, entries: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        if self.entries.len() >= self.capacity {
            self.entries.pop_front();
        }
        if self.capacity > 0 {
            self.entries.push_back((self.next_seq, entry));
        }
        self.next_seq += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.next_seq = 1;
        self.entries.clear();
    }

    /// The lines themselves, cheap to take while the lock is held.
    pub(crate) fn lines(&self) -> Vec<(u64, Arc<Entry>)> {
        self.entries.iter().cloned().collect()
    }
}

/// Spells the lines out.
pub(crate) fn spell(lines: &[(u64, Arc<Entry>)]) -> Vec<LoggedRequest> {
    lines.iter().map(|(seq, entry)| entry.logged(*seq)).collect()
}

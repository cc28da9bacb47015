//! What a simulator is started with. Everything but the listener can be changed later through the control endpoint.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::coding::Coding;
use crate::conversation::ScriptedConversation;
use crate::fault::Fault;
use crate::keys::Key;
use crate::lifecycle::Lifecycle;
use crate::models::Model;
use crate::prefix::PrefixCache;
use crate::quota::{MinuteWindow, Quota};
use crate::rule::Rule;
use crate::strictness::Strictness;
use crate::tls::Tls;

/// How to start a [`crate::Simulator`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The keys Google knows.
    pub keys: Vec<Key>,
    /// What becomes of a credential that is not among `keys`.
    pub unknown_keys: UnknownKeys,
    /// The models offered.
    pub models: Vec<Model>,
    /// Limits of requests and tokens; of several that apply, the first one listed counts.
    pub quotas: Vec<Quota>,
    /// How long a quota "minute" lasts. Tests shorten it to see a window open again.
    pub quota_minute: Duration,
    /// How that minute passes.
    pub quota_window: MinuteWindow,
    /// Report prompts as cached as far as they were served before; none means never.
    pub prefix_cache: Option<PrefixCache>,
    /// How generated answers look.
    pub shape: Shape,
    /// How files, batches and the like come about.
    pub lifecycle: Lifecycle,
    /// Faults in force from the start; the first rule that matches counts.
    pub faults: Vec<Rule>,
    /// Conversations that models play from the start; the first that matches and has a step left counts.
    pub conversations: Vec<ScriptedConversation>,
    /// How strict the rules for conversations are.
    pub strictness: Strictness,
    /// Content codings of answers; the first that a client takes counts. Google's is gzip.
    pub codings: Vec<Coding>,
    /// Serve over TLS with a certificate made on the spot.
    pub tls: Option<Tls>,
    /// Worker threads of the simulator's own runtime, at least 1.
    pub threads: usize,
    /// How many of the newest requests the log keeps.
    pub log_capacity: usize,
    /// Largest request body answered normally. Google's limit for inline requests is 100 MB (since 8 Jan 2026).
    pub max_body_bytes: usize,
    /// Concurrent streams offered to an HTTP/2 client, per connection; Google's front end offers 100.
    pub h2_max_streams: u32,
    /// How much of a request's body an HTTP/2 client may send ahead on a stream; none: 1 MiB.
    pub h2_window_bytes: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keys: Vec::new(),
            unknown_keys: UnknownKeys::Refuse,
            models: Model::usual(),
            quotas: Vec::new(),
            quota_minute: Duration::from_secs(60),
            quota_window: MinuteWindow::default(),
            prefix_cache: None,
            shape: Shape::default(),
            lifecycle: Lifecycle::default(),
            faults: Vec::new(),
            conversations: Vec::new(),
            strictness: Strictness::default(),
            codings: vec![Coding::Gzip],
            tls: None,
            threads: 1,
            log_capacity: 100_000,
            max_body_bytes: 100 * 1024 * 1024,
            h2_max_streams: 100,
            h2_window_bytes: None,
        }
    }
}

impl Config {
    /// The default configuration with these keys, each valid and of a project of its own (`project-1`, `project-2` ...).
    pub fn with_keys<S: Into<String>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let keys = secrets
            .into_iter()
            .zip(1..)
            .map(|(secret, n)| Key::valid(secret, format!("project-{n}")))
            .collect();
        Self { keys, ..Self::default() }
    }

    /// The same with one more fault rule that always applies.
    #[must_use]
    pub fn and_fault(mut self, fault: Fault) -> Self {
        self.faults.push(Rule::new(fault));
        self
    }
}

/// What becomes of a credential that is not among the configured keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeys {
    /// Google's answer to a made-up key: 400 `API_KEY_INVALID`.
    Refuse,
    /// Any non-empty key is good and a project of its own.
    Accept,
}

/// How generated answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// Events of a streamed answer, at least 1. A unary answer is their concatenation, up to 16 MiB.
    pub events: u64,
    /// Pause between two events.
    pub interval_ms: u64,
    /// Least bytes of text in each event; 0 adds nothing.
    pub text_bytes: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { events: 5, interval_ms: 0, text_bytes: 0 }
    }
}

//! `gemini-balance simulator`: the simulator alone, set up by flags, until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use crate::coding::Coding;
use crate::config::{Config, Shape, UnknownKeys};
use crate::conversation::ScriptedConversation;
use crate::keys::Key;
use crate::models::{Model, ModelKind};
use crate::prefix::PrefixCache;
use crate::quota::{MinuteWindow, Quota};
use crate::rule::Rule;
use crate::server::Simulator;
use crate::tls::Tls;

const FAULT_HELP: &str = r#"A fault rule, such as '{"match":{"path":"/v1beta"},"times":1,"fault":{"kind":"status","status":503}}'.

`match` may name key, project, model, path (how it begins) and method; `times` and `after` count requests. Kinds of `fault`:
  instead of the answer: none, status, google, middlebox, redirect
  the head: delay_head, stall_head, reset_head, close_head, partial_head
  the request: stall_request
  HTTP/2 and kept connections: go_away, refuse_stream, reset_stream, close_kept
  the body: stall, reset, truncate, slow, comments, error_event, bad_gzip, gzip_bomb
  headers: headers, big_headers, many_headers
  Live: live_close, live_go_away, live_text
`"delivery":{"kind":"stall","after_bytes":9}` (stall, cut or reset, or drip with bytes and every_ms) breaks the body of any answer.
`{{key}}` in a fault's text stands for the request's key. crates/simulator/README.md says what each does."#;

/// The flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// A key Google knows, with the project that owns it (default: a project of its own); without any --key every key is good
    #[arg(long = "key", value_name = "SECRET[=PROJECT]", value_parser = key)]
    pub keys: Vec<Key>,
    /// One more model that generates text, besides the usual ones
    #[arg(long = "model", value_name = "ID")]
    pub models: Vec<String>,
    /// Requests a minute for each project and model
    #[arg(long)]
    pub rpm: Option<u64>,
    /// Input tokens a minute for each project and model
    #[arg(long)]
    pub tpm: Option<u64>,
    /// Requests a day for each project and model
    #[arg(long)]
    pub rpd: Option<u64>,
    /// How a quota's minute passes
    #[arg(long, value_enum, default_value_t = MinuteWindow::Sliding)]
    pub minute: MinuteWindow,
    /// Report prompts as cached as far as their project was served them before, from so many tokens on
    #[arg(long, value_name = "MIN_TOKENS", num_args = 0..=1, default_missing_value = "4")]
    pub prefix_cache: Option<u64>,
    /// Events of a streamed answer
    #[arg(long, default_value_t = Shape::default().events)]
    pub events: u64,
    /// Pause between two events, in milliseconds
    #[arg(long, default_value_t = Shape::default().interval_ms)]
    pub interval_ms: u64,
    /// Least bytes of text in each event
    #[arg(long, default_value_t = Shape::default().text_bytes)]
    pub text_bytes: usize,
    /// The content coding of answers, for clients that take it
    #[arg(long, value_enum, default_value_t = Coding::Gzip)]
    pub coding: Coding,
    /// How much of a request's body an HTTP/2 client may send ahead on a stream
    #[arg(long, value_name = "BYTES")]
    pub h2_window_bytes: Option<u32>,
    /// A fault rule, such as '{"match":{"path":"/v1beta"},"times":1,"fault":{"kind":"status","status":503}}'
    #[arg(long = "fault", value_name = "JSON", value_parser = rule, long_help = FAULT_HELP)]
    pub faults: Vec<Rule>,
    /// A conversation that models play, such as '{"steps":[{"parts":[{"call":{"name":"f","args":{}}}]},{"parts":[{"text":"Done."}]}]}'
    #[arg(long = "conversation", value_name = "JSON", value_parser = conversation)]
    pub conversations: Vec<ScriptedConversation>,
    /// Serve TLS with a certificate made on the spot; its authority is printed
    #[arg(long)]
    pub tls: bool,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// How many of the newest requests GET /_simulator/requests shows
    #[arg(long, default_value_t = Config::default().log_capacity)]
    pub log_requests: usize,
}

fn key(text: &str) -> Result<Key, String> {
    // A key may itself end in `=`.
    let (secret, project) = match text.rsplit_once('=') {
        Some((secret, project)) if !project.is_empty() => (secret, project),
        _ => (text, text),
    };
    if secret.is_empty() { Err("the key is empty".to_owned()) } else { Ok(Key::valid(secret, project)) }
}

fn rule(text: &str) -> Result<Rule, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn conversation(text: &str) -> Result<ScriptedConversation, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl Flags {
    fn config(self) -> Config {
        let mut config = Config {
            listen: self.listen,
            unknown_keys: if self.keys.is_empty() { UnknownKeys::Accept } else { UnknownKeys::Refuse },
            keys: self.keys,
            shape: Shape { events: self.events, interval_ms: self.interval_ms, text_bytes: self.text_bytes },
            quota_window: self.minute,
            prefix_cache: self
                .prefix_cache
                .map(|min_tokens| PrefixCache { min_tokens, ..PrefixCache::default() }),
            faults: self.faults,
            conversations: self.conversations,
            codings: vec![self.coding],
            h2_window_bytes: self.h2_window_bytes,
            tls: self.tls.then(Tls::default),
            threads: self.threads,
            log_capacity: self.log_requests,
            ..Config::default()
        };
        config.models.extend(self.models.into_iter().map(|id| Model::new(id, ModelKind::Generate)));
        if self.rpm.or(self.tpm).or(self.rpd).is_some() {
            config.quotas.push(Quota { rpm: self.rpm, tpm: self.tpm, rpd: self.rpd, ..Quota::default() });
        }
        config
    }
}

/// Runs the simulator until SIGTERM or SIGINT. Prints one line with its address.
///
/// # Errors
/// When it cannot start.
pub fn run(flags: Flags) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let simulator = Simulator::start(flags.config()).await?;
        let mut out = io::stdout();
        writeln!(out, "Gemini API simulator on {}", simulator.url())?;
        if let Some(pem) = simulator.ca_pem() {
            write!(out, "{pem}")?;
        }
        out.flush()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        simulator.stop().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ScriptedStep;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn config(args: &[&str]) -> Config {
        use clap::Parser;
        Command::try_parse_from([&["simulator"], args].concat()).unwrap().flags.config()
    }

    #[test]
    fn a_key_may_name_its_project_and_may_end_in_an_equals_sign() {
        let keys = config(&["--key", "AIzaA=alpha", "--key", "AIzaB", "--key", "AQ.c="]).keys;
        let found: Vec<_> = keys.iter().map(|key| (key.secret.as_str(), key.project.as_str())).collect();
        assert_eq!(found, [("AIzaA", "alpha"), ("AIzaB", "AIzaB"), ("AQ.c=", "AQ.c=")]);
    }

    #[test]
    fn without_keys_every_key_is_good_and_with_keys_only_those_are() {
        assert_eq!(config(&[]).unknown_keys, UnknownKeys::Accept);
        assert_eq!(config(&["--key", "k"]).unknown_keys, UnknownKeys::Refuse);
    }

    #[test]
    fn prompts_are_remembered_only_when_asked_to() {
        assert_eq!(config(&[]).prefix_cache, None);
        assert_eq!(config(&["--prefix-cache"]).prefix_cache, Some(PrefixCache::default()));
        let from_1024 = PrefixCache { min_tokens: 1024, ..PrefixCache::default() };
        assert_eq!(config(&["--prefix-cache", "1024"]).prefix_cache, Some(from_1024));
    }

    #[test]
    fn limits_shape_and_faults_are_taken_from_the_flags() {
        let fault = r#"{"times":1,"fault":{"kind":"status","status":503}}"#;
        let conversation = r#"{"steps":[{"parts":[{"text":"hi"}]}]}"#;
        let config = config(&[
            "--conversation",
            conversation,
            "--rpm",
            "5",
            "--minute",
            "fixed",
            "--events",
            "3",
            "--interval-ms",
            "20",
            "--fault",
            fault,
        ]);
        assert_eq!(config.quotas, [Quota { rpm: Some(5), ..Quota::default() }]);
        assert_eq!(config.quota_window, MinuteWindow::Fixed);
        assert_eq!(config.shape, Shape { events: 3, interval_ms: 20, text_bytes: 0 });
        assert_eq!(config.conversations, [ScriptedConversation::new([ScriptedStep::texts(["hi"])])]);
        assert_eq!(config.faults, [Rule::new(crate::Fault::status(503)).times(1)]);
    }
}

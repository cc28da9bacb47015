//! The settings as an operator writes them: one struct a section of `config.toml`, which holds the defaults. Where they
//! come from is in `sources`; what the keys and tokens become is in `keys` and `tokens`. Each part of the service is
//! given its own section, never the whole.

mod admin;
mod cluster;
mod dotenv;
mod dotenv_file;
mod effective;
mod environment;
mod error;
mod exposed;
mod files;
mod formats;
mod host;
mod keys;
mod listener;
mod metrics;
mod secret_text;
mod sources;
mod text_file;
mod tokens;
mod traces;
mod usage_book;
mod variables;
mod vault;

pub use cluster::Cluster;
pub(crate) use cluster::REDIS_VARIABLE;
pub use formats::{FormatName, Formats, ModelMaps, ResponsesState, ResponsesStore};
pub use tokens::Token;
pub(crate) use tokens::{Expiry, client_spec, span};
#[cfg(test)]
pub(crate) use traces::TRACE_VARIABLES;

pub(crate) use dotenv::parse as parse_dotenv;
// For the crate that feeds them anything, as `of_text` below.
#[doc(hidden)]
pub use dotenv_file::{spelt as spell_dotenv, variables_of as dotenv_variables};
pub(crate) use effective::EffectiveSettings;
pub use environment::Environment;
pub use error::SettingsError;
pub(crate) use host::listen_host;
pub(crate) use secret_text::{SecretKind, checked as checked_secret, entries as secret_entries};
#[doc(hidden)]
pub use sources::of_text;
pub(crate) use sources::{default_settings, demo, load, port};
pub(crate) use text_file::text_of;

use callers::{SurfaceName, Visibility};
use gemini_balance_actors::{
    RetryLimits,
    forward::Limits,
    supervisor::Intensity,
    upstream::{BaseUrl, ProxyUrl, UpstreamError, UpstreamSettings},
};
use keypool::Strategy;
use serde::Deserialize;
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

/// Everything an operator can set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[auth]`
    pub auth: Auth,
    /// `[pool]`
    pub pool: Pool,
    /// `[[keys]]`
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
    /// `[[limits]]`
    #[serde(default)]
    pub limits: Vec<keypool::Limit>,
    /// `[affinity]`
    pub affinity: Affinity,
    /// `[models]`
    pub models: Models,
    /// `[formats]`
    pub formats: Formats,
    /// `[retry]`
    pub retry: Retry,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[log]`
    pub log: Log,
    /// `[store]`
    pub store: Store,
    /// `[usage]`
    pub usage: Usage,
    /// `[[prices]]`
    #[serde(default)]
    pub prices: Vec<usage::PriceEntry>,
    /// `[traces]`
    pub traces: Traces,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[admin]`
    pub admin: Admin,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[supervisor]`
    pub supervisor: Supervisor,
    /// The environment, which names keys and tokens as well. Empty in the demo.
    #[serde(skip)]
    environment: Environment,
    /// The file that the command line names.
    #[serde(skip)]
    named_file: Option<PathBuf>,
    /// The file that was read beside the defaults, if there was one.
    #[serde(skip)]
    file: Option<PathBuf>,
    /// All values as text.
    #[serde(skip)]
    effective: EffectiveSettings,
    #[serde(skip)]
    origins: sources::Origins,
}

fn yes() -> bool {
    true
}

/// `[server]`: the face to the clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address to listen on.
    pub host: String,
    /// The port to listen on; 0 for any.
    pub port: u16,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// Connections a worker keeps open.
    pub max_connections: usize,
    /// Those of one address on which nobody was let in yet.
    pub max_unknown_connections: usize,
    /// Credentials of one address that are not known, before none of it is looked at for the rest of a minute.
    pub max_guesses_per_minute: u32,
    /// The origins whose pages may call.
    pub cors_origins: Vec<String>,
    /// The longest request body.
    pub max_body_bytes: usize,
    /// The longest upload, which passes without being held in memory.
    pub max_upload_bytes: u64,
    /// All request bodies in memory together.
    pub max_buffered_bytes: usize,
    /// For a request's head.
    pub head_timeout_s: u64,
    /// For a request's body.
    pub body_timeout_s: u64,
    /// For a client to take the next bytes.
    pub write_timeout_s: u64,
    /// For an idle connection.
    pub keep_alive_s: u64,
    /// For running answers after SIGTERM.
    pub drain_s: u64,
    /// For new connections after SIGTERM.
    pub drain_accept_ms: u64,
    /// Where clients see the gateway; empty for where each request says it is.
    pub public_url: String,
    /// The peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// `[server.tls]`
    pub tls: Tls,
}

/// `[server.tls]` and `[admin.tls]`: TLS on the clients' listener and on the operator's, if both are named.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those between it and its authority's.
    pub cert_file: String,
    /// Its private key.
    pub key_file: String,
}

/// `[auth]`: who may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The clients' tokens.
    pub tokens: Vec<TokenEntry>,
}

/// One client's token.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// What logs call the client.
    pub name: String,
    /// The token itself.
    #[serde(default)]
    pub secret: String,
    /// A file that holds it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The operator's own words about the client.
    #[serde(default)]
    pub note: String,
    /// From when on it is let in no more.
    #[serde(default)]
    pub expires: Option<String>,
    /// Whether it is let in at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which resources exist for the client.
    #[serde(default)]
    pub resources: Visibility,
    /// The surfaces it may use; all without a word.
    #[serde(default)]
    pub surfaces: Option<Vec<SurfaceName>>,
    /// The models it may use; all without a word.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// The projects it may be served from; all without a word.
    #[serde(default)]
    pub projects: Option<Vec<String>>,
    /// Requests in a minute.
    #[serde(default)]
    pub rpm: Option<u64>,
    /// Tokens in a minute.
    #[serde(default)]
    pub tpm: Option<u64>,
    /// Requests in a day.
    #[serde(default)]
    pub rpd: Option<u64>,
    /// Requests at the same time.
    #[serde(default)]
    pub concurrent: Option<u64>,
    /// What it may spend.
    #[serde(default)]
    pub budget: TokenBudget,
}

impl Default for TokenEntry {
    fn default() -> Self {
        Self {
            name: String::new(),
            secret: String::new(),
            secret_file: None,
            note: String::new(),
            expires: None,
            enabled: true,
            resources: Visibility::default(),
            surfaces: None,
            models: None,
            projects: None,
            rpm: None,
            tpm: None,
            rpd: None,
            concurrent: None,
            budget: TokenBudget::default(),
        }
    }
}

/// What a client may spend.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBudget {
    /// Tokens in a day.
    #[serde(default)]
    pub tokens_day: Option<u64>,
    /// Tokens in a month.
    #[serde(default)]
    pub tokens_month: Option<u64>,
    /// Money in a day, in the currency of the price table.
    #[serde(default)]
    pub money_day: Option<f64>,
    /// Money in a month.
    #[serde(default)]
    pub money_month: Option<f64>,
}

/// `[affinity]`: what is made close together lives together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affinity {
    /// How long after a creation the same caller's next one goes to the same project.
    pub window_s: u64,
}

/// `[pool]`: the rules of the key pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// How a key is chosen among the free ones.
    pub strategy: Strategy,
    /// Transport errors in a row before a key cools down.
    pub failure_threshold: u32,
    /// The first such cooldown.
    pub cooldown_initial_s: u64,
    /// The longest growing cooldown.
    pub cooldown_max_s: u64,
    /// The first cooldown of a 429 without a hint.
    pub rate_limit_wait_s: u64,
    /// How long a request waits for a key.
    pub max_wait_ms: u64,
    /// How many may wait.
    pub max_waiting: usize,
    /// How often retired keys are checked.
    pub check_retired_s: u64,
    /// A file with one key a line.
    pub keys_file: String,
    /// Whether keys can be added while the service runs, and where they are kept.
    pub runtime_keys: RuntimeKeysPlace,
}

/// Where keys are kept that are added while the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKeysPlace {
    /// In the vault's file.
    File,
    /// Nowhere: none can be added.
    Off,
}

/// One key of the pool.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// What logs call it.
    #[serde(default)]
    pub label: Option<String>,
    /// The key itself.
    #[serde(default)]
    pub secret: String,
    /// A file that holds it.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The Google project it belongs to.
    #[serde(default)]
    pub project: Option<String>,
    /// Its share under `strategy = "weighted"`.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether it is in the pool at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn one() -> u32 {
    1
}

/// `[models]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Models {
    /// The model to ask in place of one that fails as a whole.
    pub fallback: HashMap<String, String>,
}

/// `[retry]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts for one request, the first included.
    pub max_attempts: u32,
    /// How long a request that is refused for want of quota is tried elsewhere.
    pub quota_deadline_ms: u64,
    /// Whether an answer that says nothing is tried again.
    pub empty_answers: bool,
}

/// `[upstream]`: the way to Google.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The native API.
    pub gemini_base_url: String,
    /// The OpenAI-compatible layer.
    pub openai_base_url: String,
    /// For a connection.
    pub connect_timeout_ms: u64,
    /// For an answer to begin.
    pub head_timeout_s: u64,
    /// For the next bytes of an answer.
    pub idle_timeout_s: u64,
    /// A proxy's URL.
    pub proxy: String,
    /// Certificates to trust besides the system's.
    pub ca_file: String,
    /// Where the upstream's redirects may lead.
    pub redirect_hosts: Vec<String>,
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least important level that is written.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// Whether there are files, or standard output alone.
    pub files: bool,
    /// Where the files go.
    pub dir: PathBuf,
    /// Whether each request is recorded.
    pub transactions: bool,
    /// The size at which a file is put aside.
    pub rotate_bytes: usize,
    /// How many are kept.
    pub keep_files: usize,
    /// Whether requests are logged with their bodies.
    pub debug_enabled: bool,
    /// The file of the debug log.
    pub debug_file: PathBuf,
    /// How much of each body.
    pub debug_body_bytes: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people to read.
    Text,
    /// One object a line.
    Json,
}

/// `[store]`: what outlives a restart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The file; empty for memory only.
    pub path: PathBuf,
    /// The file with the instance key, under which tokens are hashed.
    pub instance_key_file: PathBuf,
    /// The file with the keys that were added while the service ran.
    pub vault_file: PathBuf,
    /// A file with the master key under which that one is sealed.
    pub master_key_file: String,
}

/// `[usage]`: what was used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Whether anything is counted.
    pub enabled: bool,
    /// The file; empty for memory only.
    pub path: PathBuf,
    /// Where days begin.
    pub day_zone: String,
    /// How many hours minutes are kept.
    pub keep_minutes_h: u32,
    /// How many days hours are kept.
    pub keep_hours_d: u32,
    /// How many days days are kept.
    pub keep_days_d: u32,
    /// How many models count by themselves.
    pub max_models: usize,
    /// How many sums are kept at most.
    pub max_rows: u64,
    /// How many of the newest requests are kept in memory.
    pub recent: usize,
}

/// `[traces]`: requests as a collector of OpenTelemetry's sees them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// Where they are posted; empty for nowhere.
    pub endpoint: String,
    /// A file with headers to send along.
    pub headers_file: String,
    /// The share that is kept; errors always are.
    pub sample: f64,
}

/// `[admin]`: the operator's own listener.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The address to listen on.
    pub host: String,
    /// The port that is listened on; 0 takes a free one.
    pub port: u16,
    /// How browsers reach the listener, if a proxy is before it.
    pub public_url: String,
    /// The operator's token; none means that there is no listener.
    pub token: String,
    /// A file that holds it.
    pub token_file: String,
    /// `[admin.tls]`
    pub tls: Tls,
}

/// `[metrics]`: what monitoring reads.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The token that opens them and nothing else.
    pub token: String,
    /// A file that holds it.
    pub token_file: String,
    /// An address of their own; empty for none.
    pub listen: String,
    /// Whether keys are told apart.
    pub per_key: bool,
}

/// `[supervisor]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// Deaths allowed within the window.
    pub max_restarts: usize,
    /// For how long a death counts, in seconds.
    pub window_s: u64,
}

impl Pool {
    /// The pool's rules in its own terms.
    pub fn rules(&self, limits: &[keypool::Limit]) -> keypool::Settings {
        keypool::Settings {
            strategy: self.strategy,
            failure_threshold: self.failure_threshold,
            cooldown_initial: Duration::from_secs(self.cooldown_initial_s),
            cooldown_max: Duration::from_secs(self.cooldown_max_s),
            rate_limit_default_wait: Duration::from_secs(self.rate_limit_wait_s),
            max_wait: Duration::from_millis(self.max_wait_ms),
            max_waiting: self.max_waiting,
            limits: limits.to_vec(),
            ..keypool::Settings::default()
        }
    }
}

impl Settings {
    /// Every setting with its value.
    pub(crate) fn effective(&self) -> &EffectiveSettings {
        &self.effective
    }

    /// The environment that was read.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// How to reach the upstream, checked.
    pub fn upstream(&self) -> Result<UpstreamSettings, SettingsError> {
        self.read_upstream().map_err(|error| self.name_source(error))
    }

    fn read_upstream(&self) -> Result<UpstreamSettings, SettingsError> {
        let upstream = &self.upstream;
        let base = |name, text: &str| {
            BaseUrl::parse(text)
                .map_err(|why| SettingsError::refused(name, format!("{why}{}", host::bracket_hint(text))))
        };
        let gemini_base = base("upstream.gemini_base_url", &upstream.gemini_base_url)?;
        // People copy base URLs with the version in them, as SDKs want it.
        let gemini_base = gemini_base.without_suffix("/v1beta").without_suffix("/v1");
        let openai_base = match upstream.openai_base_url.trim() {
            "" if gemini_base.has_path() => base(
                "upstream.gemini_base_url",
                &format!("{}/v1beta/openai", upstream.gemini_base_url.trim_end_matches('/')),
            )?,
            "" => gemini_base.clone(),
            text => base("upstream.openai_base_url", text)?,
        };
        let proxy = match upstream.proxy.trim() {
            "" => None,
            text => Some(ProxyUrl::parse(text).map_err(|why| {
                SettingsError::refused("upstream.proxy", format!("{why}{}", host::bracket_hint(text)))
            })?),
        };
        let extra_roots = match upstream.ca_file.trim() {
            "" => Vec::new(),
            path => vec![
                std::fs::read(path)
                    .map_err(|error| SettingsError::unreadable("upstream.ca_file", path, &error))?,
            ],
        };
        Ok(UpstreamSettings {
            gemini_base,
            openai_base,
            connect_timeout: Duration::from_millis(upstream.connect_timeout_ms),
            head_timeout: Duration::from_secs(upstream.head_timeout_s),
            idle_timeout: Duration::from_secs(upstream.idle_timeout_s),
            write_timeout: Duration::from_secs(self.server.write_timeout_s),
            proxy,
            extra_roots,
            redirect_hosts: upstream.redirect_hosts.clone(),
        })
    }

    /// An upstream client that cannot be built from these settings.
    pub(crate) fn upstream_refused(&self, error: &UpstreamError) -> SettingsError {
        self.name_source(SettingsError::refused(error.setting(), error))
    }

    /// How hard a request is tried.
    pub fn limits(&self) -> Limits {
        Limits {
            retry: RetryLimits {
                max_attempts: self.retry.max_attempts,
                quota_deadline: Duration::from_millis(self.retry.quota_deadline_ms),
                lease_deadline: Duration::from_millis(self.pool.max_wait_ms) + Duration::from_secs(5),
            },
            empty_answers: self.retry.empty_answers,
            prefixes: self.pool.strategy == Strategy::Prefix,
            fallback: Arc::new(self.models.fallback.clone()),
        }
    }
}

impl Supervisor {
    /// In the supervisor's own terms.
    pub fn intensity(&self) -> Intensity {
        Intensity {
            restarts: self.max_restarts,
            window: Duration::from_secs(self.window_s),
            ..Intensity::default()
        }
    }
}

//! What `[cluster]` becomes: how this gateway finds those that it shares a pool with, if there are any.

use super::{Settings, SettingsError, text_file::read_text};
use gemini_balance_actors::cluster::ClusterSettings;
use gemini_balance_cluster::{ClusterAddress, KeyPrefix, RedisPassword, RedisSettings};
use serde::Deserialize;
use std::{
    num::{NonZeroU16, NonZeroU32},
    path::Path,
    time::Duration,
};

/// The password, where no file has it.
pub(crate) const REDIS_VARIABLE: &str = "REDIS_PASSWORD";
/// The longest name of a gateway, in bytes.
const LONGEST_NAME: usize = 48;
/// A call takes no longer than this, since requests may wait for one.
const LONGEST_CALL_MS: u64 = 1_000;

/// `[cluster]`: several gateways, one pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where Redis is; empty for a gateway that is alone.
    pub url: String,
    /// What the names of all its keys begin with.
    pub prefix: String,
    /// An ACL user.
    pub username: String,
    /// A file with the password.
    pub password_file: String,
    /// Certificates to trust besides the system's.
    pub ca_file: String,
    /// What this gateway is called; empty for its host's name.
    pub node: String,
    /// For a call.
    pub timeout_ms: u64,
    /// How many gateways share the limits, for one that starts and cannot know.
    pub replicas: u32,
    /// Parts of a model's limits.
    pub shards: u16,
}

impl Settings {
    /// How this gateway finds the others, checked; `None` where it is alone.
    pub fn cluster(&self) -> Result<Option<ClusterSettings>, SettingsError> {
        self.read_cluster().map_err(|error| self.name_source(error))
    }

    fn read_cluster(&self) -> Result<Option<ClusterSettings>, SettingsError> {
        let cluster = &self.cluster;
        if cluster.url.trim().is_empty() {
            return Ok(None);
        }
        let address = ClusterAddress::parse(&cluster.url)
            .map_err(|error| SettingsError::refused("cluster.url", format!("cannot be used: {error}")))?;
        let prefix = KeyPrefix::new(&cluster.prefix)
            .map_err(|error| SettingsError::refused("cluster.prefix", format!("cannot be used: {error}")))?;
        if !(1..=LONGEST_CALL_MS).contains(&cluster.timeout_ms) {
            let why = format!("must be from 1 to {LONGEST_CALL_MS}");
            return Err(SettingsError::refused("cluster.timeout_ms", why));
        }
        let at_least_one = |setting| SettingsError::refused(setting, "must be at least 1");
        let mut redis = RedisSettings::new(address, prefix);
        redis.call_timeout = Duration::from_millis(cluster.timeout_ms);
        redis.connect_timeout = redis.call_timeout * 2;
        redis.shards = NonZeroU16::new(cluster.shards).ok_or_else(|| at_least_one("cluster.shards"))?;
        redis.username = Some(cluster.username.trim().to_owned()).filter(|name| !name.is_empty());
        redis.password = self.redis_password()?;
        redis.extra_roots = match cluster.ca_file.trim() {
            "" => Vec::new(),
            path => vec![read_text("cluster.ca_file", Path::new(path))?.into_bytes()],
        };
        let replicas = NonZeroU32::new(cluster.replicas).ok_or_else(|| at_least_one("cluster.replicas"))?;
        Ok(Some(ClusterSettings { redis, node: self.node_name()?, replicas }))
    }

    /// Returns what the variable with the password says, if it is set.
    pub(crate) fn redis_variable(&self) -> Option<String> {
        self.environment.text(REDIS_VARIABLE).ok().filter(|text| !text.is_empty())
    }

    /// Says so where what goes to Redis can be read and changed on its way.
    pub(crate) fn cluster_warning(&self) -> Option<&'static str> {
        let address = ClusterAddress::parse(&self.cluster.url).ok()?;
        address.is_exposed().then_some(
            "cluster.url: Redis is on another machine and without TLS (rediss://): who is on the way there can retire every key",
        )
    }

    pub(super) fn cluster_url_has_password(&self) -> bool {
        ClusterAddress::parse(&self.cluster.url).is_ok_and(|address| address.has_password())
    }

    fn redis_password(&self) -> Result<Option<RedisPassword>, SettingsError> {
        let text = match self.cluster.password_file.trim() {
            "" => self.environment.text(REDIS_VARIABLE)?,
            path => read_text("cluster.password_file", Path::new(path))?,
        };
        // An editor ends the last line; no password does.
        let text = text.trim_end_matches(['\r', '\n']);
        Ok((!text.is_empty()).then(|| RedisPassword::new(text.to_owned())))
    }

    fn node_name(&self) -> Result<String, SettingsError> {
        let named = match self.cluster.node.trim() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name => name.to_owned(),
        };
        let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "-_.".contains(sign);
        if named.is_empty() || named.len() > LONGEST_NAME || !named.chars().all(is_plain) {
            let why = format!("must be 1 to {LONGEST_NAME} letters, digits, -, _ or .");
            return Err(SettingsError::refused("cluster.node", why));
        }
        Ok(named)
    }
}

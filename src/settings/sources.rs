//! Where settings come from: the embedded `config.toml`, a file, the environment with the names of the original Python
//! service, and the environment with names of our own, each going before the last. A setting that is unknown or has a bad
//! value ends in one line that names it, its source and what is allowed.

use super::Settings;
use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Env, Format, Toml},
    value::{Dict, Map, Value},
};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

/// The defaults.
const EMBEDDED: &str = include_str!("../../config.toml");

/// The original's variables, and what they set here.
const ORIGINAL: &[(&str, &str)] = &[
    ("GEMINI_API_BASE_URL", "upstream.gemini_base_url"),
    ("OPENAI_API_BASE_URL", "upstream.openai_base_url"),
    ("LOG_LEVEL", "log.level"),
    ("DEBUG_LOG_ENABLED", "log.debug_enabled"),
    ("DEBUG_LOG_FILE", "log.debug_file"),
    ("API_KEY_COOL_DOWN_SECONDS", "pool.cooldown_initial_s"),
    ("API_KEY_FAILURE_THRESHOLD", "pool.failure_threshold"),
    ("MAX_COOL_DOWN_SECONDS", "pool.cooldown_max_s"),
    ("RATE_LIMIT_DEFAULT_WAIT_SECONDS", "pool.rate_limit_wait_s"),
];

/// What begins the names of our own variables.
const PREFIX: &str = "GEMINI_BALANCE__";

/// Why the service does not start: one line that says which setting, from where, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    setting: String,
    source: Option<String>,
    why: String,
}

impl SettingsError {
    /// A setting whose value is of the right type and still no good.
    pub fn refused(setting: &str, why: impl fmt::Display) -> Self {
        Self { setting: setting.to_owned(), source: None, why: format!(" {why}") }
    }

    /// A file that a setting names and that cannot be read.
    pub fn unreadable(setting: &str, path: impl AsRef<Path>, error: &io::Error) -> Self {
        let why = format!(": cannot read {}: {error}", path.as_ref().display());
        Self { setting: setting.to_owned(), source: None, why }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(source) = &self.source {
            write!(f, " (from {source})")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for SettingsError {}

/// Which setting came from where, unless it is a default. Kept beside the settings, without their values, for errors that
/// are found after they were read.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    fn of(figment: &Figment) -> Self {
        let mut origins = Self::default();
        for (section, fields) in figment.extract::<Dict>().unwrap_or_default() {
            origins.add(figment, section, &fields);
        }
        origins
    }

    /// Each setting on its own: sections, and sections in them, may be of several sources.
    fn add(&mut self, figment: &Figment, setting: String, value: &Value) {
        if let Value::Dict(_, fields) = value {
            for (field, value) in fields {
                self.add(figment, format!("{setting}.{field}"), value);
            }
        }
        if let Some(source) = figment.find_metadata(&setting).and_then(|found| source(found, &setting)) {
            self.0.insert(setting, source);
        }
    }

    /// `keys[0].secret_file` came from where `keys` did.
    fn find(&self, setting: &str) -> Option<&String> {
        let listed = setting.split(['[', ' ']).next().unwrap_or_default();
        self.0.get(listed)
    }
}

/// What a person knows a source by; nothing for the defaults.
fn source(metadata: &Metadata, setting: &str) -> Option<String> {
    if metadata.name == ENV_METADATA {
        Some(format!("the environment variable {}", variable(setting)))
    } else if metadata.name == "TOML source string" {
        None // the embedded text; a file is named by its path
    } else {
        Some(metadata.name.to_string())
    }
}

/// The variable of ours that holds `setting`, or the part of it that is set, or parts of what it holds.
fn variable(setting: &str) -> String {
    let wanted = format!("{PREFIX}{}", setting.to_uppercase().replace('.', "__"));
    let reaches = |name: &str, other: &str| {
        name.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
    };
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .find(|name| {
            let name = name.to_uppercase();
            name.starts_with(PREFIX) && (reaches(&name, &wanted) || reaches(&wanted, &name))
        })
        .unwrap_or(wanted)
}

/// Reads all sources. `file` is the one named on the command line; without it `./config.toml` is read if there is one.
pub fn load(file: Option<&Path>) -> Result<Settings, SettingsError> {
    let mut figment = Figment::from(Toml::string(EMBEDDED));
    let file = match file {
        Some(path) => Some(path.to_owned()),
        None => Some(PathBuf::from("config.toml")).filter(|path| path.exists()),
    };
    if let Some(path) = file {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| SettingsError::unreadable("--config", &path, &error))?;
        figment = figment.merge(FromFile { path, text });
    }
    for (variable, setting) in ORIGINAL {
        if let Ok(text) = std::env::var(variable)
            && !text.trim().is_empty()
        {
            figment = figment.merge(FromVariable { variable, setting, text });
        }
    }
    figment = figment.merge(Env::prefixed(PREFIX).split("__"));
    let mut settings: Settings = figment.extract().map_err(|error| explain(&error))?;
    settings.origins = Origins::of(&figment);
    settings.check().map_err(|error| settings.name_source(error))?;
    Ok(settings)
}

/// The defaults alone, with another upstream: no file and no environment.
pub(crate) fn demo(upstream: &str) -> Result<Settings, SettingsError> {
    let mut settings: Settings =
        Figment::from(Toml::string(EMBEDDED)).extract().map_err(|error| explain(&error))?;
    upstream.clone_into(&mut settings.upstream.gemini_base_url);
    settings.store.path = std::path::PathBuf::new();
    settings.environment = false;
    Ok(settings)
}

impl Settings {
    /// Says in an error where the setting came from.
    pub(crate) fn name_source(&self, mut error: SettingsError) -> SettingsError {
        error.source = error.source.or_else(|| self.origins.find(&error.setting).cloned());
        error
    }

    /// Refuses values that the types allow and that make no sense.
    fn check(&self) -> Result<(), SettingsError> {
        let at_least_one = [
            ("server.max_connections", self.server.max_connections),
            ("server.max_body_bytes", self.server.max_body_bytes),
            ("server.max_buffered_bytes", self.server.max_buffered_bytes),
            ("log.rotate_bytes", self.log.rotate_bytes),
        ];
        let durations = [
            ("server.head_timeout_s", self.server.head_timeout_s),
            ("server.body_timeout_s", self.server.body_timeout_s),
            ("server.write_timeout_s", self.server.write_timeout_s),
            ("pool.cooldown_initial_s", self.pool.cooldown_initial_s),
            ("pool.rate_limit_wait_s", self.pool.rate_limit_wait_s),
            ("upstream.connect_timeout_ms", self.upstream.connect_timeout_ms),
            ("upstream.head_timeout_s", self.upstream.head_timeout_s),
            ("upstream.idle_timeout_s", self.upstream.idle_timeout_s),
            ("retry.max_attempts", self.retry.max_attempts.into()),
            ("retry.quota_deadline_ms", self.retry.quota_deadline_ms),
            ("pool.failure_threshold", self.pool.failure_threshold.into()),
        ];
        let zero = at_least_one
            .iter()
            .find(|(_, value)| *value == 0)
            .map(|(name, _)| name)
            .or_else(|| durations.iter().find(|(_, value)| *value == 0).map(|(name, _)| name));
        if let Some(name) = zero {
            return Err(SettingsError::refused(name, "must be at least 1"));
        }
        if self.pool.cooldown_max_s < self.pool.cooldown_initial_s.max(self.pool.rate_limit_wait_s) {
            let why = "must not be below pool.cooldown_initial_s or pool.rate_limit_wait_s";
            return Err(SettingsError::refused("pool.cooldown_max_s", why));
        }
        Ok(())
    }
}

/// One line of a figment error.
fn explain(error: &figment::Error) -> SettingsError {
    let Some(error) = error.clone().into_iter().next() else {
        return SettingsError::refused("the settings", "cannot be read");
    };
    let mut setting = error.path.join(".");
    let source = error.metadata.as_ref().and_then(|metadata| source(metadata, &setting));
    let why = match &error.kind {
        Kind::UnknownField(name, allowed) => {
            if setting.is_empty() {
                setting.clone_from(name);
            } else if !setting.ends_with(name.as_str()) {
                setting = format!("{setting}.{name}");
            }
            format!(" is not a setting; allowed here: {}", allowed.join(", "))
        }
        Kind::MissingField(name) => {
            setting = format!("{setting}.{name}");
            " is missing".to_owned()
        }
        // The value itself is not repeated: it may be a secret.
        Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) => {
            format!(" must be {}", in_words(wanted))
        }
        Kind::UnknownVariant(_, allowed) => format!(" must be one of {}", allowed.join(", ")),
        // So may the lines be that a TOML error shows: only its first line says nothing but where.
        other => format!(": {}", other.to_string().lines().next().unwrap_or_default()),
    };
    if setting.is_empty() {
        "the settings".clone_into(&mut setting);
    }
    SettingsError { setting, source, why }
}

/// What serde calls a type, for people.
fn in_words(wanted: &str) -> &str {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a sequence" => "a list",
        _ if wanted.starts_with("struct ") => "a section",
        _ => wanted,
    }
}

/// The name figment gives its environment provider's metadata, with our prefix.
const ENV_METADATA: &str = "`GEMINI_BALANCE__` environment variable(s)";

/// A TOML file whose name errors mention.
struct FromFile {
    path: PathBuf,
    text: String,
}

impl Provider for FromFile {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.path.display().to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Toml::string(&self.text).data()
    }
}

/// One of the original's variables, whose name errors mention.
struct FromVariable {
    variable: &'static str,
    setting: &'static str,
    text: String,
}

impl Provider for FromVariable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("the environment variable {}", self.variable))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let text = self.text.trim();
        // Python's spelling of booleans is common in the original's files.
        let value = match text.to_ascii_lowercase().as_str() {
            "true" => Value::from(true),
            "false" => Value::from(false),
            _ => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
        };
        Ok(Profile::Default.collect(figment::util::nest(self.setting, value).into_dict().unwrap_or_default()))
    }
}

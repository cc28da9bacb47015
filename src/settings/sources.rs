//! Where settings come from: the embedded `config.toml`, a file, the environment with the names of the original Python
//! service, and the environment with names of our own, each going before the last. A setting that is unknown or has a bad
//! value ends in one line that names it, its source and what is allowed.

use super::{
    EffectiveSettings, Settings, SettingsError, environment::Environment, host::listen_host,
    text_file::read_text, variables,
};
use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The text of `config.toml`, which holds every default.
const EMBEDDED: &str = include_str!("../../config.toml");

/// Which setting came from where, unless it is a default. Kept beside the settings, without their values, for errors that
/// are found after they were read.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    fn of(figment: &Figment, environment: &Environment) -> Self {
        let mut origins = Self::default();
        for (section, fields) in figment.extract::<Dict>().unwrap_or_default() {
            origins.add(figment, section, &fields, environment);
        }
        origins
    }

    /// Each setting on its own: sections, and sections in them, may be of several sources.
    fn add(&mut self, figment: &Figment, setting: String, value: &Value, environment: &Environment) {
        if let Value::Dict(_, fields) = value {
            for (field, value) in fields {
                self.add(figment, format!("{setting}.{field}"), value, environment);
            }
        }
        let found = figment.find_metadata(&setting);
        if let Some(source) = found.and_then(|found| source(found, &setting, environment)) {
            self.0.insert(setting, source);
        }
    }

    /// `keys[0].secret_file` came from where `keys` did, `line 3 of pool.keys_file` from where that did.
    fn find(&self, setting: &str) -> Option<&String> {
        let setting = setting.rsplit(" of ").next().unwrap_or_default();
        let listed = setting.split(['[', ' ']).next().unwrap_or_default();
        self.0.get(listed)
    }
}

/// What a person knows a source by; nothing for the defaults.
fn source(metadata: &Metadata, setting: &str, environment: &Environment) -> Option<String> {
    if metadata.name == variables::OURS {
        Some(format!("the environment variable {}", variables::that_holds(setting, environment)))
    } else if metadata.name == "TOML source string" {
        None // the embedded text; a file is named by its path
    } else {
        Some(metadata.name.to_string())
    }
}

/// The defaults alone.
fn defaults() -> Figment {
    Figment::from(Toml::string(EMBEDDED))
}

/// All sources, with the file named on the command line if there is one.
fn figment(file: Option<&Path>, environment: &Environment) -> Result<Figment, SettingsError> {
    let mut figment = defaults();
    if let Some(path) = file_to_read(file) {
        let text = read_text("--config", &path)?;
        figment = figment.merge(FromFile { path, text });
    }
    variables::merge_into(figment, &defaults(), environment)
}

/// The file named on the command line, else `./config.toml` if there is one.
fn file_to_read(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| Some(PathBuf::from("config.toml")).filter(|path| path.exists()))
}

/// Reads all sources; see [`figment`].
pub(crate) fn load(file: Option<&Path>, environment: Environment) -> Result<Settings, SettingsError> {
    let figment = figment(file, &environment)?;
    let settings = Settings {
        named_file: file.map(Path::to_owned),
        file: file_to_read(file),
        ..extract(&figment, &environment)?
    };
    finished(settings, &figment, environment)
}

/// Reads the text of a file that is not written yet. `path` is what people call it.
pub fn of_text(path: &Path, text: &str, environment: Environment) -> Result<Settings, SettingsError> {
    let figment = defaults().merge(FromFile { path: path.to_owned(), text: text.to_owned() });
    let figment = variables::merge_into(figment, &defaults(), &environment)?;
    finished(extract(&figment, &environment)?, &figment, environment)
}

fn extract(figment: &Figment, environment: &Environment) -> Result<Settings, SettingsError> {
    figment.extract().map_err(|error| explain(&error, environment))
}

/// Says where the settings came from, and refuses what makes no sense.
fn finished(
    mut settings: Settings,
    figment: &Figment,
    environment: Environment,
) -> Result<Settings, SettingsError> {
    settings.effective = EffectiveSettings::of(figment);
    settings.origins = Origins::of(figment, &environment);
    settings.environment = environment;
    settings.check().map_err(|error| settings.name_source(error))?;
    settings.server.host = settings.host("server.host", &settings.server.host)?;
    settings.admin.host = settings.host("admin.host", &settings.admin.host)?;
    Ok(settings)
}

/// Every setting's default, as text, by its full name.
pub(crate) fn default_settings() -> BTreeMap<String, String> {
    let defaults = EffectiveSettings::of(&defaults());
    defaults.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

impl Settings {
    /// Returns where a setting is from; `None` for a default.
    pub(crate) fn source_of(&self, setting: &str) -> Option<&str> {
        self.origins.find(setting).map(String::as_str)
    }

    /// Whether there is anything that can be read anew. Not so in the demo.
    pub(crate) fn has_sources(&self) -> bool {
        self.environment.reads_file()
    }

    /// Reads all sources anew. A file that was there must not have gone: all that it said would turn into the defaults
    /// unasked.
    pub(crate) fn reread(&self) -> Result<Self, SettingsError> {
        if let Some(file) = &self.file
            && fs::metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            return Err(SettingsError::has_gone(file));
        }
        let environment = self.environment.reread()?;
        // By the file's name, so that one that goes this very moment is missed as well.
        let settings = load(self.file.as_deref().or(self.named_file.as_deref()), environment)?;
        Ok(Self { named_file: self.named_file.clone(), ..settings })
    }
}

/// Reads nothing but the port to listen on, from the file and the variables.
pub(crate) fn port(file: Option<&Path>, environment: &Environment) -> Result<u16, SettingsError> {
    figment(file, environment)?.extract_inner("server.port").map_err(|error| explain(&error, environment))
}

/// The demo's settings: the defaults, and what it says itself in the words of `config.toml`. Nothing of this machine's
/// configuration, so that real keys are never touched.
pub(crate) fn demo(text: &str) -> Result<Settings, SettingsError> {
    of_text(Path::new("the demo"), text, Environment::default())
}

impl Settings {
    /// Says in an error where the setting came from.
    pub(crate) fn name_source(&self, mut error: SettingsError) -> SettingsError {
        error.source = error.source.or_else(|| self.origins.find(&error.setting).cloned());
        error
    }

    fn host(&self, setting: &str, text: &str) -> Result<String, SettingsError> {
        listen_host(setting, text).map_err(|error| self.name_source(error))
    }

    /// Refuses values that the types allow and that make no sense.
    fn check(&self) -> Result<(), SettingsError> {
        let at_least_one = [
            ("server.max_connections", self.server.max_connections),
            ("server.max_unknown_connections", self.server.max_unknown_connections),
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
fn explain(error: &figment::Error, environment: &Environment) -> SettingsError {
    let Some(error) = error.clone().into_iter().next() else {
        return SettingsError::refused("the settings", "cannot be read");
    };
    let mut setting = error.path.join(".");
    let source = error.metadata.as_ref().and_then(|metadata| source(metadata, &setting, environment));
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
        "f64" => "a number",
        "a sequence" => "a list",
        _ if wanted.starts_with("struct ") => "a section",
        _ => wanted,
    }
}

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

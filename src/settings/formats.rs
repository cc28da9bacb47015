//! What `[formats]` becomes: which formats of other vendors are served, and which model of Google's stands for which name.

use super::{Settings, SettingsError};
use formats::models::ModelMap;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// `[formats]`: formats of other vendors, in front of Google's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Formats {
    /// Those that are served.
    pub enabled: Vec<FormatName>,
    /// Google's model for each name or glob that clients ask for.
    pub models: BTreeMap<String, String>,
    /// The same for single callers, by their names: what is here goes before.
    #[serde(default)]
    pub callers: BTreeMap<String, BTreeMap<String, String>>,
    /// `[formats.responses]`
    pub responses: ResponsesState,
}

/// A format by its name in the settings and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatName {
    /// Anthropic's Messages.
    Anthropic,
    /// OpenAI's Responses.
    Responses,
}

/// `[formats.responses]`: what is kept of responses for those that go on from them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponsesState {
    /// Where they are kept.
    pub store: ResponsesStore,
    /// For how many hours.
    pub ttl_h: u32,
    /// How much memory or disk all of them may take.
    pub max_bytes: u64,
}

/// Where responses are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponsesStore {
    /// Nowhere: `previous_response_id` finds nothing.
    Off,
    /// In memory, until the process ends.
    Memory,
    /// In a file beside `store.path`.
    Sqlite,
}

/// Which model of Google's stands for which name, for whom.
#[derive(Clone, Debug)]
pub struct ModelMaps {
    all: Arc<ModelMap>,
    callers: BTreeMap<String, Arc<ModelMap>>,
}

impl ModelMaps {
    /// Returns the map for a caller.
    pub fn of(&self, caller: &str) -> &ModelMap {
        self.callers.get(caller).unwrap_or(&self.all)
    }

    /// Returns the models that any of the maps leads to, each once.
    pub fn targets(&self) -> BTreeSet<&str> {
        self.callers.values().chain([&self.all]).flat_map(|map| map.targets()).collect()
    }
}

impl ResponsesState {
    /// For how long.
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl_h) * 3_600)
    }
}

impl Settings {
    /// The names of models that are mapped, checked.
    pub fn model_maps(&self) -> Result<ModelMaps, SettingsError> {
        let of = |setting: &str, pairs: &BTreeMap<String, String>| {
            let map = ModelMap::new(pairs).map(Arc::new);
            map.map_err(|error| self.name_source(SettingsError::refused(setting, error)))
        };
        let all = &self.formats.models;
        let callers = self.formats.callers.iter().map(|(caller, own)| {
            let together = all.iter().chain(own).map(|(name, model)| (name.clone(), model.clone())).collect();
            Ok((caller.clone(), of(&format!("formats.callers.{caller}"), &together)?))
        });
        Ok(ModelMaps { callers: callers.collect::<Result<_, _>>()?, all: of("formats.models", all)? })
    }

    /// The file in which responses are kept, if they are kept in one: beside the store's, and in memory where that is.
    pub fn responses_file(&self) -> PathBuf {
        let store = &self.store.path;
        if store.as_os_str().is_empty() { PathBuf::new() } else { store.with_file_name("responses.db") }
    }
}

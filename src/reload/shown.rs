//! The settings in use as the operator is shown them: each with its value, where that is from, the default, and whether a
//! change holds at once. Secrets are `***`, as in what is said of a reload.

use super::{flat::FlatConfiguration, plan::is_live};
use crate::{configuration::Configuration, settings::default_settings};
use serde::Serialize;

/// One setting. See the module.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ShownSetting {
    name: String,
    value: String,
    /// The file or the variable that it is from; none for a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The default, where it has one that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    live: bool,
}

/// Returns the settings of a configuration, by name.
pub(crate) fn shown_settings(configuration: &Configuration) -> Vec<ShownSetting> {
    let (flat, defaults) = (FlatConfiguration::of(configuration), default_settings());
    let settings = flat.names().filter_map(|name| {
        let value = flat.get(name)?.shown();
        let default = defaults.get(name).filter(|default| **default != value && value != "***").cloned();
        let source = configuration.settings.source_of(name).map(str::to_owned);
        Some(ShownSetting { name: name.to_owned(), value, source, default, live: is_live(name) })
    });
    settings.collect()
}

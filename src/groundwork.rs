//! What a start stands on: all that can refuse one before anything is begun, in one place, so that `gemini-balance check`
//! refuses what a start would. It reads, and changes nothing. Not here: the addresses, which a gateway that runs has taken.

use crate::{
    configuration::Configuration,
    keys::KeySources,
    settings::{Settings, SettingsError},
    tokens::Enrolment,
};
use keypool::Pool;

/// See the module.
pub(crate) struct Groundwork {
    pub(crate) configuration: Configuration,
    /// The keys of the configuration and those that were added at runtime.
    pub(crate) key_sources: KeySources,
    pub(crate) enrolment: Enrolment,
}

impl Groundwork {
    /// Reads all of it.
    pub(crate) fn of(settings: Settings) -> Result<Self, SettingsError> {
        let configuration = Configuration::of(settings)?;
        let key_sources = KeySources::read(&configuration)?;
        let ring = key_sources.ring();
        Pool::new(configuration.rules.clone(), ring.specs(), 0)
            .map_err(|error| configuration.settings.name_source(SettingsError::of_pool(&error)))?;
        let enrolment = Enrolment::new(&configuration, &ring)?;
        Ok(Self { configuration, key_sources, enrolment })
    }
}

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

    /// Names the projects that tokens and `[[limits]]` speak of and that no key is of: a slip of the pen, for the most part.
    pub(crate) fn projects_without_keys(&self) -> Vec<String> {
        let directory = &self.enrolment.directory;
        let mut callers = directory.callers();
        callers.sort_by(|one, other| one.spec().name.cmp(&other.spec().name));
        let of_tokens = callers.iter().flat_map(|caller| {
            let name = &caller.spec().name;
            let projects = directory.projects_without_keys(caller.spec());
            projects.into_iter().map(move |project| {
                format!("the token of {name} names the project {project}, which no key of the pool is of")
            })
        });
        let ring = self.key_sources.ring();
        let of_limits = self.configuration.settings.limits.iter().enumerate().filter_map(|(n, limit)| {
            let project = limit.project.as_ref()?;
            let is_known = ring.specs().iter().any(|key| key.project.as_ref() == Some(project));
            (!is_known)
                .then(|| format!("limits[{n}] names the project {project}, which no key of the pool is of"))
        });
        of_tokens.chain(of_limits).collect()
    }
}

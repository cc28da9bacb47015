//! What a token says of its caller: the fields of `[[auth.tokens]]` and of a token made while the service runs. The
//! secret is not among them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use gemini::path::Surface;
use serde::{Deserialize, Serialize};

use crate::denial::Denial;
use crate::globs::Globs;
use crate::limits::{CallerLimits, LimitName};
use crate::surfaces::{SurfaceName, Surfaces};

/// The longest name of a token made while the service runs, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 512;
/// The most globs in one list, and the longest glob in bytes.
pub const MAX_GLOBS: usize = 100;
/// The longest glob, in bytes.
pub const MAX_GLOB_BYTES: usize = 128;
/// Names that usage counts others under: everyone without a token, and the operator's own requests.
const RESERVED: [&str; 2] = ["pool", "operator"];

/// Who a caller is and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallerSpec {
    /// What logs and usage call the caller.
    pub name: Arc<str>,
    /// The operator's own words about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// From when on it is let in no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// Whether it is let in at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which of the pool's resources exist for it.
    #[serde(default)]
    pub resources: Visibility,
    /// The surfaces it may use.
    #[serde(default)]
    pub surfaces: Surfaces,
    /// The models it may use, without `models/`.
    #[serde(default)]
    pub models: Globs,
    /// The projects it may be served from.
    #[serde(default)]
    pub projects: Globs,
    /// How much it may use, and how fast; a limit that is not set does not hold.
    #[serde(default)]
    pub limits: CallerLimits,
}

fn yes() -> bool {
    true
}

/// Which files, caches and other resources of the pool's projects exist for a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Those it has made, and those made outside the gateway that it can name.
    #[default]
    Own,
    /// All, as with one key.
    All,
}

/// The models that a request shows before its body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelShown<'a> {
    /// One, in its path. Without `models/`.
    Named(&'a str),
    /// None yet: the body will say, or nothing is spent.
    None,
    /// None at all, although it spends: a batch whose input file names them.
    Hidden,
}

/// Why a token cannot be as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// No name, one that is too long, or one with characters that would break a line of a log.
    BadName,
    /// A name that usage counts others under.
    ReservedName,
    /// A note that is too long.
    LongNote,
    /// A list of models or projects without an entry, or with too many or too long ones.
    BadGlobs,
    /// No surface: such a token opens nothing.
    NoSurface,
    /// A limit of 0.
    ZeroLimit(LimitName),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => write!(
                f,
                "the name must have 1 to {MAX_NAME_BYTES} bytes, no control characters, and no space at its ends"
            ),
            Self::ReservedName => f.write_str("the name is one that usage counts others under"),
            Self::LongNote => write!(f, "the note may have at most {MAX_NOTE_BYTES} bytes"),
            Self::BadGlobs => write!(
                f,
                "models and projects take 1 to {MAX_GLOBS} names of 1 to {MAX_GLOB_BYTES} bytes each, such as gemini-2.5-*; leave them out for all"
            ),
            Self::NoSurface => f.write_str(
                "surfaces takes at least one of native, openai, live, upload; leave it out for all",
            ),
            Self::ZeroLimit(name) => write!(f, "{name} must be at least 1; leave it out for no limit"),
        }
    }
}

impl std::error::Error for SpecError {}

impl CallerSpec {
    /// A caller that may do everything, without limits.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            note: String::new(),
            expires: None,
            enabled: true,
            resources: Visibility::default(),
            surfaces: Surfaces::default(),
            models: Globs::default(),
            projects: Globs::default(),
            limits: CallerLimits::default(),
        }
    }

    /// Checks everything but the name, which a file may choose more freely.
    pub fn check(&self) -> Result<(), SpecError> {
        let good = |globs: &Globs| {
            !globs.is_empty()
                && globs.iter().count() <= MAX_GLOBS
                && globs.iter().all(|glob| (1..=MAX_GLOB_BYTES).contains(&glob.len()))
        };
        if self.note.len() > MAX_NOTE_BYTES {
            return Err(SpecError::LongNote);
        }
        if !good(&self.models) || !good(&self.projects) {
            return Err(SpecError::BadGlobs);
        }
        if self.surfaces.is_empty() {
            return Err(SpecError::NoSurface);
        }
        self.limits.zero().map_or(Ok(()), |name| Err(SpecError::ZeroLimit(name)))
    }

    /// Checks the name of a token that is made while the service runs.
    pub fn check_name(&self) -> Result<(), SpecError> {
        let name = &*self.name;
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.trim() != name
            || name.chars().any(char::is_control)
        {
            return Err(SpecError::BadName);
        }
        if RESERVED.contains(&name) { Err(SpecError::ReservedName) } else { Ok(()) }
    }

    /// Whether it is let in at this time.
    pub fn may_call(&self, wall: DateTime<Utc>) -> Result<(), Denial> {
        if !self.enabled {
            Err(Denial::Disabled)
        } else if self.expires.is_some_and(|expires| expires <= wall) {
            Err(Denial::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether it may use the surface.
    pub fn may_enter(&self, surface: Surface) -> Result<(), Denial> {
        let name = SurfaceName::from(surface);
        if self.surfaces.allow(name) { Ok(()) } else { Err(Denial::Surface(name)) }
    }

    /// Whether it may use the model that a request shows.
    pub fn may_use(&self, model: ModelShown<'_>) -> Result<(), Denial> {
        match model {
            ModelShown::Named(model) if !self.models.fit(model) => Err(Denial::Model),
            ModelShown::Hidden if !self.models.fit_all() => Err(Denial::HiddenModel),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lets_in_until_it_expires_and_while_it_is_enabled() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut spec = CallerSpec::new("alice");
        assert_eq!(spec.may_call(at(i64::from(u32::MAX))), Ok(()));
        spec.expires = Some(at(100));
        assert_eq!(spec.may_call(at(99)), Ok(()));
        assert_eq!(spec.may_call(at(100)), Err(Denial::Expired));
        spec.enabled = false;
        assert_eq!(spec.may_call(at(99)), Err(Denial::Disabled));
    }

    #[test]
    fn what_spends_and_shows_no_model_needs_all_models() {
        let mut spec = CallerSpec::new("alice");
        assert_eq!(spec.may_use(ModelShown::Hidden), Ok(()));
        assert_eq!(spec.may_use(ModelShown::Named("anything")), Ok(()));
        spec.models = Globs::of_models(["gemini-2.5-*"]);
        assert_eq!(spec.may_use(ModelShown::Hidden), Err(Denial::HiddenModel));
        assert_eq!(spec.may_use(ModelShown::None), Ok(()));
        assert_eq!(spec.may_use(ModelShown::Named("gemini-2.5-pro")), Ok(()));
        assert_eq!(spec.may_use(ModelShown::Named("gemini-2.0-pro")), Err(Denial::Model));
    }

    #[test]
    fn a_token_that_could_never_call_or_breaks_a_line_is_refused() {
        let mut spec = CallerSpec::new("alice");
        assert_eq!((spec.check(), spec.check_name()), (Ok(()), Ok(())));
        for (name, error) in [
            ("", SpecError::BadName),
            (" alice", SpecError::BadName),
            ("al\nice", SpecError::BadName),
            (&"x".repeat(65), SpecError::BadName),
            ("pool", SpecError::ReservedName),
            ("operator", SpecError::ReservedName),
        ] {
            assert_eq!(CallerSpec::new(name).check_name(), Err(error), "{name:?}");
        }
        assert_eq!(CallerSpec::new("Ünal, 小明").check_name(), Ok(()));
        spec.limits.money_day = Some(0);
        assert_eq!(spec.check(), Err(SpecError::ZeroLimit(LimitName::MoneyDay)));
        spec.limits = CallerLimits::default();
        spec.surfaces = Surfaces::from_iter([]);
        assert_eq!(spec.check(), Err(SpecError::NoSurface));
        spec.surfaces = Surfaces::default();
        for globs in [vec![], vec![""], vec!["x"; 101]] {
            spec.projects = globs.iter().collect();
            assert_eq!(spec.check(), Err(SpecError::BadGlobs), "{globs:?}");
        }
        spec.projects = Globs::default();
        spec.note = "x".repeat(513);
        assert_eq!(spec.check(), Err(SpecError::LongNote));
    }

    #[test]
    fn a_spec_is_read_back_as_it_was_written_and_by_its_name_alone() {
        let mut spec = CallerSpec::new("alice");
        spec.note = "a friend".into();
        spec.expires = DateTime::from_timestamp(1_800_000_000, 0);
        spec.surfaces = [SurfaceName::OpenAi].into_iter().collect();
        spec.models = Globs::of_models(["gemini-2.5-*"]);
        spec.limits.money_month = Some(2_500_000_000);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<CallerSpec>(&text).unwrap(), spec);
        let short: CallerSpec = serde_json::from_str(r#"{"name": "alice"}"#).unwrap();
        assert_eq!(short, CallerSpec::new("alice"));
    }
}

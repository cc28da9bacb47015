//! The environment that settings are read from: the variables that the process was started with, and under them those of
//! `.env`. A value, since the process's own environment cannot be changed while threads run: `.env` is read anew by making
//! another. Variables are given their meaning in `variables`, `keys` and `tokens`.

use super::{SettingsError, dotenv_file};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

/// Variables that libraries read by themselves from the process's environment, as it was when the process began.
const LIBRARIES_OWN: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The variables. The default has none.
#[derive(Clone, Default)]
pub struct Environment {
    /// Those that the process was started with.
    given: BTreeMap<OsString, OsString>,
    /// Those of `.env` that are not among them.
    file: BTreeMap<String, String>,
    /// Whether `.env` belongs to it.
    reads_file: bool,
    /// Whether there was one when it was read.
    has_file: bool,
}

impl Environment {
    /// Reads the process's own, and `.env`, which is taken over into the process's: libraries look there. To be called once,
    /// before there are threads.
    pub(crate) fn at_start() -> Result<Self, SettingsError> {
        let environment = Self { reads_file: true, ..Self::of_process() }.reread()?;
        dotenv_file::export(&environment.file)?;
        Ok(environment)
    }

    /// Reads the process's own alone.
    pub(crate) fn of_process() -> Self {
        Self { given: std::env::vars_os().collect(), ..Self::default() }
    }

    /// Reads `.env` anew. One that was there must not have gone: what it said would turn into the defaults unasked.
    pub(crate) fn reread(&self) -> Result<Self, SettingsError> {
        self.reread_in(Path::new(""))
    }

    fn reread_in(&self, folder: &Path) -> Result<Self, SettingsError> {
        if !self.reads_file {
            return Ok(Self { given: self.given.clone(), ..Self::default() });
        }
        let given = |name: &str| Some(self.given.get(OsStr::new(name))?.to_string_lossy().into_owned());
        let read = dotenv_file::read(folder, given)?;
        if self.has_file && read.is_none() {
            return Err(SettingsError::has_gone(Path::new(dotenv_file::NAME)));
        }
        let has_file = read.is_some();
        let file = read.into_iter().flatten();
        let file = file.filter(|(name, _)| !self.given.contains_key(OsStr::new(name))).collect();
        Ok(Self { given: self.given.clone(), file, reads_file: true, has_file })
    }

    /// Returns whether `.env` belongs to it.
    pub(super) fn reads_file(&self) -> bool {
        self.reads_file
    }

    /// Returns a variable's text; empty when it is not set.
    pub(super) fn text(&self, name: &str) -> Result<String, SettingsError> {
        match self.given.get(OsStr::new(name)) {
            Some(text) => match text.to_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(SettingsError::refused(name, "is not UTF-8")),
            },
            None => Ok(self.file.get(name).cloned().unwrap_or_default()),
        }
    }

    /// Lists all variables.
    pub(super) fn all(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let of_file = self.file.iter().map(|(name, text)| (name.into(), text.into()));
        self.given.iter().map(|(name, text)| (name.clone(), text.clone())).chain(of_file)
    }

    /// Lists those of `.env` that libraries read by themselves, so that a change of them takes another process.
    pub(crate) fn of_libraries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        LIBRARIES_OWN.into_iter().filter_map(|name| Some((name, self.file.get(name)?.as_str())))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(given: &[(&str, &str)], file: &[(&str, &str)]) -> Environment {
        Environment {
            given: given.iter().map(|(name, text)| (name.into(), text.into())).collect(),
            file: file.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            ..Environment::default()
        }
    }

    #[test]
    fn a_file_that_was_read_must_not_have_gone_when_it_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(dotenv_file::NAME);
        let started = Environment { reads_file: true, ..Environment::default() };
        let without = started.reread_in(folder.path()).unwrap();
        std::fs::write(&file, "A=file\n").unwrap();
        let with = without.reread_in(folder.path()).unwrap();
        assert_eq!(with.text("A").as_deref(), Ok("file"));
        std::fs::remove_file(&file).unwrap();
        let why = with.reread_in(folder.path()).unwrap_err().to_string();
        assert!(why.starts_with(".env is not there any more"), "{why}");
        std::fs::write(&file, "").unwrap();
        let emptied = with.reread_in(folder.path()).unwrap();
        assert_eq!(emptied.text("A").as_deref(), Ok(""));
        std::fs::remove_file(&file).unwrap();
        assert!(emptied.reread_in(folder.path()).is_err() && without.reread_in(folder.path()).is_ok());
    }

    #[test]
    fn what_the_process_was_started_with_goes_before_the_file() {
        let variables =
            environment(&[("A", "given"), ("E", "")], &[("A", "file"), ("B", "file"), ("E", "file")]);
        for (name, text) in [("A", "given"), ("B", "file"), ("E", ""), ("C", "")] {
            assert_eq!(variables.text(name).as_deref(), Ok(text), "{name}");
        }
        assert!(!format!("{variables:?}").contains("file"));
    }
}

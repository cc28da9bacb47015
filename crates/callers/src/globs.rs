//! Lists of names in which `*` stands for any run of characters and `?` for one: models and projects.

use std::fmt;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// Names with wildcards. All names by default.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Globs(Vec<Glob>);

#[derive(Clone, PartialEq)]
struct Glob {
    text: Box<str>,
    pattern: WildMatch,
}

impl Globs {
    /// Whether one of them fits the name.
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.pattern.matches(name))
    }

    /// Whether one of them is `*`, so that every name fits.
    pub fn fit_all(&self) -> bool {
        self.iter().any(|glob| !glob.is_empty() && glob.bytes().all(|byte| byte == b'*'))
    }

    /// Whether there is none: nothing fits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they were written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|glob| &*glob.text)
    }

    /// Those of models: the same with and without `models/` in front, as Google's names come in both forms.
    pub fn of_models<S: AsRef<str>>(globs: impl IntoIterator<Item = S>) -> Self {
        globs
            .into_iter()
            .map(|glob| glob.as_ref().strip_prefix("models/").unwrap_or(glob.as_ref()).to_owned())
            .collect()
    }
}

impl Default for Globs {
    fn default() -> Self {
        Self::from_iter(["*"])
    }
}

impl<S: AsRef<str>> FromIterator<S> for Globs {
    fn from_iter<I: IntoIterator<Item = S>>(globs: I) -> Self {
        let glob = |text: &str| Glob { text: text.into(), pattern: WildMatch::new(text) };
        Self(globs.into_iter().map(|text| glob(text.as_ref().trim())).collect())
    }
}

impl From<Vec<String>> for Globs {
    fn from(globs: Vec<String>) -> Self {
        globs.into_iter().collect()
    }
}

impl From<Globs> for Vec<String> {
    fn from(globs: Globs) -> Self {
        globs.iter().map(str::to_owned).collect()
    }
}

impl fmt::Debug for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (globs, name, fits) in [
            (&["*"][..], "gemini-2.5-pro", true),
            (&["gemini-2.5-*"], "gemini-2.5-flash", true),
            (&["gemini-2.5-*"], "gemini-2.5-", true),
            (&["gemini-2.5-*"], "gemini-2.0-flash", false),
            (&["gemini-2.5-*"], "x-gemini-2.5-flash", false),
            (&["gemini-?.5-pro", "*-embedding-*"], "text-embedding-004", true),
            (&["gemini-?.5-pro"], "gemini-2.5-pro", true),
            (&["gemini-?.5-pro"], "gemini-.5-pro", false),
            (&["gemini-2.5-pro"], "gemini-2.5-pro", true),
            (&["gemini-2.5-pro"], "Gemini-2.5-pro", false),
            (&["gemini-2.5-pro"], "gemini-2.5-pro-exp", false),
            (&["gemini-2.5-pro"], "gemini-2x5-pro", false),
            (&[""], "gemini-2.5-pro", false),
            (&[], "gemini-2.5-pro", false),
        ] {
            assert_eq!(globs.iter().collect::<Globs>().fit(name), fits, "{globs:?} {name}");
        }
        let models = Globs::of_models(["models/gemini-2.5-*", "tunedModels/mine"]);
        assert!(
            models.fit("gemini-2.5-pro")
                && models.fit("tunedModels/mine")
                && !models.fit("tunedModels/other")
        );
    }

    #[test]
    fn only_a_star_fits_all() {
        let all = |globs: &[&str]| globs.iter().collect::<Globs>().fit_all();
        assert!(all(&["*"]) && all(&["a", "**"]) && Globs::default().fit_all());
        assert!(!all(&["gemini-*"]) && !all(&["?*"]) && !all(&[""]) && !all(&[]));
    }
}

//! The pool's keys, from all places they can be named in, as the key ring. A key without a label is called by its
//! fingerprint, from which the key cannot be found again.

use super::{
    KeyEntry, Settings, SettingsError,
    secret_text::{self, SecretKind},
    text_file::read_text,
};
use crate::counted::counted;
use gemini_balance_actors::{
    Secret,
    key_ring::{KeyRing, fingerprint},
};
use keypool::{KeyId, KeySpec, Project};
use std::{
    collections::{HashMap, hash_map::Entry},
    path::Path,
};

/// The variables that name keys: the original's and the SDKs' own.
const VARIABLES: &[&str] = &["GOOGLE_API_KEYS", "GOOGLE_API_KEY", "GEMINI_API_KEY"];

/// A key, and where it was named first.
struct ListedKey {
    place: String,
    spec: KeySpec,
    secret: Secret,
    fingerprint: String,
}

impl Settings {
    /// Returns the keys of the configuration: `[[keys]]`, `pool.keys_file` and the environment; perhaps none. The same key
    /// named twice is one key, of which only one thing can be said.
    pub fn configured_keys(&self) -> Result<KeyRing, SettingsError> {
        self.read_keys().map_err(|error| self.name_source(error))
    }

    /// Says that there is no key, here and among those that were added at runtime.
    pub(crate) fn no_key(&self) -> SettingsError {
        const SET: &str = "set GOOGLE_API_KEYS=key1,key2 in the environment or .env, or name keys under [[keys]] or in pool.keys_file";
        let disabled = self.keys.iter().filter(|entry| !entry.enabled).count();
        let why = if disabled > 0 {
            let has = if disabled == 1 { "has" } else { "have" };
            let keys = counted(disabled, "key");
            format!(
                "{keys} under [[keys]] {has} `enabled = false`: take that out for each that is to be used, or {SET}"
            )
        } else {
            SET.to_owned()
        };
        SettingsError::refused("no key:", why)
    }

    fn read_keys(&self) -> Result<KeyRing, SettingsError> {
        let mut found: Vec<ListedKey> = Vec::new();
        let mut seen = HashMap::new();
        for (position, entry) in self.keys.iter().enumerate().filter(|(_, entry)| entry.enabled) {
            let place = format!("keys[{position}]");
            let secret = secret_of(&place, SecretKind::Key, &entry.secret, entry.secret_file.as_deref())?;
            let key = listed(place, &secret, Some(entry));
            if let Some(first) = seen.get(&key.fingerprint).and_then(|position: &usize| found.get(*position))
            {
                first.agrees_with(&key)?;
            }
            take(key, &mut found, &mut seen);
        }
        if !self.pool.keys_file.is_empty() {
            let text = read_text("pool.keys_file", Path::new(&self.pool.keys_file))?;
            for (place, secret) in secrets_in_file(&text) {
                let secret = secret_text::checked(&place, SecretKind::Key, secret)?;
                take(listed(place, secret, None), &mut found, &mut seen);
            }
        }
        for variable in VARIABLES {
            let list = self.environment.text(variable)?;
            for entry in secret_text::entries(&list) {
                let place = secret_text::place_in(variable, entry.place);
                let secret = secret_text::checked(&place, SecretKind::Key, entry.text)?;
                take(listed(place, secret, None), &mut found, &mut seen);
            }
        }
        let place_of = |id: &KeyId| {
            found.iter().find(|key| key.spec.id == *id).map_or_else(String::new, |key| key.place.clone())
        };
        for (position, key) in found.iter().enumerate() {
            if let Some(other) = found[..position].iter().find(|other| other.spec.id == key.spec.id) {
                return Err(SettingsError::refused(
                    &key.place,
                    format!("has the label of {}; each key needs its own", other.place),
                ));
            }
        }
        KeyRing::new(found.iter().map(|key| (key.spec.clone(), key.secret.clone())).collect()).map_err(
            |unusable| {
                let why = "is not a key: it holds a space or another character that no header may carry";
                SettingsError::refused(&place_of(&unusable.id), why)
            },
        )
    }
}

impl ListedKey {
    /// Refuses another entry for the same key that says something else of it: which of them holds nobody could tell.
    fn agrees_with(&self, other: &Self) -> Result<(), SettingsError> {
        let (one, two) = (&self.spec, &other.spec);
        let differing = [
            ("label", one.id != two.id),
            ("project", one.project != two.project),
            ("weight", one.weight != two.weight),
        ];
        let names: Vec<&str> =
            differing.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let why = format!(
            "is the key of {} once more with another {}; name it once",
            self.place,
            names.join(" and ")
        );
        Err(SettingsError::refused(&other.place, why))
    }
}

fn listed(place: String, secret: &str, entry: Option<&KeyEntry>) -> ListedKey {
    let secret = Secret::new(secret);
    let fingerprint = fingerprint(&secret);
    let label = entry.and_then(|entry| entry.label.as_deref()).filter(|label| !label.is_empty());
    let spec = KeySpec {
        id: KeyId::from(label.unwrap_or(&fingerprint)),
        project: entry
            .and_then(|entry| entry.project.as_deref())
            .filter(|name| !name.is_empty())
            .map(Project::from),
        weight: entry.map_or(1, |entry| entry.weight),
    };
    ListedKey { place, spec, secret, fingerprint }
}

/// Takes a key, unless it is there already.
fn take(key: ListedKey, found: &mut Vec<ListedKey>, seen: &mut HashMap<String, usize>) {
    if let Entry::Vacant(place) = seen.entry(key.fingerprint.clone()) {
        place.insert(found.len());
        found.push(key);
    }
}

/// Returns the secrets of a file with one a line, and their places. Lines that begin with `#` are comments; a JSON list is
/// read as well, since its lines hold one each.
fn secrets_in_file(text: &str) -> impl Iterator<Item = (String, &str)> {
    let trimmed = text.trim();
    let text = match trimmed.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
        Some(inside) => inside,
        None => text,
    };
    (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.starts_with('#')).flat_map(
        |(line, text)| {
            secret_text::entries(text)
                .map(move |entry| (format!("line {line} of pool.keys_file"), entry.text))
        },
    )
}

/// Returns a secret given in place or in a file.
pub(super) fn secret_of(
    name: &str,
    kind: SecretKind,
    secret: &str,
    file: Option<&Path>,
) -> Result<String, SettingsError> {
    match (secret.trim(), file) {
        ("", Some(path)) => {
            let setting = format!("{name}.secret_file");
            secret_text::one(&setting, kind, &read_text(&setting, path)?)
        }
        ("", None) => Err(SettingsError::refused(name, "needs a secret or a secret_file")),
        (_, Some(_)) => {
            Err(SettingsError::refused(name, "has both a secret and a secret_file; one is enough"))
        }
        (secret, None) => secret_text::one(name, kind, secret),
    }
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyEntry")
            .field("label", &self.label)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Environment;

    fn keys_of(text: &str) -> Result<Vec<String>, String> {
        let settings =
            crate::settings::of_text(Path::new("config.toml"), text, Environment::default()).unwrap();
        let ring = settings.configured_keys().map_err(|error| error.to_string())?;
        Ok(ring.keys().iter().map(|key| key.id().as_str().to_owned()).collect())
    }

    #[test]
    fn a_key_that_is_named_twice_is_one_where_the_same_is_said_of_it_and_an_error_where_not() {
        let first = "[[keys]]\nsecret = \"AIzaOne\"\nlabel = \"a\"\nproject = \"p\"\nweight = 2\n";
        let other = "[[keys]]\nsecret = \"AIzaTwo\"\n";
        let again =
            |said: &str| keys_of(&format!("{first}{other}{other}[[keys]]\nsecret = \"AIzaOne\"\n{said}"));
        let same = "label = \"a\"\nproject = \"p\"\nweight = 2\n";
        assert_eq!(again(same).map(|keys| keys.len()), Ok(2));
        for (said, differing) in [
            ("", "label and project and weight"),
            ("label = \"b\"\nproject = \"p\"\nweight = 2\n", "label"),
            ("label = \"a\"\nproject = \"q\"\nweight = 2\n", "project"),
            ("label = \"a\"\nproject = \"p\"\n", "weight"),
        ] {
            let why = again(said).unwrap_err();
            let is_of = format!(
                "keys[3] (from config.toml) is the key of keys[0] once more with another {differing};"
            );
            assert!(why.starts_with(&is_of), "{why}");
        }
        assert_eq!(again(&format!("{same}enabled = false\n")).map(|keys| keys.len()), Ok(2));
    }

    #[test]
    fn a_file_holds_one_key_a_line_however_it_is_written() {
        for text in [
            "k-1\nk-2\n",
            "# mine\r\n\r\nk-1\r\n  # his\r\n  k-2\r\n",
            "\"k-1\",\n\"k-2\",\n",
            "[\n  \"k-1\",\n  \"k-2\"\n]\n",
            "['k-1', 'k-2']",
            "k-1,k-2",
            "k-1;\nk-2;",
        ] {
            let found: Vec<&str> = secrets_in_file(text).map(|(_, secret)| secret).collect();
            assert_eq!(found, ["k-1", "k-2"], "{text:?}");
        }
        let places: Vec<String> = secrets_in_file("\n# x\nk-1\n\nk-2").map(|(place, _)| place).collect();
        assert_eq!(places, ["line 3 of pool.keys_file", "line 5 of pool.keys_file"]);
    }
}

//! What was found in the documents: keys, tokens, limits and settings, each with its place, and what was left and why. Bounds and
//! the rules of what can be a key or a token are kept here for every source. Notes hold places, lengths and names of settings, no
//! secret.

use super::{ImportError, source::Source, toml_string::quoted};
use crate::settings::{SecretKind, checked_secret};
use gemini::pasted::{self, KeyForm, MAX_PASTED_KEYS};
use gemini_balance_actors::{
    Secret,
    key_ring::fingerprint,
    upstream::{BaseUrl, ProxyUrl},
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The most tokens.
const MAX_TOKENS: usize = 10_000;
/// The most notes of a kind; more are counted.
const MAX_NOTES: usize = 1_000;
/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;
/// The longest label, in characters.
const MAX_LABEL: usize = 64;
/// What Google's API is reached under where nothing else is said.
const GOOGLE: &str = "https://generativelanguage.googleapis.com";

/// A key that was found.
#[derive(Clone, Debug)]
pub struct ImportedKey {
    /// The key itself.
    pub secret: Secret,
    /// Where it stood.
    pub place: String,
    /// What logs are to call it; its fingerprint without a label.
    pub label: Option<String>,
    /// Its share under `strategy = "weighted"`.
    pub weight: u32,
    /// Whether it is to be used.
    pub enabled: bool,
}

impl ImportedKey {
    /// Returns whether Google's keys look like this one.
    pub fn is_usual(&self) -> bool {
        pasted::form_of(self.secret.expose()) == KeyForm::Usual
    }
}

/// A client's token that was found.
#[derive(Clone, Debug)]
pub struct ImportedToken {
    /// What logs are to call the client.
    pub name: String,
    /// The token itself.
    pub secret: Secret,
    /// Where it stood.
    pub place: String,
}

impl ImportedToken {
    /// Returns whether it is too short to be let in where tokens are made at runtime.
    pub fn is_short(&self) -> bool {
        self.secret.expose().len() < callers::MIN_CHOSEN_BYTES
    }
}

/// A setting that was found.
#[derive(Clone, Debug)]
pub struct ImportedSetting {
    /// Its name here, `section.field`.
    pub setting: &'static str,
    /// Its value as in TOML.
    pub value: String,
    /// What it is called there.
    pub origin: String,
    /// What may be shown of the value: an address may hold a password, or a token in its path.
    pub shown: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Import {
    /// The keys, in their order, each once.
    pub keys: Vec<ImportedKey>,
    /// The tokens, in their order, each once.
    pub tokens: Vec<ImportedToken>,
    /// What a project may use of a model.
    pub limits: Vec<keypool::Limit>,
    /// Settings that differ from the defaults.
    pub settings: Vec<ImportedSetting>,
    /// Whether there was a token that opened everything, in whose place the operator gets a new one.
    pub has_operator: bool,
    /// Whether that token was taken, and is a client's.
    pub operator_is_client: bool,
    /// How many tokens were not taken, since they can be none.
    pub tokens_refused: usize,
    /// What each document is.
    pub sources: Vec<String>,
    /// What was not taken, and why.
    pub left: Vec<String>,
    /// What was taken and needs a look.
    pub warnings: Vec<String>,
    /// How many keys and tokens stood there more than once.
    pub repeated: usize,
    /// How many notes there would be besides.
    pub unnamed: usize,
    places: HashMap<String, usize>,
    labels: HashSet<String>,
}

/// What a source says of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyDetails<'a> {
    pub(super) label: Option<&'a str>,
    pub(super) weight: u32,
    pub(super) enabled: bool,
}

impl Default for KeyDetails<'_> {
    fn default() -> Self {
        Self { label: None, weight: 1, enabled: true }
    }
}

impl Import {
    /// Returns whether nothing was found that a gateway could be started with.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_empty()
    }

    /// Returns how many of the keys are not to be used.
    pub fn disabled(&self) -> usize {
        self.keys.iter().filter(|key| !key.enabled).count()
    }

    pub(super) fn note_source(&mut self, document: &str, source: Source) {
        self.sources.push(format!("{document} is {}", source.words()));
    }

    /// Says what was not taken, and why.
    pub(super) fn leave(&mut self, note: impl Into<String>) {
        note_into(&mut self.left, &mut self.unnamed, note.into());
    }

    /// Says what needs a look.
    pub(super) fn warn(&mut self, note: impl Into<String>) {
        note_into(&mut self.warnings, &mut self.unnamed, note.into());
    }

    /// Takes a key, if it can be one.
    pub(super) fn add_key(
        &mut self,
        place: String,
        text: &str,
        details: KeyDetails<'_>,
    ) -> Result<(), ImportError> {
        let length = text.chars().count();
        if text.len() > *pasted::LENGTHS.end() {
            self.leave(format!("{place}: {length} characters, which is longer than a key can be"));
            return Ok(());
        }
        if let Err(error) = checked_secret(&place, SecretKind::Key, text) {
            self.leave(format!("{error} ({length} characters)"));
            return Ok(());
        }
        let secret = Secret::new(text);
        let fingerprint = fingerprint(&secret);
        if let Some(at) = self.places.get(&fingerprint) {
            self.repeated += 1;
            self.keys[*at].enabled |= details.enabled;
            return Ok(());
        }
        if self.keys.len() == MAX_PASTED_KEYS {
            return Err(ImportError::new(
                &place,
                format!("more than {MAX_PASTED_KEYS} keys: import them in parts"),
            ));
        }
        let label = details.label.and_then(|text| self.free_label(text));
        self.places.insert(fingerprint, self.keys.len());
        self.keys.push(ImportedKey {
            secret,
            place,
            label,
            weight: details.weight.max(1),
            enabled: details.enabled,
        });
        Ok(())
    }

    /// Takes the token that opened everything as a client's, if it can be one.
    pub(super) fn add_operators_token(&mut self, place: String, text: &str) -> Result<(), ImportError> {
        self.add_token(place, text)?;
        self.operator_is_client |= self.tokens.iter().any(|token| token.secret.expose() == text.trim());
        Ok(())
    }

    /// Takes a token, if it can be one.
    pub(super) fn add_token(&mut self, place: String, text: &str) -> Result<(), ImportError> {
        let text = text.trim();
        let length = text.chars().count();
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > MAX_TOKEN_BYTES {
            self.tokens_refused += 1;
            self.leave(format!("{place}: {length} characters, which is longer than a token can be"));
            return Ok(());
        }
        if let Err(error) = checked_secret(&place, SecretKind::Token, text) {
            self.tokens_refused += 1;
            self.leave(format!("{error} ({length} characters)"));
            return Ok(());
        }
        if self.tokens.iter().any(|token| token.secret.expose() == text) {
            self.repeated += 1;
            return Ok(());
        }
        if self.tokens.len() == MAX_TOKENS {
            return Err(ImportError::new(
                &place,
                format!("more than {MAX_TOKENS} tokens: import them in parts"),
            ));
        }
        let name = format!("import-{}", self.tokens.len() + 1);
        let token = ImportedToken { name, secret: Secret::new(text), place };
        if token.is_short() {
            self.warn(format!(
                "{}: the token {} has {length} characters and can be guessed; give its clients a longer one (`gemini-balance tokens add`)",
                token.place, token.name
            ));
        }
        self.tokens.push(token);
        Ok(())
    }

    /// Takes a setting that may be shown. The first that says it counts.
    pub(super) fn set(&mut self, setting: &'static str, value: String, origin: String) {
        let shown = value.clone();
        self.put(ImportedSetting { setting, value, origin, shown });
    }

    /// Takes where requests are sent.
    pub(super) fn set_base_url(&mut self, url: &str, origin: String) {
        const SETTING: &str = "upstream.gemini_base_url";
        match BaseUrl::parse(url) {
            Ok(_) if url == GOOGLE => {}
            Ok(parsed) => {
                let path = if parsed.has_path() { "/***" } else { "" };
                let shown = format!("\"{}{path}\"", parsed.origin());
                self.put(ImportedSetting { setting: SETTING, value: quoted(url), origin, shown });
            }
            Err(why) => self.leave(format!("{origin}: {why}")),
        }
    }

    /// Takes a proxy.
    pub(super) fn set_proxy(&mut self, url: &str, origin: String) {
        match ProxyUrl::parse(url) {
            Ok(_) => self.put(ImportedSetting {
                setting: "upstream.proxy",
                value: quoted(url),
                origin,
                shown: "***".to_owned(),
            }),
            Err(why) => self.leave(format!("{origin}: {why}")),
        }
    }

    fn put(&mut self, new: ImportedSetting) {
        if let Some(other) = self.settings.iter().find(|other| other.setting == new.setting) {
            if other.value != new.value {
                self.leave(format!("{}: {} is set by {} already", new.origin, new.setting, other.origin));
            }
            return;
        }
        self.settings.push(new);
    }

    /// Lists names that mean nothing here.
    pub(super) fn leave_names<'a>(&mut self, document: &str, names: impl Iterator<Item = &'a str>) {
        const NAMED: usize = 40;
        let names: BTreeSet<&str> = names.collect();
        let (shown, hidden): (Vec<&str>, Vec<&str>) =
            names.into_iter().partition(|name| is_setting_name(name));
        let more = hidden.len() + shown.len().saturating_sub(NAMED);
        let shown: Vec<&str> = shown.into_iter().take(NAMED).collect();
        let note = match (shown.is_empty(), more) {
            (true, 0) => return,
            (true, more) => format!("{more} others"),
            (false, 0) => shown.join(", "),
            (false, more) => format!("{} and {more} others", shown.join(", ")),
        };
        self.leave(format!("{document}: nothing here corresponds to {note}"));
    }

    /// Makes a label of somebody's note; `None` where none can be made of it.
    fn free_label(&mut self, text: &str) -> Option<String> {
        let holds_a_key = |text: &str| pasted::read(text).map_or(true, |found| !found.keys.is_empty());
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        if holds_a_key(line) {
            return None;
        }
        let is_plain = |sign: &char| {
            !crate::printable::acts_on_a_terminal(*sign) && !matches!(sign, '"' | '\'' | '`' | '<' | '>')
        };
        let label: String = line.chars().filter(is_plain).take(MAX_LABEL).collect();
        let label = label.trim();
        if label.is_empty() {
            return None;
        }
        let names = std::iter::once(label.to_owned()).chain((2..).map(|n| format!("{label}-{n}")));
        let free = names.take(MAX_PASTED_KEYS + 1).find(|name| !self.labels.contains(name))?;
        self.labels.insert(free.clone());
        Some(free)
    }
}

fn note_into(notes: &mut Vec<String>, unnamed: &mut usize, note: String) {
    if notes.len() < MAX_NOTES {
        notes.push(note);
    } else {
        *unnamed += 1;
    }
}

/// Returns whether a name looks like a setting's, and so like no secret.
fn is_setting_name(name: &str) -> bool {
    const LONGEST_WORD: usize = 24;
    name.len() <= 64
        && name.split(['_', '.']).all(|word| word.len() <= LONGEST_WORD)
        && (name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
            || name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')
            }))
        && name.starts_with(|sign: char| sign.is_ascii_alphabetic())
}

//! Why a verb on keys was not carried out: one line each, for the operator. None shows a secret.

use super::CHECKED_AT_ONCE;
use gemini::pasted::PasteError;
use gemini_balance_actors::key_ring::UnusableKey;
use gemini_balance_store::vault::VaultError;
use keypool::{KeyId, PoolError};
use std::fmt;

/// Why a verb was not carried out. Nothing has changed, but where it says so.
#[derive(Debug)]
pub(crate) enum KeysError {
    /// No key has this id.
    Unknown,
    /// The key is the configuration's.
    Configured,
    /// Another key has this label, or a fingerprint that reads the same.
    LabelTaken,
    /// A text cannot be what it is meant to be: what, and why.
    BadText(&'static str, &'static str),
    /// A weight of nothing.
    BadWeight,
    /// The pool would have no key.
    LastKey,
    /// Keys cannot be added here.
    Off,
    /// The pasted text is not read.
    Paste(PasteError),
    /// More keys than are checked for one question.
    TooManyToCheck,
    /// The key cannot be sent.
    Unusable(KeyId),
    /// The pool refuses the set.
    Refused(PoolError),
    /// It cannot be written.
    Vault(VaultError),
    /// The key manager does not answer.
    Unanswered,
    /// The key checker does not answer.
    CheckUnanswered,
    /// There is no way to Google with these settings.
    NoWay(String),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no key has this id; see `gemini-balance keys`"),
            Self::Configured => f.write_str(
                "the key is the configuration's: change it there; it can be disabled, enabled, reset and checked here",
            ),
            Self::LabelTaken => f.write_str("another key has this label"),
            Self::BadText(what, why) => write!(f, "{what} {why}"),
            Self::BadWeight => f.write_str("weight must be a whole number, at least 1"),
            Self::LastKey => f.write_str("it is the last key: add another first, or disable it"),
            Self::Off => f.write_str("keys cannot be added or changed here: pool.runtime_keys is \"off\""),
            Self::Paste(error) => error.fmt(f),
            Self::TooManyToCheck => write!(
                f,
                "at most {CHECKED_AT_ONCE} keys are checked for one question: name them by their fingerprints in \"choose\""
            ),
            Self::Unusable(id) => write!(f, "the key {id} holds a character that no header may carry"),
            Self::Refused(error) => error.fmt(f),
            Self::Vault(error) => write!(f, "store.vault_file: {error}"),
            Self::Unanswered => f.write_str(
                "the key manager does not answer; what was asked may be done yet: see `gemini-balance keys`",
            ),
            Self::CheckUnanswered => f.write_str("the key checker does not answer in time"),
            Self::NoWay(why) => f.write_str(why),
        }
    }
}

impl From<PasteError> for KeysError {
    fn from(error: PasteError) -> Self {
        Self::Paste(error)
    }
}

impl From<UnusableKey> for KeysError {
    fn from(unusable: UnusableKey) -> Self {
        Self::Unusable(unusable.id)
    }
}

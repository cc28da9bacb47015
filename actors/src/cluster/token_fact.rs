//! Tokens that are made while the service runs, as the gateways tell each other of them: what a token may do and the keyed
//! hashes of its secrets, never a secret. A hash is of use only to gateways with the same instance key, which each fact names by
//! a hash of its own.

use super::note::Note;
use crate::{caller_cuts::CallerCuts, store::KeptTokens};
use callers::{Directory, KeptToken, TokenChange, TokenHash};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is told again because it was lost gives way to what an operator has said meanwhile on a gateway that was alone, and
/// that to a removal: so that no lost secret is let in again.
const KNOWN: u64 = 0;
const CHANGED: u64 = 1;
const REMOVED: u64 = 2;

/// The tokens of this gateway, and what a change of them does.
pub(super) struct SharedTokens {
    pub(super) directory: Arc<Directory>,
    pub(super) kept: Arc<KeptTokens>,
    pub(super) cuts: CallerCuts,
}

/// What is told of one token.
#[derive(Serialize, Deserialize)]
struct TokenFact {
    instance: TokenHash,
    /// `None`: it is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Box<KeptToken>>,
    /// Whether what its caller has under way is to end.
    #[serde(default)]
    cut: bool,
}

impl SharedTokens {
    /// Returns what the others are to know of a change.
    pub(super) fn note(&self, change: &TokenChange, cut: bool) -> Option<Note> {
        self.note_of(change, cut, if matches!(change, TokenChange::Forget(_)) { REMOVED } else { CHANGED })
    }

    /// Returns what the others are to know of all tokens, should they have forgotten it.
    pub(super) fn all(&self) -> impl Iterator<Item = Note> {
        self.directory.kept().into_iter().filter_map(|change| self.note_of(&change, false, KNOWN))
    }

    fn note_of(&self, change: &TokenChange, cut: bool, rank: u64) -> Option<Note> {
        let instance = self.directory.instance()?;
        let (name, token) = match change {
            TokenChange::Put(token) => (&token.spec.name, Some(token.clone())),
            TokenChange::Forget(name) => (name, None),
            TokenChange::EverMade(_) => return None,
        };
        let body = serde_json::to_string(&TokenFact { instance, token, cut }).ok()?;
        Some(Note::Token { name: name.to_string(), body, rank })
    }

    /// Takes over what another gateway has told of a token.
    pub(super) fn hear(&self, name: &str, body: &str, by: &str) {
        let Ok(TokenFact { instance, token, cut }) = serde_json::from_str(body) else {
            log::error!(target: "cluster", "what {by} tells of the token {name} cannot be read");
            return;
        };
        let (change, what) = match token {
            Some(token) if *token.spec.name == *name => (TokenChange::Put(token), "changed"),
            Some(_) => return,
            None => (TokenChange::Forget(name.into()), "removed"),
        };
        let kept = self.directory.hear(change);
        if !kept.is_empty() {
            log::info!(target: "cluster", "the token {name} was {what} on {by}");
            self.kept.keep(kept);
        }
        if self.directory.instance().is_some_and(|own| own != instance) {
            log::error!(target: "cluster", "the token {name} was made on {by} under another instance key: it is let in here when store.instance_key_file is the same on all gateways");
        }
        if cut {
            self.cuts.cut(name);
        }
    }
}

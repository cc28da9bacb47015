//! What the gateways tell each other that is not of the pool: that a name the ledger knows has changed hands or is gone, where
//! a caller makes things, and tokens that are made or changed. They travel as facts do; only of a token it matters which came last.

use gemini_balance_cluster::{Fact, NodeId};

const MOVED: &str = "moved/";
const CREATION: &str = "creation/";
const TOKEN: &str = "token/";

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Note {
    /// What was known of this name of the ledger's is true no more.
    Moved(String),
    /// A caller makes things on this key, by its fingerprint.
    Creation {
        /// The caller's name.
        caller: String,
        /// The key's fingerprint.
        key: String,
    },
    /// A token that was made while the service runs is now like this, or is no more.
    Token {
        /// Its caller's name.
        name: String,
        /// How it is: see `token_fact`.
        body: String,
        /// What it counts for against what its teller had not heard.
        rank: u64,
    },
}

impl Note {
    /// Returns what it is about: of two of one subject the later counts.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Moved(name) => format!("{MOVED}{name}"),
            Self::Creation { caller, .. } => format!("{CREATION}{caller}"),
            Self::Token { name, .. } => format!("{TOKEN}{name}"),
        }
    }

    /// Makes a fact of it. The first is kept for an hour, the others until another of their subject is told. `None` where it is too long.
    pub fn fact(&self, origin: &NodeId) -> Option<Fact> {
        let body = match self {
            Self::Moved(_) => "",
            Self::Creation { key, .. } => key,
            Self::Token { body, .. } => body,
        };
        let rank = if let Self::Token { rank, .. } = self { *rank } else { 0 };
        Fact::new(&self.subject(), rank, body, origin.clone()).ok()
    }

    /// Reads one of a fact that is one.
    pub fn of(fact: &Fact) -> Option<Self> {
        if let Some(name) = fact.subject().strip_prefix(MOVED) {
            return Some(Self::Moved(name.to_owned()));
        }
        if let Some(name) = fact.subject().strip_prefix(TOKEN) {
            return Some(Self::Token {
                name: name.to_owned(),
                body: fact.body().to_owned(),
                rank: fact.rank(),
            });
        }
        let caller = fact.subject().strip_prefix(CREATION)?.to_owned();
        Some(Self::Creation { caller, key: fact.body().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_the_same_after_its_way() {
        let node = NodeId::new("gw-1.0").unwrap();
        for note in [
            Note::Moved("files/abc".to_owned()),
            Note::Creation { caller: "alice/x".to_owned(), key: "key-0123".to_owned() },
            Note::Token { name: "alice/x".to_owned(), body: "{}".to_owned(), rank: 2 },
        ] {
            assert_eq!(Note::of(&note.fact(&node).unwrap()), Some(note));
        }
        let of_pool = Fact::new("{\"subject\":\"key\"}", 1, "", node.clone()).unwrap();
        assert_eq!(Note::of(&of_pool), None);
        assert_eq!(Note::Moved("x".repeat(2_000)).fact(&node), None);
    }
}

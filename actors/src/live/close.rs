//! How a session is closed: a code and a reason, from either side or of the gateway's own. `docs/errors.md` lists the
//! latter; a test holds it to this list.

use gemini::live::fitting_reason;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What is said to a side when its session is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code (RFC 6455 §7.4).
    pub code: u16,
    /// The reason. What is over 123 bytes is cut off.
    pub reason: String,
}

impl Close {
    pub(super) fn frame(&self) -> CloseFrame {
        CloseFrame { code: self.code.into(), reason: fitting_reason(&self.reason).into() }
    }
}

/// The closes that the gateway makes of itself in a session, besides those for want of a key or of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The first message did not come.
    SetupLate,
    /// The first message is no setup.
    NoSetup,
    /// A message over [`super::MAX_MESSAGE_BYTES`], from either side.
    TooLong,
    /// What came is not WebSocket's protocol.
    Malformed,
    /// The setup, or a later message, names what is not the caller's.
    NotYours,
    /// The setup names these two, and no key reaches both; or a later message names the one, which the session's key
    /// does not reach.
    TwoProjects {
        /// The one.
        one: String,
        /// The other.
        other: String,
    },
    /// The setup, or a later message, names what no key of the pool reaches any more.
    OwnerGone {
        /// What it names.
        name: String,
    },
    /// The upstream's connection is gone, or has gone silent.
    BrokeOff,
    /// The service ends.
    GoingDown,
}

impl Notice {
    /// All of them.
    pub fn all() -> [Self; 9] {
        let (one, other) = ("cachedContents/a".to_owned(), "files/b".to_owned());
        [
            Self::SetupLate,
            Self::NoSetup,
            Self::TooLong,
            Self::Malformed,
            Self::NotYours,
            Self::TwoProjects { one, other },
            Self::OwnerGone { name: "files/a".to_owned() },
            Self::BrokeOff,
            Self::GoingDown,
        ]
    }

    /// Code and reason.
    pub fn close(&self) -> Close {
        let (code, reason) = match self {
            Self::TwoProjects { one, other } => {
                let (one, other) = (short(one), short(other));
                let reason = format!("{one} and {other} are of different projects: create both again.");
                return Close { code: 1007, reason };
            }
            Self::OwnerGone { name } => {
                let name = short(name);
                let reason =
                    format!("The key that {name} belongs to is no longer in the pool: create it again.");
                return Close { code: 1008, reason };
            }
            Self::SetupLate => (1008, "No setup came in time: send it as the session's first message."),
            Self::NoSetup => {
                (1007, "The first message is no setup: send {\"setup\":{\"model\":...}} as JSON.")
            }
            Self::TooLong => {
                (1009, "A message is over this gateway's limit of 16777216 bytes: send it in parts.")
            }
            Self::Malformed => {
                (1002, "What came is not framed as a WebSocket's messages are: connect again.")
            }
            // Google's own words for what another project has, or none.
            Self::NotYours => (1008, "Requested entity was not found."),
            Self::BrokeOff => (1011, "The Gemini API broke off in the middle of the session: connect again."),
            Self::GoingDown => (1001, "The gateway is shutting down: connect again."),
        };
        Close { code, reason: reason.to_owned() }
    }
}

/// As much of a name as two of them fit into a reason with what is said of them.
fn short(name: &str) -> &str {
    let mut end = name.len().min(36);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use gemini::live::MAX_REASON_BYTES;

    #[test]
    fn every_reason_of_our_own_fits_whole() {
        let long = || format!("files/{}", "é".repeat(1_000));
        let two = Notice::TwoProjects { one: long(), other: long() };
        for notice in Notice::all().into_iter().chain([two, Notice::OwnerGone { name: long() }]) {
            assert!(notice.close().reason.len() <= MAX_REASON_BYTES, "{notice:?}");
        }
    }
}

//! Every reader of bytes from outside, held to what it promises of any bytes: one file a reader, each with a `run` that panics
//! where the promise is broken. Two drivers feed them: `tests/any_bytes.rs` with the seeds and some thousand variations of
//! them, in each run of the tests, and `fuzz/` with whatever a fuzzer comes upon, for as long as one lets it.
//!
//! Nothing depends on this crate but those two.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a reader is found out"
)]

pub mod chunks;
pub mod dotenv;
pub mod errors;
pub mod events;
pub mod facts;
pub mod framing;
pub mod headers;
pub mod imports;
pub mod listings;
pub mod live;
pub mod messages;
pub mod names;
pub mod pastes;
pub mod paths;
pub mod queries;
#[path = "../../gemini/tests/reference/names.rs"]
mod reference;
pub mod responses;
pub mod settings;
mod told;
pub mod usages;

/// The secret that no reader may let through: of the form of a key.
pub(crate) const SECRET: &str = "AIzaFuzzedFuzzedFuzzedFuzzedFuzzed00001";

/// What reads bytes of one kind, as its drivers call it.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// What its fuzz target and its folder of seeds are called.
    pub name: &'static str,
    /// Reads the bytes, and panics where the reader breaks its promise.
    pub run: fn(&[u8]),
}

/// Those that the drivers feed, in the order of their names.
pub const READERS: &[Reader] = &[
    Reader { name: "chunks", run: chunks::run },
    Reader { name: "dotenv", run: dotenv::run },
    Reader { name: "errors", run: errors::run },
    Reader { name: "events", run: events::run },
    Reader { name: "facts", run: facts::run },
    Reader { name: "framing", run: framing::run },
    Reader { name: "headers", run: headers::run },
    Reader { name: "imports", run: imports::run },
    Reader { name: "listings", run: listings::run },
    Reader { name: "live", run: live::run },
    Reader { name: "messages", run: messages::run },
    Reader { name: "names", run: names::run },
    Reader { name: "pastes", run: pastes::run },
    Reader { name: "paths", run: paths::run },
    Reader { name: "queries", run: queries::run },
    Reader { name: "responses", run: responses::run },
    Reader { name: "settings", run: settings::run },
    Reader { name: "usages", run: usages::run },
];

/// Cuts bytes into pieces of this size; one of zero does not cut.
pub(crate) fn pieces(bytes: &[u8], size: u8) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(if size == 0 { bytes.len().max(1) } else { size.into() })
}

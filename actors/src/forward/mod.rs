//! Forwarding: one actor a request, from the first lease to the last byte. The files below it: `actor` has a request's
//! life, `search` what its attempts are, `attempt` one of them, `relay` what passes of an answer, `lists` and `upload` what is
//! more than one request to the upstream.

mod actor;
mod answer;
mod attempt;
mod fallback;
mod forwarder;
mod job;
mod learning;
mod lists;
mod observe;
mod redaction;
mod relay;
mod search;
#[cfg(test)]
mod tests;
mod upload;

pub use actor::{ForwardActor, Reply};
pub use fallback::HEADER as FALLBACK_HEADER;
pub use forwarder::{Forwarder, Limits};
pub use job::{Answer, AnswerBody, BodiesByModel, Job, Piece};
pub use upload::{BodyStream, BrokenOff, is_under_way};

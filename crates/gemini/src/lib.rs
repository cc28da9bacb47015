//! What is known of Google's Gemini API on the wire, without a socket, a clock or a thread: which operation a path
//! names, what a fault means, how much an answer used. The lowest floor: it imports nothing of ours.

pub mod absent;
pub mod answer;
mod blame;
pub mod charset;
pub mod classify;
pub mod dialect;
mod error_body;
mod error_start;
pub mod event_data;
pub mod events;
pub mod fault;
mod late_error;
pub mod listing;
pub mod live;
pub mod media_type;
pub mod model_list;
pub mod names;
pub mod operation;
pub mod pasted;
pub mod path;
pub mod peek;
mod pieces;
pub mod prefix;
pub mod query;
mod redact;
pub mod spending;
mod stream_error;
pub mod tokens;
pub mod usage;
pub mod usual_error;

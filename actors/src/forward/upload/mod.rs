//! Uploads that are under way: the session behind a token in an address, the addresses, and bodies that pass without
//! being held.

mod address;
mod body_stream;
mod sealing;
mod session;

pub(super) use address::{hide_upload_id, path_of, upload_id, upload_id_in};
pub use body_stream::{BodyStream, BrokenOff};
pub(super) use sealing::seal;
pub use session::is_under_way;
pub(super) use session::session;

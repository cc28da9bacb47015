//! One attempt after another: what follows a failed one, and when there is no use in trying.

mod retry;

pub(crate) use retry::{Step, Tries};

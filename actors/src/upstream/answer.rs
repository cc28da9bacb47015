//! An answer of the upstream's that is whole, as it can be given to a client: an error, or a list's page.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// An answer that is whole.
#[derive(Clone, Debug)]
pub(crate) struct WholeAnswer {
    /// The upstream's status.
    pub(crate) status: StatusCode,
    /// Its headers, as they may go to a client.
    pub(crate) headers: HeaderMap,
    /// Its body, without any key.
    pub(crate) body: Bytes,
}

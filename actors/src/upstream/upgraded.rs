//! A connection that has left HTTP: what a Live session speaks over.

use super::lanes::AnswerStream;
use hyper::upgrade;
use hyper_util::rt::TokioIo;

/// The upstream's side of an upgraded connection.
pub(crate) type Upgraded = TokioIo<upgrade::Upgraded>;

/// Takes the connection over which the upstream has agreed to an upgrade.
pub(crate) async fn upgraded(response: http::Response<AnswerStream>) -> Option<Upgraded> {
    upgrade::on(response).await.ok().map(TokioIo::new)
}

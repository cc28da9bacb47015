//! What a client's messages name once its session has begun: a turn can show a file as a setup can. The session is on
//! its project's key by then, so what is another caller's, or another project's, ends it.

use super::{
    Live,
    job::LiveJob,
    line::Leaving,
    relay::EndedBy,
    scanner::content,
    search::{NoSession, asker},
};
use crate::{attempts::AttemptRecord, key_ring::Key};
use gemini::names::in_request;
use tokio_tungstenite::tungstenite::Message;

impl Live {
    /// Checks whether a message may go up on `key`; the error is what the session ends by. What nobody here has heard of
    /// passes: the project is chosen, so there is nobody to ask.
    pub(super) async fn may_pass(&self, job: &LiveJob, key: &Key, message: &Message) -> Result<(), EndedBy> {
        let mentions = in_request(content(message));
        if mentions.is_empty() {
            return Ok(());
        }
        let record = AttemptRecord::since(job.arrived); // nothing is attempted
        let checked = self.forwarder.binding_rule(&record).check(asker(job), key.id(), &mentions).await;
        checked.map_err(|unbound| match NoSession::from(unbound) {
            NoSession::Notice(notice) => EndedBy::Client(Leaving::Offence(notice)),
            NoSession::Client(_) | NoSession::Upstream(..) | NoSession::Failure(_) => EndedBy::LedgerSilent,
        })
    }
}

//! What a client's messages name once its session has begun: a turn can show a file as a setup can. The session is on
//! its project's key by then, so what is another caller's, or another project's, ends it.

use super::{
    Live, close::Notice, job::LiveJob, line::Leaving, relay::EndedBy, scanner::content, search::shown,
};
use crate::{
    caller::Visibility,
    key_ring::Key,
    ledger::{self, LedgerSilent},
};
use gemini::names::{Mention, in_request};
use tokio_tungstenite::tungstenite::Message;

/// What the session itself is called where a name is of another project.
const THIS_SESSION: &str = "this session";

impl Live {
    /// Whether a message may go up on `key`; the error is what the session ends by. What nobody here has heard of
    /// passes, as in a setup.
    pub(super) async fn may_pass(&self, job: &LiveJob, key: &Key, message: &Message) -> Result<(), EndedBy> {
        let mentions = in_request(content(message));
        if mentions.is_empty() {
            return Ok(());
        }
        // Boxed, since most messages name nothing, and every session would keep the room for it.
        Box::pin(self.may_name(job, key, &mentions)).await
    }

    async fn may_name(&self, job: &LiveJob, key: &Key, mentions: &[Mention]) -> Result<(), EndedBy> {
        let ledger = &self.forwarder.ledger;
        let entries: Vec<String> =
            mentions.iter().map(|mention| ledger::entry(mention.name.as_str()).into_owned()).collect();
        let found = match ledger.find_all(&entries).await {
            Ok(found) => found,
            // Without the ledger's word a caller could be shown what is another's.
            Err(LedgerSilent) if job.caller.visibility == Visibility::Own => {
                return Err(EndedBy::LedgerSilent);
            }
            Err(LedgerSilent) => return Ok(()),
        };
        for (mention, holding) in mentions.iter().zip(found) {
            let Some(holding) = holding else { continue };
            let offence = |notice| Err(EndedBy::Client(Leaving::Offence(notice)));
            if !job.caller.sees(holding.caller.as_deref()) {
                return offence(Notice::NotYours);
            }
            if ledger.is_reached(&holding, key) {
                continue;
            }
            let name = shown(mention.name.as_str());
            return offence(match ledger.owner(&holding) {
                Some(_) => Notice::TwoProjects { one: name, other: THIS_SESSION.to_owned() },
                None => Notice::OwnerGone { name },
            });
        }
        Ok(())
    }
}

//! The session of an upload that is under way, found by the token in the address that its client was given.

use super::{
    address::{path_of, upload_id, upload_id_in},
    sealing::open,
};
use crate::ledger::{Holding, Ledger, LedgerSilent, sealed};
use gemini::path::{Surface, Target};

/// Tells whether a target is a step of an upload that was begun before.
pub fn is_under_way(target: &Target) -> bool {
    target.surface == Surface::Upload && token(target).is_some()
}

fn token(target: &Target) -> Option<&str> {
    upload_id_in(target.query.as_deref()?)
}

/// Finds the session that a target's token stands for; the target then carries Google's own id. `None` for a token nobody was
/// given, or one of another upload.
pub(in crate::forward) async fn session(
    ledger: &Ledger,
    target: &mut Target,
) -> Result<Option<Holding>, LedgerSilent> {
    let Some(token) = token(target) else { return Ok(None) };
    let Some(holding) = ledger.find(&sealed("uploads", token)).await? else { return Ok(None) };
    let Some(address) = holding.address.as_deref().and_then(|kept| open(kept, token)) else {
        return Ok(None);
    };
    // A proxy may have taken a prefix off the path that the client was given.
    if !path_of(&address).ends_with(&target.path) {
        return Ok(None);
    }
    let Some(id) = upload_id(&address) else { return Ok(None) };
    let token = token.to_owned();
    target.query = target.query.as_ref().map(|query| query.replacen(&token, id, 1));
    Ok(Some(holding))
}

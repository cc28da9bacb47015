//! The door of a request: what its path says of it is held against its caller's token before the body is read, and an
//! account is opened on which its use is booked.

use super::{AppState, error::GatewayError};
use callers::{Door, ModelShown, Pass, Registered};
use gemini::{
    path::Target,
    spending::{Spending, spending},
};
use gemini_balance_actors::{Caller, CallerAccount};
use std::{rc::Rc, sync::Arc};

/// Lets a request in, or says why not.
pub(super) async fn admit(
    state: &AppState,
    caller: &Caller,
    method: &str,
    target: &Target,
) -> Result<CallerAccount, GatewayError> {
    let spends_on = spending(method, target);
    let model = match (&target.operation.model, spends_on) {
        (Some(model), _) => ModelShown::Named(model.as_str()),
        (None, Spending::Unseen) => ModelShown::Hidden,
        (None, _) => ModelShown::None,
    };
    let door = Door { surface: target.surface, model, spends: spends_on != Spending::Nothing };
    // What is begun here and carried out later says nothing of its size.
    let is_booked = matches!(spends_on, Spending::PathModel | Spending::BodyModel);
    open(state, caller, door, is_booked).await
}

/// Lets a request in of which this much is known, or says why not.
pub(super) async fn open(
    state: &AppState,
    caller: &Caller,
    door: Door<'_>,
    is_booked: bool,
) -> Result<CallerAccount, GatewayError> {
    let token = known(state, caller).await?;
    let pass = token.admit(door, state.clock.now()).map_err(GatewayError::Denied)?;
    counted(state, pass, is_booked).await
}

/// Lets a request go on for which Google is asked once more: what it spends is booked anew, and it counts once.
pub(super) async fn open_again(state: &AppState, caller: &Caller) -> Result<CallerAccount, GatewayError> {
    let token = known(state, caller).await?;
    let pass = token.admit_again(true, state.clock.now()).map_err(GatewayError::Denied)?;
    counted(state, pass, true).await
}

/// Returns the caller's token, once it is known what the other gateways of a cluster have let in of it.
async fn known<'a>(state: &AppState, caller: &'a Caller) -> Result<&'a Arc<Registered>, GatewayError> {
    let token = token(caller)?;
    if let Some(together) = &state.together {
        // Boxed, as most gateways are alone and all requests would carry its memory.
        Box::pin(together.look(token)).await;
    }
    Ok(token)
}

/// Opens the account of a request that was let in, unless the other gateways have let in too much meanwhile.
async fn counted(state: &AppState, pass: Pass, is_booked: bool) -> Result<CallerAccount, GatewayError> {
    let account = CallerAccount::new(pass, is_booked, state.clock, Rc::clone(&state.prices));
    account.counted_with(state.together.as_ref()).await.map_err(GatewayError::Denied)
}

/// Returns the caller's token: whoever is let in has shown one, or a key in its place.
fn token(caller: &Caller) -> Result<&Arc<Registered>, GatewayError> {
    caller.token().ok_or(GatewayError::CredentialUnknown)
}

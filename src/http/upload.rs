//! Uploads: who may go on with one, and their bodies, which pass to the `ForwardActor` as they come, without being held.

use super::{AppState, auth::Refused, body::BodyRefused, error::GatewayError};
use actix_web::{http::header::HeaderMap, web};
use bytes::Bytes;
use futures_util::StreamExt;
use gemini::path::{Surface, Target};
use gemini_balance_actors::{
    Caller,
    forward::{BrokenOff, Reply, is_under_way},
    ledger::{Holding, LedgerSilent},
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Who calls, and the upload that is gone on with, if that is what is asked for. Some SDKs send no credential with what
/// follows the start of an upload: the token in its address, which nobody can guess, stands for the caller then.
pub(super) async fn admit(
    face: &AppState,
    target: &mut Target,
    caller: Result<Caller, Refused>,
) -> Result<(Caller, Option<Holding>), GatewayError> {
    if !is_under_way(target)
        || matches!(caller, Err(Refused::Unknown | Refused::GuessedTooOften { .. } | Refused::Denied { .. }))
    {
        return Ok((caller?, None));
    }
    // Boxed, as few requests come here and all would carry its memory.
    let session = Box::pin(face.forwarder.upload_session(target)).await;
    let session = session
        .map_err(|LedgerSilent| GatewayError::Forward(gemini_balance_actors::Failure::LedgerSilent))?;
    match (caller, session) {
        (Ok(caller), Some(session)) if caller.sees(session.caller.as_deref()) => Ok((caller, Some(session))),
        (Ok(_), _) => Err(GatewayError::NoUpload),
        (Err(refused), None) => Err(refused.into()),
        (Err(_), Some(session)) => {
            let starter =
                session.caller.as_deref().map_or(Err(Refused::Unknown), |name| face.gate.named(name));
            Ok((starter?, Some(session)))
        }
    }
}

/// Whether the body is a file's bytes rather than what is said about one.
pub(super) fn streams(target: &Target, headers: &HeaderMap, announced: Option<u64>) -> bool {
    let starts = headers
        .get("x-goog-upload-command")
        .is_some_and(|command| command.as_bytes().trim_ascii().eq_ignore_ascii_case(b"start"));
    target.surface == Surface::Upload && announced != Some(0) && !starts
}

/// Passes the body on while the answer is waited for. The answer, and whether all of the body was read before it came.
pub(super) async fn pass_on(
    payload: &mut web::Payload,
    pieces: mpsc::Sender<Result<Bytes, BrokenOff>>,
    mut reply: oneshot::Receiver<Reply>,
    limit: u64,
    patience: Duration,
) -> Result<(Result<Reply, oneshot::error::RecvError>, bool), BodyRefused> {
    let passed = tokio::select! {
        passed = pump(payload, &pieces, limit, patience) => passed,
        answer = &mut reply => return Ok((answer, false)),
    };
    match passed {
        Ok(()) => {
            drop(pieces);
            Ok((reply.await, true))
        }
        Err(refused) => {
            // The actor is to see that nobody waits any more before the body breaks off, or it would take the break for
            // the upstream's and hold it against the key.
            drop(reply);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            Err(refused)
        }
    }
}

async fn pump(
    payload: &mut web::Payload,
    pieces: &mpsc::Sender<Result<Bytes, BrokenOff>>,
    limit: u64,
    patience: Duration,
) -> Result<(), BodyRefused> {
    let mut passed = 0_u64;
    loop {
        let next = tokio::time::timeout(patience, payload.next()).await.map_err(|_| BodyRefused::TooSlow)?;
        let Some(piece) = next else { return Ok(()) };
        let piece = piece.map_err(|_| BodyRefused::Broken)?;
        passed += piece.len() as u64;
        if passed > limit {
            return Err(BodyRefused::TooLong);
        }
        if pieces.send(Ok(piece)).await.is_err() {
            // The upstream takes no more: its answer says why.
            std::future::pending::<()>().await;
        }
    }
}

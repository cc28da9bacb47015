//! Keeps the key from what has come of a body before its head goes to the client, once an error was mentioned there: reads on
//! where it takes more to know.

use super::{
    answer::MAX_CLASSIFIED,
    observe::{Observer, Release},
};
use crate::upstream::{Body, BodyError, Coding, Joined, decoded};
use bytes::Bytes;

/// Returns what of the body's beginning may pass, reading on as long as it ends inside what could be the key. The error is
/// what has come, when the key cannot be taken out of it as it passes.
pub(super) async fn look_through(
    mut begun: Bytes,
    body: &mut Body,
    is_over: &mut bool,
    observer: &mut Observer,
) -> Result<Bytes, Bytes> {
    let mut is_last = *is_over;
    loop {
        begun = match observer.release(begun, is_last) {
            Release::Pass(begun) => return Ok(begun),
            Release::Never(begun) => return Err(begun),
            Release::Hold(begun) => begun,
        };
        let mut joined = Joined::default();
        joined.push(begun);
        match body.next().await {
            Ok(Some(chunk)) => {
                observer.see(&chunk);
                joined.push(chunk);
            }
            Ok(None) => {
                *is_over = true;
                is_last = true;
            }
            // Found again, and told, by the relay.
            Err(BodyError) => is_last = true,
        }
        begun = joined.into_bytes();
    }
}

/// Returns a coded document as it is without its coding, read to its end; `None` of one that is too long or breaks off.
pub(super) async fn decoded_whole(
    begun: Bytes,
    coding: Coding,
    body: &mut Body,
    is_over: &mut bool,
    observer: &mut Observer,
) -> Option<Vec<u8>> {
    let mut whole = Joined::default();
    whole.push(begun);
    while !*is_over && whole.len() < MAX_CLASSIFIED {
        match body.next().await {
            Ok(Some(chunk)) => {
                observer.see(&chunk);
                whole.push(chunk);
            }
            Ok(None) => *is_over = true,
            Err(BodyError) => return None,
        }
    }
    let clear = decoded(coding, &whole.bytes(), MAX_CLASSIFIED)?;
    (*is_over && clear.len() < MAX_CLASSIFIED).then_some(clear)
}

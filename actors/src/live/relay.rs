//! Carries a session: messages pass both ways one at a time, with their opcodes and boundaries, no faster than the other
//! side takes them. What ends one side ends the other, and says so.

use super::line::{Leaving, Listener, Speaker};
use bytes::Bytes;
use std::{cell::Cell, future::Future, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_tungstenite::tungstenite::Message;

/// When nothing more can be written to a side, its own word of why may still lie unread.
const LAST_WORD: Duration = Duration::from_millis(500);

/// What ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EndedBy {
    Client(Leaving),
    Upstream(Leaving),
    /// The service goes down.
    Gateway,
}

/// How much has passed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) up: Cell<u64>,
    pub(super) down: Cell<u64>,
}

fn add(counter: &Cell<u64>, message: &Message) {
    counter.set(counter.get() + message.len() as u64);
}

/// A side, both of its directions.
pub(super) struct Side<'a, S> {
    pub(super) speaker: &'a Speaker<S>,
    pub(super) listener: &'a mut Listener<S>,
}

/// Carries messages until something ends the session. `held` is what the client said before the upstream's `first`
/// word; `seen` looks at each message of the upstream's, and may change it.
pub(super) async fn relay<C, U>(
    client: Side<'_, C>,
    upstream: Side<'_, U>,
    held: Option<Message>,
    first: Message,
    passed: &Passed,
    mut seen: impl FnMut(Message) -> Message,
    going_down: impl Future<Output = ()>,
) -> EndedBy
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let up = async {
        if let Some(message) = held
            && let Err(leaving) = upstream.speaker.say(message).await
        {
            sleep(LAST_WORD).await;
            return EndedBy::Upstream(leaving);
        }
        let pinged = async |payload: Bytes| upstream.speaker.ping(payload).await;
        loop {
            let message = match client.listener.next(&pinged).await {
                Ok(message) => message,
                Err(leaving) => return EndedBy::Client(leaving),
            };
            add(&passed.up, &message);
            if let Err(leaving) = upstream.speaker.say(message).await {
                sleep(LAST_WORD).await;
                return EndedBy::Upstream(leaving);
            }
        }
    };
    let down = async {
        let pinged = async |payload: Bytes| client.speaker.ping(payload).await;
        let mut message = Ok(first);
        loop {
            match message {
                Ok(message) => {
                    let message = seen(message);
                    add(&passed.down, &message);
                    if let Err(leaving) = client.speaker.say(message).await {
                        sleep(LAST_WORD).await;
                        return EndedBy::Client(leaving);
                    }
                }
                Err(leaving) => return EndedBy::Upstream(leaving),
            }
            message = upstream.listener.next(&pinged).await;
        }
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
        () = client.speaker.watch() => EndedBy::Client(Leaving::Gone),
        () = upstream.speaker.watch() => EndedBy::Upstream(Leaving::Gone),
        () = going_down => EndedBy::Gateway,
    }
}

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
    /// The client names something, and nobody could say whose it is.
    LedgerSilent,
    /// The service goes down.
    Gateway,
    /// The operator has ended what ran under its caller's token.
    Cut,
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

/// What was said before messages are carried.
pub(super) struct Begun {
    /// By the client, after its setup.
    pub(super) held: Option<Message>,
    /// By the upstream.
    pub(super) first: Message,
}

/// Carries messages until something ends the session. `may_pass` looks at each message of the client's before it goes
/// up, and says what ends the session instead; `seen` looks at each of the upstream's, and may change it.
pub(super) async fn relay<C, U>(
    client: Side<'_, C>,
    upstream: Side<'_, U>,
    begun: Begun,
    passed: &Passed,
    may_pass: impl AsyncFn(&Message) -> Result<(), EndedBy>,
    mut seen: impl AsyncFnMut(Message) -> Message,
    going_down: impl Future<Output = ()>,
) -> EndedBy
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let Begun { held, first } = begun;
    let up = async {
        let pinged = async |payload: Bytes| upstream.speaker.ping(payload).await;
        let mut held = held;
        loop {
            let message = match held.take() {
                Some(message) => Ok(message),
                None => client.listener.next(&pinged).await,
            };
            let message = match message {
                Ok(message) => message,
                Err(leaving) => return EndedBy::Client(leaving),
            };
            add(&passed.up, &message);
            if let Err(ended) = may_pass(&message).await {
                return ended;
            }
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
                    let message = seen(message).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{activity::Watched, line::split, socket_config};
    use futures_util::{SinkExt, StreamExt};
    use std::{future::pending, time::Duration};
    use tokio::{
        io::{DuplexStream, duplex},
        time::{Instant, sleep, timeout},
    };
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    type Peer = WebSocketStream<DuplexStream>;

    const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A side of the relay, and who is on the other end of its line.
    async fn side(role: Role) -> (Speaker<DuplexStream>, Listener<DuplexStream>, Peer) {
        let (here, there) = duplex(4 * 1024);
        let (watched, activity) = Watched::new(here);
        let socket = WebSocketStream::from_raw_socket(watched, role, Some(socket_config())).await;
        let (speaker, listener) = split(socket, activity, WRITE_TIMEOUT);
        let other = if role == Role::Server { Role::Client } else { Role::Server };
        (speaker, listener, WebSocketStream::from_raw_socket(there, other, None).await)
    }

    /// Relays until an end, while `client` and `upstream` do as they like.
    async fn ended<C: Future<Output = ()>, U: Future<Output = ()>>(
        client: impl FnOnce(Peer) -> C,
        upstream: impl FnOnce(Peer) -> U,
    ) -> (EndedBy, Passed, Duration) {
        let (to_client, mut from_client, client_peer) = side(Role::Server).await;
        let (to_upstream, mut from_upstream, upstream_peer) = side(Role::Client).await;
        let passed = Passed::default();
        let begun = Instant::now();
        let ended = relay(
            Side { speaker: &to_client, listener: &mut from_client },
            Side { speaker: &to_upstream, listener: &mut from_upstream },
            Begun { held: None, first: Message::binary("first") },
            &passed,
            async |_: &Message| Ok(()),
            async |message| message,
            pending(),
        );
        let peers = async { tokio::join!(client(client_peer), upstream(upstream_peer)) };
        tokio::pin!(peers);
        tokio::select! {
            ended = ended => (ended, passed, begun.elapsed()),
            _ = &mut peers => unreachable!("the peers stay"),
        }
    }

    /// Reads for ever, which answers pings.
    async fn listens(mut peer: Peer) {
        while peer.next().await.is_some() {}
        pending::<()>().await;
    }

    /// Holds its line and does nothing.
    async fn is_dead(peer: Peer) {
        let _line = peer;
        pending::<()>().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_may_be_silent_as_long_as_both_sides_answer_pings() {
        let silent = ended(listens, listens);
        assert!(timeout(100 * MINUTE, silent).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_answers_no_ping_ends_the_session_within_a_minute() {
        let (by, _, after) = ended(listens, is_dead).await;
        assert_eq!(by, EndedBy::Upstream(Leaving::Gone));
        assert!(after <= MINUTE, "{after:?}");
        let (by, _, after) = ended(is_dead, listens).await;
        assert_eq!(by, EndedBy::Client(Leaving::Gone));
        assert!(after <= MINUTE, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_takes_minutes_to_arrive_keeps_its_side_alive() {
        let slow = async |mut peer: Peer| {
            use tokio::io::AsyncWriteExt;
            // A frame's head that announces 64 KiB, unmasked as a server's are, and then a byte a second of them.
            peer.get_mut().write_all(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]).await.unwrap();
            loop {
                sleep(Duration::from_secs(1)).await;
                peer.get_mut().write_all(b"x").await.unwrap();
            }
        };
        assert!(timeout(10 * MINUTE, ended(listens, slow)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_stalled_and_the_upstream_is_not_taken_for_dead() {
        let floods = async |mut peer: Peer| {
            while peer.send(Message::binary(vec![0; 16 * 1024])).await.is_ok() {}
            pending::<()>().await;
        };
        let (by, passed, after) = ended(is_dead, floods).await;
        assert_eq!(by, EndedBy::Client(Leaving::Stalled));
        assert!(after >= WRITE_TIMEOUT && after < WRITE_TIMEOUT + MINUTE / 2, "{after:?}");
        assert!(passed.down.get() < 64 * 1024, "{}", passed.down.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_at_a_time_is_served_to_the_end() {
        let sips = async |mut peer: Peer| {
            use tokio::io::AsyncReadExt;
            loop {
                sleep(Duration::from_secs(50)).await;
                let _ = peer.get_mut().read_u8().await;
            }
        };
        let says_much = async |mut peer: Peer| {
            peer.send(Message::binary(vec![0; 16 * 1024])).await.unwrap();
            listens(peer).await;
        };
        assert!(timeout(20 * MINUTE, ended(sips, says_much)).await.is_err());
    }
}

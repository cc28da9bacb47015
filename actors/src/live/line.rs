//! One side of a session: its messages, its pings, and its end. The client's side and the upstream's are alike.

use super::{
    activity::{Activity, Watched},
    close::{Close, Notice},
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use std::{pin::pin, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, error::ProtocolError, protocol::CloseFrame},
};

/// How long a side may be quiet before it is pinged.
const QUIET: Duration = Duration::from_secs(30);
/// How long it may then take to say anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a side has to answer a close.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// What ends a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It said so, with or without a code.
    Closed(Option<CloseFrame>),
    /// Its connection is gone, or silent.
    Gone,
    /// It sent what is not taken.
    Offence(Notice),
    /// It takes nothing.
    Stalled,
}

/// What was read of a side, if it goes on.
pub(super) fn heard(next: Option<Result<Message, Error>>) -> Result<Message, Leaving> {
    match next {
        Some(Ok(Message::Close(frame))) => Err(Leaving::Closed(frame)),
        Some(Ok(message)) => Ok(message),
        Some(Err(Error::Capacity(_))) => Err(Leaving::Offence(Notice::TooLong)),
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Err(Leaving::Gone),
        Some(Err(Error::Protocol(_) | Error::Utf8(_))) => Err(Leaving::Offence(Notice::Malformed)),
        Some(Err(_)) | None => Err(Leaving::Gone),
    }
}

/// What is written to a side.
pub(super) struct Speaker<S> {
    sink: Mutex<SplitSink<WebSocketStream<Watched<S>>, Message>>,
    pub(super) activity: Rc<Activity>,
    /// How long the side may take nothing of what is written to it.
    write_timeout: Duration,
}

/// What is read of a side.
pub(super) struct Listener<S> {
    stream: SplitStream<WebSocketStream<Watched<S>>>,
    activity: Rc<Activity>,
}

pub(super) fn split<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocketStream<Watched<S>>,
    activity: Rc<Activity>,
    write_timeout: Duration,
) -> (Speaker<S>, Listener<S>) {
    let (sink, stream) = socket.split();
    let listener = Listener { stream, activity: Rc::clone(&activity) };
    (Speaker { sink: Mutex::new(sink), activity, write_timeout }, listener)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Speaker<S> {
    /// Hands a message to the side, however slowly it takes it, as long as it takes some.
    pub(super) async fn say(&self, message: Message) -> Result<(), Leaving> {
        let mut sink = self.sink.lock().await;
        let mut sending = pin!(sink.send(message));
        let mut wrote = self.activity.wrote();
        loop {
            match timeout(self.write_timeout, &mut sending).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(Leaving::Gone),
                Err(_) if self.activity.wrote() > wrote => wrote = self.activity.wrote(),
                Err(_) => return Err(Leaving::Stalled),
            }
        }
    }

    /// Pings the side, unless something is being written to it, which tells as much. Nobody waits for this.
    pub(super) async fn ping(&self, payload: bytes::Bytes) {
        if let Ok(mut sink) = self.sink.try_lock() {
            let _ = timeout(PATIENCE, sink.send(Message::Ping(payload))).await;
        }
    }

    /// Resolves when the side answers no more.
    pub(super) async fn watch(&self) {
        loop {
            let Some(since) = self.activity.quiet_since() else {
                sleep(QUIET).await;
                continue;
            };
            if since.elapsed() < QUIET {
                sleep_until(since + QUIET).await;
                continue;
            }
            if self.sink.try_lock().is_err() {
                // What is being written has its own timeout.
                sleep(PATIENCE).await;
                continue;
            }
            let asked = Instant::now();
            self.ping(bytes::Bytes::new()).await;
            sleep_until(asked + PATIENCE).await;
            if self.activity.quiet_since() == Some(since) {
                return;
            }
        }
    }

    /// Closes the side and gives it a moment to answer, as the protocol wants it.
    pub(super) async fn close(self, mut listener: Listener<S>, close: Option<CloseFrame>) {
        let mut sink = self.sink.into_inner();
        let goodbye = async {
            let _ = sink.send(Message::Close(close)).await;
            while let Some(Ok(_)) = listener.stream.next().await {}
        };
        let _ = timeout(FAREWELL, goodbye).await;
    }

    /// The same with words of the gateway's own.
    pub(super) async fn tell(self, listener: Listener<S>, close: &Close) {
        self.close(listener, Some(close.frame())).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Listener<S> {
    /// The next message that is not about the connection. `pinged` hears of pings, which are answered already.
    pub(super) async fn next(&mut self, pinged: impl AsyncFn(bytes::Bytes)) -> Result<Message, Leaving> {
        loop {
            self.activity.begin_reading();
            let next = heard(self.stream.next().await);
            self.activity.stop_reading();
            match next? {
                Message::Ping(payload) => pinged(payload).await,
                Message::Pong(_) | Message::Frame(_) => {}
                message => return Ok(message),
            }
        }
    }

    /// After the side's own close: writes the answer to it.
    pub(super) async fn answer_close(mut self) {
        let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = self.stream.next().await {} }).await;
    }
}

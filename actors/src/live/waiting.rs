//! The client while the upstream has not begun: its setup is read, and no more of what it says than one message further,
//! which waits; that it leaves is noticed all the same.

use super::{
    activity::{Activity, Watched},
    close::Notice,
    job::Client,
    line::{Leaving, heard},
    pipe::{ClientPipe, Gone},
    search::NoSession,
    socket_config,
};
use crate::{caller_cuts::CutSignal, failure::Failure};
use callers::Denial;
use futures_util::{StreamExt, future::LocalBoxFuture};
use std::rc::Rc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// See the module.
pub(super) struct Waiting {
    pub(super) socket: WebSocketStream<Watched<ClientPipe>>,
    pub(super) activity: Rc<Activity>,
    pub(super) gone: Gone,
    /// What it said after its setup.
    pub(super) held: Option<Message>,
    pub(super) going_down: LocalBoxFuture<'static, ()>,
    pub(super) cut: CutSignal,
}

impl Waiting {
    pub(super) async fn of(client: Client, cut: CutSignal) -> Self {
        let Client { pipe, gone, going_down } = client;
        let (watched, activity) = Watched::new(pipe);
        let socket = WebSocketStream::from_raw_socket(watched, Role::Server, Some(socket_config())).await;
        Self { socket, activity, gone, held: None, going_down, cut }
    }

    /// The next thing it says.
    pub(super) async fn next_message(&mut self) -> Result<Message, NoSession> {
        loop {
            let next = tokio::select! {
                next = self.socket.next() => heard(next),
                _ = &mut self.gone => Err(Leaving::Gone),
                () = &mut self.going_down => return Err(NoSession::Notice(Notice::GoingDown)),
                () = &mut self.cut => return Err(NoSession::Failure(Failure::Denied(Denial::Cut))),
            };
            match next {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => return Ok(message),
                // A ping is answered with the next read.
                Ok(_) => {}
                Err(Leaving::Offence(notice)) => return Err(NoSession::Notice(notice)),
                Err(leaving) => return Err(NoSession::Client(leaving)),
            }
        }
    }

    /// Resolves when there is nobody to begin for any more.
    pub(super) async fn ends(&mut self) -> NoSession {
        if self.held.is_none() {
            match self.next_message().await {
                Ok(message) => self.held = Some(message),
                Err(ended) => return ended,
            }
        }
        tokio::select! {
            _ = &mut self.gone => NoSession::Client(Leaving::Gone),
            () = &mut self.going_down => NoSession::Notice(Notice::GoingDown),
            () = &mut self.cut => NoSession::Failure(Failure::Denied(Denial::Cut)),
        }
    }
}

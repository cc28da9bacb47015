//! Turns the upstream's answer into the client's, byte for byte.

use crate::inflight::Passage;
use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody},
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use gemini_balance_actors::forward::{Answer, AnswerBody, Piece};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

/// How long the client has to take what was written before its connection is broken off: when a body fails, actix-http
/// throws away what it has not yet given to the socket, and it gives nothing while there is more to be had of the body.
const LAST_WRITE: Duration = Duration::from_millis(50);

/// The client's answer. `passage` ends with the last byte.
pub(super) fn respond(answer: Answer, id: &str, passage: Passage, close: bool) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            response.append_header((name, value));
        }
    }
    response.insert_header(("x-request-id", id));
    if close {
        response.force_close();
    }
    let (body, size) = match answer.body {
        AnswerBody::Whole(bytes) => {
            let size = BodySize::Sized(bytes.len() as u64);
            (Source::Whole(bytes), size)
        }
        AnswerBody::Stream { pieces, length: Some(length) } => {
            (Source::Stream(pieces), BodySize::Sized(length))
        }
        AnswerBody::Stream { pieces, length: None } => (Source::Stream(pieces), BodySize::Stream),
    };
    response.body(RelayedBody { source: body, size, _passage: passage })
}

enum Source {
    Whole(Bytes),
    Stream(mpsc::Receiver<Piece>),
    /// The upstream broke off; the client is still taking what came before.
    BreakingOff(Pin<Box<Sleep>>),
}

/// The body as actix-web writes it.
struct RelayedBody {
    source: Source,
    size: BodySize,
    _passage: Passage,
}

/// The upstream broke off: actix-web closes the connection without a clean end.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's answer broke off")
    }
}

impl std::error::Error for BrokenOff {}

impl MessageBody for RelayedBody {
    type Error = BrokenOff;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            match &mut self.source {
                Source::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
                Source::Whole(bytes) => return Poll::Ready(Some(Ok(std::mem::take(bytes)))),
                Source::Stream(pieces) => match ready!(pieces.poll_recv(cx)) {
                    Some(Piece::Chunk(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                    Some(Piece::End) => return Poll::Ready(None),
                    None => self.source = Source::BreakingOff(Box::pin(sleep(LAST_WRITE))),
                },
                Source::BreakingOff(pause) => {
                    ready!(pause.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inflight::InFlight;
    use futures_util::FutureExt;
    use std::future::poll_fn;

    #[tokio::test]
    async fn a_break_lets_what_came_before_it_be_written() {
        let (upstream, pieces) = mpsc::channel(1);
        let mut body = RelayedBody {
            source: Source::Stream(pieces),
            size: BodySize::Stream,
            _passage: InFlight::default().enter(),
        };
        let mut next = async || poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await;
        upstream.send(Piece::Chunk(Bytes::from_static(b"data: {}\n\n"))).await.unwrap();
        drop(upstream);
        assert!(matches!(next().await, Some(Ok(_))));
        assert!(next().now_or_never().is_none(), "actix-http writes only while the body has no more to give");
        assert!(matches!(next().await, Some(Err(BrokenOff))));
    }
}

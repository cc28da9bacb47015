//! Turns the upstream's answer into the client's, byte for byte.

use super::{bodies::AnswerCopy, cors};
use crate::inflight::InFlightGuard;
use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::{BodySize, BoxBody, MessageBody},
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use gemini_balance_actors::forward::{Answer, AnswerBody, Piece};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// The client's answer. `guard` ends with the last byte.
pub(super) fn respond(
    answer: Answer,
    id: &str,
    guard: InFlightGuard,
    close: bool,
    copy: Option<AnswerCopy>,
) -> HttpResponse {
    // What is no final status of HTTP's is none that a client could read: a 101 would end the protocol.
    let status = Some(answer.status.as_u16()).filter(|status| (200..600).contains(status));
    let status =
        status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in &answer.headers {
        if cors::is_of_cors(name.as_str()) {
            continue;
        }
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
        AnswerBody::Whole(bytes) => return response.body(RelayedBody::whole(bytes, guard, copy)),
        // actix-web sends no body to HEAD, whatever length it is told of one.
        AnswerBody::Absent { length } => {
            (Source::Whole(Bytes::new()), length.map_or(BodySize::None, BodySize::Sized))
        }
        AnswerBody::Stream { pieces, length: Some(length) } => {
            (Source::Stream(pieces), BodySize::Sized(length))
        }
        AnswerBody::Stream { pieces, length: None } => (Source::Stream(pieces), BodySize::Stream),
    };
    response.body(RelayedBody {
        source: body,
        size,
        unwritten: true,
        copy: copy.map(Box::new),
        _passage: guard,
    })
}

enum Source {
    Whole(Bytes),
    Stream(mpsc::Receiver<Piece>),
}

/// The body as actix-web writes it.
pub(super) struct RelayedBody {
    source: Source,
    size: BodySize,
    /// Whether actix-web may hold bytes that it has not written yet: it writes when it is told to wait.
    unwritten: bool,
    /// Boxed, since hardly anybody asks for one.
    copy: Option<Box<AnswerCopy>>,
    _passage: InFlightGuard,
}

impl RelayedBody {
    /// Makes one that is there at once.
    pub(super) fn whole(bytes: Bytes, guard: InFlightGuard, copy: Option<AnswerCopy>) -> Self {
        let size = BodySize::Sized(bytes.len() as u64);
        let copy = copy.map(Box::new);
        Self { source: Source::Whole(bytes), size, unwritten: true, copy, _passage: guard }
    }
}

/// The upstream broke off: actix-web closes the connection without a clean end.
#[derive(Debug)]
pub(super) struct BrokenOff;

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
        let this = &mut *self;
        let pieces = match &mut this.source {
            Source::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Source::Whole(bytes) => {
                if let Some(copy) = &mut this.copy {
                    copy.see(bytes);
                }
                return Poll::Ready(Some(Ok(std::mem::take(bytes))));
            }
            Source::Stream(pieces) => pieces,
        };
        match pieces.poll_recv(cx) {
            Poll::Ready(Some(Piece::Chunk(chunk))) => {
                this.unwritten = true;
                if let Some(copy) = &mut this.copy {
                    copy.see(&chunk);
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Piece::Last(chunk))) => {
                this.source = Source::Whole(chunk);
                self.poll_next(cx)
            }
            // An error makes actix-web drop what it has not written: let it write first, or the client loses the last
            // events and the word of the break, even the head.
            Poll::Ready(None) if std::mem::take(&mut this.unwritten) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(Some(Err(BrokenOff))),
            Poll::Pending => {
                this.unwritten = false;
                Poll::Pending
            }
        }
    }
}

/// An answer to a request whose body may not have been read. Dropping an unread chunked body would make actix-web read
/// it to whatever end it has, for as long as the client likes; kept until the answer is written, it makes actix-web close
/// the connection, and wait a moment for the client to take the answer.
pub(super) fn with_unread(response: HttpResponse, payload: web::Payload) -> HttpResponse {
    response.map_body(|_, body| BoxBody::new(BesideUnread { body, _payload: payload }))
}

struct BesideUnread {
    body: BoxBody,
    _payload: web::Payload,
}

impl MessageBody for BesideUnread {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
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
            unwritten: true,
            copy: None,
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

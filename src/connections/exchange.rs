//! A request and its answer on a connection: how the connection goes on behind the answer, and until when the request is
//! under way on it.

use super::{Connection, UnderWay};
use actix_http::ConnectionType;
use actix_web::{
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, Version, header},
};
use bytes::Bytes;
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// What a request says of its connection, and its entry there.
pub(crate) struct HttpExchange {
    is_before_1_1: bool,
    offers_upgrade: bool,
    is_endless: bool,
    under_way: Option<UnderWay>,
}

impl HttpExchange {
    /// A request has come.
    pub(crate) fn begin(request: &ServiceRequest) -> Self {
        let head = request.head();
        Self {
            is_before_1_1: head.version < Version::HTTP_11,
            offers_upgrade: head.connection_type() == ConnectionType::Upgrade,
            // actix-http takes all that follows for the body, so no other request can.
            is_endless: offers_websocket(request) || head.method == Method::CONNECT,
            under_way: request.request().conn_data::<Rc<Connection>>().map(Connection::begin),
        }
    }

    /// Frames the answer in a way that the client can read, and counts its request until the end.
    pub(crate) fn answer<B: MessageBody>(
        self,
        mut response: ServiceResponse<B>,
    ) -> ServiceResponse<CountedBody<B>> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.frame(&mut response);
        }
        let ends_with_connection =
            self.is_before_1_1 && response.response().body().size() == BodySize::Stream;
        response.map_body(|_, body| CountedBody { body, ends_with_connection, under_way: self.under_way })
    }

    fn frame<B: MessageBody>(&self, response: &mut ServiceResponse<B>) {
        let has_length = response.response().body().size() != BodySize::Stream;
        let head = response.response_mut().head_mut();
        if self.is_before_1_1 && !has_length {
            // Such a client knows no chunks: the body ends with the connection.
            head.no_chunking(true);
            head.set_connection_type(ConnectionType::Close);
        }
        if self.offers_upgrade || self.is_endless {
            // Or actix-http would take the offer for accepted, and end the connection without a word.
            head.set_connection_type(ConnectionType::Close);
        }
    }
}

fn offers_websocket(request: &ServiceRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// An answer's body, until whose end its request is under way on its connection.
pub(crate) struct CountedBody<B> {
    body: B,
    /// Whether its end is told by nothing but the connection's.
    ends_with_connection: bool,
    under_way: Option<UnderWay>,
}

impl<B: MessageBody + Unpin> MessageBody for CountedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        if self.ends_with_connection
            && let Poll::Ready(Some(Err(_))) = next
            && let Some(UnderWay(connection)) = &self.under_way
        {
            // Closed cleanly, it would look like the end of the whole.
            connection.is_broken_off.set(true);
        }
        next
    }
}

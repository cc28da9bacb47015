//! `/api/playground`: sends a prompt through the gateway as the caller `operator`, over the clients' listener as any client
//! does, and passes the answer on as it comes. Its request is the gateway's in all else: it is limited by the pool, counted,
//! logged, and explained by its id.

use super::{Desk, RouteTable, audit, gate::answer};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// The most bytes of a request.
const MAX_BODY: usize = 256 * 1024;
/// The most bytes of an answer's head, and of a piece that is passed on.
const MAX_HEAD: usize = 64 * 1024;
const PIECE: usize = 16 * 1024;
/// The longest name of a model, in bytes.
const MAX_MODEL: usize = 200;
/// How long the gateway may take for the answer's head: it has bounds of its own, which come first.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Adds the path.
pub(super) fn routes(table: &mut RouteTable) {
    table.post("/api/playground", play).take_up_to(MAX_BODY, "/api/playground");
}

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    model: String,
    prompt: String,
    dialect: PlayedDialect,
}

/// The format in which it is asked.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PlayedDialect {
    Gemini,
    #[serde(rename = "openai")]
    OpenAi,
}

impl Question {
    /// Reads it; what is wrong with it in one line.
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let question: Self = serde_json::from_slice(body).map_err(
            |_| r#"the body must be {"model": "...", "prompt": "...", "dialect": "gemini" or "openai"}"#,
        )?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if question.model.is_empty()
            || question.model.len() > MAX_MODEL
            || !question.model.bytes().all(is_plain)
        {
            return Err("model must be a name such as gemini-2.5-flash");
        }
        Ok(question)
    }

    fn path_and_body(&self) -> (String, Value) {
        match self.dialect {
            PlayedDialect::Gemini => (
                format!("/v1beta/models/{}:streamGenerateContent?alt=sse", self.model),
                json!({ "contents": [{ "role": "user", "parts": [{ "text": self.prompt }] }] }),
            ),
            PlayedDialect::OpenAi => (
                "/v1/chat/completions".to_owned(),
                json!({
                    "model": self.model,
                    "stream": true,
                    "stream_options": { "include_usage": true },
                    "messages": [{ "role": "user", "content": self.prompt }],
                }),
            ),
        }
    }
}

async fn play(request: HttpRequest, body: web::Bytes, desk: web::Data<Desk>) -> HttpResponse {
    audit::note(&request, "playground", None);
    let question = match Question::read(&body) {
        Ok(question) => question,
        Err(why) => return answer(400, why),
    };
    let Some((page, clients)) = desk.operated.page.as_ref().and_then(|page| Some((page, page.clients()?)))
    else {
        return answer(503, "the playground speaks plain HTTP to the clients' listener, which has TLS here");
    };
    let (path, body) = question.path_and_body();
    let body = body.to_string();
    // HTTP/1.0, so that nothing is chunked and the answer ends with the connection.
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {clients}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         authorization: Bearer {}\r\nconnection: close\r\n\r\n",
        body.len(),
        page.credential().expose()
    );
    match timeout(PATIENCE, Played::ask(clients, &head, &body)).await {
        Ok(Ok(played)) => played.pass_on(),
        Ok(Err(error)) => answer(502, &format!("the clients' listener does not answer: {error}")),
        Err(_) => answer(504, "the gateway takes too long"),
    }
}

/// An answer that has begun.
struct Played {
    status: StatusCode,
    id: Option<String>,
    /// What has come of the body already.
    first: BytesMut,
    stream: TcpStream,
}

impl Played {
    async fn ask(clients: SocketAddr, head: &str, body: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(clients).await?;
        stream.write_all([head, body].concat().as_bytes()).await?;
        let mut read = BytesMut::with_capacity(PIECE);
        loop {
            if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                let (status, id) =
                    parts_of(&read[..end]).ok_or_else(|| io::Error::other("its answer is not HTTP"))?;
                read.advance(end + 4);
                return Ok(Self { status, id, first: read, stream });
            }
            if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
                return Err(io::Error::other("its answer has no end of its head"));
            }
        }
    }

    /// Passes it on as text, whatever it is: nothing of it is run by a browser.
    fn pass_on(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type("text/plain; charset=utf-8").insert_header(("x-accel-buffering", "no"));
        if let Some(id) = self.id {
            response.insert_header(("x-request-id", id));
        }
        let pieces = stream::try_unfold((self.first, self.stream), |(mut read, mut stream)| async move {
            if read.is_empty() {
                read.reserve(PIECE);
                stream.read_buf(&mut read).await?;
            }
            let piece: Bytes = read.split().freeze();
            let rest = (!piece.is_empty()).then_some((piece, (read, stream)));
            Ok::<_, io::Error>(rest)
        });
        response.streaming(pieces)
    }
}

/// The status and the request's id in an answer's head.
fn parts_of(head: &[u8]) -> Option<(StatusCode, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let id = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
    Some((StatusCode::from_u16(status).ok()?, id.map(|(_, id)| id.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_name_and_can_be_no_path() {
        let read = |model: &str| {
            Question::read(
                json!({ "model": model, "prompt": "x", "dialect": "gemini" }).to_string().as_bytes(),
            )
        };
        assert_eq!(
            read("gemini-2.5-flash").ok().unwrap().path_and_body().0,
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
        );
        for model in ["", "a/b", "a b", "a\r\nb", "a?b", "a%2f", "é", &"a".repeat(201)] {
            assert!(read(model).is_err(), "{model:?}");
        }
        assert!(Question::read(b"{}").is_err());
    }

    #[test]
    fn the_head_tells_status_and_id() {
        let head = b"HTTP/1.0 429 Too Many Requests\r\nX-Request-Id: abc\r\ncontent-type: x";
        assert_eq!(parts_of(head), Some((StatusCode::TOO_MANY_REQUESTS, Some("abc".to_owned()))));
        assert_eq!(parts_of(b"HTTP/1.0 200 OK"), Some((StatusCode::OK, None)));
        assert!(parts_of(b"nonsense").is_none());
    }
}

//! One session: setup first, then turns until either side closes. Server JSON goes out in binary frames, as Google's does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Trouble;
use super::said::{Order, Said, Setup};
use super::token::fresh;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::journal::End;
use crate::line::{Break, Control};
use crate::models::ModelKind;
use crate::prompt;
use crate::quota::Metered;
use crate::route::Route;
use crate::world::{Found, World};

/// Largest message taken; more than any gateway in between should pass on.
const LARGEST: usize = 64 * 1024 * 1024;
/// A close frame's payload is at most 125 bytes, two of them the code (RFC 6455 §5.5).
const LONGEST_REASON: usize = 123;
/// How long the client has to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a session ends.
enum Ending {
    /// By this close of the server's.
    Close(Option<CloseFrame>),
    /// By this close of the client's.
    Closed(Option<CloseFrame>),
    /// The client went without one.
    Left,
    Broken(Break),
    Stalled,
}

type Continues = Result<(), Ending>;

pub(super) struct Session {
    world: Arc<World>,
    caller: Caller,
    route: Route,
    exchange: Exchange,
    control: Arc<Control>,
    trouble: Option<Trouble>,
    heard: Sha256,
    messages_heard: u64,
    messages_sent: u64,
    pings: u64,
    resumable: bool,
}

impl Session {
    pub(super) fn new(
        world: &Arc<World>,
        caller: Caller,
        route: Route,
        exchange: Exchange,
        control: Arc<Control>,
        fault: Option<Fault>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            caller,
            route,
            exchange,
            control,
            trouble: fault.and_then(Trouble::of),
            heard: Sha256::new(),
            messages_heard: 0,
            messages_sent: 0,
            pings: 0,
            resumable: false,
        }
    }

    pub(super) async fn run(mut self, upgraded: Upgraded) {
        let config = WebSocketConfig::default().max_frame_size(Some(LARGEST)).max_message_size(Some(LARGEST));
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let ending = match self.converse(&mut socket).await {
            Err(ending) => ending,
            Ok(never) => match never {},
        };
        self.exchange.body(self.heard.finalize_reset().into());
        match ending {
            Ending::Close(frame) => {
                let sent = socket.close(frame).await;
                let answered = tokio::time::timeout(CLOSE_WAIT, self.answer_to_close(&mut socket)).await;
                let complete = sent.is_ok() && answered == Ok(true);
                self.exchange.end(if complete { End::Complete } else { End::ClientLeft });
            }
            Ending::Closed(frame) => {
                self.closed(frame.as_ref());
                // Reading on writes the answer to the close.
                while let Some(Ok(_)) = socket.next().await {}
                self.exchange.end(End::Complete);
            }
            Ending::Left => self.exchange.end(End::ClientLeft),
            Ending::Broken(how) => {
                self.exchange.end(End::Faulted);
                self.control.break_after(Bytes::new(), how);
                // An order is carried out by the next flush.
                let _ = socket.flush().await;
            }
            Ending::Stalled => std::future::pending().await,
        }
    }

    fn closed(&mut self, frame: Option<&CloseFrame>) {
        self.exchange.closed(frame.map_or_else(
            || "no code".to_owned(),
            |frame| format!("{} {}", frame.code, frame.reason).trim_end().to_owned(),
        ));
    }

    /// Whether the client answered a close with its own.
    async fn answer_to_close(&mut self, socket: &mut Socket) -> bool {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                self.closed(frame.as_ref());
                return true;
            }
        }
        false
    }

    async fn converse(&mut self, socket: &mut Socket) -> Result<std::convert::Infallible, Ending> {
        self.trouble_before_answering(socket).await?;
        let first = self.hear(socket).await?;
        self.begin(socket, &first).await?;
        loop {
            let message = self.hear(socket).await?;
            match Said::of(&message) {
                Said::Text(text) => match Order::of(&text) {
                    Some(order) => self.obey(socket, order).await?,
                    None => self.turn(socket, json!([{"text": format!("you said: {text}")}]), &text).await?,
                },
                Said::Media(data) => {
                    let blob = json!([{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]);
                    self.turn(socket, blob, &data).await?;
                }
                Said::ToolResponse(names) => {
                    self.turn(socket, json!([{"text": format!("answered: {names}")}]), &names).await?;
                }
                Said::Nothing => {}
                Said::Unknown => return Err(refused(1007, "Invalid JSON payload received. Unknown name.")),
            }
        }
    }

    /// The next message, as JSON.
    async fn hear(&mut self, socket: &mut Socket) -> Result<Value, Ending> {
        loop {
            let bytes = match socket.next().await {
                Some(Ok(Message::Text(text))) => Bytes::from(text),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_))) => {
                    self.pings += 1;
                    continue;
                }
                Some(Ok(Message::Pong(payload))) => {
                    let text = format!("pong {}", String::from_utf8_lossy(&payload));
                    if !payload.is_empty() {
                        self.turn(socket, json!([{"text": text}]), "").await?;
                    }
                    continue;
                }
                Some(Ok(Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => return Err(Ending::Closed(frame)),
                Some(Err(_)) | None => return Err(Ending::Left),
            };
            self.exchange.received(bytes.len());
            self.heard.update(&bytes);
            self.messages_heard += 1;
            self.trouble_before_answering(socket).await?;
            return serde_json::from_slice(&bytes)
                .map_err(|_| refused(1007, "Invalid JSON payload received. Unexpected token."));
        }
    }

    async fn begin(&mut self, socket: &mut Socket, first: &Value) -> Continues {
        let Some(setup) = Setup::of(first) else {
            return Err(refused(1007, "The first message must be a setup."));
        };
        self.exchange.asked_for(Some(&setup.model));
        if let Some(error) = self.caller.refused.take() {
            return Err(told(&error));
        }
        let found = self.world.model(&setup.model);
        if found.is_none_or(|model| model.kind != ModelKind::Generate) {
            let version = &self.route.version;
            let reason = format!(
                "models/{} is not found for API version {version}, or is not supported for bidiGenerateContent.",
                setup.model
            );
            return Err(refused(1008, &reason));
        }
        if let Some(handle) = &setup.handle {
            let now = self.world.clock();
            let found = self.world.live().find(handle, &self.caller.project, now);
            if found == Found::Foreign {
                self.world.wrong_owner();
            }
            if found != Found::Own {
                return Err(refused(1008, "Requested entity was not found."));
            }
        }
        let project = &self.caller.project;
        if let Err(error) = self.world.meter(project, &setup.model, Metered::Generate, 1) {
            return Err(told(&error));
        }
        self.resumable = setup.resumable;
        self.send(socket, &json!({"setupComplete": {}})).await?;
        self.handle(socket).await
    }

    async fn handle(&mut self, socket: &mut Socket) -> Continues {
        if !self.resumable {
            return Ok(());
        }
        let handle = fresh(&self.world, "handle");
        self.world.live().issue_handle(handle.clone(), &self.caller.project, self.world.clock());
        let update = json!({"sessionResumptionUpdate": {"newHandle": handle, "resumable": true}});
        self.send(socket, &update).await
    }

    /// A whole turn of the model's.
    async fn turn(&mut self, socket: &mut Socket, parts: Value, prompt: &str) -> Continues {
        let content = json!({"serverContent": {"modelTurn": {"role": "model", "parts": parts}}});
        self.send(socket, &content).await?;
        self.send(socket, &json!({"serverContent": {"generationComplete": true}})).await?;
        let prompt_tokens = prompt::tokens(prompt.len());
        let usage = json!({
            "promptTokenCount": prompt_tokens, "responseTokenCount": 7, "totalTokenCount": prompt_tokens + 7,
        });
        self.send(socket, &json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage})).await?;
        self.handle(socket).await
    }

    async fn obey(&mut self, socket: &mut Socket, order: Order<'_>) -> Continues {
        match order {
            Order::Close { code, reason } => Err(Ending::Close(code.map(|code| frame(code, reason)))),
            Order::Reset => Err(Ending::Broken(Break::Reset)),
            Order::Drop => Err(Ending::Broken(Break::Fin)),
            Order::Ping(text) => {
                let ping = Message::Ping(Bytes::copy_from_slice(text.as_bytes()));
                socket.send(ping).await.map_err(|_| Ending::Left)
            }
            Order::Pings => {
                let pings = self.pings;
                self.turn(socket, json!([{"text": format!("{pings} pings")}]), "").await
            }
            Order::Flood { count, bytes } => {
                let parts = json!([{"text": "x".repeat(bytes)}]);
                let content = json!({"serverContent": {"modelTurn": {"role": "model", "parts": parts}}});
                for _ in 0..count {
                    self.send(socket, &content).await?;
                }
                self.send(socket, &json!({"serverContent": {"turnComplete": true}})).await
            }
            Order::Call(name) => {
                let call = json!({"id": "call-1", "name": name, "args": {}});
                self.send(socket, &json!({"toolCall": {"functionCalls": [call]}})).await
            }
            Order::Secret => {
                let secret = self.exchange.key().unwrap_or_default().to_owned();
                self.turn(socket, json!([{"text": secret}]), "").await
            }
        }
    }

    async fn send(&mut self, socket: &mut Socket, message: &Value) -> Continues {
        let text = message.to_string();
        self.exchange.sent(text.as_bytes());
        let message = match self.trouble {
            Some(Trouble::Text) => Message::text(text),
            _ => Message::binary(text),
        };
        socket.send(message).await.map_err(|_| Ending::Left)?;
        self.messages_sent += 1;
        self.trouble_after_sending()
    }

    fn trouble_after_sending(&self) -> Continues {
        match self.trouble {
            Some(Trouble::Stall { after }) if self.messages_sent >= after => Err(Ending::Stalled),
            Some(Trouble::Reset { after }) if self.messages_sent >= after => {
                Err(Ending::Broken(Break::Reset))
            }
            Some(Trouble::Truncate { after }) if self.messages_sent >= after => {
                Err(Ending::Broken(Break::Fin))
            }
            _ => Ok(()),
        }
    }

    async fn trouble_before_answering(&mut self, socket: &mut Socket) -> Continues {
        match &self.trouble {
            Some(Trouble::Close { after, code, reason }) if self.messages_heard >= *after => {
                Err(Ending::Close(code.map(|code| frame(code, reason))))
            }
            Some(Trouble::GoAway { after }) if self.messages_heard == *after => {
                self.send(socket, &json!({"goAway": {"timeLeft": "10s"}})).await
            }
            _ => self.trouble_after_sending(),
        }
    }
}

fn frame(code: u16, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from(&reason[..end]) }
}

fn refused(code: u16, reason: &str) -> Ending {
    Ending::Close(Some(frame(code, reason)))
}

/// An error of the API as a close: 1007 for bad keys, 1011 for quotas and credits (reports of Nov 2025 to July 2026).
fn told(error: &ApiError) -> Ending {
    let code = match error.code().as_u16() {
        400 | 401 => 1007,
        403 | 404 => 1008,
        _ => 1011,
    };
    refused(code, error.message())
}

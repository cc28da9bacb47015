//! The clients: each asks for one thing after another on all surfaces, now and then leaves before it has its answer, and has what
//! it got judged.

use super::{
    flows,
    judging::{Came, Surface},
    stage::{Begun, Stage},
};
use crate::{
    support::{TOKEN, chat, prompt},
    wire::{Answer, Wire, request},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// The model that surfaces are asked for, each another, so that usage tells them apart.
fn model(surface: Surface) -> &'static str {
    match surface {
        Surface::Unary => "gemini-2.5-flash",
        Surface::Stream => "gemini-2.5-flash-lite",
        Surface::Chat => "gemini-3.5-flash",
        Surface::ChatStream => "gemini-3.7-flash",
        Surface::Message | Surface::MessageStream => "gemini-2.5-pro",
        Surface::Response | Surface::ResponseStream => "gemini-3.8-flash",
        Surface::Embedding | Surface::Count | Surface::Models => "gemini-embedding-001",
    }
}

/// The models of which usage is compared.
pub(super) fn compared() -> impl Iterator<Item = &'static str> {
    Surface::ALL.into_iter().map(model).filter(|model| *model != "gemini-embedding-001")
}

fn text(surface: Surface, said: &str) -> String {
    let model = model(surface);
    let streamed = |mut body: Value| {
        body["stream"] = json!(true);
        body.to_string()
    };
    let message =
        json!({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": said}]});
    // Kept responses are memory that grows as it should.
    let response = json!({"model": model, "input": said, "store": false});
    let (method, path, body) = match surface {
        Surface::Unary => ("POST", format!("/v1beta/models/{model}:generateContent"), prompt(said)),
        Surface::Stream => {
            ("POST", format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"), prompt(said))
        }
        Surface::Chat => ("POST", "/v1/chat/completions".into(), chat(said, false)),
        Surface::ChatStream => {
            let mut body: Value = serde_json::from_str(&chat(said, true)).unwrap();
            body["stream_options"] = json!({"include_usage": true});
            ("POST", "/v1/chat/completions".into(), body.to_string())
        }
        Surface::Message => ("POST", "/v1/messages".into(), message.to_string()),
        Surface::MessageStream => ("POST", "/v1/messages".into(), streamed(message)),
        Surface::Response => ("POST", "/v1/responses".into(), response.to_string()),
        Surface::ResponseStream => ("POST", "/v1/responses".into(), streamed(response)),
        Surface::Embedding => {
            ("POST", "/v1/embeddings".into(), json!({"model": model, "input": said}).to_string())
        }
        Surface::Count => ("POST", "/v1beta/models/gemini-2.5-flash:countTokens".into(), prompt(said)),
        Surface::Models => ("GET", "/v1beta/models".into(), String::new()),
    };
    // What `chat` asks is of one model.
    let body = body.replace("\"model\":\"gemini-2.5-flash\"", &format!("\"model\":\"{model}\""));
    let bearer = format!("Bearer {TOKEN}");
    let credential = match surface {
        Surface::Message | Surface::MessageStream => ("x-api-key", TOKEN),
        Surface::Unary | Surface::Stream | Surface::Count | Surface::Models => ("x-goog-api-key", TOKEN),
        _ => ("authorization", bearer.as_str()),
    };
    request(method, &path, &[credential], &body)
}

/// A connection, kept for the next request where the answer to the last allows it, and the life of the gateway that it is to.
#[derive(Default)]
pub(super) struct Line(Option<(u64, Wire)>);

impl Line {
    /// Sends a request; none if it cannot be had or sent.
    async fn send(&mut self, stage: &Stage, text: &str) -> Option<Wire> {
        let life = stage.lives.load(Ordering::SeqCst);
        let mut wire = match self.0.take().filter(|(of, _)| *of == life) {
            Some((_, wire)) => wire,
            None => Wire::of(TcpStream::connect(&stage.authority).await.ok()?),
        };
        stage.sent.fetch_add(1, Ordering::Relaxed);
        wire.send(text).await.ok()?;
        Some(wire)
    }

    pub(super) async fn ask(&mut self, stage: &Stage, text: &str) -> Option<Answer> {
        let life = stage.lives.load(Ordering::SeqCst);
        let mut wire = self.send(stage, text).await?;
        let answer = wire.answer().await?;
        if answer.whole && answer.header("connection").is_none_or(|it| it != "close") {
            self.0 = Some((life, wire));
        }
        Some(answer)
    }
}

/// One client, until all is over.
pub(super) async fn client(stage: Arc<Stage>, seed: u64, pause_ms: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut line = Line::default();
    loop {
        if stage.is_resting() {
            line = Line::default();
        }
        let Some((under_way, begun)) = stage.go().await else { break };
        match rng.u8(0..100) {
            0..6 => stage.note("file", begun, flows::file(&stage, begun, &mut line, &mut rng).await),
            6..12 => stage.note("live session", begun, flows::live(&stage).await),
            _ => exchange(&stage, begun, &mut line, &mut rng).await,
        }
        drop(under_way);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..=pause_ms))).await;
    }
}

async fn exchange(stage: &Stage, begun: Begun, line: &mut Line, rng: &mut fastrand::Rng) {
    let surface = Surface::ALL[rng.usize(..Surface::ALL.len())];
    let (name, said) = (format!("{surface:?}"), stage.prompt());
    let text = text(surface, &said);
    if rng.u8(0..100) < 10 {
        if let Some(mut wire) = line.send(stage, &text).await {
            // Before the head, or with it at the earliest.
            let patience = Duration::from_millis(rng.u64(0..200));
            let _ = tokio::time::timeout(patience, wire.head()).await;
        }
        return stage.note(&name, begun, Ok(Came::Left));
    }
    let since = Instant::now();
    let came = match line.ask(stage, &text).await {
        Some(answer) => surface.judge(&said, &answer),
        None => Ok(Came::Nothing),
    };
    if let Ok(Came::Whole(Some(tokens))) = &came {
        stage.used(model(surface), *tokens);
    }
    let took = since.elapsed();
    stage.note(&name, begun, came);
    let mut told = stage.told();
    told.slowest = told.slowest.max(took);
}

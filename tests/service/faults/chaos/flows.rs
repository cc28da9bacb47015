//! What takes a client more than one request: a file that is uploaded, used and deleted, and a Live session.

use super::{
    asking::Line,
    judging::{Came, Surface},
    stage::{Begun, Stage},
};
use crate::{
    support::{TOKEN, sha256},
    wire::{Answer, request},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

const LIVE: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const USES_FILES: &str = "/v1beta/models/gemini-3-flash-preview:generateContent";

/// A file from its upload to its end, which is sooner where something goes wrong.
pub(super) async fn file(
    stage: &Stage,
    begun: Begun,
    line: &mut Line,
    rng: &mut fastrand::Rng,
) -> Result<Came, String> {
    let said = stage.prompt();
    let bytes = said.repeat(rng.usize(1..1_000));
    let length = bytes.len().to_string();
    let headers = [
        ("x-goog-api-key", TOKEN),
        ("x-goog-upload-protocol", "resumable"),
        ("x-goog-upload-command", "start"),
        ("x-goog-upload-header-content-length", length.as_str()),
        ("x-goog-upload-header-content-type", "text/plain"),
    ];
    let start = request("POST", "/upload/v1beta/files", &headers, "{}");
    let Some(started) = line.ask(stage, &start).await else { return Ok(Came::Nothing) };
    if let Some(ended) = early(stage, begun, "start", &said, &started) {
        return ended;
    }
    let url = started.header("x-goog-upload-url").ok_or("no address of an upload")?.to_owned();
    let target = url.split_once("//gateway").ok_or_else(|| format!("leads elsewhere: {url}"))?.1;
    let headers = [("x-goog-upload-command", "upload, finalize"), ("x-goog-upload-offset", "0")];
    let text = request("POST", target, &headers, &bytes);
    let Some(done) = line.ask(stage, &text).await else { return Ok(Came::Nothing) };
    if let Some(ended) = early(stage, begun, "upload", &said, &done) {
        return ended;
    }
    let Ok(file) = serde_json::from_slice::<Value>(&done.body) else {
        return if done.whole { Err(format!("no file: {}", done.text())) } else { Ok(Came::Cut) };
    };
    if file["file"]["sha256Hash"] != STANDARD.encode(sha256(bytes.as_bytes())) {
        return Err(format!("another file: {file}"));
    }
    let part = json!({"fileData": {"mimeType": "text/plain", "fileUri": file["file"]["uri"]}});
    let body = json!({"contents": [{"role": "user", "parts": [{"text": said}, part]}]}).to_string();
    let text = request("POST", USES_FILES, &[("x-goog-api-key", TOKEN)], &body);
    let Some(used) = line.ask(stage, &text).await else { return Ok(Came::Nothing) };
    if let Some(ended) = early(stage, begun, "use", &said, &used) {
        return ended;
    }
    let name = file["file"]["name"].as_str().ok_or("a file without a name")?;
    let text = request("DELETE", &format!("/v1beta/{name}"), &[("x-goog-api-key", TOKEN)], "");
    let Some(deleted) = line.ask(stage, &text).await else { return Ok(Came::Nothing) };
    let read = Surface::Unary.judge(&said, &used)?;
    Ok(early(stage, begun, "deletion", &said, &deleted).transpose()?.unwrap_or(read))
}

/// What an answer ends a file's way with; none if it goes on.
fn early(
    stage: &Stage,
    begun: Begun,
    step: &str,
    said: &str,
    answer: &Answer,
) -> Option<Result<Came, String>> {
    match answer.status {
        200 if answer.whole => None,
        200 => Some(Ok(Came::Cut)),
        // An upstream that was begun anew knows no file of before, nor an upload.
        400 | 403 | 404 if !stage.is_remembered(begun) => Some(Ok(Came::Refused)),
        // What is not known to have been done by a killed gateway may be unknown to the next.
        401 | 403 | 404 if !stage.was_there(begun) => Some(Ok(Came::Refused)),
        _ => Some(Surface::Unary.judge(said, answer).map_err(|wrong| format!("{step} of a file: {wrong}"))),
    }
}

/// A session of one turn.
pub(super) async fn live(stage: &Stage) -> Result<Came, String> {
    let said = stage.prompt();
    let Ok(stream) = TcpStream::connect(&stage.authority).await else { return Ok(Came::Nothing) };
    stage.sent.fetch_add(1, Ordering::Relaxed);
    let mut request = format!("ws://{}{LIVE}", stage.authority).into_client_request().unwrap();
    request.headers_mut().append("x-goog-api-key", TOKEN.parse().unwrap());
    let opened = tokio_tungstenite::client_async(request, stream);
    let mut socket = match tokio::time::timeout(Duration::from_secs(10), opened).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(Error::Http(answer))) if [429, 500, 502, 503, 504].contains(&answer.status().as_u16()) => {
            return Ok(Came::Refused);
        }
        Ok(Err(Error::Http(answer))) => return Err(format!("a session is refused with {}", answer.status())),
        Ok(Err(_)) => return Ok(Came::Nothing),
        Err(_) => return Err("a session is neither opened nor refused".to_owned()),
    };
    let turn = json!({"clientContent": {"turns": [{"role": "user", "parts": [{"text": said}]}], "turnComplete": true}});
    let setup = json!({"setup": {"model": "models/gemini-3-pro-preview"}});
    let mut text = String::new();
    // A session that is over is told by what is read.
    let _ = socket.send(Message::text(setup.to_string())).await;
    loop {
        // A session may be quiet: one that has died is told from it within a minute, and by then a client is tired of it.
        let Ok(next) = tokio::time::timeout(Duration::from_secs(5), socket.next()).await else {
            return Ok(Came::Cut);
        };
        let message = match next {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.as_bytes().to_vec().into(),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(Came::Cut),
        };
        let message: Value =
            serde_json::from_slice(&message).map_err(|error| format!("a session: {error}"))?;
        if message.get("setupComplete").is_some() {
            let _ = socket.send(Message::text(turn.to_string())).await;
        }
        text += message["serverContent"]["modelTurn"]["parts"][0]["text"].as_str().unwrap_or_default();
        let wanted = format!("you said: {said}");
        let is_ended = message["serverContent"]["turnComplete"] == true;
        if !wanted.starts_with(&text) || (is_ended && wanted != text) {
            return Err(format!("a session was told {text:?} of {wanted:?}"));
        }
        if is_ended {
            let _ = socket.close(None).await;
            let rest = async { while let Some(Ok(_)) = socket.next().await {} };
            let _ = tokio::time::timeout(Duration::from_secs(5), rest).await;
            return Ok(Came::Whole(None));
        }
    }
}

//! What a client may be told while everything goes wrong: whole answers to its own words, streams that are seen to be cut, and
//! errors that it can read. Pure; `asking` sends what is judged here.

use crate::wire::Answer;
use serde_json::Value;

/// What an upstream that is out of its mind answers.
pub(super) const GARBAGE: &str = "<<<what no API answers>>>";

/// The statuses that the faults allow.
const ALLOWED: [u16; 6] = [429, 500, 502, 503, 504, 529];

/// What is asked for in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    Unary,
    Stream,
    Chat,
    ChatStream,
    Message,
    MessageStream,
    Response,
    ResponseStream,
    Embedding,
    Count,
    Models,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All of it, with the input tokens that it tells.
    Whole(Option<u64>),
    /// A part, seen to be one.
    Cut,
    /// An error in the client's words.
    Refused,
    /// What the upstream has sent, which is no answer: passed on as it is.
    AsSent,
    /// The connection ended before anything came.
    Nothing,
    /// The client went away by itself.
    Left,
}

impl Came {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Whole(_) => "whole",
            Self::Cut => "cut",
            Self::Refused => "refused",
            Self::AsSent => "as sent",
            Self::Nothing => "nothing",
            Self::Left => "left",
        }
    }
}

impl Surface {
    pub(super) const ALL: [Self; 11] = [
        Self::Unary,
        Self::Stream,
        Self::Chat,
        Self::ChatStream,
        Self::Message,
        Self::MessageStream,
        Self::Response,
        Self::ResponseStream,
        Self::Embedding,
        Self::Count,
        Self::Models,
    ];

    /// Whether what the upstream answers is put into other words on its way down.
    fn is_translated(self) -> bool {
        matches!(self, Self::Message | Self::MessageStream | Self::Response | Self::ResponseStream)
    }

    fn is_streamed(self) -> bool {
        matches!(self, Self::Stream | Self::ChatStream | Self::MessageStream | Self::ResponseStream)
    }

    /// Whether an error's body is one that clients of this surface read.
    pub(super) fn reads_error(self, body: &[u8]) -> bool {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
        let error = &body.get(0).unwrap_or(&body)["error"];
        let says = error["message"].is_string();
        match self {
            Self::Message | Self::MessageStream => {
                says && body["type"] == "error" && error["type"].is_string()
            }
            Self::Response | Self::ResponseStream => says && error.get("type").is_some(),
            // Google's own errors of the OpenAI layer are in Google's words.
            Self::Chat | Self::ChatStream | Self::Embedding => {
                says && (error["type"].is_string() || error["status"].is_string())
            }
            _ => says && error["code"].is_u64() && error["status"].is_string(),
        }
    }

    /// Judges an answer to a prompt; an error says what is wrong with it.
    pub(super) fn judge(self, prompt: &str, answer: &Answer) -> Result<Came, String> {
        let wrong = |what: &str| {
            let text = answer.text();
            let end = text.char_indices().map(|(at, _)| at).take(1_500).last().unwrap_or_default();
            Err(format!(
                "{self:?} {prompt:.10}: {what}: {} whole: {} {}",
                answer.status,
                answer.whole,
                &text[..end]
            ))
        };
        if let Some(other) = nonces(&answer.body).find(|nonce| !prompt.starts_with(nonce)) {
            return wrong(&format!("bytes of another request, {other}"));
        }
        let as_sent = !self.is_translated()
            && (answer.body == GARBAGE.as_bytes() || answer.header("content-encoding").is_some());
        if answer.status != 200 {
            let is_read = answer.whole && (self.reads_error(&answer.body) || as_sent);
            let is_allowed = ALLOWED.contains(&answer.status) && is_read;
            return if is_allowed { Ok(Came::Refused) } else { wrong("no error that could be read") };
        }
        if as_sent {
            return Ok(Came::AsSent);
        }
        let said = match self.read(&answer.body, answer.whole) {
            Ok(said) => said,
            Err(what) => return wrong(&what),
        };
        let wanted = said.wanted(prompt);
        if !wanted.starts_with(&said.text) || (said.is_ended && wanted != said.text) {
            return wrong("not what was asked for");
        }
        // Google's error may come behind the last event of a native stream, which is an end already.
        if said.is_error && said.is_ended && self != Self::Stream {
            return wrong("an error and an end");
        }
        match (answer.whole, said.is_error, said.is_ended) {
            (true, false, true) => Ok(Came::Whole(said.input)),
            (true, false, false) => wrong("looks whole and is not"),
            _ => Ok(Came::Cut),
        }
    }

    fn read(self, body: &[u8], is_whole: bool) -> Result<Said, String> {
        let mut said = Said {
            has_text: !matches!(self, Self::Embedding | Self::Count | Self::Models),
            ..Said::default()
        };
        if !self.is_streamed() {
            match serde_json::from_slice(body) {
                Ok(value) => self.add(&value, &mut said),
                Err(_) if !is_whole => {}
                Err(error) => return Err(error.to_string()),
            }
            return Ok(said);
        }
        let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
        let mut events: Vec<&str> = text.split("\n\n").collect();
        if !is_whole {
            // It may end in the middle of one.
            events.pop();
        }
        for event in events.into_iter().filter(|event| !event.trim().is_empty()) {
            let data = event.lines().find_map(|line| line.strip_prefix("data:")).map_or(event, str::trim);
            if data == "[DONE]" {
                said.is_ended = true;
                continue;
            }
            let value: Value = serde_json::from_str(data).map_err(|error| format!("{error} in {event}"))?;
            self.add(&value, &mut said);
        }
        Ok(said)
    }

    /// Takes a body, or an event of a stream.
    fn add(self, value: &Value, said: &mut Said) {
        let error = &value.get(0).unwrap_or(value)["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self {
            _ if error.is_object() => said.is_error = true,
            Self::Unary | Self::Stream => {
                let candidate = &value["candidates"][0];
                for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                    said.text += &text(&part["text"]);
                }
                said.is_ended |= candidate["finishReason"].is_string();
                said.takes(&value["usageMetadata"]["promptTokenCount"]);
            }
            Self::Chat => {
                said.text += &text(&value["choices"][0]["message"]["content"]);
                said.is_ended = value["choices"][0]["finish_reason"].is_string();
                said.takes(&value["usage"]["prompt_tokens"]);
            }
            Self::ChatStream => {
                said.text += &text(&value["choices"][0]["delta"]["content"]);
                said.takes(&value["usage"]["prompt_tokens"]);
            }
            Self::Message => {
                said.text += &text(&value["content"][0]["text"]);
                said.is_ended = value["stop_reason"].is_string();
                said.takes(&value["usage"]["input_tokens"]);
            }
            Self::MessageStream => {
                said.text += &text(&value["delta"]["text"]);
                said.is_ended |= value["type"] == "message_stop";
                said.takes(&value["message"]["usage"]["input_tokens"]);
                said.takes(&value["usage"]["input_tokens"]);
            }
            Self::Response => {
                for part in value["output"].as_array().into_iter().flatten() {
                    said.text += &text(&part["content"][0]["text"]);
                }
                said.is_ended = value["status"] == "completed";
                said.takes(&value["usage"]["input_tokens"]);
            }
            Self::ResponseStream => {
                if value["type"] == "response.output_text.delta" {
                    said.text += &text(&value["delta"]);
                }
                said.is_error |= value["type"] == "error" || value["type"] == "response.failed";
                said.is_ended |= value["type"] == "response.completed";
                said.takes(&value["response"]["usage"]["input_tokens"]);
            }
            Self::Embedding => said.is_ended = value["data"][0]["embedding"].is_array(),
            Self::Count => said.is_ended = value["totalTokens"].is_u64(),
            Self::Models => said.is_ended = value["models"].as_array().is_some_and(|all| !all.is_empty()),
        }
    }
}

/// What has been said so far.
#[derive(Debug, Default)]
struct Said {
    has_text: bool,
    text: String,
    is_ended: bool,
    is_error: bool,
    input: Option<u64>,
}

impl Said {
    fn takes(&mut self, input: &Value) {
        self.input = input.as_u64().filter(|input| *input > 0).or(self.input);
    }

    /// What a model says to a prompt when it has said all.
    fn wanted(&self, prompt: &str) -> String {
        if self.has_text { format!("You said: {prompt}") } else { String::new() }
    }
}

/// What a prompt begins with, so that an answer shows whose it is.
pub(super) fn nonce(number: u64) -> String {
    format!("n{number:08}z")
}

/// All of them in some bytes.
fn nonces(bytes: &[u8]) -> impl Iterator<Item = String> {
    let is_one = |it: &&[u8]| it[0] == b'n' && it[9] == b'z' && it[1..9].iter().all(u8::is_ascii_digit);
    bytes.windows(10).filter(is_one).map(|it| String::from_utf8_lossy(it).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(surface: Surface, status: u16, whole: bool, body: &str) -> Result<Came, String> {
        let body = body.as_bytes().to_vec();
        surface.judge("n00000001z on", &Answer { status, headers: Vec::new(), body, whole })
    }

    fn event(text: &str, finish: &str) -> String {
        format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{finish}}}]}}\r\n\r\n"
        )
    }

    #[test]
    fn what_looks_whole_and_is_not_is_seen() {
        let (begun, last) = (event("You said: n0", ""), event("0000001z on", ",\"finishReason\":\"STOP\""));
        let all = format!("{begun}{last}");
        assert_eq!(judged(Surface::Stream, 200, true, &all), Ok(Came::Whole(None)));
        assert_eq!(judged(Surface::Stream, 200, false, &begun), Ok(Came::Cut));
        assert!(judged(Surface::Stream, 200, true, &begun).unwrap_err().contains("looks whole"));
        assert!(judged(Surface::Stream, 200, true, &last).unwrap_err().contains("not what was asked"));
        let error = format!("{begun}data: {{\"error\":{{\"message\":\"lost\"}}}}\n\n");
        assert_eq!(judged(Surface::Stream, 200, true, &error), Ok(Came::Cut));
        let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"You said:\"}}]}\n\ndata: [DONE]\n\n";
        assert!(judged(Surface::ChatStream, 200, true, chat).unwrap_err().contains("not what was asked"));
    }

    #[test]
    fn bytes_of_another_request_are_seen_wherever_they_are() {
        let error = "{\"error\":{\"code\":503,\"message\":\"n00000002z\",\"status\":\"UNAVAILABLE\"}}";
        assert!(judged(Surface::Unary, 503, true, error).unwrap_err().contains("another request"));
        assert_eq!(judged(Surface::Unary, 503, true, &error.replace('2', "1")), Ok(Came::Refused));
    }

    #[test]
    fn an_error_in_another_dialect_or_with_another_status_is_seen() {
        let google = "{\"error\":{\"code\":503,\"message\":\"no\",\"status\":\"UNAVAILABLE\"}}";
        assert_eq!(judged(Surface::Unary, 503, true, google), Ok(Came::Refused));
        assert!(judged(Surface::Message, 503, true, google).is_err());
        assert!(judged(Surface::Unary, 404, true, google).is_err());
        assert!(judged(Surface::Unary, 503, false, google).is_err());
        assert_eq!(judged(Surface::Unary, 500, true, GARBAGE), Ok(Came::Refused));
        assert!(judged(Surface::Message, 500, true, GARBAGE).is_err());
    }
}

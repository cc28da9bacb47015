//! What a client says in a session: the setup, turns, and the texts by which a test orders something of the server.

use serde_json::Value;

use crate::prompt::field;

/// The first message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// Without `models/`.
    pub(super) model: String,
    /// Whether handles are wanted.
    pub(super) resumable: bool,
    /// The handle of an earlier session.
    pub(super) handle: Option<String>,
}

impl Setup {
    pub(super) fn of(message: &Value) -> Option<Self> {
        let setup = message.get("setup")?;
        let model = setup.get("model").and_then(Value::as_str).unwrap_or_default();
        let resumption = field(setup, "sessionResumption", "session_resumption");
        let handle = resumption.and_then(|resumption| resumption.get("handle")).and_then(Value::as_str);
        Some(Self {
            model: model.strip_prefix("models/").unwrap_or(model).to_owned(),
            resumable: resumption.is_some(),
            handle: handle.filter(|handle| !handle.is_empty()).map(str::to_owned),
        })
    }
}

/// A later message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A turn, or realtime text.
    Text(String),
    /// Realtime audio or video, base64 as it came.
    Media(String),
    /// `toolResponse`, with the names of the functions.
    ToolResponse(String),
    /// A part of a turn that goes on, or a signal that asks for no answer.
    Nothing,
    /// No message of this API.
    Unknown,
}

impl Said {
    pub(super) fn of(message: &Value) -> Self {
        if let Some(content) = field(message, "clientContent", "client_content") {
            let open = field(content, "turnComplete", "turn_complete") == Some(&Value::Bool(false));
            let turns = content.get("turns").and_then(Value::as_array);
            let parts = turns
                .into_iter()
                .flatten()
                .filter_map(|turn| turn.get("parts"))
                .filter_map(Value::as_array)
                .flatten();
            let text: Vec<&str> =
                parts.filter_map(|part| part.get("text")).filter_map(Value::as_str).collect();
            return if open { Self::Nothing } else { Self::Text(text.join(" ")) };
        }
        if let Some(input) = field(message, "realtimeInput", "realtime_input") {
            if let Some(text) = input.get("text").and_then(Value::as_str) {
                return Self::Text(text.to_owned());
            }
            let blob = ["audio", "video"].iter().find_map(|kind| input.get(kind));
            let data = blob.and_then(|blob| blob.get("data")).and_then(Value::as_str);
            return data.map_or(Self::Nothing, |data| Self::Media(data.to_owned()));
        }
        if let Some(response) = field(message, "toolResponse", "tool_response") {
            let responses = field(response, "functionResponses", "function_responses");
            let names = responses
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|response| response.get("name"))
                .filter_map(Value::as_str)
                .collect::<Vec<_>>();
            return Self::ToolResponse(names.join(" "));
        }
        Self::Unknown
    }
}

/// What a turn's text orders; anything else is echoed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order<'a> {
    /// `close CODE REASON`; `close` alone is without a code.
    Close { code: Option<u16>, reason: &'a str },
    /// `reset`: RST.
    Reset,
    /// `drop`: FIN without a close.
    Drop,
    /// `ping TEXT`: a ping; the pong is told as `pong TEXT`.
    Ping(&'a str),
    /// `pings`: how many pings came.
    Pings,
    /// `flood COUNT BYTES`: so many messages of so much text.
    Flood { count: u64, bytes: usize },
    /// `call NAME`: a tool call.
    Call(&'a str),
    /// `secret`: the credential, which no server should echo.
    Secret,
}

impl<'a> Order<'a> {
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(match word {
            "close" if rest.is_empty() => Self::Close { code: None, reason: "" },
            "close" => Self::Close { code: Some(first.parse().ok()?), reason: second },
            "reset" if rest.is_empty() => Self::Reset,
            "drop" if rest.is_empty() => Self::Drop,
            "secret" if rest.is_empty() => Self::Secret,
            "pings" if rest.is_empty() => Self::Pings,
            "ping" => Self::Ping(rest),
            "flood" => Self::Flood { count: first.parse().ok()?, bytes: second.parse().ok()? },
            "call" => Self::Call(rest),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_setup_names_model_and_handle_in_either_spelling() {
        let setup = json!({"setup": {"model": "models/m", "sessionResumption": {"handle": "h"}}});
        let expected = Setup { model: "m".to_owned(), resumable: true, handle: Some("h".to_owned()) };
        assert_eq!(Setup::of(&setup), Some(expected));
        let setup = json!({"setup": {"model": "m", "session_resumption": {}}});
        let expected = Setup { model: "m".to_owned(), resumable: true, handle: None };
        assert_eq!(Setup::of(&setup), Some(expected));
        assert_eq!(Setup::of(&json!({"clientContent": {}})), None);
    }

    #[test]
    fn what_is_said_is_read_from_every_kind_of_message() {
        let turn = |text: &str| json!([{"role": "user", "parts": [{"text": text}]}]);
        let cases = [
            (json!({"clientContent": {"turns": turn("a"), "turnComplete": true}}), Said::Text("a".into())),
            (json!({"client_content": {"turns": turn("a"), "turn_complete": false}}), Said::Nothing),
            (json!({"realtimeInput": {"text": "b"}}), Said::Text("b".into())),
            (json!({"realtimeInput": {"audio": {"data": "AAEC"}}}), Said::Media("AAEC".into())),
            (json!({"realtimeInput": {"activityStart": {}}}), Said::Nothing),
            (
                json!({"toolResponse": {"functionResponses": [{"id": "1", "name": "f", "response": {}}]}}),
                Said::ToolResponse("f".into()),
            ),
            (json!({"dream": {}}), Said::Unknown),
        ];
        for (message, expected) in cases {
            assert_eq!(Said::of(&message), expected, "{message}");
        }
    }

    #[test]
    fn some_texts_are_orders() {
        let quota = Order::Close { code: Some(1011), reason: "You exceeded your current quota" };
        let cases = [
            ("close 1011 You exceeded your current quota", Some(quota)),
            ("close", Some(Order::Close { code: None, reason: "" })),
            ("flood 3 100", Some(Order::Flood { count: 3, bytes: 100 })),
            ("flood me", None),
            ("ping a b", Some(Order::Ping("a b"))),
            ("reset", Some(Order::Reset)),
            ("reset that", None),
            ("hello", None),
        ];
        for (text, order) in cases {
            assert_eq!(Order::of(text), order, "{text}");
        }
    }
}

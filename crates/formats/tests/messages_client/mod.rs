//! A client of Messages as the vendor's SDKs are one: it checks that events come in the order which they rely on, and
//! accumulates them to the message that an unstreamed answer would be.

use serde_json::{Map, Value, json};

/// What a stream came to.
#[derive(Debug, Default)]
pub(crate) struct ReceivedMessage {
    /// The message as it stands.
    pub(crate) message: Value,
    /// Whether `message_stop` came.
    pub(crate) is_whole: bool,
    /// `error` of an `error` event.
    pub(crate) error: Option<Value>,
    open: Option<OpenBlock>,
    has_stop_reason: bool,
}

#[derive(Debug)]
struct OpenBlock {
    kind: String,
    json: String,
    is_signed: bool,
}

impl ReceivedMessage {
    /// Reads frames, however they are cut.
    pub(crate) fn of(frames: &[u8]) -> Self {
        let mut received = Self::default();
        let text = std::str::from_utf8(frames).expect("events are UTF-8");
        if text.is_empty() {
            return received;
        }
        let body = text.strip_suffix("\n\n").expect("the last event is whole");
        for frame in body.split("\n\n") {
            let (name, data) = frame.split_once('\n').expect("an event has two lines");
            let name = name.strip_prefix("event: ").expect("an event has a name");
            let data = data.strip_prefix("data: ").expect("an event has data");
            assert!(!data.contains(['\n', '\r']), "data is one line");
            let data: Value = serde_json::from_str(data).expect("data is JSON");
            assert_eq!(data["type"], name, "the name is the type");
            received.event(name, &data);
        }
        received
    }

    fn event(&mut self, name: &str, data: &Value) {
        assert!(!self.is_whole && self.error.is_none(), "nothing comes after the end: {data}");
        match name {
            "message_start" => {
                assert!(self.message.is_null(), "there is one start");
                self.message = data["message"].clone();
                for member in
                    ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"]
                {
                    assert!(self.message.get(member).is_some(), "{member} is required");
                }
                assert!(self.message["id"].as_str().unwrap().starts_with("msg_"));
                assert_eq!(self.message["content"], json!([]));
            }
            _ if self.message.is_null() => panic!("`{name}` came before the start"),
            "content_block_start" => {
                assert!(self.open.is_none(), "one block is open at a time");
                assert!(!self.has_stop_reason);
                let block = data["content_block"].clone();
                let content = self.message["content"].as_array_mut().unwrap();
                assert_eq!(data["index"], content.len(), "indices have no gaps");
                let kind = block["type"].as_str().unwrap().to_owned();
                match kind.as_str() {
                    "text" => assert_eq!(block, json!({"type": "text", "text": ""})),
                    "thinking" => {
                        assert_eq!(block, json!({"type": "thinking", "thinking": "", "signature": ""}));
                    }
                    "tool_use" | "server_tool_use" => assert_eq!(block["input"], json!({})),
                    "web_search_tool_result" => assert!(block["content"].is_array()),
                    other => panic!("`{other}` is no block"),
                }
                content.push(block);
                self.open = Some(OpenBlock { kind, json: String::new(), is_signed: false });
            }
            "content_block_delta" => self.delta(data),
            "content_block_stop" => {
                let open = self.open.take().expect("a block is open");
                let content = self.message["content"].as_array_mut().unwrap();
                assert_eq!(data["index"], content.len() - 1);
                assert_eq!(
                    open.kind == "thinking",
                    open.is_signed,
                    "a thinking block is signed, no other is"
                );
                if open.kind.ends_with("tool_use") {
                    let input: Map<String, Value> =
                        serde_json::from_str(&open.json).expect("an input is an object");
                    content.last_mut().unwrap()["input"] = Value::Object(input);
                }
            }
            "message_delta" => {
                assert!(self.open.is_none() && !self.has_stop_reason);
                self.has_stop_reason = true;
                assert!(data["delta"]["stop_reason"].is_string());
                for member in ["stop_reason", "stop_sequence", "stop_details"] {
                    self.message[member] = data["delta"][member].clone();
                }
                let usage = data["usage"].as_object().unwrap();
                for member in [
                    "input_tokens",
                    "output_tokens",
                    "cache_read_input_tokens",
                    "cache_creation_input_tokens",
                ] {
                    assert!(usage[member].is_u64(), "{member} is repeated");
                }
                self.message["usage"] = data["usage"].clone();
            }
            "message_stop" => {
                assert!(self.has_stop_reason);
                self.is_whole = true;
            }
            "error" => self.error = Some(data["error"].clone()),
            "ping" => {}
            other => panic!("`{other}` is no event"),
        }
    }

    fn delta(&mut self, data: &Value) {
        let open = self.open.as_mut().expect("a block is open");
        let content = self.message["content"].as_array_mut().unwrap();
        assert_eq!(data["index"], content.len() - 1);
        assert!(!open.is_signed, "a signature comes last");
        let block = content.last_mut().unwrap();
        let delta = &data["delta"];
        let kind = delta["type"].as_str().unwrap();
        let append = |block: &mut Value, member: &str| {
            let more = delta[member].as_str().unwrap();
            let text = format!("{}{more}", block[member].as_str().unwrap());
            block[member] = json!(text);
        };
        match (open.kind.as_str(), kind) {
            ("text", "text_delta") => append(block, "text"),
            ("text", "citations_delta") => {
                let citations =
                    block.as_object_mut().unwrap().entry("citations").or_insert_with(|| json!([]));
                citations.as_array_mut().unwrap().push(delta["citation"].clone());
            }
            ("thinking", "thinking_delta") => append(block, "thinking"),
            ("thinking", "signature_delta") => {
                assert!(!delta["signature"].as_str().unwrap().is_empty());
                append(block, "signature");
                open.is_signed = true;
            }
            ("tool_use" | "server_tool_use", "input_json_delta") => {
                open.json.push_str(delta["partial_json"].as_str().unwrap());
            }
            (block, delta) => panic!("`{delta}` is none of `{block}`"),
        }
    }
}

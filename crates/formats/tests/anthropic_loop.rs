//! Tool loops of any length through a Messages client and back: what Google signed comes back to it on the same parts,
//! whatever of thinking the client keeps, and every request holds to Google's rules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "a broken rule may panic, and tables read better with values"
)]

mod messages_client;

use formats::anthropic::{self, MessagesStream};
use formats::models::ModelMap;
use formats::signature::PLACEHOLDER;
use formats::{AnswerSeed, AnswerStream, StreamEnd};
use messages_client::ReceivedMessage;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A part that Google's model says in a step.
#[derive(Clone, Debug)]
enum Said {
    Thought,
    Text(String, Option<String>),
    Call { name: &'static str, signature: Option<String> },
}

/// What a client does to the blocks that it sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// It keeps all, as Claude Code and the SDKs do.
    All,
    /// It drops thinking.
    NoThinking,
    /// It keeps thinking and makes up ids of its own.
    OwnIds,
}

/// How the ids begin that a client makes up.
const OWN_ID: &str = "own_";

const TOOLS: [&str; 3] = ["Read", "3-odd name", "mcp__server__tool"];

struct Client {
    thinking: Value,
    keeping: Keeping,
    messages: Vec<Value>,
    ids: usize,
}

impl Client {
    fn request(&self) -> Value {
        let tool = |name: &&str| json!({"name": name, "input_schema": {"type": "object", "properties": {}}});
        json!({
            "model": "claude-opus-5", "max_tokens": 1000, "stream": true, "thinking": self.thinking,
            "tools": TOOLS.iter().map(tool).collect::<Vec<_>>(), "messages": self.messages,
        })
    }

    /// Asks, gets this answer and answers its calls.
    fn step(&mut self, step: usize, said: &[Said]) -> Value {
        let models = ModelMap::new([("claude-*", "gemini-3-pro-preview")]).unwrap();
        let body = self.request().to_string();
        let call = anthropic::messages(body.as_bytes(), &models, &|_| false, None).unwrap();
        let asked: Value = serde_json::from_slice(&call.body).unwrap();
        let mut stream = MessagesStream::new(call.memory, AnswerSeed::new(&format!("s{step}x"), 0));
        let mut frames = Vec::new();
        for (place, part) in said.iter().enumerate() {
            frames.extend(stream.push(event(part, &google_id(step, place)).to_string().as_bytes()).concat());
        }
        frames.extend(stream.push(br#"{"candidates":[{"finishReason":"STOP"}]}"#).concat());
        frames.extend(stream.end(StreamEnd::Complete).concat());
        // Through JSON, as it goes through any client.
        let received: Value =
            serde_json::from_str(&ReceivedMessage::of(&frames).message.to_string()).unwrap();
        self.keep(received["content"].as_array().unwrap());
        asked
    }

    fn keep(&mut self, content: &[Value]) {
        let mut kept = content.to_vec();
        if self.keeping == Keeping::NoThinking {
            kept.retain(|block| block["type"] != "thinking");
        }
        let mut results = Vec::new();
        for block in kept.iter_mut().filter(|block| block["type"] == "tool_use") {
            if self.keeping == Keeping::OwnIds {
                self.ids += 1;
                block["id"] = json!(format!("{OWN_ID}{}", self.ids));
            }
            results
                .push(json!({"type": "tool_result", "tool_use_id": block["id"], "content": block["name"]}));
        }
        results.reverse();
        self.messages.push(json!({"role": "assistant", "content": kept}));
        results.push(json!({"type": "text", "text": "go on"}));
        self.messages.push(json!({"role": "user", "content": results}));
    }
}

fn google_id(step: usize, place: usize) -> String {
    format!("g{step}p{place}")
}

fn event(said: &Said, id: &str) -> Value {
    let mut part = match said {
        Said::Thought => json!({"text": "hm", "thought": true}),
        Said::Text(text, _) => json!({"text": text}),
        Said::Call { name, .. } => {
            let google = if name.starts_with('3') { "_3-odd_name" } else { name };
            json!({"functionCall": {"id": id, "name": google, "args": {"n": 1}}})
        }
    };
    if let Said::Text(_, Some(signature)) | Said::Call { signature: Some(signature), .. } = said {
        part["thoughtSignature"] = json!(signature);
    }
    json!({"candidates": [{"content": {"role": "model", "parts": [part]}}]})
}

/// The parts that Google is to see of a step of its own, as pairs of what a part is and its signature. Thoughts are gone,
/// and texts that no block parts are one. The signature of a text that ends a step is lost: nothing follows to carry it.
fn pairs(step: usize, said: &[Said], keeping: Keeping, thinks: bool) -> Vec<(String, Option<String>)> {
    let mut pairs: Vec<(String, Option<String>)> = Vec::new();
    let mut is_text_open = false;
    for (place, part) in said.iter().enumerate() {
        match part {
            Said::Thought => is_text_open &= !thinks,
            Said::Text(text, signature) => {
                let is_carried = thinks && keeping != Keeping::NoThinking && place + 1 < said.len();
                let carried = signature.clone().filter(|_| is_carried);
                match pairs.last_mut() {
                    Some(open) if is_text_open => *open = (format!("{}{text}", open.0), carried),
                    _ => pairs.push((text.clone(), carried)),
                }
                is_text_open = !thinks || signature.is_none();
            }
            Said::Call { signature, .. } => {
                is_text_open = false;
                pairs.push(match keeping {
                    Keeping::OwnIds => (OWN_ID.to_owned(), signature.clone().filter(|_| thinks)),
                    Keeping::All | Keeping::NoThinking => (google_id(step, place), signature.clone()),
                });
            }
        }
    }
    pairs
}

fn any_said() -> impl Strategy<Value = Said> {
    let signature = || proptest::option::of("[A-Za-z0-9+/_-]{4,40}={0,2}");
    prop_oneof![
        1 => Just(Said::Thought),
        2 => ("[A-Z]{1,6}", signature()).prop_map(|(text, signature)| Said::Text(text, signature)),
        3 => (proptest::sample::select(TOOLS.to_vec()), signature()).prop_map(|(name, signature)| Said::Call { name, signature }),
    ]
}

/// What of Google's contents the test compares.
fn seen(content: &Value) -> Vec<(String, Option<String>)> {
    let parts = content["parts"].as_array().unwrap();
    let pair = |part: &Value| {
        let signature = part["thoughtSignature"].as_str().map(ToOwned::to_owned);
        let id = part["functionCall"]["id"].as_str();
        let what = id.map(|id| if id.starts_with(OWN_ID) { OWN_ID } else { id });
        (what.or_else(|| part["text"].as_str()).unwrap().to_owned(), signature)
    };
    parts.iter().map(pair).collect()
}

fn check_rules(asked: &Value) -> Result<(), TestCaseError> {
    let contents = asked["contents"].as_array().unwrap();
    for (place, content) in contents.iter().enumerate() {
        let parts = content["parts"].as_array().unwrap();
        prop_assert!(!parts.is_empty());
        prop_assert_eq!(&content["role"], if place % 2 == 0 { "user" } else { "model" });
        let calls: Vec<&Value> =
            parts.iter().map(|part| &part["functionCall"]).filter(|call| !call.is_null()).collect();
        let next = contents.get(place + 1).map_or(&[][..], |next| next["parts"].as_array().unwrap());
        for (call, answer) in calls.iter().zip(next) {
            prop_assert_eq!(&call["id"], &answer["functionResponse"]["id"]);
            prop_assert_eq!(&call["name"], &answer["functionResponse"]["name"]);
        }
        prop_assert!(next.len() >= calls.len());
        let first = parts.iter().find(|part| !part["functionCall"].is_null());
        prop_assert!(first.is_none_or(|first| first["thoughtSignature"].is_string()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_google_signed_comes_back_on_the_same_parts(
        steps in proptest::collection::vec(proptest::collection::vec(any_said(), 1..6), 1..5),
        keeping in proptest::sample::select(vec![Keeping::All, Keeping::NoThinking, Keeping::OwnIds]),
        thinks: bool,
    ) {
        let thinking = if thinks { json!({"type": "adaptive"}) } else { json!({"type": "disabled"}) };
        let messages = vec![json!({"role": "user", "content": "go"})];
        let mut client = Client { thinking, keeping, messages, ids: 0 };
        for (step, said) in steps.iter().enumerate() {
            check_rules(&client.step(step, said))?;
        }
        let asked = client.step(steps.len(), &[Said::Text("done".to_owned(), None)]);
        check_rules(&asked)?;
        let expected: Vec<_> = steps
            .iter()
            .enumerate()
            .map(|(step, said)| pairs(step, said, keeping, thinks))
            .filter(|pairs| !pairs.is_empty())
            .collect();
        let models: Vec<_> = asked["contents"].as_array().unwrap().iter().filter(|content| content["role"] == "model").collect();
        prop_assert_eq!(models.len(), expected.len());
        for (content, mut pairs) in models.into_iter().zip(expected) {
            // Texts are of capitals.
            let is_call = |what: &str| what.contains(char::is_lowercase);
            if let Some((_, free @ None)) = pairs.iter_mut().find(|(what, _)| is_call(what)) {
                *free = Some(PLACEHOLDER.to_owned());
            }
            prop_assert_eq!(seen(content), pairs);
        }
    }
}

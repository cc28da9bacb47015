//! `chat/completions`, whole and streamed.

use serde_json::{Value, json};

use super::model;
use crate::answer::{Answer, Framing};
use crate::call::{Call, only_fields};
use crate::demand::WantedCall;
use crate::echo::Reply;
use crate::error::ApiError;
use crate::models::ModelKind;
use crate::native;
use crate::prompt::{Prompt, tokens};
use crate::quota::Metered;
use crate::signature::Signed;
use crate::world::World;

const FIELDS: &[&str] = &[
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "n",
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "modalities",
    "audio",
    "store",
    "metadata",
    "user",
    "service_tier",
    "extra_body",
];

/// What stays the same in every chunk of an answer.
struct ChunkFrame {
    id: String,
    created: u64,
    model: String,
    prompt_tokens: u64,
    /// Of these.
    cached_tokens: u64,
}

impl ChunkFrame {
    fn object(&self, kind: &str, choice: &Value, answer_tokens: u64) -> Value {
        let mut object = json!({
            "choices": [choice],
            "created": self.created,
            "id": self.id,
            "model": self.model,
            "object": kind,
            // Google repeats it, cumulative, in every chunk.
            "usage": {
                "completion_tokens": answer_tokens,
                "prompt_tokens": self.prompt_tokens,
                "total_tokens": self.prompt_tokens + answer_tokens,
            },
        });
        if self.cached_tokens > 0 {
            object["usage"]["prompt_tokens_details"] = json!({"cached_tokens": self.cached_tokens});
        }
        object
    }

    fn whole(&self, message: &Value, finish: &str, answer_tokens: u64) -> Value {
        let choice = json!({"finish_reason": finish, "index": 0, "message": message});
        self.object("chat.completion", &choice, answer_tokens)
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>, answer_tokens: u64) -> Value {
        let mut choice = json!({"delta": delta, "index": 0});
        if let Some(finish) = finish {
            choice["finish_reason"] = json!(finish);
        }
        self.object("chat.completion.chunk", &choice, answer_tokens)
    }
}

pub(super) fn complete(call: &Call<'_>) -> Result<Answer, ApiError> {
    let model = model(call, ModelKind::Generate, "generateContent")?;
    only_fields(&call.json, FIELDS)?;
    let prompt = Prompt::openai(&call.json, model.wants_signatures())?;
    let named = call.json.pointer("/extra_body/google/cached_content");
    let named = native::used_cache(call, named, model)?;
    call.world.meter(&call.key.project, &model.id, Metered::Generate, prompt.tokens)?;
    let streamed = call.json.get("stream") == Some(&Value::Bool(true));
    let number = call.world.next_answer();
    let frame = ChunkFrame {
        id: format!("sim{number:017x}"),
        created: call.world.now_ms() / 1000,
        model: model.id.clone(),
        prompt_tokens: named + prompt.tokens,
        cached_tokens: named + call.world.cached_tokens(&call.key.project, &model.id, &call.json, &prompt),
    };
    let reply = Reply::to(&prompt, call.world.shape());
    if !streamed {
        return Ok(Answer::line(&whole(&frame, reply, number)));
    }
    Ok(match reply {
        Reply::Calls(calls) => {
            let (message, spent) = called(&calls, number);
            Answer::events(Framing::OpenAi, std::iter::once(frame.chunk(&message, Some("tool_calls"), spent)))
        }
        Reply::Text(pieces) => {
            let mut said = 0;
            let chunks = (0..pieces.count).map(move |n| {
                let text = pieces.piece(n);
                said += text.len();
                let finish = (n + 1 == pieces.count).then_some("stop");
                frame.chunk(&json!({"content": text, "role": "assistant"}), finish, tokens(said))
            });
            Answer::events(Framing::OpenAi, chunks)
        }
    })
}

/// The message of function calls, and its tokens.
fn called(calls: &[WantedCall], number: u64) -> (Value, u64) {
    let mut spent = 0;
    let mut told = Vec::with_capacity(calls.len());
    for (at, WantedCall { name, args }) in calls.iter().enumerate() {
        let arguments = args.to_string();
        spent += tokens(name.len() + arguments.len());
        let id =
            if at == 0 { format!("function-call-{number}") } else { format!("function-call-{number}-{at}") };
        let mut call = json!({
            "function": {"arguments": arguments, "name": name},
            "id": id,
            "type": "function",
        });
        if at == 0 {
            let signature = Signed::Call { id: Some(&id), name, args }.issue(number);
            call["extra_content"] = json!({"google": {"thought_signature": signature}});
        }
        told.push(call);
    }
    // Whole, without the `index` that OpenAI gives to the deltas of a stream.
    (json!({"role": "assistant", "tool_calls": told}), spent)
}

fn whole(frame: &ChunkFrame, reply: Reply, number: u64) -> Value {
    match reply {
        Reply::Calls(calls) => {
            let (message, spent) = called(&calls, number);
            frame.whole(&message, "tool_calls", spent)
        }
        Reply::Text(pieces) => {
            let text = pieces.whole();
            let spent = tokens(text.len());
            frame.whole(&json!({"content": text, "role": "assistant"}), "stop", spent)
        }
    }
}

/// The answer to a request that nobody waits for.
pub(super) fn offline(world: &World, request: &Value) -> Result<Value, ApiError> {
    only_fields(request, FIELDS)?;
    let named = request.get("model").and_then(Value::as_str).unwrap_or_default();
    let id = named.strip_prefix("models/").unwrap_or(named);
    let model = world.model(id).filter(|model| model.kind == ModelKind::Generate);
    let model = model.ok_or_else(|| ApiError::new(404, format!("Model is not found: models/{id}")))?;
    let prompt = Prompt::openai(request, model.wants_signatures())?;
    let number = world.next_answer();
    let frame = ChunkFrame {
        id: format!("sim{number:017x}"),
        created: world.now_ms() / 1000,
        model: model.id.clone(),
        prompt_tokens: prompt.tokens,
        cached_tokens: 0,
    };
    Ok(whole(&frame, Reply::to(&prompt, world.shape()), number))
}

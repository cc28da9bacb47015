//! The endpoints that the OpenAPI document describes, each with an example of what is sent and what comes back. A test
//! of the service sends every example. Fields are Google's business: no schemas, which would be out of date by next
//! month.

use super::{GET, POST};
use serde_json::{Value, json};
use utoipa::openapi::HttpMethod;

/// Whose endpoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The gateway's own; needs no credential.
    Gateway,
    /// The gateway's own, about whoever asks.
    Caller,
    /// Google's, in its own format.
    Gemini,
    /// Google's OpenAI-compatible layer.
    OpenAi,
    /// Another vendor's, which the gateway translates.
    Translated,
}

impl Role {
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Caller => "caller",
            Self::Gemini => "Gemini",
            Self::OpenAi => "OpenAI",
            Self::Translated => "translated",
        }
    }

    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Gateway => "The gateway itself. No credential.",
            Self::Caller => "What a caller may ask of itself, with its token.",
            Self::Gemini => {
                "The Gemini API in Google's own format, as google-genai and gemini-cli speak it. Under `/v1` and \
                 `/v1alpha` just as well: the version passes as it is."
            }
            Self::OpenAi => {
                "Google's OpenAI-compatible layer, as OpenAI's SDKs speak it with `base_url` ending in `/v1`. The same \
                 paths work under `/v1beta/openai` and `/openai/v1`."
            }
            Self::Translated => {
                "Anthropic's Messages and OpenAI's Responses, which Google does not offer: the gateway translates them. Names of \
                 models are mapped (`formats.models`), and errors come in the vendor's own form. `GET /v1/models` with an \
                 `anthropic-version` header lists the models in Anthropic's; the Messages paths work under `/anthropic/v1` too."
            }
        }
    }
}

/// An endpoint as the API page describes it.
pub(super) struct Endpoint {
    pub(super) role: Role,
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: Option<&'static str>,
    pub(super) parameters: Vec<Named>,
    pub(super) request: Option<Example>,
    pub(super) answer_about: &'static str,
    pub(super) answers: Vec<Example>,
    /// What a 503 of the gateway's own endpoints looks like.
    pub(super) unavailable: Option<Example>,
}

/// A parameter of the path or the query.
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) example: Option<&'static str>,
}

/// An example of a request's body.
pub(super) struct Example {
    pub(super) media_type: &'static str,
    pub(super) value: Value,
}

fn in_json(value: Value) -> Example {
    Example { media_type: "application/json", value }
}

fn in_events(text: &str) -> Example {
    Example { media_type: "text/event-stream", value: text.into() }
}

impl Endpoint {
    fn new(
        role: Role,
        method: HttpMethod,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            role,
            method,
            path,
            id,
            summary,
            about: None,
            parameters: Vec::new(),
            request: None,
            answer_about: "The answer.",
            answers: Vec::new(),
            unavailable: None,
        }
    }

    fn about(mut self, text: &'static str) -> Self {
        self.about = Some(text);
        self
    }

    fn takes(mut self, request: Value) -> Self {
        self.request = Some(in_json(request));
        self
    }

    fn takes_form(mut self, request: Value) -> Self {
        self.request = Some(Example { media_type: "multipart/form-data", value: request });
        self
    }

    fn gives(mut self, answer: Value) -> Self {
        self.answers.push(in_json(answer));
        self
    }

    fn streams(mut self, text: &str) -> Self {
        self.answers.push(in_events(text));
        self
    }

    fn or_503(mut self, answer: Value) -> Self {
        self.unavailable = Some(in_json(answer));
        self
    }

    fn with(mut self, name: &'static str, about: &'static str, example: &'static str) -> Self {
        self.parameters.push(Named { name, about, example: Some(example) });
        self
    }

    fn may_have(mut self, name: &'static str, about: &'static str) -> Self {
        self.parameters.push(Named { name, about, example: None });
        self
    }

    fn with_model(self, example: &'static str) -> Self {
        self.with("model", "The model's id, without `models/`.", example)
    }
}

/// Every endpoint of the document, in its order.
pub(super) fn endpoints() -> Vec<Endpoint> {
    [gateway(), caller(), gemini(), openai(), translated()].into_iter().flatten().collect()
}

fn gateway() -> Vec<Endpoint> {
    let of = |path, id, summary| Endpoint::new(Role::Gateway, GET, path, id, summary);
    let ready = |status: &str, available: u32, cooling: u32, retired: u32| {
        json!({
            "status": status,
            "components": { "key_manager": { "state": "up", "restarts": 0 } },
            "keys": {
                "total": 4, "available": available, "probation": 0, "cooling": cooling, "retired": retired,
                "disabled": 0, "in_flight": 2, "waiting": 0
            },
            "requests_in_flight": 2,
            "restart_needed": []
        })
    };
    let mut unready = ready("unavailable", 0, 0, 4);
    unready["reason"] = "every key is retired or disabled".into();
    vec![
        of("/health", "health", "Whether requests can be served")
            .gives(json!({ "status": "ok" }))
            .or_503(json!({ "status": "unavailable", "reason": "shutting down" })),
        of("/health/live", "live", "Whether the process answers at all").gives(json!({ "status": "ok" })),
        of(
            "/health/ready",
            "ready",
            "The same as /health, with every component and the count of keys in each state",
        )
        .gives(ready("ok", 3, 1, 0))
        .or_503(unready),
        of("/openapi.json", "openapi", "This document").gives(json!({ "openapi": "3.1.0" })),
    ]
}

fn caller() -> Vec<Endpoint> {
    let period = |ends_in_s: u32| json!({ "requests": 12, "tokens": 3_400, "ends_in_s": ends_in_s });
    vec![
        Endpoint::new(
            Role::Caller,
            GET,
            "/me",
            "me",
            "What the token allows, what it has used, and when its limits open",
        )
        .gives(json!({
            "name": "alice", "enabled": true, "resources": "own",
            "surfaces": ["native", "openai", "live", "upload"], "models": ["gemini-2.5-*"], "projects": ["*"],
            "use": {
                "in_flight": 1,
                "limits": [{ "name": "rpm", "limit": 60, "used": 12, "opens_in_s": 0 }],
                "day": period(41_000), "month": period(1_200_000)
            }
        })),
    ]
}

fn gemini() -> Vec<Endpoint> {
    let of = |method, path, id, summary| Endpoint::new(Role::Gemini, method, path, id, summary);
    let prompt = || json!({ "contents": [{ "role": "user", "parts": [{ "text": "Say hello." }] }] });
    let embedded = json!({ "content": { "parts": [{ "text": "Say hello." }] } });
    let model = || {
        json!({
            "name": "models/gemini-2.5-flash", "version": "001", "displayName": "Gemini 2.5 Flash",
            "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"]
        })
    };
    vec![
        of(POST, "/v1beta/models/{model}:generateContent", "generateContent", "Generate, whole")
            .with_model("gemini-2.5-flash")
            .takes(prompt())
            .gives(json!({
                "candidates": [{
                    "content": { "role": "model", "parts": [{ "text": "Hello!" }] },
                    "finishReason": "STOP", "index": 0
                }],
                "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5 },
                "modelVersion": "gemini-2.5-flash"
            })),
        of(POST, "/v1beta/models/{model}:streamGenerateContent", "streamGenerateContent", "Generate, streamed")
            .about(
                "Each event is passed on as it comes. Should Google break off in the middle, the last event is an \
                 `error` and the connection ends without a clean end; it is never a silent success.",
            )
            .with_model("gemini-2.5-flash")
            .with("alt", "`sse` for server-sent events; without it Google sends one JSON array.", "sse")
            .takes(prompt())
            .streams(
                "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hel\"}],\"role\": \"model\"},\
                 \"index\": 0}]}\r\n\r\ndata: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"lo!\"}],\
                 \"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}]}\r\n\r\n",
            ),
        of(POST, "/v1beta/models/{model}:countTokens", "countTokens", "Count tokens")
            .with_model("gemini-2.5-flash")
            .takes(prompt())
            .gives(json!({ "totalTokens": 3 })),
        of(POST, "/v1beta/models/{model}:embedContent", "embedContent", "Embed one text")
            .with_model("gemini-embedding-001")
            .takes(embedded)
            .gives(json!({ "embedding": { "values": [0.013, -0.022, 0.007] } })),
        of(GET, "/v1beta/models", "listModels", "List models")
            .with("pageSize", "How many, at most 1000.", "50")
            .may_have("pageToken", "`nextPageToken` of the page before.")
            .gives(json!({ "models": [model()] })),
        of(GET, "/v1beta/models/{model}", "getModel", "One model").with_model("gemini-2.5-flash").gives(model()),
    ]
}

fn translated() -> Vec<Endpoint> {
    let of = |path, id, summary| Endpoint::new(Role::Translated, POST, path, id, summary);
    let message = || json!([{ "role": "user", "content": "Say hello." }]);
    vec![
        of("/v1/messages", "createMessage", "Anthropic: a message, whole or streamed")
            .about("Streamed with `\"stream\": true`.")
            .takes(json!({ "model": "claude-sonnet-5", "max_tokens": 100, "messages": message() }))
            .gives(json!({
                "id": "msg_1f", "type": "message", "role": "assistant", "model": "claude-sonnet-5",
                "content": [{ "type": "text", "text": "Hello!" }], "stop_reason": "end_turn", "stop_sequence": null,
                "usage": {
                    "input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0
                }
            }))
            .streams(
                "event: message_start\ndata: {\"type\":\"message_start\", ...}\n\nevent: message_stop\ndata: \
                 {\"type\":\"message_stop\"}\n\n",
            ),
        of("/v1/messages/count_tokens", "countMessageTokens", "Anthropic: how many tokens a message has")
            .takes(json!({ "model": "claude-sonnet-5", "messages": message() }))
            .gives(json!({ "input_tokens": 3 })),
        of("/v1/responses", "createResponse", "OpenAI: a response, whole or streamed")
            .about(
                "Kept for its caller unless `store` is false: `previous_response_id` goes on from it, and \
                 `/v1/responses/{id}` shows it to GET and forgets it for DELETE.",
            )
            .takes(json!({ "model": "gemini-2.5-flash", "input": "Say hello." }))
            .gives(json!({
                "id": "resp_1f", "object": "response", "status": "completed", "model": "gemini-2.5-flash",
                "output": [{
                    "type": "message", "id": "msg_1f", "status": "completed", "role": "assistant",
                    "content": [{ "type": "output_text", "text": "Hello!", "annotations": [] }]
                }],
                "usage": { "input_tokens": 3, "output_tokens": 2, "total_tokens": 5 }
            }))
            .streams(
                "event: response.created\ndata: {\"type\":\"response.created\", ...}\n\nevent: response.completed\ndata: \
                 {\"type\":\"response.completed\", ...}\n\n",
            ),
        of("/v1/responses/input_tokens", "countResponseTokens", "OpenAI: how many tokens a response's input has")
            .takes(json!({ "model": "gemini-2.5-flash", "input": "Say hello." }))
            .gives(json!({ "object": "response.input_tokens", "input_tokens": 3 })),
    ]
}

fn openai() -> Vec<Endpoint> {
    let of = |method, path, id, summary| Endpoint::new(Role::OpenAi, method, path, id, summary);
    let model = || json!({ "id": "models/gemini-2.5-flash", "object": "model", "owned_by": "google" });
    vec![
        of(POST, "/v1/chat/completions", "createChatCompletion", "Chat, whole or streamed")
            .about("Streamed with `\"stream\": true`.")
            .takes(json!({
                "model": "gemini-2.5-flash",
                "messages": [{ "role": "user", "content": "Say hello." }]
            }))
            .gives(json!({
                "id": "a1b2c3", "object": "chat.completion", "created": 1_764_000_000, "model": "gemini-2.5-flash",
                "choices": [{
                    "index": 0, "finish_reason": "stop",
                    "message": { "role": "assistant", "content": "Hello!" }
                }],
                "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 }
            }))
            .streams(
                "data: {\"choices\":[{\"delta\":{\"content\":\"Hello!\",\"role\":\"assistant\"},\"finish_reason\":\
                 \"stop\",\"index\":0}],\"object\":\"chat.completion.chunk\"}\n\ndata: [DONE]\n\n",
            ),
        of(POST, "/v1/embeddings", "createEmbedding", "Embed one or several texts")
            .takes(json!({ "model": "gemini-embedding-001", "input": ["Say hello."] }))
            .gives(json!({
                "object": "list", "model": "gemini-embedding-001",
                "data": [{ "object": "embedding", "index": 0, "embedding": [0.013, -0.022, 0.007] }],
                "usage": { "prompt_tokens": 3, "total_tokens": 3 }
            })),
        of(GET, "/v1/models", "listOpenAiModels", "List models")
            .about("For a Bearer token; with `x-goog-api-key` or `?key=` this path is Google's own list.")
            .gives(json!({ "object": "list", "data": [model()] })),
        of(GET, "/v1/models/{model}", "getOpenAiModel", "One model")
            .about("For a Bearer token; with `x-goog-api-key` or `?key=` this path is Google's own.")
            .with_model("gemini-2.5-flash")
            .gives(model()),
        of(POST, "/v1/images/generations", "createImage", "Make pictures")
            .takes(json!({
                "model": "imagen-4.0-generate-001", "prompt": "A lighthouse at dusk", "n": 1,
                "response_format": "b64_json"
            }))
            .gives(json!({ "created": 1_764_000_000, "data": [{ "b64_json": "iVBORw0KGgo=" }] })),
        of(POST, "/v1/videos", "createVideo", "Begin a video")
            .takes_form(json!({ "model": "veo-3.0-generate-001", "prompt": "Waves at a lighthouse" }))
            .gives(json!({
                "id": "video-1f", "object": "video", "created_at": 1_764_000_000,
                "model": "veo-3.0-generate-001", "progress": 0, "status": "processing"
            })),
        of(GET, "/v1/videos/{id}", "getVideo", "How a video is getting on")
            .about("Only keys of the project that began the video can see it.")
            .with("id", "The `id` that beginning it gave.", "video-1f")
            .gives(json!({
                "id": "video-1f", "object": "video", "progress": 100, "status": "completed",
                "url": "https://generativelanguage.googleapis.com/v1beta/files/video-1f:download?alt=media"
            })),
    ]
}

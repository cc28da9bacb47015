//! What is asked of a model, read from either dialect: the text, the functions on offer, what functions have answered.
//! Whether a native conversation keeps Google's rules is asked in `native`.

use serde_json::Value;

use crate::error::ApiError;
use crate::signature::{Genuineness, Signed};

/// A function the model may call.
pub(crate) struct Function {
    pub(crate) name: String,
    /// JSON schema, in either of Google's spellings.
    pub(crate) parameters: Value,
}

/// Whether the model may call functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calling {
    /// It calls one whose name the prompt mentions.
    Auto,
    Must,
    Never,
}

pub(crate) struct Prompt {
    /// The newest text that is not the model's.
    pub(crate) text: String,
    /// What the functions answered, if that is what came last.
    pub(crate) tool_result: Option<String>,
    /// How often functions have answered since that text.
    pub(crate) rounds: usize,
    /// How many turns are the model's.
    pub(crate) model_turns: usize,
    pub(crate) tokens: u64,
    /// Bytes of text before the first turn, up to its end, up to the end of the second ...
    pub(crate) bytes_upto: Vec<usize>,
    pub(crate) functions: Vec<Function>,
    pub(crate) calling: Calling,
    /// The answer is to be JSON.
    pub(crate) json: bool,
    /// It is to fit this schema.
    pub(crate) schema: Option<Value>,
    /// The model may search the web.
    pub(crate) search: bool,
    /// Thoughts are to be shown.
    pub(crate) thoughts: bool,
}

/// Four bytes a token, rounded up.
pub(crate) fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// A field by its camelCase name or, as Python spells it, in `snake_case`.
pub(crate) fn field<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake))
}

pub(crate) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// Whether the parts of a content have a function's answer among them: then it goes on with a turn and begins none.
pub(crate) fn answers_calls(content: &Value) -> bool {
    items(content.get("parts"))
        .iter()
        .any(|part| field(part, "functionResponse", "function_response").is_some())
}

/// Whether a content is the model's.
pub(crate) fn by_model(content: &Value) -> bool {
    text(content.get("role")) == "model"
}

/// Checks the signature of a chat message's first call, which is of the turn under way.
fn check_signature(call: &Value) -> Result<(), ApiError> {
    let function = text(call.pointer("/function/name"));
    let returned = text(call.pointer("/extra_content/google/thought_signature"));
    if returned.is_empty() {
        return Err(ApiError::signature_missing(function, None));
    }
    let args = serde_json::from_str(text(call.pointer("/function/arguments"))).unwrap_or_default();
    let signed = Signed::Call { id: call.get("id").and_then(Value::as_str), name: function, args: &args };
    match signed.judge(returned) {
        Genuineness::Genuine | Genuineness::Skipped => Ok(()),
        Genuineness::Corrupted => Err(ApiError::signature_corrupted()),
    }
}

impl Prompt {
    /// From a `GenerateContentRequest`.
    pub(crate) fn native(request: &Value) -> Result<Self, ApiError> {
        let mut newest = String::new();
        let mut tool_result = None;
        let (mut rounds, mut model_turns) = (0, 0);
        let mut bytes = 0;
        if let Some(system) = field(request, "systemInstruction", "system_instruction") {
            bytes +=
                items(system.get("parts")).iter().map(|part| text(part.get("text")).len()).sum::<usize>();
        }
        let contents = items(request.get("contents"));
        if contents.is_empty() {
            return Err(ApiError::new(400, "* GenerateContentRequest.contents: contents is not specified\n"));
        }
        let mut bytes_upto = vec![bytes];
        for content in contents {
            let mut said = String::new();
            let mut results: Option<String> = None;
            for part in items(content.get("parts")) {
                said.push_str(text(part.get("text")));
                if let Some(inline) = field(part, "inlineData", "inline_data") {
                    bytes += text(inline.get("data")).len();
                }
                if let Some(call) = field(part, "functionCall", "function_call") {
                    bytes += call.get("args").unwrap_or(&Value::Null).to_string().len();
                }
                if let Some(response) = field(part, "functionResponse", "function_response") {
                    let response = response.get("response").unwrap_or(&Value::Null).to_string();
                    bytes += response.len();
                    results = Some(match results {
                        None => response,
                        Some(before) => before + " and " + &response,
                    });
                }
            }
            bytes += said.len();
            bytes_upto.push(bytes);
            if by_model(content) {
                model_turns += 1;
            } else if results.is_some() {
                rounds += 1;
            } else if !said.is_empty() {
                newest = said;
                rounds = 0;
            }
            tool_result = results;
        }
        let functions = items(request.get("tools"))
            .iter()
            .flat_map(|tool| items(field(tool, "functionDeclarations", "function_declarations")))
            .map(|declared| Function {
                name: text(declared.get("name")).to_owned(),
                parameters: field(declared, "parametersJsonSchema", "parameters_json_schema")
                    .or_else(|| declared.get("parameters"))
                    .cloned()
                    .unwrap_or_default(),
            });
        let config = field(request, "toolConfig", "tool_config")
            .and_then(|config| field(config, "functionCallingConfig", "function_calling_config"));
        let allowed =
            items(config.and_then(|config| field(config, "allowedFunctionNames", "allowed_function_names")));
        let functions = functions
            .filter(|function| allowed.is_empty() || allowed.iter().any(|name| name == &function.name))
            .collect();
        let calling = match text(config.and_then(|config| config.get("mode"))).to_ascii_uppercase().as_str() {
            "ANY" => Calling::Must,
            "NONE" => Calling::Never,
            _ => Calling::Auto,
        };
        let config = field(request, "generationConfig", "generation_config");
        let json = text(config.and_then(|config| field(config, "responseMimeType", "response_mime_type")))
            == "application/json";
        let schema = config.and_then(|config| {
            field(config, "responseJsonSchema", "response_json_schema")
                .or_else(|| field(config, "responseSchema", "response_schema"))
        });
        let thinking = config.and_then(|config| field(config, "thinkingConfig", "thinking_config"));
        let thoughts = thinking.is_some_and(|thinking| {
            field(thinking, "includeThoughts", "include_thoughts") == Some(&Value::Bool(true))
                && field(thinking, "thinkingBudget", "thinking_budget").and_then(Value::as_i64) != Some(0)
        });
        let search = items(request.get("tools"))
            .iter()
            .any(|tool| field(tool, "googleSearch", "google_search").is_some());
        Ok(Self {
            text: newest,
            tool_result,
            rounds,
            model_turns,
            schema: schema.cloned(),
            search,
            thoughts,
            tokens: tokens(bytes).max(1),
            bytes_upto,
            functions,
            calling,
            json,
        })
    }

    /// From a chat completion request.
    pub(crate) fn openai(request: &Value, signed: bool) -> Result<Self, ApiError> {
        let mut newest = String::new();
        let mut tool_result = None;
        let mut bytes = 0;
        let messages = items(request.get("messages"));
        if messages.is_empty() {
            return Err(ApiError::new(400, "* GenerateContentRequest.contents: contents is not specified\n"));
        }
        let mut bytes_upto = vec![bytes];
        let begun = messages.iter().rposition(|message| text(message.get("role")) == "user").unwrap_or(0);
        let (mut rounds, mut model_turns) = (0, 0);
        for (at, message) in messages.iter().enumerate() {
            let said = match message.get("content") {
                Some(Value::String(said)) => said.clone(),
                Some(Value::Array(parts)) => parts.iter().map(|part| text(part.get("text"))).collect(),
                _ => String::new(),
            };
            bytes += said.len();
            bytes_upto.push(bytes);
            tool_result = None;
            match text(message.get("role")) {
                "assistant" => {
                    model_turns += 1;
                    rounds += usize::from(message.get("tool_calls").is_some());
                    // Of parallel calls only the first is signed.
                    if let Some(call) = items(message.get("tool_calls")).first()
                        && signed
                        && at > begun
                    {
                        check_signature(call)?;
                    }
                }
                "tool" => tool_result = Some(said),
                "system" | "developer" => {}
                _ => {
                    newest = said;
                    rounds = 0;
                }
            }
        }
        let choice = request.get("tool_choice");
        let wanted = choice.and_then(|choice| choice.pointer("/function/name")).and_then(Value::as_str);
        let functions = items(request.get("tools"))
            .iter()
            .filter_map(|tool| tool.get("function"))
            .map(|declared| Function {
                name: text(declared.get("name")).to_owned(),
                parameters: declared.get("parameters").cloned().unwrap_or_default(),
            })
            .filter(|function| wanted.is_none_or(|name| name == function.name))
            .collect();
        let calling = match text(choice) {
            "required" => Calling::Must,
            "none" => Calling::Never,
            _ if wanted.is_some() => Calling::Must,
            _ => Calling::Auto,
        };
        let json = matches!(text(request.pointer("/response_format/type")), "json_object" | "json_schema");
        Ok(Self {
            text: newest,
            tool_result,
            rounds,
            model_turns,
            schema: None,
            search: false,
            thoughts: false,
            tokens: tokens(bytes).max(1),
            bytes_upto,
            functions,
            calling,
            json,
        })
    }
}

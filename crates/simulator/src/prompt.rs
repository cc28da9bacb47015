//! What is asked of a model, read from either dialect: the text, the functions on offer, and whether old function calls
//! came back with the signatures they were issued with.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::ApiError;

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
    pub(crate) tokens: u64,
    /// Bytes of text before the first turn, up to its end, up to the end of the second ...
    pub(crate) bytes_upto: Vec<usize>,
    pub(crate) functions: Vec<Function>,
    pub(crate) calling: Calling,
    /// The answer is to be JSON.
    pub(crate) json: bool,
}

/// Four bytes a token, rounded up.
pub(crate) fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// A field by its camelCase name or, as Python spells it, in `snake_case`.
pub(crate) fn field<'a>(value: &'a Value, camel: &str, snake: &str) -> Option<&'a Value> {
    value.get(camel).or_else(|| value.get(snake))
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

/// The signature the model puts on a call of `function`; it depends on nothing that may change on its way.
pub(crate) fn signature(function: &str) -> String {
    STANDARD.encode(Sha256::digest(format!("signed: {function}")))
}

/// Checks a returned signature. Python sends it in the URL-safe alphabet.
fn check_signature(function: &str, returned: Option<&Value>) -> Result<(), ApiError> {
    let Some(returned) = returned.and_then(Value::as_str).filter(|text| !text.is_empty()) else {
        return Err(ApiError::new(
            400,
            format!(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{function}`. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            ),
        ));
    };
    let plain = returned.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let known =
        STANDARD_NO_PAD.decode(plain).is_ok_and(|bytes| STANDARD.encode(bytes) == signature(function));
    // Google documents these two for calls that no model made.
    let bypass =
        matches!(returned, "skip_thought_signature_validator" | "context_engineering_is_the_way_to_go");
    if known || bypass { Ok(()) } else { Err(ApiError::new(400, "Corrupted thought signature.")) }
}

impl Prompt {
    /// From a `GenerateContentRequest`.
    pub(crate) fn native(request: &Value, signed: bool) -> Result<Self, ApiError> {
        let mut newest = String::new();
        let mut tool_result = None;
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
            let by_model = text(content.get("role")) == "model";
            let mut said = String::new();
            let mut called = false;
            tool_result = None;
            for part in items(content.get("parts")) {
                said.push_str(text(part.get("text")));
                if let Some(inline) = field(part, "inlineData", "inline_data") {
                    bytes += text(inline.get("data")).len();
                }
                if let Some(response) = field(part, "functionResponse", "function_response") {
                    let response = response.get("response").unwrap_or(&Value::Null).to_string();
                    bytes += response.len();
                    tool_result = Some(response);
                }
                // Of parallel calls only the first is signed.
                if let Some(call) = field(part, "functionCall", "function_call")
                    && by_model
                    && signed
                    && !std::mem::replace(&mut called, true)
                {
                    check_signature(
                        text(call.get("name")),
                        field(part, "thoughtSignature", "thought_signature"),
                    )?;
                }
            }
            bytes += said.len();
            bytes_upto.push(bytes);
            if !by_model && !said.is_empty() {
                newest = said;
            }
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
        let json = field(request, "generationConfig", "generation_config").is_some_and(|config| {
            text(field(config, "responseMimeType", "response_mime_type")) == "application/json"
        });
        Ok(Self {
            text: newest,
            tool_result,
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
        for message in messages {
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
                    if let Some(call) = items(message.get("tool_calls")).first()
                        && signed
                    {
                        let name = text(call.pointer("/function/name"));
                        check_signature(name, call.pointer("/extra_content/google/thought_signature"))?;
                    }
                }
                "tool" => tool_result = Some(said),
                "system" | "developer" => {}
                _ => newest = said,
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
            tokens: tokens(bytes).max(1),
            bytes_upto,
            functions,
            calling,
            json,
        })
    }
}

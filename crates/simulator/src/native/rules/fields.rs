//! What protobuf's JSON reader makes of a request: fields that it does not know and values of another kind. All of them are
//! told at once, as Google does. Names may be in camelCase or `snake_case`.

use serde_json::Value;

use super::schema;
use crate::error::ApiError;
use crate::prompt::{field, items};

/// More faults than this are not told.
const MOST: usize = 100;

const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

const CONTENT: &[&str] = &["role", "parts"];
/// Of these a part has exactly one.
const PART_DATA: &[&str] = &[
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];
const PART: &[&str] = &["thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"];
const CALL: &[&str] = &["id", "name", "args", "partialArgs", "willContinue"];
const RESPONSE: &[&str] = &["id", "name", "response", "parts", "scheduling", "willContinue"];
const TOOL: &[&str] = &[
    "functionDeclarations",
    "googleSearch",
    "googleSearchRetrieval",
    "googleMaps",
    "codeExecution",
    "computerUse",
    "urlContext",
    "fileSearch",
    "mcpServers",
];
const DECLARATION: &[&str] = &[
    "name",
    "description",
    "behavior",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseJsonSchema",
];
const TOOL_CONFIG: &[&str] =
    &["functionCallingConfig", "retrievalConfig", "includeServerSideToolInvocations"];
const CALLING_CONFIG: &[&str] = &["mode", "allowedFunctionNames", "streamFunctionCallArguments"];
const GENERATION: &[&str] = &[
    "candidateCount",
    "stopSequences",
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "_responseJsonSchema",
    "responseFormat",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "enableEnhancedCivicAnswers",
    "responseModalities",
    "speechConfig",
    "thinkingConfig",
    "imageConfig",
    "mediaResolution",
];
const THINKING: &[&str] = &["includeThoughts", "thinkingBudget", "thinkingLevel"];

/// What cannot be read: where it is, and what is wrong with it.
#[derive(Default)]
pub(super) struct Violations(Vec<(String, String)>);

impl Violations {
    fn add(&mut self, path: &str, wrong: String) {
        if self.0.len() < MOST {
            self.0.push((path.to_owned(), wrong));
        }
    }

    pub(super) fn unknown(&mut self, path: &str, name: &str) {
        self.add(
            path,
            format!("Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field."),
        );
    }

    pub(super) fn not_repeating(&mut self, path: &str, name: &str) {
        self.add(
            path,
            format!(
                "Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Proto field is not repeating, cannot start list."
            ),
        );
    }

    pub(super) fn invalid(&mut self, path: &str, kind: &str, value: &Value) {
        self.add(path, format!("Invalid value at '{path}' ({kind}), {value}"));
    }

    /// Looks for fields that are not among these.
    fn only(&mut self, path: &str, value: &Value, known: &[&[&str]]) {
        for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
            if !known.iter().copied().flatten().any(|camel| spells(name, camel)) {
                self.unknown(path, name);
            }
        }
    }

    /// A field that must be an object, if it is there.
    fn object(&mut self, path: &str, value: &Value, name: &str) {
        if let Some(value) = value.get(name).filter(|value| !value.is_object() && !value.is_null()) {
            self.invalid(&format!("{path}.{name}"), STRUCT, value);
        }
    }
}

/// Whether `name` is the field whose camelCase name is `camel`.
pub(super) fn spells(name: &str, camel: &str) -> bool {
    name == camel || name.contains('_') && name == snake(camel)
}

/// `maxOutputTokens` as `max_output_tokens`.
pub(super) fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Checks that a request can be read.
pub(in crate::native) fn readable(request: &Value) -> Result<(), ApiError> {
    let mut found = Violations::default();
    let mut dataless = Vec::new();
    for (at, content) in items(request.get("contents")).iter().enumerate() {
        read_content(&format!("contents[{at}]"), content, &mut found, &mut dataless);
    }
    if let Some(system) = field(request, "systemInstruction", "system_instruction") {
        read_content("system_instruction", system, &mut found, &mut dataless);
    }
    for (at, tool) in items(request.get("tools")).iter().enumerate() {
        read_tool(&format!("tools[{at}]"), tool, &mut found);
    }
    if let Some(config) = field(request, "toolConfig", "tool_config") {
        found.only("tool_config", config, &[TOOL_CONFIG]);
        if let Some(calling) = field(config, "functionCallingConfig", "function_calling_config") {
            found.only("tool_config.function_calling_config", calling, &[CALLING_CONFIG]);
        }
    }
    if let Some(config) = field(request, "generationConfig", "generation_config") {
        read_generation(config, &mut found);
    }
    if !found.0.is_empty() {
        return Err(ApiError::unreadable_fields(&found.0));
    }
    if dataless.is_empty() { Ok(()) } else { Err(ApiError::new(400, dataless.concat())) }
}

fn read_content(path: &str, content: &Value, found: &mut Violations, dataless: &mut Vec<String>) {
    found.only(path, content, &[CONTENT]);
    for (at, part) in items(content.get("parts")).iter().enumerate() {
        let path = format!("{path}.parts[{at}]");
        found.only(&path, part, &[PART_DATA, PART]);
        let held =
            part.as_object().into_iter().flatten().filter(|(name, value)| {
                !value.is_null() && PART_DATA.iter().any(|camel| spells(name, camel))
            });
        if held.count() != 1 && dataless.len() < MOST {
            dataless.push(format!(
                "* GenerateContentRequest.{path}.data: required oneof field 'data' must have one initialized field\n"
            ));
        }
        if let Some(text) = part.get("text").filter(|text| !text.is_string()) {
            found.invalid(&format!("{path}.text"), "TYPE_STRING", text);
        }
        if let Some(call) = field(part, "functionCall", "function_call") {
            let path = format!("{path}.function_call");
            found.only(&path, call, &[CALL]);
            found.object(&path, call, "args");
        }
        if let Some(response) = field(part, "functionResponse", "function_response") {
            let path = format!("{path}.function_response");
            found.only(&path, response, &[RESPONSE]);
            found.object(&path, response, "response");
        }
    }
}

fn read_tool(path: &str, tool: &Value, found: &mut Violations) {
    found.only(path, tool, &[TOOL]);
    let declarations = items(field(tool, "functionDeclarations", "function_declarations"));
    for (at, declaration) in declarations.iter().enumerate() {
        let path = format!("{path}.function_declarations[{at}]");
        found.only(&path, declaration, &[DECLARATION]);
        for name in ["parameters", "response"] {
            if let Some(parameters) = declaration.get(name) {
                schema::read(&format!("{path}.{name}"), parameters, found);
            }
        }
    }
}

fn read_generation(config: &Value, found: &mut Violations) {
    found.only("generation_config", config, &[GENERATION]);
    if let Some(answer) = field(config, "responseSchema", "response_schema") {
        schema::read("generation_config.response_schema", answer, found);
    }
    if let Some(thinking) = field(config, "thinkingConfig", "thinking_config") {
        found.only("generation_config.thinking_config", thinking, &[THINKING]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(request: &Value) -> String {
        readable(request).map_or_else(|error| error.message().to_owned(), |()| String::new())
    }

    fn unknown(name: &str, path: &str) -> String {
        format!("Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field.")
    }

    #[test]
    fn unknown_names_are_told_all_at_once_with_their_places() {
        let request = json!({
            "contents": [{"role": "user", "parts": [{"text": "x", "cache_control": {}}]}],
            "tools": [{"functionDeclarations": [{"name": "f", "strict": true}]}, {"webSearch": {}}],
            "generation_config": {"max_output_tokens": 1, "maxTokens": 1, "thinkingConfig": {"effort": "low"}},
        });
        let expected = [
            unknown("cache_control", "contents[0].parts[0]"),
            unknown("strict", "tools[0].function_declarations[0]"),
            unknown("webSearch", "tools[1]"),
            unknown("maxTokens", "generation_config"),
            unknown("effort", "generation_config.thinking_config"),
        ];
        assert_eq!(told(&request), expected.join("\n"));
    }

    #[test]
    fn arguments_and_responses_are_objects() {
        let call = |args: Value| json!({"functionCall": {"name": "f", "args": args}});
        let response = |response: Value| json!({"functionResponse": {"name": "f", "response": response}});
        let with = |part: Value| json!({"contents": [{"parts": [part]}]});
        assert_eq!(told(&with(call(json!({"a": 1})))), "");
        assert_eq!(
            told(&with(call(json!("{}")))),
            "Invalid value at 'contents[0].parts[0].function_call.args' (type.googleapis.com/google.protobuf.Struct), \"{}\""
        );
        assert_eq!(
            told(&with(response(json!([1])))),
            "Invalid value at 'contents[0].parts[0].function_response.response' (type.googleapis.com/google.protobuf.Struct), [1]"
        );
    }

    #[test]
    fn a_part_holds_one_thing() {
        let wrong = "* GenerateContentRequest.contents[0].parts[1].data: required oneof field 'data' must have one initialized field\n";
        for part in [json!({}), json!({"thought": true}), json!({"text": "x", "inline_data": {}})] {
            assert_eq!(told(&json!({"contents": [{"parts": [{"text": ""}, part]}]})), wrong, "{part}");
        }
    }
}

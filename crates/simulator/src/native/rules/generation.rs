//! Whether a model takes the tools and settings that a request has.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::schema;
use crate::error::ApiError;
use crate::models::Model;
use crate::prompt::{field, items, text};

/// Longest name of a function (Google's SDK, 2026).
const NAME_LENGTH: usize = 128;
const MOST_STOP_SEQUENCES: usize = 5;
const OUTPUT_TOKENS: RangeInclusive<i64> = 1..=65_536;
/// Tools that Google runs itself, by the names in which errors tell them.
const BUILT_IN: [(&str, &str); 7] = [
    ("googleSearch", "google_search"),
    ("googleSearchRetrieval", "google_search_retrieval"),
    ("googleMaps", "google_maps"),
    ("codeExecution", "code_execution"),
    ("computerUse", "computer_use"),
    ("urlContext", "url_context"),
    ("fileSearch", "file_search"),
];

fn refuse<T>(message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::new(400, message))
}

/// Checks tools and settings.
pub(super) fn check(request: &Value, model: &Model) -> Result<(), ApiError> {
    let config = field(request, "generationConfig", "generation_config").unwrap_or(&Value::Null);
    let tools = items(request.get("tools"));
    let functions = declarations(tools)?;
    let modern = model.wants_signatures();
    let built_in = tools
        .iter()
        .find_map(|tool| BUILT_IN.iter().find(|(camel, snake)| field(tool, camel, snake).is_some()));
    if let Some((_, name)) = built_in.filter(|_| functions) {
        let enabled = field(request, "toolConfig", "tool_config").and_then(|config| {
            field(config, "includeServerSideToolInvocations", "include_server_side_tool_invocations")
        });
        if !modern {
            return refuse(format!(
                "Built-in tools ({{{name}}}) and Function Calling cannot be combined in the same request. Please choose one or the other to continue."
            ));
        }
        if enabled != Some(&Value::Bool(true)) {
            return refuse(
                "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function calling.",
            );
        }
    }
    let mime = text(field(config, "responseMimeType", "response_mime_type"));
    if functions && mime == "application/json" && !modern {
        return refuse("Function calling with a response mime type: 'application/json' is unsupported");
    }
    answer_schema(config)?;
    ranges(config)?;
    thinking(config, model)
}

/// Checks the functions on offer; returns whether there are any.
fn declarations(tools: &[Value]) -> Result<bool, ApiError> {
    let mut names = HashSet::new();
    for (tool, value) in tools.iter().enumerate() {
        let declared = items(field(value, "functionDeclarations", "function_declarations"));
        for (at, declaration) in declared.iter().enumerate() {
            let path = format!("tools[{tool}].function_declarations[{at}]");
            let name = text(declaration.get("name"));
            if !is_name(name) {
                return refuse(format!(
                    "* GenerateContentRequest.{path}.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore. Must be a-z, A-Z, 0-9, or contain underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of {NAME_LENGTH}.\n"
                ));
            }
            if !names.insert(name) {
                return refuse(format!("Duplicate function declaration found: {name}"));
            }
            for (message, json) in
                [("parameters", "parametersJsonSchema"), ("response", "responseJsonSchema")]
            {
                let snake = super::fields::snake(json);
                let (message_schema, json_schema) =
                    (declaration.get(message), field(declaration, json, &snake));
                if message_schema.is_some() && json_schema.is_some() {
                    return refuse(format!(
                        "* GenerateContentRequest.{path}: only one of {message} and {snake} can be set.\n"
                    ));
                }
                if let Some(schema) = message_schema {
                    schema::complete(&format!("{path}.{message}"), schema)?;
                }
                if let Some(schema) = json_schema {
                    schema::resolved(schema)?;
                }
            }
        }
    }
    Ok(!names.is_empty())
}

/// Whether a function may be called so.
fn is_name(name: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let other = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    name.len() <= NAME_LENGTH && name.as_bytes().first().is_some_and(first) && name.bytes().all(other)
}

fn answer_schema(config: &Value) -> Result<(), ApiError> {
    let message = field(config, "responseSchema", "response_schema");
    let json = field(config, "responseJsonSchema", "response_json_schema")
        .or_else(|| config.get("_responseJsonSchema"));
    if message.is_some() && json.is_some() {
        return refuse(
            "* GenerateContentRequest.generation_config: only one of response_schema and response_json_schema can be set.\n",
        );
    }
    if let Some(schema) = message {
        schema::complete("generation_config.response_schema", schema)?;
    }
    json.map_or(Ok(()), schema::resolved)
}

fn ranges(config: &Value) -> Result<(), ApiError> {
    let outside = |name: &str, value: i64, end: i64| {
        refuse(format!(
            "Unable to submit request because it has a {name} value of {value} but the supported range is from 1 (inclusive) to {end} (exclusive). Update the value and try again."
        ))
    };
    let sequences = items(field(config, "stopSequences", "stop_sequences")).len();
    if sequences > MOST_STOP_SEQUENCES {
        return outside("stopSequences", i64::try_from(sequences).unwrap_or(i64::MAX), 6);
    }
    let tokens = field(config, "maxOutputTokens", "max_output_tokens").and_then(Value::as_i64);
    match tokens.filter(|tokens| !OUTPUT_TOKENS.contains(tokens)) {
        Some(tokens) => outside("maxOutputTokens", tokens, OUTPUT_TOKENS.end() + 1),
        None => Ok(()),
    }
}

/// The levels of thinking that a model knows.
fn levels(model: &str) -> &'static [&'static str] {
    if model.contains("flash") && model.contains("-image") {
        &["minimal", "high"]
    } else if model.starts_with("gemini-3-flash") || model.starts_with("gemini-3.1-flash-lite") {
        &["minimal", "low", "medium", "high"]
    } else {
        &["low", "medium", "high"]
    }
}

fn thinking(config: &Value, model: &Model) -> Result<(), ApiError> {
    let Some(thinking) = field(config, "thinkingConfig", "thinking_config") else { return Ok(()) };
    let budget = field(thinking, "thinkingBudget", "thinking_budget");
    let level = field(thinking, "thinkingLevel", "thinking_level");
    if budget.is_some() && level.is_some() {
        return refuse("You can only set only one of thinking budget and thinking level.");
    }
    let pro = model.id.contains("-pro");
    if let Some(level) = level {
        let asked = text(Some(level)).to_ascii_lowercase();
        let known = match asked.as_str() {
            "minimal" | "low" | "medium" | "high" => levels(&model.id).contains(&asked.as_str()),
            "thinking_level_unspecified" => true,
            _ => {
                return refuse(format!(
                    "Invalid value at 'generation_config.thinking_config.thinking_level' (type.googleapis.com/google.ai.generativelanguage.v1beta.ThinkingConfig.ThinkingLevel), {level}"
                ));
            }
        };
        if !model.wants_signatures() {
            return refuse("Thinking level is not supported for this model.");
        }
        if !known {
            return refuse(format!(
                "Thinking level {} is not supported for this model. Please retry with other thinking level.",
                text(Some(level)).to_ascii_uppercase()
            ));
        }
    }
    let Some(budget) = budget.and_then(Value::as_i64).filter(|budget| *budget != -1) else { return Ok(()) };
    let (range, off) = if pro {
        (128..=32_768, false)
    } else if model.id.contains("-lite") {
        (512..=24_576, true)
    } else {
        (0..=24_576, true)
    };
    if budget == 0 && !off {
        return refuse("Budget 0 is invalid. This model only works in thinking mode.");
    }
    if budget != 0 && !range.contains(&budget) {
        return refuse(format!(
            "The thinking budget {budget} is invalid. Please choose a value between {} and {}.",
            range.start(),
            range.end()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::models::ModelKind;

    fn told(model: &str, request: &Value) -> String {
        let model = Model::new(model, ModelKind::Generate);
        check(request, &model).map_or_else(|error| error.message().to_owned(), |()| String::new())
    }

    fn thinks(model: &str, thinking: &Value) -> String {
        told(model, &json!({"generationConfig": {"thinkingConfig": thinking}}))
    }

    #[test]
    fn budgets_and_levels_depend_on_the_model() {
        let range = |budget: i64, least: i64, most: i64| {
            format!(
                "The thinking budget {budget} is invalid. Please choose a value between {least} and {most}."
            )
        };
        let never = "Budget 0 is invalid. This model only works in thinking mode.".to_owned();
        let cases = [
            ("gemini-2.5-flash", 0, String::new()),
            ("gemini-2.5-flash", 24_576, String::new()),
            ("gemini-2.5-flash", 31_999, range(31_999, 0, 24_576)),
            ("gemini-2.5-flash-lite", 0, String::new()),
            ("gemini-2.5-flash-lite", 511, range(511, 512, 24_576)),
            ("gemini-2.5-pro", 0, never),
            ("gemini-2.5-pro", 127, range(127, 128, 32_768)),
            ("gemini-2.5-pro", 31_999, String::new()),
            ("gemini-2.5-pro", -1, String::new()),
            ("gemini-2.5-flash", -2, range(-2, 0, 24_576)),
        ];
        for (model, budget, expected) in cases {
            assert_eq!(thinks(model, &json!({"thinking_budget": budget})), expected, "{model} {budget}");
        }
        assert_eq!(thinks("gemini-3-flash-preview", &json!({"thinkingLevel": "minimal"})), "");
        assert_eq!(thinks("gemini-3-pro-preview", &json!({"thinkingLevel": "LOW"})), "");
        for (model, level) in [
            ("gemini-3-pro-preview", "minimal"),
            ("gemini-3.7-flash", "minimal"),
            ("gemini-3.8-flash", "minimal"),
            ("gemini-flash-latest", "minimal"),
            ("gemini-3.1-flash-image", "low"),
        ] {
            let refused = thinks(model, &json!({"thinkingLevel": level}));
            assert!(refused.contains(&level.to_ascii_uppercase()), "{model} {level}: {refused}");
        }
        assert!(thinks("gemini-2.5-pro", &json!({"thinkingLevel": "low"})).contains("not supported"));
        assert!(thinks("gemini-3.7-pro", &json!({"thinkingLevel": "deep"})).contains("Invalid value"));
        let both = json!({"thinkingLevel": "low", "thinkingBudget": 1024});
        assert!(thinks("gemini-3.7-pro", &both).contains("only one of thinking budget and thinking level"));
    }

    #[test]
    fn functions_have_names_of_their_own() {
        let offered = |names: &[&str]| {
            let declared: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            told("gemini-3.7-flash", &json!({"tools": [{"functionDeclarations": declared}]}))
        };
        let longest = "x".repeat(128);
        assert_eq!(offered(&["a", "_b", "mcp__c-d.e:f", &longest]), "");
        for wrong in ["", "3d", "a b", "ü", "-a", &"x".repeat(129)] {
            assert!(
                offered(&["a", wrong]).contains("function_declarations[1].name: [FIELD_INVALID]"),
                "{wrong}"
            );
        }
        assert_eq!(offered(&["a", "b", "a"]), "Duplicate function declaration found: a");
    }

    #[test]
    fn numbers_have_their_ranges() {
        let with = |config: Value| told("gemini-2.5-flash", &json!({"generationConfig": config}));
        for tokens in [1, 65_536] {
            assert_eq!(with(json!({"maxOutputTokens": tokens})), "");
        }
        for tokens in [0, -1, 65_537] {
            let wrong = with(json!({"max_output_tokens": tokens}));
            assert!(wrong.contains(&format!("maxOutputTokens value of {tokens} but")), "{wrong}");
        }
        assert_eq!(with(json!({"stopSequences": ["a", "b", "c", "d", "e"]})), "");
        assert!(with(json!({"stopSequences": ["a", "b", "c", "d", "e", "f"]})).contains("value of 6"));
    }

    #[test]
    fn what_2_5_cannot_combine_3_can() {
        let tools = json!([{"functionDeclarations": [{"name": "f"}]}, {"google_search": {}}]);
        let mut request = json!({"tools": tools});
        let old = told("gemini-2.5-flash", &request);
        assert!(old.starts_with("Built-in tools ({google_search}) and Function Calling"), "{old}");
        let new = told("gemini-3.7-flash", &request);
        assert!(new.starts_with("Please enable tool_config.include_server_side"), "{new}");
        request["toolConfig"] = json!({"includeServerSideToolInvocations": true});
        assert_eq!(told("gemini-3.7-flash", &request), "");

        let json = json!({
            "tools": [{"functionDeclarations": [{"name": "f"}]}],
            "generationConfig": {"responseMimeType": "application/json"},
        });
        assert!(told("gemini-2.5-flash", &json).contains("is unsupported"));
        assert_eq!(told("gemini-flash-latest", &json), "");
    }

    #[test]
    fn one_schema_is_enough() {
        let offered = |declaration: Value| {
            told("gemini-3.7-flash", &json!({"tools": [{"functionDeclarations": [declaration]}]}))
        };
        let both = json!({"name": "f", "parameters": {"type": "object"}, "parametersJsonSchema": {}});
        assert!(offered(both).contains("only one of parameters and parameters_json_schema"));
        let lost = json!({"name": "f", "parameters_json_schema": {"properties": {"a": {"$ref": "#/x"}}}});
        assert_eq!(offered(lost), "reference to undefined schema at properties.a");
        let bare = json!({"name": "f", "parameters": {"properties": {"a": {"type": "ARRAY"}}}});
        assert!(offered(bare).contains("parameters.properties[a].items: missing field."));
        let config = json!({"responseSchema": {}, "responseJsonSchema": {}});
        assert!(told("gemini-3.7-flash", &json!({"generationConfig": config})).contains("only one of"));
    }
}

//! The body of a request: its order of members, its form for counting, and its ranges.

use formats::gemini::{
    CallingConfig, CallingMode, FunctionDeclaration, GenerateRequest, GenerationConfig, MAX_STOP_SEQUENCES,
    RequestPart, ToolSet, TurnContent, TurnRole,
};
use formats::json::empty_object;
use formats::models::ModelTraits;
use formats::schema::no_arguments;
use formats::thinking::{ThinkingEffort, ThinkingRequest, thinking_config};
use std::borrow::Cow;

fn request() -> GenerateRequest<'static> {
    let declaration = |name: &'static str, description: &'static str| FunctionDeclaration {
        name: name.into(),
        description: description.into(),
        parameters_json_schema: Cow::Owned(no_arguments()),
    };
    let model = ModelTraits::of("gemini-3-pro");
    GenerateRequest {
        system: vec!["a \"quoted\" word".into(), "b".into()],
        tools: ToolSet {
            functions: vec![declaration("z", "last"), declaration("a", "")],
            google_search: true,
        },
        calling: Some(CallingConfig { mode: CallingMode::Any, allowed_function_names: vec!["z".into()] }),
        generation: GenerationConfig {
            max_output_tokens: Some(100),
            temperature: Some(0.5),
            thinking_config: thinking_config(ThinkingRequest::Effort(ThinkingEffort::Low), model, true),
            ..GenerationConfig::default()
        },
        contents: vec![TurnContent {
            role: TurnRole::Model,
            parts: vec![RequestPart::Call {
                id: None,
                name: "z".into(),
                args: Cow::Owned(empty_object()),
                signature: None,
            }],
        }],
    }
}

const WRITTEN: &str = concat!(
    r#""systemInstruction":{"parts":[{"text":"a \"quoted\" word"},{"text":"b"}]},"#,
    r#""tools":[{"functionDeclarations":["#,
    r#"{"name":"z","description":"last","parametersJsonSchema":{"type":"object","properties":{}}},"#,
    r#"{"name":"a","parametersJsonSchema":{"type":"object","properties":{}}}]},{"googleSearch":{}}],"#,
    r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["z"]}},"#,
    r#""generationConfig":{"maxOutputTokens":100,"temperature":0.5,"thinkingConfig":{"thinkingLevel":"low","includeThoughts":true}},"#,
    r#""contents":[{"role":"model","parts":[{"functionCall":{"name":"z","args":{}}}]}]}"#
);

#[test]
fn members_come_in_one_order() {
    let written = String::from_utf8(request().write()).unwrap();
    assert_eq!(written, format!("{{{WRITTEN}"));
    let bare = GenerateRequest::default().write();
    assert_eq!(bare, br#"{"contents":[]}"#, "what says nothing is left out");
}

#[test]
fn a_count_is_asked_with_the_whole_request_and_its_model() {
    let written = String::from_utf8(request().write_count("gemini-3-pro")).unwrap();
    assert_eq!(written, format!(r#"{{"generateContentRequest":{{"model":"models/gemini-3-pro",{WRITTEN}}}"#));
}

#[test]
fn values_are_brought_into_googles_ranges() {
    let mut config = GenerationConfig {
        max_output_tokens: Some(1_000_000),
        temperature: Some(7.5),
        top_p: Some(-1.0),
        top_k: Some(0),
        stop_sequences: ["", "a", "b", "c", "d", "e", "f"].map(Cow::Borrowed).into(),
        ..GenerationConfig::default()
    };
    config.clamp(ModelTraits::of("gemini-2.5-flash"));
    assert_eq!((config.max_output_tokens, config.top_k), (Some(65_536), Some(1)));
    assert_eq!((config.temperature, config.top_p), (Some(2.0), Some(0.0)));
    assert_eq!(config.stop_sequences.len(), MAX_STOP_SEQUENCES);
    assert_eq!(config.stop_sequences[0], "a");
}

#[test]
fn json_is_asked_for_where_the_model_takes_it_beside_functions() {
    let schema = no_arguments();
    let asked = |model: &str, with_tools: bool| {
        let mut asked = request();
        if !with_tools {
            asked.tools = ToolSet::default();
        }
        asked.ask_for_json(Some(Cow::Borrowed(&schema)), ModelTraits::of(model));
        (asked.generation.response_json_schema.is_some(), asked.system.len())
    };
    assert_eq!(asked("gemini-3-pro", true), (true, 2));
    assert_eq!(asked("gemini-2.5-pro", false), (true, 2));
    assert_eq!(asked("gemini-2.5-pro", true), (false, 3));
}

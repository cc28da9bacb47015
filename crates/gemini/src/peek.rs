//! What a request body says that its path does not: the model and the streaming of an OpenAI request, the search tools
//! of a native one. Bodies are looked into, never rebuilt; what cannot be read is left to Google to refuse.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::operation::ModelName;

/// What an OpenAI request says at its top level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek {
    /// `model`, without `models/`.
    pub model: Option<ModelName>,
    /// Whether `stream` is true.
    pub stream: bool,
}

/// Reads an OpenAI request body. The last of several equal keys counts, as in Google's parser. A body that is not
/// JSON, such as a form, says nothing.
pub fn peek_openai(body: &[u8]) -> Peek {
    let mut body = serde_json::Deserializer::from_slice(body);
    body.deserialize_map(PeekVisitor).and_then(|peek| body.end().map(|()| peek)).unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Model,
    Stream,
    #[serde(other)]
    Other,
}

struct PeekVisitor;

impl<'de> Visitor<'de> for PeekVisitor {
    type Value = Peek;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Peek, A::Error> {
        let mut peek = Peek::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                // Through the raw text, so that a value of another type spoils nothing else.
                Key::Model => peek.model = model(map.next_value::<&RawValue>()?.get()),
                Key::Stream => peek.stream = map.next_value::<&RawValue>()?.get() == "true",
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(peek)
    }
}

fn model(raw: &str) -> Option<ModelName> {
    let name = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', name.as_bytes()).is_none() {
        return ModelName::parse(name);
    }
    ModelName::parse(&serde_json::from_str::<String>(raw).ok()?)
}

/// The tools with quotas of their own, which are the project's and not the model's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tools {
    /// `google_search`, or `google_search_retrieval` of older models.
    pub google_search: bool,
    /// `url_context`.
    pub url_context: bool,
}

impl Tools {
    /// Whether there is one at all.
    pub fn any(self) -> bool {
        self.google_search || self.url_context
    }
}

/// Which of these tools a request asks for, in either spelling, or as the Interactions API names them; on the OpenAI layer they
/// stand among what goes to Google beside OpenAI's own fields.
pub fn search_tools(body: &[u8]) -> Tools {
    const NAMES: [&[u8]; 4] = [b"\"googleSearch", b"\"google_search", b"\"urlContext\"", b"\"url_context\""];
    static TOOLS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"tools\""));
    if TOOLS.find(body).is_none() || NAMES.iter().all(|name| memmem::find(body, name).is_none()) {
        return Tools::default();
    }
    let tools = tools::<Tool<'_>>(body);
    Tools {
        google_search: tools.iter().any(|tool| tool.google_search.is_some() || tool.is("google_search")),
        url_context: tools.iter().any(|tool| tool.url_context.is_some() || tool.is("url_context")),
    }
}

/// Whether a request asks for any tool that Google runs, which may have a quota of its own: any but the client's functions.
pub fn uses_google_tools(body: &[u8]) -> bool {
    let is_googles = |tool: &HashMap<Cow<'_, str>, &RawValue>| match tool.get("type") {
        Some(kind) => kind.get() != "\"function\"",
        None => tool.iter().any(|(name, value)| {
            !matches!(&**name, "functionDeclarations" | "function_declarations") && value.get() != "null"
        }),
    };
    tools(body).iter().any(is_googles)
}

/// The tools of a request, wherever they stand.
fn tools<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Vec<T> {
    let Ok(request) = serde_json::from_slice::<WithTools<T>>(body) else { return Vec::new() };
    let WithTools { tools, google, extra_body } = request;
    let beside = google.into_iter().chain(extra_body.and_then(|extra| extra.google));
    tools.into_iter().chain(beside.filter_map(|google| google.tools)).flatten().collect()
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct WithTools<T> {
    tools: Option<Vec<T>>,
    google: Option<GoogleBody<T>>,
    extra_body: Option<ExtraBody<T>>,
}

/// What an OpenAI client says beside OpenAI's fields.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct ExtraBody<T> {
    google: Option<GoogleBody<T>>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct GoogleBody<T> {
    tools: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(alias = "googleSearch", alias = "google_search_retrieval", alias = "googleSearchRetrieval")]
    google_search: Option<IgnoredAny>,
    #[serde(alias = "urlContext")]
    url_context: Option<IgnoredAny>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
}

impl Tool<'_> {
    /// In the form of the Interactions API.
    fn is(&self, name: &str) -> bool {
        self.r#type.as_deref() == Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peeked(body: &str) -> (Option<String>, bool) {
        let peek = peek_openai(body.as_bytes());
        (peek.model.map(|model| model.as_str().to_owned()), peek.stream)
    }

    #[test]
    fn model_and_stream_are_read_at_the_top_level_only() {
        for (body, model, stream) in [
            (r#"{"model":"gemini-x","stream":true}"#, Some("gemini-x"), true),
            (
                r#" { "messages" : [{"model":"no","stream":true}] , "model" : "models/gemini-x" } "#,
                Some("gemini-x"),
                false,
            ),
            (r#"{"model":"gem\u0069ni","stream":false}"#, Some("gemini"), false),
            (r#"{"m\u006fdel":"gemini-x"}"#, Some("gemini-x"), false),
            (r#"{"model":"a","model":"b","stream":false,"stream":true}"#, Some("b"), true),
            (r#"{"model":7,"stream":"true"}"#, None, false),
            (r#"{"model":{"x":[1]},"stream":true}"#, None, true),
            (r#"{"model":null,"stream":null}"#, None, false),
            (r#"{"model":"","stream":1}"#, None, false),
            (r#"{"text":"\"model\":\"no\"","model":"yes"}"#, Some("yes"), false),
        ] {
            assert_eq!(peeked(body), (model.map(str::to_owned), stream), "{body}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_read_says_nothing() {
        let deep = format!("{{\"model\":\"x\",\"messages\":{}", "[".repeat(50_000));
        for body in
            ["", "{", "[]", "null", "--boundary\r\nmodel", r#"{"model":"x""#, r#"{"model":"x"}}"#, &deep]
        {
            assert_eq!(peek_openai(body.as_bytes()), Peek::default(), "{}", &body[..body.len().min(40)]);
        }
        assert_eq!(peek_openai(b"{\"model\":\"\xff\"}"), Peek::default());
    }

    #[test]
    fn a_model_that_nobody_can_have_is_none_and_the_rest_is_read() {
        let long = "m".repeat(257);
        for model in
            [&*long, "a\\nb", "a\\u001b[31mb", "a\\\"b", "a\\\\b", "modèle", " a", "a ", "a`b", "a'b"]
        {
            assert_eq!(peeked(&format!(r#"{{"model":"{model}","stream":true}}"#)), (None, true), "{model}");
        }
        let longest = "m".repeat(256);
        for model in [&*longest, "gemini-3.7-flash@001", "ft:gemini:x/y", "a b"] {
            let peek = peeked(&format!(r#"{{"model":"models/{model}"}}"#));
            assert_eq!(peek.0.as_deref(), Some(model));
        }
    }

    #[test]
    fn a_deep_body_that_is_well_formed_is_read() {
        let body = format!("{{\"x\":{}{},\"model\":\"m\"}}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(peeked(&body).0.as_deref(), Some("m"));
    }

    #[test]
    fn search_tools_are_told_apart_in_all_their_spellings() {
        let search = Tools { google_search: true, url_context: false };
        let url = Tools { google_search: false, url_context: true };
        for (tool, expected) in [
            (r#"{"googleSearch":{}}"#, search),
            (r#"{"google_search":{}}"#, search),
            (r#"{"googleSearchRetrieval":{}}"#, search),
            (r#"{"google_search_retrieval":{}}"#, search),
            (r#"{"type":"google_search"}"#, search),
            (r#"{"urlContext":{}}"#, url),
            (r#"{"url_context":{}}"#, url),
            (r#"{"type":"url_context"}"#, url),
        ] {
            let body = format!(r#"{{"contents":[],"tools":[{{"codeExecution":{{}}}},{tool}]}}"#);
            assert_eq!(search_tools(body.as_bytes()), expected, "{tool}");
            assert!(uses_google_tools(body.as_bytes()), "{tool}");
            for body in [
                format!(r#"{{"messages":[],"extra_body":{{"google":{{"tools":[{tool}]}}}}}}"#),
                format!(r#"{{"messages":[],"google":{{"tools":[{tool}]}}}}"#),
            ] {
                assert_eq!(search_tools(body.as_bytes()), expected, "{body}");
            }
        }
        let both = Tools { google_search: true, url_context: true };
        for tools in
            [r#"[{"googleSearch":{}},{"urlContext":{}}]"#, r#"[{"google_search":{},"url_context":{}}]"#]
        {
            assert_eq!(search_tools(format!(r#"{{"tools":{tools}}}"#).as_bytes()), both, "{tools}");
        }
    }

    #[test]
    fn any_tool_but_the_clients_functions_is_googles() {
        for (tools, is_googles) in [
            (r#"[{"googleMaps":{}}]"#, true),
            (r#"[{"fileSearch":{"fileSearchStoreNames":[]}}]"#, true),
            (r#"[{"functionDeclarations":[]},{"codeExecution":{}}]"#, true),
            (r#"[{"type":"function","name":"f"},{"type":"code_execution"}]"#, true),
            (r#"[{"functionDeclarations":[{"name":"googleMaps"}]}]"#, false),
            (r#"[{"function_declarations":[]},{"googleMaps":null}]"#, false),
            (r#"[{"type":"function","function":{"name":"google_search"}}]"#, false),
            ("[{}]", false),
            ("{}", false),
        ] {
            for body in [
                format!(r#"{{"contents":[],"tools":{tools}}}"#),
                format!(r#"{{"extra_body":{{"google":{{"tools":{tools}}}}}}}"#),
            ] {
                assert_eq!(uses_google_tools(body.as_bytes()), is_googles, "{body}");
            }
        }
    }

    #[test]
    fn what_only_mentions_a_search_tool_uses_none() {
        for body in [
            "",
            "{}",
            r#"{"contents":[{"parts":[{"text":"\"googleSearch\": {}"}]}]}"#,
            r#"{"contents":[{"parts":[{"functionCall":{"args":{"googleSearch":{}}}}]}]}"#,
            r#"{"tools":[{"functionDeclarations":[{"name":"google_search"}]}]}"#,
            r#"{"tools":[{"googleSearch":null}]}"#,
            r#"{"tools":null,"x":"google_search"}"#,
            r#"{"tools":[{"googleSearch":{}}"#,
        ] {
            assert_eq!(search_tools(body.as_bytes()), Tools::default(), "{body}");
            assert!(!uses_google_tools(body.as_bytes()), "{body}");
        }
    }
}

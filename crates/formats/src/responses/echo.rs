//! The members of a request that its response repeats: every one that the SDKs' type of a response wants and the answer
//! itself does not say. Made with the request, written by `object`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::json::{JsonStr, RawObject};

/// The members, and what each is where the request does not say.
const REPEATED: [(&str, &str); 18] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("service_tier", r#""default""#),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// Writes the members that the response to `request` repeats, as a JSON object.
pub(super) fn echo(request: &RawObject<'_>, store: bool) -> Bytes {
    Bytes::from(serde_json::to_vec(&Repeated { request, store }).unwrap_or_default())
}

struct Repeated<'s, 'a> {
    request: &'s RawObject<'a>,
    store: bool,
}

impl Serialize for Repeated<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("background", &false)?;
        for (name, unsaid) in REPEATED {
            match self.request.get(name).filter(|value| value.get() != "null") {
                Some(value) => map.serialize_entry(name, value)?,
                None => map.serialize_entry(name, raw(unsaid))?,
            }
        }
        map.serialize_entry("store", &self.store)?;
        map.end()
    }
}

/// The members that are repeated, to be written into a response: JSON, with commas between.
pub(super) fn repeated(echo: Option<&Bytes>) -> Cow<'_, [u8]> {
    if let Some(members) = echo.and_then(|echo| members(echo)) {
        return Cow::Borrowed(members);
    }
    let unsaid = REPEATED.iter().map(|(name, unsaid)| (JsonStr((*name).into()), raw(unsaid)));
    let object = serde_json::to_vec(&RawObject(unsaid.collect())).unwrap_or_default();
    Cow::Owned(members(&object).unwrap_or_default().to_vec())
}

/// What is between the braces of an object that is not empty.
fn members(object: &[u8]) -> Option<&[u8]> {
    object.strip_prefix(b"{")?.strip_suffix(b"}").filter(|members| !members.is_empty())
}

/// A value of the table as JSON.
fn raw(text: &'static str) -> &'static RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

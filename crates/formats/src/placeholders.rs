//! Which parts of a history get the placeholder where they have no signature; and a request's body without its signatures, for
//! the one more try after Google called them corrupted (another model or project may have made them), of which every other
//! byte stays. `conversation` asks for the one, the HTTP face for the other.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{JsonStr, RawObject, as_str, raw_of};
use crate::models::ModelTraits;
use crate::signature::PLACEHOLDER;

const SIGNATURE: &str = "thoughtSignature";

/// What a part of the model's is, for its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelPart {
    /// `functionCall`.
    Call,
    /// `inlineData`, `fileData`.
    Picture,
    /// `text`.
    Text,
}

/// Which parts of one content of the model's Google wants signed, told in their order: of the calls the first, and of a
/// model that makes pictures the first part and every picture ("Image part is missing a `thought_signature` in content
/// position 2, part position 1", and so for a text; reports since November 2025). In every turn and not in the current one
/// alone, which is all that Google checks: else the prefix would change from step to step.
#[derive(Debug)]
pub struct WantedSignatures {
    call_is_due: bool,
    first_is_due: bool,
    pictures: bool,
}

impl WantedSignatures {
    /// Those of a content that has no part yet.
    pub fn of(model: ModelTraits) -> Self {
        let pictures = model.signs_pictures;
        Self { call_is_due: model.needs_signatures(), first_is_due: pictures, pictures }
    }

    /// Whether the next part, this one, has to have a signature.
    pub fn wants(&mut self, part: ModelPart) -> bool {
        let is_first = std::mem::take(&mut self.first_is_due);
        let is_wanted = match part {
            ModelPart::Call => std::mem::take(&mut self.call_is_due),
            ModelPart::Picture => self.pictures,
            ModelPart::Text => false,
        };
        is_first || is_wanted
    }
}

/// Whether Google's message about a 400 says that a signature of the request is none, so that
/// [`without_signatures`] is worth a try.
pub fn is_about_signatures(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("thought signature") || message.contains("thought_signature")
}

/// Returns the body with every signature left out, but for the parts of which the model insists on one, which get the
/// placeholder ([`WantedSignatures`]). What was nothing but a signature goes. `None` if nothing changes thereby, or the body is not one that was written here.
pub fn without_signatures(body: &[u8], model: ModelTraits) -> Option<Bytes> {
    let request: RawObject<'_> = serde_json::from_slice(body).ok()?;
    let contents: Vec<RawObject<'_>> = serde_json::from_str(request.get("contents")?.get()).ok()?;
    let mut has_changed = false;
    let contents: Vec<ChangedObject<'_>> =
        contents.iter().map(|content| unsign(content, model, &mut has_changed)).collect::<Option<_>>()?;
    if !has_changed {
        return None;
    }
    let contents = raw_of(&contents);
    let request = ChangedObject(replaced(&request, "contents", &contents));
    serde_json::to_vec(&request).ok().map(Bytes::from)
}

/// An object of which some members are new.
struct ChangedObject<'a>(Vec<(JsonStr<'a>, Cow<'a, RawValue>)>);

impl Serialize for ChangedObject<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn replaced<'a>(
    object: &RawObject<'a>,
    name: &str,
    value: &'a RawValue,
) -> Vec<(JsonStr<'a>, Cow<'a, RawValue>)> {
    let member = |(key, old): &(JsonStr<'a>, &'a RawValue)| {
        (key.clone(), Cow::Borrowed(if &**key == name { value } else { *old }))
    };
    object.0.iter().map(member).collect()
}

fn unsign<'a>(
    content: &RawObject<'a>,
    model: ModelTraits,
    has_changed: &mut bool,
) -> Option<ChangedObject<'a>> {
    let parts: Vec<RawObject<'a>> = serde_json::from_str(content.get("parts")?.get()).ok()?;
    let is_models = content.get("role").and_then(as_str).is_some_and(|role| &*role == "model");
    let mut wanted = WantedSignatures::of(model);
    let is_empty = |part: &RawObject<'_>| {
        part.get("text").is_some_and(|text| text.get() == "\"\"") && part.get(SIGNATURE).is_some()
    };
    *has_changed |= parts.iter().any(is_empty);
    let parts: Vec<ChangedObject<'_>> = parts
        .iter()
        .filter(|part| !is_empty(part))
        .map(|part| {
            let signature = part.get(SIGNATURE).and_then(as_str);
            let is_wanted = is_models && wanted.wants(kind_of(part));
            let placeholder = is_wanted.then_some(PLACEHOLDER);
            *has_changed |= signature.as_deref() != placeholder;
            let kept = part.0.iter().filter(|(name, _)| &**name != SIGNATURE);
            let mut members: Vec<_> =
                kept.map(|(name, value)| (name.clone(), Cow::Borrowed(*value))).collect();
            if let Some(placeholder) = placeholder {
                members.push((JsonStr(SIGNATURE.into()), Cow::Owned(raw_of(placeholder))));
            }
            ChangedObject(members)
        })
        .collect();
    let parts = raw_of(&parts);
    let member = |(key, old): &(JsonStr<'a>, &'a RawValue)| {
        let value = if &**key == "parts" { Cow::Owned(parts.clone()) } else { Cow::Borrowed(*old) };
        (key.clone(), value)
    };
    Some(ChangedObject(content.0.iter().map(member).collect()))
}

fn kind_of(part: &RawObject<'_>) -> ModelPart {
    if part.get("functionCall").is_some() {
        ModelPart::Call
    } else if part.get("inlineData").is_some() || part.get("fileData").is_some() {
        ModelPart::Picture
    } else {
        ModelPart::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = concat!(
        r#"{"tools":[{ "x":1}],"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":["#,
        r#"{"text":"b","thoughtSignature":"T"},{"functionCall":{"name":"f","args":{"thoughtSignature":"mine"}},"thoughtSignature":"S"},"#,
        r#"{"functionCall":{"name":"g","args":{}}},{"functionCall":{"name":"h","args":{}},"thoughtSignature":"R"}]}]}"#
    );

    #[test]
    fn only_signatures_of_parts_are_taken_out() {
        let three = without_signatures(BODY.as_bytes(), ModelTraits::of("gemini-3-pro")).unwrap();
        let expected = BODY
            .replace(r#","thoughtSignature":"T""#, "")
            .replace(r#","thoughtSignature":"R""#, "")
            .replace(r#""S""#, &format!("\"{PLACEHOLDER}\""));
        assert_eq!(std::str::from_utf8(&three).unwrap(), expected);
        assert_eq!(
            without_signatures(&three, ModelTraits::of("gemini-3-pro")),
            None,
            "there is no third try"
        );
        let two_five = without_signatures(BODY.as_bytes(), ModelTraits::of("gemini-2.5-pro")).unwrap();
        let none = expected.replace(&format!(r#","thoughtSignature":"{PLACEHOLDER}""#), "");
        assert_eq!(std::str::from_utf8(&two_five).unwrap(), none);
    }

    #[test]
    fn a_model_that_makes_pictures_wants_the_first_part_and_every_picture_signed() {
        let body = concat!(
            r#"{"contents":[{"role":"user","parts":[{"inlineData":{"data":"QQ=="}}]},{"role":"model","parts":["#,
            r#"{"text":"b","thoughtSignature":"T"},{"inlineData":{"data":"QQ=="},"thoughtSignature":"P"},{"text":"c"},"#,
            r#"{"text":"","thoughtSignature":"A"}]},{"role":"model","parts":[{"inlineData":{"data":"QQ=="}}]}]}"#
        );
        let three =
            without_signatures(body.as_bytes(), ModelTraits::of("gemini-3-pro-image-preview")).unwrap();
        let expected = body
            .replace(r#""T""#, &format!("\"{PLACEHOLDER}\""))
            .replace(r#""P""#, &format!("\"{PLACEHOLDER}\""))
            .replace(r#",{"text":"","thoughtSignature":"A"}"#, "")
            .replace(r"}}]}]}", &format!(r#"}},"thoughtSignature":"{PLACEHOLDER}"}}]}}]}}"#));
        assert_eq!(std::str::from_utf8(&three).unwrap(), expected);
        let other = without_signatures(body.as_bytes(), ModelTraits::of("gemini-3-pro-preview")).unwrap();
        assert!(!std::str::from_utf8(&other).unwrap().contains("thoughtSignature"));
    }

    #[test]
    fn a_body_of_another_kind_is_left_alone() {
        for body in
            ["", "[]", "{}", r#"{"contents":[]}"#, r#"{"contents":[{"parts":3}]}"#, r#"{"contents":{}}"#]
        {
            assert_eq!(without_signatures(body.as_bytes(), ModelTraits::of("gemini-3-pro")), None, "{body}");
        }
    }

    #[test]
    fn googles_words_about_signatures_are_known() {
        assert!(is_about_signatures("Corrupted thought signature."));
        assert!(is_about_signatures("Function call is missing a thought_signature in functionCall parts."));
        assert!(!is_about_signatures("Request contains an invalid argument."));
    }
}

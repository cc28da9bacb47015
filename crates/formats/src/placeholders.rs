//! Makes a request's body anew without its signatures, for the one more try after Google called them corrupted (another
//! model or project may have made them). Every other byte stays. The forward actor calls it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{JsonStr, RawObject, raw_of};
use crate::models::ModelTraits;
use crate::signature::PLACEHOLDER;

const SIGNATURE: &str = "thoughtSignature";

/// Whether Google's message about a 400 says that a signature of the request is none, so that
/// [`without_signatures`] is worth a try.
pub fn is_about_signatures(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("thought signature") || message.contains("thought_signature")
}

/// Returns the body with every signature left out, but for the first call of each content, which gets the placeholder
/// where the model insists on one. `None` if nothing changes thereby, or the body is not one that was written here.
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
    let mut placeholder_due = model.needs_signatures();
    let parts: Vec<ChangedObject<'_>> = parts
        .iter()
        .map(|part| {
            let signature = part.get(SIGNATURE).and_then(crate::json::as_str);
            let is_first_call = part.get("functionCall").is_some() && std::mem::take(&mut placeholder_due);
            let wanted = is_first_call.then_some(PLACEHOLDER);
            *has_changed |= signature.as_deref() != wanted;
            let kept = part.0.iter().filter(|(name, _)| &**name != SIGNATURE);
            let mut members: Vec<_> =
                kept.map(|(name, value)| (name.clone(), Cow::Borrowed(*value))).collect();
            if let Some(placeholder) = wanted {
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

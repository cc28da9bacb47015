//! Schemas in a request. `parameters` and `responseSchema` are protobuf messages that know some twenty keywords, and a
//! single other one fails the request; the fields whose names say JSON Schema take all of it, if its references lead somewhere.

use serde_json::Value;

use super::fields::{Violations, spells};
use crate::error::ApiError;

const TYPE: &str = "type.googleapis.com/google.ai.generativelanguage.v1beta.Type";
const SCHEMA: &str = "type.googleapis.com/google.ai.generativelanguage.v1beta.Schema";
const TYPES: [&str; 8] =
    ["TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"];

/// What a keyword of the message holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Type,
    Text,
    Texts,
    Flag,
    Number,
    Anything,
    Schema,
    Schemas,
    Properties,
}

const KEYWORDS: &[(&str, Holds)] = &[
    ("type", Holds::Type),
    ("format", Holds::Text),
    ("title", Holds::Text),
    ("description", Holds::Text),
    ("nullable", Holds::Flag),
    ("enum", Holds::Texts),
    ("maxItems", Holds::Number),
    ("minItems", Holds::Number),
    ("properties", Holds::Properties),
    ("required", Holds::Texts),
    ("minProperties", Holds::Number),
    ("maxProperties", Holds::Number),
    ("minLength", Holds::Number),
    ("maxLength", Holds::Number),
    ("pattern", Holds::Text),
    ("example", Holds::Anything),
    ("anyOf", Holds::Schemas),
    ("propertyOrdering", Holds::Texts),
    ("default", Holds::Anything),
    ("items", Holds::Schema),
    ("minimum", Holds::Number),
    ("maximum", Holds::Number),
];

/// Reads a schema as protobuf's message.
pub(super) fn read(path: &str, schema: &Value, found: &mut Violations) {
    let Some(keywords) = schema.as_object() else {
        found.invalid(path, SCHEMA, schema);
        return;
    };
    for (name, value) in keywords {
        let Some((_, holds)) = KEYWORDS.iter().find(|(keyword, _)| spells(name, keyword)) else {
            found.unknown(path, name);
            continue;
        };
        let repeating = matches!(holds, Holds::Texts | Holds::Schemas | Holds::Anything);
        if value.is_array() && !repeating {
            found.not_repeating(path, name);
            continue;
        }
        let at = format!("{path}.{name}");
        match holds {
            Holds::Type => {
                let known = |kind: &str| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind));
                if !value.as_str().is_some_and(known) {
                    found.invalid(&at, TYPE, value);
                }
            }
            Holds::Text if !value.is_string() => found.invalid(&at, "TYPE_STRING", value),
            Holds::Flag if !value.is_boolean() => found.invalid(&at, "TYPE_BOOL", value),
            // 64-bit integers may be written as strings.
            Holds::Number if !value.is_number() && !value.is_string() => {
                found.invalid(&at, "TYPE_DOUBLE", value);
            }
            Holds::Texts => {
                for (n, text) in value.as_array().into_iter().flatten().enumerate() {
                    if !text.is_string() {
                        found.invalid(&format!("{at}[{n}]"), "TYPE_STRING", text);
                    }
                }
            }
            Holds::Schema => read(&at, value, found),
            Holds::Schemas => {
                for (n, schema) in value.as_array().into_iter().flatten().enumerate() {
                    read(&format!("{at}[{n}]"), schema, found);
                }
            }
            Holds::Properties => {
                for (n, (_, schema)) in value.as_object().into_iter().flatten().enumerate() {
                    read(&format!("{at}[{n}].value"), schema, found);
                }
            }
            Holds::Text | Holds::Flag | Holds::Number | Holds::Anything => {}
        }
    }
}

/// Checks a schema that has been read: whoever says ARRAY must say of what.
pub(super) fn complete(path: &str, schema: &Value) -> Result<(), ApiError> {
    let is_array =
        schema.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("ARRAY"));
    match schema.get("items") {
        None if is_array => {
            return Err(ApiError::new(
                400,
                format!("* GenerateContentRequest.{path}.items: missing field.\n"),
            ));
        }
        Some(items) => complete(&format!("{path}.items"), items)?,
        None => {}
    }
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        complete(&format!("{path}.properties[{name}]"), schema)?;
    }
    let choices = schema.get("anyOf").or_else(|| schema.get("any_of")).and_then(Value::as_array);
    for (n, schema) in choices.into_iter().flatten().enumerate() {
        complete(&format!("{path}.any_of[{n}]"), schema)?;
    }
    Ok(())
}

/// Keywords of JSON Schema that hold a schema, or a list of them.
const HOLD_SCHEMAS: [&str; 15] = [
    "items",
    "prefixItems",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "anyOf",
    "allOf",
    "oneOf",
];
/// Keywords that hold schemas by name, and the names are the user's own.
const HOLD_NAMED: [&str; 5] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Checks that every reference of a JSON Schema leads to a place in it, and stands alone but for what begins with `$`.
pub(super) fn resolved(schema: &Value) -> Result<(), ApiError> {
    follow(schema, schema, &mut Vec::new())
}

fn follow(schema: &Value, root: &Value, path: &mut Vec<String>) -> Result<(), ApiError> {
    let Some(keywords) = schema.as_object() else { return Ok(()) };
    if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
        let pointer =
            reference.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        if pointer.and_then(|pointer| root.pointer(pointer)).is_none() {
            let place = if path.is_empty() { "top-level".to_owned() } else { path.join(".") };
            return Err(ApiError::new(400, format!("reference to undefined schema at {place}")));
        }
        if let Some(beside) = keywords.keys().find(|keyword| !keyword.starts_with('$')) {
            let place = if path.is_empty() { "top-level".to_owned() } else { path.join(".") };
            return Err(ApiError::new(
                400,
                format!("`{beside}` at {place}: beside `$ref` only keywords that begin with `$` may be set"),
            ));
        }
    }
    for (keyword, value) in keywords {
        path.push(keyword.clone());
        if HOLD_SCHEMAS.contains(&keyword.as_str()) {
            match value {
                Value::Array(schemas) => {
                    for (n, schema) in schemas.iter().enumerate() {
                        path.push(n.to_string());
                        follow(schema, root, path)?;
                        path.pop();
                    }
                }
                schema => follow(schema, root, path)?,
            }
        } else if HOLD_NAMED.contains(&keyword.as_str()) {
            for (name, schema) in value.as_object().into_iter().flatten() {
                path.push(name.clone());
                follow(schema, root, path)?;
                path.pop();
            }
        }
        path.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fields::readable;
    use super::*;

    fn told(parameters: &Value) -> String {
        let declaration = json!({"name": "f", "parameters": parameters});
        let request = json!({"contents": [], "tools": [{"function_declarations": [declaration]}]});
        readable(&request).map_or_else(|error| error.message().to_owned(), |()| String::new())
    }

    const AT: &str = "tools[0].function_declarations[0].parameters";

    #[test]
    fn the_message_knows_its_keywords_and_no_other() {
        let good = json!({
            "type": "object",
            "required": ["a"],
            "property_ordering": ["a", "const"],
            "properties": {
                "a": {"type": "ARRAY", "items": {"type": "string", "enum": ["x"]}, "minItems": 1, "maxItems": "9"},
                "const": {"anyOf": [{"type": "NUMBER", "minimum": 0.5}, {"type": "null"}], "nullable": true},
                "$id": {"type": "string", "format": "date", "default": [1], "example": {"$schema": 1}},
            },
        });
        assert_eq!(told(&good), "");
        for keyword in [
            "$schema",
            "additionalProperties",
            "exclusiveMinimum",
            "propertyNames",
            "const",
            "$ref",
            "oneOf",
            "strict",
        ] {
            let wrong = format!(
                "Invalid JSON payload received. Unknown name \"{keyword}\" at '{AT}': Cannot find field."
            );
            assert_eq!(told(&json!({"type": "object", keyword: {}})), wrong);
            let inside = json!({"properties": {"a": {"type": "string"}, "b": {"items": {keyword: false}}}});
            assert_eq!(told(&inside), wrong.replace("parameters'", "parameters.properties[1].value.items'"));
        }
    }

    #[test]
    fn values_have_their_kinds() {
        let listed = format!(
            "Invalid JSON payload received. Unknown name \"type\" at '{AT}': Proto field is not repeating, cannot start list."
        );
        let cases = [
            (json!({"type": ["string", "null"]}), listed),
            (json!({"type": "date"}), format!("Invalid value at '{AT}.type' ({TYPE}), \"date\"")),
            (json!({"enum": ["a", 1]}), format!("Invalid value at '{AT}.enum[1]' (TYPE_STRING), 1")),
            (json!({"items": true}), format!("Invalid value at '{AT}.items' ({SCHEMA}), true")),
        ];
        for (parameters, wrong) in cases {
            assert_eq!(told(&parameters), wrong);
        }
    }

    #[test]
    fn references_must_lead_somewhere() {
        let with = |reference: &str| {
            json!({
                "properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": reference}]}, "$ref": {"type": "string"}},
                "$defs": {"B": {"properties": {"b": {"$ref": "#/$defs/B"}}}},
            })
        };
        for good in ["#", "#/$defs/B", "#/properties/a"] {
            assert!(resolved(&with(good)).is_ok(), "{good}");
        }
        for lost in ["#/$defs/C", "C", "https://example.com/s.json", "#B"] {
            let error = resolved(&with(lost)).unwrap_err();
            assert_eq!(error.message(), "reference to undefined schema at properties.a.anyOf.1", "{lost}");
        }
        let beside = |keyword: &str| resolved(&json!({"items": {"$ref": "#", keyword: "x"}}));
        assert!(beside("$comment").is_ok());
        assert!(
            beside("description").unwrap_err().message().starts_with("`description` at items: beside `$ref`")
        );
    }
}

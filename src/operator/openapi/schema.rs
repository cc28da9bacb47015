//! Schemas of OpenAPI 3.1 in few words. A field's name that ends in `?` need not be there.

use serde_json::{Map, Value, json};

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

/// RFC 3339.
pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// A whole number, not below 0.
pub(super) fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

pub(super) fn number() -> Value {
    json!({ "type": "number" })
}

pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// One of these words.
pub(super) fn word(of: &[&str]) -> Value {
    json!({ "type": "string", "enum": of })
}

pub(super) fn list(of: Value) -> Value {
    Value::from_iter([("type", Value::from("array")), ("items", of)])
}

/// Values of one kind by names that are nobody's in advance.
pub(super) fn named(of: Value) -> Value {
    Value::from_iter([("type", Value::from("object")), ("additionalProperties", of)])
}

/// The same, or `null`.
pub(super) fn maybe(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").cloned() {
        schema["type"] = json!([kind, "null"]);
        schema
    } else {
        json!({ "anyOf": [schema, { "type": "null" }] })
    }
}

/// A schema of `components`.
pub(super) fn known(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Adds what the value is.
pub(super) fn about(mut schema: Value, words: &str) -> Value {
    schema["description"] = words.into();
    schema
}

/// An object of these fields and no others.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, schema) in fields {
        let bare = name.strip_suffix('?');
        if bare.is_none() {
            required.push(*name);
        }
        properties.insert(bare.unwrap_or(name).to_owned(), schema.clone());
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

//! JSON Schemas on their way into `parametersJsonSchema` and `responseJsonSchema`, which take them whole: only what Google
//! refuses there is changed, and all else keeps its bytes and its order, since the prefix cache looks at those. A schema
//! in which nothing has to change is only scanned.

mod refs;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{JsonStr, RawObject, as_str, raw_of};

/// Why a schema cannot be a tool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// It is neither an object nor a boolean.
    NotASchema,
    /// It describes something else than an object.
    NotOfAnObject,
}

impl SchemaError {
    /// What is wrong, as a sentence that follows the field's name.
    pub fn why(self) -> &'static str {
        match self {
            Self::NotASchema => "is no JSON Schema",
            Self::NotOfAnObject => "has to be the schema of an object: `type` has to be `object`",
        }
    }
}

/// Returns the schema of a tool's arguments as Google takes it: without `$schema` at the root, the root an object with
/// `properties`, every `$ref` one that resolves, without cycles.
pub fn tool_schema(schema: &RawValue) -> Result<Cow<'_, RawValue>, SchemaError> {
    if matches!(schema.get(), "true" | "false" | "null") {
        return Ok(Cow::Owned(no_arguments()));
    }
    let resolved = resolved(schema);
    let owned = match &resolved {
        Cow::Borrowed(_) => fitted(schema)?,
        Cow::Owned(resolved) => fitted(resolved)?,
    };
    Ok(owned.map_or(resolved, Cow::Owned))
}

/// Returns the schema of an answer as Google takes it: as a tool's, but of whichever type.
pub fn answer_schema(schema: &RawValue) -> Result<Cow<'_, RawValue>, SchemaError> {
    let resolved = resolved(schema);
    let root = RawObject::of(&resolved).ok_or(SchemaError::NotASchema)?;
    if root.get("$schema").is_none() {
        return Ok(resolved);
    }
    Ok(Cow::Owned(raw_of(&root.without("$schema"))))
}

/// The schema of a tool without arguments.
pub fn no_arguments() -> Box<RawValue> {
    #[derive(Serialize)]
    struct NoArguments {
        r#type: &'static str,
        properties: serde_json::Map<String, serde_json::Value>,
    }
    raw_of(&NoArguments { r#type: "object", properties: serde_json::Map::new() })
}

fn resolved(schema: &RawValue) -> Cow<'_, RawValue> {
    let text = schema.get();
    // A member's name may be written with an escape.
    if text.contains("$ref") || text.contains("\\u0024") {
        refs::resolve(schema).map_or(Cow::Borrowed(schema), Cow::Owned)
    } else {
        Cow::Borrowed(schema)
    }
}

/// The schema with a root that Google takes; `None` if it has one.
fn fitted(schema: &RawValue) -> Result<Option<Box<RawValue>>, SchemaError> {
    let root = RawObject::of(schema).ok_or(SchemaError::NotASchema)?;
    let is_object = |value: &RawValue| as_str(value).is_some_and(|name| &*name == "object");
    let (is_typed, is_listed) = match root.get("type") {
        None => (false, false),
        Some(one) if is_object(one) => (true, false),
        Some(list) => {
            let types: Vec<&RawValue> =
                serde_json::from_str(list.get()).map_err(|_| SchemaError::NotOfAnObject)?;
            if !types.into_iter().any(is_object) {
                return Err(SchemaError::NotOfAnObject);
            }
            (true, true)
        }
    };
    let has_properties = root.get("properties").is_some_and(crate::json::is_object);
    if is_typed && !is_listed && has_properties && root.get("$schema").is_none() {
        return Ok(None);
    }
    let (object, nothing) = (raw_of("object"), crate::json::empty_object());
    let mut members: Vec<(JsonStr<'_>, &RawValue)> = Vec::with_capacity(root.0.len() + 2);
    if !is_typed {
        members.push((JsonStr("type".into()), &object));
    }
    for (name, value) in &root.0 {
        match &**name {
            "$schema" => {}
            "type" => members.push((name.clone(), &object)),
            "properties" if !has_properties => {}
            _ => members.push((name.clone(), value)),
        }
    }
    if !has_properties {
        members.push((JsonStr("properties".into()), &nothing));
    }
    Ok(Some(raw_of(&RawObject(members))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn tool(text: &str) -> Result<String, SchemaError> {
        tool_schema(&raw(text)).map(|schema| schema.get().to_owned())
    }

    #[test]
    fn a_schema_that_google_takes_keeps_its_bytes() {
        for text in [
            r#"{ "type": "object", "properties": {} }"#,
            r#"{"properties":{"$id":{"const":1},"n":{"exclusiveMinimum":9007199254740993}},"type":"object","additionalProperties":false}"#,
            r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"},"$ref":{"type":"string"}},"$defs":{"A":{ "type":["string","null"] }}}"##,
            r##"{"type":"object","properties":{"a":{"enum":[{"$ref":"#/nowhere"}],"default":{"$ref":"x"}}}}"##,
        ] {
            let schema = raw(text);
            assert!(
                matches!(tool_schema(&schema).unwrap(), Cow::Borrowed(same) if same.get() == text),
                "{text}"
            );
        }
    }

    #[test]
    fn the_root_becomes_an_object_with_properties() {
        for (text, expected) in [
            ("{}", r#"{"type":"object","properties":{}}"#),
            ("true", r#"{"type":"object","properties":{}}"#),
            ("null", r#"{"type":"object","properties":{}}"#),
            (r#"{"type":["object","null"],"properties":null}"#, r#"{"type":"object","properties":{}}"#),
            (
                r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"$schema": {"type":"string"}},"required":[ ]}"#,
                r#"{"type":"object","properties":{"$schema": {"type":"string"}},"required":[ ]}"#,
            ),
            (
                r#"{"anyOf":[{"type":"object"}]}"#,
                r#"{"type":"object","anyOf":[{"type":"object"}],"properties":{}}"#,
            ),
        ] {
            assert_eq!(tool(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, error) in [
            (r#"{"type":"string"}"#, SchemaError::NotOfAnObject),
            (r#"{"type":["string"]}"#, SchemaError::NotOfAnObject),
            (r#"{"type":3}"#, SchemaError::NotOfAnObject),
            ("[]", SchemaError::NotASchema),
            ("\"x\"", SchemaError::NotASchema),
        ] {
            assert_eq!(tool(text), Err(error), "{text}");
        }
    }

    #[test]
    fn references_resolve_or_go() {
        for (text, expected) in [
            // Nowhere, and beside something that stays.
            (
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/Gone"},"b":{"description":"d","$ref":"other.json"}}}"##,
                r#"{"type":"object","properties":{"a":{},"b":{"description":"d"}}}"#,
            ),
            // What stands beside a reference, other than what begins with `$`, takes its target in; bare ones stay.
            (
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A","description":"d","default":null},"b":{"$ref":"#/$defs/A","$comment":"c"}},"$defs":{"A":{"type":"string","description":"of all"}}}"##,
                r##"{"type":"object","properties":{"a":{"type":"string","description":"d","default":null},"b":{"$ref":"#/$defs/A","$comment":"c"}},"$defs":{"A":{"type":"string","description":"of all"}}}"##,
            ),
            // So does what stands beside one within a definition, and what is taken in keeps its own references.
            (
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"properties":{"b":{"$ref":"#/$defs/B","title":"t"}}},"B":{"items":{"$ref":"#/$defs/C"}},"C":{"const":1}}}"##,
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"properties":{"b":{"items":{"$ref":"#/$defs/C"},"title":"t"}}},"B":{"items":{"$ref":"#/$defs/C"}},"C":{"const":1}}}"##,
            ),
            // A cycle is cut for those too.
            (
                r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/N","title":"root"}},"$defs":{"N":{"properties":{"o":{"$ref":"#/$defs/O","title":"o"}}},"O":{"items":{"$ref":"#/$defs/N"},"not":{"$ref":"#/$defs/N","title":"n"}}}}"##,
                r#"{"type":"object","properties":{"n":{"properties":{"o":{"items":{},"not":{"title":"n"},"title":"o"}},"title":"root"}},"$defs":{"N":{"properties":{"o":{"items":{},"not":{"title":"n"},"title":"o"}}},"O":{"items":{},"not":{"title":"n"}}}}"#,
            ),
            // A cycle through definitions is cut where it closes.
            (
                r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/N"}},"$defs":{"N":{"properties":{"next":{"$ref":"#/$defs/N"},"o":{"$ref":"#/$defs/O"}}},"O":{"items":{"$ref":"#/$defs/N"}}}}"##,
                r##"{"type":"object","properties":{"n":{"$ref":"#/$defs/N"}},"$defs":{"N":{"properties":{"next":{},"o":{"$ref":"#/$defs/O"}}},"O":{"items":{}}}}"##,
            ),
            // Pointers of other kinds are written out.
            (
                r##"{"type":"object","properties":{"a":{"type":"string"},"b":{"$ref":"#/properties/a","title":"t"},"c":{"$ref":"#/definitions/x~1y"}},"definitions":{"x/y":{"anyOf":[{"type":"null"},{"$ref":"#"}]}}}"##,
                r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string","title":"t"},"c":{"anyOf":[{"type":"null"},{}]}}}"#,
            ),
            // A name that a URL has to encode.
            (
                r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/Map%3Cany%3E"},"b":{"$ref":"#/$defs/%zz"}},"$defs":{"Map<any>":{"const":2}}}"##,
                r#"{"type":"object","properties":{"a":{"const":2},"b":{}}}"#,
            ),
            // A root that is a reference.
            (
                r##"{"$schema":"x","$ref":"#/definitions/Args","definitions":{"Args":{"type":"object","properties":{"p":{"$ref":"#/definitions/P"}}},"P":{"const":1}}}"##,
                r#"{"type":"object","properties":{"p":{"const":1}}}"#,
            ),
            (
                r##"{"$ref":"#/$defs/Args","$defs":{"Args":{"type":"object","properties":{"self":{"$ref":"#/$defs/Args"}}}}}"##,
                r#"{"type":"object","properties":{"self":{}}}"#,
            ),
        ] {
            assert_eq!(tool(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn references_are_found_under_every_keyword_that_holds_schemas() {
        for keyword in
            ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"]
        {
            let text = format!(
                r##"{{"type":"object","properties":{{}},"not":{{"{keyword}":{{"a":{{"$ref":"#/nowhere"}},"b":["a"],"c":true}}}}}}"##
            );
            let gone = text.replace(r##""$ref":"#/nowhere""##, "");
            assert_eq!(tool(&text).unwrap(), gone, "{keyword}");
        }
        for keyword in [
            "items",
            "additionalItems",
            "prefixItems",
            "contains",
            "additionalProperties",
            "propertyNames",
            "unevaluatedItems",
            "unevaluatedProperties",
            "contentSchema",
            "anyOf",
            "oneOf",
            "allOf",
            "not",
            "if",
            "then",
            "else",
        ] {
            for (before, behind) in [("", ""), ("[true,", "]")] {
                let text = format!(
                    r##"{{"type":"object","properties":{{}},"{keyword}":{before}{{"$ref":"#/nowhere"}}{behind}}}"##
                );
                let gone = text.replace(r##""$ref":"#/nowhere""##, "");
                assert_eq!(tool(&text).unwrap(), gone, "{keyword}");
            }
        }
        // Elsewhere it is what the schema speaks of, and none.
        for keyword in ["const", "default", "examples", "enum", "dependentRequired", "x-other"] {
            let text =
                format!(r##"{{"type":"object","properties":{{}},"{keyword}":[{{"$ref":"#/nowhere"}}]}}"##);
            assert_eq!(tool(&text).unwrap(), text, "{keyword}");
        }
    }

    #[test]
    fn a_schema_that_grows_without_bound_is_cut() {
        let mut definitions = String::new();
        for n in 0..40 {
            let next = n + 1;
            let one = format!(
                r##""d{n}":{{"properties":{{"a":{{"$ref":"#/definitions/d{next}"}},"b":{{"$ref":"#/definitions/d{next}"}}}}}},"##
            );
            definitions.push_str(&one);
        }
        let text = format!(
            r##"{{"type":"object","properties":{{"a":{{"$ref":"#/definitions/d0"}}}},"definitions":{{{definitions}"d40":{{}}}}}}"##
        );
        let schema = tool(&text).unwrap();
        assert!(schema.len() < 1_000_000, "{}", schema.len());
        assert!(!schema.contains("$ref"));
    }

    #[test]
    fn references_with_more_beside_them_grow_within_bounds() {
        let mut definitions = String::new();
        for n in 0..40 {
            let next = n + 1;
            let one = format!(
                r##""d{n}":{{"properties":{{"a":{{"$ref":"#/$defs/d{next}","title":"a"}},"b":{{"$ref":"#/$defs/d{next}","title":"b"}}}}}},"##
            );
            definitions.push_str(&one);
        }
        let text = format!(
            r##"{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/d0","title":"a"}}}},"$defs":{{{definitions}"d40":{{}}}}}}"##
        );
        let schema = tool(&text).unwrap();
        assert!(schema.len() < 1_000_000, "{}", schema.len());
    }

    #[test]
    fn nesting_of_any_depth_is_no_panic() {
        for depth in [100, 100_000] {
            let text = format!(
                r##"{{"properties":{}{{"$ref":"#/x"}}{},"type":"object"}}"##,
                r#"{"p":{"properties":"#.repeat(depth),
                "}}".repeat(depth)
            );
            assert!(tool(&text).is_ok());
            let long = (0..depth.min(5_000)).fold(String::new(), |mut all, n| {
                let one = format!(r##""d{n}":{{"$ref":"#/$defs/d{}"}},"##, n + 1);
                all.push_str(&one);
                all
            });
            let text = format!(
                r##"{{"$ref":"#/$defs/d0","properties":{{"a":{{"$ref":"#/$defs/d1"}}}},"$defs":{{{long}"z":{{}}}}}}"##
            );
            assert!(tool(&text).is_ok());
        }
    }

    #[test]
    fn an_answers_schema_may_be_of_any_type() {
        let text = r#"{"$schema":"x","type":"array","items":{}}"#;
        let schema = raw(text);
        assert_eq!(answer_schema(&schema).unwrap().get(), r#"{"type":"array","items":{}}"#);
        assert!(answer_schema(&raw("[]")).is_err());
    }
}

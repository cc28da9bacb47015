//! Whatever comes in, nothing panics: bytes that are no JSON, JSON of other shapes, and schemas whose references lead
//! anywhere, of which all that is left must resolve.

#![allow(clippy::unwrap_used, reason = "a test's set-up may panic")]

use formats::gemini::{AnswerChunk, GoogleFailure, Grounding};
use formats::json::raw_of;
use formats::models::ModelTraits;
use formats::placeholders::without_signatures;
use formats::schema::{answer_schema, tool_schema};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// JSON of the members that are looked at, in any nesting.
fn wild() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}|STOP|gemini-c1-aAAAA".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let name = proptest::sample::select(vec![
            "candidates",
            "content",
            "parts",
            "text",
            "thought",
            "thoughtSignature",
            "functionCall",
            "args",
            "id",
            "name",
            "finishReason",
            "usageMetadata",
            "promptTokenCount",
            "error",
            "code",
            "message",
            "contents",
            "groundingChunks",
            "web",
            "uri",
            "groundingSupports",
            "segment",
            "endIndex",
            "promptFeedback",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..5).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A schema with references to definitions, properties, the root and nowhere.
fn schema() -> impl Strategy<Value = Value> {
    let reference = proptest::sample::select(vec![
        "#",
        "#/$defs/A",
        "#/$defs/B",
        "#/$defs/C",
        "#/$defs/gone",
        "#/properties/p",
        "#/properties/q",
        "other.json",
        "#/definitions/D",
        "#/$defs/A/properties/p",
        "#/properties",
        "#anchor",
    ]);
    let leaf = prop_oneof![
        reference.clone().prop_map(|reference| json!({"$ref": reference})),
        reference.prop_map(|reference| json!({"$ref": reference, "description": "d"})),
        Just(json!({"type": ["string", "null"], "enum": ["$ref"]})),
        Just(json!(true)),
    ];
    let node = leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"anyOf": list})),
            inner.clone().prop_map(|one| json!({"type": "array", "items": one})),
            (inner.clone(), inner)
                .prop_map(|(p, q)| json!({"type": "object", "properties": {"p": p, "$ref": q}})),
        ]
    });
    (proptest::collection::vec(node, 6), any::<bool>(), any::<bool>()).prop_map(
        |(nodes, with_old, plain_only)| {
            let mut root = json!({"type": "object", "properties": {"p": nodes[0], "q": nodes[1]},
            "$defs": {"A": nodes[2], "B": nodes[3], "C": nodes[4]}});
            if with_old {
                root["definitions"] = json!({"D": nodes[5]});
            }
            if plain_only {
                let text =
                    root.to_string().replace("#/properties/", "#/$defs/").replace("\"#\"", "\"#/$defs/B\"");
                root = serde_json::from_str(&text).unwrap();
            }
            root
        },
    )
}

/// Follows every reference from a schema, and says whether all resolve and none leads back.
fn is_sound(node: &Value, root: &Value, way: &mut Vec<String>) -> bool {
    let Value::Object(members) = node else { return true };
    let all =
        |map: &Map<String, Value>, way: &mut Vec<String>| map.values().all(|node| is_sound(node, root, way));
    members.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
        ("$ref", Value::String(reference)) => {
            let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else {
                return false;
            };
            if way.contains(reference) {
                return false;
            }
            way.push(reference.clone());
            let is_sound = is_sound(target, root, way);
            way.pop();
            is_sound
        }
        ("properties" | "$defs" | "definitions", Value::Object(map)) => all(map, way),
        ("items", node) => is_sound(node, root, way),
        ("anyOf", Value::Array(list)) => list.iter().all(|node| is_sound(node, root, way)),
        _ => true,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_json_and_no_cut_of_it_is_a_panic(value in wild(), cut in 0_usize..200) {
        let text = value.to_string();
        for bytes in [text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
            let _ = AnswerChunk::read(bytes);
            let _ = GoogleFailure::of_body(bytes);
            let _ = without_signatures(bytes, ModelTraits::of("gemini-3-pro"));
        }
        let raw = raw_of(&value);
        let _ = Grounding::read(&raw);
        let _ = tool_schema(&raw);
        let _ = answer_schema(&raw);
    }

    #[test]
    fn every_reference_that_is_left_in_a_schema_resolves_and_none_leads_back(schema in schema()) {
        let raw = raw_of(&schema);
        let fitted = tool_schema(&raw).unwrap();
        let made: Value = serde_json::from_str(fitted.get()).unwrap();
        prop_assert!(is_sound(&made, &made, &mut Vec::new()), "{} became {}", schema, made);
        prop_assert_eq!(&made["type"], "object");
        prop_assert!(made["properties"].is_object());
        let again = tool_schema(&fitted).unwrap();
        prop_assert_eq!(again.get(), fitted.get(), "what is fit stays");
    }
}

//! `groundingMetadata`: what an answer that rests on a search of the web says of its sources. Offsets are in bytes of UTF-8,
//! and an offset of zero is not written, as protobuf has it.

use serde_json::{Value, json};

use crate::conversation::{GroundedText, GroundingSource, ScriptedGrounding};

/// How the echo begins, which no source supports.
const UNSUPPORTED: usize = "You said: ".len();

/// The metadata of an answer whose text is `whole`. Words that are not in it support nothing.
pub(super) fn told(found: &ScriptedGrounding, whole: &str) -> Value {
    let chunks: Vec<Value> = found
        .sources
        .iter()
        .map(|source| json!({"web": {"uri": source.uri, "title": source.title}}))
        .collect();
    let supports: Vec<Value> =
        found.supports.iter().filter_map(|support| supported(support, whole)).collect();
    let searched = found.queries.join(" ").replace('&', "&amp;").replace('<', "&lt;");
    json!({
        "searchEntryPoint": {"renderedContent": format!("<div class=\"container\">{searched}</div>")},
        "groundingChunks": chunks,
        "groundingSupports": supports,
        "webSearchQueries": found.queries,
    })
}

fn supported(support: &GroundedText, whole: &str) -> Option<Value> {
    let start = whole.find(&support.text)?;
    let mut segment = json!({"endIndex": start + support.text.len(), "text": support.text});
    if start > 0 {
        segment["startIndex"] = json!(start);
    }
    Some(json!({"segment": segment, "groundingChunkIndices": support.sources}))
}

/// The metadata of an echo of `said`; `whole` is its text, where that is known.
pub(super) fn made_up(said: &str, whole: Option<&str>) -> Value {
    let source = |n: u32| GroundingSource {
        uri: format!("https://vertexaisearch.cloud.google.com/grounding-api-redirect/simulated-{n}"),
        title: format!("example-{n}.com"),
    };
    let support = whole
        .and_then(|whole| whole.get(UNSUPPORTED..))
        .filter(|text| !text.is_empty())
        .map(|text| GroundedText { text: text.to_owned(), sources: vec![0, 1] });
    let found = ScriptedGrounding {
        queries: vec![said.chars().take(100).collect()],
        sources: vec![source(1), source(2)],
        supports: support.into_iter().collect(),
    };
    told(&found, whole.unwrap_or_default())
}

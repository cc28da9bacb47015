//! The word for what a request asked for: of a closed set, whatever path a client has made up. Metrics tell requests apart
//! by it.

use crate::transaction::Transaction;
use gemini::path::Dialect;

/// What is none of the others.
const OTHER: &str = "other";

/// The methods of Google's that go by their own names.
const METHODS: &[&str] = &[
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "batchEmbedContents",
    "predict",
    "predictLongRunning",
    "batchGenerateContent",
    "asyncBatchEmbedContent",
];

/// The collections whose reading and making goes by the collection's name.
const COLLECTIONS: &[&str] = &[
    "models",
    "files",
    "cachedContents",
    "batches",
    "operations",
    "interactions",
    "fileSearchStores",
    "tunedModels",
];

/// What the OpenAI layer calls by these ends of its paths.
const OPENAI: &[(&str, &str)] = &[
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/embeddings", "embeddings"),
    ("/responses", "responses"),
];

/// And by these beginnings, after its root.
const OPENAI_ROOTS: &[&str] = &["images", "videos", "audio", "models", "files", "batches"];

/// Returns the word for a request.
pub(super) fn operation(transaction: &Transaction) -> &'static str {
    let path = transaction.path.trim_end_matches('/');
    if path.starts_with("/ws/") {
        return "live";
    }
    if path.starts_with("/upload/") {
        return "upload";
    }
    if path.starts_with("/download/") {
        return "download";
    }
    if transaction.dialect == Dialect::OpenAi {
        if let Some((_, word)) = OPENAI.iter().find(|(end, _)| path.ends_with(end)) {
            return word;
        }
        let below_root = path.split('/').find(|segment| !segment.is_empty() && !is_root(segment));
        return known(OPENAI_ROOTS, below_root);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, method)) => known(METHODS, Some(method)),
        None => known(COLLECTIONS, path.split('/').nth(2)),
    }
}

/// Whether a segment is the version or the layer's name.
fn is_root(segment: &str) -> bool {
    let version =
        segment.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    version || segment == "openai"
}

fn known(words: &[&'static str], word: Option<&str>) -> &'static str {
    words.iter().find(|known| Some(**known) == word).copied().unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(dialect: Dialect, path: &str) -> &'static str {
        operation(&Transaction { dialect, ..crate::testing::transaction("alice", path) })
    }

    #[test]
    fn each_surface_has_its_words_and_what_is_made_up_is_other() {
        for (dialect, path, expected) in [
            (Dialect::Gemini, "/v1beta/models/gemini-2.5-flash:generateContent", "generateContent"),
            (Dialect::Gemini, "/v1beta/models/x:streamGenerateContent", "streamGenerateContent"),
            (Dialect::Gemini, "/v1beta/models/x:madeUp", "other"),
            (Dialect::Gemini, "/v1beta/models", "models"),
            (Dialect::Gemini, "/v1/models/gemini-2.5-flash", "models"),
            (Dialect::Gemini, "/v1beta/files/abc", "files"),
            (Dialect::Gemini, "/v1beta/made-up/abc", "other"),
            (Dialect::Gemini, "/", "other"),
            (Dialect::Gemini, "/upload/v1beta/files", "upload"),
            (Dialect::Gemini, "/download/v1beta/files/abc:download", "download"),
            (
                Dialect::Gemini,
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
                "live",
            ),
            (Dialect::OpenAi, "/v1beta/openai/chat/completions", "chat"),
            (Dialect::OpenAi, "/v1/chat/completions", "chat"),
            (Dialect::OpenAi, "/v1beta/openai/embeddings/", "embeddings"),
            (Dialect::OpenAi, "/v1beta/openai/images/generations", "images"),
            (Dialect::OpenAi, "/openai/v1/models/x", "models"),
            (Dialect::OpenAi, "/v1beta/openai/made/up", "other"),
            (Dialect::OpenAi, "/v1beta/openai", "other"),
        ] {
            assert_eq!(word(dialect, path), expected, "{path}");
        }
    }
}

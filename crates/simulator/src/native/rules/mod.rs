//! Google's rules for a `GenerateContentRequest`, each with Google's words: whether it can be read at all (`fields`,
//! `schema`), whether its turns follow each other rightly (`turns`), and whether model and settings agree (`generation`).
//! Asked by `generate` before anything is counted.

mod fields;
mod generation;
mod schema;
mod turns;

use serde_json::Value;

pub(super) use fields::readable;

use crate::error::ApiError;
use crate::models::Model;
use crate::stats::SignatureCounts;
use crate::strictness::Strictness;

/// Checks a request that can be read. `count` hears of the signatures that it carries, refused or not.
pub(super) fn kept(
    request: &Value,
    model: &Model,
    strictness: Strictness,
    count: &mut impl FnMut(SignatureCounts),
) -> Result<(), ApiError> {
    generation::check(request, model)?;
    let mut counts = SignatureCounts::default();
    let checked = turns::check(request, model, strictness, &mut counts);
    if counts != SignatureCounts::default() {
        count(counts);
    }
    checked
}

/// Checks a `countTokens` request that has a whole `generateContentRequest`.
pub(super) fn counted(asked: &Value, whole: &Value, model: &Model) -> Result<(), ApiError> {
    if asked.get("contents").is_some() {
        return Err(ApiError::new(
            400,
            "* CountTokensRequest: contents and generate_content_request cannot both be set.\n",
        ));
    }
    let named = whole.get("model").and_then(Value::as_str).unwrap_or_default();
    match named.strip_prefix("models/") {
        Some(id) if id == model.id => Ok(()),
        Some(_) => Err(ApiError::new(
            400,
            format!(
                "* CountTokensRequest.generate_content_request.model: {named} is not models/{}\n",
                model.id
            ),
        )),
        None => Err(ApiError::new(
            400,
            "* CountTokensRequest.generate_content_request.model: unexpected model name format\n",
        )),
    }
}

//! `GET models`, in pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::models::Model;

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let size = match call.parameter("pageSize").or_else(|| call.parameter("page_size")) {
        None => DEFAULT_PAGE,
        Some(text) => match text.parse::<usize>() {
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(LARGEST_PAGE),
            Err(_) => {
                let message = format!("Invalid value at 'page_size' (TYPE_INT32), \"{text}\"");
                return Err(ApiError::new(400, message));
            }
        },
    };
    let start = match call.parameter("pageToken").or_else(|| call.parameter("page_token")) {
        None => 0,
        Some(token) => read_token(&token).ok_or_else(|| ApiError::new(400, "Page token is not valid."))?,
    };
    let models = &call.world.models;
    let page: Vec<Value> = models.iter().skip(start).take(size).map(Model::native).collect();
    let mut answer = json!({"models": page});
    if start + size < models.len() {
        answer["nextPageToken"] = json!(URL_SAFE_NO_PAD.encode(format!("from {}", start + size)));
    }
    Ok(Answer::pretty(&answer))
}

fn read_token(token: &str) -> Option<usize> {
    let text = URL_SAFE_NO_PAD.decode(token).ok()?;
    std::str::from_utf8(&text).ok()?.strip_prefix("from ")?.parse().ok()
}

//! Which responses a request's `item_reference`s lead to: an item's id says of which response it is. The caller fetches
//! them before it has the request translated.

use super::RESPONSE_ID;
use super::reader::{list_of, member_text};
use crate::json::{RawObject, without_half_surrogates};

/// The most responses of one request that are named.
const MAX_REFERENCED: usize = 32;

/// What the ids of items begin with.
const ITEM_IDS: [&str; 6] = ["rs_", "msg_", "fc_", "ctc_", "ws_", "ig_"];

/// Returns the ids of the responses that `body` references items of, each once, the last named first and 32 at most.
/// Empty for the usual body, which is only searched for the word.
pub fn referenced_ids(body: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    if !mentions(body, "item_reference") {
        return ids;
    }
    let body = without_half_surrogates(body);
    let Ok(request) = serde_json::from_slice::<RawObject<'_>>(&body) else { return ids };
    for item in request.get("input").and_then(list_of).unwrap_or_default().into_iter().rev() {
        let Some(object) = RawObject::of(item) else { continue };
        if member_text(&object, "type").is_none_or(|kind| &*kind != "item_reference") {
            continue;
        }
        let id = member_text(&object, "id").unwrap_or_default();
        if let Some(response) = response_of(&id)
            && ids.len() < MAX_REFERENCED
            && !ids.contains(&response)
        {
            ids.push(response);
        }
    }
    ids
}

/// Whether a body has a word, which is found out faster than the body is read.
pub(super) fn mentions(body: &[u8], word: &str) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| text.contains(word))
}

/// The response that an item of ours belongs to.
fn response_of(item_id: &str) -> Option<String> {
    let rest = ITEM_IDS.iter().find_map(|prefix| item_id.strip_prefix(prefix))?;
    let (seed, index) = rest.rsplit_once('_')?;
    let is_ours = !seed.is_empty()
        && seed.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !index.is_empty()
        && index.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| format!("{RESPONSE_ID}{seed}"))
}

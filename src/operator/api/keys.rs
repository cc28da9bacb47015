//! `/keys`: how the keys are, and verbs on one of them.

use super::{
    Desk, PATIENCE,
    gate::{answer, refusal},
};
use actix_web::{HttpRequest, HttpResponse, web};
use gemini_balance_actors::key_manager::{Verb, VerbKind};
use keypool::{KeyId, PoolError, Snapshot};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

/// Adds the paths of this resource.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/keys", web::get().to(list)).route("/keys/{key}/{verb}", web::post().to(act));
}

async fn list(request: HttpRequest, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    match desk.operated.keys.snapshot(Instant::now() + PATIENCE).await {
        Ok(mut snapshot) => {
            let left_out = shorten(&mut snapshot);
            HttpResponse::Ok().json(Listing { snapshot, left_out })
        }
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

/// How many models are told of in one answer, over all keys: some megabytes.
const MODELS: usize = 20_000;

/// The keys, as far as there is room for what is said of their models.
#[derive(Serialize)]
struct Listing {
    #[serde(flatten)]
    snapshot: Snapshot,
    /// How many entries of models there would be besides.
    left_out: usize,
}

/// Gives each key its share of the room; returns how much was left out. Clients name models, the operator names keys.
fn shorten(snapshot: &mut Snapshot) -> usize {
    let most = share(snapshot.keys.len());
    let of_keys = snapshot
        .keys
        .iter_mut()
        .map(|key| cut(&mut key.models, most) + cut(&mut key.limits, most) + cut(&mut key.usage, most));
    of_keys.sum::<usize>() + cut(&mut snapshot.models_down, MODELS)
}

/// How many entries each of the three lists of each key may have.
fn share(keys: usize) -> usize {
    (MODELS / 3 / keys.max(1)).max(10)
}

/// Cuts a list; returns how much of it is gone.
fn cut<T>(list: &mut Vec<T>, most: usize) -> usize {
    let before = list.len();
    list.truncate(most);
    before - list.len()
}

async fn act(request: HttpRequest, path: web::Path<(String, String)>, desk: web::Data<Desk>) -> HttpResponse {
    if let Some(refusal) = refusal(&request, &desk) {
        return refusal;
    }
    let (key, verb) = path.into_inner();
    let kind = match verb.as_str() {
        "enable" => VerbKind::Enable,
        "disable" => VerbKind::Disable,
        "reset" => VerbKind::Reset,
        _ => return answer(404, "the verbs are enable, disable and reset"),
    };
    let verb = Verb { kind, key: KeyId::from(key.as_str()) };
    match desk.operated.keys.verb(verb, Instant::now() + PATIENCE).await {
        Ok(Ok(())) => HttpResponse::Ok().json(json!({ "status": "ok" })),
        Ok(Err(PoolError::UnknownKey(_))) => answer(404, "no key has this id; see `gemini-balance keys`"),
        Ok(Err(error)) => answer(400, &error.to_string()),
        Err(_) => answer(503, "the key manager does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_keys_is_bounded_however_many_models_clients_name() {
        for keys in [0, 1, 3, 100, 600] {
            assert!(keys * share(keys) * 3 <= MODELS, "{keys}");
        }
        assert_eq!(share(100_000), 10);
        for (there, most, left_out) in [(10_000, 6_666, 3_334), (5, 6_666, 0), (0, 10, 0)] {
            let mut list = vec![0_u8; there];
            assert_eq!((cut(&mut list, most), list.len()), (left_out, there - left_out));
        }
    }
}

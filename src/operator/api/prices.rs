//! `/api/prices`: what tokens cost by the list, where each price is from, and for which models there is none; sets and forgets
//! those of the runtime. The revision in use is the answers' `ETag`; a write that names another one in `If-Match` is refused.

use super::{
    Desk, RouteTable, audit,
    gate::answer,
    revision::{etag, known_revision},
    used::{DAY_S, used_by},
};
use crate::{prices::PriceRefusal, tokens::Done};
use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use serde_json::{Value, json};
use usage::{Column, PriceEntry};

/// How far back models without a price are looked for.
const LOOK_BACK_S: i64 = 30 * DAY_S;
/// How many of them are told.
const MOST_UNPRICED: usize = 200;

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/prices", list).add(Method::PUT, "/api/prices/{model}", set).add(
        Method::DELETE,
        "/api/prices/{model}",
        forget,
    );
}

async fn list(desk: web::Data<Desk>) -> HttpResponse {
    let list = match desk.operated.prices.list() {
        Ok(list) => list,
        Err(error) => return answer(503, &error.to_string()),
    };
    let unpriced = match unpriced(&desk).await {
        Ok(unpriced) => unpriced,
        Err(why) => return answer(503, &why),
    };
    HttpResponse::Ok().insert_header(etag(list.revision)).json(json!({
        "currency": list.currency,
        "read": list.read,
        "revision": list.revision,
        "prices": list.prices,
        "unpriced": unpriced,
    }))
}

/// The models of the last thirty days with requests whose cost is not known.
async fn unpriced(desk: &Desk) -> Result<Vec<Value>, String> {
    let used = used_by(Column::Model, LOOK_BACK_S, desk).await?;
    let of_model = used.into_iter().filter(|(_, counters)| counters.unpriced > 0);
    let of_row = of_model.map(|(model, counters)| json!({ "model": model, "requests": counters.unpriced }));
    Ok(of_row.take(MOST_UNPRICED).collect())
}

async fn set(
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> HttpResponse {
    audit::note(&request, "prices set", None);
    let revision = match known_revision(request.headers()) {
        Ok(revision) => revision,
        Err(why) => return answer(400, why),
    };
    let entry = match read(&body, &path) {
        Ok(entry) => entry,
        Err(why) => return answer(400, &why),
    };
    let model = entry.model.clone();
    let done = desk.operated.prices.set(entry, revision).await;
    if done.is_ok() {
        audit::note(&request, "prices set", Some(&model));
    }
    told(done)
}

async fn forget(request: HttpRequest, path: web::Path<String>, desk: web::Data<Desk>) -> HttpResponse {
    audit::note(&request, "prices forget", None);
    let revision = match known_revision(request.headers()) {
        Ok(revision) => revision,
        Err(why) => return answer(400, why),
    };
    let model = path.strip_prefix("models/").unwrap_or(&path);
    let done = desk.operated.prices.forget(model, revision).await;
    if done.is_ok() {
        // There was one of this name.
        audit::note(&request, "prices forget", Some(model));
    }
    told(done)
}

/// Reads a price in the words of `[[prices]]`.
fn read(body: &[u8], model: &str) -> Result<PriceEntry, String> {
    let mut body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON".to_owned())?;
    let fields = body.as_object_mut().ok_or_else(|| r#"the body must be {"input": 1.25, ...}"#.to_owned())?;
    if let Some(field) = ["from", "source"].iter().find(|field| fields.contains_key(**field)) {
        return Err(format!("{field} is no field here: a price holds from now on"));
    }
    if fields.insert("model".to_owned(), model.into()).is_some_and(|named| named != model) {
        return Err("the path names the model: leave it out of the body".to_owned());
    }
    serde_json::from_value(body).map_err(|error| error.to_string())
}

fn told(done: Result<Done<u64>, PriceRefusal>) -> HttpResponse {
    match done {
        Ok(Done { result: revision, is_kept }) => HttpResponse::Ok()
            .insert_header(etag(revision))
            .json(json!({ "status": "ok", "kept": is_kept, "revision": revision })),
        Err(refusal) => {
            let status = match refusal {
                PriceRefusal::Stale(_) | PriceRefusal::Configured | PriceRefusal::TooMany => 409,
                PriceRefusal::Unknown => 404,
                PriceRefusal::BadModel | PriceRefusal::Currency(_) | PriceRefusal::Bad(_) => 400,
            };
            answer(status, &refusal.to_string())
        }
    }
}

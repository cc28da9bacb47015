//! `/api/cluster`: the gateways that share the pool, and whether they agree. Also what is said with an operator's word: where it
//! has been done.

use super::{Desk, RouteTable};
use actix_web::{HttpResponse, web};
use gemini_balance_actors::cluster::{ClusterView, GatewayView, WordReach};
use serde_json::{Value, json};
use std::time::Duration;

/// How long all gateways may take to do what is said to one.
const WORD_PATIENCE: Duration = Duration::from_secs(2);

/// Adds the paths of this resource.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/api/cluster", cluster);
}

async fn cluster(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok().json(match &desk.operated.cluster {
        Some(cluster) => view(&cluster.view()),
        None => json!({ "enabled": false }),
    })
}

fn view(cluster: &ClusterView) -> Value {
    let gateway = |gateway: &GatewayView| {
        json!({
            "name": gateway.name,
            "this": gateway.is_this,
            "there": gateway.is_there,
            "version": gateway.version,
            "since": chrono::DateTime::from_timestamp_millis(gateway.since_ms.try_into().unwrap_or_default()),
            "heard_ms_ago": millis(gateway.silent_for),
            "behind_ms": gateway.behind_ms,
            "differs_in": gateway.differs_in,
        })
    };
    json!({
        "enabled": true,
        "name": cluster.name,
        "well": cluster.is_well(),
        "alone": cluster.alone,
        "so_for_s": cluster.so_for.as_secs(),
        "gateways": cluster.gateways.iter().map(gateway).collect::<Vec<_>>(),
        "facts": { "told": cluster.told, "heard": cluster.heard, "untold": cluster.untold },
        "calls_failed": cluster.failed,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds where a word was done to its answer, once all have done it or their time is over. Nothing where there are no others.
pub(super) async fn with_reach(desk: &Desk, answer: Value) -> Value {
    match &desk.operated.cluster {
        Some(cluster) => with(answer, &cluster.word(WORD_PATIENCE).await),
        None => answer,
    }
}

/// The same for a word on a token, which gateways with another instance key cannot do.
pub(super) async fn with_reach_of_token(desk: &Desk, answer: Value) -> Value {
    match &desk.operated.cluster {
        Some(cluster) => with(answer, &cluster.word_of_token(WORD_PATIENCE).await),
        None => answer,
    }
}

fn with(mut answer: Value, reach: &WordReach) -> Value {
    answer["gateways"] =
        json!({ "done": reach.done, "of": reach.of, "silent": reach.silent, "alone": reach.alone });
    answer
}

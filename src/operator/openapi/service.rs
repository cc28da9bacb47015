//! What monitoring and orchestrators ask, in the document.

use super::{
    operation::{Access, ApiOperation},
    schema::{about, count, flag, list, maybe, object, text, time, word},
};
use serde_json::json;

const TAG: &str = "service";

pub(super) fn operations() -> Vec<ApiOperation> {
    let health = object(&[("status", word(&["ok", "unavailable"])), ("reason?", text())]);
    let health = ApiOperation::get("/health", "Whether requests can be served")
        .open_to(Access::Open)
        .gives(200, "They can.", health.clone())
        .gives(503, "They cannot, and why.", health);
    let metrics = ApiOperation::get("/metrics", "What monitoring reads").open_to(Access::Metrics).gives_as(
        200,
        "OpenMetrics, or Prometheus' older format by `Accept`.",
        &[("application/openmetrics-text", text()), ("text/plain", text())],
    );
    let document = ApiOperation::get("/openapi.json", "This document").open_to(Access::Open).gives(
        200,
        "OpenAPI 3.1.",
        json!({ "type": "object", "additionalProperties": true }),
    );
    let gateway = object(&[
        ("name", text()),
        ("this", about(flag(), "Whether it is the one that was asked.")),
        ("there", about(flag(), "Whether it was heard in the last five seconds.")),
        ("version", text()),
        ("since", maybe(time())),
        ("heard_ms_ago", count()),
        ("behind_ms", about(count(), "By how much it is behind the one that has heard most.")),
        (
            "differs_in",
            about(
                list(text()),
                "The parts in which its settings differ: `keys`, `limits`, `tokens`, `rules`, `day_zone`, `instance_key`.",
            ),
        ),
    ]);
    let cluster = ApiOperation::get("/api/cluster", "The gateways that share the pool").gives(
        200,
        "Those that are there, as this one sees it; `enabled` alone, and false, where this one is not one of several.",
        object(&[
            ("enabled", flag()),
            ("name?", text()),
            ("well?", about(flag(), "Whether all are there and agree.")),
            ("alone?", maybe(about(text(), "Why this one goes on alone."))),
            ("so_for_s?", about(count(), "For how long it has been alone, or with the others.")),
            ("gateways?", list(gateway)),
            ("facts?", object(&[("told", count()), ("heard", count()), ("untold", count())])),
            ("calls_failed?", count()),
        ]),
    );
    [health, cluster, metrics, document].map(|operation| operation.under(TAG)).into()
}

//! What monitoring and orchestrators ask, in the document.

use super::{
    operation::{Access, ApiOperation},
    schema::{object, text, word},
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
    [health, metrics, document].map(|operation| operation.under(TAG)).into()
}

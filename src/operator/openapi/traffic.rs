//! What happens and what was used, in the document: the overview, requests, faults, usage, models, callers, projects, the playground.

use super::{
    operation::ApiOperation,
    schema::{about, count, flag, known, list, maybe, named, number, object, text, time, word},
};
use crate::usage_report::COUNTS;
use serde_json::Value;

const TAG: &str = "traffic";

pub(super) fn operations() -> Vec<ApiOperation> {
    [overview(), projects(), models(), callers(), requests(), request(), errors(), usage(), playground()]
        .map(|operation| operation.under(TAG))
        .into()
}

fn overview() -> ApiOperation {
    let component = object(&[
        ("state", word(&["up", "restarting", "degraded", "failed"])),
        ("restarts", count()),
        ("reason?", text()),
    ]);
    let minute = object(&[
        ("requests", count()),
        ("per_second", number()),
        ("answered", count()),
        ("failed", count()),
        ("clients_own", count()),
        ("first_byte_p50_ms", maybe(count())),
        ("first_byte_p95_ms", maybe(count())),
        ("queued_p95_ms", maybe(count())),
    ]);
    let fields = object(&[
        ("components", named(component)),
        ("draining", flag()),
        ("keys", known("KeyCounts")),
        ("back_in_ms", about(maybe(count()), "Until the first key is back, when none is available.")),
        ("in_flight", count()),
        ("models_down", list(known("ModelDown"))),
        (
            "minute",
            about(maybe(minute), "What became of the last minute's requests; `null` where none are kept."),
        ),
        ("lost", about(count(), "Requests that the usage has not counted.")),
        (
            "spent",
            about(
                list(object(&[("name", text()), ("limit", text()), ("opens_in_s", count())])),
                "The callers that have no room now.",
            ),
        ),
        ("restart_needed", list(text())),
    ]);
    ApiOperation::get("/api/overview", "How the gateway is at this moment")
        .gives(200, "How it is.", fields)
        .fails(503, "The key manager does not answer.")
}

fn projects() -> ApiOperation {
    let project = object(&[
        ("project", maybe(text())),
        ("key", about(maybe(text()), "The key, where it has no project's label.")),
        ("number", maybe(text())),
        ("states", named(count())),
        ("keys", count()),
        ("in_flight", count()),
        ("served", count()),
        ("faults", count()),
        ("limits", list(known("Limit"))),
    ]);
    ApiOperation::get("/api/projects", "The keys by project, with each project's known limits")
        .asks("q", "A part of the name, in any case.")
        .asks("limit", "1 to 200; 100 where nothing is said.")
        .asks("cursor", "`next` of the page before.")
        .gives(
            200,
            "A page of the projects, by name.",
            object(&[
                ("projects", list(project)),
                ("matched", count()),
                ("next", maybe(text())),
                ("day_resets", about(maybe(time()), "When Google's day ends.")),
            ]),
        )
        .fails(400, "A parameter that is unknown or cannot be read.")
        .fails(503, "The key manager does not answer.")
}

fn models() -> ApiOperation {
    let model = object(&[
        ("model", text()),
        ("requests", count()),
        ("answered", count()),
        ("attempts", count()),
        ("retries", count()),
        ("unpriced", about(count(), "Requests whose cost is not known.")),
        ("first_byte_p50_ms?", maybe(count())),
        ("first_byte_p95_ms?", maybe(count())),
        ("faults?", named(count())),
        ("down_for_ms", maybe(count())),
    ]);
    ApiOperation::get("/api/models", "The models of the last day")
        .asks_of_list(None)
        .gives(200, "The models by name.", object(&[("models", list(model)), ("next", maybe(text()))]))
        .fails(503, "The key manager or the usage book does not answer.")
}

fn callers() -> ApiOperation {
    let caller = object(&[
        ("caller", text()),
        ("state", maybe(about(text(), "Of its token: `active`, `disabled`, `expired` or `shadowed`."))),
        ("requests", count()),
        ("answered", count()),
        ("client_errors", count()),
        ("refused_caller", count()),
        ("refused_pool", count()),
        ("refused_google", count()),
        ("failed", count()),
        ("left", count()),
        ("broken", count()),
        ("unpriced", about(count(), "Requests whose cost is not known.")),
        ("use?", known("TokenUse")),
    ]);
    ApiOperation::get("/api/callers", "Who has called in the last day, and who may")
        .asks_of_list(Some("`active`, `disabled`, `expired` or `shadowed`: of its token."))
        .gives(200, "The callers by name.", object(&[("callers", list(caller)), ("next", maybe(text()))]))
        .fails(503, "The usage book does not answer.")
}

fn requests() -> ApiOperation {
    ApiOperation::get("/api/requests", "The newest requests")
        .asks("caller", "The caller's name.")
        .asks("model", "The model.")
        .asks("key", "The id of a key that was tried.")
        .asks("status", "A status such as `429`, or a class such as `4xx`.")
        .asks("end", "How it ended, such as `complete` or `client_left`.")
        .asks("fault", "A fault of the blame table that an attempt had, such as `QuotaMinute`.")
        .asks("refused_by", "`caller`, `pool` or `google`.")
        .asks("id", "The request's id.")
        .asks("since", "A time, a date, or a span such as `-1h`.")
        .asks("limit", "1 to 200; 50 where nothing is said.")
        .asks("cursor", "That of the answer before.")
        .gives(
            200,
            "The newest first, as in `logs/transactions.log`.",
            object(&[
                ("requests", list(known("Request"))),
                ("cursor", maybe(text())),
                ("kept", about(count(), "How many are kept in memory.")),
            ]),
        )
        .fails(400, "A parameter that is unknown or cannot be read.")
        .fails(404, "`usage.enabled` is false.")
}

fn request() -> ApiOperation {
    ApiOperation::get("/api/requests/{id}", "One of the newest requests")
        .at("id", "The id, which its answer had as `x-request-id`.")
        .gives(200, "The request.", known("Request"))
        .fails(400, "This can be the id of no request.")
        .fails(404, "It is not among the newest.")
}

fn errors() -> ApiOperation {
    let seen = object(&[
        ("time", time()),
        ("id", text()),
        ("model", maybe(text())),
        ("key", text()),
        ("status", maybe(count())),
        ("words", maybe(text())),
    ]);
    let fault = object(&[
        ("fault", text()),
        ("count", count()),
        ("says", text()),
        ("left_alone", text()),
        ("request", text()),
        ("advice", text()),
        ("last", list(seen)),
    ]);
    let told = object(&[("time", time()), ("id", text()), ("told", text())]);
    let refusal = object(&[
        ("status", count()),
        ("by", word(&["gateway", "caller", "pool", "google"])),
        ("limit", maybe(text())),
        ("count", count()),
        ("last", list(told)),
    ]);
    ApiOperation::get("/api/errors", "What went wrong among the newest requests")
        .asks("caller", "The caller's name.")
        .asks("model", "The model.")
        .asks("key", "The id of a key that was tried.")
        .asks("since", "A time, a date, or a span such as `-1h`.")
        .gives(
            200,
            "Google's faults by kind, and the gateway's own refusals, each with the last few.",
            object(&[("faults", list(fault)), ("refusals", list(refusal)), ("kept", count())]),
        )
        .fails(400, "A parameter that is unknown or cannot be read.")
        .fails(404, "`usage.enabled` is false.")
}

fn usage() -> ApiOperation {
    let gateways = object(&[
        (
            "counted",
            about(
                count(),
                "How many gateways' usage is in the rows, that of gateways which have ended included.",
            ),
        ),
        ("whole", about(flag(), "Whether that is all, but for the last seconds of the others.")),
        ("why?", about(text(), "Why it may be less.")),
    ]);
    let gateways = about(gateways, "Of a cluster: whose usage it is.");
    let kept_since = object(&[("step", word(&["minute", "hour", "day"])), ("time", time())]);
    let kept_since = about(
        kept_since,
        "Where the span begins before: since when the steps are kept that the rows are made of. What was used before is not in them.",
    );
    let not_found =
        about(named(text()), "Names that were asked for only, by parameter, which nothing in this time has.");
    let answer = object(&[
        ("rows", list(known("UsageRow"))),
        ("gateways?", gateways),
        ("kept_since?", kept_since),
        ("not_found?", not_found),
    ]);
    ApiOperation::get("/api/usage", "What was used, by whom")
        .asks("from", "A time, a date, or a span such as `-30d`, which is what holds where nothing is said.")
        .asks("to", "The same; now where nothing is said.")
        .asks("step", "`minute`, `hour`, `day`, `month` or `all`.")
        .asks("by", "Some of `caller`, `key`, `project`, `model`, with commas.")
        .asks("caller", "Of this caller only.")
        .asks("key", "Of this key only.")
        .asks("project", "Of this project only.")
        .asks("model", "Of this model only.")
        .asks("format", "`json` or `csv`.")
        .gives_as(
            200,
            "One row for each step and each of what was asked for by. Of CSV the header `x-gemini-balance-gateways` says, as JSON, what \
             `gateways` does, and `x-gemini-balance-usage-notes` what `kept_since` and `not_found` do.",
            &[("application/json", answer), ("text/csv", text())],
        )
        .fails(400, "A parameter that is unknown or cannot be read, or too many rows are asked for.")
        .fails(404, "`usage.enabled` is false.")
        .fails(503, "The usage book does not answer.")
}

fn playground() -> ApiOperation {
    ApiOperation::post("/api/playground", "Sends a prompt through the gateway")
        .takes(object(&[("model", text()), ("prompt", text()), ("dialect", word(&["gemini", "openai"]))]))
        .gives_as(
            200,
            "What the gateway answers, with whatever status, streamed as it comes. `x-request-id` names the request.",
            &[("text/plain", text())],
        )
        .fails(400, "The body is not what it must be.")
        .fails(502, "The clients' listener does not answer.")
        .fails(503, "The clients' listener has TLS.")
        .fails(504, "The gateway takes too long.")
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let passed_over = || {
        list(object(&[
            ("why", text()),
            ("keys", count()),
            ("key", text()),
            ("reason?", text()),
            ("back_in_ms?", count()),
        ]))
    };
    let attempt = object(&[
        ("key", text()),
        ("project?", text()),
        ("chosen?", about(text(), "Why this key, if it was not simply its turn.")),
        ("probe?", flag()),
        ("start_ms", number()),
        ("status", about(count(), "0 where no answer came.")),
        ("fault?", text()),
        ("ms", number()),
        ("words?", about(text(), "What Google said.")),
        ("passed_over?", passed_over()),
        ("passed_over_more?", count()),
    ]);
    let delay = object(&[
        ("start_ms", number()),
        ("ms", number()),
        ("cause", word(&["no_key", "pause"])),
        ("after?", text()),
        ("passed_over?", passed_over()),
        ("passed_over_more?", count()),
        ("refusal?", text()),
    ]);
    let tokens = object(&[
        ("prompt?", count()),
        ("output?", count()),
        ("thoughts?", count()),
        ("cached?", count()),
        ("total?", count()),
    ]);
    let request = object(&[
        ("time", time()),
        ("id", text()),
        ("caller", maybe(text())),
        ("dialect", word(&["gemini", "openai"])),
        ("method", text()),
        ("verb?", text()),
        ("streamed?", flag()),
        ("path", text()),
        ("model", maybe(text())),
        ("attempts", list(attempt)),
        ("status", count()),
        ("end", text()),
        ("refused_by?", word(&["caller", "pool", "google"])),
        ("limit?", text()),
        ("first_byte_ms?", number()),
        ("total_ms", number()),
        ("queued_ms", number()),
        ("bytes_in", count()),
        ("bytes_out", count()),
        ("usage?", tokens),
        ("bound_to?", text()),
        ("delays?", list(delay)),
        ("told?", about(text(), "What the client was told where the gateway answered itself.")),
    ]);
    let mut row = vec![
        ("from", time()),
        ("to", time()),
        ("caller?", text()),
        ("key?", text()),
        ("project?", text()),
        ("model?", text()),
    ];
    row.extend(COUNTS.map(|name| {
        let value = match name {
            "cost" => number(),
            "currency" => text(),
            _ => count(),
        };
        (name, value)
    }));
    vec![("Request", request), ("UsageRow", object(&row))]
}

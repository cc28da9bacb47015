//! The keys in the document.

use super::{
    operation::ApiOperation,
    schema::{about, count, flag, known, list, maybe, named, object, text, time, word},
};
use serde_json::Value;

const TAG: &str = "keys";
const STATES: [&str; 5] = ["available", "probation", "cooling", "retired", "disabled"];
const VERBS: &str = "`enable`, `disable`, `reset`, `check`, `label`, `project` or `weight`.";

pub(super) fn operations() -> Vec<ApiOperation> {
    let page = ApiOperation::get("/api/keys", "A page of the keys")
        .asks("q", "A part of the id or the project, in any case.")
        .asks("state", "`available`, `probation`, `cooling`, `retired`, `disabled` or `shadowed`.")
        .asks(
            "sort",
            "`id`, `project`, `state`, `served`, `faults` or `in_flight`; after `-` the other way round.",
        )
        .asks("limit", "1 to 200; 100 where nothing is said.")
        .asks("cursor", "`next` of the page before.")
        .asks("offset", "How many keys to pass over; without a cursor.")
        .gives(
            200,
            "The keys that fit.",
            object(&[
                ("keys", list(known("Key"))),
                ("counts", known("KeyCounts")),
                ("shadowed", count()),
                ("matched", count()),
                ("next", maybe(text())),
            ]),
        )
        .fails(400, "A parameter that is unknown or cannot be read.")
        .fails(503, "The key manager does not answer.");
    let chosen = about(list(text()), "The fingerprints that are meant, unusual ones too.");
    let paste = object(&[
        ("text", about(text(), "Any text with keys in it.")),
        ("project?", maybe(text())),
        ("dry_run?", about(flag(), "Only tells what would become of it.")),
        ("check?", about(flag(), "Asks Google about at most 100 of the keys; with `dry_run`.")),
        ("choose?", maybe(chosen)),
    ]);
    let add = ApiOperation::post("/api/keys", "Adds the keys of a pasted text")
        .asks("dry_run", "`1` only tells what would become of it, whatever the body is.")
        .takes(paste)
        .takes_as("text/plain", about(text(), "The text alone; what is new and usual is added."))
        .gives(
            200,
            "With `dry_run`: what would become of it.",
            object(&[("preview", known("PastePreview")), ("checks?", list(known("KeyCheck")))]),
        )
        .gives(
            201,
            "The keys that were added.",
            object(&[("preview", known("PastePreview")), ("added", list(text())), ("kept", flag())]),
        )
        .fails(400, "A body that is none, or a key or project that cannot be used.")
        .fails(409, "Keys cannot be added here, or there are too many.")
        .fails(413, "The text is too long, or holds too many keys.")
        .fails(503, "The keys cannot be written down, or the key manager does not answer.");
    let remove = ApiOperation::delete("/api/keys/{key}", "Removes an added key")
        .at("key", "The key's id.")
        .gives(200, "It is leased no more.", done())
        .fails(404, "No key has this id.")
        .fails(409, "The key is the configuration's, or the last one.")
        .fails(503, "The change cannot be written down, or the key manager does not answer.");
    let export = ApiOperation::get("/api/keys/export", "All keys as a table, without their secrets")
        .asks("format", "`json` or `csv`.")
        .gives_as(
            200,
            "The table.",
            &[("application/json", object(&[("keys", list(known("ExportedKey")))])), ("text/csv", text())],
        )
        .fails(400, "The format is neither.")
        .fails(503, "The key manager does not answer.");
    let all = ApiOperation::get("/keys", "All keys at once, with what is known of their models")
        .gives(
            200,
            "The keys in the order of the configuration.",
            object(&[
                ("counts", known("KeyCounts")),
                ("back_in_ms", maybe(count())),
                ("models_down", list(known("ModelDown"))),
                ("keys", list(known("PoolKey"))),
                ("left_out", about(count(), "How many entries of models there would be besides.")),
            ]),
        )
        .fails(503, "The key manager does not answer.");
    [page, add, export, remove, verb("/api/keys/{key}/{verb}"), all, verb("/keys/{key}/{verb}")]
        .map(|operation| operation.under(TAG))
        .into()
}

fn verb(path: &'static str) -> ApiOperation {
    ApiOperation::post(path, "Does something to a key")
        .at("key", "The key's id.")
        .at("verb", VERBS)
        .takes(about(
            object(&[("label?", maybe(text())), ("project?", maybe(text())), ("weight?", count())]),
            "For `label`, `project` and `weight`: the field of that name. `null` takes a label or a project away.",
        ))
        .gives(
            200,
            "It is done. `check` answers with what Google says, `label`, `project` and `weight` with the key's id.",
            object(&[
                ("status?", word(&["ok"])),
                ("kept?", flag()),
                ("id?", text()),
                ("check?", known("KeyCheck")),
                (
                    "gateways?",
                    about(reach(), "Of a cluster, for `enable`, `disable` and `reset`: where it is done by now."),
                ),
            ]),
        )
        .fails(400, "The body does not go with the verb, or what it says cannot be used.")
        .fails(404, "No key has this id, or there is no such verb.")
        .fails(409, "The label, project or weight is the configuration's, or the label is taken.")
        .fails(503, "The change cannot be written down, or the key manager does not answer.")
}

/// Where an operator's word was done.
pub(super) fn reach() -> Value {
    object(&[
        ("done", about(count(), "On how many gateways.")),
        ("of", count()),
        (
            "silent",
            about(
                list(text()),
                "Those that have not said so in two seconds; they hear of it when they are back.",
            ),
        ),
        ("alone", maybe(about(text(), "Why it is done on this gateway alone, until Redis is back."))),
    ])
}

/// What a change answers that has nothing else to say.
fn done() -> Value {
    object(&[("status", word(&["ok"])), ("kept", flag())])
}

/// What the pool says of a key.
fn of_pool() -> Vec<(&'static str, Value)> {
    vec![
        ("project_number", maybe(text())),
        (
            "since",
            maybe(about(time(), "Since when it stands as it does; null where nothing was ever wrong.")),
        ),
        ("reason", maybe(text())),
        ("back_in_ms", maybe(count())),
        ("models", list(known("ModelTrouble"))),
        (
            "tools",
            list(object(&[
                ("tool", text()),
                ("state", word(&STATES)),
                ("reason", maybe(text())),
                ("back_in_ms", maybe(count())),
            ])),
        ),
        ("limits", list(known("Limit"))),
        ("in_flight", count()),
        ("failures", about(count(), "Connections lost in a row while other keys kept theirs.")),
        ("totals", known("KeyTotals")),
        ("usage", list(object(&[("model", maybe(text())), ("totals", known("KeyTotals"))]))),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let optional = |fields: Vec<(&'static str, Value)>| -> Vec<(String, Value)> {
        fields.into_iter().map(|(name, schema)| (format!("{name}?"), schema)).collect()
    };
    let mut key: Vec<(String, Value)> = vec![
        ("id".to_owned(), text()),
        ("fingerprint?".to_owned(), text()),
        ("source".to_owned(), word(&["configuration", "runtime"])),
        ("state".to_owned(), word(&["available", "probation", "cooling", "retired", "disabled", "shadowed"])),
        ("project".to_owned(), maybe(text())),
        ("weight?".to_owned(), count()),
        ("added?".to_owned(), time()),
        ("last_hour?".to_owned(), about(count(), "Requests whose last try was on it.")),
        ("left_out?".to_owned(), about(count(), "How many entries of models there would be besides.")),
    ];
    // One that is shadowed is not in the pool.
    key.extend(optional(of_pool()));
    let key: Vec<(&str, Value)> = key.iter().map(|(name, schema)| (name.as_str(), schema.clone())).collect();
    let mut pool_key = vec![("id", text()), ("project", maybe(text())), ("state", word(&STATES))];
    pool_key.extend(of_pool());
    let found = || [("line", count()), ("length", count()), ("fingerprint", text())];
    let known_key: Vec<_> = found().into_iter().chain([("id", text())]).collect();
    vec![
        ("Key", object(&key)),
        ("PoolKey", object(&pool_key)),
        (
            "KeyCounts",
            object(&[
                ("total", count()),
                ("available", count()),
                ("probation", count()),
                ("cooling", count()),
                ("retired", count()),
                ("disabled", count()),
                ("in_flight", about(count(), "Leases that are not settled.")),
                ("waiting", about(count(), "Requests that wait for a key.")),
            ]),
        ),
        (
            "KeyTotals",
            object(&[
                ("leases", count()),
                ("successes", count()),
                ("abandoned", count()),
                ("faults", count()),
                ("faults_of", about(named(count()), "The same by whose they were.")),
                ("input_tokens", count()),
                ("output_tokens", count()),
            ]),
        ),
        (
            "ModelTrouble",
            object(&[
                ("model", maybe(text())),
                ("state", word(&STATES)),
                ("reason", maybe(text())),
                ("back_in_ms", maybe(count())),
            ]),
        ),
        ("ModelDown", object(&[("model", text()), ("back_in_ms", count())])),
        (
            "Limit",
            object(&[
                ("model", maybe(text())),
                ("rpm", maybe(count())),
                ("tpm", maybe(count())),
                ("rpd", maybe(count())),
                ("minute_requests", count()),
                ("minute_tokens", count()),
                ("day_requests", count()),
            ]),
        ),
        (
            "KeyCheck",
            object(&[
                ("fingerprint?", text()),
                (
                    "verdict",
                    word(&[
                        "good",
                        "invalid",
                        "suspended",
                        "restricted",
                        "region",
                        "disabled",
                        "exhausted",
                        "unknown",
                    ]),
                ),
                ("status?", count()),
                ("fault?", text()),
                ("project_number?", text()),
                ("why?", text()),
            ]),
        ),
        (
            "PastePreview",
            object(&[
                ("new", list(object(&found()))),
                ("unusual", list(object(&found()))),
                ("here", list(object(&known_key))),
                ("repeated", list(object(&found()))),
                ("others", list(object(&[("line", count()), ("length", count())]))),
                ("other_count", count()),
            ]),
        ),
        (
            "ExportedKey",
            object(&[
                ("id", text()),
                ("source", word(&["configuration", "runtime"])),
                ("project", maybe(text())),
                ("project_number", maybe(text())),
                ("state", text()),
                ("since", maybe(time())),
                ("reason", maybe(text())),
                ("back_in_s", maybe(count())),
                ("added", maybe(time())),
                ("weight", maybe(count())),
                ("in_flight", maybe(count())),
                ("served", maybe(count())),
                ("faults", maybe(count())),
                ("abandoned", maybe(count())),
                ("input_tokens", maybe(count())),
                ("output_tokens", maybe(count())),
            ]),
        ),
    ]
}

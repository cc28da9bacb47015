//! What changes the gateway as a whole, in the document: settings, reloads, imports, and the audit log of all changes.

use super::{
    operation::ApiOperation,
    schema::{about, count, flag, known, list, maybe, number, object, text, time, word},
};
use serde_json::Value;

const TAG: &str = "changes";

pub(super) fn operations() -> Vec<ApiOperation> {
    let settings = ApiOperation::get("/api/settings", "Every setting with its value, and where that is from")
        .gives(
            200,
            "The settings by name; secrets are `***`.",
            object(&[
                (
                    "settings",
                    list(object(&[
                        ("name", text()),
                        ("value", text()),
                        ("source?", about(text(), "The file or the variable; absent for a default.")),
                        ("default?", about(text(), "The default, where it is another.")),
                        ("live", about(flag(), "Whether a change holds at once.")),
                    ])),
                ),
                ("reload", known("ReloadReport")),
            ]),
        );
    let told = ApiOperation::get("/api/reload", "How the reloads went so far").gives(
        200,
        "The revision in use, which is the `ETag` too.",
        known("ReloadReport"),
    );
    let change =
        object(&[("setting", text()), ("from", maybe(text())), ("to", maybe(text())), ("live", flag())]);
    let reload = ApiOperation::post("/api/reload", "Has the configuration read again")
        .asks("dry_run", "`1` only says what would change.")
        .heeds("If-Match", "The revision that may be replaced, and no other.")
        .gives(
            200,
            "What has changed.",
            object(&[
                ("status", word(&["ok"])),
                ("dry_run", flag()),
                ("revision", count()),
                ("changes", list(change)),
                ("restart_needed", list(text())),
            ]),
        )
        .fails(400, "A parameter that cannot be read.")
        .fails(409, "Another revision is in use.")
        .fails(422, "The configuration is refused; nothing has changed.")
        .fails(503, "The gateway is going down.");
    let file = object(&[
        ("name", text()),
        ("text?", maybe(text())),
        ("base64?", maybe(about(text(), "The bytes, where it is no text."))),
    ]);
    let import = ApiOperation::post("/api/import", "Takes the keys and tokens of another gateway's files")
        .asks("dry_run", "`1` only tells what would become of it.")
        .about("Settings and limits are shown and belong into `config.toml`.")
        .takes(object(&[
            ("files", about(list(file), "At most 16.")),
            ("from?", maybe(word(&["snailyp", "gpt-load", "litellm", "keys"]))),
            ("dry_run?", about(flag(), "Only tells what would become of it.")),
            ("check?", about(flag(), "Asks Google about at most 100 of the keys; with `dry_run`.")),
        ]))
        .gives(
            200,
            "With `dry_run`: what would become of it.",
            object(&[("preview", known("ImportPreview")), ("checks?", list(known("KeyCheck")))]),
        )
        .gives(
            201,
            "The keys and tokens that were taken.",
            object(&[
                ("preview", known("ImportPreview")),
                ("added", list(text())),
                (
                    "disabled",
                    about(list(text()), "Those of `added` that are not used until they are enabled."),
                ),
                ("tokens", list(text())),
                ("kept", flag()),
            ]),
        )
        .fails(400, "The body is not what it must be, or a file cannot be read.")
        .fails(409, "Keys cannot be added here, or there are too many.")
        .fails(413, "The body is longer than 32 MiB.")
        .fails(503, "What was taken cannot be written down, or the key manager does not answer.");
    let price = [
        ("input?", maybe(number())),
        ("cached?", maybe(number())),
        ("output?", maybe(number())),
        ("above_tokens?", maybe(count())),
        ("input_above?", maybe(number())),
        ("cached_above?", maybe(number())),
        ("output_above?", maybe(number())),
        ("per_request?", maybe(number())),
        ("currency?", maybe(text())),
    ];
    let listed = [
        ("model", text()),
        ("from?", about(text(), "The first day on which it holds.")),
        ("source?", about(text(), "The page that the price is from.")),
        ("origin", word(&["configuration", "runtime", "built_in"])),
        ("shadowed", about(flag(), "Whether it does not count, since the configuration says otherwise.")),
    ];
    let listed: Vec<_> = listed.into_iter().chain(price.clone()).collect();
    let prices = ApiOperation::get("/api/prices", "What tokens cost, by the list")
        .gives(
            200,
            "All prices for a million tokens, in the order in which they are looked through. The revision is the `ETag` too.",
            object(&[
                ("currency", text()),
                ("read", about(text(), "The day on which the built-in ones were read.")),
                ("revision", count()),
                ("prices", list(object(&listed))),
                (
                    "unpriced",
                    about(
                        list(object(&[("model", text()), ("requests", count())])),
                        "Models of the last thirty days with requests whose cost is not known.",
                    ),
                ),
            ]),
        )
        .fails(503, "The usage book does not answer.");
    let priced = || object(&[("status", word(&["ok"])), ("kept", flag()), ("revision", count())]);
    let set = ApiOperation::put("/api/prices/{model}", "Sets the price of a model")
        .about("What has been counted stays as it is. The configuration's prices go before it.")
        .at("model", "Its name, with `*` and `?` for others.")
        .heeds("If-Match", "The revision that may be replaced, and no other.")
        .takes(object(&price))
        .gives(200, "It holds for requests that end from now on.", priced())
        .fails(400, "A field that is unknown or cannot be used.")
        .fails(409, "Another revision is in use, the configuration has a price for this model, or there are too many.");
    let forget = ApiOperation::delete("/api/prices/{model}", "Forgets a price that was set")
        .at("model", "As it was set.")
        .heeds("If-Match", "The revision that may be replaced, and no other.")
        .gives(200, "It is gone from now on.", priced())
        .fails(400, "The header `If-Match` names no revision.")
        .fails(404, "No price was set for this model.")
        .fails(409, "Another revision is in use, or the price is the configuration's.");
    let line = object(&[
        ("time", text()),
        ("address", maybe(text())),
        ("by", word(&["token", "session", "nobody"])),
        ("verb", text()),
        ("subject", maybe(text())),
        ("result", word(&["ok", "refused"])),
        ("status", count()),
    ]);
    let audit = ApiOperation::get("/api/audit", "What was changed last, and by whom")
        .asks("limit", "How many lines: 1 to 200; 200 where nothing is said.")
        .fails(400, "A parameter that is unknown or cannot be read.")
        .gives(200, "The newest lines of `logs/audit.log`, newest first.", object(&[("lines", list(line))]))
        .fails(503, "The file cannot be read.");
    [settings, told, reload, prices, set, forget, import, audit].map(|operation| operation.under(TAG)).into()
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let report = object(&[
        ("revision", count()),
        ("restart_needed", list(text())),
        ("applied", count()),
        ("unchanged", count()),
        ("refused", count()),
        ("last_successful", flag()),
        ("last_success", time()),
        ("error?", text()),
    ]);
    let key = object(&[
        ("place", text()),
        ("length", count()),
        ("fingerprint", text()),
        ("label?", text()),
        ("enabled", flag()),
        ("usual", flag()),
        ("here", flag()),
    ]);
    let token = object(&[("place", text()), ("length", count()), ("short", flag())]);
    let setting = object(&[("setting", text()), ("value", text()), ("origin", text())]);
    let limit = object(&[
        ("project", maybe(text())),
        ("model", maybe(text())),
        ("rpm", maybe(count())),
        ("tpm", maybe(count())),
        ("rpd", maybe(count())),
    ]);
    let preview = object(&[
        ("sources", list(text())),
        ("keys", list(key)),
        ("tokens", list(token)),
        ("not_taken_here", object(&[("settings", list(setting)), ("limits", list(limit))])),
        ("repeated", count()),
        ("warnings", list(text())),
        ("left", list(text())),
        ("unnamed", about(count(), "How many warnings and reasons there would be besides.")),
    ]);
    vec![("ReloadReport", report), ("ImportPreview", preview)]
}

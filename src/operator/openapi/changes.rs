//! What changes the gateway as a whole, in the document: settings, reloads, imports, and the audit log of all changes.

use super::{
    operation::ApiOperation,
    schema::{about, count, flag, known, list, maybe, object, text, time, word},
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
                ("tokens", list(text())),
                ("kept", flag()),
            ]),
        )
        .fails(400, "The body is not what it must be, or a file cannot be read.")
        .fails(409, "Keys cannot be added here, or there are too many.")
        .fails(413, "The body is longer than 32 MiB.")
        .fails(503, "What was taken cannot be written down, or the key manager does not answer.");
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
        .gives(200, "The newest lines of `logs/audit.log`, newest first.", object(&[("lines", list(line))]))
        .fails(503, "The file cannot be read.");
    [settings, told, reload, import, audit].map(|operation| operation.under(TAG)).into()
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

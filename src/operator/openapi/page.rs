//! What only the page uses, in the document.

use super::{
    operation::{Access, ApiOperation},
    schema::{about, flag, object, text},
};

const TAG: &str = "page";

pub(super) fn operations() -> Vec<ApiOperation> {
    let page = ApiOperation::get("/", "The page").open_to(Access::Open).gives_as(
        200,
        "Without any data in it.",
        &[("text/html", text())],
    );
    let asset = ApiOperation::get("/assets/{file}", "A file of the page")
        .open_to(Access::Open)
        .at("file", "Its path.")
        .gives_as(
            200,
            "The file, compressed where that is accepted.",
            &[("text/javascript", text()), ("text/css", text()), ("image/svg+xml", text())],
        )
        .fails(404, "There is no such file.");
    let told = ApiOperation::get("/session", "Whether the browser is logged in").open_to(Access::Open).gives(
        200,
        "Whether it is.",
        object(&[("open", flag()), ("version", text())]),
    );
    let log_in = ApiOperation::post("/session", "Logs the browser in")
        .open_to(Access::Open)
        .about("Only from the page itself. The answer sets a cookie, which is a random id and not the token.")
        .takes(object(&[
            ("token?", about(text(), "The operator's token.")),
            ("code?", about(text(), "In its place: a code that opens one session.")),
        ]))
        .gives(200, "It is logged in.", object(&[("open", flag())]))
        .fails(400, "The body is not what it must be.")
        .fails(401, "It is not the operator's token, or the code was used already.")
        .fails(403, "It was not sent by the page of this listener.")
        .fails(429, "Too many wrong ones from this address; `Retry-After` says for how long.")
        .fails(503, "The system has no random bytes.");
    let log_out = ApiOperation::delete("/session", "Logs the browser out").gives(
        200,
        "The session is dead at once.",
        object(&[("open", flag())]),
    );
    let events = ApiOperation::get("/events", "What changes, once a second")
        .about("Events `overview` (in full, then what is new in it), `requests` (newest first) and `trouble`; a comment in 15 s of silence.")
        .asks("topics", "`overview`, `requests`, or both with a comma.")
        .gives_as(200, "Until the session ends.", &[("text/event-stream", text())])
        .fails(400, "There is no such topic.")
        .fails(429, "Eight listen already.");
    [page, asset, told, log_in, log_out, events].map(|operation| operation.under(TAG)).into()
}

//! The clients' tokens in the document.

use super::{
    keys::reach,
    operation::ApiOperation,
    schema::{about, count, flag, known, list, maybe, number, object, text, time, word},
};
use serde_json::Value;

const TAG: &str = "tokens";

pub(super) fn operations() -> Vec<ApiOperation> {
    let all = ApiOperation::get("/api/tokens", "The tokens with their limits and what is used of them")
        .asks_of_list(Some("`active`, `disabled`, `expired` or `shadowed`."))
        .gives(
            200,
            "The tokens that fit.",
            object(&[("tokens", list(known("Token"))), ("next", maybe(text())), ("gateways?", counted())]),
        );
    let add = ApiOperation::post("/api/tokens", "Makes a token")
        .takes(spec(true))
        .gives(201, "The token, which is shown here and never again.", new_token())
        .fails(400, "A field that is unknown or cannot be used.")
        .fails(409, "The name is taken, or there are too many tokens.")
        .fails(503, "The instance key cannot be used, or the system has no random bytes.");
    let revise = ApiOperation::put("/api/tokens/{name}", "Says anew what a token may")
        .at("name", "The token's name.")
        .about("What is left out is not limited, whatever it was before.")
        .takes(spec(false))
        .gives(200, "It holds from the next request on.", done())
        .fails(400, "A field that is unknown or cannot be used.")
        .fails(404, "No token has this name.")
        .fails(409, "The token is the configuration's.");
    let remove = ApiOperation::delete("/api/tokens/{name}", "Removes a token")
        .at("name", "The token's name.")
        .takes(about(object(&[("cut?", cut())]), "May be left out."))
        .gives(200, "It is refused from now on.", done())
        .fails(400, "The body is not this.")
        .fails(404, "No token has this name.")
        .fails(409, "The token is the configuration's.");
    let act = ApiOperation::post("/api/tokens/{name}/{verb}", "Disables, enables or rotates a token")
        .at("name", "The token's name.")
        .at("verb", "`enable`, `disable` or `rotate`.")
        .takes(about(
            object(&[
                (
                    "grace?",
                    about(text(), "How long the former secret is let in: a span such as `24h`, or `0s`; 24 hours where nothing is said."),
                ),
                ("cut?", cut()),
            ]),
            "`grace` is for `rotate`, `cut` for `disable`.",
        ))
        .gives(200, "`enable` and `disable`: it is done.", done())
        .gives(201, "`rotate`: the new secret, which is shown here and never again.", new_token())
        .fails(400, "The grace is no span.")
        .fails(404, "No token has this name, or there is no such verb.")
        .fails(409, "The token is the configuration's.");
    [all, add, revise, remove, act].map(|operation| operation.under(TAG)).into()
}

/// Whether what runs under the token ends.
fn cut() -> Value {
    about(flag(), "Whether its running streams and sessions end too, within a second; otherwise they go on.")
}

fn new_token() -> Value {
    object(&[
        ("name", text()),
        ("token", text()),
        ("kept", flag()),
        ("gateways?", gateways()),
        ("projects_without_keys?", without_keys()),
    ])
}

fn done() -> Value {
    object(&[
        ("status", word(&["ok"])),
        ("kept", flag()),
        ("gateways?", gateways()),
        ("projects_without_keys?", without_keys()),
    ])
}

fn without_keys() -> Value {
    about(list(text()), "What of its `projects` fits no key of the pool.")
}

fn gateways() -> Value {
    about(reach(), "Of a cluster: where it is done by now.")
}

/// Over how many gateways callers are counted.
fn counted() -> Value {
    let counted = object(&[
        ("counted", about(count(), "How many gateways count what callers use together.")),
        ("alone", maybe(about(text(), "Why this one goes by what it knows, until Redis is back."))),
    ]);
    about(counted, "Of a cluster: over how many gateways what is used counts.")
}

/// A token in the words of `[[auth.tokens]]`.
fn spec(has_name: bool) -> Value {
    let budget = object(&[
        ("tokens_day?", maybe(count())),
        ("tokens_month?", maybe(count())),
        ("money_day?", maybe(number())),
        ("money_month?", maybe(number())),
    ]);
    object(&[
        (if has_name { "name" } else { "name?" }, text()),
        ("note?", text()),
        ("expires?", maybe(about(text(), "A time, a date, or a span from now."))),
        ("enabled?", flag()),
        ("resources?", word(&["own", "all"])),
        ("surfaces?", maybe(list(word(&["native", "openai", "live", "upload"])))),
        ("models?", maybe(about(list(text()), "Names with `*` and `?`."))),
        ("projects?", maybe(list(text()))),
        ("rpm?", maybe(count())),
        ("tpm?", maybe(count())),
        ("rpd?", maybe(count())),
        ("concurrent?", maybe(count())),
        ("budget?", budget),
    ])
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let over = || {
        about(
            count(),
            "Of a cluster: over how many gateways it counts, as far as heard. 1: it is this gateway's own.",
        )
    };
    let period = || {
        object(&[("requests", count()), ("tokens", count()), ("ends_in_s", count()), ("gateways?", over())])
    };
    let limit = object(&[
        ("name", text()),
        ("limit", number()),
        ("used", number()),
        ("opens_in_s", about(count(), "Until there is room for the smallest request; 0 when there is.")),
        ("gateways?", over()),
    ]);
    let used =
        object(&[("in_flight", count()), ("limits", list(limit)), ("day", period()), ("month", period())]);
    let token = object(&[
        ("name", text()),
        ("note?", text()),
        ("source", word(&["configuration", "runtime"])),
        ("state", word(&["active", "disabled", "expired", "shadowed"])),
        ("expires?", time()),
        ("enabled", flag()),
        ("resources", word(&["own", "all"])),
        ("surfaces", list(text())),
        ("models", list(text())),
        ("projects", list(text())),
        ("made?", time()),
        ("former_until?", about(time(), "Until when the last of its replaced secrets is let in.")),
        ("use?", known("TokenUse")),
    ]);
    vec![("Token", token), ("TokenUse", used)]
}

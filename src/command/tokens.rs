//! `gemini-balance tokens`: makes, lists, rotates, disables and removes the clients' tokens of a running gateway on this
//! machine.

use super::{
    cluster::{tell_reach, tell_reach_aside},
    failure::Failure,
    operator::{aligned, ask, time},
    printing::{plain, print_secret},
};
use crate::{
    counted,
    local_http::encoded,
    printable::{Printable, bounded},
    settings::Settings,
};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// List the tokens: state, limits, use (the default)
    List,
    /// Make a token; it is shown this once
    Add(Box<NewToken>),
    /// Let a token in no more; its running answers go on
    Disable {
        /// The client's name
        name: String,
        /// End its running answers and sessions, too
        #[arg(long)]
        cut: bool,
    },
    /// Let a disabled token in again
    Enable {
        /// The client's name
        name: String,
    },
    /// Make a new secret for a token; it is shown this once
    Rotate {
        /// The client's name
        name: String,
        /// How long the old secret is let in beside the new one: 24h, 30m, 0s
        #[arg(long, default_value = "24h")]
        grace: String,
    },
    /// Remove a token; its running answers go on
    Remove {
        /// The client's name
        name: String,
        /// End its running answers and sessions, too
        #[arg(long)]
        cut: bool,
    },
}

impl Action {
    /// What has happened when it is done.
    fn done(&self) -> &'static str {
        match self {
            Self::List => "listed",
            Self::Add(_) => "made",
            Self::Disable { .. } => "disabled",
            Self::Enable { .. } => "enabled",
            Self::Rotate { .. } => "rotated",
            Self::Remove { .. } => "removed",
        }
    }
}

/// A token to be made. What is left out is not limited.
#[derive(Args, Clone, Debug)]
pub(super) struct NewToken {
    /// What logs and usage call the client
    name: String,
    /// Models it may use, such as gemini-2.5-*
    #[arg(long, value_delimiter = ',', value_name = "GLOB,..")]
    models: Option<Vec<String>>,
    /// Surfaces it may use: native, openai, live, upload
    #[arg(long, value_delimiter = ',', value_name = "SURFACE,..")]
    surfaces: Option<Vec<String>>,
    /// Requests in a minute
    #[arg(long, value_name = "N")]
    rpm: Option<u64>,
    /// Tokens in a minute: input, output and thoughts
    #[arg(long, value_name = "N")]
    tpm: Option<u64>,
    /// Requests in a day
    #[arg(long, value_name = "N")]
    rpd: Option<u64>,
    /// Requests at the same time
    #[arg(long, value_name = "N")]
    concurrent: Option<u64>,
    /// Tokens in a day
    #[arg(long, value_name = "N")]
    tokens_day: Option<u64>,
    /// Tokens in a month
    #[arg(long, value_name = "N")]
    tokens_month: Option<u64>,
    /// Money in a day, in the currency of the price table
    #[arg(long, value_name = "X", value_parser = money)]
    money_day: Option<f64>,
    /// Money in a month
    #[arg(long, value_name = "X", value_parser = money)]
    money_month: Option<f64>,
    /// Projects it may be served from, by the labels of the keys
    #[arg(long, value_delimiter = ',', value_name = "GLOB,..")]
    projects: Option<Vec<String>>,
    /// From when on it is let in no more: a time, a date, or a span such as 90d
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Which files, caches and the like exist for it: own or all
    #[arg(long, value_name = "own|all")]
    resources: Option<String>,
    /// Your own words about it
    #[arg(long)]
    note: Option<String>,
}

/// Reads an amount. `nan` and `inf` are numbers for Rust, and none in JSON.
fn money(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|amount: &f64| amount.is_finite()).ok_or("not an amount such as 2.5")
}

impl NewToken {
    /// As the gateway reads it.
    fn body(&self) -> Value {
        let mut fields = Map::new();
        let mut budget = Map::new();
        let put = |fields: &mut Map<String, Value>, name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        let list = |list: &Option<Vec<String>>| list.as_ref().map(|list| json!(list));
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        put(&mut fields, "name", Some(json!(self.name)));
        put(&mut fields, "models", list(&self.models));
        put(&mut fields, "surfaces", list(&self.surfaces));
        put(&mut fields, "projects", list(&self.projects));
        put(&mut fields, "rpm", self.rpm.map(Value::from));
        put(&mut fields, "tpm", self.tpm.map(Value::from));
        put(&mut fields, "rpd", self.rpd.map(Value::from));
        put(&mut fields, "concurrent", self.concurrent.map(Value::from));
        put(&mut fields, "expires", text(&self.expires));
        put(&mut fields, "resources", text(&self.resources));
        put(&mut fields, "note", text(&self.note));
        put(&mut budget, "tokens_day", self.tokens_day.map(Value::from));
        put(&mut budget, "tokens_month", self.tokens_month.map(Value::from));
        put(&mut budget, "money_day", self.money_day.map(Value::from));
        put(&mut budget, "money_month", self.money_month.map(Value::from));
        put(&mut fields, "budget", (!budget.is_empty()).then_some(Value::Object(budget)));
        Value::Object(fields)
    }
}

/// Asks and prints.
pub(super) fn run(settings: &Settings, action: Option<Action>) -> Result<ExitCode, Failure> {
    let path = |name: &str, verb: &str| format!("/api/tokens/{}{verb}", encoded(name));
    let action = action.unwrap_or(Action::List);
    let done = action.done();
    let shown = match &action {
        Action::Add(token) => Some(token.name.clone()),
        Action::Rotate { name, .. } => Some(name.clone()),
        _ => None,
    };
    let answer = match action {
        Action::List => ask(settings, "GET", "/api/tokens", "")?,
        Action::Add(token) => ask(settings, "POST", "/api/tokens", &token.body().to_string())?,
        Action::Disable { name, cut } => ask(settings, "POST", &path(&name, "/disable"), removal(cut))?,
        Action::Enable { name } => ask(settings, "POST", &path(&name, "/enable"), "")?,
        Action::Remove { name, cut } => ask(settings, "DELETE", &path(&name, ""), removal(cut))?,
        Action::Rotate { name, grace } => {
            let body = json!({ "grace": grace }).to_string();
            ask(settings, "POST", &path(&name, "/rotate"), &body)?
        }
    };
    let is_shared = answer["gateways"].is_object();
    let mut status = ExitCode::SUCCESS;
    if let Some(tokens) = answer["tokens"].as_array() {
        out!("{}{}", table(tokens), counted(&answer["gateways"]));
    } else if let Some(token) = answer["token"].as_str() {
        let name = shown.unwrap_or_default();
        let otherwise = format!(
            "the token {name} was made all the same: `gemini-balance tokens rotate {name}` shows another"
        );
        print_secret(token, &otherwise);
        if is_shared {
            status = tell_reach_aside(done, &answer);
        }
    } else if is_shared {
        status = tell_reach(done, &answer);
    } else {
        out_line!("done");
    }
    for project in answer["projects_without_keys"].as_array().into_iter().flatten() {
        err_line!("warning: it names the project {}, which no key of the pool is of", word(project));
    }
    if answer["kept"] == false {
        return Err(Failure::new(
            "it holds now, and is not written down yet: see /health/ready and the store's log lines",
        ));
    }
    Ok(status)
}

/// What is said with a removal.
fn removal(cut: bool) -> &'static str {
    if cut { r#"{"cut":true}"# } else { "" }
}

/// One line a token.
fn table(tokens: &[Value]) -> String {
    let mut rows =
        vec![["NAME", "STATE", "FROM", "EXPIRES", "MODELS", "NOW", "TODAY", "LIMITS"].map(str::to_owned)];
    for token in tokens {
        let used = &token["use"];
        let limits = used["limits"].as_array().into_iter().flatten().map(limit);
        rows.push([
            word(&token["name"]),
            word(&token["state"]),
            word(&token["source"]),
            word(&token["expires"]).chars().take(10).collect(),
            token["models"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(","),
            word(&used["in_flight"]),
            format!("{} req, {} tok", word(&used["day"]["requests"]), word(&used["day"]["tokens"])),
            limits.collect::<Vec<_>>().join(", "),
        ]);
    }
    aligned(&rows)
}

/// Says over how many gateways it counts, where there may be more than this one.
fn counted(gateways: &Value) -> String {
    match (gateways["counted"].as_u64(), gateways["alone"].as_str()) {
        (_, Some(why)) => {
            format!(
                "limits count on this gateway alone, until Redis is back ({})\n",
                Printable(bounded(why, 300))
            )
        }
        (Some(count), None) => format!("limits count over {}\n", counted::counted(count, "gateway")),
        (None, None) => String::new(),
    }
}

/// `rpm 3/60`, or `rpm 60/60 (31 s)` with the time until it opens.
fn limit(limit: &Value) -> String {
    let opens = match limit["opens_in_s"].as_u64() {
        None | Some(0) => String::new(),
        Some(seconds) => format!(" ({})", time(seconds)),
    };
    format!("{} {}/{}{opens}", word(&limit["name"]), word(&limit["used"]), word(&limit["limit"]))
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => Printable(text).to_string(),
        Value::Number(number) => plain(number),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_that_json_has() {
        assert_eq!((money("2.5"), money("0")), (Ok(2.5), Ok(0.0)));
        for text in ["nan", "NaN", "inf", "-inf", "infinity", "1e400", "much", ""] {
            assert!(money(text).is_err(), "{text}");
        }
    }
}

//! How a command speaks to a running gateway on this machine: over the operator's listener, with the operator's token of
//! the same configuration.

use super::failure::Failure;
use crate::{
    local_http::{self, LocalAnswer, LocalRequest},
    printable::bounded,
    settings::Settings,
};
use serde_json::Value;
use std::time::Duration;

/// Asks, and returns what is answered to what was done. `body` is JSON.
pub(super) fn ask(settings: &Settings, method: &str, path: &str, body: &str) -> Result<Value, Failure> {
    ask_patiently(settings, method, path, body, local_http::PATIENCE)
}

/// The same, with so much time for the answer.
pub(super) fn ask_patiently(
    settings: &Settings,
    method: &str,
    path: &str,
    body: &str,
    patience: Duration,
) -> Result<Value, Failure> {
    let text = ask_for_text(settings, method, path, body, patience)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

/// The same, for an answer of any kind.
pub(super) fn ask_for_text(
    settings: &Settings,
    method: &str,
    path: &str,
    body: &str,
    patience: Duration,
) -> Result<String, Failure> {
    Ok(ask_for_answer(settings, method, path, body, patience)?.body)
}

/// The same, with its headers.
pub(super) fn ask_for_answer(
    settings: &Settings,
    method: &str,
    path: &str,
    body: &str,
    patience: Duration,
) -> Result<LocalAnswer, Failure> {
    let token = settings.admin_token()?.ok_or_else(|| {
        Failure::new("the operator's listener is off: set ADMIN_TOKEN or admin.token, for the gateway and for this command")
    })?;
    let address = local_http::reachable(settings.admin_address()?);
    let headers = &format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", token.expose());
    let request = LocalRequest { method, path, headers, body };
    let (scheme, answer) = match settings.admin_tls_files()? {
        None => ("http", local_http::ask(address, request, patience)),
        Some(files) => {
            let leaf = files.leaf().map_err(|error| settings.name_source(error))?;
            ("https", local_http::ask_the_owner_of(leaf, address, request, patience))
        }
    };
    let answer = answer.map_err(|error| {
        Failure::new(format!("no answer from {scheme}://{address}: {error}; is the gateway running?"))
    })?;
    if !(200..300).contains(&answer.status) {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let why = body["error"].as_str().unwrap_or("no reason given");
        return Err(Failure::new(format!("the gateway answers {}: {}", answer.status, bounded(why, 500))));
    }
    Ok(answer)
}

/// Rows of a table for a terminal, the first of which is its head.
pub(super) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// So many seconds, as people say it.
pub(super) fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", (seconds + 1800) / 3600),
    }
}

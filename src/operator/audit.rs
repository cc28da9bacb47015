//! What an operator has changed, and who: one line of `logs/audit.log` for each request of the operator's listener that is no
//! mere question. Every such request gets its line here, whatever its handler does; the handler only says what it is called
//! and whom it concerns. Nothing that a request brings is written down as it is, since it may be a secret.

use crate::logging::{AUDIT, timestamp};
use actix_web::{
    Error, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
};
use serde_json::json;
use std::fmt::Write as _;

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 500;

/// What a handler has said of its request.
#[derive(Clone, Debug, Default)]
struct Note {
    verb: Option<&'static str>,
    subject: Option<String>,
}

/// Who has asked.
#[derive(Clone, Copy, Debug)]
struct Admitted(&'static str);

/// Says what a request is called, such as `keys disable`, and which known thing it concerns.
pub(super) fn note(request: &HttpRequest, verb: &'static str, subject: Option<&str>) {
    let subject = subject.map(|text| text.chars().take(LONGEST_SUBJECT).collect());
    request.extensions_mut().insert(Note { verb: Some(verb), subject });
}

/// Says by what the caller was let in.
pub(super) fn admit(request: &HttpRequest, by: &'static str) {
    request.extensions_mut().insert(Admitted(by));
}

/// Names the first few of many things.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const NAMED: usize = 10;
    let count = names.len();
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if count > NAMED {
        let _ = write!(text, " and {} more", count - NAMED);
    }
    text
}

/// Writes the line of a request, once it is answered.
pub(super) async fn write<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let asks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let address = request.peer_addr().map(|address| address.ip().to_string());
    let response = next.call(request).await?;
    if !asks {
        let request = response.request();
        let note = request.extensions().get::<Note>().cloned().unwrap_or_default();
        let by = request.extensions().get::<Admitted>().map_or("nobody", |admitted| admitted.0);
        let path = || format!("{} {}", request.method(), request.match_pattern().unwrap_or_default());
        let status = response.status();
        let line = json!({
            "time": timestamp().to_string(),
            "address": address,
            "by": by,
            "verb": note.verb.map_or_else(path, str::to_owned),
            "subject": note.subject,
            "result": if status.is_success() { "ok" } else { "refused" },
            "status": status.as_u16(),
        });
        log::info!(target: AUDIT, "{line}");
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn of_many_things_the_first_are_named() {
        let names: Vec<String> = (0..12).map(|n| format!("k{n}")).collect();
        let listed = |count: usize| listed(names[..count].iter().map(String::as_str));
        assert_eq!(listed(0), "");
        assert_eq!(listed(2), "k0, k1");
        assert!(listed(12).ends_with("k9 and 2 more"));
    }
}

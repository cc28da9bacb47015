//! Answers that are not Google's: pages of captive portals, firewalls, outbound proxies and load balancers, as they are
//! met on the way to any API. None has a header or a word of Google's.

use http::StatusCode;
use serde_json::json;

use crate::answer::{Answer, HTML};
use crate::fault::Page;

/// The answer of this status. A `body` takes the place of the usual one.
pub(crate) fn answer(status: u16, page: Page, body: Option<&str>) -> Answer {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let title = title(code);
    let (content_type, text) = match page {
        Page::Html => (HTML, html(code, &title)),
        Page::Json => ("application/json", json!({"code": status, "message": title}).to_string()),
        Page::Text => ("text/plain", format!("{title}\n")),
        Page::Empty => ("", String::new()),
    };
    let text = body.map_or(text, str::to_owned);
    let mut answer = Answer::new(code, content_type, text).header("server", server(status));
    answer.foreign = true;
    match status {
        301 | 302 | 303 | 307 | 308 => {
            answer.header("location", "http://login.portal.invalid/?from=generativelanguage.googleapis.com")
        }
        401 => answer.header("www-authenticate", "Basic realm=\"Restricted network\""),
        407 => answer.header("proxy-authenticate", "Basic realm=\"Outbound proxy\""),
        _ => answer,
    }
}

fn server(status: u16) -> &'static str {
    match status {
        200..=399 => "portal",
        401 | 403 | 451 => "firewall",
        407 => "squid/6.6",
        _ => "nginx",
    }
}

fn title(code: StatusCode) -> String {
    match code.as_u16() {
        200 => "Welcome to Guest WiFi".to_owned(),
        403 => "Access Denied".to_owned(),
        _ => format!("{} {}", code.as_u16(), code.canonical_reason().unwrap_or("Error")),
    }
}

fn html(code: StatusCode, title: &str) -> String {
    let text = match code.as_u16() {
        200 => {
            "<form action=\"/login\" method=\"post\">Accept the terms to use this network. <input type=\"submit\"></form>"
        }
        300..=399 => "Please log in to use this network.",
        401 | 407 => "Sorry, you must identify yourself before you may go on.",
        403 | 451 => "This site has been blocked by your organisation's policy.",
        429 => "You have sent too many requests.",
        _ => "The server is temporarily unable to serve your request.",
    };
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<p>{text}</p>\r\n</body>\r\n</html>\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Payload;

    #[test]
    fn no_page_of_any_status_speaks_of_googles_errors() {
        for status in [200, 302, 401, 403, 407, 418, 429, 451, 502, 503, 999, 1] {
            for page in [Page::Html, Page::Json, Page::Text, Page::Empty] {
                let answer = answer(status, page, None);
                let Payload::Whole(body) = &answer.payload else { panic!("a page is whole") };
                assert!(answer.foreign);
                assert_eq!(body.is_empty(), page == Page::Empty);
                assert!(!String::from_utf8_lossy(body).contains("\"error\""));
            }
        }
    }
}

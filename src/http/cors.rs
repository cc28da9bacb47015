//! What a browser needs to let a page of another origin call the gateway (the Fetch standard's CORS protocol). Credentials
//! are bearer secrets that the page has to know, and no cookie is used, so an allowed origin gains nothing by itself.

use actix_web::{
    HttpResponse,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

/// Which origins' pages may call: `server.cors_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// None: nothing is said of CORS.
    Nobody,
    /// Any.
    Anybody,
    /// These, as browsers write them.
    These(Vec<String>),
}

/// The longest value of a client's that is said back to it, in bytes.
const MAX_ECHO_BYTES: usize = 4096;

/// How long a browser need not ask again: the most that Chromium heeds.
const MAX_AGE_S: &str = "7200";

/// What a page may read of an answer besides what it always may: the gateway's own headers and those of Google's that
/// libraries read. A `*` would not stand for all of them to a browser that sends credentials.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "content-disposition, content-encoding, content-length, content-range, location, retry-after, server-timing, \
     www-authenticate, x-request-id, x-gemini-balance-fallback, x-gemini-balance-unlisted, x-goog-upload-url, \
     x-goog-upload-status, x-goog-upload-chunk-granularity, x-goog-upload-control-url, x-goog-upload-size-received, \
     x-goog-upload-header-content-type, x-gemini-service-tier, x-ratelimit-limit-requests, \
     x-ratelimit-remaining-requests, x-ratelimit-reset-requests",
);

/// Asks whether a page may reach into a private network.
const ASKS_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOWS_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");

impl CorsOrigins {
    /// Reads the setting; else the entry that is no origin.
    pub fn parse(list: &[String]) -> Result<Self, &String> {
        let entries = list.iter().map(|entry| (entry, entry.trim()));
        if list.iter().any(|entry| entry.trim() == "*") {
            return Ok(Self::Anybody);
        }
        let origins = entries
            .map(|(entry, text)| is_origin(text).then(|| text.to_ascii_lowercase()).ok_or(entry))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(if origins.is_empty() { Self::Nobody } else { Self::These(origins) })
    }

    /// The request's origin, if it comes from a page that may call.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if matches!(self, Self::Nobody) {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok().filter(|text| text.len() <= MAX_ECHO_BYTES)?;
        let is_allowed = match self {
            Self::Nobody => false,
            Self::Anybody => true,
            Self::These(origins) => origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)),
        };
        is_allowed.then(|| origin.clone())
    }

    /// Whether anything is said of CORS at all.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Nobody)
    }
}

/// `https://page.example`, `http://localhost:3000`, `chrome-extension://abc`, `null`.
fn is_origin(text: &str) -> bool {
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\*,\"".contains(&byte))
    };
    text == "null"
        || text.split_once("://").is_some_and(|(scheme, host)| {
            scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                && !scheme.is_empty()
                && is_host(host)
        })
}

/// Whether a request is a preflight: it asks for another that is to come, and shows no credential.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight from a page that may call: whatever it means to send, since what is let in is decided when
/// it comes. Methods and headers are said back by name, as `*` does not stand for `Authorization`.
pub(super) fn preflight(headers: &HeaderMap, origin: HeaderValue) -> HttpResponse {
    let said = |name| headers.get(name).filter(|value| value.len() <= MAX_ECHO_BYTES).cloned();
    let mut response = HttpResponse::NoContent();
    response
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S))
        .insert_header((
            header::VARY,
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
        ));
    if let Some(method) = said(header::ACCESS_CONTROL_REQUEST_METHOD) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, method));
    }
    if let Some(names) = said(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, names));
    }
    if headers.get(ASKS_PRIVATE).is_some_and(|asks| asks == "true") {
        response.insert_header((ALLOWS_PRIVATE, "true"));
    }
    response.finish()
}

/// Lets a page that may call read the answer.
pub(super) fn open(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Whether a header of the upstream's is of CORS, which is the gateway's to decide.
pub(super) fn is_of_cors(name: &str) -> bool {
    name.starts_with("access-control-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &[&str]) -> Result<CorsOrigins, String> {
        let list: Vec<_> = list.iter().map(ToString::to_string).collect();
        CorsOrigins::parse(&list).map_err(Clone::clone)
    }

    fn is_allowed(origins: &CorsOrigins, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        origins.allowed(&headers).is_some_and(|said| said == origin)
    }

    #[test]
    fn the_setting_names_origins_or_all_or_none() {
        assert_eq!(parse(&[]), Ok(CorsOrigins::Nobody));
        assert_eq!(parse(&["https://a.example", "*"]), Ok(CorsOrigins::Anybody));
        let these = parse(&[" https://A.example ", "http://localhost:3000", "null", "app://obsidian.md"]);
        let these = these.unwrap();
        for origin in ["https://a.example", "http://localhost:3000", "null", "app://obsidian.md"] {
            assert!(is_allowed(&these, origin), "{origin}");
        }
        for origin in ["http://a.example", "https://a.example.evil", "http://localhost:3001", "https://b"] {
            assert!(!is_allowed(&these, origin), "{origin}");
        }
        for entry in ["a.example", "https://a.example/", "https://*.a.example", "://x", "https://", ""] {
            assert_eq!(parse(&["https://b.example", entry]), Err(entry.to_owned()), "{entry}");
        }
    }

    #[test]
    fn an_origin_without_measure_is_none() {
        assert!(is_allowed(&CorsOrigins::Anybody, "https://a.example"));
        assert!(!is_allowed(&CorsOrigins::Anybody, &"x".repeat(MAX_ECHO_BYTES + 1)));
        assert!(!is_allowed(&CorsOrigins::Nobody, "https://a.example"));
    }
}

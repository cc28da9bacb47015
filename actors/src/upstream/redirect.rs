//! Follows the upstream's redirects of downloads, among the hosts that the operator allows. The key goes to the configured
//! upstream only; where a redirect may not be followed, its answer passes on without the address.

use super::client::{RequestBody, SendError, Upstream};
use crate::key_ring::Key;
use bytes::Bytes;
use gemini::{
    media_type::is_download,
    path::{Surface, Target},
};
use http::{HeaderMap, Method, Response, StatusCode, header, response::Parts};
use hyper::body::Incoming;
use url::Url;

/// How many redirects in a row are followed.
const MOST: usize = 5;

/// What is sent again where a redirect leads.
pub(crate) struct Redirectable<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Target,
    pub(crate) headers: &'a HeaderMap,
    /// Where the request went first.
    pub(crate) url: Url,
}

/// An answer whose body is still to be read.
pub(crate) struct Headed {
    pub(crate) head: Parts,
    /// `None` of a redirect: its page names the address, too.
    pub(crate) body: Option<Incoming>,
    /// Whether it can be Google's: a redirect that leads away is not, unless to a file. Nor is one that leads nowhere.
    pub(crate) may_be_googles: bool,
}

impl Headed {
    /// Of an answer that is no redirect.
    pub(crate) fn of(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body: Some(body), may_be_googles: true }
    }
}

/// Returns the answer at the end of the redirects.
pub(crate) async fn follow(
    upstream: &Upstream,
    asked: Redirectable<'_>,
    key: &Key,
    response: Response<Incoming>,
) -> Result<Headed, SendError> {
    let (mut head, mut body) = response.into_parts();
    let mut from = asked.url;
    for _ in 0..MOST {
        if !is_redirect(head.status) || !matches!(*asked.method, Method::GET | Method::HEAD) {
            break;
        }
        let Some(url) = location(&head.headers, &from) else { break };
        let is_home = is_home(upstream, asked.target.surface, &url);
        if !is_home && !upstream.may_lead_to(&url) {
            break;
        }
        let mut headers = asked.headers.clone();
        if is_home {
            let (name, value) = key.provider().credential(asked.target.surface, key);
            headers.insert(name, value);
        }
        let sent =
            upstream.client().send(asked.method.clone(), &url, headers, RequestBody::Whole(Bytes::new()));
        (head, body) = sent.await?.into_parts();
        from = url;
    }
    if !is_redirect(head.status) {
        return Ok(Headed { head, body: Some(body), may_be_googles: true });
    }
    let leads_home =
        location(&head.headers, &from).is_some_and(|url| is_home(upstream, asked.target.surface, &url));
    let may_be_googles = leads_home || is_download(asked.target);
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    Ok(Headed { head, body: None, may_be_googles })
}

fn location(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok())?;
    from.join(location).ok()
}

fn is_home(upstream: &Upstream, surface: Surface, url: &Url) -> bool {
    url.origin().ascii_serialization() == upstream.base(surface).origin()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Whether `url` is at one of `hosts`: a name, a name and a port, or `*.` and the end of a name. Over TLS, unless the
/// upstream itself is spoken to without.
pub(super) fn is_allowed(hosts: &[String], url: &Url, without_tls: bool) -> bool {
    let Some(host) = url.host_str() else { return false };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && without_tls);
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    is_safe
        && url.username().is_empty()
        && url.password().is_none()
        && hosts.iter().any(|allowed| match (allowed.strip_prefix("*."), &with_port) {
            (Some(end), None) => {
                host.strip_suffix(end).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
            }
            (None, None) => host == allowed,
            (_, Some(with_port)) => with_port == allowed,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_allowed_hosts_only() {
        let hosts = ["*.googleapis.com".to_owned(), "files.example".to_owned(), "127.0.0.1:9".to_owned()];
        let allowed = |url: &str, without_tls| is_allowed(&hosts, &Url::parse(url).unwrap(), without_tls);
        for url in ["https://storage.googleapis.com/a", "https://files.example/", "https://127.0.0.1:9/"] {
            assert!(allowed(url, false), "{url}");
        }
        assert!(allowed("http://127.0.0.1:9/", true));
        for url in [
            "http://storage.googleapis.com/a",
            "https://googleapis.com.evil.example/",
            "https://evilgoogleapis.com/",
            "https://.googleapis.com/",
            "https://u:p@storage.googleapis.com/",
            "https://storage.googleapis.com:8443/",
            "https://127.0.0.1:10/",
            "https://127.0.0.1/",
        ] {
            let url = Url::parse(url);
            assert!(url.is_err() || !is_allowed(&hosts, &url.unwrap(), false));
        }
    }
}

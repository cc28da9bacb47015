//! Follows the upstream's redirects of downloads, among the hosts that the operator allows. The key goes to the configured
//! upstream only; where a redirect may not be followed, its answer passes on without the address.

use super::{client::Upstream, gemini::credential};
use crate::key_ring::Key;
use gemini::path::Surface;
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

/// How many redirects in a row are followed.
const MOST: usize = 5;

/// What is sent again where a redirect leads.
pub(crate) struct Redirectable<'a> {
    pub(crate) method: &'a Method,
    pub(crate) surface: Surface,
    pub(crate) headers: &'a HeaderMap,
}

/// Returns the answer at the end of the redirects.
pub(crate) async fn follow(
    upstream: &Upstream,
    asked: &Redirectable<'_>,
    key: &Key,
    mut response: reqwest::Response,
) -> Result<reqwest::Response, reqwest::Error> {
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return Ok(if is_redirect(response.status()) { without_body(response) } else { response });
    }
    for _ in 0..MOST {
        if !is_redirect(response.status()) {
            return Ok(response);
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(url) = location.and_then(|location| response.url().join(location).ok()) else { break };
        let is_home = url.origin().ascii_serialization() == upstream.base(asked.surface).origin();
        if !is_home && !upstream.may_lead_to(&url) {
            break;
        }
        let mut request = reqwest::Request::new(asked.method.clone(), url);
        *request.headers_mut() = asked.headers.clone();
        if is_home {
            let (name, value) = credential(asked.surface, key);
            request.headers_mut().insert(name, value);
        }
        response = upstream.client().execute(request).await?;
    }
    Ok(if is_redirect(response.status()) { without_body(response) } else { response })
}

/// The same answer with nothing in it: the page that comes with a redirect names the address, too.
fn without_body(response: reqwest::Response) -> reqwest::Response {
    let (mut head, _) = http::Response::<reqwest::Body>::from(response).into_parts();
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    http::Response::from_parts(head, reqwest::Body::default()).into()
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

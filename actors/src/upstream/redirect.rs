//! Follows the upstream's redirects of downloads, among the hosts that the operator allows. The key goes to the configured
//! upstream only; where a redirect may not be followed, its answer passes on without the address.

use super::{
    client::{RequestBody, SendError, Upstream},
    lanes::AnswerStream,
};
use crate::key_ring::Key;
use bytes::Bytes;
use gemini::{
    media_type::is_download,
    path::{Surface, Target},
};
use http::{HeaderMap, Method, Response, StatusCode, Uri, header, response::Parts};
use url::Url;

/// How many redirects in a row are followed.
const MOST: usize = 5;

/// What is sent again where a redirect leads.
pub(crate) struct Redirectable<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Target,
    pub(crate) headers: &'a HeaderMap,
    /// Where the request went first.
    pub(crate) uri: Uri,
}

/// An answer whose body is still to be read.
pub(crate) struct Headed {
    pub(crate) head: Parts,
    /// `None` of a redirect: its page names the address, too.
    pub(crate) body: Option<AnswerStream>,
    /// Whether it can be Google's: a redirect that leads away is not, unless to a file. Nor is one that leads nowhere, unless
    /// it says how far an upload has come.
    pub(crate) may_be_googles: bool,
    /// Whether it comes from where a redirect has led, to which no key went: what it says is no key's fault.
    pub(crate) is_elsewhere: bool,
}

impl Headed {
    /// Of an answer that is no redirect.
    pub(crate) fn of(response: Response<AnswerStream>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body: Some(body), may_be_googles: true, is_elsewhere: false }
    }
}

/// Returns the answer at the end of the redirects.
pub(crate) async fn follow(
    upstream: &Upstream,
    asked: Redirectable<'_>,
    key: &Key,
    response: Response<AnswerStream>,
) -> Result<Headed, SendError> {
    let (mut head, mut body) = response.into_parts();
    let mut is_elsewhere = false;
    let mut from = Url::parse(&asked.uri.to_string()).map_err(|_| SendError::unsendable())?;
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
        let uri = url.as_str().parse().map_err(|_| SendError::unsendable())?;
        let sent =
            upstream.client().send(asked.method.clone(), uri, headers, RequestBody::Whole(Bytes::new()));
        (head, body) = sent.await?.into_parts();
        from = url;
        is_elsewhere = !is_home;
    }
    if !is_redirect(head.status) {
        return Ok(Headed { head, body: Some(body), may_be_googles: true, is_elsewhere });
    }
    let leads_home =
        location(&head.headers, &from).is_some_and(|url| is_home(upstream, asked.target.surface, &url));
    let may_be_googles = leads_home || is_download(asked.target) || says_how_far(&head, asked.target.surface);
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
    Ok(Headed { head, body: None, may_be_googles, is_elsewhere })
}

/// Whether it is no redirect but the answer to a step of an upload that is not the last: Google's uploads have said so by a
/// 308 since before that became a redirect, and tell in `Range` what has arrived.
fn says_how_far(head: &Parts, surface: Surface) -> bool {
    head.status == StatusCode::PERMANENT_REDIRECT
        && surface == Surface::Upload
        && !head.headers.contains_key(header::LOCATION)
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

//! Asks Google whether a key is well, with the cheapest request there is: one that spends no quota.

use super::client::{Upstream, UpstreamError, UpstreamSettings};
use crate::key_ring::Key;
use gemini::{
    classify::{self, classify},
    fault::Kind,
};
use http::{HeaderName, Method, header};
use std::time::Duration;

/// `GET /v1beta/models?pageSize=1` on each key.
const PATH: &str = "/v1beta/models";
/// A check that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most of an error answer that is read.
const MAX_BODY: usize = 64 * 1024;

/// How a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHealth {
    /// Google accepts it.
    Well,
    /// Google does not.
    Unwell {
        /// The answer's status.
        status: u16,
        /// What it says.
        fault: Kind,
    },
    /// Google could not be asked.
    Unreachable,
}

/// Asks Google about keys.
pub struct Prober {
    upstream: Upstream,
}

impl Prober {
    /// With an upstream client of its own.
    pub fn new(upstream: UpstreamSettings) -> Result<Self, UpstreamError> {
        Ok(Self { upstream: Upstream::new(upstream)? })
    }

    /// Asks about one key.
    pub async fn ask(&self, key: &Key) -> KeyHealth {
        tokio::time::timeout(PATIENCE, probe(&self.upstream, key)).await.unwrap_or(KeyHealth::Unreachable)
    }
}

async fn probe(upstream: &Upstream, key: &Key) -> KeyHealth {
    let url = upstream.native_url(PATH, Some("pageSize=1"));
    let mut request = reqwest::Request::new(Method::GET, url);
    request.headers_mut().insert(HeaderName::from_static("x-goog-api-key"), key.goog_header());
    let Ok(mut response) = upstream.client().execute(request).await else { return KeyHealth::Unreachable };
    let status = response.status().as_u16();
    if status < 400 {
        return KeyHealth::Well;
    }
    let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            break;
        }
    }
    let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
    let answer = classify::Answer { status, retry_after, body: &body, tools: false };
    KeyHealth::Unwell { status, fault: classify(&answer, chrono::Utc::now().timestamp()).kind }
}

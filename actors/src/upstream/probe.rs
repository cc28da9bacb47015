//! Asks Google whether a key is well, with the cheapest request there is: one that spends no quota.

use super::{
    Asked, Body, Coding, Joined, RequestBody, Upstream, UpstreamError, UpstreamSettings, decoded, read_error,
};
use crate::key_ring::Key;
use bytes::Bytes;
use gemini::{dialect::ErrorForm, fault::Kind, path::Surface};
use http::{HeaderMap, Method};
use std::time::Duration;

/// `GET /v1beta/models?pageSize=1` on each key.
const PATH: &str = "/v1beta/models";
/// A check that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// A list of one model that takes more is none.
const MAX_BODY: usize = 1024 * 1024;

/// How a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Something on the way answered in Google's place: nothing is known of the key.
    NotGoogle {
        /// The answer's status.
        status: u16,
    },
    /// Google could not be asked.
    Unreachable {
        /// What stood in the way, for the operator.
        why: String,
    },
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
        let health = tokio::time::timeout(PATIENCE, probe(&self.upstream, key)).await;
        health.unwrap_or_else(|_| KeyHealth::Unreachable {
            why: format!("no answer within {} s", PATIENCE.as_secs()),
        })
    }
}

async fn probe(upstream: &Upstream, key: &Key) -> KeyHealth {
    let url = upstream.native_url(PATH, Some("pageSize=1"));
    let mut headers = HeaderMap::new();
    let (name, value) = key.provider().credential(Surface::Native, key);
    headers.insert(name, value);
    let sent = upstream.client().send(Method::GET, &url, headers, RequestBody::Whole(Bytes::new()));
    let response = match sent.await {
        Ok(response) => response,
        Err(error) => return KeyHealth::Unreachable { why: error.why() },
    };
    let (head, body) = response.into_parts();
    let body = Body::new(Some(body), PATIENCE);
    let status = head.status.as_u16();
    let health = if (400..600).contains(&status) {
        let asked = Asked { key, tools: false, has_body: true, form: ErrorForm::Status };
        let error = read_error(&head, body, &asked).await;
        match error.told {
            Some(_) => KeyHealth::Unwell { status, fault: error.fault.kind },
            None => KeyHealth::NotGoogle { status },
        }
    } else if status == 200 && lists_models(&head.headers, body).await {
        KeyHealth::Well
    } else {
        KeyHealth::NotGoogle { status }
    };
    if matches!(health, KeyHealth::NotGoogle { .. }) {
        upstream.met_another(head.status, &head.headers, Surface::Native);
    } else {
        upstream.works();
    }
    health
}

/// Whether a body is Google's list of models. Who sends a page in its place knows nothing of keys.
async fn lists_models(headers: &HeaderMap, mut body: Body) -> bool {
    let mut read = Joined::default();
    while read.len() <= MAX_BODY {
        match body.next().await {
            Ok(Some(chunk)) => read.push(chunk),
            Ok(None) => break,
            Err(_) => return false,
        }
    }
    let clear = decoded(Coding::of(headers), &read.into_bytes(), MAX_BODY);
    clear.is_some_and(|clear| serde_json::from_slice::<Models>(&clear).is_ok())
}

/// Google's list, of which no more is asked than that it is one.
#[derive(serde::Deserialize)]
struct Models {
    #[serde(rename = "models")]
    _models: Vec<serde::de::IgnoredAny>,
}

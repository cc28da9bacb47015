//! Asks Google whether keys are well, with the cheapest request there is: one that spends no quota. However many keys are
//! asked about and by whom, Google gets few such requests at once and few in a second.

use super::{
    Body, Coding, Joined, RequestBody, RequestContext, Upstream, UpstreamError, UpstreamSettings, decoded,
    read_error,
};
use crate::key_ring::Key;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gemini::{
    dialect::ErrorForm,
    fault::{Kind, Scope, Wait},
    path::Surface,
};
use http::{HeaderMap, Method, response::Parts};
use std::{cell::Cell, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

/// `GET /v1beta/models?pageSize=1` on each key.
const PATH: &str = "/v1beta/models";
/// A check that takes longer says nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// A check that a request waits for has less.
const SOON: Duration = Duration::from_secs(5);
/// A list of one model that takes more is none.
const MAX_BODY: usize = 1024 * 1024;

/// How many keys are asked about at once.
const AT_ONCE: usize = 4;
/// How long after one question the next may go out: five a second, and not like clockwork.
const APART_MS: std::ops::Range<u64> = 150..250;
/// After so many questions in a row without an answer of Google's, the rest are not asked.
const HOPELESS_AFTER: usize = AT_ONCE;

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
        /// The number of the key's project, if the answer names it.
        project: Option<Box<str>>,
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

/// What a check says of a key, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyVerdict {
    /// Google accepts it.
    Good,
    /// Google does not know it, or no longer.
    Invalid,
    /// Google has suspended it.
    Suspended,
    /// It may not be used for this API, or not from here.
    Restricted,
    /// Google serves no one at this place.
    Region,
    /// Its project has the API or its billing turned off.
    Disabled,
    /// It is accepted, and its project has used up what it may.
    Exhausted,
    /// Nothing is known of it: Google was not reached, or said nothing of the key.
    Unknown,
}

impl KeyVerdict {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Invalid => "invalid",
            Self::Suspended => "suspended",
            Self::Restricted => "restricted",
            Self::Region => "region",
            Self::Disabled => "disabled",
            Self::Exhausted => "exhausted",
            Self::Unknown => "unknown",
        }
    }
}

impl KeyHealth {
    /// Says it in one word.
    pub fn verdict(&self) -> KeyVerdict {
        match self {
            Self::Well => KeyVerdict::Good,
            Self::NotGoogle { .. } | Self::Unreachable { .. } => KeyVerdict::Unknown,
            Self::Unwell { fault, .. } => match fault {
                Kind::KeyInvalid | Kind::KeyUnauthenticated => KeyVerdict::Invalid,
                Kind::KeySuspended => KeyVerdict::Suspended,
                Kind::KeyRestricted | Kind::MethodBlocked | Kind::Forbidden => KeyVerdict::Restricted,
                Kind::LocationUnsupported => KeyVerdict::Region,
                Kind::BillingDisabled | Kind::ServiceDisabled => KeyVerdict::Disabled,
                kind if kind.is_quota() => KeyVerdict::Exhausted,
                _ => KeyVerdict::Unknown,
            },
        }
    }

    /// Tells whether Google has said something.
    fn is_of_google(&self) -> bool {
        matches!(self, Self::Well | Self::Unwell { .. })
    }
}

/// Asks Google about keys.
pub struct Prober {
    upstream: Upstream,
    slots: Semaphore,
    /// When the next question may go out.
    next: Cell<Option<Instant>>,
}

impl Prober {
    /// With an upstream client of its own.
    pub fn new(upstream: UpstreamSettings) -> Result<Self, UpstreamError> {
        Ok(Self { upstream: Upstream::new(upstream)?, slots: Semaphore::new(AT_ONCE), next: Cell::new(None) })
    }

    /// Asks about one key, when it is its turn.
    pub async fn ask(&self, key: &Key) -> KeyHealth {
        let _slot = self.slots.acquire().await;
        sleep_until(self.turn()).await;
        timeout(PATIENCE, probe(&self.upstream, key)).await.unwrap_or_else(|_| KeyHealth::Unreachable {
            why: format!("no answer within {} s", PATIENCE.as_secs()),
        })
    }

    /// Asks about keys, and tells of each in their order, as soon as it is known. Where Google cannot be reached, what is
    /// known of the first keys holds for the rest: what is on the way answers for every key alike.
    pub async fn ask_each(&self, keys: &[Arc<Key>], mut told: impl FnMut(&Arc<Key>, KeyHealth)) {
        let (in_vain, last) = (Cell::new(0), Cell::new(None));
        let ask = async |key: &Arc<Key>| {
            let known = if in_vain.get() >= HOPELESS_AFTER { last.take() } else { None };
            let health = match known {
                Some(health) => health,
                None => self.ask(key).await,
            };
            in_vain.set(if health.is_of_google() { 0 } else { in_vain.get() + 1 });
            last.set(Some(health.clone()));
            health
        };
        let mut answers = stream::iter(keys).map(ask).buffered(AT_ONCE).zip(stream::iter(keys));
        while let Some((health, key)) = answers.next().await {
            told(key, health);
        }
    }

    /// Asks whether Google knows a model; `None` where it does not say.
    pub async fn knows_model(&self, key: &Key, model: &str) -> Option<bool> {
        let _slot = self.slots.acquire().await;
        sleep_until(self.turn()).await;
        let asked =
            timeout(PATIENCE, ask(&self.upstream, key, &format!("{PATH}/{model}"), None)).await.ok()?;
        match asked.ok()?.0.status.as_u16() {
            200 => Some(true),
            404 => Some(false),
            _ => None,
        }
    }

    /// Returns when the next question may go out, and keeps those after it apart from it.
    fn turn(&self) -> Instant {
        let now = Instant::now();
        let turn = self.next.get().map_or(now, |next| next.max(now));
        self.next.set(Some(turn + Duration::from_millis(fastrand::u64(APART_MS))));
        turn
    }
}

/// Asks for what is at `path`. The error says why Google could not be asked.
async fn ask(
    upstream: &Upstream,
    key: &Key,
    path: &str,
    query: Option<&str>,
) -> Result<(Parts, Body), String> {
    let uri = upstream.native_uri(path, query).map_err(|error| error.why())?;
    let mut headers = HeaderMap::new();
    let (name, value) = key.provider().credential(Surface::Native, key);
    headers.insert(name, value);
    let sent = upstream.client().send(Method::GET, uri, headers, RequestBody::Whole(Bytes::new()));
    let (head, body) = sent.await.map_err(|error| error.why())?.into_parts();
    Ok((head, Body::new(Some(body), PATIENCE)))
}

/// Asks at once whether Google refuses a key as such, in doubt of an answer that may speak of the request. `false` where that
/// cannot be had soon: the next such answer asks again.
pub(crate) async fn refuses(upstream: &Upstream, key: &Key) -> bool {
    let Some(_turn) = upstream.turn_to_check() else { return false };
    let health = timeout(SOON, probe(upstream, key)).await;
    let retires = |kind: Kind| (kind.scope(), kind.row().wait) == (Scope::Key, Wait::Retire);
    let refused = matches!(health, Ok(KeyHealth::Unwell { fault, .. }) if retires(fault));
    let id = key.id();
    log::debug!(target: "pool", "key {id} was not accepted, and is asked about: {}", if refused { "nor here" } else { "it is well, or that is not known" });
    refused
}

async fn probe(upstream: &Upstream, key: &Key) -> KeyHealth {
    let (head, body) = match ask(upstream, key, PATH, Some("pageSize=1")).await {
        Ok(asked) => asked,
        Err(why) => return KeyHealth::Unreachable { why },
    };
    let status = head.status.as_u16();
    let health = if (400..600).contains(&status) {
        let asked = RequestContext { key, tools: false, has_body: true, form: ErrorForm::Status };
        let error = read_error(&head, body, &asked).await;
        match error.told {
            Some(_) => KeyHealth::Unwell { status, fault: error.fault.kind, project: error.fault.project },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing,
        upstream::scripted::{self, settings},
    };
    use std::net::TcpListener;

    #[tokio::test(start_paused = true)]
    async fn questions_go_out_five_a_second_and_not_like_clockwork() {
        let _ = scripted::key();
        let prober = Prober::new(settings("http://127.0.0.1:9")).unwrap();
        let begun = Instant::now();
        let turns: Vec<_> = (0..50).map(|_| prober.turn().duration_since(begun).as_millis()).collect();
        let pauses: Vec<_> = turns.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(turns[0], 0);
        assert!(pauses.iter().all(|pause| (150..250).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(prober.turn(), Instant::now(), "idle time is not saved up, nor waited for");
    }

    #[tokio::test]
    async fn where_google_cannot_be_reached_the_rest_are_not_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let prober = Prober::new(settings(&format!("http://{address}"))).unwrap();
        let names: Vec<&'static str> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].repeat(100);
        let ring = testing::ring(&names.iter().map(|name| (*name, None)).collect::<Vec<_>>());
        let mut told = Vec::new();
        let begun = Instant::now();
        prober
            .ask_each(ring.keys(), |key, health| {
                assert!(matches!(health, KeyHealth::Unreachable { .. }), "{health:?}");
                assert_eq!(health.verdict(), KeyVerdict::Unknown);
                told.push(key.id().clone());
            })
            .await;
        assert_eq!(
            told,
            ring.keys().iter().map(|key| key.id().clone()).collect::<Vec<_>>(),
            "in their order"
        );
        // Each question keeps the next one waiting: so many went out at most.
        let asked = prober.turn().duration_since(begun).as_millis() / u128::from(APART_MS.start);
        assert!(asked <= 2 * AT_ONCE as u128 + 2, "{asked}");
    }

    #[test]
    fn every_row_of_the_blame_table_that_speaks_of_a_key_has_its_word() {
        let verdict = |fault| KeyHealth::Unwell { status: 400, fault, project: None }.verdict().as_str();
        for (kind, word) in [
            (Kind::KeyInvalid, "invalid"),
            (Kind::KeyUnauthenticated, "invalid"),
            (Kind::KeySuspended, "suspended"),
            (Kind::KeyRestricted, "restricted"),
            (Kind::MethodBlocked, "restricted"),
            (Kind::Forbidden, "restricted"),
            (Kind::LocationUnsupported, "region"),
            (Kind::BillingDisabled, "disabled"),
            (Kind::ServiceDisabled, "disabled"),
            (Kind::QuotaDay, "exhausted"),
            (Kind::CreditsGone, "exhausted"),
            (Kind::Internal, "unknown"),
            (Kind::Overloaded, "unknown"),
        ] {
            assert_eq!(verdict(kind), word, "{kind:?}");
        }
        assert_eq!(KeyHealth::Well.verdict().as_str(), "good");
    }
}

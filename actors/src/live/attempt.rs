//! One attempt to open a session on one leased key: the upgrade, the setup, and the upstream's first word. Until that
//! word the client has been told nothing, and all that was consumed of it is its setup, which can be said again.

use super::{
    activity::{Activity, Watched},
    close::Close,
    job::LiveJob,
    socket_config,
};
use crate::{
    attempts::{ErrorAnswer, Failed},
    failure::Failure,
    key_ring::Key,
    upstream::{
        AnswerStream, Body, Fate, RequestBody, RequestContext, SendError, Upgraded, Upstream, read_error,
        upgraded,
    },
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gemini::{
    classify::{self, error_message_of_part},
    dialect::ErrorForm,
    fault::Fault,
    live::{close_fault, code_of_status},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{self, InvalidHeaderValue},
};
use std::{future::Future, rc::Rc};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{CloseFrame, Role},
    },
};

pub(super) type UpstreamSocket = WebSocketStream<Watched<Upgraded>>;

/// A session that the upstream has begun.
pub(super) struct Open {
    pub(super) socket: UpstreamSocket,
    pub(super) activity: Rc<Activity>,
    /// What it said first.
    pub(super) first: Message,
}

/// What the upstream has said to refuse a session.
#[derive(Clone, Debug)]
pub(super) struct SetupAnswer {
    /// Its close, or an error that is one to the client; `None` of a close without a code.
    pub(super) close: Option<Close>,
    /// The status that the upgrade was answered with.
    pub(super) status: Option<StatusCode>,
}

impl ErrorAnswer for SetupAnswer {
    fn bytes(&self) -> usize {
        self.close.as_ref().map_or(0, |close| close.reason.len())
    }

    fn words(&self) -> Option<String> {
        self.close.as_ref().map(words_of)
    }
}

/// An attempt that did not succeed.
pub(super) enum LiveFailed {
    /// With a fault.
    Fault(Failed<SetupAnswer>),
    /// With a close that says nothing of key, project or model.
    Closed(SetupAnswer),
}

impl LiveFailed {
    fn without_words(fault: Fault, failure: Failure) -> Self {
        Self::Fault(Failed::without_answer(fault, failure))
    }

    fn lost() -> Self {
        Self::without_words(Fault::head_lost(), Failure::HeadLost)
    }

    /// Something on the way has answered in the upstream's place.
    fn not_google(status: StatusCode) -> Self {
        Self::without_words(Fault::not_google(), Failure::NotGoogle(status.as_u16())).after(status)
    }

    /// The upgrade had been answered with this status.
    fn after(self, answered: StatusCode) -> Self {
        match self {
            Self::Fault(failed) => Self::Fault(Failed { status: Some(answered), ..failed }),
            Self::Closed(answer) => Self::Closed(SetupAnswer { status: Some(answered), ..answer }),
        }
    }
}

/// Opens a session on `key`, or on the job's own token.
pub(super) async fn open(
    upstream: &Upstream,
    job: &LiveJob,
    key: &Key,
    setup: &Message,
) -> Result<Open, LiveFailed> {
    let head_timeout = upstream.settings.head_timeout;
    let upgraded = upgrade(upstream, job, key).await?;
    let (watched, activity) = Watched::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(watched, Role::Client, Some(socket_config())).await;
    let first = timeout(head_timeout, async {
        // A close may lie ready already, for which writing fails: what was said last is what counts.
        let _ = socket.send(setup.clone()).await;
        loop {
            match socket.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                other => return other,
            }
        }
    });
    let failed = match first.await {
        Ok(Some(Ok(Message::Close(frame)))) => closed(frame.as_ref(), key),
        Ok(Some(Ok(first))) => return Ok(Open { socket, activity, first }),
        Ok(Some(Err(_)) | None) => LiveFailed::lost(),
        Err(_) => LiveFailed::without_words(Fault::head_lost(), Failure::HeadTimeout),
    };
    Err(failed.after(StatusCode::SWITCHING_PROTOCOLS))
}

/// The upstream has closed before it began.
fn closed(frame: Option<&CloseFrame>, key: &Key) -> LiveFailed {
    let close = frame.map(|frame| redacted(frame, key));
    let fault = close.as_ref().and_then(|close| close_fault(&close.reason));
    let answer = SetupAnswer { close, status: None };
    match fault {
        Some(fault) => {
            let (answer, failure) = (Some(answer), Failure::HeadLost);
            LiveFailed::Fault(Failed { fault, status: None, answer, failure })
        }
        None => LiveFailed::Closed(answer),
    }
}

/// A close in words, for people.
pub(super) fn words_of(close: &Close) -> String {
    format!("{}: {}", close.code, close.reason)
}

/// A close as the client may read it: Google's reasons can hold the key.
pub(super) fn redacted(frame: &CloseFrame, key: &Key) -> Close {
    let reason = classify::redact(frame.reason.as_bytes(), &[key.secret().expose()]);
    Close { code: frame.code.into(), reason: String::from_utf8_lossy(&reason).into_owned() }
}

fn not_sent(job: &LiveJob, error: &SendError) -> LiveFailed {
    log::debug!(target: "upstream", "{}: {:?}: {error}", job.id, error.fate);
    match error.fate {
        Fate::NotConnected => LiveFailed::without_words(Fault::connect_failed(), Failure::Unreachable),
        Fate::NotDone => LiveFailed::without_words(Fault::not_done(), Failure::HeadLost),
        Fate::Unknown => LiveFailed::lost(),
    }
}

/// The handshake, over the worker's own client for it: a proxy and certificates hold for sessions as for requests.
async fn upgrade(upstream: &Upstream, job: &LiveJob, key: &Key) -> Result<Upgraded, LiveFailed> {
    let client = upstream.live_client().map_err(|error| {
        log::error!(target: "upstream", "{}: {error}", job.id);
        LiveFailed::without_words(Fault::connect_failed(), Failure::Unreachable)
    })?;
    let nonce = generate_key();
    let uri = key.provider().uri(upstream, &job.target).map_err(|error| not_sent(job, &error))?;
    let headers = handshake_headers(job, key, &nonce).map_err(|_| LiveFailed::lost())?;
    let sent = client.send(http::Method::GET, uri, headers, RequestBody::Whole(Bytes::new()));
    let response = within(upstream, sent).await?.map_err(|error| not_sent(job, &error))?;
    let status = response.status();
    if (400..600).contains(&status.as_u16()) {
        return Err(refused(upstream, job, key, response).await);
    }
    if status != StatusCode::SWITCHING_PROTOCOLS {
        upstream.met_another(status, response.headers(), job.target.surface);
        return Err(LiveFailed::not_google(status));
    }
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accept != Some(derive_accept_key(nonce.as_bytes()).as_bytes()) {
        return Err(LiveFailed::lost().after(status));
    }
    within(upstream, upgraded(response)).await?.ok_or_else(LiveFailed::lost)
}

async fn within<T>(upstream: &Upstream, work: impl Future<Output = T>) -> Result<T, LiveFailed> {
    timeout(upstream.settings.head_timeout, work)
        .await
        .map_err(|_| LiveFailed::without_words(Fault::head_lost(), Failure::HeadTimeout))
}

fn handshake_headers(job: &LiveJob, key: &Key, nonce: &str) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = job.headers.clone();
    // A refusal is read here, so it should come in the clear. Messages are passed on as they are, without extensions.
    headers.remove(header::ACCEPT_ENCODING);
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(nonce)?);
    match &job.ephemeral {
        None => {
            let (name, value) = key.provider().credential(job.target.surface, key);
            headers.insert(name, value)
        }
        Some(ephemeral) => {
            let value = format!("Token {}", ephemeral.token.expose());
            let mut value = HeaderValue::from_str(&value)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value)
        }
    };
    Ok(headers)
}

/// The upstream has answered the upgrade with an error.
async fn refused(
    upstream: &Upstream,
    job: &LiveJob,
    key: &Key,
    response: http::Response<AnswerStream>,
) -> LiveFailed {
    let (head, body) = response.into_parts();
    let status = head.status;
    let body = Body::new(Some(body), upstream.settings.idle_timeout);
    let asked = RequestContext { key, tools: false, has_body: true, form: ErrorForm::Status };
    let error = read_error(&head, body, &asked).await;
    let Some(told) = error.told else {
        upstream.met_another(status, &head.headers, job.target.surface);
        return LiveFailed::not_google(status);
    };
    upstream.works();
    let reason = error_message_of_part(&told.body).unwrap_or_else(|| reason_of(status));
    let close = Close { code: code_of_status(status.as_u16()), reason };
    let answer = SetupAnswer { close: Some(close), status: Some(status) };
    LiveFailed::Fault(Failed {
        fault: error.fault,
        status: Some(status),
        answer: Some(answer),
        failure: Failure::HeadLost,
    })
}

/// The reason to give where an error answer states none.
pub(super) fn reason_of(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("The request failed.").to_owned()
}

//! One attempt on one leased key: sends the request, reads the answer's head, and as much of its body as it takes to
//! know whether it is a success. Knows nothing of what happens next.

use super::{
    answer::{FailedAttempt, MAX_CLASSIFIED, OpenAnswer},
    job::Job,
    observe::{BodyContent, Observer},
    redaction::{decoded_whole, look_through},
    upload::{BodyStream, hide_upload_id, upload_id_in},
};
use crate::{
    failure::Failure,
    key_ring::Key,
    upstream::{
        AnswerStream, Body, BodyError, Coding, Fate, Headed, Joined, Patience, Ready, Redirectable,
        RequestBody, RequestContext, SendError, Upstream, WholeAnswer, decoded, follow, headers, read_error,
    },
};
use bytes::Bytes;
use gemini::{
    answer::is_empty_answer,
    classify::{self, LateError},
    fault::Fault,
    media_type::{Data, data_by_beginning, is_download},
    names::AnswerNames,
    operation::Streaming,
    path::{CredentialForm, error_form_of},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, response::Parts};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, error::Elapsed, timeout, timeout_at};

/// An answer whose headers take more is not Google's. The library's own limit is on their number.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How long comments are held for the event that follows them. A proxy in front of the gateway gives up on a client that
/// hears nothing for a minute, so what keeps a stream alive has to come through.
const COMMENTS_HELD: Duration = Duration::from_secs(2);

/// How long a document that says success and begins as an error is held for its end.
const ERROR_HELD: Duration = Duration::from_secs(10);

/// Sends the request on `key`.
pub(super) async fn open(
    upstream: &Upstream,
    job: &Job,
    key: &Arc<Key>,
    streaming: Streaming,
    hold_empty: bool,
) -> Result<OpenAnswer, FailedAttempt> {
    debug_assert!(key.provider().serves(&job.target), "the pool leases keys that can serve a request");
    let Headed { head, body, may_be_googles, is_elsewhere } = send(upstream, job, key).await?;
    let head_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head_bytes > MAX_HEAD_BYTES {
        // Dropping the body unread keeps its connection from being used again.
        return Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadLost));
    }
    let mut body = Body::new(body, upstream.settings.idle_timeout);
    if (400..600).contains(&head.status.as_u16()) && !is_elsewhere {
        return Err(refused(upstream, job, key, head, body).await);
    }
    if !may_be_googles {
        return Err(not_google(upstream, job, &head));
    }
    let mut coding = Coding::of(&head.headers);
    let mut begun = Joined::default();
    let mut is_whole = false;
    let mut data = None;
    if !is_elsewhere && !can_be_googles(job, key, &head) {
        if head.status.is_success() {
            let beginning = Box::pin(read_beginning(&mut body, &mut begun, coding)).await;
            (data, is_whole) = beginning.map_err(|BodyError| body_lost(head.status))?;
        }
        if data.is_none() {
            return Err(not_google(upstream, job, &head));
        }
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_event_stream = content_type.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
    // No JSON begins as a page does.
    let may_be_page =
        content_type.is_none_or(|kind| job.generates() && kind.starts_with(b"application/json"));
    let streamed = is_event_stream
        || data == Some(Data::Events)
        || matches!(streaming, Streaming::Sse | Streaming::JsonArray);
    let names = AnswerNames::new(&job.target.operation);
    let content = if is_download(&job.target) {
        BodyContent::File
    } else if tells_of_earlier(job) {
        BodyContent::Story
    } else if streamed {
        BodyContent::Events
    } else {
        BodyContent::Document
    };
    let mut observer =
        Box::new(Observer::new(coding, content, names, job.target.usage_key(), Arc::clone(key)));
    if begun.len() > 0 {
        observer.see(&begun.bytes());
    }
    let mut rest = (!is_whole).then_some(&mut body);
    let mut has_event = false;
    if streamed {
        // Held until the first event: an error there can still be tried again on another key.
        let mut comments_until = None;
        while let Some(source) = &mut rest
            && !observer.first_event_is_here()
        {
            let next = match comments_until {
                Some(until) if !observer.first_event_has_begun() => timeout_at(until, source.next()).await,
                _ => Ok(source.next().await),
            };
            match next {
                Ok(Ok(Some(chunk))) => {
                    observer.see(&chunk);
                    begun.push(chunk);
                    comments_until.get_or_insert_with(|| Instant::now() + COMMENTS_HELD);
                }
                Ok(Ok(None)) => rest = None,
                Ok(Err(BodyError)) => return Err(body_lost(head.status)),
                Err(_) => break,
            }
        }
        if let Some(error) = observer.first_event_error() {
            let error = LateError { status: error.status, body: error.body.into_owned() };
            return Err(error_event(upstream, job, key, head.headers, &error));
        }
        has_event = observer.first_event_has_begun();
        observer.forget_first_event();
        // As long as nothing was said the head is held further, if what says nothing is to be tried again.
        while hold_empty
            && let Some(source) = &mut rest
            && begun.len() < Joined::ENOUGH
            && decoded(coding, &begun.bytes(), MAX_CLASSIFIED).is_some_and(|body| is_empty_answer(&body))
        {
            match source.next().await {
                Ok(Some(chunk)) => {
                    observer.see(&chunk);
                    begun.push(chunk);
                }
                Ok(None) => rest = None,
                Err(BodyError) => break, // found again, and told, by the relay
            }
        }
    } else if let Some(source) = &mut rest {
        // Most answers that are not streamed have arrived with their head: pass them on in one piece.
        loop {
            match source.next_ready(Patience::OneTurn).await {
                Ready::Chunk(chunk) => {
                    observer.see(&chunk);
                    begun.push(chunk);
                    if begun.len() >= Joined::ENOUGH {
                        break;
                    }
                }
                Ready::End => {
                    rest = None;
                    break;
                }
                // Nothing of it came, so another attempt takes nothing from the client.
                Ready::Broken if begun.len() == 0 => return Err(body_lost(head.status)),
                // A break is found again, and told, by the relay.
                Ready::NotYet | Ready::Broken => break,
            }
        }
        if observer.begins_as_error()
            && let Some(source) = &mut rest
        {
            match Box::pin(hold_error(source, &mut begun, &mut observer)).await {
                Ok(true) => rest = None,
                Ok(false) => {}
                Err(BodyError) => return Err(body_lost(head.status)),
            }
        }
        let status = observer.first_event_error().map(|error| error.status);
        if let Some(status) = status
            && let Some(clear) = decoded(coding, &begun.bytes(), MAX_CLASSIFIED)
            && clear.len() < MAX_CLASSIFIED
        {
            let error = LateError { status, body: clear };
            return Err(error_event(upstream, job, key, head.headers, &error));
        }
        observer.let_document_pass();
    }
    let mut is_over = rest.is_none();
    let mut begun = begun.into_bytes();
    let is_page = may_be_page && begun.trim_ascii_start().starts_with(b"<") && !is_download(&job.target);
    // A model that has nothing to say says so in JSON, or in an event.
    let is_blank = is_over
        && if streamed {
            !has_event && is_made(job, head.status)
        } else {
            begun.is_empty() && job.generates() && head.status.is_success()
        };
    if is_page || is_blank {
        return Err(not_google(upstream, job, &head));
    }
    let mut headers = head.headers;
    if observer.mentions_error() {
        // An error has come together with the first event, or stands in the document.
        match Box::pin(look_through(begun, &mut body, &mut is_over, &mut observer)).await {
            Ok(passes) => begun = passes,
            Err(coded) if !streamed => {
                let whole = Box::pin(decoded_whole(coded, coding, &mut body, &mut is_over, &mut observer));
                let clear = whole.await.ok_or_else(|| body_lost(head.status))?;
                begun = Bytes::from(classify::redact(&clear, &[key.secret().expose()]).into_owned());
                coding = Coding::Identity;
                headers.remove(header::CONTENT_ENCODING);
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(begun.len()));
            }
            Err(_) => {
                return Err(match observer.end().late_error {
                    Some(error) => error_event(upstream, job, key, headers, &error),
                    None => body_lost(head.status),
                });
            }
        }
    }
    upstream.works();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(OpenAnswer {
        status: head.status,
        length,
        coding,
        headers: go_down(upstream, job, key, headers),
        begun,
        rest: (!is_over).then_some(body),
        observer,
    })
}

/// Sends the request, follows where it leads, and returns the head of the answer.
async fn send(upstream: &Upstream, job: &Job, key: &Key) -> Result<Headed, FailedAttempt> {
    let uri = key.provider().uri(upstream, &job.target).map_err(|error| not_sent(job, &error))?;
    let mut headers = job.headers.clone();
    let (name, value) = key.provider().credential(job.target.surface, key);
    headers.insert(name, value);
    if tells_of_earlier(job) && headers.contains_key(header::ACCEPT_ENCODING) {
        // Of an error that is told in there the key must be struck out as it passes.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let body = if let Some(stream) = &job.stream {
        let Some(body) = stream.take() else {
            return Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadLost));
        };
        RequestBody::Streamed(Box::pin(body))
    } else {
        if job.body.is_empty() && matches!(job.method, Method::POST | Method::PUT | Method::PATCH) {
            // RFC 9110 §8.6; without it Google's front end may answer 411. The client library leaves it out.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        RequestBody::Whole(job.body.clone())
    };
    let sent = upstream.client().send(job.method.clone(), uri, headers, body);
    let head_timeout = upstream.settings.head_timeout;
    let answer = match &job.stream {
        None => timeout(head_timeout, sent).await,
        // Boxed, here and below, as few requests come here and all would carry its memory.
        Some(stream) => Box::pin(within(head_timeout, stream, sent)).await,
    };
    let answer = match answer {
        Ok(Ok(answer)) if answer.status().is_redirection() => {
            timeout(head_timeout, Box::pin(redirected(upstream, job, key, answer))).await
        }
        Ok(Ok(answer)) => Ok(Ok(Headed::of(answer))),
        Ok(Err(error)) => Ok(Err(error)),
        Err(elapsed) => Err(elapsed),
    };
    match answer {
        Ok(Ok(headed)) => Ok(headed),
        Ok(Err(error)) => Err(not_sent(job, &error)),
        Err(_) => Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadTimeout)),
    }
}

/// Follows where the answer leads.
async fn redirected(
    upstream: &Upstream,
    job: &Job,
    key: &Key,
    answer: Response<AnswerStream>,
) -> Result<Headed, SendError> {
    let uri = key.provider().uri(upstream, &job.target)?;
    let request = Redirectable { method: &job.method, target: &job.target, headers: &job.headers, uri };
    follow(upstream, request, key, answer).await
}

fn not_sent(job: &Job, error: &SendError) -> FailedAttempt {
    let (fault, failure) = match error.fate {
        Fate::NotConnected => (Fault::connect_failed(), Failure::Unreachable),
        Fate::NotDone => (Fault::not_done(), Failure::HeadLost),
        Fate::Unknown => (Fault::head_lost(), Failure::HeadLost),
    };
    log::debug!(target: "upstream", "{}: {failure:?}: {error}", job.id);
    FailedAttempt::without_answer(fault, failure)
}

fn body_lost(status: StatusCode) -> FailedAttempt {
    FailedAttempt {
        status: Some(status),
        ..FailedAttempt::without_answer(Fault::body_lost(), Failure::BodyLost)
    }
}

/// Whether the head of an answer that is no error can be Google's answer to the request. 101 is not, as nothing but a Live
/// session asks for it, and beyond 599 there is no status. What a model has made comes with a 200, and that nothing has changed
/// is the answer to who has asked whether it has.
fn can_be_googles(job: &Job, key: &Key, head: &Parts) -> bool {
    let asks_for_change = || {
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].iter().any(|name| job.headers.contains_key(name))
    };
    match head.status {
        status if job.generates() && status.is_success() && status != StatusCode::OK => false,
        StatusCode::NO_CONTENT => true,
        StatusCode::NOT_MODIFIED => asks_for_change(),
        status if status.is_success() => {
            job.method == Method::OPTIONS || key.provider().may_have_answered(&job.target, &head.headers)
        }
        status => status.is_redirection(),
    }
}

/// How much is read of a body that does not begin as anything.
const LONGEST_BEGINNING: usize = 4 * 1024;

/// Reads until it is clear what a body is by how it begins. Says whether that was all of it, too.
async fn read_beginning(
    body: &mut Body,
    begun: &mut Joined,
    coding: Coding,
) -> Result<(Option<Data>, bool), BodyError> {
    let mut is_whole = false;
    loop {
        let clear = decoded(coding, &begun.bytes(), LONGEST_BEGINNING).unwrap_or_default();
        if let Some(data) = data_by_beginning(&clear) {
            return Ok((data, is_whole));
        }
        if is_whole || begun.len() >= LONGEST_BEGINNING || coding == Coding::Other {
            return Ok((None, is_whole));
        }
        match body.next().await? {
            Some(chunk) => begun.push(chunk),
            None => is_whole = true,
        }
    }
}

/// Whether the answer tells of what was made before.
fn tells_of_earlier(job: &Job) -> bool {
    job.target.operation.tells_of_earlier(job.method.as_str())
}

/// Whether something was to be made, and the answer should be more than a head.
fn is_made(job: &Job, status: StatusCode) -> bool {
    status == StatusCode::OK && job.method == Method::POST
}

/// Something on the way has answered in Google's place. Nothing of it is the client's business.
fn not_google(upstream: &Upstream, job: &Job, head: &Parts) -> FailedAttempt {
    upstream.met_another(head.status, &head.headers, job.target.surface);
    FailedAttempt {
        status: Some(head.status),
        ..FailedAttempt::without_answer(Fault::not_google(), Failure::NotGoogle(head.status.as_u16()))
    }
}

/// Reads on in a document that says success and begins as an error. Says whether that is all of it.
async fn hold_error(body: &mut Body, begun: &mut Joined, observer: &mut Observer) -> Result<bool, BodyError> {
    let until = Instant::now() + ERROR_HELD;
    while begun.len() < MAX_CLASSIFIED {
        match timeout_at(until, body.next()).await {
            Ok(Ok(Some(chunk))) => {
                observer.see(&chunk);
                begun.push(chunk);
            }
            Ok(Ok(None)) => return Ok(true),
            Ok(Err(error)) => return Err(error),
            Err(_) => break,
        }
    }
    Ok(false)
}

/// An upload's body may take as long as it flows: the time for an answer begins with its end.
async fn within<T>(time: Duration, stream: &BodyStream, sent: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut sent = std::pin::pin!(sent);
    loop {
        let passed = stream.passed();
        match timeout(time, &mut sent).await {
            Err(_) if !stream.has_ended() || stream.passed() > passed => {}
            done => return done,
        }
    }
}

/// The headers that go down. To HEAD the length is all that is said of the body, so it is kept. Of an upload that is under
/// way the client knows a token, and not the id that it went up with.
fn go_down(upstream: &Upstream, job: &Job, key: &Key, headers: HeaderMap) -> HeaderMap {
    let length = headers.get(header::CONTENT_LENGTH).filter(|_| job.method == Method::HEAD).cloned();
    let mut headers = headers::down(
        headers,
        key.secret().expose(),
        upstream.base(job.target.surface).origin(),
        job.origin.as_deref(),
    );
    if job.upload.is_some()
        && let Some(id) = job.target.query.as_deref().and_then(upload_id_in)
    {
        hide_upload_id(&mut headers, id);
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    headers
}

/// The upstream has answered with an error.
async fn refused(upstream: &Upstream, job: &Job, key: &Key, head: Parts, body: Body) -> FailedAttempt {
    let asked = RequestContext {
        key,
        tools: gemini::peek::uses_google_tools(job.clear_body()),
        has_body: job.method != Method::HEAD,
        form: error_form_of(&job.target.path, CredentialForm::GoogHeader),
    };
    let error = read_error(&head, body, &asked).await;
    let Some(told) = error.told else { return not_google(upstream, job, &head) };
    upstream.works();
    let mut headers = go_down(upstream, job, key, head.headers);
    told.fit(&mut headers);
    FailedAttempt {
        fault: error.fault,
        status: Some(head.status),
        answer: Some(WholeAnswer { status: head.status, headers, body: told.body }),
        failure: Failure::BodyLost,
    }
}

/// A stream whose first event is an error, or a document that is one: the answer it would have been, had the upstream known
/// in time.
fn error_event(
    upstream: &Upstream,
    job: &Job,
    key: &Key,
    headers: HeaderMap,
    error: &LateError,
) -> FailedAttempt {
    upstream.works();
    let (status, event) = (error.status, &*error.body);
    let tools = gemini::peek::uses_google_tools(job.clear_body());
    let fault =
        key.provider().fault_of_part(&classify::Answer { status, retry_after: None, body: event, tools });
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.as_u16() >= 400)
        .unwrap_or(StatusCode::BAD_GATEWAY);
    let mut headers = go_down(upstream, job, key, headers);
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    let body = Bytes::from(classify::redact(event, &[key.secret().expose()]).into_owned());
    FailedAttempt {
        fault,
        status: Some(status),
        answer: Some(WholeAnswer { status, headers, body }),
        failure: Failure::BodyLost,
    }
}

/// The fault of an error that came in mid-stream.
pub(super) fn late_fault(key: &Key, late: &LateError) -> Fault {
    let answer = classify::Answer { status: late.status, retry_after: None, body: &late.body, tools: false };
    key.provider().fault_of_part(&answer)
}

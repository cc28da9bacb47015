//! One attempt on one leased key: sends the request, reads the answer's head, and as much of its body as it takes to
//! know whether it is a success. Knows nothing of what happens next.

use super::{
    answer::{FailedAttempt, MAX_CLASSIFIED, OpenAnswer},
    job::Job,
    observe::{LateError, Observer},
    upload::BodyStream,
};
use crate::{
    failure::Failure,
    key_ring::Key,
    upstream::{
        Body, BodyError, Causes, Coding, Joined, Patience, Ready, Redirectable, Upstream, WholeAnswer,
        credential, decoded, follow, headers,
    },
};
use bytes::Bytes;
use gemini::{
    answer::is_empty_answer,
    classify::{self, StreamError, classify},
    fault::Fault,
    names::AnswerNames,
    operation::Streaming,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::time::Duration;
use tokio::time::{error::Elapsed, timeout};

/// An answer whose headers take more is not Google's. The library's own limit is on their number.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// An error answer is read whole, to be classified, up to this many bytes; a longer one is not Google's.
const MAX_ERROR_BODY: usize = 8 * 1024 * 1024;

/// Sends the request on `key`.
pub(super) async fn open(
    upstream: &Upstream,
    job: &Job,
    key: &Key,
    streaming: Streaming,
    hold_empty: bool,
) -> Result<OpenAnswer, FailedAttempt> {
    let url = upstream.url(&job.target);
    let mut request = reqwest::Request::new(job.method.clone(), url);
    *request.headers_mut() = job.headers.clone();
    let (name, value) = credential(job.target.surface, key);
    request.headers_mut().insert(name, value);
    if let Some(stream) = &job.stream {
        let Some(body) = stream.take() else {
            return Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadLost));
        };
        *request.body_mut() = Some(reqwest::Body::wrap(body));
    } else if !job.body.is_empty() {
        *request.body_mut() = Some(job.body.clone().into());
    } else if matches!(job.method, http::Method::POST | http::Method::PUT | http::Method::PATCH) {
        // RFC 9110 §8.6; without it Google's front end may answer 411. The client library leaves it out.
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let sent = upstream.client().execute(request);
    let head_timeout = upstream.settings.head_timeout;
    let mut response = match &job.stream {
        None => timeout(head_timeout, sent).await,
        // Boxed, here and below, as few requests come here and all would carry its memory.
        Some(stream) => Box::pin(within(head_timeout, stream, sent)).await,
    };
    if let Ok(Ok(answer)) = response {
        response = if answer.status().is_redirection() {
            timeout(
                head_timeout,
                Box::pin(async {
                    let request = Redirectable {
                        method: &job.method,
                        surface: job.target.surface,
                        headers: &job.headers,
                    };
                    follow(upstream, &request, key, answer).await
                }),
            )
            .await
        } else {
            Ok(Ok(answer))
        };
    }
    let response = match response {
        Ok(Ok(response)) => http::Response::<reqwest::Body>::from(response),
        Ok(Err(error)) => {
            // The error's text holds the URL; what it was is enough.
            let (fault, failure) = if error.is_connect() {
                (Fault::connect_failed(), Failure::Unreachable)
            } else {
                (Fault::head_lost(), Failure::HeadLost)
            };
            log::debug!(target: "upstream", "{}: {failure:?}: {}", job.id, Causes(&error.without_url()));
            return Err(FailedAttempt::without_answer(fault, failure));
        }
        Err(_) => return Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadTimeout)),
    };
    let (head, body) = response.into_parts();
    let head_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head_bytes > MAX_HEAD_BYTES {
        // Dropping the body unread keeps its connection from being used again.
        return Err(FailedAttempt::without_answer(Fault::head_lost(), Failure::HeadLost));
    }
    let mut body = Body::new(body, upstream.settings.idle_timeout);
    if head.status.as_u16() >= 400 {
        return Err(read_error(upstream, job, key, head, body).await);
    }
    let coding = Coding::of(&head.headers);
    let is_event_stream = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let streamed = is_event_stream || matches!(streaming, Streaming::Sse | Streaming::JsonArray);
    let names = AnswerNames::new(&job.target.operation);
    let mut observer = Box::new(Observer::new(coding, streamed, names));
    let mut begun = Joined::default();
    let mut rest = Some(&mut body);
    if streamed {
        // Held until the first event: an error there can still be tried again on another key.
        while let Some(source) = &mut rest
            && !observer.first_event_is_here()
        {
            match source.next().await {
                Ok(Some(chunk)) => {
                    observer.see(&chunk);
                    begun.push(chunk);
                }
                Ok(None) => rest = None,
                Err(BodyError) => {
                    return Err(FailedAttempt {
                        status: Some(head.status),
                        ..FailedAttempt::without_answer(Fault::body_lost(), Failure::BodyLost)
                    });
                }
            }
        }
        if let Some(error) = observer.first_event_error() {
            return Err(error_event(upstream, job, key, head.headers, &error));
        }
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
                // A break is found again, and told, by the relay.
                Ready::NotYet | Ready::Broken => break,
            }
        }
    }
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_over = rest.is_none();
    Ok(OpenAnswer {
        status: head.status,
        length,
        coding,
        headers: go_down(upstream, job, key, head.headers),
        begun: begun.into_bytes(),
        rest: (!is_over).then_some(body),
        observer,
    })
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

fn go_down(upstream: &Upstream, job: &Job, key: &Key, headers: HeaderMap) -> HeaderMap {
    headers::down(
        headers,
        key.secret().expose(),
        upstream.base(job.target.surface).origin(),
        job.origin.as_deref(),
    )
}

/// Reads an error answer whole and finds its fault.
async fn read_error(
    upstream: &Upstream,
    job: &Job,
    key: &Key,
    head: http::response::Parts,
    mut body: Body,
) -> FailedAttempt {
    let mut read = Joined::default();
    let whole = loop {
        match body.next().await {
            Ok(Some(chunk)) => read.push(chunk),
            Ok(None) => break true,
            Err(BodyError) => break false,
        }
        if read.len() > MAX_ERROR_BODY {
            break false;
        }
    };
    let body = read.into_bytes();
    let coding = Coding::of(&head.headers);
    let clear = decoded(coding, &body, MAX_CLASSIFIED);
    let fault = classify(
        &classify::Answer {
            status: head.status.as_u16(),
            retry_after: head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()),
            body: clear.as_deref().unwrap_or_default(),
            tools: gemini::peek::uses_search_tools(job.clear_body()),
        },
        chrono::Utc::now().timestamp(),
    );
    let mut headers = go_down(upstream, job, key, head.headers);
    let secret = key.secret().expose();
    let body = match clear.as_deref().map(|clear| classify::redact(clear, &[secret])) {
        // The key is in there: the client gets the text without it, in the clear.
        Some(std::borrow::Cow::Owned(redacted)) => {
            headers.remove(header::CONTENT_ENCODING);
            Bytes::from(redacted)
        }
        _ => body,
    };
    FailedAttempt {
        fault,
        status: Some(head.status),
        answer: whole.then_some(WholeAnswer { status: head.status, headers, body }),
        failure: Failure::BodyLost,
    }
}

/// A stream whose first event is an error: the answer it would have been, had the upstream known in time.
fn error_event(
    upstream: &Upstream,
    job: &Job,
    key: &Key,
    headers: HeaderMap,
    error: &StreamError<'_>,
) -> FailedAttempt {
    let (status, event) = (error.status, &*error.body);
    let tools = gemini::peek::uses_search_tools(job.clear_body());
    let fault = classify(
        &classify::Answer { status, retry_after: None, body: event, tools },
        chrono::Utc::now().timestamp(),
    );
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
pub(super) fn late_fault(late: &LateError) -> Fault {
    let answer = classify::Answer { status: late.status, retry_after: None, body: &late.body, tools: false };
    classify(&answer, chrono::Utc::now().timestamp())
}

//! A request as it has come in: its id, when, who calls, and in which form the credential came. Made once a request; what
//! is refused here is recorded from it.

use super::{
    AppState,
    auth::{self, Refused},
    error::{AnswerForm, GatewayError},
    translated::ClientFormat,
};
use crate::{
    connections::Connection,
    inflight::{InFlight, InFlightGuard, RequestKind},
};
use actix_web::{HttpRequest, HttpResponse};
use chrono::DateTime;
use gemini::path::{self, CredentialForm};
use gemini_balance_actors::{
    Caller, ClientStall, Failure,
    trace_parent::TraceParent,
    transaction::{Detail, End, Transaction, Translated},
};
use std::{
    cell::Cell,
    fmt::Write as _,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// A request that has come in.
pub(super) struct Arrival {
    /// Sixteen hexadecimal digits.
    pub(super) id: String,
    pub(super) at: Instant,
    /// Of the credential that was good, else of the first.
    pub(super) form: CredentialForm,
    /// Who calls, or why nobody was let in.
    pub(super) caller: Result<Caller, Refused>,
    in_flight: Option<InFlightGuard>,
}

impl Arrival {
    /// Lets the caller in, or not, and enters the count of requests under way.
    pub(super) fn of(request: &HttpRequest, state: &AppState) -> Self {
        let at = Instant::now();
        let (form, caller) = admit(request, state, at);
        let arrival = Self { id: request_id(), at, form, caller, in_flight: Some(state.in_flight.enter()) };
        if arrival.caller.is_ok() {
            let_in(request);
        }
        arrival
    }

    /// Its place in the count, for the answer's body to keep.
    pub(super) fn take_guard(&mut self, in_flight: &InFlight) -> InFlightGuard {
        self.in_flight.take().unwrap_or_else(|| in_flight.enter())
    }

    /// Counts it among those of this kind.
    pub(super) fn set_kind(&mut self, kind: RequestKind) {
        if let Some(guard) = &mut self.in_flight {
            guard.set_kind(kind);
        }
    }

    /// The answer that says why not.
    pub(super) fn refuse(
        &self,
        request: &HttpRequest,
        state: &AppState,
        error: &GatewayError,
    ) -> HttpResponse {
        self.refuse_as(
            request,
            state,
            error,
            path::error_form_of(request.uri().path(), self.form).into(),
            None,
        )
    }

    /// The same in another vendor's format.
    pub(super) fn refuse_in(
        &self,
        request: &HttpRequest,
        state: &AppState,
        error: &GatewayError,
        format: ClientFormat,
    ) -> HttpResponse {
        let translated = Some(Box::new(format.translated("")));
        self.refuse_as(request, state, error, AnswerForm::Translated(format), translated)
    }

    fn refuse_as(
        &self,
        request: &HttpRequest,
        state: &AppState,
        error: &GatewayError,
        form: AnswerForm,
        translated: Option<Box<Translated>>,
    ) -> HttpResponse {
        if *error == GatewayError::CredentialUnknown {
            note_failure(request, state, self.at);
        }
        // What came to a `ForwardActor` is recorded there, unless it died.
        if !matches!(error, GatewayError::Forward(_)) {
            state.listeners.end(self.refusal(request, state, error, translated));
        }
        let mut response = error.response(form, &self.id);
        if state.in_flight.is_draining() {
            response.head_mut().set_connection_type(actix_http::ConnectionType::Close);
        }
        response
    }

    /// The name of who calls, whether or not they may.
    fn caller_name(&self) -> Option<Arc<str>> {
        match &self.caller {
            Ok(caller) => Some(Arc::clone(&caller.name)),
            Err(Refused::Denied { caller, .. }) => Some(Arc::clone(caller)),
            Err(_) => None,
        }
    }

    fn refusal(
        &self,
        request: &HttpRequest,
        state: &AppState,
        error: &GatewayError,
        translated: Option<Box<Translated>>,
    ) -> Transaction {
        let parent = || TraceParent::parse(request.headers().get("traceparent")?.to_str().ok()?);
        let detail = Detail {
            told: Some(error.message().into()),
            translated,
            trace_parent: state.listeners.trace_parent(parent),
            ..Detail::default()
        };
        Transaction {
            id: self.id.clone(),
            caller: self.caller_name(),
            dialect: path::dialect_of(request.uri().path(), self.form),
            method: method_of(request),
            verb: None,
            streamed: false,
            path: request.uri().path().chars().take(512).collect(),
            model: None,
            attempts: Vec::new(),
            status: error.status().as_u16(),
            end: End::Refused,
            failure: error.denial().map(|denial| Failure::Denied(*denial)),
            first_byte: None,
            total: self.at.elapsed(),
            bytes_in: 0,
            bytes_out: 0,
            usage: None,
            ended: DateTime::UNIX_EPOCH,
            queued: Duration::ZERO,
            detail: Some(Box::new(detail)),
        }
    }
}

/// The method, of one that is longer than any its beginning.
fn method_of(request: &HttpRequest) -> http::Method {
    let method = request.method().as_str().as_bytes();
    http::Method::from_bytes(&method[..method.len().min(32)]).unwrap_or_default()
}

/// Notes of a request's connection that somebody was let in on it.
pub(super) fn let_in(request: &HttpRequest) {
    if let Some(connection) = request.conn_data::<Rc<Connection>>() {
        connection.let_in();
    }
}

/// Returns what is to be heard of a request's connection, should its client take nothing.
pub(super) fn stall(request: &HttpRequest) -> Option<ClientStall> {
    request.conn_data::<Rc<Connection>>().map(|connection| connection.stall().clone())
}

/// Compares what the request shows, unless its address has guessed too often of late.
fn admit(request: &HttpRequest, state: &AppState, now: Instant) -> (CredentialForm, Result<Caller, Refused>) {
    let (headers, query) = (request.headers(), request.uri().query());
    if !state.guesses.is_quiet(now)
        && let Some(address) = state.origins.client_of(request)
        && let Some(wait) = state.guesses.wait(address, now)
        && let Some(form) = auth::shown_form(headers, query)
    {
        return (form, Err(Refused::GuessedTooOften { wait }));
    }
    state.gate.admit(headers, query)
}

fn note_failure(request: &HttpRequest, state: &AppState, now: Instant) {
    if let Some(address) = state.origins.client_of(request) {
        let shown = auth::count_shown(request.headers(), request.uri().query());
        state.guesses.failed(address, shown, now);
    }
}

thread_local! {
    /// The next request id of this worker: a random start, then counting, so that ids cost no randomness each.
    static NEXT_ID: Cell<u64> = Cell::new(fastrand::u64(..));
}

/// Sixteen hexadecimal digits, unlike those of any other request.
fn request_id() -> String {
    // Multiplying by an odd constant is a bijection: neighbours look nothing alike and never collide.
    let number = NEXT_ID.replace(NEXT_ID.get().wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = String::with_capacity(16);
    let _ = write!(id, "{number:016x}");
    id
}

//! The way of one translated request: its body is taken in and translated, Google is asked, and the answer goes back
//! through the format's machine. Where Google refuses signatures that another model or project has made, or a level of thinking
//! that the model does not know, or the model fails to form an answer, it is asked once more for each of these, as long as the
//! client was sent nothing.

use super::{
    client_request::ClientRequest,
    format::{ClientFormat, Prepared, ToldError},
    google_refusal::GoogleRefusal,
    limits, now_s,
    repeats::{RepeatReason, RepeatsDone},
    stream::{TranslatedBody, TranslatedStream},
};
use crate::{
    http::{
        AppState, admission,
        arrival::{Arrival, stall},
        body::Reserved,
        clear::{clear, is_clear},
        error::GatewayError,
        forward::{announced, read_body},
        respond::RelayedBody,
    },
    inflight::RequestKind,
};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web,
};
use bytes::{Bytes, BytesMut};
use callers::{Denial, Door, ModelShown};
use formats::{
    AnswerFault, AnswerSeed, GeminiCall, StickyHint, TranslationError,
    models::{ModelMap, ModelTraits},
};
use gemini::path::{self, CredentialForm, Surface};
use gemini_balance_actors::{
    Caller, CallerAccount, Failure, Job,
    forward::{Answer, AnswerBody, FALLBACK_HEADER, Piece},
};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;

/// No answer that is not streamed is longer.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// No count of tokens is longer.
const MAX_COUNT_BYTES: usize = 1024 * 1024;

/// A request on its way.
pub(super) struct Exchange<'a> {
    pub(super) request: &'a HttpRequest,
    pub(super) state: &'a AppState,
    pub(super) format: ClientFormat,
    pub(super) caller: Caller,
}

/// A request's body, and the memory that it takes.
pub(super) struct TakenBody {
    pub(super) bytes: Bytes,
    _reserved: (Reserved, Option<Reserved>),
}

/// What becomes of a request in the end.
enum Reply {
    /// An answer that is whole, in the client's format.
    Whole(Bytes),
    /// An answer whose translation has begun.
    Stream(Box<TranslatedStream>),
    /// An error, in the client's words.
    Refused(ToldError),
}

/// What came of asking Google.
struct Asked {
    reply: Reply,
    /// The model that has answered in place of the one asked for.
    stood_in: Option<HeaderValue>,
}

impl From<ToldError> for Asked {
    fn from(refused: ToldError) -> Self {
        Self { reply: Reply::Refused(refused), stood_in: None }
    }
}

impl Exchange<'_> {
    /// Returns which model stands for which name, for this caller.
    pub(super) fn models_map(&self) -> &ModelMap {
        self.state.current.model_maps.of(&self.caller.name)
    }

    /// Opens the account at the door: the model is in the body, and looked at when that is read.
    pub(super) async fn open_account(&self, spends: bool) -> Result<CallerAccount, GatewayError> {
        let surface = match self.format {
            ClientFormat::Messages => Surface::Native,
            ClientFormat::Responses => Surface::OpenAi,
        };
        let door = Door { surface, model: ModelShown::None, spends };
        admission::open(self.state, &self.caller, door, spends).await
    }

    /// Takes the body in, in the clear.
    pub(super) async fn take_body(
        &self,
        payload: &mut Option<web::Payload>,
    ) -> Result<TakenBody, GatewayError> {
        let payload = payload.as_mut().ok_or(GatewayError::Crashed)?;
        let (body, reserved) = read_body(payload, announced(self.request), self.state).await?;
        let (headers, settings) = (self.request.headers(), &self.state.settings);
        let clear = if is_clear(headers, &body) {
            None
        } else {
            clear(headers, &body, settings.max_body_bytes, &self.state.budget).await
        };
        let (bytes, clear) = clear.map_or((body, None), |clear| (clear.bytes, clear.reserved));
        Ok(TakenBody { bytes, _reserved: (reserved, clear) })
    }

    /// Answers: whole, or as a stream.
    pub(super) async fn answer(
        &self,
        payload: &mut Option<web::Payload>,
        arrival: &mut Arrival,
    ) -> Result<HttpResponse, GatewayError> {
        let account = self.open_account(true).await?;
        let body = self.take_body(payload).await?;
        self.log_body(arrival, &body);
        let request = self.client_request(&body.bytes).await?;
        let prepared =
            self.translated(arrival, |models, is_listed| request.translate(models, is_listed)).await?;
        let call = prepared.call();
        if !self.caller.may_use(&call.model) {
            return Err(GatewayError::Denied(Denial::Model));
        }
        if call.streamed {
            arrival.set_kind(RequestKind::Stream);
        }
        let Asked { reply, stood_in } = self.ask(&request, &prepared, account, arrival).await?;
        drop((request, body));
        let copy = || self.state.bodies.as_ref().map(|bodies| bodies.answer(&arrival.id, 200, None));
        let response = match reply {
            Reply::Refused(told) => self.told(&told, arrival),
            Reply::Whole(answer) => {
                let copy = copy();
                if let Some(keeper) = self.keeper(&prepared) {
                    keeper.keep(answer.clone()).await;
                }
                let mut response = self.response(StatusCode::OK, arrival);
                let guard = arrival.take_guard(&self.state.in_flight);
                response.body(RelayedBody::whole(answer, guard, copy))
            }
            Reply::Stream(stream) => {
                let copy = copy();
                let mut response = self.response(StatusCode::OK, arrival);
                response.insert_header((header::CONTENT_TYPE, "text/event-stream; charset=utf-8"));
                response.insert_header((header::CACHE_CONTROL, "no-cache"));
                let guard = arrival.take_guard(&self.state.in_flight);
                response.body(TranslatedBody::new(*stream, self.format.ping(), copy, guard))
            }
        };
        Ok(with_stood_in(response, stood_in))
    }

    /// Says how many tokens a request has.
    pub(super) async fn count(
        &self,
        payload: &mut Option<web::Payload>,
        arrival: &Arrival,
    ) -> Result<HttpResponse, GatewayError> {
        let account = self.open_account(false).await?;
        let body = self.take_body(payload).await?;
        self.log_body(arrival, &body);
        let request = self.client_request(&body.bytes).await?;
        let call =
            self.translated(arrival, |models, is_listed| request.translate_count(models, is_listed)).await?;
        if !self.caller.may_use(&call.model) {
            return Err(GatewayError::Denied(Denial::Model));
        }
        let job = self.job(
            "POST",
            &format!("/v1beta/models/{}:countTokens", call.model),
            None,
            call.body.clone(),
            arrival,
        )?;
        let translated = Some(Box::new(self.format.translated(&call.memory.asked_model)));
        let job = Job { translated, bodies: Some(request.count_bodies()), ..job };
        let answer = self.start(job, account).await?;
        if answer.status.as_u16() >= 400 {
            return Ok(self.refused(answer, arrival).await);
        }
        let stood_in = stood_in(&answer);
        let google = collect(answer.body, MAX_COUNT_BYTES).await.unwrap_or_default();
        let response = match self.format.count_answer(&google) {
            Ok(body) => self.response(StatusCode::OK, arrival).body(body),
            Err(fault) => self.told(&self.format.fault(&fault, &arrival.id), arrival),
        };
        Ok(with_stood_in(response, stood_in))
    }

    /// Translates a request, and once more with Google's list of models where nobody knows the one that it names.
    async fn translated<T>(
        &self,
        arrival: &Arrival,
        translate: impl Fn(&ModelMap, &dyn Fn(&str) -> bool) -> Result<T, TranslationError>,
    ) -> Result<T, GatewayError> {
        let translate = || translate(self.models_map(), &|name| self.state.listed.has(name));
        let translated = match translate() {
            Err(TranslationError::UnknownModel(_)) => {
                self.learn_list(arrival).await;
                translate()
            }
            translated => translated,
        };
        translated.map_err(GatewayError::Translation)
    }

    /// Asks Google, and once more for each reason for which that may help, in whichever order they come.
    async fn ask(
        &self,
        request: &Arc<ClientRequest>,
        prepared: &Prepared,
        account: CallerAccount,
        arrival: &Arrival,
    ) -> Result<Asked, GatewayError> {
        let call = prepared.call();
        let (mut body, mut account) = (call.body.clone(), account);
        // Signatures, caches and files are a project's own.
        let mut prefer = None;
        let mut done = RepeatsDone::default();
        // What the client is told if it cannot be asked once more.
        let mut earlier: Option<ToldError> = None;
        loop {
            let job = self.generate(request, call, body.clone(), done, arrival)?;
            let started = self.start(Job { prefer: prefer.take(), ..job }, account).await;
            let answer = match (started, earlier.take()) {
                // What stands against more of the caller's spending is no answer to this request.
                (Err(GatewayError::Forward(Failure::Denied(_))), Some(refused)) => {
                    return Ok(refused.into());
                }
                (started, _) => started?,
            };
            let stood_in = stood_in(&answer);
            prefer.clone_from(&answer.served_by);
            let (refused, reason) = if answer.status.as_u16() >= 400 {
                let refusal = GoogleRefusal::read(answer).await;
                let reason = refusal.reason().and_then(|reason| {
                    body = reason.mended(&body, ModelTraits::of(&call.model))?;
                    Some(reason)
                });
                (refusal.told(self.format, &arrival.id), reason)
            } else {
                match self.translate(prepared, answer, arrival).await {
                    Ok(reply) => return Ok(Asked { reply, stood_in }),
                    Err(fault) => {
                        let reason = fault.may_be_retried().then_some(RepeatReason::Answer);
                        (self.format.fault(&fault, &arrival.id), reason)
                    }
                }
            };
            let Some(reason) = reason.filter(|reason| !done.has(*reason)) else {
                return Ok(Asked { reply: Reply::Refused(refused), stood_in });
            };
            let Ok(again) = admission::open_again(self.state, &self.caller).await else {
                return Ok(Asked { reply: Reply::Refused(refused), stood_in });
            };
            (account, earlier) = (again, Some(refused));
            done.add(reason);
            log::info!(target: "formats", "{}: Google is asked once more, because of {}", arrival.id, reason.word());
            self.state.repeats.count(reason);
        }
    }

    /// Begins to translate an answer. A fault is one of which the client was sent nothing.
    async fn translate(
        &self,
        prepared: &Prepared,
        answer: Answer,
        arrival: &Arrival,
    ) -> Result<Reply, AnswerFault> {
        let seed = AnswerSeed::new(&format!("{}{:08x}", arrival.id, fastrand::u32(..)), now_s());
        if prepared.call().streamed {
            let mut stream = TranslatedStream::new(answer.body, prepared.stream(seed), self.keeper(prepared));
            stream.begin().await?;
            return Ok(Reply::Stream(Box::new(stream)));
        }
        let Some(google) = collect(answer.body, MAX_ANSWER_BYTES).await else {
            let why = "the Gemini API broke off before its answer was whole, or the answer is too long";
            return Err(AnswerFault::Broken(why.to_owned()));
        };
        prepared.whole(seed).translate(&google).map(Reply::Whole)
    }

    pub(super) async fn start(&self, job: Job, account: CallerAccount) -> Result<Answer, GatewayError> {
        match self.state.forwarder.start(job, account).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failure)) => Err(GatewayError::Forward(failure)),
            Err(_) => Err(GatewayError::Crashed),
        }
    }

    /// Tells an error of Google's.
    pub(super) async fn refused(&self, answer: Answer, arrival: &Arrival) -> HttpResponse {
        let refusal = GoogleRefusal::read(answer).await;
        self.told(&refusal.told(self.format, &arrival.id), arrival)
    }

    fn generate(
        &self,
        request: &Arc<ClientRequest>,
        call: &GeminiCall,
        body: Bytes,
        done: RepeatsDone,
        arrival: &Arrival,
    ) -> Result<Job, GatewayError> {
        let (verb, query) = if call.streamed {
            ("streamGenerateContent", Some("alt=sse"))
        } else {
            ("generateContent", None)
        };
        let job = self.job("POST", &format!("/v1beta/models/{}:{verb}", call.model), query, body, arrival)?;
        Ok(Job {
            conversation: call.sticky.map(StickyHint::get),
            translated: Some(Box::new(self.format.translated(&call.memory.asked_model))),
            bodies: Some(request.bodies(done)),
            ..job
        })
    }

    /// A request of the gateway's own making, in the name of the caller.
    pub(super) fn job(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        body: Bytes,
        arrival: &Arrival,
    ) -> Result<Job, GatewayError> {
        let target =
            path::parse(method, path, query, CredentialForm::GoogHeader).map_err(GatewayError::Path)?;
        let mut headers = HeaderMap::with_capacity(2);
        if !body.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // Events are read as they come.
        headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Job {
            id: arrival.id.clone(),
            caller: self.caller.clone(),
            method: http::Method::from_bytes(method.as_bytes()).unwrap_or_default(),
            target,
            headers,
            body,
            clear: None,
            stream: None,
            upload: None,
            origin: None,
            stall: stall(self.request),
            conversation: None,
            prefer: None,
            translated: None,
            bodies: None,
            arrived: arrival.at,
        })
    }

    /// Begins an answer.
    pub(super) fn response(&self, status: StatusCode, arrival: &Arrival) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        response.content_type("application/json");
        self.format.name_request(&mut response, &arrival.id);
        for header in limits::headers(self.format, &self.caller, self.state.clock) {
            response.insert_header(header);
        }
        if self.state.in_flight.is_draining() {
            response.force_close();
        }
        response
    }

    /// An error in the client's words.
    pub(super) fn told(&self, told: &ToldError, arrival: &Arrival) -> HttpResponse {
        let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = self.response(status, arrival);
        if let Some(seconds) = told.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        response.body(told.body.clone())
    }

    fn log_body(&self, arrival: &Arrival, body: &TakenBody) {
        if let Some(bodies) = &self.state.bodies {
            bodies.request(&arrival.id, "POST", self.request.path(), &body.bytes);
        }
    }
}

/// The model that has answered in place of the one asked for, if one has.
fn stood_in(answer: &Answer) -> Option<HeaderValue> {
    answer.headers.get(FALLBACK_HEADER).cloned()
}

/// The response, which tells of the model that has stood in as native answers do.
fn with_stood_in(mut response: HttpResponse, stood_in: Option<HeaderValue>) -> HttpResponse {
    let told = stood_in.and_then(|model| header::HeaderValue::from_bytes(model.as_bytes()).ok());
    if let Some(model) = told {
        response.headers_mut().insert(header::HeaderName::from_static(FALLBACK_HEADER), model);
    }
    response
}

/// All of an answer's body; `None` where it broke off or is longer.
pub(super) async fn collect(body: AnswerBody, most: usize) -> Option<Bytes> {
    let mut pieces = match body {
        AnswerBody::Whole(bytes) => return Some(bytes),
        AnswerBody::Absent { .. } => return Some(Bytes::new()),
        AnswerBody::Stream { pieces, .. } => pieces,
    };
    let mut all = BytesMut::new();
    loop {
        let (bytes, is_last) = match pieces.recv().await? {
            Piece::Chunk(bytes) => (bytes, false),
            Piece::Last(bytes) => (bytes, true),
        };
        if all.len() + bytes.len() > most {
            return None;
        }
        all.extend_from_slice(&bytes);
        if is_last {
            return Some(all.freeze());
        }
    }
}

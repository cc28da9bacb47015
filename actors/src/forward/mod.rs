//! The `ForwardActor`: one a request, from the first lease to the last byte. It leases a key, tries, classifies, tries
//! again on another key while the client has seen nothing, passes the answer on and reports. It runs on the worker that
//! took the request, and dies with it.

mod asking;
mod attempt;
mod binding;
mod causes;
mod fallback;
pub mod headers;
mod job;
mod last_words;
mod learning;
mod lists;
mod observe;
pub mod probe;
mod redirect;
mod relay;
mod retry;
mod upload;
mod upstream;

pub(crate) use causes::Causes;
pub use job::{Answer, AnswerBody, Failure, Job, Piece};
pub(crate) use retry::{Step, Tries};
pub use upload::{BodyStream, BrokenOff, is_under_way};
pub(crate) use upstream::Upstream;
pub use upstream::{BaseUrl, ProxyUrl, UpstreamError, UpstreamSettings};

use crate::{
    caller::Sight,
    key_manager::{KeyManager, Lease, LeaseError},
    ledger::{Holding, Ledger, LedgerSilent},
    transaction::{Attempt, End, Journal, Transaction},
};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use attempt::{FailedAttempt, OpenAnswer, WholeAnswer};
use binding::Tie;
use gemini::{
    dialect::StreamForm,
    fault::Scope,
    operation::Streaming,
    path::{Surface, Target},
    tokens::{InlineMedia, estimate_input_tokens},
};
use http::{HeaderName, HeaderValue};
use keypool::{Avoid, Outcome, Reach, Refusal, Retry, Tool, Tools, Wish};
use last_words::LastWords;
use learning::Learner;
use std::{
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// How hard a request is tried.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Attempts for one request, the first included.
    pub max_attempts: u32,
    /// How long one request may wait for a lease before the key manager counts as silent.
    pub lease_deadline: Duration,
    /// Whether an answer that says nothing, without a reason, is tried again.
    pub empty_answers: bool,
    /// Whether the pool wants to know how a request begins.
    pub prefixes: bool,
    /// The model to ask in place of one that fails as a whole.
    pub fallback: Arc<HashMap<String, String>>,
}

/// What every request of one worker shares.
pub struct Forwarder {
    pub(crate) upstream: Upstream,
    pub(crate) keys: KeyManager,
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    pub(crate) journal: Journal,
    last_words: LastWords,
}

/// What the HTTP face waits for: the answer, or why there is none.
pub type Reply = Result<Answer, Failure>;

impl Forwarder {
    /// Makes a worker's own upstream client.
    pub fn new(
        upstream: UpstreamSettings,
        keys: KeyManager,
        ledger: Ledger,
        limits: Limits,
        journal: Journal,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            upstream: Upstream::new(upstream)?,
            keys,
            ledger,
            limits,
            journal,
            last_words: LastWords::default(),
        })
    }

    /// The upload session behind a target's token, where there is one; the target then carries Google's own id.
    pub async fn upload_session(&self, target: &mut Target) -> Result<Option<Holding>, LedgerSilent> {
        upload::session(&self.ledger, target).await
    }

    /// Starts an actor for `job` on this worker. Dropping the receiver, or what it brings, tells it that the client has
    /// left. A receiver that closes without a reply means that the actor died.
    pub fn start(self: &Rc<Self>, job: Job) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        ForwardActor { work: Some((Rc::clone(self), Box::new(job), reply)) }.start();
        receiver
    }
}

/// One request on its way. See the module.
pub struct ForwardActor {
    work: Option<(Rc<Forwarder>, Box<Job>, oneshot::Sender<Reply>)>,
}

impl Actor for ForwardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some((forwarder, job, reply)) = self.work.take() {
            ctx.spawn(forwarder.run(job, reply).into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

/// What one request has come to so far.
struct Course {
    model: Option<Arc<str>>,
    streaming: Streaming,
    attempts: Vec<Attempt>,
    /// Whether the search ended with a fault of the model as a whole.
    model_failed: bool,
    /// What binds it to a project.
    tie: Tie,
}

/// How the search for an answer ended.
enum Found {
    /// A success, its body still to be passed on, on this lease.
    Open(OpenAnswer, Lease),
    /// The upstream's last word.
    Whole(WholeAnswer),
    /// Nothing to pass on.
    Nothing(Failure),
}

impl Forwarder {
    async fn run(self: Rc<Self>, job: Box<Job>, mut reply: oneshot::Sender<Reply>) {
        let mut course = Course::of(&job);
        let found = {
            // Boxed, so that its memory is given back before the answer streams.
            let search = Box::pin(async {
                match self.bind(&job).await {
                    Ok(tie) => course.tie = tie,
                    Err(instead) => return instead,
                }
                self.search_with_fallback(&job, &mut course).await
            });
            tokio::select! {
                // Dropping the search drops the upstream connection and abandons the lease.
                () = reply.closed() => None,
                found = search => Some(found),
            }
        };
        let learner = match &found {
            Some(Found::Open(_, lease)) => Learner::of(&self.ledger, &job, &course.tie, lease),
            _ => None,
        };
        let mut record = Record::of(*job, course);
        match found {
            None => {}
            Some(Found::Nothing(failure)) => {
                record.transaction.end = End::Refused;
                record.transaction.failure = Some(failure.clone());
                let _ = reply.send(Err(failure));
            }
            Some(Found::Whole(answer)) => {
                record.answered(answer.status);
                record.transaction.bytes_out = answer.body.len() as u64;
                let body = AnswerBody::Whole(answer.body);
                if reply.send(Ok(Answer { status: answer.status, headers: answer.headers, body })).is_ok() {
                    record.transaction.end = End::Complete;
                }
            }
            Some(Found::Open(answer, lease)) => {
                self.pass_on(&mut record, answer, lease, learner, reply).await;
            }
        }
        (self.journal)(&record.finished());
    }

    /// Searches, and once more for the model that the operator has set in place of one that fails as a whole.
    async fn search_with_fallback(&self, job: &Job, course: &mut Course) -> Found {
        // One project's list, of which nothing is left out, passes as it is.
        let is_whole = || job.caller.sight == Sight::All && self.keys.ring().projects().len() == 1;
        if let Some(form) = gemini::listing::merges(job.method.as_str(), &job.target)
            && !is_whole()
        {
            return Box::pin(self.list(job, form, course)).await;
        }
        let found = self.search(job, course).await;
        // A later attempt may have succeeded after the model failed an earlier one.
        if !course.model_failed || matches!(found, Found::Open(..)) {
            return found;
        }
        let other = course.model.as_deref().and_then(|model| {
            let to = self.limits.fallback.get(model)?;
            Some((fallback::with_model(job, model, to)?, to))
        });
        let Some((other, model)) = other else { return found };
        let name = HeaderValue::from_str(model).ok();
        course.model = Some(Arc::from(model.as_str()));
        match (self.search(&other, course).await, name) {
            (Found::Open(mut answer, lease), Some(name)) => {
                answer.headers.insert(HeaderName::from_static(fallback::HEADER), name);
                Found::Open(answer, lease)
            }
            // It failed as well: the client hears of the model it has asked for.
            (Found::Open(..) | Found::Whole(_) | Found::Nothing(_), _) => found,
        }
    }

    /// Tries until there is an answer, or no use in trying.
    async fn search(&self, job: &Job, course: &mut Course) -> Found {
        // What passes as it comes cannot be sent twice.
        let max_attempts = if job.stream.is_some() { 1 } else { self.limits.max_attempts };
        let mut tries = Tries::new(max_attempts, &job.method, &job.target);
        let mut wish = course.wish(job, self.limits.prefixes);
        let mut preferred = course.tie.prefer;
        let mut last: Option<Found> = None;
        loop {
            let deadline = tokio::time::Instant::now() + self.limits.lease_deadline;
            let asked = Instant::now();
            let lease = match preferred.take() {
                // Only while its project can take it at once; else anywhere.
                Some(key) => {
                    let near = Wish { reach: Reach::ProjectOf(key), may_wait: false, ..wish.clone() };
                    match self.keys.lease(near, deadline).await {
                        Ok(lease) => Ok(lease),
                        Err(_) => self.keys.lease(wish.clone(), deadline).await,
                    }
                }
                None => self.keys.lease(wish.clone(), deadline).await,
            };
            wish.waited += asked.elapsed();
            let lease = match lease {
                Ok(lease) => lease,
                Err(error) => {
                    return last.unwrap_or_else(|| match error {
                        LeaseError::Refused(refusal @ Refusal::ModelDown { .. }) => {
                            // What Google said of the model last, rather than words of our own.
                            course.model_failed = true;
                            let words = course.model.as_ref().and_then(|model| self.last_words.of(model));
                            words.map_or(Found::Nothing(Failure::NoKey(refusal)), Found::Whole)
                        }
                        LeaseError::Refused(refusal) => Found::Nothing(course.refused(refusal)),
                        LeaseError::Unanswered(_) => Found::Nothing(Failure::PoolSilent),
                    });
                }
            };
            #[cfg(debug_assertions)]
            panic_if_asked(job); // here, where it holds a lease
            tries.begin();
            let begun = Instant::now();
            let key = Arc::clone(lease.key());
            let result =
                attempt::open(&self.upstream, job, &key, course.streaming, self.limits.empty_answers).await;
            let mut record =
                Attempt { key: key.id().clone(), status: None, fault: None, took: begun.elapsed() };
            let FailedAttempt { fault, status, answer, failure } = match result {
                Ok(mut answer) => {
                    record.status = Some(answer.status.as_u16());
                    course.attempts.push(record);
                    if self.limits.empty_answers && answer.is_empty() && tries.again_for_nothing() {
                        // Nobody is to blame, and the quota is spent. Should no better answer come, this is the one.
                        lease.settle(Outcome::Success, answer.observer.usage().as_ref());
                        let OpenAnswer { status, headers, begun: body, .. } = answer;
                        last = Some(Found::Whole(WholeAnswer { status, headers, body }));
                        continue;
                    }
                    return Found::Open(answer, lease);
                }
                Err(failed) => failed,
            };
            record.status = status.map(|status| status.as_u16());
            record.fault = Some(fault.kind);
            course.attempts.push(record);
            let key_ix = lease.key_ix();
            let step = match failure {
                // Its time is spent: another attempt would take as long again.
                Failure::HeadTimeout if answer.is_none() => Step::GiveUp,
                _ => tries.after(&fault, chance()),
            };
            let scope = fault.scope();
            let avoid = match scope {
                Scope::Project | Scope::ProjectModel | Scope::ProjectTool | Scope::Billing => {
                    Avoid::TriedProjects
                }
                _ => Avoid::Nothing,
            };
            lease.settle(Outcome::Fault(fault), None);
            wish.retry = Retry::No;
            course.model_failed = scope == Scope::Model;
            if scope == Scope::Model {
                wish.retry = Retry::ModelFault;
                if let (Some(model), Some(answer)) = (&course.model, &answer) {
                    self.last_words.keep(model, answer);
                }
            }
            // The last answer of the upstream's own outlives a later attempt that brought none.
            match (answer, &last) {
                (Some(answer), _) => last = Some(Found::Whole(answer)),
                (None, Some(Found::Whole(_))) => {}
                (None, _) => last = Some(Found::Nothing(failure)),
            }
            match step {
                Step::GiveUp => return last.unwrap_or(Found::Nothing(Failure::HeadLost)),
                // The project is the only one that has what the request names: its keys may have to be waited for.
                Step::OtherKey if course.tie.is_bound() && avoid == Avoid::TriedProjects => {}
                Step::OtherKey => {
                    wish.tried.insert(key_ix);
                    wish.avoid = avoid;
                }
                Step::AfterPause(pause) => tokio::time::sleep(pause).await,
            }
        }
    }

    /// Gives the client an open answer and stays with it to its last byte.
    async fn pass_on(
        &self,
        record: &mut Record,
        answer: OpenAnswer,
        lease: Lease,
        learner: Option<Box<Learner>>,
        reply: oneshot::Sender<Reply>,
    ) {
        let OpenAnswer { status, mut headers, length, coding, begun, rest, mut observer } = answer;
        if let Some(learner) = &learner {
            learner.body(&mut observer);
            if rest.is_none() {
                learner.end(&mut observer);
            }
            // Boxed, so that its memory is given back before the answer streams.
            Box::pin(learner.head(status, &mut headers)).await;
        }
        record.answered(status);
        record.transaction.bytes_out = begun.len() as u64;
        lease.vouch();
        let Some(rest) = rest else {
            let whole = Answer { status, headers, body: AnswerBody::Whole(begun) };
            record.transaction.usage = observer.usage();
            lease.settle(Outcome::Success, record.transaction.usage.as_ref());
            record.transaction.end =
                if reply.send(Ok(whole)).is_ok() { End::Complete } else { End::ClientLeft };
            return;
        };
        let (sender, pieces) = mpsc::channel(relay::PIECES);
        let tail = relay::Tail::of(&begun);
        if !begun.is_empty() {
            let _ = sender.try_send(Piece::Chunk(begun)); // an empty channel has room
        }
        if reply.send(Ok(Answer { status, headers, body: AnswerBody::Stream { pieces, length } })).is_err() {
            record.transaction.bytes_out = 0;
            return; // the lease is abandoned
        }
        let framing = relay::Framing { form: record.stream_form, coding };
        let write_timeout = self.upstream.settings.write_timeout;
        let relayed =
            relay::relay(rest, sender, write_timeout, framing, tail, &mut observer, learner.as_deref()).await;
        if let Some(learner) = &learner {
            learner.end(&mut observer);
        }
        record.transaction.end = relayed.end;
        record.transaction.bytes_out += relayed.bytes;
        record.transaction.usage = observer.usage();
        let late = observer.late_error().map(|late| attempt::late_fault(&late));
        if let (Some(fault), Some(attempt)) = (&late, record.transaction.attempts.last_mut()) {
            attempt.fault = Some(fault.kind);
        }
        match relayed.end {
            // Google's own error in mid-stream was passed on as it came; the pool hears of it all the same.
            End::Complete | End::UpstreamBroke if late.is_some() => {
                lease.settle(
                    late.map_or(Outcome::Abandoned, Outcome::Fault),
                    record.transaction.usage.as_ref(),
                );
            }
            End::Complete => lease.settle(Outcome::Success, record.transaction.usage.as_ref()),
            End::UpstreamBroke => {
                lease.settle(
                    Outcome::Fault(gemini::fault::Fault::body_lost()),
                    record.transaction.usage.as_ref(),
                );
            }
            End::ClientLeft | End::ClientStalled | End::Refused => drop(lease),
        }
    }
}

impl Course {
    /// Reads what the request asks for: from its path natively, from its body in OpenAI format.
    fn of(job: &Job) -> Self {
        let operation = &job.target.operation;
        let mut model = operation.model.as_ref().map(|model| Arc::from(model.as_str()));
        let mut streaming = operation.streaming;
        if job.target.surface == Surface::OpenAi && !job.body.is_empty() {
            let peek = gemini::peek::peek_openai(&job.body);
            model = model.or_else(|| peek.model.map(|model| Arc::from(model.as_str())));
            streaming = if peek.stream { Streaming::Sse } else { Streaming::No };
        }
        let tie = Tie::default();
        Self { model, streaming, attempts: Vec::with_capacity(1), model_failed: false, tie }
    }

    /// Why there is no key for it.
    fn refused(&self, refusal: Refusal) -> Failure {
        match (&self.tie.name, refusal) {
            (Some(name), Refusal::AllRetired) => Failure::OwnerGone(name.as_str().into()),
            (_, refusal) => Failure::NoKey(refusal),
        }
    }

    /// What the request asks of the pool.
    fn wish(&self, job: &Job, prefixes: bool) -> Wish {
        let asked = gemini::peek::search_tools(&job.body);
        let mut tools = Tools::NONE;
        if asked.google_search {
            tools = tools.with(Tool::GoogleSearch);
        }
        if asked.url_context {
            tools = tools.with(Tool::UrlContext);
        }
        let input_tokens = estimate_input_tokens(job.body.len() as u64, InlineMedia::find(&job.body));
        let prefix = if prefixes { gemini::prefix::fingerprint(job.target.dialect, &job.body) } else { None };
        let reach = self.tie.reach;
        Wish { prefix, tools, input_tokens, reach, ..Wish::any(self.model.clone()) }
    }

    /// How the stream's events are framed, if it is one.
    fn stream_form(&self, job: &Job) -> Option<StreamForm> {
        match (job.target.surface, self.streaming) {
            (_, Streaming::No | Streaming::Unknown) => None,
            (Surface::OpenAi, _) => Some(StreamForm::OpenAi),
            (_, Streaming::Sse) => Some(StreamForm::Sse),
            (_, Streaming::JsonArray) => Some(StreamForm::JsonArray),
        }
    }
}

/// What is kept of a request while its answer is passed on, for the transaction. The request's headers and body are
/// not: a stream may last long.
struct Record {
    transaction: Box<Transaction>,
    stream_form: Option<StreamForm>,
    arrived: Instant,
}

impl Record {
    fn of(job: Job, course: Course) -> Self {
        let stream_form = course.stream_form(&job);
        let transaction = Transaction {
            id: job.id,
            caller: Some(job.caller.name),
            dialect: job.target.dialect,
            method: job.method,
            path: job.target.path,
            model: course.model,
            attempts: course.attempts,
            status: 0,
            failure: None,
            end: End::ClientLeft,
            first_byte: None,
            total: Duration::ZERO,
            bytes_in: job.stream.as_ref().map_or(job.body.len() as u64, BodyStream::passed),
            bytes_out: 0,
            usage: None,
        };
        Self { transaction: Box::new(transaction), stream_form, arrived: job.arrived }
    }

    fn answered(&mut self, status: http::StatusCode) {
        self.transaction.status = status.as_u16();
        self.transaction.first_byte = Some(self.arrived.elapsed());
    }

    fn finished(mut self) -> Transaction {
        self.transaction.total = self.arrived.elapsed();
        *self.transaction
    }
}

/// Uniform in 0..1, to spread pauses.
fn chance() -> f64 {
    fastrand::f64()
}

/// Panics for the tests of what becomes of a request whose actor dies.
#[cfg(debug_assertions)]
fn panic_if_asked(job: &Job) {
    let asked =
        job.headers.contains_key("x-test-panic") && std::env::var_os("GEMINI_BALANCE_TEST_PANICS").is_some();
    assert!(!asked, "a test asked for this panic");
}

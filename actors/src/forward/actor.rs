//! The `ForwardActor`: one a request, from the first lease to the last byte. It leases a key, tries, classifies, tries
//! again on another key while the client has seen nothing, passes the answer on and reports. It runs on the worker that
//! took the request, and dies with it.

use super::{
    answer::OpenAnswer,
    attempt,
    forwarder::Forwarder,
    job::{Answer, AnswerBody, Job, Piece},
    learning::Learner,
    relay,
    search::{Progress, SearchEnd, input_tokens},
    upload::BodyStream,
};
use crate::{
    accounting::is_charged,
    caller_account::CallerAccount,
    caller_cuts::CutSignal,
    client_stall::ClientStall,
    failure::Failure,
    key_manager::Lease,
    trace_parent::TraceParent,
    transaction::{End, Transaction},
};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use callers::Denial;
use chrono::DateTime;
use gemini::{
    classify::{error_words, redact},
    dialect::StreamForm,
    usage::Usage,
};
use http::Method;
use keypool::Outcome;
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// What the HTTP face waits for: the answer, or why there is none.
pub type Reply = Result<Answer, Failure>;

/// One request on its way. See the module.
pub struct ForwardActor {
    work: Option<Work>,
}

/// What an actor is started with.
struct Work {
    forwarder: Rc<Forwarder>,
    job: Box<Job>,
    account: CallerAccount,
    reply: oneshot::Sender<Reply>,
}

impl Actor for ForwardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(Work { forwarder, job, account, reply }) = self.work.take() {
            ctx.spawn(forwarder.run(job, account, reply).into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

impl Forwarder {
    /// Starts an actor for `job` on this worker, which settles the caller's account. Dropping the receiver, or what it brings, tells it that the client has
    /// left. A receiver that closes without a reply means that the actor died.
    pub fn start(self: &Rc<Self>, job: Job, account: CallerAccount) -> oneshot::Receiver<Reply> {
        let (reply, receiver) = oneshot::channel();
        let work = Work { forwarder: Rc::clone(self), job: Box::new(job), account: account.hand_on(), reply };
        ForwardActor { work: Some(work) }.start();
        receiver
    }

    async fn run(
        self: Rc<Self>,
        job: Box<Job>,
        mut account: CallerAccount,
        mut reply: oneshot::Sender<Reply>,
    ) {
        let mut progress = Progress::of(&job);
        let mut cut = self.cuts.watch(&job.caller.name, job.arrived);
        let found = {
            // Boxed, so that its memory is given back before the answer streams.
            let search = Box::pin(async {
                if let Err(denied) = account.reserve(progress.model.as_ref(), || input_tokens(&job)).await {
                    return SearchEnd::Nothing(denied);
                }
                match self.bind(&job, &progress.record).await {
                    Ok(binding) => {
                        progress.binding = binding;
                        progress.binding.prefer =
                            progress.binding.prefer.take().or_else(|| job.prefer.clone());
                    }
                    Err(instead) => return instead,
                }
                self.search_with_fallback(&job, &mut progress).await
            });
            tokio::select! {
                // Dropping the search drops the upstream connection and abandons the lease.
                () = reply.closed() => None,
                () = &mut cut => Some(SearchEnd::Nothing(Failure::Denied(Denial::Cut))),
                found = search => Some(found),
            }
        };
        let learner = match &found {
            Some(SearchEnd::Open(_, lease)) => Learner::of(&self.ledger, &job, &progress.binding, lease),
            _ => None,
        };
        let opening = progress.opening.take();
        let served_by = progress.record.last_key();
        let parent = self.listeners.trace_parent(|| TraceParent::of(&job.headers));
        let mut record = Record::of(*job, progress, parent);
        match found {
            None => {}
            Some(SearchEnd::Nothing(failure)) => {
                record.transaction.end = End::Refused;
                record.transaction.failure = Some(failure.clone());
                let _ = reply.send(Err(failure));
            }
            Some(SearchEnd::Whole(answer)) => {
                record.answered(answer.status);
                record.transaction.bytes_out = answer.body.len() as u64;
                let method = &record.transaction.method;
                let whole = Answer::whole(method, answer.status, answer.headers, answer.body);
                if reply.send(Ok(Answer { opening, served_by, ..whole })).is_ok() {
                    record.transaction.end = End::Complete;
                }
            }
            Some(SearchEnd::Open(answer, lease)) => {
                self.pass_on(&mut record, answer, lease, learner, reply, cut).await;
            }
        }
        let is_free = record.is_free;
        let transaction = record.finished();
        if is_free {
            account.settle_free();
        } else {
            account.settle(&transaction);
        }
        self.listeners.end(transaction);
    }

    /// Gives the client an open answer and stays with it to its last byte.
    async fn pass_on(
        &self,
        record: &mut Record,
        answer: OpenAnswer,
        lease: Lease,
        learner: Option<Box<Learner>>,
        reply: oneshot::Sender<Reply>,
        cut: CutSignal,
    ) {
        let OpenAnswer { status, mut headers, length, coding, begun, rest, mut observer } = answer;
        let served_by = Some(lease.key().id().clone());
        if let Some(learner) = learner {
            // Boxed, so that its memory is given back before the answer streams.
            Box::pin(learner.head(status, &mut headers)).await;
            observer.teach(learner);
            if observer.has_learnt() {
                Box::pin(observer.let_others_know()).await;
            }
        }
        record.answered(status);
        record.transaction.bytes_out = begun.len() as u64;
        lease.vouch();
        let Some(rest) = rest.filter(|_| record.transaction.method != Method::HEAD) else {
            let whole = Answer::whole(&record.transaction.method, status, headers, begun);
            record.used(observer.end().usage);
            if observer.has_learnt() {
                Box::pin(observer.let_others_know()).await;
            }
            lease.settle(Outcome::Success, record.transaction.usage.as_ref());
            record.transaction.end = if reply.send(Ok(Answer { served_by, ..whole })).is_ok() {
                End::Complete
            } else {
                End::ClientLeft
            };
            return;
        };
        let (sender, pieces) = mpsc::channel(relay::PIECES);
        let tail = relay::Tail::of(&begun);
        if !begun.is_empty() {
            let _ = sender.try_send(Piece::Chunk(begun)); // an empty channel has room
        }
        let body = AnswerBody::Stream { pieces, length };
        if reply.send(Ok(Answer { status, headers, body, opening: None, served_by })).is_err() {
            record.transaction.bytes_out = 0;
            return; // the lease is abandoned
        }
        let framing = relay::Framing { form: record.stream_form, coding };
        let write_timeout = self.upstream.settings.write_timeout;
        let relayed = relay::relay(rest, sender, write_timeout, framing, tail, &mut observer, cut).await;
        record.transaction.end = relayed.end;
        if relayed.end == End::Refused {
            record.transaction.failure = Some(Failure::Denied(Denial::Cut));
        }
        record.transaction.bytes_out += relayed.bytes;
        record.used(relayed.observed.usage);
        let late = relayed.observed.late_error.map(|late| {
            let words = error_words(&redact(&late.body, &[lease.key().secret().expose()]));
            (attempt::late_fault(lease.key(), &late), words)
        });
        if let (Some((fault, words)), Some(attempt)) = (&late, record.transaction.attempts.last_mut()) {
            attempt.fault = Some(fault.kind);
            if let Some(words) = words {
                attempt.say(words);
            }
        }
        let late = late.map(|(fault, _)| fault);
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

/// What is kept of a request while its answer is passed on, for the transaction. The request's headers and body are
/// not: a stream may last long.
struct Record {
    transaction: Box<Transaction>,
    stream_form: Option<StreamForm>,
    stall: Option<ClientStall>,
    arrived: Instant,
    /// Whether its answer names what another has used.
    is_free: bool,
}

impl Record {
    fn of(job: Job, progress: Progress, trace_parent: Option<TraceParent>) -> Self {
        let stream_form = progress.stream_form(&job);
        let mut transaction = Transaction {
            id: job.id,
            caller: Some(job.caller.name),
            dialect: job.target.dialect,
            method: job.method,
            verb: job.target.operation.verb,
            streamed: stream_form.is_some(),
            path: job.target.path,
            model: progress.model,
            attempts: Vec::new(),
            status: 0,
            failure: None,
            end: End::ClientLeft,
            first_byte: None,
            total: Duration::ZERO,
            bytes_in: job.stream.as_ref().map_or(job.body.len() as u64, BodyStream::passed),
            bytes_out: 0,
            usage: None,
            ended: DateTime::UNIX_EPOCH,
            queued: Duration::ZERO,
            detail: None,
        };
        progress.record.write_into(&mut transaction);
        if trace_parent.is_some() {
            transaction.detail_mut().trace_parent = trace_parent;
        }
        if job.translated.is_some() {
            transaction.detail_mut().translated = job.translated;
        }
        if let Some(name) = progress.binding.name {
            transaction.detail_mut().bound_to = Some(name.into());
        }
        Self {
            transaction: Box::new(transaction),
            stream_form,
            stall: job.stall,
            arrived: job.arrived,
            is_free: false,
        }
    }

    fn answered(&mut self, status: http::StatusCode) {
        self.transaction.status = status.as_u16();
        self.transaction.first_byte = Some(self.arrived.elapsed());
    }

    /// Takes what the upstream said was used, where that is charged to this request.
    fn used(&mut self, usage: Option<Usage>) {
        self.transaction.usage = usage;
        self.is_free = usage.is_some() && !is_charged(&self.transaction);
        if self.is_free {
            self.transaction.usage = None;
        }
    }

    fn finished(mut self) -> Transaction {
        // Whether the relay or the connection is the first to lose patience differs.
        if self.transaction.end == End::ClientLeft && self.stall.is_some_and(|stall| stall.is_noted()) {
            self.transaction.end = End::ClientStalled;
        }
        self.transaction.total = self.arrived.elapsed();
        *self.transaction
    }
}

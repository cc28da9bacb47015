//! The `LiveActor`: one a WebSocket session of the Live API, from its setup to its last close. The setup is read before a
//! key is chosen, since it names the model and what binds the session to a project; until the upstream's first word it
//! can be said again on another key. It runs on the worker that took the connection, and dies with it.

mod activity;
mod attempt;
mod close;
mod job;
mod line;
mod mentions;
mod pipe;
mod relay;
mod scanner;
mod search;
mod waiting;

pub use close::{Close, Notice};
pub use job::{Client, Ephemeral, LiveJob};
pub use pipe::{ClientPipe, Gone, Outlet};
// For the crate that feeds it anything; nobody else outside needs it.
#[doc(hidden)]
pub use scanner::MessageScanner;

use crate::{
    attempts::{AttemptRecord, LastAnswers},
    caller_account::CallerAccount,
    client_stall::ClientStall,
    failure::Failure,
    forward::Forwarder,
    key_manager::Lease,
    ledger::{self, LedgerSilent},
    secret::Secret,
    trace_parent::TraceParent,
    transaction::{End, Transaction},
};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use attempt::{Open, SetupAnswer, redacted, words_of};
use callers::Denial;
use chrono::DateTime;
use gemini::{
    fault::Kind,
    live::{NoSetup, Setup, close_fault},
    tokens::{InlineMedia, estimate_input_tokens},
};
use http::StatusCode;
use keypool::Outcome;
use line::{FAREWELL, Leaving, split};
use relay::{Begun, EndedBy, Passed, Side, relay};
use scanner::content;
use search::{NoSession, handle_name};
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use waiting::Waiting;

/// The largest message that passes.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Read at a time of either side; more is set aside only for a message that is longer.
const READ_BYTES: usize = 16 * 1024;

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key)
}

fn socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        // Each message is written as it comes.
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

/// What every session of one worker shares.
pub struct Live {
    forwarder: Rc<Forwarder>,
    last_answers: Rc<LastAnswers<SetupAnswer>>,
}

impl Live {
    /// Sessions go the way that requests go.
    pub fn new(forwarder: Rc<Forwarder>) -> Self {
        Self { forwarder, last_answers: Rc::default() }
    }

    /// Returns what sessions share that begin under settings that have changed.
    #[must_use]
    pub fn revised(&self, forwarder: Rc<Forwarder>) -> Self {
        Self { forwarder, last_answers: Rc::clone(&self.last_answers) }
    }

    /// Who was given this ephemeral token through the gateway, and the credential that it is. `None` of a token that
    /// was not made here, or whose project has no key in the pool any more.
    pub async fn ephemeral(&self, token: &str) -> Result<Option<(String, Ephemeral)>, LedgerSilent> {
        let ledger = &self.forwarder.ledger;
        let Some(holding) = ledger.find(&ledger::entry(token)).await? else { return Ok(None) };
        let Some(owner) = ledger.owner(&holding) else { return Ok(None) };
        Ok(holding.caller.map(|caller| (caller, Ephemeral { token: Secret::new(token), owner })))
    }

    /// Starts an actor for `job` on this worker, which settles the caller's account.
    pub fn start(self: &Rc<Self>, job: LiveJob, account: CallerAccount, client: Client) {
        LiveActor { live: Rc::clone(self), session: Some(Box::new((job, account.hand_on(), client))) }
            .start();
    }
}

/// One session. See the module.
pub struct LiveActor {
    live: Rc<Live>,
    session: Option<Box<(LiveJob, CallerAccount, Client)>>,
}

impl Actor for LiveActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(session) = self.session.take() {
            let (job, account, client) = *session;
            ctx.spawn(
                Rc::clone(&self.live).run(job, account, client).into_actor(self).map(|(), _, ctx| ctx.stop()),
            );
        }
    }
}

impl Live {
    async fn run(self: Rc<Self>, job: LiveJob, mut account: CallerAccount, client: Client) {
        let mut record = Record::of(&job);
        let parent = self.forwarder.listeners.trace_parent(|| TraceParent::of(&job.headers));
        if parent.is_some() {
            record.transaction.detail_mut().trace_parent = parent;
        }
        let cut = self.forwarder.cuts.watch(&job.caller.name, job.arrived);
        let mut waiting = Waiting::of(client, cut).await;
        let attempts = AttemptRecord::since(job.arrived);
        // Boxed, so that its memory is given back before the session goes on.
        let begun = Box::pin(self.begin(&job, &mut account, &mut waiting, &mut record, &attempts)).await;
        attempts.write_into(&mut record.transaction);
        match begun {
            Ok((open, lease)) => self.carry(&job, &mut account, waiting, open, lease, &mut record).await,
            Err(none) => refuse(&job, waiting, none, &mut record).await,
        }
        let transaction = record.finished(&job);
        account.settle_session(!transaction.attempts.is_empty());
        self.forwarder.listeners.end(transaction);
    }

    /// Reads the setup and finds an upstream that takes it.
    async fn begin(
        &self,
        job: &LiveJob,
        account: &mut CallerAccount,
        waiting: &mut Waiting,
        record: &mut Record,
        attempts: &AttemptRecord,
    ) -> Result<(Open, Lease), NoSession> {
        let setup = timeout(job.setup_within, waiting.next_message()).await;
        let setup = setup.unwrap_or(Err(NoSession::Notice(Notice::SetupLate)))?;
        record.transaction.bytes_in = setup.len() as u64;
        // What cannot be read cannot be placed: it could name what is another's.
        let asked = Setup::read(content(&setup)).map_err(|NoSetup| NoSession::Notice(Notice::NoSetup))?;
        let model: Option<Arc<str>> = asked.model.as_deref().map(Arc::from);
        record.transaction.model.clone_from(&model);
        let size = || estimate_input_tokens(setup.len() as u64, InlineMedia::find(content(&setup)));
        account.reserve(model.as_ref(), size).await.map_err(NoSession::Failure)?;
        let mut bound_to = None;
        let search = async {
            let binding = self.bind(job, content(&setup), &asked, attempts).await?;
            bound_to.clone_from(&binding.name);
            self.search(job, model, binding, &setup, attempts).await
        };
        let found = tokio::select! {
            // Dropping the search drops the upstream connection and abandons the lease.
            ended = waiting.ends() => Err(ended),
            found = search => found,
        };
        if let Some(name) = bound_to {
            record.transaction.detail_mut().bound_to = Some(name.into());
        }
        found
    }

    /// Stays with a session to its end, and sees that both sides hear of it.
    async fn carry(
        &self,
        job: &LiveJob,
        account: &mut CallerAccount,
        waiting: Waiting,
        open: Open,
        lease: Lease,
        record: &mut Record,
    ) {
        record.transaction.first_byte = Some(job.arrived.elapsed());
        let settings = &self.forwarder.upstream.settings;
        let Waiting { socket, activity, gone, held, going_down, cut } = waiting;
        let (client, mut client_says) = split(socket, activity, settings.write_timeout);
        let (upstream, mut upstream_says) = split(open.socket, open.activity, settings.idle_timeout);
        let passed = Passed::default();
        lease.vouch();
        let key = Arc::clone(lease.key());
        let mut scanner = MessageScanner::new(&key);
        let model = record.transaction.model.clone();
        let seen = async |message: Message| {
            if let Some(handle) = scanner.handle(&message) {
                let name = ledger::entry(&handle_name(&handle)).into_owned();
                self.forwarder.ledger.learn(&name, &key, Some(&job.caller.name), None);
                self.forwarder.ledger.let_others_know().await;
            }
            if let Some(turn) = scanner.turn.take() {
                account.spend(model.as_ref(), &turn);
            }
            scanner.pass(message)
        };
        let ended = tokio::select! {
            ended = relay(
                Side { speaker: &client, listener: &mut client_says },
                Side { speaker: &upstream, listener: &mut upstream_says },
                Begun { held, first: open.first },
                &passed,
                async |message: &Message| self.may_pass(job, &key, message).await,
                seen,
                going_down,
            ) => ended,
            _ = gone => EndedBy::Client(Leaving::Gone),
            () = cut => EndedBy::Cut,
        };
        record.transaction.bytes_in += passed.up.get();
        record.transaction.bytes_out = passed.down.get();
        record.transaction.usage = scanner.usage;
        let (end, outcome) = match &ended {
            EndedBy::Client(Leaving::Closed(_)) | EndedBy::Gateway => (End::Complete, Outcome::Success),
            EndedBy::Client(Leaving::Gone) => (End::ClientLeft, Outcome::Abandoned),
            EndedBy::Client(Leaving::Stalled) => (End::ClientStalled, Outcome::Abandoned),
            EndedBy::Client(Leaving::Offence(_)) | EndedBy::LedgerSilent | EndedBy::Cut => {
                (End::Refused, Outcome::Abandoned)
            }
            EndedBy::Upstream(Leaving::Closed(frame)) => {
                let fault = frame.as_ref().and_then(|frame| close_fault(&frame.reason));
                (End::Complete, fault.map_or(Outcome::Success, |fault| job.blame(fault)))
            }
            // It took key and setup and served for a while: that its connection went says nothing of the key.
            EndedBy::Upstream(_) => (End::UpstreamBroke, Outcome::Success),
        };
        record.transaction.end = end;
        if let Some(attempt) = record.transaction.attempts.last_mut() {
            attempt.fault = match (&outcome, end) {
                (Outcome::Fault(fault), _) => Some(fault.kind),
                (_, End::UpstreamBroke) => Some(Kind::BodyLost),
                _ => None,
            };
            if let (Some(_), EndedBy::Upstream(Leaving::Closed(Some(frame)))) = (attempt.fault, &ended) {
                attempt.say(&words_of(&redacted(frame, &key)));
            }
        }
        lease.settle(outcome, record.transaction.usage.as_ref());
        match ended {
            EndedBy::Client(Leaving::Closed(frame)) => {
                tokio::join!(client_says.answer_close(), upstream.close(upstream_says, frame));
            }
            EndedBy::Client(Leaving::Gone | Leaving::Stalled) => {}
            EndedBy::Client(Leaving::Offence(notice)) => {
                drop((upstream, upstream_says));
                client.tell(client_says, &notice.close()).await;
            }
            EndedBy::LedgerSilent | EndedBy::Cut => {
                drop((upstream, upstream_says));
                let is_cut = ended == EndedBy::Cut;
                let failure = if is_cut { Failure::Denied(Denial::Cut) } else { Failure::LedgerSilent };
                let close = (job.told)(&failure);
                record.transaction.failure = Some(failure);
                client.tell(client_says, &close).await;
            }
            EndedBy::Upstream(Leaving::Closed(frame)) => {
                let frame = frame.map(|frame| redacted(&frame, &key).frame());
                tokio::join!(upstream_says.answer_close(), client.close(client_says, frame));
            }
            EndedBy::Upstream(Leaving::Offence(Notice::TooLong)) => {
                drop((upstream, upstream_says));
                client.tell(client_says, &Notice::TooLong.close()).await;
            }
            EndedBy::Upstream(_) => {
                drop((upstream, upstream_says));
                client.tell(client_says, &Notice::BrokeOff.close()).await;
            }
            EndedBy::Gateway => {
                let close = Notice::GoingDown.close();
                tokio::join!(upstream.tell(upstream_says, &close), client.tell(client_says, &close));
            }
        }
    }
}

/// Tells the client why there is no session.
async fn refuse(job: &LiveJob, waiting: Waiting, none: NoSession, record: &mut Record) {
    let Waiting { socket, activity, .. } = waiting;
    let (client, says) = split(socket, activity, FAREWELL);
    let transaction = &mut record.transaction;
    transaction.end = End::Refused;
    match none {
        NoSession::Client(leaving) => {
            transaction.end = End::ClientLeft;
            if let Leaving::Closed(_) = leaving {
                says.answer_close().await;
            }
        }
        NoSession::Notice(notice) => client.tell(says, &notice.close()).await,
        NoSession::Upstream(close, status) => {
            transaction.end = End::Complete;
            transaction.status = status.map_or(transaction.status, |status| status.as_u16());
            client.close(says, close.map(|close| close.frame())).await;
        }
        NoSession::Failure(failure) => {
            let close = (job.told)(&failure);
            transaction.failure = Some(failure);
            client.tell(says, &close).await;
        }
    }
}

/// What is kept of a session for its transaction.
struct Record {
    transaction: Box<Transaction>,
}

impl Record {
    fn of(job: &LiveJob) -> Self {
        Self {
            transaction: Box::new(Transaction {
                id: job.id.clone(),
                caller: Some(Arc::clone(&job.caller.name)),
                dialect: job.target.dialect,
                method: http::Method::GET,
                verb: job.target.operation.verb.clone(),
                streamed: true,
                path: job.target.path.clone(),
                model: None,
                attempts: Vec::new(),
                // What the client's upgrade was answered with.
                status: StatusCode::SWITCHING_PROTOCOLS.as_u16(),
                failure: None,
                end: End::ClientLeft,
                first_byte: None,
                total: Duration::ZERO,
                bytes_in: 0,
                bytes_out: 0,
                usage: None,
                ended: DateTime::UNIX_EPOCH,
                queued: Duration::ZERO,
                detail: None,
            }),
        }
    }

    fn finished(mut self, job: &LiveJob) -> Transaction {
        let is_stalled = job.stall.as_ref().is_some_and(ClientStall::is_noted);
        if self.transaction.end == End::ClientLeft && is_stalled {
            self.transaction.end = End::ClientStalled;
        }
        self.transaction.total = job.arrived.elapsed();
        *self.transaction
    }
}

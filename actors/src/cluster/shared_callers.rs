//! What clients' tokens use on all gateways: the [`SharedCallersActor`] adds what this one has counted to the sums that all add
//! to, and hears with the answer what the others have. It does so four times a second for callers of whom there is news, and at
//! once where a request must not go on before. On a connection and a thread of its own, one call at a time; whoever waits for it
//! waits a tenth of a second at most, and nobody while Redis is away. The rules are in the crate `callers`.

use super::ClusterShared;
use crate::{
    accounting::Accounts,
    clock::Clock,
    health::Health,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use callers::{
    Denial, Directory, MinuteChange, MinuteReply, Pass, PeriodChange, PeriodReply, Registered, UseReply,
    UseReport, Used,
};
use gemini_balance_cluster::{
    Addition, Away, BookId, BucketLimits, BucketName, Draw, Drawn, Generation, NodeId, Shared, SpendReport,
};
use meter::Amount;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

/// Its name on the health board and in the log.
const NAME: &str = "cluster_callers";
/// How often news is told.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How long a request waits for the others' use.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many requests may wait at the same time; more are judged by what is known.
const MOST_WAITING: usize = 10_000;
/// How often what a slow Redis has not taken is told again at the end.
const TRIES: usize = 3;
/// How many callers' minutes go into one call.
const AT_ONCE: usize = 50;
/// A limit that nobody reaches: what is left of it tells what was used.
const BEYOND: u64 = 1 << 40;
/// The largest difference of one addition.
const MOST: i64 = 1 << 53;

/// See the module.
pub struct SharedCallersActor {
    parts: Arc<Parts>,
    shared: Box<dyn Shared>,
    /// The run of the shared state in which all was told.
    run: Option<Generation>,
}

/// What outlives the actor.
struct Parts {
    cluster: Arc<ClusterShared>,
    directory: Arc<Directory>,
    accounts: Option<Accounts>,
    /// The usage book that says what former lives have used, if there is one.
    former_book: Option<BookId>,
    clock: Clock,
    waiting: Mutex<Waiting>,
    is_together: AtomicBool,
    /// The number of the last addition of this life of the gateway.
    number: AtomicU64,
}

/// The requests that wait, by their callers. Dropped, each of them goes on.
#[derive(Default)]
struct Waiting {
    count: usize,
    by_caller: HashMap<Arc<str>, WaitingCaller>,
}

/// A caller with requests that wait.
struct WaitingCaller {
    caller: Arc<Registered>,
    /// Their ends, which are dropped when they may go on.
    requests: Vec<oneshot::Sender<()>>,
}

/// Somebody waits.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Ask;

/// A handle to what all gateways count. Cheap to clone.
#[derive(Clone)]
pub struct SharedCallers {
    parts: Arc<Parts>,
    link: Link<SharedCallersActor>,
}

impl SharedCallers {
    /// Starts the actor on `arbiter`, whose thread may wait.
    pub(super) fn start(
        arbiter: &actix_rt::ArbiterHandle,
        cluster: &Arc<ClusterShared>,
        directory: Arc<Directory>,
        accounts: Option<Accounts>,
        clock: Clock,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let parts = Arc::new(Parts {
            cluster: Arc::clone(cluster),
            directory,
            former_book: book_of(accounts.as_ref()),
            accounts,
            clock,
            waiting: Mutex::default(),
            is_together: AtomicBool::new(false),
            number: AtomicU64::new(0),
        });
        let of_actor = Arc::clone(&parts);
        let factory = move || SharedCallersActor {
            shared: (of_actor.cluster.connect)(),
            parts: Arc::clone(&of_actor),
            run: None,
        };
        let link = supervise(arbiter, Child { name: NAME, mailbox: 256, intensity, factory }, health);
        Self { parts, link }
    }

    /// Waits until it is known what the others have let in of this caller, if it was not heard lately.
    pub async fn look(&self, caller: &Arc<Registered>) {
        if self.is_together() && caller.is_stale(self.parts.clock.now()) {
            self.ask(caller).await;
        }
    }

    /// Waits until the others know of a request that was let in, where that must come first, and looks again whether there is
    /// room for it.
    pub(crate) async fn confirm(&self, pass: &mut Pass) -> Result<(), Denial> {
        if !self.is_together() || !pass.wait(self.parts.clock.now()) {
            return Ok(());
        }
        self.ask(pass.caller()).await;
        pass.confirm(self.parts.clock.now())
    }

    /// Whether callers are counted with the other gateways now.
    pub(super) fn is_together(&self) -> bool {
        self.parts.is_together.load(Ordering::Relaxed)
    }

    /// Waits until the others are told of this caller and heard: a tenth of a second at most.
    async fn ask(&self, caller: &Arc<Registered>) {
        let (asked, heard) = oneshot::channel();
        {
            let mut waiting = self.parts.waiting();
            if waiting.count >= MOST_WAITING {
                return;
            }
            waiting.count += 1;
            let name = Arc::clone(&caller.spec().name);
            let new = || WaitingCaller { caller: Arc::clone(caller), requests: Vec::new() };
            waiting.by_caller.entry(name).or_insert_with(new).requests.push(asked);
        }
        self.link.nudge(Ask);
        let _ = tokio::time::timeout(PATIENCE, heard).await;
    }

    /// Tells what is untold. Called when the service ends.
    pub(super) async fn flush(&self, deadline: tokio::time::Instant) {
        let _ = tokio::time::timeout_at(deadline, self.link.send(Flush, deadline)).await;
    }
}

/// Tells all that is untold.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Flush;

impl Parts {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those who wait.
    fn take_waiting(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }
}

impl SharedCallersActor {
    /// Tells and hears of those for whom somebody waits. Whether it worked or not, they go on.
    fn answer(&mut self) -> Result<(), Away> {
        let waiting = self.parts.take_waiting();
        let callers: Vec<_> = waiting.by_caller.values().map(|waiting| Arc::clone(&waiting.caller)).collect();
        if callers.is_empty() || !self.parts.is_together.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.tell(&callers)
    }

    /// Tells all news, and looks for the others where they were away. Where Redis is another one, or has lost what it had, all is
    /// told anew, whether anybody asks for anything here or not: each beat shows it.
    fn turn(&mut self) -> Result<(), Away> {
        let is_known = self.run.is_some_and(|run| run >= self.parts.cluster.company().generation);
        if !is_known || !self.parts.is_together.load(Ordering::Relaxed) {
            let generation = self.shared.hello()?.generation;
            // What was told before may be lost with the server that was told: what stands there is heard with this.
            self.parts.directory.tell_anew(self.parts.clock.now());
            self.run = Some(generation);
            self.tell_news()?;
            self.parts.is_together.store(true, Ordering::Relaxed);
        }
        self.tell_news()
    }

    fn tell_news(&mut self) -> Result<(), Away> {
        for callers in self.parts.directory.with_news(self.parts.clock.now()).chunks(AT_ONCE) {
            self.tell(callers)?;
            // Nobody waits for the whole of a long list.
            self.answer()?;
        }
        Ok(())
    }

    /// From the first call that fails on nobody waits, until one is answered again.
    fn note(&mut self, result: Result<(), Away>) {
        let Err(away) = result else { return };
        if self.parts.is_together.swap(false, Ordering::Relaxed) {
            log::warn!(target: NAME, "{away}; limits and budgets of tokens go by what is known here");
        }
        drop(self.parts.take_waiting());
    }

    /// Adds what is news of these callers to what all have used, and hears what that comes to.
    fn tell(&mut self, callers: &[Arc<Registered>]) -> Result<(), Away> {
        let now = self.parts.clock.now();
        let reports: Vec<_> =
            callers.iter().filter_map(|caller| Some((caller, caller.report(now)?))).collect();
        let gateways = self.gateways();
        let mut replies = vec![UseReply { gateways, ..UseReply::default() }; reports.len()];
        let result = self.carry(&reports, &mut replies);
        let now = self.parts.clock.now();
        for ((caller, report), reply) in reports.into_iter().zip(replies) {
            caller.hear(report, &reply, now);
        }
        result
    }

    fn carry(
        &mut self,
        reports: &[(&Arc<Registered>, UseReport)],
        replies: &mut [UseReply],
    ) -> Result<(), Away> {
        let draws = reports.iter().enumerate().filter_map(|(place, (caller, report))| {
            Some((place, draw(&caller.spec().name, report.minute.as_ref()?)?))
        });
        let (places, draws): (Vec<usize>, Vec<Draw>) = draws.unzip();
        if !draws.is_empty() {
            for (place, drawn) in places.into_iter().zip(self.shared.take(&draws)?) {
                replies[place].minute = Some(minute_of(&drawn));
            }
        }
        for ((caller, report), reply) in reports.iter().zip(replies) {
            let name = &caller.spec().name;
            if let Some(change) = &report.day {
                reply.day = self.add(&format!("day/{}/{name}", change.first), change, DAY_KEPT)?;
            }
            if let Some(change) = &report.month {
                let month = change.first.format("%Y-%m");
                reply.month = self.add(&format!("month/{month}/{name}"), change, MONTH_KEPT)?;
            }
        }
        Ok(())
    }

    /// Adds to what all have used in a period, to what of that is this life's, and to what is in this gateway's usage book.
    fn add(
        &mut self,
        name: &str,
        change: &PeriodChange,
        keep: Duration,
    ) -> Result<Option<PeriodReply>, Away> {
        let number = self.parts.number.fetch_add(1, Ordering::Relaxed) + 1;
        let former_book = self.parts.former_book.as_ref();
        // Another one has taken its place: the next life finds there what this one has used since.
        let other = book_of(self.parts.accounts.as_ref()).filter(|book| Some(book) != former_book);
        let deltas = deltas(&self.parts.cluster.node, former_book, other.as_ref(), change);
        // A name that is too long is nobody's: those of callers are short.
        let Ok(addition) = Addition::new(name, number, deltas, keep) else { return Ok(None) };
        let reply = self.shared.add(&addition)?;
        Ok(period_of(reply.sums(), former_book.is_some()))
    }

    fn gateways(&self) -> u64 {
        let company = self.parts.cluster.company();
        company.members.iter().filter(|member| member.is_there()).count() as u64
    }
}

/// A day's sums are of no use after it, wherever its midnight was.
const DAY_KEPT: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Nor are a month's.
const MONTH_KEPT: Duration = Duration::from_secs(33 * 24 * 60 * 60);

/// Reports what of the last minute is news, and wants nothing: what is left of a limit beyond all use tells what all have used.
fn draw(name: &str, changes: &[MinuteChange]) -> Option<Draw> {
    let limits = BucketLimits { rpm: Some(BEYOND), tpm: Some(BEYOND), rpd: None };
    let report = |change: &MinuteChange| SpendReport {
        // A bucket takes half a second off, for the way to Google; a caller's request counts when it comes here.
        age: change.age + Duration::from_millis(500),
        requests: change.requests,
        tokens: change.tokens,
    };
    let bucket = BucketName::of_token(name).ok()?;
    Some(Draw { reports: changes.iter().map(report).collect(), ..Draw::new(bucket, limits) })
}

fn minute_of(drawn: &Drawn) -> MinuteReply {
    let used = |left: Option<u64>| BEYOND.saturating_sub(left.unwrap_or(BEYOND));
    let total = Amount { requests: used(drawn.left_requests), tokens: used(drawn.left_tokens) };
    MinuteReply { total, run: drawn.generation.0 }
}

/// Returns what tells this gateway's usage book from all others, if it has one.
fn book_of(accounts: Option<&Accounts>) -> Option<BookId> {
    BookId::new(&accounts?.book_id()?).ok()
}

/// Each of the three for all gateways, for this life of this one, for all lives with the usage book that says what former ones have
/// used, and for those to come with the one that is in its place now. What former lives have used is not this one's.
fn deltas(
    node: &NodeId,
    former_book: Option<&BookId>,
    other_book: Option<&BookId>,
    change: &PeriodChange,
) -> Vec<(Box<str>, i64)> {
    let former = if former_book.is_some() { change.former } else { Used::default() };
    let parts = [
        ("requests", change.requests, former.requests),
        ("tokens", change.tokens, former.tokens),
        ("money", change.money, former.money),
    ];
    let all = parts.into_iter().flat_map(|(part, own, former)| {
        let former = i64::try_from(former).unwrap_or(MOST);
        let (own, with_former) = (own.clamp(-MOST, MOST), own.saturating_add(former).clamp(-MOST, MOST));
        let of_former = former_book.map(|book| (format!("{part} {book}").into(), with_former));
        let of_other = other_book.map(|book| (format!("{part} {book}").into(), own));
        let of_all = [(part.into(), with_former), (format!("{part} {node}").into(), own)];
        of_all.into_iter().chain(of_former).chain(of_other)
    });
    all.collect()
}

/// What such sums come to. What of a book's is not this life's was told of former ones.
fn period_of(sums: &[i64], has_former_book: bool) -> Option<PeriodReply> {
    let width = sums.len() / 3;
    let part =
        |at: usize| sums.chunks_exact(width.max(1)).filter_map(move |of_part| of_part.get(at).copied());
    let used = |mut parts: [i64; 3], less: [i64; 3]| {
        parts.iter_mut().zip(less).for_each(|(part, less)| *part -= less);
        let [requests, tokens, money] = parts.map(|sum| u64::try_from(sum).unwrap_or_default());
        Used { requests, tokens, money }
    };
    let three = |at: usize| <[i64; 3]>::try_from(part(at).collect::<Vec<_>>()).ok();
    let (all, own) = (three(0)?, three(1)?);
    let former = if has_former_book { Some(used(three(2)?, own)) } else { None };
    Some(PeriodReply { total: used(all, [0; 3]), own: used(own, [0; 3]), former })
}

impl Actor for SharedCallersActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let result = self.turn();
        self.note(result);
        ctx.run_interval(TELL_EVERY, |actor, _| {
            let result = actor.turn();
            actor.note(result);
        });
    }
}

impl Handler<Ask> for SharedCallersActor {
    type Result = ();

    fn handle(&mut self, Ask: Ask, _: &mut Self::Context) {
        let result = self.answer();
        self.note(result);
    }
}

impl Handler<Flush> for SharedCallersActor {
    type Result = ();

    fn handle(&mut self, Flush: Flush, _: &mut Self::Context) {
        // There is no later turn: what a slow Redis has not taken at once, or a moment ago, is offered again.
        for _ in 0..TRIES {
            let told = self.turn();
            let is_told = told.is_ok();
            self.note(told);
            if is_told {
                return;
            }
        }
    }
}

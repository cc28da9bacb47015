//! What all gateways have used: the [`SharedUsageActor`] tells every few seconds what this one's usage book says of the hours and
//! days in which something was counted. It tells sums and not differences, so that a call may be repeated, and a Redis that has
//! lost everything is told anew. On a connection and a thread of its own; no request and no counting waits for it. What the
//! others tell is read when somebody asks: `usage_of_others`.

use super::{
    ClusterShared,
    usage_of_others::{GatewaysCounted, UsageReader},
    usage_tables::{TableDifference, tables_of},
};
use crate::{
    accounting::{Accounts, CountMark},
    health::Health,
    supervisor::{Child, Intensity, Link, supervise},
};
use actix::{Actor, AsyncContext, Context, Handler, Message};
use chrono::Utc;
use gemini_balance_cluster::{
    Away, BookId, Generation, Shared, TableCells, TableChange, TableContent, TableReply, TableStamp,
    TableStep, UsageTable,
};
use gemini_balance_store::BookError;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use usage::{Breakdown, Column, Query, QueryStep, Report, ReportRow};

/// Its name on the health board and in the log.
const NAME: &str = "cluster_usage";
/// How often there is a turn, and how often Redis is looked for while it is away.
const TURN_EVERY: Duration = Duration::from_millis(250);
/// How often what was counted is told: with what a turn takes, it is not older than five seconds.
const TELL_EVERY: Duration = Duration::from_secs(4);
/// What telling takes is at most one part in so many of the time: with very many keys it comes less often.
const SHARE: u32 = 20;
/// How often it is said that the book is kept.
const KEEP_EVERY: Duration = Duration::from_secs(4);
/// How long after a new beginning it is not said yet: by then all that count as there have beaten, and each knows of the others.
const SETTLES_IN: Duration = Duration::from_secs(5);
/// How long after one hour or day the next is compared with what Redis has of it.
const COMPARE_EVERY: Duration = Duration::from_millis(20);
/// How long after its second something may be counted, at most, in seconds.
const LATE_S: i64 = 120;
/// How often a table is looked at again that others have written meanwhile, and what a slow Redis has not taken is told again at
/// the end.
const TRIES: usize = 3;

/// See the module.
pub struct SharedUsageActor {
    cluster: Arc<ClusterShared>,
    accounts: Accounts,
    shared: Box<dyn Shared>,
    /// The book that is told of.
    book: Option<BookId>,
    /// The run of the shared state that it is told in, and since when.
    run: Option<(Generation, Instant)>,
    is_together: bool,
    /// When it was told last, and when it is to be told again.
    tell_at: Option<Instant>,
    /// When it was said last that the book is kept.
    kept_at: Option<Instant>,
    /// What had been counted when all of it was told, and the second in which that was.
    told: Option<(CountMark, i64)>,
    /// What Redis has of the hours and days that are told of now.
    written: HashMap<UsageTable, TableContent>,
    /// Hours and days that Redis may know too little of, the newest last.
    uncompared: Vec<(i64, TableStep)>,
    is_comparing: bool,
}

/// A handle to what all gateways have used. Cheap to clone.
#[derive(Clone)]
pub struct SharedUsage {
    reader: Arc<UsageReader>,
    link: Link<SharedUsageActor>,
}

/// Tells all that is untold.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Flush;

impl SharedUsage {
    /// Starts the actor on `arbiter`, whose thread may wait.
    pub(super) fn start(
        arbiter: &actix_rt::ArbiterHandle,
        cluster: &Arc<ClusterShared>,
        accounts: Accounts,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let reader = Arc::new(UsageReader::new(Arc::clone(cluster), accounts.clone()));
        let cluster = Arc::clone(cluster);
        let factory = move || SharedUsageActor {
            shared: (cluster.connect)(),
            cluster: Arc::clone(&cluster),
            accounts: accounts.clone(),
            book: None,
            run: None,
            is_together: true,
            tell_at: None,
            kept_at: None,
            told: None,
            written: HashMap::new(),
            uncompared: Vec::new(),
            is_comparing: false,
        };
        let link = supervise(arbiter, Child { name: NAME, mailbox: 16, intensity, factory }, health);
        Self { reader, link }
    }

    /// Answers a question about the usage with what all gateways have used, as far as it can be had. Blocks: on the disk, and
    /// two seconds at most on Redis.
    pub fn query(&self, query: &Query) -> Result<(Report, GatewaysCounted), BookError> {
        self.reader.query(query)
    }

    /// Tells what is untold. Called when the service ends.
    pub(super) async fn flush(&self, deadline: tokio::time::Instant) {
        let _ = tokio::time::timeout_at(deadline, self.link.send(Flush, deadline)).await;
    }
}

impl SharedUsageActor {
    fn turn(&mut self) -> Result<(), Away> {
        // While no book has been opened there is nothing to tell.
        let Some(book) = self.accounts.book_id().and_then(|id| BookId::new(&id).ok()) else { return Ok(()) };
        if self.book.as_ref() != Some(&book) {
            self.book = Some(book.clone());
            self.run = None;
        }
        if self.is_due() {
            self.begin_if_new()?;
            let began = Instant::now();
            self.tell(&book)?;
            self.tell_at = Some(Instant::now() + TELL_EVERY.max(began.elapsed() * SHARE));
        }
        self.keep()?;
        self.is_together = true;
        Ok(())
    }

    fn is_due(&self) -> bool {
        let is_known =
            self.run.is_some_and(|(generation, _)| generation >= self.cluster.company().generation);
        !self.is_together || !is_known || self.tell_at.is_none_or(|at| at <= Instant::now())
    }

    /// Has all compared where Redis may have lost some of what it was told, or was told by a former life. Whether it is so.
    fn begin_if_new(&mut self) -> Result<bool, Away> {
        let generation = self.shared.hello()?.generation;
        let is_new = self.run.is_none_or(|(known, _)| known != generation);
        if is_new {
            self.kept_at = None;
            self.compare_all();
            self.run = Some((generation, Instant::now()));
        }
        Ok(is_new)
    }

    /// Says that the book is kept, once all of it is told.
    fn keep(&mut self) -> Result<(), Away> {
        let (Some(book), Some((_, since))) = (self.book.clone(), self.run) else { return Ok(()) };
        let is_told = self.told.is_some() && self.uncompared.is_empty() && since.elapsed() >= SETTLES_IN;
        let is_due = self.kept_at.is_none_or(|at| at.elapsed() >= KEEP_EVERY);
        // Of what was lost a moment ago it must not be said.
        if is_told && is_due && !self.begin_if_new()? {
            self.shared.keep_book(&book)?;
            self.kept_at = Some(Instant::now());
        }
        Ok(())
    }

    /// Tells what was counted since it was told last.
    fn tell(&mut self, book: &BookId) -> Result<(), Away> {
        let now = Utc::now().timestamp();
        let mark = self.accounts.mark();
        let since = match self.told {
            Some((told, _)) if told == mark => return Ok(()),
            Some((_, at)) => at.min(now),
            None => now,
        };
        let mut is_told = true;
        let mut written = HashMap::new();
        for step in TableStep::ALL {
            let from = (since - LATE_S).max(step.first(now));
            for by in Breakdown::ALL {
                // Where it cannot be read now it is told later.
                let Some(rows) = self.rows(step, by.columns(), from, now + 1) else { return Ok(()) };
                for (at, cells) in tables_of(&rows, by, &self.cluster.keys.ring()) {
                    let table = UsageTable { book: book.clone(), step, at, by };
                    let content = self.write(&table, &cells)?;
                    is_told &= content.is_some();
                    written.extend(content.map(|content| (table, content)));
                }
            }
        }
        self.written = written;
        if is_told {
            self.told = Some((mark, now));
        }
        Ok(())
    }

    /// What the book says; `None` while it cannot be read.
    fn rows(&self, step: TableStep, by: Vec<Column>, from: i64, to: i64) -> Option<Vec<ReportRow>> {
        let step = match step {
            TableStep::Hour => QueryStep::Hour,
            TableStep::Day => QueryStep::Day,
        };
        let query = Query { from, to, step, by, filter: Vec::new(), most_rows: usize::MAX };
        self.accounts.query(&query).ok()
    }

    /// Sees to it that a table has these cells; `None` where others write it again and again.
    fn write(&mut self, table: &UsageTable, cells: &TableCells) -> Result<Option<TableContent>, Away> {
        let mut known = self.written.remove(table);
        for _ in 0..TRIES {
            let mut content = match known.take() {
                Some(content) => content,
                None => self.shared.read_tables(std::slice::from_ref(table))?.pop().unwrap_or_default(),
            };
            let had_stamp = content.stamp.is_some();
            match self.change(table, &mut content, cells)? {
                TableReply::Written | TableReply::Past => return Ok(Some(content)),
                // Somebody has removed it, and perhaps more than it.
                TableReply::Stale if had_stamp => self.compare_all(),
                TableReply::Stale => {}
            }
        }
        Ok(None)
    }

    fn change(
        &mut self,
        table: &UsageTable,
        content: &mut TableContent,
        cells: &TableCells,
    ) -> Result<TableReply, Away> {
        let mut difference = TableDifference::between(&content.cells, cells);
        while let Some(part) = difference.next() {
            let TableDifference { set, removed } = part;
            let after = TableStamp(fastrand::u64(..));
            let change = TableChange::new(table.clone(), content.stamp, after, set.clone(), removed.clone());
            // Never: a part is as large as a change may be.
            let Ok(change) = change else { return Ok(TableReply::Stale) };
            let reply = self.shared.write_table(&change)?;
            if reply != TableReply::Written {
                return Ok(reply);
            }
            content.stamp = Some(after);
            content.cells.extend(set);
            for labels in &removed {
                content.cells.remove(labels);
            }
        }
        Ok(TableReply::Written)
    }

    /// Has all hours and days compared in which something was counted.
    fn compare_all(&mut self) {
        self.written.clear();
        self.told = None;
        self.uncompared.clear();
        let now = Utc::now().timestamp();
        for step in TableStep::ALL {
            let Some(rows) = self.rows(step, Vec::new(), step.first(now), now + 1) else {
                // Once it can be read, from the beginning.
                self.book = None;
                return;
            };
            self.uncompared.extend(rows.into_iter().map(|row| (row.from, step)));
        }
        self.uncompared.sort_unstable();
    }

    /// Compares the next hour or day. Whether there may be more to do soon.
    fn compare(&mut self) -> Result<bool, Away> {
        let Some(book) = self.book.clone() else { return Ok(false) };
        let Some(&(at, step)) = self.uncompared.last() else { return Ok(false) };
        for by in Breakdown::ALL {
            let table = UsageTable { book: book.clone(), step, at, by };
            if self.written.contains_key(&table) {
                continue;
            }
            let Some(rows) = self.rows(step, by.columns(), at, at + 1) else { return Ok(false) };
            for (begins, cells) in tables_of(&rows, by, &self.cluster.keys.ring()) {
                self.write(&UsageTable { at: begins, ..table.clone() }, &cells)?;
            }
        }
        // What was written may have shown that all is to be compared anew.
        if self.uncompared.last() == Some(&(at, step)) {
            self.uncompared.pop();
        }
        self.keep()?;
        Ok(true)
    }

    /// What a call that failed has changed is not known.
    fn note(&mut self, away: &Away) {
        self.written.clear();
        self.cluster.note_failure(away);
        if std::mem::replace(&mut self.is_together, false) {
            log::warn!(target: NAME, "{away}; what this gateway counts is told to the others later");
        }
    }

    /// Goes on comparing, a little at a time, so that neither Redis nor the disk notices.
    fn compare_soon(&mut self, ctx: &mut Context<Self>) {
        if self.is_comparing || self.uncompared.is_empty() || !self.is_together {
            return;
        }
        self.is_comparing = true;
        ctx.run_later(COMPARE_EVERY, |actor, ctx| {
            actor.is_comparing = false;
            match actor.compare() {
                Ok(true) => actor.compare_soon(ctx),
                // The next turn goes on.
                Ok(false) => {}
                Err(away) => actor.note(&away),
            }
        });
    }
}

impl Actor for SharedUsageActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TURN_EVERY, |actor, ctx| match actor.turn() {
            Ok(()) => actor.compare_soon(ctx),
            Err(away) => actor.note(&away),
        });
    }
}

impl Handler<Flush> for SharedUsageActor {
    type Result = ();

    fn handle(&mut self, Flush: Flush, _: &mut Self::Context) {
        let Some(book) = self.book.clone() else { return };
        // There is no later turn: what a slow Redis has not taken at once, or a moment ago, is offered again.
        for _ in 0..TRIES {
            match self.begin_if_new().and_then(|_| self.tell(&book)) {
                Ok(()) => return,
                Err(away) => self.note(&away),
            }
        }
    }
}

//! What the other gateways have used: reads what they tell of their usage books beside this one's own, when somebody asks. What
//! cannot be had is said with the answer, and never makes it fail: then it is this gateway's own. What is told is in
//! `shared_usage`.

use super::{ClusterShared, Presence, name_of, usage_tables::cells_of};
use crate::accounting::Accounts;
use chrono::Utc;
use gemini_balance_cluster::{Away, BookId, NodeId, Shared, TableStep, UsageTable};
use gemini_balance_store::BookError;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use usage::{Breakdown, Cell, Labels, Query, Report};

/// How many tables are read at once.
const AT_ONCE: usize = 10;
/// How long reading may take in all.
const READ_AT_MOST: Duration = Duration::from_secs(2);

/// Of how many gateways a sum is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaysCounted {
    /// How many gateways' usage books are in it, those of gateways that have ended included.
    pub counted: usize,
    /// Why it may be less than all that the gateways have used; `None` where it is the whole.
    pub why: Option<String>,
}

impl GatewaysCounted {
    /// Returns whether it is all that the gateways have used, but for what they have counted in the last seconds.
    pub fn is_whole(&self) -> bool {
        self.why.is_none()
    }

    /// Of this gateway alone.
    fn own(why: impl Into<String>) -> Self {
        Self { counted: 1, why: Some(why.into()) }
    }
}

/// See the module.
pub(super) struct UsageReader {
    cluster: Arc<ClusterShared>,
    accounts: Accounts,
    connection: Mutex<ReaderConnection>,
}

struct ReaderConnection {
    shared: Box<dyn Shared>,
    is_greeted: bool,
}

/// What was read of the others.
struct OthersUse {
    counted: usize,
    why: Option<String>,
    cells: Vec<(i64, Labels, Cell)>,
}

/// Why the others' use is not added.
enum NotRead {
    Away(Away),
    /// There is too much of it.
    TooMuch,
}

impl From<Away> for NotRead {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

impl UsageReader {
    pub(super) fn new(cluster: Arc<ClusterShared>, accounts: Accounts) -> Self {
        let connection = ReaderConnection { shared: (cluster.connect)(), is_greeted: false };
        Self { cluster, accounts, connection: Mutex::new(connection) }
    }

    /// Answers a question with what all gateways have used. Blocks, on the disk and for some time at most on Redis.
    pub(super) fn query(&self, query: &Query) -> Result<(Report, GatewaysCounted), BookError> {
        let mut report = self.accounts.report(query)?;
        let counted = self.add_others(&mut report);
        Ok((report, counted))
    }

    fn add_others(&self, report: &mut Report) -> GatewaysCounted {
        let query = report.query();
        let (Some(step), Ok(by)) = (TableStep::of(query.stored_step()), Breakdown::of(query)) else {
            return GatewaysCounted::own("minutes are counted by each gateway for itself");
        };
        if let Presence::Alone { why, .. } = &self.cluster.company().presence {
            return GatewaysCounted::own(why.as_deref().unwrap_or("Redis has not been asked yet"));
        }
        let Some(own) = self.accounts.book_id().and_then(|id| BookId::new(&id).ok()) else {
            return GatewaysCounted::own("this gateway's usage book is not open yet");
        };
        let span = query.span(&self.accounts.days());
        let most = query.most_rows;
        match self.read_patiently(step, by, span, &own, most) {
            Ok(others) => {
                for (at, labels, cell) in &others.cells {
                    report.add(*at, labels, cell);
                }
                GatewaysCounted { counted: 1 + others.counted, why: others.why }
            }
            Err(NotRead::Away(away)) => GatewaysCounted::own(away.to_string()),
            Err(NotRead::TooMuch) => GatewaysCounted::own(format!(
                "of the other gateways this would read more than {most} rows: ask for a shorter span or a coarser step"
            )),
        }
    }

    /// Reads, and once more where the connection has ended since it was used last.
    fn read_patiently(
        &self,
        step: TableStep,
        by: Breakdown,
        span: (i64, i64),
        own: &BookId,
        most: usize,
    ) -> Result<OthersUse, NotRead> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used = connection.is_greeted;
        let result = self.read(&mut connection, step, by, span, own, most);
        let result = match result {
            Err(NotRead::Away(Away::Unreachable { .. })) if is_used => {
                connection.is_greeted = false;
                self.read(&mut connection, step, by, span, own, most)
            }
            other => other,
        };
        connection.is_greeted = !matches!(result, Err(NotRead::Away(_)));
        if let Err(NotRead::Away(away)) = &result {
            self.cluster.note_failure(away);
        }
        result
    }

    fn read(
        &self,
        connection: &mut ReaderConnection,
        step: TableStep,
        by: Breakdown,
        (from, to): (i64, i64),
        own: &BookId,
        most: usize,
    ) -> Result<OthersUse, NotRead> {
        let began = Instant::now();
        let shared = &mut connection.shared;
        if !connection.is_greeted {
            shared.hello()?;
            connection.is_greeted = true;
        }
        let kept = shared.books()?;
        let mut why = self.doubt(&kept, own);
        let first = step.first(Utc::now().timestamp());
        if from < first {
            why = why.or_else(|| {
                Some(match step {
                    TableStep::Hour => "hours of the other gateways are kept for 48 hours".to_owned(),
                    TableStep::Day => "days of the other gateways are kept for 40 days".to_owned(),
                })
            });
        }
        let listed = shared.tables(step, from.max(first), to)?;
        let tables: Vec<_> = listed
            .into_iter()
            .filter(|(_, book)| book != own)
            .map(|(at, book)| UsageTable { book, step, at, by })
            .collect();
        let mut cells = Vec::new();
        let (mut is_joined, mut is_unread, mut is_missing) = (false, false, false);
        let ring = self.cluster.keys.ring();
        for some in tables.chunks(AT_ONCE) {
            if began.elapsed() > READ_AT_MOST {
                return Err(Away::TimedOut.into());
            }
            for (table, content) in some.iter().zip(shared.read_tables(some)?) {
                is_missing |= content.stamp.is_none();
                let heard = cells_of(&content, &ring);
                is_joined |= heard.is_joined;
                is_unread |= heard.unread > 0;
                cells.extend(heard.cells.into_iter().map(|(labels, cell)| (table.at, labels, cell)));
                if cells.len() > most {
                    return Err(NotRead::TooMuch);
                }
            }
        }
        let doubts = [
            (is_missing, STILL_TELLING),
            (is_unread, "a newer gateway tells what this one cannot read"),
            (is_joined, "a gateway has too many callers or keys to tell all of them apart: some are `other`"),
        ];
        let more = doubts.into_iter().find_map(|(is_so, doubt)| is_so.then(|| doubt.to_owned()));
        let books: BTreeSet<_> =
            tables.iter().map(|table| &table.book).chain(kept.iter().map(|(book, _)| book)).collect();
        let counted = books.into_iter().filter(|book| *book != own).count();
        Ok(OthersUse { counted, why: why.or(more), cells })
    }

    /// Why what is told may be less than what was counted, by who keeps which book.
    fn doubt(&self, kept: &[(BookId, NodeId)], own: &BookId) -> Option<String> {
        let company = self.cluster.company();
        let there: BTreeSet<_> =
            company.members.iter().filter(|member| member.is_there()).map(|member| &member.node).collect();
        if !kept.iter().any(|(book, node)| book == own && *node == self.cluster.node) {
            return Some(STILL_TELLING.to_owned());
        }
        let mut keepers: BTreeMap<&BookId, Vec<&str>> = BTreeMap::new();
        for (book, node) in kept.iter().filter(|(_, node)| there.contains(node)) {
            keepers.entry(book).or_default().push(name_of(node));
        }
        if let Some(names) = keepers.values().find(|names| names.len() > 1) {
            return Some(format!("{} keep copies of one usage book, which counts once", names.join(" and ")));
        }
        let silent: Vec<_> = there
            .into_iter()
            .filter(|node| !kept.iter().any(|(_, keeper)| keeper == *node))
            .map(name_of)
            .collect();
        (!silent.is_empty()).then(|| format!("{} has not told all that it has counted", silent.join(", ")))
    }
}

/// What is so for some seconds after a gateway has started, or Redis has lost what it was told.
const STILL_TELLING: &str = "the gateways are still telling what they have counted";

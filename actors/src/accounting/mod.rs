//! Accounting: what requests have used, counted from their transactions on a thread of its own. Here is the handle,
//! [`Accounts`]: workers sum up their finished transactions by class, the [`AccountantActor`] counts the classes and writes
//! the sums into the usage book, and whoever asks gets an answer from the book and from what is not written yet. What decides
//! where a transaction counts is in `class`, what its class counts as in `sampling`, in which sums is in the crate `usage`.

mod account;
mod accountant;
mod brief;
mod class;
mod counting;
mod groups;
mod operation;
mod recent;
mod sampling;

pub use account::Account;
pub use accountant::AccountantActor;
pub(crate) use class::is_charged;
pub use recent::NumberedTransaction;

use crate::{
    current_keys::CurrentKeys,
    failure::Failure,
    health::Health,
    supervisor::{Intensity, Link},
    transaction::Transaction,
};
use account::{AccountRules, WorkerAccounts};
use counting::Counting;
use gemini_balance_store::{BookError, Retention, StoreError, UsageBook};
use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use usage::{Days, Family, Prices, Query, Report, ReportRow, RunningCounts, Sums};

/// How usage is counted and kept.
#[derive(Clone, Debug)]
pub struct AccountingSettings {
    /// The usage book's file; empty for memory only.
    pub path: PathBuf,
    /// Where days begin.
    pub days: Days,
    /// How long sums are kept.
    pub retention: Retention,
    /// How many models count by themselves.
    pub max_models: usize,
    /// How many of the newest transactions are kept.
    pub recent: usize,
    /// What tokens cost.
    pub prices: Prices,
    /// Who the callers are.
    pub callers: CallerNames,
    /// Whether metrics tell keys apart.
    pub per_key: bool,
    /// The status that a client reads of a failure.
    pub status_of: fn(&Failure) -> u16,
}

/// What of the accounting may change while it goes on.
#[derive(Clone, Debug)]
pub struct AccountingRules {
    /// How long sums are kept.
    pub retention: Retention,
    /// What tokens cost, from now on.
    pub prices: Prices,
    /// Who the callers are, from now on.
    pub callers: CallerNames,
    /// Whether metrics tell keys apart, from now on.
    pub per_key: bool,
}

/// Who callers are, as far as usage is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerNames {
    /// Each the name of its token.
    Tokens,
    /// Whoever knows a key of the pool's, until a token is made: all of them are one caller, `pool`.
    PoolKeys,
}

/// What is known of the accounting itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountingState {
    /// Requests that were never counted: there were more than fitted, or the disk was in trouble for too long.
    pub lost: u64,
    /// Rows in the usage book.
    pub rows: u64,
    /// Seconds that are counted, but not written down yet.
    pub waiting: usize,
}

/// Up to where something was counted: another one whenever there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountMark(u64);

/// The handle: made once, shared by all.
#[derive(Clone)]
pub struct Accounts {
    shared: Arc<AccountsState>,
    link: Link<AccountantActor>,
}

/// What outlives the actor: it lies outside, so that one that dies loses nothing.
struct AccountsState {
    settings: AccountingSettings,
    keys: CurrentKeys,
    workers: WorkerAccounts,
    counting: Mutex<Counting>,
    /// A handle to read the book with, while it can be read.
    reader: Mutex<Option<Box<dyn UsageBook>>>,
}

impl AccountsState {
    fn counting(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted, with all that the workers have left until now.
    fn counted(&self) -> MutexGuard<'_, Counting> {
        let mut counting = self.counting();
        counting.count(&self.workers, chrono::Utc::now().timestamp(), &self.keys.ring());
        counting
    }

    fn reader(&self) -> MutexGuard<'_, Option<Box<dyn UsageBook>>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Starts the accountant on `arbiter`, whose thread may wait for the disk.
    pub fn start(
        arbiter: &actix_rt::ArbiterHandle,
        settings: AccountingSettings,
        keys: CurrentKeys,
        intensity: Intensity,
        health: Arc<Health>,
    ) -> Self {
        let counting = Counting::new(&settings);
        let shared = Arc::new(AccountsState {
            workers: WorkerAccounts::new(
                AccountRules {
                    prompt_bounds: settings.prices.prompt_bounds().into(),
                    keeps_recent: settings.recent > 0,
                },
                settings.status_of,
            ),
            settings,
            keys,
            counting: Mutex::new(counting),
            reader: Mutex::new(None),
        });
        let link = accountant::start(arbiter, Arc::clone(&shared), intensity, health);
        Self { shared, link }
    }

    /// Opens an account for one worker: the place where it leaves its finished transactions.
    pub fn account(&self) -> Account {
        self.shared.workers.account()
    }

    /// Changes the rules. Requests that have ended already count by the old ones.
    pub fn revise(&self, rules: AccountingRules) {
        let mut counting = self.shared.counted();
        self.shared.workers.revise(rules.prices.prompt_bounds());
        counting.revise(rules);
    }

    /// Changes the prices alone, in the same way.
    pub fn reprice(&self, prices: Prices) {
        let mut counting = self.shared.counted();
        self.shared.workers.revise(prices.prompt_bounds());
        counting.reprice(prices);
    }

    /// Counts and writes all there is; whether it is written.
    pub async fn flush(&self, at_most: Duration) -> bool {
        self.link.send(accountant::Flush, Instant::now() + at_most).await.unwrap_or(false)
    }

    /// Answers a question, from the book and from what is not written yet. Blocks on the disk.
    pub fn query(&self, query: &Query) -> Result<Vec<ReportRow>, BookError> {
        Ok(self.report(query)?.rows())
    }

    /// The same, for whoever has more to add, or asks what the rows leave out.
    pub fn report(&self, query: &Query) -> Result<Report, BookError> {
        let (node, unwritten, retention, days) = {
            let counting = self.shared.counted();
            let (node, unwritten) = counting.unwritten();
            (node, unwritten, counting.retention(), counting.days())
        };
        let now = chrono::Utc::now().timestamp();
        // Those of keys alone are kept for less, but there are none where keys are told apart by model.
        let family = query.families()?.first().copied().unwrap_or(Family::Total);
        let kept_since = |step| retention.kept_since(&days, step, family, now);
        let query = &query.of_what_is_kept(&days, kept_since);
        let mut reader = self.shared.reader();
        let Some(book) = &mut *reader else {
            let reason = "it could not be opened; see the log and /health/ready".to_owned();
            return Err(StoreError::Unusable { path: self.shared.settings.path.clone(), reason }.into());
        };
        let mut answer = book.query(query, &node)?;
        drop(reader);
        // What was written since the first line of this is in the book's answer already.
        let rest = unwritten.iter().filter(|(seq, _)| *seq > answer.last_seq).map(|(_, sums)| sums);
        answer.report.add_unfolded(rest);
        answer.report.note_kept_since(kept_since(query.stored_step()));
        Ok(answer.report)
    }

    /// Returns what tells the usage book from all others, for good; `None` before one was opened.
    pub(crate) fn book_id(&self) -> Option<Arc<str>> {
        self.shared.counting().book()
    }

    /// Returns up to where something was counted.
    pub(crate) fn mark(&self) -> CountMark {
        CountMark(self.shared.counted().marks())
    }

    /// Returns the requests of these keys in the last hour: those whose last try was on the key, as in the book.
    pub fn last_hour<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<u64> {
        self.shared.counted().last_hour(keys, chrono::Utc::now().timestamp())
    }

    /// Where days begin, by the book.
    pub fn days(&self) -> Days {
        self.shared.counting().days()
    }

    /// The currency of all costs.
    pub fn currency(&self) -> String {
        self.shared.counting().currency().to_owned()
    }

    /// What was counted since the process began.
    pub fn since_start(&self) -> Sums {
        self.shared.counted().since_start()
    }

    /// The models that count by themselves.
    pub fn models(&self) -> HashSet<Arc<str>> {
        self.shared.counted().models()
    }

    /// What metrics show of the requests since the process began.
    pub fn running(&self) -> Arc<RunningCounts> {
        self.shared.counted().running()
    }

    /// Returns of the newest transactions that have been counted those that are wanted: newest first, older than the one
    /// with this number, and so many at most.
    pub fn recent(
        &self,
        before: Option<u64>,
        at_most: usize,
        wanted: impl Fn(&Transaction) -> bool,
    ) -> Vec<NumberedTransaction> {
        let recent = self.shared.counted().recent();
        recent.before(before, at_most, wanted)
    }

    /// Returns how many of the newest transactions are kept now.
    pub fn recent_count(&self) -> usize {
        self.shared.counted().recent_count()
    }

    /// What is known of the accounting itself.
    pub fn state(&self) -> AccountingState {
        let mut state = self.shared.counted().state();
        state.lost += self.shared.workers.lost();
        state
    }

    /// Makes the actor panic, for the tests of its supervision.
    #[cfg(debug_assertions)]
    pub fn panic(&self) {
        self.link.nudge(accountant::Panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{health::State, key_ring::KeyRing, secret::Secret};
    use keypool::{KeyId, KeySpec};
    use usage::QueryStep;

    fn transaction(caller: &str) -> Transaction {
        crate::testing::transaction(caller, "/v1beta/models/m:generateContent")
    }

    fn start(path: PathBuf, callers: CallerNames, health: &Arc<Health>) -> (Accounts, actix_rt::Arbiter) {
        let key = |id: &str| {
            let spec = KeySpec { id: KeyId::from(id), project: None, weight: 1 };
            (spec, Secret::new(format!("secret-of-{id}")))
        };
        let ring = KeyRing::new(["one", "key-0123", "key-4567"].map(key).into()).unwrap();
        let settings = AccountingSettings {
            path,
            days: Days::default(),
            retention: Retention { minutes_s: 3_600, hours_s: 86_400, days_s: 864_000, max_rows: 10_000 },
            max_models: 5,
            recent: 3,
            prices: Prices::new(&[]).unwrap(),
            callers,
            per_key: false,
            status_of: |_| 503,
        };
        let arbiter = actix_rt::Arbiter::new();
        let accounts = Accounts::start(
            &arbiter.handle(),
            settings,
            CurrentKeys::new(ring),
            Intensity::default(),
            Arc::clone(health),
        );
        (accounts, arbiter)
    }

    fn callers(accounts: &Accounts) -> Vec<(String, u64)> {
        let by = vec![usage::Column::Caller];
        let to = chrono::Utc::now().timestamp() + 1;
        let query = Query {
            from: to - 60,
            to,
            step: QueryStep::All,
            by,
            filter: Vec::new(),
            most_rows: Query::MOST_ROWS,
        };
        let rows = accounts.query(&query).unwrap().into_iter();
        rows.map(|row| (row.labels[0].to_string(), row.cell.counters.requests)).collect()
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn an_accountant_that_dies_loses_nothing_and_counts_nothing_twice() {
        for path in [PathBuf::new(), std::env::temp_dir().join(format!("usage-{}.db", fastrand::u64(..)))] {
            actix_rt::System::new().block_on(async {
                let health = Arc::new(Health::default());
                let (accounts, arbiter) = start(path.clone(), CallerNames::Tokens, &health);
                let (one, other) = (accounts.account(), accounts.account());
                for life in 1..=3_u64 {
                    one.leave(&transaction("alice"));
                    assert!(accounts.flush(PATIENCE).await);
                    other.leave(&transaction("bob"));
                    accounts.panic();
                    while health.components()["accountant"].restarts < life {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    assert!(accounts.flush(PATIENCE).await);
                    assert_eq!(callers(&accounts), [("alice".to_owned(), life), ("bob".to_owned(), life)]);
                }
                assert_eq!(health.components()["accountant"].state, State::Up);
                assert_eq!(accounts.state().lost, 0);
                let recent = accounts.recent(None, 10, |_| true);
                let who: Vec<_> = recent.iter().filter_map(|(_, it)| it.caller.as_deref()).collect();
                assert_eq!((who, accounts.recent_count()), (vec!["bob", "alice", "bob"], 3), "the newest");
                let alices = |before| accounts.recent(before, 10, |it| it.caller.as_deref() == Some("alice"));
                assert_eq!(alices(None).len(), 1);
                assert_eq!(alices(Some(alices(None)[0].0)).len(), 0, "a page goes on below the last number");
                assert_eq!(accounts.recent(Some(0), 10, |_| true).len(), 0, "older than what is kept");
                assert_eq!(accounts.recent(Some(u64::MAX), 2, |_| true).len(), 2);
                assert_eq!(accounts.since_start().requests(), 6);
                assert_eq!(accounts.running().requests().map(|(_, count)| count).sum::<u64>(), 6);
                arbiter.stop();
            });
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
            }
        }
    }

    #[test]
    fn callers_on_keys_of_the_pool_are_one() {
        actix_rt::System::new().block_on(async {
            let (accounts, arbiter) = start(PathBuf::new(), CallerNames::PoolKeys, &Arc::default());
            let account = accounts.account();
            account.leave(&transaction("key-0123"));
            account.leave(&transaction("key-4567"));
            account.leave(&Transaction { caller: None, attempts: Vec::new(), ..transaction("nobody") });
            // A token that was made meanwhile is a caller of its own.
            account.leave(&transaction("alice"));
            assert!(accounts.flush(PATIENCE).await);
            let counted = [("", 1), ("alice", 1), ("pool", 2)].map(|(name, count)| (name.to_owned(), count));
            assert_eq!(callers(&accounts), counted);
            arbiter.stop();
        });
    }

    #[test]
    fn what_has_ended_before_a_change_of_the_rules_counts_by_the_old_ones() {
        actix_rt::System::new().block_on(async {
            let (accounts, arbiter) = start(PathBuf::new(), CallerNames::PoolKeys, &Arc::default());
            let account = accounts.account();
            let settings = &accounts.shared.settings;
            let (retention, prices) = (settings.retention, settings.prices.clone());
            account.leave(&transaction("key-0123"));
            let callers_now = CallerNames::Tokens;
            accounts.revise(AccountingRules { retention, prices, callers: callers_now, per_key: false });
            account.leave(&transaction("key-0123"));
            assert!(accounts.flush(PATIENCE).await);
            assert_eq!(callers(&accounts), [("key-0123".to_owned(), 1), ("pool".to_owned(), 1)]);
            arbiter.stop();
        });
    }

    #[test]
    fn what_is_of_too_many_groups_is_lost_and_counted_as_that() {
        actix_rt::System::new().block_on(async {
            let (accounts, arbiter) = start(PathBuf::new(), CallerNames::Tokens, &Arc::default());
            let workers = WorkerAccounts::new(AccountRules::default(), |_| 503);
            let account = workers.account();
            let asked =
                |n: usize| Transaction { model: Some(format!("model-{n}").into()), ..transaction("alice") };
            for n in 0..account::MOST_GROUPS + 5 {
                account.leave(&asked(n));
            }
            account.leave(&asked(0));
            assert_eq!(workers.lost(), 5);
            let mut counting = Counting::new(&accounts.shared.settings);
            let ring = &accounts.shared.keys.ring();
            counting.count(&workers, 1, ring);
            assert_eq!(counting.since_start().requests(), account::MOST_GROUPS as u64 + 1);
            account.leave(&asked(account::MOST_GROUPS));
            counting.count(&workers, 2, ring);
            assert_eq!(
                (workers.lost(), counting.since_start().requests()),
                (5, account::MOST_GROUPS as u64 + 2)
            );
            arbiter.stop();
        });
    }

    #[test]
    fn a_disk_in_trouble_for_hours_costs_bounded_memory_and_what_is_lost_is_counted() {
        let health = Arc::new(Health::default());
        actix_rt::System::new().block_on(async {
            let (accounts, arbiter) = start(PathBuf::new(), CallerNames::Tokens, &health);
            let mut counting = Counting::new(&accounts.shared.settings);
            let ring = &accounts.shared.keys.ring();
            let workers = WorkerAccounts::new(AccountRules::default(), |_| 503);
            let account = workers.account();
            // A request a second for eight hours, none of which can be written.
            for second in 0..8 * 3_600 {
                account.leave(&transaction("alice"));
                counting.count(&workers, second, ring);
            }
            let (_, unwritten) = counting.unwritten();
            assert!(unwritten.len() <= 302, "{}", unwritten.len());
            let kept: u64 = unwritten.iter().map(|(_, sums)| sums.requests()).sum();
            assert_eq!(kept + counting.state().lost, 8 * 3_600);
            assert!(kept > 3 * 3_600, "hours are kept: {kept}");
            arbiter.stop();
        });
    }
}

//! What is counted and not written yet, and what is only kept in memory: the newest transactions, the sums since the start.
//! It lies outside the actor and outlives it.

use super::{
    AccountingRules, AccountingSettings, AccountingState,
    account::{CountedModel, TakenGroups, WorkerAccounts},
    groups::ClassGroup,
    recent::{RecentPart, RecentSnapshot, RecentTransactions},
    sampling::{Sampler, counted, observe},
};
use crate::key_ring::KeyRing;
use chrono::{DateTime, Utc};
use gemini_balance_store::{BookOverview, JournalRow, Retention};
use std::{
    cmp::Reverse,
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use usage::{Days, KeyDetail, LastHour, ModelNames, Prices, ReportRow, RunningCounts, Sums};

/// While the disk is in trouble: beyond so many seconds those of one minute are joined.
const MOST_SECONDS: usize = 60;
/// And beyond so many rows in all the oldest are lost.
const MOST_WAITING: usize = 300;

/// See the module.
pub(super) struct Counting {
    /// This process, among all that write the book.
    node: String,
    /// The number of the second under way.
    seq: u64,
    /// The usage book's id, since one was opened first.
    book: Option<Arc<str>>,
    /// How often something was counted, or a book opened.
    marks: u64,
    /// The second under way.
    current: Sums,
    /// Whole seconds that are not written yet, oldest first.
    waiting: VecDeque<JournalRow>,
    /// What was taken from the workers.
    taken: Vec<TakenGroups>,
    /// Which groups of that are still to be counted, the first come at last.
    uncounted: Vec<TakenPlace>,
    /// What was taken before, empty again: it has room for what comes.
    spare: Vec<TakenGroups>,
    models: ModelNames,
    max_models: usize,
    retention: Retention,
    prices: Prices,
    sampler: Sampler,
    days: Days,
    recent: RecentTransactions,
    /// For what the workers write down next.
    empty_parts: Vec<RecentPart>,
    since_start: Sums,
    /// The requests of each key of the pool's in the last hour.
    hour: LastHour,
    /// Whether what the book knows of that hour is in it.
    hour_is_seeded: bool,
    /// What metrics show. Copied only where somebody is reading it.
    running: Arc<RunningCounts>,
    lost: u64,
    rows: u64,
}

/// A group among what was taken. What is greater is counted first: classes before callers and keys, whose models' names
/// they find; and the class that began first before the others, since of models that are new the first come are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TakenPlace {
    kind: GroupKind,
    since: Reverse<DateTime<Utc>>,
    taken: usize,
    group: usize,
}

/// What a group is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum GroupKind {
    Keys,
    Caller,
    Class,
}

impl Counting {
    pub(super) fn new(settings: &AccountingSettings) -> Self {
        Self {
            node: format!("{:016x}", fastrand::u64(..)),
            seq: 1,
            book: None,
            marks: 0,
            current: Sums::default(),
            waiting: VecDeque::new(),
            taken: Vec::new(),
            uncounted: Vec::new(),
            spare: Vec::new(),
            models: ModelNames::new(settings.max_models, []),
            max_models: settings.max_models,
            retention: settings.retention,
            prices: settings.prices.clone(),
            sampler: Sampler::new(settings.callers),
            days: settings.days,
            recent: RecentTransactions::new(settings.recent),
            empty_parts: Vec::new(),
            since_start: Sums::default(),
            hour: LastHour::default(),
            hour_is_seeded: false,
            running: Arc::new(RunningCounts::new(settings.per_key)),
            lost: 0,
            rows: 0,
        }
    }

    /// Goes by other rules from now on.
    pub(super) fn revise(&mut self, rules: AccountingRules) {
        let AccountingRules { retention, prices, callers, per_key } = rules;
        (self.retention, self.prices) = (retention, prices);
        self.sampler = Sampler::new(callers);
        Arc::make_mut(&mut self.running).tell_keys_apart(per_key);
    }

    pub(super) fn reprice(&mut self, prices: Prices) {
        self.prices = prices;
    }

    pub(super) fn retention(&self) -> Retention {
        self.retention
    }

    pub(super) fn currency(&self) -> &str {
        self.prices.currency()
    }

    /// Takes over what the book knows.
    pub(super) fn opened(&mut self, overview: BookOverview, days: Days) {
        let counted = std::mem::replace(&mut self.models, ModelNames::new(0, []));
        let known = overview.models.into_iter().map(Arc::from).chain(counted.into_names());
        self.models = ModelNames::new(self.max_models, known);
        self.days = days;
        self.rows = overview.rows;
        self.book = Some(overview.id.into());
        self.marks += 1;
    }

    /// The id of the book that was opened last.
    pub(super) fn book(&self) -> Option<Arc<str>> {
        self.book.clone()
    }

    /// Another number whenever something was counted.
    pub(super) fn marks(&self) -> u64 {
        self.marks
    }

    /// Takes over what the book knows of the last hour, once: after that all is counted here as well.
    pub(super) fn seed_hour(&mut self, rows: &[ReportRow]) {
        if std::mem::replace(&mut self.hour_is_seeded, true) {
            return;
        }
        let counted = std::mem::take(&mut self.hour);
        for row in rows {
            if let Some(key) = row.labels.first() {
                let requests = u32::try_from(row.cell.counters.requests).unwrap_or(u32::MAX);
                self.hour.add(key, row.from.div_euclid(60), requests);
            }
        }
        self.hour.merge(counted);
    }

    /// Returns the requests of these keys in the last hour.
    pub(super) fn last_hour<'a>(&self, keys: impl Iterator<Item = &'a str>, now: i64) -> Vec<u64> {
        keys.map(|key| self.hour.requests(key, now.div_euclid(60))).collect()
    }

    pub(super) fn set_rows(&mut self, rows: u64) {
        self.rows = rows;
    }

    /// Counts what the workers have left, as of this second.
    pub(super) fn count(&mut self, workers: &WorkerAccounts, now: i64, ring: &Arc<KeyRing>) {
        if self.current.at() != now {
            self.end_second();
            self.current = Sums::new(now);
        }
        // What a life of the accountant that has died has left, first.
        self.count_taken(now, ring);
        self.take(workers);
        self.count_taken(now, ring);
    }

    /// Counts what the workers have left as of a second that has ended, and lets it be written.
    pub(super) fn count_second(&mut self, workers: &WorkerAccounts, second: i64, ring: &Arc<KeyRing>) {
        // Somebody may have asked in the next one already.
        self.count(workers, second.max(self.current.at()), ring);
        self.end_second();
    }

    /// Takes the newest transactions from the workers: the less of them lies there, the less memory do they write on.
    pub(super) fn take_recent(&mut self, workers: &WorkerAccounts) {
        let parts = workers.take_recent(&mut self.empty_parts);
        self.empty_parts = self.recent.add(parts);
    }

    /// Takes what the workers have left.
    fn take(&mut self, workers: &WorkerAccounts) {
        self.take_recent(workers);
        for mut taken in workers.take(&mut self.spare) {
            let groups = &taken.groups;
            let whenever = Reverse(DateTime::UNIX_EPOCH);
            let taken_at = self.taken.len();
            let place = |kind, since| move |group| TakenPlace { kind, since, taken: taken_at, group };
            self.uncounted.extend((0..groups.keys().len()).map(place(GroupKind::Keys, whenever)));
            self.uncounted.extend((0..groups.callers().len()).map(place(GroupKind::Caller, whenever)));
            let classes = groups.classes().iter().enumerate();
            self.uncounted
                .extend(classes.map(|(group, it)| place(GroupKind::Class, Reverse(it.since))(group)));
            taken.models.resize(groups.classes().len(), None);
            self.taken.push(taken);
        }
        // Groups are large, and stay where they are.
        self.uncounted.sort_unstable();
    }

    /// Counts what was taken. What makes it panic is lost, not counted again and again.
    fn count_taken(&mut self, now: i64, ring: &Arc<KeyRing>) {
        if self.uncounted.is_empty() {
            self.empty_taken();
            return;
        }
        self.marks += 1;
        if self.sampler.follow(ring) {
            let ids: HashSet<&str> = ring.keys().iter().map(|key| key.id().as_str()).collect();
            self.hour.retain(|key| ids.contains(key));
        }
        let detail = KeyDetail::of(ring.keys().len(), self.models.count());
        let day = self.days.date(now);
        while let Some(TakenPlace { kind, taken, group, .. }) = self.uncounted.pop() {
            let taken = &mut self.taken[taken];
            let running = Arc::make_mut(&mut self.running);
            match kind {
                GroupKind::Class => {
                    let ClassGroup { class, totals, times, .. } = &taken.groups.classes()[group];
                    self.lost += totals.requests;
                    let model = self.models.name(class.model.as_ref(), class.traits.proven);
                    let counted = counted(class, totals, &mut self.prices, day);
                    self.current.count_by_model(&model, &counted, class.faults.len(), times);
                    let is_named = running.count_by_model(&model, &counted, times, &observe(class));
                    if !is_named {
                        running.drop_names_of(totals.requests);
                    }
                    taken.models[group] = Some(CountedModel { model, is_named });
                    self.lost -= totals.requests;
                }
                GroupKind::Caller => {
                    let group = &taken.groups.callers()[group];
                    let class = &taken.groups.classes()[group.class as usize].class;
                    let Some(of_class) = &taken.models[group.class as usize] else { continue };
                    self.lost += group.totals.requests;
                    let caller = self.sampler.caller(group.caller.as_ref(), ring);
                    let counted = counted(class, &group.totals, &mut self.prices, day);
                    self.current.count_by_caller(&caller, &of_class.model, &counted, class.faults.len());
                    let is_named = running.count_by_caller(&caller, &counted, class.traits.limit);
                    if of_class.is_named && !is_named {
                        running.drop_names_of(group.totals.requests);
                    }
                    self.lost -= group.totals.requests;
                }
                GroupKind::Keys => {
                    let group = &taken.groups.keys()[group];
                    let class = &taken.groups.classes()[group.class as usize].class;
                    let Some(of_class) = &taken.models[group.class as usize] else { continue };
                    let requests = group.totals.requests;
                    self.lost += requests;
                    let tries = self.sampler.tries(&group.keys, ring);
                    if let Some(last) = tries.last() {
                        let requests = requests.try_into().unwrap_or(u32::MAX);
                        self.hour.add(&last.key, now.div_euclid(60), requests);
                    }
                    let counted = counted(class, &group.totals, &mut self.prices, day);
                    self.current.count_by_key(&tries, &of_class.model, &counted, detail);
                    let is_named = running.count_by_key(&tries, &class.faults, requests);
                    if of_class.is_named && !is_named {
                        running.drop_names_of(requests);
                    }
                    self.lost -= requests;
                }
            }
        }
        self.empty_taken();
    }

    fn empty_taken(&mut self) {
        for mut taken in self.taken.drain(..) {
            taken.groups.clear();
            taken.models.clear();
            self.spare.push(taken);
        }
    }

    /// Lets the second under way wait to be written.
    pub(super) fn end_second(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let sums = std::mem::take(&mut self.current);
        self.since_start.merge(&sums);
        self.current = Sums::new(sums.at());
        let minute = |sums: &Sums| sums.at().div_euclid(60);
        // Of the first it is not known whether it is written, so it stays as it is.
        if self.waiting.len() > MOST_SECONDS
            && let Some(last) = self.waiting.back_mut()
            && minute(&last.sums) == minute(&sums)
        {
            last.sums.merge(&sums);
            return;
        }
        self.waiting.push_back(JournalRow { node: self.node.clone(), seq: self.seq, sums });
        self.seq += 1;
        if self.waiting.len() > MOST_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.lost += oldest.sums.requests();
            log::error!(target: "accountant", "{} requests of the usage are lost: the disk is in trouble for too long", oldest.sums.requests());
        }
    }

    /// The row to write next.
    pub(super) fn first_waiting(&self) -> Option<JournalRow> {
        self.waiting.front().cloned()
    }

    /// That row is written.
    pub(super) fn written(&mut self, seq: u64) {
        if self.waiting.front().is_some_and(|row| row.seq == seq) {
            self.waiting.pop_front();
        }
    }

    /// The node, and all that is not known to be written, with its numbers.
    pub(super) fn unwritten(&self) -> (String, Vec<(u64, Sums)>) {
        let waiting = self.waiting.iter().map(|row| (row.seq, row.sums.clone()));
        (self.node.clone(), waiting.chain([(self.seq, self.current.clone())]).collect())
    }

    pub(super) fn days(&self) -> Days {
        self.days
    }

    pub(super) fn since_start(&self) -> Sums {
        let mut sums = self.since_start.clone();
        sums.merge(&self.current);
        sums
    }

    pub(super) fn models(&self) -> HashSet<Arc<str>> {
        self.models.names().cloned().collect()
    }

    pub(super) fn running(&self) -> Arc<RunningCounts> {
        Arc::clone(&self.running)
    }

    pub(super) fn recent(&self) -> RecentSnapshot {
        self.recent.snapshot()
    }

    pub(super) fn recent_count(&self) -> usize {
        self.recent.len()
    }

    pub(super) fn state(&self) -> AccountingState {
        let waiting = self.waiting.len() + usize::from(!self.current.is_empty());
        AccountingState { lost: self.lost, rows: self.rows, waiting }
    }
}

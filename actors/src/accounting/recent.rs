//! The newest transactions: what an operator is told of single requests, as long as they are young. Each has a number, by
//! which a list of them is read on page by page while newer ones come. They are kept as the workers have written them down
//! (see `brief`), so that keeping them costs a request next to nothing; whoever asks has them made whole again.

use super::brief::{Brief, BriefText};
use crate::transaction::Transaction;
use chrono::{DateTime, Utc};
use std::{collections::VecDeque, sync::Arc};

/// A transaction with its number.
pub type NumberedTransaction = (u64, Arc<Transaction>);

/// What a worker writes down at most before the accountant takes it.
const MOST_AT_ONCE: usize = 16_384;
/// So many that came at once are joined with those before them.
const FEW: usize = 64;
/// So many are joined at most.
const MOST_JOINED: usize = 1_024;
/// So many emptied parts are kept for their room.
const MOST_SPARE: usize = 64;

/// Transactions that one worker has left, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentPart {
    entries: Vec<RecentEntry>,
    text: BriefText,
    wholes: Vec<Transaction>,
}

/// Nearly all are brief, and lie one after the other: no pointer is followed.
#[derive(Clone, Copy, Debug)]
enum RecentEntry {
    Brief(Brief),
    /// What cannot be told briefly, by its place among the wholes.
    Whole(usize),
}

impl RecentPart {
    /// Writes one down, unless there are too many.
    pub(super) fn push(&mut self, transaction: &Transaction) {
        if self.entries.len() >= MOST_AT_ONCE {
            return;
        }
        let entry = if let Some(brief) = self.text.brief(transaction) {
            RecentEntry::Brief(brief)
        } else {
            self.wholes.push(transaction.clone());
            RecentEntry::Whole(self.wholes.len() - 1)
        };
        self.entries.push(entry);
    }

    /// Writes down one that another has written down.
    fn copy(&mut self, other: &Self, at: usize) {
        let copy = match &other.entries[at] {
            RecentEntry::Brief(brief) => self.text.copy(&other.text, brief),
            RecentEntry::Whole(_) => None,
        };
        match copy {
            Some(brief) => self.entries.push(RecentEntry::Brief(brief)),
            None => self.push(&other.whole(at)),
        }
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn clear(&mut self) {
        let Self { entries, text, wholes } = self;
        entries.clear();
        text.clear();
        wholes.clear();
    }

    fn ended(&self, at: usize) -> DateTime<Utc> {
        match &self.entries[at] {
            RecentEntry::Brief(brief) => brief.ended(),
            RecentEntry::Whole(place) => self.wholes[*place].ended,
        }
    }

    fn whole(&self, at: usize) -> Transaction {
        match &self.entries[at] {
            RecentEntry::Brief(brief) => self.text.whole(brief),
            RecentEntry::Whole(place) => self.wholes[*place].clone(),
        }
    }
}

/// Transactions that the accountant found at one time, or at several when there were few.
#[derive(Clone, Debug)]
struct RecentSlice {
    /// The number of the oldest.
    first: u64,
    parts: Vec<Arc<RecentPart>>,
}

impl RecentSlice {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Part and place in it of each, oldest first.
    fn in_order(&self) -> Vec<(usize, usize)> {
        let parts = self.parts.iter().enumerate();
        let mut places: Vec<_> =
            parts.flat_map(|(part, it)| (0..it.len()).map(move |at| (part, at))).collect();
        if self.parts.len() > 1 {
            // Each worker's are in their order already.
            places.sort_by_key(|&(part, at)| self.parts[part].ended(at));
        }
        places
    }
}

/// The newest transactions, up to a bound. See the module.
#[derive(Debug)]
pub(super) struct RecentTransactions {
    most: usize,
    /// The number of the next.
    next: u64,
    count: usize,
    slices: VecDeque<RecentSlice>,
    spare: Vec<RecentPart>,
}

impl RecentTransactions {
    /// Makes an empty one that keeps so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, next: 0, count: 0, slices: VecDeque::new(), spare: Vec::new() }
    }

    /// Takes what the workers have left, in the place of the oldest if it is full. Gives back as many empty parts.
    pub(super) fn add(&mut self, parts: Vec<RecentPart>) -> Vec<RecentPart> {
        let given = parts.len();
        let (parts, empty): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.len() > 0);
        self.spare.extend(empty);
        if !parts.is_empty() {
            let parts = parts.into_iter().map(Arc::new).collect();
            let slice = RecentSlice { first: self.next, parts };
            let count = slice.len();
            self.next += count as u64;
            self.count += count;
            self.keep(slice, count);
        }
        // All of the oldest slice must be beyond the bound: it goes as a whole.
        while let Some(oldest) = self.slices.front().map(RecentSlice::len)
            && self.count - oldest >= self.most
        {
            self.count -= oldest;
            let parts = self.slices.pop_front().map(|slice| slice.parts).unwrap_or_default();
            for part in parts {
                self.recycle(part);
            }
        }
        (0..given).map(|_| self.spare.pop().unwrap_or_default()).collect()
    }

    fn keep(&mut self, slice: RecentSlice, count: usize) {
        let joined = self
            .slices
            .back_mut()
            .filter(|last| count <= FEW && last.parts.len() == 1 && last.len() + count <= MOST_JOINED);
        // Somebody may be reading it.
        let Some(last) = joined.and_then(|last| Arc::get_mut(last.parts.first_mut()?)) else {
            let slice = if count <= FEW { join(&slice) } else { slice };
            self.slices.push_back(slice);
            return;
        };
        for (part, at) in slice.in_order() {
            last.copy(&slice.parts[part], at);
        }
        for part in slice.parts {
            self.recycle(part);
        }
    }

    fn recycle(&mut self, part: Arc<RecentPart>) {
        if let Ok(mut part) = Arc::try_unwrap(part)
            && self.spare.len() < MOST_SPARE
        {
            part.clear();
            self.spare.push(part);
        }
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.count.min(self.most)
    }

    /// Returns what is there now, to be read while more come.
    pub(super) fn snapshot(&self) -> RecentSnapshot {
        let oldest = self.next - self.len() as u64;
        RecentSnapshot { oldest, slices: self.slices.iter().cloned().collect() }
    }
}

fn join(slice: &RecentSlice) -> RecentSlice {
    let mut one = RecentPart::default();
    for (part, at) in slice.in_order() {
        one.copy(&slice.parts[part], at);
    }
    RecentSlice { first: slice.first, parts: vec![Arc::new(one)] }
}

/// The newest transactions at one time.
#[derive(Debug)]
pub(super) struct RecentSnapshot {
    /// The number of the oldest.
    oldest: u64,
    slices: Vec<RecentSlice>,
}

impl RecentSnapshot {
    /// Returns those that are wanted, newest first, older than the one with this number, and so many at most.
    pub(super) fn before(
        &self,
        number: Option<u64>,
        most: usize,
        wanted: impl Fn(&Transaction) -> bool,
    ) -> Vec<NumberedTransaction> {
        let mut found = Vec::new();
        for slice in self.slices.iter().rev() {
            if number.is_some_and(|number| number <= slice.first) {
                continue;
            }
            let places = slice.in_order();
            for (at, &(part, place)) in places.iter().enumerate().rev() {
                let at = slice.first + at as u64;
                if at < self.oldest || found.len() >= most {
                    return found;
                }
                if number.is_some_and(|number| at >= number) {
                    continue;
                }
                let transaction = slice.parts[part].whole(place);
                if wanted(&transaction) {
                    found.push((at, Arc::new(transaction)));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(times: impl IntoIterator<Item = i64>) -> RecentPart {
        let mut part = RecentPart::default();
        for ms in times {
            let ended = DateTime::from_timestamp_millis(ms).unwrap();
            part.push(&Transaction {
                ended,
                id: ms.to_string(),
                ..crate::testing::transaction("alice", "/p")
            });
        }
        part
    }

    fn listed(recent: &RecentTransactions, before: Option<u64>, most: usize) -> Vec<(u64, i64)> {
        let found = recent.snapshot().before(before, most, |_| true);
        found.iter().map(|(number, it)| (*number, it.id.parse().unwrap())).collect()
    }

    #[test]
    fn the_newest_of_all_workers_are_listed_in_the_order_in_which_they_ended() {
        for few in [true, false] {
            let mut recent = RecentTransactions::new(500);
            let step = if few { 1 } else { 100 };
            let (odd, even) = ((1..step * 10).step_by(2), (0..step * 10).step_by(2));
            let given = recent.add(vec![part(odd), part([]), part(even)]);
            assert_eq!(given.len(), 3, "as many as came");
            let newest = u64::try_from(step * 10 - 1).unwrap();
            let expected = |number: u64| (number, i64::try_from(number).unwrap());
            assert_eq!(listed(&recent, None, 3), [newest, newest - 1, newest - 2].map(expected));
            assert_eq!(listed(&recent, Some(newest - 2), 1), [expected(newest - 3)]);
            assert_eq!(recent.len(), usize::try_from(step * 10).unwrap().min(500));
            assert_eq!(listed(&recent, None, usize::MAX).len(), recent.len());
        }
    }

    #[test]
    fn no_more_are_kept_than_wanted_however_they_come_and_numbers_go_on() {
        let mut recent = RecentTransactions::new(100);
        let mut number = 0;
        for at_once in [1, 3, 64, 65, 1, 700, 2, 99, 100, 101, 0, 5] {
            let from = number;
            number += at_once;
            recent.add(vec![part(from..number)]);
            let kept = number.min(100);
            let expected: Vec<_> =
                (number - kept..number).rev().map(|at| (u64::try_from(at).unwrap(), at)).collect();
            assert_eq!(listed(&recent, None, usize::MAX), expected, "{at_once}");
            assert!(recent.count < 100 + 1_024, "{}", recent.count);
        }
        for _ in 0..5_000 {
            recent.add(vec![part(number..=number)]);
            number += 1;
        }
        assert!(recent.slices.len() <= 3, "{}", recent.slices.len());
        assert_eq!(recent.len(), 100);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_wanted() {
        let mut recent = RecentTransactions::new(0);
        recent.add(vec![part(0..5)]);
        assert_eq!((recent.len(), listed(&recent, None, 9)), (0, vec![]));
    }

    #[test]
    fn who_reads_sees_what_was_there_while_more_come() {
        let mut recent = RecentTransactions::new(10);
        recent.add(vec![part(0..2)]);
        let snapshot = recent.snapshot();
        recent.add(vec![part(2..200)]);
        assert_eq!(snapshot.before(None, 9, |_| true).len(), 2);
        assert_eq!(recent.snapshot().before(None, 99, |it| it.id == "199").len(), 1);
    }
}

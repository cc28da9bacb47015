//! What this gateway has to say to the others, and what of it is on its way. The key manager leaves it here, at the moment
//! at which its pool changes, and the cluster's actor takes it; so it lies outside both and outlives them. Of each subject
//! only the newest word lies here, so that its size is bounded by the pool's.
//!
//! It also knows which facts of the others are not to be taken over: those of a subject of which this gateway has said
//! something since, or is about to. What then holds is decided by the order of the facts, and its own word is answered with
//! that.

use super::note::Note;
use chrono::{DateTime, Utc};
use gemini_balance_cluster::FactId;
use keypool::{Draw, ModelLoad, Record, Subject};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// For how long what is said of the load holds.
const LOADS_HOLD: Duration = Duration::from_secs(1);
/// How many notes may wait.
const MOST_NOTES: usize = 10_000;

/// Tells the cluster's actor that something lies here.
type Nudge = Box<dyn Fn() + Send + Sync>;

/// See the module.
#[derive(Default)]
pub(crate) struct Outbox {
    words: Mutex<Words>,
    nudge: OnceLock<Nudge>,
    /// Whether all that holds is to be read anew.
    wants_all: AtomicBool,
    /// Whether another gateway does what only one is to do.
    is_off_duty: AtomicBool,
    /// Whether something is drawn, or waits to be.
    is_drawing: AtomicBool,
    drawing: Mutex<Drawing>,
}

/// What is said of whose turn it is to probe.
pub(super) enum ProbeAsk {
    /// This gateway wants it, for so long at most.
    Claim(Subject, Duration),
    /// It wants it no more.
    Release(Subject),
}

/// What is to be drawn of limits, and what this gateway says of its load.
#[derive(Default)]
struct Drawing {
    draws: Vec<Draw>,
    loads: Vec<ModelLoad>,
    /// When these were made.
    loads_at: Option<Instant>,
}

/// A word, and the last fact that this gateway had taken over when it said so. Where the others say something that is newer
/// than that, neither knew of the other, and the rank of both decides; else this is the answer to it.
#[derive(Clone)]
struct Word<T> {
    said: T,
    knowing: FactId,
}

/// Words that are told together: they were said knowing the same.
pub(super) struct Telling<T> {
    pub(super) words: Vec<T>,
    pub(super) knowing: FactId,
}

#[derive(Default)]
struct Words {
    /// Not told yet.
    waiting: HashMap<Subject, Word<Record>>,
    /// Being told.
    under_way: HashMap<Subject, Word<Record>>,
    /// Up to here this gateway has taken over what the others have told.
    read: FactId,
    /// Where what was told last of a subject stands in the order of facts, until this gateway has read so far.
    told: HashMap<Subject, FactId>,
    /// The last of all that was told.
    last: FactId,
    /// By their subjects, as those below.
    notes: HashMap<String, Word<Note>>,
    notes_under_way: HashMap<String, Word<Note>>,
    /// Where what was told last of a token stands, until this gateway has read so far.
    notes_told: HashMap<String, FactId>,
    /// In the order in which they were said.
    turns: Vec<ProbeAsk>,
}

impl Outbox {
    /// Takes the way to the actor. Called once, by the code that starts it.
    pub(super) fn connect(&self, nudge: Nudge) {
        let _ = self.nudge.set(nudge);
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self) {
        if let Some(nudge) = self.nudge.get() {
            nudge();
        }
    }

    /// The others are to know this.
    pub(crate) fn tell(&self, record: Record) {
        let mut words = self.words();
        let Words { waiting, under_way, read, .. } = &mut *words;
        let before = waiting.get(&record.subject).and_then(|before| before.said.reset_at);
        let said = upon_reset(record, before);
        let knowing = known_before(&said.subject, waiting, under_way).unwrap_or(*read);
        waiting.insert(said.subject.clone(), Word { said, knowing });
        drop(words);
        self.nudge();
    }

    /// The others are to know this of the ledger.
    pub(crate) fn note(&self, note: Note) {
        let mut words = self.words();
        let subject = note.subject();
        // Beyond it they go by what they know, and find out. Of tokens all must know.
        let is_of_token = matches!(note, Note::Token { .. });
        if is_of_token || words.notes.len() < MOST_NOTES || words.notes.contains_key(&subject) {
            words.put_note(subject, note);
        }
        drop(words);
        self.nudge();
    }

    /// The same of what is told again: a newer word on it goes before.
    pub(super) fn note_again(&self, note: Note) {
        let subject = note.subject();
        let mut words = self.words();
        if !words.notes_under_way.contains_key(&subject) && !words.notes.contains_key(&subject) {
            words.put_note(subject, note);
        }
        drop(words);
        self.nudge();
    }

    /// Takes some of these.
    pub(super) fn take_notes(&self, at_most: usize) -> Telling<Note> {
        let mut words = self.words();
        let Words { notes, notes_under_way, .. } = &mut *words;
        take(notes, notes_under_way, at_most)
    }

    /// What a note says of its subject stands there in the order; or something else does, and holds.
    pub(super) fn note_told(&self, note: &Note, at: FactId) {
        let mut words = self.words();
        let subject = note.subject();
        words.notes_under_way.remove(&subject);
        if matches!(note, Note::Token { .. }) {
            words.last = words.last.max(at);
            words.notes_told.insert(subject, at);
        }
    }

    /// Says whether this gateway does what only one is to do.
    pub(super) fn set_duty(&self, is_on_duty: bool) {
        self.is_off_duty.store(!is_on_duty, Ordering::Relaxed);
    }

    /// Tells whether it does. One that is alone does everything.
    pub(crate) fn is_on_duty(&self) -> bool {
        !self.is_off_duty.load(Ordering::Relaxed)
    }

    /// Tells whether something may be drawn: one call at a time.
    pub(crate) fn may_draw(&self) -> bool {
        !self.is_drawing.load(Ordering::Acquire)
    }

    /// This is to be drawn. `loads` is asked where what was said of it last is old.
    pub(crate) fn draw(&self, draws: Vec<Draw>, loads: impl FnOnce() -> Vec<ModelLoad>) {
        let has_any = !draws.is_empty();
        let mut drawing = self.drawing();
        if drawing.loads_at.is_none_or(|at| at.elapsed() >= LOADS_HOLD) {
            (drawing.loads, drawing.loads_at) = (loads(), Some(Instant::now()));
        }
        drawing.draws = draws;
        drop(drawing);
        if has_any {
            self.is_drawing.store(true, Ordering::Release);
            self.nudge();
        }
    }

    /// Takes what is to be drawn. Nothing more comes until it is [over](Self::has_drawn).
    pub(super) fn take_draws(&self) -> Vec<Draw> {
        std::mem::take(&mut self.drawing().draws)
    }

    /// What was drawn is answered, or will not be.
    pub(super) fn has_drawn(&self) {
        self.is_drawing.store(false, Ordering::Release);
    }

    /// What this gateway says of its load.
    pub(super) fn loads(&self) -> Vec<ModelLoad> {
        self.drawing().loads.clone()
    }

    fn drawing(&self) -> MutexGuard<'_, Drawing> {
        self.drawing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a fact that stands there is older than what this gateway says of the same token.
    pub(super) fn outruns_note(&self, subject: &str, at: FactId) -> bool {
        let words = self.words();
        words.notes.contains_key(subject)
            || words.notes_under_way.contains_key(subject)
            || words.notes_told.get(subject).is_some_and(|told| *told > at)
    }

    /// This gateway wants to be the one that probes this, for so long at most.
    pub(crate) fn claim(&self, subject: Subject, patience: Duration) {
        self.words().turns.push(ProbeAsk::Claim(subject, patience));
        self.nudge();
    }

    /// It wants it no more.
    pub(crate) fn release(&self, subject: Subject) {
        self.words().turns.push(ProbeAsk::Release(subject));
        self.nudge();
    }

    /// Takes what is to be claimed and given up, in that order.
    pub(super) fn take_turns(&self) -> Vec<ProbeAsk> {
        std::mem::take(&mut self.words().turns)
    }

    /// All that holds is to be read anew: there are keys of which this gateway has not heard, or facts that it may have missed.
    pub(crate) fn want_all(&self) {
        self.wants_all.store(true, Ordering::Release);
    }

    pub(super) fn takes_all(&self) -> bool {
        self.wants_all.swap(false, Ordering::AcqRel)
    }

    /// Tells whether a fact that stands there is to be set aside, since this gateway has a newer word on its subject.
    pub(crate) fn outruns(&self, subject: &Subject, at: FactId) -> bool {
        let words = self.words();
        words.waiting.contains_key(subject)
            || words.under_way.contains_key(subject)
            || words.told.get(subject).is_some_and(|told| *told > at)
    }

    /// Takes some of what waits to be told. It is under way until it is [told](Self::told) or [given back](Self::give_back).
    pub(super) fn take(&self, at_most: usize) -> Telling<Record> {
        let mut words = self.words();
        let Words { waiting, under_way, .. } = &mut *words;
        take(waiting, under_way, at_most)
    }

    /// What was said of this subject holds, and stands there in the order; or it does not, and what stands there holds.
    pub(super) fn told(&self, subject: &Subject, at: FactId) {
        let mut words = self.words();
        words.under_way.remove(subject);
        words.told.insert(subject.clone(), at);
        words.last = words.last.max(at);
    }

    /// What is under way has not arrived, as far as is known. Where there is a newer word on its subject, that one counts.
    pub(super) fn give_back(&self) {
        let mut words = self.words();
        for (subject, before) in std::mem::take(&mut words.under_way) {
            let word = match words.waiting.remove(&subject) {
                Some(newer) => Word { said: upon_reset(newer.said, before.said.reset_at), ..newer },
                None => before,
            };
            words.waiting.insert(subject, word);
        }
        for (subject, note) in std::mem::take(&mut words.notes_under_way) {
            words.notes.entry(subject).or_insert(note);
        }
    }

    /// This gateway has read so far: facts that stand before come no more.
    pub(super) fn has_read(&self, to: FactId) {
        let mut words = self.words();
        words.read = to;
        words.told.retain(|_, at| *at > to);
        words.notes_told.retain(|_, at| *at > to);
    }

    /// How much is not told yet.
    pub(super) fn untold(&self) -> usize {
        let words = self.words();
        let notes = words.notes.values().chain(words.notes_under_way.values());
        let of_tokens = notes.filter(|note| matches!(note.said, Note::Token { .. })).count();
        words.waiting.len() + words.under_way.len() + of_tokens
    }

    /// The last fact of this gateway's own.
    pub(super) fn last_told(&self) -> FactId {
        self.words().last
    }
}

impl Words {
    fn put_note(&mut self, subject: String, said: Note) {
        let knowing = known_before(&subject, &self.notes, &self.notes_under_way).unwrap_or(self.read);
        self.notes.insert(subject, Word { said, knowing });
    }
}

/// What was known when something was said of a subject that the others have not heard yet: what they say meanwhile is set
/// aside, so that it is not known later either.
fn known_before<S: Eq + Hash, T>(
    subject: &S,
    waiting: &HashMap<S, Word<T>>,
    under_way: &HashMap<S, Word<T>>,
) -> Option<FactId> {
    [under_way.get(subject), waiting.get(subject)].into_iter().flatten().map(|word| word.knowing).min()
}

/// Takes what was said knowing the least, to be told together.
fn take<S: Clone + Eq + Hash, T: Clone>(
    waiting: &mut HashMap<S, Word<T>>,
    under_way: &mut HashMap<S, Word<T>>,
    at_most: usize,
) -> Telling<T> {
    let knowing = waiting.values().map(|word| word.knowing).min().unwrap_or_default();
    let taken: Vec<_> = waiting.extract_if(|_, word| word.knowing == knowing).take(at_most).collect();
    let words = taken.iter().map(|(_, word)| word.said.clone()).collect();
    under_way.extend(taken);
    Telling { words, knowing }
}

/// What has come of a site since it was reset, which nobody was told yet: it is told as that of which the reset is part.
fn upon_reset(record: Record, reset_at: Option<DateTime<Utc>>) -> Record {
    Record { reset_at: record.reset_at.max(reset_at), ..record }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(key: &str, disabled: bool) -> Record {
        Record { disabled, ..Record::clear(Subject::Key { key: key.into() }) }
    }

    fn at(ms: u64) -> FactId {
        FactId { ms, seq: 0 }
    }

    #[test]
    fn of_each_subject_the_newest_word_is_told_and_nothing_is_lost_on_the_way() {
        let outbox = Outbox::default();
        outbox.tell(word("a", true));
        outbox.tell(word("a", false));
        outbox.tell(word("b", true));
        assert_eq!(outbox.take(10).words.len(), 2);
        assert_eq!(outbox.take(10).words, [], "what is under way is not told twice");
        outbox.tell(word("b", false));
        outbox.give_back();
        let mut again = outbox.take(10).words;
        again.sort_by_key(|record| record.subject.to_string());
        assert_eq!(again, [word("a", false), word("b", false)]);
        for record in &again {
            outbox.told(&record.subject, at(5));
        }
        assert_eq!((outbox.untold(), outbox.last_told()), (0, at(5)));
    }

    #[test]
    fn a_reset_that_was_not_told_is_told_with_what_has_come_of_the_key_since() {
        let outbox = Outbox::default();
        let reset_at = DateTime::from_timestamp(1_800_000_000, 0);
        let reset = Record { reset_at, ..word("a", false) };
        outbox.tell(reset.clone());
        outbox.tell(word("a", true));
        assert_eq!(outbox.take(10).words, [Record { disabled: true, ..reset.clone() }]);
        outbox.tell(word("a", false));
        outbox.give_back();
        assert_eq!(outbox.take(10).words, vec![reset.clone()]);
        outbox.told(&reset.subject, at(5));
        outbox.tell(word("a", true));
        assert_eq!(outbox.take(10).words, [word("a", true)], "it was told");
    }

    #[test]
    fn a_word_answers_what_was_known_when_it_was_said_and_nothing_that_came_meanwhile() {
        let outbox = Outbox::default();
        outbox.has_read(at(3));
        outbox.tell(word("a", true));
        // Of `a` the others have said something meanwhile, which is set aside.
        outbox.has_read(at(5));
        outbox.tell(word("b", true));
        outbox.tell(word("a", false));
        let first = outbox.take(10);
        assert_eq!((first.words, first.knowing), (vec![word("a", false)], at(3)));
        let second = outbox.take(10);
        assert_eq!((second.words, second.knowing), (vec![word("b", true)], at(5)));
        outbox.has_read(at(7));
        // Neither has arrived.
        outbox.tell(word("b", false));
        outbox.give_back();
        let again = [outbox.take(10), outbox.take(10)];
        assert_eq!(
            again.map(|it| (it.words, it.knowing)),
            [(vec![word("a", false)], at(3)), (vec![word("b", false)], at(5)),]
        );
        outbox.told(&word("b", false).subject, at(8));
        outbox.tell(word("b", true));
        assert_eq!(outbox.take(10).knowing, at(7), "it answers all that was read");
    }

    #[test]
    fn an_older_fact_does_not_undo_a_newer_word() {
        let outbox = Outbox::default();
        let subject = word("a", true).subject;
        assert!(!outbox.outruns(&subject, at(1)));
        outbox.tell(word("a", true));
        assert!(outbox.outruns(&subject, at(9)), "the order is not known yet");
        outbox.take(1);
        assert!(outbox.outruns(&subject, at(9)));
        outbox.told(&subject, at(5));
        assert!(outbox.outruns(&subject, at(4)) && !outbox.outruns(&subject, at(5)));
        outbox.has_read(at(5));
        assert!(!outbox.outruns(&subject, at(4)), "none that is older comes any more");
    }

    #[test]
    fn of_a_token_the_newest_word_is_told_and_no_older_fact_undoes_it() {
        let outbox = Outbox::default();
        let word = |body: &str| Note::Token { name: "alice".to_owned(), body: body.to_owned(), rank: 1 };
        let subject = word("").subject();
        outbox.note(word("1"));
        outbox.note(word("2"));
        outbox.note_again(word("0"));
        assert_eq!(outbox.take_notes(10).words, [word("2")]);
        assert!(outbox.outruns_note(&subject, at(9)) && outbox.untold() == 1, "it is on its way");
        outbox.note_again(word("0"));
        assert_eq!(outbox.take_notes(10).words, []);
        outbox.give_back();
        assert_eq!(outbox.take_notes(10).words, [word("2")]);
        outbox.note_told(&word("2"), at(5));
        assert_eq!((outbox.untold(), outbox.last_told()), (0, at(5)));
        assert!(outbox.outruns_note(&subject, at(4)) && !outbox.outruns_note(&subject, at(5)));
        outbox.has_read(at(5));
        assert!(!outbox.outruns_note(&subject, at(4)), "none that is older comes any more");
    }
}

//! One project's list: the pages fetched of it, what of them is already the client's, what comes next.
//!
//! A token remembers the page that holds the last item taken, and the last items taken. That page is fetched again and
//! everything up to the last remembered item in it is passed over. A server whose tokens are keys gives the same page
//! less what was deleted; one whose tokens are offsets may have moved: items made meanwhile push what was taken onto the
//! next page, so that a page without a remembered item is held until [`LOOKAHEAD`] more have none either.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::mark::Mark;
use super::page::Item;
use super::request::Order;
use super::token::Position;

/// After so many further pages without one, the remembered items have been deleted.
const LOOKAHEAD: u32 = 2;

/// A project's list.
pub(super) struct Lane {
    pub(super) tag: Mark,
    next: Next,
    /// Not yet taken. What nobody has judged may follow what has been.
    queue: VecDeque<Queued>,
    /// The page of the last item taken.
    anchor: Option<Arc<str>>,
    /// The last items taken: first those that were not in the anchor's page when it was last fetched, else oldest first.
    marks: VecDeque<Mark>,
    /// How many of them are kept: all that one page can have.
    most_marks: usize,
    /// Taken for the client's earlier pages.
    earlier: HashSet<Mark>,
    /// Fetched by now, or taken earlier: a list that moves between two fetches shows an item twice.
    seen: HashSet<Mark>,
    /// How many more pages to look into for an item taken earlier, before what is queued goes on.
    held: u32,
    /// How many pages were fetched.
    pub(super) fetched: u32,
    /// Whether an answer is awaited.
    asked: bool,
    /// Where the last item taken stands in the merged list; one without a time stands with it.
    place: i64,
}

enum Next {
    Page(Option<Arc<str>>),
    End,
}

struct Queued {
    item: Item,
    page: Option<Arc<str>>,
    judgement: Judgement,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Unjudged,
    Seen,
    Hidden,
}

impl Lane {
    pub(super) fn new(tag: Mark, share: usize, position: Option<Position>) -> Self {
        let (next, anchor, marks) = match position {
            None => (Next::Page(None), None, Vec::new()),
            Some(Position::Ended) => (Next::End, None, Vec::new()),
            Some(Position::At { page, marks }) => (Next::Page(page.clone()), page, marks),
        };
        let earlier: HashSet<_> = marks.iter().copied().collect();
        Self {
            tag,
            next,
            queue: VecDeque::new(),
            anchor,
            held: if earlier.is_empty() { 0 } else { LOOKAHEAD + 1 },
            marks: marks.into(),
            most_marks: share,
            seen: earlier.clone(),
            earlier,
            fetched: 0,
            asked: false,
            place: i64::MIN,
        }
    }

    /// Whether nothing can be taken before another page is here.
    pub(super) fn starves(&self) -> bool {
        matches!(self.next, Next::Page(_)) && (self.held > 0 || self.queue.is_empty())
    }

    /// Whether nothing is left.
    pub(super) fn ended(&self) -> bool {
        matches!(self.next, Next::End) && self.queue.is_empty()
    }

    /// The token of the page to fetch, `None` for the first; asked again, the same. Its answer is awaited from here on.
    pub(super) fn ask(&mut self) -> Option<Arc<str>> {
        self.asked = true;
        match &self.next {
            Next::Page(page) => page.clone(),
            Next::End => None,
        }
    }

    /// Whether the answer to [`ask`](Self::ask) is yet to come.
    pub(super) fn awaits(&self) -> bool {
        self.asked
    }

    /// Takes in the page that was awaited.
    pub(super) fn feed(&mut self, items: Vec<Item>, next: Option<Box<str>>) {
        let page = self.ask();
        self.asked = false;
        self.fetched += 1;
        let had_items = !items.is_empty();
        let passed = items.iter().rposition(|item| self.earlier.contains(&item.mark)).map(|at| at + 1);
        if passed.is_some() {
            // No project reorders its list: what stands before an item that was taken was taken too, or is newer than
            // the client's list.
            self.queue.clear();
            self.keep_longest(&items);
            self.anchor.clone_from(&page);
            self.held = 0;
        }
        for item in items.into_iter().skip(passed.unwrap_or(0)) {
            if self.seen.insert(item.mark) {
                self.queue.push_back(Queued { item, page: page.clone(), judgement: Judgement::Unjudged });
            }
        }
        self.next = match next {
            // A server that does not go on would be asked for ever.
            Some(next) if Some(&*next) != page.as_deref() => Next::Page(Some(next.into())),
            _ => Next::End,
        };
        self.held = if matches!(self.next, Next::End) { 0 } else { self.held.saturating_sub(1) };
        if !had_items
            && self.queue.is_empty()
            && let Next::Page(next) = &self.next
        {
            // Nothing in it to come back for.
            self.anchor.clone_from(next);
        }
    }

    /// Looks no further for what was taken earlier.
    pub(super) fn release(&mut self) {
        self.held = 0;
    }

    /// The items that nobody has judged. While it is open whether they are new there are none.
    pub(super) fn unjudged(&self) -> impl Iterator<Item = &Item> {
        let open = self.held == 0;
        self.queue.iter().filter(move |it| open && it.judgement == Judgement::Unjudged).map(|it| &it.item)
    }

    /// Judges them, and passes over the hidden ones that are next.
    pub(super) fn judge(&mut self, mut visible: impl FnMut(&Item) -> bool) {
        if self.held > 0 {
            return;
        }
        for it in self.queue.iter_mut().filter(|it| it.judgement == Judgement::Unjudged) {
            it.judgement = if visible(&it.item) { Judgement::Seen } else { Judgement::Hidden };
        }
        self.settle();
    }

    /// The next item to take, and its place in the merged list: the lowest of all lanes is first.
    pub(super) fn head(&self, order: Order) -> Option<(i64, &Item)> {
        let it = self.queue.front().filter(|it| self.held == 0 && it.judgement == Judgement::Seen)?;
        let place = match (it.item.time, order) {
            (None, _) => self.place,
            (Some(time), Order::OldestFirst) => time,
            (Some(time), Order::NewestFirst) => time.saturating_neg(),
        };
        Some((place, &it.item))
    }

    /// Takes the [`head`](Self::head).
    pub(super) fn take(&mut self, order: Order) -> Option<Item> {
        self.place = self.head(order)?.0;
        let item = self.pop();
        self.settle();
        item
    }

    /// Where the list stands, for the client's next page. `None` at its start.
    pub(super) fn position(&self) -> Option<Position> {
        if self.ended() {
            return Some(Position::Ended);
        }
        let begun = self.anchor.is_some() || !self.marks.is_empty();
        begun.then(|| Position::At { page: self.anchor.clone(), marks: self.marks.iter().copied().collect() })
    }

    /// Has the marks of what is still in the anchor's page outlive those of what is not: of a page whose items are deleted
    /// as fast as they are taken, one that stays would be forgotten, and come again.
    fn keep_longest(&mut self, page: &[Item]) {
        let here: HashSet<_> = page.iter().map(|item| item.mark).collect();
        let (still, gone): (Vec<_>, Vec<_>) = self.marks.drain(..).partition(|mark| here.contains(mark));
        self.marks.extend(gone.into_iter().chain(still));
    }

    fn settle(&mut self) {
        while self.queue.front().is_some_and(|it| it.judgement == Judgement::Hidden) {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Item> {
        let Queued { item, page, .. } = self.queue.pop_front()?;
        self.anchor = page;
        if self.marks.len() >= self.most_marks {
            self.marks.pop_front();
        }
        self.marks.push_back(item.mark);
        Some(item)
    }
}

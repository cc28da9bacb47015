//! Several projects' lists as one. A client asks for a page of a collection; each project has pages of its own, and this
//! says which of them to fetch, merges them, and makes the token from which the client's next page goes on. No socket
//! here, and no state between two of a client's requests: all of it is in the token.
//!
//! # Order
//!
//! Google documents an order for `fileSearchStores` and `corpora` (oldest first) and none for any other. Heads are
//! merged by time (newest first, but for these two), and no project's own sequence is ever changed, so a project whose
//! list is in another order shows it in that order. An item without a time follows its predecessor.
//!
//! # What holds between two pages
//!
//! Whatever is made or deleted meanwhile, nothing comes twice and nothing that stayed is missing, if the projects'
//! tokens are keys (Google's are opaque, and are taken to be). If they are offsets it holds for what is made, up to two
//! pages of a project's at a time, and for what is deleted behind the client's place; of what is deleted before it, up to
//! as many as were given of the project's page in hand. The same item from two projects (one project under two names)
//! comes once, as long as both list it in the same order.
//!
//! The OpenAI layer continues after an item's id, which has no room for any of this: the lists are merged anew from their
//! start until that item is met. What was deleted cannot be continued after, there as at OpenAI.

mod answer;
mod lane;
mod mark;
mod page;
mod request;
mod token;

use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;

use self::lane::Lane;
use self::mark::Mark;
use self::page::{Item, Page};
use self::request::Request;
pub use self::request::merges;
use self::token::Token;

/// After so many rounds a page that has an item is given short.
const PATIENCE: u32 = 16;
/// After so many even one that has none, which some clients take for a fault: `google-genai` raises `IndexError` when
/// one without an item says that there are more.
const LAST_PATIENCE: u32 = 64;

/// How a list is asked for and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `pageSize` and `pageToken`, answered with `nextPageToken`.
    Native,
    /// `limit` and `after`, answered with `has_more`, `first_id` and `last_id`.
    OpenAi,
}

/// What names a project in a client's token: the same in every process, telling nobody anything (only a hash of it goes
/// out).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectTag(Box<str>);

impl ProjectTag {
    /// Any text that no other project has.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

/// Why a page cannot be given: the client's fault, status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPage {
    /// The page size is no number, or negative.
    Size,
    /// The token was not made by this gateway for this list under these filters.
    Token,
    /// The item to continue after is not in the list.
    After,
}

impl fmt::Display for BadPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "The page size is not a number of items; leave it out or send a positive one.",
            Self::Token => {
                "The page token is not one of this list's; send it as the last answer gave it, with the same \
                 other parameters, or leave it out to begin anew."
            }
            Self::After => "The item of `after` is not in this list; leave it out to begin anew.",
        })
    }
}

impl std::error::Error for BadPage {}

/// A project's answer is no page of the list. The answer's fault, not the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a project answered with what is no page of the list")
    }
}

impl std::error::Error for Malformed {}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch these pages, all at once, and [`feed`](Listing::feed) each. None of them is of the same project as another.
    Ask(Vec<Ask>),
    /// Find out who may see these, and [`judge`](Listing::judge).
    Judge(Vec<Candidate>),
    /// Answer with this JSON.
    Done(Vec<u8>),
    /// Answer 400.
    Refuse(BadPage),
}

/// A page to fetch: the client's own path, with another query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The project's place among those that the listing began with.
    pub project: usize,
    /// The whole raw query: the client's, but for its credentials, with the project's own page.
    pub query: String,
}

/// An item that the client is shown only if it may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The project's place among those that the listing began with.
    pub project: usize,
    /// As other requests name it (`files/abc`, `interactions/abc`); `None` if it has no name, as where the client asked
    /// for `fields` without it.
    pub name: Option<String>,
}

/// One page of one list, in the making.
///
/// ```
/// # use gemini::listing::{Form, Listing, ProjectTag, Step};
/// # fn fetch(_: usize, _: &str) -> Vec<u8> { br#"{"files":[{"name":"files/a"}]}"#.to_vec() }
/// let projects = [ProjectTag::new("one"), ProjectTag::new("two")];
/// let mut listing = Listing::begin("files", Form::Native, Some("pageSize=10"), &projects)?;
/// let body = loop {
///     match listing.step() {
///         Step::Ask(asks) => {
///             for ask in asks {
///                 listing.feed(ask.project, &fetch(ask.project, &ask.query))?;
///             }
///         }
///         Step::Judge(_) => listing.judge(|_project, name| name.is_some()),
///         Step::Done(body) => break body,
///         Step::Refuse(bad) => return Err(bad.into()),
///     }
/// };
/// assert_eq!(body, br#"{"files":[{"name":"files/a"}]}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listing {
    collection: Box<str>,
    request: Request,
    /// How many items a project is asked for at once.
    share: usize,
    lanes: Vec<Lane>,
    /// The client's page.
    taken: Vec<Item>,
    /// The item of `after`, until it is met.
    sought: Option<String>,
    /// What the pages say beside their items: each member as the first page that has it.
    rest: Vec<(String, Box<RawValue>)>,
    /// The member that holds the items, once a page has shown it.
    list: Option<Box<str>>,
    /// Whether a page named a list without items.
    empty_list: bool,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("collection", &self.collection)
            .field("projects", &self.lanes.len())
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

impl Listing {
    /// Begins a page. `collection` is the resource of the path (`files`), `query` the client's raw one. A project that
    /// was not there when the client began is listed from its start; one that is gone is left out.
    pub fn begin(
        collection: &str,
        form: Form,
        query: Option<&str>,
        projects: &[ProjectTag],
    ) -> Result<Self, BadPage> {
        let mut request = Request::read(collection, form, query)?;
        let mut sought = None;
        let mut token = None;
        let mut share = request.share(collection, projects.len());
        match (form, request.from.take()) {
            (_, None) => {}
            (Form::OpenAi, from) => sought = from,
            (Form::Native, Some(from)) => {
                let from = Token::decode(&from, request.binding).ok_or(BadPage::Token)?;
                share = from.share;
                token = Some(from);
            }
        }
        let mut positions: HashMap<_, _> =
            token.map(|token| token.positions.into_iter().collect()).unwrap_or_default();
        let lanes = projects.iter().map(|project| {
            let tag = Mark::of(&project.0);
            Lane::new(tag, share, positions.remove(&tag))
        });
        Ok(Self {
            collection: collection.into(),
            lanes: lanes.collect(),
            request,
            share,
            taken: Vec::new(),
            sought,
            rest: Vec::new(),
            list: None,
            empty_list: false,
        })
    }

    /// Says what to do next. The same again, as long as nothing was done.
    pub fn step(&mut self) -> Step {
        let candidates: Vec<_> = self
            .lanes
            .iter()
            .enumerate()
            .flat_map(|(project, lane)| {
                lane.unjudged().map(move |item| Candidate { project, name: item.name.clone() })
            })
            .collect();
        if !candidates.is_empty() {
            return Step::Judge(candidates);
        }
        self.merge();
        if self.is_full() && self.more_is_known() {
            return self.done();
        }
        let spent = self.lanes.iter().map(|lane| lane.fetched).max().unwrap_or(0);
        let patience = if self.taken.is_empty() || self.is_full() { LAST_PATIENCE } else { PATIENCE };
        if spent < patience {
            let asks = self.asks();
            return if asks.is_empty() { self.done() } else { Step::Ask(asks) };
        }
        if self.taken.is_empty() {
            // Out of order rather than not at all.
            self.lanes.iter_mut().for_each(Lane::release);
            if self.lanes.iter().any(|lane| lane.unjudged().next().is_some()) {
                return self.step();
            }
            while !self.is_full() && self.take_next() {}
        }
        self.done()
    }

    /// Takes in a project's answer to [`Step::Ask`], a success's body. One that was not asked for is left aside.
    pub fn feed(&mut self, project: usize, body: &[u8]) -> Result<(), Malformed> {
        let Some(lane) = self.lanes.get_mut(project) else { return Ok(()) };
        if !lane.awaits() {
            return Ok(());
        }
        let asked = lane.ask();
        let page =
            Page::read(&self.collection, self.request.form, asked.as_deref(), body).ok_or(Malformed)?;
        self.empty_list |= page.list.is_some() && page.items.is_empty();
        lane.feed(page.items, page.next);
        for (name, value) in page.rest {
            if !self.rest.iter().any(|(it, _)| *it == name) {
                self.rest.push((name, value));
            }
        }
        self.list = self.list.take().or(page.list);
        self.request.token_name = page.token_name.unwrap_or(self.request.token_name);
        Ok(())
    }

    /// Shows the client those of the [`Step::Judge`] that it may see: called once for each, with its project and its
    /// name.
    pub fn judge(&mut self, mut visible: impl FnMut(usize, Option<&str>) -> bool) {
        for (project, lane) in self.lanes.iter_mut().enumerate() {
            lane.judge(|item| visible(project, item.name.as_deref()));
        }
    }

    /// Takes items as long as it is certain which is next.
    fn merge(&mut self) {
        while !self.is_full() && !self.lanes.iter().any(Lane::starves) && self.take_next() {}
    }

    /// Takes the first of those that are known; `false` if there is none.
    fn take_next(&mut self) -> bool {
        let order = self.request.order;
        let heads = self.lanes.iter().enumerate();
        let heads = heads.filter_map(|(at, lane)| lane.head(order).map(|(place, _)| (place, lane.tag, at)));
        let Some((_, _, first)) = heads.min() else { return false };
        let Some(item) = self.lanes[first].take(order) else { return false };
        for lane in &mut self.lanes {
            if lane.head(order).is_some_and(|(_, twin)| twin.is(&item)) {
                lane.take(order);
            }
        }
        match &self.sought {
            None => self.taken.push(item),
            Some(sought) if item.id.as_ref() == Some(sought) => self.sought = None,
            Some(_) => {}
        }
        true
    }

    fn is_full(&self) -> bool {
        self.taken.len() >= self.request.size
    }

    /// Whether it is certain that there is another item, or none. A last page without an item is no page.
    fn more_is_known(&self) -> bool {
        self.has_head() || self.lanes.iter().all(Lane::ended)
    }

    fn has_head(&self) -> bool {
        self.lanes.iter().any(|lane| lane.head(self.request.order).is_some())
    }

    fn asks(&mut self) -> Vec<Ask> {
        let (request, share) = (&self.request, self.share);
        let starving = self.lanes.iter_mut().enumerate().filter(|(_, lane)| lane.starves());
        starving
            .map(|(project, lane)| Ask { project, query: request.upstream(share, lane.ask().as_deref()) })
            .collect()
    }

    fn done(&self) -> Step {
        match self.sought {
            Some(_) => Step::Refuse(BadPage::After),
            None => Step::Done(self.answer()),
        }
    }

    /// The client's next token; `None` at the end.
    fn token(&self) -> Option<String> {
        if self.lanes.iter().all(Lane::ended) {
            return None;
        }
        let positions = self.lanes.iter().filter_map(|lane| Some((lane.tag, lane.position()?))).collect();
        Some(Token { share: self.share, positions }.encode(self.request.binding))
    }
}

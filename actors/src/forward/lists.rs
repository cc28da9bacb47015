//! A list of what projects own, over all the projects in the pool: each is asked for its own pages on a key of its own,
//! and `gemini::listing` makes one list of them, of which a caller is shown what it may see. A project that cannot
//! be asked is left out, and a header says so; one that fails makes the list fail, since a list that lacks something without
//! a word is worse than none.

use super::{
    Forwarder,
    answer::{FailedAttempt, OpenAnswer},
    attempt,
    job::Job,
    search::SearchEnd,
};
use crate::{
    attempts::{AttemptRecord, Attempted, Ended, Goal, Repeat, Try},
    caller::{Caller, Visibility},
    failure::Failure,
    key_ring::{Key, KeyRing},
    upstream::{BodyError, Joined, WholeAnswer, decoded, probe},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gemini::{
    fault::{Fault, Kind, Scope},
    listing::{self, Candidate, Form, Listing, ProjectTag},
    model_list,
    operation::Streaming,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use keypool::{KeyId, LeaseRequest, Outcome, ProjectView, Reach, Refusal};
use std::{collections::HashSet, sync::Arc};

/// The header in which the client reads how many projects are missing from its list, since none of their keys can be
/// asked now.
const UNLISTED: &str = "x-gemini-balance-unlisted";
/// How many projects are asked at once for one client's page.
const AT_ONCE: usize = 64;
/// A page that takes more, in the clear, is not Google's: it gives a hundred items at most.
const MAX_PAGE: usize = 32 * 1024 * 1024;

/// What the client asks of its own copy of one list, or of its coding; no single project could answer it.
const NOT_UP: &[HeaderName] = &[
    header::ACCEPT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

/// What a project's answer says of its own body.
const NOT_DOWN: &[HeaderName] =
    &[header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ETAG, header::LAST_MODIFIED];

/// A project's page, in the clear.
struct ProjectPage {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Why a project gave no page.
enum NoPage {
    /// None of its keys can be asked now: they or the project are retired, or cool. With what came of it.
    LeftOut(SearchEnd),
    /// The project could not be asked, and how that ended.
    Failed(SearchEnd),
}

impl Forwarder {
    /// One page of the list that `job` asks for.
    pub(super) async fn list(
        &self,
        job: &Job,
        form: Form,
        projects: Vec<ProjectView>,
        record: &AttemptRecord,
    ) -> SearchEnd {
        let ring = self.keys.ring();
        let tags = tags(&ring, &projects);
        let (usable, retired): (Vec<_>, Vec<_>) =
            projects.into_iter().zip(tags).partition(|(project, _)| project.usable);
        let (usable, tags): (Vec<_>, Vec<_>) = usable.into_iter().unzip();
        let mut left_out: Vec<_> = retired.into_iter().map(|(project, _)| project).collect();
        if usable.is_empty() {
            let refusal = match &left_out[..] {
                [] => Refusal::NoneAllowed,
                projects if projects.iter().any(|project| project.retired) => Refusal::AllRetired,
                _ => Refusal::AllDisabled,
            };
            return SearchEnd::Nothing(Failure::NoKey(refusal));
        }
        let collection = job.target.operation.resource.as_ref().map_or("", |resource| resource.as_str());
        let mut listing = match Listing::begin(collection, form, job.target.query.as_deref(), &tags) {
            Ok(listing) => listing,
            Err(bad) => return SearchEnd::Nothing(Failure::BadPage(bad)),
        };
        let job = asking(job);
        let mut first: Option<(usize, HeaderMap)> = None;
        let mut without_page = 0;
        let body = loop {
            match listing.step() {
                listing::Step::Ask(asks) => {
                    let pages = asks.into_iter().map(|ask| {
                        let key = usable[ask.project].key.clone();
                        let mut job = job.clone();
                        job.target.query = Some(ask.query);
                        async move { (ask.project, self.page(&job, key, record).await) }
                    });
                    let mut pages = stream::iter(pages).buffer_unordered(AT_ONCE);
                    while let Some((project, page)) = pages.next().await {
                        let body = match page {
                            Ok(page) => {
                                if first.as_ref().is_none_or(|(at, _)| project < *at) {
                                    first = Some((project, page.headers));
                                }
                                page.body
                            }
                            Err(NoPage::Failed(found)) => return found,
                            Err(NoPage::LeftOut(found)) => {
                                without_page += 1;
                                if without_page == usable.len() {
                                    return found;
                                }
                                left_out.push(usable[project].clone());
                                b"{}".to_vec()
                            }
                        };
                        if listing.feed(project, &body).is_err() {
                            let key = &usable[project].key;
                            log::warn!(target: "forward", "{}: no page of a list from the project of {key}", job.id);
                            return SearchEnd::Nothing(Failure::NoPage);
                        }
                    }
                }
                listing::Step::Judge(candidates) => match self.visible(&job.caller, candidates).await {
                    Ok(visible) => listing.judge(|_, name| visible.has(name)),
                    Err(failure) => return SearchEnd::Nothing(failure),
                },
                listing::Step::Done(body) => break body,
                listing::Step::Refuse(bad) => return SearchEnd::Nothing(Failure::BadPage(bad)),
            }
        };
        let mut headers = first.map(|(_, headers)| headers).unwrap_or_default();
        for name in NOT_DOWN {
            headers.remove(name);
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        if !left_out.is_empty() {
            tell_of_unlisted(&job, &left_out);
            headers.insert(HeaderName::from_static(UNLISTED), HeaderValue::from(left_out.len()));
        }
        SearchEnd::Whole(WholeAnswer { status: StatusCode::OK, headers, body: body.into() })
    }

    /// One page of the list of models, of which the caller sees those that it may use.
    pub(super) async fn models(&self, job: &Job, record: &AttemptRecord) -> SearchEnd {
        let job = asking(job);
        let request = LeaseRequest { among: job.caller.served_by(), ..LeaseRequest::any(None) };
        let goal = Goal { request, prefer: None, repeat: Repeat::Freely };
        let found = self.attempts(record).run(goal, &Paging { forwarder: self, job: &job }).await;
        let (Whole { answer, clear }, lease) = match found {
            Ok(found) => found,
            Err(ended) => return SearchEnd::from(ended),
        };
        lease.settle(Outcome::Success, None);
        if answer.status != StatusCode::OK {
            return SearchEnd::Whole(answer);
        }
        let visible = clear.and_then(|body| model_list::retain(&body, |model| job.caller.may_use(model)));
        let Some(body) = visible else { return SearchEnd::Nothing(Failure::NoPage) };
        let WholeAnswer { status, mut headers, .. } = answer;
        for name in NOT_DOWN {
            headers.remove(name);
        }
        SearchEnd::Whole(WholeAnswer { status, headers, body: body.into() })
    }

    /// Tries on the keys of one project until there is a page, or no use in trying.
    async fn page(&self, job: &Job, project: KeyId, record: &AttemptRecord) -> Result<ProjectPage, NoPage> {
        // It names no model: that one cools, or a tool, holds no list up.
        let request = LeaseRequest { reach: Reach::ProjectOf(project), ..LeaseRequest::any(None) };
        let goal = Goal { request, prefer: None, repeat: Repeat::Freely };
        let (whole, lease) =
            self.attempts(record).run(goal, &Paging { forwarder: self, job }).await.map_err(no_page)?;
        lease.settle(Outcome::Success, None);
        match whole.clear {
            _ if whole.answer.status != StatusCode::OK => Err(NoPage::Failed(SearchEnd::Whole(whole.answer))),
            Some(body) => Ok(ProjectPage { headers: whole.answer.headers, body }),
            None => Err(NoPage::Failed(SearchEnd::Nothing(Failure::NoPage))),
        }
    }

    /// Which of these exist for the caller. In a list, what was made outside the gateway is nobody's but those callers'
    /// who share all.
    async fn visible(&self, caller: &Caller, candidates: Vec<Candidate>) -> Result<Visible, Failure> {
        if caller.visibility == Visibility::All {
            return Ok(Visible::All);
        }
        let names: Vec<_> = candidates.into_iter().filter_map(|candidate| candidate.name).collect();
        let Ok(found) = self.ledger.find_all(&names).await else { return Err(Failure::LedgerSilent) };
        let own = names.into_iter().zip(found).filter(|(_, holding)| {
            let maker = holding.as_ref().and_then(|holding| holding.caller.as_deref());
            maker == Some(&*caller.name)
        });
        Ok(Visible::These(own.map(|(name, _)| name).collect()))
    }
}

fn tell_of_unlisted(job: &Job, unlisted: &[ProjectView]) {
    let keys: Vec<_> = unlisted.iter().map(|project| project.first.as_str()).collect();
    log::warn!(
        target: "forward",
        "{}: a list without the projects of {}: no key there can be asked now",
        job.id,
        keys.join(", ")
    );
}

/// An attempt to fetch a project's page.
struct Paging<'a> {
    forwarder: &'a Forwarder,
    job: &'a Job,
}

impl Try for Paging<'_> {
    type Success = Whole;
    type Answer = WholeAnswer;

    async fn attempt(&self, key: &Arc<Key>) -> Attempted<Whole, WholeAnswer> {
        let opened = attempt::open(&self.forwarder.upstream, self.job, key, Streaming::No, false).await;
        let read = match opened {
            Ok(answer) => whole(answer).await,
            Err(failed) => Err(failed),
        };
        read.map_or_else(Attempted::Failed, Attempted::Success)
    }

    async fn is_refused(&self, key: &Arc<Key>) -> bool {
        probe::refuses(&self.forwarder.upstream, key).await
    }

    fn status(&self, success: &Whole) -> StatusCode {
        success.answer.status
    }
}

/// Tells a project that cannot be asked from one that failed. What its answer blames on a key or on the project itself
/// cools or retires it, so that the next list would be without it: so is this one.
fn no_page(ended: Ended<WholeAnswer>) -> NoPage {
    let is_refused = match ended.refusal {
        Some(
            Refusal::AllRetired
            | Refusal::AllDisabled
            | Refusal::NoneAllowed
            | Refusal::Cooling { .. }
            | Refusal::WaitedTooLong { .. }
            | Refusal::QueueFull { .. },
        ) => true,
        // Not for its own sake; or its keys were tried, and what they said counts.
        Some(
            Refusal::NoneLeft | Refusal::ModelDown { .. } | Refusal::RetryBudget | Refusal::RouteDown { .. },
        )
        | None => false,
    };
    let is_blamed = match ended.fault.map(Kind::scope) {
        Some(Scope::Key | Scope::Project | Scope::ProjectModel | Scope::ProjectTool | Scope::Billing) => true,
        Some(
            Scope::Model | Scope::Binding | Scope::Client | Scope::Gateway | Scope::Route | Scope::Nobody,
        ) => false,
        None => is_refused,
    };
    let end = SearchEnd::from(ended);
    if is_blamed { NoPage::LeftOut(end) } else { NoPage::Failed(end) }
}

/// Names each project by what does not depend on the order of keys: its label, so that it is the same with a key more, or
/// the least of its keys' fingerprints where it has none, or shares it with another project.
fn tags(ring: &KeyRing, projects: &[ProjectView]) -> Vec<ProjectTag> {
    let labels: Vec<_> =
        projects.iter().map(|project| keys_of(project, ring).filter_map(|key| key.project()).min()).collect();
    let named = projects.iter().zip(&labels).map(|(project, label)| match label {
        Some(text) if labels.iter().filter(|other| *other == label).count() == 1 => {
            ProjectTag::new(&format!("project {text}"))
        }
        _ => {
            let least = keys_of(project, ring).map(|key| key.fingerprint()).min();
            ProjectTag::new(least.unwrap_or_default())
        }
    });
    named.collect()
}

fn keys_of<'a>(project: &'a ProjectView, ring: &'a KeyRing) -> impl Iterator<Item = &'a Arc<Key>> {
    project.keys.iter().filter_map(|key| ring.find(key))
}

/// What a caller may see.
enum Visible {
    All,
    These(HashSet<String>),
}

impl Visible {
    fn has(&self, name: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => name.is_some_and(|name| names.contains(name)),
        }
    }
}

/// The request as each project is asked it, but for its query.
fn asking(job: &Job) -> Job {
    let mut job = job.clone();
    job.body = Bytes::new();
    job.clear = None;
    for name in NOT_UP {
        job.headers.remove(name);
    }
    job
}

/// An answer read to its end.
struct Whole {
    answer: WholeAnswer,
    /// Its body in the clear; `None` if that cannot be had, or is too long.
    clear: Option<Vec<u8>>,
}

async fn whole(open: OpenAnswer) -> Result<Whole, FailedAttempt> {
    let OpenAnswer { status, headers, coding, begun, rest, .. } = open;
    let mut body = Joined::default();
    body.push(begun);
    if let Some(mut rest) = rest {
        while body.len() <= MAX_PAGE {
            match rest.next().await {
                Ok(Some(chunk)) => body.push(chunk),
                Ok(None) => break,
                Err(BodyError) => {
                    return Err(FailedAttempt {
                        fault: Fault::body_lost(),
                        status: Some(status),
                        answer: None,
                        failure: Failure::BodyLost,
                    });
                }
            }
        }
    }
    let body = body.into_bytes();
    let clear = (body.len() <= MAX_PAGE).then(|| decoded(coding, &body, MAX_PAGE)).flatten();
    Ok(Whole { answer: WholeAnswer { status, headers, body }, clear })
}

//! The search for an answer: what one attempt of a forwarded request is, what is asked of the pool for it, and once more
//! for the model that stands in for one that fails as a whole. The client sees nothing of it before its end.

use super::{
    Forwarder,
    answer::{FailedAttempt, OpenAnswer},
    attempt, fallback,
    job::Job,
};
use crate::{
    attempts::{AttemptRecord, Attempted, Attempts, Ended, Goal, Repeat, Try},
    binding::{AskProject, Asker, Binding, BindingRule, Unbound},
    caller::Visibility,
    failure::Failure,
    key_manager::{Lease, LeaseError},
    key_ring::Key,
    upstream::{WholeAnswer, probe},
};
use bytes::Bytes;
use gemini::{
    absent::absence,
    dialect::StreamForm,
    names::{OwnedName, in_request},
    operation::{Operation, Streaming},
    path::{Surface, Target},
    spending::{Spending, spending},
    tokens::{InlineMedia, estimate_input_tokens},
    usage::Usage,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use keypool::{LeaseRequest, Outcome, Refusal, Tool, Tools};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What one request has come to so far.
pub(super) struct Progress {
    /// The model asked for; after a fallback, the one asked in its place.
    pub(super) model: Option<Arc<str>>,
    pub(super) streaming: Streaming,
    /// Every attempt made for it.
    pub(super) record: AttemptRecord,
    /// What binds it to a project.
    pub(super) binding: Binding,
    /// When the pool has a key for its like again, where that was asked.
    pub(super) opening: Option<Refusal>,
}

/// How the search for an answer ended.
pub(super) enum SearchEnd {
    /// A success, its body still to be passed on, on this lease.
    Open(OpenAnswer, Lease),
    /// An answer that is whole: the upstream's last, or one in its words.
    Whole(WholeAnswer),
    /// Nothing to pass on.
    Nothing(Failure),
}

impl From<Ended<WholeAnswer>> for SearchEnd {
    fn from(ended: Ended<WholeAnswer>) -> Self {
        ended.answer.map_or(Self::Nothing(ended.failure), Self::Whole)
    }
}

/// An attempt to forward a request.
struct Forwarding<'a> {
    forwarder: &'a Forwarder,
    job: &'a Job,
    streaming: Streaming,
}

impl Try for Forwarding<'_> {
    type Success = OpenAnswer;
    type Answer = WholeAnswer;

    async fn attempt(&self, key: &Arc<Key>) -> Attempted<OpenAnswer, WholeAnswer> {
        #[cfg(debug_assertions)]
        panic_if_asked(self.job); // here, where it holds a lease
        let hold_empty = self.forwarder.limits.empty_answers;
        match attempt::open(&self.forwarder.upstream, self.job, key, self.streaming, hold_empty).await {
            Ok(answer) if hold_empty && answer.is_empty() => Attempted::Empty(answer),
            Ok(answer) => Attempted::Success(answer),
            Err(failed) => Attempted::Failed(failed),
        }
    }

    async fn is_refused(&self, key: &Arc<Key>) -> bool {
        probe::refuses(&self.forwarder.upstream, key).await
    }

    fn status(&self, answer: &OpenAnswer) -> StatusCode {
        answer.status
    }

    fn set_aside(&self, mut answer: OpenAnswer) -> (Option<WholeAnswer>, Option<Usage>) {
        let usage = answer.observer.end().usage;
        let OpenAnswer { status, headers, begun: body, .. } = answer;
        (Some(WholeAnswer { status, headers, body }), usage)
    }
}

impl AskProject for Forwarder {
    async fn ask(&self, id: &str, target: &Target, key: &Arc<Key>) -> Result<StatusCode, FailedAttempt> {
        let question = Job::question(id, target);
        let answer = attempt::open(&self.upstream, &question, key, Streaming::No, false).await?;
        Ok(answer.status)
    }
}

impl Forwarder {
    /// Returns the rule by which requests and sessions are bound, for one that is recorded in `record`.
    pub(crate) fn binding_rule<'a>(&'a self, record: &'a AttemptRecord) -> BindingRule<'a, Self> {
        BindingRule {
            ledger: &self.ledger,
            keys: &self.keys,
            limits: self.limits.retry,
            last_answers: &self.last_answers,
            record,
            questions: self,
        }
    }

    /// Returns what the attempts of a request go by.
    pub(super) fn attempts<'a>(&'a self, record: &'a AttemptRecord) -> Attempts<'a, WholeAnswer> {
        Attempts { keys: &self.keys, limits: self.limits.retry, last_answers: &self.last_answers, record }
    }

    /// Finds what binds the request to a project. The error is what the client is answered instead.
    pub(super) async fn bind(&self, job: &Job, record: &AttemptRecord) -> Result<Binding, SearchEnd> {
        let rule = self.binding_rule(record);
        let bound = if let Some(session) = &job.upload {
            rule.bind_upload(session)
        } else {
            let mentions = if job.body.is_empty() { Vec::new() } else { in_request(job.clear_body()) };
            let asker = Asker { id: &job.id, caller: &job.caller, target: &job.target };
            rule.bind(asker, &mentions).await
        };
        bound.map_err(|unbound| match unbound {
            Unbound::NotVisible(name) => SearchEnd::Whole(not_there(job, &name)),
            Unbound::TwoProjects(names) => SearchEnd::Nothing(Failure::TwoProjects(names)),
            Unbound::Elsewhere(name) | Unbound::OwnerGone(name) => {
                SearchEnd::Nothing(Failure::OwnerGone(name.into()))
            }
            Unbound::LedgerSilent => SearchEnd::Nothing(Failure::LedgerSilent),
            Unbound::Unclear(ended) => SearchEnd::from(*ended),
        })
    }

    /// Searches, and once more for the model that the operator has set in place of one that fails as a whole.
    pub(super) async fn search_with_fallback(&self, job: &Job, progress: &mut Progress) -> SearchEnd {
        if let Some(form) = gemini::listing::merges(job.method.as_str(), &job.target) {
            match self.projects().await {
                // One project's list, of which nothing is left out, passes as it is.
                Ok(projects) if projects.len() == 1 && job.caller.visibility == Visibility::All => {}
                Ok(projects) => return Box::pin(self.list(job, form, projects, &progress.record)).await,
                Err(failure) => return SearchEnd::Nothing(failure),
            }
        }
        if !job.caller.may_use_all() && lists_models(job) {
            return Box::pin(self.models(job, &progress.record)).await;
        }
        let ended = match self.search(job, progress).await {
            Ok((answer, lease)) => return SearchEnd::Open(answer, lease),
            Err(ended) => ended,
        };
        let fallback = progress.model.as_deref().filter(|_| ended.is_of_model()).and_then(|model| {
            let to = self.limits.fallback.get(model).filter(|to| job.caller.may_use(to))?;
            let others = fallback::with_model(job, model, to);
            (!others.is_empty()).then_some((others, to))
        });
        let Some((others, model)) = fallback else {
            let is_full = |answer: &WholeAnswer| answer.status == StatusCode::TOO_MANY_REQUESTS;
            if job.translated.is_some() && ended.answer.as_ref().is_some_and(is_full) {
                progress.opening = self.opening(job, progress).await;
            }
            return SearchEnd::from(ended);
        };
        let Ok(name) = HeaderValue::from_str(model) else { return SearchEnd::from(ended) };
        progress.model = Some(Arc::from(model.as_str()));
        for other in others {
            match self.search(&other, progress).await {
                Ok((mut answer, lease)) => {
                    answer.headers.insert(HeaderName::from_static(fallback::HEADER), name);
                    return SearchEnd::Open(answer, lease);
                }
                Err(Ended { answer: Some(refusal), .. }) if refusal.status == StatusCode::BAD_REQUEST => {}
                Err(_) => break,
            }
        }
        // It failed as well: the client hears of the model it has asked for.
        SearchEnd::from(ended)
    }

    /// Tries until there is an answer, or no use in trying.
    async fn search(
        &self,
        job: &Job,
        progress: &Progress,
    ) -> Result<(OpenAnswer, Lease), Ended<WholeAnswer>> {
        let repeat = if job.stream.is_some() { Repeat::Never } else { Repeat::of(&job.method, &job.target) };
        let request = progress.request(job, self.limits.prefixes);
        let goal = Goal { request, prefer: progress.binding.prefer.clone(), repeat };
        let forwarding = Forwarding { forwarder: self, job, streaming: progress.streaming };
        let found = self.attempts(&progress.record).run(goal, &forwarding).await;
        found.map_err(|ended| Ended { failure: progress.binding.failure(ended.failure), ..ended })
    }

    /// Asks the pool when it has a key for a request like this, as if it were new: those that it has tried may be back first.
    /// Only clients that read a translation are told, and pause accordingly: everywhere else Google's answer passes as it
    /// came.
    async fn opening(&self, job: &Job, progress: &Progress) -> Option<Refusal> {
        let request = LeaseRequest { may_wait: false, ..progress.request(job, self.limits.prefixes) };
        let deadline = Instant::now() + self.limits.retry.lease_deadline;
        match self.keys.lease(request, deadline).await {
            Ok(lease) => {
                lease.settle(Outcome::Unused, None);
                Some(Refusal::Cooling { back_in: Duration::ZERO, quota: None })
            }
            Err(LeaseError::Refused(refusal)) => Some(refusal),
            Err(_) => None,
        }
    }
}

/// Whether a request asks for the list of models.
fn lists_models(job: &Job) -> bool {
    let Operation { verb, model, resource, .. } = &job.target.operation;
    let is_list = verb.is_none() && model.is_none() && resource.is_none();
    is_list && matches!(job.target.surface, Surface::Native | Surface::OpenAi)
}

/// Google's own words for what is not there.
fn not_there(job: &Job, name: &OwnedName) -> WholeAnswer {
    let absence = absence(&job.target, name);
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    WholeAnswer {
        status: StatusCode::from_u16(absence.status).unwrap_or(StatusCode::NOT_FOUND),
        headers,
        body: Bytes::from(absence.body),
    }
}

/// How many input tokens a request may cost.
pub(super) fn input_tokens(job: &Job) -> u64 {
    estimate_input_tokens(job.clear_body().len() as u64, InlineMedia::find(job.clear_body()))
}

impl Progress {
    /// Reads what the request asks for: from its path natively, from its body in OpenAI format.
    pub(super) fn of(job: &Job) -> Self {
        let operation = &job.target.operation;
        let mut model = operation.model.as_ref().map(|model| Arc::from(model.as_str()));
        let mut streaming = operation.streaming;
        // An interaction says the same in its body, in the same words.
        let is_in_body = job.target.surface == Surface::OpenAi
            || (operation.speaks_in_words() && operation.streaming == Streaming::Unknown);
        // So does what is made and kept for a model, a cache, but for the stream.
        let names_model = is_in_body || spending(job.method.as_str(), &job.target) == Spending::BodyModel;
        if names_model && !job.body.is_empty() {
            let peek = gemini::peek::peek_openai(job.clear_body());
            model = model.or_else(|| peek.model.map(|model| Arc::from(model.as_str())));
            if is_in_body {
                streaming = if peek.stream { Streaming::Sse } else { Streaming::No };
            }
        }
        let record = AttemptRecord::since(job.arrived);
        Self { model, streaming, record, binding: Binding::default(), opening: None }
    }

    /// What the request asks of the pool.
    fn request(&self, job: &Job, prefixes: bool) -> LeaseRequest {
        let asked = gemini::peek::search_tools(job.clear_body());
        let mut tools = Tools::NONE;
        if asked.google_search {
            tools = tools.with(Tool::GoogleSearch);
        }
        if asked.url_context {
            tools = tools.with(Tool::UrlContext);
        }
        let input_tokens = input_tokens(job);
        let prefix = job.conversation.or_else(|| {
            if prefixes { gemini::prefix::fingerprint(job.target.dialect, job.clear_body()) } else { None }
        });
        let keep_together = job.conversation.is_some();
        let reach = self.binding.reach.clone();
        let among = job.caller.served_by();
        let apart = job.target.operation.quota_name(job.method.as_str(), self.model.as_deref());
        let any = LeaseRequest::any(apart.map(Arc::from).or_else(|| self.model.clone()));
        LeaseRequest { prefix, keep_together, tools, input_tokens, reach, among, ..any }
    }

    /// How the stream's events are framed, if it is one.
    pub(super) fn stream_form(&self, job: &Job) -> Option<StreamForm> {
        match (job.target.surface, self.streaming) {
            (_, Streaming::No | Streaming::Unknown) => None,
            (Surface::OpenAi, _) => Some(StreamForm::OpenAi),
            (_, Streaming::Sse) if job.target.operation.speaks_in_words() => Some(StreamForm::Interaction),
            (_, Streaming::Sse) => Some(StreamForm::Sse),
            (_, Streaming::JsonArray) => Some(StreamForm::JsonArray),
        }
    }
}

/// Panics for the tests of what becomes of a request whose actor dies.
#[cfg(debug_assertions)]
fn panic_if_asked(job: &Job) {
    let asked =
        job.headers.contains_key("x-test-panic") && std::env::var_os("GEMINI_BALANCE_TEST_PANICS").is_some();
    assert!(!asked, "a test asked for this panic");
}

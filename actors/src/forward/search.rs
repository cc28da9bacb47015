//! The search for an answer: which key, one attempt after another until there is an answer or no use in trying, and once
//! more for the model that stands in for one that fails as a whole. The client sees nothing of it before its end.

use super::{
    Forwarder,
    answer::{FailedAttempt, OpenAnswer},
    attempt,
    binding::Binding,
    fallback,
    job::Job,
};
use crate::{
    attempts::{Step, Tries},
    caller::Visibility,
    failure::Failure,
    key_manager::{Lease, LeaseError},
    transaction::Attempt,
    upstream::WholeAnswer,
};
use gemini::{
    dialect::StreamForm,
    fault::Scope,
    operation::Streaming,
    path::Surface,
    tokens::{InlineMedia, estimate_input_tokens},
};
use http::{HeaderName, HeaderValue};
use keypool::{Avoid, LeaseRequest, Outcome, Reach, Refusal, Retry, Tool, Tools};
use std::{sync::Arc, time::Instant};

/// What one request has come to so far.
pub(super) struct Course {
    pub(super) model: Option<Arc<str>>,
    pub(super) streaming: Streaming,
    pub(super) attempts: Vec<Attempt>,
    /// Whether the search ended with a fault of the model as a whole.
    pub(super) model_failed: bool,
    /// What binds it to a project.
    pub(super) binding: Binding,
}

/// How the search for an answer ended.
pub(super) enum Found {
    /// A success, its body still to be passed on, on this lease.
    Open(OpenAnswer, Lease),
    /// The upstream's last word.
    Whole(WholeAnswer),
    /// Nothing to pass on.
    Nothing(Failure),
}

impl Forwarder {
    /// Searches, and once more for the model that the operator has set in place of one that fails as a whole.
    pub(super) async fn search_with_fallback(&self, job: &Job, course: &mut Course) -> Found {
        // One project's list, of which nothing is left out, passes as it is.
        let is_whole = || job.caller.visibility == Visibility::All && self.keys.ring().projects().len() == 1;
        if let Some(form) = gemini::listing::merges(job.method.as_str(), &job.target)
            && !is_whole()
        {
            return Box::pin(self.list(job, form, course)).await;
        }
        let found = self.search(job, course).await;
        // A later attempt may have succeeded after the model failed an earlier one.
        if !course.model_failed || matches!(found, Found::Open(..)) {
            return found;
        }
        let other = course.model.as_deref().and_then(|model| {
            let to = self.limits.fallback.get(model)?;
            Some((fallback::with_model(job, model, to)?, to))
        });
        let Some((other, model)) = other else { return found };
        let name = HeaderValue::from_str(model).ok();
        course.model = Some(Arc::from(model.as_str()));
        match (self.search(&other, course).await, name) {
            (Found::Open(mut answer, lease), Some(name)) => {
                answer.headers.insert(HeaderName::from_static(fallback::HEADER), name);
                Found::Open(answer, lease)
            }
            // It failed as well: the client hears of the model it has asked for.
            (Found::Open(..) | Found::Whole(_) | Found::Nothing(_), _) => found,
        }
    }

    /// Tries until there is an answer, or no use in trying.
    async fn search(&self, job: &Job, course: &mut Course) -> Found {
        // What passes as it comes cannot be sent twice.
        let max_attempts = if job.stream.is_some() { 1 } else { self.limits.max_attempts };
        let mut tries = Tries::new(max_attempts, &job.method, &job.target);
        let mut request = course.request(job, self.limits.prefixes);
        let mut preferred = course.binding.prefer.clone();
        let mut last: Option<Found> = None;
        loop {
            let deadline = tokio::time::Instant::now() + self.limits.lease_deadline;
            let asked = Instant::now();
            let lease = match preferred.take() {
                // Only while its project can take it at once; else anywhere.
                Some(key) => {
                    let near =
                        LeaseRequest { reach: Reach::ProjectOf(key), may_wait: false, ..request.clone() };
                    match self.keys.lease(near, deadline).await {
                        Ok(lease) => Ok(lease),
                        Err(_) => self.keys.lease(request.clone(), deadline).await,
                    }
                }
                None => self.keys.lease(request.clone(), deadline).await,
            };
            request.waited += asked.elapsed();
            let lease = match lease {
                Ok(lease) => lease,
                Err(error) => {
                    return last.unwrap_or_else(|| match error {
                        LeaseError::Refused(refusal @ Refusal::ModelDown { .. }) => {
                            // What Google said of the model last, rather than words of our own.
                            course.model_failed = true;
                            let words = course.model.as_ref().and_then(|model| self.last_words.of(model));
                            words.map_or(Found::Nothing(Failure::NoKey(refusal)), Found::Whole)
                        }
                        LeaseError::Refused(refusal) => Found::Nothing(course.refused(refusal)),
                        LeaseError::Unanswered(_) => Found::Nothing(Failure::PoolSilent),
                    });
                }
            };
            #[cfg(debug_assertions)]
            panic_if_asked(job); // here, where it holds a lease
            tries.begin();
            let begun = Instant::now();
            let key = Arc::clone(lease.key());
            let result =
                attempt::open(&self.upstream, job, &key, course.streaming, self.limits.empty_answers).await;
            let mut record =
                Attempt { key: key.id().clone(), status: None, fault: None, took: begun.elapsed() };
            let FailedAttempt { fault, status, answer, failure } = match result {
                Ok(mut answer) => {
                    record.status = Some(answer.status.as_u16());
                    course.attempts.push(record);
                    if self.limits.empty_answers && answer.is_empty() && tries.again_for_nothing() {
                        // Nobody is to blame, and the quota is spent. Should no better answer come, this is the one.
                        lease.settle(Outcome::Success, answer.observer.end().usage.as_ref());
                        let OpenAnswer { status, headers, begun: body, .. } = answer;
                        last = Some(Found::Whole(WholeAnswer { status, headers, body }));
                        continue;
                    }
                    return Found::Open(answer, lease);
                }
                Err(failed) => failed,
            };
            record.status = status.map(|status| status.as_u16());
            record.fault = Some(fault.kind);
            course.attempts.push(record);
            let step = match failure {
                // Its time is spent: another attempt would take as long again.
                Failure::HeadTimeout if answer.is_none() => Step::GiveUp,
                _ => tries.after(&fault, chance()),
            };
            let scope = fault.scope();
            let avoid = match scope {
                Scope::Project | Scope::ProjectModel | Scope::ProjectTool | Scope::Billing => {
                    Avoid::TriedProjects
                }
                _ => Avoid::Nothing,
            };
            lease.settle(Outcome::Fault(fault), None);
            request.retry = Retry::No;
            course.model_failed = scope == Scope::Model;
            if scope == Scope::Model {
                request.retry = Retry::ModelFault;
                if let (Some(model), Some(answer)) = (&course.model, &answer) {
                    self.last_words.keep(model, answer);
                }
            }
            // The last answer of the upstream's own outlives a later attempt that brought none.
            match (answer, &last) {
                (Some(answer), _) => last = Some(Found::Whole(answer)),
                (None, Some(Found::Whole(_))) => {}
                (None, _) => last = Some(Found::Nothing(failure)),
            }
            match step {
                Step::GiveUp => return last.unwrap_or(Found::Nothing(Failure::HeadLost)),
                // The project is the only one that has what the request names: its keys may have to be waited for.
                Step::OtherKey if course.binding.is_bound() && avoid == Avoid::TriedProjects => {}
                Step::OtherKey => {
                    request.tried.insert(key.id().clone());
                    request.avoid = avoid;
                }
                Step::AfterPause(pause) => tokio::time::sleep(pause).await,
            }
        }
    }
}

impl Course {
    /// Reads what the request asks for: from its path natively, from its body in OpenAI format.
    pub(super) fn of(job: &Job) -> Self {
        let operation = &job.target.operation;
        let mut model = operation.model.as_ref().map(|model| Arc::from(model.as_str()));
        let mut streaming = operation.streaming;
        // An interaction says the same in its body, in the same words.
        let is_in_body = job.target.surface == Surface::OpenAi
            || (operation.speaks_in_words() && operation.streaming == Streaming::Unknown);
        if is_in_body && !job.body.is_empty() {
            let peek = gemini::peek::peek_openai(&job.body);
            model = model.or_else(|| peek.model.map(|model| Arc::from(model.as_str())));
            streaming = if peek.stream { Streaming::Sse } else { Streaming::No };
        }
        let binding = Binding::default();
        Self { model, streaming, attempts: Vec::with_capacity(1), model_failed: false, binding }
    }

    /// Why there is no key for it.
    fn refused(&self, refusal: Refusal) -> Failure {
        match (&self.binding.name, refusal) {
            (Some(name), Refusal::AllRetired) => Failure::OwnerGone(name.as_str().into()),
            (_, refusal) => Failure::NoKey(refusal),
        }
    }

    /// What the request asks of the pool.
    fn request(&self, job: &Job, prefixes: bool) -> LeaseRequest {
        let asked = gemini::peek::search_tools(&job.body);
        let mut tools = Tools::NONE;
        if asked.google_search {
            tools = tools.with(Tool::GoogleSearch);
        }
        if asked.url_context {
            tools = tools.with(Tool::UrlContext);
        }
        let input_tokens = estimate_input_tokens(job.body.len() as u64, InlineMedia::find(&job.body));
        let prefix = if prefixes { gemini::prefix::fingerprint(job.target.dialect, &job.body) } else { None };
        let reach = self.binding.reach.clone();
        LeaseRequest { prefix, tools, input_tokens, reach, ..LeaseRequest::any(self.model.clone()) }
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

/// Uniform in 0..1, to spread pauses.
pub(super) fn chance() -> f64 {
    fastrand::f64()
}

/// Panics for the tests of what becomes of a request whose actor dies.
#[cfg(debug_assertions)]
fn panic_if_asked(job: &Job) {
    let asked =
        job.headers.contains_key("x-test-panic") && std::env::var_os("GEMINI_BALANCE_TEST_PANICS").is_some();
    assert!(!asked, "a test asked for this panic");
}

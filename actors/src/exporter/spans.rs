//! What a transaction looks like in OpenTelemetry: a SERVER span for the request, a span for each time in which it could not
//! go on, and a CLIENT span for each attempt. Attributes have OpenTelemetry's names where it has some. No content: neither
//! what a client says, nor what Google says, nor an address of either.

use super::{StatusOf, UpstreamHosts};
use crate::transaction::{Attempt, Delay, DelayCause, End, Transaction};
use gemini::{operation::Verb, path::Dialect};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::{Duration, SystemTime};

/// Google's name in OpenTelemetry.
const PROVIDER: &str = "gcp.gemini";

/// What all spans of one request share.
struct SpanFrame<'a> {
    transaction: &'a Transaction,
    hosts: &'a UpstreamHosts,
    trace: TraceId,
    server: SpanId,
    arrived: SystemTime,
    /// `generate_content`, say; `None` of what asks no model.
    operation: Option<&'static str>,
    /// What the client was answered; 0 if nothing.
    status: u16,
}

/// Returns the spans of a finished request, the request's own first.
pub(super) fn of(transaction: &Transaction, hosts: &UpstreamHosts, status_of: StatusOf) -> Vec<SpanData> {
    let parent = transaction.detail.as_ref().and_then(|detail| detail.trace_parent);
    let trace = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
    let ended = SystemTime::from(transaction.ended);
    let frame = SpanFrame {
        transaction,
        hosts,
        trace: TraceId::from(trace),
        server: span_id(),
        arrived: ended.checked_sub(transaction.total).unwrap_or(ended),
        operation: operation(transaction),
        status: transaction.failure.as_ref().map_or(transaction.status, status_of),
    };
    let mut spans = Vec::with_capacity(1 + transaction.attempts.len());
    let server = frame.request();
    spans.push(SpanData {
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
        parent_span_is_remote: parent.is_some(),
        ..server
    });
    spans.extend(transaction.delays().iter().map(|delay| frame.delay(delay)));
    let last = transaction.attempts.len().saturating_sub(1);
    let attempts = transaction.attempts.iter().enumerate();
    spans.extend(attempts.map(|(place, attempt)| frame.attempt(attempt, place == last)));
    spans
}

impl SpanFrame<'_> {
    fn request(&self) -> SpanData {
        let t = self.transaction;
        let name = match &t.verb {
            Some(verb) => format!("{} {}", t.method, verb.known().unwrap_or("other")),
            None => t.method.to_string(),
        };
        let mut attributes = vec![
            KeyValue::new("http.request.method", t.method.to_string()),
            KeyValue::new("gemini_balance.request_id", t.id.clone()),
            KeyValue::new(
                "gemini_balance.dialect",
                match t.dialect {
                    Dialect::Gemini => "gemini",
                    Dialect::OpenAi => "openai",
                },
            ),
            KeyValue::new("gemini_balance.end", t.end.as_str()),
            KeyValue::new("gemini_balance.attempts", count(t.attempts.len() as u64)),
            KeyValue::new("http.request.body.size", count(t.bytes_in)),
            KeyValue::new("http.response.body.size", count(t.bytes_out)),
        ];
        let status = self.status;
        if status != 0 {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if let Some(caller) = &t.caller {
            attributes.push(KeyValue::new("gemini_balance.caller", caller.to_string()));
        }
        if let Some(model) = &t.model {
            attributes.push(KeyValue::new("gen_ai.request.model", model.to_string()));
        }
        if let Some(first_byte) = t.first_byte {
            attributes.push(KeyValue::new("gemini_balance.first_byte_s", first_byte.as_secs_f64()));
        }
        if let Some(refuser) = t.refuser() {
            attributes.push(KeyValue::new("gemini_balance.refused_by", refuser.as_str()));
            if let Some(limit) = refuser.limit() {
                attributes.push(KeyValue::new("gemini_balance.limit", limit));
            }
        }
        let fault = t.attempts.last().and_then(|last| last.fault);
        let error = match (t.end, fault) {
            (End::UpstreamBroke, _) => Some("upstream_broke".to_owned()),
            (_, Some(fault)) if status >= 400 => Some(format!("{fault:?}")),
            _ if t.failure.is_some() => {
                Some(t.refuser().map_or("gateway", |refuser| refuser.as_str()).to_owned())
            }
            _ => None,
        };
        // A server's span is no error where its client is to blame.
        let is_ours = status >= 500 || t.end == End::UpstreamBroke;
        let code = if is_ours { Status::error("") } else { Status::Unset };
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        self.span(self.server, SpanKind::Server, name, (Duration::ZERO, t.total), attributes, code)
    }

    fn delay(&self, delay: &Delay) -> SpanData {
        let (name, mut attributes) = match &delay.cause {
            DelayCause::NoKey(passed_over) => {
                let groups = passed_over.iter().flat_map(|passed_over| &passed_over.groups);
                let attributes = groups.map(|group| {
                    KeyValue::new(
                        format!("gemini_balance.passed_over.{}", group.obstacle),
                        i64::from(group.keys),
                    )
                });
                ("wait for a key", attributes.collect::<Vec<_>>())
            }
            DelayCause::AfterFault(kind) => {
                ("pause", vec![KeyValue::new("gemini_balance.after", format!("{kind:?}"))])
            }
        };
        let status = if delay.refusal.is_some() { Status::error("") } else { Status::Unset };
        if delay.refusal.is_some() {
            attributes.push(KeyValue::new("error.type", "pool"));
        }
        let time = (delay.start, delay.took);
        self.child(SpanKind::Internal, name.to_owned(), time, attributes, status)
    }

    fn attempt(&self, attempt: &Attempt, is_last: bool) -> SpanData {
        let t = self.transaction;
        let host = match t.dialect {
            Dialect::Gemini => &self.hosts.gemini,
            Dialect::OpenAi => &self.hosts.openai,
        };
        let mut attributes = vec![
            KeyValue::new("gen_ai.provider.name", PROVIDER),
            KeyValue::new("server.address", host.clone()),
            KeyValue::new("http.request.method", t.method.to_string()),
            KeyValue::new("gemini_balance.key", attempt.key.as_str().to_owned()),
            KeyValue::new("gemini_balance.chosen", attempt.choice.as_str()),
        ];
        if let Some(operation) = self.operation {
            attributes.push(KeyValue::new("gen_ai.operation.name", operation));
        }
        if let Some(model) = &t.model {
            attributes.push(KeyValue::new("gen_ai.request.model", model.to_string()));
        }
        if let Some(project) = &attempt.project {
            attributes.push(KeyValue::new("gemini_balance.project", project.as_str().to_owned()));
        }
        if let Some(status) = attempt.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if let Some(usage) = t.usage.as_ref().filter(|_| is_last && attempt.fault.is_none()) {
            let counts = [
                ("gen_ai.usage.input_tokens", usage.prompt_tokens),
                ("gen_ai.usage.output_tokens", usage.output_tokens),
                ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
            ];
            let known = counts.into_iter().filter_map(|(name, tokens)| Some((name, tokens?)));
            attributes.extend(known.map(|(name, tokens)| KeyValue::new(name, count(tokens))));
        }
        let mut status = Status::Unset;
        if let Some(fault) = attempt.fault {
            attributes.push(KeyValue::new("error.type", format!("{fault:?}")));
            status = Status::error("");
        }
        let name = match (self.operation, &t.model) {
            (Some(operation), Some(model)) => format!("{operation} {model}"),
            (Some(operation), None) => operation.to_owned(),
            (None, _) => t.method.to_string(),
        };
        // An answer that is passed on belongs to the attempt as long as it streams.
        let took = if is_last && attempt.fault.is_none() && attempt.status.is_some() {
            t.total.saturating_sub(attempt.start).max(attempt.took)
        } else {
            attempt.took
        };
        self.child(SpanKind::Client, name, (attempt.start, took), attributes, status)
    }

    fn child(
        &self,
        kind: SpanKind,
        name: String,
        time: (Duration, Duration),
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let span = self.span(span_id(), kind, name, time, attributes, status);
        SpanData { parent_span_id: self.server, ..span }
    }

    /// A span that begins so long after arrival and takes so long.
    fn span(
        &self,
        id: SpanId,
        span_kind: SpanKind,
        name: String,
        (start, took): (Duration, Duration),
        attributes: Vec<KeyValue>,
        status: Status,
    ) -> SpanData {
        let start_time = self.arrived + start;
        SpanData {
            span_context: SpanContext::new(self.trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind,
            name: name.into(),
            start_time,
            end_time: start_time + took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("gemini-balance")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

/// The operation in OpenTelemetry's words, of what asks a model.
fn operation(transaction: &Transaction) -> Option<&'static str> {
    let ends = |end: &str| transaction.path.trim_end_matches('/').ends_with(end);
    match &transaction.verb {
        Some(Verb::GenerateContent | Verb::StreamGenerateContent) => Some("generate_content"),
        Some(Verb::EmbedContent | Verb::BatchEmbedContents) => Some("embeddings"),
        Some(verb) if transaction.model.is_some() => verb.known(),
        None if ends("/chat/completions") => Some("chat"),
        None if ends("/embeddings") => Some("embeddings"),
        _ => None,
    }
}

fn span_id() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

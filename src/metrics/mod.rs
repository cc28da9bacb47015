//! Metrics: what monitoring reads of the gateway, in the words of `docs/operations.md`. Made when somebody asks, from what
//! the accountant, the pool and the rest have counted anyhow: no request costs anything for it. Here is who may ask and in
//! which form; what there is to tell is gathered in `scrape` and written down in `exposition`. Asked by the operator's
//! listener and by `listener`.

mod callers;
mod cluster;
mod exposition;
mod family;
mod listener;
mod pool;
mod process;
mod requests;
mod scrape;
mod service;

pub(crate) use listener::start;

use crate::{
    http::{Gate, TranslationRepeats},
    inflight::InFlight,
    logging::Logging,
    reload::ReloadState,
    tls::ShownCertificate,
};
use ::callers::Directory;
use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap},
    web,
};
use gemini_balance_actors::{
    KeyManager, Secret, accounting::Accounts, clock::Clock, cluster::Cluster, exporter::Traces,
    health::Health,
};
use prometheus_client::encoding::prometheus_text;
use std::{sync::Arc, time::Instant};

/// The media type of OpenMetrics, which Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the figures come from.
pub(crate) struct Sources {
    pub(crate) keys: KeyManager,
    pub(crate) health: Arc<Health>,
    pub(crate) in_flight: InFlight,
    pub(crate) directory: Arc<Directory>,
    pub(crate) accounts: Option<Accounts>,
    pub(crate) clock: Clock,
    pub(crate) logging: Logging,
    pub(crate) certificates: Vec<Arc<ShownCertificate>>,
    pub(crate) reloads: Arc<ReloadState>,
    pub(crate) traces: Traces,
    pub(crate) repeats: TranslationRepeats,
    pub(crate) cluster: Option<Cluster>,
}

/// The metrics, for all who ask.
pub(crate) struct Metrics {
    sources: Sources,
    process: process::Beginning,
    gate: Gate,
    /// Held while somebody is answered: scrapes wait for one another.
    asking: tokio::sync::Mutex<()>,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpositionFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus that came before.
    Plain,
}

impl ExpositionFormat {
    /// The form that a request asks for: OpenMetrics, unless it takes plain text and not that.
    fn of(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        let (mut plain, mut open) = (false, false);
        for accepted in accepted {
            plain |= accepted.contains("text/plain");
            open |= accepted.contains("application/openmetrics-text");
        }
        if plain && !open { Self::Plain } else { Self::OpenMetrics }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPENMETRICS,
            Self::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

impl Metrics {
    /// Of these sources. `token` opens the metrics and nothing else.
    pub(crate) fn new(sources: Sources, token: Option<&Secret>) -> Self {
        Self {
            sources,
            process: process::Beginning::now(),
            gate: Gate::of_operator(token),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether a request shows the token that opens them.
    pub(crate) fn opens_to(&self, headers: &HeaderMap) -> bool {
        self.gate.admit(headers, None).1.is_ok()
    }

    /// Changes that token.
    pub(crate) fn set_token(&self, token: Option<&Secret>) {
        self.gate.set_operator(token);
    }

    /// Answers with all there is, in the form that the request asks for.
    pub(crate) async fn answer(&self, headers: &HeaderMap) -> HttpResponse {
        let _turn = self.asking.lock().await;
        let begun = Instant::now();
        let form = ExpositionFormat::of(headers);
        let scrape = scrape::gather(&self.sources, &self.process).await;
        // On a thread of its own: the text may have megabytes.
        let text = web::block(move || scrape.encode(form)).await;
        let Ok(Ok(text)) = text else {
            return HttpResponse::InternalServerError().body("the metrics could not be written down");
        };
        log::debug!(target: "metrics", "{} bytes in {:?}", text.len(), begun.elapsed());
        HttpResponse::Ok()
            .content_type(form.content_type())
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn plain_text_is_for_who_asks_for_it_and_does_not_take_openmetrics() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, form) in [
            (None, ExpositionFormat::OpenMetrics),
            (Some("*/*"), ExpositionFormat::OpenMetrics),
            (Some(prometheus), ExpositionFormat::OpenMetrics),
            (Some("text/plain; version=0.0.4"), ExpositionFormat::Plain),
            (Some("text/html, text/plain;q=0.9, */*;q=0.8"), ExpositionFormat::Plain),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(ExpositionFormat::of(&headers), form, "{accept:?}");
        }
    }
}

//! Posts spans to a collector, over the HTTP client that the gateway has: what OpenTelemetry's exporter asks for.

use super::TraceSettings;
use crate::upstream::{PlainClient, UpstreamError};
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _},
};
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a post ended that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotPosted {
    /// Whether another try may help.
    pub(super) may_help: bool,
    /// Why, for the operator.
    pub(super) why: String,
}

/// Posts batches. Cheap to clone.
#[derive(Clone)]
pub(super) struct Poster {
    exporter: Arc<SpanExporter>,
    status: Arc<Mutex<Option<u16>>>,
}

/// The client as OpenTelemetry knows it. It notes the last answer's status, which decides about another try.
struct Client {
    inner: PlainClient,
    status: Arc<Mutex<Option<u16>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl HttpClient for Client {
    // As the trait's own macro would write it.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let answer = tokio::time::timeout(PATIENCE, self.inner.send(request)).await;
            let answer = answer.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))??;
            *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.status().as_u16());
            Ok(answer)
        })
    }
}

impl Poster {
    /// Makes one that trusts these certificates (PEM) besides the system's.
    pub(super) fn new(settings: &TraceSettings, extra_roots: &[Vec<u8>]) -> Result<Self, UpstreamError> {
        let status = Arc::default();
        let inner = PlainClient::new(extra_roots)?;
        let client = Client { inner, status: Arc::clone(&status) };
        let headers = settings
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_headers(headers.collect::<HashMap<_, _>>())
            .build();
        let mut exporter =
            exporter.map_err(|error| UpstreamError::new("traces.endpoint", error.to_string()))?;
        let resource = Resource::builder()
            .with_service_name("gemini-balance")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        Ok(Self { exporter: Arc::new(exporter), status })
    }

    /// Posts one batch.
    pub(super) async fn post(&self, spans: Vec<SpanData>) -> Result<(), NotPosted> {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let Err(error) = self.exporter.export(spans).await else { return Ok(()) };
        let status = *self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Err(match status {
            Some(status) => NotPosted {
                // As the protocol has it: these may be tried again, all others not.
                may_help: matches!(status, 429 | 502 | 503 | 504),
                why: format!("the collector answers {status}"),
            },
            None => NotPosted { may_help: true, why: error.to_string() },
        })
    }
}

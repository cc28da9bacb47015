//! What is kept of responses, for clients that go on from them: found before a request is translated, kept once its answer
//! is whole, shown and forgotten by its id. Another caller's is not there.

use super::{
    client_request::ClientRequest,
    exchange::Exchange,
    format::{ClientFormat, Prepared},
    kept::KeptResponses,
};
use crate::http::{arrival::Arrival, error::GatewayError};
use actix_web::{HttpResponse, http::StatusCode};
use bytes::Bytes;
use formats::{
    FieldPath, TranslationError,
    responses::{self, ItemOrder, ResponseDraft, StoredResponse},
};
use std::sync::Arc;

/// Longer ids are nobody's.
const MAX_ID_BYTES: usize = 200;

/// Keeps a response for its caller, once it is there.
pub(super) struct ResponseKeeper {
    kept: KeptResponses,
    owner: Arc<str>,
    /// What of the request is kept with it.
    draft: ResponseDraft,
}

impl ResponseKeeper {
    /// Keeps it. The client, which may go on from it at once, is to have its last bytes afterwards.
    pub(super) async fn keep(self, response: Bytes) {
        let Self { kept, owner, draft } = self;
        if let Some(stored) = draft.finish(&response) {
            kept.keep(owner, stored.id(), stored.encode()).await;
        }
    }
}

impl Exchange<'_> {
    /// Takes a request with what it goes on from.
    pub(super) async fn client_request(&self, body: &Bytes) -> Result<Arc<ClientRequest>, GatewayError> {
        let (mut previous, mut referenced) = (None, Vec::new());
        if self.format == ClientFormat::Responses {
            previous = self.previous(body).await?;
            referenced = self.referenced(body).await;
        }
        let session = self.request.headers().get("x-claude-code-session-id");
        let session = session.and_then(|session| session.to_str().ok()).map(str::to_owned);
        Ok(Arc::new(ClientRequest { format: self.format, body: body.clone(), session, previous, referenced }))
    }

    /// Finds the response that a request goes on from, if it names one.
    async fn previous(&self, body: &[u8]) -> Result<Option<StoredResponse>, GatewayError> {
        let Some(id) = responses::previous_id(body) else { return Ok(None) };
        if let Some(previous) = self.find(&id).await {
            return Ok(Some(previous));
        }
        let at = FieldPath::of("previous_response_id");
        Err(GatewayError::Translation(TranslationError::UnknownState { at, id }))
    }

    /// Finds the responses of which a request names single items.
    async fn referenced(&self, body: &[u8]) -> Vec<StoredResponse> {
        let mut referenced = Vec::new();
        for id in responses::referenced_ids(body) {
            referenced.extend(self.find(&id).await);
        }
        referenced
    }

    /// Returns who keeps the answer, if it is to be kept.
    pub(super) fn keeper(&self, prepared: &Prepared) -> Option<ResponseKeeper> {
        let Prepared::Responses(create) = prepared else { return None };
        let kept = &self.state.responses;
        let draft = create.draft.clone().filter(|_| kept.is_on())?;
        Some(ResponseKeeper { kept: kept.clone(), owner: Arc::clone(&self.caller.name), draft })
    }

    async fn find(&self, id: &str) -> Option<StoredResponse> {
        if id.len() > MAX_ID_BYTES {
            return None;
        }
        let body = self.state.responses.find(Arc::clone(&self.caller.name), id.to_owned()).await?;
        StoredResponse::decode(&body)
    }

    async fn found(&self, id: &str) -> Result<StoredResponse, GatewayError> {
        self.find(id).await.ok_or(GatewayError::NoResponse)
    }

    /// Shows a response that is kept. Its events are not: their numbers, which a client would go on from, are those of the
    /// stream that it has seen.
    pub(super) async fn show(&self, id: &str, arrival: &Arrival) -> Result<HttpResponse, GatewayError> {
        let stored = self.found(id).await?;
        if self.query().get("stream").is_some_and(|stream| stream.eq_ignore_ascii_case("true")) {
            let why =
                "is not served here: a response is kept whole, without its events; ask without `stream`";
            return Err(GatewayError::Translation(TranslationError::unsupported("stream", why)));
        }
        Ok(self.response(StatusCode::OK, arrival).body(stored.response_body()))
    }

    /// Shows the items of its request.
    pub(super) async fn items(&self, id: &str, arrival: &Arrival) -> Result<HttpResponse, GatewayError> {
        let stored = self.found(id).await?;
        let query = self.query();
        let limit = query.get("limit").and_then(|limit| limit.parse().ok());
        let order = query.get("order").and_then(|order| ItemOrder::parse(order)).unwrap_or_default();
        let body = stored.input_items_body(limit, order, query.get("after").map(String::as_str));
        Ok(self.response(StatusCode::OK, arrival).body(body))
    }

    /// Forgets a response that is kept.
    pub(super) async fn forget(&self, id: &str, arrival: &Arrival) -> Result<HttpResponse, GatewayError> {
        self.found(id).await?;
        self.state.responses.forget(Arc::clone(&self.caller.name), id.to_owned()).await;
        Ok(self.response(StatusCode::OK, arrival).body(responses::deleted_body(id)))
    }
}

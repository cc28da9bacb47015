//! What is kept of responses, for clients that go on from them: found before a request is translated, kept once its answer
//! is whole, shown and forgotten by its id. Another caller's is not there.

use super::{
    exchange::Exchange,
    format::{ClientFormat, Prepared},
    kept::KeptResponses,
};
use crate::http::{arrival::Arrival, error::GatewayError};
use actix_web::{HttpResponse, http::StatusCode};
use bytes::Bytes;
use formats::{
    FieldPath, GeminiCall, TranslationError, anthropic,
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
    /// Translates a request, with what it goes on from.
    pub(super) async fn prepare(&self, body: &[u8]) -> Result<Prepared, GatewayError> {
        let models = self.models_map();
        match self.format {
            ClientFormat::Messages => {
                let session = self.request.headers().get("x-claude-code-session-id");
                let session = session.and_then(|session| session.to_str().ok());
                let call = anthropic::messages(body, models, &|name| self.state.listed.has(name), session);
                Ok(Prepared::Messages(Box::new(call.map_err(GatewayError::Translation)?)))
            }
            ClientFormat::Responses => {
                let previous = self.previous(body).await?;
                let referenced = self.referenced(body).await;
                let create = responses::create_with(
                    body,
                    models,
                    &|name| self.state.listed.has(name),
                    previous.as_ref(),
                    &referenced,
                );
                Ok(Prepared::Responses(Box::new(create.map_err(GatewayError::Translation)?)))
            }
        }
    }

    /// Translates a request for the number of its tokens, with those of what it goes on from.
    pub(super) async fn prepare_count(&self, body: &[u8]) -> Result<GeminiCall, GatewayError> {
        let models = self.models_map();
        let call = match self.format {
            ClientFormat::Messages => {
                anthropic::count_tokens(body, models, &|name| self.state.listed.has(name))
            }
            ClientFormat::Responses => {
                let previous = self.previous(body).await?;
                let referenced = self.referenced(body).await;
                responses::input_tokens_with(
                    body,
                    models,
                    &|name| self.state.listed.has(name),
                    previous.as_ref(),
                    &referenced,
                )
            }
        };
        call.map_err(GatewayError::Translation)
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

    /// Shows a response that is kept.
    pub(super) async fn show(&self, id: &str, arrival: &Arrival) -> Result<HttpResponse, GatewayError> {
        let stored = self.found(id).await?;
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

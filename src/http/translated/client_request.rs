//! A client's request as it came, with what is kept of what it goes on from: what is translated for the model that it names,
//! and once more for one that stands in for that.

use super::{
    format::{ClientFormat, Prepared},
    repeats::RepeatsDone,
};
use bytes::Bytes;
use formats::{
    GeminiCall, TranslationError, anthropic,
    models::{ModelMap, ModelTraits},
    responses::{self, StoredResponse},
};
use gemini_balance_actors::forward::BodiesByModel;
use std::sync::Arc;

/// See the module.
pub(super) struct ClientRequest {
    pub(super) format: ClientFormat,
    /// In the clear.
    pub(super) body: Bytes,
    /// The client's name of its session, where a header says it.
    pub(super) session: Option<String>,
    /// The response that it goes on from.
    pub(super) previous: Option<StoredResponse>,
    /// The responses of which it names single items.
    pub(super) referenced: Vec<StoredResponse>,
}

impl ClientRequest {
    /// Translates it to be answered. `is_listed` says whether Google lists a model.
    pub(super) fn translate(
        &self,
        models: &ModelMap,
        is_listed: &dyn Fn(&str) -> bool,
    ) -> Result<Prepared, TranslationError> {
        let (body, previous, referenced) = (&self.body, self.previous.as_ref(), &self.referenced);
        Ok(match self.format {
            ClientFormat::Messages => {
                let session = self.session.as_deref();
                Prepared::Messages(Box::new(anthropic::messages(body, models, is_listed, session)?))
            }
            ClientFormat::Responses => {
                let create = responses::create_with(body, models, is_listed, previous, referenced)?;
                Prepared::Responses(Box::new(create))
            }
        })
    }

    /// Translates it for the number of its tokens, with those of what it goes on from.
    pub(super) fn translate_count(
        &self,
        models: &ModelMap,
        is_listed: &dyn Fn(&str) -> bool,
    ) -> Result<GeminiCall, TranslationError> {
        let (body, previous, referenced) = (&self.body, self.previous.as_ref(), &self.referenced);
        match self.format {
            ClientFormat::Messages => anthropic::count_tokens(body, models, is_listed),
            ClientFormat::Responses => {
                responses::input_tokens_with(body, models, is_listed, previous, referenced)
            }
        }
    }

    /// Returns what makes the bodies for a model that answers in place of the one asked for: without what Google was found
    /// to refuse already, then without all that one model may refuse of what suits another.
    pub(super) fn bodies(self: &Arc<Self>, done: RepeatsDone) -> BodiesByModel {
        let request = Arc::clone(self);
        BodiesByModel::new(move |model| {
            let Ok(models) = ModelMap::all_to(model) else { return Vec::new() };
            let Ok(prepared) = request.translate(&models, &|_| false) else { return Vec::new() };
            let traits = ModelTraits::of(model);
            let first = done.mended(prepared.call().body.clone(), traits);
            let last = RepeatsDone::ALL.mended(first.clone(), traits);
            if last == first { vec![first] } else { vec![first, last] }
        })
    }

    /// As [`ClientRequest::bodies`], for the number of its tokens.
    pub(super) fn count_bodies(self: &Arc<Self>) -> BodiesByModel {
        let request = Arc::clone(self);
        BodiesByModel::new(move |model| {
            let models = ModelMap::all_to(model).ok();
            let call = models.and_then(|models| request.translate_count(&models, &|_| false).ok());
            call.map(|call| call.body).into_iter().collect()
        })
    }
}

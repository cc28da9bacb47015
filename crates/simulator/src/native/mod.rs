//! Google's own dialect: `/v1`, `/v1beta`, `/v1alpha`.

mod cached;
mod embed;
mod generate;
mod grounding;
mod listing;
mod rules;
mod turn;

pub(crate) use cached::used as used_cache;
pub(crate) use embed::{DIMENSIONS, PNG_BASE64, embedded, vector};
pub(crate) use generate::generated;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::ApiError;
use crate::route::Operation;

pub(crate) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    match &call.route.operation {
        Operation::ListModels => listing::list(call),
        Operation::GetModel(id) => {
            let found = call.world.model(id);
            found
                .map(|model| Answer::pretty(&model.native()))
                .ok_or_else(|| call.no_model(id, "generateContent"))
        }
        Operation::Generate(id) => generate::unary(call, id),
        Operation::StreamGenerate(id) => generate::stream(call, id),
        Operation::CountTokens(id) => generate::count(call, id),
        Operation::Embed(id) => embed::one(call, id),
        Operation::BatchEmbed(id) => embed::batch(call, id),
        Operation::Predict(id) => embed::predict(call, id),
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

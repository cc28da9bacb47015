//! Google's own dialect: `/v1`, `/v1beta`, `/v1alpha`.

mod embed;
mod generate;
mod listing;

use serde_json::Value;

pub(crate) use embed::{DIMENSIONS, PNG_BASE64, embedded, vector};
pub(crate) use generate::generated;

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error::ApiError;
use crate::live;
use crate::models::{Model, ModelKind};
use crate::resources;
use crate::route::Operation;

pub(crate) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    match &call.route.operation {
        Operation::ListModels => listing::list(call),
        Operation::GetModel(id) => {
            let found = call.world.model(id);
            found
                .map(|model| Answer::pretty(&model.native()))
                .ok_or_else(|| not_found(call, id, "generateContent"))
        }
        Operation::Generate(id) => generate::unary(call, id),
        Operation::StreamGenerate(id) => generate::stream(call, id),
        Operation::CountTokens(id) => generate::count(call, id),
        Operation::Embed(id) => embed::one(call, id),
        Operation::BatchEmbed(id) => embed::batch(call, id),
        Operation::Predict(id) => embed::predict(call, id),
        Operation::Owned(place) => resources::answer(call, place),
        Operation::Download(name) => resources::download(call, name),
        Operation::CreateToken => live::create_token(call),
        _ => Ok(Answer::no_such_page(call.path)),
    }
}

/// The model, if it exists and can do `verb`.
pub(crate) fn model<'a>(
    call: &Call<'a>,
    id: &str,
    kinds: &[ModelKind],
    verb: &str,
) -> Result<&'a Model, ApiError> {
    call.world.model(id).filter(|model| kinds.contains(&model.kind)).ok_or_else(|| not_found(call, id, verb))
}

fn not_found(call: &Call<'_>, id: &str, verb: &str) -> ApiError {
    let version = &call.route.version;
    ApiError::new(
        404,
        format!(
            "models/{id} is not found for API version {version}, or is not supported for {verb}. Call ListModels to see the list of available models and their supported methods."
        ),
    )
}

/// Refuses top-level fields other than these.
pub(crate) fn only_fields(request: &Value, known: &[&str]) -> Result<(), ApiError> {
    let Some(fields) = request.as_object() else {
        return Err(ApiError::new(400, "Invalid JSON payload received. Root element must be a message."));
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(ApiError::unknown_field(unknown)),
        None => Ok(()),
    }
}

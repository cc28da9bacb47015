//! A request that has been let in, as `native`, `openai`, `resources` and `live` answer it.

use serde_json::Value;
use url::form_urlencoded;

use crate::error::ApiError;
use crate::keys::Key;
use crate::models::{Model, ModelKind};
use crate::route::Route;
use crate::world::World;

/// A request that Google has let in.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a World,
    pub(crate) route: &'a Route,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) key: Key,
    /// The body, where it is JSON.
    pub(crate) json: Value,
    /// The body as it came.
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    /// The model, if it exists and can do `verb`.
    pub(crate) fn model(&self, id: &str, kinds: &[ModelKind], verb: &str) -> Result<&'a Model, ApiError> {
        let found = self.world.model(id).filter(|model| kinds.contains(&model.kind));
        found.ok_or_else(|| self.no_model(id, verb))
    }

    /// The first query parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.query, name)
    }

    /// Whether a query parameter is true; Python's SDK writes `True`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Refuses a model, which cannot do `verb` or does not exist.
    pub(crate) fn no_model(&self, id: &str, verb: &str) -> ApiError {
        let version = &self.route.version;
        ApiError::new(
            404,
            format!(
                "models/{id} is not found for API version {version}, or is not supported for {verb}. Call ListModels to see the list of available models and their supported methods."
            ),
        )
    }
}

/// The first query parameter of this name.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes()).find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
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

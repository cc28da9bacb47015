//! The models as an Anthropic client lists them: what Google lists for this caller, and the names that are mapped.

use super::exchange::Exchange;
use crate::http::{admission, arrival::Arrival, error::GatewayError};
use actix_web::{HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use formats::anthropic::{ModelEntry, model_entry, model_list};
use gemini_balance_actors::forward::{Answer, Job};
use serde::Deserialize;
use std::collections::HashMap;

/// As many as Google gives at once.
const PAGE: &str = "pageSize=1000";
/// No list of Google's is longer.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleList {
    #[serde(default)]
    models: Vec<GoogleModel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleModel {
    name: String,
    display_name: Option<String>,
    input_token_limit: Option<u32>,
    output_token_limit: Option<u32>,
    supported_generation_methods: Option<Vec<String>>,
}

impl GoogleModel {
    fn id(&self) -> &str {
        self.name.strip_prefix("models/").unwrap_or(&self.name)
    }

    fn answers(&self) -> bool {
        self.supported_generation_methods
            .as_ref()
            .is_none_or(|all| all.iter().any(|method| method == "generateContent"))
    }

    fn entry(&self, id: &str) -> ModelEntry {
        ModelEntry {
            id: id.to_owned(),
            display_name: self.display_name.clone().unwrap_or_else(|| id.to_owned()),
            max_input_tokens: self.input_token_limit,
            max_tokens: self.output_token_limit,
        }
    }
}

impl Exchange<'_> {
    /// Lists the models, or shows one.
    pub(super) async fn models(
        &self,
        id: Option<&str>,
        arrival: &Arrival,
    ) -> Result<HttpResponse, GatewayError> {
        let account = self.open_account(false).await?;
        let answer = self.start(self.list(arrival)?, account).await?;
        if answer.status.as_u16() >= 400 {
            return Ok(self.refused(answer, arrival).await);
        }
        let list = self.read_list(answer).await;
        let mut entries: Vec<ModelEntry> =
            list.models.iter().filter(|model| model.answers()).map(|model| model.entry(model.id())).collect();
        for (name, target) in self.models_map().fixed() {
            if let Some(model) = list.models.iter().find(|model| model.id() == target) {
                entries.push(model.entry(name));
            }
        }
        let Some(id) = id else {
            let query = self.query();
            let limit = query.get("limit").and_then(|limit| limit.parse().ok());
            let of = |name: &str| query.get(name).map(String::as_str);
            let body = model_list(entries.into_iter(), limit, of("after_id"), of("before_id"));
            return Ok(self.response(StatusCode::OK, arrival).body(body));
        };
        let shown = entries.iter().find(|entry| entry.id == id).map(model_entry).or_else(|| {
            // A name that is mapped by a pattern is its target under another name.
            let mapped = self.models_map().resolve(id, |name| self.state.listed.has(name))?;
            let model = list.models.iter().find(|model| model.id() == mapped.target)?;
            Some(model_entry(&model.entry(id)))
        });
        let Some(body) = shown else {
            let told =
                self.format.google_error(404, &format!("model `{id}` is not known here"), None, &arrival.id);
            return Ok(self.told(&told, arrival));
        };
        Ok(self.response(StatusCode::OK, arrival).body(body))
    }

    /// Sees to it that Google's list was asked for of late.
    pub(super) async fn learn_list(&self, arrival: &Arrival) {
        let ask = async {
            // It is no request of the caller's own making.
            let Ok(account) = admission::open_again(self.state, &self.caller).await else { return };
            let Ok(job) = self.list(arrival) else { return };
            let answer = self.start(job, account).await.ok().filter(|answer| answer.status.as_u16() < 400);
            if let Some(answer) = answer {
                self.read_list(answer).await;
            }
        };
        self.state.listed.refresh(ask).await;
    }

    fn list(&self, arrival: &Arrival) -> Result<Job, GatewayError> {
        self.job("GET", "/v1beta/models", Some(PAGE), Bytes::new(), arrival)
    }

    async fn read_list(&self, answer: Answer) -> GoogleList {
        let Answer { body, .. } = answer;
        let google = super::exchange::collect(body, MAX_LIST_BYTES).await.unwrap_or_default();
        let list = serde_json::from_slice(&google).unwrap_or(GoogleList { models: Vec::new() });
        self.state.listed.learn(list.models.iter().filter(|model| model.answers()).map(GoogleModel::id));
        list
    }

    /// The parameters of the request's query.
    pub(super) fn query(&self) -> HashMap<String, String> {
        web::Query::from_query(self.request.query_string()).map(web::Query::into_inner).unwrap_or_default()
    }
}

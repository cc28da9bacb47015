//! Whether a request uses what is paid for, and where it says of which model: in its path, in its body, or nowhere. Read
//! from the method and the operation, before the body is there.

use crate::operation::{Operation, Verb};
use crate::path::{Surface, Target};

/// What a request spends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spending {
    /// Nothing: it reads, lists, counts, uploads, or ends something.
    Nothing,
    /// The model in its path.
    PathModel,
    /// The model that its body names.
    BodyModel,
    /// Models that it does not show: those in a batch's input file, or whatever else is begun here and carried out later.
    Unseen,
}

/// Collections in which making something costs nothing.
const FREE: &[&str] =
    &["files", "fileSearchStores", "ragStores", "corpora", "operations", "permissions", "environments"];
/// Collections in which what is made names its model at its top level.
const NAMED_IN_BODY: &[&str] = &["interactions", "cachedContents"];
/// Collections of the OpenAI layer in which what is made names its model elsewhere.
const UNSEEN_OPENAI: &[&str] = &["batches", "fine_tuning"];

/// Returns what a request spends on.
pub fn spending(method: &str, target: &Target) -> Spending {
    let operation = &target.operation;
    match target.surface {
        Surface::Upload | Surface::Download => Spending::Nothing,
        Surface::Live => Spending::BodyModel,
        _ if method != "POST" => Spending::Nothing,
        Surface::OpenAi => openai(operation),
        Surface::Native => native(operation),
    }
}

fn openai(operation: &Operation) -> Spending {
    let Some(resource) = &operation.resource else { return Spending::Nothing };
    let collection = resource.collection();
    if FREE.contains(&collection) || (resource.owned().is_some() && UNSEEN_OPENAI.contains(&collection)) {
        Spending::Nothing
    } else if UNSEEN_OPENAI.contains(&collection) {
        Spending::Unseen
    } else {
        Spending::BodyModel
    }
}

fn native(operation: &Operation) -> Spending {
    match (&operation.verb, &operation.resource) {
        (Some(Verb::CountTokens | Verb::CountTextTokens | Verb::CountMessageTokens), _) | (None, None) => {
            Spending::Nothing
        }
        (Some(_), None) if operation.model.is_some() => Spending::PathModel,
        // A tuned model is a resource as well.
        (Some(_), Some(resource)) if operation.model.is_some() && resource.collection() == "tunedModels" => {
            Spending::PathModel
        }
        (_, Some(resource)) if resource.owned().is_some() => Spending::Nothing,
        (_, Some(resource)) if FREE.contains(&resource.collection()) => Spending::Nothing,
        (None, Some(resource)) if NAMED_IN_BODY.contains(&resource.collection()) => Spending::BodyModel,
        _ => Spending::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{CredentialForm, parse};

    #[test]
    fn what_is_paid_for_is_told_from_what_is_free() {
        use Spending::{BodyModel, Nothing, PathModel, Unseen};
        for (request, spends) in [
            ("POST /v1beta/models/gemini-2.5-pro:generateContent", PathModel),
            ("POST /v1beta/models/gemini-2.5-pro:streamGenerateContent", PathModel),
            ("POST /v1beta/models/gemini-embedding-001:embedContent", PathModel),
            ("POST /v1beta/models/gemini-2.5-pro:batchGenerateContent", PathModel),
            ("POST /v1beta/models/veo-3.0:predictLongRunning", PathModel),
            ("POST /v1beta/models/gemini-2.5-pro:somethingNew", PathModel),
            ("POST /v1beta/tunedModels/mine:generateContent", PathModel),
            ("POST /v1beta/models/gemini-2.5-pro:countTokens", Nothing),
            ("GET /v1beta/models/gemini-2.5-pro", Nothing),
            ("GET /v1beta/models", Nothing),
            ("POST /v1beta/interactions", BodyModel),
            ("POST /v1beta/interactions/abc/cancel", Nothing),
            ("POST /v1beta/cachedContents", BodyModel),
            ("PATCH /v1beta/cachedContents/abc", Nothing),
            ("POST /v1beta/files:register", Nothing),
            ("POST /v1beta/fileSearchStores", Nothing),
            ("POST /v1beta/fileSearchStores/abc:importFile", Nothing),
            ("POST /v1beta/batches/abc:cancel", Nothing),
            ("DELETE /v1beta/batches/abc", Nothing),
            ("POST /v1alpha/auth_tokens", Unseen),
            ("POST /v1beta/tunedModels", Unseen),
            ("POST /v1beta/somethingNew", Unseen),
            ("POST /upload/v1beta/files", Nothing),
            ("GET /download/v1beta/files/abc:download", Nothing),
            ("POST /v1beta/openai/chat/completions", BodyModel),
            ("POST /v1beta/openai/embeddings", BodyModel),
            ("POST /v1beta/openai/images/generations", BodyModel),
            ("POST /v1beta/openai/batches", Unseen),
            ("POST /v1beta/openai/batches/batches/abc/cancel", Nothing),
            ("POST /v1beta/openai/files", Nothing),
            ("GET /v1beta/openai/models", Nothing),
            ("GET /v1beta/openai/chat/completions", Nothing),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            let target = parse(method, path, None, CredentialForm::GoogHeader).unwrap();
            assert_eq!(spending(method, &target), spends, "{request}");
        }
    }
}

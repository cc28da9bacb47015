//! How Google says that a resource is not there, or not for this project: it does not tell the two apart, and neither
//! does the gateway about what another caller has made.

use crate::{dialect::Dialect, names::OwnedName, path::Target};

/// An answer of Google's: its status, and its body as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// 403 or 404.
    pub status: u16,
    /// The error document, as Google writes it.
    pub body: String,
}

/// What Google answers to `target` when it names a resource that is not there.
pub fn absence(target: &Target, name: &OwnedName) -> Absence {
    let id = name.as_str().split_once('/').map_or(name.as_str(), |(_, id)| id);
    let (status, grpc_status, message) = match name.collection() {
        "files" => {
            let message = format!("You do not have permission to access the File {id} or it may not exist.");
            (403, "PERMISSION_DENIED", message)
        }
        "cachedContents" => {
            (403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)".to_owned())
        }
        _ => (404, "NOT_FOUND", "Requested entity was not found.".to_owned()),
    };
    let body = if target.operation.speaks_in_words() {
        let code = if status == 403 { "permission_denied" } else { "not_found" };
        serde_json::json!({"error": {"code": code, "message": message}})
    } else {
        let error = serde_json::json!({"error": {"code": status, "message": message, "status": grpc_status}});
        match target.dialect {
            Dialect::Gemini => error,
            Dialect::OpenAi => serde_json::Value::Array(vec![error]),
        }
    };
    Absence { status, body: format!("{body:#}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{CredentialForm, parse};

    fn of(path: &str, name: &str) -> (u16, serde_json::Value) {
        let target = parse("POST", path, None, CredentialForm::GoogHeader).unwrap();
        let absence = absence(&target, &OwnedName::parse(name).unwrap());
        (absence.status, serde_json::from_str(&absence.body).unwrap())
    }

    #[test]
    fn each_collection_has_googles_words_in_the_form_of_what_was_asked() {
        let (status, body) = of("/v1beta/models/m:generateContent", "files/abc");
        assert_eq!((status, &body["error"]["status"]), (403, &"PERMISSION_DENIED".into()));
        assert!(body["error"]["message"].as_str().unwrap().contains("the File abc or"));
        assert_eq!(of("/v1beta/batches/b:cancel", "batches/b").0, 404);
        let (_, body) = of("/v1beta/interactions", "interactions/i");
        assert_eq!(body["error"]["code"], "not_found");
        let (_, body) = of("/v1beta/openai/chat/completions", "cachedContents/c");
        assert_eq!(body[0]["error"]["code"], 403);
    }
}

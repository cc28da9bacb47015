//! The route table: from method and path to what is asked for. Answers are made by `native` and `openai`.
//! What projects own is a `Place`, which `resources` answers; anything else new is a new `Operation` and a module that answers it.

mod kind;
mod live;
mod place;

use http::Method;
use percent_encoding::percent_decode_str;

pub(crate) use kind::Kind;
pub(crate) use live::LiveMethod;
pub(crate) use place::{Act, Place, Target};

/// Which of Google's two dialects the path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Native,
    OpenAi,
}

/// What the request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    ListModels,
    GetModel(String),
    Generate(String),
    StreamGenerate(String),
    CountTokens(String),
    Embed(String),
    BatchEmbed(String),
    Predict(String),
    /// Something a project owns.
    Owned(Place),
    /// A file on its way in.
    Upload(Target),
    /// The bytes of the resource of this name.
    Download(String),
    /// The same without asking for a key: where a download may be redirected to.
    Media(String),
    ChatCompletions,
    OpenAiEmbeddings,
    OpenAiModels,
    OpenAiModel(String),
    Images,
    CreateVideo,
    GetVideo(String),
    /// An ephemeral token for the Live API.
    CreateToken,
    /// A session; `live` reads its paths.
    Live(LiveMethod),
    /// Google has no such page.
    Unknown,
}

/// A request's place in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) surface: Surface,
    /// `v1`, `v1beta` or `v1alpha`; empty when the path has none.
    pub(crate) version: String,
    pub(crate) operation: Operation,
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let path = percent_decode_str(path).decode_utf8_lossy();
        let mut parts = path.strip_prefix('/').unwrap_or(&path).splitn(2, '/');
        let first = parts.next().unwrap_or_default();
        let rest = parts.next().unwrap_or_default();
        if matches!(first, "upload" | "download") {
            let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let operation = if first == "upload" {
                Target::of(method, rest).map_or(Operation::Unknown, Operation::Upload)
            } else {
                match rest.strip_suffix(":download") {
                    Some(name) if method == Method::GET => Operation::Download(name.to_owned()),
                    _ => Operation::Unknown,
                }
            };
            return Self { surface: Surface::Native, version: version.to_owned(), operation };
        }
        if first == "media" && method == Method::GET {
            let operation = Operation::Media(rest.to_owned());
            return Self { surface: Surface::Native, version: String::new(), operation };
        }
        if !matches!(first, "v1" | "v1beta" | "v1alpha") {
            return Self { surface: Surface::Native, version: String::new(), operation: Operation::Unknown };
        }
        let version = first.to_owned();
        if let Some(rest) = rest.strip_prefix("openai/") {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            return Self { surface: Surface::OpenAi, version, operation: openai(method, rest) };
        }
        // v1 has no tokens (404 on 19 Sep 2026).
        if rest == "auth_tokens" && version != "v1" && method == Method::POST {
            return Self { surface: Surface::Native, version, operation: Operation::CreateToken };
        }
        Self { surface: Surface::Native, version, operation: native(method, rest) }
    }

    /// The model named by the path, if the path names one.
    pub(crate) fn model(&self) -> Option<&str> {
        match &self.operation {
            Operation::GetModel(model)
            | Operation::Generate(model)
            | Operation::StreamGenerate(model)
            | Operation::CountTokens(model)
            | Operation::Embed(model)
            | Operation::BatchEmbed(model)
            | Operation::Predict(model)
            | Operation::OpenAiModel(model) => Some(model),
            Operation::Owned(place) => place.model(),
            _ => None,
        }
    }

    /// The gRPC method behind it, as Google's error details name it.
    pub(crate) fn rpc(&self) -> String {
        let version = if self.version.is_empty() { "v1beta" } else { &self.version };
        let method = match &self.operation {
            Operation::ListModels | Operation::OpenAiModels => "ModelService.ListModels",
            Operation::GetModel(_) | Operation::OpenAiModel(_) => "ModelService.GetModel",
            Operation::StreamGenerate(_) => "GenerativeService.StreamGenerateContent",
            Operation::CountTokens(_) => "GenerativeService.CountTokens",
            Operation::Embed(_) | Operation::OpenAiEmbeddings => "GenerativeService.EmbedContent",
            Operation::BatchEmbed(_) => "GenerativeService.BatchEmbedContents",
            Operation::Predict(_) | Operation::Images => "PredictionService.Predict",
            Operation::CreateVideo | Operation::GetVideo(_) => "PredictionService.PredictLongRunning",
            Operation::Owned(place) => place.kind.rpc(),
            Operation::Upload(_) => "FileService.CreateFile",
            Operation::Download(_) | Operation::Media(_) => "FileService.DownloadFile",
            Operation::CreateToken => "AuthTokenService.CreateToken",
            Operation::Live(LiveMethod::Content) => "GenerativeService.BidiGenerateContent",
            Operation::Live(LiveMethod::Constrained) => "GenerativeService.BidiGenerateContentConstrained",
            Operation::Live(LiveMethod::Music) => "GenerativeService.BidiGenerateMusic",
            Operation::Generate(_) | Operation::ChatCompletions | Operation::Unknown => {
                "GenerativeService.GenerateContent"
            }
        };
        format!("google.ai.generativelanguage.{version}.{method}")
    }
}

fn native(method: &Method, rest: &str) -> Operation {
    let get = method == Method::GET;
    let post = method == Method::POST;
    if rest == "models" && get {
        return Operation::ListModels;
    }
    if let Some(name) = rest.strip_prefix("models/")
        && !name.contains('/')
    {
        return match name.split_once(':') {
            None if get => Operation::GetModel(name.to_owned()),
            Some((model, verb)) if post => {
                let model = model.to_owned();
                match verb {
                    "generateContent" => Operation::Generate(model),
                    "streamGenerateContent" => Operation::StreamGenerate(model),
                    "countTokens" => Operation::CountTokens(model),
                    "embedContent" => Operation::Embed(model),
                    "batchEmbedContents" => Operation::BatchEmbed(model),
                    "predict" => Operation::Predict(model),
                    _ => owned(method, rest),
                }
            }
            _ => Operation::Unknown,
        };
    }
    owned(method, rest)
}

fn owned(method: &Method, rest: &str) -> Operation {
    Place::of(method, rest).map_or(Operation::Unknown, Operation::Owned)
}

fn openai(method: &Method, rest: &str) -> Operation {
    let get = method == Method::GET;
    let post = method == Method::POST;
    match rest {
        "chat/completions" if post => Operation::ChatCompletions,
        "embeddings" if post => Operation::OpenAiEmbeddings,
        "images/generations" if post => Operation::Images,
        "videos" if post => Operation::CreateVideo,
        "models" if get => Operation::OpenAiModels,
        "batches" => Place::of(method, "batches").map_or(Operation::Unknown, Operation::Owned),
        _ => match rest.split_once('/') {
            Some(("models", id)) if get => {
                Operation::OpenAiModel(id.strip_prefix("models/").unwrap_or(id).to_owned())
            }
            Some(("batches", id)) => batch(method, id),
            Some(("videos", id)) if get && !id.contains('/') => Operation::GetVideo(id.to_owned()),
            _ => Operation::Unknown,
        },
    }
}

/// A batch may be named by its bare id and by its full name.
fn batch(method: &Method, id: &str) -> Operation {
    let id = id.strip_prefix("batches/").unwrap_or(id);
    let (id, act) = match id.strip_suffix("/cancel") {
        Some(id) if method == Method::POST => (id, Act::Verb("cancel".to_owned())),
        None if method == Method::GET => (id, Act::Get),
        _ => return Operation::Unknown,
    };
    if id.is_empty() || id.contains('/') {
        return Operation::Unknown;
    }
    Operation::Owned(Place { kind: Kind::Batch, name: format!("batches/{id}"), act })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_google_reads_them() {
        let model = || "gemini-2.5-flash".to_owned();
        let list = |name: &str| {
            let kind = Kind::of(name.split('/').next().unwrap()).unwrap();
            Operation::Owned(Place { kind, name: name.to_owned(), act: Act::List })
        };
        let cases = [
            (Method::GET, "/v1/models", Operation::ListModels),
            (Method::GET, "/v1beta/models/gemini-2.5-flash", Operation::GetModel(model())),
            (Method::POST, "/v1beta/models/gemini-2.5-flash:generateContent", Operation::Generate(model())),
            (Method::POST, "/v1beta/models/gemini-2.5-flash%3AcountTokens", Operation::CountTokens(model())),
            (Method::GET, "/v1beta/models/gemini-2.5-flash:generateContent", Operation::Unknown),
            (Method::POST, "/v1beta/models/gemini-2.5-flash:dream", Operation::Unknown),
            (Method::POST, "/v2/models/gemini-2.5-flash:generateContent", Operation::Unknown),
            (Method::POST, "//v1beta/models/gemini-2.5-flash:generateContent", Operation::Unknown),
            (Method::GET, "/v1beta/files", list("files")),
            (Method::GET, "/v1beta/models/m/operations", list("models/m/operations")),
            (Method::GET, "/v1beta/moons", Operation::Unknown),
            (Method::POST, "/upload/v1beta/files", Operation::Upload(Target::Files)),
            (Method::GET, "/upload/v1beta/files", Operation::Unknown),
            (Method::GET, "/download/v1beta/files/a:download", Operation::Download("files/a".to_owned())),
            (Method::POST, "/v1alpha/auth_tokens", Operation::CreateToken),
            (Method::POST, "/v1/auth_tokens", Operation::Unknown),
            (Method::POST, "/v1beta/openai/chat/completions", Operation::ChatCompletions),
            (Method::POST, "/v1beta/openai/chat/completions/", Operation::ChatCompletions),
            (Method::GET, "/v1beta/openai/models/models/gemini-2.5-flash", Operation::OpenAiModel(model())),
            (Method::POST, "/v1beta/openai/responses", Operation::Unknown),
        ];
        for (method, path, operation) in cases {
            assert_eq!(Route::of(&method, path).operation, operation, "{method} {path}");
        }
    }
}

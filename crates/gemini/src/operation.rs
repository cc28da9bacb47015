//! What a request asks for: version, verb, model, resource, whether the answer streams, and whether it is tied to the
//! project of a key. Read from an accepted path; nothing here refuses one, since Google adds resources every month.

use std::fmt;

use crate::query;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The version in the path that goes upstream.
    pub version: Version,
    /// The custom method after the colon; for the Live API the method's name.
    pub verb: Option<Verb>,
    /// The model, when the path names it. The OpenAI layer names it in the body.
    pub model: Option<ModelName>,
    /// What follows the version, for everything but a model.
    pub resource: Option<ResourceName>,
    /// How the answer is framed when it is a success.
    pub streaming: Streaming,
    /// Whether a key's project owns what this reads or makes.
    pub ownership: Ownership,
}

/// Whether an answer streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Streaming {
    /// It answers in one piece.
    No,
    /// Server-sent events.
    Sse,
    /// One JSON array, an element an event.
    JsonArray,
    /// The path does not say: the request's body or the answer's content type does.
    Unknown,
}

/// Whether the Google project of a key owns what an operation touches. Another project's key cannot reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// Any key will do, and a try whose fate is unknown may be made again.
    Free,
    /// Makes something that belongs to the key's project from then on. A try whose fate is unknown must not be made
    /// again: it may have made one already.
    Creates,
    /// Touches what belongs to a project: only its keys will do.
    Bound,
    /// Touches something of a collection that is not known here: one that is new, or a slip of the hand. A project's
    /// only where an answer has said so before; otherwise any key will do. A write whose fate is unknown must not be
    /// made again.
    Unknown,
}

/// The API version of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `v1`
    V1,
    /// `v1beta`
    V1Beta,
    /// `v1alpha`
    V1Alpha,
    /// One yet to come.
    Other(Box<str>),
}

/// The longest model name that is one, in bytes. Google's are below 100.
const MAX_MODEL_BYTES: usize = 256;

/// A model's id as Google's quotas know it: decoded, without `models/`. Short and without surprises, whoever made it up:
/// it becomes a key of maps and records, a word of log lines and of messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Box<str>);

/// The resource of a path: what follows the version, decoded, without the verb, such as `files/abc` or
/// `fileSearchStores/x/documents/d`. Of a collection only its name, such as `files`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceName(Box<str>);

macro_rules! verbs {
    ($($name:ident = $wire:literal),* $(,)?) => {
        /// A custom method: what follows the colon of a path.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $(#[doc = concat!("`", $wire, "`")] $name,)*
            /// One that this gateway does not know; it is forwarded all the same.
            Other(Box<str>),
        }

        impl Verb {
            /// Reads it as it stands on the wire.
            pub fn of(wire: &str) -> Self {
                match wire {
                    $($wire => Self::$name,)*
                    other => Self::Other(other.into()),
                }
            }

            /// Returns the name of one that this gateway knows: of a closed set, whatever clients make up.
            pub fn known(&self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($wire),)*
                    Self::Other(_) => None,
                }
            }

            /// As on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Other(other) => other,
                }
            }
        }
    };
}

verbs! {
    GenerateContent = "generateContent",
    StreamGenerateContent = "streamGenerateContent",
    CountTokens = "countTokens",
    EmbedContent = "embedContent",
    BatchEmbedContents = "batchEmbedContents",
    Predict = "predict",
    PredictLongRunning = "predictLongRunning",
    BatchGenerateContent = "batchGenerateContent",
    AsyncBatchEmbedContent = "asyncBatchEmbedContent",
    GenerateAnswer = "generateAnswer",
    GenerateText = "generateText",
    GenerateMessage = "generateMessage",
    EmbedText = "embedText",
    BatchEmbedText = "batchEmbedText",
    CountTextTokens = "countTextTokens",
    CountMessageTokens = "countMessageTokens",
    BidiGenerateContent = "BidiGenerateContent",
    BidiGenerateContentConstrained = "BidiGenerateContentConstrained",
    BidiGenerateMusic = "BidiGenerateMusic",
}

impl Verb {
    /// Whether the method answers with a stream.
    fn streams(&self) -> bool {
        self.as_str()
            .strip_prefix("stream")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    }

    /// What a method of a model does beyond its answer. An unknown one is taken to make something: the safer error is
    /// not to repeat it.
    pub(crate) fn ownership(&self) -> Ownership {
        match self {
            Self::PredictLongRunning
            | Self::BatchGenerateContent
            | Self::AsyncBatchEmbedContent
            | Self::Other(_) => Ownership::Creates,
            _ => Ownership::Free,
        }
    }
}

impl Operation {
    /// Returns the name under which Google counts what a request uses: the model's, whatever generates or embeds with it. Counting
    /// tokens and jobs of a batch have quotas of their own; what changes something and names no model has its collection's.
    /// `None` where it is the model's name, or there is none.
    pub fn quota_name(&self, method: &str, model: Option<&str>) -> Option<String> {
        let collection = self.resource.as_ref().map(ResourceName::collection);
        // What is kept for a model is not counted with what that is asked.
        let Some(model) = model.filter(|_| collection != Some("cachedContents")) else {
            let collection = collection?;
            return (!reads(method)).then(|| format!("/{collection}"));
        };
        let apart = match self.verb {
            Some(Verb::CountTokens | Verb::CountTextTokens | Verb::CountMessageTokens) => "countTokens",
            Some(Verb::BatchGenerateContent | Verb::AsyncBatchEmbedContent) => "batch",
            _ => return None,
        };
        Some(format!("{model}:{apart}"))
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Version {
    /// Reads `v`, a digit, digits and small letters: `v1`, `v1beta`, `v2alpha3`, `v1p1beta1`.
    pub(crate) fn parse(segment: &str) -> Option<Self> {
        match segment {
            "v1" => Some(Self::V1),
            "v1beta" => Some(Self::V1Beta),
            "v1alpha" => Some(Self::V1Alpha),
            _ => {
                let (first, rest) = segment.strip_prefix('v')?.as_bytes().split_first()?;
                let well_formed = first.is_ascii_digit()
                    && rest.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
                well_formed.then(|| Self::Other(segment.into()))
            }
        }
    }

    /// As in the path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta => "v1beta",
            Self::V1Alpha => "v1alpha",
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ModelName {
    /// Takes `gemini-x` and `models/gemini-x` alike; `None` when no name is left, or none that a model of Google's could
    /// have: up to 256 bytes of visible ASCII without quotes and backslashes, spaces between them.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix("models/").unwrap_or(name);
        let is_name = (1..=MAX_MODEL_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'`' | b'\\'))
            && name.trim_ascii() == name;
        is_name.then(|| Self(name.into()))
    }

    /// Without `models/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ResourceName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first segment, such as `files`.
    pub fn collection(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(collection, _)| collection)
    }

    /// Whether it is of a collection whose members belong to projects, natively or in the OpenAI layer. What is not known
    /// here may be a typing error, whose answer must not depend on how every project is.
    fn can_be_owned(&self) -> bool {
        matches!(
            self.collection(),
            "agents"
                | "auth_tokens"
                | "batches"
                | "cachedContents"
                | "corpora"
                | "credentials"
                | "environments"
                | "fileSearchStores"
                | "files"
                | "generatedFiles"
                | "interactions"
                | "models"
                | "ragStores"
                | "triggers"
                | "tunedModels"
                | "videos"
                | "voices"
                | "webhooks"
        )
    }

    /// The name of what a project owns: `files/abc` of `files/abc` and of everything under it, the whole name of a
    /// model's operation. `None` of a collection.
    pub fn owned(&self) -> Option<&str> {
        if self.collection() == "models" {
            return Some(&self.0);
        }
        let (end, _) = self.0.match_indices('/').nth(1).unwrap_or((self.0.len(), ""));
        (self.collection().len() < self.0.len()).then(|| &self.0[..end])
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Operation {
    /// A short name for logs: the verb, else the collection (`chat/completions` of the OpenAI layer), else `models`.
    pub fn name(&self) -> &str {
        match (&self.verb, &self.resource) {
            (Some(verb), _) => verb.as_str(),
            (None, Some(resource)) if resource.as_str() == "chat/completions" => resource.as_str(),
            (None, Some(resource)) => resource.collection(),
            (None, None) => "models",
        }
    }

    /// Whether Google's errors of it have a word for a code: interactions and what has come with them.
    pub fn speaks_in_words(&self) -> bool {
        self.resource.as_ref().is_some_and(|resource| is_worded(resource.collection()))
    }

    /// Whether the answer to `method` tells of what was made before: a job, an interaction, a file. An error in it is that
    /// thing's story, and says nothing of the request or its key.
    pub fn tells_of_earlier(&self, method: &str) -> bool {
        let cancels = || {
            self.verb.as_ref().is_some_and(|verb| verb.as_str() == "cancel")
                || self.resource.as_ref().is_some_and(|resource| resource.as_str().ends_with("/cancel"))
        };
        self.resource.is_some() && (reads(method) || cancels())
    }

    /// Of a native path, its version and what follows it (decoded, without slashes at its ends).
    pub(crate) fn native(method: &str, version: Version, rest: &str, query: Option<&str>) -> Self {
        let (name, verb) = split_verb(rest);
        let (model, resource) = native_names(name);
        let streaming = match &verb {
            _ if says(query, "alt", "sse") => Streaming::Sse,
            // An interaction can be read as a stream.
            None if says(query, "stream", "true") => Streaming::Sse,
            Some(verb) if verb.streams() && alt_is_json(query) => Streaming::JsonArray,
            Some(verb) if verb.streams() => Streaming::Unknown,
            None if !reads(method) => Streaming::Unknown,
            Some(_) | None => Streaming::No,
        };
        let ownership = match (&resource, &verb) {
            (None, Some(verb)) => verb.ownership(),
            (None, None) if reads(method) => Ownership::Free,
            (None, None) => Ownership::Unknown,
            (Some(resource), _) => resource_ownership(method, resource),
        };
        Self { version, verb, model, resource, streaming, ownership }
    }

    /// Of `/upload/{version}/...` and `/download/{version}/...`.
    pub(crate) fn media(method: &str, version: Version, rest: &str, query: Option<&str>) -> Self {
        let (name, verb) = split_verb(rest);
        let resource = resource_name(name);
        // The start of an upload makes a file; its chunks name the session, which only the starting key can feed.
        let starts = !reads(method) && !query.is_some_and(|query| has(query, "upload_id"));
        let within_bound = resource.as_ref().is_some_and(|resource| resource.owned().is_some());
        let is_known = resource.as_ref().is_none_or(ResourceName::can_be_owned);
        let ownership = if starts && !within_bound {
            Ownership::Creates
        } else if is_known || query.is_some_and(|query| has(query, "upload_id")) {
            Ownership::Bound
        } else {
            Ownership::Unknown
        };
        Self { version, verb, model: None, resource, streaming: Streaming::No, ownership }
    }

    /// Of `/ws/google.ai.generativelanguage.{version}.{service}.{method}`.
    pub(crate) fn live(version: Version, method: &str) -> Self {
        Self {
            version,
            verb: Some(Verb::of(method)),
            model: None,
            resource: None,
            streaming: Streaming::Unknown,
            ownership: Ownership::Free,
        }
    }

    /// Of `/{version}/openai/...`.
    pub(crate) fn openai(method: &str, version: Version, rest: &str) -> Self {
        let model = rest.strip_prefix("models/").and_then(ModelName::parse);
        // The layer's ids of batches are their full names.
        let named = rest.strip_prefix("batches/").filter(|id| id.starts_with("batches/")).unwrap_or(rest);
        let resource = if rest == "models" || model.is_some() { None } else { resource_name(named) };
        let streaming = if reads(method) { Streaming::No } else { Streaming::Unknown };
        let ownership = match &resource {
            None if reads(method) => Ownership::Free,
            None => Ownership::Unknown,
            Some(resource) => match resource.collection() {
                "chat" | "completions" | "embeddings" | "images" | "audio" | "moderations" => {
                    let generates = method.eq_ignore_ascii_case("POST") && is_endpoint(resource.as_str());
                    if generates || reads(method) { Ownership::Free } else { Ownership::Unknown }
                }
                _ => resource_ownership(method, resource),
            },
        };
        Self { version, verb: None, model, resource, streaming, ownership }
    }

    /// Of `/$discovery/rest`, the API's description of itself.
    pub(crate) fn discovery() -> Self {
        Self {
            version: Version::V1Beta,
            verb: None,
            model: None,
            resource: resource_name("$discovery/rest"),
            streaming: Streaming::No,
            ownership: Ownership::Free,
        }
    }
}

/// Whether it is one of the OpenAI layer's endpoints that generate and keep nothing, and nothing below one: that is a thing
/// that was kept, such as a completion.
fn is_endpoint(resource: &str) -> bool {
    matches!(
        resource,
        "chat/completions"
            | "completions"
            | "embeddings"
            | "images/generations"
            | "images/edits"
            | "images/variations"
            | "audio/speech"
            | "audio/transcriptions"
            | "audio/translations"
            | "moderations"
    )
}

/// Splits the verb off the last segment. Only letters make a verb: `environments/e/files/a:b.txt` has none.
pub(crate) fn split_verb(rest: &str) -> (&str, Option<Verb>) {
    match rest.rsplit_once(':') {
        Some((name, verb)) if !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            (name, Some(Verb::of(verb)))
        }
        _ => (rest, None),
    }
}

/// The model and the resource of a native name. A tuned model is both: a model with quotas, and a project's own.
fn native_names(name: &str) -> (Option<ModelName>, Option<ResourceName>) {
    let (collection, id) = name.split_once('/').unwrap_or((name, ""));
    match collection {
        // Few names have a slash.
        "models" => match id.find('/').and_then(|_| id.find("/operations")) {
            Some(end) => (ModelName::parse(&id[..end]), resource_name(name)),
            None => (ModelName::parse(id), None),
        },
        "tunedModels" => {
            let end = id.find('/').unwrap_or(id.len());
            let model =
                (!id.is_empty()).then(|| ModelName::parse(&name[..=collection.len() + end])).flatten();
            (model, resource_name(name))
        }
        "dynamic" => (ModelName::parse(name), None),
        _ => (None, resource_name(name)),
    }
}

/// A list is bound as well: it shows one project's own.
fn resource_ownership(method: &str, resource: &ResourceName) -> Ownership {
    match resource.owned() {
        None if !reads(method) => Ownership::Creates,
        _ if resource.can_be_owned() => Ownership::Bound,
        _ => Ownership::Unknown,
    }
}

/// Whether errors about a collection have a word for a code.
pub(crate) fn is_worded(collection: &str) -> bool {
    matches!(
        collection,
        "agents" | "credentials" | "environments" | "interactions" | "triggers" | "voices" | "webhooks"
    )
}

fn resource_name(name: &str) -> Option<ResourceName> {
    (!name.is_empty()).then(|| ResourceName(name.into()))
}

fn reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

fn has(query: &str, name: &str) -> bool {
    query::values(query, |it| it == name).next().is_some()
}

fn says(query: Option<&str>, name: &str, value: &str) -> bool {
    query.is_some_and(|query| {
        query::values(query, |it| it.trim_start_matches('$') == name).any(|it| it == value)
    })
}

/// Whether the answer's format is the default one. `$alt` is the system parameter's other name.
fn alt_is_json(query: Option<&str>) -> bool {
    query.is_none_or(|query| {
        query::values(query, |it| matches!(it, "alt" | "$alt")).all(|alt| matches!(&*alt, "" | "json"))
    })
}

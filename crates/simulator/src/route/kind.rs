//! The kinds of resources a project owns: how their names begin, how they are refused to strangers, how long they live.

use std::time::Duration;

use crate::error::ApiError;

const HOUR: Duration = Duration::from_secs(3600);

/// What kind of thing a name names; it follows from the name's first segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    File,
    GeneratedFile,
    Cache,
    Batch,
    /// A long-running operation of a model.
    Operation,
    /// A file search store, and what is in it.
    Store,
    TunedModel,
    Corpus,
    Interaction,
    Agent,
    Trigger,
    Webhook,
    Credential,
    Voice,
    Environment,
    /// A video of the OpenAI layer.
    Video,
}

impl Kind {
    /// By the name of the collection, which is the first segment of every name in it.
    pub(crate) fn of(segment: &str) -> Option<Self> {
        Some(match segment {
            "files" => Self::File,
            "generatedFiles" => Self::GeneratedFile,
            "cachedContents" => Self::Cache,
            "batches" => Self::Batch,
            "models" => Self::Operation,
            "fileSearchStores" => Self::Store,
            "tunedModels" => Self::TunedModel,
            "corpora" => Self::Corpus,
            "interactions" => Self::Interaction,
            "agents" => Self::Agent,
            "triggers" => Self::Trigger,
            "webhooks" => Self::Webhook,
            "credentials" => Self::Credential,
            "voices" => Self::Voice,
            "environments" => Self::Environment,
            "videos" => Self::Video,
            _ => return None,
        })
    }

    /// The name of its collection.
    pub(crate) fn collection(self) -> &'static str {
        match self {
            Self::File => "files",
            Self::GeneratedFile => "generatedFiles",
            Self::Cache => "cachedContents",
            Self::Batch => "batches",
            Self::Operation => "models",
            Self::Store => "fileSearchStores",
            Self::TunedModel => "tunedModels",
            Self::Corpus => "corpora",
            Self::Interaction => "interactions",
            Self::Agent => "agents",
            Self::Trigger => "triggers",
            Self::Webhook => "webhooks",
            Self::Credential => "credentials",
            Self::Voice => "voices",
            Self::Environment => "environments",
            Self::Video => "videos",
        }
    }

    /// The gRPC method that an error detail would name.
    pub(crate) fn rpc(self) -> &'static str {
        match self {
            Self::File | Self::GeneratedFile | Self::Video => "FileService.GetFile",
            Self::Cache => "CacheService.GetCachedContent",
            Self::Batch => "BatchService.GetBatch",
            Self::Operation => "PredictionService.PredictLongRunning",
            Self::Store => "FileSearchService.GetFileSearchStore",
            Self::TunedModel => "ModelService.GetTunedModel",
            Self::Corpus => "RetrieverService.GetCorpus",
            Self::Interaction
            | Self::Agent
            | Self::Trigger
            | Self::Webhook
            | Self::Credential
            | Self::Voice
            | Self::Environment => "InteractionService.GetInteraction",
        }
    }

    /// Interactions and what came with them: known by a bare `id`, and with errors whose code is a word.
    pub(crate) fn modern(self) -> bool {
        matches!(
            self,
            Self::Interaction
                | Self::Agent
                | Self::Trigger
                | Self::Webhook
                | Self::Credential
                | Self::Voice
                | Self::Environment
        )
    }

    /// What Google says when `name` is another project's, or nobody's: it does not tell which.
    pub(crate) fn missing(self, name: &str) -> ApiError {
        match self {
            Self::File => {
                let id = name.strip_prefix("files/").unwrap_or(name);
                let message =
                    format!("You do not have permission to access the File {id} or it may not exist.");
                ApiError::new(403, message)
            }
            Self::Cache => ApiError::new(403, "CachedContent not found (or permission denied)"),
            _ => ApiError::usual(404),
        }
    }

    /// How long Google keeps it, unless the request says otherwise.
    pub(crate) fn life(self) -> Option<Duration> {
        match self {
            Self::File | Self::GeneratedFile | Self::Batch | Self::Operation | Self::Video => Some(48 * HOUR),
            Self::Cache => Some(HOUR),
            // The paid tier's (reports of Sep 2026).
            Self::Interaction => Some(55 * 24 * HOUR),
            _ => None,
        }
    }

    /// Items of a page of a list: unless asked otherwise, and at most.
    pub(crate) fn page_sizes(self) -> (usize, usize) {
        match self {
            Self::File | Self::GeneratedFile => (10, 100),
            Self::Store => (10, 20),
            _ => (50, 1000),
        }
    }
}

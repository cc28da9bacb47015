//! The names that an answer teaches: of what was made, of what a list shows, of what an operation led to. Each key counts
//! only where Google writes it itself, since callers choose some of what an answer holds (a webhook's `name`, an agent's
//! instructions), and must not be able to claim what another one owns.

use super::lines::Lines;
use super::walk::{Kind, Reader, Walk};
use super::{OwnedName, form};
use crate::operation::{Operation, Ownership};

/// A name that an answer taught.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Learnt {
    /// The name that was found.
    pub name: OwnedName,
    /// When Google forgets it: the text of the `expireTime` or `expirationTime` beside it (RFC 3339).
    pub expires: Option<String>,
}

/// Finds the names in the body of a success while it passes in chunks, whichever way it is framed and cut: server-sent
/// events, a JSON array, one document, or the messages of a Live session one by one. It must be decoded (no content
/// coding). What is held between chunks is one string and the names of the objects that are open; what was learnt is
/// held until it is taken.
#[derive(Debug)]
pub struct AnswerNames {
    lines: Lines,
    walk: Walk<AnswerPlace>,
    objects: Objects,
}

impl AnswerNames {
    /// For the answers of an operation; `None` where they teach nothing.
    pub fn new(operation: &Operation) -> Option<Self> {
        let subject = Subject::of(operation)?;
        let objects = Objects { subject, open: Vec::new(), learnt: Vec::new() };
        Some(Self { lines: Lines::Unknown, walk: Walk::new(Objects::TOP), objects })
    }

    /// The next bytes of the body.
    pub fn see(&mut self, chunk: &[u8]) {
        self.lines.push(chunk, &mut self.walk, &mut self.objects);
    }

    /// What was learnt since the last time. A name comes when the object that holds it is over, since its expiry may
    /// stand behind it.
    pub fn take(&mut self) -> Vec<Learnt> {
        std::mem::take(&mut self.objects.learnt)
    }

    /// At the body's end, whole or broken off: what was learnt since the last time, and the names in objects that never
    /// came to their end.
    pub fn finish(&mut self) -> Vec<Learnt> {
        self.walk.restart(&mut self.objects);
        self.take()
    }
}

/// Whose names an operation's answers hold.
#[derive(Debug)]
struct Subject {
    collection: Box<str>,
    /// `name` is the resource's. In other collections it is the caller's to choose.
    by_name: bool,
    /// `id` is the resource's.
    by_id: bool,
}

impl Subject {
    fn of(operation: &Operation) -> Option<Self> {
        let subject =
            |collection: &str, by_name, by_id| Some(Self { collection: collection.into(), by_name, by_id });
        let verb = operation.verb.as_ref();
        let Some(resource) = &operation.resource else {
            let verb = verb?;
            return match verb.ownership() {
                _ if verb.as_str().starts_with("Bidi") => subject(form::LIVE_HANDLES, false, false),
                Ownership::Creates => subject("models", true, false),
                Ownership::Free | Ownership::Bound | Ownership::Unknown => None,
            };
        };
        // What a tuned model generates, and media.
        let speaks =
            verb.is_some_and(|verb| verb.ownership() == Ownership::Free || verb.as_str() == "download");
        if operation.ownership == Ownership::Free || speaks {
            return None;
        }
        let collection = resource.collection();
        let mut segments = resource.as_str().split('/').skip(2);
        let below = segments.next();
        match (collection, below) {
            // Files of an environment, whose names are the caller's; a video's bytes; a document's.
            ("environments" | "videos", Some(_)) | (_, Some("media")) => None,
            (
                "agents" | "credentials" | "environments" | "interactions" | "triggers" | "videos" | "voices"
                | "webhooks",
                _,
            ) => subject(collection, false, below.is_none()),
            (
                "auth_tokens" | "cachedContents" | "corpora" | "fileSearchStores" | "files"
                | "generatedFiles" | "models" | "tunedModels",
                _,
            ) => subject(collection, true, false),
            // Native and OpenAI's, and what is yet to come.
            _ => subject(collection, true, below.is_none()),
        }
    }

    fn is(&self, collection: &str) -> bool {
        &*self.collection == collection
    }

    /// Whether a `name` may be of this collection.
    fn names(&self, collection: &str) -> bool {
        // A model's methods make operations and batches; batches are listed as operations.
        self.is(collection) || (self.is("models") && collection == "batches")
    }
}

/// What a value of an answer stands for. Objects and arrays first, then strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerPlace {
    /// A document: a resource, a list of them, an event.
    Top,
    /// A resource.
    Item,
    /// A trigger's execution: its id is none of a resource, but it names some.
    Execution,
    /// What an operation led to.
    Response,
    /// An operation's `metadata`.
    Metadata,
    /// A batch's output.
    Output,
    /// `generateVideoResponse`.
    Videos,
    /// One of its samples.
    Sample,
    /// A sample's video.
    Video,
    /// `sessionResumptionUpdate` of a Live session.
    Resumption,
    Name,
    Id,
    EnvironmentId,
    InteractionId,
    ContinuationToken,
    FileUri,
    DocumentName,
    NewHandle,
    Expiry,
    /// `type` of a voice.
    VoiceType,
}

/// The objects that are open, and what came of those that are over.
#[derive(Debug)]
struct Objects {
    subject: Subject,
    open: Vec<Object>,
    learnt: Vec<Learnt>,
}

#[derive(Debug, Default)]
struct Object {
    names: Vec<OwnedName>,
    expires: Option<String>,
    /// It is Google's own, not a project's.
    prebuilt: bool,
}

impl Object {
    /// More than Google writes in any; those after them do not count, so that no answer fills the memory.
    const MAX_NAMES: usize = 8;
    const MAX_EXPIRY_BYTES: usize = 64;

    fn learnt(self) -> impl Iterator<Item = Learnt> {
        let Self { names, expires, prebuilt } = self;
        let names = if prebuilt { Vec::new() } else { names };
        names.into_iter().map(move |name| Learnt { name, expires: expires.clone() })
    }
}

impl Objects {
    fn under_resource(&self, key: &[u8]) -> Option<AnswerPlace> {
        let Subject { by_name, by_id, .. } = self.subject;
        let triggers = self.subject.is("triggers");
        let interactions = self.subject.is("interactions");
        Some(match key {
            b"name" if by_name => AnswerPlace::Name,
            b"uri" | b"downloadUri" | b"download_uri" if self.subject.is("files") => AnswerPlace::FileUri,
            b"id" if by_id => AnswerPlace::Id,
            // A trigger's is what its maker wrote there.
            b"environment_id" | b"environmentId" if interactions => AnswerPlace::EnvironmentId,
            // The last that a trigger made.
            b"previous_interaction_id" | b"previousInteractionId" if triggers => AnswerPlace::InteractionId,
            b"continuation_token" | b"continuationToken" if interactions => AnswerPlace::ContinuationToken,
            b"output_file_id" | b"error_file_id" if self.subject.is("batches") => AnswerPlace::FileUri,
            b"type" if self.subject.is("voices") => AnswerPlace::VoiceType,
            b"response" if by_name => AnswerPlace::Response,
            b"metadata" if by_name => AnswerPlace::Metadata,
            _ => return None,
        })
    }

    fn under_top(&self, key: &[u8]) -> Option<AnswerPlace> {
        Some(match key {
            b"file" if self.subject.is("files") => AnswerPlace::Item,
            b"interaction" if self.subject.is("interactions") => AnswerPlace::Item,
            b"executions" | b"trigger_executions" | b"triggerExecutions" if self.subject.is("triggers") => {
                AnswerPlace::Execution
            }
            b"sessionResumptionUpdate" | b"session_resumption_update"
                if self.subject.is(form::LIVE_HANDLES) =>
            {
                AnswerPlace::Resumption
            }
            // Lists; `data` of the OpenAI layer.
            b"operations" | b"data" | b"documents" => AnswerPlace::Item,
            _ if key == self.subject.collection.as_bytes() => AnswerPlace::Item,
            _ => return self.under_resource(key),
        })
    }

    /// What a string names.
    fn name(&self, place: AnswerPlace, text: &str) -> Option<OwnedName> {
        match place {
            AnswerPlace::Name => form::given(text).filter(|name| self.subject.names(name.collection())),
            AnswerPlace::Id if self.subject.is("videos") => form::video(text),
            AnswerPlace::Id => form::bare(&self.subject.collection, text),
            AnswerPlace::EnvironmentId => form::bare("environments", text),
            AnswerPlace::InteractionId => form::bare("interactions", text),
            AnswerPlace::ContinuationToken => form::opaque(form::CONTINUATION_TOKENS, text),
            AnswerPlace::FileUri => form::named("files", text),
            AnswerPlace::DocumentName => {
                form::given(text).filter(|name| name.collection() == "fileSearchStores")
            }
            AnswerPlace::NewHandle => form::opaque(form::LIVE_HANDLES, text),
            _ => None,
        }
    }
}

impl Reader for Objects {
    type Place = AnswerPlace;

    const TOP: AnswerPlace = AnswerPlace::Top;
    /// Arrays may lie inside each other; the objects that count lie eight deep at most.
    const MAX_DEPTH: usize = 64;

    fn under(&self, place: AnswerPlace, key: &[u8]) -> Option<AnswerPlace> {
        if matches!(key, b"expireTime" | b"expire_time" | b"expirationTime" | b"expiration_time") {
            return Some(AnswerPlace::Expiry);
        }
        match (place, key) {
            (AnswerPlace::Top, _) => self.under_top(key),
            (AnswerPlace::Item, _) => self.under_resource(key),
            (AnswerPlace::Execution, b"interaction_id" | b"interactionId") => {
                Some(AnswerPlace::InteractionId)
            }
            (AnswerPlace::Execution, b"environment_id" | b"environmentId") => {
                Some(AnswerPlace::EnvironmentId)
            }
            (AnswerPlace::Response, b"name") => Some(AnswerPlace::Name),
            (AnswerPlace::Response, b"documentName" | b"document_name") => Some(AnswerPlace::DocumentName),
            (AnswerPlace::Response | AnswerPlace::Output, b"responsesFile" | b"responses_file")
            | (AnswerPlace::Video, b"uri") => Some(AnswerPlace::FileUri),
            (AnswerPlace::Response, b"generateVideoResponse" | b"generate_video_response") => {
                Some(AnswerPlace::Videos)
            }
            (AnswerPlace::Response, b"generatedVideos" | b"generated_videos")
            | (AnswerPlace::Videos, b"generatedSamples" | b"generated_samples") => Some(AnswerPlace::Sample),
            (AnswerPlace::Metadata, b"output") => Some(AnswerPlace::Output),
            (AnswerPlace::Sample, b"video") => Some(AnswerPlace::Video),
            (AnswerPlace::Resumption, b"newHandle" | b"new_handle") => Some(AnswerPlace::NewHandle),
            _ => None,
        }
    }

    fn reads(&self, place: AnswerPlace) -> bool {
        matches!(
            place,
            AnswerPlace::Name
                | AnswerPlace::Id
                | AnswerPlace::EnvironmentId
                | AnswerPlace::InteractionId
                | AnswerPlace::ContinuationToken
                | AnswerPlace::FileUri
                | AnswerPlace::DocumentName
                | AnswerPlace::NewHandle
                | AnswerPlace::Expiry
                | AnswerPlace::VoiceType
        )
    }

    fn string(&mut self, place: AnswerPlace, text: &str) {
        let name = self.name(place, text);
        let Some(object) = self.open.last_mut() else { return };
        match place {
            AnswerPlace::Expiry if text.len() <= Object::MAX_EXPIRY_BYTES => {
                object.expires = Some(text.into());
            }
            AnswerPlace::VoiceType => object.prebuilt = text.to_ascii_lowercase().ends_with("prebuilt"),
            _ => {
                let room = object.names.len() < Object::MAX_NAMES;
                object.names.extend(name.filter(|name| room && !object.names.contains(name)));
            }
        }
    }

    fn opened(&mut self, place: AnswerPlace, kind: Kind) -> Option<AnswerPlace> {
        // No string of a name's place is an object or in an array.
        if self.reads(place) {
            return None;
        }
        if kind == Kind::Object {
            self.open.push(Object::default());
        }
        Some(place)
    }

    fn closed(&mut self, kind: Kind) {
        if kind == Kind::Object
            && let Some(object) = self.open.pop()
        {
            self.learnt.extend(object.learnt());
        }
    }
}

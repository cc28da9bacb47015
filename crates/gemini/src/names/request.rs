//! The names in a request's body. Where a key stands does not matter, but under what: the same part of a request comes
//! at many depths (a file in a message, in a cache's contents, in a batch's inlined requests). What is the caller's own
//! data is not looked into.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::walk::{Kind, Reader, Walk};
use super::{MAX_NAME_BYTES, OwnedName, form, parts};

/// A name in a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mention {
    /// The name that was found.
    pub name: OwnedName,
    /// Whether it is one.
    pub certainty: Certainty,
}

/// Whether what stands in a name's place is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// Only where the ledger knows it: agents, voices and environments can be Google's own, and a handle or token
    /// cannot be asked for.
    Possible,
    /// Always: worth asking Google for where the ledger does not know it.
    Certain,
}

/// The names in a JSON body, or in the fields of a form that OpenAI's SDKs send, each once, in their order; of a body that
/// is neither what can be made out, if anything.
///
/// One pass, linear in the body, whatever its depth. Strings that cannot matter are passed over at `memchr`'s speed.
pub fn in_request(body: &[u8]) -> Vec<Mention> {
    let mut mentions = Mentions::default();
    match body.trim_ascii_start() {
        [b'{' | b'[', ..] => Walk::new(Mentions::TOP).push(body, &mut mentions),
        form @ [b'-', b'-', ..] => mentions.read_form(form),
        _ => {}
    }
    mentions.found
}

#[derive(Default)]
struct Mentions {
    found: Vec<Mention>,
    /// Where each is in `found`.
    index: HashMap<OwnedName, usize>,
}

impl Mentions {
    /// Its fields are named as the members of a JSON body are.
    fn read_form(&mut self, form: &[u8]) {
        for (key, value) in parts::fields(form) {
            if let Some(place) = self.under(Self::TOP, key)
                && self.reads(place)
                && value.len() <= MAX_NAME_BYTES
                && let Ok(text) = std::str::from_utf8(value)
            {
                self.string(place, text);
            }
        }
    }
}

/// What a value of a request stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestPlace {
    /// Nothing; there may be something below it.
    Other,
    /// Of a function: an object is the caller's own, an array holds content.
    Result,
    /// `sessionResumption` of a Live session.
    SessionResumption,
    /// A file's name or URI.
    File,
    CachedContent,
    FileSearchStore,
    Interaction,
    /// Its id and nothing else.
    EnvironmentId,
    /// Its id or the word for one of Google's.
    Environment,
    Agent,
    Credential,
    Voice,
    Video,
    ContinuationToken,
    LiveHandle,
}

impl RequestPlace {
    /// What a string there names.
    fn mention(self, text: &str) -> Option<Mention> {
        use Certainty::{Certain, Possible};
        let (name, certainty) = match self {
            Self::Other | Self::Result | Self::SessionResumption => return None,
            Self::File => (form::named("files", text), Certain),
            Self::CachedContent => (form::named("cachedContents", text), Certain),
            Self::FileSearchStore => (form::named("fileSearchStores", text), Certain),
            Self::Interaction => (form::bare("interactions", text), Certain),
            Self::EnvironmentId => (form::bare("environments", text), Certain),
            Self::Environment => (form::bare("environments", text), Possible),
            Self::Agent => (form::bare("agents", text), Possible),
            Self::Credential => (form::bare("credentials", text), Certain),
            Self::Voice => (form::bare("voices", text), Possible),
            Self::Video => (form::video(text), Certain),
            Self::ContinuationToken => (form::opaque(form::CONTINUATION_TOKENS, text), Possible),
            Self::LiveHandle => (form::opaque(form::LIVE_HANDLES, text), Possible),
        };
        Some(Mention { name: name?, certainty })
    }
}

impl Reader for Mentions {
    type Place = RequestPlace;

    const TOP: RequestPlace = RequestPlace::Other;
    /// The list of what is open never outgrows the body.
    const MAX_DEPTH: usize = usize::MAX;

    fn under(&self, place: RequestPlace, key: &[u8]) -> Option<RequestPlace> {
        Some(match key {
            b"fileUri" | b"file_uri" | b"uri" | b"fileName" | b"file_name" | b"inputFileId"
            | b"input_file_id" => RequestPlace::File,
            b"cachedContent" | b"cached_content" => RequestPlace::CachedContent,
            b"fileSearchStoreNames" | b"file_search_store_names" => RequestPlace::FileSearchStore,
            b"previousInteractionId" | b"previous_interaction_id" => RequestPlace::Interaction,
            b"environmentId" | b"environment_id" | b"fromEnvironment" | b"from_environment" => {
                RequestPlace::EnvironmentId
            }
            b"environment" | b"baseEnvironment" | b"base_environment" => RequestPlace::Environment,
            b"agent" | b"baseAgent" | b"base_agent" => RequestPlace::Agent,
            b"credential" | b"credentialId" | b"credential_id" => RequestPlace::Credential,
            b"voice" | b"voiceId" | b"voice_id" | b"baseVoice" | b"base_voice" => RequestPlace::Voice,
            b"extendVideoId" | b"extend_video_id" => RequestPlace::Video,
            b"continuationToken" | b"continuation_token" => RequestPlace::ContinuationToken,
            b"sessionResumption" | b"session_resumption" => RequestPlace::SessionResumption,
            b"handle" if place == RequestPlace::SessionResumption => RequestPlace::LiveHandle,
            b"result" => RequestPlace::Result,
            _ if is_callers_own(key) => return None,
            _ => RequestPlace::Other,
        })
    }

    fn reads(&self, place: RequestPlace) -> bool {
        !matches!(place, RequestPlace::Other | RequestPlace::Result | RequestPlace::SessionResumption)
    }

    fn string(&mut self, place: RequestPlace, text: &str) {
        let Some(mention) = place.mention(text) else { return };
        match self.index.entry(mention.name.clone()) {
            Entry::Occupied(at) => {
                let known = &mut self.found[*at.get()];
                known.certainty = known.certainty.max(mention.certainty);
            }
            Entry::Vacant(at) => {
                at.insert(self.found.len());
                self.found.push(mention);
            }
        }
    }

    fn opened(&mut self, place: RequestPlace, kind: Kind) -> Option<RequestPlace> {
        match (place, kind) {
            (RequestPlace::Result, Kind::Object) => None,
            (RequestPlace::Result, Kind::Array) => Some(RequestPlace::Other),
            _ => Some(place),
        }
    }

    fn closed(&mut self, _: Kind) {}
}

/// What lies under these keys is the caller's to name as it likes: what functions are called with and answer, the schemas
/// of both and of answers, labels, headers for servers that are not Google's.
fn is_callers_own(key: &[u8]) -> bool {
    matches!(
        key,
        b"args"
            | b"arguments"
            | b"response"
            | b"parameters"
            | b"parametersJsonSchema"
            | b"parameters_json_schema"
            | b"responseSchema"
            | b"response_schema"
            | b"responseJsonSchema"
            | b"response_json_schema"
            | b"_responseJsonSchema"
            | b"inputSchema"
            | b"input_schema"
            | b"jsonSchema"
            | b"json_schema"
            | b"schema"
            | b"metadata"
            | b"labels"
            | b"customMetadata"
            | b"custom_metadata"
            | b"headers"
    )
}

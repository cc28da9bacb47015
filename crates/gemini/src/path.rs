//! The request target: which of Google's surfaces it is for, where it goes upstream, and what it asks for. Every path
//! is folded onto an allow-listed root here and refused if it could mean another one; the authority is never part of
//! it. The HTTP face parses each request's target once; nothing after it looks at a raw path again.

mod check;

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

pub use crate::dialect::{Dialect, ErrorForm};
use crate::operation::{self, Operation, Verb, Version};
pub use crate::query::query_credentials;
use crate::usage::UsageKey;

/// The most bytes a target may have, path and query together.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Which of Google's rules hold upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// `/{version}/...`
    Native,
    /// `/upload/{version}/...`
    Upload,
    /// `/download/{version}/...`
    Download,
    /// `/ws/google.ai.generativelanguage.{version}...`: a WebSocket.
    Live,
    /// `/{version}/openai/...`: takes `Authorization: Bearer`.
    OpenAi,
}

/// The form of the credential that the caller used. It decides the paths that both dialects know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialForm {
    /// `x-goog-api-key`
    GoogHeader,
    /// `?key=`
    QueryKey,
    /// `Authorization: Bearer`
    Bearer,
    /// None.
    None,
}

/// Where an accepted request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The format in which the caller is to read the gateway's own errors.
    pub dialect: Dialect,
    /// Which rules hold upstream.
    pub surface: Surface,
    /// The upstream path: normalised, still percent-encoded, starting with one `/`.
    pub path: String,
    /// The upstream query: without its credentials, otherwise byte for byte. Never empty.
    pub query: Option<String>,
    /// What is asked for.
    pub operation: Operation,
}

impl Target {
    /// Returns under which name an answer says what it used.
    pub fn usage_key(&self) -> UsageKey {
        if self.surface == Surface::OpenAi {
            UsageKey::Usage
        } else if self.operation.speaks_in_words() {
            UsageKey::Interaction
        } else {
            UsageKey::Metadata
        }
    }
}

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Over [`MAX_TARGET_BYTES`].
    TooLong,
    /// Not starting with `/`: an absolute URI, an authority, `*`.
    NotAbsolute,
    /// A `.` or `..` segment, raw or encoded.
    DotSegment,
    /// `%2f`.
    EncodedSlash,
    /// `\` or `%5c`.
    Backslash,
    /// A control character, raw or encoded.
    ControlCharacter,
    /// `%` without two hexadecimal digits after it.
    MalformedEscape,
    /// A raw byte that a URL holds only percent-encoded.
    UnencodedByte(u8),
    /// None of the roots that are served.
    NotServed,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "The request target is over {MAX_TARGET_BYTES} bytes; send what is long in the body.")
            }
            Self::NotAbsolute => f.write_str("The request target does not start with `/`; send a path, not a URL."),
            Self::DotSegment => f.write_str("The path has a `.` or `..` segment; send the path it resolves to."),
            Self::EncodedSlash => f.write_str("The path has an encoded slash (`%2F`); send `/`."),
            Self::Backslash => f.write_str("The path has a backslash; send `/`."),
            Self::ControlCharacter => {
                f.write_str("The path or query has a control character; remove it, encoded or not.")
            }
            Self::MalformedEscape => {
                f.write_str("The path has a `%` that two hexadecimal digits do not follow; encode it as `%25`.")
            }
            Self::UnencodedByte(byte) => {
                write!(f, "The path or query has the raw byte 0x{byte:02X}; percent-encode it.")
            }
            Self::NotServed => f.write_str(
                "No such path here. Served are /v1, /v1beta and /v1alpha, /upload and /download with a version, \
                 /ws, and the OpenAI layer under /v1beta/openai, /openai/v1 or /v1.",
            ),
        }
    }
}

impl std::error::Error for PathError {}

/// Reads a request's target. `raw_path` and `raw_query` are as they came, without the `?`.
pub fn parse(
    method: &str,
    raw_path: &str,
    raw_query: Option<&str>,
    form: CredentialForm,
) -> Result<Target, PathError> {
    if raw_path.len() + raw_query.map_or(0, str::len) > MAX_TARGET_BYTES {
        return Err(PathError::TooLong);
    }
    let plain = plain_id(raw_path);
    check::path(&plain)?;
    raw_query.map_or(Ok(()), check::query)?;

    let folded = folded(&plain);
    let route = Route::of(&folded, form).ok_or(PathError::NotServed)?;
    let operation = route.operation(method, raw_query).ok_or(PathError::NotServed)?;
    Ok(Target {
        dialect: route.dialect(),
        surface: route.surface,
        path: route.upstream_path(),
        query: raw_query.and_then(crate::query::without_credentials),
        operation,
    })
}

/// The dialect in which to answer a caller, whether or not its path can be accepted.
pub fn dialect_of(raw_path: &str, form: CredentialForm) -> Dialect {
    match Route::of(&folded(raw_path), form) {
        Some(route) => route.dialect(),
        None if form == CredentialForm::Bearer => Dialect::OpenAi,
        None => Dialect::Gemini,
    }
}

/// The form in which a caller reads errors, whether or not its path can be accepted.
pub fn error_form_of(raw_path: &str, form: CredentialForm) -> ErrorForm {
    match Route::of(&folded(raw_path), form) {
        Some(route) if route.dialect() == Dialect::OpenAi => ErrorForm::OpenAi,
        Some(route) if route.is_worded() => ErrorForm::Worded,
        None if form == CredentialForm::Bearer => ErrorForm::OpenAi,
        Some(_) | None => ErrorForm::Status,
    }
}

/// Returns a path with `//` as `/`: SDKs make it where a base URL ends in a slash.
pub fn folded(path: &str) -> Cow<'_, str> {
    if !path.as_bytes().windows(2).any(|two| two == b"//") {
        return Cow::Borrowed(path);
    }
    let mut once = String::with_capacity(path.len());
    for character in path.chars() {
        if !(character == '/' && once.ends_with('/')) {
            once.push(character);
        }
    }
    Cow::Owned(once)
}

/// `models/models%2Fx` as `models/x`, and so with batches and files. Google's ids of these are their full names, and
/// OpenAI's SDKs encode the slash of an id they ask after. This one encoded slash has one meaning, and the path without
/// it is the one Google documents.
fn plain_id(path: &str) -> Cow<'_, str> {
    const LISTED: &[(&str, &str)] = &[
        ("/models/models%2", "/models/"),
        ("/batches/batches%2", "/batches/"),
        ("/files/files%2", "/files/"),
    ];
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Cow::Borrowed(path);
    }
    for (listed, plain) in LISTED {
        let Some(at) = memchr::memmem::find(path.as_bytes(), listed.as_bytes()) else { continue };
        if let Some(id) = path[at + listed.len()..].strip_prefix(['F', 'f']) {
            return Cow::Owned([&path[..at], plain, id].concat());
        }
    }
    Cow::Borrowed(path)
}

/// An allow-listed root and what follows it.
struct Route<'p> {
    surface: Surface,
    /// What stands before the tail where a wrong base URL has put something between: of the OpenAI layer and of a native
    /// path its version, of media their root. Empty where the tail is the whole path.
    prefix: &'p str,
    /// Empty or starting with `/`.
    tail: &'p str,
}

impl<'p> Route<'p> {
    /// `path` is folded, but otherwise as it came. A base URL that says already what the client's library adds
    /// (`/v1beta/v1beta/models`, `/v1/openai/v1/chat/completions`) is passed over: no version of Google's API has such
    /// paths, and what stands last is what the library wrote.
    fn of(path: &'p str, form: CredentialForm) -> Option<Self> {
        let mut path = path;
        loop {
            let as_is = |surface| Some(Self { surface, prefix: "", tail: path });
            let (root, rest) = first_segment(path);
            let (second, tail) = first_segment(rest);
            match root {
                "openai" => return Some(Self::in_layer("v1beta", rest)),
                "upload" => return Self::of_media(Surface::Upload, root, rest),
                "download" => return Self::of_media(Surface::Download, root, rest),
                "ws" if live_method(second).is_some() => return as_is(Surface::Live),
                "$discovery" if rest == "/rest" => return as_is(Surface::Native),
                version if Version::parse(version).is_some() => match second {
                    "openai" => return Some(Self::in_layer(version, tail)),
                    // A base URL that holds a version, before a path that is not under one.
                    "upload" | "download" | "ws" | "$discovery" => {
                        return Self::of(rest, form).or(as_is(Surface::Native));
                    }
                    second if version == "v1" && is_openais(second, rest, form) => {
                        return Some(Self::in_layer("v1beta", rest));
                    }
                    second if is_openais_alone(second) => return Some(Self::in_layer(version, rest)),
                    second if Version::parse(second).is_some() => path = rest,
                    // A base URL down to the models. What has nothing after it is a model's name.
                    "models" if begins_anew(tail) => path = tail,
                    _ => return as_is(Surface::Native),
                },
                _ => return None,
            }
        }
    }

    /// What follows `openai`, or stands as if it did.
    fn in_layer(version: &'p str, tail: &'p str) -> Self {
        let (mut version, mut tail) = (version, tail);
        loop {
            let (segment, rest) = first_segment(tail);
            match segment {
                "openai" => tail = rest,
                // OpenAI's own version, which says nothing of Google's.
                "v1" => {
                    version = if version == "v1" { "v1beta" } else { version };
                    tail = rest;
                }
                _ if Version::parse(segment).is_some() => (version, tail) = (segment, rest),
                // A base URL down to the endpoint, or to the models.
                "chat" => match rest.strip_prefix("/completions") {
                    Some(more) if more.starts_with('/') && begins_endpoint(more) => tail = more,
                    _ => break,
                },
                "models" if begins_anew(rest) => tail = rest,
                _ => break,
            }
        }
        // A native library on the layer's base URL.
        let surface = if is_native_call(tail) { Surface::Native } else { Surface::OpenAi };
        Self { surface, prefix: version, tail }
    }

    /// What follows `/upload` or `/download`.
    fn of_media(surface: Surface, root: &'p str, rest: &'p str) -> Option<Self> {
        let mut tail = rest;
        loop {
            let (version, rest) = first_segment(tail);
            let (next, _) = first_segment(rest);
            if version == root || (Version::parse(version).is_some() && is_base(root, next)) {
                tail = rest;
            } else {
                return Version::parse(version).map(|_| Self { surface, prefix: root, tail });
            }
        }
    }

    fn dialect(&self) -> Dialect {
        match self.surface {
            Surface::OpenAi => Dialect::OpenAi,
            Surface::Native | Surface::Upload | Surface::Download | Surface::Live => Dialect::Gemini,
        }
    }

    /// Whether Google's errors of it have a word for a code.
    fn is_worded(&self) -> bool {
        let rest = if self.prefix.is_empty() { first_segment(self.tail).1 } else { self.tail };
        let collection = first_segment(rest).0;
        let (collection, _) = collection.split_once(':').unwrap_or((collection, ""));
        self.surface == Surface::Native && operation::is_worded(collection)
    }

    fn upstream_path(&self) -> String {
        match (self.surface, self.prefix) {
            (Surface::OpenAi, version) => ["/", version, "/openai", self.tail].concat(),
            (_, "") => self.tail.to_owned(),
            (_, prefix) => ["/", prefix, self.tail].concat(),
        }
    }

    fn operation(&self, method: &str, query: Option<&str>) -> Option<Operation> {
        // No slash is encoded, so decoding cannot move a segment's end. What is not UTF-8 stays as it came.
        let decoded = |rest: &'p str| {
            let rest = rest.trim_matches('/');
            match memchr::memchr(b'%', rest.as_bytes()) {
                None => Cow::Borrowed(rest),
                Some(_) => percent_decode_str(rest).decode_utf8().unwrap_or(Cow::Borrowed(rest)),
            }
        };
        // What a prefix stands for is not in the tail.
        let (root, rest) =
            if self.prefix.is_empty() { first_segment(self.tail) } else { (self.prefix, self.tail) };
        match self.surface {
            Surface::OpenAi => Some(Operation::openai(method, Version::parse(root)?, &decoded(rest))),
            Surface::Native if root == "$discovery" => Some(Operation::discovery()),
            Surface::Native => Some(Operation::native(method, Version::parse(root)?, &decoded(rest), query)),
            Surface::Upload | Surface::Download => {
                let (version, rest) = first_segment(rest);
                Some(Operation::media(method, Version::parse(version)?, &decoded(rest), query))
            }
            Surface::Live => {
                let (version, method) = live_method(rest.trim_matches('/'))?;
                Some(Operation::live(version, method))
            }
        }
    }
}

/// `/a/b` as `a` and `/b`.
fn first_segment(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_at(memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len()))
}

/// The version and the method of `google.ai.generativelanguage.{version}.GenerativeService.{method}`; some write the
/// last dot as a slash.
fn live_method(name: &str) -> Option<(Version, &str)> {
    let rest = name.strip_prefix("google.ai.generativelanguage.")?;
    let (version, service) = rest.split_once('.')?;
    let method = service.rsplit(['.', '/']).next().unwrap_or(service);
    Some((Version::parse(version)?, method))
}

/// Whether a segment after a media root's version shows that the version belongs to the base URL.
fn is_base(root: &str, segment: &str) -> bool {
    segment == root || Version::parse(segment).is_some()
}

/// Whether a version and more follow, as where a path begins.
fn begins_anew(path: &str) -> bool {
    let (segment, rest) = first_segment(path);
    Version::parse(segment).is_some() && rest.len() > 1
}

/// Whether a path that follows a whole endpoint begins another.
fn begins_endpoint(path: &str) -> bool {
    let (segment, rest) = first_segment(path);
    match segment {
        "chat" | "openai" => rest.len() > 1,
        "models" | "embeddings" => true,
        _ => begins_anew(path),
    }
}

/// Whether a path in the layer is a method that only the native API has.
fn is_native_call(path: &str) -> bool {
    let rest = percent_decode_str(path.trim_matches('/')).decode_utf8_lossy();
    rest.starts_with("models/")
        && operation::split_verb(&rest).1.is_some_and(|verb| !matches!(verb, Verb::Other(_)))
}

/// Whether the first segment after a version is one that only OpenAI's API has: the layer was meant.
fn is_openais_alone(first: &str) -> bool {
    matches!(first, "audio" | "chat" | "completions" | "embeddings" | "images" | "moderations" | "responses")
}

/// Whether a path under `/v1` is OpenAI's. `rest` is what follows `/v1`, `first` its first segment.
fn is_openais(first: &str, rest: &str, form: CredentialForm) -> bool {
    match first {
        "assistants" | "audio" | "chat" | "completions" | "embeddings" | "fine_tuning" | "images"
        | "moderations" | "realtime" | "responses" | "threads" | "vector_stores" | "videos" => true,
        "models" | "files" | "batches" => form == CredentialForm::Bearer && !looks_native(rest),
        _ => false,
    }
}

/// Whether a path that both dialects could know has a form that only Google's has: a verb, a model's operations.
fn looks_native(rest: &str) -> bool {
    let rest = percent_decode_str(rest.trim_matches('/')).decode_utf8_lossy();
    operation::split_verb(&rest).1.is_some()
        || (rest.starts_with("models/") && rest.split('/').nth(2) == Some("operations"))
}

//! The Live API's messages, as far as a proxy must know them: what a setup names, which handle a server gives out, and
//! what the reason of a close says. A close's code says little (1011 stands for quota, credits, a bad key and Google's
//! own failures alike), so its reason is read, by the rules by which `classify` reads an error's message.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::classify::{Answer, kind};
use crate::error_body::Said;
use crate::fault::{Fault, Kind};
use crate::operation::ModelName;

/// The most bytes of a close's reason (RFC 6455 §5.5: a control frame's 125, less the code).
pub const MAX_REASON_BYTES: usize = 123;

/// What a session's first message asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The model, without `models/`; `None` too where no model could have the name.
    pub model: Option<String>,
    /// Handles of earlier sessions, each of which belongs to a project. More than one is no message of a well-meaning
    /// client, and which of them counts is for the upstream to say.
    pub handles: Vec<String>,
}

/// A first message that is not a setup, or that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSetup;

impl Setup {
    /// Reads a client's first message. Fields that stand twice, or in both spellings, are all read: what is overlooked
    /// here could be what the upstream goes by.
    pub fn read(message: &[u8]) -> Result<Self, NoSetup> {
        let mut found = SetupReading::default();
        let mut json = serde_json::Deserializer::from_slice(message);
        Fields { of: MessagePlace::Message, found: &mut found }
            .deserialize(&mut json)
            .map_err(|_| NoSetup)?;
        json.end().map_err(|_| NoSetup)?;
        if found.is_setup { Ok(found.setup) } else { Err(NoSetup) }
    }
}

#[derive(Default)]
struct SetupReading {
    is_setup: bool,
    setup: Setup,
}

/// Where in a message its reader is.
#[derive(Clone, Copy)]
enum MessagePlace {
    Message,
    Setup,
    Resumption,
    Model,
    Handle,
}

impl MessagePlace {
    /// What a field of this name leads to, if it is of interest.
    fn at(self, field: &str) -> Option<Self> {
        match (self, field) {
            (Self::Message, "setup") => Some(Self::Setup),
            (Self::Setup, "model") => Some(Self::Model),
            (Self::Setup, "sessionResumption" | "session_resumption") => Some(Self::Resumption),
            (Self::Resumption, "handle") => Some(Self::Handle),
            _ => None,
        }
    }
}

/// Reads one value of a message, whatever its type.
struct Fields<'f> {
    of: MessagePlace,
    found: &'f mut SetupReading,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.found.is_setup |= matches!(self.of, MessagePlace::Setup);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.of.at(&name) {
                Some(of) => map.next_value_seed(Fields { of, found: &mut *self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let setup = &mut self.found.setup;
        match self.of {
            MessagePlace::Model => {
                setup.model = ModelName::parse(text).map(|model| model.as_str().to_owned());
            }
            MessagePlace::Handle if !text.is_empty() => setup.handles.push(text.to_owned()),
            MessagePlace::Message | MessagePlace::Setup | MessagePlace::Resumption | MessagePlace::Handle => {
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "sessionResumptionUpdate")]
    update: Option<Update<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Update<'a> {
    #[serde(borrow, rename = "newHandle")]
    new_handle: Option<Cow<'a, str>>,
}

/// The handle that a server's message gives out. Costs a search for its name where there is none.
pub fn new_handle(message: &[u8]) -> Option<String> {
    memmem::find(message, b"\"sessionResumptionUpdate\"")?;
    let Told { update } = serde_json::from_slice(message).ok()?;
    update?.new_handle.filter(|handle| !handle.is_empty()).map(Cow::into_owned)
}

/// How a reason begins, in small letters, and the HTTP status with which the same words come elsewhere.
const BEGINNINGS: &[(&str, u16)] = &[
    ("api key ", 400),
    ("please pass a valid api key", 400),
    ("multiple authentication credentials", 400),
    ("user location is not supported", 400),
    ("request had invalid authentication credentials", 401),
    ("your api key was reported as leaked", 403),
    ("permission denied: consumer", 403),
    ("method doesn't allow unregistered callers", 403),
    ("requests to this api", 403),
    ("requests from ", 403),
    ("generative language api has not been used in project", 403),
    ("you do not have permission to access", 403),
    ("requested entity was not found", 404),
    ("models/", 404),
    ("this model models/", 404),
    ("you exceeded your current quota", 429),
    ("resource has been exhausted", 429),
    ("resource_exhausted", 429),
    ("your prepayment credits are depleted", 429),
    ("your project has exceeded its monthly spending cap", 429),
    ("internal error", 500),
    ("an internal error", 500),
    ("the model is overloaded", 503),
    ("this model is currently experiencing high demand", 503),
    ("the service is currently unavailable", 503),
    ("deadline expired", 504),
];

/// What a close's reason says of the key, the project or the model; `None` when it says nothing of them.
pub fn close_fault(reason: &str) -> Option<Fault> {
    let message = reason.to_ascii_lowercase();
    let words = plain(&message);
    let (_, status) = BEGINNINGS.iter().find(|(beginning, _)| words.starts_with(beginning))?;
    let said = Said { is_google: true, message: words.to_owned(), ..Said::default() };
    let kind = kind(&Answer { status: *status, retry_after: None, body: &[], tools: false }, &said);
    // A reason has no details, so what elsewhere would be a 400 about the request tells nothing here.
    (kind != Kind::Client).then(|| Fault::plain(kind))
}

/// A reason without what Google's servers sometimes put before it: `generic::resource_exhausted: `, a status' name.
fn plain(reason: &str) -> &str {
    let rest = reason.strip_prefix("generic::").unwrap_or(reason);
    match rest.split_once(": ") {
        Some((word, rest))
            if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') =>
        {
            rest
        }
        _ => reason,
    }
}

/// The close code that stands for an HTTP answer to the upgrade, for a client whose own upgrade has been answered.
pub fn code_of_status(status: u16) -> u16 {
    match status {
        400 | 401 => 1007,
        402 | 429 | 500..=599 => 1011,
        _ => 1008,
    }
}

/// As much of a reason as a close holds.
pub fn fitting_reason(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

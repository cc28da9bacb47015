//! Which conversation a request goes on with: a number that is the same for each of its turns, so that they can be led
//! to one key, in whose project Google may still hold the prompt's beginning in its implicit cache.
//!
//! Covered is what a client sends again, unchanged, from the first turn to the last: the system instruction, the tools,
//! the name of a cached content, and the first turn itself. The turns that follow are left out, since the next request
//! has more of them. Without the first turn all conversations of one application, which share its system instruction,
//! would crowd on one key. The model is left out too: it is in the path of a native request, and whoever leads requests
//! to keys knows it. Read when a request is to be led by its prefix, never otherwise.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use twox_hash::XxHash3_64;

use crate::dialect::Dialect;

/// The conversation of a `generateContent`, `streamGenerateContent` or `chat/completions` request. `None` when the body
/// is not JSON, names one of these keys twice, or holds no turn.
///
/// The same for the same bytes in every process and on every machine (XXH3). The order of the top-level keys, the white
/// space between them, and the spelling of a native one (`systemInstruction`, `system_instruction`) do not matter; inside
/// the values every byte does: a client writes them alike each time.
///
/// One pass over the body, nothing copied: about 0.2 ms a MiB, so not for requests whose key is
/// chosen another way.
pub fn fingerprint(dialect: Dialect, body: &[u8]) -> Option<u64> {
    match dialect {
        Dialect::Gemini => native(serde_json::from_slice(body).ok()?),
        Dialect::OpenAi => openai(&serde_json::from_slice(body).ok()?),
    }
}

fn native(request: Native<'_>) -> Option<u64> {
    let first = request.contents?.0?;
    let mut hash = Hash::of(Dialect::Gemini);
    hash.add(request.system_instruction);
    hash.add(request.tools);
    hash.add(request.cached_content);
    hash.add(Some(first));
    Some(hash.0)
}

fn openai(request: &Chat<'_>) -> Option<u64> {
    let Leading(opening) = request.messages.as_ref()?;
    // Nothing but instructions yet: what comes next would change the number.
    let [.., first] = opening.as_slice() else { return None };
    if is_instruction(first) {
        return None;
    }
    let mut hash = Hash::of(Dialect::OpenAi);
    hash.add(request.tools);
    hash.add(request.extra_body.as_ref().and_then(ExtraBody::cached_content));
    for message in opening {
        hash.add(Some(message));
    }
    Some(hash.0)
}

/// A chain: each piece is hashed with the hash before it as its seed, so that where one ends and the next begins counts.
struct Hash(u64);

impl Hash {
    fn of(dialect: Dialect) -> Self {
        Self(match dialect {
            Dialect::Gemini => 1,
            Dialect::OpenAi => 2,
        })
    }

    /// A piece that is absent counts as an empty one.
    fn add(&mut self, piece: Option<&RawValue>) {
        let piece = piece.map(RawValue::get).unwrap_or_default();
        self.0 = XxHash3_64::oneshot_with_seed(self.0, piece.as_bytes());
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Native<'a> {
    #[serde(borrow, alias = "system_instruction")]
    system_instruction: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, alias = "cached_content")]
    cached_content: Option<&'a RawValue>,
    #[serde(borrow)]
    contents: Option<First<'a>>,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<Leading<'a>>,
    #[serde(borrow)]
    extra_body: Option<ExtraBody<'a>>,
}

#[derive(Deserialize)]
struct ExtraBody<'a> {
    #[serde(borrow)]
    google: Option<Google<'a>>,
}

#[derive(Deserialize)]
struct Google<'a> {
    #[serde(borrow)]
    cached_content: Option<&'a RawValue>,
}

impl<'a> ExtraBody<'a> {
    fn cached_content(&self) -> Option<&'a RawValue> {
        self.google.as_ref()?.cached_content
    }
}

/// The first element of an array.
struct First<'a>(Option<&'a RawValue>);

/// The instructions that an array of messages begins with, and the first message after them.
struct Leading<'a>(Vec<&'a RawValue>);

fn is_instruction(message: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        role: Option<&'a RawValue>,
    }
    let role = serde_json::from_str::<Message<'_>>(message.get()).ok().and_then(|message| message.role);
    role.is_some_and(|role| matches!(role.get(), "\"system\"" | "\"developer\""))
}

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut first = None;
        deserializer.deserialize_seq(UpTo::new(|element| {
            first = Some::<&'a RawValue>(element);
            false
        }))?;
        Ok(Self(first))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Leading<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut leading = Vec::new();
        deserializer.deserialize_seq(UpTo::new(|message| {
            leading.push(message);
            is_instruction(message)
        }))?;
        Ok(Self(leading))
    }
}

/// Hands on the elements of an array until told to stop, and passes over the others.
struct UpTo<'de, F> {
    more: F,
    element: PhantomData<&'de RawValue>,
}

impl<'de, F: FnMut(&'de RawValue) -> bool> UpTo<'de, F> {
    fn new(more: F) -> Self {
        Self { more, element: PhantomData }
    }
}

impl<'de, F: FnMut(&'de RawValue) -> bool> Visitor<'de> for UpTo<'de, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if !(self.more)(element) {
                break;
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

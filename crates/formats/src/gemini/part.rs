//! The contents of a request: whose turn, and its parts. Serialised with their members in a fixed order. `conversation`
//! puts them together by Google's rules.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde_json::value::RawValue;

use crate::media::Media;

/// Whose turn a content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnRole {
    /// The client's user, and its tools' results.
    User,
    /// What the model said before.
    Model,
}

/// One `Content` of `contents`.
#[derive(Clone, Debug, Serialize)]
pub struct TurnContent<'a> {
    /// Whose turn it is.
    pub role: TurnRole,
    /// What is in it, in order.
    pub parts: Vec<RequestPart<'a>>,
}

/// One `Part` of a request.
#[derive(Clone, Debug)]
pub enum RequestPart<'a> {
    /// `text`.
    Text {
        /// What is said; empty only where a part was nothing but its signature.
        text: Cow<'a, str>,
        /// `thoughtSignature`.
        signature: Option<Cow<'a, str>>,
    },
    /// `inlineData` or `fileData`.
    Media {
        /// What it is.
        media: Media<'a>,
        /// `thoughtSignature`, of one that the model made.
        signature: Option<Cow<'a, str>>,
    },
    /// `functionCall`.
    Call {
        /// Google's id of the call, or the client's where Google made none.
        id: Option<Cow<'a, str>>,
        /// Google's name of the function.
        name: Cow<'a, str>,
        /// `args`, an object.
        args: Cow<'a, RawValue>,
        /// `thoughtSignature`.
        signature: Option<Cow<'a, str>>,
    },
    /// `functionResponse`.
    Result {
        /// The id of its call.
        id: Option<Cow<'a, str>>,
        /// The name of its call.
        name: Cow<'a, str>,
        /// `response`.
        response: ResultBody<'a>,
        /// `functionResponse.parts`: Gemini 3 and later.
        media: Vec<Media<'a>>,
    },
}

/// What a tool answered. Google wants an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultBody<'a> {
    /// `{"output": text}`.
    Output(Cow<'a, str>),
    /// `{"error": text}`.
    Error(Cow<'a, str>),
}

impl ResultBody<'static> {
    /// What stands for the result of a call that was never answered.
    pub fn missing() -> Self {
        Self::Error(Cow::Borrowed("no result"))
    }
}

impl Serialize for ResultBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Output(text) => map.serialize_entry("output", text)?,
            Self::Error(text) => map.serialize_entry("error", text)?,
        }
        map.end()
    }
}

/// As a part: `{"inlineData": …}` or `{"fileData": …}`.
impl Serialize for Media<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        self.write_into(&mut map)?;
        map.end()
    }
}

impl Media<'_> {
    fn write_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Blob<'a> {
            mime_type: &'a str,
            data: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct FileData<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            mime_type: Option<&'a str>,
            file_uri: &'a str,
        }

        match self {
            Self::Inline { mime_type, base64 } => {
                map.serialize_entry("inlineData", &Blob { mime_type, data: base64 })
            }
            Self::File { uri, mime_type } => {
                map.serialize_entry("fileData", &FileData { mime_type: mime_type.as_deref(), file_uri: uri })
            }
        }
    }
}

impl Serialize for RequestPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct FunctionCall<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            name: &'a str,
            args: &'a RawValue,
        }
        #[derive(Serialize)]
        struct FunctionResponse<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            name: &'a str,
            response: &'a ResultBody<'a>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            parts: &'a [Media<'a>],
        }

        match self {
            Self::Media { media, signature } => {
                let mut part = serializer.serialize_map(Some(1 + usize::from(signature.is_some())))?;
                media.write_into(&mut part)?;
                if let Some(signature) = signature {
                    part.serialize_entry("thoughtSignature", signature)?;
                }
                part.end()
            }
            Self::Text { text, signature } => {
                let mut part = serializer.serialize_struct("Part", 1 + usize::from(signature.is_some()))?;
                part.serialize_field("text", text)?;
                if let Some(signature) = signature {
                    part.serialize_field("thoughtSignature", signature)?;
                }
                part.end()
            }
            Self::Call { id, name, args, signature } => {
                let mut part = serializer.serialize_struct("Part", 1 + usize::from(signature.is_some()))?;
                part.serialize_field("functionCall", &FunctionCall { id: id.as_deref(), name, args })?;
                if let Some(signature) = signature {
                    part.serialize_field("thoughtSignature", signature)?;
                }
                part.end()
            }
            Self::Result { id, name, response, media } => {
                let mut part = serializer.serialize_struct("Part", 1)?;
                let response = FunctionResponse { id: id.as_deref(), name, response, parts: media };
                part.serialize_field("functionResponse", &response)?;
                part.end()
            }
        }
    }
}

/// Texts as parts: `{"parts":[{"text":…}]}`, as `systemInstruction` is.
pub(super) struct TextParts<'s, 'a>(pub(super) &'s [Cow<'a, str>]);

impl Serialize for TextParts<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct TextPartList<'s, 'a>(&'s [Cow<'a, str>]);
        #[derive(Serialize)]
        struct TextPart<'s> {
            text: &'s str,
        }

        impl Serialize for TextPartList<'_, '_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut list = serializer.serialize_seq(Some(self.0.len()))?;
                for text in self.0 {
                    list.serialize_element(&TextPart { text })?;
                }
                list.end()
            }
        }

        let mut content = serializer.serialize_map(Some(1))?;
        content.serialize_entry("parts", &TextPartList(self.0))?;
        content.end()
    }
}

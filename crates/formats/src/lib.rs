//! Other vendors' formats in front of Google's `generateContent`, as pure state machines: a client's request in, a
//! [`GeminiCall`] out; Google's answer or events in, the client's bytes out. No socket, clock or randomness: ids and
//! times are arguments. The forward actor feeds it; the HTTP face chooses statuses for its errors.
//!
//! What the formats share is here: [`conversation`] keeps Google's rules for a history, [`signature`] carries thought
//! signatures through clients, [`schema`] and [`names`] fit tools, [`models`] and [`thinking`] know Google's models,
//! [`gemini`] writes requests and reads answers.

pub mod anthropic;
pub mod call;
pub mod conversation;
pub mod error;
pub mod finish;
pub mod gemini;
pub mod json;
pub mod json_text;
pub mod media;
pub mod models;
pub mod names;
pub mod placeholders;
pub mod responses;
pub mod schema;
pub mod signature;
pub mod sse;
pub mod thinking;
pub mod usage;

pub use call::{
    AnswerFault, AnswerMemory, AnswerSeed, AnswerStream, GeminiCall, StickyHint, StreamEnd, ThoughtDisplay,
    UnaryAnswer,
};
pub use error::{FieldPath, TranslationError};

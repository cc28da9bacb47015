//! The few shapes of Google's `generateContent` that a translation writes and reads: [`GenerateRequest`] with the
//! [`TurnContent`]s of a history, and [`AnswerChunk`]. What is not known of an answer is kept, not lost.

mod chunk;
mod failure;
mod grounding;
mod part;
mod request;

pub use chunk::{AnswerChunk, AnswerPart, AnswerPartKind, BadChunk};
pub use failure::{GoogleFailure, PromptTooLong, without_projects};
pub use grounding::{Grounding, GroundingPage, GroundingSupport, character_offset};
pub use part::{RequestPart, ResultBody, TurnContent, TurnRole};
pub use request::{
    CallingConfig, CallingMode, FunctionDeclaration, GenerateRequest, GenerationConfig, MAX_STOP_SEQUENCES,
    ONE_CALL_ONLY, SearchWishes, ToolSet, place_of,
};

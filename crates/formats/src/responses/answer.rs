//! An answer that comes whole, as a response object. All of it is `output`'s machine, whose events nobody hears.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::echo::repeated;
use super::events::EventAudience;
use super::output::{OutputEnd, OutputWriter};
use super::wire::{ResponseObject, ResponseStatus};
use crate::call::{AnswerFault, AnswerMemory, AnswerSeed, UnaryAnswer};
use crate::gemini::AnswerChunk;

/// Translates Google's whole answer. Its body is also what [`ResponseDraft::finish`](super::ResponseDraft::finish) takes.
#[derive(Debug)]
pub struct ResponsesAnswer {
    memory: AnswerMemory,
    seed: AnswerSeed,
}

impl ResponsesAnswer {
    /// A translation for the request that `memory` is of.
    pub fn new(memory: AnswerMemory, seed: AnswerSeed) -> Self {
        Self { memory, seed }
    }
}

impl UnaryAnswer for ResponsesAnswer {
    fn translate(&self, google: &[u8]) -> Result<Bytes, AnswerFault> {
        let chunk = AnswerChunk::read(google).map_err(|_| AnswerFault::Unreadable)?;
        if let Some(failure) = chunk.error {
            return Err(AnswerFault::Google(failure));
        }
        let mut output = OutputWriter::new(self.seed.clone(), EventAudience::Nobody);
        output.take(chunk, &self.memory)?;
        let end = output.end_of()?;
        output.close_with(end);
        Ok(Bytes::from(response_object(&output, end.status(), &self.memory)))
    }
}

impl OutputEnd {
    /// The response's status.
    pub(super) fn status(self) -> ResponseStatus<'static> {
        match self {
            Self::Completed => ResponseStatus::Completed,
            Self::Incomplete(reason) => ResponseStatus::Incomplete(reason),
        }
    }
}

/// Writes the response object as it stands.
pub(super) fn response_object(
    output: &OutputWriter,
    status: ResponseStatus<'_>,
    memory: &AnswerMemory,
) -> Vec<u8> {
    let is_over = !matches!(status, ResponseStatus::InProgress);
    let object = ResponseObject {
        id: &output.response_id(),
        created_s: output.created_s(),
        status,
        model: &memory.asked_model,
        output: output.done().json(),
        usage: is_over.then(|| output.usage.unwrap_or_default()),
        repeated: &repeated(memory.echo.as_ref()),
    };
    object.write()
}

/// The bytes of a value, without a copy.
pub(super) fn bytes_of(value: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(value)))
}

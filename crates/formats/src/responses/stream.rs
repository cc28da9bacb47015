//! An answer that comes in events, as a response's events. It owns the response around the items: when it begins, how it
//! ends. A failure before anything was sent is left to the caller; afterwards it is told as `response.failed`, the only
//! form that every client understands.

use bytes::Bytes;

use super::answer::response_object;
use super::error::fault_error;
use super::events::EventAudience;
use super::output::OutputWriter;
use super::wire::ResponseStatus;
use crate::call::{AnswerFault, AnswerMemory, AnswerSeed, AnswerStream, StreamEnd};
use crate::gemini::AnswerChunk;

/// Translates Google's events. It holds the answer once, within a bound of 32 MiB, since the last event repeats it.
#[derive(Debug)]
pub struct ResponsesStream {
    memory: AnswerMemory,
    output: OutputWriter,
    has_begun: bool,
    has_ended: bool,
    fault: Option<AnswerFault>,
    response: Option<Bytes>,
}

impl ResponsesStream {
    /// A translation for the request that `memory` is of.
    pub fn new(memory: AnswerMemory, seed: AnswerSeed) -> Self {
        Self {
            memory,
            output: OutputWriter::new(seed, EventAudience::Client),
            has_begun: false,
            has_ended: false,
            fault: None,
            response: None,
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let response = response_object(&self.output, ResponseStatus::InProgress, &self.memory);
            for kind in ["response.created", "response.in_progress"] {
                self.output.events().emit_response(kind, &response);
            }
        }
    }

    fn fail(&mut self, fault: AnswerFault) {
        self.has_ended = true;
        if self.has_begun {
            let (status, _, code, message) = fault_error(&fault);
            // Clients ask again after `server_error`, which helps where the fault is not the request's.
            let unnamed = if status < 500 { "invalid_prompt" } else { "server_error" };
            let status = ResponseStatus::Failed(code.unwrap_or(unnamed), &message);
            let response = response_object(&self.output, status, &self.memory);
            self.output.events().emit_response("response.failed", &response);
        }
        self.fault = Some(fault);
    }

    fn take(&mut self, event: &[u8]) -> Result<(), AnswerFault> {
        let chunk = match AnswerChunk::read(event) {
            Ok(chunk) => chunk,
            // Behind the end of an answer it is no loss.
            Err(_) if self.output.has_finished() => return Ok(()),
            Err(_) => return Err(AnswerFault::Unreadable),
        };
        if let Some(failure) = chunk.error {
            // Nor is this one.
            if self.output.has_finished() {
                return Ok(());
            }
            return Err(AnswerFault::Google(failure));
        }
        if let Some(reason) = self.output.is_misformed_by(&chunk) {
            return Err(AnswerFault::Misformed(reason));
        }
        // Until something comes that the client is told, a failure can still be hidden from it.
        if chunk.parts.iter().any(|part| OutputWriter::is_told(&part.kind, &self.memory)) {
            self.begin();
        }
        self.output.take(chunk, &self.memory)
    }

    fn complete(&mut self) -> Result<(), AnswerFault> {
        // What is said last may need to be begun, but not before it is sure to be an answer.
        let end = self.output.end_of()?;
        self.begin();
        self.output.close_with(end);
        let response = response_object(&self.output, end.status(), &self.memory);
        let kind = format!("response.{}", end.status().name());
        self.output.events().emit_response(&kind, &response);
        self.response = Some(Bytes::from(response));
        self.has_ended = true;
        Ok(())
    }
}

impl AnswerStream for ResponsesStream {
    fn push_into(&mut self, event: &[u8], into: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        self.output.events().swap_frames(into);
        if let Err(fault) = self.take(event) {
            self.fail(fault);
        }
        self.output.events().swap_frames(into);
    }

    fn end_into(&mut self, how: StreamEnd, into: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        self.output.events().swap_frames(into);
        let ended = match how {
            // What breaks after Google has said how the answer ends is no loss.
            _ if self.output.has_finished() => self.complete(),
            StreamEnd::Complete => {
                Err(AnswerFault::Broken("the upstream's stream ended before the answer did".to_owned()))
            }
            StreamEnd::Broken(why) => Err(AnswerFault::Broken(why)),
        };
        if let Err(fault) = ended {
            self.fail(fault);
        }
        self.output.events().swap_frames(into);
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn fault(&self) -> Option<&AnswerFault> {
        self.fault.as_ref()
    }

    fn response(&self) -> Option<&Bytes> {
        self.response.as_ref()
    }
}

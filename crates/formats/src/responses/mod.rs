//! OpenAI's Responses in front of `generateContent`: [`create`] makes Google's request of a client's,
//! [`ResponsesAnswer`] and [`ResponsesStream`] make the response of what Google answers, [`StoredResponse`] is what is
//! kept so that a later request can go on from it. The HTTP face and the forward actor call it.

mod answer;
mod choice;
mod content;
mod count;
mod echo;
mod error;
mod events;
mod items;
mod output;
mod reader;
mod references;
mod request;
mod search;
mod state;
mod stream;
mod tools;
mod wire;

pub use answer::ResponsesAnswer;
pub use count::input_tokens_answer;
pub use error::{error_body, fault_error, google_error, refusal_message, refusal_of};
pub use references::referenced_ids;
pub use request::{CreateCall, create, create_with, input_tokens, input_tokens_with, previous_id};
pub use state::{ItemOrder, ResponseDraft, StoredResponse, deleted_body};
pub use stream::ResponsesStream;

/// What a response's id begins with.
pub const RESPONSE_ID: &str = "resp_";

//! Anthropic's Messages in front of `generateContent`: [`messages`] and [`count_tokens`] translate requests,
//! [`MessagesAnswer`] and [`MessagesStream`] answers, `error` and `models` write the bodies that need no Google. Google's
//! rules for histories, tools and thinking are the crate's; here are Anthropic's words only.

mod answer;
mod blocks;
mod content;
mod count;
mod error;
mod history;
mod models;
mod place;
mod request;
mod search;
mod stream;
mod tools;
mod wire;

pub use answer::MessagesAnswer;
pub use count::{count_answer, count_tokens};
pub use error::{ErrorDetails, ErrorType, error_body, fault_error, google_error, refusal_of};
pub use models::{ModelEntry, model_entry, model_list};
pub use request::messages;
pub use stream::{MessagesStream, PING};

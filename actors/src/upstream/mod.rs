//! The way to Google: the HTTP client and its connections, what is sent with a leased key, and how an answer's head and
//! body are read. What a provider is, is one file's knowledge (`gemini.rs`), and the leased key chooses it (`provider.rs`);
//! what becomes of a request is decided above, in `forward` and `live`. Only this room knows the HTTP client library.

mod answer;
mod answer_first;
mod base_url;
mod body;
mod causes;
mod client;
mod coding;
mod connector;
mod error;
mod error_answer;
mod gemini;
pub mod headers;
mod lanes;
mod names;
mod outage;
mod plain;
pub mod probe;
mod provider;
mod proxy;
mod redirect;
mod redirect_hosts;
#[cfg(test)]
pub(crate) mod scripted;
mod tls;
mod upgraded;

pub(crate) use answer::WholeAnswer;
pub use base_url::BaseUrl;
pub(crate) use body::{Body, BodyError, Joined, Patience, Ready};
pub use client::UpstreamSettings;
pub(crate) use client::{BodyBroken, Fate, RequestBody, SendError, Upstream};
pub(crate) use coding::{Coding, decoded};
pub use error::UpstreamError;
pub(crate) use error_answer::{RequestContext, read_error};
pub(crate) use lanes::AnswerStream;
pub(crate) use plain::PlainClient;
pub use provider::Provider;
pub use proxy::ProxyUrl;
pub(crate) use redirect::{Headed, Redirectable, follow};
pub(crate) use upgraded::{Upgraded, upgraded};

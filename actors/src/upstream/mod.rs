//! The way to Google: the HTTP client, what is sent with a leased key, and how an answer's head and body are read. What a
//! provider is, is one file's knowledge (`gemini.rs`); what becomes of a request is decided above, in `forward` and `live`.
//! Only this room, and what it hands to their attempts, knows reqwest.

mod answer;
mod body;
mod causes;
mod client;
mod coding;
mod gemini;
pub mod headers;
pub mod probe;
mod redirect;

pub(crate) use self::gemini::credential;
pub(crate) use answer::WholeAnswer;
pub(crate) use body::{Body, BodyError, Joined, Patience, Ready};
pub(crate) use causes::Causes;
pub(crate) use client::Upstream;
pub use client::{BaseUrl, ProxyUrl, UpstreamError, UpstreamSettings};
pub(crate) use coding::{Coding, decoded};
pub(crate) use redirect::{Redirectable, follow};

//! A Gemini API simulator: the other side of the wire, for tests, demonstrations and measurements.
//!
//! It answers as Google's public API does (native surface and OpenAI-compatible layer), counts quotas, breaks
//! connections on demand and keeps a log of what arrived. It knows nothing of the gateway and shares no code with it.
//! Rust tests start a [`Simulator`] in-process; the command line runs it through [`cli`].
//!
//! Floors, each importing lower ones only: the wire (`line`, `frames`, `coding`, `error`, `answer`) and what can be asked for
//! (`route`, `fault`, `rule`, `config`, `conversation`); then `world`, all that is remembered; then one request (`exchange`, `call`,
//! `auth`); then who answers it (`native`, `resources`, `openai`, `live`, put on the wire by `respond`); then `dispatch`
//! and `server`.

mod answer;
mod auth;
mod call;
mod calls;
pub mod cli;
mod coding;
mod config;
mod control;
mod conversation;
mod demand;
mod dispatch;
mod door;
mod echo;
mod error;
mod exchange;
mod fault;
mod frames;
mod google;
mod inflow;
mod journal;
mod keys;
mod lifecycle;
mod line;
mod live;
mod middlebox;
mod models;
mod native;
mod openai;
mod prefix;
mod prompt;
mod quota;
mod refusals;
mod resources;
mod respond;
mod route;
mod rule;
mod script;
mod server;
mod signature;
mod stats;
mod strictness;
mod tls;
mod world;

pub use calls::{KeyCalls, ModelCalls};
pub use coding::Coding;
pub use config::{Config, Shape, UnknownKeys};
pub use conversation::{
    AfterSteps, ConversationState, GroundedText, GroundingSource, PromptCondition, ScriptedCall,
    ScriptedConversation, ScriptedGrounding, ScriptedPart, ScriptedStep, Signing,
};
pub use door::{Outage, Refusal};
pub use fault::{Delivery, Fault, Page};
pub use google::GoogleError;
pub use journal::{End, LoggedRequest};
pub use keys::{Key, KeyState};
pub use lifecycle::Lifecycle;
pub use models::{Model, ModelKind};
pub use prefix::PrefixCache;
pub use quota::{MinuteWindow, Quota};
pub use rule::{Match, Rule, RuleState};
pub use server::Simulator;
pub use stats::{SignatureCounts, Stats};
pub use strictness::Strictness;
pub use tls::{Leaf, Tls};
pub use world::{OwnedResource, WrongOwner};

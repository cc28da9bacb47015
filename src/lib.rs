//! The service: settings, logging, wiring and the HTTP face of gemini-balance. The binary in `main.rs` is a thin shell
//! around [`command`]; the actors live in `gemini-balance-actors`.

mod blame_words;
mod caller_view;
mod closing;
pub mod command;
mod configuration;
pub mod connections;
mod counted;
mod groundwork;
pub mod http;
pub mod import;
pub mod inflight;
mod keys;
mod local_http;
pub mod logging;
mod memory_return;
mod metrics;
mod operator;
mod prices;
mod printable;
pub mod process;
mod reload;
mod seeding;
mod server;
pub mod service;
pub mod settings;
mod signals;
mod socket;
mod tls;
mod tokens;
mod usage_report;

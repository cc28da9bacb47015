//! The service: settings, logging, wiring and the HTTP face of gemini-balance. The binary in `main.rs` is a thin shell
//! around [`cli`]; the actors live in `gemini-balance-actors`.

mod admin;
pub mod check;
pub mod cli;
mod connections;
pub mod demo;
pub mod health;
pub mod http;
pub mod inflight;
pub mod keys;
mod local_http;
pub mod logging;
pub mod process;
mod server;
pub mod service;
pub mod settings;
mod socket;
mod tls;

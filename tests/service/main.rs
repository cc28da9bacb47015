//! The whole service, as a process of its own, against the simulated Gemini API, over real sockets. One module a
//! subject; `support` starts and ends what they use, `raw` speaks HTTP byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what a test is built of fails as loudly as it")]
#![allow(clippy::print_stderr, reason = "what a gateway printed is shown beside the test that failed")]
#![allow(clippy::needless_pass_by_value, reason = "so that a test can write a number as well as a text")]

mod docs;
mod forwarding;
mod raw;
mod streaming;
mod support;

mod auth;
mod leaving;
mod lifecycle;
mod limits;
mod logs;
mod proxy;
mod settings;
mod supervision;
mod wire;

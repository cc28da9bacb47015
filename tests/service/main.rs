//! The whole service, as a process of its own, against the simulated Gemini API, over real sockets. One module a
//! subject; `support` starts and ends what they use, `raw` speaks HTTP byte by byte.

mod failover;
mod forwarding;
mod headers;
mod raw;
mod streaming;
mod support;

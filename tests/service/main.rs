//! The whole service, as a process of its own, against the simulated Gemini API, over real sockets. One module a
//! subject; `support` starts and ends what they use, `raw` speaks HTTP byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and fails"
)]
#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    clippy::needless_pass_by_value,
    reason = "tests are easier to read so"
)]

mod day_ends;
mod differential;
mod docs;
mod earlier_errors;
mod exposition;
mod failover;
mod formats;
mod forwarding;
mod headers;
mod operator_api;
mod operator_auth;
mod operator_connections;
mod operator_page;
mod operator_tls;
mod operator_writes;
mod paths;
mod peaks;
mod projects;
mod quotas;
mod raw;
mod storms;
mod streaming;
mod support;

mod admin;
mod affinity;
mod ambiguous;
mod auth;
mod base_urls;
mod binary;
mod bounds;
mod callers;
mod cluster;
mod compose;
mod compressed;
mod cors;
mod door;
mod downloads;
mod explain;
mod faults;
mod import;
mod keys;
mod leaving;
mod lifecycle;
mod limits;
mod lists;
mod live;
mod logs;
mod memory;
mod metrics;
mod middlebox;
mod models;
mod multiplexed;
mod origin;
mod prices;
mod programs;
mod prometheus;
mod proxy;
mod refusals;
mod reload;
mod secrets;
mod settings;
mod supervision;
mod supply;
mod tls;
mod tokens;
mod traces;
mod unread;
mod upgrades;
mod uploads;
mod usage;
mod wire;

//! `gemini-balance health`: asks a running gateway on this machine whether it can serve, for orchestrators whose image has
//! no other HTTP client. What health means is decided in `http::health`.

use super::failure::Failure;
use crate::{
    local_http::{self, LocalRequest},
    printable::{Printable, bounded},
    settings,
};
use std::{net::ToSocketAddrs as _, process::ExitCode};

/// How much of an answer is shown: whatever listens there need not be a gateway.
const SHOWN: usize = 1000;

/// Asks once, says the answer's body on one line, and succeeds when the status is 200.
pub(crate) fn run(server: &settings::Server) -> Result<ExitCode, Failure> {
    let address = (server.host.as_str(), server.port).to_socket_addrs()?.next();
    let address = local_http::reachable(address.ok_or_else(|| Failure::new("server.host names no address"))?);
    let request = LocalRequest { method: "GET", path: "/health", headers: "", body: "" };
    let (scheme, answer) = if server.has_tls() {
        ("https", local_http::ask_anybody_under_tls(address, "/health"))
    } else {
        ("http", local_http::ask(address, request, local_http::PATIENCE))
    };
    let answer = answer
        .map_err(|error| Failure::new(format!("no answer from {scheme}://{address}/health: {error}")))?;
    out_line!("{}", Printable(bounded(answer.body.trim(), SHOWN)));
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

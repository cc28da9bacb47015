//! `gemini-balance health`: asks a running gateway on this machine whether it can serve, for orchestrators whose image has
//! no other HTTP client. What health means is decided in `http::health`.

use super::failure::Failure;
use crate::{
    local_http,
    printable::{Printable, bounded},
    settings,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    process::ExitCode,
};

/// How much of an answer is shown: whatever listens there need not be a gateway.
const SHOWN: usize = 1000;

/// Asks once, says the answer's body on one line, and succeeds when the status is 200.
#[expect(clippy::print_stdout, reason = "orchestrators keep what a health check prints")]
pub(crate) fn run(server: &settings::Server) -> Result<ExitCode, Failure> {
    let address = reachable(&server.host, server.port)?;
    let (scheme, answer) = if server.has_tls() {
        ("https", local_http::ask_under_tls(address, "/health"))
    } else {
        ("http", local_http::ask(address, "GET", "/health", ""))
    };
    let answer = answer
        .map_err(|error| Failure::new(format!("no answer from {scheme}://{address}/health: {error}")))?;
    println!("{}", Printable(bounded(answer.body.trim(), SHOWN)));
    Ok(if answer.status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a server that listens on `host` is reached from its own machine.
fn reachable(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let mut address =
        (host, port).to_socket_addrs()?.next().ok_or_else(|| Failure::new("server.host names no address"))?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (host, asked) in
            [("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("127.0.0.2", "127.0.0.2:8000")]
        {
            assert_eq!(reachable(host, 8000).unwrap().to_string(), asked);
        }
    }
}

//! `gemini-balance health`: asks a running gateway on this machine whether it can serve, for orchestrators whose image has
//! no other HTTP client. Speaks the few bytes of HTTP it needs itself; what health means is decided in `http::health`.

use crate::{cli::Failure, settings};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

/// For each step of the exchange. The gateway itself gives its key manager half a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// Far more than a health answer takes.
const ANSWER_LIMIT: u64 = 16 * 1024;

/// Asks once, says the answer's body on one line, and succeeds when the status is 200.
#[expect(clippy::print_stdout, reason = "orchestrators keep what a health check prints")]
pub(crate) fn run(server: &settings::Server) -> Result<ExitCode, Failure> {
    let address = reachable(&server.host, server.port)?;
    let answer = ask(address)
        .map_err(|error| Failure::new(format!("no answer from http://{address}/health: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    println!("{}", body.trim());
    Ok(if succeeded(head) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// One request, whose answer ends with the connection.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one write: `write!` on a socket would send each of its parts alone.
    let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn succeeded(head: &str) -> bool {
    head.starts_with("HTTP/1.1 200 ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (host, asked) in
            [("0.0.0.0", "127.0.0.1:8000"), ("::", "[::1]:8000"), ("127.0.0.2", "127.0.0.2:8000")]
        {
            assert_eq!(reachable(host, 8000).unwrap().to_string(), asked);
        }
    }

    #[test]
    fn only_the_status_200_is_well() {
        for (status, well) in [("200 OK", true), ("503 Service Unavailable", false), ("2000 OK", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}")
                    .unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            assert_eq!(succeeded(&ask(address).unwrap()), well, "{status}");
            assert!(server.join().unwrap().starts_with("GET /health HTTP/1.1\r\n"));
        }
    }

    #[test]
    fn a_port_nobody_listens_on_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ask(address).is_err());
    }
}

//! The few bytes of HTTP that the program speaks to a gateway on its own machine: one request on a connection of its own.
//! For `gemini-balance health`, and for the commands that speak to the operator's listener.

use crate::tls;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// For each step of the exchange, where nothing else is said. The gateway itself gives its key manager half a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// What is said of a server that is not the one to be told a secret.
const OTHER_CERTIFICATE: &str =
    "it shows another certificate than the one in the file; a renewed one is shown within seconds";

/// Far more than an answer takes, with ten thousand keys or as many rows of usage as a question may have.
const ANSWER_LIMIT: u64 = 256 * 1024 * 1024;

/// One request. `headers` are whole lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a str,
    pub(crate) body: &'a str,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct LocalAnswer {
    pub(crate) status: u16,
    /// The status line and the headers.
    head: String,
    pub(crate) body: String,
}

impl LocalAnswer {
    /// Returns the value of a header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&str| line.split_once(':').is_some_and(|(it, _)| it.eq_ignore_ascii_case(name));
        Some(self.head.lines().find(is_it)?.split_once(':')?.1.trim())
    }
}

/// What may stand in a path's segment or a parameter's value: names are of people's own making.
pub(crate) fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Returns where a server that listens on this address is reached from its own machine.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Asks in plain. The answer ends with the connection.
pub(crate) fn ask(
    address: SocketAddr,
    request: LocalRequest<'_>,
    patience: Duration,
) -> std::io::Result<LocalAnswer> {
    exchange(connect(address, patience)?, address, request)
}

/// Asks under TLS a server that shows this certificate and no other: it may be told a secret.
pub(crate) fn ask_the_owner_of(
    leaf: CertificateDer<'static>,
    address: SocketAddr,
    request: LocalRequest<'_>,
    patience: Duration,
) -> std::io::Result<LocalAnswer> {
    exchange(under_tls(Some(leaf), address, patience)?, address, request)
}

/// Asks under TLS a gateway that shows whatever certificate: its name is seldom that of this machine, and it may
/// be older than the file. So there is no room for a header here: what is not known for sure is told no secret.
pub(crate) fn ask_anybody_under_tls(address: SocketAddr, path: &str) -> std::io::Result<LocalAnswer> {
    let request = LocalRequest { method: "GET", path, headers: "", body: "" };
    exchange(under_tls(None, address, PATIENCE)?, address, request)
}

fn under_tls(
    leaf: Option<CertificateDer<'static>>,
    address: SocketAddr,
    patience: Duration,
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = tls::provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(KeyHolder { leaf, algorithms }))
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    Ok(StreamOwned::new(connection, connect(address, patience)?))
}

fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

fn exchange(
    mut stream: impl Read + Write,
    address: SocketAddr,
    LocalRequest { method, path, headers, body }: LocalRequest<'_>,
) -> std::io::Result<LocalAnswer> {
    // In one write: `write!` on a socket would send each of its parts alone. HTTP/1.0, so that nothing is chunked.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_LIMIT + 1).read_to_end(&mut answer) {
        // A peer that ends a TLS connection without saying so; whether the answer is whole does not hang on it.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        read => drop(read?),
    }
    if answer.len() as u64 > ANSWER_LIMIT {
        return Err(std::io::Error::other(format!("the answer is longer than {ANSWER_LIMIT} bytes")));
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    match status.filter(|_| head.as_bytes().get(12).is_none_or(|byte| !byte.is_ascii_digit())) {
        Some(status) => Ok(LocalAnswer { status, head: head.to_owned(), body: body.to_owned() }),
        None => Err(std::io::Error::other("the answer is not HTTP")),
    }
}

/// Asks of a server that it holds the key of the certificate it shows, and that this is the one which is known, if one is.
#[derive(Debug)]
struct KeyHolder {
    leaf: Option<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for KeyHolder {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.leaf {
            Some(leaf) if leaf != shown => Err(rustls::Error::General(OTHER_CERTIFICATE.to_owned())),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const HEALTH: LocalRequest<'_> = LocalRequest { method: "GET", path: "/health", headers: "", body: "" };

    #[test]
    fn the_status_and_the_body_are_told_apart() {
        for (line, status) in
            [("200 OK", Some(200)), ("503 Service Unavailable", Some(503)), ("2000 OK", None)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.1 {line}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}")
                    .unwrap();
                String::from_utf8_lossy(&request[..length]).into_owned()
            });
            let answer = ask(address, HEALTH, PATIENCE);
            assert_eq!(answer.as_ref().ok().map(|answer| answer.status), status, "{line}");
            assert!(answer.is_err() || answer.unwrap().body == "{}");
            assert!(server.join().unwrap().starts_with("GET /health HTTP/1.0\r\n"));
        }
    }

    #[test]
    fn a_port_nobody_listens_on_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ask(address, HEALTH, PATIENCE).is_err());
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("127.0.0.2:8000", "127.0.0.2:8000"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), asked);
        }
    }
}

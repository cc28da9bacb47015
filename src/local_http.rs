//! The few bytes of HTTP that the program speaks to a gateway on its own machine: one request on a connection of its own.
//! For `gemini-balance health`, `keys` and `tokens`.

use crate::tls;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// For each step of the exchange, where nothing else is said. The gateway itself gives its key manager half a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Far more than an answer takes, with ten thousand keys or as many rows of usage as a question may have.
const ANSWER_LIMIT: u64 = 256 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(crate) struct LocalAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
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

/// One request without a body; `headers` are whole lines. The answer ends with the connection.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<LocalAnswer> {
    ask_with(address, method, path, headers, "")
}

/// The same with a body.
pub(crate) fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<LocalAnswer> {
    ask_patiently(address, method, path, headers, body, PATIENCE)
}

/// The same, with so much time for each step.
pub(crate) fn ask_patiently(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    patience: Duration,
) -> std::io::Result<LocalAnswer> {
    exchange(connect(address, patience)?, address, method, path, headers, body)
}

/// The same under TLS, of a gateway that shows whatever certificate: its name is seldom that of this machine, and it may
/// be older than the file. So there is no room for a header here: what is not known for sure is told no secret.
pub(crate) fn ask_under_tls(address: SocketAddr, path: &str) -> std::io::Result<LocalAnswer> {
    let provider = tls::provider();
    let any = AnyCertificate(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(any))
        .with_no_client_auth();
    let name = ServerName::from(address.ip());
    let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
    exchange(StreamOwned::new(connection, connect(address, PATIENCE)?), address, "GET", path, "", "")
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
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
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
        Some(status) => Ok(LocalAnswer { status, body: body.to_owned() }),
        None => Err(std::io::Error::other("the answer is not HTTP")),
    }
}

/// Asks of a server only that it holds the key of the certificate it shows.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
            let answer = ask(address, "GET", "/health", "");
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
        assert!(ask(address, "GET", "/", "").is_err());
    }
}

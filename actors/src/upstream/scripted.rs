//! An upstream for tests that does on each connection what its script says, byte for byte.

use super::{BaseUrl, Upstream, UpstreamSettings};
use crate::{key_ring::Key, key_ring::KeyRing, secret::Secret};
use keypool::KeySpec;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The key that goes up, and must not come down.
pub(crate) const SECRET: &str = "AIzaCanary-1_2";

/// A key of the pool's.
pub(crate) fn key() -> Arc<Key> {
    let spec = KeySpec::new("k-1");
    let ring = KeyRing::new(vec![(spec, Secret::new(SECRET))]).unwrap();
    Arc::clone(&ring.keys()[0])
}

/// The settings of an upstream at `base`.
pub(crate) fn settings(base: &str) -> UpstreamSettings {
    let base = BaseUrl::parse(base).unwrap();
    UpstreamSettings {
        gemini_base: base.clone(),
        openai_base: base,
        connect_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(5),
        proxy: None,
        extra_roots: Vec::new(),
        redirect_hosts: Vec::new(),
    }
}

/// Reads a request's head and body.
pub(crate) async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    let head = String::from_utf8(read).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(head)
}

/// What is written one after another, a moment apart; then the connection is closed or stays.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) writes: Vec<Vec<u8>>,
    pub(crate) stays: bool,
}

/// Serves the script to every request, and returns where.
pub(crate) async fn serve(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let script = script.clone();
            tokio::spawn(async move {
                while request(&mut stream).await.is_some() {
                    for write in &script.writes {
                        stream.set_nodelay(true).unwrap();
                        let _ = stream.write_all(write).await;
                        // So that writes arrive apart: a chunk ends here.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    if !script.stays {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

/// An answer with everything about it stated.
pub(crate) fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An upstream that answers every request with this and keeps the connection.
pub(crate) async fn answering(head: &str, body: &str) -> Upstream {
    let script = Script { writes: vec![answer(head, body)], stays: true };
    Upstream::new(settings(&serve(script).await)).unwrap()
}

/// How an HTTP/2 connection ends the first request on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Http2End {
    /// GOAWAY with this last stream and code.
    GoAway { last_stream: u32, code: u32 },
    /// `RST_STREAM` with this code.
    Reset { code: u32 },
    /// The connection closes.
    Close,
}

/// An upstream that speaks TLS and HTTP/2, and ends every request so.
pub(crate) async fn ending(end: Http2End) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pem, acceptor) = acceptor();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let _ = end_http2(stream, end).await;
            });
        }
    });
    let mut settings = settings(&format!("https://localhost:{}", address.port()));
    settings.extra_roots = vec![pem.into_bytes()];
    Upstream::new(settings).unwrap()
}

fn acceptor() -> (String, tokio_rustls::TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (authority.pem(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

/// A frame's head is nine bytes: length, type, flags, stream.
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn end_http2<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, end: Http2End) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        if head[3] != HEADERS {
            continue;
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = match end {
            Http2End::GoAway { last_stream, code } => {
                frame(7, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
            }
            Http2End::Reset { code } => frame(3, id, &code.to_be_bytes()),
            Http2End::Close => return stream.shutdown().await,
        };
        stream.write_all(&frame).await?;
    }
}

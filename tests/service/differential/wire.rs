//! What stands behind a reader of HTTP and beside the wire: an upstream that says what it was asked, and a tap that passes on
//! what it hears. Both know requests that can be read in one way only, and call every other one unreadable.

use crate::raw::Answer;
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
};

/// A request that has one reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What bytes are, so far.
enum Bytes<T> {
    /// The start of it.
    Partial,
    /// All of it, and how many bytes it takes.
    Whole(T, usize),
    /// Nothing that means one such thing and no other.
    Unreadable,
}

impl Request {
    /// Whether some header holds this text.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.headers.iter().any(|(name, value)| name.contains(text) || value.contains(text))
    }

    /// The values of all headers of this name.
    pub(super) fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Reads as strictly as RFC 9112 lets a server do.
    fn read(bytes: &[u8]) -> Bytes<Self> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Bytes::Partial;
        };
        let Some(mut request) = Self::head(&bytes[..end]) else { return Bytes::Unreadable };
        let body = &bytes[end + 4..];
        let framed = match (&*request.headers("content-length"), &*request.headers("transfer-encoding")) {
            ([], []) => Bytes::Whole(Vec::new(), 0),
            ([length], []) => match length_of(length) {
                None => Bytes::Unreadable,
                Some(length) => {
                    body.get(..length).map_or(Bytes::Partial, |body| Bytes::Whole(body.to_vec(), length))
                }
            },
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => {
                chunks(body).unwrap_or(Bytes::Unreadable)
            }
            _ => Bytes::Unreadable,
        };
        match framed {
            Bytes::Unreadable => Bytes::Unreadable,
            Bytes::Partial => Bytes::Partial,
            Bytes::Whole(body, used) => {
                request.body = body;
                Bytes::Whole(request, end + 4 + used)
            }
        }
    }

    fn head(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_known = words.next().is_none() && matches!(version, "HTTP/1.1" | "HTTP/1.0");
        if !is_known || !is_token(method) || !printable(target) {
            return None;
        }
        let headers = lines.map(header).collect::<Option<_>>()?;
        Some(Self { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() })
    }
}

fn is_token(text: &str) -> bool {
    let may_hold = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(may_hold)
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_text = value.bytes().all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    (is_token(name) && is_text)
        .then(|| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn length_of(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A body in chunks, without its framing. None where it is not readable.
fn chunks(bytes: &[u8]) -> Option<Bytes<Vec<u8>>> {
    let mut body = Vec::new();
    let mut at = 0;
    let mut is_last = false;
    while let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") {
        let text = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        at += line + 2;
        if is_last {
            if text.is_empty() {
                return Some(Bytes::Whole(body, at));
            }
            header(text)?;
            continue;
        }
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(text, 16).ok()?;
        if size == 0 {
            is_last = true;
            continue;
        }
        let Some(data) = bytes.get(at..at + size + 2) else { return Some(Bytes::Partial) };
        body.extend_from_slice(data.strip_suffix(b"\r\n")?);
        at += size + 2;
    }
    Some(Bytes::Partial)
}

/// The requests of all connections, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) requests: Vec<Request>,
    /// Bytes that were none, each time up to the end of what had come.
    pub(super) unreadable: Vec<String>,
    /// How many answers went the other way, on the way past a tap.
    pub(super) answers: usize,
    /// How many connections have been opened.
    pub(super) connections: usize,
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Heard>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap()
    }

    /// Notes the requests at the start of `bytes` and takes them from there. None where the rest can never become one.
    fn hear(&self, bytes: &mut Vec<u8>) -> Option<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            match Request::read(bytes) {
                Bytes::Partial => break,
                Bytes::Whole(request, used) => {
                    bytes.drain(..used);
                    requests.push(request);
                }
                Bytes::Unreadable => {
                    self.lock().unreadable.push(bytes.escape_ascii().to_string());
                    bytes.clear();
                    return None;
                }
            }
        }
        self.lock().requests.extend(requests.iter().cloned());
        Some(requests)
    }
}

/// An upstream or a tap: an address, and what was heard there.
pub(super) struct Listener {
    pub(super) authority: String,
    notes: Notes,
}

impl Listener {
    fn start(serve: impl Fn(TcpStream, Notes) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let notes = Notes::default();
        let own = notes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                own.lock().connections += 1;
                let (serve, notes) = (serve.clone(), own.clone());
                std::thread::spawn(move || serve(stream, notes));
            }
        });
        Self { authority, notes }
    }

    /// An upstream that answers each request with what it was asked, and keeps connections.
    pub(super) fn upstream() -> Self {
        Self::start(|mut stream, notes| {
            let mut bytes = Vec::new();
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..read]);
                let Some(requests) = notes.hear(&mut bytes) else {
                    let _ = stream.write_all(
                        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    );
                    return;
                };
                for request in requests {
                    let body = serde_json::json!({ "asked": request.target }).to_string();
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
                    let _ = stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes());
                }
            }
        })
    }

    /// A tap on the way to `authority`: bytes pass as they are, both ways.
    pub(super) fn tap(authority: &str) -> Self {
        let authority = authority.to_owned();
        Self::start(move |client, notes| {
            let server = TcpStream::connect(&authority).unwrap();
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let answers = notes.clone();
            std::thread::spawn(move || {
                let mut said = Vec::new();
                pass(back.0, back.1, |bytes| {
                    said.extend_from_slice(bytes);
                    while let Some((answer, used)) = Answer::read(&said)
                        && answer.whole
                    {
                        said.drain(..used);
                        answers.lock().answers += 1;
                    }
                });
            });
            let mut said = Vec::new();
            pass(client, server, |bytes| {
                said.extend_from_slice(bytes);
                notes.hear(&mut said);
            });
        })
    }

    /// What was heard since the last call.
    pub(super) fn take(&self) -> Heard {
        let mut notes = self.notes.lock();
        let connections = notes.connections;
        std::mem::replace(&mut *notes, Heard { connections, ..Heard::default() })
    }
}

/// Passes bytes on until one side ends, each after `hear` has heard it.
fn pass(mut from: TcpStream, mut to: TcpStream, mut hear: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        hear(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

//! HTTP as bytes on a socket, for what a well-behaved library would hide or refuse to do: a client that says exactly
//! what it is told and sees how an answer ends, and an upstream that answers with exactly the bytes it is given.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long a test waits for the next bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// In how many chunks it came, when it is chunked.
    pub(crate) chunks: usize,
    /// Whether it came to the end that its framing promised.
    pub(crate) whole: bool,
}

impl Answer {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The answer at the start of `bytes` as far as it is there, and how many bytes it takes.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let end = start + rest.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
            let head = String::from_utf8_lossy(&bytes[start..end]).into_owned();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            if status == 100 {
                start = end;
                continue;
            }
            let mut answer = Self { status, head, body: Vec::new(), chunks: 0, whole: false };
            let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
            let used = if answer.header("transfer-encoding").is_some() {
                answer.read_chunks(&bytes[end..])
            } else {
                let length = if matches!(status, 204 | 304) { 0 } else { length.unwrap_or(usize::MAX) };
                let there = length.min(bytes.len() - end);
                answer.body.extend_from_slice(&bytes[end..end + there]);
                answer.whole = there == length;
                there
            };
            return Some((answer, end + used));
        }
    }

    fn read_chunks(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = at + line + 2;
            let there = size.min(bytes.len() - data);
            self.body.extend_from_slice(&bytes[data..data + there]);
            if bytes.len() < data + size + 2 {
                return bytes.len();
            }
            assert_eq!(&bytes[data + size..data + size + 2], b"\r\n", "a chunk that is longer than it says");
            at = data + size + 2;
            if size == 0 {
                self.whole = true;
                return at;
            }
            self.chunks += 1;
        }
        bytes.len()
    }
}

/// Sends one request and reads its answer to its end, or as far as it comes before the connection breaks.
pub(crate) fn ask(authority: &str, request: &[u8]) -> Answer {
    let mut stream = connect(authority);
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let answer = Answer::read(&bytes).map(|(answer, _)| answer);
        if let Some(answer) = answer
            && answer.whole
        {
            return answer;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if is_silence(&error) => {
                panic!("nothing comes, and no end: {:?}", Answer::read(&bytes))
            }
            Err(_) => break,
        }
    }
    match Answer::read(&bytes) {
        Some((answer, _)) => answer,
        None => panic!("the connection ended without an answer: {:?}", String::from_utf8_lossy(&bytes)),
    }
}

/// A connection on which several requests are made, one after another.
pub(crate) struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(authority: &str) -> Self {
        Self { stream: connect(authority), bytes: Vec::new() }
    }

    /// Sends bytes and waits for nothing.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends one request and reads its whole answer, which says where it ends.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.answer_or_end()
    }

    /// Reads the next answer, to the end that its framing promises or to the connection's.
    pub(crate) fn answer_or_end(&mut self) -> Answer {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let answer = Answer::read(&self.bytes);
            if let Some((answer, used)) = answer
                && answer.whole
            {
                self.bytes.drain(..used);
                return answer;
            }
            if let Ok(read @ 1..) = self.stream.read(&mut buffer) {
                self.bytes.extend_from_slice(&buffer[..read]);
                continue;
            }
            let said = std::mem::take(&mut self.bytes);
            let answer = Answer::read(&said).map(|(answer, _)| answer);
            return answer.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&said)));
        }
    }

    /// Whether the peer has closed it, without another byte.
    pub(crate) fn is_ended(&mut self) -> bool {
        let mut buffer = [0; 1];
        match self.stream.read(&mut buffer) {
            Ok(read) => read == 0,
            Err(error) => !is_silence(&error),
        }
    }

    /// Whether nothing comes and nothing ends for this long.
    pub(crate) fn is_open(&mut self, silence: Duration) -> bool {
        self.stream.set_read_timeout(Some(silence)).unwrap();
        let read = self.stream.read(&mut [0; 1]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| is_silence(&error))
    }
}

/// Sends these bytes and reads every answer there is, until the peer closes or says nothing for `silence`.
pub(crate) fn converse(authority: &str, bytes: &[u8], silence: Duration) -> Vec<Answer> {
    let mut stream = connect(authority);
    stream.set_read_timeout(Some(silence)).unwrap();
    let _ = stream.write_all(bytes); // the peer may well hang up before it has heard all
    let mut said = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
    }
    let mut answers = Vec::new();
    let mut at = 0;
    while let Some((answer, used)) = Answer::read(&said[at..]) {
        at += used;
        answers.push(answer);
    }
    answers
}

fn connect(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// An upstream that answers every request with the same bytes and closes.
pub(crate) struct Upstream {
    pub(crate) url: String,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// `answer` is sent as it is, once the request's head has arrived.
    pub(crate) fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let answer = answer.into();
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream, &answer));
            }
        });
        Self { url, connections }
    }

    /// How many have connected.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    // The rest of a small request has come with its head; unread bytes would turn the close into a reset.
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while let Ok(1..) = stream.read(&mut buffer) {}
    let _ = stream.write_all(answer);
}

//! The few bytes of HTTP that the program speaks to a gateway on its own machine: one request on a connection of its own.
//! For `gemini-balance health` and `gemini-balance keys`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// For each step of the exchange. The gateway itself gives its key manager half a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Far more than an answer takes, with a thousand keys.
const ANSWER_LIMIT: u64 = 16 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(crate) struct LocalAnswer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One request without a body; `headers` are whole lines. The answer ends with the connection.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<LocalAnswer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // In one write: `write!` on a socket would send each of its parts alone. HTTP/1.0, so that nothing is chunked.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: 0\r\n{headers}connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    match status.filter(|_| head.as_bytes().get(12).is_none_or(|byte| !byte.is_ascii_digit())) {
        Some(status) => Ok(LocalAnswer { status, body: body.to_owned() }),
        None => Err(std::io::Error::other("the answer is not HTTP")),
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

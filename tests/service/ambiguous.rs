//! The requests that could be read in two ways: what the tests of framing and of paths put to the gateway, and what is put to
//! other readers of HTTP beside it.

use crate::support::prompt;

/// Where a request of [`framings`] goes.
pub(crate) const PATH: &str = "/v1beta/models/gemini-2.5-flash:countTokens";

/// Targets that could mean another one or are not served, each with the status of its refusal.
pub(crate) const TARGETS: &[(&str, u16)] = &[
    ("/v1beta/../v1/models", 400),
    ("/v1beta/models/..", 400),
    ("/v1beta/models/../../_simulator/requests", 400),
    ("/v1beta/./models", 400),
    ("/v1beta/%2e%2e/models", 400),
    ("/v1beta/.%2E/models", 400),
    ("/v1beta/%2E/models", 400),
    ("/v1beta/models%2fgemini-2.5-flash", 400),
    ("/v1beta/models/..%2F..%2F_simulator", 400),
    ("/v1beta/models/a%5cb", 400),
    ("/v1beta/models/a%5C..%5Cb", 400),
    ("/v1beta/models/a%0d%0ax-evil:%201", 400),
    ("/v1beta/models/a%0Ab", 400),
    ("/v1beta/models/a%00", 400),
    ("/v1beta/models/a%7f", 400),
    ("/v1beta/models/%", 400),
    ("/v1beta/models/%zz", 400),
    ("/v1beta/models?x=%0d%0ax-evil:%201", 400),
    ("/v1beta/models?x=%00", 400),
    ("/v1beta/openai/../models", 400),
    ("/openai/v1/..%2fx", 400),
    ("/", 404),
    ("/admin", 404),
    ("/_simulator/requests", 404),
    ("/_simulator/faults", 404),
    ("//_simulator/stats", 404),
    ("/v1betaX/models", 404),
    ("/V1beta/models", 404),
    ("/v1beta%3f/models", 404),
    ("/upload", 404),
    ("/ws/other.service.v1beta.X", 404),
    ("/health%2fready", 400),
];

/// Targets with bytes that none may hold.
pub(crate) const RAW_TARGETS: &[&[u8]] = &[
    b"/v1beta/models\\gemini",
    b"/v1beta/\\..\\models",
    b"/v1beta/mod\0els",
    b"/v1beta/mod\rels",
    b"/v1beta/mod\tels",
    b"/v1beta/models\x7f",
    b"/v1beta/models/\xc3\xbc",
    b"/v1beta/models/\xff\xfe",
    b"/v1beta/models?q=\xff",
    b"/v1beta/models#fragment",
    b"/v1beta/models /v1/models",
    b"/v1beta/models HTTP/1.1\r\nx-evil: 1\r\nGET /v1/models",
];

/// Targets with doubled slashes, each with the one it means.
pub(crate) const DOUBLED_SLASHES: &[(&str, &str)] = &[
    ("//v1beta//models", "/v1beta/models"),
    ("/v1beta/models//gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash"),
    ("///v1beta///openai//models", "/v1beta/openai/models"),
    ("/v1beta/models?x=//y", "/v1beta/models?x=//y"),
];

/// Starts of requests that name the authority `elsewhere` to a listener at `own`: a request line and what follows it.
pub(crate) fn heads_that_lead_elsewhere(own: &str, elsewhere: &str) -> [String; 18] {
    [
        format!("GET http://{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {elsewhere}\r\n"),
        format!("GET http://{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {own}\r\n"),
        format!("GET https://user:pass@{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {own}\r\n"),
        format!("GET ftp://{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {own}\r\n"),
        format!("GET //{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {own}\r\n"),
        format!("GET @{elsewhere}/v1beta/models HTTP/1.1\r\nhost: {own}\r\n"),
        format!("GET {elsewhere} HTTP/1.1\r\nhost: {own}\r\n"),
        format!("CONNECT {elsewhere} HTTP/1.1\r\nhost: {elsewhere}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nhost: {elsewhere}\r\n"),
        format!("GET /v1beta/models HTTP/1.1\r\nhost: {elsewhere}\r\n"),
        format!("GET /v1beta/models HTTP/1.1\r\nhost: {own}@{elsewhere}\r\n"),
        format!("GET /v1beta/models HTTP/1.1\r\nhost: {own}\r\nhost: {elsewhere}\r\n"),
        format!("GET /v1beta/models HTTP/1.1\r\nhost: {own}\r\nx-forwarded-host: {elsewhere}\r\n"),
        "GET /v1beta/models HTTP/1.1\r\nhost: x/y?z\r\n".to_owned(),
        "GET /v1beta/models HTTP/1.1\r\nhost: x y\r\n".to_owned(),
        "GET /v1beta/models HTTP/1.1\r\nhost: \r\n".to_owned(),
        "GET /v1beta/models HTTP/1.1\r\n".to_owned(),
        "GET /v1beta/models HTTP/1.0\r\n".to_owned(),
    ]
}

/// How the end of a request's body is told.
pub(crate) struct Framing {
    pub(crate) name: &'static str,
    /// The header lines about it, and the body.
    pub(crate) bytes: String,
    /// Whether there is a second reading of it, so that there must be none at all.
    pub(crate) is_malformed: bool,
}

fn malformed(name: &'static str, bytes: impl Into<String>) -> Framing {
    Framing { name, bytes: bytes.into(), is_malformed: true }
}

fn well_formed(name: &'static str, bytes: impl Into<String>) -> Framing {
    Framing { name, bytes: bytes.into(), is_malformed: false }
}

/// Bodies of a request to [`PATH`] whose end could be looked for in two places, and a few that are as they should be.
pub(crate) fn framings() -> Vec<Framing> {
    let body = prompt("x");
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let te = |lines: &str| format!("{lines}\r\n\r\n{chunked}");
    let cl = |lines: &str| format!("{lines}\r\ncontent-length: {length}\r\n\r\n{body}");
    let ch = |bytes: String| format!("transfer-encoding: chunked\r\n\r\n{bytes}");
    vec![
        // Two lengths, or a length and chunks.
        malformed("a length and chunks", "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        malformed(
            "chunks and a length",
            format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n{chunked}"),
        ),
        malformed(
            "two lengths, nothing first",
            format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{body}"),
        ),
        malformed(
            "two lengths, nothing last",
            format!("content-length: {length}\r\ncontent-length: 0\r\n\r\n{body}"),
        ),
        malformed("a length twice in one line", format!("content-length: {length}, {length}\r\n\r\n{body}")),
        // Lengths that are none.
        malformed("a length with a plus", format!("content-length: +{length}\r\n\r\n{body}")),
        malformed("a length below nothing", format!("content-length: -1\r\n\r\n{body}")),
        malformed("a length in hexadecimal", format!("content-length: 0x10\r\n\r\n{body}")),
        malformed("a length with letters behind", format!("content-length: {length}abc\r\n\r\n{body}")),
        malformed(
            "a length and another behind a space",
            format!("content-length: {length} {length}\r\n\r\n{body}"),
        ),
        malformed("an empty length", format!("content-length: \r\n\r\n{body}")),
        malformed(
            "a length beyond all numbers",
            format!("content-length: 99999999999999999999999\r\n\r\n{body}"),
        ),
        malformed(
            "a length with a space before the colon",
            format!("content-length : {length}\r\n\r\n{body}"),
        ),
        malformed("a length on a folded line", format!("content-length:\r\n {length}\r\n\r\n{body}")),
        malformed(
            "a length folded into the line before",
            format!("x: y\r\n content-length: {length}\r\n\r\n{body}"),
        ),
        // Codings that are none, or not the last.
        malformed("a coding that is none", format!("transfer-encoding: xchunked\r\n\r\n{chunked}")),
        malformed(
            "chunks before another coding",
            format!("transfer-encoding: chunked, identity\r\n\r\n{chunked}"),
        ),
        malformed("chunks twice", format!("transfer-encoding: chunked, chunked\r\n\r\n{chunked}")),
        malformed(
            "chunks in one line and another coding in the next",
            format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunked}"),
        ),
        malformed("chunks behind a vertical tab", format!("transfer-encoding: \x0bchunked\r\n\r\n{chunked}")),
        malformed(
            "chunks with a space before the colon",
            format!("transfer-encoding : chunked\r\n\r\n{chunked}"),
        ),
        malformed("chunks on a folded line", format!("transfer-encoding:\r\n chunked\r\n\r\n{chunked}")),
        malformed("chunks in quotes", format!("transfer-encoding: \"chunked\"\r\n\r\n{chunked}")),
        malformed("a coding that ends nowhere", format!("transfer-encoding: gzip\r\n\r\n{body}")),
        // Chunks that are none.
        malformed(
            "a chunk's size with 0x",
            format!("transfer-encoding: chunked\r\n\r\n0x{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk's size with a plus",
            format!("transfer-encoding: chunked\r\n\r\n+{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk's size below nothing",
            format!("transfer-encoding: chunked\r\n\r\n-1\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk's size beyond all numbers",
            format!("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk's size and another behind a space",
            format!("transfer-encoding: chunked\r\n\r\n{length:x} 1\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk without a size",
            format!("transfer-encoding: chunked\r\n\r\n\r\n{body}\r\n0\r\n\r\n"),
        ),
        malformed(
            "a chunk without its line's end",
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}0\r\n\r\n"),
        ),
        malformed(
            "a chunk longer than it says",
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}XX0\r\n\r\n"),
        ),
        malformed(
            "a last chunk that is a word",
            format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\nzero\r\n\r\n"),
        ),
        // Lines that are none.
        malformed("a NUL in a name", format!("x\0y: z\r\ncontent-length: {length}\r\n\r\n{body}")),
        malformed("a NUL in a value", format!("x: a\0b\r\ncontent-length: {length}\r\n\r\n{body}")),
        malformed("a space in a name", format!("x y: z\r\ncontent-length: {length}\r\n\r\n{body}")),
        malformed("a line without a colon", format!("no colon\r\ncontent-length: {length}\r\n\r\n{body}")),
        malformed("a line without a name", format!(": no name\r\ncontent-length: {length}\r\n\r\n{body}")),
        malformed(
            "a carriage return in a value",
            format!("x: a\rcontent-length: 0\r\ncontent-length: {length}\r\n\r\n{body}"),
        ),
        // More of each.
        malformed("a length twice in two lines", cl(&format!("content-length: {length}"))),
        malformed("a length with a comma behind", format!("content-length: {length},\r\n\r\n{body}")),
        malformed("a length with a fraction", format!("content-length: {length}.0\r\n\r\n{body}")),
        malformed("chunks in two lines", te("transfer-encoding: chunked\r\ntransfer-encoding: chunked")),
        malformed("chunks behind a comma", te("transfer-encoding: , chunked")),
        malformed("chunks before a comma", te("transfer-encoding: chunked,")),
        malformed("chunks with a parameter", te("transfer-encoding: chunked;q=1")),
        malformed("chunks behind identity", te("transfer-encoding: identity, chunked")),
        malformed("chunks behind gzip", te("transfer-encoding: gzip, chunked")),
        malformed("chunks and a NUL", te("transfer-encoding: chunked\0")),
        malformed("chunks and a carriage return", te("transfer-encoding: chunked\r")),
        malformed("an empty coding and a length", cl("transfer-encoding: ")),
        malformed("identity and a length", cl("transfer-encoding: identity")),
        malformed("a NUL in a coding's name", te("transfer-encoding\0: chunked")),
        malformed("a tab before the colon of chunks", te("transfer-encoding\t: chunked")),
        malformed("a byte of Latin-1 in a name", cl("x\u{e9}: y")),
        malformed("a DEL in a value", cl("x: a\x7fb")),
        malformed("a control character in a value", cl("x: a\x01b")),
        malformed("a line that begins with a space", cl(" x: y")),
        malformed(
            "a chunk's extension in quotes over a line",
            ch(format!("{length:x};x=\"\r\n\"\r\n{body}\r\n0\r\n\r\n")),
        ),
        malformed(
            "a chunk's extension with a line feed",
            ch(format!("{length:x};x\ny\r\n{body}\r\n0\r\n\r\n")),
        ),
        malformed(
            "a chunk's extension with a carriage return",
            ch(format!("{length:x};x\ry\r\n{body}\r\n0\r\n\r\n")),
        ),
        malformed("a chunk's extension with a NUL", ch(format!("{length:x};x\0y\r\n{body}\r\n0\r\n\r\n"))),
        malformed("a chunk's size before a line feed", ch(format!("{length:x}\n{body}\r\n0\r\n\r\n"))),
        malformed("a chunk's size before a carriage return", ch(format!("{length:x}\r{body}\r\n0\r\n\r\n"))),
        malformed("a chunk's size behind a space", ch(format!(" {length:x}\r\n{body}\r\n0\r\n\r\n"))),
        malformed("a chunk's size before a letter", ch(format!("{length:x}g\r\n{body}\r\n0\r\n\r\n"))),
        malformed("a chunk's size with an underscore", ch(format!("0_{length:x}\r\n{body}\r\n0\r\n\r\n"))),
        malformed("a chunk before a line feed", ch(format!("{length:x}\r\n{body}\n0\r\n\r\n"))),
        malformed("a chunk before two bytes of others", ch(format!("{length:x}\r\n{body}XX\r\n0\r\n\r\n"))),
        malformed("a last chunk before a line feed", ch(format!("{length:x}\r\n{body}\r\n0\n\r\n"))),
        // Trailers that are none.
        malformed("an end with a line feed", ch(format!("{length:x}\r\n{body}\r\n0\r\n\n"))),
        malformed(
            "a trailer that is no header",
            ch(format!("{length:x}\r\n{body}\r\n0\r\nGET / HTTP/1.1\r\n\r\n")),
        ),
        malformed(
            "a trailer that ends in a line feed",
            ch(format!("{length:x}\r\n{body}\r\n0\r\nx: y\n\r\n")),
        ),
        malformed(
            "a trailer with a carriage return in it",
            ch(format!("{length:x}\r\n{body}\r\n0\r\nx: y\rz\r\n\r\n")),
        ),
        // Well-formed ones, to see that the others are not refused for something else.
        well_formed("a length", format!("content-length: {length}\r\n\r\n{body}")),
        well_formed("chunks", format!("transfer-encoding: chunked\r\n\r\n{chunked}")),
        well_formed("chunks with a capital", format!("transfer-encoding: Chunked\r\n\r\n{chunked}")),
        // Odd ones that mean one thing.
        well_formed("a length with noughts before it", format!("content-length: 000{length}\r\n\r\n{body}")),
        well_formed("a length behind a tab", format!("content-length:\t{length}\t\r\n\r\n{body}")),
        well_formed("chunks behind a tab", te("transfer-encoding:\tchunked")),
        well_formed("chunks and a space", te("transfer-encoding: chunked ")),
        well_formed("chunks and a tab", te("transfer-encoding: chunked\t")),
        well_formed("an underscore's coding and a length", cl("transfer_encoding: chunked")),
        well_formed("an underscore's length and a length", cl("content_length: 0")),
        well_formed("a nominated length", cl("connection: content-length")),
        well_formed("nominated chunks", te("transfer-encoding: chunked\r\nconnection: transfer-encoding")),
        well_formed("a nominated host", cl("connection: host")),
        well_formed(
            "an upgrade to h2c",
            cl(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
            ),
        ),
        well_formed(
            "an upgrade to a websocket",
            cl(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            ),
        ),
        well_formed(
            "an upgrade with chunks",
            te(
                "transfer-encoding: chunked\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            ),
        ),
        well_formed("an expectation", cl("expect: 100-continue")),
        well_formed("an expectation with a word before", cl("expect: y 100-continue")),
        well_formed("an expectation of something else", cl("expect: x")),
        well_formed("an expectation and chunks", te("transfer-encoding: chunked\r\nexpect: 100-continue")),
        well_formed("a method in a header", cl("x-http-method-override: GET")),
        well_formed(
            "a trailer nominated",
            te("transfer-encoding: chunked\r\nte: trailers\r\ntrailer: content-length"),
        ),
        well_formed(
            "a chunk's size with noughts before it",
            ch(format!("000{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ),
        well_formed(
            "a chunk's size with many noughts before it",
            ch(format!("00000000000000000{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ),
        well_formed("a chunk's size in capitals", ch(format!("{length:X}\r\n{body}\r\n0\r\n\r\n"))),
        well_formed("a chunk's extension", ch(format!("{length:x};x=y\r\n{body}\r\n0\r\n\r\n"))),
        well_formed("a chunk's extension without a name", ch(format!("{length:x};\r\n{body}\r\n0\r\n\r\n"))),
        well_formed("a chunk's size before a space", ch(format!("{length:x} \r\n{body}\r\n0\r\n\r\n"))),
        well_formed("a chunk's size before a tab", ch(format!("{length:x}\t\r\n{body}\r\n0\r\n\r\n"))),
        well_formed("a last chunk of two noughts", ch(format!("{length:x}\r\n{body}\r\n00\r\n\r\n"))),
        well_formed("a last chunk's extension", ch(format!("{length:x}\r\n{body}\r\n0;x=y\r\n\r\n"))),
        well_formed("a trailer", ch(format!("{length:x}\r\n{body}\r\n0\r\nx: y\r\n\r\n"))),
        well_formed(
            "a trailer that is a length",
            ch(format!("{length:x}\r\n{body}\r\n0\r\ncontent-length: 5\r\n\r\n")),
        ),
    ]
}

/// The same request with bare line feeds for some or all of its lines' ends; it has a line `host: x`.
pub(crate) fn with_bare_line_feeds(request: &str) -> [String; 4] {
    [
        request.replace("\r\n", "\n"),
        request.replacen("\r\n", "\n", 1),
        request.replace("host: x\r\n", "host: x\nx-evil: 1\r\n"),
        request.replace("\r\n\r\n", "\n\n"),
    ]
}

/// Targets that look like others, for comparison: whether or not they are served, they mean what they say.
pub(crate) const ODD_TARGETS: &[&str] = &[
    "/v1beta/models/a;b",
    "/v1beta/models/..;/x",
    "/v1beta/models/;/../x",
    "/v1beta/models/%252e%252e/x",
    "/v1beta/models/a%252fb",
    "/v1beta/models/a%25",
    "/v1beta/%6dodels",
    "/v1%62eta/models",
    "/%761beta/models",
    "/v1beta/models/%e0%80%ae%e0%80%ae/x",
    "/v1beta/models/%c0%ae%c0%ae/x",
    "/v1beta/models/a%c0%afb",
    "/v1beta/models/%u002e%u002e/x",
    "/v1beta/models?/../x",
    "/v1beta/models?x=%2e%2e%2f%5c",
    "/v1beta/models?x?y",
    "/v1beta/models?",
    "/v1beta/models/a%23b",
    "/v1beta/models/a%3fb",
    "/v1beta/models/.a",
    "/v1beta/models/...",
    "/v1beta/models/a/..b",
    "/v1beta/models/a+b",
    "/v1beta/models/a%20b",
    "/v1beta/models/a/",
    "/v1beta/models/%2",
    "/v1beta/models/~a",
    "/v1beta/models/a\"b",
    "/v1beta/models/a<b>",
    "/v1beta/models/a|b",
    "/v1beta/models/a^b`{}",
    "/v1beta/models/http://elsewhere.test/",
    "/v1beta/models/a:b@c",
];

/// Whole requests whose first line, version or body could be read in two ways, each with a name; `credential` is a line of their
/// heads. Where there is a body it is a request itself.
pub(crate) fn odd_requests(credential: &str) -> Vec<(&'static str, String)> {
    let lines = format!("host: x\r\n{credential}\r\n");
    let models = "/v1beta/models/gemini-2.5-flash";
    let within = format!("GET {models}?smuggled=1 HTTP/1.1\r\n{lines}\r\n");
    let length = within.len();
    let get = |start: &str| format!("{start}\r\n{lines}\r\n");
    vec![
        ("an empty line before", get(&format!("\r\nGET {models} HTTP/1.1"))),
        ("empty lines before", get(&format!("\r\n\r\n\r\nGET {models} HTTP/1.1"))),
        ("a line feed before", get(&format!("\nGET {models} HTTP/1.1"))),
        ("a space before", get(&format!(" GET {models} HTTP/1.1"))),
        ("two spaces before the target", get(&format!("GET  {models} HTTP/1.1"))),
        ("two spaces behind the target", get(&format!("GET {models}  HTTP/1.1"))),
        ("a tab before the target", get(&format!("GET\t{models} HTTP/1.1"))),
        ("a space behind the version", get(&format!("GET {models} HTTP/1.1 "))),
        ("a method in small letters", get(&format!("get {models} HTTP/1.1"))),
        ("a method of its own", get(&format!("BREW {models} HTTP/1.1"))),
        ("a method with a separator", get(&format!("GE@T {models} HTTP/1.1"))),
        ("a method with a NUL", get(&format!("GE\0T {models} HTTP/1.1"))),
        ("TRACE", get(&format!("TRACE {models} HTTP/1.1"))),
        ("version 1.2", get(&format!("GET {models} HTTP/1.2"))),
        ("version 1.10", get(&format!("GET {models} HTTP/1.10"))),
        ("version 2.0", get(&format!("GET {models} HTTP/2.0"))),
        ("version 0.9", get(&format!("GET {models} HTTP/0.9"))),
        ("no version", get(&format!("GET {models}"))),
        ("a version in small letters", get(&format!("GET {models} http/1.1"))),
        ("a version of something else", get(&format!("GET {models} ICAP/1.0"))),
        ("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (
            "a GET with a length",
            format!("GET {models} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "a GET in chunks",
            format!(
                "GET {models} HTTP/1.1\r\n{lines}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{within}\r\n0\r\n\r\n"
            ),
        ),
        (
            "a DELETE with a length",
            format!("DELETE {models} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "an OPTIONS with a length",
            format!("OPTIONS {models} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "a POST with a request in it",
            format!("POST {PATH} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        ("a POST without a length", format!("POST {PATH} HTTP/1.1\r\n{lines}\r\n")),
        (
            "a refused POST with a request in it",
            format!("POST /nowhere HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "a refused POST with a request in chunks",
            format!(
                "POST /v1beta/a%2fb HTTP/1.1\r\n{lines}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{within}\r\n0\r\n\r\n"
            ),
        ),
        (
            "a stranger's POST with a request in it",
            format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{within}"),
        ),
        (
            "a POST with a request in it to the gateway's own",
            format!("POST /health HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "a GET with a request in it to the gateway's own",
            format!("GET /health HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n{within}"),
        ),
        (
            "version 1.0 in chunks",
            format!(
                "POST {PATH} HTTP/1.0\r\n{lines}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{within}\r\n0\r\n\r\n"
            ),
        ),
        (
            "version 1.0 kept open",
            format!(
                "POST {PATH} HTTP/1.0\r\n{lines}connection: keep-alive\r\ncontent-length: {length}\r\n\r\n{within}"
            ),
        ),
        ("a CONNECT with a request behind", format!("CONNECT {models} HTTP/1.1\r\n{lines}\r\n{within}")),
        (
            "a websocket's request with a request behind",
            format!(
                "GET {models} HTTP/1.1\r\n{lines}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        ),
        (
            "a Live session that is refused",
            format!(
                "GET /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent HTTP/1.1\r\n{lines}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 12\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        ),
    ]
}

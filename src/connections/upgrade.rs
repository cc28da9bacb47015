//! Upgrades that are offered and not served are passed over (RFC 9110 §7.8). actix-http decides by the request's
//! `Connection` alone how the answer is framed and whether the connection goes on, and by `Upgrade` how long the request's
//! body is; so the offer is made unreadable to it before it reads the head. What is not recognised here, such as a head
//! that comes in pieces, is answered with `Connection: close` by `http::around`.

/// Stands in the place of `upgrade`, as a header's name and in the list that names it: one of the same length that goes no
/// further either, and that nobody heeds.
const PASSED_OVER: &[u8; 7] = b"trailer";

/// Takes the offer out of the head at the start of `bytes`, without moving a byte. Sessions of the Live API are what is
/// served; a head that is not whole is left as it is.
pub(super) fn pass_over(bytes: &mut [u8]) {
    if begins_live_session(bytes) {
        return;
    }
    let Some((offers, end)) = offers(bytes) else { return };
    if !offers {
        return;
    }
    let mut at = 0;
    while at < end {
        let line_end = at + memchr::memchr(b'\n', &bytes[at..end]).map_or(end - at, |found| found + 1);
        let line = &mut bytes[at..line_end];
        at = line_end;
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = line.split_at_mut(colon);
        if name.eq_ignore_ascii_case(b"upgrade") {
            name.copy_from_slice(PASSED_OVER);
        } else if name.eq_ignore_ascii_case(b"connection") {
            for option in value[1..].split_mut(|byte| *byte == b',') {
                let Some(start) = option.iter().position(|byte| !byte.is_ascii_whitespace()) else {
                    continue;
                };
                let length = option[start..].trim_ascii_end().len();
                let option = &mut option[start..start + length];
                if option.eq_ignore_ascii_case(b"upgrade") {
                    option.copy_from_slice(PASSED_OVER);
                }
            }
        }
    }
}

/// Whether the request is one that may become a session. What it is not after all is answered as any other.
fn begins_live_session(bytes: &[u8]) -> bool {
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    line.starts_with(b"GET ") && memchr::memmem::find(line, b"/ws/").is_some()
}

/// Whether a whole head says `Upgrade` or names it in `Connection`, and where it ends. `None` where it is not whole.
fn offers(bytes: &[u8]) -> Option<(bool, usize)> {
    let mut offers = false;
    let mut at = 0;
    for line_end in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[at..line_end];
        match line {
            [] | [b'\r'] if at > 0 => return Some((offers, line_end + 1)),
            [b'u' | b'U', ..] => offers |= line.len() > 7 && line[..7].eq_ignore_ascii_case(b"upgrade"),
            [b'c' | b'C', ..] if !offers => {
                offers = line.len() > 10
                    && line[..10].eq_ignore_ascii_case(b"connection")
                    && line.windows(7).any(|seven| seven.eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
        at = line_end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_over(head: &str) -> String {
        let mut bytes = head.as_bytes().to_vec();
        pass_over(&mut bytes);
        assert_eq!(bytes.len(), head.len());
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_offer_is_unreadable_afterwards_whatever_it_is_of() {
        for (offer, left) in [
            ("Connection: Upgrade\r\nUpgrade: h2c", "Connection: trailer\r\ntrailer: h2c"),
            ("connection:upgrade\r\nupgrade:TLS/1.3", "connection:trailer\r\ntrailer:TLS/1.3"),
            (
                "Connection: keep-alive, UPGRADE ,HTTP2-Settings\r\nUPGRADE: foo/2, websocket",
                "Connection: keep-alive, trailer ,HTTP2-Settings\r\ntrailer: foo/2, websocket",
            ),
            ("Upgrade: websocket", "trailer: websocket"),
            ("Connection: upgrade", "Connection: trailer"),
            ("Connection: close\r\nConnection: upgrade", "Connection: close\r\nConnection: trailer"),
            ("Connection: ,, upgrade,", "Connection: ,, trailer,"),
        ] {
            for end in ["\r\n\r\n", "\r\n\r\n{\"Connection: upgrade\nUpgrade: x\"}"] {
                let head = |offer: &str| format!("POST /v1beta/models HTTP/1.1\r\nHost: x\r\n{offer}{end}");
                assert_eq!(passed_over(&head(offer)), head(left));
            }
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for head in [
            "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade-Insecure-Requests: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nX-Upgrade: 1\r\nConnection: upgraded, no-upgrade\r\n\r\n",
            "GET /ws/google.ai.x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\n\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
            "\r\n",
            "",
        ] {
            assert_eq!(passed_over(head), head);
        }
    }
}

//! Which bytes a path and a query may hold: what a later reader of the URL could take for another path, host or
//! header is refused at the door.

use super::PathError;

/// Refuses a path that could be read in two ways.
pub(super) fn path(raw: &str) -> Result<(), PathError> {
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let bytes = raw.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'%' => match escaped(&bytes[at..]).ok_or(PathError::MalformedEscape)? {
                b'/' => return Err(PathError::EncodedSlash),
                b'\\' => return Err(PathError::Backslash),
                decoded if decoded.is_ascii_control() => return Err(PathError::ControlCharacter),
                _ => {}
            },
            b'\\' => return Err(PathError::Backslash),
            b'?' | b'"' | b'<' | b'>' | b'`' => return Err(PathError::UnencodedByte(byte)),
            _ => plain(byte)?,
        }
    }
    if bytes.split(|byte| *byte == b'/').any(is_dots) { Err(PathError::DotSegment) } else { Ok(()) }
}

/// Refuses a query that could end early or start a header. A malformed escape is left to Google, as is all else.
pub(super) fn query(raw: &str) -> Result<(), PathError> {
    let bytes = raw.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        plain(byte)?;
        if byte == b'%' && escaped(&bytes[at..]).is_some_and(|decoded| decoded.is_ascii_control()) {
            return Err(PathError::ControlCharacter);
        }
    }
    Ok(())
}

fn plain(byte: u8) -> Result<(), PathError> {
    match byte {
        0..=0x1f | 0x7f => Err(PathError::ControlCharacter),
        b' ' | b'#' | 0x80.. => Err(PathError::UnencodedByte(byte)),
        _ => Ok(()),
    }
}

/// The byte that the escape at the start of `bytes` stands for.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

/// Whether a segment is `.` or `..`, with either dot encoded.
fn is_dots(segment: &[u8]) -> bool {
    // `%2e%2e` is the longest of them.
    if segment.is_empty() || segment.len() > 6 {
        return false;
    }
    let mut rest = segment;
    for _ in 0..2 {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return false,
        };
        if rest.is_empty() {
            return true;
        }
    }
    false
}

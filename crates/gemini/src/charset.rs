//! The characters of a JSON body, where they are not plain UTF-8: a mark at its beginning, or UTF-16, which older systems
//! write. For a look inside only: bodies are passed on as they came.

use std::borrow::Cow;

/// The text of a body as UTF-8 without a mark. What cannot be told stays as it is.
pub fn as_utf8(body: &[u8]) -> Cow<'_, [u8]> {
    match *body {
        [0xef, 0xbb, 0xbf, ref text @ ..] => Cow::Borrowed(text),
        [0xff, 0xfe, ref text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, ref text @ ..] => utf16(text, u16::from_be_bytes),
        // JSON begins with two characters of ASCII, so the zeros show what is meant (RFC 4627 §3).
        [1..=u8::MAX, 0, 1..=u8::MAX, 0, ..] => utf16(body, u16::from_le_bytes),
        [0, 1..=u8::MAX, 0, 1..=u8::MAX, ..] => utf16(body, u16::from_be_bytes),
        _ => Cow::Borrowed(body),
    }
}

fn utf16(text: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'_, [u8]> {
    let units = text.as_chunks::<2>().0.iter().map(|bytes| unit(*bytes));
    let text: String =
        char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "{\"model\":\"gemini-x\",\"text\":\"\u{fc}\u{1f600}\"}";

    #[test]
    fn a_mark_is_left_out_and_utf_16_is_read() {
        let units = |mark: &str| format!("{mark}{JSON}").encode_utf16().collect::<Vec<_>>();
        for mark in ["", "\u{feff}"] {
            let little: Vec<u8> = units(mark).iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big: Vec<u8> = units(mark).iter().flat_map(|unit| unit.to_be_bytes()).collect();
            for body in [little, big, format!("{mark}{JSON}").into_bytes()] {
                assert_eq!(as_utf8(&body), JSON.as_bytes(), "{body:?}");
            }
        }
    }

    #[test]
    fn plain_bodies_are_not_copied() {
        for body in [&b""[..], b"{", b"{}", JSON.as_bytes(), b"\0\0\0\0", b"\x1f\x8b\x08\0\0", b"--boundary"]
        {
            assert!(matches!(as_utf8(body), Cow::Borrowed(same) if same == body));
        }
        let cut = as_utf8(&[0xff, 0xfe, b'{', 0, 0x3d, 0xd8, 7]);
        assert_eq!(cut, "{\u{fffd}".as_bytes());
    }
}

//! How many input tokens a request may cost, guessed from its size before it is sent, to hold against a limit of tokens a
//! minute. What it did cost is in the answer (`usage`). Called by whoever keeps account of such a limit.

use memchr::memmem::{self, Finder};
use std::sync::LazyLock;

/// Bytes of text a token: Google says "about 4 characters".
const TEXT_BYTES: u64 = 4;

/// What a piece of media is taken to cost at least. A picture costs 258 tokens a tile of 768 x 768 pixels, one of 2000 x 1500
/// therefore six times that.
const MEDIA_FLOOR: u64 = 6 * 258;

/// Bytes of base64 a token of media, beyond its floor. Video costs 263 tokens a second and audio 32, which at 1 Mbit/s
/// and at 128 kbit/s is 630 bytes of base64 a token; most are coded more densely.
const MEDIA_BYTES: u64 = 256;

/// A shorter `data` is counted as the text that it costs no less than.
const MEDIA_LEAST_BYTES: usize = 1024;

static DATA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"data"));

/// A guess that is rather too high than too low: a quarter of what is not media (the JSON around the text makes up for
/// digits and code, which take more tokens a byte), and for each piece of inline media a large picture's cost and more
/// with its size. A file that is only named (`fileData`, `cachedContent`) is not in the body and counts as its name.
/// At least 1.
pub fn estimate_input_tokens(body_len: u64, media: InlineMedia) -> u64 {
    let text = body_len.saturating_sub(media.bytes).div_ceil(TEXT_BYTES);
    let media = media.pieces.saturating_mul(MEDIA_FLOOR).saturating_add(media.bytes / MEDIA_BYTES);
    text.saturating_add(media).max(1)
}

/// The base64 in a request body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InlineMedia {
    /// How many pieces.
    pub pieces: u64,
    /// Their size as they stand in the body, in bytes of base64.
    pub bytes: u64,
}

impl InlineMedia {
    /// Finds `inlineData.data`, OpenAI's `input_audio.data` and its `data:...;base64,` URLs. One pass at the speed of
    /// `memchr` outside of media and of a table inside; nothing is parsed, so a body that is no JSON may be misread.
    pub fn find(body: &[u8]) -> Self {
        let mut media = Self::default();
        if body.len() < MEDIA_LEAST_BYTES {
            return media;
        }
        // A quote inside a text is escaped, so both begin with a real one.
        for at in DATA.find_iter(body) {
            let rest = &body[at + DATA.needle().len()..];
            let base64 =
                if at > 0 && body[at - 1] == b'\\' { None } else { value(rest).or_else(|| url(rest)) };
            let len = base64.map_or(0, base64_len);
            if len >= MEDIA_LEAST_BYTES {
                media.pieces += 1;
                media.bytes += len as u64;
            }
        }
        media
    }
}

/// What follows `"data` where that is a key: the value's text on.
fn value(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(b"\"")?.trim_ascii_start();
    rest.strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")
}

/// What follows `"data` where that begins a URL: the base64 on.
fn url(rest: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b";base64,";
    let head = rest.strip_prefix(b":")?;
    let head = &head[..head.len().min(128)];
    let mark = memmem::find(head, MARK)?;
    (!head[..mark].contains(&b'"')).then(|| &rest[1 + mark + MARK.len()..])
}

/// The length of the string that begins here, if it is base64 to its end. Some clients escape the slash.
fn base64_len(text: &[u8]) -> usize {
    let len = text.iter().take_while(|&&byte| BASE64[usize::from(byte)]).count();
    if text.get(len) == Some(&b'"') { len } else { 0 }
}

/// Both alphabets, padding, and the backslash.
const BASE64: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(body: &str) -> u64 {
        estimate_input_tokens(body.len() as u64, InlineMedia::find(body.as_bytes()))
    }

    fn found(body: &str) -> (u64, u64) {
        let media = InlineMedia::find(body.as_bytes());
        (media.pieces, media.bytes)
    }

    #[test]
    fn text_costs_a_token_each_four_bytes_and_never_nothing() {
        for (len, tokens) in [(0, 1), (1, 1), (4, 1), (5, 2), (4_000, 1_000)] {
            assert_eq!(estimate_input_tokens(len, InlineMedia::default()), tokens, "{len}");
        }
        let body = format!(r#"{{"contents":[{{"parts":[{{"text":"{}"}}]}}]}}"#, "word ".repeat(1_000));
        assert_eq!(estimate(&body), (body.len() as u64).div_ceil(4));
    }

    #[test]
    fn media_is_found_wherever_the_api_takes_it_inline() {
        let base64 = format!("{}+/-_==", "A".repeat(2_000));
        for body in [
            format!(r#"{{"inlineData":{{"mimeType":"image/png","data":"{base64}"}}}}"#),
            format!("{{\"inline_data\": {{\n\"data\" :\t\"{base64}\" }}}}"),
            format!(r#"{{"input_audio":{{"data":"{base64}","format":"wav"}}}}"#),
            format!(r#"{{"image_url":{{"url":"data:image/png;base64,{base64}"}}}}"#),
            format!(r#"{{"image_url":"data:;base64,{base64}"}}"#),
        ] {
            assert_eq!(found(&body), (1, 2_006), "{}", &body[..60]);
            let two = format!("[{body},{body}]");
            assert_eq!(found(&two), (2, 4_012));
            let around = two.len() as u64 - 4_012;
            assert_eq!(estimate(&two), around.div_ceil(4) + 2 * 6 * 258 + 4_012 / 256);
        }
        let escaped = base64.replace('/', "\\/");
        assert_eq!(found(&format!(r#"{{"data":"{escaped}"}}"#)), (1, 2_007));
    }

    #[test]
    fn what_is_no_media_is_text() {
        let long = "A".repeat(2_000);
        for body in [
            format!(r#"{{"data":"{long} and words"}}"#),
            format!(r#"{{"text":"\"data\":\"{long}\""}}"#),
            format!(r#"{{"text":"\"data:image/png;base64,{long}\""}}"#),
            format!(r#"{{"text":"see data:image/png;base64,{long}"}}"#),
            format!(r#"{{"text":"{long}","data":"AAAA"}}"#),
            format!(r#"{{"data":["{long}"]}}"#),
            format!(r#"{{"data":"{long}"#),
            format!(r#"{{"database":"{long}"}}"#),
            format!(r#"{{"url":"data:text/plain","x":";base64,{long}"}}"#),
        ] {
            assert_eq!(found(&body), (0, 0), "{}", &body[..50]);
        }
    }

    #[test]
    fn a_large_picture_is_not_counted_as_text() {
        let picture = format!(r#"{{"data":"{}"}}"#, "A".repeat(1_400_000));
        let tokens = estimate(&picture);
        assert!((1_500..10_000).contains(&tokens), "{tokens}");
    }

    #[test]
    fn no_size_overflows() {
        let endless = InlineMedia { pieces: u64::MAX, bytes: u64::MAX };
        assert_eq!(estimate_input_tokens(u64::MAX, endless), u64::MAX);
        assert_eq!(estimate_input_tokens(0, InlineMedia { pieces: 0, bytes: 100 }), 1);
    }
}

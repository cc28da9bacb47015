//! A look into request bodies that are compressed, or not in plain UTF-8: the pool learns of their model, tools and names
//! what it learns of others. What goes up are the bytes as they came.

use super::body::{BodyBudget, Reserved};
use actix_web::http::header::{self, HeaderMap};
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use gemini::charset::as_utf8;
use std::{
    borrow::Cow,
    io::{self, Read},
};

/// How a body may grow where it is looked into, at most: JSON grows tenfold, repeated text a hundredfold.
const MAX_RATIO: usize = 200;
/// So much is looked at in any case.
const ALWAYS_BYTES: usize = 4 * 1024 * 1024;
/// From here on the work is done on a thread that others do not wait for.
const LARGE_BYTES: usize = 64 * 1024;
/// More codings on top of each other are nobody's.
const MAX_LAYERS: usize = 3;

/// A coding of HTTP's that is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// A body in the clear, and the memory that it takes.
pub(super) struct Clear {
    pub(super) bytes: Bytes,
    pub(super) reserved: Option<Reserved>,
}

/// Whether a body is in the clear as it is, as nearly all are.
pub(super) fn is_clear(headers: &HeaderMap, body: &[u8]) -> bool {
    !headers.contains_key(header::CONTENT_ENCODING)
        && body.first().is_none_or(u8::is_ascii_graphic)
        && body.get(1) != Some(&0)
}

/// The body in the clear, unless it is so already or cannot be looked into. `limit` is the longest that is looked at.
pub(super) async fn clear(
    headers: &HeaderMap,
    body: &Bytes,
    limit: usize,
    budget: &BodyBudget,
) -> Option<Clear> {
    let codings = codings(headers)?;
    if codings.is_empty() {
        return in_utf8(body).map(|bytes| Clear { bytes, reserved: None });
    }
    let most = limit.min(body.len().saturating_mul(MAX_RATIO).max(ALWAYS_BYTES));
    let work = {
        let (body, reserved) = (body.clone(), budget.reserve());
        move || decoded(&body, &codings, most, reserved)
    };
    let (bytes, reserved) =
        if body.len() < LARGE_BYTES { work() } else { tokio::task::spawn_blocking(work).await.ok()? }?;
    Some(Clear { bytes: in_utf8(&bytes).unwrap_or(bytes), reserved: Some(reserved) })
}

/// The text where it is not plain UTF-8.
fn in_utf8(body: &Bytes) -> Option<Bytes> {
    match as_utf8(body) {
        Cow::Borrowed(text) if text.len() == body.len() => None,
        Cow::Borrowed(text) => Some(body.slice_ref(text)),
        Cow::Owned(text) => Some(text.into()),
    }
}

/// The codings in the order in which they were applied; `None` where one is not known.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().ok()?.split(',').map(str::trim) {
            let coding = match () {
                () if name.is_empty() || name.eq_ignore_ascii_case("identity") => continue,
                () if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => {
                    Coding::Gzip
                }
                () if name.eq_ignore_ascii_case("deflate") => Coding::Deflate,
                () if name.eq_ignore_ascii_case("br") => Coding::Brotli,
                () if name.eq_ignore_ascii_case("zstd") => Coding::Zstd,
                () => return None,
            };
            codings.push(coding);
        }
    }
    (codings.len() <= MAX_LAYERS).then_some(codings)
}

fn decoded(
    body: &[u8],
    codings: &[Coding],
    most: usize,
    mut reserved: Reserved,
) -> Option<(Bytes, Reserved)> {
    let mut reader: Box<dyn Read + '_> = Box::new(body);
    for coding in codings.iter().rev() {
        reader = coding.reader(reader).ok()?;
    }
    let mut clear = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Some((clear.into(), reserved)),
            Ok(read) if clear.len() + read <= most => {
                if clear.capacity() - clear.len() < read {
                    let more = read.max(clear.capacity());
                    reserved.grow(more).ok()?;
                    clear.reserve_exact(more);
                }
                clear.extend_from_slice(&piece[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Too much, or broken: what it says is then for Google to refuse.
            Ok(_) | Err(_) => return None,
        }
    }
}

impl Coding {
    fn reader<'a>(self, coded: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(coded)),
            Self::Deflate => deflate(coded)?,
            Self::Brotli => Box::new(brotli_decompressor::Decompressor::new(coded, 4096)),
            Self::Zstd => Box::new(ruzstd::decoding::StreamingDecoder::new(coded).map_err(io::Error::other)?),
        })
    }
}

/// Zlib's format, as HTTP has it, or without its head, as some send it.
fn deflate<'a>(mut coded: Box<dyn Read + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = [0; 2];
    coded.read_exact(&mut head)?;
    let is_zlib = head[0] & 0x0f == 8 && u16::from_be_bytes(head) % 31 == 0;
    let coded = io::Cursor::new(head).chain(coded);
    Ok(if is_zlib { Box::new(ZlibDecoder::new(coded)) } else { Box::new(DeflateDecoder::new(coded)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use std::io::Write;

    const TEXT: &[u8] = b"{\"model\":\"gemini-x\",\"stream\":true}";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn raw_deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    /// `TEXT` as brotli's reference encoder writes it, as one block that is not compressed.
    fn brotli(text: &[u8]) -> Vec<u8> {
        // WBITS 16; a metablock that is not the last, of 2-byte length, uncompressed; then the empty last one.
        let length = u32::try_from(text.len() - 1).unwrap();
        let bits = (length << 4) | (1 << 20);
        let mut coded = bits.to_le_bytes()[..3].to_vec();
        coded.extend_from_slice(text);
        coded.push(0x03);
        coded
    }

    async fn looked_into(coding: &'static str, body: Vec<u8>) -> Option<Bytes> {
        let mut headers = HeaderMap::new();
        for coding in coding.split(';').filter(|coding| !coding.is_empty()) {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let body = Bytes::from(body);
        let budget = BodyBudget::new(64 << 20);
        clear(&headers, &body, 16 << 20, &budget).await.map(|clear| clear.bytes)
    }

    #[actix_web::test]
    async fn every_coding_is_looked_through() {
        for (coding, body) in [
            ("gzip", gzip(TEXT)),
            ("X-GZip", gzip(TEXT)),
            ("deflate", zlib(TEXT)),
            ("deflate", raw_deflate(TEXT)),
            ("br", brotli(TEXT)),
            ("zstd", zstd(TEXT)),
            ("identity, gzip", gzip(TEXT)),
            ("deflate, gzip", gzip(&zlib(TEXT))),
            ("zstd;gzip", gzip(&zstd(TEXT))),
            ("gzip", [gzip(&TEXT[..10]), gzip(&TEXT[10..])].concat()),
            ("gzip", gzip(&[b"\xef\xbb\xbf", TEXT].concat())),
            ("", [b"\xef\xbb\xbf", TEXT].concat()),
        ] {
            let clear = looked_into(coding, body).await;
            assert_eq!(clear.as_deref(), Some(TEXT), "{coding}");
        }
    }

    #[actix_web::test]
    async fn what_cannot_be_looked_into_is_left_alone() {
        for (coding, body) in [
            ("", TEXT.to_vec()),
            ("identity", TEXT.to_vec()),
            ("compress", gzip(TEXT)),
            ("gzip", TEXT.to_vec()),
            ("gzip", gzip(TEXT)[..20].to_vec()),
            ("zstd", gzip(TEXT)),
            ("gzip, gzip, gzip, gzip", gzip(&gzip(&gzip(&gzip(TEXT))))),
            // Twelve megabytes out of twelve kilobytes, and more than may be held.
            ("gzip", gzip(&vec![b' '; 12 << 20])),
            ("gzip", gzip(&vec![b' '; 17 << 20])),
        ] {
            assert_eq!(looked_into(coding, body).await, None, "{coding}");
        }
    }

    #[actix_web::test]
    async fn repeated_text_is_looked_into_and_its_memory_counted() {
        let long = [&b"{\"text\":\""[..], &b"word ".repeat(400_000), b"\"}"].concat();
        assert_eq!(looked_into("gzip", gzip(&long)).await.as_deref(), Some(&long[..]));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let body = Bytes::from(gzip(&long));
        assert!(clear(&headers, &body, 16 << 20, &BodyBudget::new(1 << 20)).await.is_none());
    }

    #[test]
    fn a_plain_body_costs_a_glance() {
        let mut headers = HeaderMap::new();
        for body in [&b""[..], b"{", TEXT, b"[1]", b"--boundary"] {
            assert!(is_clear(&headers, body));
        }
        for body in [&b"\xef\xbb\xbf{"[..], b"\xff\xfe{\0", b"{\0}\0", b"\0{"] {
            assert!(!is_clear(&headers, body));
        }
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(!is_clear(&headers, b"{}"));
    }
}

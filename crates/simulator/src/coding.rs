//! Content codings, both ways: which one a client takes, answers as they are compressed, requests as they are read.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use serde::{Deserialize, Serialize};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// What Google answers with.
    Gzip,
    /// The zlib format, as RFC 9110 has it.
    Deflate,
}

impl Coding {
    /// Its name in headers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The first of those offered that the client takes.
    pub(crate) fn agreed(offered: &[Self], headers: &HeaderMap) -> Option<Self> {
        offered.iter().copied().find(|coding| takes(headers, coding.name()))
    }

    /// The whole of a body at once.
    pub(crate) fn whole(self, body: &[u8]) -> Bytes {
        let mut encoder = Encoder::new(self);
        let mut coded = Vec::from(encoder.write(body));
        coded.extend_from_slice(&encoder.finish());
        coded.into()
    }
}

/// Whether `accept-encoding` allows this coding.
fn takes(headers: &HeaderMap, wanted: &str) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    })
}

/// Compresses a body piece by piece, each so that it can be read at once.
pub(crate) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    pub(crate) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    // Writing to memory cannot fail.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Bytes {
        let coded = match self {
            Self::Gzip(encoder) => {
                let _ = encoder.write_all(bytes).and_then(|()| encoder.flush());
                std::mem::take(encoder.get_mut())
            }
            Self::Deflate(encoder) => {
                let _ = encoder.write_all(bytes).and_then(|()| encoder.flush());
                std::mem::take(encoder.get_mut())
            }
        };
        coded.into()
    }

    /// What ends the body.
    pub(crate) fn finish(self) -> Bytes {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
        }
        .unwrap_or_default()
        .into()
    }
}

/// A request's body as it reads: Google takes gzip; deflate is taken as well, another coding is left as it is.
///
/// # Errors
/// When it cannot be read, or is larger than `limit` inside.
pub(crate) fn plain(headers: &HeaderMap, body: &Bytes, limit: usize) -> io::Result<Bytes> {
    let coding = headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok()).map(str::trim);
    let most = limit as u64 + 1;
    let mut plain = Vec::new();
    match coding {
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => {
            MultiGzDecoder::new(&body[..]).take(most).read_to_end(&mut plain)?;
        }
        Some(coding) if coding.eq_ignore_ascii_case("deflate") => {
            ZlibDecoder::new(&body[..]).take(most).read_to_end(&mut plain)?;
        }
        _ => return Ok(body.clone()),
    }
    if plain.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    #[test]
    fn the_first_coding_offered_that_the_client_takes_is_agreed() {
        let both = [Coding::Gzip, Coding::Deflate];
        for (value, agreed) in [
            ("deflate, gzip", Some(Coding::Gzip)),
            ("br, GZIP;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("identity", None),
            ("br;q=1.0, gzip; q=0.000", None),
        ] {
            assert_eq!(Coding::agreed(&both, &headers(ACCEPT_ENCODING, value)), agreed, "{value}");
        }
        assert_eq!(Coding::agreed(&both, &HeaderMap::new()), None);
        assert_eq!(Coding::agreed(&[Coding::Deflate], &headers(ACCEPT_ENCODING, "gzip")), None);
    }

    #[test]
    fn what_is_coded_can_be_read_up_to_the_limit() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let headers = headers(CONTENT_ENCODING, coding.name());
            let coded = coding.whole(&[b'x'; 1000]);
            assert!(coded.len() < 100);
            assert_eq!(plain(&headers, &coded, 1000).unwrap(), vec![b'x'; 1000]);
            assert_eq!(plain(&headers, &coded, 999).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            assert!(plain(&headers, &coded.slice(..coded.len() / 2), 1000).is_err(), "cut short");
            assert!(plain(&headers, &Bytes::from_static(b"{}"), 1000).is_err(), "not coded");
        }
        let body = Bytes::from_static(b"as it is");
        assert_eq!(plain(&headers(CONTENT_ENCODING, "br"), &body, 3).unwrap(), body);
        assert_eq!(plain(&HeaderMap::new(), &body, 3).unwrap(), body);
    }
}

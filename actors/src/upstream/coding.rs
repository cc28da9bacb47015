//! How the body of an upstream answer is coded, and a look at it in the clear.

use http::HeaderMap;

/// How an answer's body is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Other,
}

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(http::header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
            None | Some(b"identity" | b"") => Self::Identity,
            Some(b"gzip" | b"x-gzip") => Self::Gzip,
            Some(_) => Self::Other,
        }
    }
}

/// A body in the clear, as far as it has come and at most `max` bytes of it; `None` for what cannot be understood.
pub(crate) fn decoded(coding: Coding, body: &[u8], max: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    match coding {
        Coding::Identity => Some(body[..body.len().min(max)].to_vec()),
        Coding::Gzip => {
            let mut clear = Vec::new();
            let limit = u64::try_from(max).unwrap_or(u64::MAX);
            let whole = flate2::read::MultiGzDecoder::new(body).take(limit).read_to_end(&mut clear).is_ok();
            // What has not all come yet is seen as far as it goes.
            (whole || !clear.is_empty()).then_some(clear)
        }
        Coding::Other => None,
    }
}

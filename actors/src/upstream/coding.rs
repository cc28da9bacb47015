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
        let lines = headers.get_all(http::header::CONTENT_ENCODING).into_iter();
        let named = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let mut codings = named
            .map(<[u8]>::trim_ascii)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
        match (codings.next(), codings.next()) {
            (None, _) => Self::Identity,
            (Some(coding), None)
                if [&b"gzip"[..], b"x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name)) =>
            {
                Self::Gzip
            }
            (Some(_), _) => Self::Other,
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header::CONTENT_ENCODING};

    #[test]
    fn a_coding_is_known_however_it_is_written() {
        for (lines, expected) in [
            (&[][..], Coding::Identity),
            (&["identity"], Coding::Identity),
            (&["", "Identity, "], Coding::Identity),
            (&["gzip"], Coding::Gzip),
            (&["GZIP"], Coding::Gzip),
            (&["x-gzip"], Coding::Gzip),
            (&["gzip, identity"], Coding::Gzip),
            (&["identity", "gzip"], Coding::Gzip),
            (&["gzip, gzip"], Coding::Other),
            (&["gzip", "br"], Coding::Other),
            (&["deflate"], Coding::Other),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            assert_eq!(Coding::of(&headers), expected, "{lines:?}");
        }
    }
}

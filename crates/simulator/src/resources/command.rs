//! What a request to an upload session asks for, in the present form and in the legacy one.

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use crate::error::ApiError;

/// What is asked of a session.
pub(super) enum Command {
    Query,
    Cancel,
    /// `offset` is none where there are no bytes, only the end; `aligned` if its size must be a multiple of the granularity.
    Chunk {
        offset: Option<u64>,
        finalize: bool,
        aligned: bool,
    },
}

impl Command {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let Some(command) = header("x-goog-upload-command") else {
            return legacy(header(CONTENT_RANGE.as_str()));
        };
        let words: Vec<&str> = command.split(',').map(str::trim).collect();
        match words[..] {
            ["query"] => Ok(Self::Query),
            ["cancel"] => Ok(Self::Cancel),
            ["finalize"] => Ok(Self::Chunk { offset: None, finalize: true, aligned: true }),
            ["upload"] | ["upload", "finalize"] => {
                let offset = header("x-goog-upload-offset").and_then(|text| text.parse().ok());
                let offset = offset.ok_or_else(|| ApiError::new(400, "Invalid or missing upload offset."))?;
                Ok(Self::Chunk { offset: Some(offset), finalize: words.len() == 2, aligned: true })
            }
            _ => Err(ApiError::new(400, "Invalid upload command.")),
        }
    }
}

/// `Content-Range` of the legacy form: `bytes 0-9/20`, `bytes 0-9/*`, or `bytes */20`, which asks.
fn legacy(range: Option<&str>) -> Result<Command, ApiError> {
    let Some(range) = range else {
        return Ok(Command::Chunk { offset: Some(0), finalize: true, aligned: false });
    };
    let parsed = || {
        let (span, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
        if span == "*" {
            return Some(Command::Query);
        }
        let (first, last) = span.split_once('-')?;
        let last: u64 = last.parse().ok()?;
        let finalize = total.parse() == Ok(last + 1);
        Some(Command::Chunk { offset: Some(first.parse().ok()?), finalize, aligned: false })
    };
    parsed().ok_or_else(|| ApiError::new(400, "Invalid Content-Range."))
}

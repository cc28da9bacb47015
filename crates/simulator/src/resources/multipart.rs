//! `multipart/related` and `multipart/form-data` as they come in: a JSON part about the file, and the file, which is passed
//! on and never held.

use memchr::memmem;

use crate::error::ApiError;

/// The JSON part and the headers of a part may be so long.
const LIMIT: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartState {
    /// Before the first part.
    Preamble,
    Delimiter,
    Headers,
    Metadata,
    Data,
    /// A part after the file.
    Skipped,
    Done,
}

/// A body being taken apart.
pub(super) struct Multipart {
    delimiter: Vec<u8>,
    buffer: Vec<u8>,
    state: PartState,
    pub(super) metadata: Option<Vec<u8>>,
    /// The type of the file, once its part has begun.
    pub(super) data_type: Option<String>,
    data_begun: bool,
}

fn malformed(what: &str) -> ApiError {
    ApiError::new(400, format!("Malformed multipart body: {what}."))
}

impl Multipart {
    /// `content_type` of the request, which names the boundary.
    pub(super) fn new(content_type: &str) -> Result<Self, ApiError> {
        let parameters = content_type.split(';').skip(1).map(str::trim);
        let boundary = parameters
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
            .map(|(_, value)| value.trim_matches('"'));
        let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) else {
            return Err(malformed("no boundary"));
        };
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first delimiter has no line before it.
            buffer: b"\r\n".to_vec(),
            state: PartState::Preamble,
            metadata: None,
            data_type: None,
            data_begun: false,
        })
    }

    /// Takes in the next piece of the body and passes on what of it belongs to the file.
    pub(super) fn push(&mut self, bytes: &[u8], mut file: impl FnMut(&[u8])) -> Result<(), ApiError> {
        if self.state == PartState::Done {
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        loop {
            match self.state {
                PartState::Preamble | PartState::Metadata | PartState::Data | PartState::Skipped => {
                    let found = memmem::find(&self.buffer, &self.delimiter);
                    // The end may be the beginning of a delimiter.
                    let free = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                    let end = found.unwrap_or(free);
                    match (&mut self.metadata, self.state) {
                        (_, PartState::Data) => file(&self.buffer[..end]),
                        (Some(metadata), PartState::Metadata) => {
                            metadata.extend_from_slice(&self.buffer[..end]);
                            if metadata.len() > LIMIT {
                                return Err(malformed("the metadata is too long"));
                            }
                        }
                        _ => {}
                    }
                    if found.is_none() {
                        self.buffer.drain(..end);
                        return Ok(());
                    }
                    self.buffer.drain(..end + self.delimiter.len());
                    self.state = PartState::Delimiter;
                }
                PartState::Delimiter => match self.buffer.get(..2) {
                    None => return Ok(()),
                    Some(b"--") => {
                        self.state = PartState::Done;
                        self.buffer.clear();
                        return Ok(());
                    }
                    // Kept: headers may be missing, and then this is the empty line.
                    Some(b"\r\n") => self.state = PartState::Headers,
                    Some(_) => return Err(malformed("a boundary goes on")),
                },
                PartState::Headers => {
                    let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else {
                        if self.buffer.len() > LIMIT {
                            return Err(malformed("the headers of a part are too long"));
                        }
                        return Ok(());
                    };
                    let headers = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                    self.buffer.drain(..end + 4);
                    self.state = self.part(&headers);
                }
                PartState::Done => return Ok(()),
            }
        }
    }

    /// What the part with these headers is.
    fn part(&mut self, headers: &str) -> PartState {
        let header = |name: &str| {
            headers.lines().find_map(|line| {
                let (n, value) = line.split_once(':')?;
                n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let content_type = header("content-type");
        let json = content_type.is_none_or(|kind| kind.starts_with("application/json"));
        let named = header("content-disposition").is_some_and(|form| form.contains("filename="));
        if json && !named && self.metadata.is_none() && !self.data_begun {
            self.metadata = Some(Vec::new());
            return PartState::Metadata;
        }
        if std::mem::replace(&mut self.data_begun, true) {
            return PartState::Skipped;
        }
        self.data_type = content_type.map(str::to_owned);
        PartState::Data
    }

    /// The body is over.
    pub(super) fn finish(&self) -> Result<(), ApiError> {
        match self.state {
            PartState::Done if self.data_begun => Ok(()),
            PartState::Done => Err(malformed("no file")),
            _ => Err(malformed("it ends too early")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_found_however_the_body_is_cut() {
        let file = b"\r\n--x\r\n--\r\n--boundar binary";
        let body = [
            &b"--boundary\r\nContent-Type: application/json\r\n\r\n{\"file\":{}}\r\n--boundary\r\nContent-Type: text/plain\r\n\r\n"[..],
            file,
            b"\r\n--boundary--\r\n",
        ]
        .concat();
        for size in 1..body.len() {
            let mut multipart = Multipart::new("multipart/related; boundary=\"boundary\"").unwrap();
            let mut got = Vec::new();
            for piece in body.chunks(size) {
                multipart.push(piece, |bytes| got.extend_from_slice(bytes)).unwrap();
            }
            multipart.finish().unwrap();
            assert_eq!(got, file, "pieces of {size}");
            assert_eq!(multipart.metadata.as_deref(), Some(&b"{\"file\":{}}"[..]));
            assert_eq!(multipart.data_type.as_deref(), Some("text/plain"));
        }
    }

    #[test]
    fn a_cut_off_body_is_not_a_file() {
        let mut multipart = Multipart::new("multipart/form-data; boundary=b").unwrap();
        let part = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n{}";
        let mut got = Vec::new();
        multipart.push(part, |bytes| got.extend_from_slice(bytes)).unwrap();
        assert!(multipart.finish().is_err());
        multipart.push(b"\r\n--b--", |bytes| got.extend_from_slice(bytes)).unwrap();
        multipart.finish().unwrap();
        assert_eq!(got, b"{}", "a JSON file is a file");
        assert!(Multipart::new("multipart/related").is_err());
    }
}

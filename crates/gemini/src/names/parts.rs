//! The fields of a `multipart/form-data` body, in which OpenAI's SDKs send what makes a video. Of its parts that are
//! files nothing is read.

use memchr::memmem::{self, Finder};

/// RFC 2046 allows a boundary 70 characters; two hyphens come before it.
const LONGEST_DELIMITER: usize = 72;

/// Name and value of each field of a body that begins with its first delimiter; none of any other.
pub(super) fn fields(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let first = memmem::find(&body[..body.len().min(LONGEST_DELIMITER + 2)], b"\r\n");
    let delimiter = first.map(|end| Finder::new(&body[..end])).filter(|finder| finder.needle().len() > 2);
    let mut rest = first.map(|end| &body[end..]);
    std::iter::from_fn(move || {
        let delimiter = delimiter.as_ref()?;
        loop {
            let part = rest?;
            let end = delimiter.find(part);
            rest = end.map(|end| &part[end + delimiter.needle().len()..]);
            let part = &part[..end?];
            if let Some(field) = field(part) {
                return Some(field);
            }
        }
    })
}

/// Of a part with the line ends around it.
fn field(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = memmem::find(part, b"\r\n\r\n")?;
    let value = part[head + 4..].strip_suffix(b"\r\n")?;
    let disposition = part[..head].split(|&byte| byte == b'\n').find_map(|line| {
        let (header, rest) = line.split_at_checked(b"content-disposition:".len())?;
        header.eq_ignore_ascii_case(b"content-disposition:").then_some(rest)
    })?;
    let mut name = None;
    for parameter in disposition.split(|&byte| byte == b';') {
        let parameter = parameter.trim_ascii();
        if parameter.starts_with(b"filename") {
            return None;
        }
        if let Some(value) = parameter.strip_prefix(b"name=") {
            name = Some(value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).unwrap_or(value));
        }
    }
    Some((name?, value))
}

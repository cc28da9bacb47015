//! The addresses of uploads as text: where their path is, and their `upload_id`. Google's own and those that clients were
//! given look alike.

use http::HeaderMap;
use memchr::memmem::Finder;

/// Returns the path of an address, with or without scheme and authority.
pub(in crate::forward) fn path_of(address: &str) -> &str {
    let rest =
        address.split_once("://").map_or(address, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    rest.split('?').next().unwrap_or_default()
}

/// Returns the value of an address' `upload_id`, as it is written.
pub(in crate::forward) fn upload_id(address: &str) -> Option<&str> {
    let (_, query) = address.split_once('?')?;
    upload_id_in(query)
}

/// Returns the value of a query's `upload_id`, as it is written.
pub(in crate::forward) fn upload_id_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("upload_id=")).filter(|id| !id.is_empty())
}

/// Google's ids are several times as long. What is shorter may be part of any value.
const SHORTEST_ID: usize = 16;

/// Takes away the headers that hold Google's own id of an upload: who knows it goes on with the upload around the gateway.
pub(in crate::forward) fn hide_upload_id(headers: &mut HeaderMap, id: &str) {
    if id.len() < SHORTEST_ID {
        return;
    }
    let id = Finder::new(id.as_bytes());
    let holding = headers.iter().filter(|(_, value)| id.find(value.as_bytes()).is_some());
    let holding: Vec<_> = holding.map(|(name, _)| name.clone()).collect();
    for name in holding {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn whatever_header_holds_the_id_goes() {
        let mut headers = HeaderMap::new();
        let id = "AFIdbgS-1234_5678-abcd";
        for (name, value) in [
            ("x-guploader-other", id.to_owned()),
            ("x-goog-upload-url", format!("http://gate/upload/v1beta/files?upload_id={id}&x=1")),
            ("x-goog-upload-status", "active".to_owned()),
        ] {
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        hide_upload_id(&mut headers, "active");
        hide_upload_id(&mut headers, id);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-goog-upload-status"]);
    }

    #[test]
    fn an_upload_id_is_found_where_google_puts_it() {
        let address = "https://gate/upload/v1beta/files?upload_protocol=resumable&upload_id=AB_c-7&x=1";
        assert_eq!(upload_id(address), Some("AB_c-7"));
        assert_eq!(upload_id("https://gate/upload/v1beta/files?upload_id="), None);
        assert_eq!(upload_id("https://gate/upload/v1beta/files"), None);
    }
}

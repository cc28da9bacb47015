//! The addresses of uploads as text: where their path is, and their `upload_id`. Google's own and those that clients were
//! given look alike.

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
pub(super) fn upload_id_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("upload_id=")).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_id_is_found_where_google_puts_it() {
        let address = "https://gate/upload/v1beta/files?upload_protocol=resumable&upload_id=AB_c-7&x=1";
        assert_eq!(upload_id(address), Some("AB_c-7"));
        assert_eq!(upload_id("https://gate/upload/v1beta/files?upload_id="), None);
        assert_eq!(upload_id("https://gate/upload/v1beta/files"), None);
    }
}

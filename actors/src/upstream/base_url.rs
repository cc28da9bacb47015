//! An upstream's base URL: what is fixed of every URL that a request goes to. Read from the settings, asked by the
//! client and the providers.

use bytes::Bytes;
use http::uri::{Parts, PathAndQuery, Uri};
use url::Url;

/// An upstream base URL, checked: http or https, no credentials, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme and authority, with nothing after them.
    pub(super) root: Url,
    /// The same, in the form in which requests are sent.
    root_uri: Uri,
    /// The same as text, without a slash at the end.
    origin: String,
    /// The path put before each request's path, without a slash at the end.
    prefix: String,
}

impl BaseUrl {
    /// Reads a base URL. The error says what is wrong, never repeating the text, which may hold credentials.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim())
            .map_err(|_| "is not a URL such as https://generativelanguage.googleapis.com")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must not hold a query or a fragment");
        }
        let origin = url.origin().ascii_serialization();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let mut root = url;
        root.set_path("");
        let root_uri = root.as_str().parse().map_err(|_| "has a host or port that cannot be asked")?;
        Ok(Self { root, root_uri, origin, prefix })
    }

    /// Scheme and authority.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the host alone.
    pub fn host(&self) -> &str {
        self.root.host_str().unwrap_or_default()
    }

    /// Whether a path follows the authority.
    pub fn has_path(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Drops a path's last segments if they are these.
    #[must_use]
    pub fn without_suffix(mut self, suffix: &str) -> Self {
        if let Some(prefix) = self.prefix.strip_suffix(suffix) {
            self.prefix.truncate(prefix.len());
        }
        self
    }

    /// An address on this base. Only its path and query are set, so the authority is the configured one whatever they are.
    pub(super) fn join(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        if !is_normal(&self.prefix)
            || !is_normal(path)
            || !query.unwrap_or_default().bytes().all(is_plain_in_query)
        {
            return Ok(self.normalised(path, query).as_str().parse()?);
        }
        let query = query.map_or(["", ""], |query| ["?", query]);
        let path_and_query = [&self.prefix, path, query[0], query[1]].concat();
        let mut parts = Parts::default();
        parts.scheme = self.root_uri.scheme().cloned();
        parts.authority = self.root_uri.authority().cloned();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(path_and_query))?);
        Ok(Uri::from_parts(parts)?)
    }

    /// The same of any text, by the rules for URLs: what may not stand in one is percent-encoded.
    fn normalised(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.root.clone();
        if self.prefix.is_empty() {
            url.set_path(path);
        } else {
            url.set_path(&format!("{}{path}", self.prefix));
        }
        url.set_query(query);
        url
    }
}

/// Whether the rules for URLs leave a path as it is: nothing to be encoded in it, and no segment that begins with a dot, as
/// those do that mean another place. Nearly all are so.
fn is_normal(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let starts_with_dot = byte == b'.' && before == b'/';
        before = byte;
        is_plain_in_path(byte) && !starts_with_dot
    })
}

fn is_plain_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&()*+,;=:@/".contains(&byte)
}

fn is_plain_in_query(byte: u8) -> bool {
    is_plain_in_path(byte) || matches!(byte, b'?' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_an_origin_and_perhaps_a_prefix() {
        let base = BaseUrl::parse("https://generativelanguage.googleapis.com/").unwrap();
        assert_eq!(
            base.join("/v1beta/models", Some("a=b")).unwrap().to_string(),
            "https://generativelanguage.googleapis.com/v1beta/models?a=b"
        );
        let base = BaseUrl::parse("http://127.0.0.1:8080/google/").unwrap();
        let joined = base.join("/v1/models", None).unwrap();
        assert_eq!(joined.to_string(), "http://127.0.0.1:8080/google/v1/models");
    }

    #[test]
    fn an_address_is_the_one_that_the_rules_for_urls_make_of_it() {
        let bases =
            ["https://generativelanguage.googleapis.com", "http://127.0.0.1:8080/google", "http://h/a%20b"];
        let plain: String = (' '..='~').collect();
        let mut texts: Vec<String> = plain.chars().map(|sign| format!("x{sign}y")).collect();
        texts.extend(
            ["", "a/b", "a/./b", "a/../b", ".a", "a/.b", "%2e/b", "a/%2E%2e", "%zz", "é", plain.as_str()]
                .map(String::from),
        );
        for base in bases.map(|base| BaseUrl::parse(base).unwrap()) {
            for text in &texts {
                for query in [None, Some(text.as_str()), Some("")] {
                    let path = format!("/{text}");
                    let url = base.normalised(&path, query);
                    match base.join(&path, query) {
                        Ok(joined) => {
                            let joined = joined.to_string();
                            assert!(url.as_str() == joined, "{url} and {joined}");
                        }
                        Err(_) => assert!(url.as_str().parse::<Uri>().is_err(), "{url}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_base_url_with_credentials_or_another_scheme_is_refused_without_repeating_it() {
        for text in ["ftp://x", "https://u:canary@x", "https://x/?canary", "canary"] {
            assert!(!BaseUrl::parse(text).unwrap_err().contains("canary"));
        }
    }
}

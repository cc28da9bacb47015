//! An upstream's base URL: what is fixed of every URL that a request goes to. Read from the settings, asked by the
//! client and the providers.

use url::Url;

/// An upstream base URL, checked: http or https, no credentials, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme and authority, with nothing after them.
    pub(super) root: Url,
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
        Ok(Self { root, origin, prefix })
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

    /// A URL on this base. Only its path and query are set, so the authority is the configured one whatever they are.
    pub(super) fn join(&self, path: &str, query: Option<&str>) -> Url {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_an_origin_and_perhaps_a_prefix() {
        let base = BaseUrl::parse("https://generativelanguage.googleapis.com/").unwrap();
        assert_eq!(
            base.join("/v1beta/models", Some("a=b")).as_str(),
            "https://generativelanguage.googleapis.com/v1beta/models?a=b"
        );
        let base = BaseUrl::parse("http://127.0.0.1:8080/google/").unwrap();
        assert_eq!(base.join("/v1/models", None).as_str(), "http://127.0.0.1:8080/google/v1/models");
    }

    #[test]
    fn a_base_url_with_credentials_or_another_scheme_is_refused_without_repeating_it() {
        for text in ["ftp://x", "https://u:canary@x", "https://x/?canary", "canary"] {
            assert!(!BaseUrl::parse(text).unwrap_err().contains("canary"));
        }
    }
}

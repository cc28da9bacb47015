//! Which proxy a connection goes through, and who has named it: `upstream.proxy`, or one of the environment's variables.
//! What names no proxy that could be used is refused at the start. Nothing here connects.

use super::error::UpstreamError;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::fmt;
use url::Url;

/// The setting that comes before every variable.
const SETTING: &str = "upstream.proxy";
/// The variables of a destination with TLS, the first that is set counts.
const FOR_HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables of a destination without.
const FOR_HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// The destinations that no variable's proxy is used for.
const EXCEPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy's URL, which may hold its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Reads a proxy URL: http, https, socks4, socks4a, socks5 or socks5h; `socks` is the last of them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let text = match text.strip_prefix("socks://") {
            Some(rest) => format!("socks5h://{rest}"),
            None => text.to_owned(),
        };
        let url = Url::parse(&text)
            .map_err(|_| "is not a URL such as http://proxy:3128 or socks5h://proxy:1080")?;
        match url.scheme() {
            "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" if url.has_host() => Ok(Self(url)),
            _ => Err("must begin with http://, https://, socks5:// or socks5h:// and name a host"),
        }
    }

    /// Reads what other programs take as well: a host and port alone are an HTTP proxy.
    fn parse_variable(text: &str) -> Result<Self, &'static str> {
        if text.contains("://") { Self::parse(text) } else { Self::parse(&format!("http://{text}")) }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://***", self.0.scheme())
    }
}

/// Without user and password.
impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        self.0.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A proxy, and who has named it.
#[derive(Clone)]
pub(super) struct Proxy {
    url: ProxyUrl,
    named_by: &'static str,
    matcher: std::sync::Arc<Matcher>,
}

impl Proxy {
    fn new(url: ProxyUrl, named_by: &'static str, except: &str) -> Self {
        let matcher = Matcher::builder().all(url.0.as_str()).no(except).build();
        Self { url, named_by, matcher: std::sync::Arc::new(matcher) }
    }
}

/// Which setting or variable, and the proxy's address.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.url, self.named_by)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The proxies of all connections.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
}

impl Proxies {
    /// Finds them in the setting, else in the variables that `variable` gives. Of the variables only those are read that
    /// a destination of `schemes` would use.
    pub(super) fn new(
        setting: Option<&ProxyUrl>,
        schemes: &[&str],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UpstreamError> {
        if let Some(url) = setting {
            let proxy = Some(Proxy::new(url.clone(), SETTING, ""));
            return Ok(Self { http: proxy.clone(), https: proxy });
        }
        let set = |name: &'static str| {
            let text = variable(name)?.trim().to_owned();
            (!text.is_empty()).then_some((name, text))
        };
        let except = EXCEPT.into_iter().find_map(set).map_or_else(String::new, |(_, text)| text);
        let named = |scheme: &str, names: [&'static str; 4]| match names.into_iter().find_map(set) {
            Some((name, text)) if schemes.contains(&scheme) => match ProxyUrl::parse_variable(&text) {
                Ok(url) => Ok(Some(Proxy::new(url, name, &except))),
                Err(why) => Err(UpstreamError::new(name, format!("it {why}"))),
            },
            _ => Ok(None),
        };
        Ok(Self { http: named("http", FOR_HTTP)?, https: named("https", FOR_HTTPS)? })
    }

    /// Returns the proxy of a destination, and how to speak to it; `None` where the way is direct.
    pub(super) fn of(&self, destination: &Uri) -> Option<(&Proxy, Intercept)> {
        let proxy = match destination.scheme_str() {
            Some("http") => self.http.as_ref(),
            _ => self.https.as_ref(),
        }?;
        Some((proxy, proxy.matcher.intercept(destination)?))
    }

    /// Returns what a request without TLS shows an HTTP proxy to be let through.
    pub(super) fn authorization(&self, destination: &Uri) -> Option<HeaderValue> {
        if destination.scheme_str() != Some("http") || self.http.is_none() {
            return None;
        }
        self.of(destination)?.1.basic_auth().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn google() -> Uri {
        Uri::from_static("https://generativelanguage.googleapis.com/v1beta")
    }

    fn from(variables: &[(&str, &str)]) -> Result<Proxies, UpstreamError> {
        let get = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        Proxies::new(None, &["https"], get)
    }

    fn way(variables: &[(&str, &str)]) -> Option<String> {
        from(variables).unwrap().of(&google()).map(|(proxy, _)| proxy.to_string())
    }

    #[test]
    fn a_proxy_url_hides_its_password() {
        let proxy = ProxyUrl::parse("socks5h://user:canary@127.0.0.1:1080").unwrap();
        assert_eq!(format!("{proxy:?}"), "socks5h://***");
        assert_eq!(proxy.to_string(), "socks5h://127.0.0.1:1080");
    }

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        let all = ("ALL_PROXY", "socks5://a:1080");
        assert_eq!(way(&[all]).unwrap(), "socks5://a:1080 of ALL_PROXY");
        assert_eq!(way(&[all, ("https_proxy", "b:3128")]).unwrap(), "http://b:3128 of https_proxy");
        assert_eq!(way(&[all, ("HTTPS_PROXY", " ")]).unwrap(), "socks5://a:1080 of ALL_PROXY");
        assert_eq!(way(&[("HTTP_PROXY", "http://c:1")]), None);
        assert_eq!(way(&[("all_proxy", "socks://u:canary@d")]).unwrap(), "socks5h://d of all_proxy");
        for scheme in ["socks4", "socks4a", "socks5h", "https"] {
            let url = format!("{scheme}://e:9");
            assert_eq!(way(&[("ALL_PROXY", &url)]).unwrap(), format!("{url} of ALL_PROXY"));
        }
    }

    #[test]
    fn a_variable_that_names_no_usable_proxy_is_refused_without_repeating_it() {
        for text in ["socks6://canary:1", "ftp://canary", "http://", "quic://canary:1", "http://can ary"] {
            let error = from(&[("ALL_PROXY", text)]).unwrap_err();
            assert_eq!(error.setting(), "ALL_PROXY", "{text}");
            assert!(!error.to_string().contains("canary"), "{text}");
        }
        assert!(from(&[("HTTP_PROXY", "socks6://a")]).is_ok(), "no destination would use it");
    }

    #[test]
    fn an_exception_goes_direct_but_not_around_the_setting() {
        let all = ("ALL_PROXY", "http://a:3128");
        for except in ["*", ".googleapis.com", "generativelanguage.googleapis.com, other"] {
            assert_eq!(way(&[all, ("NO_PROXY", except)]), None, "{except}");
        }
        let url = ProxyUrl::parse("http://b:3128").unwrap();
        let proxies = Proxies::new(Some(&url), &["https"], |_| Some("*".to_owned())).unwrap();
        assert_eq!(proxies.of(&google()).unwrap().0.to_string(), "http://b:3128 of upstream.proxy");
    }

    #[test]
    fn only_a_request_without_tls_shows_the_password_itself() {
        let url = ProxyUrl::parse("http://user:pass@b:3128").unwrap();
        let proxies = Proxies::new(Some(&url), &["http", "https"], |_| None).unwrap();
        assert!(proxies.authorization(&Uri::from_static("http://x/")).is_some());
        assert!(proxies.authorization(&google()).is_none());
    }
}

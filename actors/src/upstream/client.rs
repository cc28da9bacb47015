//! The way to Google: one HTTP client a worker, so that a connection's task runs on the thread that uses it, and the
//! fixed authorities that upstream URLs are built on. Only this room of the house knows reqwest.

use super::causes::Causes;
use gemini::path::{Surface, Target};
use std::{cell::OnceCell, fmt, time::Duration};
use url::Url;

/// How to reach the upstream.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// The native API's base URL: scheme, authority and perhaps a path that is put before every path.
    pub gemini_base: BaseUrl,
    /// The same for the OpenAI-compatible layer.
    pub openai_base: BaseUrl,
    /// For a connection to be made, TLS included.
    pub connect_timeout: Duration,
    /// For an answer's head to arrive.
    pub head_timeout: Duration,
    /// For the next bytes of an answer's body.
    pub idle_timeout: Duration,
    /// For a client to take the next bytes.
    pub write_timeout: Duration,
    /// A proxy for all upstream connections; without one the environment's `HTTPS_PROXY` and its like hold.
    pub proxy: Option<ProxyUrl>,
    /// Certificates (PEM) to trust besides the system's.
    pub extra_roots: Vec<Vec<u8>>,
    /// Hosts to which a redirect is followed, without a key: `storage.googleapis.com`, `*.googleapis.com`, `host:port`.
    pub redirect_hosts: Vec<String>,
}

/// An upstream base URL, checked: http or https, no credentials, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme and authority, with nothing after them.
    root: Url,
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
    fn join(&self, path: &str, query: Option<&str>) -> Url {
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

/// A proxy's URL, which may hold its password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Reads a proxy URL: http, https, socks4, socks4a, socks5 or socks5h.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text.trim())
            .map_err(|_| "is not a URL such as http://proxy:3128 or socks5h://proxy:1080")?;
        match url.scheme() {
            "http" | "https" | "socks4" | "socks4a" | "socks5" | "socks5h" if url.has_host() => Ok(Self(url)),
            _ => Err("must begin with http://, https://, socks5:// or socks5h:// and name a host"),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://***", self.0.scheme())
    }
}

/// What TLS can fail on before the first connection.
const CA_FILE: &str = "upstream.ca_file";

/// One worker's client.
pub(crate) struct Upstream {
    client: reqwest::Client,
    /// For Live sessions, which begin with an upgrade of HTTP/1.1; made for the first of them.
    live_client: OnceCell<reqwest::Client>,
    pub(crate) settings: UpstreamSettings,
}

/// The client could not be built: a proxy or certificate is unusable.
#[derive(Debug)]
pub struct UpstreamError {
    setting: &'static str,
    why: String,
}

impl UpstreamError {
    /// The setting at fault.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot be used: {}", self.why)
    }
}

impl std::error::Error for UpstreamError {}

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Result<Self, UpstreamError> {
        // Fails only when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = build(builder(&settings)?)?;
        Ok(Self { client, live_client: OnceCell::new(), settings })
    }

    pub(crate) fn base(&self, surface: Surface) -> &BaseUrl {
        match surface {
            Surface::OpenAi => &self.settings.openai_base,
            _ => &self.settings.gemini_base,
        }
    }

    /// The URL of a target, always on the configured authority: the target's path begins with one slash.
    pub(crate) fn url(&self, target: &Target) -> Url {
        let base = self.base(target.surface);
        let path = match target.surface {
            // A base that already names the layer's root, as OpenAI clients' base URLs do.
            Surface::OpenAi if base.has_path() => {
                target.path.strip_prefix("/v1beta/openai").unwrap_or(&target.path)
            }
            _ => &target.path,
        };
        base.join(path, target.query.as_deref())
    }

    /// Whether a redirect to `url` may be followed.
    pub(super) fn may_lead_to(&self, url: &Url) -> bool {
        let without_tls = self.settings.gemini_base.root.scheme() == "http";
        super::redirect::is_allowed(&self.settings.redirect_hosts, url, without_tls)
    }

    /// The URL of a native path of our own.
    pub(crate) fn native_url(&self, path: &str, query: Option<&str>) -> Url {
        self.settings.gemini_base.join(path, query)
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The client that Live sessions are opened with.
    pub(crate) fn live_client(&self) -> Result<&reqwest::Client, UpstreamError> {
        if let Some(client) = self.live_client.get() {
            return Ok(client);
        }
        let client = build(builder(&self.settings)?.http1_only())?;
        Ok(self.live_client.get_or_init(|| client))
    }
}

/// A client's builder with all that the settings say.
fn builder(settings: &UpstreamSettings) -> Result<reqwest::ClientBuilder, UpstreamError> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()) // the pool decides what is tried again, and on which key
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(60))
        .pool_idle_timeout(Duration::from_secs(90))
        .http2_initial_stream_window_size(256 * 1024)
        .http2_initial_connection_window_size(4 * 1024 * 1024)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .http2_keep_alive_timeout(Duration::from_secs(10));
    for pem in &settings.extra_roots {
        let certificates =
            reqwest::Certificate::from_pem_bundle(pem).map_err(|error| unusable(CA_FILE, error))?;
        if certificates.is_empty() {
            return Err(UpstreamError { setting: CA_FILE, why: "it holds no certificate".to_owned() });
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let Some(ProxyUrl(url)) = &settings.proxy {
        let proxy = reqwest::Proxy::all(url.clone()).map_err(|error| unusable("upstream.proxy", error))?;
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, UpstreamError> {
    builder.build().map_err(|error| unusable(CA_FILE, error))
}

fn unusable(setting: &'static str, error: reqwest::Error) -> UpstreamError {
    UpstreamError { setting, why: Causes(&error.without_url()).to_string() }
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

    #[test]
    fn a_proxy_url_hides_its_password() {
        let proxy = ProxyUrl::parse("socks5h://user:canary@127.0.0.1:1080").unwrap();
        assert_eq!(format!("{proxy:?}"), "socks5h://***");
    }
}

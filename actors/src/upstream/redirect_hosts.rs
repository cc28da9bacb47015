//! The rule of the hosts to which a redirect is followed: how the operator names them, and which addresses are at one of
//! them. `redirect` follows, and the client, which has the settings, asks.

use url::Url;

/// Tells whether `url` is at one of `hosts`: a name, a name and a port, or `*.` and the end of a name. Over TLS, unless the
/// upstream itself is spoken to without.
pub(super) fn is_allowed(hosts: &[String], url: &Url, without_tls: bool) -> bool {
    let Some(host) = url.host_str() else { return false };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && without_tls);
    let with_port = url.port().map(|port| format!("{host}:{port}"));
    is_safe
        && url.username().is_empty()
        && url.password().is_none()
        && hosts.iter().any(|allowed| match (allowed.strip_prefix("*."), &with_port) {
            (Some(end), None) => {
                host.strip_suffix(end).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
            }
            (None, None) => host == allowed,
            (_, Some(with_port)) => with_port == allowed,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_allowed_hosts_only() {
        let hosts = ["*.googleapis.com".to_owned(), "files.example".to_owned(), "127.0.0.1:9".to_owned()];
        let allowed = |url: &str, without_tls| is_allowed(&hosts, &Url::parse(url).unwrap(), without_tls);
        for url in ["https://storage.googleapis.com/a", "https://files.example/", "https://127.0.0.1:9/"] {
            assert!(allowed(url, false), "{url}");
        }
        assert!(allowed("http://127.0.0.1:9/", true));
        for url in [
            "http://storage.googleapis.com/a",
            "https://googleapis.com.evil.example/",
            "https://evilgoogleapis.com/",
            "https://.googleapis.com/",
            "https://u:p@storage.googleapis.com/",
            "https://storage.googleapis.com:8443/",
            "https://127.0.0.1:10/",
            "https://127.0.0.1/",
        ] {
            let url = Url::parse(url);
            assert!(url.is_err() || !is_allowed(&hosts, &url.unwrap(), false));
        }
    }
}

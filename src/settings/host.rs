//! Hosts as operators write them: an address or a name alone, an IPv6 address with or without its brackets. What else is
//! often written in the same place (a scheme, a port) is told apart, so that the error can say where it belongs.

use super::SettingsError;
use std::net::Ipv6Addr;

/// Returns the host to listen on, without brackets.
pub(crate) fn listen_host(setting: &str, text: &str) -> Result<String, SettingsError> {
    let refused = |why: &str| Err(SettingsError::refused(setting, why));
    let text = text.trim();
    if text.is_empty() || text == "*" {
        return refused("names no address; 0.0.0.0 is every IPv4 address, :: every address");
    }
    if text.contains('/') {
        return refused(
            "must be an address or a name alone, without a scheme such as http:// and without a path",
        );
    }
    if let Some(rest) = text.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) if is_ipv6(address) => Ok(address.to_owned()),
            Some((address, port)) if is_ipv6(address) && is_port(port) => refused(PORT),
            _ => refused("is not an address: brackets are for an IPv6 address, as in [::1]"),
        };
    }
    match text.find(':').map(|colon| text.split_at(colon)) {
        Some(_) if is_ipv6(text) => Ok(text.to_owned()),
        Some((_, port)) if is_port(port) => refused(PORT),
        Some(_) => refused("is not an address"),
        None if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) => {
            refused("is not an address")
        }
        None => Ok(text.to_owned()),
    }
}

const PORT: &str = "must be an address or a name alone; the port is a setting of its own";

/// Returns an entry of `server.trusted_proxies` without the brackets that may be around an IPv6 address.
pub(super) fn without_brackets(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) if is_ipv6(address) && (rest.is_empty() || rest.starts_with('/')) => {
            format!("{address}{rest}")
        }
        _ => text.to_owned(),
    }
}

/// Returns what to add to an error about a URL: that IPv6 addresses want brackets, if the URL seems to hold one without.
pub(super) fn bracket_hint(url: &str) -> &'static str {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    if authority.contains("::") && !authority.contains('[') {
        "; an IPv6 address stands in brackets, as in http://[::1]:8000"
    } else {
        ""
    }
}

/// An address, perhaps with its zone, as in `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    text.split_once('%').map_or(text, |(address, _)| address).parse::<Ipv6Addr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name_with_or_without_brackets() {
        for (text, host) in [
            ("::1", "::1"),
            ("[::1]", "::1"),
            (" [::] ", "::"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(listen_host("server.host", text).unwrap(), host);
        }
        for (text, why) in [
            ("[::]:8000", "port"),
            ("[::1]:80", "port"),
            ("127.0.0.1:8000", "port"),
            ("localhost:8000", "port"),
            ("http://127.0.0.1", "scheme"),
            ("https://[::1]:8000/", "scheme"),
            ("[127.0.0.1]", "brackets"),
            ("[::1", "brackets"),
            ("::1]", "not an address"),
            ("a b", "not an address"),
            ("1::2::3", "not an address"),
            ("", "0.0.0.0"),
            ("*", "0.0.0.0"),
        ] {
            let line = listen_host("server.host", text).unwrap_err().to_string();
            assert!(line.starts_with("server.host") && line.contains(why), "{text:?}: {line}");
        }
    }

    #[test]
    fn a_proxy_may_stand_in_brackets_and_a_url_is_told_to() {
        for (text, bare) in [
            ("[::1]", "::1"),
            ("[fd00::]/8", "fd00::/8"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(without_brackets(text), bare);
        }
        for url in ["http://::1:8000", "http://fd00::1/x", "::1:8000"] {
            assert!(!bracket_hint(url).is_empty(), "{url}");
        }
        for url in ["http://[::1]:8000", "http://x/::", "gw.example"] {
            assert!(bracket_hint(url).is_empty(), "{url}");
        }
    }
}

//! The gateway's own address as a client sees it: scheme, authority and path prefix. It is what addresses in Google's
//! answers are turned to. Named by `server.public_url`, else read from the request; what a proxy says of it counts only
//! from the peers in `server.trusted_proxies`.

use crate::connections::{Connection, network};
use actix_web::{HttpRequest, http::header::HeaderMap};
use ipnet::IpNet;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

/// `https://gw.example:8443/gemini`: scheme, authority, and a path prefix without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicOrigin {
    scheme: Scheme,
    authority: Authority,
    prefix: Prefix,
}

/// How the gateway is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// A host, and a port if one is named. Nothing else: no credentials, no path, no character that could end a header's
/// value or the authority in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority(String);

/// Segments that are put before each path; empty, or begins with a slash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Prefix(String);

/// How the origin of a request is found.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    public: Option<PublicOrigin>,
    trusted: TrustedProxies,
}

/// The peers that are believed in what they say of the client's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// What is read of a request to find its origin.
struct OriginHints<'a> {
    headers: &'a HeaderMap,
    /// Of a request target in absolute form, which goes before `Host` (RFC 9112 §3.2.2).
    authority: Option<&'a str>,
    peer: Option<SocketAddr>,
    connection: Scheme,
}

impl Origins {
    /// `public` goes before anything a request says.
    pub fn new(public: Option<PublicOrigin>, trusted: TrustedProxies) -> Self {
        Self { public, trusted }
    }

    /// The origin of this request. `None` when the request names no host, or none that can be one.
    pub fn of(&self, request: &HttpRequest) -> Option<PublicOrigin> {
        let uri = request.uri();
        self.find(&OriginHints {
            headers: request.headers(),
            authority: uri.authority().map(actix_web::http::uri::Authority::as_str),
            peer: request.peer_addr(),
            connection: match request.conn_data::<Rc<Connection>>() {
                Some(connection) if connection.is_secure() => Scheme::Https,
                _ => Scheme::Http,
            },
        })
    }

    /// The client's own address; of IPv6 its network. Behind a trusted proxy what that says of it.
    pub(super) fn client_of(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip();
        let client = if self.trusted.holds(peer) { self.forwarded_for(request.headers()) } else { None };
        Some(network(client.unwrap_or(peer)))
    }

    /// The last address that is no trusted proxy's: each proxy adds the one before it, and what stands before the first
    /// that is not trusted could be made up.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let listed = |name| {
            let lines = headers.get_all(name).filter_map(|value| value.to_str().ok());
            lines.flat_map(|line| line.split(',')).map(str::trim).collect::<Vec<_>>()
        };
        let mut addresses: Vec<_> = listed("x-forwarded-for").into_iter().map(address).collect();
        if addresses.is_empty() {
            let elements = listed("forwarded").into_iter();
            addresses = elements.map(|element| address(forwarded_parameter(element, "for")?)).collect();
        }
        // An unreadable one is nobody's, and nothing before it is believed.
        let readable = addresses.into_iter().rev().map_while(|address| address);
        readable.into_iter().find(|address| !self.trusted.holds(*address))
    }

    /// Whether a peer is a proxy whose word is trusted.
    pub(crate) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.trusted.holds(peer)
    }

    fn find(&self, asked: &OriginHints<'_>) -> Option<PublicOrigin> {
        if let Some(public) = &self.public {
            return Some(public.clone());
        }
        let said = asked
            .peer
            .filter(|peer| self.trusted.holds(peer.ip()))
            .map(|_| Said::read(asked.headers))
            .unwrap_or_default();
        let own = || match asked.authority {
            Some(authority) => Authority::parse(authority),
            None => Authority::parse(only(asked.headers, "host")?),
        };
        Some(PublicOrigin {
            scheme: said.scheme.unwrap_or(asked.connection),
            authority: said.authority.or_else(own)?,
            prefix: said.prefix.unwrap_or_default(),
        })
    }
}

/// What a trusted proxy says. A value that cannot be one counts as none.
#[derive(Default)]
struct Said {
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    prefix: Option<Prefix>,
}

impl Said {
    /// `X-Forwarded-*` goes before `Forwarded` (RFC 7239). Of several values the last counts: the nearest proxy, which is
    /// the one that is trusted, has added it.
    fn read(headers: &HeaderMap) -> Self {
        let forwarded = last(headers, "forwarded").unwrap_or_default();
        let of = |header, parameter| match last(headers, header) {
            Some(value) => Some(value),
            None => forwarded_parameter(forwarded, parameter),
        };
        Self {
            scheme: of("x-forwarded-proto", "proto").and_then(Scheme::parse),
            authority: of("x-forwarded-host", "host").and_then(Authority::parse),
            prefix: last(headers, "x-forwarded-prefix").and_then(Prefix::parse),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address.ip()),
        Err(_) => text.strip_prefix('[')?.strip_suffix(']')?.parse().ok(),
    }
}

/// The last of a header's values, over all its lines.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get_all(name).last()?.to_str().ok()?;
    value.rsplit(',').map(str::trim).next()
}

/// A header that may stand there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `proto` in `for=192.0.2.60;proto=https;host="gw.example:8443"`.
fn forwarded_parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        key.trim().eq_ignore_ascii_case(name).then_some(bare)
    })
}

impl PublicOrigin {
    /// Reads `https://gw.example/gemini`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) =
            text.trim().split_once("://").ok_or("is not a URL such as https://gw.example/gemini")?;
        let scheme = Scheme::parse(scheme).ok_or("must begin with http:// or https://")?;
        if rest.contains(['?', '#']) {
            return Err("must not hold a query or a fragment");
        }
        if rest.contains('@') {
            return Err("must not hold a user name or password");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self {
            scheme,
            authority: Authority::parse(authority).ok_or("does not name a host and perhaps a port")?,
            prefix: match path {
                "" => Prefix::default(),
                path => Prefix::parse(path).ok_or("has a path that cannot be put before others")?,
            },
        })
    }

    /// Returns it as text if there is no path in it: then it is an origin as browsers have it.
    pub(crate) fn without_prefix(&self) -> Option<String> {
        self.prefix.0.is_empty().then(|| self.to_string())
    }
}

impl fmt::Display for PublicOrigin {
    /// Without a slash at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority.0, self.prefix.0)
    }
}

impl Scheme {
    /// Some proxies name the WebSocket schemes for an upgrade.
    fn parse(text: &str) -> Option<Self> {
        let is = |name| text.eq_ignore_ascii_case(name);
        match () {
            () if is("https") || is("wss") => Some(Self::Https),
            () if is("http") || is("ws") => Some(Self::Http),
            () => None,
        }
    }
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (None, port)
        } else {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (Some(host), port)
        };
        let is_name = host.is_none_or(|host| {
            // The longest name that DNS knows; an underscore is seen in the names of containers.
            (1..=253).contains(&host.len())
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
                && host.bytes().any(|byte| byte.is_ascii_alphanumeric())
        });
        let is_port = port.is_empty()
            || port.strip_prefix(':').is_some_and(|digits| {
                digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|n| n > 0)
            });
        (is_name && is_port).then(|| Self(text.to_owned()))
    }
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut segments = text.strip_prefix('/')?.split('/');
        let is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~'))
        };
        segments.all(is_plain).then(|| Self(text.to_owned()))
    }
}

impl TrustedProxies {
    /// Addresses and networks (`10.0.0.1`, `10.0.0.0/8`, `fd00::/8`); else the entry that is neither.
    pub fn parse(list: &[String]) -> Result<Self, &String> {
        let network = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address)),
            Err(_) => text.parse::<IpNet>().ok(),
        };
        list.iter().map(|text| network(text.trim()).ok_or(text)).collect::<Result<_, _>>().map(Self)
    }

    /// A listener on `::` sees IPv4 peers as IPv6.
    fn holds(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn origins(public: &str, trusted: &[&str]) -> Origins {
        let trusted: Vec<String> = trusted.iter().map(ToString::to_string).collect();
        let public = (!public.is_empty()).then(|| PublicOrigin::parse(public).unwrap());
        Origins::new(public, TrustedProxies::parse(&trusted).unwrap())
    }

    fn found(origins: &Origins, peer: &str, connection: Scheme, pairs: &[(&str, &str)]) -> Option<String> {
        let peer = Some(SocketAddr::new(peer.parse().unwrap(), 40000));
        let asked = OriginHints { headers: &headers(pairs), authority: None, peer, connection };
        origins.find(&asked).map(|origin| origin.to_string())
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in
            ["gw", "gw.example", "gw.example:8443", "192.0.2.1:80", "[::1]", "[2001:db8::1]:8000", "my_gw:1"]
        {
            assert!(Authority::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            ":80",
            "gw:",
            "gw:0",
            "gw:65536",
            "gw:+80",
            "gw:80:80",
            "[::1",
            "[::1]80",
            "[gw]",
            "::1",
            "user@gw",
            "gw/path",
            "gw?x",
            "gw#x",
            "gw\\x",
            "gw example",
            "gw\t",
            "gw,other",
            "g\u{e4}",
            "%67w",
            "..",
            "-",
            &long,
        ] {
            assert!(Authority::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_plain_segments() {
        for (text, prefix) in [("/", ""), ("", ""), ("/gemini", "/gemini"), ("/a/b-c_d.e~/", "/a/b-c_d.e~")] {
            assert_eq!(Prefix::parse(text), Some(Prefix(prefix.to_owned())), "{text}");
        }
        for bad in
            ["gemini", "//", "//gw", "/a//b", "/..", "/a/../b", "/./a", "/a b", "/a%2f", "/a?b", "/a;b"]
        {
            assert_eq!(Prefix::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_and_perhaps_a_prefix() {
        for (text, shown) in [
            ("https://gw.example", "https://gw.example"),
            ("https://gw.example/", "https://gw.example"),
            (" HTTPS://gw.example:8443/gemini/ ", "https://gw.example:8443/gemini"),
            ("http://[::1]:8000/a/b", "http://[::1]:8000/a/b"),
        ] {
            assert_eq!(PublicOrigin::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "gw.example",
            "ftp://gw.example",
            "https://",
            "https:///x",
            "https://user:pass@gw.example",
            "https://gw.example?x",
            "https://gw.example/#x",
            "https://gw.example//x",
            "https://gw.example/../x",
        ] {
            assert!(PublicOrigin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_public_url_goes_before_everything_a_request_says() {
        let origins = origins("https://gw.example/gemini", &["0.0.0.0/0"]);
        let pairs = [("host", "inside:8000"), ("x-forwarded-host", "elsewhere")];
        let expected = Some("https://gw.example/gemini".to_owned());
        assert_eq!(found(&origins, "192.0.2.1", Scheme::Http, &pairs), expected);
        assert_eq!(found(&origins, "192.0.2.1", Scheme::Http, &[]), expected);
    }

    #[test]
    fn without_one_the_host_and_the_connection_say_it() {
        let origins = origins("", &[]);
        let of = |connection, pairs: &[(&str, &str)]| found(&origins, "192.0.2.1", connection, pairs);
        assert_eq!(of(Scheme::Http, &[("host", "gw:8000")]).unwrap(), "http://gw:8000");
        assert_eq!(of(Scheme::Https, &[("host", "gw:8000")]).unwrap(), "https://gw:8000");
        for pairs in [&[][..], &[("host", "user@gw")], &[("host", "gw/x")], &[("host", "a"), ("host", "b")]] {
            assert_eq!(of(Scheme::Http, pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn a_target_in_absolute_form_goes_before_the_host() {
        let headers = headers(&[("host", "other")]);
        let asked = OriginHints {
            headers: &headers,
            authority: Some("gw:8000"),
            peer: None,
            connection: Scheme::Http,
        };
        assert_eq!(origins("", &[]).find(&asked).unwrap().to_string(), "http://gw:8000");
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_peers_only() {
        let origins = origins("", &["10.1.0.0/16", "192.0.2.7", "fd00::/8"]);
        let pairs = [
            ("host", "inside:8000"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gw.example"),
            ("x-forwarded-prefix", "/gemini/"),
        ];
        for trusted in ["10.1.2.3", "192.0.2.7", "fd12::1", "::ffff:10.1.2.3"] {
            let origin = found(&origins, trusted, Scheme::Http, &pairs).unwrap();
            assert_eq!(origin, "https://gw.example/gemini", "{trusted}");
        }
        for other in ["10.2.0.1", "192.0.2.8", "fe80::1", "::ffff:10.2.0.1", "127.0.0.1"] {
            let origin = found(&origins, other, Scheme::Http, &pairs).unwrap();
            assert_eq!(origin, "http://inside:8000", "{other}");
        }
    }

    #[test]
    fn each_form_of_forwarding_header_is_read() {
        let origins = origins("", &["10.0.0.1"]);
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = [("host", "inside")].iter().chain(pairs).copied().collect();
            found(&origins, "10.0.0.1", Scheme::Http, &pairs).unwrap()
        };
        assert_eq!(of(&[("forwarded", "for=1.2.3.4;proto=https;host=gw.example")]), "https://gw.example");
        assert_eq!(of(&[("forwarded", "Host=\"[::1]:8443\"; PROTO=HTTPS")]), "https://[::1]:8443");
        assert_eq!(of(&[("forwarded", "host=spoofed, host=gw.example")]), "http://gw.example");
        assert_eq!(of(&[("forwarded", "host=spoofed"), ("forwarded", "host=gw")]), "http://gw");
        let both = [("x-forwarded-host", "gw.example"), ("forwarded", "host=other;proto=https")];
        assert_eq!(of(&both), "https://gw.example");
        assert_eq!(of(&[("x-forwarded-proto", "http, wss")]), "https://inside");
        // What cannot be one is as if it were not there.
        let unusable =
            [("x-forwarded-host", "a/b"), ("x-forwarded-proto", "gopher"), ("x-forwarded-prefix", "//evil")];
        assert_eq!(of(&unusable), "http://inside");
    }

    #[test]
    fn a_trusted_proxy_is_an_address_or_a_network() {
        for bad in ["gw.example", "10.0.0.0/33", "10.0.0", "", "*"] {
            assert_eq!(TrustedProxies::parse(&[bad.to_owned()]), Err(&bad.to_owned()));
        }
    }
}

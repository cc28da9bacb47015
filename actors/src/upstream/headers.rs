//! Which headers pass, in each direction. End-to-end headers do, known or not, since Google adds new ones; credentials,
//! cookies, hop-by-hop headers and those that say who the client is do not. One list for requests and Live sessions.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, CONNECTION},
};
use memchr::memmem::Finder;
use smallvec::SmallVec;

/// Whether a header is between two ends of one connection: RFC 9110 §7.6.1, and what the connection itself decides.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Client credentials, what the upstream client writes itself, and who the client is: as proxies, load balancers, CDNs and
/// tunnels in front write it, and as gates that know users do. And what puts another method in the place of the request's:
/// whether a caller may do something is decided by the method that was seen here.
fn is_not_up(name: &str) -> bool {
    matches!(
        name,
        "ali-cdn-real-ip"
            | "authorization"
            | "client-ip"
            | "content-length"
            | "cookie"
            | "expect"
            | "forwarded"
            | "forwarded-for"
            | "host"
            | "openai-organization"
            | "openai-project"
            | "proxy-client-ip"
            | "remote-addr"
            | "remote-user"
            | "rndr-id"
            | "surrogate-capability"
            | "true-client-ip"
            | "via"
            | "wl-proxy-client-ip"
            | "x-api-key"
            | "x-client-cert"
            | "x-client-dn"
            | "x-client-ip"
            | "x-client-port"
            | "x-client-verify"
            | "x-cloud-trace-context"
            | "x-cluster-client-ip"
            | "x-coming-from"
            | "x-edge-location"
            | "x-email"
            | "x-forwarded"
            | "x-goog-api-key"
            | "x-goog-iap-jwt-assertion"
            | "x-goog-user-project"
            | "x-groups"
            | "x-host"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "x-original-url"
            | "x-originating-ip"
            | "x-proxyuser-ip"
            | "x-queue-start"
            | "x-remote-addr"
            | "x-remote-ip"
            | "x-request-start"
            | "x-rewrite-url"
            | "x-scheme"
            | "x-server-name"
            | "x-sucuri-clientip"
            | "x-sucuri-country"
            | "x-true-client-ip"
            | "x-url-scheme"
            | "x-user"
            | "x-varnish"
            | "x-webauth-user"
    )
}

/// The same by the beginnings of names: each is one product's, or one purpose's. Sorted, and none is another's beginning.
const NOT_UP_FROM: &[&str] = &[
    "akamai-",
    "cdn-",
    "cf-",
    "cloudfront-",
    "do-connecting-",
    "eo-",
    "fastly-",
    "fly-",
    "incap-",
    "ngrok-",
    "ssl-client-",
    "tailscale-",
    "x-akamai-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authentik-",
    "x-azure-",
    "x-cdn-",
    "x-country-",
    "x-envoy-",
    "x-fastly-",
    "x-fd-",
    "x-forwarded-",
    "x-geo-",
    "x-goog-authenticated-user-",
    "x-heroku-",
    "x-lb-",
    "x-nf-",
    "x-original-",
    "x-pomerium-",
    "x-railway-",
    "x-real-",
    "x-remote-user",
    "x-ssl-",
    "x-vercel-",
];

/// The coding that answers can be looked through in. No other is asked for: an answer could hide the key in it.
const LOOKED_THROUGH: &str = "gzip";

/// Whether an answer's header stays here: `server` and `alt-svc` lead around the gateway, and so does Google's own id of an
/// upload; cookies belong to the key, the rest is written anew.
fn is_kept_from_client(name: &str) -> bool {
    let is_ours = matches!(
        name,
        "alt-svc"
            | "content-length"
            | "server"
            | "set-cookie"
            | "set-cookie2"
            | "x-guploader-uploadid"
            | "x-request-id"
    );
    is_ours || is_hop_by_hop(name)
}

/// Whether an answer's header may name the upstream's own address.
fn is_address(name: &str) -> bool {
    matches!(name, "location" | "content-location" | "x-goog-upload-url" | "x-goog-upload-control-url")
}

fn begins_as_not_up(name: &str) -> bool {
    let before = NOT_UP_FROM.partition_point(|start| *start <= name);
    NOT_UP_FROM[..before].last().is_some_and(|start| name.starts_with(start))
}

/// Whether a header of a client's stays here.
fn is_kept_from_upstream(name: &str) -> bool {
    // Proxies and CGI read `x_goog_api_key` as `x-goog-api-key`.
    let may_be_another = name.contains('_');
    is_hop_by_hop(name) || is_not_up(name) || begins_as_not_up(name) || may_be_another
}

/// The client's headers that go up. Names must be lower case, as HTTP libraries hand them out.
pub fn up<'a, I>(headers: impl Fn() -> I) -> HeaderMap
where
    I: Iterator<Item = (&'a str, &'a [u8])>,
{
    let nominated = nominated(headers());
    let mut passed = HeaderMap::with_capacity(16);
    for (name, value) in headers() {
        let stays =
            is_kept_from_upstream(name) || nominated.iter().any(|other| other.eq_ignore_ascii_case(name));
        if !stays
            && let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
        {
            passed.append(name, value);
        }
    }
    if passed.contains_key(ACCEPT_ENCODING) {
        let coding = if takes_gzip(&passed) { LOOKED_THROUGH } else { "identity" };
        passed.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
    }
    passed
}

/// Whether `Accept-Encoding` takes gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offers.flat_map(|value| value.split(',')).any(|offer| {
        let (coding, weight) = offer.split_once(';').unwrap_or((offer, ""));
        let is_gzip = ["gzip", "x-gzip", "*"].iter().any(|name| coding.trim().eq_ignore_ascii_case(name));
        let weight = weight.trim().trim_start_matches(['q', 'Q']).trim_start().trim_start_matches('=').trim();
        let is_zero = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
        is_gzip && !is_zero
    })
}

/// The header names that `Connection` nominates as hop-by-hop.
fn nominated<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<&'a str> {
    headers
        .filter(|(name, _)| *name == "connection")
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| {
            !name.is_empty()
                && !name.eq_ignore_ascii_case("close")
                && !name.eq_ignore_ascii_case("keep-alive")
        })
        .collect()
}

/// The upstream's headers that go down: none that holds `secret`, none that leads around the gateway.
///
/// Public for the crate that feeds it anything.
#[doc(hidden)]
pub fn down(mut headers: HeaderMap, secret: &str, upstream: &str, origin: Option<&str>) -> HeaderMap {
    if headers.contains_key(CONNECTION) {
        drop_nominated(&mut headers);
    }
    let mut finder = None;
    let mut is_secret_in = |value: &HeaderValue| {
        value.len() >= secret.len()
            && finder.get_or_insert_with(|| Finder::new(secret.as_bytes())).find(value.as_bytes()).is_some()
    };
    let goes = |(name, value): (&HeaderName, &HeaderValue)| {
        (is_kept_from_client(name.as_str()) || is_address(name.as_str()) || is_secret_in(value))
            .then(|| name.clone())
    };
    let mut going: SmallVec<[HeaderName; 8]> = headers.iter().filter_map(goes).collect();
    going.dedup(); // the values of a name come one after the other
    for name in going {
        let Some(value) = headers.remove(&name).filter(|_| is_address(name.as_str())) else { continue };
        if let Some(address) = value.to_str().ok().and_then(|address| own_address(address, upstream, origin))
            && let Ok(value) = HeaderValue::from_str(&address)
            && !is_secret_in(&value)
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// Drops what `Connection` names as belonging to it.
fn drop_nominated(headers: &mut HeaderMap) {
    let nominating: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
    for connection in &nominating {
        for name in connection.to_str().unwrap_or_default().split(',').map(str::trim) {
            headers.remove(name);
        }
    }
}

/// An upstream address as one of the gateway's own; `None` for an address elsewhere.
fn own_address(address: &str, upstream: &str, origin: Option<&str>) -> Option<String> {
    if is_own_path(address) {
        return Some(address.to_owned());
    }
    let path = address.strip_prefix(upstream).filter(|path| is_own_path(path))?;
    Some(format!("{}{path}", origin.unwrap_or_default()))
}

/// Whether every client takes it for a path: browsers read `/\host` as `//host`, and `/<tab>/host` too.
fn is_own_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_names(headers: &[(&str, &str)]) -> Vec<String> {
        let passed = up(|| headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        passed.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn credentials_cookies_and_forwarding_traces_stay() {
        let names = up_names(&[
            ("authorization", "Bearer x"),
            ("x-goog-api-key", "x"),
            ("cookie", "a=b"),
            ("openai-organization", "o"),
            ("openai-project", "p"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-anything", "y"),
            ("forwarded", "for=1.2.3.4"),
            ("x_goog_api_key", "x"),
            ("proxy-authorization", "Basic x"),
            ("user-agent", "sdk/1"),
            ("x-goog-api-client", "sdk/1"),
            ("x-not-yet-known", "1"),
        ]);
        assert_eq!(names, ["user-agent", "x-goog-api-client", "x-not-yet-known"]);
    }

    #[test]
    fn no_header_puts_another_method_in_the_place_of_the_requests() {
        let names = up_names(&[
            ("x-http-method-override", "GET"),
            ("x-http-method", "DELETE"),
            ("x-method-override", "PATCH"),
            ("x-method", "1"),
        ]);
        assert_eq!(names, ["x-method"]);
    }

    #[test]
    fn who_the_client_is_stays_whoever_in_front_says_it() {
        assert!(NOT_UP_FROM.is_sorted());
        assert!(NOT_UP_FROM.windows(2).all(|two| !two[1].starts_with(two[0])));
        let names = up_names(&[
            ("cf-connecting-ip", "203.0.113.9"),
            ("cf-ray", "8"),
            ("cf-access-jwt-assertion", "e"),
            ("true-client-ip", "203.0.113.9"),
            ("fastly-client-ip", "203.0.113.9"),
            ("x-azure-clientip", "203.0.113.9"),
            ("x-appengine-user-ip", "203.0.113.9"),
            ("x-client-ip", "203.0.113.9"),
            ("x-cluster-client-ip", "203.0.113.9"),
            ("x-envoy-external-address", "203.0.113.9"),
            ("x-amzn-trace-id", "Root=1"),
            ("x-amz-cf-id", "a"),
            ("cloudfront-viewer-address", "203.0.113.9:1"),
            ("cdn-loop", "cloudflare"),
            ("fly-client-ip", "203.0.113.9"),
            ("x-vercel-forwarded-for", "203.0.113.9"),
            ("x-nf-client-connection-ip", "203.0.113.9"),
            ("x-original-forwarded-for", "203.0.113.9"),
            ("x-original-host", "gate"),
            ("x-request-start", "t=1"),
            ("x-real-ip", "203.0.113.9"),
            ("x-forwarded", "203.0.113.9"),
            ("tailscale-user-login", "a@b"),
            ("x-goog-authenticated-user-email", "a@b"),
            ("x-auth-request-user", "a"),
            ("remote-user", "a"),
            ("http2-settings", "AAMAAABk"),
            ("x-goog-request-params", "a=b"),
            ("x-stainless-os", "Linux"),
            ("x-server-timeout", "30"),
            ("x-goog-upload-command", "start"),
            ("traceparent", "00-1-2-01"),
            ("accept", "*/*"),
        ]);
        assert_eq!(
            names,
            [
                "x-goog-request-params",
                "x-stainless-os",
                "x-server-timeout",
                "x-goog-upload-command",
                "traceparent",
                "accept"
            ]
        );
    }

    #[test]
    fn no_coding_is_asked_for_that_cannot_be_looked_through() {
        let asked = |offered: &[&str]| {
            let passed = up(|| offered.iter().map(|value| ("accept-encoding", value.as_bytes())));
            let values: Vec<_> = passed
                .get_all(ACCEPT_ENCODING)
                .iter()
                .map(|value| value.to_str().unwrap().to_owned())
                .collect();
            values.join("|")
        };
        assert_eq!(asked(&[]), "");
        for offered in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5", "*", "deflate, x-gzip"] {
            assert_eq!(asked(&[offered]), "gzip", "{offered}");
        }
        assert_eq!(asked(&["br", "gzip"]), "gzip");
        for offered in ["br", "deflate, zstd", "identity", "", "gzip;q=0, br", "*; q=0", "gzip ; q = 0.000"] {
            assert_eq!(asked(&[offered]), "identity", "{offered}");
        }
    }

    #[test]
    fn headers_that_connection_nominates_stay() {
        let names = up_names(&[
            ("connection", "Keep-Alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "5"),
            ("x-other", "1"),
        ]);
        assert_eq!(names, ["x-other"]);
    }

    #[test]
    fn repeated_headers_all_pass() {
        let passed = up(|| [("x-a", &b"1"[..]), ("x-a", b"2")].into_iter());
        assert_eq!(passed.get_all("x-a").iter().count(), 2);
    }

    fn from_upstream(headers: &[(&'static str, &str)]) -> HeaderMap {
        let map = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        down(map, "AIza-canary", "https://generativelanguage.googleapis.com", Some("http://gate:8000"))
    }

    #[test]
    fn what_leads_around_the_gateway_does_not_come_down() {
        let passed = from_upstream(&[
            ("server", "scaffolding on HTTPServer2"),
            ("alt-svc", "h3=\":443\""),
            ("set-cookie", "a=b"),
            ("x-guploader-uploadid", "AB7"),
            ("server-timing", "gfet4t7; dur=1"),
            ("x-gemini-service-tier", "standard"),
            ("retry-after", "3"),
        ]);
        let mut names: Vec<_> = passed.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["retry-after", "server-timing", "x-gemini-service-tier"]);
    }

    #[test]
    fn upstream_addresses_become_the_gateways_own() {
        let passed = from_upstream(&[
            ("location", "https://generativelanguage.googleapis.com/v1beta/x?y=1"),
            (
                "x-goog-upload-url",
                "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=7",
            ),
        ]);
        assert_eq!(passed["location"], "http://gate:8000/v1beta/x?y=1");
        assert_eq!(passed["x-goog-upload-url"], "http://gate:8000/upload/v1beta/files?upload_id=7");
        assert!(from_upstream(&[("location", "https://elsewhere.example/x")]).is_empty());
        assert!(
            from_upstream(&[("location", "https://generativelanguage.googleapis.com.evil.example/x")])
                .is_empty()
        );
        for around in
            ["//elsewhere.example/x", "/\\elsewhere.example", "/\t/elsewhere.example", "/ /elsewhere.example"]
        {
            let whole = format!("https://generativelanguage.googleapis.com{around}");
            for address in [around, &whole] {
                assert!(from_upstream(&[("location", address)]).is_empty(), "{address:?}");
            }
        }
    }

    #[test]
    fn a_header_that_holds_the_key_does_not_come_down() {
        assert!(from_upstream(&[("x-debug", "consumer=api_key:AIza-canary;")]).is_empty());
    }
}

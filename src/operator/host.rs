//! The names by which the operator's listener is known: a request of a browser that calls it otherwise comes from a page that
//! has had its own name point here (DNS rebinding). Asked by `gate`.

use actix_web::HttpRequest;
use std::net::{IpAddr, SocketAddr};

/// The names. See the module.
#[derive(Clone, Debug)]
pub(super) struct OwnNames {
    /// `https` where the listener has TLS.
    scheme: &'static str,
    address: IpAddr,
    /// `admin.host`, perhaps a name.
    host: String,
    /// `admin.public_url` as an origin, such as `https://gw.example`.
    public: Option<String>,
}

/// Where a request was sent to, as it says itself, and found to be here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnOrigin {
    /// The origins that a page of ours may have.
    origins: Vec<String>,
    /// Whether browsers come by TLS.
    pub(super) is_secure: bool,
}

impl OwnOrigin {
    /// Returns whether this is the origin of our own page.
    pub(super) fn is(&self, origin: &str) -> bool {
        self.origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
    }
}

impl OwnNames {
    /// `public` is an origin: a scheme and an authority.
    pub(super) fn new(
        scheme: &'static str,
        address: SocketAddr,
        host: String,
        public: Option<String>,
    ) -> Self {
        Self { scheme, address: address.ip(), host, public }
    }

    /// Returns where a request was sent to; `None` if that is not here.
    pub(super) fn of(&self, request: &HttpRequest) -> Option<OwnOrigin> {
        let mut hosts = request.headers().get_all("host");
        let host = hosts.next()?.to_str().ok()?;
        let named = request.uri().authority().map(actix_web::http::uri::Authority::as_str);
        // The target of a request in absolute form goes before `Host`; both have to be ours.
        let is_ours = hosts.next().is_none() && self.is_own(host) && named.is_none_or(|it| self.is_own(it));
        is_ours.then(|| self.origin(named.unwrap_or(host)))
    }

    fn origin(&self, authority: &str) -> OwnOrigin {
        match &self.public {
            // A proxy may pass its own name on, or the listener's; the browser knows the public one.
            Some(public)
                if self.public_authority().is_some_and(|own| own.eq_ignore_ascii_case(authority)) =>
            {
                OwnOrigin { origins: vec![public.clone()], is_secure: public.starts_with("https://") }
            }
            _ => OwnOrigin {
                origins: vec![format!("{}://{authority}", self.scheme)],
                is_secure: self.scheme == "https",
            },
        }
    }

    fn public_authority(&self) -> Option<&str> {
        self.public.as_deref()?.split_once("://").map(|(_, authority)| authority)
    }

    /// Whether an authority is the listener's own, loopback's under whatever port a tunnel gave it, or the public one.
    fn is_own(&self, authority: &str) -> bool {
        if self.public_authority().is_some_and(|own| own.eq_ignore_ascii_case(authority)) {
            return true;
        }
        let host = host_of(authority);
        if host.eq_ignore_ascii_case("localhost") || host.eq_ignore_ascii_case(&self.host) {
            return true;
        }
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        // A listener on every address is called by any of them, and behind a container's port by others yet; who has a name of
        // its own point here cannot make it an address.
        let is_own = |address: IpAddr| {
            address.is_loopback() || address == self.address || self.address.is_unspecified()
        };
        bare.parse::<IpAddr>().is_ok_and(is_own)
    }
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn names(public: Option<&str>) -> OwnNames {
        on("http", "127.0.0.1", public)
    }

    fn on(scheme: &'static str, host: &str, public: Option<&str>) -> OwnNames {
        let address = SocketAddr::new(host.parse().unwrap_or([192, 0, 2, 7].into()), 8001);
        OwnNames::new(scheme, address, host.to_owned(), public.map(str::to_owned))
    }

    fn of(names: &OwnNames, host: &str) -> Option<OwnOrigin> {
        names.of(&TestRequest::get().insert_header(("host", host)).to_http_request())
    }

    #[test]
    fn a_listener_that_others_reach_is_called_by_its_address_or_its_name() {
        let everywhere = on("https", "0.0.0.0", None);
        for host in ["192.0.2.1:8001", "[2001:db8::1]:8001", "localhost:8001"] {
            let own = of(&everywhere, host).unwrap();
            assert!(
                own.is_secure && own.is(&format!("https://{host}")) && !own.is(&format!("http://{host}"))
            );
        }
        assert!(of(&everywhere, "evil.example:8001").is_none());
        let named = on("https", "gw.lan", None);
        assert!(of(&named, "GW.lan:8001").is_some() && of(&named, "192.0.2.7:8001").is_some());
        for host in ["192.0.2.8:8001", "gw.lan.evil.example", "evil.example"] {
            assert!(of(&named, host).is_none(), "{host}");
        }
    }

    #[test]
    fn the_listener_answers_to_its_own_names_only() {
        for host in ["127.0.0.1:8001", "127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:8001", "127.8.8.8"]
        {
            assert!(of(&names(None), host).is_some(), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8001",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "gw.example",
            "",
            ":8001",
            "0.0.0.0:8001",
            "user@127.0.0.1",
        ] {
            assert!(of(&names(None), host).is_none(), "{host}");
        }
        let twice = TestRequest::get().append_header(("host", "localhost")).append_header(("host", "evil"));
        assert!(names(None).of(&twice.to_http_request()).is_none());
        assert!(names(None).of(&TestRequest::get().to_http_request()).is_none());
    }

    #[test]
    fn behind_a_proxy_it_has_its_public_name_too() {
        let names = names(Some("https://gw.example"));
        let own = of(&names, "gw.example").unwrap();
        assert!(own.is_secure && own.is("https://gw.example") && !own.is("http://gw.example"));
        let local = of(&names, "127.0.0.1:8001").unwrap();
        assert!(!local.is_secure && local.is("http://127.0.0.1:8001"));
        assert!(!local.is("http://127.0.0.1") && !local.is("null"));
        assert!(of(&names, "other.example").is_none());
    }
}

//! Where the shared state is: the setting `cluster.url`, read once at the start. It may hold a user and a password, which
//! are kept apart and never shown.

use std::{error, fmt};

use percent_encoding::percent_decode_str;

use crate::password::RedisPassword;

/// Where Redis listens if the address names no port.
const REDIS_PORT: u16 = 6379;
/// Where a Sentinel listens if the address names no port.
const SENTINEL_PORT: u16 = 26379;
/// How many Sentinels an address may name.
const MAX_SENTINELS: usize = 16;
/// Host names are no longer than this (RFC 1035), and nothing else in an address needs to be.
const MAX_PART: usize = 253;

/// An address that has been read: `redis://`, `rediss://` (TLS), `redis+sentinel://` or `rediss+sentinel://`.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterAddress {
    pub(crate) servers: Servers,
    pub(crate) tls: bool,
    pub(crate) database: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<RedisPassword>,
}

/// Who is asked for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// One server.
    One(Endpoint),
    /// The server that these say is the primary of the service.
    Sentinels {
        /// At least one.
        sentinels: Vec<Endpoint>,
        /// What the Sentinels call it.
        service: String,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an address; one of IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why an address cannot be used. Shows nothing of it but the scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Another scheme than those this version knows.
    Scheme(String),
    /// A Redis Cluster, which this version does not speak to.
    NotYet,
    /// The part named is missing or is not what belongs there.
    Bad(&'static str),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(scheme) => write!(
                f,
                "{scheme:?} is no scheme for it: write redis://host:6379/0, rediss:// for TLS, or \
                 redis+sentinel://host1:26379,host2:26379/service"
            ),
            Self::NotYet => f.write_str(
                "a Redis Cluster cannot be used, not yet: write redis:// for one server, or redis+sentinel:// for a \
                 primary with replicas",
            ),
            Self::Bad(part) => write!(f, "it has no usable {part}"),
        }
    }
}

impl error::Error for AddressError {}

impl ClusterAddress {
    /// Reads what the operator wrote. User and password may be in it, with `%40` for `@` and so on.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(AddressError::Bad("scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        let (tls, sentinel) = match scheme.as_str() {
            "redis" | "valkey" => (false, false),
            "rediss" | "valkeys" => (true, false),
            "redis+sentinel" | "valkey+sentinel" => (false, true),
            "rediss+sentinel" | "valkeys+sentinel" => (true, true),
            "redis-cluster" | "rediss-cluster" => return Err(AddressError::NotYet),
            // A mistyped address may have its password where the scheme belongs.
            _ if scheme.len() <= 32 && !scheme.contains(['@', ':', '/']) => {
                return Err(AddressError::Scheme(scheme));
            }
            _ => return Err(AddressError::Bad("scheme")),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Bad("end: options after ? or # are not known"));
        }
        // A password may hold a slash that its writer forgot to escape; a path never holds an @.
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password) = credentials(user)?;
        let port = if sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let mut endpoints = hosts.split(',').map(|host| Endpoint::parse(host, port));
        let (servers, database) = if sentinel {
            let sentinels: Vec<_> = endpoints.collect::<Result<_, _>>()?;
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            if sentinels.len() > MAX_SENTINELS {
                return Err(AddressError::Bad("list of Sentinels: at most 16 may be named"));
            }
            if service.is_empty() || service.len() > MAX_PART {
                return Err(AddressError::Bad("service: redis+sentinel://host:26379/SERVICE"));
            }
            (Servers::Sentinels { sentinels, service: decoded(service, "service")? }, database)
        } else {
            let one = endpoints.next().ok_or(AddressError::Bad("host"))??;
            if endpoints.next().is_some() {
                return Err(AddressError::Bad("host: several are for redis+sentinel://"));
            }
            (Servers::One(one), path)
        };
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| AddressError::Bad("database: it is a number"))?,
        };
        Ok(Self { servers, tls, database, username, password })
    }

    /// Returns whether somebody on the way could read and change what goes there: no TLS, and another machine.
    pub fn is_exposed(&self) -> bool {
        let is_here = |endpoint: &Endpoint| {
            endpoint.host == "localhost"
                || endpoint.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        let here = match &self.servers {
            Servers::One(endpoint) => is_here(endpoint),
            Servers::Sentinels { sentinels, .. } => sentinels.iter().all(is_here),
        };
        !self.tls && !here
    }

    /// Returns whether the address itself holds a password, which then is also in the file or variable it came from.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }
}

impl Endpoint {
    fn parse(text: &str, default_port: u16) -> Result<Self, AddressError> {
        let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(AddressError::Bad("port"))?)),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let is_usable = if text.starts_with('[') {
            host.parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && is_name(host)
        };
        if host.len() > MAX_PART || !is_usable {
            return Err(AddressError::Bad("host"));
        }
        let port = match port {
            None => default_port,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Bad("port"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Without user and password.
impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        match &self.servers {
            Servers::One(endpoint) => write!(f, "://{endpoint}/{}", self.database),
            Servers::Sentinels { sentinels, service } => {
                f.write_str("+sentinel://")?;
                for (place, sentinel) in sentinels.iter().enumerate() {
                    write!(f, "{}{sentinel}", if place == 0 { "" } else { "," })?;
                }
                write!(f, "/{service}/{}", self.database)
            }
        }
    }
}

impl fmt::Debug for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterAddress({self})")
    }
}

fn credentials(user: Option<&str>) -> Result<(Option<String>, Option<RedisPassword>), AddressError> {
    let Some(user) = user else { return Ok((None, None)) };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let some = |text: &str, part| {
        if text.is_empty() { Ok(None) } else { decoded(text, part).map(Some) }
    };
    Ok((some(name, "user")?, some(password, "password")?.map(RedisPassword::new)))
}

fn decoded(text: &str, part: &'static str) -> Result<String, AddressError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| AddressError::Bad(part))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_understood_and_without_its_password() {
        for (given, shown) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://127.0.0.1:7000/3", "redis://127.0.0.1:7000/3"),
            ("valkeys://cache", "rediss://cache:6379/0"),
            ("rediss://gate:s%40cret@cache:7000", "rediss://cache:7000/0"),
            ("redis://:p/ss@w@[::1]:7000/", "redis://[::1]:7000/0"),
            ("redis+sentinel://a,b:1,[::1]/pool", "redis+sentinel://a:26379,b:1,[::1]:26379/pool/0"),
            ("rediss+sentinel://u:p@a/pool/2", "rediss+sentinel://a:26379/pool/2"),
        ] {
            let address = ClusterAddress::parse(given).unwrap();
            assert_eq!(address.to_string(), shown, "{given}");
            assert_eq!(format!("{address:?}"), format!("ClusterAddress({shown})"));
            assert_eq!(ClusterAddress::parse(shown).unwrap().to_string(), shown, "it reads its own words");
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let address = ClusterAddress::parse("redis://gate:s%40c%3Aret:x@cache").unwrap();
        assert_eq!(address.username.as_deref(), Some("gate"));
        assert_eq!(address.password.as_ref().map(RedisPassword::expose), Some("s@c:ret:x"));
        let alone = ClusterAddress::parse("redis://:secret@cache").unwrap();
        assert_eq!((alone.username.as_deref(), alone.has_password()), (None, true));
        assert!(!ClusterAddress::parse("redis://gate@cache").unwrap().has_password());
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_words_that_show_no_password() {
        for (given, said) in [
            ("", "no usable scheme"),
            ("cache:6379", "no usable scheme"),
            ("u:hunter2@cache://x", "no usable scheme"),
            ("http://hunter2@cache", "\"http\" is no scheme"),
            ("redis-cluster://u:hunter2@a,b", "not yet"),
            ("redis://", "no usable host"),
            ("redis://u:hunter2@/0", "no usable host"),
            ("redis://u:hunter2@a,b", "several are for"),
            ("redis://u:hunter2@a:port", "no usable port"),
            ("redis://a:0", "no usable port"),
            ("redis://a:70000", "no usable port"),
            ("redis://::1", "no usable host"),
            ("redis://[hunter2]", "no usable host"),
            ("redis://a b", "no usable host"),
            ("redis://a/hunter2", "no usable database"),
            ("redis://a?protocol=3", "options"),
            ("redis://:%ff@a", "no usable password"),
            ("redis+sentinel://a:1", "no usable service"),
        ] {
            let said_in_fact = ClusterAddress::parse(given).unwrap_err().to_string();
            assert!(said_in_fact.contains(said), "{given}: {said_in_fact}");
            assert!(!said_in_fact.contains("hunter2"), "{said_in_fact}");
        }
    }

    #[test]
    fn a_plain_address_elsewhere_is_exposed() {
        for (given, exposed) in [
            ("redis://localhost", false),
            ("redis://127.9.9.9", false),
            ("redis://[::1]", false),
            ("redis://cache", true),
            ("rediss://cache", false),
            ("redis+sentinel://127.0.0.1,cache/pool", true),
        ] {
            assert_eq!(ClusterAddress::parse(given).unwrap().is_exposed(), exposed, "{given}");
        }
    }
}

//! The operator's page as a caller of the gateway: the credential that the clients' listener knows it by, made anew with each
//! process and told to nobody, and where that listener is. `service` makes it, the playground calls with it.

use super::session::random_id;
use gemini_balance_actors::Secret;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

/// See the module.
#[derive(Clone)]
pub(crate) struct PageCaller(Arc<PageCallerState>);

struct PageCallerState {
    credential: Secret,
    clients: OnceLock<SocketAddr>,
}

impl PageCaller {
    /// Makes one that reaches nothing yet; `None` where the system has no random bytes.
    pub(crate) fn new() -> Option<Self> {
        let credential = Secret::new(random_id()?);
        Some(Self(Arc::new(PageCallerState { credential, clients: OnceLock::new() })))
    }

    /// Returns what the clients' listener knows the page by.
    pub(crate) fn credential(&self) -> &Secret {
        &self.0.credential
    }

    /// Says where the clients' listener is, that speaks plain HTTP.
    pub(crate) fn reaches(&self, mut address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let _ = self.0.clients.set(address);
    }

    /// Returns where the clients' listener is, if it can be spoken to.
    pub(super) fn clients(&self) -> Option<SocketAddr> {
        self.0.clients.get().copied()
    }
}

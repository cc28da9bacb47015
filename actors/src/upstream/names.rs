//! Finds the addresses of names: as the system does, and by what it said last where it says nothing now. A nameserver that
//! is away for a while then costs no connection to a host that was reached before; that it is the right host is for TLS to say.

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use std::{
    collections::BTreeMap,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tower_service::Service;

/// How long the system is waited for where an address is known already.
const PATIENCE: Duration = Duration::from_millis(500);
/// How old an address may be to stand in for an answer.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Of how many names addresses are kept. Names come from the configuration, and from redirects to hosts that it allows.
const MOST_NAMES: usize = 64;

/// Those of all workers: what one of them has found, all know.
static KNOWN: KnownAddresses = KnownAddresses::new();

/// Resolves names, and marks failures as such.
#[derive(Clone)]
pub(super) struct Names(GaiResolver);

impl Names {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

/// The system knows no address of a name.
#[derive(Debug)]
pub(super) struct NoAddress(pub(super) io::Error);

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NoAddress {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAddress>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        self.0.poll_ready(cx).map_err(NoAddress)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut system = self.0.clone();
        let asked = name.clone();
        Box::pin(async move {
            let ask = async move { Ok(system.call(asked).await?.collect()) };
            KNOWN.resolve(name.as_str(), ask).await.map(Vec::into_iter).map_err(NoAddress)
        })
    }
}

/// What the system said last.
struct KnownAddresses(Mutex<BTreeMap<String, Known>>);

struct Known {
    addresses: Vec<SocketAddr>,
    found_at: Instant,
    /// Whether the system is being asked again.
    is_asked: bool,
}

impl KnownAddresses {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Returns what the system answers, or else what it answered last.
    async fn resolve(
        &'static self,
        name: &str,
        ask: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        let Some((last, is_asked)) = self.last(name) else {
            let found = ask.await?;
            self.keep(name, &found);
            return Ok(found);
        };
        // One question at a time: those who wait for a nameserver that keeps silent must not pile up.
        if is_asked {
            return Ok(last);
        }
        let under_way = Asking { known: self, name: name.to_owned() };
        // A task of its own, so that an answer that comes late is known to the next.
        let asking = tokio::spawn(async move {
            let found = ask.await?;
            under_way.known.keep(&under_way.name, &found);
            io::Result::Ok(found)
        });
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Ok(found))) => Ok(found),
            _ => Ok(last),
        }
    }

    /// Returns what a name had last and whether that is being asked again, which it is from now on.
    fn last(&self, name: &str) -> Option<(Vec<SocketAddr>, bool)> {
        let mut names = self.names();
        let known = names.get_mut(name).filter(|known| known.found_at.elapsed() < OLDEST)?;
        Some((known.addresses.clone(), std::mem::replace(&mut known.is_asked, true)))
    }

    fn keep(&self, name: &str, found: &[SocketAddr]) {
        if found.is_empty() {
            return;
        }
        let mut names = self.names();
        if names.len() >= MOST_NAMES && !names.contains_key(name) {
            let oldest = names.iter().min_by_key(|(_, known)| known.found_at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| names.remove(&oldest));
        }
        let known = Known { addresses: found.to_owned(), found_at: Instant::now(), is_asked: false };
        names.insert(name.to_owned(), known);
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The system is asked about a name that has an address. It is over when this is dropped, answered or not.
struct Asking {
    known: &'static KnownAddresses,
    name: String,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(known) = self.known.names().get_mut(&self.name) {
            known.is_asked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn addresses(last: u8) -> Vec<SocketAddr> {
        vec![([127, 0, 0, last], 0).into()]
    }

    fn known() -> &'static KnownAddresses {
        Box::leak(Box::new(KnownAddresses::new()))
    }

    fn none() -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("no such name"))
    }

    #[tokio::test]
    async fn what_was_never_found_fails_and_what_was_goes_on() {
        let known = known();
        assert!(known.resolve("google", ready(none())).await.is_err());
        assert_eq!(known.resolve("google", ready(Ok(addresses(1)))).await.unwrap(), addresses(1));
        assert_eq!(known.resolve("google", ready(none())).await.unwrap(), addresses(1));
        assert!(known.resolve("other", ready(none())).await.is_err());
        assert_eq!(known.resolve("google", ready(Ok(addresses(2)))).await.unwrap(), addresses(2));
        assert_eq!(known.resolve("google", ready(none())).await.unwrap(), addresses(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_nameserver_that_keeps_silent_is_waited_for_by_one_and_not_for_long() {
        let known = known();
        known.keep("google", &addresses(1));
        let begun = tokio::time::Instant::now();
        assert_eq!(known.resolve("google", pending()).await.unwrap(), addresses(1));
        assert_eq!(begun.elapsed(), PATIENCE);
        for _ in 0..100 {
            let nobody_asks = async { panic!("a second question") };
            assert_eq!(known.resolve("google", nobody_asks).await.unwrap(), addresses(1));
        }
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_late_is_known_to_the_next() {
        let known = known();
        known.keep("google", &addresses(1));
        let late = async {
            tokio::time::sleep(2 * PATIENCE).await;
            Ok(addresses(2))
        };
        assert_eq!(known.resolve("google", late).await.unwrap(), addresses(1));
        tokio::time::sleep(2 * PATIENCE).await;
        assert_eq!(known.resolve("google", ready(none())).await.unwrap(), addresses(2));
    }

    #[test]
    fn no_more_names_are_kept_than_the_bound_and_the_oldest_goes_first() {
        let known = known();
        for n in 0..=MOST_NAMES {
            known.keep(&n.to_string(), &addresses(1));
        }
        assert_eq!(known.names().len(), MOST_NAMES);
        assert!(known.last("0").is_none());
        assert!(known.last("1").is_some());
    }
}

//! What goes wrong around a gateway, row by row of the table in `docs/reliability.md`, with what is to be as before after each
//! of it. A case is written once: its test runs it small and asks for its counts, `long` runs it with the table's own
//! figures, times and memory included, and alone, since a busy machine has other times.

mod addresses;
mod chaos;
pub(crate) mod clock;
mod descriptors;
mod figures;
mod leaving;
mod load;
mod long;
mod overload;
mod panics;
mod records;
mod senders;
mod stalled;
mod stops;
mod timers;
mod uploads;

use crate::{
    support::{Gateway, client, prompt},
    wire::{exchange, request},
};
use figures::{Row, Size};
use serde_json::Value;
use std::time::{Duration, Instant};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

async fn ready(gateway: &Gateway) -> Value {
    exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await.json()
}

/// Status of a request that is answered at once, whatever the simulator's answers look like.
async fn listed(gateway: &Gateway) -> u16 {
    client().get(gateway.url("/v1beta/models")).send().await.unwrap().status().as_u16()
}

/// Status of a request of one's own connection.
async fn status(gateway: &Gateway) -> u16 {
    client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap().status().as_u16()
}

/// Fails, saying why, where the machine does not let a test do what it must.
fn needs_root() {
    let user = std::process::Command::new("id").arg("-u").output().unwrap().stdout;
    assert_eq!(
        String::from_utf8(user).unwrap().trim(),
        "0",
        "this needs root: sudo -E env PATH=\"$PATH\" cargo test ..."
    );
}

/// What is to be as it was when a fault is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline {
    /// Unless the process lets nobody see them but root.
    descriptors: Option<usize>,
}

/// How many descriptors are open, where that may be seen: a release build's are for root to see.
fn open_descriptors(gateway: &Gateway) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).ok()?.count())
}

impl Baseline {
    /// Of a gateway that has served.
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self { descriptors: open_descriptors(gateway) }
    }

    /// That no lease, request or descriptor is left five seconds later, that health says that requests are served,
    /// which they are, and that nothing has panicked. Connections to the upstream that are kept for the next request may stay.
    pub(crate) async fn returns(self, gateway: &Gateway, kept: usize) {
        self.is_back(gateway, kept).await;
        assert!(!gateway.output().contains("panicked"), "{}", gateway.output());
    }

    /// The same of a gateway in which something was made to panic.
    async fn is_back(self, gateway: &Gateway, kept: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let (health, now) = (ready(gateway).await, Self::of(gateway));
            let left =
                [&health["keys"]["in_flight"], &health["keys"]["waiting"], &health["requests_in_flight"]];
            if left.iter().all(|left| **left == 0)
                && now.descriptors <= self.descriptors.map(|count| count + kept)
            {
                assert_eq!(health["status"], "ok", "{health}");
                break;
            }
            assert!(Instant::now() < deadline, "{self:?} has become {now:?}: {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(listed(gateway).await, 200);
    }
}

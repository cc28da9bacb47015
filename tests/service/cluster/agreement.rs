//! Gateways of one cluster whose keys or settings are not the same: which part differs is said, and no more.

use super::{ADMIN, Gateways};
use crate::support::{client, simulator};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

impl Gateways {
    /// In which parts a gateway differs from another, as that one sees it.
    async fn differs(&self, seen_by: usize, gateway: usize) -> Value {
        let cluster = self.cluster(seen_by).await;
        let name = format!("gw-{}", gateway + 1);
        let gateways = cluster["gateways"].as_array().unwrap();
        gateways.iter().find(|one| one["name"] == *name).unwrap()["differs_in"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_differ_are_named_by_their_part() {
    let simulator = simulator(1).await;
    let started = AtomicUsize::new(0);
    let gateways = Gateways::start_with(&simulator, 1, 4, |options| {
        match started.fetch_add(1, Ordering::Relaxed) {
            0 => options,
            1 => options.set("limits", "[{rpm=7}]").set("pool.max_wait_ms", 7_000),
            // Of its machine, and nobody else's affair.
            2 => options.set("server.write_timeout_s", 77).set("usage.path", "\"u.db\""),
            _ => options.set("usage.day_zone", "\"Europe/Berlin\""),
        }
    })
    .await;
    assert_eq!(gateways.differs(0, 1).await, json!(["limits", "rules"]));
    assert_eq!(gateways.differs(1, 2).await, json!(["limits", "rules"]));
    assert_eq!(gateways.differs(0, 2).await, json!([]));
    assert_eq!(gateways.differs(0, 3).await, json!(["day_zone"]), "its days are others");
    let (status, text) = gateways.command(0, &["cluster"]);
    assert!(status == 2 && text.contains("differ in limits, rules"), "{status} {text}");
    assert!(text.contains("differ in day_zone"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_added_to_one_gateway_is_missed_by_the_others() {
    let simulator = simulator(1).await;
    let gateways = Gateways::start(&simulator, 1, 2).await;
    assert_eq!(gateways.differs(0, 1).await, json!([]));
    let (options, _) = &gateways.all[1];
    let url = format!("http://127.0.0.1:{}/api/keys", options.setting("admin.port"));
    let key = "AIzaSyAddedToOneGatewayAlone012345678901";
    let added = client().post(&url).bearer_auth(ADMIN).header("content-type", "text/plain").body(key);
    let added: Value = serde_json::from_slice(&added.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let id = added["added"][0].as_str().unwrap_or_else(|| panic!("{added}"));
    for [seen_by, gateway] in [[0, 1], [1, 0]] {
        gateways.until("it is seen", async |it| it.differs(seen_by, gateway).await == json!(["keys"])).await;
    }
    client()
        .delete(format!("{url}/{id}"))
        .bearer_auth(ADMIN)
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    gateways.until("they agree again", async |it| it.differs(0, 1).await == json!([])).await;
}

//! Traces that begin, move to another collector and end while the gateway runs.

use super::{ALICE, Configured, changed};
use crate::{support::wait_for, traces::Collector};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The ids of the requests that a collector has the spans of.
fn requests(collector: &Collector) -> BTreeSet<String> {
    let spans = collector.spans();
    let ids = spans.iter().filter_map(|(_, span)| {
        crate::traces::text(&span.attributes, "gemini_balance.request_id").filter(|_| span.kind == 2)
    });
    ids.collect()
}

/// Sends requests at once, awaits them, and returns their ids.
async fn served(it: &Configured, count: usize) -> BTreeSet<String> {
    let sent = (0..count).map(|_| async {
        let answer = it.send("alice-token-CANARY", &crate::support::prompt("x")).await;
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        answer.bytes().await.unwrap();
        id
    });
    futures_util::future::join_all(sent).await.into_iter().collect()
}

fn to(collector: &Collector, more: &str) -> String {
    format!("{ALICE}[traces]\nsample = 1.0\nendpoint = \"{}\"\n{more}", collector.url())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_begin_move_and_end_without_a_request_being_lost() {
    let it = Configured::start(&[0], ALICE).await;
    let (one, other) = (Collector::start(), Collector::start());
    let untraced = served(&it, 3).await;
    assert_eq!(it.ready().await["components"]["exporter"], Value::Null);

    let answer = it.reload(&[0], &to(&one, "")).await;
    assert_eq!(changed(&answer), ["traces.endpoint", "traces.sample"]);
    assert_eq!(answer["restart_needed"], json!([]));
    let first = served(&it, 5).await;
    wait_for("the first spans", || (requests(&one) == first).then_some(()));
    wait_for("an exporter", || {
        let ready = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(it.ready()));
        (ready["components"]["exporter"]["state"] == "up").then_some(())
    });

    // Whatever waits while the collector changes is sent to one of them, and to one only.
    let headers = it.path().join("headers");
    std::fs::write(&headers, "x-collector: first-CANARY\n").unwrap();
    let with_headers = to(&other, &format!("headers_file = \"{}\"\n", headers.display()));
    let (before, answer) = (served(&it, 5).await, it.reload(&[0], &with_headers).await);
    assert_eq!(changed(&answer), ["traces.endpoint", "traces.headers_file"]);
    let after = served(&it, 5).await;
    let all: BTreeSet<_> = first.iter().chain(&before).chain(&after).cloned().collect();
    wait_for("the spans of the change", || {
        (requests(&one).union(&requests(&other)).cloned().collect::<BTreeSet<_>>() == all).then_some(())
    });
    assert!(requests(&one).is_disjoint(&requests(&other)));
    assert!(requests(&other).is_superset(&after));
    assert!(other.posts().iter().all(|post| post.head.contains("x-collector: first-canary")));

    // A credential in the same file.
    let posts = other.posts().len();
    std::fs::write(&headers, "x-collector: second-CANARY\n").unwrap();
    assert_eq!(changed(&it.admin("POST", "/api/reload").await), ["traces.headers_file"]);
    let last = served(&it, 5).await;

    // What waits when traces end still goes to the last collector, and nothing after it.
    let answer = it.reload(&[0], ALICE).await;
    assert_eq!(answer["restart_needed"], json!([]));
    let untraced_again = served(&it, 5).await;
    wait_for("the last spans", || requests(&other).is_superset(&last).then_some(()));
    assert!(other.posts()[posts..].iter().all(|post| post.head.contains("x-collector: second-canary")));
    assert_eq!(it.ready().await["components"]["exporter"], Value::Null);
    it.reload(&[0], &to(&one, "")).await;
    let again = served(&it, 2).await;
    wait_for("spans once more", || requests(&one).is_superset(&again).then_some(()));
    let seen: BTreeSet<_> = requests(&one).union(&requests(&other)).cloned().collect();
    assert!(seen.is_disjoint(&untraced) && seen.is_disjoint(&untraced_again), "{seen:?}");
    assert!(!it.gateway.output().contains("are lost"));
    it.no_secret_is_logged();
}

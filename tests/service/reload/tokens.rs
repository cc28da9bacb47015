//! What a token that comes by a reload, or over the operator's listener, has used before.

use super::Configured;

/// A configuration with these tokens.
fn tokens(entries: &[&str]) -> String {
    format!("[auth]\ntokens = [{}]\n", entries.join(", "))
}

const BOB: &str = "{ name = \"bob\", secret = \"bob-token-CANARY\" }";
const ALICE: &str = "{ name = \"alice\", secret = \"alice-token-CANARY\" }";

fn alice(limits: &str) -> String {
    format!("{{ name = \"alice\", secret = \"alice-token-CANARY\", {limits} }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_removed_and_added_again_goes_on_where_it_was() {
    let limited = tokens(&[BOB, &alice("rpd = 3")]);
    let gateway = Configured::start(&[1], &limited).await;
    for expected in [200, 200] {
        assert_eq!(gateway.status("alice-token-CANARY").await, expected);
    }
    gateway.reload(&[1], &tokens(&[BOB])).await;
    assert_eq!(gateway.status("alice-token-CANARY").await, 401);
    gateway.reload(&[1], &limited).await;
    for expected in [200, 429] {
        assert_eq!(gateway.status("alice-token-CANARY").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_had_no_limits_is_held_against_what_it_has_used() {
    let gateway = Configured::start(&[1], &tokens(&[BOB, ALICE])).await;
    for _ in 0..3 {
        assert_eq!(gateway.status("alice-token-CANARY").await, 200);
    }
    for (limits, left) in [("rpm = 4", 1), ("rpd = 6", 2), ("budget = { tokens_month = 20 }", 0)] {
        gateway.reload(&[1], &tokens(&[BOB, &alice(limits)])).await;
        for _ in 0..left {
            assert_eq!(gateway.status("alice-token-CANARY").await, 200, "{limits}");
        }
        assert_eq!(gateway.status("alice-token-CANARY").await, 429, "{limits}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_comes_after_a_restart_begins_with_what_a_former_life_has_counted() {
    let mut gateway = Configured::start(&[1], &tokens(&[BOB, ALICE])).await;
    for _ in 0..3 {
        assert_eq!(gateway.status("alice-token-CANARY").await, 200);
    }
    gateway.gateway.signal("TERM");
    gateway.gateway.wait_for_end();
    gateway.write(&gateway.config(&[1], &tokens(&[BOB])));
    gateway.gateway = gateway.options.start_in(gateway.path());
    gateway.reload(&[1], &tokens(&[BOB, &alice("rpd = 4")])).await;
    for expected in [200, 429] {
        assert_eq!(gateway.status("alice-token-CANARY").await, expected);
    }
}

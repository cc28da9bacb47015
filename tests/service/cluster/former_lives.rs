//! What a gateway's former lives have let in of clients' tokens, by its usage book: it counts on everywhere, whatever becomes of
//! Redis and of the book.

use super::{
    Gateways,
    callers::{copy, entry, three, without_redis},
    usage::forget_all,
};
use crate::support::{Gateway, simulator};
use gemini_balance_cluster::conformance::RedisServer;
use std::{path::Path, time::Duration};

/// Ends the last gateway and starts it again in a folder that has been made ready meanwhile.
async fn renew_the_last(gateways: &mut Gateways, make_ready: impl FnOnce(&Gateway), folder: &Path) {
    let (options, mut former) = gateways.all.pop().unwrap();
    former.signal("TERM");
    assert!(former.wait(Duration::from_secs(20)).success());
    make_ready(&former);
    let renewed = options.start_in(folder);
    gateways.all.push((options, renewed));
    gateways.until("it has joined", async |it| it.cluster(2).await["alone"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_has_lost_everything_is_told_all_by_gateways_that_nobody_asks_and_what_former_lives_have_used()
 {
    let simulator = simulator(3).await;
    let mut gateways = three(&simulator, &[entry("bob", "rpd=7")]).await;
    for n in [1, 2, 2, 2] {
        assert_eq!(gateways.ask_as(n, "bob").await.status, 200);
    }
    let folder = tempfile::tempdir().unwrap();
    renew_the_last(&mut gateways, |former| copy(&former.folder(), folder.path()), folder.path()).await;
    // Nobody asks the second one or the third for anything any more, and the first has to know what both have used.
    let mut used = 4;
    for is_away in [false, true] {
        if is_away {
            let (other, port) = without_redis(gateways);
            tokio::time::sleep(Duration::from_millis(300)).await;
            gateways = Gateways { redis: RedisServer::start_on(port, &[]), ..other };
        } else {
            forget_all(&gateways.redis);
        }
        // By then what the first one knew of them holds no more.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(gateways.used(0, "bob").await, used, "away: {is_away}");
        assert_eq!(gateways.ask_as(0, "bob").await.status, 200);
        used += 1;
        assert_eq!(gateways.used(0, "bob").await, used);
    }
    assert_eq!(gateways.ask_as(0, "bob").await.status, 200);
    for n in 0..3 {
        assert!(gateways.ask_as(n, "bob").await.is_refused_by("rpd"), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_former_lives_have_used_is_told_anew_though_the_usage_book_was_removed_meanwhile() {
    let simulator = simulator(3).await;
    let mut gateways = three(&simulator, &[entry("bob", "rpd=6")]).await;
    for n in [1, 2, 2] {
        assert_eq!(gateways.ask_as(n, "bob").await.status, 200);
    }
    let folder = tempfile::tempdir().unwrap();
    renew_the_last(&mut gateways, |former| copy(&former.folder(), folder.path()), folder.path()).await;
    let book = folder.path().join("data/usage.db");
    std::fs::remove_file(&book).unwrap();
    gateways.until("the book is begun anew", async |_| book.exists()).await;
    assert_eq!(gateways.ask_as(2, "bob").await.status, 200);
    for told in 0..2 {
        forget_all(&gateways.redis);
        tokio::time::sleep(Duration::from_secs(4)).await;
        for n in 0..3 {
            assert_eq!(gateways.used(n, "bob").await, 4 + told, "on {n}");
        }
        assert_eq!(gateways.ask_as(0, "bob").await.status, 200);
    }
    assert!(gateways.ask_as(1, "bob").await.is_refused_by("rpd"));
    // The next life of that one counts nothing twice.
    renew_the_last(&mut gateways, |_| {}, folder.path()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 0..3 {
        assert_eq!(gateways.used(n, "bob").await, 6, "on {n}");
    }
}

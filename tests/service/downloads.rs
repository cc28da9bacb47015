//! The bytes of generated files: exact by either path, and redirects followed by the gateway to hosts that may be followed
//! to, without the key, or not at all.

use crate::{
    projects::{Answer, Caller, File, Projects},
    raw::Upstream,
    support::{key_counts, secret},
};
use gemini_simulator::{Lifecycle, Simulator};
use serde_json::{Value, json};

/// What the simulator makes a video of.
const MP4: &[u8] = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2";

/// The simulator by a name that is not the upstream's.
fn elsewhere(simulator: &Simulator) -> String {
    format!("localhost:{}", simulator.addr().port())
}

/// A pool whose gateway follows redirects to these hosts (TOML), and a video in it.
async fn pool_with_video(hosts: impl FnOnce(&Simulator) -> String) -> (Projects, Caller, File) {
    let pool = Projects::start_with(
        3,
        2,
        "",
        |_| {},
        |options, simulator| options.set("upstream.redirect_hosts", hosts(simulator)),
    )
    .await;
    let caller = pool.caller(&secret(0));
    let (video, _) = caller.video("v1beta", json!({"prompt": "waves"})).await;
    (pool, caller, video)
}

fn redirect_to(pool: &Projects, target: String) {
    pool.simulator.set_lifecycle(Lifecycle { download_redirect: Some(target), ..Lifecycle::default() });
}

async fn download(caller: &Caller, video: &File) -> Answer {
    caller.send("GET", &format!("/v1beta/{}:download?alt=media", video.name), &Value::Null).await
}

/// The client has no file, and hears nothing of where it would have been sent.
fn is_not_followed(answer: &Answer, target: &str) {
    assert!(answer.status >= 300, "{} {}", answer.status, answer.text());
    assert_eq!(answer.header("location"), None);
    assert!(!answer.text().contains(target), "{}", answer.text());
    assert!(!format!("{:?}", answer.headers).contains(target), "{:?}", answer.headers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_file_is_fetched_byte_for_byte_by_either_path() {
    let (pool, caller, video) = pool_with_video(|_| "[]".to_owned()).await;
    for _ in 0..3 {
        for target in [
            format!("/v1beta/{}:download?alt=media", video.name),
            format!("/v1/{}:download?alt=media", video.name),
            format!("/download/v1beta/{}:download?alt=media", video.name),
        ] {
            let answer = caller.well("GET", &target, &Value::Null).await;
            assert_eq!((answer.body.as_slice(), answer.header("content-type")), (MP4, Some("video/mp4")));
        }
    }
    assert_eq!(pool.simulator.wrong_owners(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_an_allowed_host_is_followed_without_the_key() {
    let (pool, caller, video) = pool_with_video(|simulator| format!("[\"{}\"]", elsewhere(simulator))).await;
    redirect_to(&pool, format!("http://{}/media/{{name}}?signed=1", elsewhere(&pool.simulator)));
    let before = pool.count();
    let answer = download(&caller, &video).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, MP4), "{}", answer.text());
    assert_eq!(answer.header("location"), None);
    let requests = pool.arrived_after(before);
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let followed = &requests[1];
    assert_eq!(
        (followed.path.as_str(), followed.query.as_deref()),
        (format!("/media/{}", video.name).as_str(), Some("signed=1"))
    );
    assert_eq!(followed.key, None, "a key left for another host");
    for (name, value) in &followed.headers {
        assert!(!value.contains("AIza"), "{name} carries a key");
        assert!(
            !name.eq_ignore_ascii_case("authorization") && !name.eq_ignore_ascii_case("cookie"),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_another_host_is_not_followed_and_not_told() {
    let canary = Upstream::start("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\ncanary");
    let (pool, caller, video) = pool_with_video(|simulator| format!("[\"{}\"]", elsewhere(simulator))).await;
    let authority = canary.authority();
    let port = authority.rsplit(':').next().unwrap();
    let allowed = elsewhere(&pool.simulator);
    for target in [
        format!("http://{authority}/media/{{name}}"),
        format!("//{authority}/media/{{name}}"),
        format!("http://localhost:{port}/{{name}}"),
        format!("http://user:password@{allowed}/media/{{name}}"),
        format!("http://{allowed}@{authority}/{{name}}"),
        format!("http://{authority}/?http://{allowed}/{{name}}"),
        format!("http://{authority}#@{allowed}/{{name}}"),
        format!("http://{authority}\\@{allowed}/{{name}}"),
        "file:///etc/passwd".to_owned(),
    ] {
        redirect_to(&pool, target.clone());
        let answer = download(&caller, &video).await;
        is_not_followed(&answer, authority);
        assert_eq!(canary.connections(), 0, "{target} was followed");
    }
    redirect_to(&pool, format!("http://{}/media/{{name}}", elsewhere(&pool.simulator)));
    assert_eq!(download(&caller, &video).await.body, MP4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_allowed_host_refuses_is_told_and_no_keys_fault() {
    for (status, error) in [
        ("403 Forbidden", "PERMISSION_DENIED"),
        ("429 Too Many", "RESOURCE_EXHAUSTED"),
        ("503 Busy", "UNAVAILABLE"),
    ] {
        let body =
            format!("{{\"error\":{{\"code\":1,\"message\":\"API key not valid\",\"status\":\"{error}\"}}}}");
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close");
        let allowed = Upstream::start(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let authority = allowed.authority().to_owned();
        let (pool, caller, video) = pool_with_video(|_| format!("[\"{authority}\"]")).await;
        redirect_to(&pool, format!("{}/x", allowed.url));
        let before = key_counts(&pool.gateway).await;
        let answer = download(&caller, &video).await;
        assert_eq!((answer.status.to_string().as_str(), answer.text()), (&status[..3], body));
        assert_eq!(key_counts(&pool.gateway).await, before, "{status}");
        assert_eq!(allowed.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_host_does_not_lead_on_to_another() {
    let canary = Upstream::start("HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\ncanary");
    // As Google's front end words it, for those who read.
    let page =
        format!("<H1>302 Moved</H1>\nThe document has moved\n<A HREF=\"{}/x\">here</A>.\n", canary.url);
    let onward = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        canary.url,
        page.len()
    );
    let allowed = Upstream::start(onward);
    let authority = allowed.authority().to_owned();
    let (pool, caller, video) = pool_with_video(|_| format!("[\"{authority}\"]")).await;
    redirect_to(&pool, format!("{}/x", allowed.url));
    is_not_followed(&download(&caller, &video).await, canary.authority());
    assert_eq!((allowed.connections(), canary.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_that_goes_round_ends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{authority}/round\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let (pool, caller, video) = pool_with_video(|_| format!("[\"{authority}\"]")).await;
    redirect_to(&pool, format!("http://{authority}/round"));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), download(&caller, &video)).await;
    is_not_followed(&answer.expect("it goes round for ever"), &authority);
}

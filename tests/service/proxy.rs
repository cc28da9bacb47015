//! The way to Google through real proxies, and over TLS.

use crate::{
    live::Session,
    programs::Program,
    support::{
        Gateway, Options, TOKEN, client, free_port, prompt, secret, simulator, simulator_with, wait_for,
    },
    wire::{exchange, request},
};
use gemini_simulator::{Leaf, Simulator, Tls};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const USER: &str = "proxyuser";
const PASSWORD: &str = "CANARYproxypassword";

/// A proxy that runs until it is dropped.
struct Proxy {
    program: Program,
    port: u16,
}

impl Proxy {
    fn start(program: &str, arguments: impl FnOnce(u16, &std::path::Path) -> Vec<String>) -> Self {
        let port = free_port();
        let program =
            Program::start(program, "tinyproxy-bin microsocks", port, |folder| arguments(port, folder));
        Self { program, port }
    }

    fn http(authenticated: bool) -> Self {
        Self::start("tinyproxy", |port, folder| {
            let mut text = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\nAllow 127.0.0.1\n"
            );
            if authenticated {
                text += "BasicAuth proxyuser CANARYproxypassword\n";
            }
            let path = folder.join("tinyproxy.conf");
            std::fs::write(&path, text).unwrap();
            vec!["-d".to_owned(), "-c".to_owned(), path.display().to_string()]
        })
    }

    fn socks(authenticated: bool) -> Self {
        Self::start("microsocks", |port, _| {
            let mut arguments =
                vec!["-i".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()];
            if authenticated {
                arguments.extend(["-u", USER, "-P", PASSWORD].map(str::to_owned));
            }
            arguments
        })
    }

    /// Whether somebody has asked it for that port.
    fn was_asked_for(&self, port: u16) -> bool {
        self.program.output().lines().any(|line| line.contains(&port.to_string()))
    }

    /// Waits until somebody has: it logs a moment after it serves.
    fn wait_until_asked_for(&self, port: u16) {
        wait_for("word of the proxy", || self.was_asked_for(port).then_some(()));
    }
}

async fn generate(gateway: &Gateway) -> u16 {
    let answer = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains(PASSWORD), "{text}");
    assert_eq!(status == 200, text.contains("candidates"), "{text}");
    status
}

/// A simulator over TLS, and the file by which it is trusted.
async fn tls_simulator(leaf: Leaf) -> (Simulator, tempfile::NamedTempFile) {
    let simulator = simulator_with(1, |config| config.tls = Some(Tls { leaf })).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), simulator.ca_pem().unwrap()).unwrap();
    (simulator, file)
}

fn assert_nothing_leaked(gateway: &Gateway) {
    let mut text = gateway.output();
    for name in ["app.log", "transactions.log"] {
        text += &std::fs::read_to_string(gateway.folder().join("logs").join(name)).unwrap_or_default();
    }
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(!text.contains("Y2FuYXJ5") && !text.contains("Q0FOQVJZ"), "{text}");
    assert!(!text.contains(&secret(0)), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configured_proxy_is_used_in_each_of_its_forms() {
    let plain = simulator(1).await;
    let (encrypted, ca) = tls_simulator(Leaf::Good).await;
    let (http, socks) = (Proxy::http(true), Proxy::socks(true));
    let forms = [("http", &http), ("socks5", &socks), ("socks5h", &socks)];
    for (scheme, proxy) in forms {
        for upstream in [&plain, &encrypted] {
            let gateway = Options::new(&upstream.url(), 1)
                .set("upstream.proxy", format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{}", proxy.port))
                .set("upstream.ca_file", ca.path().display())
                .set("log.level", "trace")
                .start();
            assert_eq!(generate(&gateway).await, 200, "{scheme} {}", upstream.url());
            // An HTTP proxy passes an upgrade only through the tunnel that TLS has it make.
            if scheme != "http" || upstream.addr() == encrypted.addr() {
                let mut session = Session::begin(&gateway).await;
                assert_eq!(session.ask("hello").await, "you said: hello", "{scheme} {}", upstream.url());
            }
            proxy.wait_until_asked_for(upstream.addr().port());
            let seen = upstream.requests().pop().unwrap();
            assert_eq!(seen.key.as_deref(), Some(secret(0).as_str()));
            assert_eq!(
                (seen.header("proxy-authorization"), seen.header("x-goog-api-key")),
                (None, Some(secret(0).as_str()))
            );
            assert_nothing_leaked(&gateway);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environments_proxies_are_used_and_no_proxy_is_heeded() {
    let plain = simulator(1).await;
    let (encrypted, ca) = tls_simulator(Leaf::Good).await;
    let options =
        |upstream: &Simulator| Options::new(&upstream.url(), 1).set("upstream.ca_file", ca.path().display());
    for (variable, upstream) in [
        ("HTTP_PROXY", &plain),
        ("HTTPS_PROXY", &encrypted),
        ("ALL_PROXY", &plain),
        ("ALL_PROXY", &encrypted),
        ("https_proxy", &encrypted),
    ] {
        let proxy = Proxy::http(true);
        let url = format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", proxy.port);
        let gateway = options(upstream).env(variable, &url).set("log.level", "trace").start();
        assert_eq!(generate(&gateway).await, 200, "{variable}");
        proxy.wait_until_asked_for(upstream.addr().port());
        assert_nothing_leaked(&gateway);
        drop(gateway);

        let direct = Proxy::http(true);
        let url = format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", direct.port);
        let gateway = options(upstream).env(variable, url).env("NO_PROXY", "localhost,127.0.0.0/8").start();
        assert_eq!(generate(&gateway).await, 200, "{variable}");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!direct.was_asked_for(upstream.addr().port()), "NO_PROXY was passed by");
    }
    let socks = Proxy::socks(false);
    let gateway = options(&encrypted).env("ALL_PROXY", format!("socks5h://127.0.0.1:{}", socks.port)).start();
    assert_eq!(generate(&gateway).await, 200);
    socks.wait_until_asked_for(encrypted.addr().port());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_refuses_is_a_502_and_no_keys_fault() {
    let (encrypted, ca) = tls_simulator(Leaf::Good).await;
    let (http, socks) = (Proxy::http(true), Proxy::socks(true));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxies = [
        format!("http://127.0.0.1:{nobody}"),
        format!("socks5://127.0.0.1:{nobody}"),
        format!("http://{USER}:{PASSWORD}wrong@127.0.0.1:{}", http.port),
        format!("http://127.0.0.1:{}", http.port),
        format!("socks5h://{USER}:{PASSWORD}wrong@127.0.0.1:{}", socks.port),
    ];
    for proxy in proxies {
        let gateway = Options::new(&encrypted.url(), 1)
            .set("upstream.proxy", &proxy)
            .set("upstream.ca_file", ca.path().display())
            .set("pool.failure_threshold", 1)
            .set("log.level", "trace")
            .start();
        let begun = Instant::now();
        assert_eq!(generate(&gateway).await, 502, "{proxy}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{proxy}: {:?}", begun.elapsed());
        assert_nothing_leaked(&gateway);
        let health = exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await.json();
        assert_eq!(health["keys"]["available"], 1, "{proxy}: {health}");
        let (status, text) = Options::new(&encrypted.url(), 1)
            .set("upstream.proxy", &proxy)
            .set("upstream.ca_file", ca.path().display())
            .args(&["check"])
            .run();
        assert!(!status.success() && !text.contains(PASSWORD), "{text}");
    }
    assert_eq!(encrypted.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_upstream_is_spoken_to_over_http_2() {
    let (simulator, ca) = tls_simulator(Leaf::Good).await;
    let gateway = Options::new(&simulator.url(), 1).set("upstream.ca_file", ca.path().display()).start();
    for _ in 0..3 {
        assert_eq!(generate(&gateway).await, 200);
    }
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse");
    let stream = client().post(url).body(prompt("x")).send().await.unwrap().text().await.unwrap();
    assert_eq!(stream.matches("data: ").count(), 5);
    let requests = simulator.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| request.http == "2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_prove_who_it_is_never_sees_a_key() {
    for (leaf, trusted) in [(Leaf::Good, false), (Leaf::WrongHost, true), (Leaf::Expired, true)] {
        let (simulator, ca) = tls_simulator(leaf).await;
        let mut options = Options::new(&simulator.url(), 1).set("log.level", "trace");
        if trusted {
            options = options.set("upstream.ca_file", ca.path().display());
        }
        let gateway = options.start();
        assert_eq!(generate(&gateway).await, 502, "{leaf:?}");
        let openai =
            request("POST", "/v1/chat/completions", &[("Authorization", &format!("Bearer {TOKEN}"))], "{}");
        let answer = exchange(gateway.authority(), openai).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["type"]),
            (502, &"server_error".into()),
            "{leaf:?}"
        );
        let stats = simulator.stats();
        assert_eq!((stats.requests, stats.by_key.len()), (0, 0), "{leaf:?}");
        assert!(stats.connections > 0, "nothing was tried");
        assert_nothing_leaked(&gateway);
        let health = exchange(gateway.authority(), request("GET", "/health/ready", &[], "")).await.json();
        assert_eq!(health["keys"]["available"], 1, "{leaf:?}: {health}");
    }
}

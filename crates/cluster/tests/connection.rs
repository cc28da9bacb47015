//! How a handle comes to a connection, and what a call costs when there is none.

#![allow(clippy::unwrap_used, reason = "functions that tests call are tests too")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gemini_balance_cluster::{
    Away, ClusterAddress, KeyPrefix, NodeId, Redis, RedisPassword, RedisSettings, Shared,
    conformance::{RedisServer, free_port},
};

fn handle(settings: RedisSettings) -> Redis {
    Redis::new(Arc::new(settings), NodeId::new("test").unwrap())
}

fn settings(url: &str) -> RedisSettings {
    RedisSettings::new(ClusterAddress::parse(url).unwrap(), KeyPrefix::new("test").unwrap())
}

/// Times that a busy machine keeps.
fn patient(url: &str) -> RedisSettings {
    let long = Duration::from_secs(5);
    RedisSettings { call_timeout: long, connect_timeout: long, ..settings(url) }
}

#[test]
fn a_server_that_is_there_answers() {
    let server = RedisServer::shared();
    let mut redis = handle(server.settings());
    assert_eq!(redis.ping(), Ok(()));
    assert_eq!(redis.ping(), Ok(()));
}

#[test]
fn a_server_that_is_not_there_is_away_at_once() {
    let mut redis = handle(settings(&format!("redis://127.0.0.1:{}", free_port())));
    let since = Instant::now();
    let away = redis.ping().unwrap_err();
    assert!(matches!(away, Away::Unreachable { .. }), "{away}");
    assert!(since.elapsed() < Duration::from_secs(1));
}

/// Answers every connection with what `talk` does.
fn pretender(talk: fn(std::net::TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    url
}

fn how_long(url: &str) -> (Away, Duration) {
    let mut redis = handle(settings(url));
    let since = Instant::now();
    let away = redis.ping().unwrap_err();
    (away, since.elapsed())
}

#[test]
fn a_server_that_is_silent_costs_a_call_no_more_than_its_time() {
    let (away, took) =
        how_long(&pretender(|mut stream| while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}));
    assert_eq!(away, Away::TimedOut);
    assert!((Duration::from_millis(150)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

#[test]
fn a_server_that_answers_drop_by_drop_costs_a_call_no_more_either() {
    let (away, took) = how_long(&pretender(|mut stream| {
        let _ = stream.write_all(b"$5000\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }));
    assert_eq!(away, Away::TimedOut);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn what_is_no_redis_is_away() {
    let (away, _) = how_long(&pretender(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }));
    assert_eq!(away, Away::Garbled);
}

#[test]
fn a_server_that_was_restarted_between_two_calls_fails_neither() {
    let server = RedisServer::start(&[]);
    let (port, settings) = (server.port(), server.settings());
    let mut redis = handle(settings);
    redis.ping().unwrap();
    drop(server);
    let away = redis.ping().unwrap_err();
    assert!(matches!(away, Away::Unreachable { .. }), "{away}");
    let server = RedisServer::start_on(port, &[]);
    redis.ping().unwrap();
    drop(server);
    let _server = RedisServer::start_on(port, &[]);
    redis.ping().unwrap();
}

#[test]
fn a_password_is_asked_for_and_never_told() {
    let server = RedisServer::start(&["--requirepass", "open sesame"]);
    let url = |user: &str| format!("redis://{user}127.0.0.1:{}", server.port());
    handle(patient(&url(":open%20sesame@"))).ping().unwrap();
    let password = Some(RedisPassword::new("open sesame".to_owned()));
    handle(RedisSettings { password: password.clone(), ..patient(&url(":wrong@")) }).ping().unwrap();
    for (url, code) in [(url(":wrong%20sesame@"), "WRONGPASS"), (url("nobody:open%20sesame@"), "WRONGPASS")] {
        let away = handle(patient(&url)).ping().unwrap_err();
        assert!(!format!("{away} {away:?}").contains("sesame"), "{away:?}");
        assert!(matches!(&away, Away::Denied { .. }), "{away:?} instead of {code}");
    }
    assert_eq!(handle(patient(&url(""))).ping(), Err(Away::Denied { code: "NOAUTH".to_owned() }));
    assert!(!format!("{:?}", RedisSettings { password, ..patient(&url("")) }).contains("sesame"));
}

#[test]
fn a_replica_is_not_taken_for_a_primary() {
    let primary = RedisServer::shared();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    assert_eq!(handle(replica.settings()).ping(), Err(Away::ReadOnly));
}

/// How many connections the handles have made, without those of the test itself.
fn connections(server: &RedisServer) -> usize {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    let clients: String =
        redis::cmd("CLIENT").arg("LIST").query(&mut client.get_connection().unwrap()).unwrap();
    clients.lines().count() - 1
}

#[test]
fn a_certificate_is_trusted_if_the_operator_names_its_authority() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let port = free_port();
    let tls = port.to_string();
    let options =
        ["--tls-port", &tls, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let server = RedisServer::start(&options);
    let trusting =
        |url: &str| RedisSettings { extra_roots: vec![made.cert.pem().into_bytes()], ..patient(url) };
    let url = format!("rediss://127.0.0.1:{port}");
    let mut redis = handle(trusting(&url));
    for _ in 0..5 {
        redis.ping().unwrap();
    }
    assert_eq!(connections(&server), 1, "one connection is enough for five calls");
    let away = handle(patient(&url)).ping().unwrap_err();
    assert!(away.to_string().contains("certificate"), "{away}");
    let away = handle(trusting(&format!("rediss://localhost:{port}"))).ping().unwrap_err();
    assert!(away.to_string().contains("certificate"), "{away}");
    let plain = server.port();
    drop(server);
    let _server = RedisServer::start_on(plain, &options);
    redis.ping().unwrap();
}

#[test]
fn sentinels_are_asked_anew_after_a_failed_call() {
    let first = RedisServer::start(&[]);
    let primary = first.port().to_string();
    let second = RedisServer::start(&["--replicaof", "127.0.0.1", &primary]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sentinel.conf");
    std::fs::write(
        &config,
        format!(
            "sentinel monitor pool 127.0.0.1 {primary} 1\nsentinel down-after-milliseconds pool 300\n\
             sentinel failover-timeout pool 3000\n"
        ),
    )
    .unwrap();
    let sentinel = RedisServer::start(&[config.to_str().unwrap(), "--sentinel"]);
    // The first one named is not there.
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/pool", free_port(), sentinel.port());
    let mut redis = handle(patient(&url));
    let before = redis.hello().unwrap().generation;
    assert_eq!(handle(patient(&url.replace("/pool", "/other"))).ping(), Err(Away::NoPrimary));
    // The Sentinel must have heard of the replica, or there is nothing to fail over to.
    let since = Instant::now();
    let log = || std::fs::read_to_string(sentinel.folder().join("log")).unwrap();
    while !log().contains("+slave") {
        assert!(since.elapsed() < Duration::from_secs(30), "{}", log());
        thread::sleep(Duration::from_millis(50));
    }
    drop(first);
    assert!(redis.ping().is_err());
    let since = Instant::now();
    while let Err(away) = redis.ping() {
        assert!(since.elapsed() < Duration::from_secs(30), "{away}; {}", log());
        thread::sleep(Duration::from_millis(50));
    }
    assert!(log().contains(&second.port().to_string()));
    assert!(redis.hello().unwrap().generation > before);
}

#[test]
fn a_server_that_stops_costs_each_call_its_time_and_all_report_when_it_goes_on() {
    let server = RedisServer::start(&[]);
    let settings = server.settings();
    let quick = RedisSettings::new(settings.address.clone(), settings.prefix.clone());
    let mut redis = handle(settings);
    redis.hello().unwrap();
    let mut hasty = handle(quick);
    hasty.ping().unwrap();
    let process = rustix::process::Pid::from_raw(server.pid().try_into().unwrap()).unwrap();
    let stopped = Instant::now();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    // The first call waits for its answer, those after it for a connection.
    for _ in 0..5 {
        let since = Instant::now();
        assert_eq!(hasty.ping(), Err(Away::TimedOut));
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    }
    thread::sleep(Duration::from_millis(2_100).saturating_sub(stopped.elapsed()));
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    assert!(!redis.hello().unwrap().hold.is_zero(), "nobody was heard for two seconds");
}

#[test]
fn a_primary_that_has_lost_its_replicas_takes_no_writes() {
    let server = RedisServer::start(&["--min-replicas-to-write", "1"]);
    let away = handle(server.settings()).ping().unwrap_err();
    assert!(matches!(&away, Away::Refused { code, .. } if code == "NOREPLICAS"), "{away:?}");
}

#[test]
fn a_redis_cluster_is_told_as_what_it_is() {
    let server = RedisServer::start(&["--cluster-enabled", "yes"]);
    let away = handle(server.settings()).ping().unwrap_err();
    assert!(away.to_string().contains("it is a Redis Cluster"), "{away}");
}

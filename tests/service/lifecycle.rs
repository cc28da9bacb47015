//! From the start to the last byte: a drain loses nothing, and what it cannot wait for is seen to be cut.

use crate::{
    binary,
    support::{Gateway, Options, TOKEN, client, prompt, simulator_with, wait_for},
    wire::{Wire, request},
};
use gemini_simulator::{Fault, Rule, Shape, Simulator};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinSet};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

fn stream_request() -> String {
    request("POST", STREAM, &[("x-goog-api-key", TOKEN)], &prompt("x"))
}

/// Streams of so many events, 50 ms apart.
async fn slow_simulator(events: u64) -> Simulator {
    simulator_with(2, |config| config.shape = Shape { events, interval_ms: 50, text_bytes: 0 }).await
}

/// Starts streams and waits until all of them have begun.
async fn streams(gateway: &Gateway, simulator: &Simulator, count: usize) -> JoinSet<(bool, usize)> {
    let mut running = JoinSet::new();
    for _ in 0..count {
        let authority = gateway.authority().to_owned();
        running.spawn(async move {
            let mut wire = Wire::connect(&authority).await;
            wire.send(stream_request()).await.unwrap();
            let answer = wire.answer().await.expect("an answer");
            assert_eq!(answer.status, 200);
            (answer.whole, answer.text().matches("data: ").count())
        });
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while simulator.requests().iter().filter(|request| request.answer_bytes > 0).count() < count {
        assert!(Instant::now() < deadline, "the streams did not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running
}

async fn drain_with(signal: &'static str) {
    const STREAMS: usize = 500;
    const ACCEPT_MS: u64 = 4000;
    const EVENTS: usize = 120;
    let simulator = slow_simulator(EVENTS as u64).await;
    let mut gateway = Options::new(&simulator.url(), 2).set("server.drain_accept_ms", ACCEPT_MS).start();
    let authority = gateway.authority().to_owned();
    let mut running = streams(&gateway, &simulator, STREAMS).await;
    let signalled = Instant::now();
    gateway.signal(signal);

    // Readiness says no at once, on a connection of its own, while new requests are still served.
    loop {
        let answer = crate::wire::exchange(&authority, request("GET", "/health/ready", &[], "")).await;
        if answer.status == 503 {
            assert_eq!(answer.json()["reason"], "shutting down");
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Two hundred a second, for as long as new connections are taken.
    let mut late = JoinSet::new();
    let begun = tokio::time::Instant::now();
    for n in 0..200 {
        tokio::time::sleep_until(begun + Duration::from_millis(5) * n).await;
        let Ok(stream) = TcpStream::connect(&authority).await else { break };
        let mut wire = Wire::of(stream);
        late.spawn(async move {
            let text = request(
                "POST",
                "/v1beta/models/gemini-2.5-flash:generateContent",
                &[("x-goog-api-key", TOKEN)],
                &prompt("y"),
            );
            wire.send(text).await.unwrap();
            wire.answer().await.map(|answer| (answer.status, answer.whole))
        });
    }
    assert!(!late.is_empty());
    while let Some(answer) = late.join_next().await {
        assert_eq!(answer.unwrap(), Some((200, true)));
    }
    while TcpStream::connect(&authority).await.is_ok() {
        assert!(signalled.elapsed() < Duration::from_secs(20), "new connections are still taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(signalled.elapsed() >= Duration::from_millis(ACCEPT_MS));
    let mut count = 0;
    while let Some(stream) = running.join_next().await {
        let (whole, events) = stream.unwrap();
        assert!(whole, "a stream was cut");
        assert_eq!(events, EVENTS);
        count += 1;
    }
    assert_eq!(count, STREAMS);
    // Long before the drain would give up.
    let status = gateway.wait_for_end();
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    assert!(gateway.output().contains("shut down"), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_every_running_stream_end_and_loses_no_request() {
    drain_with("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_does_the_same() {
    drain_with("INT").await;
}

/// Comes again and again, each time on a new connection, until nobody is let in. How often it was answered; the error is
/// how it was lost.
async fn until_refused(authority: String) -> Result<usize, String> {
    let body = prompt("x");
    let text = request(
        "POST",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        &[("x-goog-api-key", TOKEN)],
        &body,
    );
    for answered in 0.. {
        let Ok(stream) = TcpStream::connect(&authority).await else { return Ok(answered) };
        let mut wire = Wire::of(stream);
        wire.send(text.clone()).await.map_err(|error| format!("sending: {error}"))?;
        match wire.answer().await {
            Some(answer) if answer.status == 200 && answer.whole => {}
            other => return Err(format!("after {answered}: {other:?}")),
        }
    }
    unreachable!("it comes for ever")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_answers_whoever_is_let_in_and_refuses_the_others() {
    const CLIENTS: usize = 200;
    let simulator = slow_simulator(1).await;
    for accept_ms in [0, 100, 700] {
        let mut gateway = Options::new(&simulator.url(), 2).set("server.drain_accept_ms", accept_ms).start();
        let mut clients: JoinSet<_> =
            (0..CLIENTS).map(|_| until_refused(gateway.authority().to_owned())).collect();
        wait_for("load", || (gateway.transactions(0).len() > CLIENTS).then_some(()));
        gateway.signal("TERM");
        let mut lost = Vec::new();
        while let Some(ended) = clients.join_next().await {
            lost.extend(ended.unwrap().err());
        }
        assert!(lost.is_empty(), "{accept_ms} ms: {} of {CLIENTS} were lost: {}", lost.len(), lost[0]);
        assert_eq!(gateway.wait_for_end().code(), Some(0), "{}", gateway.output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_outlasts_the_drain_is_seen_to_be_cut() {
    let simulator = slow_simulator(100_000).await;
    let mut gateway = Options::new(&simulator.url(), 2).set("server.drain_s", 1).start();
    let mut running = streams(&gateway, &simulator, 20).await;
    let signalled = Instant::now();
    gateway.signal("TERM");
    let status = gateway.wait_for_end();
    assert!(signalled.elapsed() >= Duration::from_secs(1));
    assert_eq!(status.code(), Some(0), "{}", gateway.output());
    while let Some(stream) = running.join_next().await {
        let (whole, events) = stream.unwrap();
        assert!(!whole && events > 0, "a stream that was cut looks whole");
    }
    assert!(gateway.output().contains("server.drain_s"), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_ends_at_once() {
    let simulator = slow_simulator(1).await;
    let mut gateway = Options::new(&simulator.url(), 2).start();
    // A connection kept open by a client is no reason to wait.
    let mut idle = Wire::connect(gateway.authority()).await;
    idle.send(request("GET", "/health", &[], "")).await.unwrap();
    assert_eq!(idle.answer().await.unwrap().status, 200);
    // The drain would wait for thirty seconds.
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_head_is_part_of_the_drain() {
    let simulator =
        simulator_with(1, |config| config.faults = vec![Rule::new(Fault::DelayHead { ms: 600 })]).await;
    let mut gateway = Options::new(&simulator.url(), 1).start();
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
    let waiting = tokio::spawn(async move {
        client().post(url).body(prompt("x")).send().await.unwrap().text().await.unwrap()
    });
    wait_for("request", || (!simulator.requests().is_empty()).then_some(()));
    gateway.signal("TERM");
    assert!(waiting.await.unwrap().contains("candidates"));
    assert_eq!(gateway.wait(Duration::from_secs(3)).code(), Some(0));
}

#[tokio::test]
async fn a_cold_start_is_fast() {
    let simulator = simulator_with(1, |_| {}).await;
    // The processor's time, which is the same however busy the machine is with other tests.
    let spent_ms = |_| {
        let gateway = Options::new(&simulator.url(), 1).start();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        // In ticks of 10 ms, in user mode and in the kernel.
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum::<u64>()
    };
    let least = (0..5).map(spent_ms).min().unwrap();
    let at_most = if binary::doors() { 1000 } else { 200 };
    assert!(least <= at_most, "{least} ms");
}

/// A command of the program that serves until it is killed.
struct Serving {
    child: std::process::Child,
    lines: Vec<String>,
    /// What it prints later.
    rest: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    /// Starts it and reads its output up to a line that has `last` in it.
    fn start(arguments: &[&str], folder: &std::path::Path, last: &str) -> Self {
        let mut command = Command::new(binary::path());
        command
            .current_dir(folder)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        let mut child =
            command.env("GOOGLE_API_KEYS", "AIza-real-key").stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = Vec::new();
        for line in output.by_ref() {
            let is_last = line.contains(last);
            lines.push(line);
            if is_last {
                break;
            }
        }
        // A closed pipe would be a failing console.
        let rest = Arc::<Mutex<Vec<String>>>::default();
        let later = Arc::clone(&rest);
        std::thread::spawn(move || output.for_each(|line| later.lock().unwrap().push(line)));
        Self { child, lines, rest }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_in_shell(command: &str) -> String {
    let output =
        Command::new("bash").args(["-c", command]).output().expect("bash and curl: apt-get install curl");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_demo_serves_the_commands_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Serving::start(&["demo", "--port", "0"], folder.path(), "Ctrl-C ends both");
    let text = demo.lines.join("\n").replace("\\\n", " ");
    let commands: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with("curl ")).collect();
    assert_eq!(commands.len(), 4, "{text}");
    let answers: Vec<_> = commands.iter().map(|command| run_in_shell(command)).collect();
    let (unary, stream, chat, ready) = (&answers[0], &answers[1], &answers[2], &answers[3]);
    assert!(unary.contains("\"candidates\"") && unary.contains("STOP"), "{unary}");
    assert_eq!(stream.matches("data: ").count(), 8, "{stream}");
    assert!(chat.contains("\"chat.completion\""), "{chat}");
    let ready: serde_json::Value = serde_json::from_str(ready).unwrap();
    assert_eq!((&ready["status"], &ready["keys"]["total"]), (&"ok".into(), &4.into()));
    let url = text.split_once("listens on ").unwrap().1.split(',').next().unwrap();
    assert!(run_in_shell(&format!("curl -sL {url}/docs")).contains("swagger"));
    let pid = demo.child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let status = wait_for("end of the demo", || demo.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_demos_operator_finds_made_up_callers_with_limits_usage_and_a_request_to_explain() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Serving::start(&["demo", "--port", "0"], folder.path(), "Ctrl-C ends both");
    let example = wait_for("a request to explain", || {
        let lines = demo.rest.lock().unwrap();
        lines.iter().find(|line| line.contains(" explain ")).cloned()
    });
    let export = demo.lines.iter().find(|line| line.trim_start().starts_with("export ")).unwrap();
    // As typed in another terminal, where nothing else is set.
    let run = |command: &str| {
        let clean = format!("unset GOOGLE_API_KEYS; cd {}; {export}; {command}", folder.path().display());
        run_in_shell(&clean)
    };
    // What is to be typed is set off from the log's lines.
    let typed = |line: &&String| line.starts_with(' ');
    let printed =
        |word: &str| demo.lines.iter().filter(typed).find(|line| line.ends_with(word)).unwrap().as_str();
    let story = run(&example);
    for part in
        ["of alice", "model gemini-2.5-pro", "Google answered 429", "QuotaMinute", "Google answered 200"]
    {
        assert!(story.contains(part), "no {part}: {story}");
    }
    wait_for("usage of each caller", || {
        let usage = run(printed(" usage --by caller,model"));
        let names = ["alice", "bob", "carol", "gemini-2.5-pro", "gemini-2.5-flash-lite"];
        names.iter().all(|name| usage.contains(name)).then_some(())
    });
    let tokens = run(printed(" tokens"));
    assert!(tokens.lines().any(|line| line.starts_with("bob ") && line.contains("rpm 5/5")), "{tokens}");
    let keys = run(printed(" keys"));
    assert!(keys.lines().any(|line| line.starts_with("demo-1 ")), "{keys}");
    let reload = run(&format!("{} 2>&1 || true", printed(" keys").replace(" keys", " reload")));
    assert!(reload.contains("there is nothing to read again"), "{reload}");
}

#[test]
fn the_simulator_command_serves_alone() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = Serving::start(&["simulator", "--listen", "127.0.0.1:0"], folder.path(), "simulator on");
    let url = simulator.lines[0].rsplit(' ').next().unwrap();
    let command = format!("curl -s {url}/v1beta/models -H 'x-goog-api-key: any'");
    assert!(run_in_shell(&command).contains("models/gemini-2.5-flash"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_signal_but_those_that_mean_the_end_ends_the_gateway() {
    let simulator = slow_simulator(20).await;
    for arguments in [&[][..], &["demo"]] {
        let mut gateway = Options::new(&simulator.url(), 2).args(arguments).start();
        for name in ["HUP", "USR1", "USR2", "HUP"] {
            gateway.signal(name);
        }
        wait_for("SIGHUP in the log", || {
            gateway.output().contains("SIGHUP: the log files are").then_some(())
        });
        if arguments.is_empty() {
            let mut running = streams(&gateway, &simulator, 5).await;
            for name in ["USR1", "HUP", "USR2"] {
                gateway.signal(name);
            }
            while let Some(stream) = running.join_next().await {
                let (whole, events) = stream.unwrap();
                assert!(whole && events == 20, "a stream was cut");
            }
        }
        gateway.signal("TERM");
        assert_eq!(gateway.wait_for_end().code(), Some(0), "{}", gateway.output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_opens_logs_anew_that_were_moved_away() {
    let simulator = slow_simulator(1).await;
    let gateway = Options::new(&simulator.url(), 2).start();
    let logs = gateway.folder().join("logs");
    let send = async || {
        let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
        assert_eq!(client().post(url).body(prompt("x")).send().await.unwrap().status(), 200);
    };
    send().await;
    gateway.transactions(1);
    for name in ["app.log", "transactions.log"] {
        std::fs::rename(logs.join(name), logs.join(format!("moved-{name}"))).unwrap();
    }
    gateway.signal("HUP");
    wait_for("both logs", || {
        ["app.log", "transactions.log"].iter().all(|name| logs.join(name).exists()).then_some(())
    });
    let moved = std::fs::read_to_string(logs.join("moved-transactions.log")).unwrap();
    send().await;
    gateway.transactions(1);
    assert_eq!(std::fs::read_to_string(logs.join("moved-transactions.log")).unwrap(), moved);
    wait_for("the line", || {
        std::fs::read_to_string(logs.join("app.log"))
            .ok()?
            .contains("SIGHUP: the log files are opened anew")
            .then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_drain_at_once_and_what_is_cut_is_seen_to_be() {
    let simulator = slow_simulator(100_000).await;
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let mut gateway = Options::new(&simulator.url(), 2).start();
        simulator.reset();
        let mut running = streams(&gateway, &simulator, 10).await;
        gateway.signal(first);
        wait_for("the drain", || gateway.output().contains("shutting down").then_some(()));
        gateway.signal(second);
        assert_eq!(gateway.wait_for_end().code(), Some(1), "{}", gateway.output());
        assert!(gateway.output().contains("a second time: 10 requests are cut off"), "{}", gateway.output());
        while let Some(stream) = running.join_next().await {
            let (whole, events) = stream.unwrap();
            assert!(!whole && events > 0, "a stream that was cut looks whole");
        }
    }
    let mut idle = Options::new(&simulator.url(), 2).set("server.drain_accept_ms", 30_000).start();
    idle.signal("TERM");
    wait_for("the drain", || idle.output().contains("shutting down").then_some(()));
    idle.signal("TERM");
    assert_eq!(idle.wait_for_end().code(), Some(0), "{}", idle.output());
}

//! Hot reload: what changes in a running gateway and what waits for another process, by every way to ask for it; that
//! nothing changes where anything is wrong; and that requests under way notice nothing.

use crate::{
    support::{
        Gateway, Options, free_port, prompt, secret, sha256, simulator, simulator_with, stranger, wait_for,
    },
    wire::{Wire, exchange, request},
};
use gemini_simulator::{Shape, Simulator};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";
const ADMIN: &str = "operator-token-5b1e-CANARY";

/// A gateway whose configuration is a file of its folder.
struct Configured {
    folder: tempfile::TempDir,
    simulator: Simulator,
    options: Options,
    gateway: Gateway,
    admin_port: u16,
}

/// A configuration: the operator's listener, the caller `alice`, the `n`th keys, and more lines.
struct Config {
    admin_port: u16,
    keys: Vec<usize>,
    more: String,
}

impl Config {
    fn text(&self) -> String {
        let Self { admin_port, keys, more } = self;
        // Single settings of a section before its tables.
        let mut text = format!("{more}\n[admin]\nport = {admin_port}\ntoken = \"{ADMIN}\"\n");
        for n in keys {
            text += &format!("[[keys]]\nlabel = \"k{n}\"\nsecret = \"{}\"\n", secret(*n));
        }
        text
    }
}

/// What most tests put into the file besides.
const ALICE: &str = "[auth]\ntokens = [{ name = \"alice\", secret = \"alice-token-CANARY\" }]\n";
const ALICE_AND_BOB: &str = "[auth]\ntokens = [{ name = \"alice\", secret = \"alice-token-CANARY\" }, \
                             { name = \"bob\", secret = \"bob-token-CANARY\" }]\n";

impl Configured {
    async fn start(keys: &[usize], more: &str) -> Self {
        Self::start_before(simulator(5).await, keys, more)
    }

    fn start_before(simulator: Simulator, keys: &[usize], more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin_port = free_port();
        let config = Config { admin_port, keys: keys.to_vec(), more: more.to_owned() };
        std::fs::write(folder.path().join("config.toml"), config.text()).unwrap();
        // Tests ask again and again whether a token is known by now.
        let options =
            Options::new(&simulator.url(), 0).without_token().set("server.max_guesses_per_minute", 0);
        let gateway = options.start_in(folder.path());
        Self { folder, simulator, options, gateway, admin_port }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self, keys: &[usize], more: &str) -> String {
        Config { admin_port: self.admin_port, keys: keys.to_vec(), more: more.to_owned() }.text()
    }

    /// Writes the configuration.
    fn write(&self, text: &str) {
        std::fs::write(self.path().join("config.toml"), text).unwrap();
    }

    /// Asks the operator's listener: status, `ETag` and answer.
    async fn admin_with(
        &self,
        method: &str,
        path: &str,
        token: &str,
        more: &[(&str, &str)],
    ) -> (u16, String, Value) {
        let bearer = format!("Bearer {token}");
        let headers: Vec<_> =
            [("authorization", bearer.as_str())].into_iter().chain(more.iter().copied()).collect();
        let authority = format!("127.0.0.1:{}", self.admin_port);
        let answer = exchange(&authority, request(method, path, &headers, "")).await;
        assert!(!answer.text().contains("CANARY") && !answer.text().contains("Canary"), "{}", answer.text());
        let etag = answer.header("etag").unwrap_or_default().to_owned();
        (answer.status, etag, answer.json())
    }

    async fn admin(&self, method: &str, path: &str) -> Value {
        let (status, _, answer) = self.admin_with(method, path, ADMIN, &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Writes the configuration and has it reloaded.
    async fn reload(&self, keys: &[usize], more: &str) -> Value {
        self.write(&self.config(keys, more));
        self.admin("POST", "/api/reload").await
    }

    /// How a request with this token is answered.
    async fn status(&self, token: &str) -> u16 {
        self.send(token, &prompt("x")).await.status().as_u16()
    }

    async fn send(&self, token: &str, body: &str) -> reqwest::Response {
        let request = stranger().post(self.gateway.url(GENERATE)).header("x-goog-api-key", token);
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// Awaits that a token is answered so.
    async fn answered(&self, token: &str, status: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.status(token).await != status {
            assert!(Instant::now() < deadline, "{token} is not answered with {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ready(&self) -> Value {
        let answer = stranger().get(self.gateway.url("/health/ready")).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The error lines so far that end in the configuration being as it was.
    fn refusals(&self) -> Vec<String> {
        let output = self.gateway.output();
        output
            .lines()
            .filter(|line| line.contains("ERROR") && line.contains("stays in use"))
            .map(str::to_owned)
            .collect()
    }

    /// Runs the command beside the gateway.
    fn command(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.options.command(self.path()).arg("reload").args(arguments).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    fn no_secret_is_logged(&self) {
        let output = self.gateway.output();
        assert!(!output.contains("CANARY") && !output.contains("Canary"), "{output}");
    }
}

/// The names of the settings that an answer says have changed.
fn changed(answer: &Value) -> Vec<&str> {
    answer["changes"].as_array().unwrap().iter().map(|change| change["setting"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_a_changed_file_the_operator_and_the_command_all_reload() {
    let it = Configured::start(&[0], ALICE).await;
    assert_eq!((it.status("alice-token-CANARY").await, it.status("bob-token-CANARY").await), (200, 401));

    it.write(&it.config(&[0], ALICE_AND_BOB));
    it.gateway.signal("HUP");
    it.answered("bob-token-CANARY", 200).await;

    it.write(&it.config(&[0], ALICE));
    it.answered("bob-token-CANARY", 401).await;

    let answer = it.reload(&[0], ALICE_AND_BOB).await;
    assert_eq!(changed(&answer), ["auth.tokens.bob"]);
    assert_eq!(it.status("bob-token-CANARY").await, 200);

    it.write(&it.config(&[0], ALICE));
    let (done, text) = it.command(&[]);
    assert!(done && text.contains("auth.tokens.bob: *** -> -"), "{text}");
    assert_eq!((it.status("alice-token-CANARY").await, it.status("bob-token-CANARY").await), (200, 401));

    let state = it.admin("GET", "/api/reload").await;
    assert_eq!((&state["revision"], &state["applied"], &state["refused"]), (&5.into(), &4.into(), &0.into()));
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_editors_rename_of_the_keys_file_is_seen() {
    let it = Configured::start(&[0], ALICE).await;
    let keys = it.path().join("keys.txt");
    std::fs::write(&keys, secret(1)).unwrap();
    it.reload(&[0], &format!("{ALICE}[pool]\nkeys_file = \"keys.txt\"\n")).await;
    assert_eq!(it.ready().await["keys"]["total"], 2);
    let swap = it.path().join(".keys.txt.swp");
    std::fs::write(&swap, [1, 2, 3].map(secret).join("\n")).unwrap();
    std::fs::rename(swap, &keys).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while it.ready().await["keys"]["total"] != 4 {
        assert!(Instant::now() < deadline, "the new file is not seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(it.admin("GET", "/api/reload").await["revision"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dotenv_is_read_again_and_the_environment_goes_before_it() {
    let it = Configured::start(&[0], "").await;
    let key = secret(0);
    assert_eq!(it.status(&key).await, 200, "without a token a key is the credential");
    std::fs::write(
        it.path().join(".env"),
        "ACCESS_TOKENS=carol=carol-token-CANARY\nGEMINI_API_BASE_URL=http://127.0.0.1:9\n",
    )
    .unwrap();
    it.answered("carol-token-CANARY", 200).await;
    assert_eq!(it.status(&key).await, 401);
    assert_eq!(it.admin("GET", "/api/reload").await["restart_needed"], serde_json::json!([]));
    std::fs::write(it.path().join(".env"), "HTTPS_PROXY=http://127.0.0.1:9\n").unwrap();
    it.answered("carol-token-CANARY", 401).await;
    assert_eq!(it.status(&key).await, 200);
    assert_eq!(it.admin("GET", "/api/reload").await["restart_needed"], serde_json::json!(["HTTPS_PROXY"]));
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_added_and_removed_and_rules_hold_at_once() {
    let it = Configured::start(&[0], ALICE).await;
    let used = async |count: usize| -> Vec<usize> {
        it.simulator.reset();
        for _ in 0..count {
            assert_eq!(it.status("alice-token-CANARY").await, 200);
        }
        let by_key = it.simulator.stats().by_key;
        (0..5).filter(|n| by_key.contains_key(&secret(*n))).collect()
    };
    assert_eq!(used(4).await, [0]);
    let answer = it.reload(&[1, 2], ALICE).await;
    assert_eq!(changed(&answer), ["keys.k0", "keys.k1", "keys.k2"]);
    assert_eq!(used(4).await, [1, 2]);
    assert_eq!(it.ready().await["keys"]["total"], 2);
    let limits =
        format!("{ALICE}[pool]\nmax_wait_ms = 0\n[[limits]]\nmodel = \"gemini-2.5-flash\"\nrpm = 1\n");
    assert_eq!(
        changed(&it.reload(&[3], &limits).await),
        ["keys.k1", "keys.k2", "keys.k3", "limits", "pool.max_wait_ms"]
    );
    assert_eq!(it.status("alice-token-CANARY").await, 200);
    assert_eq!(it.status("alice-token-CANARY").await, 429);
    it.reload(&[3], ALICE).await;
    assert_eq!(used(3).await, [3]);
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_keeps_its_counts_when_its_limits_change_and_a_removed_ones_stream_goes_on() {
    let shape = Shape { events: 40, interval_ms: 100, text_bytes: 0 };
    let simulator = simulator_with(5, |config| config.shape = shape).await;
    let token = |limit: &str| {
        format!(
            "[auth]\ntokens = [{{ name = \"alice\", secret = \"alice-token-CANARY\"{limit} }}, \
                 {{ name = \"bob\", secret = \"bob-token-CANARY\" }}]\n"
        )
    };
    let it = Configured::start_before(simulator, &[0], &token(", rpd = 2"));
    let statuses = async |count: usize| -> Vec<u16> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(it.status("alice-token-CANARY").await);
        }
        statuses
    };
    assert_eq!(statuses(3).await, [200, 200, 429]);
    it.reload(&[0], &token(", rpd = 3")).await;
    assert_eq!(statuses(2).await, [200, 429]);
    let mut wire = Wire::connect(it.gateway.authority()).await;
    wire.send(request("POST", STREAM, &[("x-goog-api-key", "bob-token-CANARY")], &prompt("x")))
        .await
        .unwrap();
    wait_for("the stream", || {
        it.simulator.requests().iter().any(|seen| seen.path.contains("stream")).then_some(())
    });
    it.reload(&[1], ALICE).await;
    assert_eq!((it.status("bob-token-CANARY").await, statuses(1).await), (401, vec![200]));
    let answer = wire.answer().await.expect("an answer");
    assert!(answer.whole && answer.text().matches("data: ").count() == 40, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_requests_are_held_to_changes_at_once() {
    let it = Configured::start(&[0], ALICE).await;
    let long = prompt(&"x".repeat(5_000));
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 200);
    let more = format!(
        "[server]\nmax_body_bytes = 2000\ncors_origins = [\"https://page.example\"]\n{ALICE}\
         [log]\nlevel = \"warn\"\ndebug_enabled = true\ndebug_file = \"logs/bodies.log\"\n\
         [[prices]]\nmodel = \"gemini-2.5-flash\"\ninput = 1.0\noutput = 1.0\nper_request = 7.0\n"
    );
    let answer = it.reload(&[0], &more).await;
    assert_eq!(
        changed(&answer),
        [
            "log.debug_enabled",
            "log.debug_file",
            "log.level",
            "prices",
            "server.cors_origins",
            "server.max_body_bytes"
        ]
    );
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 413);
    let body = prompt("a body to be found");
    assert_eq!(it.send("alice-token-CANARY", &body).await.status(), 200);
    let logged = wait_for("the bodies in the log", || {
        let text = std::fs::read_to_string(it.path().join("logs/bodies.log")).ok()?;
        (text.contains("a body to be found") && text.lines().count() == 2).then_some(text)
    });
    let origin = async |origin: &str| {
        let asked =
            stranger().get(it.gateway.url("/health/live")).header("origin", origin).send().await.unwrap();
        asked.headers().contains_key("access-control-allow-origin")
    };
    assert!(origin("https://page.example").await && !origin("https://other.example").await);
    wait_for("the price of the request", || {
        let (done, table) = {
            let output = it
                .options
                .command(it.path())
                .args(["usage", "--by", "model", "--format", "json"])
                .output()
                .unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        (done && table.contains("7.00")).then_some(())
    });
    // And back.
    it.reload(&[0], ALICE).await;
    assert_eq!(it.send("alice-token-CANARY", &long).await.status(), 200);
    assert!(origin("https://other.example").await);
    assert_eq!(it.send("alice-token-CANARY", &prompt("not to be found")).await.status(), 200);
    it.gateway.transactions(5);
    assert_eq!(std::fs::read_to_string(it.path().join("logs/bodies.log")).unwrap(), logged);
    let output = it.gateway.output();
    assert!(output.contains("server.max_body_bytes is 2000, was 104857600"), "{output}");
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_changes_nothing_and_is_said_in_one_line() {
    let it = Configured::start(&[0], ALICE).await;
    std::fs::write(it.path().join("utf16"), [0xFF, 0xFE, 0x41, 0]).unwrap();
    std::fs::write(it.path().join("empty"), "# nothing\n").unwrap();
    let good = |more: &str| it.config(&[0, 1], &format!("{ALICE_AND_BOB}{more}"));
    let bad = [
        ("syntax", format!("{}\n[server\n", good("")), &["config.toml"][..]),
        ("unknown", good("[server]\nprot = 1\n"), &["server.prot", "config.toml", "allowed"]),
        (
            "type",
            good("[server]\nmax_body_bytes = \"CANARY\"\n"),
            &["server.max_body_bytes", "config.toml", "number"],
        ),
        ("value", good("[retry]\nmax_attempts = 0\n"), &["retry.max_attempts", "config.toml", "at least 1"]),
        (
            "keys file",
            good("[pool]\nkeys_file = \"nowhere\"\n"),
            &["pool.keys_file", "config.toml", "nowhere"],
        ),
        ("encoding", good("[pool]\nkeys_file = \"utf16\"\n"), &["pool.keys_file", "UTF-16"]),
        ("no key", it.config(&[], &format!("{ALICE}[pool]\nkeys_file = \"empty\"\n")), &["no key"]),
        ("price", good("[[prices]]\nmodel = \"x\"\n"), &["prices", "config.toml"]),
        (
            "token",
            it.config(&[0], "[auth]\ntokens = [{ name = \"alice\", secret = \"one CANARY\" }]\n"),
            &["auth.tokens[0]", "config.toml"],
        ),
        ("limit", it.config(&[0], &ALICE.replace(" }]", ", rpm = 0 }]")), &["auth.tokens[0]", "rpm"]),
        (
            "weight",
            good("[[keys]]\nsecret = \"AIzaCanaryCanary\"\nweight = 0\n"),
            &["keys", "weight", "config.toml"],
        ),
        ("level", good("[log]\nlevel = \"loud\"\n"), &["log.level", "config.toml"]),
        (
            "certificate",
            good("[server.tls]\ncert_file = \"nowhere\"\n"),
            &["server.tls.key_file", "must be set"],
        ),
    ];
    for (count, (kind, text, words)) in (1..).zip(&bad) {
        it.write(text);
        let (status, _, answer) = it.admin_with("POST", "/api/reload", ADMIN, &[]).await;
        assert_eq!(status, 422, "{kind}: {answer}");
        let why = answer["error"].as_str().unwrap();
        let lines = wait_for("the line", || Some(it.refusals()).filter(|lines| lines.len() >= count));
        assert_eq!(lines.len(), count, "{kind}: {lines:?}");
        for word in *words {
            assert!(why.contains(word) && lines[count - 1].contains(word), "{kind}: {word} is not in {why}");
        }
        assert_eq!(
            (it.status("alice-token-CANARY").await, it.status("bob-token-CANARY").await),
            (200, 401),
            "{kind}"
        );
        let state = it.admin("GET", "/api/reload").await;
        assert_eq!(
            (&state["revision"], &state["refused"], &state["last_successful"]),
            (&1.into(), &count.into(), &false.into())
        );
        assert_eq!(state["error"], why, "{kind}");
        assert_eq!(it.ready().await["keys"]["total"], 1, "{kind}");
    }
    // Whoever asks once more is told once more.
    let (done, text) = it.command(&[]);
    assert!(!done && text.lines().count() == 1 && text.contains("server.tls.key_file"), "{text}");
    it.reload(&[0, 1], ALICE_AND_BOB).await;
    assert_eq!((it.status("bob-token-CANARY").await, it.refusals().len()), (200, bad.len() + 1));
    let state = it.admin("GET", "/api/reload").await;
    assert_eq!(
        (&state["revision"], &state["last_successful"], &state["error"]),
        (&2.into(), &true.into(), &Value::Null)
    );
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_file_is_said_once_and_what_it_names_is_awaited() {
    let it = Configured::start(&[0], ALICE).await;
    it.write(&it.config(&[0], &format!("{ALICE_AND_BOB}[pool]\nkeys_file = \"to-come\"\n")));
    wait_for("the refusal", || {
        it.refusals().first().filter(|line| line.contains("pool.keys_file")).map(|_| ())
    });
    // Mended where only the refused configuration says.
    std::fs::write(it.path().join("to-come"), secret(1)).unwrap();
    it.answered("bob-token-CANARY", 200).await;
    assert_eq!(it.ready().await["keys"]["total"], 2);
    assert_eq!(it.refusals().len(), 1, "{:?}", it.refusals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_still_being_written_waits() {
    let it = Configured::start(&[0], ALICE).await;
    let text = it.config(&[0], ALICE_AND_BOB);
    // Longer than between two looks, and never the same.
    for length in 1..=30 {
        it.write(&format!("{}\n[half", &text[..length]));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    it.write(&text);
    it.answered("bob-token-CANARY", 200).await;
    assert!(it.refusals().is_empty(), "{:?}", it.refusals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_restart_stays_as_it_is_and_is_told_until_it_is_put_back() {
    let it = Configured::start(&[0], ALICE).await;
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!([]));
    let more = format!("{ALICE_AND_BOB}[log]\nformat = \"json\"\n[usage]\nrecent = 5\n");
    let answer = it.reload(&[0], &more).await;
    assert_eq!(answer["restart_needed"], serde_json::json!(["log.format", "usage.recent"]));
    let waits: Vec<bool> =
        answer["changes"].as_array().unwrap().iter().map(|change| change["live"] == true).collect();
    assert_eq!(
        (changed(&answer), waits),
        (vec!["auth.tokens.bob", "log.format", "usage.recent"], vec![true, false, false])
    );
    assert_eq!(it.status("bob-token-CANARY").await, 200, "the rest holds at once");
    let ready = it.ready().await;
    assert_eq!(
        (&ready["status"], &ready["restart_needed"]),
        (&"ok".into(), &serde_json::json!(["log.format", "usage.recent"]))
    );
    assert!(it.gateway.output().lines().all(|line| !line.starts_with('{')), "the format has changed");
    let answer = it.reload(&[0], &format!("{ALICE}[log]\nformat = \"json\"\n")).await;
    assert_eq!(answer["restart_needed"], serde_json::json!(["log.format"]));
    it.reload(&[0], ALICE).await;
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let it = Configured::start(&[0], ALICE).await;
    it.write(&it.config(&[0, 1], ALICE_AND_BOB));
    let answer = it.admin("POST", "/api/reload?dry_run=1").await;
    assert_eq!((changed(&answer), &answer["revision"]), (vec!["auth.tokens.bob", "keys.k1"], &1.into()));
    let (done, text) = it.command(&["--dry-run"]);
    assert!(done && text.contains("keys.k1") && text.contains("dry run"), "{text}");
    assert_eq!((it.status("bob-token-CANARY").await, &it.ready().await["keys"]["total"]), (401, &1.into()));
    it.write("[server\n");
    let (status, ..) = it.admin_with("POST", "/api/reload?dry_run=1", ADMIN, &[]).await;
    assert_eq!(status, 422);
    let state = it.admin("GET", "/api/reload").await;
    assert_eq!((&state["refused"], &state["last_successful"]), (&0.into(), &true.into()));
    assert_eq!(it.refusals().len(), 0);
    // What the watch makes of the file is another matter: it was not considered by the dry run.
    it.write(&it.config(&[0], ALICE_AND_BOB));
    it.answered("bob-token-CANARY", 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_knows_another_revision_is_refused() {
    let it = Configured::start(&[0], ALICE).await;
    let (_, etag, _) = it.admin_with("GET", "/api/reload", ADMIN, &[]).await;
    assert_eq!(etag, "\"1\"");
    it.write(&it.config(&[0], ALICE_AND_BOB));
    let (status, etag, _) = it.admin_with("POST", "/api/reload", ADMIN, &[("if-match", "\"1\"")]).await;
    assert_eq!((status, etag.as_str()), (200, "\"2\""));
    it.write(&it.config(&[0], ALICE));
    let (status, _, answer) = it.admin_with("POST", "/api/reload", ADMIN, &[("if-match", "\"1\"")]).await;
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("revision 2"), "{status} {answer}");
    assert_eq!(it.admin_with("POST", "/api/reload", ADMIN, &[("if-match", "\"2\"")]).await.0, 200);
    assert_eq!(it.admin_with("POST", "/api/reload", ADMIN, &[("if-match", "soon")]).await.0, 400);
    assert_eq!(it.admin_with("POST", "/api/reload?dry_run=perhaps", ADMIN, &[]).await.0, 400);
    assert_eq!(it.admin_with("POST", "/api/reload", "alice-token-CANARY", &[]).await.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_token_changes_at_once_and_its_removal_shuts_the_door() {
    let it = Configured::start(&[0], ALICE).await;
    let text = it.config(&[0], ALICE);
    it.write(&text.replace(ADMIN, "another-operators-token-CANARY"));
    assert_eq!(it.admin_with("POST", "/api/reload", ADMIN, &[]).await.0, 200);
    assert_eq!(it.admin_with("GET", "/api/reload", ADMIN, &[]).await.0, 401);
    let (status, _, answer) =
        it.admin_with("GET", "/api/reload", "another-operators-token-CANARY", &[]).await;
    assert_eq!((status, &answer["restart_needed"]), (200, &serde_json::json!([])));
    it.write(&text.replace(&format!("token = \"{ADMIN}\""), ""));
    it.gateway.signal("HUP");
    wait_for("the removal", || it.gateway.output().contains("admin.token is gone").then_some(()));
    assert_eq!(it.admin_with("GET", "/api/reload", "another-operators-token-CANARY", &[]).await.0, 401);
    assert_eq!(it.ready().await["restart_needed"], serde_json::json!(["admin"]));
    it.no_secret_is_logged();
}

/// Streams that begin, go on and end while the configuration is reloaded again and again, each time another one.
async fn streams_across_reloads(streams: usize, reloads: usize, events: u64, interval_ms: u64) {
    let shape = Shape { events, interval_ms, text_bytes: 0 };
    let simulator = simulator_with(5, |config| config.shape = shape).await;
    let it = Configured::start_before(simulator, &[0, 1, 2, 3], ALICE);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..streams {
        let authority = it.gateway.authority().to_owned();
        running.spawn(async move {
            let body = prompt(&format!("stream number {n}"));
            let mut wire = Wire::connect(&authority).await;
            wire.send(request("POST", STREAM, &[("x-goog-api-key", "alice-token-CANARY")], &body))
                .await
                .unwrap();
            let answer = wire.answer().await.expect("an answer");
            (sha256(body.as_bytes()), answer)
        });
    }
    let begun = || it.simulator.requests().iter().filter(|seen| seen.answer_bytes > 0).count();
    let deadline = Instant::now() + Duration::from_secs(60);
    while begun() < streams {
        assert!(Instant::now() < deadline, "{} of {streams} streams have begun", begun());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let unary = Shape { events: 1, interval_ms: 0, text_bytes: 0 };
    it.simulator.set_shape(unary);
    for n in 0..reloads {
        let (keys, limit) = ([[0, 1], [2, 3], [1, 4], [0, 3]][n % 4], streams + n + 10);
        let token = ALICE.replace(" }]", &format!(", rpm = 100000, concurrent = {limit} }}]"));
        let more = format!(
            "[server]\nmax_body_bytes = {}\n{token}[upstream]\nidle_timeout_s = {limit}\n[retry]\nmax_attempts = {}\n",
            100_000 + n,
            n % 4 + 1
        );
        let answer = it.reload(&keys, &more).await;
        assert_eq!(answer["revision"], n + 2, "{answer}");
        assert_eq!(it.status("alice-token-CANARY").await, 200, "reload {n}");
    }
    let under_way = it.ready().await["requests_in_flight"].as_u64().unwrap();
    assert!(under_way >= streams as u64, "the streams ended before the reloads did: {under_way}");
    let mut answers = HashMap::new();
    while let Some(ended) = running.join_next().await {
        let (asked, answer) = ended.unwrap();
        assert!(answer.status == 200 && answer.whole, "a stream ended early");
        assert_eq!(answer.text().matches("data: ").count() as u64, events);
        assert!(answers.insert(asked, sha256(&answer.body)).is_none());
    }
    let sent = it.simulator.requests();
    let sent = sent.iter().filter(|seen| seen.path.contains("stream"));
    let sent: HashMap<String, String> = sent
        .map(|seen| {
            (seen.body_sha256.clone().unwrap(), seen.answer_sha256.clone().expect("a stream that has ended"))
        })
        .collect();
    assert_eq!((answers.len(), answers == sent), (streams, true), "streams are mixed");
    assert!(it.refusals().is_empty());
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_notices_any_of_a_hundred_reloads() {
    streams_across_reloads(200, 100, 120, 200).await;
}

#[ignore = "a minute and more of both processors in a debug build; run it with --release: see docs/operations.md"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_a_thousand_streams_notices_any_of_a_hundred_reloads() {
    streams_across_reloads(1_000, 100, 240, 250).await;
}

//! A gateway whose configuration is a file that tests change while it runs, and how they have it reloaded. What is tested of
//! that is in the folder beside this file.

mod asking;
mod holding;
mod mistakes;
mod streams;
mod tokens;
mod tracing;

use crate::{
    support::{Gateway, Options, free_port, prompt, secret, simulator, stranger},
    wire::{exchange, request},
};
use gemini_simulator::Simulator;
use serde_json::Value;
use std::{
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

    /// Awaits that this revision is in use. What a reload changes can be seen before the reload is done.
    async fn revision(&self, revision: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.admin("GET", "/api/reload").await["revision"].as_u64().unwrap();
            if found == revision {
                return;
            }
            assert!(found < revision && Instant::now() < deadline, "revision {found}, not {revision}");
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

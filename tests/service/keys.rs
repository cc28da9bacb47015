//! Keys as an operator adds them while the gateway runs: by a paste, after a look at it and a word of Google's; used at once,
//! kept through a kill, sealed if there is a master key, removed while their streams go on; and written down nowhere else.

mod adding;
mod changing;
mod records;
mod relabelling;
mod sealing;

use crate::support::{Gateway, Options, client, free_port, prompt, secret, stranger};
use gemini_simulator::Simulator;
use reqwest::Method;
use serde_json::Value;
use std::{io::Write as _, path::Path, process::Stdio};

const ADMIN: &str = "operator-token-5b1e";
const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";
const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// With an operator's listener, and its port. The first `keys` of the simulator's keys are configured.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    (Options::new(&simulator.url(), keys).env("ADMIN_TOKEN", ADMIN).set("admin.port", port), port)
}

/// Whether a text shows a key or the operator's token.
fn tells(text: &str) -> bool {
    text.contains("Canary") || text.contains("AIza") || text.contains(ADMIN)
}

/// Runs a command of the gateway's, with a text as its input: whether it succeeded, and all it printed.
fn run_with(options: &Options, folder: &Path, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = options.command(folder);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who reads nothing leaves a broken pipe behind.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!tells(&text), "a secret: {text}");
    (output.status.success(), text)
}

fn run(options: &Options, folder: &Path, arguments: &[&str]) -> (bool, String) {
    run_with(options, folder, arguments, "")
}

/// Runs a command that has to succeed.
fn done(options: &Options, folder: &Path, arguments: &[&str]) -> String {
    let (done, text) = run(options, folder, arguments);
    assert!(done, "{arguments:?}: {text}");
    text
}

/// The operator's listener, asked as scripts do. No answer of it shows a key.
async fn operator(port: u16, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = stranger().request(method, format!("http://127.0.0.1:{port}{path}")).bearer_auth(ADMIN);
    let request = match body {
        Value::String(text) => request.header("content-type", "text/plain").body(text.clone()),
        Value::Null => request,
        json => request.header("content-type", "application/json").body(json.to_string()),
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(!tells(&text), "{text}");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn get(port: u16, path: &str) -> Value {
    let (status, answer) = operator(port, Method::GET, path, &Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// The keys of the list that fit a question, with one of their fields.
async fn listed(port: u16, question: &str, field: &str) -> Vec<(String, Value)> {
    let page = get(port, &format!("/api/keys?{question}")).await;
    let keys = page["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["id"].as_str().unwrap().to_owned(), key[field].clone())).collect()
}

async fn send(gateway: &Gateway) -> u16 {
    client().post(gateway.url(FLASH)).body(prompt("x")).send().await.unwrap().status().as_u16()
}

fn calls(simulator: &Simulator, n: usize) -> u64 {
    simulator.stats().by_key.get(&secret(n)).copied().unwrap_or(0)
}

fn keys_file(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("data/keys.json")).unwrap_or_default()
}

const MASTER: [&str; 2] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
];

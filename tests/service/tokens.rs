//! Tokens as an operator makes them, by file and while the gateway runs: how tests make them, use them, and read what is told.
//! What is tested of them is in the folder beside this file.

mod allowing;
mod cutting;
mod keeping;
mod limits;

use crate::support::{Gateway, Options, free_port, prompt, stranger};
use gemini_simulator::Simulator;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::path::Path;

const ADMIN: &str = "operator-token-5b1e";

const FLASH: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

const PRO: &str = "/v1beta/models/gemini-2.5-pro:generateContent";

const CHAT: &str = "/v1/chat/completions";

const LIMIT: &str = "x-gemini-balance-limit";

/// With an operator's listener, and its port.
fn options(simulator: &Simulator, keys: usize) -> (Options, u16) {
    let port = free_port();
    (Options::new(&simulator.url(), keys).env("ADMIN_TOKEN", ADMIN).set("admin.port", port), port)
}

/// With these tokens of the configuration, as the entries of a TOML list.
fn with_tokens(simulator: &Simulator, keys: usize, tokens: &str) -> Options {
    Options::new(&simulator.url(), keys).without_token().set("auth.tokens", format!("[{tokens}]"))
}

/// Runs `gemini-balance tokens` with the gateway's settings: whether it succeeded, and all it printed.
fn tokens(options: &Options, folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = options.command(folder).arg("tokens").args(arguments).output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text.trim().to_owned())
}

/// Makes a token, and returns it.
fn add(options: &Options, folder: &Path, arguments: &[&str]) -> String {
    let (done, token) = tokens(options, folder, &[&["add"], arguments].concat());
    assert!(done && token.starts_with("gbt_") && token.len() == 47, "{token}");
    token
}

async fn send(gateway: &Gateway, token: &str, path: &str, body: String) -> Response {
    let request = stranger().post(gateway.url(path)).header("x-goog-api-key", token).body(body);
    request.send().await.unwrap()
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    send(gateway, token, FLASH, prompt("x")).await.status().as_u16()
}

async fn get(gateway: &Gateway, token: &str, path: &str) -> Value {
    let response = stranger().get(gateway.url(path)).header("x-goog-api-key", token).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

fn chat(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "x"}]}).to_string()
}

/// What a client is told: the status, the word of the limit, and the error.
async fn told(response: Response) -> (u16, Option<String>, Value) {
    let status = response.status().as_u16();
    let limit = response.headers().get(LIMIT).map(|word| word.to_str().unwrap().to_owned());
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    (status, limit, body["error"].clone())
}

/// The operator's listener, asked as scripts do.
async fn operator(port: u16, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = stranger().request(method, format!("http://127.0.0.1:{port}{path}"));
    let response = request.bearer_auth(ADMIN).body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

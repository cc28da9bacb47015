//! The operator meanwhile: looks at everything, disables and enables keys, makes and removes tokens, has the configuration read
//! again; and the doors through which tests cause panics.

use super::{
    KEYS,
    judging::Came,
    stage::{Begun, Hour, Stage},
};
use crate::{
    binary,
    support::{Gateway, fingerprint, prompt},
    wire::{Answer, Wire, request},
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

pub(super) const ADMIN: &str = "operators-token-2f6c";

/// A request of its own connection; none where nobody answers.
async fn ask(authority: &str, text: &str) -> Option<Answer> {
    let mut wire = Wire::of(TcpStream::connect(authority).await.ok()?);
    wire.send(text).await.ok()?;
    wire.answer().await
}

/// Asks the operator's listener.
pub(super) async fn operator(admin: u16, method: &str, path: &str, body: &str) -> Option<Answer> {
    let bearer = format!("Bearer {ADMIN}");
    ask(&format!("127.0.0.1:{admin}"), &request(method, path, &[("authorization", &bearer)], body)).await
}

async fn one(stage: &Stage, begun: Begun, method: &str, path: &str, body: &str) -> Result<Came, String> {
    let Some(answer) = operator(stage.admin, method, path, body).await else { return Ok(Came::Nothing) };
    match answer.status {
        200..300 if answer.whole => Ok(Came::Whole(None)),
        // A token or key may have come or gone with the life that was killed.
        _ if !stage.was_there(begun) => Ok(Came::Refused),
        status => Err(format!("{method} {path}: {status} whole: {} {}", answer.whole, answer.text())),
    }
}

/// A token from its making to its end, used in between.
async fn token(stage: &Stage, begun: Begun, name: &str) -> Result<Came, String> {
    // One of these names may be left by a life that was killed.
    let _ = operator(stage.admin, "DELETE", &format!("/api/tokens/{name}"), "").await;
    let body = json!({ "name": name }).to_string();
    let Some(made) = operator(stage.admin, "POST", "/api/tokens", &body).await else {
        return Ok(Came::Nothing);
    };
    let token = serde_json::from_slice::<Value>(&made.body)
        .ok()
        .and_then(|it| it["token"].as_str().map(str::to_owned));
    let Some(token) = token else {
        return if stage.was_there(begun) {
            Err(format!("no token: {}", made.text()))
        } else {
            Ok(Came::Nothing)
        };
    };
    let text =
        request("POST", super::super::GENERATE, &[("x-goog-api-key", &token)], &prompt(&stage.prompt()));
    stage.sent.fetch_add(1, Ordering::Relaxed);
    let used = ask(&stage.authority, &text).await;
    if used.is_some_and(|used| used.status == 401) && stage.was_there(begun) {
        return Err("a new token is not known".to_owned());
    }
    let came = one(stage, begun, "DELETE", &format!("/api/tokens/{name}"), "").await?;
    stage.sent.fetch_add(1, Ordering::Relaxed);
    let used = ask(&stage.authority, &text).await;
    if stage.was_there(begun) && used.as_ref().is_none_or(|used| used.status != 401) {
        return Err(format!("a removed token is let in: {used:?}"));
    }
    Ok(came)
}

async fn key(stage: &Stage, begun: Begun, n: usize) -> Result<Came, String> {
    let path = format!("/api/keys/{}", fingerprint(n));
    let disabled = one(stage, begun, "POST", &format!("{path}/disable"), "").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let enabled = one(stage, begun, "POST", &format!("{path}/enable"), "").await;
    disabled.and(enabled)
}

/// The newest request as it is explained.
async fn explained(stage: &Stage, begun: Begun) -> Result<Came, String> {
    let Some(list) = operator(stage.admin, "GET", "/api/requests", "").await else {
        return Ok(Came::Nothing);
    };
    let list: Value = serde_json::from_slice(&list.body).unwrap_or_default();
    match list["requests"][0]["id"].as_str() {
        Some(id) => one(stage, begun, "GET", &format!("/api/requests/{id}"), "").await,
        None => one(stage, begun, "GET", "/api/errors", "").await,
    }
}

/// Has the configuration, which says something else each time, read again.
fn reload(pid: u32, folder: &Path, rng: &mut fastrand::Rng) {
    let text = format!("[pool]\nmax_wait_ms = {}\n", rng.u64(1_000..2_000));
    std::fs::write(folder.join("config.toml"), text).unwrap();
    let _ = std::process::Command::new("kill").args(["-HUP", &pid.to_string()]).status();
}

/// The operator, until all is over.
pub(super) async fn operates(stage: Arc<Stage>, seed: u64, folder: std::path::PathBuf) {
    const LOOKS: [&str; 8] = [
        "/metrics",
        "/api/overview",
        "/api/usage?by=model&step=all&from=-1d",
        "/api/keys",
        "/api/callers",
        "/api/models",
        "/api/errors",
        "/api/settings",
    ];
    let mut rng = fastrand::Rng::with_seed(seed);
    while let Some((under_way, begun)) = stage.go().await {
        let (what, came) = match rng.u8(0..20) {
            // A file is bound to its project, and without a key of that is not served.
            0 | 1 if begun.hour == Hour::Storm => {
                ("operator: a key", key(&stage, begun, rng.usize(0..KEYS)).await)
            }
            2 | 3 => ("operator: a token", token(&stage, begun, &format!("passing-{}", rng.u8(0..10))).await),
            4 if stage.was_there(begun) => {
                reload(stage.pid.load(Ordering::SeqCst), &folder, &mut rng);
                ("operator: a reload", Ok(Came::Whole(None)))
            }
            5..8 => ("operator: explain", explained(&stage, begun).await),
            n => {
                ("operator: a look", one(&stage, begun, "GET", LOOKS[usize::from(n) % LOOKS.len()], "").await)
            }
        };
        stage.note(what, begun, came);
        drop(under_way);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
    }
}

/// Enables all keys, whatever a kill has left undone.
pub(super) async fn enable_all(stage: &Stage) {
    for n in 0..KEYS {
        let path = format!("/api/keys/{}/enable", fingerprint(n));
        let enabled = operator(stage.admin, "POST", &path, "").await.expect("an operator's listener");
        assert!(matches!(enabled.status, 200 | 409), "{}", enabled.text());
    }
}

/// The panics of one storm, each when its time has come.
pub(super) struct Doors {
    to_come: Vec<(Duration, &'static str)>,
    pub(super) opened: usize,
}

impl Doors {
    pub(super) fn none() -> Self {
        Self { to_come: Vec::new(), opened: 0 }
    }

    /// None but of a debug build.
    pub(super) fn drawn(mut at: impl FnMut() -> Duration) -> Self {
        let all = ["key_manager", "store"].map(|name| (at(), name));
        Self { to_come: if binary::doors() { all.to_vec() } else { Vec::new() }, opened: 0 }
    }

    pub(super) async fn open_those_due(&mut self, stage: &Stage, now: Duration) {
        let (due, rest): (Vec<_>, Vec<_>) = self.to_come.drain(..).partition(|(at, _)| *at < now);
        self.to_come = rest;
        for (_, name) in due {
            let text = request("POST", &format!("/debug/panic/{name}"), &[], "");
            let answer = ask(&stage.authority, &text).await.expect("an answer");
            assert_eq!(answer.status, 202, "{name}");
            self.opened += 1;
        }
    }
}

/// How often something has panicked, as the gateway has printed it.
pub(super) fn panics(gateway: &Gateway) -> usize {
    gateway.output().lines().filter(|line| line.contains(" panic: ") || line.contains("panicked at")).count()
}

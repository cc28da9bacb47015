//! For the tests of this crate: a key manager in this thread, on time that jumps to the next thing to happen.

use crate::{
    CurrentKeys, Secret,
    health::Health,
    key_manager::KeyManager,
    key_ring::KeyRing,
    store::Memory,
    supervisor::Intensity,
    transaction::{Attempt, End, Transaction},
};
use gemini::path::Dialect;
use keypool::{Choice, KeyId, KeySpec, Project, Settings};
use std::{future::Future, sync::Arc, time::Duration};

/// A key's id and its project's label.
pub(crate) type KeyOf = (&'static str, Option<&'static str>);

/// Makes a ring of these keys; the secret of `a` is `AIza-a`.
pub(crate) fn ring(keys: &[KeyOf]) -> KeyRing {
    let keys = keys.iter().map(|(id, project)| {
        let project = project.map(Project::from);
        (KeySpec { project, ..KeySpec::new(*id) }, Secret::new(format!("AIza-{id}")))
    });
    KeyRing::new(keys.collect()).unwrap()
}

/// The pool's settings, without chance.
pub(crate) fn exact() -> Settings {
    Settings { jitter: 0.0, ..Settings::default() }
}

/// Runs a test in a system of actors whose time jumps.
pub(crate) fn in_system<F: Future<Output = ()>>(test: F) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    actix_rt::System::with_tokio_rt(runtime).block_on(test);
}

/// Makes a handle to a ring of these keys.
pub(crate) fn current(keys: &[KeyOf]) -> CurrentKeys {
    CurrentKeys::new(ring(keys))
}

/// Starts a key manager in this system.
pub(crate) fn manager(keys: &CurrentKeys, settings: Settings) -> KeyManager {
    let memory = Arc::new(Memory::new(keys.clone()));
    let (intensity, health) =
        (Intensity { restarts: 1, ..Intensity::default() }, Arc::new(Health::default()));
    let arbiter = actix_rt::Arbiter::current();
    KeyManager::start(&arbiter, keys.clone(), memory, settings, intensity, health).unwrap()
}

/// Returns the transaction of a POST of this caller's to `path`, answered at once on the key `one`.
pub(crate) fn transaction(caller: &str, path: &str) -> Transaction {
    let attempt = Attempt {
        key: KeyId::from("one"),
        project: None,
        choice: Choice::Turn,
        is_probe: false,
        start: Duration::ZERO,
        status: Some(200),
        fault: None,
        took: Duration::ZERO,
        detail: None,
    };
    Transaction {
        id: "id".to_owned(),
        caller: Some(caller.into()),
        dialect: Dialect::Gemini,
        method: http::Method::POST,
        verb: None,
        streamed: false,
        path: path.to_owned(),
        model: Some("m".into()),
        attempts: vec![attempt],
        status: 200,
        failure: None,
        end: End::Complete,
        first_byte: None,
        total: Duration::ZERO,
        ended: chrono::DateTime::UNIX_EPOCH,
        queued: Duration::ZERO,
        bytes_in: 0,
        bytes_out: 0,
        usage: None,
        detail: None,
    }
}

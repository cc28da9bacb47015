//! The file of the added keys: sealed under a master key, and refused where it is not what it should be.

use super::{MASTER, done, get, keys_file, operator, options, run, tells};
use crate::support::{Gateway, fingerprint, secret, simulator};
use reqwest::Method;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_master_key_the_file_is_sealed_and_another_one_starts_nothing() {
    let simulator = simulator(3).await;
    let (plain, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let stop = |mut gateway: Gateway| {
        gateway.signal("TERM");
        gateway.wait_for_end();
    };
    let gateway = plain.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(1))).await.0, 201);
    stop(gateway);
    assert!(keys_file(folder.path()).contains(&secret(1)));
    // The next write seals it.
    let (sealed, port) = options(&simulator, 1);
    let sealed = sealed.env("MASTER_KEY", MASTER[0]);
    let gateway = sealed.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(2))).await.0, 201);
    stop(gateway);
    let file = keys_file(folder.path());
    assert!(file.contains("sealed") && !tells(&file), "{file}");
    for (options, word) in [
        (options(&simulator, 1).0, "is sealed"),
        (options(&simulator, 1).0.env("MASTER_KEY", MASTER[1]), "another master key"),
        (options(&simulator, 1).0.env("MASTER_KEY", "short-canary"), "32 bytes"),
    ] {
        let (status, text) = options.run_in(folder.path());
        let line = text.lines().last().unwrap_or_default();
        assert!(!status.success() && line.contains(word) && line.contains("MASTER_KEY"), "{text}");
        assert!(!text.contains("canary") && !tells(&text), "{text}");
        assert_eq!(keys_file(folder.path()), file, "it was touched");
    }
    // From one key to another, and the file says nothing to the old one.
    let (failed, text) = run(&sealed, folder.path(), &["vault", "rekey"]);
    assert!(!failed && text.contains("NEW_MASTER_KEY") && text.lines().count() == 1, "{text}");
    std::fs::write(folder.path().join("new.key"), MASTER[1]).unwrap();
    let text = done(&sealed, folder.path(), &["vault", "rekey", "--new-key-file", "new.key"]);
    assert!(text.contains("2 keys are sealed"), "{text}");
    assert!(!sealed.command(folder.path()).output().unwrap().status.success());
    let (renewed, port) = options(&simulator, 1);
    let renewed = renewed.set("store.master_key_file", "new.key");
    let gateway = renewed.start_in(folder.path());
    assert_eq!(get(port, "/api/keys").await["matched"], 3);
    // What somebody else writes while it runs is not written over.
    done(&renewed, folder.path(), &["vault", "rekey", "--unsealed"]);
    let (status, answer) =
        operator(port, Method::DELETE, &format!("/api/keys/{}", fingerprint(1)), &Value::Null).await;
    assert!(status == 409 && answer["error"].as_str().unwrap().contains("restart"), "{answer}");
    assert_eq!(get(port, "/api/keys").await["matched"], 3);
    assert!(keys_file(folder.path()).contains(&secret(1)));
    stop(gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_keys_that_others_can_read_or_that_is_damaged_starts_nothing() {
    let simulator = simulator(2).await;
    let (options, port) = options(&simulator, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    assert_eq!(operator(port, Method::POST, "/api/keys", &json!(secret(1))).await.0, 201);
    gateway.signal("TERM");
    gateway.wait_for_end();
    let path = folder.path().join("data/keys.json");
    let whole = keys_file(folder.path());
    let refused = |word: &str| {
        let output = options.command(folder.path()).output().unwrap();
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && line.contains("store.vault_file"), "{line}");
        assert!(line.contains(word) && line.lines().count() == 1 && !tells(&line), "{line}");
    };
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused("chmod 600");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused("damaged");
    std::fs::write(&path, whole.replace("Canary", "canary")).unwrap();
    refused("checksum");
    std::fs::write(&path, "# my keys").unwrap();
    refused("does not hold keys");
    std::fs::write(&path, &whole).unwrap();
    let _gateway = options.start_in(folder.path());
    assert_eq!(get(port, "/api/keys").await["matched"], 2);
}

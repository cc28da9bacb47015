//! Mistakes in a configuration: each changes nothing, and is said in one line.

use super::{ADMIN, ALICE, ALICE_AND_BOB, Configured};
use crate::support::{secret, wait_for};
use serde_json::Value;

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
    assert_eq!(it.status("bob-token-CANARY").await, 200);
    let lines = wait_for("the last line", || Some(it.refusals()).filter(|lines| lines.len() > bad.len()));
    assert_eq!(lines.len(), bad.len() + 1);
    let state = it.admin("GET", "/api/reload").await;
    assert_eq!(
        (&state["revision"], &state["last_successful"], &state["error"]),
        (&2.into(), &true.into(), &Value::Null)
    );
    it.no_secret_is_logged();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_read_and_has_gone_is_awaited_with_nothing_changed() {
    let it = Configured::start(&[0], ALICE).await;
    let (dotenv, config) = (it.path().join(".env"), it.path().join("config.toml"));
    std::fs::write(&dotenv, "ACCESS_TOKENS=bob=bob-token-CANARY\n").unwrap();
    it.answered("bob-token-CANARY", 200).await;
    it.revision(2).await;
    for (count, (file, name)) in (1..).zip([(config, "config.toml"), (dotenv, ".env")]) {
        let away = it.path().join("away");
        std::fs::rename(&file, &away).unwrap();
        // Said once by the watch, and to everybody who asks.
        wait_for("the refusal", || Some(it.refusals()).filter(|lines| lines.len() >= 2 * count - 1));
        let (status, _, answer) = it.admin_with("POST", "/api/reload", ADMIN, &[]).await;
        let why = answer["error"].as_str().unwrap_or_default();
        assert!(status == 422 && why.starts_with(&format!("{name} is not there any more")), "{answer}");
        assert_eq!(
            (it.status("alice-token-CANARY").await, it.status("bob-token-CANARY").await),
            (200, 200),
            "{name}"
        );
        assert_eq!(it.status(&secret(0)).await, 401, "a key opens nothing");
        std::fs::rename(&away, &file).unwrap();
        let unchanged = || async { it.admin("GET", "/api/reload").await["unchanged"].as_u64() };
        while unchanged().await < Some(count as u64) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(it.refusals().len(), 2 * count, "{:?}", it.refusals());
    }
    it.revision(2).await;
    // An empty file is what it is.
    std::fs::write(it.path().join(".env"), "").unwrap();
    it.answered("bob-token-CANARY", 401).await;
    it.revision(3).await;
    it.no_secret_is_logged();
}

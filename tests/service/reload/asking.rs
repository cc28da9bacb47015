//! Every way to ask for a reload: a signal, changed files, the operator; what they have in common, and who is refused.

use super::{ADMIN, ALICE, ALICE_AND_BOB, Configured, changed};
use crate::support::{Options, free_port, secret, simulator, wait_for};
use std::time::{Duration, Instant};

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
    it.revision(3).await;
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
    it.revision(2).await;
    assert_eq!(it.status(&key).await, 401);
    assert_eq!(it.admin("GET", "/api/reload").await["restart_needed"], serde_json::json!([]));
    std::fs::write(it.path().join(".env"), "HTTPS_PROXY=http://127.0.0.1:9\n").unwrap();
    it.answered("carol-token-CANARY", 401).await;
    it.revision(3).await;
    assert_eq!(it.status(&key).await, 200);
    assert_eq!(it.admin("GET", "/api/reload").await["restart_needed"], serde_json::json!(["HTTPS_PROXY"]));
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
    it.revision(2).await;
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
async fn a_configuration_that_can_be_read_once_only_is_not_waited_for() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writing = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, ALICE).unwrap()
    });
    let options = Options::new(&simulator.url(), 1).without_token().set("admin.port", free_port());
    let mut gateway = options.args(&["--config", pipe.to_str().unwrap()]).start_in(folder.path());
    writing.join().unwrap();
    gateway.signal("HUP");
    wait_for("the refusal", || {
        let output = gateway.output();
        output.lines().any(|line| line.contains("ERROR") && line.contains("is a pipe")).then_some(())
    });
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_end().code(), Some(0), "{}", gateway.output());
}

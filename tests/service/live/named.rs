//! What Live sessions name: files and ephemeral tokens, which bind them to a project and may be another caller's.

use super::{
    LIVE, Session, handle, is_session, not_found, on_disk, resumable, resumed, said, set_up, setup,
    three_projects, turn, upgrade, upstream,
};
use crate::support::{Gateway, Options, TOKEN, client, key_counts, secret, sha256, simulator};
use futures_util::SinkExt;
use gemini_simulator::LoggedRequest;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A file's URI, uploaded through the gateway.
async fn uploaded(gateway: &Gateway, token: &str) -> String {
    let request = client()
        .post(gateway.url("/upload/v1beta/files"))
        .header("x-goog-api-key", token)
        .header("x-goog-upload-protocol", "raw")
        .header("content-type", "text/plain");
    let response = request.body("a file").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let made: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    made["file"]["uri"].as_str().unwrap().to_owned()
}

/// A turn that shows a file.
fn showing(uri: &str, text: &str) -> Value {
    let parts = json!([{"fileData": {"fileUri": uri, "mimeType": "text/plain"}}, {"text": text}]);
    json!({"clientContent": {"turns": [{"role": "user", "parts": parts}], "turnComplete": true}})
}

#[tokio::test]
async fn a_setup_that_names_a_file_made_outside_goes_to_its_project_and_the_asking_is_recorded() {
    let simulator = three_projects().await;
    let gateway = Options::new(&simulator.url(), 6).start();
    for (round, key) in [4, 0, 2].into_iter().enumerate() {
        let direct = crate::projects::Caller::new(&simulator.url(), &secret(key));
        let file = direct.file("v1beta", "text/plain", "one").await;
        let part = json!({"fileData": {"mimeType": "text/plain", "fileUri": file.uri}});
        let mut setup = resumable(None);
        setup["setup"]["systemInstruction"] = json!({"parts": [part]});
        let mut session = Session::open(&gateway).await;
        session.say(&setup).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        session.leave(1000, "").await;
        let line = gateway.transactions(round + 1).remove(round);
        let statuses: Vec<_> = line["attempts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
        assert!(statuses.len() > 1 && statuses.last() == Some(&&json!(101)), "{line}");
        // Projects that were asked as well may hear of it later.
        let last = simulator.requests().into_iter().rfind(is_session).unwrap();
        assert_eq!(last.project, Some(format!("project-{}", key / 2)), "{last:#?}");
    }
}

#[tokio::test]
async fn anothers_file_named_in_a_later_message_ends_the_session_and_google_never_hears_of_it() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token").start();
    let file = uploaded(&gateway, "alice-token").await;
    let showing = showing(&file, "look").to_string();
    let said_before = [setup().to_string(), turn("hello").to_string()].concat();
    for (round, message) in [Message::text(showing.clone()), Message::binary(showing)].into_iter().enumerate()
    {
        let mut session = Session::open_as(&gateway, "bob-token").await;
        session.say(&setup()).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}));
        assert_eq!(session.ask("hello").await, "you said: hello");
        session.0.send(message.clone()).await.unwrap();
        assert_eq!(session.message().await, not_found());
        let ended = |request: &LoggedRequest| is_session(request) && request.body_sha256.is_some();
        let seen = upstream(&simulator, 2 * round + 1, ended).pop().unwrap();
        assert_eq!(seen.body_sha256, Some(sha256(said_before.as_bytes())), "{message:?}");

        // Said so early that it waits for the session.
        let mut session = Session::open_as(&gateway, "bob-token").await;
        session.say(&setup()).await;
        session.0.send(message.clone()).await.unwrap();
        let next = match session.message().await {
            Message::Binary(_) => session.message().await,
            close => close,
        };
        assert_eq!(next, not_found());
        let seen = upstream(&simulator, 2 * round + 2, ended).pop().unwrap();
        assert_eq!(seen.body_sha256, Some(sha256(setup().to_string().as_bytes())), "{message:?}");
    }
    // One line is the upload's.
    let lines = gateway.transactions(5);
    let refused = lines.iter().filter(|line| line["path"] == LIVE && line["end"] == "refused").count();
    assert_eq!(refused, 4, "{lines:?}");
    assert_eq!(key_counts(&gateway).await["available"], 1);
}

#[tokio::test]
async fn ones_own_file_and_what_nobody_knows_pass_in_later_messages() {
    let simulator = simulator(1).await;
    let gateway =
        Options::new(&simulator.url(), 1).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token").start();
    let file = uploaded(&gateway, "alice-token").await;
    let mut session = Session::open_as(&gateway, "alice-token").await;
    session.say(&setup()).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
    let unknown = "https://generativelanguage.googleapis.com/v1beta/files/unheard-of";
    let turns = [showing(&file, "mine"), turn("and"), showing(unknown, "whose")];
    for turn in &turns {
        session.say(turn).await;
    }
    for text in ["mine", "and", "whose"] {
        assert_eq!(session.answer().await, format!("you said: {text}"));
    }
    session.leave(1000, "done").await;
    let seen = upstream(&simulator, 1, |request| is_session(request) && request.body_sha256.is_some());
    let all: String = [setup()].iter().chain(&turns).map(Value::to_string).collect();
    assert_eq!(seen.last().unwrap().body_sha256, Some(sha256(all.as_bytes())));
}

#[tokio::test]
async fn a_file_of_another_project_named_in_a_later_message_is_refused_with_a_reason() {
    let simulator = simulator(2).await;
    let gateway = Options::new(&simulator.url(), 2).seeing_all().start();
    let file = uploaded(&gateway, TOKEN).await;
    let owner = simulator.requests().pop().unwrap().project;
    let name = file.rsplit_once("files/").unwrap().1;
    let reason = format!("files/{name} and this session are of different projects: create both again.");
    let mut elsewhere = 0;
    for _ in 0..4 {
        let mut session = Session::begin(&gateway).await;
        let project = simulator.requests().pop().unwrap().project;
        session.say(&showing(&file, "look")).await;
        if project == owner {
            assert_eq!(session.answer().await, "you said: look");
        } else {
            elsewhere += 1;
            assert_eq!(session.close().await, said(1007, &reason));
        }
    }
    assert!((1..4).contains(&elsewhere), "{elsewhere} of 4 sessions were of the other project");
}

/// An ephemeral token, made through the gateway.
async fn ephemeral_token(gateway: &Gateway, version: &str, token: &str) -> String {
    let request = client().post(gateway.url(&format!("/{version}/auth_tokens")));
    let response = request.header("x-goog-api-key", token).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let made: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    made["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_ephemeral_token_opens_a_session_in_the_project_that_made_it() {
    let constrained =
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained";
    let simulator = three_projects().await;
    let options = Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token,bob=bob-token");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = options.start_in(folder.path());
    for round in 0..6 {
        let version = ["v1beta", "v1alpha"][round % 2];
        let token = ephemeral_token(&gateway, version, "alice-token").await;
        let project = simulator.requests().pop().unwrap().project;
        let in_query = format!("{constrained}?access_token={token}");
        let authorization = format!("Token {token}");
        let in_header = [("authorization", authorization.as_str())];
        let (target, headers): (&str, &[(&str, &str)]) =
            if round < 3 { (&*in_query, &[]) } else { (constrained, &in_header) };
        let mut session = upgrade(gateway.authority(), target, headers).await.unwrap();
        session.say(&resumable(None)).await;
        assert_eq!(session.json().await, json!({"setupComplete": {}}), "round {round}");
        let given = handle(&mut session).await;
        assert_eq!(resumed(&gateway, "alice-token", &given).await, set_up());
        assert_eq!(resumed(&gateway, "bob-token", &given).await, not_found());
        session.leave(1000, "").await;

        let seen = simulator.requests().into_iter().rfind(|session| session.path == constrained).unwrap();
        assert_eq!(seen.project, project, "round {round}");
        assert_eq!((seen.header("authorization"), seen.query.as_deref()), (Some(&*authorization), None));
        assert_eq!(seen.header("x-goog-api-key"), None, "a token and a key");
        let spent = upgrade(gateway.authority(), target, headers).await.unwrap().refused().await;
        assert_eq!(spent.unwrap().0, 1007, "it has had its one use, which is for Google to say");
    }
    assert_eq!(simulator.stats().wrong_owner, 0);
    let keys = key_counts(&gateway).await;
    assert_eq!(keys["available"], 6, "nobody is to blame: {keys}");

    let token = ephemeral_token(&gateway, "v1alpha", "alice-token").await;
    let target = format!("{constrained}?access_token={token}");
    gateway.signal("TERM");
    assert!(gateway.wait_for_end().success());
    let disk = on_disk(folder.path());
    assert!(memchr::memmem::find(&disk, token.as_bytes()).is_none(), "a token stands on the disk");
    let mut without_alice = options.env("ACCESS_TOKENS", "bob=bob-token").start_in(folder.path());
    assert_eq!(
        upgrade(without_alice.authority(), &target, &[]).await.err(),
        Some(401),
        "its caller may not call"
    );
    without_alice.signal("TERM");
    assert!(without_alice.wait_for_end().success());
    let again =
        Options::new(&simulator.url(), 6).env("ACCESS_TOKENS", "alice=alice-token").start_in(folder.path());
    let mut session = upgrade(again.authority(), &target, &[]).await.unwrap();
    session.say(&setup()).await;
    assert_eq!(session.json().await, json!({"setupComplete": {}}));
}

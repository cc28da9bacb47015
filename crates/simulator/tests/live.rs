//! The Live API over real sockets: credentials, the conversation, what binds handles and tokens to their project, and
//! the ways a session ends.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gemini_simulator::{End, Fault, Key, KeyState, Quota, Rule, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use wire::*;

const LIVE: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

struct Client(WebSocketStream<TcpStream>);

async fn upgrade(sim: &Simulator, target: &str, headers: &[(&str, &str)]) -> Result<Client, (u16, String)> {
    let tcp = TcpStream::connect(sim.addr()).await.unwrap();
    let mut request = format!("ws://{}{target}", sim.addr()).into_client_request().unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    match tokio_tungstenite::client_async(request, tcp).await {
        Ok((socket, _)) => Ok(Client(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8(body).unwrap()))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn open(sim: &Simulator) -> Client {
    upgrade(sim, LIVE, &[("x-goog-api-key", KEY)]).await.unwrap()
}

async fn set_up(sim: &Simulator) -> Client {
    let mut client = open(sim).await;
    client.say(&setup()).await;
    assert_eq!(client.json().await, json!({"setupComplete": {}}));
    client
}

fn setup() -> Value {
    json!({"setup": {"model": "models/gemini-2.5-flash"}})
}

fn turn(text: &str) -> Value {
    json!({"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turnComplete": true}})
}

impl Client {
    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(Duration::from_secs(5), self.0.next()).await.expect("something comes")
    }

    /// The next message, which is JSON in a binary frame.
    async fn json(&mut self) -> Value {
        match self.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => serde_json::from_slice(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The text of the next turn.
    async fn answer(&mut self) -> String {
        let mut said = String::new();
        loop {
            let content = self.json().await["serverContent"].take();
            if let Some(text) = content["modelTurn"]["parts"][0]["text"].as_str() {
                said.push_str(text);
            }
            if content["turnComplete"] == true {
                return said;
            }
        }
    }

    async fn close(&mut self) -> Option<(u16, String)> {
        match self.next().await.unwrap().unwrap() {
            Message::Close(frame) => {
                frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_session_is_set_up_and_answers_turns_in_binary_frames() {
    let sim = simulator().await;
    let mut client = set_up(&sim).await;
    client.say(&turn("hello")).await;
    assert_eq!(
        client.json().await["serverContent"]["modelTurn"],
        json!({"role": "model", "parts": [{"text": "you said: hello"}]})
    );
    assert_eq!(client.json().await, json!({"serverContent": {"generationComplete": true}}));
    let last = client.json().await;
    assert_eq!(last["serverContent"], json!({"turnComplete": true}));
    assert!(last["usageMetadata"]["totalTokenCount"].as_u64().unwrap() > 7);

    client.say(&json!({"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "AAECAw=="}}})).await;
    let audio = client.json().await;
    assert_eq!(audio["serverContent"]["modelTurn"]["parts"][0]["inlineData"]["data"], "AAECAw==");
    client.answer().await;
    client.say(&turn("call weather")).await;
    assert_eq!(client.json().await["toolCall"]["functionCalls"][0]["name"], "weather");
    client.say(&json!({"toolResponse": {"functionResponses": [{"id": "call-1", "name": "weather"}]}})).await;
    assert_eq!(client.answer().await, "answered: weather");

    client.0.close(Some(CloseFrame { code: 1000.into(), reason: "done".into() })).await.unwrap();
    while let Some(Ok(_)) = client.next().await {}
    let logged = logged(&sim, |request| request.end == End::Complete).await;
    assert_eq!((logged.status, logged.project.as_deref()), (Some(101), Some("alpha")));
    assert_eq!(logged.model.as_deref(), Some("gemini-2.5-flash"));
    assert_eq!(logged.closed.as_deref(), Some("1000 done"));
    assert_eq!(sim.stats().open_requests, 0);
}

#[tokio::test]
async fn the_credential_comes_as_header_or_query_and_only_once() {
    let sim = simulator().await;
    let query = format!("/{LIVE}?key={KEY}");
    assert!(upgrade(&sim, &query, &[]).await.is_ok());
    let (status, body) = upgrade(&sim, &query, &[("x-goog-api-key", KEY)]).await.err().unwrap();
    assert!(status == 400 && body.contains("Multiple authentication credentials"), "{status} {body}");
    assert_eq!(upgrade(&sim, LIVE, &[]).await.err().unwrap().0, 403);
    let bearer = format!("Bearer {KEY}");
    assert_eq!(upgrade(&sim, LIVE, &[("authorization", &bearer)]).await.err().unwrap().0, 401);
    let reply = get(&sim, LIVE).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
}

#[tokio::test]
async fn a_bad_key_is_told_only_after_the_setup() {
    let sim = simulator().await;
    let cases = [
        (KeyState::Expired, (1007, "API key expired. Please renew the API key.")),
        (KeyState::Suspended, (1008, "Permission denied: Consumer 'api_key:AIzaAlpha' has been suspended.")),
    ];
    for (state, (code, reason)) in cases {
        sim.set_key_state(KEY, state);
        let mut client = open(&sim).await;
        client.say(&setup()).await;
        assert_eq!(client.close().await, Some((code, reason.to_owned())));
    }
    let mut client = upgrade(&sim, LIVE, &[("x-goog-api-key", "made-up")]).await.unwrap();
    client.say(&setup()).await;
    let (code, reason) = client.close().await.unwrap();
    assert_eq!((code, reason.starts_with("API key not valid.")), (1007, true));
}

#[tokio::test]
async fn quotas_count_sessions_and_refuse_by_a_close() {
    let sim = simulator().await;
    sim.set_quotas([Quota { rpm: Some(1), ..Quota::default() }]);
    let _first = set_up(&sim).await;
    let mut second = open(&sim).await;
    second.say(&setup()).await;
    let (code, reason) = second.close().await.unwrap();
    assert!(code == 1011 && reason.starts_with("You exceeded your current quota"), "{code} {reason}");
    assert!(reason.len() <= 123);
}

#[tokio::test]
async fn what_is_no_setup_no_json_or_no_model_is_refused_by_a_close() {
    let sim = simulator().await;
    let cases = [
        (turn("too early").to_string(), 1007),
        ("{".to_owned(), 1007),
        (json!({"setup": {"model": "models/dream"}}).to_string(), 1008),
    ];
    for (first, code) in cases {
        let mut client = open(&sim).await;
        client.0.send(Message::text(first)).await.unwrap();
        assert_eq!(client.close().await.unwrap().0, code);
    }
}

#[tokio::test]
async fn a_handle_resumes_in_its_own_project_for_two_hours() {
    let mut config = config();
    config.keys.push(Key::valid("AIzaSibling", "alpha"));
    let sim = Simulator::start(config).await.unwrap();
    let mut client = open(&sim).await;
    client.say(&json!({"setup": {"model": "models/gemini-2.5-flash", "sessionResumption": {}}})).await;
    client.json().await;
    let update = client.json().await;
    let handle = update["sessionResumptionUpdate"]["newHandle"].as_str().unwrap();
    assert_eq!(update["sessionResumptionUpdate"]["resumable"], true);
    let resume =
        json!({"setup": {"model": "models/gemini-2.5-flash", "sessionResumption": {"handle": handle}}});
    let not_found = Some((1008, "Requested entity was not found.".to_owned()));

    let mut sibling = upgrade(&sim, LIVE, &[("x-goog-api-key", "AIzaSibling")]).await.unwrap();
    sibling.say(&resume).await;
    assert_eq!(sibling.json().await, json!({"setupComplete": {}}));
    assert_eq!(sim.stats().wrong_owner, 0);
    let mut other = upgrade(&sim, LIVE, &[("x-goog-api-key", "AQ.Beta")]).await.unwrap();
    other.say(&resume).await;
    assert_eq!(other.close().await, not_found);
    assert_eq!(sim.stats().wrong_owner, 1);

    sim.set_clock_offset_s(2 * 60 * 60 + 5);
    let mut late = open(&sim).await;
    late.say(&resume).await;
    assert_eq!(late.close().await, not_found);
}

#[tokio::test]
async fn an_ephemeral_token_opens_one_constrained_session() {
    let sim = simulator().await;
    assert_eq!(native(&sim, "/v1/auth_tokens", &json!({})).await.status, 404);
    let reply = native(&sim, "/v1alpha/auth_tokens", &json!({"uses": 1})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let token = reply.json()["name"].as_str().unwrap().to_owned();
    let constrained =
        "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained";
    let authorization = format!("Token {token}");
    let by_header = [("authorization", authorization.as_str())];
    assert_eq!(upgrade(&sim, LIVE, &by_header).await.err().unwrap().0, 401);
    assert_eq!(upgrade(&sim, constrained, &[("x-goog-api-key", KEY)]).await.err().unwrap().0, 401);

    let mut client = upgrade(&sim, constrained, &by_header).await.unwrap();
    client.say(&setup()).await;
    assert_eq!(client.json().await, json!({"setupComplete": {}}));
    assert_eq!(sim.requests().pop().unwrap().project.as_deref(), Some("alpha"));
    let by_query = format!("{constrained}?access_token={token}");
    assert_eq!(upgrade(&sim, &by_query, &[]).await.err().unwrap().0, 401, "it is used up");

    let reply = native(&sim, "/v1beta/auth_tokens", &json!({})).await.json();
    let by_query = format!("{constrained}?access_token={}", reply["name"].as_str().unwrap());
    sim.set_clock_offset_s(61);
    assert_eq!(upgrade(&sim, &by_query, &[]).await.err().unwrap().0, 401, "it had to start within a minute");
    sim.set_clock_offset_s(0);
    assert!(upgrade(&sim, &by_query, &[]).await.is_ok());
}

#[tokio::test]
async fn a_client_can_order_how_its_session_ends() {
    let sim = simulator().await;
    let mut client = set_up(&sim).await;
    client.say(&turn("close 1011 You exceeded your current quota")).await;
    assert_eq!(client.close().await, Some((1011, "You exceeded your current quota".to_owned())));
    let mut client = set_up(&sim).await;
    client.say(&turn("close")).await;
    assert_eq!(client.close().await, None);
    for order in ["reset", "drop"] {
        let mut client = set_up(&sim).await;
        client.say(&turn(order)).await;
        assert!(matches!(client.next().await, Some(Err(_)) | None), "{order}");
    }
    let client = set_up(&sim).await;
    drop(client);
    logged(&sim, |request| request.end == End::ClientLeft).await;
}

#[tokio::test]
async fn pings_are_answered_both_ways() {
    let sim = simulator().await;
    let mut client = set_up(&sim).await;
    client.0.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    client.say(&turn("ping hello")).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Ping("hello".into()));
    assert_eq!(client.answer().await, "pong hello");
    client.say(&turn("pings")).await;
    assert_eq!(client.answer().await, "1 pings");
}

#[tokio::test]
async fn messages_of_16_mib_pass_both_ways() {
    let sim = simulator().await;
    let mut client = set_up(&sim).await;
    let size = 16 * 1024 * 1024 - 200;
    client.say(&turn(&"y".repeat(size))).await;
    assert_eq!(client.answer().await.len(), "you said: ".len() + size);
    client.say(&turn("flood 3 100000")).await;
    assert_eq!(client.answer().await, "x".repeat(300_000));
}

#[tokio::test]
async fn faults_strike_sessions_too() {
    let sim = simulator().await;
    let close = |after_messages, code| Fault::LiveClose { after_messages, code, reason: "bad luck".into() };
    sim.set_faults([Rule::new(Fault::status(429)).on_path("/ws/")]);
    assert_eq!(upgrade(&sim, LIVE, &[("x-goog-api-key", KEY)]).await.err().unwrap().0, 429);

    sim.set_faults([Rule::new(close(0, Some(1013)))]);
    assert_eq!(open(&sim).await.close().await, Some((1013, "bad luck".to_owned())));
    sim.set_faults([Rule::new(close(1, None))]);
    let mut client = open(&sim).await;
    client.say(&setup()).await;
    assert_eq!(client.close().await, None);

    sim.set_faults([Rule::new(Fault::LiveGoAway { after_messages: 2 })]);
    let mut client = set_up(&sim).await;
    client.say(&turn("hello")).await;
    assert_eq!(client.json().await, json!({"goAway": {"timeLeft": "10s"}}));
    assert_eq!(client.answer().await, "you said: hello");

    sim.set_faults([Rule::new(Fault::LiveText)]);
    let mut client = open(&sim).await;
    client.say(&setup()).await;
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text(r#"{"setupComplete":{}}"#));

    sim.set_faults([Rule::new(Fault::Reset { after_events: 1 })]);
    let mut client = open(&sim).await;
    client.say(&setup()).await;
    while let Some(Ok(message)) = client.next().await {
        assert!(message.is_binary(), "{message:?}");
    }
    logged(&sim, |request| request.end == End::Faulted).await;
}

//! Responses that are kept: for whom, how long, and what can be asked of them.

use super::{events, post};
use crate::support::{Gateway, Options, client, simulator, stranger};
use gemini_simulator::{AfterSteps, ScriptedConversation, ScriptedStep};
use serde_json::{Value, json};

#[tokio::test]
async fn responses_are_kept_for_their_caller_alone_and_gone_on_from() {
    for store in ["memory", "sqlite"] {
        let simulator = simulator(1).await;
        simulator
            .set_conversations([ScriptedConversation::new([ScriptedStep::echo()]).then(AfterSteps::Repeat)]);
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(&simulator.url(), 1)
            .set("formats.responses.store", format!("{store:?}"))
            .env("ACCESS_TOKENS", "alice=alice-secret-alice-secret,bob=bob-secret-bob-secret-bob")
            .without_token();
        let gateway = options.start_in(folder.path());
        let ask = async |gateway: &Gateway, method: &str, who: &str, path: &str, body: Value| {
            let method = method.parse().unwrap();
            let request = stranger()
                .request(method, gateway.url(path))
                .bearer_auth(who)
                .header("content-type", "application/json")
                .body(body.to_string());
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
        };
        let (alice, bob) = ("alice-secret-alice-secret", "bob-secret-bob-secret-bob");
        let first =
            json!({"model": "gemini-2.5-flash", "instructions": "Be brief.", "input": "my name is Ada"});
        let (_, first) = ask(&gateway, "POST", alice, "/v1/responses", first).await;
        let id = first["id"].as_str().unwrap().to_owned();
        let next = json!({"model": "gemini-2.5-flash", "input": "what is it", "previous_response_id": id});
        let (status, _) = ask(&gateway, "POST", alice, "/v1/responses", next.clone()).await;
        assert_eq!(status, 200);
        let sent = simulator.conversations()[0].seen.back().unwrap().clone();
        assert!(sent["contents"].to_string().contains("my name is Ada"), "{sent}");
        assert!(!sent.to_string().contains("Be brief."), "instructions are not inherited");
        for (who, path, status) in [
            (alice, format!("/v1/responses/{id}"), 200),
            (alice, format!("/v1/responses/{id}/input_items"), 200),
            (bob, format!("/v1/responses/{id}"), 404),
            (bob, format!("/v1/responses/{id}/input_items"), 404),
            (alice, "/v1/responses/resp_none".to_owned(), 404),
        ] {
            assert_eq!(ask(&gateway, "GET", who, &path, json!({})).await.0, status, "{path}");
        }
        assert_eq!(ask(&gateway, "POST", bob, "/v1/responses", next.clone()).await.0, 400);
        let kept_not = json!({"model": "gemini-2.5-flash", "input": "x", "store": false});
        let (_, answer) = ask(&gateway, "POST", alice, "/v1/responses", kept_not).await;
        let path = format!("/v1/responses/{}", answer["id"].as_str().unwrap());
        assert_eq!(ask(&gateway, "GET", alice, &path, json!({})).await.0, 404);
        drop(gateway);
        let gateway = options.start_in(folder.path());
        let path = format!("/v1/responses/{id}");
        let expected = if store == "sqlite" { 200 } else { 404 };
        assert_eq!(ask(&gateway, "GET", alice, &path, json!({})).await.0, expected, "{store}");
        if store == "sqlite" {
            let (status, gone) = ask(&gateway, "DELETE", alice, &path, json!({})).await;
            assert_eq!((status, &gone["deleted"]), (200, &json!(true)));
            assert_eq!(ask(&gateway, "GET", alice, &path, json!({})).await.0, 404);
        }
    }
}

#[tokio::test]
async fn a_streamed_response_is_kept_however_fast_it_came_and_counts_for_those_that_go_on_from_it() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let step = ScriptedStep { together: true, ..ScriptedStep::texts(["Ada, Countess of Lovelace"]) };
    simulator.set_conversations([ScriptedConversation::new([step]).then(AfterSteps::Repeat)]);
    let begin = json!({"model": "gemini-2.5-flash", "input": "who wrote the first program", "stream": true});
    for _ in 0..5 {
        let (told, _) = events(&gateway, "/v1/responses", &begin).await;
        let id = told[0].1["response"]["id"].as_str().unwrap();
        let next = json!({"model": "gemini-2.5-flash", "input": "when", "previous_response_id": id});
        let (status, _, answer) = post(&gateway, "/v1/responses", &next).await;
        assert_eq!(status, 200, "{answer}");
        let count = async |body: &Value| {
            let (status, _, counted) = post(&gateway, "/v1/responses/input_tokens", body).await;
            assert_eq!(status, 200, "{counted}");
            counted["input_tokens"].as_u64().unwrap()
        };
        let alone = json!({"model": "gemini-2.5-flash", "input": "when"});
        assert!(count(&next).await > count(&alone).await, "what it goes on from counts");
    }
}

#[tokio::test]
async fn the_events_of_a_response_that_is_kept_are_refused_rather_than_answered_with_something_else() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let (_, _, answer) =
        post(&gateway, "/v1/responses", &json!({"model": "gemini-2.5-flash", "input": "x"})).await;
    let id = answer["id"].as_str().unwrap();
    let get = async |path: String| {
        let answer = client().get(gateway.url(&path)).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    for query in ["stream=true", "stream=true&starting_after=3"] {
        let (status, told) = get(format!("/v1/responses/{id}?{query}")).await;
        assert_eq!((status, &told["error"]["param"]), (400, &json!("stream")), "{told}");
        assert_eq!(told["error"]["code"], "unsupported_parameter");
        assert!(told["error"]["message"].as_str().unwrap().contains("ask without `stream`"), "{told}");
    }
    for query in ["stream=false", "include=x"] {
        assert_eq!(get(format!("/v1/responses/{id}?{query}")).await.0, 200);
    }
    assert_eq!(get("/v1/responses/resp_none?stream=true".to_owned()).await.0, 404);
}

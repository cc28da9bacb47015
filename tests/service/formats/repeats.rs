//! What Google is asked once more, of which key and for whom it counts, and what another model is asked in a model's place.

use super::{TOKEN, message, post, send, streamed};
use crate::support::{Gateway, Options, simulator, simulator_with, stranger};
use gemini_simulator::{
    AfterSteps, Fault, GoogleError, Model, ModelKind, Rule, ScriptedConversation, ScriptedStep,
};
use serde_json::{Value, json};

/// A conversation in which the model has made a call and signed it, and the tool has answered.
async fn looked(gateway: &Gateway, model: &str) -> Value {
    let mut body = message(model, r#"call look {"x":"1"}"#);
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    body["tools"] = json!([{"name": "look", "input_schema": {"type": "object", "properties": {"x": {}}}}]);
    let (_, _, answer) = post(gateway, "/v1/messages", &body).await;
    let id = answer["content"].as_array().unwrap().last().unwrap()["id"].clone();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": answer["content"]}));
    let result = json!({"type": "tool_result", "tool_use_id": id, "content": "seen"});
    messages.push(json!({"role": "user", "content": [result]}));
    body
}

#[tokio::test]
async fn signatures_that_google_refuses_and_answers_it_failed_to_form_are_asked_for_once_more() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let tools = json!([{"name": "look", "input_schema": {"type": "object", "properties": {"x": {"type": "string"}}}}]);
    let mut body = message("gemini-3.7-flash", r#"call look {"x":"1"}"#);
    body["tools"] = tools;
    let (_, _, answer) = post(&gateway, "/v1/messages", &body).await;
    assert_eq!(answer["stop_reason"], "tool_use", "{answer}");
    let call = answer["content"]
        .as_array()
        .unwrap()
        .iter()
        .find(|block| block["type"] == "tool_use")
        .unwrap()
        .clone();
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "seen"}]});
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": [call]}));
    messages.push(result);
    let (status, _, answer) = post(&gateway, "/v1/messages", &body).await;
    assert!(status == 200 && answer["content"][0]["text"].as_str().unwrap().contains("seen"), "{answer}");
    assert_eq!(simulator.stats().signatures.skipped, 0, "the signature itself came back");
    simulator.set_faults([Rule::new(Fault::google(GoogleError::SignatureCorrupted)).times(1)]);
    for body in [body.clone(), streamed(body.clone())] {
        simulator.set_faults([Rule::new(Fault::google(GoogleError::SignatureCorrupted)).times(1)]);
        let answer = send(&gateway, "/v1/messages", &body).await;
        assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
        assert!(answer.text().await.unwrap().contains("seen"));
    }
    assert!(simulator.stats().signatures.skipped >= 2);
    simulator.set_faults([]);
    let malformed = || ScriptedStep::finished("MALFORMED_FUNCTION_CALL");
    let steps = [malformed(), ScriptedStep::texts(["well"]), malformed(), malformed()];
    for (body, path) in [
        (message("gemini-2.5-flash", "x"), "/v1/messages"),
        (streamed(message("gemini-2.5-flash", "x")), "/v1/messages"),
        (json!({"model": "gemini-2.5-flash", "input": "x"}), "/v1/responses"),
        (json!({"model": "gemini-2.5-flash", "input": "x", "stream": true}), "/v1/responses"),
    ] {
        simulator.set_conversations([ScriptedConversation::new(steps.clone())]);
        let ask = async || send(&gateway, path, &body).await;
        let answer = ask().await;
        assert!(answer.status() == 200 && answer.text().await.unwrap().contains("well"), "{path}");
        let answer = send(&gateway, path, &body).await;
        assert_eq!(answer.status().as_u16(), 500, "{path}: never an empty success");
    }
}

#[tokio::test]
async fn a_level_of_thinking_that_a_model_does_not_know_costs_no_request() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let mut body = message("claude-sonnet-4-5", "x");
    body["thinking"] = json!({"type": "disabled"});
    assert_eq!(post(&gateway, "/v1/messages", &body).await.0, 200);
    assert_eq!(simulator.requests().len(), 1, "the newest Flash knows what it was asked");
    let unknown = || {
        let message =
            "Thinking level LOW is not supported for this model. Please retry with other thinking level.";
        let status = "INVALID_ARGUMENT";
        let body = json!({"error": {"code": 400, "message": message, "status": status}});
        Rule::new(Fault::Status { status: 400, headers: [].into(), body: Some(body) })
    };
    simulator.set_faults([unknown().times(1)]);
    assert_eq!(post(&gateway, "/v1/messages", &body).await.0, 200);
    assert_eq!(simulator.requests().len(), 3);
    simulator.set_faults([unknown()]);
    let (status, _, refused) = post(&gateway, "/v1/messages", &body).await;
    assert!(status == 400 && refused["error"]["message"].as_str().unwrap().contains("LOW"), "{refused}");
    assert_eq!(simulator.requests().len(), 5, "once more, and no oftener");
}

#[tokio::test]
async fn a_limit_that_stands_against_asking_once_more_is_no_answer_to_the_request() {
    let simulator = simulator(1).await;
    // There is room for the first time, and not for the second.
    let tokens = format!(r#"[{{name="alice",secret="{TOKEN}",budget={{tokens_day=600}}}}]"#);
    let gateway = Options::new(&simulator.url(), 1).set("auth.tokens", tokens).without_token().start();
    let steps = [ScriptedStep::finished("MALFORMED_FUNCTION_CALL")];
    simulator.set_conversations([ScriptedConversation::new(steps).then(AfterSteps::Repeat)]);
    let body = message("gemini-2.5-flash", &"word ".repeat(320)).to_string();
    let request = stranger().post(gateway.url("/v1/messages")).header("x-api-key", TOKEN).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 500, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn a_request_that_google_is_asked_twice_for_counts_once_against_its_caller() {
    let simulator = simulator(1).await;
    let tokens = format!(r#"[{{name="alice",secret="{TOKEN}",rpm=2,rpd=2,concurrent=1}}]"#);
    let gateway = Options::new(&simulator.url(), 1).set("auth.tokens", tokens).without_token().start();
    let steps = [ScriptedStep::finished("MALFORMED_FUNCTION_CALL"), ScriptedStep::texts(["well"])];
    let ask = async |path: &str, body: Value| {
        simulator.set_conversations([ScriptedConversation::new(steps.clone())]);
        let request = stranger().post(gateway.url(path)).header("x-api-key", TOKEN).body(body.to_string());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
    };
    let (status, headers, answer) = ask("/v1/messages", message("gemini-2.5-flash", "x")).await;
    assert!(status == 200 && answer.contains("well"), "{answer}");
    assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "1");
    let body = json!({"model": "gemini-2.5-flash", "input": "x", "stream": true});
    let (status, headers, answer) = ask("/v1/responses", body.clone()).await;
    assert!(status == 200 && answer.contains("well"), "{answer}");
    assert_eq!(headers["x-ratelimit-remaining-requests"], "0");
    assert_eq!(ask("/v1/responses", body).await.0, 429);
}

#[tokio::test]
async fn a_model_of_another_generation_that_stands_in_is_asked_as_it_understands() {
    let models = ["gemini-3-pro-preview", "gemini-2.5-flash"];
    let models = models.map(|name| Model::new(name, ModelKind::Generate)).into();
    let simulator = simulator_with(2, |config| config.models = models).await;
    let fallback = r#"{"gemini-3-pro-preview"="gemini-2.5-flash"}"#;
    let gateway = Options::new(&simulator.url(), 2).set("models.fallback", fallback).start();
    simulator.set_faults([Rule::new(Fault::status(503)).on_model("gemini-3-pro-preview")]);
    simulator.set_conversations([ScriptedConversation::new([ScriptedStep::echo()]).then(AfterSteps::Repeat)]);
    let mut asked = message("gemini-3-pro-preview", "x");
    asked["thinking"] = json!({"type": "enabled", "budget_tokens": 31_999});
    let reasoning = json!({"model": "gemini-3-pro-preview", "input": "x", "reasoning": {"effort": "low"}, "store": false});
    for (path, body, budget) in [
        ("/v1/messages", asked.clone(), 24_576),
        ("/v1/messages", streamed(asked.clone()), 24_576),
        ("/v1/responses", reasoning.clone(), 1_024),
        ("/v1/responses", streamed(reasoning), 1_024),
    ] {
        let answer = send(&gateway, path, &body).await;
        assert_eq!(answer.status().as_u16(), 200, "{path}: {}", answer.text().await.unwrap());
        assert_eq!(answer.headers()["x-gemini-balance-fallback"], "gemini-2.5-flash", "{path}");
        let text = answer.text().await.unwrap();
        assert!(
            text.contains("gemini-3-pro-preview"),
            "the answer repeats the name that was asked for: {text}"
        );
        let sent = simulator.requests().pop().unwrap();
        assert!(sent.path.contains("gemini-2.5-flash"), "{}", sent.path);
        let sent = simulator.conversations()[0].seen.back().unwrap().clone();
        let thinking = &sent["generationConfig"]["thinkingConfig"];
        assert_eq!((&thinking["thinkingBudget"], thinking.get("thinkingLevel")), (&json!(budget), None));
    }
    // What is counted names its model in the body as well.
    for (path, body) in [
        ("/v1/messages/count_tokens", asked),
        ("/v1/responses/input_tokens", json!({"model": "gemini-3-pro-preview", "input": "x"})),
    ] {
        let (status, headers, counted) = post(&gateway, path, &body).await;
        assert_eq!(status, 200, "{counted}");
        assert_eq!(headers["x-gemini-balance-fallback"], "gemini-2.5-flash", "{path}");
        assert!(simulator.requests().pop().unwrap().path.contains("gemini-2.5-flash"));
    }
    let lines = gateway.transactions(6);
    assert!(lines.iter().all(|line| line["model"] == "gemini-2.5-flash"), "{lines:?}");
}

#[tokio::test]
async fn each_thing_that_google_refuses_is_mended_once_in_whichever_order_they_come() {
    let told = |message: &str| {
        let body = json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}});
        Rule::new(Fault::Status { status: 400, headers: [].into(), body: Some(body) }).times(1)
    };
    let level = || told("Thinking level LOW is not supported for this model.");
    let signature = || told("Corrupted thought signature.");
    for faults in [[level(), signature()], [signature(), level()]] {
        let simulator = simulator(1).await;
        let gateway = Options::new(&simulator.url(), 1).start();
        let body = looked(&gateway, "gemini-3-pro-preview").await;
        let malformed = ScriptedStep::finished("MALFORMED_FUNCTION_CALL");
        let steps = [malformed, ScriptedStep::echo()];
        simulator.set_conversations([ScriptedConversation::new(steps).then(AfterSteps::Repeat)]);
        simulator.set_faults(faults.clone());
        let before = simulator.requests().len();
        let (status, _, answer) = post(&gateway, "/v1/messages", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(simulator.requests().len() - before, 4, "once for each of the two, and for the answer");
        let sent = simulator.conversations()[0].seen.back().unwrap().clone();
        assert!(sent["generationConfig"]["thinkingConfig"].get("thinkingLevel").is_none(), "{sent}");
        assert!(sent.to_string().contains("skip_thought_signature_validator"), "{sent}");
        // What comes a second time is told.
        simulator.set_faults([level(), level(), level()]);
        let (status, _, answer) = post(&gateway, "/v1/messages", &body).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(simulator.requests().len() - before, 6);
    }
}

#[tokio::test]
async fn what_is_asked_once_more_goes_to_the_key_that_was_asked_before() {
    let simulator = simulator(5).await;
    let gateway = Options::new(&simulator.url(), 5).start();
    let body = json!({"error": {"code": 400, "message": "Thinking level LOW is not supported.", "status": "INVALID_ARGUMENT"}});
    let unknown = Rule::new(Fault::Status { status: 400, headers: [].into(), body: Some(body) });
    let mut lines = 0;
    for path in ["/v1/messages", "/v1/responses"] {
        for is_streamed in [false, true] {
            for is_malformed in [false, true] {
                let mut body = if path == "/v1/messages" {
                    let mut body = message("gemini-3-pro-preview", "x");
                    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
                    body
                } else {
                    json!({"model": "gemini-3-pro-preview", "input": "x", "reasoning": {"effort": "low"}})
                };
                if is_streamed {
                    body = streamed(body);
                }
                let steps =
                    [ScriptedStep::finished("MALFORMED_FUNCTION_CALL"), ScriptedStep::texts(["well"])];
                simulator.set_conversations(
                    [ScriptedConversation::new(steps)].into_iter().filter(|_| is_malformed),
                );
                simulator.set_faults([unknown.clone().times(1)].into_iter().filter(|_| !is_malformed));
                assert_eq!(send(&gateway, path, &body).await.status().as_u16(), 200);
                lines += 2;
                let told = gateway.transactions(lines);
                let key = |line: &Value| line["attempts"][0]["key"].clone();
                assert_eq!(
                    key(&told[lines - 2]),
                    key(&told[lines - 1]),
                    "{path} {is_streamed} {is_malformed}"
                );
                assert!(key(&told[0]).is_string());
            }
        }
    }
}

#[tokio::test]
async fn a_model_that_stands_in_and_refuses_the_others_signatures_is_asked_without_them() {
    let models = ["gemini-3-pro-preview", "gemini-3-flash-preview"];
    let models = models.map(|name| Model::new(name, ModelKind::Generate)).into();
    let simulator = simulator_with(1, |config| config.models = models).await;
    let fallback = r#"{"gemini-3-pro-preview"="gemini-3-flash-preview"}"#;
    let gateway = Options::new(&simulator.url(), 1).set("models.fallback", fallback).start();
    let body = looked(&gateway, "gemini-3-pro-preview").await;
    simulator.set_conversations([ScriptedConversation::new([ScriptedStep::echo()]).then(AfterSteps::Repeat)]);
    let down = Rule::new(Fault::status(503)).on_model("gemini-3-pro-preview");
    for is_refused in [false, true] {
        let refusal = Rule::new(Fault::google(GoogleError::SignatureCorrupted));
        let refusal = refusal.on_model("gemini-3-flash-preview").times(1);
        simulator.set_faults([down.clone()].into_iter().chain(is_refused.then_some(refusal)));
        let answer = send(&gateway, "/v1/messages", &body).await;
        assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
        assert_eq!(answer.headers()["x-gemini-balance-fallback"], "gemini-3-flash-preview");
        let sent = simulator.conversations()[0].seen.back().unwrap().to_string();
        assert_eq!(sent.contains("skip_thought_signature_validator"), is_refused, "{sent}");
    }
}

//! What a token allows: surfaces, models, projects, Live sessions; and what is said of one that may not call.

use super::{CHAT, LIMIT, chat, get, send, status, told, with_tokens};
use crate::{
    live::Session,
    support::{prompt, secret, simulator, simulator_with, stranger},
};
use serde_json::json;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_surface_state_and_model_is_allowed_or_refused_as_the_token_says() {
    let simulator = simulator(1).await;
    let entry = |name: &str, more: &str| format!("{{name=\"{name}\",secret=\"{name}-secret\"{more}}},");
    let surfaces = ["native", "openai", "live", "upload"];
    let states = [
        ("on", "", None),
        ("off", ",enabled=false", Some(401)),
        ("past", ",expires=\"2020-01-01\"", Some(401)),
        ("future", ",expires=\"2999-01-01T00:00:00Z\"", None),
    ];
    let globs = [
        ("any", "*", true, true),
        ("flash", "gemini-*-flash", true, false),
        ("pro", "models/gemini-2.5-pro", false, true),
        ("none", "nothing-*", false, false),
    ];
    let mut entries = String::new();
    for surface in surfaces {
        for (state, more, _) in states {
            for (glob, pattern, ..) in globs {
                let name = format!("{surface}-{state}-{glob}");
                entries += &entry(&name, &format!(",surfaces=[\"{surface}\"],models=[\"{pattern}\"]{more}"));
            }
        }
    }
    let gateway = with_tokens(&simulator, 1, &entries).start();
    let mut cases = 0;
    for opened in surfaces {
        for (state, _, refused) in states {
            for (glob, _, flash, pro) in globs {
                let token = format!("{opened}-{state}-{glob}-secret");
                for surface in surfaces {
                    for (model, fits) in [("gemini-2.5-flash", flash), ("gemini-2.5-pro", pro)] {
                        let response = match surface {
                            "native" => {
                                let path = format!("/v1beta/models/{model}:generateContent");
                                send(&gateway, &token, &path, prompt("x")).await
                            }
                            "openai" => send(&gateway, &token, CHAT, chat(model)).await,
                            "live" => {
                                // Without the upgrade: it is forwarded, where it may.
                                let path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
                                send(&gateway, &token, path, String::new()).await
                            }
                            _ => send(&gateway, &token, "/upload/v1beta/files", String::new()).await,
                        };
                        let names_model = matches!(surface, "native" | "openai");
                        // What says no model spends on one that is not shown.
                        let fits = match surface {
                            "live" => glob == "any",
                            _ => fits || !names_model,
                        };
                        let (code, limit) =
                            (response.status().as_u16(), response.headers().get(LIMIT).cloned());
                        let case = format!("{opened} {state} {glob}: {surface} {model} {code} {limit:?}");
                        match refused {
                            Some(expected) => assert_eq!((code, limit), (expected, None), "{case}"),
                            None if opened != surface => {
                                assert_eq!(
                                    (code, limit.unwrap().to_str().unwrap()),
                                    (403, "surface"),
                                    "{case}"
                                );
                            }
                            None if !fits => {
                                assert_eq!(
                                    (code, limit.unwrap().to_str().unwrap()),
                                    (403, "model"),
                                    "{case}"
                                );
                            }
                            None => assert!(code != 401 && code != 403 && limit.is_none(), "{case}"),
                        }
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 4 * 4 * 4 * 4 * 2);
    let known = simulator.requests();
    let models: BTreeSet<_> = known.iter().filter_map(|request| request.path.split('/').nth(3)).collect();
    assert!(models.iter().all(|model| !model.contains("nothing")), "{models:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spending_request_that_shows_no_model_needs_a_token_for_all() {
    let simulator = simulator(1).await;
    let gateway = with_tokens(
        &simulator,
        1,
        "{name=\"some\",secret=\"some-secret\",models=[\"gemini-*\"]},{name=\"all\",secret=\"all-secret\"}",
    )
    .start();
    let batch =
        json!({"input_file_id": "files/x", "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    for (path, body) in [
        ("/v1beta/openai/batches", batch.to_string()),
        ("/v1alpha/auth_tokens", "{}".to_owned()),
        ("/v1beta/interactions", json!({"agent": "deep-research", "input": "x"}).to_string()),
        ("/v1beta/openai/audio/transcriptions", "--x\r\n".to_owned()),
    ] {
        let (code, limit, error) = told(send(&gateway, "some-secret", path, body.clone()).await).await;
        assert_eq!((code, limit.as_deref()), (403, Some("model")), "{path}");
        assert!(error["message"].as_str().unwrap().contains("does not show"), "{error}");
        let response = send(&gateway, "all-secret", path, body).await;
        assert!(!response.headers().contains_key(LIMIT), "{path}");
    }
    // What is kept for a model names it.
    let cache = async |model: &str| {
        let body = json!({"contents": [{"parts": [{"text": "x"}]}], "model": model}).to_string();
        told(send(&gateway, "some-secret", "/v1beta/cachedContents", body).await).await
    };
    let (code, limit, error) = cache("models/gemini-2.5-flash").await;
    assert_eq!((code, limit), (200, None), "{error}");
    let (code, limit, error) = cache("models/text-embedding-004").await;
    assert_eq!((code, limit.as_deref()), (403, Some("model")));
    assert!(error["message"].as_str().unwrap().contains("does not allow"), "{error}");
    // Files, lists and counting need none.
    for path in ["/v1beta/files", "/v1beta/models", "/v1beta/batches"] {
        let response = stranger().get(gateway.url(path)).header("x-goog-api-key", "some-secret").send().await;
        assert_eq!(response.unwrap().status(), 200, "{path}");
    }
    let count = "/v1beta/models/gemini-2.5-flash:countTokens";
    assert_eq!(send(&gateway, "some-secret", count, prompt("x")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_models_show_what_a_caller_may_use() {
    let simulator = simulator(1).await;
    let entry = "{name=\"some\",secret=\"some-secret\",models=[\"gemini-2.5-*\"]},{name=\"all\",secret=\"all-secret\"}";
    let gateway = with_tokens(&simulator, 1, entry).start();
    for (path, list, name) in
        [("/v1beta/models?pageSize=1000", "models", "name"), ("/v1beta/openai/models", "data", "id")]
    {
        let names = async |token| {
            let body = get(&gateway, token, path).await;
            let names = body[list].as_array().unwrap().iter();
            names.map(|model| model[name].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let (some, all) = (names("some-secret").await, names("all-secret").await);
        let fits = |name: &&String| name.trim_start_matches("models/").starts_with("gemini-2.5-");
        assert_eq!(some, all.iter().filter(fits).cloned().collect(), "{path}");
        assert!(!some.is_empty() && some.len() < all.len(), "{path}: {some:?}");
    }
    let refused = stranger().get(gateway.url("/v1beta/models/gemini-2.0-flash"));
    let (status, limit, _) =
        told(refused.header("x-goog-api-key", "some-secret").send().await.unwrap()).await;
    assert_eq!((status, limit.as_deref()), (403, Some("model")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_served_from_its_projects_only() {
    let simulator = simulator(4).await;
    let keys: Vec<_> = (0..4)
        .map(|n| format!("{{label=\"k{n}\",secret=\"{}\",project=\"team-{}\"}}", secret(n), n % 2))
        .collect();
    let entry = "{name=\"alice\",secret=\"alice-secret\",projects=[\"team-1\"]},{name=\"bob\",secret=\"bob-secret\",projects=[\"no-*\"]}";
    let gateway = with_tokens(&simulator, 0, entry).set("keys", format!("[{}]", keys.join(","))).start();
    for _ in 0..8 {
        assert_eq!(status(&gateway, "alice-secret").await, 200);
        assert_eq!(send(&gateway, "alice-secret", CHAT, chat("gemini-2.5-flash")).await.status(), 200);
    }
    let used: BTreeSet<_> = simulator.stats().by_key.into_keys().collect();
    assert_eq!(used, [secret(1), secret(3)].into());
    let refused = send(&gateway, "bob-secret", CHAT, chat("gemini-2.5-flash")).await;
    let (status, limit, _) = told(refused).await;
    assert_eq!((status, limit.as_deref()), (403, Some("projects")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_session_is_held_to_its_token() {
    let simulator = simulator_with(1, |config| config.shape.text_bytes = 400).await;
    let entry = "{name=\"pro\",secret=\"pro-secret\",models=[\"gemini-2.5-pro\"]},\
                 {name=\"native\",secret=\"native-secret\",surfaces=[\"native\"]},\
                 {name=\"some\",secret=\"some-secret\",budget={tokens_day=15}}";
    let gateway = with_tokens(&simulator, 1, entry).start();
    let (code, reason) = Session::begin_as(&gateway, "pro-secret").await.err().unwrap();
    assert_eq!(code, 1008, "{reason}");
    assert!(reason.starts_with("This token does not allow the model"), "{reason}");
    assert_eq!(Session::upgrade_as(&gateway, "native-secret").await, Err(403));
    // A session counts as it goes, and is not cut; the next one is refused.
    let mut session = Session::begin_as(&gateway, "some-secret").await.ok().unwrap();
    session.ask("one").await;
    session.ask("two").await;
    let me = get(&gateway, "some-secret", "/me").await;
    assert!(me["use"]["limits"][0]["used"].as_u64().unwrap() > 3, "{me}");
    assert_eq!(Session::upgrade_as(&gateway, "some-secret").await, Err(429));
    session.ask("three").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_token_that_may_not_call_is_no_guess() {
    let simulator = simulator(1).await;
    let entry = "{name=\"off\",secret=\"off-secret\",enabled=false},{name=\"on\",secret=\"on-secret\"}";
    let gateway = with_tokens(&simulator, 1, entry).set("server.max_guesses_per_minute", 5).start();
    for _ in 0..20 {
        assert_eq!(status(&gateway, "off-secret").await, 401);
    }
    assert_eq!(status(&gateway, "on-secret").await, 200);
    for _ in 0..5 {
        assert_eq!(status(&gateway, "wrong").await, 401);
    }
    assert_eq!(status(&gateway, "on-secret").await, 429, "its address has guessed");
}

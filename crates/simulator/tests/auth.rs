//! Credentials: which form counts where, what a bad one is told, and in which frame.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::{KeyState, Simulator, UnknownKeys};
use serde_json::json;
use wire::*;

#[tokio::test]
async fn the_native_surface_takes_a_header_or_a_query_key() {
    let sim = simulator().await;
    let body = hello().to_string();
    assert_eq!(call(&sim, "POST", FLASH, &[("x-goog-api-key", KEY)], &body).await.status, 200);
    assert_eq!(call(&sim, "POST", &format!("{FLASH}?key={KEY}"), &[], &body).await.status, 200);

    let bearer = format!("Bearer {KEY}");
    let reply = call(&sim, "POST", FLASH, &[("Authorization", &bearer)], &body).await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer realm"));
    let error = &reply.json()["error"];
    assert_eq!(error["status"], "UNAUTHENTICATED");
    assert_eq!(error["details"][0]["reason"], "ACCESS_TOKEN_TYPE_UNSUPPORTED");
    assert_eq!(
        error["details"][0]["metadata"]["method"],
        "google.ai.generativelanguage.v1beta.GenerativeService.GenerateContent"
    );
}

#[tokio::test]
async fn two_credentials_at_once_are_refused_in_every_combination() {
    let sim = simulator().await;
    let bearer = format!("Bearer {KEY}");
    let query = format!("{FLASH}?key={KEY}");
    let token = format!("{FLASH}?access_token=auth_tokens/x");
    let header = ("x-goog-api-key", KEY);
    let authorization = ("Authorization", bearer.as_str());
    let cases: [(&str, &[(&str, &str)]); 6] = [
        (FLASH, &[header, header]),
        (FLASH, &[header, authorization]),
        (&query, &[header]),
        (&query, &[authorization]),
        (&token, &[header]),
        (CHAT, &[header, authorization]),
    ];
    for (target, headers) in cases {
        let reply = call(&sim, "POST", target, headers, &hello().to_string()).await;
        assert_eq!(reply.status, 400, "{target}");
        assert!(reply.text().contains("Multiple authentication credentials received."), "{}", reply.text());
    }
}

#[tokio::test]
async fn no_credential_or_an_empty_one_is_an_unregistered_caller() {
    let sim = simulator().await;
    for headers in [&[][..], &[("x-goog-api-key", "")]] {
        let reply = call(&sim, "POST", FLASH, headers, &hello().to_string()).await;
        assert_eq!(reply.status, 403);
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Method doesn't allow unregistered callers"), "{message}");
    }
}

#[tokio::test]
async fn the_openai_layer_takes_bearer_only_and_answers_errors_in_an_array() {
    let sim = simulator().await;
    assert_eq!(openai(&sim, CHAT, &chat()).await.status, 200);
    let reply = call(&sim, "POST", CHAT, &[("Authorization", "Bearer wrong")], &chat().to_string()).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.json(),
        json!([{"error": {"code": 400, "message": "Please pass a valid API key", "status": "INVALID_ARGUMENT"}}])
    );
    let reply = call(&sim, "POST", CHAT, &[("x-goog-api-key", KEY)], &chat().to_string()).await;
    assert_eq!((reply.status, reply.json()[0]["error"]["code"].as_u64()), (400, Some(400)));
}

#[tokio::test]
async fn an_unknown_key_is_invalid_unless_all_are_accepted() {
    let sim = simulator().await;
    let reply = call(&sim, "POST", FLASH, &[("x-goog-api-key", "wrong")], &hello().to_string()).await;
    assert_eq!(
        reply.json(),
        json!({"error": {
            "code": 400,
            "message": "API key not valid. Please pass a valid API key.",
            "status": "INVALID_ARGUMENT",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }],
        }})
    );
    let open = gemini_simulator::Config { unknown_keys: UnknownKeys::Accept, ..config() };
    let sim = Simulator::start(open).await.unwrap();
    let reply = call(&sim, "POST", FLASH, &[("x-goog-api-key", "anything")], &hello().to_string()).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn each_state_of_a_key_is_answered_as_google_does() {
    let sim = simulator().await;
    let cases = [
        (KeyState::Invalid, 400, "API key not valid", Some("API_KEY_INVALID")),
        (KeyState::Expired, 400, "API key expired", Some("API_KEY_INVALID")),
        (
            KeyState::Suspended,
            403,
            "Permission denied: Consumer 'api_key:AIzaAlpha' has been suspended.",
            Some("CONSUMER_SUSPENDED"),
        ),
        (KeyState::Leaked, 403, "Your API key was reported as leaked. Please use another API key.", None),
        (
            KeyState::Restricted,
            403,
            "Requests to this API generativelanguage.googleapis.com method google.ai",
            Some("API_KEY_SERVICE_BLOCKED"),
        ),
        (
            KeyState::ReferrerBlocked,
            403,
            "Requests from referer <empty> are blocked.",
            Some("API_KEY_HTTP_REFERRER_BLOCKED"),
        ),
        (KeyState::BillingDisabled, 403, "This API method requires billing", Some("BILLING_DISABLED")),
        (
            KeyState::Unauthenticated,
            401,
            "Request had invalid authentication credentials.",
            Some("ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        ),
        (KeyState::CreditsDepleted, 402, "Your prepayment credits are depleted", None),
        (KeyState::LocationBlocked, 400, "User location is not supported for the API use.", None),
    ];
    for (state, status, message, reason) in cases {
        assert!(sim.set_key_state(KEY, state));
        let reply = native(&sim, FLASH, &hello()).await;
        assert_eq!(reply.status, status, "{state:?}");
        let error = &reply.json()["error"];
        assert!(error["message"].as_str().unwrap().starts_with(message), "{state:?}: {error}");
        assert_eq!(error["details"][0]["reason"].as_str(), reason, "{state:?}");
    }
    sim.set_key_state(KEY, KeyState::Suspended);
    let error = native(&sim, FLASH, &hello()).await.json();
    assert_eq!(error["error"]["details"][0]["metadata"]["containerInfo"], "api_key:AIzaAlpha");
    sim.set_key_state(KEY, KeyState::ServiceDisabled);
    let error = native(&sim, FLASH, &hello()).await.json();
    assert_eq!(error["error"]["details"][0]["@type"], "type.googleapis.com/google.rpc.Help");
    assert_eq!(error["error"]["details"][1]["reason"], "SERVICE_DISABLED");
    sim.set_key_state(KEY, KeyState::LocationBlocked);
    let streamed = native(&sim, "/v1beta/models/gemini-2.5-flash:streamGenerateContent", &hello()).await;
    assert_eq!(streamed.json()[0]["error"]["status"], "FAILED_PRECONDITION");

    sim.set_key_state(KEY, KeyState::Valid);
    assert_eq!(native(&sim, FLASH, &hello()).await.status, 200);
    assert!(!sim.set_key_state("unheard-of", KeyState::Valid));
}

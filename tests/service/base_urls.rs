//! Clients whose base URL says too much, and paths that nobody knows: each reaches what was meant, or is told what is
//! wrong, and none is taken for a quota that is spent.

use crate::support::{Options, TOKEN, client, prompt, simulator, stranger};
use gemini_simulator::{Fault, GoogleError, Rule};
use serde_json::{Value, json};

const GENERATE: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

fn chat() -> String {
    json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

#[tokio::test]
async fn a_base_url_that_says_what_the_library_adds_is_served() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let openai = "/v1beta/openai/chat/completions";
    for (path, body, upstream) in [
        ("/v1beta/v1beta/models/gemini-2.5-flash:generateContent", prompt("x"), GENERATE),
        ("/v1/v1beta/models/gemini-2.5-flash:generateContent", prompt("x"), GENERATE),
        ("/v1beta/models/v1beta/models/gemini-2.5-flash:generateContent", prompt("x"), GENERATE),
        ("/v1beta/openai/v1beta/models/gemini-2.5-flash:generateContent", prompt("x"), GENERATE),
        ("/v1beta/chat/completions", chat(), openai),
        ("/v1/openai/v1/chat/completions", chat(), openai),
        ("/openai/openai/v1/chat/completions", chat(), openai),
        ("/v1beta/v1/chat/completions", chat(), openai),
        ("/v1/chat/completions/chat/completions", chat(), openai),
    ] {
        for credential in ["x-goog-api-key", "authorization"] {
            let shown =
                if credential == "authorization" { format!("Bearer {TOKEN}") } else { TOKEN.to_owned() };
            simulator.reset();
            let request = stranger().post(gateway.url(path)).header(credential, shown);
            let answer =
                request.header("content-type", "application/json").body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(simulator.requests()[0].path, upstream, "{path}");
        }
    }
}

#[tokio::test]
async fn a_path_that_nobody_knows_is_never_a_quota() {
    let simulator = simulator(3).await;
    let gateway = Options::new(&simulator.url(), 3).start();
    // One project of three cannot be asked for a while.
    simulator.set_faults([Rule::new(Fault::google(GoogleError::ReferrerBlocked)).times(1)]);
    for _ in 0..3 {
        let answer = client().post(gateway.url(GENERATE)).body(prompt("x")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    simulator.reset();
    for (method, path) in [
        ("POST", "/v1/x/chat/completions"),
        ("GET", "/v1beta/fils/abc"),
        ("GET", "/v1beta/modls"),
        ("DELETE", "/v1beta/cachedContent/c"),
        ("POST", "/v1beta/thing"),
        ("PATCH", "/v1alpha/thing/one/part/two"),
        ("POST", "/v1beta/openai/x/chat/completions"),
        ("GET", "/v1beta/openai/assistants/a"),
        ("GET", "/download/v1beta/fils/abc:download"),
    ] {
        for _ in 0..4 {
            let method = method.parse::<reqwest::Method>().unwrap();
            let answer = client().request(method, gateway.url(path)).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
        }
    }
    let asked = simulator.requests().len();
    assert_eq!(asked, 9 * 4, "each went up once, and no project was asked for what it names");
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_callers_format() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let ask = async |path: &str, form: &str| {
        let shown = if form == "authorization" { "Bearer guess" } else { "guess" };
        let answer = stranger().get(gateway.url(path)).header(form, shown).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap()["error"].take()
    };
    for path in ["/v1beta/models", "/v1beta/v1beta/files/f"] {
        assert_eq!(ask(path, "x-goog-api-key").await["status"], "UNAUTHENTICATED");
    }
    for path in ["/v1/chat/completions", "/v1beta/chat/completions", "/openai/openai/v1/embeddings"] {
        assert_eq!(ask(path, "x-goog-api-key").await["code"], "invalid_api_key");
    }
    for path in ["/v1beta/interactions", "/v1/interactions/i", "/v1beta/agents/a", "/v1beta/environments"] {
        let error = ask(path, "authorization").await;
        assert_eq!((error["code"].as_str(), error.get("status")), (Some("authentication"), None), "{error}");
    }
}

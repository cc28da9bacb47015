//! The document of the operator's API beside real answers: each JSON answer has the fields that the document says, of the kinds
//! that it says, and no others.

use crate::{
    support::{Gateway, Options, client, fingerprint, free_port, prompt, secret, simulator},
    wire::{Answer, exchange, request},
};
use gemini_simulator::KeyState;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const ADMIN: &str = "operator-token-5b1e";
const NEW_KEY: &str = "AIzaCanary-operator-api-0123456789abcdef";

/// A request that calls the listener by its name.
fn written(authority: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    request(method, path, headers, body).replacen("Host: gateway", &format!("Host: {authority}"), 1)
}

/// A listener with its document.
struct Api {
    authority: String,
    document: Value,
    /// What was asked, as in the document.
    asked: BTreeSet<String>,
}

impl Api {
    async fn of(port: u16) -> Self {
        let authority = format!("127.0.0.1:{port}");
        let answer = exchange(&authority, written(&authority, "GET", "/openapi.json", &[], "")).await;
        assert_eq!(answer.status, 200, "it is for everybody");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        Self { authority, document: answer.json(), asked: BTreeSet::new() }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        exchange(&self.authority, written(&self.authority, method, path, &[("authorization", &bearer)], body))
            .await
    }

    /// Asks, and compares the answer with what the document says of `template`.
    async fn ask(&mut self, method: &str, template: &str, path: &str, body: Value, status: u16) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, &body).await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{method} {path}: {text}");
        let operation = &self.document["paths"][template][method.to_lowercase()];
        let mut response = &operation["responses"][status.to_string()];
        if let Some(name) = response["$ref"].as_str() {
            response = self.document.pointer(&name[1..]).unwrap();
        }
        assert!(!response.is_null(), "{method} {template}: no answer {status} in the document");
        let schema = &response["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {template}: {status} is no JSON in the document");
        let value = answer.json();
        self.fits(schema, &value, &format!("{method} {template}"));
        if status < 300 {
            self.asked.insert(format!("{} {template}", method.to_lowercase()));
        }
        value
    }

    async fn get(&mut self, template: &str, path: &str) -> Value {
        self.ask("GET", template, path, Value::Null, 200).await
    }

    /// Fails where a value is not what its schema says.
    fn fits(&self, schema: &Value, value: &Value, place: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let known = self.document.pointer(&name[1..]).unwrap_or_else(|| panic!("{place}: no {name}"));
            return self.fits(known, value, place);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            if !value.is_null() {
                self.fits(&choices[0], value, place);
            }
            return;
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_it = |told: &Value| told == kind || (told == "number" && kind == "integer");
        let told = &schema["type"];
        let fits = told.as_array().map_or_else(|| is_it(told), |kinds| kinds.iter().any(is_it));
        assert!(fits, "{place}: {value} is not {told}");
        if let Some(words) = schema["enum"].as_array()
            && !value.is_null()
        {
            assert!(words.contains(value), "{place}: {value} is none of {words:?}");
        }
        if let Some(entries) = value.as_array() {
            for entry in entries {
                self.fits(&schema["items"], entry, &format!("{place}[]"));
            }
        }
        let Some(fields) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{place}: {name} is missing in {value}");
        }
        for (name, value) in fields {
            let of_field = match &schema["properties"][name] {
                Value::Null => &schema["additionalProperties"],
                of_field => of_field,
            };
            if *of_field == true {
                continue;
            }
            assert!(of_field.is_object(), "{place}: {name} is not in the document");
            self.fits(of_field, value, &format!("{place}.{name}"));
        }
    }
}

async fn send(gateway: &Gateway, model: &str) -> String {
    let url = gateway.url(&format!("/v1beta/models/{model}:generateContent"));
    let answer = client().post(url).body(prompt("x")).send().await.unwrap();
    answer.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_says_what_is_answered() {
    let simulator = simulator(3).await;
    let port = free_port();
    let limits = r#"[{model="gemini-2.5-flash",rpm=100,rpd=1000}]"#;
    let options = Options::new(&simulator.url(), 3).env("ADMIN_TOKEN", ADMIN).set("admin.port", port);
    let gateway = options.set("limits", limits).start();
    simulator.set_key_state(&secret(0), KeyState::Suspended);
    let mut id = String::new();
    for _ in 0..6 {
        id = send(&gateway, "gemini-2.5-flash").await;
    }
    send(&gateway, "no-such-model").await;
    let mut api = Api::of(port).await;
    let (one, none) = (fingerprint(1), Value::Null);

    let wanted = format!("/api/requests/{id}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while api.send("GET", &wanted, "").await.status != 200 {
        assert!(Instant::now() < deadline, "the request is not told of");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for path in [
        "/api/keys",
        "/api/cluster",
        "/api/overview",
        "/api/projects",
        "/api/models",
        "/api/callers",
        "/api/requests",
        "/api/errors",
        "/api/usage",
    ] {
        api.get(path, path).await;
    }
    api.get("/api/requests/{id}", &wanted).await;
    api.get("/api/requests", "/api/requests?fault=KeySuspended&limit=1").await;
    api.get("/api/usage", "/api/usage?by=key,project,model&step=hour").await;
    api.get("/api/usage", "/api/usage?by=caller,model&step=all").await;
    let keys = api.get("/api/keys", "/api/keys").await;
    let hour = |it: &Value| it["last_hour"].as_u64().unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().iter().map(hour).sum::<u64>(), 7, "{keys}");
    let callers = api.get("/api/callers", "/api/callers?state=active&limit=1").await;
    let tester = &callers["callers"][0];
    assert_eq!((&tester["requests"], &tester["answered"]), (&7.into(), &6.into()), "{callers}");
    assert_eq!(api.get("/api/callers", "/api/callers?state=disabled").await["callers"], json!([]));
    for path in [
        "/api/settings",
        "/api/reload",
        "/api/tokens",
        "/health",
        "/session",
        "/keys",
        "/api/keys/export",
        "/openapi.json",
    ] {
        api.get(path, path).await;
    }
    let key = |verb: &str| format!("/api/keys/{one}/{verb}");
    for verb in ["disable", "enable", "reset", "check"] {
        api.ask("POST", "/api/keys/{key}/{verb}", &key(verb), none.clone(), 200).await;
    }
    api.ask("POST", "/keys/{key}/{verb}", &format!("/keys/{one}/enable"), none.clone(), 200).await;
    let paste = json!({ "text": format!("{NEW_KEY} {} other-word-of-20-letters x", secret(1)), "dry_run": true, "check": true });
    api.ask("POST", "/api/keys", "/api/keys", paste, 200).await;
    let added = api.ask("POST", "/api/keys", "/api/keys", json!({ "text": NEW_KEY }), 201).await;
    let added = added["added"][0].as_str().unwrap().to_owned();
    let label = format!("/api/keys/{added}/label");
    api.ask("POST", "/api/keys/{key}/{verb}", &label, json!({ "label": "new" }), 200).await;
    api.get("/api/keys", "/api/keys").await;
    api.get("/api/keys/export", "/api/keys/export").await;
    api.ask("DELETE", "/api/keys/{key}", "/api/keys/new", none.clone(), 200).await;
    let alice =
        json!({ "name": "alice", "rpm": 5, "note": "n", "expires": "30d", "budget": { "money_day": 1.5 } });
    api.ask("POST", "/api/tokens", "/api/tokens", alice, 201).await;
    api.ask("PUT", "/api/tokens/{name}", "/api/tokens/alice", json!({ "rpm": 6 }), 200).await;
    api.ask("POST", "/api/tokens/{name}/{verb}", "/api/tokens/alice/rotate", none.clone(), 201).await;
    api.ask("POST", "/api/tokens/{name}/{verb}", "/api/tokens/alice/disable", none.clone(), 200).await;
    api.get("/api/tokens", "/api/tokens").await;
    api.ask("DELETE", "/api/tokens/{name}", "/api/tokens/alice", none.clone(), 200).await;
    let price = json!({ "input": 1.5, "output": 6.0 });
    api.ask("PUT", "/api/prices/{model}", "/api/prices/no-such-*", price, 200).await;
    api.get("/api/prices", "/api/prices").await;
    api.ask("DELETE", "/api/prices/{model}", "/api/prices/no-such-%2A", none.clone(), 200).await;
    api.ask("POST", "/api/reload", "/api/reload?dry_run=1", none.clone(), 200).await;
    let file = |text: &str| json!([{ "name": ".env", "text": text }]);
    let import = format!(
        "API_KEYS=[\"{NEW_KEY}\"]\nALLOWED_TOKENS=[\"sk-canary-of-a-caller-1\",\"sk-1\"]\nMAX_RETRIES=7\nPROXIES=[]\n"
    );
    for check in [false, true] {
        let preview = json!({ "files": file(&import), "dry_run": true, "check": check });
        let told = api.ask("POST", "/api/import", "/api/import", preview, 200).await;
        assert_eq!(told["checks"][0]["verdict"].as_str(), check.then_some("invalid"), "{told}");
    }
    api.ask("POST", "/api/import", "/api/import", json!({ "files": file(&import) }), 201).await;
    let audit = api.get("/api/audit", "/api/audit").await;
    assert!(!audit.to_string().contains("anary"), "{audit}");

    // And what is refused.
    for (method, template, path, body, status) in [
        ("GET", "/api/keys", "/api/keys?limit=0", none.clone(), 400),
        ("GET", "/api/usage", "/api/usage?by=nothing", none.clone(), 400),
        ("DELETE", "/api/keys/{key}", "/api/keys/nobody", none.clone(), 404),
        ("DELETE", "/api/tokens/{name}", "/api/tokens/nobody", none.clone(), 404),
        ("PUT", "/api/prices/{model}", "/api/prices/x", json!({ "input": -1 }), 400),
        ("DELETE", "/api/prices/{model}", "/api/prices/x", none.clone(), 404),
        ("POST", "/api/import", "/api/import", json!({ "files": 1 }), 400),
        ("POST", "/api/keys", "/api/keys", json!({ "texts": "x" }), 400),
        ("GET", "/api/requests/{id}", "/api/requests/0123456789abcdef", none.clone(), 404),
        ("GET", "/api/requests/{id}", "/api/requests/nothing", none.clone(), 400),
        ("GET", "/api/requests", "/api/requests?id=0123456789ABCDEF", none.clone(), 400),
    ] {
        api.ask(method, template, path, body, status).await;
    }
    let strangers = exchange(&api.authority, written(&api.authority, "GET", "/api/keys", &[], "")).await;
    api.fits(&json!({ "$ref": "#/components/schemas/Error" }), &strangers.json(), "a stranger");

    // Every operation that answers in JSON was asked, but for those of a browser.
    let mut left = BTreeSet::new();
    for (path, operations) in api.document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let is_json = answers.iter().any(|(status, answer)| {
                status.starts_with('2') && answer["content"]["application/json"].is_object()
            });
            let name = format!("{method} {path}");
            if is_json && !api.asked.contains(&name) {
                left.insert(name);
            }
        }
    }
    assert_eq!(left, ["delete /session", "post /session"].map(str::to_owned).into());
}

//! What the documents say is so: the API page works from its own files, every example of the OpenAPI document is
//! answered, the settings and errors that the pages list are those that there are, and so are the tests.

use crate::support::{Gateway, Options, TOKEN, client, simulator};
use figment::{
    Figment,
    providers::{Format, Toml},
    value::{Dict, Value as Setting},
};
use serde_json::Value;

async fn text(gateway: &Gateway, path: &str) -> String {
    let response = reqwest_without_token().get(gateway.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

/// A client that shows no credential: documents are for whoever asks.
fn reqwest_without_token() -> reqwest::Client {
    let _ = client(); // installs the crypto provider
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Every value of an HTML attribute.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!("{name}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_api_page_is_whole_and_names_no_other_host() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let page = text(&gateway, "/docs/").await;
    assert_eq!(text(&gateway, "/docs").await, page, "with and without a slash");

    let files = [attributes(&page, "src"), attributes(&page, "href")].concat();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        assert!(!file.contains("//"), "{file} is on another host");
        let content = text(&gateway, &format!("/docs/{}", file.trim_start_matches("./"))).await;
        assert!(!content.is_empty(), "{file}");
        if std::path::Path::new(&file).extension().is_some_and(|extension| extension == "css") {
            assert!(!content.contains("url(http") && !content.contains("url(//"), "{file}");
            assert!(!content.contains("@import"), "{file}");
        }
    }
    let start = text(&gateway, "/docs/swagger-initializer.js").await;
    assert!(start.contains(r#""url": "../openapi.json""#), "{start}");
    assert!(start.contains(r#""validatorUrl": "none""#), "{start}");
    assert!(!start.contains("://"), "{start}");

    let response = client().get(gateway.url("/docs/")).send().await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
}

/// An operation of the document, ready to be sent.
struct Operation {
    method: reqwest::Method,
    path: String,
    document: Value,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let mut path = template.clone();
            let mut query = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let Some(example) = parameter["example"].as_str() else {
                    assert_eq!(parameter["required"], false, "{template}: {name} has no example");
                    continue;
                };
                match parameter["in"].as_str().unwrap() {
                    "path" => path = path.replace(&format!("{{{name}}}"), example),
                    "query" => query.push(format!("{name}={example}")),
                    other => panic!("{template}: a parameter in {other}"),
                }
            }
            if !query.is_empty() {
                path = format!("{path}?{}", query.join("&"));
            }
            let method = method.to_uppercase().parse().unwrap();
            operations.push(Operation { method, path, document: operation.clone() });
        }
    }
    operations
}

impl Operation {
    async fn send(&self, gateway: &Gateway) -> reqwest::Response {
        let mut request = reqwest_without_token().request(self.method.clone(), gateway.url(&self.path));
        // The first way to show a token that the document names.
        let credential = self.document["security"][0].as_object().and_then(|scheme| scheme.keys().next());
        request = match credential.map(String::as_str) {
            None => request,
            Some("bearer") => request.header("authorization", format!("Bearer {TOKEN}")),
            Some(header) => request.header(header, TOKEN),
        };
        let content = self.document.pointer("/requestBody/content").and_then(Value::as_object);
        request = match content.and_then(|content| content.iter().next()) {
            None => request,
            Some((media_type, content)) if media_type == "multipart/form-data" => {
                let fields = content["example"].as_object().unwrap().iter();
                let parts = fields.map(|(name, value)| {
                    let value = value.as_str().unwrap();
                    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                });
                let body = parts.collect::<String>() + "--b--\r\n";
                request.header("content-type", "multipart/form-data; boundary=b").body(body)
            }
            Some((media_type, content)) => {
                request.header("content-type", media_type).body(content["example"].to_string())
            }
        };
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn every_example_of_the_document_is_answered_as_it_says() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let document: Value = serde_json::from_str(&text(&gateway, "/openapi.json").await).unwrap();
    let mut video = None;
    let operations = operations(&document);
    assert!(operations.len() >= 17, "{}", operations.len());
    for mut operation in operations {
        if operation.document["operationId"] == "getVideo" {
            let id: String = video.take().expect("the document begins a video before it asks for one");
            operation.path = operation.path.replace("video-1f", &id);
        }
        let response = operation.send(&gateway).await;
        assert_eq!(response.status(), 200, "{} {}", operation.method, operation.path);
        let media_type = response.headers()["content-type"].to_str().unwrap();
        let media_type = media_type.split(';').next().unwrap().to_owned();
        let answers = &operation.document["responses"]["200"]["content"];
        let example = &answers[&media_type]["example"];
        assert!(!example.is_null(), "{}: {media_type} is not documented", operation.path);
        let body = response.text().await.unwrap();
        if let Some(example) = example.as_object() {
            let answer: Value = serde_json::from_str(&body).unwrap();
            for member in example.keys() {
                assert!(answer.get(member).is_some(), "{}: no {member} in {body}", operation.path);
            }
            if operation.document["operationId"] == "createVideo" {
                video = answer["id"].as_str().map(str::to_owned);
            }
        }
    }
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1).start();
    let text = text(&gateway, "/openapi.json").await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let references: Vec<_> =
        text.split(r##""$ref":"#"##).skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}

/// The one error that no answer's status tells of. Its text is taken from where it is made; how it arrives is for the
/// tests of streaming.
#[test]
fn the_error_that_ends_a_broken_stream_is_listed() {
    let relay = include_str!("../../actors/src/forward/relay.rs");
    let (_, after) = relay.split_once("fn broke_off()").unwrap();
    let message = after.split('"').nth(1).unwrap();
    assert!(message.ends_with('.'), "{message}");
    let row = format!("| 503 | `UNAVAILABLE` | `server_error`, `service_unavailable` | {message} | ");
    assert!(include_str!("../../docs/errors.md").contains(&row), "docs/errors.md lacks: {row}");
}

/// Where a test is that `docs/reliability.md` or `docs/cluster.md` names: `module::name` among these, or a file with the name of one in it.
fn is_a_test(named: &str) -> bool {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let has = |file: &str, name: &str| {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        [format!("fn {name}("), format!("def {name}("), format!("test(\"{name}\"")]
            .iter()
            .any(|it| text.contains(it))
    };
    match named.rsplit_once("::") {
        None => root.join(named).is_file(),
        Some((file, name)) if file.contains('.') => has(file, name),
        Some((module, name)) => {
            let module = module.replace("::", "/");
            has(&format!("tests/service/{module}.rs"), name)
        }
    }
}

#[test]
fn every_test_that_reliability_is_shown_by_is_there() {
    let pages = [
        (include_str!("../../docs/reliability.md"), 60),
        (include_str!("../../docs/cluster.md").split_once("## What is shown").unwrap().1, 25),
    ];
    for (page, at_least) in pages {
        let rows = page.lines().filter(|line| line.starts_with('|'));
        let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        let named: Vec<_> =
            words.filter(|word| word.contains("::") || word.contains('/') && word.contains(".rs")).collect();
        assert!(named.len() > at_least, "{}", named.len());
        let missing: Vec<_> = named.into_iter().filter(|named| !is_a_test(named)).collect();
        assert!(missing.is_empty(), "no such tests: {missing:#?}");
    }
}

/// Every setting of the embedded configuration with its default, as TOML writes it.
fn settings() -> Vec<(String, String)> {
    let sections: Dict = Figment::from(Toml::string(include_str!("../../config.toml"))).extract().unwrap();
    let mut settings = Vec::new();
    for (section, fields) in sections {
        add(&mut settings, &section, fields.into_dict().expect("sections hold settings"));
    }
    settings
}

fn add(settings: &mut Vec<(String, String)>, section: &str, fields: Dict) {
    for (field, value) in fields {
        let setting = format!("{section}.{field}");
        let text = match value {
            Setting::String(_, text) => format!("\"{text}\""),
            Setting::Num(_, number) => match number.to_i128() {
                Some(whole) => whole.to_string(),
                None => number.to_f64().unwrap().to_string(),
            },
            Setting::Bool(_, flag) => flag.to_string(),
            Setting::Array(_, entries) if entries.is_empty() => "[]".to_owned(),
            Setting::Dict(_, entries) if entries.is_empty() => "{}".to_owned(),
            // The names in it are people's own.
            Setting::Dict(_, entries) if setting == "formats.models" => {
                entries.into_keys().collect::<Vec<_>>().join(", ")
            }
            Setting::Dict(_, fields) => {
                add(settings, &setting, fields);
                continue;
            }
            Setting::Array(_, entries) => {
                let texts: Vec<String> =
                    entries.iter().map(|entry| format!("\"{}\"", entry.as_str().unwrap())).collect();
                format!("[{}]", texts.join(", "))
            }
            other => panic!("{setting}: {other:?}"),
        };
        settings.push((setting, text));
    }
}

#[test]
fn both_readmes_list_every_setting_with_its_default() {
    let settings = settings();
    assert!(settings.len() >= 40, "{}", settings.len());
    for (name, readme) in [
        ("README.md", include_str!("../../README.md")),
        ("README.zh-CN.md", include_str!("../../README.zh-CN.md")),
    ] {
        for (setting, default) in &settings {
            let row = format!("| `{setting}` | `{default}` | ");
            assert!(readme.contains(&row), "{name} lacks: {row}");
        }
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).filter(
            |(first, _)| {
                first.contains('.')
                    && first.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
            },
        );
        for (setting, _) in rows {
            assert!(
                settings.iter().any(|(known, _)| known == setting),
                "{name} lists {setting}, which is no setting"
            );
        }
    }
}

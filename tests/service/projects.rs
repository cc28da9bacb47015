//! A gateway whose keys are labelled with their projects, and callers that make things in them: JSON in either dialect,
//! uploads by the resumable protocol, work that is polled until it is done.

use crate::support::{Gateway, Options, secret};
use gemini_simulator::{Config, Key, LoggedRequest, Simulator};
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) const MODEL: &str = "gemini-2.5-flash";
const MIB: usize = 1024 * 1024;
/// Every chunk but the last is a multiple of this.
pub(crate) const CHUNK: usize = 8 * MIB;

/// A simulator, and a gateway in front of it that knows which key is of which project.
pub(crate) struct Projects {
    pub(crate) simulator: Simulator,
    pub(crate) gateway: Gateway,
    options: Options,
    folder: tempfile::TempDir,
}

/// The project of the `n`th key.
fn project(n: usize, keys_each: usize) -> String {
    format!("project-{}", n / keys_each)
}

/// `[[keys]]` of these keys.
fn entries(keys: &[usize], keys_each: usize) -> String {
    let entry = |n: &usize| {
        format!(
            "[[keys]]\nlabel = \"key-{n}\"\nsecret = \"{}\"\nproject = \"{}\"\n",
            secret(*n),
            project(*n, keys_each)
        )
    };
    keys.iter().map(entry).collect()
}

/// `[auth]` with a token `NAME-token` for each name, in the sight of `all` everything.
pub(crate) fn tokens(own: &[&str], all: &[&str]) -> String {
    let mut text = String::from("[auth]\ntokens = [\n");
    for (names, resources) in [(own, "own"), (all, "all")] {
        for name in names {
            text += &format!(
                "  {{ name = \"{name}\", secret = \"{name}-token\", resources = \"{resources}\" }},\n"
            );
        }
    }
    text + "]\n"
}

impl Projects {
    /// So many projects of so many keys each, without tokens.
    pub(crate) async fn start(projects: usize, keys_each: usize) -> Self {
        Self::start_with(projects, keys_each, "", |_| {}, |options, _| options).await
    }

    /// The same with more of a configuration file, the simulator's configuration and the gateway's options changed.
    pub(crate) async fn start_with(
        projects: usize,
        keys_each: usize,
        more: &str,
        change: impl FnOnce(&mut Config),
        set: impl FnOnce(Options, &Simulator) -> Options,
    ) -> Self {
        let count = projects * keys_each;
        let keys = (0..count).map(|n| Key::valid(secret(n), project(n, keys_each))).collect();
        let mut config = Config { keys, ..Config::default() };
        change(&mut config);
        let simulator = Simulator::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<usize> = (0..count).collect();
        std::fs::write(folder.path().join("config.toml"), entries(&all, keys_each) + more).unwrap();
        let options = set(Options::new(&simulator.url(), 0).without_token(), &simulator);
        let gateway = options.start_in(folder.path());
        Self { simulator, gateway, options, folder }
    }

    /// Ends the gateway by a signal and starts it again on the same store.
    pub(crate) fn restart(&mut self, signal: &str) {
        self.gateway.signal(signal);
        self.gateway.wait_for_end();
        self.gateway = self.options.start_in(self.folder.path());
    }

    /// The same, with these keys only, of projects of `keys_each`.
    pub(crate) fn restart_with_keys(&mut self, keys: &[usize], keys_each: usize) {
        self.gateway.signal("TERM");
        self.gateway.wait_for_end();
        std::fs::write(self.folder.path().join("config.toml"), entries(keys, keys_each)).unwrap();
        self.gateway = self.options.start_in(self.folder.path());
    }

    /// A client of the gateway with this credential.
    pub(crate) fn caller(&self, credential: &str) -> Caller {
        Caller::new(&self.gateway.url(""), credential)
    }

    /// A client of the simulator itself, with the `n`th key.
    pub(crate) fn direct(&self, n: usize) -> Caller {
        Caller::new(&self.simulator.url(), &secret(n))
    }

    /// The project that owns a resource.
    pub(crate) fn owner(&self, name: &str) -> String {
        let resources = self.simulator.resources();
        let found = resources.into_iter().find(|resource| resource.name == name);
        found.unwrap_or_else(|| panic!("nobody has {name}")).project
    }

    /// What arrived after the first `skip` requests.
    pub(crate) fn arrived_after(&self, skip: usize) -> Vec<LoggedRequest> {
        self.simulator.requests().split_off(skip)
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.simulator.requests().len()
    }
}

/// The projects whose keys these requests carried.
pub(crate) fn asked(requests: &[LoggedRequest]) -> BTreeSet<String> {
    requests.iter().filter_map(|request| request.project.clone()).collect()
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()))
    }

    /// The error, where it came as an object or as an array of one.
    pub(crate) fn error(&self) -> Value {
        let body = self.json();
        body.get(0).unwrap_or(&body)["error"].clone()
    }
}

/// A client with a credential.
#[derive(Clone)]
pub(crate) struct Caller {
    base: String,
    credential: String,
    http: reqwest::Client,
}

impl Caller {
    pub(crate) fn new(base: &str, credential: &str) -> Self {
        drop(crate::support::client()); // for the TLS provider
        let builder = reqwest::Client::builder().tls_certs_only([]).no_proxy();
        let http = builder.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: base.to_owned(), credential: credential.to_owned(), http }
    }

    /// A request without any credential, to a path or a whole URL.
    pub(crate) async fn bare(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let url =
            if target.starts_with("http") { target.to_owned() } else { format!("{}{target}", self.base) };
        let method: Method = method.parse().unwrap();
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(name.parse::<HeaderName>().unwrap(), *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// A request as Google's SDKs send it.
    pub(crate) async fn send_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let headers = [&[("x-goog-api-key", self.credential.as_str())], headers].concat();
        self.bare(method, target, &headers, body).await
    }

    /// The same with JSON; `null` is no body.
    pub(crate) async fn send(&self, method: &str, target: &str, body: &Value) -> Answer {
        if body.is_null() {
            return self.send_with(method, target, &[], "").await;
        }
        self.send_with(method, target, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A request as OpenAI's SDKs send it.
    pub(crate) async fn openai(&self, method: &str, rest: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.credential);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.bare(method, &format!("/v1beta/openai/{rest}"), &headers, body).await
    }

    /// A request that goes well.
    pub(crate) async fn well(&self, method: &str, target: &str, body: &Value) -> Answer {
        let answer = self.send(method, target, body).await;
        assert_eq!(answer.status, 200, "{method} {target} {body}: {}", answer.text());
        answer
    }

    pub(crate) async fn get(&self, target: &str) -> Value {
        self.well("GET", target, &Value::Null).await.json()
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Value {
        self.well("POST", target, body).await.json()
    }

    pub(crate) async fn delete(&self, target: &str) {
        self.well("DELETE", target, &Value::Null).await;
    }

    pub(crate) async fn openai_well(&self, method: &str, rest: &str, body: &Value) -> Value {
        let answer = self.openai(method, rest, body).await;
        assert_eq!(answer.status, 200, "{method} {rest} {body}: {}", answer.text());
        answer.json()
    }

    /// Polls until the work is done.
    pub(crate) async fn done(&self, target: &str) -> Value {
        for _ in 0..10 {
            let work = self.get(target).await;
            if work["done"] == true {
                return work;
            }
        }
        panic!("{target} does not come to an end")
    }

    /// Begins an upload to `/upload/...`.
    pub(crate) async fn begin_upload(&self, target: &str, mime: &str, size: usize) -> Answer {
        let size = size.to_string();
        let headers = [
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-length", size.as_str()),
            ("x-goog-upload-header-content-type", mime),
            ("content-type", "application/json"),
        ];
        self.send_with("POST", target, &headers, json!({"file": {"displayName": "a file"}}).to_string()).await
    }

    /// One request to an upload's URL, without a credential.
    pub(crate) async fn chunk(
        &self,
        url: &str,
        command: &str,
        offset: usize,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let offset = offset.to_string();
        let headers = [("x-goog-upload-command", command), ("x-goog-upload-offset", offset.as_str())];
        self.bare("POST", url, &headers, body).await
    }

    /// Uploads by the resumable protocol; returns the answer to the last chunk.
    pub(crate) async fn upload_to(&self, target: &str, mime: &str, bytes: &[u8]) -> Value {
        let started = self.begin_upload(target, mime, bytes.len()).await;
        assert_eq!(started.status, 200, "{target}: {}", started.text());
        let url = started.header("x-goog-upload-url").unwrap();
        let answer = self.chunk(url, "upload, finalize", 0, bytes.to_vec()).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        assert_eq!(answer.header("x-goog-upload-status"), Some("final"));
        answer.json()
    }

    /// A new file.
    pub(crate) async fn file(&self, version: &str, mime: &str, text: &str) -> File {
        let answer = self.upload_to(&format!("/upload/{version}/files"), mime, text.as_bytes()).await;
        let word = |field: &str| answer["file"][field].as_str().unwrap().to_owned();
        File { name: word("name"), uri: word("uri") }
    }

    /// A new cache.
    pub(crate) async fn cache(&self, version: &str) -> String {
        let made = self.post(&format!("/{version}/cachedContents"), &cache_of(contents(&[]))).await;
        made["name"].as_str().unwrap().to_owned()
    }

    /// A new interaction's id.
    pub(crate) async fn interaction(&self, version: &str) -> String {
        let made =
            self.post(&format!("/{version}/interactions"), &json!({"model": MODEL, "input": "hello"})).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// A generated video's name, once it is there, and the operation that made it.
    pub(crate) async fn video(&self, version: &str, instance: Value) -> (File, String) {
        let target = format!("/{version}/models/veo-3.0-generate-001:predictLongRunning");
        let made = self.post(&target, &json!({"instances": [instance]})).await;
        let operation = made["name"].as_str().unwrap().to_owned();
        let done = self.done(&format!("/{version}/{operation}")).await;
        let uri = done["response"]["generateVideoResponse"]["generatedSamples"][0]["video"]["uri"]
            .as_str()
            .unwrap()
            .to_owned();
        let id = uri.split("/files/").nth(1).unwrap().split(':').next().unwrap();
        (File { name: format!("files/{id}"), uri }, operation)
    }

    /// Whether a request bound to nothing is served.
    pub(crate) async fn generate(&self) -> Answer {
        self.send("POST", "/v1beta/models/gemini-2.5-flash-lite:generateContent", &contents(&[])).await
    }
}

/// A file's name and Google's address of it.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) uri: String,
}

impl File {
    /// What follows `files/`.
    pub(crate) fn id(&self) -> &str {
        self.name.strip_prefix("files/").unwrap()
    }
}

/// A body of `generateContent` that uses these files.
pub(crate) fn contents(uris: &[&str]) -> Value {
    let files = uris.iter().map(|uri| json!({"fileData": {"mimeType": "text/plain", "fileUri": uri}}));
    let parts: Vec<Value> = [json!({"text": "read this"})].into_iter().chain(files).collect();
    json!({"contents": [{"role": "user", "parts": parts}]})
}

/// A body that makes a cache of these contents.
pub(crate) fn cache_of(contents: Value) -> Value {
    json!({"model": format!("models/{MODEL}"), "contents": contents["contents"], "ttl": "3600s"})
}

/// A body that makes a batch of this input.
pub(crate) fn batch_of(input: Value) -> Value {
    json!({"batch": {"displayName": "a batch", "inputConfig": input}})
}

//! Starts the gateway as a process with a folder of its own, in front of a simulator, and ends it with the test.

use crate::binary;
use gemini_simulator::{Config, Fault, Key, KeyState, Simulator};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The token that tests show, unless they say otherwise.
pub(crate) const TOKEN: &str = "test-token-9f3c";

/// The secret of the `n`th key that tests configure.
pub(crate) fn secret(n: usize) -> String {
    format!("AIzaTestKey{n:04}CanaryCanaryCanary")
}

/// A simulator that knows the keys `0..count`, each of a project of its own.
pub(crate) async fn simulator(count: usize) -> Simulator {
    simulator_with(count, |_| {}).await
}

/// The same, with a configuration changed further.
pub(crate) async fn simulator_with(count: usize, change: impl FnOnce(&mut Config)) -> Simulator {
    let keys = (0..count)
        .map(|n| Key { secret: secret(n), project: format!("project-{n}"), state: KeyState::Valid })
        .collect();
    let mut config = Config { keys, ..Config::default() };
    change(&mut config);
    Simulator::start(config).await.unwrap()
}

/// What a gateway is started with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    upstream: String,
    keys: Vec<String>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    wrapper: Vec<String>,
    token: bool,
}

impl Options {
    /// `keys` keys and one token, in front of `upstream`.
    pub(crate) fn new(upstream: &str, keys: usize) -> Self {
        Self {
            upstream: upstream.to_owned(),
            keys: (0..keys).map(secret).collect(),
            settings: Vec::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            token: true,
        }
    }

    /// Sets `section.field` to a TOML value, by environment variable.
    pub(crate) fn set(mut self, setting: &str, value: impl ToString) -> Self {
        self.settings.push((setting.to_owned(), value.to_string()));
        self
    }

    /// What a setting was set to.
    pub(crate) fn setting(&self, setting: &str) -> &str {
        let found = self.settings.iter().rev().find(|(name, _)| name == setting);
        found.map_or_else(|| panic!("{setting} was not set"), |(_, value)| value.as_str())
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds arguments to the command line.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Starts it through another program, which is to become it: it is given the program and its arguments as its last ones.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    /// Configures no token: the pool's keys are the credentials.
    pub(crate) fn without_token(mut self) -> Self {
        self.token = false;
        self
    }

    /// Lets the token see what others have made as well, and what was made outside the gateway.
    pub(crate) fn seeing_all(self) -> Self {
        let tokens = format!("[{{name=\"tester\",secret=\"{TOKEN}\",resources=\"all\"}}]");
        self.without_token().set("auth.tokens", tokens)
    }

    /// The command, in an empty folder, with nothing of this process's environment that could change it.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(binary::path()),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary::path());
                command
            }
        };
        command.current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GEMINI_BALANCE__SERVER__HOST", "127.0.0.1").env("GEMINI_BALANCE__SERVER__PORT", "0");
        command
            .env("GEMINI_BALANCE__SERVER__WORKERS", "2")
            .env("GEMINI_BALANCE__SERVER__DRAIN_ACCEPT_MS", "50");
        command.env("GEMINI_BALANCE_TEST_PANICS", "1");
        command.env("GOOGLE_API_KEYS", self.keys.join(",")).env("GEMINI_API_BASE_URL", &self.upstream);
        if self.token {
            command.env("ACCESS_TOKENS", format!("tester={TOKEN}"));
        }
        for (setting, value) in &self.settings {
            let mut name = String::from("GEMINI_BALANCE");
            for part in setting.split('.') {
                let _ = write!(name, "__{}", part.to_uppercase());
            }
            command.env(name, value);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(&self.arguments);
        command
    }

    /// Starts the gateway and waits until it listens.
    pub(crate) fn start(&self) -> Gateway {
        let own = tempfile::tempdir().unwrap();
        let mut gateway = self.start_in(own.path());
        gateway.own = Some(own);
        gateway
    }

    /// The same, in a folder that the test has prepared, or that another gateway has left.
    pub(crate) fn start_in(&self, folder: &Path) -> Gateway {
        let mut child = self.command(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let (address_sender, address) = std::sync::mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let readers = [
            std::thread::spawn({
                let output = Arc::clone(&output);
                move || {
                    for line in stdout.lines().map_while(Result::ok) {
                        if let Some((_, url)) = line.split_once("listening on ") {
                            // A JSON line goes on after it.
                            let _ = address_sender.send(url.trim_end_matches(['"', '}']).to_owned());
                        }
                        let mut output = output.lock().unwrap();
                        output.push_str(&line);
                        output.push('\n');
                    }
                }
            }),
            std::thread::spawn({
                let output = Arc::clone(&output);
                move || {
                    let mut text = String::new();
                    let _ = stderr.read_to_string(&mut text);
                    output.lock().unwrap().push_str(&text);
                }
            }),
        ];
        let url = address.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the gateway did not start: {}", output.lock().unwrap())
        });
        let folder = folder.to_owned();
        Gateway { child, url, folder, own: None, output, readers: Some(readers), ended: None }
    }

    /// Runs the gateway to its end: exit status, and all it printed.
    pub(crate) fn run(self) -> (ExitStatus, String) {
        let folder = tempfile::tempdir().unwrap();
        self.run_in(folder.path())
    }

    /// The same, in a folder that the test has prepared.
    pub(crate) fn run_in(self, folder: &Path) -> (ExitStatus, String) {
        let output = self.command(folder).output().unwrap();
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status, text)
    }
}

/// A gateway that is running. It is killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    url: String,
    folder: PathBuf,
    own: Option<tempfile::TempDir>,
    output: Arc<Mutex<String>>,
    readers: Option<[std::thread::JoinHandle<()>; 2]>,
    ended: Option<ExitStatus>,
}

impl Gateway {
    /// Its address and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder, with its logs.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// The transactions logged so far, once there are at least `count`.
    pub(crate) fn transactions(&self, count: usize) -> Vec<serde_json::Value> {
        let path = self.folder.join("logs/transactions.log");
        wait_for("transactions", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Sends a signal, `TERM` or `KILL`, say.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for its end, where it does not matter how soon that comes: for up to five seconds a gateway waits for the first
    /// request of whoever has connected, and a client's library may have connected once more than it asks.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        self.wait(Duration::from_secs(30))
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, at_most: Duration) -> ExitStatus {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.ended = Some(status);
                for reader in self.readers.take().into_iter().flatten() {
                    let _ = reader.join();
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the gateway did not end within {at_most:?}: {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the gateway's output ---\n{}", self.output());
        }
    }
}

/// Polls until `look` finds something; fails loudly after ten seconds.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client that shows no credential of its own accord, and goes where it is told and no further.
pub(crate) fn stranger() -> reqwest::Client {
    builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Waits until the store in a gateway's folder has this text in it: what is learnt is written after the answer that taught it.
pub(crate) fn wait_for_stored(folder: &Path, text: &str) {
    wait_for("record in the store", || {
        let files = ["data/state.db", "data/state.db-wal"].map(|name| std::fs::read(folder.join(name)));
        let found = |bytes: &Vec<u8>| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        files.iter().flatten().any(found).then_some(())
    });
}

/// How the store in a gateway's folder stands: it differs once more has been written.
fn written(folder: &Path) -> Vec<(u64, Option<std::time::SystemTime>)> {
    let files = ["data/state.db", "data/state.db-wal"].map(|name| std::fs::metadata(folder.join(name)));
    files.iter().flatten().map(|file| (file.len(), file.modified().ok())).collect()
}

/// Runs something that changes what the store is to have, and waits until that is written: the store has changed since it
/// began, and has had the time to change again. Counts are written up half a second after those before, and with the store's
/// next writing, a fifth of a second later.
pub(crate) async fn until_written(folder: &Path, change: impl Future<Output = ()>) {
    const STILL: Duration = Duration::from_secs(1);
    let before = written(folder);
    change.await;
    let mut last = before.clone();
    let mut still_since = Instant::now();
    wait_for("writing of the store", || {
        let now = written(folder);
        if now != last {
            last = now;
            still_since = Instant::now();
        }
        (last != before && still_since.elapsed() > STILL).then_some(())
    });
}

/// Resident memory of a gateway in KiB.
pub(crate) fn resident_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A client that shows the test's token as Google's SDKs do.
pub(crate) fn client() -> reqwest::Client {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("x-goog-api-key", TOKEN.parse().unwrap());
    builder().default_headers(headers).build().unwrap()
}

fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    // Without certificates, which take longer to load than a test's request takes.
    reqwest::Client::builder().tls_certs_only([]).no_proxy()
}

/// A 429 that asks for an hour.
pub(crate) fn exhausted() -> Fault {
    let body = serde_json::json!({"error": {
        "code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}],
    }});
    Fault::Status { status: 429, headers: [].into(), body: Some(body) }
}

/// What logs and people call the `n`th key, which has no label.
pub(crate) fn fingerprint(n: usize) -> String {
    format!("key-{}", &sha256(secret(n).as_bytes())[..12])
}

/// A port for a listener that a second process has to know.
pub(crate) use gemini_balance_cluster::conformance::free_port;

/// A native request's body.
pub(crate) fn prompt(text: &str) -> String {
    serde_json::json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] }).to_string()
}

/// A client that shows the test's token as OpenAI's SDKs do.
pub(crate) fn bearer() -> reqwest::Client {
    drop(client()); // for the TLS provider
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let builder = reqwest::Client::builder().tls_certs_only([]);
    builder.default_headers(headers).no_proxy().build().unwrap()
}

/// An OpenAI request's body.
pub(crate) fn chat(text: &str, stream: bool) -> String {
    let messages = [serde_json::json!({ "role": "user", "content": text })];
    serde_json::json!({ "model": "gemini-2.5-flash", "stream": stream, "messages": messages }).to_string()
}

/// The requests that reached the simulator, once they are `count` and all have ended.
pub(crate) fn arrived(simulator: &Simulator, count: usize) -> Vec<gemini_simulator::LoggedRequest> {
    let requests = wait_for("end of all requests", || {
        let requests = simulator.requests();
        let ended = requests.iter().all(|request| request.answer_sha256.is_some());
        (requests.len() >= count && ended).then_some(requests)
    });
    assert_eq!(requests.len(), count, "{requests:#?}");
    requests
}

/// The keys' states as `/health/ready` counts them.
pub(crate) async fn key_counts(gateway: &Gateway) -> serde_json::Value {
    let response = client().get(gateway.url("/health/ready")).send().await.unwrap();
    let ready: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    ready["keys"].clone()
}

/// A digest as the simulator logs it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

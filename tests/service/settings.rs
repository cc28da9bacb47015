//! A setting that is unknown, bad or missing ends in one line; those that are good do what they say, from whichever source.

use crate::{
    support::{Options, client, key_counts, prompt, secret, simulator, simulator_with},
    wire::{exchange, request},
};
use gemini_simulator::{Fault, GoogleError, KeyState, Rule, Simulator};
use serde_json::json;
use std::{
    fs::Permissions,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

/// In the place of secrets, and in none of the program's own words.
const CANARY: &str = "CANARYsecretCANARY";

/// Nothing is sent there.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Runs a gateway that cannot start and returns its one line.
fn refusal_in(folder: &Path, options: &Options) -> String {
    let begun = Instant::now();
    let output = {
        let mut child =
            options.command(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(8) {
                let _ = child.kill();
                panic!(
                    "{options:?} started: {}",
                    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout)
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.wait_with_output().unwrap()
    };
    // Two seconds on a machine that does nothing else.
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    let text = String::from_utf8(output.stderr).unwrap();
    let all = format!("{text}{}", String::from_utf8_lossy(&output.stdout));
    assert!(!output.status.success(), "{all}");
    assert!(output.status.code().is_some(), "{:?}", output.status);
    assert_eq!(text.lines().count(), 1, "not one line: {text}");
    assert!(!all.contains(CANARY) && !all.contains(&CANARY[..10]), "a secret: {all}");
    text
}

pub(crate) fn refusal(options: &Options) -> String {
    refusal_in(tempfile::tempdir().unwrap().path(), options)
}

#[track_caller]
fn assert_names(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

fn options() -> Options {
    Options::new(NOWHERE, 1)
}

/// With a `config.toml` in its folder.
fn refusal_of_file(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    refusal_in(folder.path(), &options())
}

#[test]
fn no_key_at_all_is_said_with_what_to_do() {
    assert_names(
        &refusal(&Options::new(NOWHERE, 0)),
        &["no key", "GOOGLE_API_KEYS", "[[keys]]", "pool.keys_file"],
    );
    assert_names(&refusal(&Options::new(NOWHERE, 0).env("GOOGLE_API_KEYS", " , ,")), &["no key"]);
}

#[test]
fn an_unknown_setting_is_named_with_its_source_and_what_is_allowed() {
    for (text, words) in [
        ("[server]\nprot = 1\n", &["server.prot", "config.toml", "not a setting", "port"][..]),
        ("[sever]\nport = 1\n", &["sever", "config.toml", "server"]),
        ("verbose = true\n", &["verbose", "config.toml"]),
        ("[[keys]]\nsecret = \"CANARYsecretCANARY\"\nwieght = 3\n", &["wieght", "config.toml", "weight"]),
        (
            "[auth]\ntokens = [{ name = \"a\", secert = \"CANARYsecretCANARY\" }]\n",
            &["secert", "config.toml", "secret"],
        ),
    ] {
        assert_names(&refusal_of_file(text), words);
    }
    for (variable, words) in [
        ("GEMINI_BALANCE__SERVER__PROT", &["server.prot", "GEMINI_BALANCE__SERVER__PROT", "port"][..]),
        ("GEMINI_BALANCE__SEVER__PORT", &["sever", "GEMINI_BALANCE__SEVER__PORT", "server"]),
        ("GEMINI_BALANCE__PORT", &["port", "GEMINI_BALANCE__PORT"]),
        ("GEMINI_BALANCE__SERVER__PORT__X", &["server.port", "GEMINI_BALANCE__SERVER__PORT"]),
    ] {
        assert_names(&refusal(&options().env(variable, CANARY)), words);
    }
}

#[test]
fn a_bad_value_in_a_file_is_named_with_its_source_and_what_is_allowed() {
    for (text, words) in [
        ("[server]\nmax_connections = 0\n", &["server.max_connections", "config.toml", "at least 1"][..]),
        ("[server]\ndrain_s = \"CANARYsecretCANARY\"\n", &["server.drain_s", "config.toml", "whole number"]),
        ("[server]\ndrain_s = -1\n", &["server.drain_s", "config.toml", "whole number"]),
        ("[pool]\nstrategy = \"CANARYsecretCANARY\"\n", &["pool.strategy", "config.toml", "round_robin"]),
        ("[pool]\ncooldown_max_s = 1\n", &["pool.cooldown_max_s", "config.toml"]),
        ("[retry]\nmax_attempts = 0\n", &["retry.max_attempts", "config.toml", "at least 1"]),
        ("[log]\nlevel = \"CANARYsecretCANARY\"\n", &["log.level", "config.toml", "off, error, warn"]),
        ("[log]\nformat = \"CANARYsecretCANARY\"\n", &["log.format", "config.toml", "json"]),
        (
            "[upstream]\nproxy = \"gopher://u:CANARYsecretCANARY@h\"\n",
            &["upstream.proxy", "config.toml", "socks5h://"],
        ),
        ("[upstream]\nproxy = \"CANARYsecretCANARY\"\n", &["upstream.proxy", "config.toml"]),
        (
            "[upstream]\nopenai_base_url = \"https://u:CANARYsecretCANARY@h\"\n",
            &["upstream.openai_base_url", "config.toml"],
        ),
        ("[upstream]\nca_file = \"nowhere.pem\"\n", &["upstream.ca_file", "config.toml", "nowhere.pem"]),
        ("[pool]\nkeys_file = \"nowhere\"\n", &["pool.keys_file", "config.toml", "nowhere"]),
        (
            "[auth]\ntokens = [{ name = \"a\", secret_file = \"nowhere\" }]\n",
            &["auth.tokens[0].secret_file", "config.toml"],
        ),
        ("[auth]\ntokens = [{ name = \"a\" }]\n", &["auth.tokens[0]", "config.toml", "secret"]),
        (
            "[auth]\ntokens = [{ name = \"a\", secret = [\"CANARYsecretCANARY\"] }]\n",
            &["auth.tokens.0.secret", "config.toml", "string"],
        ),
        ("[auth]\ntokens = [\"CANARYsecretCANARY\"]\n", &["auth.tokens", "config.toml"]),
        ("[auth]\ntokens = \"CANARYsecretCANARY\"\n", &["auth.tokens", "config.toml", "list"]),
        ("keys = \"CANARYsecretCANARY\"\n", &["keys", "config.toml", "list"]),
        ("[[keys]]\nsecret = \"CANARYsecretCANARY x\"\n", &["keys[0]", "config.toml"]),
        ("[[keys]]\nsecret = 5\n", &["keys.0.secret", "config.toml", "string"]),
        ("[[keys]]\nlabel = \"a\"\n", &["keys[0]", "config.toml", "secret"]),
        (
            "[[keys]]\nlabel = \"a\"\nsecret = \"x\"\n[[keys]]\nlabel = \"a\"\nsecret = \"y\"\n",
            &["keys[1]", "config.toml", "label"],
        ),
        // What is not TOML at all: its text is not repeated, since it may hold a secret.
        ("[[keys]]\nsecret = CANARYsecretCANARY\n", &["line 2", "config.toml"]),
        ("[[keys]]\nsecret = \"CANARYsecretCANARY\n", &["line 2", "config.toml"]),
        ("CANARYsecretCANARY\n", &["line 1", "config.toml"]),
        ("[server]\nport = 1\nport = 2\n", &["line 3", "config.toml"]),
    ] {
        assert_names(&refusal_of_file(text), words);
    }
}

#[test]
fn a_bad_value_in_a_variable_is_named_with_its_source_and_what_is_allowed() {
    let ours = [
        ("SERVER__PORT", "CANARYsecretCANARY", &["server.port", "65535"][..]),
        ("SERVER__PORT", "65536", &["server.port", "65535"]),
        ("SERVER__DRAIN_S", "1.5", &["server.drain_s", "whole number"]),
        ("RETRY", "5", &["retry", "section"]),
        ("POOL__STRATEGY", CANARY, &["pool.strategy", "round_robin"]),
        ("POOL__FAILURE_THRESHOLD", "0", &["pool.failure_threshold", "at least 1"]),
        ("LOG__TRANSACTIONS", CANARY, &["log.transactions", "boolean"]),
        ("LOG__LEVEL", CANARY, &["log.level", "trace"]),
        ("UPSTREAM__PROXY", "CANARYsecretCANARY", &["upstream.proxy"]),
        ("UPSTREAM__PROXY", "ftp://u:CANARYsecretCANARY@h", &["upstream.proxy"]),
        ("UPSTREAM__CA_FILE", "nowhere.pem", &["upstream.ca_file"]),
        ("AUTH__TOKENS", CANARY, &["auth.tokens", "list"]),
        ("AUTH__TOKENS", "[{name=\"a\",secret=[\"CANARYsecretCANARY\"]}]", &["auth.tokens.0.secret"]),
        (
            "AUTH__TOKENS",
            "[{name=\"a\",secret=\"CANARYsecretCANARY\"},{name=\"b\",secret=\"CANARYsecretCANARY\"}]",
            &["auth.tokens", "b"],
        ),
        ("KEYS", "[{secret=\"CANARYsecretCANARY\",x=1}]", &["keys.0.x"]),
    ];
    for (variable, value, words) in ours {
        let variable = format!("GEMINI_BALANCE__{variable}");
        let line = refusal(&options().env(&variable, value));
        assert_names(&line, words);
        assert_names(&line, &[&variable]);
    }
    let originals = [
        ("GEMINI_API_BASE_URL", "CANARYsecretCANARY", "upstream.gemini_base_url"),
        ("GEMINI_API_BASE_URL", "https://x:CANARYsecretCANARY@y", "upstream.gemini_base_url"),
        ("GEMINI_API_BASE_URL", "5", "upstream.gemini_base_url"),
        ("OPENAI_API_BASE_URL", "https://x/?key=CANARYsecretCANARY", "upstream.openai_base_url"),
        ("LOG_LEVEL", "CANARYsecretCANARY", "log.level"),
        ("DEBUG_LOG_ENABLED", "CANARYsecretCANARY", "log.debug_enabled"),
        ("API_KEY_COOL_DOWN_SECONDS", "CANARYsecretCANARY", "pool.cooldown_initial_s"),
        ("API_KEY_COOL_DOWN_SECONDS", "-5", "pool.cooldown_initial_s"),
        ("API_KEY_COOL_DOWN_SECONDS", "0", "pool.cooldown_initial_s"),
        ("API_KEY_FAILURE_THRESHOLD", "0", "pool.failure_threshold"),
        ("API_KEY_FAILURE_THRESHOLD", "2.5", "pool.failure_threshold"),
        ("MAX_COOL_DOWN_SECONDS", "1", "pool.cooldown_max_s"),
        ("MAX_COOL_DOWN_SECONDS", "a day", "pool.cooldown_max_s"),
        ("RATE_LIMIT_DEFAULT_WAIT_SECONDS", "soon", "pool.rate_limit_wait_s"),
        ("GOOGLE_API_KEYS", "CANARYsecretCANARY x", "GOOGLE_API_KEYS"),
        ("GOOGLE_API_KEY", "CANARYsecretCANARY\u{1}", "GOOGLE_API_KEY"),
        ("ACCESS_TOKENS", "CANARYsecretCANARY", "ACCESS_TOKENS"),
        ("ACCESS_TOKENS", "=CANARYsecretCANARY", "ACCESS_TOKENS"),
        ("ACCESS_TOKENS", "a=CANARYsecretCANARY,b=CANARYsecretCANARY", "ACCESS_TOKENS"),
    ];
    for (variable, value, setting) in originals {
        assert_names(&refusal(&options().env(variable, value)), &[variable, setting]);
    }
}

#[test]
fn a_place_that_cannot_be_used_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let line = refusal(&options().set("server.port", port));
    assert_names(&line, &["server.port", &port.to_string(), "GEMINI_BALANCE__SERVER__PORT"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");

    for (path, why) in [("nowhere.toml", "No such file"), ("/", "directory")] {
        assert_names(&refusal(&options().args(&["--config", path])), &["--config", path, why]);
    }

    for (text, why) in [
        ("garbage\n", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "upstream.ca_file"),
    ] {
        std::fs::write(&file, text).unwrap();
        let line = refusal(&options().set("upstream.ca_file", file.display()));
        assert_names(&line, &["upstream.ca_file", why, "GEMINI_BALANCE__UPSTREAM__CA_FILE"]);
        let line = refusal(&options().set("upstream.ca_file", file.display()).args(&["check"]));
        assert_names(&line, &["upstream.ca_file", why]);
    }
}

#[test]
fn a_bad_line_of_dotenv_is_named_and_not_repeated() {
    for (text, words) in [
        (format!("{CANARY} x\n"), &[".env", "line 1"][..]),
        (format!("A=b\n\nGOOGLE_API_KEY=\"{CANARY}\nB=c\n"), &[".env", "line 3", "GOOGLE_API_KEY", "quote"]),
        (format!("A=b\nGOOGLE API={CANARY}\n"), &[".env", "line 2", "GOOGLE API"]),
        (format!("A=b # c\r\nACCESS_TOKENS='a={CANARY}' {CANARY}\r\n"), &[".env", "line 2", "ACCESS_TOKENS"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), text).unwrap();
        assert_names(&refusal_in(folder.path(), &options()), words);
    }
    let folder = tempfile::tempdir().unwrap();
    let utf_16: Vec<u8> = "\u{feff}A=b".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.path().join(".env"), utf_16).unwrap();
    assert_names(&refusal_in(folder.path(), &options()), &[".env", "UTF-16"]);
}

#[test]
fn what_cannot_be_a_key_is_found_at_the_start_by_its_place() {
    let none = || Options::new(NOWHERE, 0);
    for (variable, value, words) in [
        (
            "GOOGLE_API_KEYS",
            format!("k-1,\"{CANARY}"),
            &["the second entry of GOOGLE_API_KEYS", "quotation"][..],
        ),
        (
            "GOOGLE_API_KEYS",
            format!("k-1,k-2,<{CANARY}>"),
            &["the third entry of GOOGLE_API_KEYS", "example"],
        ),
        (
            "GOOGLE_API_KEYS",
            format!("{CANARY}\u{200b}"),
            &["the first entry of GOOGLE_API_KEYS", "invisible"],
        ),
        ("GOOGLE_API_KEYS", format!("k-1;{CANARY}"), &["the first entry of GOOGLE_API_KEYS", "commas"]),
        ("GEMINI_API_KEY", format!("{CANARY}\u{e9}"), &["GEMINI_API_KEY", "not ASCII"]),
        (
            "ACCESS_TOKENS",
            format!("a=tok,b=\u{201c}{CANARY}\u{201d}"),
            &["the second entry of ACCESS_TOKENS", "quotation"],
        ),
        (
            "ACCESS_TOKENS",
            format!("{{\"a\":\"{CANARY}\"}}"),
            &["the first entry of ACCESS_TOKENS", "has no ="],
        ),
        ("ACCESS_TOKENS", format!("a={CANARY}\u{1b}[31m"), &["the first entry of ACCESS_TOKENS", "control"]),
        ("ADMIN_TOKEN", format!("{CANARY} x"), &["ADMIN_TOKEN", "space"]),
        ("GEMINI_BALANCE__ADMIN__TOKEN", format!("({CANARY})"), &["admin.token", "bracket"]),
    ] {
        let options = if variable.starts_with('G') && variable != "GEMINI_BALANCE__ADMIN__TOKEN" {
            none()
        } else {
            options()
        };
        let options = if variable == "ACCESS_TOKENS" { options.without_token() } else { options };
        assert_names(&refusal(&options.env(variable, &value)), words);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for (setting, text, words) in [
        (
            "pool.keys_file",
            format!("# mine\r\nk-1\r\n{CANARY} # his\r\n"),
            &["line 3 of pool.keys_file", "space", "__POOL__KEYS_FILE"][..],
        ),
        ("pool.keys_file", format!("k-1\n{CANARY}\u{202e}\n"), &["line 2 of pool.keys_file", "invisible"]),
        ("admin.token_file", format!("{CANARY}\n{CANARY}\n"), &["admin.token_file", "line break"]),
    ] {
        std::fs::write(&file, text).unwrap();
        assert_names(&refusal(&options().set(setting, file.display())), words);
    }
    std::fs::write(&file, format!("\u{feff}{CANARY}*\r\n")).unwrap();
    let text = format!("[[keys]]\nsecret_file = {file:?}\n");
    assert_names(&refusal_of_file(&text), &["keys[0].secret_file", "config.toml", "'*'"]);
    let text = format!("[auth]\ntokens = [{{ name = \"a\", secret = \"[{CANARY}\" }}]\n");
    assert_names(&refusal_of_file(&text), &["auth.tokens[0]", "config.toml", "bracket"]);
}

#[tokio::test]
async fn what_surrounds_a_list_of_keys_or_tokens_is_taken_off() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("\u{feff}[\r\n  \"{}\",\r\n  \"{}\"\r\n]\r\n", secret(0), secret(1)))
        .unwrap();
    let of = |variable: &str, value: String| {
        Options::new(&simulator.url(), 0)
            .env(variable, value)
            .env("ACCESS_TOKENS", format!("\"tester={}\"", crate::support::TOKEN))
    };
    for options in [
        of("GOOGLE_API_KEYS", format!("\"{},{}\"", secret(0), secret(1))),
        of("GOOGLE_API_KEYS", format!("[\"{}\", \"{}\"]", secret(0), secret(1))),
        of("GOOGLE_API_KEY", format!("'{}', '{}',", secret(0), secret(1))),
        of("GEMINI_BALANCE__POOL__KEYS_FILE", file.display().to_string()),
    ] {
        simulator.reset();
        let gateway = options.start();
        for _ in 0..2 {
            assert_eq!(client().get(gateway.url("/v1beta/models")).send().await.unwrap().status(), 200);
        }
        let mut used: Vec<_> = simulator.requests().into_iter().filter_map(|request| request.key).collect();
        used.sort();
        assert_eq!(used, [secret(0), secret(1)], "{options:?}");
    }
}

#[tokio::test]
async fn a_text_setting_takes_its_variables_text_whatever_it_looks_like() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .set("admin.token", "12345678")
        .set("admin.port", 0)
        .set("log.dir", "2026")
        .set("store.path", "007")
        .set("log.debug_file", "true")
        .env("DEBUG_LOG_ENABLED", "'1'")
        .set("server.trusted_proxies", "[\"[::1]\", \"10.0.0.0/8\"]")
        .start();
    for name in ["2026/app.log", "007", "true"] {
        assert!(gateway.folder().join(name).is_file(), "{name}: {}", gateway.output());
    }
    assert!(gateway.output().contains("operator's listener"), "{}", gateway.output());
}

#[tokio::test]
async fn a_host_may_stand_in_brackets_and_what_is_none_is_told_how_to_be_written() {
    let simulator = simulator(1).await;
    for host in ["[::1]", "::1", "[::]"] {
        let gateway = Options::new(&simulator.url(), 1).env("GEMINI_BALANCE__SERVER__HOST", host).start();
        assert_eq!(client().get(gateway.url("/health")).send().await.unwrap().status(), 200, "{host}");
    }
    for (setting, value, words) in [
        ("server.host", "[::]:8000", &["server.host", "port"][..]),
        ("server.host", "http://0.0.0.0", &["server.host", "scheme"]),
        ("admin.host", "127.0.0.1:8001", &["admin.host", "port"]),
        ("admin.host", "[::1", &["admin.host", "brackets"]),
        ("server.public_url", "http://::1:8000", &["server.public_url", "http://[::1]:8000"]),
        ("upstream.gemini_base_url", "http://::1:8000", &["upstream.gemini_base_url", "brackets"]),
        ("server.trusted_proxies", "[\"[::1]:443\"]", &["server.trusted_proxies"]),
    ] {
        assert_names(&refusal(&options().set(setting, value)), words);
    }
}

#[test]
fn the_demo_listens_on_the_configured_port_unless_it_is_told_another() {
    let mut command =
        options().set("server.port", "nine").args(&["demo"]).command(tempfile::tempdir().unwrap().path());
    let output = command.current_dir("/").output().unwrap();
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_names(&line, &["server.port", "GEMINI_BALANCE__SERVER__PORT", "65535"]);
    let gateway = options().args(&["demo"]).start();
    assert!(!gateway.authority().ends_with(":8000"), "{}", gateway.authority());
}

/// What the only key's second request is told to wait, after Google has answered 429 without a hint to the first.
async fn wait_after_429(simulator: &Simulator, options: Options) -> u64 {
    let body = json!({"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}});
    let fault = Fault::Status { status: 429, headers: [].into(), body: Some(body) };
    simulator.set_faults([Rule::new(fault)]);
    wait_after_fault(options).await
}

async fn wait_after_fault(options: Options) -> u64 {
    let gateway = options.set("pool.max_wait_ms", 1).set("retry.max_attempts", 1).start();
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
    client().post(&url).body(prompt("a")).send().await.unwrap();
    let second = client().post(&url).body(prompt("b")).send().await.unwrap();
    assert_eq!(second.status(), 429);
    second.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

/// A backoff is spread by a tenth.
#[track_caller]
fn assert_about(seconds: u64, wanted: u64) {
    assert!((wanted * 9 / 10..=wanted * 11 / 10 + 1).contains(&seconds), "{seconds} s instead of {wanted} s");
}

#[tokio::test]
async fn a_file_gives_way_to_the_originals_variables_and_those_to_ours() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, "[pool]\nrate_limit_wait_s = 200\n").unwrap();
    let from_file = || Options::new(&simulator.url(), 1).args(&["--config", file.to_str().unwrap()]);
    let original = || from_file().env("RATE_LIMIT_DEFAULT_WAIT_SECONDS", 400);
    assert_about(wait_after_429(&simulator, Options::new(&simulator.url(), 1)).await, 90);
    assert_about(wait_after_429(&simulator, from_file()).await, 200);
    assert_about(wait_after_429(&simulator, original()).await, 400);
    assert_about(wait_after_429(&simulator, original().set("pool.rate_limit_wait_s", 800)).await, 800);
}

#[tokio::test]
async fn a_key_that_is_not_enabled_is_not_in_the_pool() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let key = |n: usize, more: &str| format!("[[keys]]\nsecret = \"{}\"\n{more}\n", secret(n));
    let text = key(0, "enabled = false") + &key(1, "enabled = true");
    std::fs::write(folder.path().join("config.toml"), text).unwrap();
    let gateway = Options::new(&simulator.url(), 0).start_in(folder.path());
    assert_eq!(key_counts(&gateway).await["available"], 1);
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
    assert_eq!(client().post(&url).body(prompt("a")).send().await.unwrap().status(), 200);
    assert_eq!(simulator.stats().by_key.keys().collect::<Vec<_>>(), [&secret(1)]);
}

#[tokio::test]
async fn the_originals_cooldown_variables_work() {
    // The one key is blocked where the other is served, which is lost then.
    let blocked = Rule::new(Fault::google(GoogleError::ReferrerBlocked)).on_key(secret(0));
    let simulator = simulator_with(2, |config| config.faults = vec![blocked]).await;
    let gateway = Options::new(&simulator.url(), 2)
        .env("API_KEY_COOL_DOWN_SECONDS", 700)
        .env("MAX_COOL_DOWN_SECONDS", 900)
        .set("pool.max_wait_ms", 1)
        .start();
    let url = gateway.url("/v1beta/models/gemini-2.5-flash:generateContent");
    let generate = async || client().post(&url).body(prompt("a")).send().await.unwrap();
    while key_counts(&gateway).await["cooling"] == 0 {
        assert_eq!(generate().await.status(), 200);
    }
    assert!(simulator.set_key_state(&secret(1), KeyState::Suspended));
    assert_eq!(generate().await.status(), 403);
    let refused = generate().await;
    assert_eq!(refused.status(), 429);
    assert_about(refused.headers()["retry-after"].to_str().unwrap().parse().unwrap(), 700);
    let capped = Options::new(&simulator.url(), 1)
        .env("RATE_LIMIT_DEFAULT_WAIT_SECONDS", 50)
        .env("API_KEY_COOL_DOWN_SECONDS", 50)
        .env("MAX_COOL_DOWN_SECONDS", 50);
    assert_about(wait_after_429(&simulator, capped).await, 50);
}

#[tokio::test]
async fn the_originals_log_variables_work_in_pythons_spelling() {
    let simulator = simulator(1).await;
    let gateway = Options::new(&simulator.url(), 1)
        .env("LOG_LEVEL", "DEBUG")
        .env("DEBUG_LOG_ENABLED", "True")
        .env("DEBUG_LOG_FILE", "elsewhere/debug.log")
        .start();
    assert!(gateway.folder().join("elsewhere/debug.log").exists());
    let quiet = Options::new(&simulator.url(), 1)
        .env("LOG_LEVEL", "ERROR")
        .env("DEBUG_LOG_ENABLED", "False")
        .env("DEBUG_LOG_FILE", "elsewhere/debug.log");
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        quiet.command(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert!(!folder.path().join("elsewhere").exists());
}

#[tokio::test]
async fn keys_are_read_from_every_place_they_can_be_named_in() {
    let simulator = simulator(8).await;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let secret_file = place("key", format!("{}\n", secret(1)));
    let keys_file = place("keys", format!("# a comment\n\n{}\n  {}\n", secret(2), secret(3)));
    let config = place(
        "gateway.toml",
        format!(
            "[pool]\nkeys_file = {keys_file:?}\n[[keys]]\nlabel = \"zero\"\nsecret = \"{}\"\n[[keys]]\nlabel = \"one\"\nsecret_file = {secret_file:?}\n",
            secret(0)
        ),
    );
    let gateway = Options::new(&simulator.url(), 0)
        .env("GOOGLE_API_KEYS", format!(" {}, {} ,,{}", secret(4), secret(5), secret(0)))
        .env("GOOGLE_API_KEY", secret(6))
        .env("GEMINI_API_KEY", secret(7))
        .args(&["--config", config.to_str().unwrap()])
        .start();
    for _ in 0..8 {
        assert_eq!(client().get(gateway.url("/v1beta/models")).send().await.unwrap().status(), 200);
    }
    let mut used: Vec<_> = simulator.requests().into_iter().filter_map(|request| request.key).collect();
    used.sort();
    assert_eq!(used, (0..8).map(secret).collect::<Vec<_>>());
    let ready: serde_json::Value = serde_json::from_str(
        &client().get(gateway.url("/health/ready")).send().await.unwrap().text().await.unwrap(),
    )
    .unwrap();
    assert_eq!(ready["keys"]["total"], 8);
}

#[tokio::test]
async fn dotenv_is_read_and_the_environment_goes_before_it() {
    let simulator = simulator(2).await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "# secrets\nexport GEMINI_API_KEY='{}'\nACCESS_TOKENS=\"eve=eves-token\"\nGEMINI_BALANCE__LOG__FORMAT=json\nGEMINI_API_BASE_URL={NOWHERE}\n",
        secret(1)
    );
    std::fs::write(folder.path().join(".env"), text).unwrap();
    let options = Options::new(&simulator.url(), 0).without_token();
    let mut command = options.command(folder.path());
    let mut child = command.env_remove("GOOGLE_API_KEYS").stdout(Stdio::piped()).spawn().unwrap();
    let log = folder.path().join("logs/app.log");
    let address = crate::support::wait_for("address", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().find(|line| line.contains("listening on http://"))?.to_owned();
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON, as .env says");
        line["message"].as_str()?.rsplit_once("http://").map(|(_, address)| address.to_owned())
    });
    let answer =
        exchange(&address, request("GET", "/v1beta/models", &[("x-goog-api-key", "eves-token")], "")).await;
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(simulator.requests()[0].key, Some(secret(1)));
}

#[test]
fn check_finds_whatever_would_end_the_start() {
    for (setting, value, words) in [
        ("log.level", CANARY, &["log.level", "trace"][..]),
        ("admin.token", "CANARYsecretCANARY x", &["admin.token", "space"]),
        ("admin.host", "0.0.0.0", &["admin.host", "loopback"]),
        ("server.public_url", CANARY, &["server.public_url"]),
    ] {
        let options = options().env("ADMIN_TOKEN", "an-operators-token").set(setting, value);
        assert_names(&refusal(&options.args(&["check"])), words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_asks_about_each_key_without_spending_quota() {
    let simulator = simulator(3).await;
    let options = || Options::new(&simulator.url(), 3).args(&["check"]);
    let (status, text) = options().run();
    assert!(status.success(), "{text}");
    assert_eq!(text.matches(": well").count(), 4, "{text}");
    // Beside the keys, the models that other vendors' names stand for.
    assert!(!text.contains("does not know"), "{text}");
    for request in simulator.requests() {
        assert_eq!(request.method, "GET");
        assert!(request.path == "/v1beta/models" || request.path.ends_with("-latest"), "{}", request.path);
    }
    assert_eq!(simulator.stats().by_key.len(), 3);

    let gone = options().set("formats.models", r#"{"claude-x" = "gemini-no-more"}"#).run().1;
    assert!(gone.contains("gemini-no-more, which Google does not know"), "{gone}");
    simulator.set_key_state(&secret(1), KeyState::Invalid);
    simulator.set_key_state(&secret(2), KeyState::Suspended);
    let (status, text) = options().run();
    assert!(!status.success(), "{text}");
    assert_eq!(text.matches("NOT WELL").count(), 2, "{text}");
    assert!(!text.contains("Canary"), "{text}");

    let url = simulator.url();
    simulator.stop().await;
    let (status, text) = Options::new(&url, 1).args(&["check"]).run();
    assert!(!status.success() && text.contains("NOT KNOWN"), "{text}");
}

#[test]
fn every_file_with_secrets_that_others_can_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let warnings = |mode: u32| {
        let (one, keys) = (write("one", secret(1), mode), write("keys", secret(2), mode));
        let (token, admin) =
            (write("token", "a-token".to_owned(), mode), write("admin", "another".to_owned(), mode));
        write(".env", "LOG_LEVEL=warn\n".to_owned(), mode);
        let text = format!(
            "[pool]\nkeys_file = {keys:?}\n[admin]\ntoken_file = {admin:?}\n[auth]\ntokens = [{{ name = \"a\", secret_file = {token:?} }}]\n\
             [[keys]]\nsecret = \"{}\"\n[[keys]]\nsecret_file = {one:?}\n",
            secret(0)
        );
        write("config.toml", text, mode);
        let (_, text) = Options::new(NOWHERE, 0).args(&["check"]).run_in(folder.path());
        let lines = text.lines().filter_map(|line| {
            Some(line.strip_prefix("warning: ")?.split_once(": every user")?.0.to_owned())
        });
        let mut names: Vec<_> = lines.collect();
        names.sort();
        names
    };
    let all = [
        "--config",
        ".env",
        "admin.token_file",
        "auth.tokens[0].secret_file",
        "keys[1].secret_file",
        "pool.keys_file",
    ];
    assert_eq!(warnings(0o644), all);
    assert_eq!(warnings(0o604), all);
    assert!(warnings(0o640).is_empty() && warnings(0o600).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_refuses_what_a_start_refuses() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, open) = (folder.path().join("instance.key"), Permissions::from_mode(0o644));
    std::fs::write(&file, [7; 32]).unwrap();
    std::fs::set_permissions(&file, open).unwrap();
    let options = || {
        let options =
            Options::new(&simulator.url(), 1).set("store.path", folder.path().join("s.db").display());
        options.set("store.instance_key_file", file.display())
    };
    let line = refusal(&options());
    assert_names(&line, &["store.instance_key_file", "instance.key"]);
    assert_eq!(refusal(&options().args(&["check"])), line);
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    assert!(options().args(&["check"]).run().0.success(), "well once it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_tells_of_places_that_nothing_can_be_kept_in_and_makes_none() {
    let simulator = simulator(1).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, new) = (folder.path().join("file"), folder.path().join("new/of/it"));
    std::fs::write(&file, "").unwrap();
    let check = |store: &Path, usage: &Path| {
        let options = Options::new(&simulator.url(), 1).set("store.path", store.display());
        let (done, text) = options.set("usage.path", usage.display()).args(&["check"]).run();
        assert!(done.success(), "{text}");
        text.lines().filter(|line| line.contains(".path")).map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = check(&file.join("s.db"), folder.path());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("warning: store.path: ") && lines[0].contains("Not a directory"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("warning: usage.path: ") && lines[1].contains("not a file"), "{lines:?}");
    assert!(check(&new.join("s.db"), &new.join("u.db")).is_empty());
    assert!(!folder.path().join("new").exists());
}

//! The files of `docker/` beside each other: what Compose mounts is there, and names, ports and paths mean the same in the
//! composition, in Prometheus' configuration, in Grafana's and in the gateway's own. No engine is needed for that; with one
//! `tests/docker/run` and `tests/docker/cluster` try it out.

mod cluster;

use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const README: &str = include_str!("../../docker/README.md");

fn docker(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(file)
}

fn yaml(file: &str) -> Value {
    let text = std::fs::read_to_string(docker(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// A text of Compose's, with the default in the place of each variable.
fn expanded(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((before, rest)) = text.split_once("${") {
        let (variable, behind) = rest.split_once('}').unwrap();
        let (_, default) = variable.split_once(":-").expect("each variable has a default");
        text = format!("{before}{default}{behind}");
    }
    text
}

/// A mount: from where, and where to. A variable stands as its default.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let mounts = texts(&service["volumes"]).into_iter().map(|mount| {
        let mount = expanded(mount);
        let mut parts = mount.split(':');
        (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
    });
    mounts.collect()
}

/// Where a service has what another one calls so.
fn is_mounted(service: &Value, path: &str) -> bool {
    mounts(service).iter().any(|(_, to)| path == to || path.starts_with(&format!("{to}/")))
}

#[test]
fn what_the_composition_mounts_is_there_and_each_image_of_others_is_named_by_digest() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap();
    let names: BTreeSet<_> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["gateway", "grafana", "prometheus", "proxy"].into());
    for (name, service) in services {
        for (from, to) in mounts(service) {
            if from.starts_with('.') {
                assert!(docker(&from).exists(), "{name} mounts {from}, which is not there");
            } else if !from.starts_with('/') {
                assert!(compose["volumes"].get(&from).is_some(), "{name}: {from} is no volume");
            }
            assert!(to.starts_with('/'), "{name}: {to}");
        }
    }
    assert_eq!(services["gateway"]["env_file"], "../.env");
    assert!(docker(services["gateway"]["build"]["context"].as_str().unwrap()).join("Cargo.toml").exists());
    for name in ["prometheus", "grafana"] {
        let service = &services[name];
        assert_eq!(texts(&service["profiles"]), ["observe"]);
        let (_, digest) = service["image"].as_str().unwrap().split_once("@sha256:").unwrap();
        let digest = digest.trim_end_matches('}');
        assert!(digest.len() == 64 && digest.bytes().all(|sign| sign.is_ascii_hexdigit()), "{digest}");
        assert!(texts(&service["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
    }
}

#[test]
fn the_gateway_of_the_composition_is_told_settings_that_there_are() {
    let compose = yaml("compose.yaml");
    let of_compose = compose["services"]["gateway"]["environment"].as_object().unwrap();
    let of_readme = README.split('\n').filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let told: Vec<_> = of_compose.keys().map(String::as_str).chain(of_readme).collect();
    let defaults: toml::Table = include_str!("../../config.toml").parse().unwrap();
    let mut found = 0;
    for name in told.iter().filter_map(|name| name.strip_prefix("GEMINI_BALANCE__")) {
        let setting = name.to_lowercase();
        let mut parts = setting.split("__");
        let (section, field) = (parts.next().unwrap(), parts.next().unwrap());
        assert!(defaults[section].get(field).is_some(), "{name} is no setting");
        found += 1;
    }
    assert!(found >= 4, "{told:?}");
    let port = &of_compose["GEMINI_BALANCE__SERVER__PORT"];
    let published = texts(&compose["services"]["gateway"]["ports"])[0].to_owned();
    assert!(published.ends_with(&format!(":{}", port.as_str().unwrap())), "{published}");
}

#[test]
fn prometheus_finds_the_gateway_its_rules_and_its_token_and_grafana_finds_prometheus_and_the_dashboard() {
    let compose = yaml("compose.yaml");
    let service = |name: &str| &compose["services"][name];
    let (prometheus, grafana) = (service("prometheus"), service("grafana"));
    let configuration = yaml("prometheus.yml");
    let scraped = &configuration["scrape_configs"][0];
    let target = texts(&scraped["static_configs"][0]["targets"])[0].to_owned();
    let (host, port) = target.split_once(':').unwrap();
    assert!(service(host).is_object(), "{host} is no service");
    assert!(
        README.contains(&format!("GEMINI_BALANCE__METRICS__LISTEN=0.0.0.0:{port}\n")),
        "the gateway's metrics are not at port {port}"
    );
    let token = scraped["authorization"]["credentials_file"].as_str().unwrap();
    assert!(README.contains(&format!("GEMINI_BALANCE__METRICS__TOKEN_FILE={token}\n")), "{token}");
    assert!(is_mounted(prometheus, token) && is_mounted(service(host), token));

    let flag = |name: &str| {
        let commands = texts(&prometheus["command"]);
        let found = commands.iter().find_map(|flag| flag.strip_prefix(&format!("--{name}=")));
        found.unwrap_or_else(|| panic!("no --{name}")).to_owned()
    };
    let file = flag("config.file");
    assert!(is_mounted(prometheus, &file) && is_mounted(prometheus, &flag("storage.tsdb.path")));
    for rules in texts(&configuration["rule_files"]) {
        let path = Path::new(&file).with_file_name(rules);
        assert!(is_mounted(prometheus, path.to_str().unwrap()), "{rules} is not mounted");
    }

    let sources = yaml("grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    let own = texts(&prometheus["ports"])[0].rsplit(':').next().unwrap().to_owned();
    assert_eq!(source["url"], format!("http://prometheus:{own}"));
    assert_eq!(source["type"], "prometheus");
    let providers = yaml("grafana/provisioning/dashboards/gemini-balance.yml");
    let folder = providers["providers"][0]["options"]["path"].as_str().unwrap();
    let shown =
        grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap().to_owned();
    assert!(Path::new(&shown).starts_with(folder) && is_mounted(grafana, &shown), "{shown}");
    assert!(is_mounted(grafana, "/etc/grafana/provisioning"));
    assert!(mounts(grafana).contains(&("./grafana/dashboard.json".to_owned(), shown)));
}

/// Every text in a document, with the name under which it stands.
fn every_text<'a>(value: &'a Value, name: &'a str, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::String(text) => found.push((name, text)),
        Value::Array(items) => items.iter().for_each(|item| every_text(item, name, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, item)| every_text(item, name, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are_by_variables_that_it_has() {
    let text = std::fs::read_to_string(docker("grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut variables: BTreeSet<&str> = ["__all", "__rate_interval"].into();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        variables.insert(variable["name"].as_str().unwrap());
    }
    let known: BTreeSet<String> = crate::metrics::documented().into_iter().map(|(name, ..)| name).collect();
    let mut found = Vec::new();
    every_text(&dashboard, "", &mut found);
    let mut asked = BTreeSet::new();
    for (name, text) in &found {
        for (at, _) in text.match_indices('$') {
            let rest = text[at + 1..].trim_start_matches('{');
            let end = rest.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
            let variable = &rest[..end.unwrap_or(rest.len())];
            assert!(variables.contains(variable), "${variable} is no variable: {text}");
        }
        if !["expr", "query", "definition"].contains(name) {
            continue;
        }
        let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        for word in words.filter(|word| word.starts_with("gemini_balance_") || word.starts_with("process_")) {
            let ends = ["", "_bucket", "_sum", "_count"];
            let mut bases = ends.iter().filter_map(|end| word.strip_suffix(end));
            assert!(bases.any(|base| known.contains(base)), "{word} is no metric: {text}");
            asked.insert(word);
        }
    }
    assert!(asked.len() >= 30, "{asked:?}");
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    for panel in panels {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}

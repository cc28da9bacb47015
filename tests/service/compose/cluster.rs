//! The files by which several gateways are run, `docker/compose.cluster.yaml` and `docker/kubernetes.yaml`, beside each other and
//! beside the gateway's own.

use super::{README, docker, expanded, is_mounted, mounts, texts, yaml};
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

fn address(service: &Value) -> String {
    expanded(service["networks"]["default"]["ipv4_address"].as_str().unwrap())
}

/// The documents of a file that has several.
fn documents(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(docker(file)).unwrap();
    let parts = text.split("\n---\n");
    parts.map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{file}: {error}"))).collect()
}

/// A setting that a variable names, and its default.
fn has_setting(section: &str, field: &str) -> bool {
    let defaults: toml::Table = include_str!("../../../config.toml").parse().unwrap();
    defaults.get(section).is_some_and(|section| section.get(field).is_some())
}

#[test]
fn what_the_cluster_mounts_is_there_and_no_two_gateways_share_a_store() {
    let compose = yaml("compose.cluster.yaml");
    let services = compose["services"].as_object().unwrap();
    let names: BTreeSet<_> = services.keys().map(String::as_str).collect();
    let servers = ["redis-1", "redis-2", "redis-3"];
    let sentinels = ["sentinel-1", "sentinel-2", "sentinel-3"];
    assert_eq!(names, [&["gateway", "lb"][..], &servers, &sentinels].concat().into_iter().collect());
    let mut own = BTreeSet::new();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert!(image.starts_with("${") && image.contains("_IMAGE:-"), "{name}: {image} can be another");
        let named = texts(&service["volumes"]).into_iter().filter(|volume| volume.contains(':'));
        for (from, to) in mounts(&serde_json::json!({ "volumes": named.collect::<Vec<_>>() })) {
            if from.starts_with('.') {
                assert!(docker(&from).exists(), "{name} mounts {from}, which is not there");
            } else {
                assert!(compose["volumes"].get(&from).is_some(), "{name}: {from} is no volume");
                assert!(own.insert(from.clone()), "{from} is not {name}'s alone");
            }
            assert!(to.starts_with('/'), "{name}: {to}");
        }
        assert_eq!(service.get("ports").is_some(), name == "lb", "{name}: clients reach the lb only");
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
    }
    assert_eq!(own.len(), servers.len() + sentinels.len());
    let gateway = &services["gateway"];
    for place in ["/app/logs", "/app/data"] {
        assert!(texts(&gateway["volumes"]).contains(&place), "{place} is each container's own");
    }
    let (alone, together) = (&yaml("compose.yaml")["services"]["gateway"], gateway);
    for part in [
        "build",
        "env_file",
        "read_only",
        "cap_drop",
        "security_opt",
        "ulimits",
        "sysctls",
        "stop_grace_period",
        "healthcheck",
    ] {
        assert_eq!(alone[part], together[part], "{part} as in compose.yaml");
    }
}

#[test]
fn the_gateways_of_the_cluster_find_the_sentinels_and_believe_the_balancer_alone() {
    let compose = yaml("compose.cluster.yaml");
    let services = compose["services"].as_object().unwrap();
    let told = services["gateway"]["environment"].as_object().unwrap();
    let of = |name: &str| expanded(told[name].as_str().unwrap());
    for name in told.keys() {
        let setting = name.strip_prefix("GEMINI_BALANCE__").unwrap().to_lowercase();
        let (section, field) = setting.split_once("__").unwrap();
        assert!(has_setting(section, field), "{name} is no setting");
    }
    let sentinels: Vec<_> = (1..=3).map(|n| address(&services[&format!("sentinel-{n}")])).collect();
    assert_eq!(
        of("GEMINI_BALANCE__CLUSTER__URL"),
        format!("redis+sentinel://{}/gemini-balance", sentinels.join(","))
    );
    assert_eq!(of("GEMINI_BALANCE__SERVER__TRUSTED_PROXIES"), format!("[\"{}\"]", address(&services["lb"])));
    let replicas = services["gateway"]["deploy"]["replicas"].as_u64().unwrap();
    assert_eq!(of("GEMINI_BALANCE__CLUSTER__REPLICAS"), replicas.to_string());
    assert!(README.contains(&format!("--scale gateway={replicas}")));

    // One password, which all that need it have.
    let (secret, file) = compose["secrets"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(of("GEMINI_BALANCE__CLUSTER__PASSWORD_FILE"), format!("/run/secrets/{secret}"));
    assert!(README.contains(expanded(file["file"].as_str().unwrap()).trim_start_matches("../")));
    let start = std::fs::read_to_string(docker("redis-start.sh")).unwrap();
    assert!(start.contains(&format!("/run/secrets/{secret}")));
    for (name, service) in services.iter().filter(|(name, _)| *name != "lb") {
        assert_eq!(texts(&service["secrets"]), [secret], "{name}");
    }
    // All begin with the same primary, and the gateways' own addresses are others than those that are given.
    let primary = address(&services["redis-1"]);
    for (name, service) in services.iter().filter(|(name, _)| name.contains('-')) {
        let arguments: Vec<_> = texts(&service["command"]).into_iter().map(expanded).collect();
        let kind = if name.starts_with("redis") { "server" } else { "sentinel" };
        assert_eq!(arguments[..2], [kind.to_owned(), primary.clone()], "{name}");
        assert_eq!(service["hostname"], name.as_str(), "by which it knows its part at the first start");
        assert!(is_mounted(service, "/data") && is_mounted(service, "/usr/local/etc/redis/start"), "{name}");
    }
    let network = &compose["networks"]["default"]["ipam"]["config"][0];
    assert_eq!(expanded(network["subnet"].as_str().unwrap()), "172.31.250.0/24");
    assert_eq!(expanded(network["ip_range"].as_str().unwrap()), "172.31.250.128/25");
    let given = services.values().filter(|service| service.get("networks").is_some()).map(address);
    let given: BTreeSet<_> = given.collect();
    assert_eq!(given.len(), services.len() - 1);
    for address in given {
        let last: u8 = address.strip_prefix("172.31.250.").unwrap().parse().unwrap();
        assert!((2..128).contains(&last), "{address}");
    }
    for setting in [
        "requirepass ",
        "appendonly yes",
        "maxmemory-policy noeviction",
        "min-replicas-to-write 1",
        "min-replicas-max-lag 2",
    ] {
        assert!(start.lines().any(|line| line.starts_with(setting)), "{setting}");
    }
    let service = start.lines().find_map(|line| line.strip_prefix("sentinel monitor ")).unwrap();
    assert!(service.starts_with("gemini-balance $primary 6379 2"), "{service}");
}

#[test]
fn the_balancer_asks_what_is_ready_and_waits_longer_than_the_gateways() {
    let compose = yaml("compose.cluster.yaml");
    let (lb, gateway) = (&compose["services"]["lb"], &compose["services"]["gateway"]);
    let configuration = std::fs::read_to_string(docker("haproxy.cfg")).unwrap();
    let lines: Vec<_> = configuration
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect();
    let find = |start: &[&str]| {
        let found = lines.iter().find(|words| words.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start:?}")).clone()
    };
    let port = gateway["environment"]["GEMINI_BALANCE__SERVER__PORT"].as_str().unwrap();
    assert_eq!(texts(&gateway["expose"]), [port]);
    assert_eq!(find(&["server-template"])[3], format!("gateway:{port}"));
    let published = texts(&lb["ports"])[0].rsplit(':').next().unwrap();
    assert_eq!(find(&["bind"])[1], format!(":{published}"));
    assert!(is_mounted(lb, "/usr/local/etc/haproxy/haproxy.cfg"));
    assert_eq!(find(&["http-check", "send"])[2..], ["meth", "GET", "uri", "/health/ready"]);
    assert_eq!(find(&["balance"])[1], "leastconn", "nothing is sticky");
    let seconds = |words: &[&str]| -> u64 {
        words.last().unwrap().strip_suffix('s').unwrap().parse().unwrap_or_else(|_| panic!("{words:?}"))
    };
    // As docs/operations.md has it for any proxy.
    for kind in ["client", "server", "tunnel"] {
        assert_eq!(seconds(&find(&["timeout", kind])), 660, "{kind}");
    }
    // A gateway that leaves takes connections until a check has told the balancer.
    let check = find(&["default-server"]);
    let every = check.iter().position(|word| *word == "inter").map(|at| check[at + 1]).unwrap();
    let accepts: u64 =
        gateway["environment"]["GEMINI_BALANCE__SERVER__DRAIN_ACCEPT_MS"].as_str().unwrap().parse().unwrap();
    assert!(accepts >= 2_000 * seconds(&[every]), "{accepts} ms");

    if let Ok(output) = Command::new("haproxy").arg("-c").arg("-f").arg(docker("haproxy.cfg")).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    } else {
        println!("haproxy is not installed, so that its configuration was only read");
    }
    if let Ok(output) = Command::new("sh").arg("-n").arg(docker("redis-start.sh")).output() {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_deployment_in_kubernetes_is_whole() {
    let documents = documents("kubernetes.yaml");
    let kind = |kind: &str| {
        let found = documents.iter().find(|document| document["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))
    };
    let kinds: BTreeSet<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment", "PodDisruptionBudget", "Service"].into());
    for document in &documents {
        assert_eq!(document["metadata"]["name"], "gemini-balance");
    }
    let deployment = &kind("Deployment")["spec"];
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];

    let configuration: toml::Table =
        kind("ConfigMap")["data"]["config.toml"].as_str().unwrap().parse().unwrap();
    for (section, fields) in &configuration {
        for field in fields.as_table().unwrap().keys() {
            assert!(has_setting(section, field), "{section}.{field} is no setting");
        }
    }
    let number = |section: &str, field: &str| configuration[section][field].as_integer().unwrap();
    assert_eq!(Some(number("cluster", "replicas")), deployment["replicas"].as_i64());
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(grace * 1_000 > number("server", "drain_s") * 1_000 + number("server", "drain_accept_ms"));

    // Each file that is named is one that the Secret is mounted with.
    let mounted: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap()))
        .collect();
    let place = |name: &str| mounted.iter().find(|(it, _)| *it == name).unwrap().1;
    let volumes = pod["volumes"].as_array().unwrap();
    let secret = &volumes.iter().find(|volume| volume["name"] == "secrets").unwrap()["secret"];
    let items = secret["items"].as_array().unwrap();
    let files: BTreeSet<_> =
        items.iter().map(|item| format!("{}/{}", place("secrets"), item["path"].as_str().unwrap())).collect();
    let named = [("pool", "keys_file"), ("cluster", "password_file"), ("metrics", "token_file")];
    let named = named.map(|(section, field)| configuration[section][field].as_str().unwrap().to_owned());
    assert_eq!(files, named.into());
    let arguments = texts(&container["args"]);
    assert_eq!(arguments, ["--config", &format!("{}/config.toml", place("config"))]);
    // What the head of the file has one make is what is used.
    let head = std::fs::read_to_string(docker("kubernetes.yaml")).unwrap();
    let environment = container["env"].as_array().unwrap();
    let of_secret = environment.iter().filter_map(|it| it["valueFrom"]["secretKeyRef"]["key"].as_str());
    for key in of_secret.chain(items.iter().map(|item| item["key"].as_str().unwrap())) {
        assert!(head.contains(&format!("={key}=")), "{key} is never made");
    }

    let ports = container["ports"].as_array().unwrap();
    let port = |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone();
    assert_eq!(port("http"), 8000);
    let listen = configuration["metrics"]["listen"].as_str().unwrap();
    assert!(listen.ends_with(&format!(":{}", port("metrics"))), "{listen}");
    assert_eq!(kind("Service")["spec"]["ports"][0]["targetPort"], "http");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/health/live");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/health/ready");

    let labels = &deployment["template"]["metadata"]["labels"];
    for selector in [
        &deployment["selector"]["matchLabels"],
        &kind("Service")["spec"]["selector"],
        &kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(texts(&container["securityContext"]["capabilities"]["drop"]), ["ALL"]);
}

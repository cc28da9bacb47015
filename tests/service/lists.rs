//! Lists of what projects own: one list of all projects', in pages, for those who may see it.

use crate::support::{Gateway, Options, TOKEN, bearer, client, secret, simulator_with, wait_for};
use gemini_simulator::{Fault, GoogleError, KeyState, Rule, Simulator};
use reqwest::Response;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

const PROJECTS: usize = 5;
const KEYS: usize = 2 * PROJECTS;
const FILES: &str = "/v1beta/files";
const BATCHES: &str = "/v1beta/openai/batches";

/// Five projects of two keys, `k0` and `k1` of the first, and so on.
async fn projects() -> Simulator {
    simulator_with(KEYS, |config| {
        for (n, key) in config.keys.iter_mut().enumerate() {
            key.project = format!("p{}", n / 2);
        }
    })
    .await
}

/// Whether the gateway is told which keys share a project.
#[derive(Clone, Copy, PartialEq)]
enum Labels {
    Told,
    Untold,
}

/// `[[keys]]` of these keys, in this order.
fn entries(keys: &[usize], labels: Labels) -> String {
    let mut text = String::new();
    for n in keys {
        writeln!(text, "[[keys]]\nlabel = \"k{n}\"\nsecret = \"{}\"", secret(*n)).unwrap();
        if labels == Labels::Told {
            writeln!(text, "project = \"p{}\"", n / 2).unwrap();
        }
    }
    text
}

fn configured(simulator: &Simulator, labels: Labels, more: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let text = more.to_owned() + &entries(&(0..KEYS).collect::<Vec<_>>(), labels);
    let file = folder.path().join("keys.toml");
    std::fs::write(&file, text).unwrap();
    let options = Options::new(&simulator.url(), 0).args(&["--config", file.to_str().unwrap()]);
    options.without_token().start()
}

/// A gateway without tokens: whoever shows a pool key shares all.
fn shared(simulator: &Simulator) -> Gateway {
    configured(simulator, Labels::Told, "")
}

/// Google's own door, past the gateway.
async fn upload(simulator: &Simulator, project: usize, text: String) -> String {
    let request = client()
        .post(format!("{}/upload/v1beta/files", simulator.url()))
        .header("x-goog-api-key", secret(2 * project))
        .header("x-goog-upload-protocol", "raw")
        .header("content-type", "text/plain");
    let made = json_of(request.body(text).send().await.unwrap()).await;
    made["file"]["name"].as_str().unwrap().to_owned()
}

async fn delete(simulator: &Simulator, project: usize, name: &str) {
    let request = client().delete(format!("{}/v1beta/{name}", simulator.url()));
    let answer = request.header("x-goog-api-key", secret(2 * project)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// `count` files, on all projects in turn; by name, the project.
async fn files(simulator: &Simulator, count: usize) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for n in 0..count {
        made.insert(upload(simulator, n % PROJECTS, format!("file {n}")).await, n % PROJECTS);
    }
    made
}

async fn json_of(answer: Response) -> Value {
    let bytes = answer.bytes().await.unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&bytes)))
}

async fn get(gateway: &Gateway, path: &str) -> Response {
    client().get(gateway.url(path)).header("x-goog-api-key", secret(0)).send().await.unwrap()
}

async fn page(gateway: &Gateway, path: &str) -> Value {
    let answer = get(gateway, path).await;
    assert_eq!(answer.status(), 200, "{path}");
    json_of(answer).await
}

fn names(page: &Value, list: &str, name: &str) -> Vec<String> {
    let items = page[list].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

/// The pages of a native list from its start to its end.
async fn pages(gateway: &Gateway, path: &str, list: &str) -> Vec<Vec<String>> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(gateway, &format!("{path}&pageToken={token}")).await;
        all.push(names(&page, list, "name"));
        match page["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return all,
        }
    }
}

fn set<'a>(names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    names.into_iter().cloned().collect()
}

#[tokio::test]
async fn every_projects_files_are_listed_once_in_pages_of_the_size_that_was_asked() {
    let simulator = projects().await;
    let made = files(&simulator, 48).await;
    for labels in [Labels::Told, Labels::Untold] {
        let gateway = configured(&simulator, labels, "");
        for (query, size) in [("", 10), ("pageSize=7", 7), ("pageSize=100", 100), ("page_size=1", 1)] {
            let pages = pages(&gateway, &format!("{FILES}?{query}"), "files").await;
            let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
            let mut expected = vec![size; 48 / size];
            expected.extend(Some(48 % size).filter(|rest| *rest > 0));
            assert_eq!(sizes, expected, "{query}");
            let all = pages.concat();
            assert_eq!((set(&all), all.len()), (set(made.keys()), 48), "{query}");
        }
    }
}

#[tokio::test]
async fn a_merged_list_is_json_of_its_own_and_each_attempt_is_recorded() {
    let simulator = projects().await;
    files(&simulator, 10).await;
    simulator.reset();
    let gateway = shared(&simulator);
    let request = client().get(gateway.url(FILES)).header("x-goog-api-key", secret(0));
    let request = request.header("accept-encoding", "gzip, br").header("if-none-match", "\"x\"");
    let answer = request.header("x-client", "kept").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json; charset=UTF-8");
    for absent in ["content-encoding", "etag", "x-gemini-balance-unlisted"] {
        assert!(!answer.headers().contains_key(absent), "{absent}");
    }
    let asked = simulator.requests();
    assert_eq!(asked.len(), PROJECTS);
    for request in asked {
        assert_eq!((request.header("accept-encoding"), request.header("if-none-match")), (None, None));
        assert_eq!(request.header("x-client"), Some("kept"));
    }
    let attempts = gateway.transactions(1)[0]["attempts"].as_array().unwrap().clone();
    let on: BTreeSet<_> = attempts.iter().map(|attempt| attempt["key"].to_string()).collect();
    assert_eq!((attempts.len(), on.len()), (PROJECTS, PROJECTS), "{attempts:?}");
}

/// Between two pages files come and go: none is listed twice, and none that was there all the time is missing.
#[tokio::test]
async fn what_is_made_and_deleted_between_pages_neither_repeats_nor_hides_another() {
    for seed in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let simulator = projects().await;
        let gateway = shared(&simulator);
        let mut present = files(&simulator, 40).await;
        let mut stayed = set(present.keys());
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let size = rng.usize(1..12);
            let page = page(&gateway, &format!("{FILES}?pageSize={size}&pageToken={token}")).await;
            let listed = names(&page, "files", "name");
            assert!(listed.len() <= size, "seed {seed}");
            for name in &listed {
                assert!(present.contains_key(name), "seed {seed}: {name} was deleted before");
            }
            seen.extend(listed);
            let Some(next) = page["nextPageToken"].as_str() else { break };
            next.clone_into(&mut token);
            for n in 0..rng.usize(..4) {
                let project = rng.usize(..PROJECTS);
                present.insert(upload(&simulator, project, format!("later {n}")).await, project);
            }
            for _ in 0..rng.usize(..3) {
                let Some((name, project)) = rng.choice(present.clone()) else { continue };
                delete(&simulator, project, &name).await;
                present.remove(&name);
                stayed.remove(&name);
            }
        }
        assert_eq!(set(&seen).len(), seen.len(), "seed {seed}: something came twice");
        let missing: Vec<_> = stayed.difference(&set(&seen)).cloned().collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?}");
    }
}

#[tokio::test]
async fn a_project_that_fails_is_reported_in_its_own_words() {
    let simulator = projects().await;
    files(&simulator, 10).await;
    let gateway = shared(&simulator);
    let body =
        json!({"error": {"code": 400, "message": "not in this project", "status": "FAILED_PRECONDITION"}});
    let fault = Fault::Status { status: 400, headers: BTreeMap::new(), body: Some(body.clone()) };
    simulator.set_faults([Rule::new(fault).on_project("p2")]);
    let answer = get(&gateway, FILES).await;
    assert_eq!((answer.status().as_u16(), json_of(answer).await), (400, body));
    simulator.set_faults([Rule::new(Fault::google(GoogleError::SpendingCap)).on_project("p2")]);
    // The project rests for a day: found out by the first list, known to the second.
    for _ in 0..2 {
        let answer = get(&gateway, FILES).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-gemini-balance-unlisted"]),
            (200, &"1".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_reported_too() {
    let simulator = projects().await;
    let gateway = shared(&simulator);
    let fault = Fault::Status { status: 200, headers: BTreeMap::new(), body: Some(json!("<html>")) };
    simulator.set_faults([Rule::new(fault).on_project("p4")]);
    let answer = get(&gateway, FILES).await;
    assert_eq!(answer.status(), 502);
    assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("no page of this list"));
}

#[tokio::test]
async fn another_key_of_the_same_project_stands_in() {
    let simulator = projects().await;
    let made = files(&simulator, 20).await;
    let gateway = shared(&simulator);
    for project in 0..PROJECTS {
        assert!(simulator.set_key_state(&secret(2 * project), KeyState::Suspended));
    }
    for _ in 0..2 {
        let answer = get(&gateway, &format!("{FILES}?pageSize=100")).await;
        assert!(!answer.headers().contains_key("x-gemini-balance-unlisted"));
        assert_eq!(set(&names(&json_of(answer).await, "files", "name")), set(made.keys()));
    }
    assert!(simulator.wrong_owners().is_empty());
}

#[tokio::test]
async fn projects_without_a_usable_key_are_left_out_with_a_word() {
    let simulator = projects().await;
    let made = files(&simulator, 20).await;
    let gateway = shared(&simulator);
    for key in [2, 3, 6, 7] {
        assert!(simulator.set_key_state(&secret(key), KeyState::Invalid));
    }
    let left: BTreeSet<_> =
        made.iter().filter(|(_, project)| ![1, 3].contains(*project)).map(|(name, _)| name.clone()).collect();
    // Found out by the first list, known to the second.
    for _ in 0..2 {
        let answer = get(&gateway, &format!("{FILES}?pageSize=100")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["x-gemini-balance-unlisted"], "2");
        assert_eq!(set(&names(&json_of(answer).await, "files", "name")), left);
    }
    wait_for("a line that names the projects' keys", || {
        gateway.output().contains("a list without the projects of k2, k6").then_some(())
    });
    let calls = simulator.stats().by_key;
    assert!([2, 3, 6, 7].iter().all(|key| calls.get(&secret(*key)).is_none_or(|calls| *calls <= 5)));
    for key in 0..KEYS {
        assert!(simulator.set_key_state(&secret(key), KeyState::Invalid));
    }
    // Google's words while there are some, then the gateway's own.
    assert_eq!(get(&gateway, FILES).await.status(), 400);
    assert_eq!(get(&gateway, FILES).await.status(), 503);
}

/// Asks for an answer of a model's and says how that was answered.
async fn generate(gateway: &Gateway, body: &Value) -> u16 {
    let path = "/v1beta/models/gemini-2.5-flash:generateContent";
    let request = client().post(gateway.url(path)).header("x-goog-api-key", secret(0));
    request.body(body.to_string()).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_model_or_a_tool_that_cools_holds_no_list_up() {
    let plain = json!({"contents": [{"parts": [{"text": "hello"}]}]});
    let searching = json!({"contents": [{"parts": [{"text": "hello"}]}], "tools": [{"googleSearch": {}}]});
    for (error, body) in [
        (GoogleError::QuotaDay, &plain),
        (GoogleError::QuotaMinute, &plain),
        (GoogleError::ToolQuota, &searching),
    ] {
        let simulator = projects().await;
        let made = files(&simulator, 20).await;
        let gateway = shared(&simulator);
        simulator.set_faults([
            Rule::new(Fault::google(error)).on_path("/v1beta/models/gemini-2.5-flash:generateContent")
        ]);
        assert_eq!(generate(&gateway, body).await, 429);
        assert_eq!(generate(&gateway, body).await, 429, "all of them cool");
        let answer = get(&gateway, &format!("{FILES}?pageSize=100")).await;
        assert_eq!(answer.status(), 200, "{error:?}");
        assert!(answer.headers().get("x-gemini-balance-unlisted").is_none());
        assert_eq!(set(&names(&json_of(answer).await, "files", "name")).len(), made.len());
    }
}

#[tokio::test]
async fn projects_that_cool_are_left_out_with_a_word() {
    for state in [KeyState::ServiceDisabled, KeyState::Restricted] {
        let simulator = projects().await;
        let made = files(&simulator, 20).await;
        let gateway = shared(&simulator);
        for key in [4, 5] {
            assert!(simulator.set_key_state(&secret(key), state));
        }
        let left = made.iter().filter(|(_, project)| **project != 2).map(|(name, _)| name.clone());
        let left: BTreeSet<_> = left.collect();
        // Found out by the first list, known to the others.
        for _ in 0..3 {
            let answer = get(&gateway, &format!("{FILES}?pageSize=100")).await;
            assert_eq!(answer.status(), 200, "{state:?}");
            assert_eq!(answer.headers()["x-gemini-balance-unlisted"], "1");
            assert_eq!(set(&names(&json_of(answer).await, "files", "name")), left);
        }
        for key in 0..KEYS {
            assert!(simulator.set_key_state(&secret(key), state));
        }
        assert_eq!(get(&gateway, FILES).await.status(), 403, "{state:?}");
        // What is Google's word on a method is not held against a key for good.
        let again = if state == KeyState::Restricted { 403 } else { 429 };
        assert_eq!(get(&gateway, FILES).await.status(), again, "{state:?}");
    }
}

#[tokio::test]
async fn a_page_token_outlives_another_order_of_the_keys_and_a_key_more() {
    let simulator = projects().await;
    let made = files(&simulator, 40).await;
    let start = |keys: &[usize], labels: Labels| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, entries(keys, labels)).unwrap();
        let options = Options::new(&simulator.url(), 0).args(&["--config", file.to_str().unwrap()]);
        options.without_token().start()
    };
    for (labels, orders) in [
        (Labels::Told, [vec![2, 4, 6, 8, 0], vec![9, 0, 8, 1, 6, 3, 2, 4, 5, 7], (0..KEYS).rev().collect()]),
        (Labels::Untold, [vec![0, 2, 4, 6, 8], vec![8, 6, 4, 2, 0], vec![2, 8, 0, 6, 4]]),
    ] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        for turn in 0.. {
            let gateway = start(&orders[turn % orders.len()], labels);
            let page = json_of(
                client()
                    .get(gateway.url(&format!("{FILES}?pageSize=7&pageToken={token}")))
                    .header("x-goog-api-key", secret(2))
                    .send()
                    .await
                    .unwrap(),
            )
            .await;
            seen.extend(names(&page, "files", "name"));
            let Some(next) = page["nextPageToken"].as_str() else { break };
            next.clone_into(&mut token);
        }
        assert_eq!(seen.len(), made.len(), "nothing comes twice");
        assert_eq!(set(&seen), made.keys().cloned().collect());
    }
}

#[tokio::test]
async fn a_token_that_is_not_this_lists_is_refused() {
    let simulator = projects().await;
    files(&simulator, 20).await;
    let gateway = shared(&simulator);
    let token = page(&gateway, &format!("{FILES}?pageSize=3")).await["nextPageToken"].clone();
    let token = token.as_str().unwrap();
    simulator.reset();
    for path in [
        format!("{FILES}?pageToken=MTIz"),
        format!("{FILES}?pageToken={token}x"),
        format!("{FILES}?filter=x&pageToken={token}"),
        format!("/v1beta/cachedContents?pageToken={token}"),
        format!("{FILES}?pageSize=-1"),
        format!("{FILES}?pageSize=many"),
    ] {
        let answer = get(&gateway, &path).await;
        assert_eq!(answer.status(), 400, "{path}");
        assert_eq!(json_of(answer).await["error"]["status"], "INVALID_ARGUMENT", "{path}");
    }
    assert!(simulator.requests().is_empty(), "Google was asked");
}

#[tokio::test]
async fn a_caller_that_sees_its_own_is_not_shown_what_others_made() {
    let simulator = projects().await;
    files(&simulator, 60).await;
    let other = "all-seeing-token-11";
    let tokens = format!(
        "[[auth.tokens]]\nname = \"own\"\nsecret = \"{TOKEN}\"\n\
         [[auth.tokens]]\nname = \"all\"\nsecret = \"{other}\"\nresources = \"all\"\n"
    );
    let gateway = configured(&simulator, Labels::Told, &tokens);
    let answer = client().get(gateway.url(FILES)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), json_of(answer).await), (200, json!({})));
    let request = client().get(gateway.url(&format!("{FILES}?pageSize=100"))).header("x-goog-api-key", other);
    assert_eq!(names(&json_of(request.send().await.unwrap()).await, "files", "name").len(), 60);
}

#[tokio::test]
async fn batches_are_listed_on_both_surfaces() {
    let simulator = projects().await;
    let line = json!({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}]}});
    let mut made = BTreeSet::new();
    for n in 0..24 {
        let project = n % PROJECTS;
        let file = upload(&simulator, project, format!("{line}\n")).await;
        let body =
            json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        let request = bearer().post(format!("{}{BATCHES}", simulator.url())).body(body.to_string());
        let request = request.header("authorization", format!("Bearer {}", secret(2 * project)));
        made.insert(json_of(request.send().await.unwrap()).await["id"].as_str().unwrap().to_owned());
    }
    let gateway = shared(&simulator);
    let list = async |query: &str| {
        let request = bearer().get(gateway.url(&format!("{BATCHES}?{query}")));
        request.header("authorization", format!("Bearer {}", secret(0))).send().await.unwrap()
    };
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = json_of(list(&format!("limit=5{after}")).await).await;
        let ids = names(&page, "data", "id");
        assert_eq!((&page["first_id"], &page["last_id"]), (&json!(ids[0]), &json!(ids[ids.len() - 1])));
        assert_eq!(ids.len(), (made.len() - all.len()).min(5));
        after = format!("&after={}", ids[ids.len() - 1]);
        all.extend(ids);
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!((set(&all), all.len()), (made.clone(), 24));
    let native = pages(&gateway, "/v1beta/batches?pageSize=10", "operations").await.concat();
    assert_eq!((set(&native), native.len()), (made, 24));
    let refused = list("after=batches/gone").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(json_of(refused).await["error"]["type"], "invalid_request_error");
}

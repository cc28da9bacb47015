//! File search stores over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod wire;

use gemini_simulator::Simulator;
use serde_json::{Value, json};
use wire::*;

const BETA: &str = "AQ.Beta";
const STORES: &str = "/v1beta/fileSearchStores";

async fn send(sim: &Simulator, method: &str, target: &str, key: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(sim, method, target, &[("x-goog-api-key", key)], &body).await
}

async fn store(sim: &Simulator) -> String {
    let made = send(sim, "POST", STORES, KEY, &json!({"displayName": "My books"})).await.json();
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("fileSearchStores/my-books-"), "{name}");
    name.to_owned()
}

/// The document an operation ends with.
async fn wait(sim: &Simulator, operation: &Value) -> String {
    let target = format!("/v1beta/{}", operation["name"].as_str().unwrap());
    let refused = send(sim, "GET", &target, BETA, &Value::Null).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!(404)));
    for _ in 0..2 {
        assert_eq!(send(sim, "GET", &target, KEY, &Value::Null).await.json(), *operation);
    }
    let done = send(sim, "GET", &target, KEY, &Value::Null).await.json();
    assert_eq!(done["done"], true);
    done["response"]["documentName"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_uploaded_into_a_store() {
    let sim = simulator().await;
    let store = store(&sim).await;
    let target = format!("/upload/v1beta/{store}:uploadToFileSearchStore");
    let start = [
        ("X-Goog-Upload-Protocol", "resumable"),
        ("X-Goog-Upload-Command", "start"),
        ("X-Goog-Upload-Header-Content-Type", "text/plain"),
    ];
    let keyed = |key| [&[("x-goog-api-key", key)], &start[..]].concat();
    let metadata = json!({"displayName": "a book"}).to_string();
    let refused = call(&sim, "POST", &target, &keyed(BETA), &metadata).await;
    assert_eq!((refused.status, sim.stats().wrong_owner), (404, 1));
    let begun = call(&sim, "POST", &target, &keyed(KEY), &metadata).await;
    let url = begun.header("x-goog-upload-url").unwrap().strip_prefix("http://simulator").unwrap().to_owned();
    assert!(url.starts_with(&target), "{url}");
    let last = [("X-Goog-Upload-Command", "upload, finalize"), ("X-Goog-Upload-Offset", "0")];
    let operation = call(&sim, "POST", &url, &last, "once upon a time").await.json();
    assert!(operation["name"].as_str().unwrap().starts_with(&format!("{store}/upload/operations/")));
    let document = wait(&sim, &operation).await;
    let shown = send(&sim, "GET", &format!("/v1beta/{document}"), KEY, &Value::Null).await.json();
    assert_eq!((&shown["displayName"], &shown["sizeBytes"]), (&json!("a book"), &json!("16")));
    assert_eq!((&shown["state"], &shown["mimeType"]), (&json!("STATE_ACTIVE"), &json!("text/plain")));
    let media = format!("/v1beta/{}?alt=media", document.replace("/documents/", "/media/"));
    assert_eq!(send(&sim, "GET", &media, KEY, &Value::Null).await.text(), "once upon a time");
    assert_eq!(send(&sim, "GET", &media, BETA, &Value::Null).await.status, 404);
    let shown = send(&sim, "GET", &format!("/v1beta/{store}"), KEY, &Value::Null).await.json();
    assert_eq!(shown["activeDocumentsCount"], "1");
}

#[tokio::test]
async fn a_file_is_imported_listed_and_deleted_by_force() {
    let sim = simulator().await;
    let store = store(&sim).await;
    let headers = |key| [("x-goog-api-key", key), ("X-Goog-Upload-Protocol", "raw")];
    let file = call(&sim, "POST", "/upload/v1beta/files", &headers(KEY), "text").await.json();
    let strange = call(&sim, "POST", "/upload/v1beta/files", &headers(BETA), "text").await.json();
    let import = format!("/v1beta/{store}:importFile");
    let body = json!({"fileName": file["file"]["name"]});
    assert_eq!(send(&sim, "POST", &import, BETA, &body).await.status, 403, "the file is not its own");
    assert_eq!(
        send(&sim, "POST", &import, BETA, &json!({"fileName": strange["file"]["name"]})).await.status,
        404
    );
    assert_eq!(
        send(&sim, "POST", &import, KEY, &json!({"file_name": strange["file"]["name"]})).await.status,
        403
    );
    assert_eq!(sim.stats().wrong_owner, 3);
    let mut documents = Vec::new();
    for _ in 0..2 {
        let operation = send(&sim, "POST", &import, KEY, &body).await.json();
        assert!(operation["name"].as_str().unwrap().starts_with(&format!("{store}/operations/")));
        documents.insert(0, wait(&sim, &operation).await);
    }
    let listing = format!("/v1beta/{store}/documents");
    let listed = send(&sim, "GET", &listing, KEY, &Value::Null).await.json();
    let names: Vec<&str> =
        listed["documents"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, documents);
    assert_eq!(send(&sim, "GET", &listing, BETA, &Value::Null).await.status, 404);
    let operations =
        send(&sim, "GET", &format!("/v1beta/{store}/operations"), KEY, &Value::Null).await.json();
    assert_eq!(operations["operations"].as_array().unwrap().len(), 2);

    let document = format!("/v1beta/{}", documents[0]);
    let refused = send(&sim, "DELETE", &document, KEY, &Value::Null).await;
    assert_eq!((refused.status, &refused.json()["error"]["status"]), (400, &json!("FAILED_PRECONDITION")));
    assert_eq!(send(&sim, "DELETE", &format!("{document}?force=True"), KEY, &Value::Null).await.status, 200);
    assert_eq!(send(&sim, "GET", &document, KEY, &Value::Null).await.status, 404);
    let target = format!("/v1beta/{store}");
    assert_eq!(send(&sim, "DELETE", &target, KEY, &Value::Null).await.status, 400, "it is not empty");
    assert_eq!(send(&sim, "DELETE", &format!("{target}?force=true"), BETA, &Value::Null).await.status, 404);
    assert_eq!(send(&sim, "DELETE", &format!("{target}?force=true"), KEY, &Value::Null).await.status, 200);
    let left: Vec<String> = sim.resources().into_iter().map(|resource| resource.name).collect();
    assert!(left.iter().all(|name| name.starts_with("files/")), "{left:?}");
}

#[tokio::test]
async fn a_store_is_searched_by_its_project_alone() {
    let sim = simulator().await;
    let store = store(&sim).await;
    for (tool, names) in [("fileSearch", "fileSearchStoreNames"), ("file_search", "file_search_store_names")]
    {
        let mut body = hello();
        body["tools"] = json!([{tool: {names: [store]}}]);
        assert_eq!(native(&sim, FLASH, &body).await.status, 200);
        let refused = send(&sim, "POST", FLASH, BETA, &body).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]["message"]),
            (404, &json!("Requested entity was not found."))
        );
    }
    assert_eq!(sim.stats().wrong_owner, 2);
    let listed = send(&sim, "GET", STORES, KEY, &Value::Null).await.json();
    assert_eq!(listed["fileSearchStores"][0]["name"], store);
    assert_eq!(send(&sim, "GET", STORES, BETA, &Value::Null).await.json(), json!({}));
}

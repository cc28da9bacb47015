//! `/openapi.json` of the operator's listener: what each of its routes takes and answers. Open to everybody, since there is
//! nothing of the configuration in it. Each file beside this one describes the resources of a kind; a test compares them with
//! the route table, and the tests of the service with real answers.

mod changes;
mod keys;
mod operation;
mod page;
mod schema;
mod service;
mod tokens;
mod traffic;

use super::table::RouteTable;
use actix_web::HttpResponse;
use operation::ApiOperation;
use schema::{object, text};
use serde_json::{Map, Value, json};

const ABOUT: &str = "\
What the operator's page and the commands use. Everything wants the operator's token (`admin.token`) as `Authorization: Bearer`; \
a browser shows the session of the page instead, with the header `x-gemini-balance: 1` for what changes something. Times are \
RFC 3339; a span (`-24h`, `30d`) stands where a time is asked for. Money is in whole units of the price table's currency. No \
answer holds a key or a token, but for the one that has just made a token. `kept` in an answer says whether the change outlives the process. \
What changes something is a line of `logs/audit.log`, and is refused for a parameter in the query that it does not know. A GET may be asked as a HEAD. \
A method that a path does not know is a 405 with `Allow`; every error is `{\"error\": \"...\"}`.";

/// Adds the path.
pub(super) fn routes(table: &mut RouteTable) {
    table.get("/openapi.json", tell);
}

async fn tell() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

fn operations() -> Vec<ApiOperation> {
    let of_kinds = [
        keys::operations(),
        tokens::operations(),
        traffic::operations(),
        changes::operations(),
        service::operations(),
        page::operations(),
    ];
    of_kinds.into_iter().flatten().collect()
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        paths.entry(operation.path).or_insert_with(|| json!({}))[operation.method] = operation.written();
    }
    let refused = |words: &str| {
        json!({
            "description": words,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        })
    };
    let mut schemas =
        json!({ "Error": object(&[("error", schema::about(text(), "What is wrong, in one line."))]) });
    for (name, of_name) in keys::schemas()
        .into_iter()
        .chain(tokens::schemas())
        .chain(traffic::schemas())
        .chain(changes::schemas())
    {
        schemas[name] = of_name;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "gemini-balance, the operator's API", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "400": refused("A parameter in the query that is not known: nothing was changed."),
                "413": refused("The body is longer than this path takes."),
                "401": refused("No credential, or one that is not the operator's."),
                "403": refused("A page that is not the listener's own, or a session that has ended."),
            },
            "securitySchemes": {
                "operator": { "type": "http", "scheme": "bearer", "description": "The operator's token." },
                "metrics": { "type": "http", "scheme": "bearer", "description": "`metrics.token`, which opens nothing else." },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "gemini-balance-PORT",
                    "description": "The page's; under TLS its name begins with `__Host-`.",
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A path of the route table as OpenAPI writes it: without what a part has to look like.
    fn described(path: &str) -> String {
        path.replace("{file:.*}", "{file}")
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let table = crate::operator::routes().listed();
        // To ask for the head alone is HTTP's own.
        let routes: BTreeSet<_> = table
            .iter()
            .filter(|(method, _)| *method != actix_web::http::Method::HEAD)
            .map(|(method, path)| format!("{} {}", method.as_str().to_lowercase(), described(path)))
            .collect();
        let told: Vec<_> = operations().iter().map(|it| format!("{} {}", it.method, it.path)).collect();
        assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), routes);
        assert_eq!(told.len(), routes.len(), "one is described twice");
    }

    #[test]
    fn what_a_write_heeds_in_the_query_is_what_is_described() {
        for (path, heeded) in crate::operator::routes().heeded() {
            let writes =
                operations().into_iter().filter(|it| it.path == described(path) && it.method != "get");
            for operation in writes {
                let written = operation.written();
                let parameters = written["parameters"].as_array().cloned().unwrap_or_default();
                let told: Vec<_> =
                    parameters.iter().filter(|it| it["in"] == "query").map(|it| it["name"].clone()).collect();
                assert_eq!(told, heeded, "{} {path}", operation.method);
            }
        }
    }

    #[test]
    fn each_operation_has_the_parameters_of_its_path_and_an_answer_and_a_name_of_its_own() {
        let document = document();
        let mut ids = BTreeSet::new();
        for operation in operations() {
            let written = &document["paths"][operation.path][operation.method];
            let empty = Vec::new();
            let parameters = written["parameters"].as_array().unwrap_or(&empty);
            let told: BTreeSet<_> = parameters
                .iter()
                .filter(|it| it["in"] == "path")
                .map(|it| it["name"].as_str().unwrap().to_owned())
                .collect();
            let named =
                operation.path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned());
            assert_eq!(told, named.collect::<BTreeSet<_>>(), "{}", operation.path);
            let responses = written["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{}", operation.path);
            assert!(!written["tags"][0].as_str().unwrap().is_empty(), "{}", operation.path);
            assert!(ids.insert(written["operationId"].to_string()), "{}", written["operationId"]);
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let (document, mut wanted) = (document(), BTreeSet::new());
        collect(&document, &mut wanted);
        for kind in ["schemas", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(wanted.remove(&format!("#/components/{kind}/{name}")), "{name} is used nowhere");
            }
        }
        assert!(wanted.is_empty(), "{wanted:?}");
    }

    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(name)) = fields.get("$ref") {
                    found.insert(name.clone());
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
}

//! One operation of the document: how it is asked, what it answers, and with which errors.

use super::schema::{known, text};
use serde_json::{Map, Value, json};

/// See the module.
pub(super) struct ApiOperation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    tag: &'static str,
    access: Access,
    about: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Vec<(u16, Value)>,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The operator, by the token or by the page's session.
    Operator,
    /// Who has the metrics' token as well.
    Metrics,
    /// Answers whoever asks, without a credential.
    Open,
}

impl ApiOperation {
    fn new(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            summary,
            tag: "",
            access: Access::Operator,
            about: None,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
        }
    }

    pub(super) fn get(path: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, summary)
    }

    pub(super) fn post(path: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, summary)
    }

    pub(super) fn put(path: &'static str, summary: &'static str) -> Self {
        Self::new("put", path, summary)
    }

    pub(super) fn delete(path: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, summary)
    }

    /// Names the group that it stands in.
    pub(super) fn under(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    pub(super) fn open_to(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    pub(super) fn about(mut self, words: &'static str) -> Self {
        self.about = Some(words);
        self
    }

    /// Adds a part of the path.
    pub(super) fn at(self, name: &str, words: &str) -> Self {
        self.parameter(
            json!({ "name": name, "in": "path", "required": true, "description": words, "schema": text() }),
        )
    }

    /// Adds a parameter of the query.
    pub(super) fn asks(self, name: &str, words: &str) -> Self {
        self.parameter(json!({ "name": name, "in": "query", "description": words, "schema": text() }))
    }

    /// Adds the parameters of a list that lies in memory; `states` says which there are, where there are any.
    pub(super) fn asks_of_list(self, states: Option<&str>) -> Self {
        let asked = self.asks("q", "A part of the name, in any case.");
        let asked = match states {
            Some(states) => asked.asks("state", states),
            None => asked,
        };
        asked
            .asks("sort", "`name`, or `-name` for the other way round.")
            .asks("limit", "1 to 200; all where nothing is said.")
            .asks("cursor", "`next` of the page before.")
            .fails(400, "A parameter that is unknown or cannot be read.")
    }

    /// Adds a header.
    pub(super) fn heeds(self, name: &str, words: &str) -> Self {
        self.parameter(json!({ "name": name, "in": "header", "description": words, "schema": text() }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Adds a body in JSON.
    pub(super) fn takes(self, schema: Value) -> Self {
        self.takes_as("application/json", schema)
    }

    /// Adds a body of another kind.
    pub(super) fn takes_as(mut self, media_type: &str, schema: Value) -> Self {
        let body = self.body.get_or_insert_with(|| json!({ "content": {} }));
        body["content"][media_type] = Value::from_iter([("schema", schema)]);
        self
    }

    /// Adds an answer in JSON.
    pub(super) fn gives(self, status: u16, words: &str, schema: Value) -> Self {
        self.gives_as(status, words, &[("application/json", schema)])
    }

    /// Adds an answer of other kinds.
    pub(super) fn gives_as(mut self, status: u16, words: &str, kinds: &[(&str, Value)]) -> Self {
        let content: Map<String, Value> =
            kinds.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({ "schema": schema }))).collect();
        self.answers.push((status, json!({ "description": words, "content": content })));
        self
    }

    /// Adds an error, and when it comes.
    pub(super) fn fails(self, status: u16, words: &str) -> Self {
        self.gives(status, words, known("Error"))
    }

    /// Writes it down as OpenAPI has it.
    pub(super) fn written(&self) -> Value {
        let mut responses = Map::new();
        let refused = match self.access {
            Access::Open => &[][..],
            Access::Operator | Access::Metrics => &["401", "403"],
        };
        for status in refused {
            let name = format!("#/components/responses/{status}");
            responses.insert((*status).to_owned(), json!({ "$ref": name }));
        }
        for (status, answer) in &self.answers {
            responses.insert(status.to_string(), answer.clone());
        }
        let mut usual = |status: &str| {
            let name = format!("#/components/responses/{status}");
            responses.entry(status).or_insert_with(|| json!({ "$ref": name }));
        };
        if self.method != "get" {
            usual("400");
        }
        if self.body.is_some() {
            usual("413");
        }
        let mut written = json!({
            "operationId": self.id(),
            "tags": [self.tag],
            "summary": self.summary,
            "security": self.security(),
            "responses": responses,
        });
        if !self.parameters.is_empty() {
            written["parameters"] = self.parameters.clone().into();
        }
        if let Some(body) = &self.body {
            written["requestBody"] = body.clone();
        }
        if let Some(words) = self.about {
            written["description"] = words.into();
        }
        written
    }

    /// `GET /api/keys/{key}` is `getApiKeysKey`.
    fn id(&self) -> String {
        let mut id = self.method.to_owned();
        for part in
            self.path.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|part| !part.is_empty())
        {
            let (first, rest) = part.split_at(1);
            id.push_str(&first.to_ascii_uppercase());
            id.push_str(rest);
        }
        id
    }

    fn security(&self) -> Value {
        match self.access {
            Access::Open => json!([]),
            Access::Operator => json!([{ "operator": [] }, { "session": [] }]),
            Access::Metrics => json!([{ "metrics": [] }, { "operator": [] }, { "session": [] }]),
        }
    }
}

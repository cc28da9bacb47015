//! Projects whose lists change while a client pages through them, each as a server with tokens of its own kind, and the
//! client.

use std::collections::HashMap;

use gemini::listing::{BadPage, Form, Listing, ProjectTag, Step};
use percent_encoding::percent_decode_str;
use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Where the server lists it: the lowest first.
    pub(crate) key: i64,
    pub(crate) name: String,
    /// Seconds.
    pub(crate) time: Option<i64>,
    pub(crate) visible: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// The key of the last item given.
    Key,
    /// How many items were given.
    Offset,
}

#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) tag: String,
    /// In the order of their keys.
    pub(crate) items: Vec<Item>,
    pub(crate) tokens: Tokens,
    /// It gives no more than this, whatever it is asked.
    pub(crate) most: usize,
    /// Whether a full page has a token even if nothing follows.
    pub(crate) eager: bool,
}

impl Item {
    pub(crate) fn json(&self, form: Form) -> String {
        let Self { name, time, .. } = self;
        match (form, time) {
            (Form::Native, None) => format!(r#"{{ "name":"{name}", "x": 1.50e1 }}"#),
            (Form::Native, Some(time)) => format!(
                r#"{{ "name":"{name}", "createTime": "2026-01-{:02}T{:02}:{:02}:{:02}.5Z", "sizeBytes":"07\u0041" }}"#,
                1 + time / 86_400,
                time / 3_600 % 24,
                time / 60 % 60,
                time % 60
            ),
            (Form::OpenAi, None) => format!(r#"{{"id": "{name}"}}"#),
            (Form::OpenAi, Some(time)) => format!(r#"{{"id": "{name}", "created_at": {time} }}"#),
        }
    }
}

impl Project {
    pub(crate) fn insert(&mut self, item: Item) {
        let at = self.items.partition_point(|it| it.key < item.key);
        self.items.insert(at, item);
    }

    /// Answers as a project does.
    fn answer(&self, form: Form, query: &str) -> Vec<u8> {
        let parameters: HashMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        assert_eq!(parameters.get("filter"), Some(&"a%20b"), "{query}");
        assert!(!query.contains("key="), "{query}");
        let (size, from) = match form {
            Form::Native => (parameters["pageSize"], parameters.get("pageToken")),
            Form::OpenAi => (parameters["limit"], parameters.get("after")),
        };
        let from = from.map(|from| percent_decode_str(from).decode_utf8().unwrap().into_owned());
        let start = match (form, from) {
            (_, None) => 0,
            (Form::OpenAi, Some(id)) => {
                1 + self.items.iter().position(|it| it.name == id).expect("an id that is there")
            }
            (Form::Native, Some(token)) => {
                let (token_size, at) = token.strip_prefix("t+/=").unwrap().split_once(':').unwrap();
                assert_eq!(size, token_size, "a token is good for its own page size");
                let at: i64 = at.parse().unwrap();
                match self.tokens {
                    Tokens::Key => self.items.partition_point(|it| it.key <= at),
                    Tokens::Offset => (at as usize).min(self.items.len()),
                }
            }
        };
        let asked: usize = size.parse().unwrap();
        let end = (start + asked.min(self.most)).min(self.items.len());
        let page = &self.items[start..end];
        let items: Vec<_> = page.iter().map(|it| it.json(form)).collect();
        let more = end < self.items.len() || (self.eager && page.len() == asked.min(self.most));
        match form {
            Form::Native => {
                let list =
                    if items.is_empty() { None } else { Some(format!(r#""files":[{}]"#, items.join(" , "))) };
                let token = match self.tokens {
                    Tokens::Key => page.last().map(|it| it.key),
                    Tokens::Offset => Some(end as i64),
                };
                let token = token.filter(|_| more).map(|at| format!(r#""nextPageToken":"t+/={size}:{at}""#));
                format!("{{{}}}", list.into_iter().chain(token).collect::<Vec<_>>().join(", ")).into_bytes()
            }
            Form::OpenAi => format!(
                r#"{{"object":"list","data":[{}],"has_more":{more},"first_id":"x","last_id":"y"}}"#,
                items.join(",")
            )
            .into_bytes(),
        }
    }
}

/// One page of the client's.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) names: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) body: String,
    /// How often the most often asked project was asked.
    pub(crate) rounds: usize,
}

/// Asks the gateway for a page.
pub(crate) fn page(
    form: Form,
    projects: &[Project],
    size: usize,
    token: Option<&str>,
) -> Result<Page, BadPage> {
    let tags: Vec<_> = projects.iter().map(|project| ProjectTag::new(&project.tag)).collect();
    let (size_name, token_name) = match form {
        Form::Native => ("pageSize", "pageToken"),
        Form::OpenAi => ("limit", "after"),
    };
    let mut query = format!("{size_name}={size}&key=secret&filter=a%20b");
    if let Some(token) = token {
        query = format!("{token_name}={token}&{query}");
    }
    let mut listing = Listing::begin("files", form, Some(&query), &tags)?;
    let mut asked = vec![0; projects.len()];
    let body = loop {
        match listing.step() {
            Step::Ask(asks) => {
                assert!(!asks.is_empty());
                for ask in asks {
                    asked[ask.project] += 1;
                    let answer = projects[ask.project].answer(form, &ask.query);
                    listing.feed(ask.project, &answer).unwrap();
                }
            }
            Step::Judge(candidates) => {
                let seen: HashMap<_, _> = candidates
                    .into_iter()
                    .map(|it| {
                        let name = it.name.unwrap();
                        let items = &projects[it.project].items;
                        let visible = items.iter().any(|item| item.name == name && item.visible);
                        ((it.project, name), visible)
                    })
                    .collect();
                listing.judge(|project, name| seen[&(project, name.unwrap().to_owned())]);
            }
            Step::Done(body) => break String::from_utf8(body).unwrap(),
            Step::Refuse(bad) => return Err(bad),
        }
    };
    let json: Value = serde_json::from_str(&body).unwrap();
    let (list, name, token) = match form {
        Form::Native => (&json["files"], "name", json["nextPageToken"].as_str().map(str::to_owned)),
        Form::OpenAi => {
            let more = json["has_more"].as_bool().unwrap();
            (&json["data"], "id", json["last_id"].as_str().filter(|_| more).map(str::to_owned))
        }
    };
    let names: Vec<_> =
        list.as_array().into_iter().flatten().map(|it| it[name].as_str().unwrap().to_owned()).collect();
    if form == Form::OpenAi {
        assert_eq!(json["first_id"].as_str(), names.first().map(String::as_str), "{body}");
        assert_eq!(json["last_id"].as_str(), names.last().map(String::as_str), "{body}");
    }
    for name in &names {
        let item = projects.iter().flat_map(|project| &project.items).find(|it| it.name == *name).unwrap();
        assert!(body.contains(&item.json(form)), "{body} has not the bytes of {name}");
    }
    Ok(Page { names, token, body, rounds: asked.into_iter().max().unwrap_or(0) })
}

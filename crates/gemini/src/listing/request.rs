//! What a client asks of a list: which collection, how many items, from where on; and the queries by which the projects
//! are asked for theirs. What is known of Google's collections (their order, their page sizes) is here.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use twox_hash::XxHash3_64;

use super::{BadPage, Form};
use crate::operation::Ownership;
use crate::path::{Surface, Target};
use crate::query;

/// What a query's value may hold as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most items that a project is asked for at once. Every documented maximum but those of [`Request::most`] is higher.
pub(super) const MOST_ASKED: usize = 100;
/// The fewest: where a caller sees few of many items, small pages would take many rounds.
const FEWEST_ASKED: usize = 20;
/// How many items of all projects' pages together a token can remember one by one.
const REMEMBERED: usize = 400;
/// Below this the rounds for one client's page would be too many, however many the projects.
const LEAST_ASKED: usize = 8;

/// Whether a request lists what projects own, so that its answer is one list of theirs all, and in which form. A GET of
/// a known collection's name alone, or of all operations of a model. `None` of `models`, which are
/// nobody's, and of what lies within a resource, which has one owner.
pub fn merges(method: &str, target: &Target) -> Option<Form> {
    if method != "GET" {
        return None;
    }
    let operation = &target.operation;
    let resource = operation.resource.as_ref()?;
    let name = resource.as_str();
    let alone = name == resource.collection();
    let verb = operation.verb.as_ref().map(crate::operation::Verb::as_str);
    match target.surface {
        Surface::Native if name == "$discovery/rest" => None,
        Surface::Native => {
            let of_model = name
                .strip_prefix("models/")
                .and_then(|rest| rest.strip_suffix("/operations"))
                .is_some_and(|model| !model.is_empty() && !model.contains('/'));
            let lists = (verb.is_none() && (alone || of_model)) || (alone && verb == Some("list"));
            // What is not known to be a list may be a typing error, which is no project's business.
            (lists && operation.ownership != Ownership::Unknown).then_some(Form::Native)
        }
        Surface::OpenAi => {
            let bound = operation.ownership == Ownership::Bound;
            (alone && bound && verb.is_none()).then_some(Form::OpenAi)
        }
        Surface::Upload | Surface::Download | Surface::Live => None,
    }
}

/// In which direction the projects' lists are merged. No project's own order is changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

/// What the client asks.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) form: Form,
    pub(super) order: Order,
    /// How many items its page may have.
    pub(super) size: usize,
    /// `pageToken`, or the id that follows `after`.
    pub(super) from: Option<String>,
    /// What a token is good for: this list under these filters.
    pub(super) binding: u64,
    /// The member in which a native answer names its continuation, until a page shows it.
    pub(super) token_name: &'static str,
    /// The parameters that go upstream as they came.
    others: String,
    size_name: &'static str,
    from_name: &'static str,
}

impl Request {
    pub(super) fn read(collection: &str, form: Form, raw_query: Option<&str>) -> Result<Self, BadPage> {
        let kind = collection.rsplit('/').next().unwrap_or(collection);
        let clean = raw_query.and_then(query::without_credentials).unwrap_or_default();
        // Google's generated surfaces of 2026 are written in snake case, all others in camel case; a client that says
        // one or the other is followed.
        let mut snake = matches!(
            kind,
            "agents" | "credentials" | "environments" | "interactions" | "triggers" | "voices" | "webhooks"
        );
        let token_name = if snake { "next_page_token" } else { "nextPageToken" };
        let (mut size, mut from, mut ascending) = (None, None, false);
        let mut others = String::with_capacity(clean.len());
        for pair in clean.split('&').filter(|pair| !pair.is_empty()) {
            let name = query::name_of(pair);
            let value = || query::values(pair, |_| true).next().unwrap_or_default();
            match (form, name.trim_start_matches('$')) {
                (Form::Native, it @ ("pageSize" | "page_size")) => {
                    snake = it == "page_size";
                    size = Some(value().into_owned());
                }
                (Form::Native, it @ ("pageToken" | "page_token")) => {
                    snake = it == "page_token";
                    from = Some(value().into_owned());
                }
                (Form::OpenAi, "limit") => size = Some(value().into_owned()),
                (Form::OpenAi, "after") => from = Some(value().into_owned()),
                (_, it) => {
                    ascending |= form == Form::OpenAi && it == "order" && value() == "asc";
                    if !others.is_empty() {
                        others.push('&');
                    }
                    others.push_str(pair);
                }
            }
        }
        let (size_name, from_name) = match form {
            Form::OpenAi => ("limit", "after"),
            Form::Native if snake => ("page_size", "page_token"),
            Form::Native => ("pageSize", "pageToken"),
        };
        // Only these two lists are documented to be in an order, and it is this one; of the others nothing is said.
        let ascending = ascending || matches!(kind, "fileSearchStores" | "corpora");
        let seed = XxHash3_64::oneshot_with_seed(form as u64, collection.as_bytes());
        Ok(Self {
            form,
            order: if ascending { Order::OldestFirst } else { Order::NewestFirst },
            size: page_size(kind, form, size.as_deref())?,
            from: from.filter(|from| !from.is_empty()),
            binding: XxHash3_64::oneshot_with_seed(seed, others.as_bytes()),
            token_name,
            others,
            size_name,
            from_name,
        })
    }

    /// How many items each of so many projects is asked for at once.
    pub(super) fn share(&self, kind: &str, projects: usize) -> usize {
        let most = most(kind, self.form).min(MOST_ASKED);
        match self.form {
            // It is read from its start, and nothing is remembered.
            Form::OpenAi if self.from.is_some() => most,
            Form::OpenAi => self.size.clamp(FEWEST_ASKED, most),
            Form::Native => {
                let share = (REMEMBERED / projects.max(1)).max(LEAST_ASKED);
                self.size.clamp(FEWEST_ASKED, most).min(share)
            }
        }
    }

    /// The query for a project's page.
    pub(super) fn upstream(&self, share: usize, from: Option<&str>) -> String {
        let and = if self.others.is_empty() { "" } else { "&" };
        let mut query = format!("{}{and}{}={share}", self.others, self.size_name);
        if let Some(from) = from {
            query.push('&');
            query.push_str(self.from_name);
            query.push('=');
            query.extend(utf8_percent_encode(from, VALUE));
        }
        query
    }
}

/// The most items that Google gives at once; it is documented to take more for this many (`generative_service.proto`,
/// `file_service.proto`, `retriever_service.proto`; OpenAI's reference).
fn most(kind: &str, form: Form) -> usize {
    match (form, kind) {
        (Form::Native, "fileSearchStores" | "corpora") => 20,
        (Form::OpenAi, _) | (Form::Native, "files") => 100,
        (Form::Native, _) => 1000,
    }
}

fn page_size(kind: &str, form: Form, asked: Option<&str>) -> Result<usize, BadPage> {
    let asked = match asked {
        None | Some("") => 0,
        Some(asked) => asked.parse::<i32>().map_err(|_| BadPage::Size)?,
    };
    let default = match (form, kind) {
        (Form::OpenAi, _) => 20,
        (Form::Native, "files" | "fileSearchStores" | "corpora" | "tunedModels") => 10,
        // Of those that say nothing Google may choose; 50 is what it documents of `environments`.
        (Form::Native, _) => 50,
    };
    match usize::try_from(asked).map_err(|_| BadPage::Size)? {
        0 => Ok(default),
        size => Ok(size.min(most(kind, form))),
    }
}

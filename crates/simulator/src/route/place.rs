//! Where in the tree of resources a native path points, and what is to be done there.

use http::Method;

use super::kind::Kind;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    List,
    Create,
    Get,
    Delete,
    Patch,
    /// `:download`, `:cancel` ...
    Verb(String),
}

/// A path below the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// Of the collection to list or to create in, else of the resource.
    pub(crate) name: String,
    pub(crate) act: Act,
}

/// Where an upload's bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Files,
    /// The store's name.
    Store(String),
    /// `environments/E/files/PATH`.
    Environment(String),
}

impl Target {
    /// From the path below `/upload/{v}/`.
    pub(crate) fn of(method: &Method, rest: &str) -> Option<Self> {
        let writes = method == Method::POST || method == Method::PUT;
        if rest == "files" && writes {
            return Some(Self::Files);
        }
        if let Some(store) = rest.strip_suffix(":uploadToFileSearchStore")
            && Kind::of(store.split('/').next()?) == Some(Kind::Store)
            && writes
        {
            return Some(Self::Store(store.to_owned()));
        }
        let (environment, path) = rest.strip_prefix("environments/")?.split_once("/files/")?;
        (writes && !environment.is_empty() && !path.is_empty()).then(|| Self::Environment(rest.to_owned()))
    }

    /// As it stands in the path of an upload URL.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Files => "files".to_owned(),
            Self::Store(store) => format!("{store}:uploadToFileSearchStore"),
            Self::Environment(path) => path.clone(),
        }
    }
}

impl Place {
    /// From the path below `/{v}/`; none if there is nothing, or nothing that is done so.
    pub(crate) fn of(method: &Method, rest: &str) -> Option<Self> {
        let kind = Kind::of(rest.split(['/', ':']).next()?)?;
        if kind == Kind::Video {
            return None;
        }
        if kind == Kind::Environment && rest.split('/').nth(2) == Some("files") {
            return environment_file(method, rest);
        }
        let (path, verb) = match rest.rsplit_once(':') {
            Some((path, verb)) if !verb.contains('/') => (path, Some(verb)),
            _ => (rest, None),
        };
        let mut name = path.to_owned();
        let mut verb = verb.map(str::to_owned);
        let mut segments: Vec<&str> = path.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        // An operation of an upload has a longer collection than others.
        if kind == Kind::Store && segments.get(2..4) == Some(&["upload", "operations"]) {
            segments.remove(2);
        }
        // `interactions/ID/cancel`: a verb in the way of the modern resources.
        if kind.modern()
            && let [_, _, last] = segments[..]
            && last != "executions"
        {
            if verb.is_some() || method != Method::POST {
                return None;
            }
            verb = Some(last.to_owned());
            name.truncate(name.len() - last.len() - 1);
            segments.pop();
        }
        let item = segments.len().is_multiple_of(2);
        let act = act(kind, method, item, verb)?;
        // Models themselves are not owned: what is, are their operations and what their verbs make.
        let of_model = kind == Kind::Operation
            && match &act {
                Act::Verb(verb) if segments.len() == 2 => !matches!(
                    verb.as_str(),
                    "predictLongRunning" | "batchGenerateContent" | "asyncBatchEmbedContent"
                ),
                _ => segments.get(2) != Some(&"operations"),
            };
        (!of_model).then_some(Self { kind, name, act })
    }

    /// The model the path names, without `models/`.
    pub(crate) fn model(&self) -> Option<&str> {
        let model = self.name.strip_prefix("models/")?;
        (matches!(self.act, Act::Verb(_)) && !model.contains('/')).then_some(model)
    }
}

fn act(kind: Kind, method: &Method, item: bool, verb: Option<String>) -> Option<Act> {
    Some(match (method.as_str(), item, verb) {
        ("GET", false, None) => Act::List,
        ("POST", false, None) => Act::Create,
        ("GET", false, Some(verb)) if verb == "list" => Act::List,
        ("POST", false, Some(verb)) if verb == "create" => Act::Create,
        ("POST", false, Some(verb)) if verb == "register" && kind == Kind::File => Act::Verb(verb),
        ("GET", true, None) => Act::Get,
        ("DELETE", true, None) => Act::Delete,
        ("PATCH", true, _) => Act::Patch,
        // The modern resources are changed by POST as well.
        ("POST", true, None) if kind.modern() => Act::Patch,
        ("GET" | "POST", true, Some(verb)) => Act::Verb(verb),
        _ => return None,
    })
}

/// Paths of files may hold anything, so they are not taken apart.
fn environment_file(method: &Method, path: &str) -> Option<Place> {
    let file = path.splitn(4, '/').nth(3).is_some_and(|file| !file.is_empty());
    let act = match (method.as_str(), file) {
        ("GET", true) => Act::Get,
        ("GET", false) => Act::List,
        ("DELETE", true) => Act::Delete,
        _ => return None,
    };
    Some(Place { kind: Kind::Environment, name: path.trim_end_matches('/').to_owned(), act })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(method: &Method, path: &str) -> Option<(String, Act)> {
        Place::of(method, path).map(|place| (place.name, place.act))
    }

    #[test]
    fn names_of_every_shape_are_found() {
        let verb = |verb: &str| Act::Verb(verb.to_owned());
        let get = Method::GET;
        let post = Method::POST;
        let cases = [
            (&get, "files", "files", Act::List),
            (&get, "files/a", "files/a", Act::Get),
            (&get, "files/a:download", "files/a", verb("download")),
            (&post, "files:register", "files", verb("register")),
            (&Method::PATCH, "batches/b:updateGenerateContentBatch", "batches/b", Act::Patch),
            (&post, "models/m:predictLongRunning", "models/m", verb("predictLongRunning")),
            (&get, "models/m/operations", "models/m/operations", Act::List),
            (&get, "models/m/operations/o", "models/m/operations/o", Act::Get),
            (&get, "fileSearchStores/s/documents/d", "fileSearchStores/s/documents/d", Act::Get),
            (
                &get,
                "fileSearchStores/s/upload/operations/o",
                "fileSearchStores/s/upload/operations/o",
                Act::Get,
            ),
            (&post, "interactions/i/cancel", "interactions/i", verb("cancel")),
            (&get, "triggers/t/executions", "triggers/t/executions", Act::List),
            (&get, "environments/e/files/a/b:c", "environments/e/files/a/b:c", Act::Get),
            (&post, "environments:create", "environments", Act::Create),
        ];
        for (method, path, name, act) in cases {
            assert_eq!(place(method, path), Some((name.to_owned(), act)), "{method} {path}");
        }
        for (method, path) in [
            (&get, "models/m"),
            (&get, "models"),
            (&post, "models/m:generateContent"),
            (&post, "models/m:dream"),
            (&get, "files/"),
            (&get, "moons/m"),
            (&Method::PUT, "files/a"),
        ] {
            assert_eq!(place(method, path), None, "{method} {path}");
        }
    }
}

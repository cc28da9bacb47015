//! Tool names: Google's rules for them, and the table for the way back. A name is changed only where Google would refuse
//! it; the tools of a namespace get both names in one. One table a request; its answer is translated with it.

use std::borrow::Cow;
use std::collections::HashMap;

use twox_hash::XxHash3_64;

/// The longest name that every model takes. Google's SDK of 2026 says 128, its older pages 64.
const MAX_TOOL_NAME_BYTES: usize = 64;

/// What of a longer name stays, before a hash of all of it.
const KEPT_BYTES: usize = 50;

/// Between a namespace and the name of a tool in it.
const JOINT: &str = "__";

/// What models write before a name although nobody declared it so.
const LEAKED: [&str; 2] = ["default_api:", "default_api."];

/// A tool as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTool {
    /// The namespace it is in (Responses).
    pub namespace: Option<String>,
    /// Its name as the client declared it.
    pub name: String,
    /// What its calls look like.
    pub form: ClientToolForm,
}

/// What a client's tool is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientToolForm {
    /// Its arguments are a JSON object.
    Function,
    /// A text (Responses); declared to Google as a function of one string, `input`.
    Custom,
}

impl ClientTool {
    /// A function without a namespace.
    pub fn function(name: &str) -> Self {
        Self { namespace: None, name: name.to_owned(), form: ClientToolForm::Function }
    }

    /// The name with its namespace.
    fn joined(&self) -> Cow<'_, str> {
        joined(self.namespace.as_deref(), &self.name)
    }
}

/// The tools of a request: their names there and here.
#[derive(Clone, Debug, Default)]
pub struct NameTable {
    tools: Vec<(String, ClientTool)>,
    by_google: HashMap<String, usize>,
    by_client: HashMap<(Option<String>, String), usize>,
}

impl NameTable {
    /// A table of all tools of a request, in their order. The error is the place of a tool whose namespace and name are
    /// another's too.
    pub fn of(tools: impl IntoIterator<Item = ClientTool>) -> Result<Self, usize> {
        let mut table = Self::default();
        for (place, tool) in tools.into_iter().enumerate() {
            if table.by_client.insert((tool.namespace.clone(), tool.name.clone()), place).is_some() {
                return Err(place);
            }
            table.tools.push((String::new(), tool));
        }
        // Names that may stay come first, so that none has to give way to one that is changed.
        for must_change in [false, true] {
            for place in 0..table.tools.len() {
                let wanted = table.tools[place].1.joined().into_owned();
                let fitting = fitting(&wanted);
                if (fitting != wanted) != must_change {
                    continue;
                }
                let mut name = fitting.into_owned();
                // `a` in the namespace `b` and the plain tool `b__a`, or two that differ in a character that is lost.
                let mut round = 0_u32;
                while table.by_google.contains_key(&name) {
                    name = hashed(&wanted, &format!("{wanted}\u{0}{place}\u{0}{round}"));
                    round += 1;
                }
                table.by_google.insert(name.clone(), place);
                table.tools[place].0 = name;
            }
        }
        Ok(table)
    }

    /// Google's name of the tool at a place of the list that the table was made of.
    pub fn at(&self, place: usize) -> Option<&str> {
        self.tools.get(place).map(|(name, _)| name.as_str())
    }

    /// Google's name for a client's: the declared tool's, else one that Google takes (a history may have calls of tools
    /// that are gone).
    pub fn google_name<'a>(&'a self, namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
        // The usual case needs no copy of the name.
        if namespace.is_none()
            && let Some(&place) = self.by_google.get(name)
            && self.tools[place].1.namespace.is_none()
            && self.tools[place].1.name == name
        {
            return Cow::Borrowed(name);
        }
        match self.by_client.get(&(namespace.map(ToOwned::to_owned), name.to_owned())) {
            Some(&place) => Cow::Borrowed(&self.tools[place].0),
            None => Cow::Owned(fitting(&joined(namespace, name)).into_owned()),
        }
    }

    /// Whether the client has declared a tool of this name.
    pub fn declares(&self, namespace: Option<&str>, name: &str) -> bool {
        self.by_client.contains_key(&(namespace.map(ToOwned::to_owned), name.to_owned()))
    }

    /// The tool that the model means: by Google's name, without a prefix that models let slip in, or in another case.
    /// `None` for a name that nobody declared.
    pub fn client_tool(&self, google_name: &str) -> Option<&ClientTool> {
        let bare = LEAKED.iter().find_map(|leaked| google_name.strip_prefix(leaked));
        let exact = |name: &str| self.by_google.get(name).map(|&place| &self.tools[place].1);
        if let Some(tool) = exact(google_name).or_else(|| bare.and_then(exact)) {
            return Some(tool);
        }
        let bare = bare.unwrap_or(google_name);
        let mut alike = self.tools.iter().filter(|(name, _)| name.eq_ignore_ascii_case(bare));
        match (alike.next(), alike.next()) {
            (Some((_, tool)), None) => Some(tool),
            _ => None,
        }
    }

    /// Whether there is no tool.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }
}

fn joined<'a>(namespace: Option<&str>, name: &'a str) -> Cow<'a, str> {
    match namespace {
        Some(namespace) => Cow::Owned(format!("{namespace}{JOINT}{name}")),
        None => Cow::Borrowed(name),
    }
}

/// A name that Google takes: `[A-Za-z_][A-Za-z0-9_.:-]*`, not too long. The same for the same name, always.
fn fitting(name: &str) -> Cow<'_, str> {
    let is_start_fit = name.starts_with(is_fit_at_start);
    if is_start_fit && name.len() <= MAX_TOOL_NAME_BYTES && name.chars().all(is_fit) {
        return Cow::Borrowed(name);
    }
    let mut fitting = String::with_capacity(name.len() + 1);
    if !is_start_fit {
        fitting.push('_');
    }
    fitting.extend(name.chars().map(|letter| if is_fit(letter) { letter } else { '_' }));
    Cow::Owned(if fitting.len() > MAX_TOOL_NAME_BYTES { hashed(&fitting, name) } else { fitting })
}

/// The start of a name and a hash of `whole`.
fn hashed(name: &str, whole: &str) -> String {
    let hash = XxHash3_64::oneshot(whole.as_bytes()) & 0xffff_ffff_ffff;
    format!("{}_{hash:012x}", fitting_start(name))
}

fn fitting_start(name: &str) -> String {
    let mut start: String =
        name.chars().map(|letter| if is_fit(letter) { letter } else { '_' }).take(KEPT_BYTES).collect();
    if !start.starts_with(is_fit_at_start) {
        start.insert(0, '_');
    }
    start
}

fn is_fit(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | ':' | '-')
}

fn is_fit_at_start(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_googles(name: &str) -> bool {
        name.len() <= 64
            && name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
    }

    #[test]
    fn a_name_is_changed_only_where_it_must_be() {
        let long = format!("mcp__{}", "x".repeat(90));
        let table = NameTable::of(["Bash", "3d-x", "a b", "a_b", &long].map(ClientTool::function)).unwrap();
        assert_eq!(table.at(0), Some("Bash"));
        assert_eq!(table.at(1), Some("_3d-x"));
        assert!(table.at(2).unwrap().starts_with("a_b_"), "the plain name keeps it");
        assert_eq!(table.at(3), Some("a_b"));
        assert!(table.at(4).unwrap().starts_with(&long[..50]));
        assert!(is_googles(table.at(4).unwrap()));
        assert_eq!(table.client_tool(table.at(4).unwrap()).unwrap().name, long);
        assert_eq!(table.google_name(None, "a b"), table.at(2).unwrap());
        assert_eq!(table.google_name(None, "gone tool"), "gone_tool");
    }

    #[test]
    fn a_namespace_comes_back_apart_from_the_name() {
        let spawn = ClientTool {
            namespace: Some("multi_agent_v1".to_owned()),
            name: "spawn".to_owned(),
            form: ClientToolForm::Function,
        };
        let table = NameTable::of([spawn.clone(), ClientTool::function("multi_agent_v1__spawn")]).unwrap();
        let names = [table.at(0).unwrap(), table.at(1).unwrap()];
        assert_ne!(names[0], names[1]);
        assert_eq!(table.client_tool(names[0]), Some(&spawn));
        assert_eq!(table.client_tool(names[1]).unwrap().namespace, None);
        assert_eq!(table.google_name(Some("multi_agent_v1"), "spawn"), names[0]);
        assert_eq!(table.google_name(None, "multi_agent_v1__spawn"), names[1]);
    }

    #[test]
    fn a_slip_of_the_models_still_finds_the_tool() {
        let table = NameTable::of(["Read", "Write", "write"].map(ClientTool::function)).unwrap();
        assert_eq!(table.client_tool("default_api:Read").unwrap().name, "Read");
        assert_eq!(table.client_tool("default_api.read").unwrap().name, "Read");
        assert_eq!(table.client_tool("WRITE"), None, "two are meant");
        assert_eq!(table.client_tool("Delete"), None);
    }

    #[test]
    fn a_tool_that_is_declared_twice_is_told() {
        assert_eq!(NameTable::of(["a", "b", "a"].map(ClientTool::function)).unwrap_err(), 2);
    }

    proptest! {
        #[test]
        fn any_tools_have_distinct_names_that_google_takes_and_lead_back(
            names in proptest::collection::hash_set("[ab]{0,2}[ _.é-]{0,2}[0-9a]{0,2}|[a-z/]{60,70}", 0..12),
            namespace in proptest::option::of("[a ]{1,2}"),
        ) {
            let tool = |name: &String| ClientTool {
                namespace: namespace.clone(), name: name.clone(), form: ClientToolForm::Custom,
            };
            let tools: Vec<_> = names.iter().map(tool).chain(names.iter().map(|name| ClientTool {
                namespace: None, ..tool(name)
            }).filter(|_| namespace.is_some())).collect();
            let table = NameTable::of(tools.clone()).unwrap();
            for (place, tool) in tools.iter().enumerate() {
                let name = table.at(place).unwrap();
                prop_assert!(is_googles(name), "{}", name);
                prop_assert_eq!(table.client_tool(name), Some(tool));
                prop_assert_eq!(table.google_name(tool.namespace.as_deref(), &tool.name), name);
            }
        }
    }
}

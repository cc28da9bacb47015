//! The tools of a request: what it declares in `tools` and within its input, as functions of Google's and as the names of
//! the way back. Tools that OpenAI would run itself are refused, but for those that clients name unasked, which give way
//! to functions. What of them may be called is `choice`'s business.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::reader::{FieldWay, ObjectReader, list_of};
use crate::error::TranslationError;
use crate::gemini::{FunctionDeclaration, SearchWishes, place_of};
use crate::json::{JsonStr, RawObject, as_str, raw_of};
use crate::names::{ClientTool, ClientToolForm, NameTable};
use crate::schema::{no_arguments, tool_schema};

/// The most tools a request may declare, those in namespaces included. Google refuses far fewer.
const MAX_TOOLS: usize = 2_048;

/// All tools of a request, as far as they are read.
#[derive(Debug, Default)]
pub(super) struct ToolCatalog<'a> {
    functions: Vec<DeclaredTool<'a>>,
    /// Whether there is a search of the web.
    pub(super) web_search: bool,
    /// What is wanted of it; of several searches the last one's.
    pub(super) wishes: SearchWishes<'a>,
    /// The first tool that is left out beside others: where it is, and its type.
    left_out: Option<TranslationError>,
}

#[derive(Debug)]
struct DeclaredTool<'a> {
    client: ClientTool,
    description: Cow<'a, str>,
    schema: Cow<'a, RawValue>,
    strict: bool,
}

/// Reads what is wanted of a search.
fn wishes<'a>(search: ObjectReader<'_, 'a, '_>) -> Result<SearchWishes<'a>, TranslationError> {
    let filters = search.object("filters")?.unwrap_or_default();
    let domains = |name: &str| -> Vec<Cow<'a, str>> {
        let list = filters.get(name).and_then(list_of).unwrap_or_default();
        list.into_iter().filter_map(|domain| as_str(domain).map(JsonStr::into_inner)).collect()
    };
    Ok(SearchWishes {
        allowed: domains("allowed_domains"),
        blocked: domains("blocked_domains"),
        place: place_of(search.raw("user_location")),
    })
}

/// Where tools are declared, which decides what a second one of a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolSource {
    /// `tools`: a second one is a mistake.
    Request,
    /// An item of the input: the later one counts.
    Item,
}

impl<'a> ToolCatalog<'a> {
    /// Reads a list of tools.
    pub(super) fn read(
        &mut self,
        tools: &[RawObject<'a>],
        way: FieldWay<'_>,
        source: ToolSource,
    ) -> Result<(), TranslationError> {
        let mut tools = tools.iter().enumerate();
        tools.try_for_each(|(index, tool)| self.read_tool(ObjectReader::new(tool, way.index(index)), source))
    }

    fn read_tool(
        &mut self,
        tool: ObjectReader<'_, 'a, '_>,
        source: ToolSource,
    ) -> Result<(), TranslationError> {
        let kind = tool.required_text("type")?;
        match &*kind {
            "function" => self.declare(function(tool, None)?, tool.way, source),
            "custom" => self.declare(custom(tool, None)?, tool.way, source),
            "namespace" => self.read_namespace(tool, source),
            search if is_web_search(search) => {
                self.web_search = true;
                self.wishes = wishes(tool)?;
                Ok(())
            }
            "tool_search" | "image_generation" => {
                self.left_out.get_or_insert_with(|| not_served(tool, &kind));
                Ok(())
            }
            _ => Err(not_served(tool, &kind)),
        }
    }

    fn read_namespace(
        &mut self,
        namespace: ObjectReader<'_, 'a, '_>,
        source: ToolSource,
    ) -> Result<(), TranslationError> {
        let name = namespace.filled_text("name")?;
        let mut about = namespace.text("description")?.filter(|about| !about.is_empty());
        let list = namespace.way.member("tools");
        for (index, tool) in namespace.objects("tools")?.unwrap_or_default().iter().enumerate() {
            let way = list.index(index);
            let tool = ObjectReader::new(tool, way);
            let kind = tool.required_text("type")?;
            let mut declared = match &*kind {
                "function" => function(tool, Some(&name))?,
                "custom" => custom(tool, Some(&name))?,
                _ => return Err(not_served(tool, &kind)),
            };
            // Google knows no namespaces: what this one is for is said once, where the model meets it first.
            if let Some(about) = about.take() {
                let own = &declared.description;
                declared.description = format!("(Tools of `{name}`: {about})\n\n{own}").into();
            }
            self.declare(declared, way, source)?;
        }
        Ok(())
    }

    fn declare(
        &mut self,
        tool: DeclaredTool<'a>,
        way: FieldWay<'_>,
        source: ToolSource,
    ) -> Result<(), TranslationError> {
        // `NameTable` would find twins too, but could not say where they are.
        let twin = self.functions.iter().position(|other| {
            other.client.name == tool.client.name && other.client.namespace == tool.client.namespace
        });
        match twin {
            Some(_) if source == ToolSource::Request => {
                return Err(way.member("name").invalid("is the name of another tool too"));
            }
            Some(twin) => self.functions[twin] = tool,
            None if self.functions.len() == MAX_TOOLS => {
                return Err(way.invalid(format!("is one more than the {MAX_TOOLS} tools that are taken")));
            }
            None => self.functions.push(tool),
        }
        Ok(())
    }

    /// The error of a tool that was left out although there is nothing beside it.
    pub(super) fn check_left_out(&mut self) -> Result<(), TranslationError> {
        match self.left_out.take() {
            Some(error) if self.functions.is_empty() && !self.web_search => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether there is a function.
    pub(super) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Whether a function wants its arguments by its schema to the letter.
    pub(super) fn is_strict(&self) -> bool {
        self.functions.iter().any(|tool| tool.strict)
    }

    /// The names of all functions, there and here.
    pub(super) fn names(&self) -> NameTable {
        // There are no twins.
        NameTable::of(self.functions.iter().map(|tool| tool.client.clone())).unwrap_or_default()
    }

    /// Google's names of the functions in a namespace.
    pub(super) fn in_namespace<'n>(
        &self,
        namespace: &str,
        names: &'n NameTable,
    ) -> impl Iterator<Item = &'n str> {
        let inside = self
            .functions
            .iter()
            .enumerate()
            .filter(move |(_, tool)| tool.client.namespace.as_deref() == Some(namespace));
        inside.filter_map(|(place, _)| names.at(place))
    }

    /// The functions as Google is told of them.
    pub(super) fn declarations(self, names: &NameTable) -> Vec<FunctionDeclaration<'a>> {
        let declaration = |(place, tool): (usize, DeclaredTool<'a>)| FunctionDeclaration {
            name: Cow::Owned(names.at(place).unwrap_or_default().to_owned()),
            description: tool.description,
            parameters_json_schema: tool.schema,
        };
        self.functions.into_iter().enumerate().map(declaration).collect()
    }
}

/// Whether a tool's type is a search of the web, of whichever version.
pub(super) fn is_web_search(kind: &str) -> bool {
    kind == "web_search" || kind.starts_with("web_search_")
}

/// The error of a tool that cannot be served.
fn not_served(tool: ObjectReader<'_, '_, '_>, kind: &str) -> TranslationError {
    tool.unsupported("type", format!("`{kind}` tools are not served here; use function or custom tools"))
}

fn client_tool(
    tool: ObjectReader<'_, '_, '_>,
    namespace: Option<&str>,
    form: ClientToolForm,
) -> Result<ClientTool, TranslationError> {
    let name = tool.filled_text("name")?.into_owned();
    Ok(ClientTool { namespace: namespace.map(ToOwned::to_owned), name, form })
}

fn function<'a>(
    tool: ObjectReader<'_, 'a, '_>,
    namespace: Option<&str>,
) -> Result<DeclaredTool<'a>, TranslationError> {
    let schema = match tool.raw("parameters") {
        Some(schema) => tool_schema(schema).map_err(|error| tool.invalid("parameters", error.why()))?,
        None => Cow::Owned(no_arguments()),
    };
    Ok(DeclaredTool {
        client: client_tool(tool, namespace, ClientToolForm::Function)?,
        description: tool.text("description")?.unwrap_or_default(),
        schema,
        strict: tool.flag("strict")?.unwrap_or_default(),
    })
}

fn custom<'a>(
    tool: ObjectReader<'_, 'a, '_>,
    namespace: Option<&str>,
) -> Result<DeclaredTool<'a>, TranslationError> {
    let mut description = tool.text("description")?.unwrap_or_default();
    if let Some(format) = tool.object("format")? {
        let format = ObjectReader::new(&format, tool.way.member("format"));
        let kind = format.text("type")?;
        if kind.as_deref() == Some("grammar") {
            let (syntax, grammar) = (format.required_text("syntax")?, format.required_text("definition")?);
            // Google cannot hold a model to a grammar, but models can follow one.
            let rule = format!("`input` has to match this grammar ({syntax}) exactly:\n```\n{grammar}\n```");
            description =
                Cow::Owned(if description.is_empty() { rule } else { format!("{description}\n\n{rule}") });
        }
    }
    Ok(DeclaredTool {
        client: client_tool(tool, namespace, ClientToolForm::Custom)?,
        description,
        schema: Cow::Owned(input_schema()),
        strict: false,
    })
}

/// The schema of a custom tool: one text.
fn input_schema() -> Box<RawValue> {
    #[derive(Serialize)]
    struct InputSchema {
        r#type: &'static str,
        properties: InputProperties,
        required: [&'static str; 1],
    }
    #[derive(Serialize)]
    struct InputProperties {
        input: InputProperty,
    }
    #[derive(Serialize)]
    struct InputProperty {
        r#type: &'static str,
        description: &'static str,
    }
    raw_of(&InputSchema {
        r#type: "object",
        properties: InputProperties {
            input: InputProperty {
                r#type: "string",
                description: "The tool's whole input as plain text, not JSON.",
            },
        },
        required: ["input"],
    })
}

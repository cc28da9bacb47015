//! `tools` and `tool_choice` of a Messages request: which of them are declared to Google, under which names, how they may
//! be called, and what has to be said in words because Google has no field for it.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::place::FieldPlace;
use super::wire::{WireTool, WireToolChoice};
use crate::error::TranslationError;
use crate::gemini::{
    CallingConfig, CallingMode, FunctionDeclaration, ONE_CALL_ONLY, SearchWishes, ToolSet, place_of,
};
use crate::names::{ClientTool, NameTable};
use crate::schema::tool_schema;

/// The tools of a request and how they are to be used.
#[derive(Debug)]
pub(super) struct RequestTools<'a> {
    functions: Vec<RequestFunction<'a>>,
    search: Option<SearchTool<'a>>,
    choice: RequestChoice<'a>,
    one_at_a_time: bool,
}

#[derive(Debug)]
struct RequestFunction<'a> {
    /// Its place in `tools`.
    place: usize,
    name: Cow<'a, str>,
    description: Cow<'a, str>,
    schema: Cow<'a, RawValue>,
    strict: bool,
}

/// `web_search_…`.
#[derive(Debug)]
struct SearchTool<'a> {
    name: Cow<'a, str>,
    wishes: SearchWishes<'a>,
}

#[derive(Debug, PartialEq)]
enum RequestChoice<'a> {
    Unsaid,
    Auto,
    Any,
    Tool(Cow<'a, str>),
    None,
}

impl<'a> RequestTools<'a> {
    /// Reads both members.
    pub(super) fn read(
        tools: Option<&'a RawValue>,
        choice: Option<&'a RawValue>,
    ) -> Result<Self, TranslationError> {
        let (choice, one_at_a_time) = choice.map_or(Ok((RequestChoice::Unsaid, false)), read_choice)?;
        let mut read = Self { functions: Vec::new(), search: None, choice, one_at_a_time };
        let at = FieldPlace::of("tools");
        let list = tools.map_or(Ok(Vec::new()), |tools| at.list(tools))?;
        for (place, tool) in list.into_iter().enumerate() {
            let at = at.index(place);
            let tool: WireTool<'_> = at.object(tool)?;
            read.add(place, &tool, &at)?;
        }
        if let (RequestChoice::Tool(name), Some(search)) = (&read.choice, &read.search)
            && *name == search.name
        {
            // The one tool that may be used is Google's, which does not go together with others.
            read.functions.clear();
        }
        if let RequestChoice::Tool(name) = &read.choice
            && !read.functions.is_empty()
            && !read.functions.iter().any(|function| function.name == *name)
        {
            let why = format!("`{name}` is none of `tools`");
            return Err(FieldPlace::of("tool_choice").member("name").invalid(why));
        }
        Ok(read)
    }

    fn add(
        &mut self,
        place: usize,
        tool: &WireTool<'a>,
        at: &FieldPlace<'_>,
    ) -> Result<(), TranslationError> {
        let at_type = at.member("type");
        let kind = tool.r#type.map_or(Ok(Cow::Borrowed("custom")), |kind| at_type.text(kind))?;
        let at_name = at.member("name");
        if kind == "custom" {
            let name = at_name.text(at_name.required(tool.name)?)?;
            if name.is_empty() {
                return Err(at_name.invalid("is empty"));
            }
            let at_schema = at.member("input_schema");
            let schema = tool_schema(at_schema.required(tool.input_schema)?);
            self.functions.push(RequestFunction {
                place,
                name,
                description: at.member("description").text_or_empty(tool.description)?,
                schema: schema.map_err(|error| at_schema.invalid(error.why()))?,
                strict: at.member("strict").flag(tool.strict)?,
            });
        } else if kind.starts_with("web_search_") {
            let domains = |name: &str, value: Option<&'a RawValue>| {
                let at = at.member(name);
                let list = value.map_or(Ok(Vec::new()), |value| at.list(value))?;
                list.into_iter().map(|domain| at.text(domain)).collect::<Result<Vec<_>, _>>()
            };
            self.search = Some(SearchTool {
                name: tool.name.map_or(Ok(Cow::Borrowed("web_search")), |name| at_name.text(name))?,
                wishes: SearchWishes {
                    allowed: domains("allowed_domains", tool.allowed_domains)?,
                    blocked: domains("blocked_domains", tool.blocked_domains)?,
                    place: place_of(tool.user_location),
                },
            });
        } else if !kind.starts_with("tool_search_tool") {
            // A search for tools is not needed where all are declared from the start.
            let why = format!("`{kind}` is a tool of Anthropic's own, which Google's models do not know");
            return Err(at_type.unsupported(why));
        }
        Ok(())
    }

    /// The names for Google and back.
    pub(super) fn names(&self) -> Result<NameTable, TranslationError> {
        NameTable::of(self.functions.iter().map(|function| ClientTool::function(&function.name))).map_err(
            |twin| {
                let at = FieldPlace::of("tools");
                let at = at.index(self.functions[twin].place);
                at.member("name")
                    .invalid(format!("`{}` is another tool's name too", self.functions[twin].name))
            },
        )
    }

    /// Whether Google's functions are declared.
    pub(super) fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Whether Google searches. Beside functions it does not: many models refuse both together.
    pub(super) fn searches(&self) -> bool {
        self.search.is_some() && self.functions.is_empty()
    }

    /// What is declared. `names` are [`Self::names`].
    pub(super) fn set<'n>(&'n self, names: &'n NameTable) -> ToolSet<'n> {
        let functions = self.functions.iter().enumerate().map(|(place, function)| FunctionDeclaration {
            name: Cow::Borrowed(names.at(place).unwrap_or(&function.name)),
            description: Cow::Borrowed(&function.description),
            parameters_json_schema: Cow::Borrowed(&function.schema),
        });
        ToolSet { functions: functions.collect(), google_search: self.searches() }
    }

    /// How functions may be called; `None` where there is nothing to say.
    pub(super) fn calling<'n>(&'n self, names: &'n NameTable) -> Option<CallingConfig<'n>> {
        if self.functions.is_empty() {
            return None;
        }
        let is_strict = self.functions.iter().any(|function| function.strict);
        let (mode, only) = match &self.choice {
            RequestChoice::Unsaid | RequestChoice::Auto if is_strict => (CallingMode::Validated, None),
            RequestChoice::Unsaid => return None,
            RequestChoice::Auto => (CallingMode::Auto, None),
            RequestChoice::Any => (CallingMode::Any, None),
            RequestChoice::Tool(name) => (CallingMode::Any, Some(names.google_name(None, name))),
            RequestChoice::None => (CallingMode::None, None),
        };
        Some(CallingConfig { mode, allowed_function_names: only.into_iter().collect() })
    }

    /// What has to be said in words.
    pub(super) fn sentences(&self) -> Vec<Cow<'static, str>> {
        let mut sentences = Vec::new();
        if self.one_at_a_time && self.has_functions() {
            sentences.push(Cow::Borrowed(ONE_CALL_ONLY));
        }
        if let Some(search) = self.search.as_ref().filter(|_| self.searches()) {
            sentences.extend(search.wishes.sentences().map(Cow::Owned));
        }
        sentences
    }
}

fn read_choice(choice: &RawValue) -> Result<(RequestChoice<'_>, bool), TranslationError> {
    let at = FieldPlace::of("tool_choice");
    let choice: WireToolChoice<'_> = at.object(choice)?;
    let one = at.member("disable_parallel_tool_use").flag(choice.disable_parallel_tool_use)?;
    let at_type = at.member("type");
    let kind = at_type.text(at_type.required(choice.r#type)?)?;
    let choice = match &*kind {
        "auto" => RequestChoice::Auto,
        "any" => RequestChoice::Any,
        "none" => RequestChoice::None,
        "tool" => {
            let at = at.member("name");
            RequestChoice::Tool(at.text(at.required(choice.name)?)?)
        }
        _ => return Err(at_type.invalid(format!("`{kind}` is none of `auto`, `any`, `tool`, `none`"))),
    };
    Ok((choice, one))
}

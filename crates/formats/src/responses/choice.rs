//! Which of the declared tools a request lets the model call: `tool_choice` in all its forms, as Google's
//! `functionCallingConfig`. Called by `request` when all tools are known.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::reader::{FieldWay, ObjectReader, object_at};
use super::tools::{ToolCatalog, is_web_search};
use crate::error::TranslationError;
use crate::gemini::{CallingConfig, CallingMode};
use crate::json::as_str;
use crate::names::NameTable;

/// What of a request's tools is in use.
#[derive(Debug, Default)]
pub(super) struct ToolUse {
    /// Whether functions are declared.
    pub(super) functions: bool,
    /// Whether there is a search; Google wants it alone.
    pub(super) web_search: bool,
    /// Google's modes and names.
    pub(super) calling: Option<CallingConfig<'static>>,
}

/// What a choice says.
enum ToolChoice {
    Auto,
    None,
    Required,
    /// These functions, and whether one of them must be called.
    Functions(Vec<String>, CallingMode),
    /// The search of the web, whatever else there is.
    Search,
}

/// Reads `tool_choice`.
pub(super) fn tool_use(
    choice: Option<&RawValue>,
    tools: &ToolCatalog<'_>,
    names: &NameTable,
) -> Result<ToolUse, TranslationError> {
    let way = FieldWay::Root;
    let choice = match choice {
        Some(value) => read_choice(value, way.member("tool_choice"), tools, names)?,
        None => ToolChoice::Auto,
    };
    let config = |mode, names: Vec<String>| {
        Some(CallingConfig { mode, allowed_function_names: names.into_iter().map(Cow::Owned).collect() })
    };
    if matches!(choice, ToolChoice::Search) {
        if !tools.web_search {
            return Err(way.member("tool_choice").invalid("names a search, but `tools` has none"));
        }
        return Ok(ToolUse { functions: false, web_search: true, calling: None });
    }
    if !tools.has_functions() {
        let web_search = tools.web_search && !matches!(choice, ToolChoice::None);
        return Ok(ToolUse { functions: false, web_search, calling: None });
    }
    let calling = match choice {
        ToolChoice::Auto if tools.is_strict() => config(CallingMode::Validated, Vec::new()),
        ToolChoice::Auto | ToolChoice::Search => None,
        ToolChoice::None => config(CallingMode::None, Vec::new()),
        ToolChoice::Required => config(CallingMode::Any, Vec::new()),
        ToolChoice::Functions(names, mode) => config(mode, names),
    };
    Ok(ToolUse { functions: true, web_search: false, calling })
}

fn read_choice(
    value: &RawValue,
    way: FieldWay<'_>,
    tools: &ToolCatalog<'_>,
    names: &NameTable,
) -> Result<ToolChoice, TranslationError> {
    if let Some(word) = as_str(value) {
        return match &*word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            other => Err(way.invalid(format!("`{other}` is none of `auto`, `none`, `required`"))),
        };
    }
    let object = object_at(value, way)?;
    let choice = ObjectReader::new(&object, way);
    let kind = choice.required_text("type")?;
    if &*kind == "allowed_tools" {
        return read_allowed(choice, tools, names);
    }
    match chosen(choice, &kind, names)? {
        ChosenTool::Function(name) => Ok(ToolChoice::Functions(vec![name], CallingMode::Any)),
        ChosenTool::Search => Ok(ToolChoice::Search),
    }
}

/// A tool that a choice names.
enum ChosenTool {
    /// Google's name of it.
    Function(String),
    Search,
}

fn chosen(
    choice: ObjectReader<'_, '_, '_>,
    kind: &str,
    names: &NameTable,
) -> Result<ChosenTool, TranslationError> {
    match kind {
        "function" | "custom" => {
            let (name, namespace) = (choice.filled_text("name")?, choice.text("namespace")?);
            if !names.declares(namespace.as_deref(), &name) {
                return Err(choice.invalid("name", format!("`{name}` is no tool of this request")));
            }
            Ok(ChosenTool::Function(names.google_name(namespace.as_deref(), &name).into_owned()))
        }
        search if is_web_search(search) => Ok(ChosenTool::Search),
        _ => Err(choice.unsupported("type", format!("`{kind}` tools are not served here"))),
    }
}

fn read_allowed(
    choice: ObjectReader<'_, '_, '_>,
    tools: &ToolCatalog<'_>,
    names: &NameTable,
) -> Result<ToolChoice, TranslationError> {
    // Google takes names with `ANY` and `VALIDATED` only.
    let mode = match choice.text("mode")?.as_deref() {
        None | Some("auto") => CallingMode::Validated,
        Some("required") => CallingMode::Any,
        Some(other) => {
            return Err(choice.invalid("mode", format!("`{other}` is neither `auto` nor `required`")));
        }
    };
    let way = choice.way.member("tools");
    let list = choice.objects("tools")?.ok_or_else(|| way.invalid("is required"))?;
    let (mut allowed, mut searches) = (Vec::with_capacity(list.len()), false);
    for (index, tool) in list.iter().enumerate() {
        let tool = ObjectReader::new(tool, way.index(index));
        let kind = tool.required_text("type")?;
        match &*kind {
            // What gives way to functions in `tools` does so here.
            "tool_search" | "image_generation" => {}
            "namespace" => {
                let namespace = tool.filled_text("name")?;
                allowed.extend(tools.in_namespace(&namespace, names).map(ToOwned::to_owned));
            }
            _ => match chosen(tool, &kind, names)? {
                ChosenTool::Function(name) => allowed.push(name),
                ChosenTool::Search => searches = true,
            },
        }
    }
    match (allowed.is_empty(), searches) {
        (false, _) => Ok(ToolChoice::Functions(allowed, mode)),
        (true, true) => Ok(ToolChoice::Search),
        (true, false) => Ok(ToolChoice::None),
    }
}

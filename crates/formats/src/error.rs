//! Why a client's request cannot be translated, with the path to the field. It knows no status: the HTTP face chooses
//! one, and each format's `error` puts it into its vendor's words.

use std::fmt;

/// Why a request cannot be translated. Always the client's fault, and final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TranslationError {
    /// The body is no JSON object of this format: what the parser says.
    NotJson(String),
    /// A field has a value that nothing can be made of.
    Invalid {
        /// The field whose value it is.
        at: FieldPath,
        /// What is wrong with it, as a sentence that follows the field's name.
        why: String,
    },
    /// A field asks for what Google's models cannot do, and what must not be lost silently.
    Unsupported {
        /// The field that asks for it.
        at: FieldPath,
        /// What is not served, as a sentence that follows the field's name.
        why: String,
    },
    /// No setting and no list of Google's knows this model.
    UnknownModel(String),
    /// A state that the request goes on from is not kept here.
    UnknownState {
        /// The field that names it.
        at: FieldPath,
        /// What it names.
        id: String,
    },
}

impl TranslationError {
    /// An [`TranslationError::Invalid`].
    pub fn invalid(at: impl Into<FieldPath>, why: impl Into<String>) -> Self {
        Self::Invalid { at: at.into(), why: why.into() }
    }

    /// An [`TranslationError::Unsupported`].
    pub fn unsupported(at: impl Into<FieldPath>, why: impl Into<String>) -> Self {
        Self::Unsupported { at: at.into(), why: why.into() }
    }

    /// The field that is meant, if it is one.
    pub fn field(&self) -> Option<&FieldPath> {
        match self {
            Self::NotJson(_) | Self::UnknownModel(_) => None,
            Self::Invalid { at, .. } | Self::Unsupported { at, .. } | Self::UnknownState { at, .. } => {
                Some(at)
            }
        }
    }
}

impl fmt::Display for TranslationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the body is not valid: {why}"),
            Self::Invalid { at, why } | Self::Unsupported { at, why } => write!(f, "{at}: {why}"),
            Self::UnknownModel(asked) => write!(
                f,
                "model `{asked}` is not known here; name a model of Google's or map it in `formats.models`"
            ),
            Self::UnknownState { at, id } => write!(f, "{at}: `{id}` was not found"),
        }
    }
}

impl std::error::Error for TranslationError {}

impl From<serde_json::Error> for TranslationError {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }
}

/// The way to a field of a request. Shown with dots, as Anthropic does: `messages.3.content.0.tool_use_id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<FieldStep>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldStep {
    Member(String),
    Index(usize),
}

impl FieldPath {
    /// The way to a member of the request itself.
    pub fn of(member: &str) -> Self {
        Self(vec![FieldStep::Member(member.to_owned())])
    }

    /// The way on to a member.
    #[must_use]
    pub fn member(mut self, name: &str) -> Self {
        self.0.push(FieldStep::Member(name.to_owned()));
        self
    }

    /// The way on to an element of a list, counted from 0.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(FieldStep::Index(index));
        self
    }

    /// The path with indices in brackets, as OpenAI does: `input[3].call_id`.
    pub fn bracketed(&self) -> String {
        let mut text = String::new();
        for step in &self.0 {
            match step {
                FieldStep::Member(name) if text.is_empty() => text.push_str(name),
                FieldStep::Member(name) => text.extend([".", name]),
                FieldStep::Index(index) => text.extend(["[", &index.to_string(), "]"]),
            }
        }
        text
    }
}

impl From<&str> for FieldPath {
    fn from(member: &str) -> Self {
        Self::of(member)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            match step {
                FieldStep::Member(name) => f.write_str(name)?,
                FieldStep::Index(index) => write!(f, "{index}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_in_each_vendors_way() {
        let path = FieldPath::of("input").index(3).member("output").index(0).member("type");
        assert_eq!(path.to_string(), "input.3.output.0.type");
        assert_eq!(path.bracketed(), "input[3].output[0].type");
        let error = TranslationError::invalid(path, "is not known");
        assert_eq!(error.to_string(), "input.3.output.0.type: is not known");
    }
}

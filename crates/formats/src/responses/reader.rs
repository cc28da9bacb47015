//! Reads members of a request's objects, and names the field where one is of the wrong kind. The way to a field is only
//! written down when there is something wrong with it. Used by everything here that reads a request.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::error::{FieldPath, TranslationError};
use crate::json::{JsonStr, RawObject, as_str};

/// The way to a value of a request, on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) enum FieldWay<'w> {
    /// The request itself.
    Root,
    /// A member of what another way leads to.
    Member(&'w FieldWay<'w>, &'w str),
    /// An element of a list.
    Index(&'w FieldWay<'w>, usize),
}

impl<'w> FieldWay<'w> {
    /// The way on to a member.
    pub(super) fn member(&'w self, name: &'w str) -> Self {
        Self::Member(self, name)
    }

    /// The way on to an element.
    pub(super) fn index(&'w self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// Writes the way down.
    pub(super) fn path(&self) -> FieldPath {
        match self {
            Self::Root => FieldPath::default(),
            Self::Member(before, name) => before.path().member(name),
            Self::Index(before, index) => before.path().index(*index),
        }
    }

    /// The error of a value here that nothing can be made of.
    pub(super) fn invalid(&self, why: impl Into<String>) -> TranslationError {
        TranslationError::invalid(self.path(), why)
    }

    /// The error of a value here that asks for what is not served.
    pub(super) fn unsupported(&self, why: impl Into<String>) -> TranslationError {
        TranslationError::unsupported(self.path(), why)
    }
}

/// An object of a request, and where it stands. A member that is `null` counts as absent, as OpenAI has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectReader<'o, 'a, 'w> {
    object: &'o RawObject<'a>,
    /// Where it stands.
    pub(super) way: FieldWay<'w>,
}

impl<'o, 'a, 'w> ObjectReader<'o, 'a, 'w> {
    /// A reader of `object`.
    pub(super) fn new(object: &'o RawObject<'a>, way: FieldWay<'w>) -> Self {
        Self { object, way }
    }

    /// The member as it came.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.object.get(name).filter(|value| value.get() != "null")
    }

    /// Reads a member that must be a string, if it is there and not null.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, TranslationError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match as_str(value) {
            Some(text) => Ok(Some(text.into_inner())),
            None => Err(self.invalid(name, "has to be a string")),
        }
    }

    /// A string that must be there.
    pub(super) fn required_text(&self, name: &str) -> Result<Cow<'a, str>, TranslationError> {
        self.text(name)?.ok_or_else(|| self.invalid(name, "is required"))
    }

    /// A string that must be there and say something.
    pub(super) fn filled_text(&self, name: &str) -> Result<Cow<'a, str>, TranslationError> {
        let text = self.required_text(name)?;
        if text.is_empty() { Err(self.invalid(name, "must not be empty")) } else { Ok(text) }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, TranslationError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        match value.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(self.invalid(name, "has to be true or false")),
        }
    }

    /// Reads a member that must be a number, if it is there and not null.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, TranslationError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map(Some).map_err(|_| self.invalid(name, "has to be a number"))
    }

    /// A count. One that is out of range is brought into it.
    pub(super) fn count(&self, name: &str) -> Result<Option<u32>, TranslationError> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
        let count = |number: f64| number as u32;
        Ok(self.number(name)?.map(count))
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Result<Option<Vec<RawObject<'a>>>, TranslationError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        let way = self.way.member(name);
        objects_of(value, way).map(Some)
    }

    /// Reads a member that must be an object, if it is there and not null.
    pub(super) fn object(&self, name: &str) -> Result<Option<RawObject<'a>>, TranslationError> {
        let Some(value) = self.raw(name) else { return Ok(None) };
        RawObject::of(value).map(Some).ok_or_else(|| self.invalid(name, "has to be an object"))
    }

    /// The error of a member that nothing can be made of.
    pub(super) fn invalid(&self, name: &str, why: impl Into<String>) -> TranslationError {
        self.way.member(name).invalid(why)
    }

    /// The error of a member that asks for what is not served.
    pub(super) fn unsupported(&self, name: &str, why: impl Into<String>) -> TranslationError {
        self.way.member(name).unsupported(why)
    }
}

/// The elements of a list; `None` if the value is of another kind.
pub(super) fn list_of(value: &RawValue) -> Option<Vec<&RawValue>> {
    if value.get().starts_with('[') { serde_json::from_str(value.get()).ok() } else { None }
}

/// The elements of a list that must be one of objects.
pub(super) fn objects_of<'a>(
    value: &'a RawValue,
    way: FieldWay<'_>,
) -> Result<Vec<RawObject<'a>>, TranslationError> {
    // In one pass over the text, which is where the time of a request goes.
    if value.get().starts_with('[')
        && let Ok(objects) = serde_json::from_str(value.get())
    {
        return Ok(objects);
    }
    let elements = list_of(value).ok_or_else(|| way.invalid("has to be a list"))?;
    elements.into_iter().enumerate().map(|(index, element)| object_at(element, way.index(index))).collect()
}

/// An object that must be one.
pub(super) fn object_at<'a>(
    value: &'a RawValue,
    way: FieldWay<'_>,
) -> Result<RawObject<'a>, TranslationError> {
    RawObject::of(value).ok_or_else(|| way.invalid("has to be an object"))
}

/// The string of a member, where it is one.
pub(super) fn member_text<'a>(object: &RawObject<'a>, name: &str) -> Option<JsonStr<'a>> {
    object.get(name).and_then(as_str)
}

//! Reads members of a request and knows where they are, so that an error names its field. Nothing is allocated for a
//! place until there is an error.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{FieldPath, TranslationError};
use crate::json::{as_str, is_object};

/// Where in the request the reader is: a chain up to the request itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldPlace<'p> {
    parent: Option<&'p FieldPlace<'p>>,
    step: PlaceStep<'p>,
}

#[derive(Clone, Copy, Debug)]
enum PlaceStep<'p> {
    Member(&'p str),
    Index(usize),
}

impl<'p> FieldPlace<'p> {
    /// A member of the request.
    pub(super) fn of(name: &'p str) -> Self {
        Self { parent: None, step: PlaceStep::Member(name) }
    }

    /// A member of what is here.
    pub(super) fn member(&'p self, name: &'p str) -> Self {
        Self { parent: Some(self), step: PlaceStep::Member(name) }
    }

    /// An element of the list that is here, from 0.
    pub(super) fn index(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: PlaceStep::Index(index) }
    }

    /// The whole way.
    pub(super) fn path(&self) -> FieldPath {
        let parent = self.parent.map_or_else(FieldPath::default, FieldPlace::path);
        match self.step {
            PlaceStep::Member(name) => parent.member(name),
            PlaceStep::Index(index) => parent.index(index),
        }
    }

    /// The error that the value here is none.
    pub(super) fn invalid(&self, why: impl Into<String>) -> TranslationError {
        TranslationError::invalid(self.path(), cut(why.into()))
    }

    /// The error that what is here is not served.
    pub(super) fn unsupported(&self, why: impl Into<String>) -> TranslationError {
        TranslationError::unsupported(self.path(), cut(why.into()))
    }

    /// Returns what has to be there.
    pub(super) fn required<T>(&self, value: Option<T>) -> Result<T, TranslationError> {
        value.ok_or_else(|| self.invalid("is required"))
    }

    /// Reads a string.
    pub(super) fn text<'a>(&self, value: &'a RawValue) -> Result<Cow<'a, str>, TranslationError> {
        as_str(value).map(crate::json::JsonStr::into_inner).ok_or_else(|| self.invalid("has to be a string"))
    }

    /// Reads a string; an absent one is empty.
    pub(super) fn text_or_empty<'a>(
        &self,
        value: Option<&'a RawValue>,
    ) -> Result<Cow<'a, str>, TranslationError> {
        value.map_or(Ok(Cow::Borrowed("")), |value| self.text(value))
    }

    /// Reads a whole number that is not negative. One that is too large for its place is as large as that takes.
    pub(super) fn count(&self, value: &RawValue) -> Result<u32, TranslationError> {
        let number = self.number(value)?;
        if number < 0.0 || number.fract() != 0.0 {
            return Err(self.invalid("has to be a whole number that is not negative"));
        }
        // The comparison has left out what a cast would change, but for what is too large, which it saturates.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(number as u32)
    }

    /// Reads a number.
    pub(super) fn number(&self, value: &RawValue) -> Result<f64, TranslationError> {
        serde_json::from_str(value.get()).map_err(|_| self.invalid("has to be a number"))
    }

    /// Reads `true` or `false`; an absent one is false.
    pub(super) fn flag(&self, value: Option<&RawValue>) -> Result<bool, TranslationError> {
        value.map_or(Ok(false), |value| {
            serde_json::from_str(value.get()).map_err(|_| self.invalid("has to be true or false"))
        })
    }

    /// Reads a list.
    pub(super) fn list<'a>(&self, value: &'a RawValue) -> Result<Vec<&'a RawValue>, TranslationError> {
        serde_json::from_str(value.get()).map_err(|_| self.invalid("has to be a list"))
    }

    /// Reads an object.
    pub(super) fn object<'a, T: Deserialize<'a>>(&self, value: &'a RawValue) -> Result<T, TranslationError> {
        if !is_object(value) {
            return Err(self.invalid("has to be an object"));
        }
        serde_json::from_str(value.get())
            .map_err(|error| self.invalid(format!("is not valid: {}", bare(&error))))
    }
}

/// The most characters of a reason: some repeat what the client sent.
const MAX_REASON_CHARS: usize = 400;

/// A text that is not too long for an error.
pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_REASON_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// What a parser says, without the line and column, which would be counted from the inner value.
fn bare(error: &serde_json::Error) -> String {
    let said = error.to_string();
    said.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn an_error_names_the_whole_way() {
        let messages = FieldPlace::of("messages");
        let message = messages.index(3);
        let content = message.member("content");
        let block = content.index(0);
        assert_eq!(block.member("id").path().to_string(), "messages.3.content.0.id");
        let error = block.text(&raw("3")).unwrap_err();
        assert_eq!(error.to_string(), "messages.3.content.0: has to be a string");
    }

    #[test]
    fn an_error_is_short_whatever_it_repeats() {
        let error = FieldPlace::of("model").invalid("é".repeat(100_000));
        assert!(error.to_string().len() < 1_000);
    }

    #[test]
    fn numbers_are_whole_or_refused_and_large_ones_fit() {
        let place = FieldPlace::of("max_tokens");
        assert_eq!(place.count(&raw("64000")), Ok(64_000));
        assert_eq!(place.count(&raw("1e3")), Ok(1_000));
        assert_eq!(place.count(&raw("99999999999999999999")), Ok(u32::MAX));
        for bad in ["-1", "0.5", "\"3\"", "[]", "true"] {
            assert!(place.count(&raw(bad)).is_err(), "{bad}");
        }
    }
}

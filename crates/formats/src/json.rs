//! JSON that is passed on as it came: strings and objects borrowed from the body, values kept as their own bytes. A
//! value that nothing has to be changed in is never parsed into a tree, so that order, spacing and 64-bit numbers
//! survive. Used by every request and answer of this crate.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use memchr::memchr;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A string of a JSON text, borrowed unless it has escapes. (serde's own `Cow` borrows only where a struct's field is
/// one itself.)
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JsonStr<'a>(pub Cow<'a, str>);

impl<'a> JsonStr<'a> {
    /// The string itself.
    pub fn into_inner(self) -> Cow<'a, str> {
        self.0
    }
}

impl Deref for JsonStr<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;

        impl<'de> Visitor<'de> for StrVisitor {
            type Value = JsonStr<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Owned(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Owned(text)))
            }
        }

        deserializer.deserialize_str(StrVisitor)
    }
}

impl Serialize for JsonStr<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// An object whose members keep their order and their bytes.
#[derive(Clone, Debug, Default)]
pub struct RawObject<'a>(pub Vec<(JsonStr<'a>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// Reads an object; `None` if the value is of another kind.
    pub fn of(value: &'a RawValue) -> Option<Self> {
        if is_object(value) { serde_json::from_str(value.get()).ok() } else { None }
    }

    /// The member of this name. Of several the last counts, as parsers have it.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| &**key == name).map(|(_, value)| *value)
    }

    /// The object with another value in the member of this name.
    pub fn with<'b>(&self, name: &str, value: &'b RawValue) -> RawObject<'b>
    where
        'a: 'b,
    {
        let member = |(key, old): &(JsonStr<'a>, &'a RawValue)| {
            (key.clone(), if &**key == name { value } else { *old })
        };
        RawObject(self.0.iter().map(member).collect())
    }

    /// The object without the member of this name.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(key, _)| &**key != name).cloned().collect())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawObject(members))
            }
        }

        deserializer.deserialize_map(ObjectVisitor)
    }
}

impl Serialize for RawObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The first value of a list, if it has one. The others are not read.
#[derive(Clone, Debug)]
pub struct FirstOf<T>(pub Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FirstOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = FirstOf<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstOf(first))
            }
        }

        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Whether a value is an object.
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Reads a string value; `None` if it is of another kind.
pub fn as_str(value: &RawValue) -> Option<JsonStr<'_>> {
    if value.get().starts_with('"') { serde_json::from_str(value.get()).ok() } else { None }
}

/// Returns a JSON text in which the replacement character stands for every half of a pair of surrogates that is alone. Programs
/// that cut texts by UTF-16 units leave such halves behind, in escapes, and go on with them in all their later requests; no
/// parser of UTF-8 takes them, Google's included. The text stays as long as it was.
pub fn without_half_surrogates(json: &[u8]) -> Cow<'_, [u8]> {
    let mut whole: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        at += found;
        at += match escaped_unit(json, at) {
            None => 2,
            Some(0xd800..=0xdbff) if matches!(escaped_unit(json, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                whole.get_or_insert_with(|| json.to_vec())[at..at + 6].copy_from_slice(br"\ufffd");
                6
            }
            Some(_) => 6,
        };
    }
    whole.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// The UTF-16 unit of the escape that begins there, if it is one of those.
fn escaped_unit(json: &[u8], at: usize) -> Option<u16> {
    let hex = json.get(at..at + 6)?.strip_prefix(br"\u")?;
    let hex = std::str::from_utf8(hex).ok().filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(hex, 16).ok()
}

/// As [`without_half_surrogates`], of a text in a text.
fn text_without_half_surrogates(json: Cow<'_, str>) -> Cow<'_, str> {
    let whole = match without_half_surrogates(json.as_bytes()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(whole) => String::from_utf8(whole).ok(),
    };
    whole.map_or(json, Cow::Owned)
}

/// Reads a text that is to be a JSON object, as the arguments of OpenAI's calls are. An empty text is an empty object.
/// `None` if it is anything else.
pub fn object_of_text(text: Cow<'_, str>) -> Option<Cow<'_, RawValue>> {
    if text.trim().is_empty() {
        return Some(Cow::Owned(empty_object()));
    }
    let value = match text_without_half_surrogates(text) {
        Cow::Borrowed(text) => Cow::Borrowed(serde_json::from_str::<&RawValue>(text).ok()?),
        // From text with spaces around it `from_string` would keep them.
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(RawValue::from_string(text).ok()?),
        Cow::Owned(text) => Cow::Owned(serde_json::from_str::<&RawValue>(&text).ok()?.to_owned()),
    };
    is_object(&value).then_some(value)
}

/// `{}`.
pub fn empty_object() -> Box<RawValue> {
    raw_of(&serde_json::Map::new())
}

/// `""`.
pub fn empty_text() -> &'static RawValue {
    serde_json::from_str("\"\"").unwrap_or(RawValue::NULL)
}

/// Writes a value down.
pub fn raw_of<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_order_spaces_and_large_numbers() {
        let text = r#"{"b":9223372036854775809.5,"a":{ "z" : 1, "y":18446744073709551616 },"b2":"\u00e9"}"#;
        let object: RawObject<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
        assert_eq!(object.get("a").unwrap().get(), r#"{ "z" : 1, "y":18446744073709551616 }"#);
    }

    #[test]
    fn only_strings_with_escapes_are_copied() {
        let strings: Vec<JsonStr<'_>> = serde_json::from_str(r#"["plain","esc\"aped"]"#).unwrap();
        assert!(matches!(strings[0].0, Cow::Borrowed("plain")));
        assert_eq!(&*strings[1], "esc\"aped");
    }

    #[test]
    fn a_half_of_a_pair_that_is_alone_becomes_the_replacement_character() {
        for (json, whole) in [
            (r#""a\ud83db""#, r#""a\ufffdb""#),
            (r#""\uDE00""#, r#""\ufffd""#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#"{"\ud83d":"\n\ud83d\n","n":1}"#, r#"{"\ufffd":"\n\ufffd\n","n":1}"#),
            (r#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
        ] {
            assert_eq!(without_half_surrogates(json.as_bytes()), whole.as_bytes(), "{json}");
            assert!(serde_json::from_str::<serde_json::Value>(whole).is_ok());
        }
        // A backslash before the escape is one that is meant, and what is no escape stays.
        for json in
            [r#""\ud83d\ude00 \\ud83d \u00e9 😀""#, r#""\ud83"#, r#""\ud83g""#, r"\", r#""\u+83d""#, ""]
        {
            let same = without_half_surrogates(json.as_bytes());
            assert!(matches!(same, Cow::Borrowed(_)), "{json}");
        }
        let arguments = object_of_text(Cow::Borrowed(r#"{"a":"\ud83d"}"#)).unwrap();
        assert_eq!(arguments.get(), r#"{"a":"\ufffd"}"#);
    }

    #[test]
    fn arguments_are_an_object_or_nothing() {
        let of = |text: &str| {
            let borrowed = object_of_text(Cow::Borrowed(text)).map(|value| value.get().to_owned());
            let owned = object_of_text(Cow::Owned(text.to_owned())).map(|value| value.get().to_owned());
            assert_eq!(borrowed, owned);
            owned
        };
        assert_eq!(of("").as_deref(), Some("{}"));
        assert_eq!(
            of(r#" {"id": 12345678901234567890123} "#).as_deref(),
            Some(r#"{"id": 12345678901234567890123}"#)
        );
        for bad in ["[]", "\"{}\"", "null", "{", "{} {}", "1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}

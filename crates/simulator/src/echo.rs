//! What the simulated models say: words that show that the prompt arrived, cut into as many pieces as the shape asks for.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Value, json};

use crate::config::Shape;
use crate::demand::{WantedCall, demanded};
use crate::prompt::{Calling, Prompt};

/// Longest piece of a prompt that is repeated, in bytes.
const ECHO_LIMIT: usize = 4096;
/// Largest text of a unary answer, in bytes.
const UNARY_LIMIT: usize = 16 * 1024 * 1024;
/// Longest prompt in which demands are looked for, in bytes.
const DEMAND_LIMIT: usize = 1024 * 1024;
/// A model that is offered more functions than these calls one only when told to in so many words: the prompts of agents
/// mention their tools all the time.
const FEW: usize = 4;
const FILLER: &str = " and so on, as long as was asked for";

/// A model's answer.
pub(crate) enum Reply {
    Text(Pieces),
    /// At least one, at once.
    Calls(Vec<WantedCall>),
}

impl Reply {
    pub(crate) fn to(prompt: &Prompt, shape: Shape) -> Self {
        let calls = calls(prompt);
        if !calls.is_empty() {
            return Self::Calls(calls);
        }
        let said = clip(&prompt.text);
        let text = match (&prompt.schema, &prompt.tool_result) {
            (Some(schema), _) if prompt.json => arguments(schema, &prompt.text).to_string(),
            _ if prompt.json => json!({"you_said": said}).to_string(),
            (_, Some(result)) => format!("You said: {said} The function said: {}", clip(result)),
            (_, None) => format!("You said: {said}"),
        };
        Self::Text(Pieces::cut(text, shape))
    }
}

fn clip(text: &str) -> &str {
    let end = (0..=text.len().min(ECHO_LIMIT)).rfind(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or_default()]
}

/// The calls of this step: those the prompt demands, else one that the mode demands or whose name is mentioned.
fn calls(prompt: &Prompt) -> Vec<WantedCall> {
    if prompt.calling == Calling::Never || prompt.functions.is_empty() {
        return Vec::new();
    }
    if prompt.text.len() <= DEMAND_LIMIT {
        let known = |name: &str| prompt.functions.iter().any(|function| function.name == name);
        let mut steps = demanded(&prompt.text, known);
        if !steps.is_empty() {
            let due = prompt.rounds < steps.len();
            return if due { steps.swap_remove(prompt.rounds) } else { Vec::new() };
        }
    }
    if prompt.tool_result.is_some() {
        return Vec::new();
    }
    let function = match prompt.calling {
        Calling::Must => prompt.functions.first(),
        _ if prompt.functions.len() > FEW => None,
        _ => prompt.functions.iter().find(|function| prompt.text.contains(&function.name)),
    };
    let call = |name: &str, parameters| WantedCall {
        name: name.to_owned(),
        args: arguments(parameters, &prompt.text),
    };
    function.map(|function| call(&function.name, &function.parameters)).into_iter().collect()
}

/// Values that fit the schema; strings are the prompt.
fn arguments(schema: &Value, said: &str) -> Value {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first(),
        kind => kind,
    };
    let kind = kind.and_then(Value::as_str).unwrap_or("object").to_ascii_lowercase();
    match kind.as_str() {
        "string" => json!(clip(said)),
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([arguments(schema.get("items").unwrap_or(&Value::Null), said)]),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            properties.map(|(name, schema)| (name.clone(), arguments(schema, said))).collect()
        }
    }
}

/// A text in pieces. There may be endlessly many: then it starts over.
pub(crate) struct Pieces {
    text: String,
    cuts: Vec<Range<usize>>,
    /// How many to say.
    pub(crate) count: u64,
    least_bytes: usize,
}

impl Pieces {
    fn cut(text: String, shape: Shape) -> Self {
        let count = shape.events.max(1);
        let starts: Vec<usize> = {
            let mut end = 0;
            let words = text.split_inclusive(' ').map(|word| {
                end += word.len();
                end - word.len()
            });
            let words: Vec<usize> = words.collect();
            // A short text is cut within words rather than said twice.
            if (words.len() as u64) < count && count <= text.chars().count() as u64 {
                text.char_indices().map(|(at, _)| at).collect()
            } else {
                words
            }
        };
        let pieces = usize::try_from(count).unwrap_or(usize::MAX).min(starts.len()).max(1);
        let at = |piece: usize| starts.get(piece * starts.len() / pieces).copied().unwrap_or(text.len());
        let cuts = (0..pieces).map(|piece| at(piece)..at(piece + 1)).collect();
        Self { text, cuts, count, least_bytes: shape.text_bytes }
    }

    /// Piece number `index`, from 0.
    pub(crate) fn piece(&self, index: u64) -> Cow<'_, str> {
        let pieces = self.cuts.len() as u64;
        let which = usize::try_from(index % pieces).unwrap_or_default();
        let piece = self.cuts.get(which).map_or("", |cut| &self.text[cut.clone()]);
        let starts_over = which + 1 == self.cuts.len() && index + 1 < self.count;
        if piece.len() >= self.least_bytes && !starts_over {
            return Cow::Borrowed(piece);
        }
        let mut longer = String::with_capacity(self.least_bytes + 1);
        longer.push_str(piece);
        while longer.len() < self.least_bytes {
            let missing = self.least_bytes - longer.len();
            longer.push_str(&FILLER[..missing.min(FILLER.len())]);
        }
        if starts_over && !longer.ends_with(' ') {
            longer.push(' ');
        }
        Cow::Owned(longer)
    }

    /// The text, if the pieces are nothing but it.
    pub(crate) fn plain(&self) -> Option<&str> {
        (self.least_bytes == 0 && self.count == self.cuts.len() as u64).then_some(self.text.as_str())
    }

    /// All pieces, for a unary answer.
    pub(crate) fn whole(&self) -> String {
        let mut whole = String::new();
        for index in 0..self.count {
            whole.push_str(&self.piece(index));
            if whole.len() >= UNARY_LIMIT {
                break;
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, events: u64, text_bytes: usize) -> Vec<String> {
        let pieces = Pieces::cut(text.to_owned(), Shape { events, interval_ms: 0, text_bytes });
        (0..pieces.count).map(|n| pieces.piece(n).into_owned()).collect()
    }

    #[test]
    fn pieces_join_to_the_text() {
        for events in 1..=11 {
            let cut = pieces("You said: größer", events, 0);
            assert_eq!(cut.len() as u64, events);
            assert_eq!(cut.concat(), "You said: größer");
            assert!(cut.iter().all(|piece| !piece.is_empty()), "{cut:?}");
        }
    }

    #[test]
    fn more_pieces_than_the_text_has_letters_say_it_again() {
        assert_eq!(pieces("a b", 5, 0).concat(), "a b a b a ");
    }

    #[test]
    fn pieces_are_padded() {
        let cut = pieces("You said: hello", 3, 100);
        assert!(cut.iter().all(|piece| piece.len() >= 100), "{cut:?}");
        assert!(cut[0].starts_with("You "));
    }
}
